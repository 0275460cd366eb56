"""The constraints of request shapes, and the exact words in which a request is told that it breaks them.

One generic check covers every operation: shapes are data. Types are checked where bytes become values; here values
have the right types already.
Source: the constraints of each member in the AWS Lambda API reference; the texts are those of the service.
"""

import functools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import assert_never

from hearth.core.errors import ValidationError


@dataclass(frozen=True, slots=True)
class Text:
    """A string. No values means that any will do."""

    pattern: str | None = None
    values: tuple[str, ...] = ()
    least: int | None = None
    most: int | None = None
    is_sensitive: bool = False


@dataclass(frozen=True, slots=True)
class Number:
    """An integer, or a float where `is_whole` is False."""

    least: float | None = None
    most: float | None = None
    is_whole: bool = True


@dataclass(frozen=True, slots=True)
class Flag:
    """A boolean."""


@dataclass(frozen=True, slots=True)
class Moment:
    """A timestamp: a number of epoch seconds in a body, ISO 8601 text in a query."""


@dataclass(frozen=True, slots=True)
class Blob:
    """Bytes; base64 on the wire."""


@dataclass(frozen=True, slots=True)
class ListOf:
    member: "Shape"
    least: int | None = None
    most: int | None = None


@dataclass(frozen=True, slots=True)
class MapOf:
    """A map; the names of an entry's halves are those of the query protocol."""

    key: Text
    value: "Shape"
    is_sensitive: bool = False
    key_name: str = "key"
    value_name: str = "value"


@dataclass(frozen=True, slots=True)
class Member:
    """A member of a structure: `location` is where in the request it travels, "" for the JSON body."""

    shape: "Shape"
    location: str = ""
    wire_name: str = ""


@dataclass(frozen=True, slots=True)
class Structure:
    """`payload` names the member that is the whole body, "" where the body is an object of the members."""

    members: Mapping[str, Member]
    required: tuple[str, ...] = ()
    payload: str = ""


Shape = Text | Number | Flag | Moment | Blob | ListOf | MapOf | Structure


@dataclass(frozen=True, slots=True)
class Violation:
    """One broken constraint. `shown` is the value as the service prints it, None where it is kept secret."""

    shown: str | None
    path: str
    constraint: str

    def __str__(self) -> str:
        value = {None: "Value", "null": "Value null"}.get(self.shown, f"Value '{self.shown}'")
        return f"{value} at '{self.path}' failed to satisfy constraint: {self.constraint}"


def check(shape: Structure, value: Mapping[str, object]) -> None:
    """Raise the service's ValidationException if the value breaks any constraint of the shape."""
    found = list(_in_structure(shape, value, ""))
    if found:
        plural = "error" if len(found) == 1 else "errors"
        raise ValidationError(f"{len(found)} validation {plural} detected: {'; '.join(map(str, found))}")


def violations(shape: Shape, value: object, path: str) -> Iterator[Violation]:
    """Every constraint that the value breaks, in the order of the model."""
    match shape:
        case Structure():
            assert isinstance(value, Mapping)
            yield from _in_structure(shape, value, path)
        case ListOf():
            assert isinstance(value, list)
            yield from _in_list(shape, value, path)
        case MapOf():
            assert isinstance(value, dict)
            yield from _in_map(shape, value, path)
        case Text() | Number():
            shown = None if isinstance(shape, Text) and shape.is_sensitive else java_text(value)
            yield from (Violation(shown, path, broken) for broken in _broken(shape, value))
        case Flag() | Moment() | Blob():
            return
        case _:
            assert_never(shape)


def java_text(value: object) -> str:
    """A value as the service prints it: lists and maps in Java's manner."""
    match value:
        case bool():
            return str(value).lower()
        case list():
            return f"[{', '.join(map(java_text, value))}]"
        case dict():
            return "{" + ", ".join(f"{key}={java_text(item)}" for key, item in value.items()) + "}"
        case _:
            return str(value)


def _in_structure(shape: Structure, value: Mapping[str, object], path: str) -> Iterator[Violation]:
    for name, member in shape.members.items():
        inner = f"{path}.{_lower(name)}" if path else _lower(name)
        if value.get(name) is not None:
            yield from violations(member.shape, value[name], inner)
        elif name in shape.required:
            yield Violation("null", inner, "Member must not be null")


def _in_list(shape: ListOf, value: list[object], path: str) -> Iterator[Violation]:
    for constraint in _length_broken(shape.least, shape.most, len(value)):
        yield Violation(java_text(value), path, constraint)
    if isinstance(shape.member, Text | Number):
        if any(True for item in value for _ in violations(shape.member, item, path)):
            yield Violation(java_text(value), path, f"Member must satisfy constraint: {_all(shape.member)}")
        return
    for position, item in enumerate(value, start=1):
        yield from violations(shape.member, item, f"{path}.{position}.member")


def _in_map(shape: MapOf, value: dict[str, object], path: str) -> Iterator[Violation]:
    shown = None if shape.is_sensitive else java_text(value)
    if any(True for key in value for _ in _broken(shape.key, key)):
        yield Violation(shown, path, f"Map keys must satisfy constraint: {_all(shape.key)}")
    if isinstance(shape.value, Text | Number):
        if any(True for item in value.values() for _ in _broken(shape.value, item)):
            yield Violation(shown, path, f"Map value must satisfy constraint: {_all(shape.value)}")
        return
    for key, item in value.items():
        yield from violations(shape.value, item, f"{path}.{key}.member")


def _broken(shape: Text | Number, value: object) -> Iterator[str]:
    if isinstance(shape, Number):
        assert isinstance(value, int | float)
        yield from _range_broken(shape, value)
        return
    assert isinstance(value, str)
    yield from _length_broken(shape.least, shape.most, len(value))
    if shape.pattern is not None and not _compiled(shape.pattern).fullmatch(value):
        yield _pattern_text(shape.pattern)
    if shape.values and value not in shape.values:
        yield _values_text(shape.values)


def _length_broken(least: int | None, most: int | None, length: int) -> Iterator[str]:
    if most is not None and length > most:
        yield f"Member must have length less than or equal to {most}"
    if least is not None and length < least:
        yield f"Member must have length greater than or equal to {least}"


def _range_broken(shape: Number, value: float) -> Iterator[str]:
    if shape.most is not None and value > shape.most:
        yield f"Member must have value less than or equal to {shape.most}"
    if shape.least is not None and value < shape.least:
        yield f"Member must have value greater than or equal to {shape.least}"


def _all(shape: Text | Number) -> str:
    """Every constraint of a list's or map's elements, broken or not: that is how the service lists them."""
    quantity = "length" if isinstance(shape, Text) else "value"
    texts = []
    if shape.most is not None:
        texts.append(f"Member must have {quantity} less than or equal to {shape.most}")
    if shape.least is not None:
        texts.append(f"Member must have {quantity} greater than or equal to {shape.least}")
    if isinstance(shape, Text) and shape.pattern is not None:
        texts.append(_pattern_text(shape.pattern))
    if isinstance(shape, Text) and shape.values:
        texts.append(_values_text(shape.values))
    return f"[{', '.join([*texts, 'Member must not be null'])}]"


def _pattern_text(pattern: str) -> str:
    return f"Member must satisfy regular expression pattern: {pattern}"


def _values_text(values: tuple[str, ...]) -> str:
    return f"Member must satisfy enum value set: [{', '.join(values)}]"


# Java's classes by Unicode property, to be used inside brackets. `\w` is letters, numbers and the underscore, which
# the model's patterns that use these classes (those of tags) allow anyway.
_UNICODE_CLASSES = {
    r"\p{L}": r"\w",
    r"\p{N}": r"\w",
    r"\p{Z}": " \u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000",
}


@functools.cache
def _compiled(pattern: str) -> re.Pattern[str]:
    """Compiled on first use: most of the model's patterns are never met. Short classes mean ASCII, as in Java."""
    if "\\p{" not in pattern:
        return re.compile(pattern, re.ASCII)
    for java, python in _UNICODE_CLASSES.items():
        pattern = pattern.replace(java, python)
    return re.compile(pattern)


def _lower(name: str) -> str:
    return name[:1].lower() + name[1:]
