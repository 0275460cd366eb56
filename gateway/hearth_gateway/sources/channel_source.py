"""One mapping's subscription to Redis channels: at most once until receipt, and nothing dropped in silence after it.

Rule 1: the subscription is always read. Waiting would only move the loss to the server, which cuts off whoever is slow;
so a bounded buffer takes what comes, and what it cannot take is counted, logged, and sent to the destination.
Rule 2: messages are taken from the buffer when a slot is there, so that what came meanwhile joins the batch.
Rule 3: a stop ends the subscription first, then gives what was received the time to end well.
State: everything here is touched on one event loop only.
"""

import asyncio
import uuid
from contextlib import suppress
from typing import assert_never

import structlog

from hearth.core.function import FunctionVersion
from hearth.core.invocation import Invocation, Outcome, PlatformFailed, Succeeded
from hearth.ports import Slot
from hearth_gateway.asynchronous.ports import Courier
from hearth_gateway.core.back_off import back_off_s
from hearth_gateway.core.channel_batch import (
    Again,
    Batch,
    Buffer,
    Condition,
    Done,
    Entry,
    Lost,
    Published,
    Terms,
    after_attempt,
    fits_an_event,
    members_of,
    without_the_old,
)
from hearth_gateway.core.filtering import Filters
from hearth_gateway.core.mapping import EventSourceMapping, SourceKind
from hearth_gateway.core.retry import platform_pause_ms
from hearth_gateway.sources.channel_losses import Losses
from hearth_gateway.sources.channel_ports import ChannelListener, Channels
from hearth_gateway.sources.ports import (
    CALL_FAILED,
    NO_FUNCTION,
    NO_PLATFORM,
    NO_RECORDS,
    NO_SOURCE,
    QueueUnavailable,
    Source,
    Surroundings,
)
from hearth_gateway.sources.tally import Count

LONGEST_SLEEP_S = 20.0
"""Whoever waits looks up after this long even if nothing woke it: every wait has a deadline."""
DRAIN_S = 10.0
"""How long a stopping source goes on trying to run what it has received."""
SEND_AFTER_STOP_S = 5.0
"""How long it then goes on handing what is left to the courier."""


class ChannelSource:
    """Feeds one function from one subscription until told to stop."""

    def __init__(
        self,
        mapping: EventSourceMapping,
        channel: ChannelListener,
        around: Surroundings,
        courier: Courier,
        *,
        buffer: Buffer | None = None,
    ) -> None:
        self.last_result = NO_RECORDS
        self._mapping = mapping
        self._filters = Filters.of(mapping.filters, SourceKind.CHANNEL)
        self._channel = channel
        self._around = around
        self._clock = around.clock
        self._buffer = buffer or Buffer()
        self._losses = Losses(mapping, around, courier)
        self._running = 0
        self._away_since: float | None = None
        self._is_subscribed = False
        self._platform_failures = 0
        self._calm_until_ms = 0
        self._batches: asyncio.TaskGroup | None = None
        self._stopping = asyncio.Event()
        self._bell = asyncio.Event()
        self._finished = asyncio.Event()

    def __repr__(self) -> str:
        return f"ChannelSource({self._mapping.source_arn} -> {self._mapping.function_name}, {self._buffer})"

    async def close(self) -> None:
        await self._channel.close()

    def reconfigure(self, mapping: EventSourceMapping) -> None:
        """Use these settings from the next message and batch on. The channel itself never changes."""
        self._mapping = mapping
        self._filters = Filters.of(mapping.filters, SourceKind.CHANNEL)
        self._losses.reconfigure(mapping)
        self._bell.set()

    def wake(self) -> None:
        """Look again: a function may have come or changed."""
        self._bell.set()

    def stop(self) -> None:
        """Hear nothing more; `run` returns once everything that was received has ended."""
        self._stopping.set()
        self._bell.set()

    async def run(self) -> None:
        """Listen until `stop`. Survives the loss of the server; other errors end it, and the supervisor starts
        another."""
        try:
            async with asyncio.TaskGroup() as tasks:
                self._batches = tasks
                listener = tasks.create_task(self._listen(), name=f"listener {self._mapping.uuid}")
                feeder = tasks.create_task(self._feed(), name=f"feeder {self._mapping.uuid}")
                sender = tasks.create_task(self._losses.send(), name=f"sender {self._mapping.uuid}")
                await self._stopping.wait()
                await _ended(listener)
                await self._drain()
                await _ended(feeder)
                while self._running:
                    await self._rest()
                self._give_up(Lost(self._buffer.take_all(), Condition.STOPPED))
                await self._losses.all_sent(SEND_AFTER_STOP_S)
                await _ended(sender)
        finally:
            self._losses.conclude(self._buffer.held)

    async def _drain(self) -> None:
        """Let what was received run, and run again where it failed."""
        with suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_S):
                while self._running or not self._buffer.is_idle:
                    self._finished.clear()
                    await self._finished.wait()

    def _give_up(self, lost: Lost) -> None:
        if lost.entries:
            self._losses.give_up(lost, self._buffer)
            self._finished.set()

    # Hearing

    async def _listen(self) -> None:
        failures = 0
        while True:
            try:
                await self._channel.listen(self._hear, self._subscribed)
            except QueueUnavailable as error:
                failures = 0 if self._is_subscribed else failures
                self._is_subscribed = False
                if self._away_since is None:
                    self._away_since = self._clock.monotonic()
                self._complain(NO_SOURCE, str(error))
            await self._clock.pause(back_off_s(failures))
            failures += 1

    def _subscribed(self) -> None:
        self._is_subscribed = True
        self.last_result = NO_RECORDS if self.last_result == NO_SOURCE else self.last_result
        if self._away_since is None:
            return
        away_s = round(self._clock.monotonic() - self._away_since, 3)
        self._away_since = None
        self._log().warning("subscribed again: what was published meanwhile is lost", away_s=away_s)

    def _hear(self, published: Published) -> None:
        now_ms, own_id = self._clock.now_ms(), str(uuid.uuid4())
        members = members_of(
            published,
            own_id=own_id,
            arn=self._mapping.source_arn,
            region=self._around.region,
            received_ms=now_ms,
        )
        if self._filters and not self._filters.accepts({**members, "message": published.message}):
            self._count(Count.FILTERED, 1)
            return
        entry = Entry.of(members)
        if not fits_an_event(entry):
            self._refuse(entry, Condition.TOO_LARGE)
        elif self._buffer.offer(entry):
            self._bell.set()
        else:
            self._refuse(entry, Condition.BUFFER_FULL)

    def _refuse(self, entry: Entry, condition: Condition) -> None:
        """A message that never got into the buffer."""
        self._losses.refuse(entry, condition)
        self.last_result = f"PROBLEM: {self._losses.count} messages were dropped"

    # Feeding

    async def _feed(self) -> None:
        while True:
            await self._until_ready()
            slot, function = await self._place()
            batch = self._next_batch()
            if batch is None:
                slot.release()
            else:
                self._start(slot, function, batch)

    async def _until_ready(self) -> None:
        while True:
            window_ms = 0 if self._stopping.is_set() else self._mapping.window_s * 1_000
            ready_ms = self._buffer.ready_ms(self._mapping.batch_size, window_ms)
            left_ms = LONGEST_SLEEP_S * 1_000 if ready_ms is None else ready_ms - self._clock.now_ms()
            if left_ms <= 0:
                return
            await self._rest(left_ms / 1_000)

    def _next_batch(self) -> Batch | None:
        batch = self._buffer.take(self._mapping.batch_size, self._clock.now_ms())
        if batch is None:
            return None
        fresh, old = without_the_old(batch, self._terms(), self._clock.now_ms())
        if old is not None:
            self._give_up(old)
        return fresh

    async def _place(self) -> tuple[Slot, FunctionVersion]:
        """Wait for room under MaximumConcurrency, for the platform to recover, for the function, for a slot."""
        while (calm_ms := self._calm_until_ms - self._clock.now_ms()) > 0:
            await self._rest(calm_ms / 1_000)
        while self._mapping.maximum_concurrency is not None and self._running >= self._mapping.maximum_concurrency:
            await self._rest()
        function = await self._function()
        return await self._around.scheduler.reserve(function), function

    async def _function(self) -> FunctionVersion:
        while True:
            function = self._around.functions.current(self._mapping.function_name, self._mapping.qualifier)
            if function is not None:
                return function
            self.last_result = NO_FUNCTION
            await self._rest()

    async def _rest(self, longest_s: float = LONGEST_SLEEP_S) -> None:
        """Sleep until the bell, at most so long."""
        with suppress(TimeoutError):
            async with asyncio.timeout(min(longest_s, LONGEST_SLEEP_S)):
                await self._bell.wait()
        self._bell.clear()

    # Batches

    def _start(self, slot: Slot, function: FunctionVersion, batch: Batch) -> None:
        assert self._batches is not None  # set by run(), the only way here
        work = self._run_batch(slot, function, batch)
        try:
            task = self._batches.create_task(work, name=f"batch {batch.entries[0].id}")
        except RuntimeError:  # the whole source is being cancelled, this feeder next
            work.close()
            slot.release()
            raise asyncio.CancelledError from None
        self._running += 1
        task.add_done_callback(lambda _: self._finish(slot))

    def _finish(self, slot: Slot) -> None:
        # Also for a task that was cancelled before its first step; a used slot does not mind.
        slot.release()
        self._running -= 1
        self._bell.set()
        self._finished.set()

    async def _run_batch(self, slot: Slot, function: FunctionVersion, batch: Batch) -> None:
        outcome = await self._invoke(slot, function, batch)
        self._take_note(outcome)
        match after_attempt(batch, outcome, self._terms(), self._clock.now_ms()):
            case Done():
                self._buffer.end(batch.entries)
                self._count(Count.HANDLED, len(batch.entries))
            case Again() as again:
                self._buffer.rest(again)
            case Lost() as lost:
                self._give_up(lost)
            case fate:
                assert_never(fate)

    async def _invoke(self, slot: Slot, function: FunctionVersion, batch: Batch) -> Outcome:
        invocation = Invocation(
            request_id=str(uuid.uuid4()),
            function=function,
            payload=batch.event,
            arrived_at=self._clock.monotonic(),
            invoked_arn=self._mapping.function_arn,
        )
        try:
            return await slot.invoke(invocation)
        except Exception as error:
            # The top of this batch's task: whatever broke, it was not the function.
            self._log().exception("batch could not be run", function=function.name)
            return PlatformFailed(reason=f"{type(error).__name__}: {error}", was_started=True)

    def _take_note(self, outcome: Outcome) -> None:
        if isinstance(outcome, PlatformFailed):
            self._platform_failures += 1
            self._calm_until_ms = self._clock.now_ms() + platform_pause_ms(self._platform_failures)
            self._complain(NO_PLATFORM, outcome.reason)
            return
        self._platform_failures = 0
        self.last_result = self._all_well() if isinstance(outcome, Succeeded) else CALL_FAILED

    def _all_well(self) -> str:
        """What a channel can promise, and what this one has not kept."""
        return f"OK (at most once; {self._losses.count} dropped)" if self._losses.count else "OK (at most once)"

    def _terms(self) -> Terms:
        return Terms.of(self._mapping.retry_attempts, self._mapping.maximum_record_age_s)

    def _count(self, what: Count, count: int) -> None:
        self._around.tally.add(SourceKind.CHANNEL, what, count)

    def _complain(self, result: str, reason: str) -> None:
        self.last_result = result
        self._log().warning("event source in trouble", reason=reason)

    def _log(self) -> structlog.stdlib.BoundLogger:
        logger: structlog.stdlib.BoundLogger = structlog.get_logger()
        return logger.bind(mapping=self._mapping.uuid, source=self._mapping.source_arn)


class ChannelSources:
    """Opens the sources of channels."""

    def __init__(self, channels: Channels, around: Surroundings, courier: Courier) -> None:
        self._channels = channels
        self._around = around
        self._courier = courier

    def open(self, mapping: EventSourceMapping) -> Source:
        """See `Channels.open`."""
        return ChannelSource(mapping, self._channels.open(mapping), self._around, self._courier)


async def _ended(task: asyncio.Task[None]) -> None:
    """The task, cancelled and over."""
    task.cancel()
    await asyncio.wait({task})
