"""Lanes: what of a stream is in memory, and what each lane does next.

Rule 1: records of one partition key go through one lane, in order, one batch at a time.
Rule 2: a lane holds two batches at most. Records that come while it is full stay pending at the server and are read
again from there: `behind` says after which entry. So a lane that is stuck costs no memory and stops no other lane.
Rule 3: a batch that failed comes again as it was: its mark says where it ends. A batch never goes into a marked one.
State: a `Lane` is changed by its `Lanes` (which give it entries) and by its driver (which takes them off its head).
"""

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from itertools import islice

from hearth.core.invocation import MAX_REQUEST_BYTES
from hearth_gateway.core.mapping import EventSourceMapping
from hearth_gateway.core.stream_entry import BEGINNING, Entry, EntryId, lane_of
from hearth_gateway.core.stream_progress import Kept, Mark, Shape
from hearth_gateway.core.stream_window import GRACE_MS, Window, window_at


@dataclass(frozen=True, slots=True)
class BatchTerms:
    """What a mapping says about batches. None is without end; lengths are milliseconds."""

    batch_size: int = 100
    fill_ms: int = 0
    max_retries: int | None = None
    max_age_ms: int | None = None
    is_bisecting: bool = False
    is_partial: bool = False
    tumbling_ms: int = 0

    @classmethod
    def of(cls, mapping: EventSourceMapping) -> "BatchTerms":
        age_s = _or_endless(mapping.maximum_record_age_s)
        return cls(
            mapping.batch_size,
            mapping.window_s * 1_000,
            max_retries=_or_endless(mapping.retry_attempts),
            max_age_ms=None if age_s is None else age_s * 1_000,
            is_bisecting=mapping.is_bisecting,
            is_partial=mapping.is_partial,
            tumbling_ms=mapping.tumbling_window_s * 1_000,
        )


def _or_endless(value: int | None) -> int | None:
    return None if value is None or value < 0 else value


@dataclass(frozen=True, slots=True)
class Rest:
    """Nothing to do before that time (epoch ms; None: before something changes)."""

    until_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Expire:
    """Give these up: they are too old."""

    entries: tuple[Entry, ...]
    attempts: int


@dataclass(frozen=True, slots=True)
class Attempt:
    """Run the function with these; so many attempts with them have failed."""

    entries: tuple[Entry, ...]
    attempts: int = 0
    window: Window | None = None


@dataclass(frozen=True, slots=True)
class Close:
    """Run the function for the last time for this window."""

    window: Window


Step = Rest | Expire | Attempt | Close


class Fullness(Enum):
    """How much a lane holds beside what is being run."""

    HUNGRY = "less than a batch"
    FED = "a batch or more"
    FULL = "no more"


class Lane:
    """One lane. `behind` is None while all of its records that were read are here or done."""

    def __init__(self, index: int, name: str) -> None:
        self.index = index
        self.name = name
        self.entries: deque[Entry] = deque()
        self.marks: dict[EntryId, Mark] = {}
        self.windows: deque[Window] = deque()
        self.seen = BEGINNING
        self.behind: EntryId | None = BEGINNING
        self.running = 0
        self.not_before_ms = 0
        self._size_bytes = 0
        self._since_ms = 0

    def __repr__(self) -> str:
        return f"Lane({self.name}, {len(self.entries)} here, {self.running} running, behind {self.behind})"

    def fullness(self, batch_size: int) -> Fullness:
        waiting = len(self.entries) - self.running
        if waiting >= 2 * batch_size or self._size_bytes >= 2 * MAX_REQUEST_BYTES:
            return Fullness.FULL
        return Fullness.FED if waiting >= batch_size or self._size_bytes >= MAX_REQUEST_BYTES else Fullness.HUNGRY

    def take(self, entry: Entry, now_ms: int) -> None:
        """Put it at the end."""
        if not self.entries:
            self._since_ms = now_ms
        self.entries.append(entry)
        self._size_bytes += entry.size_bytes
        self.seen = max(self.seen, entry.id)

    def advance(self, count: int, now_ms: int) -> None:
        """So many from the head are finished with."""
        for _ in range(count):
            self._size_bytes -= self.entries.popleft().size_bytes
        if count:
            self._since_ms = now_ms

    def next_step(self, terms: BatchTerms, now_ms: int, *, is_caught_up: bool) -> Step:
        """What to do now. `is_caught_up`: the stream has nothing that is not read."""
        if now_ms < self.not_before_ms:
            return Rest(self.not_before_ms)
        window = self.windows[0] if self.windows else None
        if window is not None and (window.is_early or len(self.windows) > 1 or not terms.tumbling_ms):
            return Close(window if len(self.windows) > 1 else replace(window, is_early=True))
        if not self.entries:
            return self._without_entries(window, now_ms, is_caught_up=is_caught_up)
        expired = self._expired(terms, now_ms)
        if expired is not None:
            return expired
        return self._with_entries(terms, window, now_ms)

    def _without_entries(self, window: Window | None, now_ms: int, *, is_caught_up: bool) -> Step:
        if window is None:
            return Rest()
        if now_ms < window.end_ms + GRACE_MS:
            return Rest(window.end_ms + GRACE_MS)
        return Close(window) if is_caught_up and self.behind is None else Rest()

    def _expired(self, terms: BatchTerms, now_ms: int) -> Expire | None:
        """The leading records of the next batch that are too old, together."""
        if terms.max_age_ms is None:
            return None
        entries, mark = self._batch(terms.batch_size)
        oldest_ms = now_ms - terms.max_age_ms
        count = next((at for at, one in enumerate(entries) if one.id.ms >= oldest_ms), len(entries))
        return Expire(tuple(entries[:count]), 0 if mark is None else mark.attempts) if count else None

    def _with_entries(self, terms: BatchTerms, window: Window | None, now_ms: int) -> Step:
        entries, mark = self._batch(terms.batch_size)
        is_full = mark is not None or len(entries) >= terms.batch_size or self._size_bytes >= MAX_REQUEST_BYTES
        is_full |= len(entries) < len(self.entries)  # a marked batch comes next
        if terms.tumbling_ms:
            head_ms = entries[0].id.ms
            if window is not None and head_ms >= window.end_ms:
                return Close(window)
            window = window or window_at(head_ms, terms.tumbling_ms, self.name)
            inside = [one for one in entries if one.id.ms < window.end_ms]
            is_full |= len(inside) < len(entries)
            entries = inside
        if not is_full and now_ms < self._since_ms + terms.fill_ms:
            return Rest(self._since_ms + terms.fill_ms)
        return Attempt(tuple(entries), 0 if mark is None else mark.attempts, window)

    def _batch(self, batch_size: int) -> tuple[list[Entry], Mark | None]:
        """The records that come next together, and the mark they are under."""
        head = self.entries[0].id
        mark = self._mark_over(head)
        if mark is not None:
            return [one for one in islice(self.entries, batch_size) if one.id <= mark.last], mark
        ends = min((first for first in self.marks if first > head), default=None)
        entries = list(islice(self.entries, batch_size))
        return (entries if ends is None else [one for one in entries if one.id < ends]), None

    def _mark_over(self, entry: EntryId) -> Mark | None:
        """The mark of the batch that the entry is in, even if the batch's first entries are gone."""
        return next((mark for first, mark in self.marks.items() if first <= entry <= mark.last), None)

    def ended_marks(self, head: EntryId, done: Sequence[EntryId]) -> frozenset[EntryId]:
        """The batches that are over, or not what they were, once the one at the head has had its fate: its own, and
        those that end within what is done."""
        last = done[-1] if done else BEGINNING
        return frozenset(first for first, mark in self.marks.items() if mark.last <= last or first <= head <= mark.last)


class Lanes:
    """All lanes of one shape."""

    def __init__(self, shape: Shape) -> None:
        self.shape = shape
        self.lanes = tuple(Lane(index, shape.lane_name(index)) for index in range(shape.factor))
        self._known_through = BEGINNING

    def recall(self, kept: Kept) -> None:
        """Take up what was kept."""
        for lane in self.lanes:
            lane.marks = dict(kept.marks.get(lane.index, {}))
            lane.windows = deque(kept.windows.get(lane.index, ()))

    def lane(self, entry: Entry) -> Lane:
        return self.lanes[lane_of(entry.key(self.shape.key_field), self.shape.factor)]

    @property
    def held(self) -> int:
        """How many records are in memory."""
        return sum(len(lane.entries) for lane in self.lanes)

    def doubt(self) -> None:
        """An answer was lost: there may be pending records that are not here."""
        for lane in self.lanes:
            lane.behind = lane.seen if lane.behind is None else lane.behind

    def expect_repetition(self) -> None:
        """The group was made again: records come once more that are here, or done."""
        self._known_through = max(lane.seen for lane in self.lanes)

    def refill_after(self, batch_size: int) -> EntryId | None:
        """After which entry pending records are to be read; None while no lane has use for them."""
        return min((lane.behind for lane in self._in_need(batch_size) if lane.behind is not None), default=None)

    def wants_new(self, batch_size: int) -> bool:
        """Whether some lane has use for records that nobody has read yet."""
        return any(lane.behind is None and lane.fullness(batch_size) is Fullness.HUNGRY for lane in self.lanes)

    def _in_need(self, batch_size: int) -> list[Lane]:
        return [one for one in self.lanes if one.behind is not None and one.fullness(batch_size) is Fullness.HUNGRY]

    def refill(self, after: EntryId, page: "Page", batch_size: int, now_ms: int) -> None:
        """Take pending records that were read from there on, where they are missing and there is room."""
        behind = {lane.index: lane.behind for lane in self.lanes if lane.behind is not None and lane.behind >= after}
        full: set[int] = set()
        for entry in page.entries:
            lane = self.lane(entry)
            missing_after = behind.get(lane.index)
            if missing_after is None or entry.id <= missing_after or lane.index in full:
                continue
            if lane.fullness(batch_size) is Fullness.FULL:
                full.add(lane.index)
            else:
                lane.take(entry, now_ms)
                lane.behind = entry.id
        for index in behind.keys() - full:
            lane = self.lanes[index]
            lane.behind = None if page.is_last else max(page.through, lane.behind or page.through)

    def take_new(self, entries: Iterable[Entry], batch_size: int, now_ms: int) -> tuple[EntryId, ...]:
        """Take records read for the first time. Gives those that are done with already (see `expect_repetition`)."""
        repeated: list[EntryId] = []
        for entry in entries:
            lane = self.lane(entry)
            if entry.id <= min(lane.seen, self._known_through):
                repeated.append(entry.id)
            elif lane.behind is None and lane.fullness(batch_size) is not Fullness.FULL:
                lane.take(entry, now_ms)
            elif lane.behind is None:
                lane.behind = lane.seen
        if not repeated:
            return ()
        here = {one.id for lane in self.lanes for one in lane.entries}
        return tuple(one for one in repeated if one not in here)


@dataclass(frozen=True, slots=True)
class Page:
    """Entries that were read together. `through` is the last id looked at, `gone` are pending ones that the stream has
    no more, `is_last`: there are no others at the moment."""

    entries: Sequence[Entry] = ()
    gone: tuple[EntryId, ...] = ()
    through: EntryId = BEGINNING
    is_last: bool = True
