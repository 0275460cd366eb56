"""Buses and rules as bytes, for the store. Unknown members of a newer record are ignored; missing ones get their
default."""

from pydantic import TypeAdapter, ValidationError

from hearth_gateway.core.bus_rule import Bus, Rule

_BUS = TypeAdapter(Bus)
_RULE = TypeAdapter(Rule)
_BUS_PREFIX, _RULE_PREFIX = "bus:", "rule:"


class UnreadableRecord(Exception):
    """The stored bytes are neither a bus nor a rule."""


def key_of(record: Bus | Rule) -> str:
    """The record's field in the store. No name of a bus or rule has a bar in it."""
    match record:
        case Bus():
            return f"{_BUS_PREFIX}{record.name}"
        case Rule():
            return f"{_RULE_PREFIX}{record.bus}|{record.name}"


def encode(record: Bus | Rule) -> bytes:
    """JSON, readable with redis-cli."""
    return _BUS.dump_json(record) if isinstance(record, Bus) else _RULE.dump_json(record)


def decode(key: str, stored: bytes) -> Bus | Rule:
    """The bus or rule that was stored. Raises UnreadableRecord."""
    try:
        return _BUS.validate_json(stored) if key.startswith(_BUS_PREFIX) else _RULE.validate_json(stored)
    except ValidationError as error:
        raise UnreadableRecord(str(error)) from error
