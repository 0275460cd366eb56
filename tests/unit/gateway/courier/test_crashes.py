"""Events and parcels through crashes at every step: whatever was acknowledged is handled, and is over exactly once.

The process is killed at any call to the store, before it took effect or with only its answer lost, as often as chance
wants. What the store knows, survives; nothing else does.
"""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.gateway.served import record
from tests.unit.gateway.sources.stage import in_virtual_time

from hearth.core.attachments import EventInvokeConfig
from hearth.core.errors import ServiceError
from hearth.core.function import FunctionName
from hearth.core.invocation import FailureKind, FunctionFailed, Invocation, Ledger, Outcome, PlatformFailed, Succeeded
from hearth.registry import Registry
from hearth.testing import InMemoryStore
from hearth_gateway.asynchronous.deliveries import Deliveries
from hearth_gateway.asynchronous.dispatcher import AsyncInvocations
from hearth_gateway.asynchronous.ports import Ending, EventsUnavailable, TargetRefused, TargetUnavailable
from hearth_gateway.asynchronous.posting import DurableCourier
from hearth_gateway.asynchronous.testing import InMemoryDeliveries, InMemoryEvents, Memory
from hearth_gateway.core.addresses import ListAddress, QueueAddress
from hearth_gateway.core.async_event import AsyncEvent
from hearth_gateway.core.authorization import Place
from hearth_gateway.core.parcel import Parcel, derived_id
from hearth_gateway.sources.testing import LoopClock
from hearth_gateway.testing import FakeScheduler

PLACE = Place("us-east-1", "000000000000")
LIST = "arn:hearth:redis:us-east-1:000000000000:hearth/list/out"
FIFO = "arn:aws:sqs:us-east-1:000000000000:out.fifo"
FUNCTION = "arn:aws:lambda:us-east-1:000000000000:function:hello"
GIVEN_UP_AFTER_S = 7 * 86_400

Fault = tuple[int, bool]
"""How many calls until the next kill, and whether the call it comes with took effect."""


class CountingMemory(Memory):
    """Counts what is over, by id."""

    def __init__(self) -> None:
        super().__init__()
        self.over: Counter[str] = Counter()

    def end(self, among: Any, identity: str, ending: Ending) -> None:
        self.over[identity] += identity in among
        super().end(among, identity, ending)


@dataclass
class Life:
    """One life of the process: how many calls it has left, and whether the last one takes effect. Of every so many
    calls the answer is lost."""

    left: int
    is_applied: bool
    hiccup_every: int = 0
    is_over: asyncio.Event = field(default_factory=asyncio.Event)


class Mortal:
    """A queue whose caller is killed with a call. A dead caller never hears anything again."""

    def __init__(self, queue: Any, life: Life) -> None:
        self._queue = queue
        self._life = life

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._queue, name)

        async def call(*arguments: Any, **named: Any) -> Any:
            if self._life.is_over.is_set():
                await asyncio.Event().wait()
            self._life.left -= 1
            if self._life.left > 0:
                answer = await method(*arguments, **named)
                if self._life.hiccup_every and self._life.left % self._life.hiccup_every == 0:
                    raise EventsUnavailable("the answer was lost")
                return answer
            if self._life.is_applied:
                with contextlib.suppress(EventsUnavailable):
                    await method(*arguments, **named)
            self._life.is_over.set()
            return await asyncio.Event().wait()

        return call


class World:
    """What outlives the process: the store, the targets, and what the function did."""

    def __init__(self, chances: Iterator[int]) -> None:
        self.memory = CountingMemory()
        self.delivered: Counter[str] = Counter()
        self.order: list[str] = []
        self.succeeded: Counter[str] = Counter()
        self.unheard: Counter[str] = Counter()
        self.chances = chances

    async def deliver(self, parcel: Parcel) -> None:
        await asyncio.sleep(1)
        chance = next(self.chances, 0)
        if chance == 1:
            raise TargetUnavailable("down")
        if chance == 2 and parcel.target != FIFO:
            raise TargetRefused("no")
        self.delivered[parcel.id] += 1
        if parcel.target == FIFO and parcel.id not in self.order:
            self.order.append(parcel.id)

    async def run(self, invocation: Invocation) -> Outcome:
        await asyncio.sleep(1)
        chance = next(self.chances, 0)
        if chance == 1:
            return FunctionFailed(FailureKind.HANDLER, b'{"errorMessage":"boom"}', Ledger())
        if chance == 2:
            return PlatformFailed("lost", was_started=True)
        self.succeeded[invocation.request_id] += 1
        return Succeeded(b"1", Ledger())


async def live(world: World, life: Life, wanted: list[Parcel | AsyncEvent], accepted: list[str]) -> None:
    """From a start until the kill, or until there is nothing left to do. `wanted` shrinks by what was acknowledged."""
    clock, registry, scheduler = LoopClock(), Registry(InMemoryStore()), FakeScheduler(2)
    hello = record("hello")
    object.__setattr__(hello, "event_invoke", {"$LATEST": EventInvokeConfig(0, on_success=LIST, on_failure=LIST)})
    await registry.put(hello)
    await registry.put(record("plain"))
    for name in ("hello", "plain"):
        scheduler.script(name, world.run)
    deliveries: Any = Mortal(InMemoryDeliveries(world.memory), life)
    queue: Any = Mortal(InMemoryEvents(world.memory), life)
    courier = DurableCourier(deliveries, PLACE, new_trace=lambda: "Root=1")
    events = AsyncInvocations(queue, registry, scheduler, clock, courier=courier, chance=lambda: 0.5, drain_s=0.01)
    engine = Deliveries(deliveries, {ListAddress: world, QueueAddress: world}, courier, clock, drain_s=0.01)
    courier.ring_function, courier.ring_target = events.ring, engine.ring

    async def work() -> None:
        while wanted:
            one = wanted[0]
            with contextlib.suppress(ServiceError):
                world.unheard[one.id] += 1
                await (courier.post([one]) if isinstance(one, Parcel) else events.accept(one))
                world.unheard[one.id] -= 1
                accepted.append(one.id)
                wanted.pop(0)
        while world.memory.parcels or world.memory.events:
            await clock.pause(30)

    async with events, engine:
        tasks = [asyncio.create_task(work()), asyncio.create_task(life.is_over.wait())]
        await asyncio.wait(tasks, timeout=GIVEN_UP_AFTER_S, return_when=asyncio.FIRST_COMPLETED)
        life.is_over.set()
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


def things(kinds: list[int], now_ms: int) -> list[Parcel | AsyncEvent]:
    """What is to be done: parcels for a list, a FIFO queue and a function; events by API too."""
    made: list[Parcel | AsyncEvent] = []
    for number, kind in enumerate(kinds):
        identity = f"id-{number}"
        if kind < 3:
            made.append(Parcel(identity, (LIST, FIFO, FUNCTION)[kind], b"{}", now_ms, max_attempts=50))
        else:
            name = FunctionName("hello" if kind == 3 else "plain")
            made.append(AsyncEvent(identity, name, "", FUNCTION, b"{}", "", now_ms))
    return made


@settings(max_examples=200, deadline=None)
@given(
    kinds=st.lists(st.integers(0, 4), min_size=1, max_size=6),
    faults=st.lists(st.tuples(st.integers(1, 25), st.booleans()), max_size=6),
    chances=st.lists(st.integers(0, 2), max_size=40),
    hiccup_every=st.sampled_from([0, 5, 9]),
)
def test_whatever_was_acknowledged_is_handled_and_over_exactly_once(
    kinds: list[int], faults: list[Fault], chances: list[int], hiccup_every: int
) -> None:
    @in_virtual_time
    async def scenario() -> None:
        world = World(iter(chances))
        wanted = things(kinds, LoopClock().now_ms())
        every = {one.id: one for one in wanted}
        accepted: list[str] = []
        for left, is_applied in faults:
            await live(world, Life(left, is_applied, hiccup_every), wanted, accepted)
        await live(world, Life(10**9, is_applied=True, hiccup_every=hiccup_every), wanted, accepted)
        check(world, every, accepted)

    scenario()


def check(world: World, every: dict[str, Parcel | AsyncEvent], accepted: list[str]) -> None:
    memory = world.memory
    wanted = set(accepted)
    assert wanted == set(every)
    assert not memory.parcels
    assert not memory.events
    letters = {identity for _, identity in memory.letters}
    for identity in wanted:
        match every[identity]:
            case Parcel(target=target) if target != FUNCTION:
                is_safe = world.delivered[identity] > 0
            case AsyncEvent(function="plain"):
                is_safe = world.succeeded[identity] > 0
            case _:
                is_safe = _left_a_record(world, identity)
        assert is_safe or identity in letters, f"{identity} was lost"
        assert memory.over[identity] >= 1
    # What was over before its acknowledgement was lost is posted again, and done once more. Nothing else is.
    for identity, times in memory.over.items():
        assert times <= 1 + world.unheard[identity]
    fifo = [identity for identity in world.order if identity not in letters]
    assert fifo == sorted(fifo, key=lambda one: int(one.removeprefix("id-")))


def _left_a_record(world: World, identity: str) -> bool:
    """Whether the record of an event's end reached its destination, or is kept."""
    left = derived_id(identity, "destination")
    return world.delivered[left] > 0 or any(letter == left for _, letter in world.memory.letters)
