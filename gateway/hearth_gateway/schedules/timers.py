"""The timer engine: one heap, one task that sleeps until the next timer is due, one that tells who is complete.

Rule 1: post first, then advance the mark. Killed in between, the next start posts again by the same ids, and the
courier knows them.
Rule 2: nothing is passed over because the store is away: what is due stays due, and its timer's policy decides what of
it still counts when the store is back.
Rule 3: what breaks for one timer holds up no other.
Rule 4: the clock is asked anew every `LONGEST_SLEEP_S`, so that a step of the clock, or a night asleep, is noticed.
State: `_entries`, `_marks`, `_heap` and `_complete` are changed here only, on one event loop.
"""

import asyncio
import heapq
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from typing import Self

import structlog

from hearth.core.errors import ServiceError
from hearth_gateway.asynchronous.ports import Courier
from hearth_gateway.core.back_off import back_off_s
from hearth_gateway.core.firing import Due, Firing, Mark, MissedFirings, Step, Timer, firing_id, next_due, take_step
from hearth_gateway.core.parcel import Parcel
from hearth_gateway.schedules.ports import Completed, Marks, Post, Progress, TimersUnavailable
from hearth_gateway.sources.ports import Clock

LONGEST_SLEEP_S = 15.0
MOST_AT_ONCE = 100
"""Timers that are served in one step; those of a whole minute may be due together."""
MOST_PARCELS = 500
"""Parcels that are posted in one step; after a long absence one timer may have many."""
PUT_BACK_MS = 30_000
"""How long a timer rests that alone cannot be fired, whatever the reason."""

log = structlog.get_logger(__name__)


@dataclass(slots=True, eq=False)
class _Entry:
    """A timer that is here. `ticket` is its valid place in the heap; older ones are of no meaning."""

    timer: Timer
    post: Post
    completed: Completed | None
    due: Due | None = None
    ticket: int = -1


class TimerEngine:
    """See `Timers`. Entered, it loads how far the timers came and begins to fire them."""

    def __init__(self, marks: Marks, courier: Courier, clock: Clock, missed: MissedFirings) -> None:
        self._store = marks
        self._courier = courier
        self._clock = clock
        self._missed = missed
        self._entries: dict[str, _Entry] = {}
        self._marks: dict[str, Mark] | None = None  # None until they are loaded: nothing fires before
        self._heap: list[tuple[int, int, str]] = []
        self._tickets = count()
        self._complete: dict[str, Completed] = {}
        self._bell = asyncio.Event()
        self._complete_bell = asyncio.Event()
        self._group = asyncio.TaskGroup()
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        await self._group.__aenter__()
        self._tasks = [
            self._group.create_task(self._run(), name="timers"),
            self._group.create_task(self._tell_complete(), name="timers-complete"),
        ]
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await self._group.__aexit__(None, None, None)

    def health(self) -> Mapping[str, object]:
        """For `/health`: how many timers there are, when the next is due, and how late the one is that is due."""
        due_ms = min((entry.due.due_ms for entry in self._entries.values() if entry.due), default=None)
        late_ms = 0 if due_ms is None else max(0, self._clock.now_ms() - due_ms)
        return {"count": len(self._entries), "next_ms": due_ms, "late_ms": late_ms}

    # Timers

    def put(self, timer: Timer, post: Post, completed: Completed | None = None) -> None:
        """See `Timers.put`."""
        entry = self._entries[timer.id] = _Entry(timer, post, completed)
        self._complete.pop(timer.id, None)
        if self._marks is not None:
            self._arm(entry)

    async def remove(self, timer_id: str) -> None:
        """See `Timers.remove`. A mark that cannot be dropped now does no harm: a timer of the same id that comes later
        looks at later times only."""
        self._entries.pop(timer_id, None)
        self._complete.pop(timer_id, None)
        if self._marks is not None:
            self._marks.pop(timer_id, None)
        try:
            await self._store.forget([timer_id])
        except TimersUnavailable as error:
            log.warning("a timer's mark stays", timer=timer_id, error=str(error))

    def progress(self, timer_id: str) -> Progress:
        """See `Timers.progress`."""
        entry = self._entries.get(timer_id)
        mark = (self._marks or {}).get(timer_id)
        next_ms = entry.due.due_ms if entry and entry.due else None
        return Progress(next_ms, mark.fired_ms if entry and mark else None)

    def _arm(self, entry: _Entry) -> None:
        """Put the timer into the heap by what it is due for next, or among those that are complete."""
        assert self._marks is not None
        timer = entry.timer
        self._await(entry, next_due(timer, self._marks.get(timer.id), self._clock.now_ms()))

    def _await(self, entry: _Entry, due: Due | None) -> None:
        entry.due = due
        if due is not None:
            self._push(entry, due.due_ms)
        elif entry.completed is not None:
            self._complete[entry.timer.id] = entry.completed
            self._complete_bell.set()

    def _push(self, entry: _Entry, at_ms: int) -> None:
        entry.ticket = next(self._tickets)
        heapq.heappush(self._heap, (at_ms, entry.ticket, entry.timer.id))
        if len(self._heap) > 2 * len(self._entries) + MOST_AT_ONCE:
            self._heap = [place for place in self._heap if self._is_valid(place)]
            heapq.heapify(self._heap)
        self._bell.set()

    def _is_valid(self, place: tuple[int, int, str]) -> bool:
        entry = self._entries.get(place[2])
        return entry is not None and entry.ticket == place[1]

    # Firing

    async def _run(self) -> None:
        failures = 0
        while True:
            self._bell.clear()
            try:
                await self._serve_due()
                failures = 0
            except (TimersUnavailable, ServiceError) as error:
                log.warning("timers wait", error=str(error))
                failures = await self._back_off(failures)
            except Exception:  # the top of a task: whatever broke must not stop all timers
                log.exception("the timers broke")
                failures = await self._back_off(failures)
            else:
                await self._sleep()

    async def _serve_due(self) -> None:
        if self._marks is None:
            self._marks = dict(await self._store.load())
            for entry in list(self._entries.values()):
                self._arm(entry)
        while batch := self._take_due(self._clock.now_ms()):
            await self._serve(batch)

    def _take_due(self, now_ms: int) -> list[_Entry]:
        due: list[_Entry] = []
        while self._heap and self._heap[0][0] <= now_ms and len(due) < MOST_AT_ONCE:
            place = heapq.heappop(self._heap)
            if self._is_valid(place):
                due.append(self._entries[place[2]])
        return due

    async def _serve(self, batch: Sequence[_Entry]) -> None:
        try:
            await self._fire(batch)
        except (TimersUnavailable, ServiceError):
            self._put_back(batch, self._clock.now_ms())
            raise
        except Exception:
            if len(batch) == 1:
                log.exception("a timer could not be fired", timer=batch[0].timer.id)
                self._put_back(batch, self._clock.now_ms() + PUT_BACK_MS)
                return
            self._put_back(batch[1:], self._clock.now_ms())  # should the first one's failure be everybody's
            for entry in batch:
                await self._serve([entry])

    async def _fire(self, batch: Sequence[_Entry]) -> None:
        """Post what all of these are due for, then note how far they came."""
        assert self._marks is not None
        now_ms = self._clock.now_ms()
        steps = [
            (entry, take_step(entry.timer, self._marks.get(entry.timer.id), now_ms, self._missed)) for entry in batch
        ]
        parcels = [parcel for entry, step in steps for parcel in _parcels(entry, step, now_ms)]
        for start in range(0, len(parcels), MOST_PARCELS):
            await self._courier.post(parcels[start : start + MOST_PARCELS])
        fired = {entry.timer.id: step.mark for entry, step in steps if step.scheduled}
        if fired:
            await self._store.advance(fired)
        self._marks.update(fired)
        for entry, step in steps:
            self._go_on(entry, step)
        gone = [timer_id for timer_id in fired if timer_id not in self._entries]
        if gone:
            await self._store.forget(gone)

    def _go_on(self, entry: _Entry, step: Step) -> None:
        current = self._entries.get(entry.timer.id)
        if current is entry:
            self._await(entry, step.next)
        elif current is not None:
            self._arm(current)  # it was replaced while the old one's parcels were on their way
        elif self._marks is not None:
            self._marks.pop(entry.timer.id, None)

    def _put_back(self, batch: Sequence[_Entry], at_ms: int) -> None:
        for entry in batch:
            if self._entries.get(entry.timer.id) is entry:
                self._push(entry, at_ms)

    async def _sleep(self) -> None:
        """Until the next timer is due, or the bell rings because there is another."""
        wait_s = LONGEST_SLEEP_S
        if self._heap:
            wait_s = min(wait_s, max(0.0, (self._heap[0][0] - self._clock.now_ms()) / 1000))
        with suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                await self._bell.wait()

    async def _back_off(self, failures: int) -> int:
        await self._clock.pause(back_off_s(failures))
        return failures + 1

    # Completion

    async def _tell_complete(self) -> None:
        failures = 0
        while True:
            await self._complete_bell.wait()
            self._complete_bell.clear()
            told = [await self._tell(timer_id, completed) for timer_id, completed in list(self._complete.items())]
            if all(told):
                failures = 0
            else:
                failures = await self._back_off(failures)
                self._complete_bell.set()

    async def _tell(self, timer_id: str, completed: Completed) -> bool:
        try:
            await completed()
        except Exception as error:  # whoever could not be told is told again
            log.warning("a timer's end could not be dealt with", timer=timer_id, error=str(error))
            return False
        self._complete.pop(timer_id, None)
        return True


def _parcels(entry: _Entry, step: Step, now_ms: int) -> Sequence[Parcel]:
    timer_id = entry.timer.id
    return [
        parcel
        for scheduled_ms in step.scheduled
        for parcel in entry.post(Firing(firing_id(timer_id, scheduled_ms), scheduled_ms, now_ms))
    ]
