"""Condition operators, one by one."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.platform.policy.judged import allow, decision, deny, is_allowed

from hearth.core import wildcards
from hearth.core.policy import Decision


def holds(operator: str, wanted: Any, value: str | tuple[str, ...] | None) -> bool:
    """Whether a condition on the key `k` holds for this value of it."""
    given_values = {} if value is None else {"k": value}
    return is_allowed(allow(Condition={operator: {"K": wanted}}), **given_values)


@pytest.mark.parametrize(
    ("operator", "wanted", "value", "expected"),
    [
        ("StringEquals", "a", "a", True),
        ("StringEquals", "a", "A", False),
        ("StringEquals", "a*", "ab", False),
        ("StringEquals", ["x", "a"], "a", True),
        ("StringNotEquals", "a", "b", True),
        ("StringNotEquals", ["a", "b"], "b", False),
        ("StringEqualsIgnoreCase", "aB", "Ab", True),
        ("StringNotEqualsIgnoreCase", "aB", "Ab", False),
        ("StringLike", "a*c?", "abbbcd", True),
        ("StringLike", "a*c?", "abbbc", False),
        ("StringNotLike", "a*", "b", True),
        ("StringEquals", "${aws:username}", "bob", True),
        ("StringEquals", "${aws:nothing}", "bob", False),
        ("StringLike", "${aws:username}-?", "bob-1", True),
        ("ArnEquals", "arn:aws:s3:::b*", "arn:aws:s3:::bucket", True),
        ("ArnLike", "arn:aws:*:::b", "arn:aws:s3:::b", True),
        ("ArnLike", "arn:*:b", "arn:aws:s3:::b", False),
        ("ArnNotLike", "arn:aws:s3:::b", "arn:aws:s3:::c", True),
        ("ArnNotEquals", "arn:aws:s3:::b", "arn:aws:s3:::b", False),
        ("Bool", "true", "True", True),
        ("Bool", True, "true", True),
        ("Bool", "false", "true", False),
        ("IpAddress", "10.0.0.0/8", "10.1.2.3", True),
        ("IpAddress", "10.0.0.1", "10.0.0.1", True),
        ("IpAddress", "10.0.0.0/8", "11.0.0.1", False),
        ("IpAddress", "10.0.0.0/8", "::ffff:10.0.0.1", True),
        ("IpAddress", "2001:db8::/32", "2001:db8::1", True),
        ("IpAddress", "10.0.0.0/8", "nonsense", False),
        ("NotIpAddress", "10.0.0.0/8", "11.0.0.1", True),
        ("NotIpAddress", "10.0.0.0/8", "10.0.0.1", False),
        ("NumericEquals", 3, "3.0", True),
        ("NumericNotEquals", 3, "4", True),
        ("NumericLessThan", "10", "9", True),
        ("NumericLessThan", "10", "10", False),
        ("NumericLessThanEquals", 10, "10", True),
        ("NumericGreaterThan", 10, "10", False),
        ("NumericGreaterThanEquals", 10, "1e1", True),
        ("NumericEquals", 1, "one", False),
        ("NumericEquals", 1, "nan", False),
        ("DateLessThan", "2026-01-01T00:00:00Z", "2025-12-31T23:59:59Z", True),
        ("DateGreaterThan", "2026-01-01", "2025-12-31T23:59:59Z", False),
        ("DateEquals", "0", "1970-01-01T00:00:00Z", True),
        ("DateNotEquals", "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z", True),
        ("DateLessThanEquals", "2026-01-01T01:00:00+01:00", "2026-01-01T00:00:00Z", True),
        ("DateGreaterThanEquals", "1767225600", "2026-01-01T00:00:00Z", True),
        ("BinaryEquals", "QmFzZTY0", "QmFzZTY0", True),
        ("Null", "true", None, True),
        ("Null", "false", None, False),
        ("Null", "true", "v", False),
        ("Null", "false", "v", True),
        ("StringEquals", "a", None, False),
        ("StringNotEquals", "a", None, True),
        ("StringEqualsIfExists", "a", None, True),
        ("StringEqualsIfExists", "a", "b", False),
        ("NumericLessThanIfExists", 1, None, True),
        ("NumericNotEquals", 1, None, True),
        ("IpAddress", "10.0.0.0/8", None, False),
        ("NotIpAddress", "10.0.0.0/8", None, True),
        ("StringEquals", [], "a", False),
    ],
)
def test_operators(operator: str, wanted: Any, value: str | None, expected: bool) -> None:
    assert holds(operator, wanted, value) is expected


@pytest.mark.parametrize(
    ("operator", "values", "expected"),
    [
        ("ForAnyValue:StringEquals", ("a", "z"), True),
        ("ForAnyValue:StringEquals", ("y", "z"), False),
        ("ForAnyValue:StringEquals", None, False),
        ("ForAllValues:StringEquals", ("a", "b"), True),
        ("ForAllValues:StringEquals", ("a", "z"), False),
        ("ForAllValues:StringEquals", None, True),
        ("ForAnyValue:StringNotEquals", ("a", "z"), True),
        ("ForAllValues:StringNotEquals", ("a", "z"), False),
        ("ForAllValues:StringNotEquals", ("y", "z"), True),
    ],
)
def test_keys_with_several_values(operator: str, values: tuple[str, ...] | None, expected: bool) -> None:
    assert holds(operator, ["a", "b"], values) is expected


@pytest.mark.parametrize("operator", ["StringEquals", "StringNotEquals", "StringLike"])
def test_of_several_values_all_must_please_a_permission_and_any_a_denial(operator: str) -> None:
    condition = {operator: {"k": "red" if operator != "StringNotEquals" else "blue"}}
    mixed: dict[str, Any] = {"k": ("red", "blue")}
    assert decision(allow(Condition=condition), **mixed) is Decision.DENY_IMPLICIT
    assert decision(allow(), deny(Condition=condition), **mixed) is Decision.DENY_EXPLICIT
    assert is_allowed(allow(Condition=condition), k=("red", "red"))


def test_tags_that_differ_in_case_only_do_not_hide_each_other() -> None:
    tags: dict[str, Any] = {"aws__RequestTag/team": "blue", "aws__RequestTag/TEAM": "red"}
    for team in ("blue", "red"):
        condition = {"StringEquals": {"aws:RequestTag/Team": team}}
        assert not is_allowed(allow(Condition=condition), **tags)
        assert decision(allow(), deny(Condition=condition), **tags) is Decision.DENY_EXPLICIT


def test_all_conditions_must_hold() -> None:
    both = {"StringEquals": {"k": "a", "l": "b"}, "Bool": {"m": "true"}}
    assert is_allowed(allow(Condition=both), k="a", l="b", m="true")
    assert not is_allowed(allow(Condition=both), k="a", l="b")
    assert not is_allowed(allow(Condition=both), k="a", l="x", m="true")


@pytest.mark.parametrize(
    ("operator", "wanted"),
    [
        ("StringResembles", "a"),
        ("ForSomeValues:StringEquals", "a"),
        ("NumericEquals", "many"),
        ("DateLessThan", "tomorrow"),
        ("DateLessThan", "--5"),
        ("IpAddress", "everywhere"),
        ("Null", "maybe"),
    ],
)
def test_in_doubt_a_denial_applies_and_a_permission_does_not(operator: str, wanted: str) -> None:
    condition = {operator: {"k": wanted}}
    assert decision(allow(Condition=condition), k="a") is Decision.DENY_IMPLICIT
    assert decision(allow(), deny(Condition=condition), k="a") is Decision.DENY_EXPLICIT


@given(st.text("ab*?", max_size=12), st.text("ab", max_size=12))
def test_wildcards_match_like_the_definition(pattern: str, text: str) -> None:
    assert wildcards.matches(pattern, text) is _by_definition(pattern, text)


def _by_definition(pattern: str, text: str) -> bool:
    if not pattern:
        return not text
    if pattern[0] == "*":
        return any(_by_definition(pattern[1:], text[start:]) for start in range(len(text) + 1))
    return bool(text) and pattern[0] in ("?", text[0]) and _by_definition(pattern[1:], text[1:])


def test_patterns_that_are_only_stars_and_text_need_no_regular_expression(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wildcards, "_compiled", None)
    assert wildcards.matches("uncommon*text*s", "uncommon long text with stars")
    assert not wildcards.matches("a?" * 200 + "*", "shorter than the pattern")
    with pytest.raises(TypeError):
        wildcards.matches("uncomm?n*", "uncommon")


def test_a_hostile_pattern_costs_no_more_than_another() -> None:
    assert not wildcards.matches("*a" * 3000 + "b", "a" * 6000)
    assert not wildcards.matches("a*" * 3000 + "?b", "a" * 6000)
