"""Stream sources on a real Redis: three thousand records while instances die at random, and trouble at the server."""

import asyncio
import random
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import orjson
import pytest
from redis.asyncio import Redis
from tests.unit.gateway.sources.stage import NamedFunctions, ScriptedScheduler, bad, good, lost
from tests.unit.gateway.streams.stream_stage import DESTINATION, datas, mapping, sequence_numbers

from hearth.core.invocation import Invocation, Outcome
from hearth_gateway.adapters.redis_connections import RedisConnections
from hearth_gateway.adapters.redis_stream import RedisStreams
from hearth_gateway.asynchronous.testing import RecordingCourier
from hearth_gateway.core.mapping import EventSourceMapping
from hearth_gateway.sources import stream_feed
from hearth_gateway.sources.ports import Surroundings, SystemClock
from hearth_gateway.sources.stream_source import StreamSource

pytestmark = pytest.mark.redis

RECORDS = 3_000
KEYS = 16


@pytest.fixture
async def client(redis_url: str) -> AsyncIterator[Redis]:
    client = Redis.from_url(redis_url)
    yield client
    await client.aclose()


def wanted(**changes: Any) -> EventSourceMapping:
    key = f"events-{uuid.uuid4().hex}"
    arn = f"arn:hearth:redis:us-east-1:000000000000:hearth/stream/{key}"
    return mapping(uuid=str(uuid.uuid4()), source_arn=arn, **changes)


def key_of(one: EventSourceMapping) -> str:
    return one.source_arn.rpartition("/")[2]


async def add(client: Redis, one: EventSourceMapping, values: range) -> None:
    async with client.pipeline(transaction=False) as pipe:
        for value in values:
            pipe.xadd(key_of(one), {"partitionKey": str(value % KEYS), "data": str(value)})
        await pipe.execute()


async def is_settled(client: Redis, one: EventSourceMapping) -> bool:
    groups = [g for g in await client.xinfo_groups(key_of(one)) if g["name"].decode() == one.uuid]
    last = (await client.xinfo_stream(key_of(one)))["last-generated-id"]
    return bool(groups) and groups[0]["pending"] == 0 and groups[0]["last-delivered-id"] == last


async def eventually(condition: Callable[[], Any], limit_s: float = 120) -> None:
    async with asyncio.timeout(limit_s):
        while not await condition():  # noqa: ASYNC110  # it is the server that changes
            await asyncio.sleep(0.02)


class Instance:
    """One Hearth, as far as a stream can tell."""

    def __init__(
        self, url: str, one: EventSourceMapping, handler: Callable[[Invocation], Outcome], courier: RecordingCourier
    ) -> None:
        scheduler = ScriptedScheduler(places=4)
        scheduler.answer = handler
        around = Surroundings(
            scheduler=scheduler,
            functions=NamedFunctions("worker"),
            clock=SystemClock(),
            region="us-east-1",
            account="000000000000",
            max_receive_count=3,
        )
        self._connections = RedisConnections.fixed(url)
        reader = RedisStreams(self._connections, run=uuid.uuid4().hex).open(one)
        self.source = StreamSource(one, reader, around, courier)
        self._task: asyncio.Task[None] | None = None

    def begin(self) -> None:
        self._task = asyncio.create_task(self.source.run(), name="source")

    async def end(self, *, kill: bool = False) -> None:
        assert self._task is not None
        if kill:
            self._task.cancel()
        else:
            self.source.stop()
        await asyncio.wait({self._task})
        await self.source.close()
        await self._connections.__aexit__(None, None, None)
        if not kill:
            self._task.result()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        self.begin()
        try:
            yield
        finally:
            await self.end()


async def test_nothing_is_lost_and_keys_keep_their_order_while_instances_die(redis_url: str, client: Redis) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    one = wanted(
        batch_size=7,
        parallelization_factor=4,
        is_bisecting=True,
        response_types=("ReportBatchItemFailures",),
    )
    handled: list[str] = []

    def handle(invocation: Invocation) -> Outcome:
        values = datas(invocation)
        match chance.random():
            case throw if throw < 0.01:
                return bad()
            case lose if lose < 0.05:
                return lost()
            case listed if listed < 0.07:
                at = chance.randrange(len(values))
                handled.extend(values[:at])
                number = sequence_numbers(invocation)[at]
                return good(orjson.dumps({"batchItemFailures": [{"itemIdentifier": number}]}))
        handled.extend(values)
        return good()

    courier = RecordingCourier()
    for part in range(10):
        await add(client, one, range(part * RECORDS // 10, (part + 1) * RECORDS // 10))
        instance = Instance(redis_url, one, handle, courier)
        instance.begin()
        await asyncio.sleep(chance.random() * 0.2)
        await instance.end(kill=True)
    async with Instance(redis_url, one, handle, courier).running():
        await eventually(lambda: is_settled(client, one))

    firsts = list(dict.fromkeys(int(value) for value in handled))
    assert sorted(firsts) == list(range(RECORDS))
    for key in range(KEYS):
        mine = [value for value in firsts if value % KEYS == key]
        assert mine == sorted(mine)
    assert courier.parcels == []


async def test_cut_connections_skip_nothing(redis_url: str, client: Redis) -> None:
    one = wanted(batch_size=5, parallelization_factor=2)
    handled: list[str] = []

    def handle(invocation: Invocation) -> Outcome:
        handled.extend(datas(invocation))
        return good()

    async with Instance(redis_url, one, handle, RecordingCourier()).running():
        for part in range(5):
            await add(client, one, range(part * 100, (part + 1) * 100))
            await asyncio.sleep(0.02)
            await client.client_kill_filter(_type="normal", skipme=True)
        await eventually(lambda: is_settled(client, one))

    assert sorted({int(value) for value in handled}) == list(range(500))


async def test_a_stream_that_is_trimmed_deleted_and_made_again_is_survived(
    redis_url: str, client: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Whoever waits for ids above those of the old stream looks up only now and then.
    monkeypatch.setattr(stream_feed, "WAIT_S", 0.5)
    one = wanted(batch_size=10)
    handled: list[str] = []
    gate = asyncio.Event()
    gate.set()

    def handle(invocation: Invocation) -> Outcome:
        if not gate.is_set():
            return lost()
        handled.extend(datas(invocation))
        return good()

    async with Instance(redis_url, one, handle, RecordingCourier()).running():
        await add(client, one, range(100))
        await eventually(lambda: is_settled(client, one))
        gate.clear()
        await add(client, one, range(100, 200))
        await asyncio.sleep(0.1)
        await client.xtrim(key_of(one), maxlen=10, approximate=False)
        gate.set()
        await eventually(lambda: is_settled(client, one))
        await client.delete(key_of(one))
        await client.xadd(key_of(one), {"data": "small"}, id="5-1")
        await eventually(lambda: is_settled(client, one))
        await client.xgroup_destroy(key_of(one), one.uuid)
        await client.xadd(key_of(one), {"data": "smaller"}, id="5-2")
        await eventually(lambda: is_settled(client, one))

    assert handled[:100] == [str(value) for value in range(100)]
    assert {str(value) for value in range(190, 200)} <= set(handled)
    assert handled[-2:] == ["small", "smaller"]


async def test_poison_is_given_up_alone(redis_url: str, client: Redis) -> None:
    one = wanted(batch_size=8, is_bisecting=True, retry_attempts=0, on_failure=DESTINATION)
    handled: list[str] = []

    def handle(invocation: Invocation) -> Outcome:
        if "13" in datas(invocation):
            return bad()
        handled.extend(datas(invocation))
        return good()

    courier = RecordingCourier()
    async with Instance(redis_url, one, handle, courier).running():
        await add(client, one, range(20))
        await eventually(lambda: is_settled(client, one))

    assert handled == [str(value) for value in range(20) if value != 13]
    (parcel,) = courier.parcels
    assert orjson.loads(parcel.body)["RedisStreamBatchInfo"]["batchSize"] == 1
