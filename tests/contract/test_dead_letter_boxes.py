"""Boxes of dead letters on a real Redis: the default store, lists of named connections, and queues in memory."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

import orjson
import pytest
from redis.asyncio import Redis
from structlog.testing import capture_logs

from hearth.core.function import FunctionName
from hearth_gateway.adapters.redis_connections import RedisConnections
from hearth_gateway.adapters.redis_dead_letters import ListBox, StoreBox, store_boxes
from hearth_gateway.adapters.redis_events import RedisDeliveries, RedisEvents
from hearth_gateway.adapters.redis_events_shelf import EventRedis, Keeping, asked
from hearth_gateway.asynchronous.ports import Ending, Posted
from hearth_gateway.asynchronous.posting import DurableCourier
from hearth_gateway.asynchronous.testing import RecordingCourier
from hearth_gateway.core.async_event import AsyncEvent
from hearth_gateway.core.authorization import Place
from hearth_gateway.core.dead_letter import Letter
from hearth_gateway.core.envelope import Death, Envelope, Head, pack_envelope
from hearth_gateway.core.parcel import Parcel
from hearth_gateway.dead_letters.boxes import QueueBox
from hearth_gateway.queues.testing import MemoryQueueBook, MemoryQueueStore
from hearth_gateway.sources.testing import LoopClock

pytestmark = pytest.mark.redis
NAME = FunctionName("hello")
HOOK = "https://example.org/hook"
SOURCE = "arn:hearth:redis:us-east-1:000000000000:other/list/jobs"


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[EventRedis]:
    async with Redis.from_url(redis_url) as client:
        await client.flushdb()
    opened = EventRedis(redis_url)
    yield opened
    await opened.close()


class Rung:
    def __init__(self) -> None:
        self.items: list[Posted] = []

    def __call__(self, items: Sequence[Posted]) -> None:
        self.items += items


def store_box(redis: EventRedis, name: str, ring: Rung) -> StoreBox:
    return StoreBox(redis, name, arn_of=lambda function: f"arn:f:{function}", ring=ring)


async def bury_event(redis: EventRedis, number: int) -> AsyncEvent:
    queue = RedisEvents(redis)
    event = AsyncEvent(f"id-{number}", NAME, "live", "arn:f", b"\xff{}", "Root=1", 1_000, attempts=2)
    await queue.accept(event, 1_000)
    await queue.take(NAME, 9_000)
    error = {"errorType": "Boom", "errorMessage": "no"}
    await queue.end(event, Ending(letter=Letter(event, "RetriesExhausted", error, 3, 1_000, 5_000 + number)))
    return event


async def test_a_letter_of_a_function_is_shown_and_sent_again_as_if_it_were_new(redis: EventRedis) -> None:
    events = [await bury_event(redis, number) for number in (1, 2, 3)]
    ring = Rung()
    box = store_box(redis, "function/hello", ring)
    assert (await store_boxes(redis), await box.count()) == (["function/hello"], 3)
    first = (await box.page(0, 1))[0]
    assert (first.id, first.payload, first.source) == ("id-1", b"\xff{}", "arn:f:hello")
    assert (first.reason, first.attempts, first.first_ms, first.last_ms) == ("RetriesExhausted", 3, 1_000, 5_001)
    assert [one.id for one in await box.page(0, 9, until_ms=5_002)] == ["id-1", "id-2"]
    assert await box.revive(await box.find(["id-2", "id-9"]), 8_000) == 1
    fresh = replace(events[1], attempts=0, accepted_ms=8_000)
    assert await RedisEvents(redis).take(NAME, 8_000) == fresh
    assert ring.items == [fresh]
    assert [one.id for one in await box.page(0, 9)] == ["id-1", "id-3"]
    assert await box.revive([first, first], 9_000) == 1
    assert await box.purge() == 1
    assert (await box.count(), await store_boxes(redis)) == (0, [])


async def test_an_event_of_a_mapping_is_one_letter_however_often_it_is_buried_and_goes_back_as_an_invocation(
    redis: EventRedis,
) -> None:
    courier = DurableCourier(RedisDeliveries(redis), Place("us-east-1", "000000000000"), new_trace=str)
    event = AsyncEvent("stream:uuid:1-0:2-0", NAME, "live", "arn:f", b'{"Records":[]}', "", 1_000, sender=SOURCE)
    for attempts, at_ms in ((2, 5_000), (3, 6_000)):
        await courier.bury([Letter(event, "RetryAttemptsExhausted", {"errorType": "E"}, attempts, 1_000, at_ms)])
    await courier.bury([])
    ring = Rung()
    box = store_box(redis, "function/hello", ring)
    assert await store_boxes(redis) == ["function/hello"]
    (dead,) = await box.page(0, 9)
    shown = dead.shown(is_whole=True)
    assert (shown["id"], shown["payload"]) == (event.id, '{"Records":[]}')
    assert (shown["source"], shown["sender"]) == ("arn:f:hello", SOURCE)
    assert (shown["reason"], shown["attempts"]) == ("RetryAttemptsExhausted", 3)
    assert (shown["first_ms"], shown["last_ms"]) == (1_000, 6_000)
    assert await box.revive([dead], 8_000) == 1
    assert await RedisEvents(redis).take(NAME, 8_000) == replace(event, accepted_ms=8_000)
    assert await box.count() == 0


async def test_a_full_box_drops_its_oldest_letters_for_new_ones(redis: EventRedis) -> None:
    queue = RedisDeliveries(redis, Keeping(letters=2))
    letters = [
        Letter(AsyncEvent(f"id-{number}", NAME, "", "arn:f", b"{}", "", 1_000), "x", {}, 1, 1_000, 5_000 + number)
        for number in range(4)
    ]
    with capture_logs() as logs:
        await queue.bury(letters)
    assert [one.id for one in await store_box(redis, "function/hello", Rung()).page(0, 9)] == ["id-2", "id-3"]
    assert [(one["box"], one["n"]) for one in logs] == [("function/hello", 2)]


async def test_letters_can_be_thrown_away_singly(redis: EventRedis) -> None:
    for number in (1, 2):
        await bury_event(redis, number)
    box = store_box(redis, "function/hello", Rung())
    assert await box.remove(await box.find(["id-1", "id-9"])) == 1
    assert [one.id for one in await box.page(0, 9)] == ["id-2"]
    assert await box.remove([]) == 0


async def test_a_parcel_goes_back_to_its_target(redis: EventRedis) -> None:
    queue = RedisDeliveries(redis)
    parcel = Parcel("id-1", HOOK, b"{}", 1_000, attempts=4)
    await queue.post([parcel])
    await queue.take(HOOK, 9_000)
    await queue.end(parcel, Ending(letter=Letter(parcel, "HTTP400", {}, 4, 1_000, 5_000)))
    box = store_box(redis, f"target/{HOOK}", Rung())
    letters = await box.page(0, 9)
    assert [one.source for one in letters] == [HOOK]
    assert await box.revive(letters, 8_000) == 1
    assert await queue.take(HOOK, 8_000) == replace(parcel, attempts=0, accepted_ms=8_000)


async def test_what_cannot_be_read_is_shown_stays_and_can_be_thrown_away(redis: EventRedis) -> None:
    await bury_event(redis, 1)
    await asked(redis.client.hset("hearth:dead:function/hello:letters", "id-1", b"junk"))
    box = store_box(redis, "function/hello", Rung())
    letters = await box.page(0, 9)
    assert [(one.payload, one.source, one.reason) for one in letters] == [(b"junk", "", "Unreadable")]
    assert await box.revive(letters, 1) == 0
    assert await box.remove(letters) == 1


def record(identity: str, payload: str) -> bytes:
    return orjson.dumps(
        {
            "id": identity,
            "source": SOURCE,
            "payload": payload,
            "encoding": "utf-8",
            "error": {"errorType": "Boom", "errorMessage": "no"},
            "attempts": 5,
            "first_received": 1,
            "last_failed": 2,
        }
    )


async def test_a_dead_list_of_another_connection_is_shown_and_sent_back_by_the_courier(
    redis: EventRedis, redis_url: str
) -> None:
    await asked(redis.client.rpush("jobs:dead", record("a", "1"), b"what?", record("b", "2")))
    async with RedisConnections.fixed("redis://127.0.0.1:1", {"other": redis_url}) as connections:
        courier = RecordingCourier()
        box = ListBox(connections, "other", "jobs:dead", courier)
        letters = await box.page(0, 9)
        assert [(one.payload, one.source, one.attempts) for one in letters] == [
            (b"1", SOURCE, 5),
            (b"what?", "", 0),
            (b"2", SOURCE, 5),
        ]
        assert await box.revive(letters, 3) == 2
        assert [(one.target, one.body) for one in courier.parcels] == [(SOURCE, b"1"), (SOURCE, b"2")]
        assert await asked(redis.client.lrange("jobs:dead", 0, -1)) == [b"what?"]
        unknown = (await box.page(0, 1))[0]
        assert [one.id for one in await box.find([unknown.id])] == [unknown.id]
        assert (await box.remove([unknown]), await box.count()) == (1, 0)


async def test_a_queue_of_dead_letters_gives_each_back_to_where_it_died() -> None:
    store = MemoryQueueStore(LoopClock(), MemoryQueueBook())
    death = Death("arn:aws:sqs:us-east-1:000000000000:jobs", {"errorType": "Boom"}, 3, 1, 2)
    await store.send("jobs-dlq", [])
    store_elements = [
        pack_envelope(Envelope("m-1", b"one", Head(sent_ms=1, death=death))),
        record("a", "two").replace(b"other/list", b"hearth/list"),
        b"nobody knows",
    ]
    for element in store_elements:
        store.push("jobs-dlq", element)
    box = QueueBox(store, "jobs-dlq")
    letters = await box.page(0, 9)
    assert [(one.payload, one.reason) for one in letters] == [
        (b"one", "Boom"),
        (b"two", "Boom"),
        (b"nobody knows", "Unknown"),
    ]
    assert await box.revive(letters, 1) == 2
    assert sorted(one.envelope.body for one in await store.peek("jobs", 0, 9)) == [b"one", b"two"]
    assert [one.payload for one in await box.page(0, 9)] == [b"nobody knows"]
    assert (await box.purge(), await box.count()) == (1, 0)
