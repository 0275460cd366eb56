"""Filter criteria: which records of an event source its function is to get.

Rule 1: a record passes if any of the filters accepts it; without filters every record does.
Rule 2: what a record carries (`body` of a queue's or list's message, `data` of a stream's record, `message` of a
channel's) is compared as the pattern has it: an object asks for JSON, an array for plain text. Data of the other sort
does not pass; under a pattern that does not speak of it, any does. JSON is an object or an array: a text that reads
`42` is plain.
Rule 3: what does not pass is done with: a message is deleted, a stream's position advances.
Source: "Control which events Lambda sends to your function", AWS Lambda developer guide, with its tables of body and
data formats.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

import orjson

from hearth.core.errors import InvalidParameterValue
from hearth_gateway.core.event_pattern import OR, InvalidPattern, Pattern, is_choice, pattern_of
from hearth_gateway.core.mapping import SourceKind

INVALID = "Invalid filter pattern definition."
MAX_FILTERS = 10
MAX_PATTERN_CHARACTERS = 4096

CARRIED = {
    SourceKind.QUEUE: "body",
    SourceKind.LIST: "body",
    SourceKind.STREAM: "data",
    SourceKind.CHANNEL: "message",
}
"""The member of a record that holds what its producer sent."""


class Sort(Enum):
    """What a pattern wants the carried data to be. Either will do where the pattern does not speak of it, neither where
    it wants both at once."""

    JSON = "JSON"
    TEXT = "text"
    EITHER = "either"
    NEITHER = "neither"


@dataclass(frozen=True, slots=True)
class Filter:
    """Patterns that must all match, and what they want the carried data to be."""

    patterns: tuple[Pattern, ...]
    sort: Sort

    def accepts(self, record: Mapping[str, Any]) -> bool:
        return all(pattern.matches(record) for pattern in self.patterns)


@dataclass(frozen=True, slots=True)
class Filters:
    """The filters of one mapping. No filters accept everything."""

    filters: tuple[Filter, ...]
    carried: str

    @classmethod
    def of(cls, patterns: Iterable[str], kind: SourceKind) -> "Filters":
        """The filters that FilterCriteria's patterns are. Raises InvalidParameterValue in the service's words."""
        carried = CARRIED[kind]
        written = list(patterns)
        if len(written) > MAX_FILTERS:
            raise InvalidParameterValue(f"Maximum number of filters for an event source mapping is {MAX_FILTERS}.")
        try:
            return cls(tuple(one for text in written for one in _filters(text, carried)), carried)
        except InvalidPattern as error:
            raise InvalidParameterValue(INVALID) from error

    def __bool__(self) -> bool:
        """Whether there is anything to ask of a record."""
        return bool(self.filters)

    def accepts(self, record: Mapping[str, Any]) -> bool:
        """Whether the record passes: its members as the function gets them, but `data` of a stream's record (whose
        members are those of `kinesis`) as the producer sent it, not in base64. What is carried may be bytes or text."""
        if not self.filters:
            return True
        if all(one.sort is Sort.EITHER for one in self.filters):  # then nobody asks what is carried
            return any(one.accepts(record) for one in self.filters)
        sort, value = _read(record.get(self.carried))
        wanted = [one for one in self.filters if one.sort in (sort, Sort.EITHER)]
        seen = {**record, self.carried: value} if self.carried in record else dict(record)
        return any(one.accepts(seen) for one in wanted)


def _filters(text: str, carried: str) -> Iterator[Filter]:
    """The filters of one pattern: one whose top has a `$or` that speaks of the carried data is one for each choice."""
    if len(text) > MAX_PATTERN_CHARACTERS:
        raise InvalidPattern(f"A pattern has at most {MAX_PATTERN_CHARACTERS} characters")
    try:
        written = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise InvalidPattern("Not JSON") from error
    pattern_of(written)  # refuses what is too complex before it is taken apart
    for parts in _apart(written, carried):
        yield Filter(tuple(map(pattern_of, parts)), _sort(parts, carried))


def _apart(written: Mapping[str, Any], carried: str) -> Iterator[tuple[Mapping[str, Any], ...]]:
    """Groups of patterns without such a `$or`. A record matches this one if it matches all of any group."""
    choice = written.get(OR)
    if not (is_choice(choice) and _speaks_of(choice, carried)):
        yield (written,)
        return
    rest = {name: value for name, value in written.items() if name != OR}
    for one in choice:
        for parts in _apart(one, carried):
            yield (rest, *parts) if rest else parts


def _speaks_of(choice: list[dict[str, Any]], carried: str) -> bool:
    inner = [one.get(OR) for one in choice]
    return any(carried in one for one in choice) or any(is_choice(one) and _speaks_of(one, carried) for one in inner)


def _sort(parts: Iterable[Mapping[str, Any]], carried: str) -> Sort:
    wanted = {Sort.JSON if isinstance(part[carried], dict) else Sort.TEXT for part in parts if carried in part}
    return wanted.pop() if len(wanted) == 1 else Sort.NEITHER if wanted else Sort.EITHER


def _read(carried: object) -> tuple[Sort, object]:
    """What a record carries: JSON where it is an object or an array, else its text."""
    if not isinstance(carried, str | bytes):
        return (Sort.JSON if isinstance(carried, dict | list) else Sort.TEXT), carried
    try:
        value = orjson.loads(carried)
    except orjson.JSONDecodeError:
        value = None
    if isinstance(value, dict | list):
        return Sort.JSON, value
    return Sort.TEXT, carried if isinstance(carried, str) else carried.decode("utf-8", "replace")
