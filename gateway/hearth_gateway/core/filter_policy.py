"""Filter policies: which messages of a topic a subscription is for.

Rule 1: a policy is an event pattern, over the message's attributes or, as `FilterPolicyScope` says, over its body.
Rule 2: attributes are flat: strings, numbers, and arrays of them (`String.Array`); binary ones are not looked at. A
body that is no JSON object has no fields.
Rule 3: an empty policy is none.
Source: "Amazon SNS message filtering" and "Filter policy constraints", Amazon SNS developer guide.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

import orjson

from hearth_gateway.core.event_pattern import OR, InvalidPattern, Pattern, is_choice, pattern_of
from hearth_gateway.core.parcel import Attribute

MAX_NAMES = 5
MAX_COMBINATIONS = 150
MAX_BYTES = 256 * 1024


class Scope(Enum):
    """What a policy looks at."""

    ATTRIBUTES = "MessageAttributes"
    BODY = "MessageBody"


@dataclass(frozen=True, slots=True)
class FilterPolicy:
    """A policy that was read and checked. Without a pattern it accepts every message."""

    pattern: Pattern | None
    scope: Scope

    @classmethod
    def of(cls, text: str, scope: Scope = Scope.ATTRIBUTES) -> "FilterPolicy":
        """The policy that a subscription's attribute is. Raises InvalidPattern."""
        if len(text.encode("utf-8", "replace")) > MAX_BYTES:
            raise InvalidPattern("Filter policy is too large")
        try:
            written = orjson.loads(text)
        except orjson.JSONDecodeError as error:
            raise InvalidPattern("Filter policy is not valid JSON") from error
        if written == {}:
            return cls(None, scope)
        pattern = pattern_of(written)
        _check_size(written, scope)
        return cls(pattern, scope)

    def accepts(self, attributes: Mapping[str, Attribute], body: str) -> bool:
        """Whether the subscription gets a message."""
        if self.pattern is None:
            return True
        if self.scope is Scope.ATTRIBUTES:
            return self.pattern.matches(_values(attributes))
        try:
            value = orjson.loads(body)
        except orjson.JSONDecodeError:
            return False
        return isinstance(value, dict) and self.pattern.matches(value)


def _values(attributes: Mapping[str, Attribute]) -> dict[str, Any]:
    """Attributes as a pattern sees them; one whose value is not what its type says is not seen."""
    found: dict[str, Any] = {}
    for name, attribute in attributes.items():
        if isinstance(attribute.value, str):
            try:
                found[name] = _value(attribute.data_type, attribute.value)
            except orjson.JSONDecodeError:
                continue
    return found


def _value(data_type: str, text: str) -> object:
    if data_type == "String.Array" or data_type.partition(".")[0] == "Number":
        return orjson.loads(text)
    return text


def _check_size(written: Mapping[str, Any], scope: Scope) -> None:
    if scope is Scope.ATTRIBUTES and any(isinstance(value, dict) for value in written.values()):
        raise InvalidPattern("Filter policy scope MessageAttributes does not support nested filter policy")
    if len(set(_names(written))) > MAX_NAMES:
        raise InvalidPattern(f"Filter policy can not have more than {MAX_NAMES} keys")
    if _combinations(written, 1) > MAX_COMBINATIONS:
        raise InvalidPattern("Filter policy is too complex")


def _names(written: Mapping[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The paths of all leaves."""
    for name, value in written.items():
        if name == OR and is_choice(value):
            for one in value:
                yield from _names(one, path)
        elif isinstance(value, dict):
            yield from _names(value, (*path, name))
        else:
            yield (*path, name)


def _combinations(written: Mapping[str, Any], depth: int) -> int:
    """The product of how many values each leaf has, times how deep it is."""
    found = 1
    for name, value in written.items():
        if name == OR and is_choice(value):
            found *= sum(_combinations(one, depth) for one in value)
        elif isinstance(value, dict):
            found *= _combinations(value, depth + 1)
        else:
            found *= len(value) * depth
    return found
