"""Layers as bytes: how they lie in the store.

A document is `{"schema_version": 1, "layer": {...}}`. Members that a reader does not know are ignored and missing
ones take their defaults, so records survive an upgrade and a step back.
"""

from pydantic import BaseModel, ValidationError

from hearth.core.layers import Layer
from hearth.wire import StoredRecordError

SCHEMA = 1


class _Document(BaseModel):
    schema_version: int
    layer: Layer


def encode_layer(layer: Layer) -> bytes:
    """A layer as it is stored."""
    return _Document(schema_version=SCHEMA, layer=layer).model_dump_json().encode()


def decode_layer(stored: bytes) -> Layer:
    """A stored layer."""
    try:
        document = _Document.model_validate_json(stored)
    except ValidationError as error:
        raise StoredRecordError(str(error)) from error
    if document.schema_version > SCHEMA:
        raise StoredRecordError(f"written by a newer version: schema {document.schema_version} > {SCHEMA}")
    return document.layer
