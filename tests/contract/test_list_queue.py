"""What every `ListQueue` promises: the fake and the Redis one pass the same suite."""

import asyncio
import base64
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Protocol, cast

import orjson
import pytest
from redis.asyncio import Redis

from hearth_gateway.adapters.redis_connections import RedisConnections
from hearth_gateway.adapters.redis_list import RedisQueues, stem_of
from hearth_gateway.core.mapping import TAG_DEAD_LETTER_LIST, TAG_PRODUCER, EventSourceMapping
from hearth_gateway.core.mapping_state import State
from hearth_gateway.core.queue_batch import Message
from hearth_gateway.core.retry import Again, Dead, Settlement
from hearth_gateway.sources.ports import ListQueue, QueueUnavailable, StaleSession
from hearth_gateway.sources.testing import FakeList, FakeListQueue

LARGE = 6_000_000
NOW = 1_700_000_000_000


class Bench(Protocol):
    """One list and a way to look at it from outside."""

    def open(self, owner: str, *, run: str = "run-1", previous_run: str | None = None) -> ListQueue: ...

    async def push(self, *bodies: bytes) -> None: ...

    async def source(self) -> list[bytes]:
        """The list, head first."""
        ...

    async def dead(self) -> list[bytes]: ...

    async def kill(self, owner: str, *, run: str = "run-1") -> None:
        """The owner's liveness runs out."""
        ...

    async def leftovers(self) -> int:
        """How many messages are on the books."""
        ...


class FakeBench:
    def __init__(self, *, producer: str) -> None:
        self.shared = FakeList()
        self.shared.head_is_left = producer == "RPUSH"

    def open(self, owner: str, *, run: str = "run-1", previous_run: str | None = None) -> ListQueue:
        return FakeListQueue(self.shared, f"{run}/{owner}", previous_run or "")

    async def push(self, *bodies: bytes) -> None:
        self.shared.push(*bodies)

    async def source(self) -> list[bytes]:
        return list(self.shared.source) if self.shared.head_is_left else list(reversed(self.shared.source))

    async def dead(self) -> list[bytes]:
        return self.shared.dead

    async def kill(self, owner: str, *, run: str = "run-1") -> None:
        self.shared.owners[f"{run}/{owner}"].session = None

    async def leftovers(self) -> int:
        return len(self.shared.messages)


@dataclass
class RedisBench:
    url: str
    client: Redis
    producer: str
    key: str = field(default_factory=lambda: f"jobs-{uuid.uuid4().hex}")
    opened: list[RedisConnections] = field(default_factory=list)
    queues: list[ListQueue] = field(default_factory=list)

    def open(self, owner: str, *, run: str = "run-1", previous_run: str | None = None) -> ListQueue:
        connections = RedisConnections.fixed(self.url)
        self.opened.append(connections)
        factory = RedisQueues(connections, run=run, previous_run=previous_run)
        self.queues.append(factory.open(self._mapping(owner)))
        return self.queues[-1]

    def _mapping(self, owner: str) -> EventSourceMapping:
        return EventSourceMapping(
            uuid=owner,
            arn="",
            function_name="f",
            qualifier="",
            function_arn="f",
            source_arn=f"arn:aws:sqs:us-east-1:000000000000:{self.key}",
            enabled=True,
            state=State.ENABLED,
            last_modified_ms=0,
            tags={TAG_PRODUCER: self.producer, TAG_DEAD_LETTER_LIST: f"{self.key}-dead"},
        )

    async def push(self, *bodies: bytes) -> None:
        push = self.client.rpush if self.producer == "RPUSH" else self.client.lpush
        for body in bodies:
            await cast(asyncio.Future[int], push(self.key, body))

    async def source(self) -> list[bytes]:
        found = await cast(asyncio.Future[list[bytes]], self.client.lrange(self.key, 0, -1))
        return found if self.producer == "RPUSH" else found[::-1]

    async def dead(self) -> list[bytes]:
        return await cast(asyncio.Future[list[bytes]], self.client.lrange(f"{self.key}-dead", 0, -1))

    async def kill(self, owner: str, *, run: str = "run-1") -> None:
        await self.client.delete(f"{stem_of(self.key)}:live:{run}/{owner}")

    async def leftovers(self) -> int:
        return await cast(asyncio.Future[int], self.client.hlen(f"{stem_of(self.key)}:messages"))

    async def close(self) -> None:
        for queue in self.queues:
            await queue.close()
        for factory in self.opened:
            await factory.__aexit__(None, None, None)
        await self.client.aclose()


@pytest.fixture(params=["RPUSH", "LPUSH"])
def producer(request: pytest.FixtureRequest) -> str:
    return cast(str, request.param)


@pytest.fixture(params=["fake", pytest.param("redis", marks=pytest.mark.redis)])
async def bench(request: pytest.FixtureRequest, producer: str) -> AsyncIterator[Bench]:
    if request.param == "fake":
        yield FakeBench(producer=producer)
        return
    url = request.getfixturevalue("redis_url")
    real = RedisBench(url, Redis.from_url(url), producer)
    yield real
    await real.close()


@pytest.fixture
async def real(redis_url: str) -> AsyncIterator[RedisBench]:
    bench = RedisBench(redis_url, Redis.from_url(redis_url), "RPUSH")
    yield bench
    await bench.close()


async def claim(queue: ListQueue, limit: int = 10, *, now_ms: int = NOW, max_bytes: int = LARGE) -> list[Message]:
    return list((await queue.claim(1, limit, max_bytes=max_bytes, now_ms=now_ms)).messages)


async def entered(bench: Bench, owner: str = "a", *, session: int = 1) -> ListQueue:
    queue = bench.open(owner)
    await queue.enter(session, (), NOW)
    return queue


async def test_bodies_are_claimed_oldest_first_and_byte_for_byte(bench: Bench) -> None:
    bodies = [b"", b"\x00\xff 1 2 3\r\n", "zwölf".encode(), b"last"]
    await bench.push(*bodies)
    queue = await entered(bench)

    messages = await claim(queue)

    assert [message.body for message in messages] == bodies
    assert {(message.attempts, message.first_received_ms) for message in messages} == {(0, NOW)}
    assert len({message.id for message in messages}) == len(bodies)


async def test_a_claim_says_what_is_left(bench: Bench) -> None:
    await bench.push(b"1", b"2", b"3")
    queue = await entered(bench)

    first = await queue.claim(1, 2, max_bytes=LARGE, now_ms=NOW)
    second = await queue.claim(1, 2, max_bytes=LARGE, now_ms=NOW)
    third = await queue.claim(1, 2, max_bytes=LARGE, now_ms=NOW)

    assert [(len(one.messages), one.available) for one in (first, second, third)] == [(2, 1), (1, 0), (0, 0)]


async def test_a_claim_stops_before_too_many_bytes_but_gives_at_least_one(bench: Bench) -> None:
    await bench.push(b"x" * 5_000, b"y" * 5_000, b"z")
    queue = await entered(bench)

    assert [len(message.body) for message in await claim(queue, max_bytes=1_000)] == [5_000]
    assert [len(message.body) for message in await claim(queue, max_bytes=9_000)] == [5_000, 1]


async def test_a_message_done_is_gone(bench: Bench) -> None:
    await bench.push(b"1")
    queue = await entered(bench)
    [message] = await claim(queue)

    await queue.settle(Settlement(done=(message.id,)), NOW)

    assert await bench.leftovers() == 0
    assert await queue.enter(2, (), NOW) is None


async def test_a_message_again_comes_back_when_due_with_its_count_and_first_receipt(bench: Bench) -> None:
    await bench.push(b"\x001 2 ")
    queue = await entered(bench)
    [message] = await claim(queue)

    await queue.settle(Settlement(again=(Again(message.id, 3, NOW + 50),)), NOW)

    early = await queue.claim(1, 10, max_bytes=LARGE, now_ms=NOW + 49)
    assert (early.messages, early.available, early.next_due_ms) == ((), 0, NOW + 50)
    [back] = await claim(queue, now_ms=NOW + 50)
    assert back == Message(message.id, b"\x001 2 ", NOW, 3)


async def test_what_is_due_again_comes_before_the_list(bench: Bench) -> None:
    await bench.push(b"old")
    queue = await entered(bench)
    [message] = await claim(queue)
    await queue.settle(Settlement(again=(Again(message.id, 1, NOW),)), NOW)
    await bench.push(b"new")

    assert [one.body for one in await claim(queue, limit=1)] == [b"old"]


async def test_a_dead_message_leaves_exactly_its_record(bench: Bench) -> None:
    await bench.push(b"1")
    queue = await entered(bench)
    [message] = await claim(queue)
    record = orjson.dumps({"payload": base64.b64encode(b"\xff").decode()})

    fate = Settlement(dead=(Dead(message.id, record),))
    await queue.settle(fate, NOW)
    await queue.settle(fate, NOW)

    assert await bench.dead() == [record]
    assert await bench.leftovers() == 0


async def test_settling_twice_changes_nothing(bench: Bench) -> None:
    await bench.push(b"1", b"2")
    queue = await entered(bench)
    one, two = await claim(queue)
    fates = Settlement(done=(one.id,), again=(Again(two.id, 1, NOW),))

    await queue.settle(fates, NOW)
    [back] = await claim(queue)
    await queue.settle(Settlement(done=(two.id,)), NOW)
    await queue.settle(fates, NOW)

    assert back.attempts == 1
    assert await claim(queue) == []
    assert await bench.leftovers() == 0


async def test_a_wait_ends_with_the_next_push_and_holds_its_body(bench: Bench) -> None:
    queue = await entered(bench)
    waiting = asyncio.ensure_future(queue.take(20.0))
    await bench.push(b"1")

    assert await waiting is True
    assert await bench.source() == []
    assert [one.body for one in await claim(queue)] == [b"1"]


async def test_a_wait_ends_empty_handed_after_its_time(bench: Bench) -> None:
    queue = await entered(bench)

    assert await queue.take(0.01) is False


async def test_a_wait_can_be_ended_from_the_side(bench: Bench) -> None:
    queue = await entered(bench)
    waiting = asyncio.ensure_future(queue.take(20.0))
    while not waiting.done():
        await queue.interrupt()
        await asyncio.wait({waiting}, timeout=0.01)

    assert waiting.result() is False
    await bench.push(b"1")
    assert await bench.source() == [b"1"]


async def test_gathering_holds_back_up_to_its_limits(bench: Bench) -> None:
    await bench.push(b"1", b"22", b"333", b"4444")
    queue = await entered(bench)

    by_count = await queue.gather(1, 2, LARGE)
    by_size = await queue.gather(1, 10, 5)

    assert (by_count.count, by_count.size_bytes) == (2, 3)
    assert (by_size.count, by_size.size_bytes) == (3, 6)
    assert await bench.source() == [b"4444"]
    assert [one.body for one in await claim(queue)] == [b"1", b"22", b"333", b"4444"]


async def test_leaving_puts_everything_back_in_order(bench: Bench) -> None:
    await bench.push(b"1", b"2", b"3", b"4")
    queue = await entered(bench)
    [leased] = await claim(queue, limit=1)
    await queue.gather(1, 2, LARGE)

    await queue.leave(NOW, forget=True)

    assert await bench.source() == [b"2", b"3", b"4"]
    other = await entered(bench, "b")
    [back] = await claim(other, limit=1)
    assert (back.id, back.attempts) == (leased.id, 0)


async def test_a_new_session_puts_back_what_is_not_in_flight(bench: Bench) -> None:
    await bench.push(b"1", b"2", b"3")
    queue = await entered(bench)
    kept, lost = await claim(queue, limit=2)
    await queue.gather(1, 5, LARGE)

    due = await queue.enter(2, {kept.id}, NOW)

    assert due == NOW
    assert await bench.source() == [b"3"]
    claimed = await queue.claim(2, 10, max_bytes=LARGE, now_ms=NOW)
    assert [one.id for one in claimed.messages][:1] == [lost.id]
    assert kept.id not in {one.id for one in claimed.messages}


async def test_a_claim_of_an_earlier_session_is_refused(bench: Bench) -> None:
    await bench.push(b"1")
    queue = await entered(bench, session=1)
    await queue.enter(2, (), NOW)

    with pytest.raises(StaleSession):
        await queue.claim(1, 1, max_bytes=LARGE, now_ms=NOW)
    with pytest.raises(StaleSession):
        await queue.gather(1, 1, LARGE)
    assert await bench.source() == [b"1"]


async def test_a_claim_after_leaving_is_refused(bench: Bench) -> None:
    queue = await entered(bench)
    await queue.leave(NOW, forget=True)

    with pytest.raises(StaleSession):
        await claim(queue)


async def test_a_dead_owner_is_taken_over_by_the_next_beat(bench: Bench) -> None:
    await bench.push(b"1", b"2", b"3")
    dying = await entered(bench, "a")
    living = await entered(bench, "b")
    [leased] = await claim(dying, limit=1)
    await dying.gather(1, 1, LARGE)

    assert await living.beat(1, NOW) is None
    await bench.kill("a")
    assert await living.beat(1, NOW + 7) == NOW + 7

    assert await bench.source() == [b"2", b"3"]
    [back] = await claim(living, limit=1, now_ms=NOW + 7)
    assert (back.id, back.attempts) == (leased.id, 0)


async def test_the_previous_run_is_taken_over_at_once_though_its_liveness_lasts(bench: Bench) -> None:
    await bench.push(b"1", b"2")
    dead = bench.open("a", run="run-0")
    await dead.enter(1, (), NOW)
    [leased] = await claim(dead, limit=1)
    await dead.gather(1, 1, LARGE)

    successor = bench.open("a", run="run-1", previous_run="run-0")
    await successor.enter(1, (), NOW)

    assert await bench.source() == [b"2"]
    assert [one.id for one in await claim(successor, limit=1)] == [leased.id]


async def test_only_the_holder_decides_about_failure_but_done_is_done(bench: Bench) -> None:
    await bench.push(b"1", b"2", b"3")
    slow = await entered(bench, "a")
    one, two, three = await claim(slow)
    await bench.kill("a")
    fast = await entered(bench, "b")
    await claim(fast)

    await slow.settle(Settlement(done=(one.id,), again=(Again(two.id, 9, NOW),), dead=(Dead(three.id, b"{}"),)), NOW)

    assert await bench.dead() == []
    assert await claim(fast) == []
    await fast.settle(Settlement(again=(Again(one.id, 1, NOW), Again(two.id, 1, NOW), Again(three.id, 1, NOW))), NOW)
    assert {(back.id, back.attempts) for back in await claim(fast)} == {(two.id, 1), (three.id, 1)}


@pytest.mark.redis
async def test_an_unreachable_redis_is_one_clear_error() -> None:
    bench = RedisBench("redis://127.0.0.1:1/0", Redis.from_url("redis://127.0.0.1:1/0"), "RPUSH")
    queue = bench.open("a")

    with pytest.raises(QueueUnavailable, match="ConnectionError"):
        await queue.enter(1, (), NOW)
    with pytest.raises(QueueUnavailable):
        await queue.take(0.01)
    await bench.close()


@pytest.mark.redis
async def test_a_key_of_another_type_is_one_clear_error_and_loses_nothing(real: RedisBench) -> None:
    await real.client.set(real.key, "not a list")
    queue = real.open("a")
    await queue.enter(1, (), NOW)

    with pytest.raises(QueueUnavailable, match="WRONGTYPE"):
        await claim(queue)
    with pytest.raises(QueueUnavailable, match="WRONGTYPE"):
        await queue.take(0.01)


@pytest.mark.redis
async def test_a_full_redis_takes_no_message_off_the_list(real: RedisBench) -> None:
    queue = await entered(real)
    await real.push(b"1")
    await real.client.config_set("maxmemory", 1)
    try:
        with pytest.raises(QueueUnavailable, match="OutOfMemory"):
            await claim(queue)
    finally:
        await real.client.config_set("maxmemory", 0)

    assert await real.source() == [b"1"]
    assert [one.body for one in await claim(queue)] == [b"1"]


@pytest.mark.redis
async def test_scripts_are_loaded_again_after_the_server_forgot_them(real: RedisBench) -> None:
    queue = await entered(real)
    await real.client.script_flush()

    assert await claim(queue) == []


@pytest.mark.redis
async def test_every_key_of_ours_goes_when_the_last_owner_leaves(real: RedisBench) -> None:
    await real.push(b"1")
    queue = await entered(real)
    [message] = await claim(queue)
    await queue.settle(Settlement(done=(message.id,)), NOW)

    await queue.leave(NOW, forget=True)

    assert [key async for key in real.client.scan_iter(match=f"*{real.key}*")] == []


@pytest.mark.parametrize(
    ("key", "stem"),
    [("jobs", "hearth:{jobs}"), ("{a}x", "hearth::{a}x"), ("{a}", "hearth::{a}"), ("a", "hearth:{a}")],
)
def test_our_keys_share_the_hash_slot_of_their_list_and_nobody_elses_name(key: str, stem: str) -> None:
    assert stem_of(key) == stem


async def test_a_late_sign_of_life_does_not_bring_an_older_session_back(bench: Bench) -> None:
    """It would let a claim of that session, late as well, lease what nobody knows of."""
    await bench.push(b"1")
    queue = await entered(bench)
    await queue.enter(2, (), NOW)

    with pytest.raises(StaleSession):
        await queue.beat(1, NOW)
    with pytest.raises(StaleSession):
        await queue.enter(1, (), NOW)
    with pytest.raises(StaleSession):
        await queue.claim(1, 10, max_bytes=LARGE, now_ms=NOW)
    claimed = await queue.claim(2, 10, max_bytes=LARGE, now_ms=NOW)

    assert [message.body for message in claimed.messages] == [b"1"]
