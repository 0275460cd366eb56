"""Feeders: one for each recipient that has something on the shelf.

Rule 1: nothing polls. A feeder sleeps until its next item is due or its bell rings, and goes when nothing is left.
Rule 2: an answer of the shelf that was lost is made good: after a failure, what is taken but not in hand is due again;
and once more a while later, for a request that was given up may still be executed.
State: `_bells`, one for each feeder, and `_in_hand`, the ids of what is taken and not yet settled, are changed here
only, on one event loop; what exists the shelf knows.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import Any, Self

import structlog

from hearth.core.errors import ServiceError
from hearth_gateway.asynchronous.ports import EventsUnavailable, Shelf
from hearth_gateway.core.back_off import back_off_s
from hearth_gateway.core.ramp_up import RampUp
from hearth_gateway.core.webhook import shown_target
from hearth_gateway.sources.ports import Clock

LONGEST_SLEEP_S = 20.0
"""A feeder looks up after this long even if nothing woke it: every wait has a deadline."""
DOUBT_S = 30.0
"""How long after a failure, or after a start, a request that nobody waits for any more may still be executed."""

log = structlog.get_logger(__name__)

Serve = Callable[[str, asyncio.Event, int], Awaitable[None]]
"""Given a recipient, its bell and when its next item is due: wait for that, or start its work."""


class Feeders:
    """An async context manager: entered, it takes up what was left; left, it lets what runs finish for `drain_s`
    seconds; the rest is done again by the next start. `kind` is for names and logs."""

    def __init__(self, shelf: Shelf, serve: Serve, clock: Clock, *, kind: str, drain_s: float) -> None:
        self._shelf = shelf
        self._serve = serve
        self._clock = clock
        self._kind = kind
        self._drain_s = drain_s
        self._bells: dict[str, asyncio.Event] = {}
        self._in_hand: dict[str, set[str]] = {}
        self._ramps: dict[str, RampUp] = {}
        self._doubts: dict[str, float] = {}
        self._recovered = asyncio.Event()
        self._runs: set[asyncio.Task[None]] = set()
        self._feeding: set[asyncio.Task[None]] = set()
        self._group = asyncio.TaskGroup()
        self._is_open = False

    async def __aenter__(self) -> Self:
        await self._group.__aenter__()
        self._is_open = True
        self._start(self._recover(), f"recover-{self._kind}", self._feeding)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._is_open = False
        for task in self._feeding:
            task.cancel()
        if self._runs:
            await asyncio.wait(self._runs, timeout=self._drain_s)
        for task in self._runs:
            task.cancel()
        await self._group.__aexit__(None, None, None)

    def ring(self, recipient: str) -> None:
        """Something is there for the recipient. Before the start and after the end that can wait for the next one."""
        if not self._is_open:
            return
        bell = self._bells.get(recipient)
        if bell is None:
            bell = self._bells[recipient] = asyncio.Event()
            self._start(self._feed(recipient, bell), f"{self._kind} {shown_target(recipient)}", self._feeding)
        bell.set()

    def ring_all(self) -> None:
        """Whoever feeds looks again."""
        for bell in self._bells.values():
            bell.set()

    # What is under way

    def in_hand(self, recipient: str) -> int:
        """How many are under way for the recipient."""
        return len(self._in_hand.get(recipient, ()))

    def start(self, recipient: str, identity: str, work: Coroutine[Any, Any, None]) -> None:
        """Let the work on a taken item begin; it must end with `settle`."""
        self._in_hand.setdefault(recipient, set()).add(identity)
        self._start(work, f"{self._kind} {identity}", self._runs)

    async def settle(self, recipient: str, identity: str, record: Callable[[], Awaitable[None]]) -> None:
        """Record what becomes of an item, however long the shelf is away."""
        failures = 0
        while True:
            try:
                await record()
                break
            except EventsUnavailable as error:
                log.warning(f"the end of one of {self._kind} is not recorded yet", id=identity, error=str(error))
            except Exception:  # the top of a task; what is taken must not stay so for ever
                log.exception(f"the end of one of {self._kind} could not be recorded", id=identity)
            failures = await self._back_off(recipient, failures)
        self._let_go(recipient, identity)
        self.ring(recipient)

    def slow_down(self, recipient: str, rest_ms: int = 0) -> None:
        """Something is out of order for the recipient: begin again with one at a time, after a rest."""
        self._ramps[recipient] = RampUp(self._clock.now_ms() + rest_ms)

    async def in_pace(self, recipient: str, bell: asyncio.Event) -> bool:
        """Whether one more may be started now; if not, this has waited for as long as seems to be needed."""
        ramp = self._ramps.get(recipient)
        if ramp is None:
            return True
        wait_ms = ramp.wait_ms(self.in_hand(recipient), self._clock.now_ms())
        if wait_ms:
            await rung(bell, min(wait_ms / 1000, LONGEST_SLEEP_S))
            return False
        if ramp.width(self._clock.now_ms()) is None:
            del self._ramps[recipient]
        return True

    def _let_go(self, recipient: str, identity: str) -> None:
        in_hand = self._in_hand[recipient]
        in_hand.discard(identity)
        if not in_hand:
            del self._in_hand[recipient]

    def _start(self, work: Coroutine[Any, Any, None], name: str, among: set[asyncio.Task[None]]) -> None:
        task = self._group.create_task(work, name=name)
        among.add(task)
        task.add_done_callback(among.discard)

    # Feeding

    async def _recover(self) -> None:
        failures = 0
        while True:
            try:
                names = await self._shelf.recover(self._clock.now_ms())
                break
            except EventsUnavailable as error:
                log.warning(f"{self._kind} not reachable", error=str(error))
                await self._clock.pause(back_off_s(failures))
                failures += 1
        self._recovered.set()
        for name in names:
            self._doubt(name)
            self.slow_down(name)
            self.ring(name)

    async def _feed(self, recipient: str, bell: asyncio.Event) -> None:
        await self._recovered.wait()  # until then what is taken may be a dead owner's
        failures = 0
        while True:
            bell.clear()
            try:
                if failures or self._is_doubt_over(recipient):
                    await self._shelf.restore(recipient, self._in_hand.get(recipient, ()), self._clock.now_ms())
                due_ms = await self._shelf.next_due_ms(recipient)
                if due_ms is None and recipient in self._doubts:
                    await rung(bell, LONGEST_SLEEP_S)
                    continue
                if due_ms is None and not bell.is_set():
                    del self._bells[recipient]
                    return
                if due_ms is not None:
                    await self._serve(recipient, bell, due_ms)
                failures = 0
            except (EventsUnavailable, ServiceError) as error:
                log.warning(f"{self._kind} wait", recipient=shown_target(recipient), error=str(error))
                failures = await self._back_off(recipient, failures)
            except Exception:  # the top of a task: whatever broke must not stop what else there is for the recipient
                log.exception(f"a feeder of {self._kind} broke", recipient=shown_target(recipient))
                failures = await self._back_off(recipient, failures)

    def _doubt(self, recipient: str) -> None:
        self._doubts[recipient] = self._clock.monotonic() + DOUBT_S

    def _is_doubt_over(self, recipient: str) -> bool:
        """True once, when whatever was still under way has been executed or never will be."""
        if self._clock.monotonic() < self._doubts.get(recipient, float("inf")):
            return False
        del self._doubts[recipient]
        return True

    async def _back_off(self, recipient: str, failures: int) -> int:
        self._doubt(recipient)
        self.slow_down(recipient)
        await self._clock.pause(back_off_s(failures))
        return failures + 1


async def rung(bell: asyncio.Event, longest_s: float) -> None:
    """Wait for the bell, but not for longer."""
    with suppress(TimeoutError):
        async with asyncio.timeout(longest_s):
            await bell.wait()
