"""Delivers parcels: to each target a few at a time, again and again until it has them or their time is up.

Rule 1: what has been delivered is forgotten afterwards, never before: a crash in between delivers it once more.
Rule 2: a target that refuses a parcel for good never sees it again; one that is out of reach sees it after 1 s doubling
to 5 min, until the parcel is too old or was tried too often. Either way it then goes to its dead-letter queue or,
without one, into the box of its target.
Rule 3: while a target fails, the others do not wait: each has its own feeder, its own pace, and a bounded share.
Rule 4: a FIFO queue gets its parcels one after another, in their order: the first holds up the rest.
"""

import asyncio
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Self

import structlog

from hearth_gateway.asynchronous.feeders import LONGEST_SLEEP_S, Feeders, rung
from hearth_gateway.asynchronous.ports import DeliveryQueue, Ending, Target, TargetRefused, TargetUnavailable
from hearth_gateway.asynchronous.posting import DurableCourier
from hearth_gateway.core.addresses import FunctionAddress, QueueAddress, parse_address
from hearth_gateway.core.back_off import doubling
from hearth_gateway.core.dead_letter import Letter, undelivered
from hearth_gateway.core.delivery import Attempt, DeliveryFate, GiveUp, TryAgain, after_failure, before_delivery
from hearth_gateway.core.parcel import Parcel
from hearth_gateway.core.webhook import shown_target
from hearth_gateway.sources.ports import Clock

PARALLEL_PER_TARGET = 8
PARALLEL = 128
DELIVERY_TIMEOUT_S = 60.0
"""Of one try, whatever the target's own limits are."""
LONGEST_REST_MS = 30_000
"""Of a target that fails, whatever else there is for it."""

log = structlog.get_logger(__name__)


class WebUrl:
    """Stands for targets that are URLs in the table of targets."""


Targets = Mapping[type[object], Target]
"""Who delivers to each kind of address."""


class Deliveries:
    """The delivery engine. An async context manager: see `Feeders`. `targets` has to be complete when it is entered."""

    def __init__(
        self, queue: DeliveryQueue, targets: Targets, courier: DurableCourier, clock: Clock, *, drain_s: float = 20.0
    ) -> None:
        self._queue = queue
        self._targets = targets
        self._courier = courier
        self._clock = clock
        self._feeders = Feeders(queue, self._serve, clock, kind="deliveries", drain_s=drain_s)
        self._free = asyncio.Semaphore(PARALLEL)
        self._failures: Counter[str] = Counter()
        self.counters: Counter[str] = Counter()

    async def __aenter__(self) -> Self:
        await self._feeders.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._feeders.__aexit__()

    def ring(self, target: str) -> None:
        """There may be parcels for the target."""
        self._feeders.ring(target)

    def health(self) -> Mapping[str, object]:
        """What became of tries since the start, and how many targets fail now. Which ones the log knows: a target's
        address may be a secret."""
        return {**self.counters, "failing_targets": len(self._failures)}

    # Feeding

    async def _serve(self, target: str, bell: asyncio.Event, due_ms: int) -> None:
        wait_s = (due_ms - self._clock.now_ms()) / 1000
        if wait_s > 0:
            await rung(bell, min(wait_s, LONGEST_SLEEP_S))
        elif self._feeders.in_hand(target) >= (1 if _is_ordered(target) else PARALLEL_PER_TARGET):
            await rung(bell, LONGEST_SLEEP_S)
        elif await self._feeders.in_pace(target, bell):
            await self._deliver_one(target)

    async def _deliver_one(self, target: str) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(LONGEST_SLEEP_S):
                await self._free.acquire()
            try:
                parcel = await self._queue.take(target, self._clock.now_ms(), stays=_is_ordered(target))
            except BaseException:
                self._free.release()
                raise
            if parcel is None:
                self._free.release()
                return
            self._feeders.start(target, parcel.id, self._run(parcel))

    # Delivering

    async def _run(self, parcel: Parcel) -> None:
        try:
            fate = await self._tried(parcel)
        finally:
            self._free.release()
        self._note(parcel, fate)
        await self._feeders.settle(parcel.target, parcel.id, partial(self._finish, parcel, fate))

    async def _tried(self, parcel: Parcel) -> DeliveryFate:
        """One try. Whatever goes wrong is a fate."""
        given_up = before_delivery(parcel, self._clock.now_ms())
        if given_up is not None:
            return given_up
        try:
            async with asyncio.timeout(DELIVERY_TIMEOUT_S):
                await self._target(parcel.target).deliver(parcel)
        except TargetRefused as error:
            return GiveUp(replace(parcel, attempts=parcel.attempts + 1), error.code, str(error))
        except TargetUnavailable as error:
            return self._failed(parcel, Attempt("TargetUnavailable", str(error), error.retry_after_s))
        except TimeoutError:
            return self._failed(parcel, Attempt("Timeout", "The target did not answer in time."))
        except Exception as error:  # the top of a task; the parcel must not stay taken
            log.exception("a delivery broke", target=shown_target(parcel.target), id=parcel.id)
            return self._failed(parcel, Attempt("InternalFailure", f"{type(error).__name__}: {error}"))
        return None

    def _failed(self, parcel: Parcel, attempt: Attempt) -> DeliveryFate:
        return after_failure(parcel, attempt, self._clock.now_ms())

    def _target(self, target: str) -> Target:
        address = parse_address(target)
        is_url = target.startswith(("https://", "http://"))
        kind = WebUrl if is_url else type(address)
        found = self._targets.get(kind)
        if found is None:
            known = address is not None and not isinstance(address, FunctionAddress)
            why = "nothing here delivers to such a target" if known else "this names no target"
            raise TargetRefused(f"{shown_target(target)}: {why}", "InvalidTarget")
        return found

    # Settling

    async def _finish(self, parcel: Parcel, fate: DeliveryFate) -> None:
        """Record a fate. Raises EventsUnavailable; then it is to be done again."""
        match fate:
            case None:
                await self._queue.end(parcel, Ending())
                self.counters["delivered"] += 1
            case TryAgain(parcel=changed, due_ms=due_ms):
                await self._queue.put_back(changed, None if _is_ordered(parcel.target) else due_ms)
                self.counters["failed"] += 1
            case GiveUp():
                await self._give_up(fate)

    async def _give_up(self, fate: GiveUp) -> None:
        parcel = fate.parcel
        left = undelivered(
            parcel, code=fate.code, message=fate.message, attempts=parcel.attempts, now_ms=self._clock.now_ms()
        )
        if isinstance(left, Letter):
            await self._queue.end(parcel, Ending(letter=left))
        else:
            posted = self._courier.posted(left)
            await self._queue.end(parcel, Ending([posted]))
            self._courier.ring([posted])
        self.counters["given_up"] += 1
        log.warning(
            "a delivery was given up",
            target=shown_target(parcel.target),
            id=parcel.id,
            sender=parcel.sender,
            code=fate.code,
            why=fate.message,
            kept="dead letters" if isinstance(left, Letter) else shown_target(left.target),
        )

    def _note(self, parcel: Parcel, fate: DeliveryFate) -> None:
        """Let a target that fails rest, and begin with one at a time afterwards."""
        target = parcel.target
        if not isinstance(fate, TryAgain):
            self._failures.pop(target, None)
            return
        self._failures[target] += 1
        rest_ms = doubling(self._failures[target] - 1, 100, LONGEST_REST_MS)
        if _is_ordered(target):
            rest_ms = fate.due_ms - self._clock.now_ms()
        self._feeders.slow_down(target, rest_ms)
        log.info(
            "a delivery failed",
            target=shown_target(target),
            id=parcel.id,
            attempts=fate.parcel.attempts,
            why=fate.message,
        )


def _is_ordered(target: str) -> bool:
    address = parse_address(target)
    return isinstance(address, QueueAddress) and address.is_fifo
