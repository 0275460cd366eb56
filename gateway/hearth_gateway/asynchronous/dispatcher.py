"""Runs accepted events: a place in the scheduler first, then the event, a task for each in flight.

Rule 1: an event is on disk before its caller is told 202, and forgotten only once its end is.
Rule 2: slot first, then the event. A throttle never burns an attempt, because no event is taken without a place.
Rule 3: what leaves with an event's end is kept in the same step in which the event is forgotten.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Self

import structlog

from hearth.core.errors import ResourceConflict, ResourceNotFound, ServiceError
from hearth.core.function import LATEST, FunctionName
from hearth.core.invocation import Invocation, PlatformFailed
from hearth.core.records import FunctionRecord
from hearth.ports import Scheduler, Slot
from hearth.registry import Registry
from hearth_gateway.asynchronous.feeders import LONGEST_SLEEP_S, Feeders, rung
from hearth_gateway.asynchronous.ports import Cancellation, Ending, EventQueue, EventsUnavailable
from hearth_gateway.asynchronous.posting import DurableCourier
from hearth_gateway.core import async_fate
from hearth_gateway.core.async_event import DELAYS_MS, AsyncEvent, Condition, Terms, terms_of
from hearth_gateway.core.async_fate import Again, Ended, Fate
from hearth_gateway.core.invocation_status import InvocationStatus, State
from hearth_gateway.sources.ports import Clock

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class House:
    """The house's own rules. `delays_ms` are the waits before retries; `is_open`: services may invoke every function,
    whatever its policy says."""

    delays_ms: tuple[int, ...] = DELAYS_MS
    is_open: bool = False


class AsyncInvocations:
    """Accepts events and sees them to their end. An async context manager: see `Feeders`. `courier` knows what becomes
    of the parcels that leave with an event's end."""

    def __init__(
        self,
        queue: EventQueue,
        registry: Registry,
        scheduler: Scheduler,
        clock: Clock,
        *,
        courier: DurableCourier,
        chance: Callable[[], float],
        rules: House | None = None,
        drain_s: float = 20.0,
    ) -> None:
        self._queue = queue
        self._registry = registry
        self._scheduler = scheduler
        self._clock = clock
        self._courier = courier
        self._chance = chance
        self._rules = rules or House()
        self._feeders = Feeders(queue, self._serve, clock, kind="async-events", drain_s=drain_s)
        self.counters: Counter[str] = Counter()

    async def __aenter__(self) -> Self:
        await self._feeders.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._feeders.__aexit__()

    def health(self) -> Mapping[str, object]:
        """How many events ended how, by condition, since the start."""
        return dict(self.counters)

    async def accept(self, event: AsyncEvent, once: str = "") -> str:
        """Keep the event, durably; `once` is a key under which only the first event of a day is kept. Gives the id of
        the event that is kept. Raises ServiceError if it cannot be kept; it may have been all the same."""
        try:
            kept = await self._queue.accept(event, event.accepted_ms, once)
        except EventsUnavailable as error:
            raise ServiceError(f"The event could not be stored: {error}") from error
        self.ring(event.function)
        return kept

    def ring(self, function: str) -> None:
        """There may be events for the function."""
        self._feeders.ring(function)

    def functions_changed(self) -> None:
        """Some function was created, changed or deleted: feeders look again."""
        self._feeders.ring_all()

    # Asking

    async def find(self, identity: str) -> InvocationStatus:
        """Raises ResourceNotFound, ServiceError."""
        try:
            found = await self._queue.find(identity)
        except EventsUnavailable as error:
            raise ServiceError(f"Invocations cannot be read: {error}") from error
        if found is None:
            raise ResourceNotFound(f"Invocation not found: {identity}")
        return found

    async def page(
        self, function: FunctionName, state: State | None, *, after: int, limit: int
    ) -> tuple[list[InvocationStatus], int | None]:
        """See `EventQueue.page`. Raises ServiceError."""
        try:
            found, following = await self._queue.page(function, state, after=after, limit=limit)
        except EventsUnavailable as error:
            raise ServiceError(f"Invocations cannot be read: {error}") from error
        return list(found), following

    async def cancel(self, status: InvocationStatus) -> None:
        """Forget an invocation that does not run. Raises ResourceConflict for one that does, or is over."""
        try:
            answer = await self._queue.cancel(FunctionName(status.function), status.id, self._clock.now_ms())
        except EventsUnavailable as error:
            raise ServiceError(f"The invocation could not be cancelled: {error}") from error
        match answer:
            case Cancellation.RUNNING:
                raise ResourceConflict(f"Invocation {status.id} is running; only one that waits can be cancelled.")
            case Cancellation.GONE:
                raise ResourceConflict(f"Invocation {status.id} is over.")
            case Cancellation.CANCELLED:
                log.info("asynchronous invocation cancelled", function=status.function, request_id=status.id)

    # Feeding

    async def _serve(self, name: str, bell: asyncio.Event, due_ms: int) -> None:
        """Wait for the event that is due next, for something to run it with, and for a place; then run it."""
        wait_s = (due_ms - self._clock.now_ms()) / 1000
        record = self._registry.find(name)
        if wait_s > 0:
            await rung(bell, min(wait_s, LONGEST_SLEEP_S))
        elif record is None or record.reserved == 0:
            await self._end_without_running(FunctionName(name))
        elif not record.is_runnable:
            await rung(bell, LONGEST_SLEEP_S)
        elif await self._feeders.in_pace(name, bell):
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
            self._feeders.start(event.function, event.id, self._run(slot, event))

    async def _end_without_running(self, name: FunctionName) -> None:
        event = await self._queue.take(name, self._clock.now_ms())
        if event is None:
            return
        record = self._registry.find(name)
        now_ms = self._clock.now_ms()
        ended = async_fate.unreachable(event, record, is_open=self._rules.is_open, now_ms=now_ms)
        if ended is None and record is not None:
            ended = self._before(event, record, self._terms(record, event))
        await self._finish(event, Again(event, now_ms) if ended is None else ended)

    # Running

    async def _run(self, slot: Slot, event: AsyncEvent) -> None:
        try:
            fate = await self._attempt(slot, event)
        except Exception:  # the top of a task; the event must not stay taken
            log.exception("an asynchronous event broke", request_id=event.id)
            fate = async_fate.refused(event, self._clock.now_ms())
        finally:
            slot.release()
        await self._feeders.settle(event.function, event.id, partial(self._finish, event, fate))

    async def _attempt(self, slot: Slot, event: AsyncEvent) -> Fate:
        record = self._registry.find(event.function)
        now_ms = self._clock.now_ms()
        ended = async_fate.unreachable(event, record, is_open=self._rules.is_open, now_ms=now_ms)
        if ended is not None or record is None:
            return ended or async_fate.refused(event, now_ms)
        terms = self._terms(record, event)
        ended = self._before(event, record, terms)
        if ended is not None:
            return ended
        chosen = record.find(event.qualifier or LATEST, self._chance())
        assert chosen is not None, "an event that can be reached has a version"
        function = record.version(chosen.version)
        invocation = Invocation(
            event.id, function, event.payload, self._clock.monotonic(), event.invoked_arn, event.trace_id
        )
        outcome = await slot.invoke(invocation)
        if isinstance(outcome, PlatformFailed) and not outcome.is_gone:
            self._feeders.slow_down(event.function)
        return async_fate.after_attempt(
            event, outcome, terms, record.arn, version=function.version, now_ms=self._clock.now_ms()
        )

    def _before(self, event: AsyncEvent, record: FunctionRecord, terms: Terms) -> Ended | None:
        return async_fate.before_attempt(
            event,
            terms,
            record.arn,
            now_ms=self._clock.now_ms(),
            is_stopped=record.reserved == 0,
            may_recur=record.recursive_loop == "Allow",
        )

    def _terms(self, record: FunctionRecord, event: AsyncEvent) -> Terms:
        """The terms of the qualifier that was invoked; the dead-letter queue belongs to the version's configuration."""
        version = record.find(event.qualifier or LATEST)
        dead_letter_arn = None if version is None else version.deployment.configuration.dead_letter_arn
        config = record.event_invoke.get(event.qualifier or LATEST)
        return terms_of(config, dead_letter_arn, self._rules.delays_ms)

    async def _finish(self, event: AsyncEvent, fate: Fate) -> None:
        """Record a fate. Raises EventsUnavailable; then it is to be done again."""
        if isinstance(fate, Again):
            await self._queue.put_back(fate.event, fate.due_ms)
            return
        status = fate.status(self._clock.now_ms())
        posted = [self._courier.posted(parcel) for parcel in fate.parcels]
        await self._queue.end(event, Ending(posted, fate.letter, status))
        self._tell(fate)
        self._courier.ring(posted)

    def _tell(self, ended: Ended) -> None:
        """Say and count an end."""
        self.counters[ended.condition.value] += 1
        if ended.condition is not Condition.SUCCESS:
            log.warning(
                "asynchronous invocation given up",
                function=ended.event.function,
                request_id=ended.event.id,
                condition=ended.condition.value,
                why=ended.error.get("errorMessage", ""),
                kept="dead letters" if ended.letter is not None else "",
            )
