"""Paths into a value of JSON, as far as EventBridge has them: names behind dots, indices, and `*`.

`$.detail.items[0].name`, `$.detail-type`, `$.resources[*]`. A name holds anything but dots, brackets and spaces; one
that does stands in brackets and quotes: `$.detail['a.b']`.
Source: "Amazon EventBridge input transformation", user guide: "does not support all JSON Path syntax".
"""

import re
from dataclasses import dataclass
from typing import Any

MAX_STEPS = 100
MAX_FOUND = 10_000
"""Values that `*` may lead to, so that several of them do not multiply without end."""

_STEP = re.compile(
    r"""\.(?P<name>[^.\[\]\s*'"]+) | \[(?P<index>\d{1,9})\] | \[(?P<quote>['"])(?P<quoted>.*?)(?P=quote)\] """
    r"""| (?P<all>\.\*|\[\*\])""",
    re.VERBOSE,
)


class InvalidPath(Exception):
    """The text is no such path."""


class _Missing:
    """What a path leads to that leads nowhere; null is a value."""

    def __repr__(self) -> str:
        return "MISSING"


class _All:
    """The step `*`."""


MISSING = _Missing()
_ALL = _All()


@dataclass(frozen=True, slots=True)
class JsonPath:
    """A path that was read: names, indices, and all of them."""

    steps: tuple[str | int | _All, ...]

    def find(self, value: object) -> object:
        """What the path leads to; MISSING if nothing is there. With `*` it is the list of all that it leads to."""
        found: list[object] = [value]
        for step in self.steps:
            found = [one for each in found for one in _taken(each, step)][:MAX_FOUND]
        if any(isinstance(step, _All) for step in self.steps):
            return found
        return found[0] if found else MISSING


def read_path(text: str) -> JsonPath:
    """The path that a text is. Raises InvalidPath."""
    if not text.startswith("$"):
        raise InvalidPath(f"{text} must begin with $")
    steps: list[str | int | _All] = []
    at = 1
    while at < len(text):
        found = _STEP.match(text, at)
        if found is None or len(steps) == MAX_STEPS:
            raise InvalidPath(f"{text} is no JSON path")
        steps.append(_step(found))
        at = found.end()
    return JsonPath(tuple(steps))


def _step(found: "re.Match[str]") -> str | int | _All:
    if found["all"]:
        return _ALL
    if found["index"]:
        return int(found["index"])
    return found["name"] if found["name"] is not None else found["quoted"]


def _taken(value: object, step: str | int | _All) -> list[Any]:
    match value, step:
        case dict(), str():
            return [value[step]] if step in value else []
        case list(), int():
            return [value[step]] if step < len(value) else []
        case dict(), _All():
            return list(value.values())
        case list(), _All():
            return list(value)
        case _:
            return []
