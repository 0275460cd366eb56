"""Log groups as CloudWatch Logs shows them: made, kept for some days, deleted, and searched for events.

Rule 1: a search sees all that was appended before it began. Rule 2: it happens in a thread, on the segments there were,
and does not hold up the writer; only a few happen at once.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from itertools import islice

from hearth.core.errors import Fault, HearthError, ResourceNotFound
from hearth.core.log_events import LogEvent, assemble
from hearth.log_groups import LogGroup
from hearth.log_ring import LogRing, PutEntry, Segment
from hearth.logs import FunctionLogs

PARALLEL_SEARCHES = 2
MAX_PAGE_BYTES = 2**20
EVENT_OVERHEAD_BYTES = 26
"""What an event counts for beside its message (PutLogEvents, Amazon CloudWatch Logs API reference)."""
MAX_STREAMS_MADE = 10_000


class LogLimitExceeded(HearthError):
    """More of something than is kept."""

    code, status, fault = "LimitExceededException", 400, Fault.CALLER


@dataclass(frozen=True, slots=True)
class Search:
    """Which events are wanted: both times are included, both ids are not. `newest` wants the last ones of what fits,
    instead of the first; `most` is how many at once."""

    group: str
    since_ms: int = 0
    until_ms: int = 10**15
    after_id: str = ""
    before_id: str | None = None
    is_wanted: Callable[[LogEvent], bool] = lambda event: True
    most: int = 10_000
    newest: bool = False


@dataclass(frozen=True, slots=True)
class Found:
    """Events in the order of time, and whether there were more."""

    events: list[LogEvent]
    has_more: bool


@dataclass(frozen=True, slots=True)
class Stream:
    """A log stream; times are epoch milliseconds, None before there is any event."""

    name: str
    created_ms: int
    first_ms: int | None = None
    last_ms: int | None = None


class LogArchive:
    """Every log group and its events."""

    def __init__(self, logs: FunctionLogs) -> None:
        self._logs = logs
        self._searching = asyncio.Semaphore(PARALLEL_SEARCHES)

    def group(self, name: str) -> LogGroup:
        """The group of this name. Raises ResourceNotFound."""
        found = self._logs.groups.find(name)
        if found is None:
            raise ResourceNotFound("The specified log group does not exist.")
        return found

    def groups(self) -> list[LogGroup]:
        """Every group in order of name."""
        return self._logs.groups.all()

    async def sizes(self, names: list[str]) -> Mapping[str, int]:
        """Bytes on disk."""
        async with self._logs.settled():
            return await asyncio.to_thread(lambda: {name: self._logs.ring(name).size for name in names})

    async def create(self, name: str, tags: Mapping[str, str]) -> bool:
        """Make a group; False if there is one already."""
        async with self._logs.settled():
            if self._logs.groups.find(name) is not None:
                return False
            await asyncio.to_thread(self._logs.groups.put, LogGroup(name, self._logs.now_ms, tags=dict(tags)))
            return True

    async def delete(self, name: str) -> None:
        """Delete the group and all its events."""
        async with self._logs.settled():
            self.group(name)
            await self._logs.delete(name)

    async def retain(self, name: str, days: int | None) -> None:
        """Keep entries for so many days from now on, None for as long as there is room."""
        async with self._logs.settled():
            group = replace(self.group(name), retention_days=days)
            await asyncio.to_thread(self._logs.groups.put, group)
            ring = self._logs.ring(name)
            ring.keeps_days = days
            await asyncio.to_thread(ring.expire, self._logs.cutoff_ms(group))

    async def tag(self, name: str, tags: Mapping[str, str]) -> None:
        """Make these the group's tags."""
        async with self._logs.settled():
            await asyncio.to_thread(self._logs.groups.put, replace(self.group(name), tags=dict(tags)))

    async def create_stream(self, name: str, stream: str) -> bool:
        """Make a stream without events; False if there is one already."""
        if await self.find_stream(name, stream) is not None:
            return False
        async with self._logs.settled():
            group = self.group(name)
            if len(group.streams) >= MAX_STREAMS_MADE:
                raise LogLimitExceeded(f"A log group has at most {MAX_STREAMS_MADE} streams that were made.")
            made = {**group.streams, stream: self._logs.now_ms}
            await asyncio.to_thread(self._logs.groups.put, replace(group, streams=made))
            return True

    async def delete_stream(self, name: str, stream: str) -> None:
        """Delete a stream and its events. One that is written to again begins anew. Raises ResourceNotFound."""
        if await self.find_stream(name, stream) is None:
            raise ResourceNotFound("The specified log stream does not exist.")
        async with self._logs.settled():
            group = self.group(name)
            await asyncio.to_thread(self._logs.ring(name).blot, stream)
            left = {made: at_ms for made, at_ms in group.streams.items() if made != stream}
            if left != group.streams:
                await asyncio.to_thread(self._logs.groups.put, replace(group, streams=left))

    async def put(self, name: str, entries: list[PutEntry]) -> None:
        """Add events as they are; they are on disk when this returns."""
        async with self._logs.settled():
            self.group(name)
            await self._logs.put(name, entries)

    async def search(self, search: Search) -> Found:
        """The events that are wanted. Raises ResourceNotFound."""
        async with self._searching:
            async with self._logs.settled():
                cutoff_ms = self._logs.cutoff_ms(self.group(search.group))
                ring = self._logs.ring(search.group)
                segments, now_ms = ring.segments(), self._logs.now_ms
            bounded = replace(search, since_ms=max(search.since_ms, cutoff_ms))
            return await asyncio.to_thread(_search, ring, segments, bounded, now_ms)

    async def streams(self, name: str) -> list[Stream]:
        """Every stream of the group that has events still, or was made, in order of name."""
        async with self._searching:
            async with self._logs.settled():
                group = self.group(name)
                ring = self._logs.ring(name)
                segments, cutoff_ms = ring.segments(), self._logs.cutoff_ms(group)
            return await asyncio.to_thread(_streams, ring, segments, group, cutoff_ms)

    async def find_stream(self, name: str, stream: str) -> Stream | None:
        """The stream of this name, if there is one. Raises ResourceNotFound for want of the group."""
        async with self._logs.settled():
            made_ms = self.group(name).streams.get(stream)
        if made_ms is not None:
            return Stream(stream, made_ms)
        return next((found for found in await self.streams(name) if found.name == stream), None)


def _search(ring: LogRing, segments: list[Segment], search: Search, now_ms: int) -> Found:
    """In a thread."""
    after, before = search.after_id, search.before_id
    events = sorted(
        event
        for event in assemble(ring.pieces(segments, search.since_ms), now_ms, search.since_ms)
        if search.since_ms <= event.at_ms <= search.until_ms
        and event.event_id > after
        and (before is None or event.event_id < before)
        and search.is_wanted(event)
    )
    page = _fitting(events[::-1], search.most)[::-1] if search.newest else _fitting(events, search.most)
    return Found(page, len(page) < len(events))


def _fitting(events: list[LogEvent], most: int) -> list[LogEvent]:
    """The first of these, as many as fit a page; one always does."""
    size, fitting = 0, list[LogEvent]()
    for event in islice(events, most):
        size += len(event.message.encode()) + EVENT_OVERHEAD_BYTES
        if size > MAX_PAGE_BYTES and fitting:
            break
        fitting.append(event)
    return fitting


def _streams(ring: LogRing, segments: list[Segment], group: LogGroup, cutoff_ms: int) -> list[Stream]:
    """In a thread."""
    times: dict[str, tuple[int, int]] = {}
    for span in ring.spans(segments):
        for name, (first, last) in span.streams.items():
            before = times.get(name, (first, last))
            times[name] = (min(first, before[0]), max(last, before[1]))
    kept = {name: span for name, span in times.items() if span[1] >= cutoff_ms}
    names = sorted({*kept, *group.streams})
    return [_stream(name, kept.get(name), group.streams.get(name)) for name in names]


def _stream(name: str, times: tuple[int, int] | None, made_ms: int | None) -> Stream:
    if times is None:
        return Stream(name, made_ms or 0)
    return Stream(name, made_ms if made_ms is not None else times[0], *times)
