"""Filter criteria: what passes from every kind of source, and what is no filter."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.gateway.patterns.naive import EVENTS, PATTERNS

from hearth.core.errors import InvalidParameterValue
from hearth_gateway.core.event_pattern import compile_pattern
from hearth_gateway.core.filtering import INVALID, MAX_FILTERS, Filters
from hearth_gateway.core.mapping import SourceKind

ALL_KINDS = list(SourceKind)


def filters(*patterns: Any, kind: SourceKind = SourceKind.QUEUE) -> Filters:
    return Filters.of([json.dumps(pattern) for pattern in patterns], kind)


@pytest.mark.parametrize(
    ("body", "pattern", "passes"),
    [
        ("hello", {"body": ["hello"]}, True),
        ("hello", {"body": [{"prefix": "he"}]}, True),
        ("hello", {"body": ["other"]}, False),
        ("hello", {"body": {"a": [1]}}, False),
        ("hello", {"body": {"a": [{"exists": False}]}}, False),
        ('{"a": 1}', {"body": ['{"a": 1}']}, False),
        ('{"a": 1}', {"body": [{"anything-but": "x"}]}, False),
        ('["hello"]', {"body": ["hello"]}, False),
        ('{"a": 1}', {"body": {"a": [1]}}, True),
        ('{"a": 1}', {"body": {"a": [2]}}, False),
        ('[{"a": 1}, {"a": 2}]', {"body": {"a": [2]}}, True),
        ("42", {"body": ["42"]}, True),
        ("42", {"body": {"a": [{"exists": False}]}}, False),
        ("hello", {"attributes": {"SenderId": ["me"]}}, True),
        ('{"a": 1}', {"attributes": {"SenderId": ["me"]}}, True),
        ('{"a": 1}', {"attributes": {"SenderId": ["you"]}}, False),
        ('{"a": 1}', {"messageAttributes": {"k": {"stringValue": ["v"]}}, "body": {"a": [1]}}, True),
        (b'{"a": 1}', {"body": {"a": [1]}}, True),
        (b"hello", {"body": ["hello"]}, True),
        (b"\xff\xfe", {"body": [{"exists": True}]}, True),
        (b"\xff\xfe", {"body": {"a": [{"exists": False}]}}, False),
    ],
)
def test_a_body_passes_by_what_it_is_and_what_the_pattern_asks_for(
    body: str | bytes, pattern: Any, *, passes: bool
) -> None:
    record = {
        "messageId": "1",
        "body": body,
        "attributes": {"SenderId": "me"},
        "messageAttributes": {"k": {"stringValue": "v", "dataType": "String"}},
    }
    for kind in (SourceKind.QUEUE, SourceKind.LIST):
        assert filters(pattern, kind=kind).accepts(record) is passes


@pytest.mark.parametrize(
    ("kind", "member"),
    [
        (SourceKind.QUEUE, "body"),
        (SourceKind.LIST, "body"),
        (SourceKind.STREAM, "data"),
        (SourceKind.CHANNEL, "message"),
    ],
)
def test_each_kind_of_source_has_its_member_for_what_was_sent(kind: SourceKind, member: str) -> None:
    asked = filters({member: {"temperature": [{"numeric": [">", 30]}]}, "partitionKey": ["p"]}, kind=kind)
    assert asked.accepts({"partitionKey": "p", member: b'{"temperature": 31}'})
    assert not asked.accepts({"partitionKey": "q", member: b'{"temperature": 31}'})
    assert not asked.accepts({"partitionKey": "p", member: b'{"temperature": 30}'})
    assert not asked.accepts({"partitionKey": "p", member: b"hot"})
    assert not asked.accepts({"partitionKey": "p"})


def test_one_of_several_filters_is_enough() -> None:
    asked = filters({"body": {"a": [1]}}, {"body": ["x"]}, {"messageId": ["7"]})
    assert asked.accepts({"body": '{"a": 1}'})
    assert asked.accepts({"body": "x"})
    assert asked.accepts({"body": "y", "messageId": "7"})
    assert not asked.accepts({"body": "y", "messageId": "8"})


def test_a_choice_may_ask_for_json_or_for_text() -> None:
    asked = filters({"$or": [{"body": {"a": [1]}}, {"body": ["x"]}, {"id": ["i"]}], "kind": ["k"]})
    assert asked.accepts({"body": '{"a": 1}', "kind": "k"})
    assert asked.accepts({"body": "x", "kind": "k"})
    assert asked.accepts({"body": "other", "id": "i", "kind": "k"})
    assert not asked.accepts({"body": "x", "kind": "other"})
    assert not asked.accepts({"body": "other", "kind": "k"})


def test_what_is_asked_inside_and_beside_a_choice_is_asked_together() -> None:
    asked = filters({"body": {"a": [1]}, "$or": [{"body": {"b": [2]}}, {"body": ["x"]}, {"id": ["i"]}]})
    assert asked.accepts({"body": '{"a": 1, "b": 2}'})
    assert asked.accepts({"body": '{"a": 1}', "id": "i"})
    assert not asked.accepts({"body": '{"b": 2}'})
    assert not asked.accepts({"body": "x"})


@pytest.mark.parametrize("kind", ALL_KINDS)
def test_without_filters_everything_passes(kind: SourceKind) -> None:
    nothing_asked = Filters.of([], kind)
    assert not nothing_asked
    assert nothing_asked.accepts({})
    assert filters({"a": ["x"]}, kind=kind)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "simple string",
        '"simple string"',
        "[]",
        "{}",
        '{"eventSource": "aws:sqs"}',
        '{"eventSource": []}',
        '{"body": {"a": null}}',
        '{"a": ["' + "x" * 4096 + '"]}',
    ],
)
@pytest.mark.parametrize("kind", ALL_KINDS)
def test_what_is_no_filter_is_refused_in_the_words_of_the_service(text: str, kind: SourceKind) -> None:
    with pytest.raises(InvalidParameterValue) as caught:
        Filters.of([text], kind)
    assert caught.value.message == INVALID


def test_more_filters_than_the_quota_are_refused() -> None:
    pattern = '{"a": ["x"]}'
    assert Filters.of([pattern] * MAX_FILTERS, SourceKind.QUEUE)
    with pytest.raises(InvalidParameterValue):
        Filters.of([pattern] * (MAX_FILTERS + 1), SourceKind.QUEUE)


@settings(max_examples=30, deadline=None)
@given(PATTERNS, EVENTS)
def test_what_is_carried_is_matched_as_a_pattern_by_itself(pattern: Any, event: Any) -> None:
    wanted = compile_pattern(json.dumps(pattern)).matches(event)
    assert filters({"body": pattern}).accepts({"body": json.dumps(event)}) == wanted


@settings(max_examples=30, deadline=None)
@given(PATTERNS, st.text() | st.binary())
def test_nothing_that_is_carried_breaks_a_filter(pattern: Any, body: str | bytes) -> None:
    for kind in ALL_KINDS:
        asked = filters({"body": pattern, "data": pattern}, pattern, kind=kind)
        assert asked.accepts({"body": body, "data": body, "message": body}) in (True, False)
