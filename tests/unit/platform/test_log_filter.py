"""Filter patterns: which events are wanted."""

import json
import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hearth.core.log_filter import InvalidPattern, compile_pattern


@pytest.mark.parametrize(
    ("pattern", "message", "is_wanted"),
    [
        ("", "anything", True),
        ("   ", "anything", True),
        ("ERROR", "[ERROR] boom", True),
        ("error", "[ERROR] boom", False),
        ("ERROR boom", "boom and ERROR", True),
        ("ERROR boom", "ERROR only", False),
        ('"out of memory"', "ran out of memory", True),
        ('"out of memory"', "memory out of", False),
        ('"say \\"hi\\""', 'they say "hi"', True),
        ("?ERROR ?WARN", "a WARN", True),
        ("?ERROR ?WARN", "an INFO", False),
        ("?ERROR REPORT", "REPORT only", True),
        ("ERROR -boom", "ERROR boom", False),
        ("ERROR -boom", "ERROR bang", True),
        ('-"health check"', "a health check", False),
        ('-"health check"', "a check of health", True),
        ("START RequestId: -x", "START RequestId: 1", True),
    ],
)
def test_words(pattern: str, message: str, is_wanted: bool) -> None:
    assert compile_pattern(pattern)(message) is is_wanted


EVENT = json.dumps(
    {"level": "ERROR", "n": 5, "ok": True, "none": None, "at": {"x y": [1, {"z": "deep"}]}, "text": "a\nb", "big": 1e3}
)


@pytest.mark.parametrize(
    ("pattern", "is_wanted"),
    [
        ('{ $.level = "ERROR" }', True),
        ("{$.level=ERROR}", True),
        ('{ $.level = "INFO" }', False),
        ('{ $.level != "INFO" }', True),
        ('{ $.missing != "INFO" }', False),
        ('{ $.level = "ERR*" }', True),
        ('{ $.level = "*R*O*" }', True),
        ('{ $.level = "*RORX" }', False),
        ("{ $.n = 5 }", True),
        ("{ $.n = 5.0 }", True),
        ('{ $.n = "5" }', False),
        ("{ $.n > 4 && $.n < 6 }", True),
        ("{ $.n >= 5 && $.n <= 4 }", False),
        ("{ $.big >= 1e3 }", True),
        ("{ $.level > 4 }", False),
        ("{ $.ok IS TRUE }", True),
        ("{ $.ok IS FALSE }", False),
        ("{ $.ok = true }", True),
        ("{ $.none IS NULL }", True),
        ("{ $.missing IS NULL }", False),
        ("{ $.missing NOT EXISTS }", True),
        ("{ $.level EXISTS }", True),
        ("{ $.n = 1 || $.n = 5 && $.level = ERROR }", True),
        ("{ ($.n = 5 || $.n = 1) && $.level = INFO }", False),
    ],
)
def test_json(pattern: str, is_wanted: bool) -> None:
    assert compile_pattern(pattern)(EVENT) is is_wanted


def test_a_selector_goes_into_lists_and_objects() -> None:
    test = compile_pattern('{ $.a[1]["b"].c = "*ep" }')
    assert test('{"a":[0,{"b":{"c":"deep"}}]}')
    assert not test('{"a":[0]}')
    assert not test('{"a":{"1":{"b":{"c":"deep"}}}}')


@pytest.mark.parametrize("message", ["level ERROR", '{"level": "ERROR"', '["ERROR"]', "", "{" * 100_000])
def test_what_is_no_object_does_not_match(message: str) -> None:
    assert not compile_pattern('{ $.level = "ERROR" }')(message)


@pytest.mark.parametrize(
    "pattern",
    ["[a, b]", '"open', "%re.*%", "{ }", "{ $.a }", "{ $.a = }", "{ $.a = 1 $.b }", "{ ($.a = 1 }", "{ $.a > x }",
     "{ a = 1 }", "{ $.a[x] = 1 }", "{ $.at['x y'] = 1 }", "{ $.a && 1 }", "{ $.a IS ODD }",
     "{" + "(" * 3000 + "}", "{ $.a = 1 ) }"],
)  # fmt: skip
def test_what_is_not_understood_is_an_error(pattern: str) -> None:
    with pytest.raises(InvalidPattern):
        compile_pattern(pattern)


@given(st.text(alphabet='{}$.a[]"\\=!<>&|()?-% 1*', max_size=40), st.text(max_size=20))
@example("{$.a = 1}", '{"a":1}')
def test_any_text_is_a_pattern_or_an_error(pattern: str, message: str) -> None:
    try:
        test = compile_pattern(pattern)
    except InvalidPattern:
        return
    assert test(message) in (True, False)


@given(st.lists(st.text(alphabet="ab", max_size=3), min_size=1, max_size=4), st.text(alphabet="ab", max_size=8))
def test_stars_stand_for_anything(parts: list[str], text: str) -> None:
    expected = re.fullmatch(".*".join(parts), text) is not None
    assert compile_pattern(f'{{ $.t = "{"*".join(parts)}" }}')(json.dumps({"t": text})) is expected
