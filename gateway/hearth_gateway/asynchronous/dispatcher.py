"""Runs accepted events: one feeder per function that has any, a task per event in flight.

Rule 1: an event is on disk before its caller is told 202, and forgotten only once its end is.
Rule 2: slot first, then the event. A throttle never burns an attempt, because no event is taken without a place.
Rule 3: nothing polls. A feeder sleeps until its next event is due or the bell rings, and goes when nothing is left.
Rule 4: an answer of the queue that was lost is made good: after a failure, what is taken but not in hand is due again.
State: `_bells`, one for each feeder, and `_in_hand`, the ids of events taken and not yet settled, are changed here
only, on one event loop; which events exist the queue knows.
"""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, Self

import structlog

from hearth.core.errors import ServiceError
from hearth.core.function import LATEST, FunctionName, FunctionVersion
from hearth.core.invocation import Invocation, Outcome, PlatformFailed
from hearth.core.records import FunctionRecord
from hearth.ports import Scheduler, Slot
from hearth.registry import Registry
from hearth_gateway.asynchronous.destinations import Destinations
from hearth_gateway.asynchronous.ports import DeliveryRefused, EventQueue, EventsUnavailable
from hearth_gateway.core import async_event
from hearth_gateway.core.async_event import Again, AsyncEvent, Condition, Ended, Terms
from hearth_gateway.core.retry import doubling
from hearth_gateway.sources.ports import Clock

LONGEST_SLEEP_S = 20.0
"""A feeder looks up after this long even if nothing woke it: every wait has a deadline."""
LONGEST_BACKOFF_MS = 30_000
DELAYS_MS = (60_000, 120_000)
"""Before the second and the third attempt."""

log = structlog.get_logger(__name__)


class AsyncInvocations:
    """Accepts events and sees them to their end. An async context manager: entered, it takes up what was left; left, it
    lets what runs finish for `drain_s` seconds; the rest is run again by the next start."""

    def __init__(
        self,
        queue: EventQueue,
        registry: Registry,
        scheduler: Scheduler,
        clock: Clock,
        *,
        chance: Callable[[], float],
        new_id: Callable[[], str],
        delays_ms: tuple[int, ...] = DELAYS_MS,
        drain_s: float = 20.0,
    ) -> None:
        self._queue = queue
        self._registry = registry
        self._scheduler = scheduler
        self._clock = clock
        self._chance = chance
        self._delays_ms = delays_ms
        self._drain_s = drain_s
        self._destinations = Destinations(registry, new_id)
        self._bells: dict[FunctionName, asyncio.Event] = {}
        self._in_hand: dict[FunctionName, set[str]] = {}
        self._recovered = asyncio.Event()
        self._runs: set[asyncio.Task[None]] = set()
        self._feeding: set[asyncio.Task[None]] = set()
        self._group = asyncio.TaskGroup()

    async def __aenter__(self) -> Self:
        await self._group.__aenter__()
        self._start(self._recover(), "recover-async-events", self._feeding)
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._feeding:
            task.cancel()
        if self._runs:
            await asyncio.wait(self._runs, timeout=self._drain_s)
        for task in self._runs:
            task.cancel()
        await self._group.__aexit__(None, None, None)

    async def accept(self, event: AsyncEvent) -> None:
        """Keep the event, durably. Raises ServiceError if it cannot be kept; it may have been all the same."""
        try:
            await self._queue.accept(event, event.accepted_ms)
        except EventsUnavailable as error:
            raise ServiceError(f"The event could not be stored: {error}") from error
        self._ring(event.function)

    def functions_changed(self) -> None:
        """Some function was created, changed or deleted: feeders look again."""
        for bell in self._bells.values():
            bell.set()

    async def _recover(self) -> None:
        failures = 0
        while True:
            try:
                names = await self._queue.recover(self._clock.now_ms())
                break
            except EventsUnavailable as error:
                log.warning("asynchronous events not reachable", error=str(error))
                await self._clock.pause(doubling(failures, 100, LONGEST_BACKOFF_MS) / 1000)
                failures += 1
        self._recovered.set()
        for name in names:
            self._ring(name)

    def _ring(self, name: FunctionName) -> None:
        bell = self._bells.get(name)
        if bell is None:
            bell = self._bells[name] = asyncio.Event()
            self._start(self._feed(name, bell), f"async-events {name}", self._feeding)
        bell.set()

    def _start(self, work: Coroutine[Any, Any, None], name: str, among: set[asyncio.Task[None]]) -> None:
        task = self._group.create_task(work, name=name)
        among.add(task)
        task.add_done_callback(among.discard)

    # Feeding

    async def _feed(self, name: FunctionName, bell: asyncio.Event) -> None:
        await self._recovered.wait()  # until then taken events may be those of a dead owner
        failures = 0
        while True:
            bell.clear()
            try:
                if failures:
                    await self._queue.restore(name, self._in_hand.get(name, ()), self._clock.now_ms())
                due_ms = await self._queue.next_due_ms(name)
                if due_ms is None and not bell.is_set():
                    del self._bells[name]
                    return
                if due_ms is not None:
                    await self._serve(name, bell, due_ms)
                failures = 0
            except (EventsUnavailable, ServiceError) as error:
                log.warning("asynchronous events wait", function=name, error=str(error))
                await self._clock.pause(doubling(failures, 100, LONGEST_BACKOFF_MS) / 1000)
                failures += 1
            except Exception:  # the top of a task: whatever broke must not stop the function's events
                log.exception("a feeder of asynchronous events broke", function=name)
                await self._clock.pause(doubling(failures, 100, LONGEST_BACKOFF_MS) / 1000)
                failures += 1

    async def _serve(self, name: FunctionName, bell: asyncio.Event, due_ms: int) -> None:
        """Wait for the event that is due next, for something to run it with, and for a place; then run it."""
        wait_s = (due_ms - self._clock.now_ms()) / 1000
        record = self._registry.find(name)
        if wait_s > 0:
            await _rung(bell, min(wait_s, LONGEST_SLEEP_S))
        elif record is None or record.reserved == 0:
            await self._end_without_running(name)
        elif not record.is_runnable:
            await _rung(bell, LONGEST_SLEEP_S)
        else:
            await self._run_one(record)

    async def _run_one(self, record: FunctionRecord) -> None:
        with suppress(TimeoutError):  # of a cap that is full for long: look again whether the function still exists
            async with asyncio.timeout(LONGEST_SLEEP_S):
                slot = await self._scheduler.reserve(record.version())
            try:
                event = await self._queue.take(record.name, self._clock.now_ms())
            except BaseException:
                slot.release()
                raise
            if event is None:
                slot.release()
                return
            self._in_hand.setdefault(event.function, set()).add(event.id)
            self._start(self._run(slot, event), f"async-event {event.id}", self._runs)

    async def _end_without_running(self, name: FunctionName) -> None:
        event = await self._queue.take(name, self._clock.now_ms())
        if event is None:
            return
        record = self._registry.find(name)
        if record is None:
            log.warning("event of a deleted function dropped", function=name, request_id=event.id)
            await self._queue.end(event, (), ())
            return
        ended = async_event.before_attempt(
            event, self._terms(record, event), record.arn, now_ms=self._clock.now_ms(), is_stopped=record.reserved == 0
        )
        await self._finish(event, Again(event, self._clock.now_ms()) if ended is None else ended)

    # Running

    async def _run(self, slot: Slot, event: AsyncEvent) -> None:
        try:
            fate = await self._attempt(slot, event)
        except Exception:  # the top of a task; the event must not stay taken
            log.exception("an asynchronous event broke", request_id=event.id)
            fate = async_event.after_attempt(
                event, PlatformFailed("", was_started=True), Terms(), "", version="", now_ms=self._clock.now_ms()
            )
        finally:
            slot.release()
        await self._settle(event, fate)

    async def _attempt(self, slot: Slot, event: AsyncEvent) -> Again | Ended:
        record = self._registry.find(event.function)
        function = None if record is None else self._version(record, event)
        if record is None or function is None:
            log.warning("event of a deleted function dropped", function=event.function, request_id=event.id)
            return Ended(Condition.RETRIES_EXHAUSTED)
        terms = self._terms(record, event)
        ended = async_event.before_attempt(
            event, terms, record.arn, now_ms=self._clock.now_ms(), is_stopped=record.reserved == 0
        )
        if ended is not None:
            return ended
        outcome = await self._invoke(slot, event, function)
        return async_event.after_attempt(
            event, outcome, terms, record.arn, version=function.version, now_ms=self._clock.now_ms()
        )

    async def _invoke(self, slot: Slot, event: AsyncEvent, function: FunctionVersion) -> Outcome:
        arrived = self._clock.monotonic()
        return await slot.invoke(
            Invocation(event.id, function, event.payload, arrived, event.invoked_arn, event.trace_id)
        )

    def _version(self, record: FunctionRecord, event: AsyncEvent) -> FunctionVersion | None:
        version = record.find(event.qualifier or LATEST, self._chance())
        if version is None:
            return None
        return record.version(version.version)

    def _terms(self, record: FunctionRecord, event: AsyncEvent) -> Terms:
        """The terms of the qualifier that was invoked; the dead-letter queue belongs to the version's configuration."""
        version = record.find(event.qualifier or LATEST)
        dead_letter_arn = None if version is None else version.deployment.configuration.dead_letter_arn
        config = record.event_invoke.get(event.qualifier or LATEST)
        return async_event.terms_of(config, dead_letter_arn, self._delays_ms)

    async def _settle(self, event: AsyncEvent, fate: Again | Ended) -> None:
        """Record what becomes of the event, however long the queue is away."""
        failures = 0
        while True:
            try:
                await self._finish(event, fate)
                break
            except EventsUnavailable as error:
                log.warning("the end of an event is not recorded yet", request_id=event.id, error=str(error))
                await self._clock.pause(doubling(failures, 100, LONGEST_BACKOFF_MS) / 1000)
                failures += 1
        self._let_go(event)
        self._ring(event.function)

    def _let_go(self, event: AsyncEvent) -> None:
        """The event is settled: it is the queue's again, or over."""
        in_hand = self._in_hand[event.function]
        in_hand.discard(event.id)
        if not in_hand:
            del self._in_hand[event.function]

    async def _finish(self, event: AsyncEvent, fate: Again | Ended) -> None:
        if isinstance(fate, Again):
            await self._queue.put_back(fate.event, fate.due_ms)
            return
        if fate.condition is not Condition.SUCCESS:
            log.warning(
                "asynchronous invocation given up",
                function=event.function,
                request_id=event.id,
                condition=fate.condition.value,
            )
        pushes, follow_ups = self._destinations.resolve(fate.deliveries, event, self._clock.now_ms())
        try:
            await self._queue.end(event, pushes, follow_ups)
        except DeliveryRefused as error:
            log.error("a destination took no record", request_id=event.id, error=str(error))
            await self._queue.end(event, (), follow_ups)
        for follow_up in follow_ups:
            self._ring(follow_up.function)


async def _rung(bell: asyncio.Event, longest_s: float) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(longest_s):
            await bell.wait()
