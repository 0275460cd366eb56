"""What targets get for an event, and where paths lead."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hearth_gateway.core.bus_event import Place, event_of
from hearth_gateway.core.input_transformer import (
    MAX_INPUT_BYTES,
    Circumstances,
    InputTooLarge,
    InvalidInput,
    read_input,
    render,
)
from hearth_gateway.core.json_path import MISSING, InvalidPath, read_path

PLACE = Place("us-east-1", "000000000000")
AROUND = Circumstances("arn:aws:events:us-east-1:000000000000:rule/r", "r", "2026-11-21T10:00:00Z")
DETAIL: dict[str, Any] = {
    "instance-id": "i-1",
    "state": 'say "hi"\n',
    "count": 3,
    "ok": True,
    "none": None,
    "items": [{"name": "a"}, {"name": "b"}],
    "a.b": {"c": 1},
}
EVENT = event_of("id-1", PLACE, 1_795_255_200_000, source="s", detail_type="t", detail=DETAIL, resources=["r1"])


def filled(template: str, paths: dict[str, str], *, wants_json: bool = True) -> str:
    asked = read_input(None, None, template, paths)
    return render(asked, EVENT, AROUND, wants_json=wants_json).decode()


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("$", EVENT.members),
        ("$.detail.instance-id", "i-1"),
        ("$.detail-type", "t"),
        ("$.resources[0]", "r1"),
        ("$.resources[1]", MISSING),
        ("$.detail.items[1].name", "b"),
        ("$.detail.items[*].name", ["a", "b"]),
        ("$.detail.items.*", [{"name": "a"}, {"name": "b"}]),
        ("$.detail.nobody.name", MISSING),
        ("$.detail.count.x", MISSING),
        ("$.detail.none", None),
        ("$.detail['a.b'].c", 1),
        ('$["source"]', "s"),
        ("$.nobody[*]", []),
    ],
)
def test_a_path_leads_to_a_value(path: str, found: object) -> None:
    assert read_path(path).find(EVENT.members) == found


@pytest.mark.parametrize(
    "path", ["", "detail", "$detail", "$.", "$..a", "$.a[", "$.a[x]", "$.a[-1]", "$.a b", "$" + ".a" * 101]
)
def test_what_is_no_path_is_refused(path: str) -> None:
    with pytest.raises(InvalidPath):
        read_path(path)


@given(st.text(alphabet="$.[]*'\"ab0 -", max_size=30))
def test_any_text_is_a_path_or_refused(text: str) -> None:
    try:
        read_path(text).find(EVENT.members)
    except InvalidPath:
        return


def test_the_whole_event_is_what_a_target_gets_when_nothing_is_said() -> None:
    got = json.loads(render(read_input(None, None, None, {}), EVENT, AROUND, wants_json=True))
    assert got == {
        "version": "0",
        "id": "id-1",
        "detail-type": "t",
        "source": "s",
        "account": "000000000000",
        "time": "2026-11-21T10:00:00Z",
        "region": "us-east-1",
        "resources": ["r1"],
        "detail": DETAIL,
    }


def test_a_constant_and_a_part_replace_the_event() -> None:
    assert render(read_input('{"a": 1}', None, None, {}), EVENT, AROUND, wants_json=True) == b'{"a": 1}'
    assert render(read_input(None, "$.detail.items[0]", None, {}), EVENT, AROUND, wants_json=True) == b'{"name":"a"}'
    assert render(read_input(None, "$.detail.nobody", None, {}), EVENT, AROUND, wants_json=True) == b"null"


@pytest.mark.parametrize(
    ("template", "paths", "got"),
    [
        ('"instance <id> has <n>"', {"id": "$.detail.instance-id", "n": "$.detail.count"}, '"instance i-1 has 3"'),
        ('{"id": <id>, "n": <n>}', {"id": "$.detail.instance-id", "n": "$.detail.count"}, '{"id": "i-1", "n": 3}'),
        ('{"id": "<id>!"}', {"id": "$.detail.instance-id"}, '{"id": "i-1!"}'),
        ('{"ok": <ok>, "none": <none>}', {"ok": "$.detail.ok", "none": "$.detail.none"}, '{"ok": true, "none": null}'),
        ("[<a>, <a>]", {"a": "$.resources[0]"}, '["r1", "r1"]'),
        ('{"items": <i>}', {"i": "$.detail.items"}, '{"items": [{"name":"a"},{"name":"b"}]}'),
        ('"items: <i>"', {"i": "$.detail.items"}, '"items: [{name:a},{name:b}]"'),
        ('{"x": <x>, "y": "<x>"}', {"x": "$.detail.nobody"}, '{"x": "", "y": ""}'),
        ('"<s> said \\"<s>\\""', {"s": "$.source"}, '"s said \\"s\\""'),
        ('{"s": "<s>"}', {"s": "$.detail.state"}, '{"s": "say \\"hi\\"\\n"}'),
        ("<i>", {"i": "$.detail.items[0]"}, '{"name":"a"}'),
        ("<id>", {"id": "$.detail.instance-id"}, '"i-1"'),
        ('{"rule": <aws.events.rule-name>}', {}, '{"rule": "r"}'),
        ('{"rule": "<aws.events.rule-arn>"}', {}, f'{{"rule": "{AROUND.rule_arn}"}}'),
        ('{"t": <aws.events.event.ingestion-time>}', {}, '{"t": "2026-11-21T10:00:00Z"}'),
        ('{"a < b": "<not a variable"}', {}, '{"a < b": "<not a variable"}'),
    ],
)
def test_a_template_is_filled_in(template: str, paths: dict[str, str], got: str) -> None:
    assert filled(template, paths) == got


def test_the_event_goes_into_a_template_with_and_without_its_detail() -> None:
    got = json.loads(filled('{"whole": <aws.events.event.json>, "head": <aws.events.event>}', {}))
    assert got["whole"] == EVENT.members
    assert got["head"] == {name: value for name, value in EVENT.members.items() if name != "detail"}


def test_plain_text_is_text_for_a_queue_and_a_string_for_who_wants_json() -> None:
    template = "<id> is <n>\nfrom <s>"
    paths = {"id": "$.detail.instance-id", "n": "$.detail.count", "s": "$.source"}
    assert filled(template, paths, wants_json=False) == "i-1 is 3\nfrom s"
    assert filled(template, paths) == '"i-1 is 3\\nfrom s"'


@given(st.text(), st.recursive(st.none() | st.integers(0, 9) | st.text(), lambda inner: st.lists(inner, max_size=3)))
def test_no_event_makes_a_template_of_json_something_else(text: str, value: object) -> None:
    event = event_of("1", PLACE, 0, source="s", detail_type="t", detail={"a": text, "b": value})
    paths = {"a": "$.detail.a", "b": "$.detail.b", "c": "$.detail"}
    asked = read_input(None, None, '{"a": <a>, "b": <b>, "c": "<a> <b> <c>", "d": ["<b>"]}', paths)
    got = json.loads(render(asked, event, AROUND, wants_json=True))
    assert got["a"] == text
    assert got["b"] == value


@pytest.mark.parametrize(
    "said",
    [
        ("{", None, None, {}),
        ("{}", "$", None, {}),
        (None, "$", "<a>", {"a": "$"}),
        (None, "nonsense", None, {}),
        (None, None, "<a>", {}),
        (None, None, "<a>", {"a": "nonsense"}),
        (None, None, "<aws.events.nonsense>", {}),
        (None, None, "x", {"AWS.x": "$"}),
    ],
)
def test_an_input_that_cannot_be_made_is_refused(said: tuple[Any, Any, Any, dict[str, str]]) -> None:
    with pytest.raises(InvalidInput):
        read_input(*said)


def test_what_a_template_grows_to_is_bounded() -> None:
    event = event_of("1", PLACE, 0, source="s", detail_type="t", detail={"a": "x" * (MAX_INPUT_BYTES // 2)})
    asked = read_input(None, None, "[<aws.events.event.json>,<aws.events.event.json>]", {})
    with pytest.raises(InputTooLarge):
        render(asked, event, AROUND, wants_json=True)
