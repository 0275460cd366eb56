"""What the feed and the lanes of one stream source share: settings, session, bells, the way to settle.

State: `mapping` and what follows from it change in `reconfigure`, `session` by the feed, `is_fenced_off` by lanes (a
settlement was refused as stale) and by the feed (a session has begun); all on one event loop.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

import structlog

from hearth.core.errors import HearthError
from hearth.core.function import FunctionVersion
from hearth_gateway.asynchronous.ports import Courier
from hearth_gateway.core.addresses import StreamAddress
from hearth_gateway.core.back_off import short_back_off_s
from hearth_gateway.core.dead_letter import Letter
from hearth_gateway.core.filtering import Filters
from hearth_gateway.core.mapping import EventSourceMapping
from hearth_gateway.core.parcel import Parcel
from hearth_gateway.core.stream_batch import StreamOrigin
from hearth_gateway.core.stream_lanes import BatchTerms
from hearth_gateway.core.stream_progress import Shape, StreamSettlement
from hearth_gateway.sources.ports import NO_RECORDS, NO_SOURCE, QueueUnavailable, StaleSession, Surroundings
from hearth_gateway.sources.stream_ports import StreamReader
from hearth_gateway.sources.tally import Count

INSIST_AFTER_END_S = 10.0
"""How long lanes that end go on trying to settle; after that the records are delivered again."""
LONGEST_SLEEP_S = 20.0
"""Everybody looks up after this long even if nothing woke them: every wait has a deadline."""


class Reading:
    """One source's common ground. `ending` is set when the lanes are to finish what they run, and no more."""

    def __init__(
        self, mapping: EventSourceMapping, reader: StreamReader, around: Surroundings, courier: Courier
    ) -> None:
        self.reader = reader
        self.around = around
        self.clock = around.clock
        self.courier = courier
        self.session = 0
        self.is_fenced_off = False
        self.last_result = NO_RECORDS
        self.is_caught_up = False
        self.is_stopping = False
        self.ending = asyncio.Event()
        self.feed_bell = asyncio.Event()
        self.lane_bells: list[asyncio.Event] = []
        self.reconfigure(mapping)

    def reconfigure(self, mapping: EventSourceMapping) -> None:
        """Use these settings from now on."""
        self.mapping = mapping
        self.terms = BatchTerms.of(mapping)
        self.filters = Filters.of(mapping.filters, mapping.kind)

    @property
    def shape(self) -> Shape:
        return Shape.of(self.mapping)

    def origin(self, function: FunctionVersion | None) -> StreamOrigin:
        """Where records come from, as that function sees it."""
        address = self.mapping.source
        stream = address.key if isinstance(address, StreamAddress) else ""
        role = "" if function is None else function.role
        return StreamOrigin(self.mapping.source_arn, stream, self.around.region, role, self.shape.key_field)

    # Waking

    def end(self) -> None:
        """Let everybody finish."""
        self.ending.set()
        self.ring()

    def ring(self) -> None:
        """Wake everybody."""
        self.feed_bell.set()
        self.ring_lanes()

    def ring_lanes(self) -> None:
        for bell in self.lane_bells:
            bell.set()

    async def rest(self, bell: asyncio.Event, longest_s: float = LONGEST_SLEEP_S) -> None:
        """Sleep until the bell, at most so long."""
        with suppress(TimeoutError):
            async with asyncio.timeout(min(max(longest_s, 0.0), LONGEST_SLEEP_S)):
                await bell.wait()
        bell.clear()

    async def sleep(self, seconds: float) -> None:
        """Sleep so long, unless it ends."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.ending.wait()

    # Insisting

    async def settle(self, settlement: StreamSettlement) -> bool:
        """Until it is done; an outcome is not forgotten because Redis is away. False: the lanes are
        ending and it was in vain, so that the records come again."""

        async def once() -> None:
            await self.reader.settle(self.session, settlement)

        return await self._insist(once, f"{len(settlement.done)} records cannot be settled yet")

    async def post(self, parcel: Parcel) -> bool:
        """Hand a failure record to the courier, in the same way."""

        async def once() -> None:
            await self.courier.post([parcel])

        return await self._insist(once, "a failure record cannot be posted yet")

    async def bury(self, letters: Sequence[Letter]) -> bool:
        """Give dead letters to the default store, in the same way."""

        async def once() -> None:
            await self.courier.bury(letters)

        return await self._insist(once, "a dead letter cannot be stored yet")

    async def forget(self) -> None:
        """The mapping is gone: nothing of it is to be left at the server."""
        if not await self._insist(self.reader.forget, "the consumer group cannot be removed yet"):
            self.complain(NO_SOURCE, "the consumer group stays behind")

    async def _insist(self, once: Callable[[], Awaitable[None]], trouble: str) -> bool:
        failures, ending_s = 0, 0.0
        while ending_s < INSIST_AFTER_END_S:
            try:
                await once()
            except (QueueUnavailable, HearthError) as error:
                self.complain(NO_SOURCE, f"{trouble}: {error}")
                self.is_fenced_off |= isinstance(error, StaleSession)
                self.feed_bell.set()  # a session that is stale is begun anew there
                pause_s = short_back_off_s(failures)
                await self.clock.pause(pause_s)
                failures += 1
                # At the end nobody begins a new session any more, should this one be stale.
                ending_s += pause_s if self.ending.is_set() else 0.0
            else:
                return True
        return False

    def count(self, what: Count, count: int) -> None:
        """Count records that are over."""
        self.around.tally.add(self.mapping.kind, what, count)

    def complain(self, result: str, reason: str) -> None:
        """Say it in the mapping and in the log."""
        self.last_result = result
        structlog.get_logger().warning(
            "event source in trouble", mapping=self.mapping.uuid, source=self.mapping.source_arn, reason=reason
        )
