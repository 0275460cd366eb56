"""The protocol that was searched is the protocol that runs: random stories of the model, told to the real queue.

After every request that the model's server executes, the messages are where the model says.
"""

import random
from collections.abc import Iterable

import orjson
import pytest
from tests.contract.test_list_queue_model import VisibleFake, VisibleRedis
from tests.model.exploration import Step
from tests.model.list_protocol import FAILED, OFF_THE_BOOKS, OK, OWNERS, Bounds, ListProtocol, Request, State, bits

from hearth_gateway.core.retry import Again, Dead, Settlement
from hearth_gateway.sources.ports import ListQueue, StaleSession

NOW = 1_700_000_000_000
LARGE = 6_000_000
BOUNDS = Bounds(messages=2, batch=2, cuts=2, lapses=2, platform_failures=2, sessions=5, is_successor=False)
NAMES = ("a", "b")
STEPS = 60
STALE = 0.5


class Told:
    """The real queue, told what the model's server executes."""

    def __init__(self, bench: VisibleFake | VisibleRedis) -> None:
        self.bench = bench
        self.queues: list[ListQueue] = [bench.open(name) for name in NAMES]
        self.ids: dict[int, str] = {}

    async def execute(self, request: Request) -> None:
        """What a stale session asks for is refused, in the model by changing nothing."""
        queue = self.queues[request.owner]
        try:
            match request.kind:
                case "enter":
                    keep = {self.ids[index] for index in bits(request.keep)}
                    await queue.enter(request.session, keep, NOW)
                case "beat":
                    await queue.beat(request.session, NOW)
                case "take":
                    assert await queue.take(1.0)
                case "claim":
                    claim = await queue.claim(request.session, BOUNDS.batch, max_bytes=LARGE, now_ms=NOW)
                    self.ids.update((int(message.body), message.id) for message in claim.messages)
                case _:
                    await queue.settle(self._settlement(request), NOW)
        except StaleSession:
            pass

    def _settlement(self, request: Request) -> Settlement:
        identity, attempts = self.ids[request.message], request.attempts + (request.fate == FAILED)
        if request.fate == OK:
            return Settlement(done=(identity,))
        if attempts >= BOUNDS.max_receive_count:
            return Settlement(dead=(Dead(identity, orjson.dumps({"payload": str(request.message)})),))
        return Settlement(again=(Again(identity, attempts, NOW),))


def believed(state: State) -> list[tuple[bytes, str, str, int]]:
    """Where the model's messages are: what kind of place, whose, and the count."""

    def each(mask: int, kind: str, whose: str = "") -> Iterable[tuple[bytes, str, str, int]]:
        counted = kind in ("leased", "retry")
        return ((b"%d" % index, kind, whose, state.books[index] if counted else 0) for index in bits(mask))

    found = [*each(state.source, "source"), *each(state.retry, "retry"), *each(state.dead, "dead")]
    for owner in range(OWNERS):
        on_books = sum(1 << index for index, count in enumerate(state.books) if count != OFF_THE_BOOKS)
        found += each(state.taken[owner], "taken", NAMES[owner])
        found += each(state.leases[owner] & on_books, "leased", NAMES[owner])
    return sorted(found)


def likely(state: State, choices: list[Step[State]], chance: random.Random) -> list[Step[State]]:
    """What comes after a newer session has begun is what goes wrong; left to chance it would be rare."""
    stale = [
        (deed, after)
        for deed, after in choices
        if "late" in deed and any(one.session < state.newest[one.owner] for one in state.wire - after.wire)
    ]
    if stale and chance.random() < STALE:
        return stale
    return [choice for choice in choices if "late" not in choice[0]] or choices


async def tell(bench: VisibleFake | VisibleRedis, chance: random.Random) -> None:
    protocol = ListProtocol(BOUNDS)
    state, told = protocol.first(), Told(bench)
    await bench.push(b"0", b"1")
    for _ in range(STEPS):
        choices = list(protocol.steps(state))
        if not choices:
            break
        deed, after = chance.choice(likely(state, choices, chance))
        if deed.endswith("is executed"):
            (request,) = state.wire - after.wire
            await told.execute(request)
        elif "is silent" in deed:
            await bench.kill(NAMES[int(deed[0])])
        state = after
        seen = sorted((body, kind, whose, count) for body, (kind, whose), count in await bench.places())
        assert seen == believed(state), deed


async def test_the_double_follows_the_model() -> None:
    for seed in range(300):
        await tell(VisibleFake(), random.Random(seed))


@pytest.mark.redis
async def test_redis_follows_the_model(redis_url: str) -> None:
    for seed in range(60):
        bench = VisibleRedis(redis_url)
        try:
            await tell(bench, random.Random(seed))
        finally:
            await bench.close()
