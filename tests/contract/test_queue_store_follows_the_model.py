"""Receipts, visibility and groups as they were searched are those that run: random stories of the model, told to the
stores. After every request that the model's server executes, the messages are where the model says.
"""

import random
import uuid
from dataclasses import dataclass, field

import pytest
from tests.contract.queue_bench import Bench, MemoryBench, create, outgoing, redis_bench, redrive
from tests.model.exploration import Step
from tests.model.receive_protocol import DEAD, DONE, DUE, HIDDEN, Bounds, ReceiveProtocol, Request, Run, State

from hearth_gateway.queues.ports import Lying, Received, Wanted

STANDARD = Bounds(messages=2, receivers=2, batch=2, max_receive_count=3, strays=3, crashes=2)
FIFO = Bounds(messages=3, groups=(0, 0, 1), receivers=2, batch=2, strays=3, crashes=2)
STEPS = 60
LATE = 0.5


@dataclass
class Told:
    """A real queue, told what the model's server executes."""

    bench: Bench
    bounds: Bounds
    chance: random.Random
    receipts: dict[tuple[int, int], str] = field(default_factory=dict)
    until_ms: dict[int, int] = field(default_factory=dict)

    async def begin(self) -> None:
        end = ".fifo" if self.bounds.groups else ""
        attributes = {"FifoQueue": "true"} if end else {}
        self.name, self.dead = self.bench.name(f"jobs{end}"), self.bench.name(f"dead{end}")
        await create(self.bench, self.dead, **attributes)
        policy = redrive(self.dead, self.bounds.max_receive_count)
        await create(self.bench, self.name, RedrivePolicy=policy, **attributes)
        for index in range(self.bounds.messages):
            group = str(self.bounds.groups[index]) if end else ""
            await self.bench.store.send(self.name, [outgoing(b"%d" % index, group=group)])

    async def receive(self) -> list[Received]:
        visibility_s = self.chance.randint(10, 1000)
        got = list(await self.bench.store.receive(self.name, Wanted(self.bounds.batch, visibility_s)))
        for one in got:
            self.until_ms[int(one.body)] = self.bench.clock.ms + visibility_s * 1000
        return got

    async def say(self, request: Request) -> None:
        assert request.run is not None
        receipt = self.receipts[request.run.message, request.run.receipt]
        if request.kind == "delete":
            await self.bench.store.delete(self.name, [receipt])
        else:
            await self.bench.store.change_visibility(self.name, [(receipt, 0)])

    def pass_time(self, state: State, index: int) -> State:
        """Until the message is visible again; so is then whatever was hidden for less long."""
        self.bench.clock.ms = max(self.bench.clock.ms, self.until_ms[index])
        messages = tuple(
            one._replace(place=DUE, hidden_for=0)
            if one.place == HIDDEN and self.until_ms[at] <= self.bench.clock.ms
            else one
            for at, one in enumerate(state.messages)
        )
        return state._replace(messages=messages)

    async def seen(self) -> dict[int, tuple[str, int]]:
        here = await self.bench.store.peek(self.name)
        dead = await self.bench.store.peek(self.dead)
        found = {int(one.envelope.body): (_where(one.lying), one.receive_count) for one in here}
        return found | {int(one.envelope.body): (DEAD, 0) for one in dead}


def _where(lying: Lying) -> str:
    return HIDDEN if lying is Lying.IN_FLIGHT else "visible"


def believed(state: State) -> dict[int, tuple[str, int]]:
    """Where the model's messages are, and how often they were tried."""
    places = {index: one for index, one in enumerate(state.messages) if one.place != DONE}
    return {
        index: (one.place if one.place in (HIDDEN, DEAD) else "visible", 0 if one.place == DEAD else one.attempts)
        for index, one in places.items()
    }


def likely(choices: list[Step[State]], chance: random.Random) -> list[Step[State]]:
    """What comes late is what goes wrong; left to chance it would be rare."""
    late = [choice for choice in choices if "late" in choice[0] and "is executed" in choice[0]]
    return late if late and chance.random() < LATE else choices


def received(before: State, after: State) -> set[Run]:
    """What a receive handed out."""
    pairs = enumerate(zip(before.messages, after.messages, strict=True))
    return {Run(at, new.receipt, new.attempts) for at, (old, new) in pairs if new.receives > old.receives}


async def tell(bench: Bench, bounds: Bounds, chance: random.Random) -> None:
    protocol, told = ReceiveProtocol(bounds), Told(bench, bounds, chance)
    await told.begin()
    state = protocol.first()
    for _ in range(STEPS):
        choices = list(protocol.steps(state))
        if not choices:
            break
        deed, after = chance.choice(likely(choices, chance))
        if deed.endswith("is visible again"):
            after = told.pass_time(state, int(deed[0]))
        elif deed.endswith("is executed"):
            (request,) = state.wire - after.wire
            if request.kind != "receive":
                await told.say(request)
            else:
                after = await _receive(told, state, [one for what, one in choices if what == deed])
        state = after
        assert await told.seen() == believed(state), deed


async def _receive(told: Told, state: State, allowed: list[State]) -> State:
    """The model says what may be received, the store which of it was."""
    got = await told.receive()
    numbers = {int(one.body): state.messages[int(one.body)].receives + 1 for one in got}
    runs = {Run(int(one.body), numbers[int(one.body)], one.receive_count) for one in got}
    for one in got:
        told.receipts[int(one.body), numbers[int(one.body)]] = one.receipt
    matching = [after for after in allowed if received(state, after) == runs]
    assert matching, f"{runs} was received"
    return matching[0]


@pytest.mark.parametrize("bounds", [STANDARD, FIFO], ids=["standard", "fifo"])
async def test_the_double_follows_the_model(bounds: Bounds) -> None:
    for seed in range(300):
        await tell(MemoryBench(), bounds, random.Random(seed))


@pytest.mark.redis
@pytest.mark.parametrize("bounds", [STANDARD, FIFO], ids=["standard", "fifo"])
async def test_redis_follows_the_model(redis_url: str, bounds: Bounds) -> None:
    async with redis_bench(redis_url) as bench:
        for seed in range(40):
            bench.suffix = uuid.uuid4().hex
            await tell(bench, bounds, random.Random(seed))
