"""Sources on a real Redis: ten thousand messages while instances die at random, and outages of the server's side."""

import asyncio
import random
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Awaitable
from contextlib import suppress
from typing import Any, cast

import orjson
import pytest
from redis.asyncio import Redis
from tests.unit.gateway.sources.stage import NamedFunctions, ScriptedScheduler, bad, bodies, good, lost, mapping

from hearth.core.invocation import Invocation, Outcome
from hearth_gateway.adapters.redis_connections import RedisConnections
from hearth_gateway.adapters.redis_list import RedisQueues, stem_of
from hearth_gateway.core.mapping import EventSourceMapping
from hearth_gateway.sources.list_source import ListSource
from hearth_gateway.sources.ports import ListQueue, Surroundings, SystemClock

pytestmark = pytest.mark.redis

MESSAGES = 10_000
POISONED = frozenset(f"{n}" for n in range(0, MESSAGES, 500))
MAX_RECEIVE_COUNT = 3


@pytest.fixture
async def client(redis_url: str) -> AsyncIterator[Redis]:
    client = Redis.from_url(redis_url)
    yield client
    await client.aclose()


@pytest.fixture
def key() -> str:
    return f"jobs-{uuid.uuid4().hex}"


async def length(client: Redis, key: str) -> int:
    return await client.llen(key)


async def push(client: Redis, key: str, *values: str) -> None:
    await client.rpush(key, *values)


class Instance:
    """One Hearth, as far as a list can tell."""

    def __init__(self, url: str, wanted: EventSourceMapping, handler: Any, previous_run: str | None = None) -> None:
        self.run = uuid.uuid4().hex
        self.scheduler = ScriptedScheduler(places=4)
        self.scheduler.answer = handler
        around = Surroundings(
            scheduler=self.scheduler,
            functions=NamedFunctions("worker"),
            clock=SystemClock(),
            region="us-east-1",
            account="000000000000",
            max_receive_count=MAX_RECEIVE_COUNT,
        )
        self._connections = RedisConnections.fixed(url)
        queues = RedisQueues(self._connections, run=self.run, previous_run=previous_run)
        self._queue: ListQueue = queues.open(wanted)
        self.source = ListSource(wanted, self._queue, around)
        self._task = asyncio.create_task(self.source.run(), name=f"instance {self.run}")

    async def kill(self) -> None:
        """Everything is dropped where it stands; nothing is said to Redis."""
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task
        await self._queue.close()
        await self._connections.__aexit__(None, None, None)

    async def stop(self) -> None:
        self.source.stop()
        await self._task
        await self._queue.close()
        await self._connections.__aexit__(None, None, None)


class Ledger:
    """What the handlers of all instances have done."""

    def __init__(self, chance: random.Random) -> None:
        self.handled: Counter[str] = Counter()
        self._chance = chance

    def handle(self, invocation: Invocation) -> Outcome:
        batch = bodies(invocation)
        if self._chance.random() < 0.02:
            return lost()
        records = orjson.loads(invocation.payload)["Records"]
        failed = [{"itemIdentifier": one["messageId"]} for one in records if one["body"] in POISONED]
        self.handled.update(body for body in batch if body not in POISONED)
        return good(orjson.dumps({"batchItemFailures": failed}))


async def until(condition: Any) -> None:
    while not await condition():  # noqa: ASYNC110  # the other side is a server, which sets no events
        await asyncio.sleep(0.05)


@pytest.mark.timeout(120)
async def test_every_message_is_handled_though_instances_die_at_random(client: Redis, redis_url: str, key: str) -> None:
    chance = random.Random(20)  # chance has a seed: a failure can be looked at again
    ledger = Ledger(chance)
    wanted = mapping(
        source_arn=f"arn:aws:sqs:us-east-1:000000000000:{key}", response_types=("ReportBatchItemFailures",)
    )
    instances = [Instance(redis_url, wanted, ledger.handle) for _ in range(3)]

    async def produce() -> None:
        for start in range(0, MESSAGES, 100):
            await push(client, key, *(str(n) for n in range(start, start + 100)))
            await asyncio.sleep(0.01)

    async def murder() -> None:
        for _ in range(30):
            await asyncio.sleep(chance.random() * 0.1)
            victim = instances.pop(chance.randrange(len(instances)))
            await victim.kill()
            instances.append(Instance(redis_url, wanted, ledger.handle, previous_run=victim.run))
            # Its successor may be killed before it knows; then time must tell: here, at once.
            await client.delete(f"{stem_of(key)}:live:{victim.run}/{wanted.uuid}")

    async def is_done() -> bool:
        left = await client.hlen(f"{stem_of(key)}:messages")
        return not left and not await length(client, key) and len(ledger.handled) == MESSAGES - len(POISONED)

    await asyncio.gather(produce(), murder())
    await until(is_done)
    for instance in instances:
        await instance.stop()

    dead = [orjson.loads(one) for one in await cast(Awaitable[list[bytes]], client.lrange(f"{key}:dead", 0, -1))]
    assert Counter(one["payload"] for one in dead) == Counter(POISONED)
    assert {one["attempts"] for one in dead} == {MAX_RECEIVE_COUNT}
    assert set(ledger.handled) == {str(n) for n in range(MESSAGES)} - POISONED
    leftovers = {name async for name in client.scan_iter(match=f"*{key}*")}
    # Only the books of the dead remain, for the hour in which something of theirs may still arrive.
    books = {f"{stem_of(key)}:owners", f"{stem_of(key)}:sessions", f"{key}:dead"}
    assert {name.decode() for name in leftovers} <= books


async def test_a_source_survives_the_loss_of_all_its_connections(client: Redis, redis_url: str, key: str) -> None:
    handled: Counter[str] = Counter()

    def handle(invocation: Invocation) -> Outcome:
        handled.update(bodies(invocation))
        return good()

    instance = Instance(redis_url, mapping(source_arn=f"arn:aws:sqs:us-east-1:000000000000:{key}"), handle)
    for n in range(20):
        await push(client, key, *(f"{n}-{m}" for m in range(50)))
        await client.client_kill_filter(_type="normal", skipme=True)
        await asyncio.sleep(0)

    async def is_done() -> bool:
        return len(handled) == 1000 and not await client.exists(key)

    await until(is_done)
    await instance.stop()
    assert not await client.exists(key, f"{stem_of(key)}:messages", f"{stem_of(key)}:retry", f"{key}:dead")


async def test_a_function_that_fails_at_first_gets_its_message_again(client: Redis, redis_url: str, key: str) -> None:
    seen: list[str] = []

    def handle(invocation: Invocation) -> Outcome:
        [record] = orjson.loads(invocation.payload)["Records"]
        seen.append(record["attributes"]["ApproximateReceiveCount"])
        return bad() if len(seen) == 1 else good()

    instance = Instance(redis_url, mapping(source_arn=f"arn:aws:sqs:us-east-1:000000000000:{key}"), handle)
    await push(client, key, "1")

    async def is_done() -> bool:
        return len(seen) == 2 and not await client.exists(f"{stem_of(key)}:messages")

    await until(is_done)
    await instance.stop()
    assert seen == ["1", "2"]


async def test_stopping_an_idle_source_ends_its_blocking_wait_and_leaves_no_key(
    client: Redis, redis_url: str, key: str
) -> None:
    instance = Instance(redis_url, mapping(source_arn=f"arn:aws:sqs:us-east-1:000000000000:{key}"), lambda _: good())

    async def is_waiting() -> bool:
        return any(one["cmd"] == "blmove" for one in await client.client_list())

    await until(is_waiting)
    await instance.stop()

    assert [name async for name in client.scan_iter(match=f"*{key}*")] == []
    assert not await is_waiting()
