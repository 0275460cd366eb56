"""One mapping's poller: waits for messages, reserves a slot, only then claims, and settles by the outcome.

Rule 1: slot first, then messages. Nobody's attempt is burnt by a throttle, because no message is taken without a
place to run it.
Rule 2: a session (heartbeat's number, taker, feeder) may fail with its connection at any moment; batches in flight
are not part of it. They finish, and their outcome is settled when the list is there again.
Rule 3: nothing polls. The feeder sleeps until the taker's blocking wait, a due time, or a change wakes it.
Rule 4: after an outage batches begin one by one, not all at once (see `core/slow_start`).
State: everything here is touched on one event loop only; `_in_flight` belongs to `_start` and `_finish`.
"""

import asyncio
from contextlib import suppress

from hearth.core.function import FunctionVersion
from hearth.core.invocation import MAX_REQUEST_BYTES
from hearth.ports import Slot
from hearth_gateway.core.back_off import back_off_s
from hearth_gateway.core.mapping import EventSourceMapping
from hearth_gateway.sources.list_batches import Batches, Condition
from hearth_gateway.sources.ports import NO_FUNCTION, NO_SOURCE, Claim, ListQueue, QueueUnavailable, Surroundings

HEARTBEAT_S = 3.0
TAKE_WAIT_S = 20.0
"""One blocking wait; then the same again. Bounds how long a half-dead connection goes unnoticed."""
LONGEST_SLEEP_S = 20.0
"""The feeder looks up after this long even if nothing woke it: every wait has a deadline."""
INTERRUPT_EVERY_S = 0.05


class ListSource:
    """Feeds one function from one list until told to stop."""

    def __init__(
        self, mapping: EventSourceMapping, queue: ListQueue, around: Surroundings, *, is_successor: bool = False
    ) -> None:
        self._mapping = mapping
        self._queue = queue
        self._around = around
        self._clock = around.clock
        self._session = 0
        self._in_flight: set[str] = set()
        self._running = 0
        self._taken = False
        self._next_due_ms: int | None = None
        # Whether nothing of this owner can reach the list late; the predecessor may have left a wait behind.
        self._clean = not is_successor
        self._tasks: asyncio.TaskGroup | None = None
        self._stopping = asyncio.Event()
        self._hungry = asyncio.Event()
        self._bell = asyncio.Event()
        self._condition = Condition(mapping, around)
        self._batches = Batches(queue, around, self._condition, stopping=self._stopping, hear_of=self._hear_of)

    def __repr__(self) -> str:
        return f"ListSource({self._mapping.source_arn} -> {self._mapping.function_name}, {self._running} running)"

    @property
    def last_result(self) -> str:
        """`LastProcessingResult`."""
        return self._condition.last_result

    @last_result.setter
    def last_result(self, result: str) -> None:
        self._condition.last_result = result

    async def close(self) -> None:
        await self._queue.close()

    def reconfigure(self, mapping: EventSourceMapping) -> None:
        """Use these settings from the next batch on. The source list itself never changes."""
        self._mapping = mapping
        self._bell.set()

    def wake(self) -> None:
        """Look again: a function may have come or changed."""
        self._bell.set()

    def stop(self) -> None:
        """Take nothing more; `run` returns once the batches in flight are settled."""
        self._stopping.set()
        self._bell.set()

    async def run(self) -> None:
        """Poll until `stop`. Survives the loss of Redis; other errors end it, and the supervisor starts another."""
        async with asyncio.TaskGroup() as batches:
            self._tasks = batches
            self._condition.begin()
            heart = batches.create_task(self._heart(), name=f"heart {self._mapping.uuid}")
            await self._sessions(batches)
            while self._running:
                await self._rest()
            heart.cancel()
        await self._leave()

    # Sessions

    async def _sessions(self, tasks: asyncio.TaskGroup) -> None:
        failures, lost_ms = 0, self._clock.now_ms()
        while not self._stopping.is_set():
            self._session = next(self._around.sessions)
            try:
                due = await self._queue.enter(self._session, frozenset(self._in_flight), self._clock.now_ms())
                failures = 0
                self._condition.came_back(self._clock.now_ms() - lost_ms)
                self._hear_of(due)
                # A task of its own: should it end by an error while we are being cancelled, the cancellation
                # arrives here all the same. (A TaskGroup entered here would report the error alone.)
                session = tasks.create_task(self._hold_session(), name=f"session {self._session}")
                await asyncio.wait({session})
                _raise_if_lost(session)
            except QueueUnavailable as error:
                lost_ms = lost_ms if failures else self._clock.now_ms()
                self._condition.complain(NO_SOURCE, str(error))
                await self._sleep(back_off_s(failures))
                failures += 1
        await self._put_back()

    async def _put_back(self) -> None:
        """What the last session held goes back at once, not only when the batches in flight are done."""
        self._session = next(self._around.sessions)
        try:
            await self._queue.enter(self._session, frozenset(self._in_flight), self._clock.now_ms())
        except QueueUnavailable as error:
            self._condition.complain(NO_SOURCE, str(error))

    async def _hold_session(self) -> QueueUnavailable | None:
        """Take and feed until stopped, or until the list is lost; then it gives the reason."""
        self._hungry.clear()
        self._taken = True  # there may be something: look once before waiting
        lost: BaseExceptionGroup[QueueUnavailable] | None = None
        try:
            async with asyncio.TaskGroup() as tasks:
                taker = tasks.create_task(self._take(), name=f"taker {self._mapping.uuid}")
                feeder = tasks.create_task(self._feed(), name=f"feeder {self._mapping.uuid}")
                tasks.create_task(self._end_session(taker, feeder), name=f"end {self._mapping.uuid}")
        except* QueueUnavailable as group:
            lost = group
        if lost is None:
            return None
        # A blocking wait that was cut off may still be served by the server, late.
        self._clean = False
        return _first(lost)

    async def _end_session(self, taker: asyncio.Task[None], feeder: asyncio.Task[None]) -> None:
        """On stop: end the feeder anywhere (claims are fenced), and the taker by unblocking its wait."""
        await self._stopping.wait()
        feeder.cancel()
        self._hungry.set()
        # The wait may begin just after an interrupt: repeat until it has ended. It ends by itself at the latest.
        while not taker.done():
            with suppress(QueueUnavailable):
                await self._queue.interrupt()
            await asyncio.wait({taker}, timeout=INTERRUPT_EVERY_S)

    async def _heart(self) -> None:
        """Stay alive for as long as messages are in our hands, which may be longer than a session."""
        while True:
            await self._clock.pause(HEARTBEAT_S)
            with suppress(QueueUnavailable):
                self._hear_of(await self._queue.beat(self._session, self._clock.now_ms()))

    async def _leave(self) -> None:
        try:
            await self._queue.leave(self._clock.now_ms(), forget=self._clean)
        except QueueUnavailable as error:
            # Our liveness runs out by itself, and the next owner takes over what is left.
            self._condition.complain(NO_SOURCE, str(error))

    # Waiting

    async def _take(self) -> None:
        """Hold one body whenever the feeder is out of work."""
        while True:
            await self._hungry.wait()
            if self._stopping.is_set():
                return
            if await self._queue.take(TAKE_WAIT_S):
                self._hungry.clear()
                self._taken = True
                self._bell.set()

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

    def _hear_of(self, due_ms: int | None) -> None:
        if due_ms is not None and (self._next_due_ms is None or due_ms < self._next_due_ms):
            self._next_due_ms = due_ms
            self._bell.set()

    def _is_due(self) -> bool:
        return self._next_due_ms is not None and self._next_due_ms <= self._clock.now_ms()

    def _until_due_s(self) -> float:
        if self._next_due_ms is None:
            return LONGEST_SLEEP_S
        # A millisecond more than needed: waking early would find nothing due.
        return min(LONGEST_SLEEP_S, (self._next_due_ms - self._clock.now_ms() + 1) / 1000)

    # Feeding

    async def _feed(self) -> None:
        while True:
            while not (self._taken or self._is_due()):
                self._hungry.set()
                await self._rest(self._until_due_s())
            if self._mapping.window_s:
                await self._fill_window()
            while await self._next_batch():
                pass

    async def _fill_window(self) -> None:
        """Hold bodies back until the batch is full, or the window is over."""
        ends = self._clock.monotonic() + self._mapping.window_s
        while True:
            held = await self._queue.gather(self._session, self._mapping.batch_size, MAX_REQUEST_BYTES)
            left_s = ends - self._clock.monotonic()
            if left_s <= 0 or held.count >= self._mapping.batch_size or held.size_bytes >= MAX_REQUEST_BYTES:
                return
            if held.count == 0 and not self._is_due():
                return  # woken for nothing: the window begins with the first message
            self._hungry.set()
            await self._rest(left_s)

    async def _next_batch(self) -> bool:
        """Slot, claim, start. False when there is nothing to do at once."""
        slot, function = await self._place()
        try:
            self._taken = False  # before the claim: a body taken meanwhile must ring again
            self._next_due_ms = None
            claim = await self._claim()
        except BaseException:
            slot.release()
            raise
        if not claim.messages:
            slot.release()
            return False
        self._start(slot, function, claim)
        return self._goes_on(claim.available)

    async def _claim(self) -> Claim:
        now_ms = self._clock.now_ms()
        claim = await self._queue.claim(
            self._session, self._mapping.batch_size, max_bytes=MAX_REQUEST_BYTES, now_ms=now_ms
        )
        self._hear_of(claim.next_due_ms)
        return claim

    def _goes_on(self, available: int) -> bool:
        """Whether the next batch begins at once. With a window, what does not fill a batch gets its own window."""
        if self._mapping.window_s and 0 < available < self._mapping.batch_size:
            self._taken = True
            return False
        return available > 0

    async def _place(self) -> tuple[Slot, FunctionVersion]:
        """Wait for the platform to recover, for room, for the function, for a slot."""
        while (calm_s := self._condition.calm_s) > 0:
            await self._rest(calm_s)
        while not self._has_room():
            await self._rest(self._condition.until_step_s or LONGEST_SLEEP_S)
        function = await self._function()
        return await self._around.scheduler.reserve(function), function

    def _has_room(self) -> bool:
        """Whether MaximumConcurrency and the slow start after an outage allow one batch more."""
        limits = (self._mapping.maximum_concurrency, self._condition.limit)
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

    def _start(self, slot: Slot, function: FunctionVersion, claim: Claim) -> None:
        """Run the messages in the slot, beside everything else."""
        assert self._tasks is not None  # set by run(), the only way here
        ids = frozenset(message.id for message in claim.messages)
        work = self._batches.run(slot, function, claim, self._mapping)
        try:
            task = self._tasks.create_task(work, name=f"batch {claim.messages[0].id}")
        except RuntimeError:
            # The whole source is being cancelled, this feeder next. Whoever comes after it makes the lease good.
            work.close()
            slot.release()
            raise asyncio.CancelledError from None
        self._in_flight |= ids
        self._running += 1
        task.add_done_callback(lambda _: self._finish(slot, ids))

    def _finish(self, slot: Slot, ids: frozenset[str]) -> None:
        # Also for a task that was cancelled before its first step; a used slot does not mind.
        slot.release()
        self._in_flight -= ids
        self._running -= 1
        self._bell.set()


def _raise_if_lost(session: asyncio.Task[QueueUnavailable | None]) -> None:
    """Errors of other kinds reach the parent group by themselves."""
    if not session.cancelled() and session.exception() is None and (lost := session.result()) is not None:
        raise lost


def _first(group: BaseExceptionGroup[QueueUnavailable]) -> QueueUnavailable:
    """One of the leaves, which are all of this kind."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, QueueUnavailable)
    return error
