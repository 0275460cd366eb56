"""Event patterns: which events a rule, a filter or a subscription is for.

A pattern mirrors the event: its objects are the event's objects, and each leaf is an array of alternatives.

Rule 1: all fields of a pattern must match; of a leaf's alternatives, and of `$or`'s patterns, one must.
Rule 2: a field that is an array matches if any of its elements does; a pattern for objects in an array needs one
element that matches all of it, which each choice of a `$or` is to itself. Arrays in arrays are one array.
Rule 3: `exists: false` asks whether the event has a value under this path anywhere; objects and empty arrays are none.
Rule 4: reading a pattern raises nothing but InvalidPattern, and matching raises nothing. The work of matching is
bounded by the pattern's size times the event's.
Source: "Amazon EventBridge event patterns" and its pages, user guide; "Filter rule syntax", AWS Lambda developer guide.
"""

from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass
from typing import Any, TypeGuard

import orjson

from hearth_gateway.core.pattern_operators import OPERATORS, InvalidPattern, Operator, read_constants, read_operator

__all__ = ["InvalidPattern", "Pattern", "compile_pattern", "pattern_of"]

MAX_DEPTH = 50
"""Objects in objects. Ours: the service names no bound, and the stack has one."""
MAX_COMBINATIONS = 1000
"""What the alternatives of all `$or` may multiply to."""
OR = "$or"

Path = tuple[str, ...]
_NOTHING: Mapping[str, Any] = {}
_NONE: Set[Path] = frozenset()


@dataclass(frozen=True, slots=True)
class Leaf:
    """The alternatives for one field. `absence` is the field's path where `exists: false` is one of them."""

    operators: tuple[Operator, ...]
    absence: Path | None = None


@dataclass(frozen=True, slots=True)
class Node:
    """The fields of one object, and its `$or`."""

    leaves: tuple[tuple[str, Leaf], ...]
    nodes: tuple[tuple[str, "Node"], ...]
    choices: tuple["Node", ...] = ()


@dataclass(frozen=True, slots=True)
class Pattern:
    """A pattern that was read and checked."""

    root: Node
    absences: frozenset[Path]

    def matches(self, event: object) -> bool:
        """Whether this value of JSON matches."""
        absent = {path for path in self.absences if not _is_present(event, path)} if self.absences else _NONE
        return _fits(self.root, event, absent)


def compile_pattern(text: str | bytes) -> Pattern:
    """The pattern that a text is. Raises InvalidPattern."""
    try:
        written = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise InvalidPattern(f"Event pattern is not valid JSON: {error}") from error
    return pattern_of(written)


def pattern_of(written: object) -> Pattern:
    """The pattern that a value of JSON is. Raises InvalidPattern."""
    if not isinstance(written, dict):
        raise InvalidPattern("Filter is not an object")
    root = _node(written, ())
    if _combinations(root) > MAX_COMBINATIONS:
        raise InvalidPattern(f"Rule is too complex: $or makes more than {MAX_COMBINATIONS} combinations")
    return Pattern(root, frozenset(_absences(root)))


# -- reading -----------------------------------------------------------------------------------------------------


def _node(written: Mapping[str, Any], path: Path, depth: int = 0) -> Node:
    if not written:
        raise InvalidPattern("Empty objects are not allowed")
    if depth > MAX_DEPTH:
        raise InvalidPattern(f"Event pattern is nested more than {MAX_DEPTH} levels deep")
    leaves: list[tuple[str, Leaf]] = []
    nodes: list[tuple[str, Node]] = []
    choices: tuple[Node, ...] = ()
    for name, value in written.items():
        if name == OR and is_choice(value):
            choices = tuple(_node(one, path, depth + 1) for one in value)
        elif isinstance(value, dict):
            nodes.append((name, _node(value, (*path, name), depth + 1)))
        elif isinstance(value, list):
            leaves.append((name, _leaf(value, (*path, name))))
        else:
            raise InvalidPattern(f'"{name}" must be an object or an array')
    return Node(tuple(leaves), tuple(nodes), choices)


def is_choice(value: object) -> TypeGuard[list[dict[str, Any]]]:
    """Whether a field called `$or` means "one of these patterns": otherwise it is a field like any other."""
    return (
        isinstance(value, list)
        and len(value) > 1
        and all(isinstance(one, dict) and not OPERATORS & one.keys() for one in value)
    )


def _leaf(values: list[Any], path: Path) -> Leaf:
    if not values:
        raise InvalidPattern("Empty arrays are not allowed")
    if any(isinstance(value, list) for value in values):
        raise InvalidPattern("Match value must be String, number, true, false, or null")
    absence = {"exists": False}
    objects = [value for value in values if isinstance(value, dict)]
    plain = [value for value in values if not isinstance(value, dict)]
    operators = [read_operator(one) for one in objects if not _is_same(one, absence)]
    constants = [read_constants(plain)] if plain else []
    is_absence = any(_is_same(one, absence) for one in objects)
    return Leaf((*constants, *operators), path if is_absence else None)


def _is_same(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Equal, false not being 0."""
    return one == other and all(one[name] is other[name] for name in one)


def _combinations(node: Node) -> int:
    """How many patterns without `$or` this one stands for."""
    found = sum(map(_combinations, node.choices)) if node.choices else 1
    for _, inner in node.nodes:
        found *= _combinations(inner)
    return found


def _absences(node: Node) -> Iterator[Path]:
    for _, leaf in node.leaves:
        if leaf.absence is not None:
            yield leaf.absence
    for _, inner in node.nodes:
        yield from _absences(inner)
    for choice in node.choices:
        yield from _absences(choice)


# -- matching ----------------------------------------------------------------------------------------------------


def _fits(node: Node, value: object, absent: Set[Path]) -> bool:
    """Whether one object of this value matches all of the node. What is no object has no fields."""
    if isinstance(value, dict):
        return _object_fits(node, value, absent)
    return any(_object_fits(node, one, absent) for one in list(_objects(value)) or [_NOTHING])


def _object_fits(node: Node, value: Mapping[str, Any], absent: Set[Path]) -> bool:
    for name, leaf in node.leaves:
        if leaf.absence not in absent and not _leaf_fits(leaf, value.get(name, _NOTHING)):
            return False
    for name, inner in node.nodes:
        if not _fits(inner, value.get(name), absent):
            return False
    return not node.choices or any(_object_fits(choice, value, absent) for choice in node.choices)


def _leaf_fits(leaf: Leaf, value: object) -> bool:
    if isinstance(value, list | dict):
        return any(operator.holds(one) for one in _scalars(value) for operator in leaf.operators)
    for operator in leaf.operators:  # noqa: SIM110 - a third faster, and most values are no arrays
        if operator.holds(value):
            return True
    return False


def _is_present(value: object, path: Path) -> bool:
    found = [value]
    for name in path:
        found = [one[name] for each in found for one in _objects(each) if name in one]
    return any(True for one in found for _ in _scalars(one))


def _objects(value: object) -> Iterator[Mapping[str, Any]]:
    return (one for one in _elements(value) if isinstance(one, dict))


def _scalars(value: object) -> Iterator[object]:
    return (one for one in _elements(value) if not isinstance(one, dict))


def _elements(value: object) -> Iterator[object]:
    """The value itself, or the elements of an array and of the arrays in it. Without recursion: an event may be
    nested as deeply as JSON can be."""
    if not isinstance(value, list):
        yield value
        return
    pending = [iter(value)]
    while pending:
        for one in pending[-1]:
            if isinstance(one, list):
                pending.append(iter(one))
                break
            yield one
        else:
            pending.pop()
