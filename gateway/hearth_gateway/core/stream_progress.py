"""How far a mapping has come in a stream, and what it must not forget: where to go on, failed batches, open windows.

Rule 1: what is handled is acknowledged; what is not is pending in the consumer group, or was never read.
Rule 2: a group that is lost is made again behind the lowest entry that is not finished. Nothing is skipped.
Rule 3: counts belong to a shape, the way records are dealt to lanes. Another shape begins them anew, which gives a
record more attempts, never fewer. Windows outlive shapes: they are closed early.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from hearth_gateway.core.mapping import EventSourceMapping, StartingPosition
from hearth_gateway.core.stream_entry import BEGINNING, KEY_FIELD, MOST, EntryId
from hearth_gateway.core.stream_window import Window

TAG_PARTITION_KEY = "hearth:partition-key"
"""Mapping tag: the field whose value keeps records in order; default `partitionKey`."""
CLOCK_DOUBT_MS = 3_600_000
"""Ids this far from the clock are no times, as far as LATEST is concerned."""


@dataclass(frozen=True, slots=True)
class Shape:
    """How records are dealt to lanes."""

    factor: int = 1
    key_field: str = KEY_FIELD

    @classmethod
    def of(cls, mapping: EventSourceMapping) -> "Shape":
        return cls(mapping.parallelization_factor, mapping.tags.get(TAG_PARTITION_KEY) or KEY_FIELD)

    def lane_name(self, index: int) -> str:
        """How a lane is called where things are kept under its name. The field comes last: it may be any text."""
        return f"{index}/{self.factor}/{self.key_field}"


@dataclass(frozen=True, slots=True)
class Mark:
    """A batch that failed: it goes on through the entry `last`, and that many attempts have failed."""

    last: EntryId
    attempts: int

    def encode(self) -> bytes:
        return f"{self.last} {self.attempts}".encode()

    @classmethod
    def decode(cls, stored: bytes) -> "Mark":
        last, attempts = stored.decode().split(" ")
        return cls(EntryId.parse(last), int(attempts))


def mark_name(first: EntryId, lane_name: str) -> str:
    """Where the mark of the batch that begins with that entry is kept."""
    return f"mark:{first}:{lane_name}"


@dataclass(frozen=True, slots=True)
class StreamSettlement:
    """What is to be durable in one step: entries finished with, facts kept and facts forgotten."""

    done: tuple[EntryId, ...] = ()
    keep: Mapping[str, bytes] = field(default_factory=dict)
    forget: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.done or self.keep or self.forget)


@dataclass(frozen=True, slots=True)
class Kept:
    """What was kept, sorted out for a shape. `obsolete` are the names of facts that are of no use any more."""

    marks: Mapping[int, Mapping[EntryId, Mark]]
    windows: Mapping[int, tuple[Window, ...]]
    obsolete: tuple[str, ...]


def sort_out(facts: Mapping[str, bytes], shape: Shape) -> Kept:
    """Marks of this shape by lane, and all windows: those of another shape are to be closed early."""
    lanes = {shape.lane_name(index): index for index in range(shape.factor)}
    marks: dict[int, dict[EntryId, Mark]] = {}
    windows: dict[int, list[Window]] = {}
    obsolete: list[str] = []
    for name, stored in facts.items():
        kind, _, rest = name.partition(":")
        if kind == "window":
            lane_name = rest.rpartition(":")[0]
            window = Window.decode(name, stored)
            if lane_name not in lanes:
                window = Window(name, window.start_ms, window.end_ms, window.state, window.attempts, is_early=True)
            windows.setdefault(lanes.get(lane_name, 0), []).append(window)
            continue
        first, _, lane_name = rest.partition(":")
        if kind == "mark" and lane_name in lanes:
            marks.setdefault(lanes[lane_name], {})[EntryId.parse(first)] = Mark.decode(stored)
        else:
            obsolete.append(name)
    ordered = {lane: tuple(sorted(found, key=_age)) for lane, found in windows.items()}
    return Kept(marks, ordered, tuple(obsolete))


def _age(window: Window) -> tuple[bool, int]:
    """Those of other shapes first, then the oldest."""
    return not window.is_early, window.start_ms


# Positions


@dataclass(frozen=True, slots=True)
class Start:
    """Where a mapping begins that has read nothing yet. `since_ms`: when it was made."""

    position: StartingPosition
    since_ms: int
    at_ms: int | None = None

    @classmethod
    def of(cls, mapping: EventSourceMapping) -> "Start":
        position = mapping.starting_position or StartingPosition.TRIM_HORIZON
        return cls(position, mapping.last_modified_ms, mapping.starting_position_ms)


@dataclass(frozen=True, slots=True)
class Facts:
    """What is there when a session begins. `last`: the stream's newest id ever, None without a stream. `read`: the
    newest entry that was delivered to this mapping, and `unfinished` the oldest of those that is not finished, as kept
    beside the group; `read` is None for a mapping that is new. `kept` are marks and windows."""

    has_group: bool
    last: EntryId | None
    read: EntryId | None
    unfinished: EntryId | None
    foreign: int = 0
    kept: Mapping[str, bytes] = field(default_factory=dict)


class Beginning(Enum):
    """Why a session begins where it does."""

    GROUP = "the group says where"
    NEW = "the mapping is new"
    AGAIN = "the group was lost"
    RECREATED = "the stream is another one"


@dataclass(frozen=True, slots=True)
class Position:
    """Where to go on: after this entry. It is None where the group says it itself."""

    after: EntryId | None
    why: Beginning


def position(facts: Facts, start: Start) -> Position:
    """Where a session goes on."""
    if facts.has_group:
        return Position(None, Beginning.GROUP)
    if facts.read is None:
        return Position(_first_position(facts.last, start), Beginning.NEW)
    if facts.last is not None and facts.last < facts.read:
        return Position(BEGINNING, Beginning.RECREATED)
    return Position(facts.read if facts.unfinished is None else facts.unfinished.before(), Beginning.AGAIN)


def _first_position(last: EntryId | None, start: Start) -> EntryId:
    match start.position:
        case StartingPosition.TRIM_HORIZON:
            return BEGINNING
        case StartingPosition.AT_TIMESTAMP:
            return EntryId(start.at_ms or 0, 0).before()
        case StartingPosition.LATEST:
            return _latest(last, start.since_ms)


def _latest(last: EntryId | None, since_ms: int) -> EntryId:
    """The end of the stream as it was when the mapping was made, as far as ids tell the time. What was added since
    then, while it was becoming enabled, is not lost."""
    if last is None:
        return BEGINNING  # whatever comes is new
    if abs(last.ms - since_ms) > CLOCK_DOUBT_MS:
        return last
    return min(last, EntryId(since_ms - 1, MOST))
