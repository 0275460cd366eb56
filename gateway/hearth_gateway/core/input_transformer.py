"""What a target of a rule gets: the whole event, a constant, a part of it, or a template that is filled in.

Rule 1: outside quotes a variable becomes a value of JSON: strings get their quotes, objects and arrays are as they are.
Inside quotes it becomes text; of an object or array the quotes go, as in EventBridge. Text is escaped, which
EventBridge does not do, so that no event can make a target's input something that is no JSON.
Rule 2: a template that is no JSON is plain text, and its variables are as well.
Rule 3: a variable whose path leads nowhere is an empty text.
Rule 4: what is sent to who wants JSON (a function, a bus) is JSON: plain text becomes a string.
Rule 5: a template can name the whole event many times; what it grows to is bounded.
Source: "Amazon EventBridge input transformation", user guide, with "Common issues with transforming input".
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, assert_never

import orjson

from hearth_gateway.core.bus_event import BusEvent
from hearth_gateway.core.json_path import MISSING, InvalidPath, JsonPath, read_path

RULE_ARN = "aws.events.rule-arn"
RULE_NAME = "aws.events.rule-name"
INGESTION_TIME = "aws.events.event.ingestion-time"
EVENT = "aws.events.event"
WHOLE_EVENT = "aws.events.event.json"
RESERVED = frozenset({RULE_ARN, RULE_NAME, INGESTION_TIME, EVENT, WHOLE_EVENT})

_VARIABLE = re.compile(r"<([A-Za-z0-9_.\-]{1,256})>")
_QUOTE = re.compile(r'\\.|"', re.DOTALL)


MAX_INPUT_BYTES = 1024 * 1024
"""As much as an event itself may have."""


class InvalidInput(Exception):
    """A target's input is not what it must be; the message says what."""


class InputTooLarge(Exception):
    """What a template makes of an event is more than a target can get."""


@dataclass(frozen=True, slots=True)
class Whole:
    """The event as it is."""


@dataclass(frozen=True, slots=True)
class Constant:
    """The same text every time."""

    text: str


@dataclass(frozen=True, slots=True)
class Part:
    """What a path leads to in the event."""

    path: JsonPath


@dataclass(frozen=True, slots=True)
class Variable:
    """A place in a template where a value goes."""

    name: str
    is_quoted: bool


@dataclass(frozen=True, slots=True)
class Template:
    """A text with variables. `is_json`: what is outside quotes becomes values of JSON."""

    parts: tuple[str | Variable, ...]
    paths: Mapping[str, JsonPath]
    is_json: bool


Input = Whole | Constant | Part | Template


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What reserved variables say beside the event. The time is a text of ISO 8601."""

    rule_arn: str
    rule_name: str
    ingestion_time: str


def read_input(constant: str | None, path: str | None, template: str | None, paths: Mapping[str, str]) -> Input:
    """What `Input`, `InputPath`, or `InputTransformer` ask for; at most one may be there. Raises InvalidInput."""
    if sum(one is not None for one in (constant, path, template)) > 1:
        raise InvalidInput("Only one of Input, InputPath, or InputTransformer must be provided")
    if constant is not None:
        return Constant(_checked_json(constant))
    if path is not None:
        return Part(_path(path))
    if template is not None:
        return read_template(template, paths)
    return Whole()


def read_template(text: str, paths: Mapping[str, str]) -> Template:
    """A template and the paths of its variables, checked. Raises InvalidInput."""
    if any(name.lower().startswith("aws.") for name in paths):
        raise InvalidInput("The keys of InputPathsMap cannot start with AWS.")
    pieces = _VARIABLE.split(text)  # texts and names by turns
    parts: list[str | Variable] = []
    is_inside = False
    for place, piece in enumerate(pieces):
        if place % 2:
            parts.append(Variable(piece, is_inside))
        else:
            is_inside ^= sum(found[0] == '"' for found in _QUOTE.finditer(piece)) % 2 == 1
            parts.append(piece)
    unknown = {part.name for part in parts if isinstance(part, Variable)} - paths.keys() - RESERVED
    if unknown:
        raise InvalidInput(f"InputTemplate contains undefined placeholders: {', '.join(sorted(unknown))}")
    compiled = {name: _path(path) for name, path in paths.items()}
    return Template(tuple(parts), compiled, _is_json("".join(_placeholder(part) for part in parts)))


def render(wanted: Input, event: BusEvent, around: Circumstances, *, wants_json: bool) -> bytes:
    """What the target gets for this event. Raises InputTooLarge."""
    match wanted:
        case Whole():
            return event.text
        case Constant(text):
            return text.encode()
        case Part(path):
            found = path.find(event.members)
            return orjson.dumps(None if found is MISSING else found)
        case Template():
            text = _filled_out(wanted, event, around)
            return orjson.dumps(text) if wants_json and not _is_json(text) else text.encode()
        case _:
            assert_never(wanted)


def _filled_out(template: Template, event: BusEvent, around: Circumstances) -> str:
    parts: list[str] = []
    size = 0
    for part in template.parts:
        parts.append(_filled(part, template, event, around))
        size += len(parts[-1])
        if size > MAX_INPUT_BYTES:
            raise InputTooLarge(f"The input is larger than {MAX_INPUT_BYTES} bytes")
    return "".join(parts)


def _filled(part: str | Variable, template: Template, event: BusEvent, around: Circumstances) -> str:
    if isinstance(part, str):
        return part
    path = template.paths.get(part.name)
    value = _reserved(part.name, event, around) if path is None else path.find(event.members)
    if value is MISSING:
        value = ""
    if part.is_quoted:
        return _inside_quotes(value)
    return value if isinstance(value, str) and not template.is_json else _text(value)


def _inside_quotes(value: object) -> str:
    match value:
        case str():
            return _text(value)[1:-1]
        case dict() | list():
            return _text(_text(value).replace('"', ""))[1:-1]
        case _:
            return _text(value)


def _reserved(name: str, event: BusEvent, around: Circumstances) -> object:
    match name:
        case "aws.events.rule-arn":
            return around.rule_arn
        case "aws.events.rule-name":
            return around.rule_name
        case "aws.events.event.ingestion-time":
            return around.ingestion_time
        case "aws.events.event":
            return {key: value for key, value in event.members.items() if key != "detail"}
        case _:
            return event.members


def _placeholder(part: str | Variable) -> str:
    """Something that stands where a variable will: it fits between quotes and without."""
    return part if isinstance(part, str) else "0"


def _path(text: str) -> JsonPath:
    try:
        return read_path(text)
    except InvalidPath as error:
        raise InvalidInput(f"Invalid JSON path: {error}") from error


def _checked_json(text: str) -> str:
    if not _is_json(text):
        raise InvalidInput("JSON syntax error in input")
    return text


def _is_json(text: str) -> bool:
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError:
        return False
    return True


def _text(value: Any) -> str:
    return orjson.dumps(value).decode()
