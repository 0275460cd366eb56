"""Filter policies of subscriptions, over attributes and bodies."""

import json
from typing import Any

import pytest

from hearth_gateway.core.event_pattern import InvalidPattern
from hearth_gateway.core.filter_policy import FilterPolicy, Scope
from hearth_gateway.core.parcel import Attribute

ATTRIBUTES = {
    "store": Attribute("String", "example_corp"),
    "price": Attribute("Number", "210.75"),
    "interests": Attribute("String.Array", '["soccer", "rugby", null, 5, true]'),
    "picture": Attribute("Binary", b"example"),
    "weird": Attribute("Number", "many"),
}


def policy(written: Any, scope: Scope = Scope.ATTRIBUTES) -> FilterPolicy:
    return FilterPolicy.of(json.dumps(written), scope)


@pytest.mark.parametrize(
    ("written", "passes"),
    [
        ({}, True),
        ({"store": ["example_corp"]}, True),
        ({"store": ["other"]}, False),
        ({"store": [{"prefix": "example"}], "price": [{"numeric": [">", 200, "<=", 300]}]}, True),
        ({"price": ["210.75"]}, False),
        ({"price": [210.75]}, True),
        ({"interests": ["rugby"]}, True),
        ({"interests": [{"anything-but": ["soccer", "rugby"]}]}, True),
        ({"interests": [5]}, True),
        ({"picture": [{"exists": True}]}, False),
        ({"picture": [{"exists": False}]}, True),
        ({"weird": [{"exists": True}]}, False),
        ({"$or": [{"store": ["x"]}, {"price": [{"numeric": [">", 1]}]}]}, True),
    ],
)
def test_a_message_passes_by_its_attributes(written: Any, *, passes: bool) -> None:
    assert policy(written).accepts(ATTRIBUTES, "no JSON") is passes


@pytest.mark.parametrize(
    ("body", "passes"),
    [('{"order": {"state": "paid"}}', True), ('{"order": {"state": "open"}}', False), ("paid", False), ("[]", False)],
)
def test_a_message_passes_by_its_body(body: str, *, passes: bool) -> None:
    assert policy({"order": {"state": ["paid"]}}, Scope.BODY).accepts(ATTRIBUTES, body) is passes


@pytest.mark.parametrize(
    ("written", "scope"),
    [
        ({"a": {"b": ["x"]}}, Scope.ATTRIBUTES),
        ({f"k{place}": ["x"] for place in range(6)}, Scope.ATTRIBUTES),
        ({"a": {f"k{place}": ["x"] for place in range(6)}}, Scope.BODY),
        ({"a": list(range(13)), "b": list(range(12))}, Scope.ATTRIBUTES),
        ({"a": {"b": {"c": list(range(51))}}}, Scope.BODY),
        ({"a": "x"}, Scope.ATTRIBUTES),
        ([], Scope.ATTRIBUTES),
    ],
)
def test_a_policy_beyond_the_constraints_is_refused(written: Any, scope: Scope) -> None:
    with pytest.raises(InvalidPattern):
        policy(written, scope)


def test_a_policy_at_the_constraints_is_taken() -> None:
    assert policy({"a": list(range(15)), "b": list(range(10))})
    assert policy({"a": {"b": {"c": list(range(50))}}}, Scope.BODY)
    assert policy({f"k{place}": ["x"] for place in range(5)})
