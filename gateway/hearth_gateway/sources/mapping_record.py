"""Mappings as bytes, for the store. Unknown members of a newer record are ignored; missing ones get their default."""

from pydantic import TypeAdapter, ValidationError

from hearth_gateway.core.mapping import EventSourceMapping

_ADAPTER = TypeAdapter(EventSourceMapping)


class UnreadableRecord(Exception):
    """The stored bytes are not a mapping."""


def encode_mapping(mapping: EventSourceMapping) -> bytes:
    """JSON, readable with redis-cli."""
    return _ADAPTER.dump_json(mapping)


def decode_mapping(stored: bytes) -> EventSourceMapping:
    """The mapping that was stored. Raises UnreadableRecord."""
    try:
        return _ADAPTER.validate_json(stored)
    except ValidationError as error:
        raise UnreadableRecord(str(error)) from error
