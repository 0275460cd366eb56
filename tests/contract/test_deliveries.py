"""The contract of the queue of parcels, held by the one in memory and the one on Redis."""

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from redis.asyncio import Redis

from hearth.core.function import FunctionName
from hearth_gateway.adapters.redis_connections import RedisConnections
from hearth_gateway.adapters.redis_events import RedisDeliveries, RedisEvents
from hearth_gateway.adapters.redis_events_records import decode_letter
from hearth_gateway.adapters.redis_events_shelf import EventRedis, asked
from hearth_gateway.adapters.redis_targets import RedisListTarget, RedisStreamTarget
from hearth_gateway.asynchronous.ports import DeliveryQueue, Ending, EventQueue, EventsUnavailable, TargetRefused
from hearth_gateway.asynchronous.testing import InMemoryDeliveries, InMemoryEvents
from hearth_gateway.core.async_event import AsyncEvent
from hearth_gateway.core.parcel import Attribute, Parcel

LIST = "arn:hearth:redis:us-east-1:000000000000:hearth/list/out"
STREAM = "arn:aws:kinesis:us-east-1:000000000000:stream/out"
FIFO = "arn:aws:sqs:us-east-1:000000000000:out.fifo"
NAME = FunctionName("hello")


def parcel(number: int, target: str = LIST, at_ms: int = 1_000) -> Parcel:
    return Parcel(
        f"id-{number}",
        target,
        b"\x00\n{}",
        at_ms,
        sender="arn:s",
        service="sns.amazonaws.com",
        subject="about",
        attributes={"a": Attribute("String", "x"), "b": Attribute("Binary", b"\xff\x00")},
        headers={"H": "1"},
        group_id="g",
        deduplication_id="d",
        trace_id="Root=1",
        dead_letter_arn="arn:d",
    )


def event(number: int) -> AsyncEvent:
    return AsyncEvent(f"id-{number}", NAME, "", "arn:f", b"{}", "", 1_000, sender="arn:s", service="s")


@pytest.fixture(params=["memory", pytest.param("redis", marks=pytest.mark.redis)])
async def queues(request: pytest.FixtureRequest) -> AsyncIterator[tuple[DeliveryQueue, EventQueue]]:
    if request.param == "memory":
        deliveries = InMemoryDeliveries()
        yield deliveries, InMemoryEvents(deliveries.memory)
        return
    redis = await emptied(request.getfixturevalue("redis_url"))
    yield RedisDeliveries(redis), RedisEvents(redis)
    await redis.close()


@pytest.fixture
def deliveries(queues: tuple[DeliveryQueue, EventQueue]) -> DeliveryQueue:
    return queues[0]


async def emptied(url: str) -> EventRedis:
    async with Redis.from_url(url) as client:
        await client.flushdb()
    return EventRedis(url)


async def test_a_parcel_is_taken_as_it_was_posted(deliveries: DeliveryQueue) -> None:
    await deliveries.post([parcel(1)])
    assert await deliveries.next_due_ms(LIST) == 1_000
    assert await deliveries.take(LIST, 999) is None
    assert await deliveries.take(LIST, 1_000) == parcel(1)
    assert await deliveries.take(LIST, 9_000) is None


async def test_posting_twice_keeps_one(deliveries: DeliveryQueue) -> None:
    await deliveries.post([parcel(1), parcel(1), parcel(2)])
    await deliveries.post([parcel(1)])
    taken = [await deliveries.take(LIST, 9_000) for _ in range(3)]
    assert sorted(one.id for one in taken if one is not None) == ["id-1", "id-2"]


async def test_nothing_to_post_is_nothing_to_do(deliveries: DeliveryQueue) -> None:
    await deliveries.post([])
    assert list(await deliveries.recover(1_000)) == []


async def test_one_post_holds_events_for_functions_and_parcels_for_others(
    queues: tuple[DeliveryQueue, EventQueue],
) -> None:
    deliveries, events = queues
    await deliveries.post([parcel(1), event(2), parcel(3, STREAM)])
    assert await events.take(NAME, 1_000) == event(2)
    assert sorted(await deliveries.recover(1_000)) == sorted([LIST, STREAM])


async def test_what_follows_from_an_events_end_is_kept_in_the_same_step(
    queues: tuple[DeliveryQueue, EventQueue],
) -> None:
    deliveries, events = queues
    await deliveries.post([event(1)])
    await events.take(NAME, 1_000)
    await events.end(event(1), Ending([parcel(5)]))
    await events.end(event(1), Ending([parcel(6)]))
    taken = [await deliveries.take(LIST, 9_000) for _ in range(2)]
    assert taken == [parcel(5), None]


async def test_a_parcel_that_comes_back_has_its_count_and_its_time(deliveries: DeliveryQueue) -> None:
    await deliveries.post([parcel(1)])
    await deliveries.take(LIST, 1_000)
    tried = replace(parcel(1), attempts=3)
    await deliveries.put_back(tried, 5_000)
    assert await deliveries.take(LIST, 4_999) is None
    assert await deliveries.take(LIST, 5_000) == tried


async def test_what_is_over_stays_over(deliveries: DeliveryQueue) -> None:
    await deliveries.post([parcel(1)])
    await deliveries.take(LIST, 1_000)
    await deliveries.end(parcel(1), Ending())
    await deliveries.put_back(parcel(1), 1_000)
    assert await deliveries.next_due_ms(LIST) is None
    assert list(await deliveries.recover(1_000)) == []


async def test_a_fifo_queue_gets_its_parcels_in_the_order_of_their_posting(deliveries: DeliveryQueue) -> None:
    for number in (5, 3, 9, 1):
        await deliveries.post([parcel(number, FIFO)])
    order = []
    while found := await deliveries.take(FIFO, 9_000, stays=True):
        again = replace(found, attempts=1)
        await deliveries.put_back(again, None)
        assert await deliveries.take(FIFO, 9_000, stays=True) == again
        await deliveries.end(found, Ending())
        order.append(found.id)
    assert order == ["id-5", "id-3", "id-9", "id-1"]


async def test_a_dead_owners_parcels_are_due_again(deliveries: DeliveryQueue) -> None:
    await deliveries.post([parcel(1), parcel(2)])
    await deliveries.take(LIST, 1_000)
    await deliveries.take(LIST, 1_000)
    await deliveries.restore(LIST, ["id-1"], 2_000)
    assert await deliveries.take(LIST, 2_000) == parcel(2)
    assert list(await deliveries.recover(3_000)) == [LIST]
    assert await deliveries.next_due_ms(LIST) == 3_000


@pytest.mark.redis
async def test_a_parcel_that_cannot_be_read_is_set_aside(redis_url: str) -> None:
    redis = await emptied(redis_url)
    deliveries = RedisDeliveries(redis)
    await deliveries.post([parcel(1), parcel(2)])
    await asked(redis.client.hset(f"hearth:courier:{LIST}:events", "id-1", b"junk"))
    assert await deliveries.take(LIST, 9_000) == parcel(2)
    letter = decode_letter(await asked(redis.client.hget(f"hearth:dead:target/{LIST}:letters", "id-1")))
    assert (letter.payload, letter.reason) == (b"junk", "Unreadable")
    await redis.close()


@pytest.mark.redis
async def test_lists_and_streams_get_the_body_as_it_is(redis_url: str) -> None:
    redis = await emptied(redis_url)
    async with RedisConnections.fixed(redis_url) as connections:
        await RedisListTarget(connections).deliver(parcel(1))
        await RedisStreamTarget(connections).deliver(parcel(2, "arn:hearth:redis:r:0:hearth/stream/s"))
        assert await asked(redis.client.lrange("out", 0, -1)) == [b"\x00\n{}"]
        entries = await asked(redis.client.xrange("s"))
        assert [fields for _, fields in entries] == [{b"data": b"\x00\n{}", b"partitionKey": b"g"}]
        with pytest.raises(TargetRefused, match="WRONGTYPE"):
            await RedisStreamTarget(connections).deliver(parcel(3, STREAM.replace("out", "out")))
    await redis.close()


async def test_keys_of_hearths_own_are_no_targets() -> None:
    async with RedisConnections.fixed("redis://127.0.0.1:1") as connections:
        for target in (RedisListTarget(connections), RedisStreamTarget(connections)):
            kind = "list" if isinstance(target, RedisListTarget) else "stream"
            own = f"arn:hearth:redis:us-east-1:000000000000:hearth/{kind}/hearth:functions"
            with pytest.raises(TargetRefused, match="Hearth's own"):
                await target.deliver(parcel(1, own))


async def test_a_queue_out_of_reach_says_so() -> None:
    redis = EventRedis("redis://127.0.0.1:1")
    with pytest.raises(EventsUnavailable):
        await RedisDeliveries(redis).post([parcel(1)])
    await redis.close()
