"""Function records as bytes: how they lie in the store.

A document is `{"schema_version": 1, "record": {...}}`. Members that a reader does not know are ignored and
members that are missing take their defaults, so records survive an upgrade and a step back.
"""

from typing import Any

from pydantic import BaseModel, ValidationError, field_validator

from hearth.core.function import LATEST
from hearth.core.records import FunctionRecord

SCHEMA = 1


class StoredRecordError(Exception):
    """Bytes in the store that are not a function record; the message says what is wrong with them."""


class _Document(BaseModel):
    schema_version: int
    record: FunctionRecord

    @field_validator("record", mode="before")
    @classmethod
    def _one_url(cls, record: Any) -> Any:
        """Records once held a single URL, that of the function itself."""
        if isinstance(record, dict) and record.get("url") is not None:
            return {**record, "urls": {LATEST: record["url"]}}
        return record


def encode_record(record: FunctionRecord) -> bytes:
    """A record as it is stored."""
    return _Document(schema_version=SCHEMA, record=record).model_dump_json().encode()


def decode_record(stored: bytes) -> FunctionRecord:
    """A stored record."""
    try:
        document = _Document.model_validate_json(stored)
    except ValidationError as error:
        raise StoredRecordError(str(error)) from error
    if document.schema_version > SCHEMA:
        raise StoredRecordError(f"written by a newer version: schema {document.schema_version} > {SCHEMA}")
    return document.record
