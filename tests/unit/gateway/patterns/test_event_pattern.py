"""Event patterns: every operator, arrays, `$or`, and that nothing but a refusal comes of what is no pattern."""

import json
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.unit.gateway.patterns.naive import EVENTS, LEAVES, PATTERNS, VALUES, as_text, naive_matches

from hearth_gateway.core.event_pattern import MAX_DEPTH, InvalidPattern, compile_pattern

Json = dict[str, Any]


def matches(pattern: Json, event: Any) -> bool:
    return compile_pattern(json.dumps(pattern)).matches(event)


@pytest.mark.parametrize(
    ("alternative", "fitting", "other"),
    [
        ("x", ["x"], ["X", "", "xx", 1, None, True]),
        ("", [""], ["x", None]),
        (1, [1, 1.0], ["1", True, 2]),
        (300, [300, 300.0, 3.0e2], ["300"]),
        (True, [True], [1, "true", False]),
        (False, [False], [0, None, ""]),
        (None, [None], ["null", "", 0, False]),
        ({"prefix": "us-"}, ["us-", "us-east-1"], ["eu-west-1", "US-", 1]),
        ({"prefix": {"equals-ignore-case": "Us-"}}, ["US-east", "us-"], ["eu-"]),
        ({"suffix": ".png"}, ["a.png", ".png"], ["a.PNG", "png", "a.png "]),
        ({"suffix": {"equals-ignore-case": ".Png"}}, ["a.PNG", "a.png"], ["png"]),
        ({"equals-ignore-case": "Alice"}, ["alice", "ALICE"], ["alicE ", "bob", None]),
        ({"wildcard": "a*b"}, ["ab", "axxb", "a*b"], ["abx", "xab", "a"]),
        ({"wildcard": "*"}, ["", "x"], [1, None]),
        ({"wildcard": r"a\*b\\*"}, ["a*b\\", "a*b\\c"], ["axb\\"]),
        ({"wildcard": "*/lib/*.py"}, ["a/lib/b.py", "/lib/.py"], ["lib/b.py", "a/lib/b.pyc"]),
        ({"anything-but": "x"}, ["y", "", 1, None, True], ["x"]),
        ({"anything-but": ["x", "y"]}, ["z"], ["x", "y"]),
        ({"anything-but": 5}, [6, "5"], [5, 5.0]),
        ({"anything-but": [5, 6]}, [7], [5, 6.0]),
        ({"anything-but": {"prefix": "a"}}, ["b", 1], ["a", "ab"]),
        ({"anything-but": {"prefix": ["a", "b"]}}, ["c"], ["a1", "b1"]),
        ({"anything-but": {"suffix": ["a", "b"]}}, ["c"], ["1a", "1b"]),
        ({"anything-but": {"prefix": {"equals-ignore-case": "a"}}}, ["b"], ["A1", "a1"]),
        ({"anything-but": {"wildcard": "*/lib/*"}}, ["a/bin/b"], ["a/lib/b"]),
        ({"anything-but": {"wildcard": ["a*", "*b"]}}, ["ca"], ["ac", "cb"]),
        ({"anything-but": {"equals-ignore-case": "initializing"}}, ["running"], ["INITIALIZING"]),
        ({"anything-but": {"equals-ignore-case": ["a", "B"]}}, ["c"], ["A", "b"]),
        ({"numeric": ["=", 100]}, [100, 1.0e2], [101, "100", True]),
        ({"numeric": [">", 10, "<=", 20]}, [10.5, 20], [10, 20.5]),
        ({"numeric": [">=", 0]}, [0, 1], [-1]),
        ({"numeric": ["<", 0]}, [-1], [0]),
        ({"numeric": [">", 1_700_000_000_000]}, [1_700_000_000_001], [1_700_000_000_000]),
        ({"exists": True}, ["x", "", None, False, 0], [{}, {"b": 1}, []]),
        ({"cidr": "10.0.0.0/24"}, ["10.0.0.0", "10.0.0.255"], ["10.0.1.0", "10.0.0", "::1", 1]),
        ({"cidr": "10.0.0.7/24"}, ["10.0.0.1"], ["10.0.1.1"]),
        ({"cidr": "2001:db8::/32"}, ["2001:db8::1", "2001:0DB8:0:0::1"], ["2001:db9::1", "10.0.0.1"]),
    ],
)
def test_an_operator_is_satisfied_by_these_values_and_not_by_those(
    alternative: Any, fitting: list[Any], other: list[Any]
) -> None:
    pattern = compile_pattern(json.dumps({"a": [alternative]}))
    assert [value for value in fitting if not pattern.matches({"a": value})] == []
    assert [value for value in other if pattern.matches({"a": value})] == []
    assert not pattern.matches({"b": fitting[0]})


def test_fields_side_by_side_must_all_match_and_alternatives_need_not() -> None:
    pattern = {"a": ["x", "y"], "b": {"c": [1]}}
    assert matches(pattern, {"a": "y", "b": {"c": 1}, "d": 0})
    assert not matches(pattern, {"a": "y", "b": {"c": 2}})
    assert not matches(pattern, {"a": "z", "b": {"c": 1}})


def test_or_needs_one_of_its_patterns_and_stands_beside_other_fields() -> None:
    pattern = {
        "s": ["o"],
        "$or": [{"a": ["x"]}, {"b": [{"numeric": [">", 1]}]}, {"c": {"$or": [{"d": [1]}, {"e": [2]}]}}],
    }
    assert matches(pattern, {"s": "o", "a": "x"})
    assert matches(pattern, {"s": "o", "b": 2})
    assert matches(pattern, {"s": "o", "c": {"e": 2}})
    assert not matches(pattern, {"s": "o", "c": {"e": 1}})
    assert not matches(pattern, {"s": "p", "a": "x"})


def test_a_field_called_or_that_is_no_choice_is_a_field() -> None:
    assert matches({"$or": ["x"]}, {"$or": "x"})
    assert matches({"$or": [{"prefix": "x"}, {"suffix": "y"}]}, {"$or": "xz"})


def test_an_array_matches_by_any_of_its_elements_however_deep() -> None:
    assert matches({"a": ["x"]}, {"a": ["y", ["z", ["x"]]]})
    assert matches({"a": [{"anything-but": "x"}]}, {"a": ["x", "y"]})
    assert not matches({"a": [{"anything-but": "x"}]}, {"a": ["x"]})
    assert not matches({"a": ["x"]}, {"a": []})


def test_a_pattern_for_objects_in_an_array_needs_one_that_matches_all_of_it() -> None:
    pattern = {"a": {"x": [1], "y": [2]}}
    assert matches(pattern, {"a": [{"x": 1}, {"x": 1, "y": 2}]})
    assert not matches(pattern, {"a": [{"x": 1}, {"y": 2}]})


@pytest.mark.parametrize("event", [{}, {"a": 1}, {"a": {}}, {"a": []}, {"a": {"b": {}}}, {"a": {"b": []}}, [], 3])
def test_what_has_no_value_does_not_exist(event: Any) -> None:
    assert matches({"a": {"b": [{"exists": False}]}}, event)


@pytest.mark.parametrize("event", [{"a": {"b": None}}, {"a": {"b": [0]}}, {"a": [{"c": 1}, {"b": 1}]}])
def test_a_value_anywhere_under_the_path_exists(event: Any) -> None:
    assert not matches({"a": {"b": [{"exists": False}]}}, event)


def test_a_field_may_be_absent_or_have_a_value() -> None:
    pattern = {"a": [{"exists": False}, "x"]}
    assert matches(pattern, {})
    assert matches(pattern, {"a": "x"})
    assert not matches(pattern, {"a": "y"})


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "not valid JSON"),
        ("{", "not valid JSON"),
        ("[]", "Filter is not an object"),
        ("null", "Filter is not an object"),
        ('"x"', "Filter is not an object"),
        ("{}", "Empty objects"),
        ('{"a": {}}', "Empty objects"),
        ('{"a": []}', "Empty arrays"),
        ('{"a": "x"}', '"a" must be an object or an array'),
        ('{"a": null}', '"a" must be an object or an array'),
        ('{"a": [["x"]]}', "Match value must be"),
        ('{"a": [{}]}', "Only one key"),
        ('{"a": [{"prefix": "x", "suffix": "y"}]}', "Only one key"),
        ('{"a": [{"like": "x"}]}', "Unrecognized match type like"),
        ('{"a": [{"prefix": 1}]}', "prefix match pattern must be a string"),
        ('{"a": [{"prefix": {"suffix": "x"}}]}', "suffix"),
        ('{"a": [{"equals-ignore-case": null}]}', "must be a string"),
        ('{"a": [{"wildcard": "a**b"}]}', "Consecutive wildcard characters at pos 1"),
        ('{"a": [{"wildcard": "a\\\\xb"}]}', "Invalid escape character at pos 1"),
        ('{"a": [{"wildcard": "a\\\\"}]}', "Invalid escape character at pos 1"),
        ('{"a": [{"exists": 0}]}', "either true or false"),
        ('{"a": [{"exists": "false"}]}', "either true or false"),
        ('{"a": [{"anything-but": []}]}', "Empty arrays"),
        ('{"a": [{"anything-but": ["x", 1]}]}', "mixed type"),
        ('{"a": [{"anything-but": null}]}', "anything-but"),
        ('{"a": [{"anything-but": true}]}', "anything-but"),
        ('{"a": [{"anything-but": {"numeric": ["=", 1]}}]}', "anything-but pattern: numeric"),
        ('{"a": [{"anything-but": {"prefix": ""}}]}', "Null prefix/suffix"),
        ('{"a": [{"anything-but": {"prefix": [1]}}]}', "must be a string"),
        ('{"a": [{"numeric": 5}]}', "must be an array"),
        ('{"a": [{"numeric": []}]}', "Too few"),
        ('{"a": [{"numeric": [">", "1"]}]}', "must be numeric"),
        ('{"a": [{"numeric": [">", true]}]}', "must be numeric"),
        ('{"a": [{"numeric": ["!=", 1]}]}', "Unrecognized numeric"),
        ('{"a": [{"numeric": [1, 1]}]}', "Unrecognized numeric"),
        ('{"a": [{"numeric": [">", 5, "<", 5]}]}', "Bottom must be less"),
        ('{"a": [{"numeric": ["<", 5, ">", 1]}]}', "Unrecognized numeric"),
        ('{"a": [{"cidr": "10.0.0.0"}]}', "one '/' required"),
        ('{"a": [{"cidr": "10.0.0.0/33"}]}', "Malformed CIDR"),
        ('{"a": [{"cidr": "300.0.0.0/8"}]}', "Malformed CIDR"),
        ('{"$or": [{"a": ["x"]}]}', "Unrecognized match type a"),
        ('{"$or": [{"a": ["x"]}, {}]}', "Empty objects"),
    ],
)
def test_what_is_no_pattern_is_refused_with_its_reason(text: str, reason: str) -> None:
    with pytest.raises(InvalidPattern, match=reason.replace("*", r"\*")):
        compile_pattern(text)


def test_what_or_multiplies_to_is_bounded() -> None:
    def choices(count: int) -> Json:
        return {"$or": [{f"f{place}": ["x"]} for place in range(count)]}

    assert compile_pattern(json.dumps({"a": choices(25), "b": choices(40)}))
    with pytest.raises(InvalidPattern, match="too complex"):
        compile_pattern(json.dumps({"a": choices(25), "b": choices(41)}))


def test_a_pattern_is_as_deep_as_the_bound_and_no_deeper() -> None:
    def nested(depth: int) -> str:
        return '{"a":' * depth + '{"b":["x"]}' + "}" * depth

    event: Any = {"b": "x"}
    for _ in range(MAX_DEPTH):
        event = {"a": [event]}
    assert compile_pattern(nested(MAX_DEPTH)).matches(event)
    for depth in (MAX_DEPTH + 1, 500, 100_000):
        with pytest.raises(InvalidPattern):
            compile_pattern(nested(depth))


def test_an_event_may_be_nested_as_deeply_as_json() -> None:
    event = json.loads("[" * 900 + '{"a": "x"}' + "]" * 900)
    assert matches({"a": ["x"]}, event)
    assert matches({"a": ["x"]}, {"a": json.loads("[" * 900 + '"x"' + "]" * 900)})


def test_a_wildcard_cannot_make_the_work_explode() -> None:
    pattern = {"a": [{"wildcard": "*".join("a" * 200) + "*b"}]}
    assert not matches(pattern, {"a": "a" * 100_000})


@settings(max_examples=100, deadline=None)
@given(PATTERNS, EVENTS)
@example({"a": {"b": [1], "c": [{"exists": False}]}}, {"a": [{"b": 1}, {"c": 2}]})
@example({"a": {"b": ["a"]}, "$or": [{"a": {"c": ["a"]}}, {"b": [0]}]}, {"a": [{"b": "a"}, {"c": "a"}]})
def test_matching_agrees_with_the_language_spelled_out(pattern: Json, event: Json) -> None:
    assert compile_pattern(as_text(pattern)).matches(event) == naive_matches(pattern, event)


@settings(max_examples=150, deadline=None)
@given(LEAVES, VALUES)
def test_a_leaf_agrees_with_the_language_spelled_out(alternatives: list[Any], value: Any) -> None:
    pattern, event = {"a": alternatives}, {"a": value}
    assert compile_pattern(as_text(pattern)).matches(event) == naive_matches(pattern, event)


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["$or", "a", "prefix", "numeric", "exists", "anything-but", "wildcard", "cidr"]), inner
        )
    ),
    max_leaves=12,
)


@settings(max_examples=80, deadline=None)
@given(ANYTHING, ANYTHING)
def test_any_json_is_a_pattern_or_refused_and_no_event_breaks_one(written: Any, event: Any) -> None:
    try:
        pattern = compile_pattern(json.dumps(written))
    except InvalidPattern:
        return
    assert pattern.matches(event) in (True, False)


@given(st.text() | st.binary())
def test_any_text_is_a_pattern_or_refused(text: str | bytes) -> None:
    with pytest.raises(InvalidPattern):
        compile_pattern(text)
