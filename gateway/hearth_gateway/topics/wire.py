"""Topics and subscriptions as bytes: how they lie in the store.

A document is `{"schema_version": 1, "topic": {...}}` or `{..., "subscription": {...}}`. Members that a reader does not
know are ignored and missing ones take their defaults.
"""

from pydantic import BaseModel, ValidationError

from hearth.wire import StoredRecordError
from hearth_gateway.core.topics import Subscription, Topic

SCHEMA = 1


class _Document(BaseModel):
    schema_version: int
    topic: Topic | None = None
    subscription: Subscription | None = None


def encode(record: Topic | Subscription) -> bytes:
    """A topic or subscription as it is stored."""
    match record:
        case Topic():
            document = _Document(schema_version=SCHEMA, topic=record)
        case Subscription():
            document = _Document(schema_version=SCHEMA, subscription=record)
    return document.model_dump_json(exclude_none=True).encode()


def decode(stored: bytes) -> Topic | Subscription:
    """A stored topic or subscription."""
    try:
        document = _Document.model_validate_json(stored)
    except ValidationError as error:
        raise StoredRecordError(str(error)) from error
    found = document.topic or document.subscription
    if document.schema_version > SCHEMA or found is None:
        raise StoredRecordError(f"not a topic or subscription of schema {SCHEMA} or older")
    return found
