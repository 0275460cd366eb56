"""The contract of the queue of asynchronous events, held by the one in memory and the one on Redis."""

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from redis.asyncio import Redis

from hearth.core.function import FunctionName
from hearth_gateway.adapters.redis_events import RedisEvents
from hearth_gateway.asynchronous.ports import DeliveryRefused, EventQueue, EventsUnavailable, Push
from hearth_gateway.asynchronous.testing import InMemoryEvents
from hearth_gateway.core.async_event import AsyncEvent

NAME, OTHER = FunctionName("hello"), FunctionName("other")


def event(number: int, function: FunctionName = NAME, at_ms: int = 1_000) -> AsyncEvent:
    return AsyncEvent(f"id-{number}", function, "", "arn:f", b'{"n":\n1}', "Root=1", at_ms)


@pytest.fixture(params=["memory", pytest.param("redis", marks=pytest.mark.redis)])
async def queue(request: pytest.FixtureRequest) -> AsyncIterator[EventQueue]:
    if request.param == "memory":
        yield InMemoryEvents()
        return
    url: str = request.getfixturevalue("redis_url")
    async with Redis.from_url(url) as client:
        await client.flushdb()
    events = RedisEvents(url)
    yield events
    await events.close()


async def test_an_accepted_event_is_taken_as_it_came(queue: EventQueue) -> None:
    await queue.accept(event(1), 1_000)
    assert await queue.next_due_ms(NAME) == 1_000
    assert await queue.take(NAME, 999) is None
    assert await queue.take(NAME, 1_000) == event(1)
    assert await queue.take(NAME, 2_000) is None
    assert await queue.next_due_ms(NAME) is None


async def test_accepting_twice_keeps_one(queue: EventQueue) -> None:
    await queue.accept(event(1), 1_000)
    await queue.take(NAME, 1_000)
    await queue.accept(event(1), 1_000)
    assert await queue.next_due_ms(NAME) is None


async def test_events_are_taken_in_order_of_their_time_and_by_function(queue: EventQueue) -> None:
    await queue.accept(event(1), 3_000)
    await queue.accept(event(2), 2_000)
    await queue.accept(event(3, OTHER), 1_000)
    taken = [await queue.take(NAME, 9_000), await queue.take(NAME, 9_000), await queue.take(NAME, 9_000)]
    assert taken == [event(2), event(1), None]


async def test_what_was_put_back_is_due_again_with_its_counts(queue: EventQueue) -> None:
    await queue.accept(event(1), 1_000)
    await queue.take(NAME, 1_000)
    failed = replace(event(1), attempts=1)
    await queue.put_back(failed, 5_000)
    assert await queue.take(NAME, 4_999) is None
    assert await queue.take(NAME, 5_000) == failed


async def test_what_a_dead_owner_had_taken_is_due_again(queue: EventQueue) -> None:
    await queue.accept(event(1), 1_000)
    await queue.accept(event(2, OTHER), 8_000)
    await queue.take(NAME, 1_000)
    assert sorted(await queue.recover(3_000)) == [NAME, OTHER]
    assert (await queue.next_due_ms(NAME), await queue.next_due_ms(OTHER)) == (3_000, 8_000)


async def test_what_was_taken_unheard_is_due_again_and_what_is_in_hand_is_not(queue: EventQueue) -> None:
    for number, name in ((1, NAME), (2, NAME), (3, OTHER)):
        await queue.accept(event(number, name), 1_000)
        await queue.take(name, 1_000)
    await queue.restore(NAME, {"id-2"}, 2_000)
    assert await queue.take(NAME, 2_000) == event(1)
    assert await queue.take(NAME, 9_000) is None
    assert await queue.next_due_ms(OTHER) is None
    await queue.restore(OTHER, (), 3_000)
    assert await queue.next_due_ms(OTHER) == 3_000


async def test_an_ended_event_is_forgotten_in_one_step_with_what_follows(queue: EventQueue) -> None:
    await queue.accept(event(1), 1_000)
    await queue.take(NAME, 1_000)
    await queue.end(event(1), [Push("failed", b"record")], [event(2, OTHER, 4_000)])
    await queue.end(event(1), [Push("failed", b"again")], [event(3, OTHER, 4_000)])
    assert list(await queue.recover(5_000)) == [OTHER]
    assert await queue.take(OTHER, 4_000) == event(2, OTHER, 4_000)
    assert await queue.take(OTHER, 4_000) is None
    await queue.put_back(event(1), 1_000)
    assert await queue.next_due_ms(NAME) is None


@pytest.mark.redis
async def test_a_record_for_something_that_is_no_list_is_refused_with_nothing_done(redis_url: str) -> None:
    queue = RedisEvents(redis_url)
    async with Redis.from_url(redis_url) as client:
        await client.flushdb()
        await client.set("text", "x")
        await queue.accept(event(1), 1_000)
        await queue.take(NAME, 1_000)
        with pytest.raises(DeliveryRefused):
            await queue.end(event(1), [Push("text", b"record")], [])
        assert list(await queue.recover(2_000)) == [NAME]
        await queue.end(event(1), [], [])
        assert await client.keys("hearth:async*") == []
    await queue.close()


async def test_a_queue_out_of_reach_says_so() -> None:
    queue = RedisEvents("redis://127.0.0.1:1")
    with pytest.raises(EventsUnavailable):
        await queue.accept(event(1), 1_000)
    await queue.close()
