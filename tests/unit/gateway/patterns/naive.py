"""The pattern language once more, as slowly and plainly as its documentation says it, and patterns and events by
chance.

An event is flattened: every scalar has a path, and the indices of the arrays it was found in. A pattern is multiplied
out: patterns without `$or`. Fields match together where the elements they were found in are the same.
"""

import ipaddress
import json
import re
from collections.abc import Iterator
from itertools import product
from typing import Any

from hypothesis import strategies as st

Step = tuple[str, str]
"""A field's name, and the choice of a `$or` that it was written in: what stands in two places is asked for twice."""
Path = tuple[Step, ...]
Leaf = tuple[Path, list[Any]]
Places = dict[Path, int]


def naive_matches(pattern: dict[str, Any], event: object) -> bool:
    return any(_together(leaves, event) for leaves in _plain(pattern, (), ""))


def _plain(pattern: dict[str, Any], path: Path, scope: str) -> Iterator[list[Leaf]]:
    """The leaves of every pattern without `$or` that this one stands for."""
    parts: list[list[list[Leaf]]] = []
    for name, value in pattern.items():
        if name == "$or":
            choices = enumerate(value)
            parts.append([flat for place, one in choices for flat in _plain(one, path, f"{scope}/{place}")])
        elif isinstance(value, dict):
            parts.append(list(_plain(value, (*path, (name, scope)), scope)))
        else:
            parts.append([[((*path, (name, scope)), value)]])
    for chosen in product(*parts):
        yield [leaf for part in chosen for leaf in part]


def _together(leaves: list[Leaf], event: object) -> bool:
    """Whether every leaf finds a value, all in the same elements of the arrays that hold objects."""
    candidates: list[list[Places]] = []
    for path, alternatives in leaves:
        values = list(_values(event, path, {}, ()))
        places = [where for value, where in values if any(_holds(one, value) for one in alternatives)]
        if not values and any(isinstance(one, dict) and one.get("exists") is False for one in alternatives):
            places.append({})
        candidates.append(places)
    return any(_agree(chosen) for chosen in product(*candidates))


def _agree(chosen: tuple[Places, ...]) -> bool:
    seen: Places = {}
    return all(seen.setdefault(path, index) == index for places in chosen for path, index in places.items())


def _values(value: object, path: Path, places: Places, done: Path) -> Iterator[tuple[object, Places]]:
    if isinstance(value, list):
        for index, one in enumerate(_elements(value)):
            # Which of its scalars an array has is not asked for together.
            yield from _values(one, path, {**places, done: index} if path else places, done)
    elif path:
        if isinstance(value, dict) and path[0][0] in value:
            yield from _values(value[path[0][0]], path[1:], places, (*done, path[0]))
    elif not isinstance(value, dict):
        yield value, places


def _elements(value: list[Any]) -> Iterator[object]:
    for one in value:
        if isinstance(one, list):
            yield from _elements(one)
        else:
            yield one


def _holds(alternative: Any, value: Any) -> bool:
    if not isinstance(alternative, dict):
        return _same(alternative, value)
    ((name, operand),) = alternative.items()
    match name:
        case "exists":
            return operand is True
        case "anything-but":
            return not any(_holds(one, value) for one in _refused(operand))
        case "numeric":
            return _in_range(operand, value)
        case _:
            return isinstance(value, str) and _text_holds(name, operand, value)


def _refused(operand: Any) -> list[Any]:
    if isinstance(operand, dict):
        ((name, inner),) = operand.items()
        return [{name: one} for one in (inner if isinstance(inner, list) else [inner])]
    return operand if isinstance(operand, list) else [operand]


def _same(left: Any, right: Any) -> bool:
    if isinstance(left, bool) or isinstance(right, bool) or left is None or right is None:
        return left is right
    return bool(left == right) and isinstance(left, str) == isinstance(right, str)


def _in_range(operand: list[Any], value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    tests = {
        "=": lambda bound: value == bound,
        "<": lambda bound: value < bound,
        "<=": lambda bound: value <= bound,
        ">": lambda bound: value > bound,
        ">=": lambda bound: value >= bound,
    }
    return all(tests[sign](bound) for sign, bound in zip(operand[::2], operand[1::2], strict=True))


def _text_holds(name: str, operand: Any, value: str) -> bool:
    if isinstance(operand, dict):
        return _text_holds(name, operand["equals-ignore-case"].lower(), value.lower())
    match name:
        case "prefix":
            return bool(value[: len(operand)] == operand)
        case "suffix":
            return bool(value[max(0, len(value) - len(operand)) :] == operand)
        case "equals-ignore-case":
            return value.lower() == str(operand).lower()
        case "wildcard":
            return re.match(_regular(operand), value, re.DOTALL) is not None
        case _:
            return _in_network(operand, value)


def _regular(operand: str) -> str:
    pieces = re.findall(r"\\.|.", operand, re.DOTALL)
    return "".join(".*" if piece == "*" else re.escape(piece[-1]) for piece in pieces) + r"\Z"


def _in_network(operand: str, value: str) -> bool:
    try:
        return ipaddress.ip_address(value) in ipaddress.ip_network(operand, strict=False)
    except ValueError:
        return False


NAMES = st.sampled_from(["a", "b", "c"])
TEXTS = st.sampled_from(["", "a", "b", "ab", "Ab", "aB", "abc", "bab", "a*b", "\\", "10.0.0.7", "10.0.1.7", "::1"])
NUMBERS = st.sampled_from([0, 1, 1.0, 2, 2.5, -3, 300, 3e2])
SCALARS = TEXTS | NUMBERS | st.none() | st.booleans()
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=8,
)
EVENTS = st.dictionaries(NAMES, VALUES, max_size=3)
GLOBS = st.sampled_from(["*", "a*", "*b", "a*b", "*a*", r"a\*b", r"*\\", "ab", "a*b*c"])
WORDS = TEXTS.filter(bool)
RANGES = st.sampled_from([["=", 1], [">", 0], [">=", 1], ["<", 2.5], ["<=", 0], [">", 0, "<=", 2], [">=", -3, "<", 1]])
CASELESS = st.builds(lambda text: {"equals-ignore-case": text}, TEXTS)
CASELESS_WORDS = st.builds(lambda text: {"equals-ignore-case": text}, WORDS)
OPERATORS = st.one_of(
    st.builds(lambda text: {"prefix": text}, TEXTS | CASELESS),
    st.builds(lambda text: {"suffix": text}, TEXTS | CASELESS),
    CASELESS,
    st.builds(lambda text: {"wildcard": text}, GLOBS),
    st.builds(lambda bounds: {"numeric": bounds}, RANGES),
    st.builds(lambda is_there: {"exists": is_there}, st.booleans()),
    st.builds(lambda text: {"cidr": text}, st.sampled_from(["10.0.0.0/24", "10.0.0.7/32", "0.0.0.0/0", "::/0"])),
    st.builds(
        lambda operand: {"anything-but": operand},
        st.one_of(
            TEXTS,
            NUMBERS,
            st.lists(TEXTS, min_size=1, max_size=3),
            st.lists(NUMBERS, min_size=1, max_size=3),
            st.builds(lambda name, text: {name: text}, st.sampled_from(["prefix", "suffix"]), WORDS | CASELESS_WORDS),
            st.builds(lambda texts: {"prefix": texts}, st.lists(WORDS, min_size=1, max_size=2)),
            st.builds(lambda text: {"wildcard": text}, GLOBS),
            st.builds(lambda texts: {"equals-ignore-case": texts}, st.lists(TEXTS, min_size=1, max_size=2)),
        ),
    ),
)
LEAVES = st.lists(SCALARS | OPERATORS, min_size=1, max_size=3)


def _with_choices(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    plain = st.dictionaries(NAMES, LEAVES | inner, min_size=1, max_size=3)
    choice = st.lists(plain, min_size=2, max_size=3)
    return st.builds(lambda fields, choices: {**fields, "$or": choices}, plain, choice) | plain


PATTERNS = st.recursive(st.dictionaries(NAMES, LEAVES, min_size=1, max_size=3), _with_choices, max_leaves=6)


def as_text(pattern: object) -> str:
    return json.dumps(pattern)
