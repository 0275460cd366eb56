"""Filter patterns of CloudWatch Logs: which events are wanted.

Rule 1: words must all be there; with a minus they must not be; if all have a question mark any one will do. Where words
of several kinds are mixed, those with a question mark do not count.
Rule 2: a pattern in braces is for events that are JSON objects; others do not match it.
Rule 3: what is not understood is an error, never a pattern that silently matches nothing. Those are regular
expressions and patterns in square brackets.
Source: "Filter pattern syntax for metric filters, subscription filters, filter log events, and Live Tail", Amazon
CloudWatch Logs user guide.
"""

import json
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

Test = Callable[[str], bool]
"""Whether an event's message is wanted."""
_JsonTest = Callable[[Any], bool]

MAX_DEPTH = 20
_WORD = re.compile(r'\s*(?P<sign>[-?]?)(?:"(?P<phrase>(?:[^"\\]|\\.)*)"|(?P<word>[^\s"]+))')
_TOKEN = re.compile(
    r'\s*(?:(?P<selector>\$[^\s=!<>()&|]*)|"(?P<text>(?:[^"\\]|\\.)*)"|(?P<sign>&&|\|\||[()]|!=|>=|<=|=|>|<)'
    r"|(?P<word>[^\s=!<>()&|\"]+))"
)
_STEP = re.compile(r"""\.(?P<name>[^.\[\]]+)|\[(?P<index>\d{1,9})\]|\[(?P<quote>['"])(?P<key>.*?)(?P=quote)\]""")
_NUMBER = re.compile(r"[-+]?\d{1,300}(\.\d{1,300})?([eE][-+]?\d{1,3})?")
_MISSING = object()


class InvalidPattern(ValueError):
    """A pattern that is none; the message says why."""


def compile_pattern(pattern: str) -> Test:
    """The test that a pattern stands for. Raises InvalidPattern."""
    text = pattern.strip()
    if text.startswith("{") and text.endswith("}"):
        return _of_json(_Parser(text[1:-1]).whole())
    if text.startswith(("[", "{")):
        raise InvalidPattern("Invalid filter pattern: patterns in square brackets are not available here")
    return _of_words(text)


# -- words -------------------------------------------------------------------------------------------------------------


def _of_words(text: str) -> Test:
    wanted: dict[str, list[str]] = {"": [], "-": [], "?": []}
    position = 0
    while position < len(text):
        found = _WORD.match(text, position)
        if found is None:
            raise InvalidPattern("Invalid filter pattern: a quote is not closed")
        phrase = found["phrase"]
        if phrase is None and re.fullmatch(r"%.+%", found["word"]):
            raise InvalidPattern("Invalid filter pattern: regular expressions are not available here")
        wanted[found["sign"]].append(found["word"] if phrase is None else _unescaped(phrase))
        position = found.end()
    required, excluded = tuple(wanted[""]), tuple(wanted["-"])
    optional = () if required or excluded else tuple(wanted["?"])

    def test(message: str) -> bool:
        return (
            all(word in message for word in required)
            and not any(word in message for word in excluded)
            and (not optional or any(word in message for word in optional))
        )

    return test


def _unescaped(phrase: str) -> str:
    return re.sub(r"\\(.)", r"\1", phrase)


# -- JSON --------------------------------------------------------------------------------------------------------------


def _of_json(test: _JsonTest) -> Test:
    def test_message(message: str) -> bool:
        if not message.lstrip().startswith("{"):
            return False
        try:
            return test(json.loads(message))
        except (ValueError, RecursionError):
            return False

    return test_message


class _Token(NamedTuple):
    """A token: what kind it is, and its text without quotes."""

    kind: str
    text: str


class _Parser:
    """Reads what stands between the braces: comparisons, joined by && (which binds tighter), || and parentheses."""

    def __init__(self, text: str) -> None:
        self._tokens = _tokens(text)
        self._next = 0

    def whole(self) -> _JsonTest:
        test = self._either(0)
        if self._next < len(self._tokens):
            raise InvalidPattern(f"Invalid filter pattern: '{self._tokens[self._next].text}' is not expected")
        return test

    def _either(self, depth: int) -> _JsonTest:
        tests = [self._both(depth)]
        while self._took("sign", "||"):
            tests.append(self._both(depth))
        return lambda value: any(test(value) for test in tests)

    def _both(self, depth: int) -> _JsonTest:
        tests = [self._one(depth)]
        while self._took("sign", "&&"):
            tests.append(self._one(depth))
        return lambda value: all(test(value) for test in tests)

    def _one(self, depth: int) -> _JsonTest:
        if self._took("sign", "("):
            if depth >= MAX_DEPTH:
                raise InvalidPattern("Invalid filter pattern: too many parentheses")
            inner = self._either(depth + 1)
            if not self._took("sign", ")"):
                raise InvalidPattern("Invalid filter pattern: a parenthesis is not closed")
            return inner
        select = _selector(self._take("selector"))
        operator = self._take("sign", "word")
        if operator.kind == "word":
            return self._about(select, operator.text.upper())
        return _comparison(select, operator.text, self._take("text", "word"))

    def _about(self, select: Callable[[Any], Any], word: str) -> _JsonTest:
        """`IS NULL`, `IS TRUE`, `IS FALSE`, `EXISTS`, `NOT EXISTS`."""
        words = word if word == "EXISTS" else f"{word} {self._take('word').text.upper()}"
        tests: Mapping[str, _JsonTest] = {
            "IS NULL": lambda value: select(value) is None,
            "IS TRUE": lambda value: select(value) is True,
            "IS FALSE": lambda value: select(value) is False,
            "EXISTS": lambda value: select(value) is not _MISSING,
            "NOT EXISTS": lambda value: select(value) is _MISSING,
        }
        if words not in tests:
            raise InvalidPattern(f"Invalid filter pattern: '{words}' is not expected")
        return tests[words]

    def _took(self, kind: str, text: str) -> bool:
        if self._next < len(self._tokens) and self._tokens[self._next] == (kind, text):
            self._next += 1
            return True
        return False

    def _take(self, *kinds: str) -> _Token:
        if self._next >= len(self._tokens):
            raise InvalidPattern("Invalid filter pattern: it ends too early")
        token = self._tokens[self._next]
        if token.kind not in kinds:
            raise InvalidPattern(f"Invalid filter pattern: '{token.text}' is not expected")
        self._next += 1
        return token


def _tokens(text: str) -> list[_Token]:
    tokens: list[_Token] = []
    text, position = text.rstrip(), 0
    while position < len(text):
        found = _TOKEN.match(text, position)
        if found is None or found.lastgroup is None:
            raise InvalidPattern(f"Invalid filter pattern at '{text[position:].strip()[:20]}'")
        kind = found.lastgroup
        tokens.append(_Token(kind, _unescaped(found[kind]) if kind == "text" else found[kind]))
        position = found.end()
    return tokens


def _selector(token: _Token) -> Callable[[Any], Any]:
    """The value at `$.a.b[0]`, `_MISSING` where there is none."""
    steps: list[str | int] = []
    position = 1
    while position < len(token.text):
        found = _STEP.match(token.text, position)
        if found is None:
            raise InvalidPattern(f"Invalid filter pattern: '{token.text}' is no selector")
        steps.append(int(found["index"]) if found["index"] else found["name"] or found["key"])
        position = found.end()

    def select(value: Any) -> Any:
        for step in steps:
            value = _below(value, step)
        return value

    return select


def _below(value: Any, step: str | int) -> Any:
    match value, step:
        case dict(), str():
            return value.get(step, _MISSING)
        case list(), int() if step < len(value):
            return value[step]
        case _:
            return _MISSING


def _comparison(select: Callable[[Any], Any], operator: str, wanted: _Token) -> _JsonTest:
    if operator in ("&&", "||", "(", ")"):
        raise InvalidPattern(f"Invalid filter pattern: '{operator}' is not expected")
    is_number = wanted.kind == "word" and _NUMBER.fullmatch(wanted.text)
    if operator in ("=", "!="):
        equals = _equals_number(float(wanted.text)) if is_number else _equals_text(wanted.text)
        if operator == "=":
            return lambda value: equals(select(value))
        return lambda value: (found := select(value)) is not _MISSING and not equals(found)
    if not is_number:
        raise InvalidPattern(f"Invalid filter pattern: '{operator}' compares with numbers")
    return _ordered(select, operator, float(wanted.text))


def _equals_number(wanted: float) -> _JsonTest:
    return lambda found: _is_number(found) and found == wanted


def _equals_text(wanted: str) -> _JsonTest:
    first, *rest = wanted.split("*")

    def equals(found: Any) -> bool:
        if isinstance(found, bool) or found is None:
            return wanted == json.dumps(found)
        if not isinstance(found, str):
            return False
        return found == wanted if not rest else found.startswith(first) and _in_order(found[len(first) :], rest)

    return equals


def _in_order(text: str, parts: list[str]) -> bool:
    """Whether the text has these parts in this order, the last one at its end."""
    *inner, last = parts
    position = 0
    for part in inner:
        at = text.find(part, position)
        if at < 0:
            return False
        position = at + len(part)
    return len(text) - position >= len(last) and text.endswith(last)


def _ordered(select: Callable[[Any], Any], operator: str, wanted: float) -> _JsonTest:
    tests: Mapping[str, Callable[[float], bool]] = {
        ">": lambda found: found > wanted,
        "<": lambda found: found < wanted,
        ">=": lambda found: found >= wanted,
        "<=": lambda found: found <= wanted,
    }
    test = tests[operator]
    return lambda value: _is_number(found := select(value)) and test(found)


def _is_number(found: object) -> bool:
    return isinstance(found, int | float) and not isinstance(found, bool)
