"""One mapping's poller on a queue of another SQS.

Rule 1: under load a place comes first and messages afterwards, so that none is received without a place to run it. An
idle queue holds no place: the first messages after a pause are received before their place, and kept in our hands,
invisible to everybody else, until there is one. So a throttle never costs a receive, and with it an attempt.
Rule 2: what the platform failed to do is done again with the same messages, in our hands: it costs no receive either.
Rule 3: what the function failed stays invisible for the rest of the queue's own visibility timeout, and the queue's own
redrive policy says when it is a dead letter, as on AWS.
Rule 4: a receive under way is never cut off: what it got would be lost to everybody until its visibility ends.
State: everything here is touched on one event loop only; `_running` belongs to `_start` and `_finish`.
Source: "Using Lambda with Amazon SQS", AWS Lambda developer guide.
"""

import asyncio
import uuid
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from typing import Any, TypeVar

import structlog

from hearth.core.function import FunctionVersion
from hearth.core.invocation import (
    MAX_REQUEST_BYTES,
    FunctionFailed,
    Invocation,
    Outcome,
    PlatformFailed,
    Succeeded,
    Throttled,
)
from hearth.ports import Slot
from hearth_gateway.core import slow_start
from hearth_gateway.core.addresses import QueueAddress
from hearth_gateway.core.back_off import back_off_s, doubling
from hearth_gateway.core.filtering import Filters
from hearth_gateway.core.mapping import EventSourceMapping, SourceKind
from hearth_gateway.core.queue_batch import Message, Origin, failed_items
from hearth_gateway.core.retry import platform_pause_ms
from hearth_gateway.core.sqs_event import SqsBatch, SqsMessage, rest_s, sqs_batch, sqs_record
from hearth_gateway.core.sqs_message import MAX_RECEIVED
from hearth_gateway.sources.ports import (
    CALL_FAILED,
    NO_FUNCTION,
    NO_PLATFORM,
    NO_RECORDS,
    NO_SOURCE,
    OK,
    QueueUnavailable,
    Surroundings,
)
from hearth_gateway.sources.sqs_hands import HELD_S, SqsHands
from hearth_gateway.sources.sqs_ports import SqsApi
from hearth_gateway.sources.tally import Count

WAIT_S = 5
"""One long poll. Shorter than the 20 s that there may be, because the end of a source waits for it."""
LONGEST_SLEEP_S = 20.0
LAST_CHANCE_S = 10.0
"""How long messages in the hands of a stopping source may wait for a place, before they are given back."""

_T = TypeVar("_T")


class SqsSource:
    """Feeds one function from one queue until told to stop. `api` gives the SQS of the moment, or raises
    QueueUnavailable."""

    def __init__(self, mapping: EventSourceMapping, api: Callable[[], SqsApi], around: Surroundings) -> None:
        assert isinstance(mapping.source, QueueAddress)  # whoever opens sources tells them apart
        self.last_result = NO_RECORDS
        self._queue = mapping.source.name
        self._mapping = mapping
        self._filters = Filters.of(mapping.filters, SourceKind.QUEUE)
        self._api = api
        self._around = around
        self._clock = around.clock
        self._hands = SqsHands(self._queue, api, around.clock, lambda reason: self._complain(NO_SOURCE, reason))
        self._running = 0
        self._is_busy = False
        self._platform_failures = 0
        self._calm_until_ms = 0
        self._pace = slow_start.slow(around.clock.now_ms())
        self._stopping = asyncio.Event()
        self._bell = asyncio.Event()
        self._tasks = asyncio.TaskGroup()

    def __repr__(self) -> str:
        return f"SqsSource({self._mapping.source_arn} -> {self._mapping.function_name}, {self._running} running)"

    async def close(self) -> None:
        """The connections are not this source's own."""

    def reconfigure(self, mapping: EventSourceMapping) -> None:
        """Use these settings from the next batch on. The queue itself never changes."""
        self._mapping = mapping
        self._filters = Filters.of(mapping.filters, SourceKind.QUEUE)
        self._bell.set()

    def wake(self) -> None:
        """Look again: a function may have come or changed."""
        self._bell.set()

    def stop(self) -> None:
        """Receive nothing more; `run` returns once what is in hand is settled."""
        self._stopping.set()
        self._bell.set()

    async def run(self) -> None:
        """Poll until `stop`. Survives the loss of the SQS; other errors end it, and the supervisor starts another."""
        async with self._tasks:
            keeper = self._tasks.create_task(self._hands.keep(), name=f"keeper {self._mapping.uuid}")
            await self._poll()
            while self._running:
                await self._rest()
            keeper.cancel()

    # Receiving

    async def _poll(self) -> None:
        failures, lost_ms = 0, 0
        while not self._stopping.is_set():
            try:
                await self._turn()
            except QueueUnavailable as error:
                lost_ms = lost_ms or self._clock.now_ms()
                self._complain(NO_SOURCE, str(error))
                await self._sleep(back_off_s(failures))
                failures += 1
            else:
                if failures:
                    now_ms = self._clock.now_ms()
                    self._pace = slow_start.came_back(self._pace, now_ms, now_ms - lost_ms)
                failures, lost_ms = 0, 0

    async def _turn(self) -> None:
        """Receive once, and start what came."""
        if self._is_busy and not self._mapping.window_s:
            await self._place_first()
        else:
            await self._messages_first()

    async def _place_first(self) -> None:
        place = await self._unless_stopped(self._place())
        if place is None:
            return
        try:
            messages = await self._receive(self._limit(0), 0)
        except BaseException:
            place[0].release()
            raise
        if messages:
            self._start(place, messages)
        else:
            place[0].release()
            self._is_busy = False

    async def _messages_first(self) -> None:
        if await self._unless_stopped(self._room_and_function()) is None:
            return
        messages = list(await self._receive(self._limit(0), WAIT_S))
        if not messages:
            return
        self._is_busy = True
        await self._fill(messages)
        place = await self._unless_stopped(self._place(), LAST_CHANCE_S)
        if place is None:
            await self._give_back(messages)
        else:
            self._start(place, messages)

    async def _fill(self, messages: list[SqsMessage]) -> None:
        """Receive more until the batch is full or its window over. What was received is kept whatever goes wrong."""
        ends = self._clock.monotonic() + self._mapping.window_s
        size = sum(len(message.body) for message in messages)
        while len(messages) < self._mapping.batch_size and size < MAX_REQUEST_BYTES and not self._stopping.is_set():
            left_s = ends - self._clock.monotonic()
            if left_s <= 0:
                return
            try:
                more = await self._receive(self._limit(len(messages)), min(WAIT_S, int(left_s)))
            except QueueUnavailable as error:
                self._complain(NO_SOURCE, str(error))
                return
            messages.extend(more)
            size += sum(len(message.body) for message in more)
            if not more and left_s < 1:
                await self._sleep(left_s)  # less than the wait that SQS knows

    def _limit(self, have: int) -> int:
        return min(MAX_RECEIVED, self._mapping.batch_size - have)

    async def _receive(self, limit: int, wait_s: int) -> Sequence[SqsMessage]:
        messages = await self._api().receive(self._queue, limit, wait_s=wait_s, visibility_s=HELD_S)
        self._hands.hold(messages)
        return messages

    # Places

    async def _place(self) -> tuple[Slot, FunctionVersion]:
        """Wait for room, for the platform to recover, for the function, for a slot."""
        await self._room_and_function()
        return await self._slot()

    async def _slot(self) -> tuple[Slot, FunctionVersion]:
        while (calm_ms := self._calm_until_ms - self._clock.now_ms()) > 0:
            await self._rest(calm_ms / 1000)
        function = await self._function()
        return await self._around.scheduler.reserve(function), function

    async def _room_and_function(self) -> FunctionVersion:
        while not self._has_room():
            step_ms = self._pace.until_step_ms(self._clock.now_ms())
            await self._rest(LONGEST_SLEEP_S if step_ms is None else step_ms / 1000)
        return await self._function()

    def _has_room(self) -> bool:
        limits = (self._mapping.maximum_concurrency, self._pace.limit(self._clock.now_ms()))
        return all(most is None or self._running < most for most in limits)

    async def _function(self) -> FunctionVersion:
        while True:
            mapping = self._mapping
            function = self._around.functions.current(mapping.function_name, mapping.qualifier)
            if function is not None:
                return function
            self.last_result = NO_FUNCTION
            await self._rest()

    # Batches

    def _start(self, place: tuple[Slot, FunctionVersion], messages: Sequence[SqsMessage]) -> None:
        """Run the messages in this place, beside everything else."""
        self._running += 1
        task = self._tasks.create_task(self._run_batch(place, messages), name=f"batch {messages[0].id}")
        task.add_done_callback(lambda _: self._finish(place[0]))

    def _finish(self, slot: Slot) -> None:
        slot.release()  # a used one does not mind
        self._running -= 1
        self._bell.set()

    async def _run_batch(self, place: tuple[Slot, FunctionVersion] | None, messages: Sequence[SqsMessage]) -> None:
        origin = Origin(self._mapping.source_arn, self._around.region, self._around.account)
        pending = await self._filtered(messages, origin)
        while pending:
            place = place or await self._unless_stopped(self._slot())
            if place is None:
                await self._give_back(pending)
                return
            batch = sqs_batch(pending, origin)
            outcome = await self._invoke(place, batch)
            place = None
            self._take_note(outcome)
            if not isinstance(outcome, PlatformFailed | Throttled):
                await self._settle(batch, outcome)
                pending = batch.left_over

    async def _filtered(self, messages: Sequence[SqsMessage], origin: Origin) -> Sequence[SqsMessage]:
        """The messages that the function is to get; the others are done with."""
        wanted = (
            [one for one in messages if self._filters.accepts(sqs_record(one, origin))] if self._filters else messages
        )
        if len(wanted) < len(messages):
            kept = {message.receipt for message in wanted}
            dropped = [message for message in messages if message.receipt not in kept]
            await self._hands.settle(dropped, {}, self._stopping.is_set)
            self._around.tally.add(SourceKind.QUEUE, Count.FILTERED, len(dropped))
        return wanted

    async def _invoke(self, place: tuple[Slot, FunctionVersion], batch: SqsBatch) -> Outcome:
        slot, function = place
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
            # The top of this batch's task: whatever broke, it was not the function, and no message may be lost.
            structlog.get_logger().exception("batch could not be run", function=function.name)
            return PlatformFailed(reason=f"{type(error).__name__}: {error}", was_started=True)

    def _take_note(self, outcome: Outcome) -> None:
        now_ms = self._clock.now_ms()
        if isinstance(outcome, PlatformFailed | Throttled):
            self._platform_failures += 1
            self._calm_until_ms = now_ms + platform_pause_ms(self._platform_failures)
            self._pace = slow_start.failed(self._pace, now_ms, slow_start.AWAY_MS)
            self._complain(NO_PLATFORM, outcome.reason if isinstance(outcome, PlatformFailed) else "throttled")
            return
        self._platform_failures = 0
        if isinstance(outcome, Succeeded):
            self._pace = slow_start.succeeded(self._pace, now_ms)
            self.last_result = OK
        else:
            self._pace = slow_start.failed(self._pace, now_ms, slow_start.FAILING_MS)
            self.last_result = CALL_FAILED

    async def _settle(self, batch: SqsBatch, outcome: Succeeded | FunctionFailed) -> None:
        """Delete what the function did; what it failed rests."""
        failed = self._failed(batch, outcome)
        own_s = await self._hands.own_visibility_s() if failed else 0
        now = self._clock.monotonic()
        resting = {
            message.receipt: rest_s(message, own_s, doubling(message.receive_count - 1, 1, 60), now)
            for message in batch.messages
            if message.id in failed
        }
        done = [message for message in batch.messages if message.id not in failed]
        await self._hands.settle(done, resting, self._stopping.is_set)
        self._around.tally.add(SourceKind.QUEUE, Count.HANDLED, len(done))

    def _failed(self, batch: SqsBatch, outcome: Succeeded | FunctionFailed) -> frozenset[str]:
        """The ids of the messages that stay in the queue."""
        if isinstance(outcome, FunctionFailed):
            return frozenset(message.id for message in batch.messages)
        if not self._mapping.is_partial:
            return frozenset()
        return failed_items(outcome.payload, [Message(message.id, b"", 0) for message in batch.messages])

    async def _give_back(self, messages: Sequence[SqsMessage]) -> None:
        await self._hands.settle((), {message.receipt: 0 for message in messages}, self._stopping.is_set)

    # Waiting

    async def _unless_stopped(self, work: Coroutine[Any, Any, _T], grace_s: float = 0.0) -> _T | None:
        """What the work gives, or None if we are told to stop before; `grace_s` is how long it may go on then."""
        task = self._tasks.create_task(work, name=f"wait of {self._mapping.uuid}")
        stop = self._tasks.create_task(self._stopped(grace_s), name=f"stop of {self._mapping.uuid}")
        try:
            await asyncio.wait({task, stop}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stop.cancel()
            task.cancel()  # nothing happens to one that is done
        await asyncio.wait({task})
        return None if task.cancelled() else task.result()

    async def _stopped(self, grace_s: float) -> None:
        await self._stopping.wait()
        await self._clock.pause(grace_s)

    async def _rest(self, longest_s: float = LONGEST_SLEEP_S) -> None:
        """Sleep until the bell, at most so long."""
        with suppress(TimeoutError):
            async with asyncio.timeout(max(longest_s, 0.0)):
                await self._bell.wait()
        self._bell.clear()

    async def _sleep(self, seconds: float) -> None:
        """Sleep so long, unless stopped."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopping.wait()

    def _complain(self, result: str, reason: str) -> None:
        self.last_result = result
        structlog.get_logger().warning(
            "event source in trouble", mapping=self._mapping.uuid, source=self._mapping.source_arn, reason=reason
        )
