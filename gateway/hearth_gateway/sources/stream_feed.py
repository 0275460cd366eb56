"""The feed of a stream source: reads the stream into the lanes, and begins anew whenever it is lost.

Rule 1: what is pending is read before what is new, lane by lane, in order.
Rule 2: whenever an answer may have been lost, the lanes look among the pending records for what they missed.
Rule 3: nothing is read that no lane has room for; the rest stays at the server.
Rule 4: a session that is refused to a lane is begun anew, even while there is nothing to read for anybody.
Rule 5: what needs no function is owed to the server until it has answered: no lane would look for it again.
"""

import asyncio
from collections.abc import Sequence

import structlog

from hearth.core.invocation import MAX_REQUEST_BYTES
from hearth_gateway.core.back_off import back_off_s
from hearth_gateway.core.stream_batch import seen_by_filters
from hearth_gateway.core.stream_entry import BEGINNING, Entry, EntryId
from hearth_gateway.core.stream_lanes import Lanes, Page
from hearth_gateway.core.stream_progress import Beginning, Facts, Position, Start, StreamSettlement, position, sort_out
from hearth_gateway.sources.ports import NO_SOURCE, QueueUnavailable, StaleSession
from hearth_gateway.sources.stream_ports import GroupLost
from hearth_gateway.sources.stream_reading import Reading
from hearth_gateway.sources.tally import Count

WAIT_S = 10.0
"""One blocking wait; then a look. Bounds how long a stream that was made anew, with smaller ids, goes unnoticed."""
MOST_AT_ONCE = 1_000
"""How many records one read gives at most."""


class StreamFeed:
    """Feeds the lanes of one shape. `start` is where the mapping began."""

    def __init__(self, reading: Reading, lanes: Lanes, start: Start, tasks: asyncio.TaskGroup) -> None:
        self._reading = reading
        self._lanes = lanes
        self._start = start
        self._tasks = tasks
        self._read_through = BEGINNING
        self._has_recalled = False
        self._owed: set[EntryId] = set()
        self._watch: asyncio.Task[None] | None = None
        self._lost: QueueUnavailable | None = None

    async def run(self) -> None:
        """Until it ends. Survives the loss of the connection, of the group and of the stream."""
        failures = 0
        while not self._reading.ending.is_set():
            self._reading.session = next(self._reading.around.sessions)
            try:
                if await self._enter():
                    failures = 0
                    self._reading.is_fenced_off = False
                    await self._hold_session()
            except GroupLost:
                structlog.get_logger().warning("stream or its consumer group is gone", **self._names())
                await self._reading.sleep(back_off_s(failures))
                failures += 1
            except QueueUnavailable as error:
                self._reading.complain(NO_SOURCE, str(error))
                await self._reading.sleep(back_off_s(failures))
                failures += 1

    # Sessions

    async def _enter(self) -> bool:
        """Begin a session. False without a stream, once there may be one."""
        reading = self._reading
        facts = await reading.reader.enter(reading.session)
        where = position(facts, self._start)
        if where.after is not None and (facts.last is not None or where.why is Beginning.NEW):
            await self._begin(where, where.after)
        if facts.last is None:
            await self._wait(BEGINNING)
            return False
        if reading.ending.is_set():
            return False
        if facts.foreign:
            self._count_gone(await reading.reader.adopt(reading.session))
        await self._recall(facts)
        self._lanes.doubt()
        self._read_through = facts.read or where.after or BEGINNING
        return True

    async def _begin(self, where: Position, after: EntryId) -> None:
        reading, is_new_stream = self._reading, where.why is Beginning.RECREATED
        await reading.reader.begin(reading.session, after, is_new_stream=is_new_stream)
        if where.why is Beginning.NEW:
            return
        structlog.get_logger().warning("stream is read on", why=where.why.value, after=str(after), **self._names())
        if is_new_stream:
            # What lanes still hold is of a stream that is no more, and so are the places where they stopped.
            self._count_gone(self._lanes.held)
            self._owed.clear()
            reading.end()
        else:
            self._lanes.expect_repetition()

    async def _recall(self, facts: Facts) -> None:
        """Take up, once, what an earlier run kept; after that memory knows better."""
        if self._has_recalled:
            return
        kept = sort_out(facts.kept, self._lanes.shape)
        if kept.obsolete:
            await self._reading.reader.settle(self._reading.session, StreamSettlement(forget=kept.obsolete))
        self._lanes.recall(kept)
        self._has_recalled = True
        self._reading.ring_lanes()

    async def _hold_session(self) -> None:
        """Feed until it ends, or until the stream is lost."""
        self._lost = None
        try:
            while not self._reading.ending.is_set():
                if not await self._step():
                    await self._reading.rest(self._reading.feed_bell)
                if self._lost is not None:
                    raise self._lost
                if self._reading.is_fenced_off:
                    raise StaleSession("a settlement was refused")
        finally:
            await self._end_watch()

    # Feeding

    async def _step(self) -> bool:
        """Read something, if somebody has use for it. False: there is nothing to do at once."""
        batch_size = self._reading.terms.batch_size
        await self._pay()
        after = self._lanes.refill_after(batch_size)
        if after is not None:
            await self._refill(after, batch_size)
            return True
        if not self._lanes.wants_new(batch_size) or self._is_watching():
            return False
        return await self._read_new(batch_size)

    async def _refill(self, after: EntryId, batch_size: int) -> None:
        reading = self._reading
        page = await reading.reader.pending(reading.session, after, self._limit(batch_size), MAX_REQUEST_BYTES)
        kept, dropped = self._filtered(page.entries)
        self._lanes.refill(after, Page(kept, (), page.through, page.is_last), batch_size, reading.clock.now_ms())
        reading.ring_lanes()
        self._count_gone(len(set(page.gone) - self._owed))
        await self._finish(dropped, page.gone)

    async def _read_new(self, batch_size: int) -> bool:
        reading = self._reading
        fresh = await reading.reader.read(reading.session, self._limit(batch_size), MAX_REQUEST_BYTES)
        page = fresh.page
        if page.entries:
            self._read_through = page.through
            kept, dropped = self._filtered(page.entries)
            repeated = self._lanes.take_new(kept, batch_size, reading.clock.now_ms())
            reading.ring_lanes()
            await self._finish(dropped, repeated)
        if page.is_last:
            self._begin_watch()
        return bool(page.entries) and not page.is_last

    async def _finish(self, dropped: Sequence[EntryId], others: Sequence[EntryId]) -> None:
        """These need no function."""
        fresh = [one for one in dropped if one not in self._owed]
        self._reading.count(Count.FILTERED, len(fresh))
        self._owed.update(dropped, others)
        await self._pay()

    async def _pay(self) -> None:
        if self._owed:
            done = tuple(sorted(self._owed))
            await self._reading.reader.settle(self._reading.session, StreamSettlement(done=done))
            self._owed.difference_update(done)

    def _filtered(self, entries: Sequence[Entry]) -> tuple[Sequence[Entry], Sequence[EntryId]]:
        """Those that the filter criteria let through, and the others."""
        filters, key_field = self._reading.filters, self._lanes.shape.key_field
        if not filters:
            return entries, ()
        kept = [one for one in entries if filters.accepts(seen_by_filters(one, key_field))]
        passed = {one.id for one in kept}
        return kept, [one.id for one in entries if one.id not in passed]

    def _limit(self, batch_size: int) -> int:
        return min(MOST_AT_ONCE, batch_size * self._lanes.shape.factor)

    # Waiting

    def _is_watching(self) -> bool:
        return self._watch is not None and not self._watch.done()

    def _begin_watch(self) -> None:
        """Everything is read: be told when there is more."""
        if not self._is_watching():
            self._reading.is_caught_up = True
            self._watch = self._tasks.create_task(self._look_out(), name=f"watch {self._reading.mapping.uuid}")
            self._reading.ring_lanes()  # a window may be over now that nothing more is coming

    async def _look_out(self) -> None:
        try:
            await self._reading.reader.wait(self._read_through, WAIT_S)
        except QueueUnavailable as error:
            self._lost = error
        finally:
            self._reading.is_caught_up = False
            self._reading.feed_bell.set()

    async def _end_watch(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
            await asyncio.wait({self._watch})
            self._watch = None

    async def _wait(self, after: EntryId) -> None:
        """Until there may be something after that entry, unless it ends."""
        self._read_through = after
        self._begin_watch()
        try:
            while self._is_watching() and not self._reading.ending.is_set():
                await self._reading.rest(self._reading.feed_bell)
        finally:
            await self._end_watch()
        if self._lost is not None:
            lost, self._lost = self._lost, None
            raise lost

    # Telling

    def _count_gone(self, count: int) -> None:
        if not count:
            return
        self._reading.count(Count.TRIMMED, count)
        structlog.get_logger().error("records were trimmed before they were handled", count=count, **self._names())

    def _names(self) -> dict[str, str]:
        mapping = self._reading.mapping
        return {"mapping": mapping.uuid, "source": mapping.source_arn}
