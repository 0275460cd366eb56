"""Which of a topic's messages a subscription wants.

Rule 1: attributes are filtered by their types: numbers as numbers, `String.Array` as any of its elements; binary ones
cannot be matched, only be there.
Rule 2: a filter on the body wants a body that is a JSON object; any other body does not match.
Source: "Amazon SNS subscription filter policies", developer guide.
"""

from collections.abc import Mapping
from typing import Any

import orjson

from hearth_gateway.core.event_pattern import Pattern
from hearth_gateway.core.parcel import Attribute


def matches(pattern: Pattern | None, message: str, attributes: Mapping[str, Attribute], *, in_body: bool) -> bool:
    """Whether a subscription with this filter (None: without one) gets the message."""
    if pattern is None:
        return True
    if not in_body:
        return pattern.matches({name: _value(attribute) for name, attribute in attributes.items()})
    try:
        body = orjson.loads(message)
    except orjson.JSONDecodeError:
        return False
    return isinstance(body, dict) and pattern.matches(body)


def _value(attribute: Attribute) -> Any:
    """An attribute as JSON. What is not what its type says is a text like any other."""
    if isinstance(attribute.value, bytes):
        return ""
    kind = attribute.data_type
    if kind == "String.Array" or kind.partition(".")[0] == "Number":
        try:
            return orjson.loads(attribute.value)
        except orjson.JSONDecodeError:
            return attribute.value
    return attribute.value
