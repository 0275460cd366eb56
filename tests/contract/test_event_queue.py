"""The contract of the queue of asynchronous events, held by the one in memory and the one on Redis."""

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from redis.asyncio import Redis

from hearth.core.function import FunctionName
from hearth_gateway.adapters.redis_events import RedisEvents
from hearth_gateway.adapters.redis_events_records import decode_letter
from hearth_gateway.adapters.redis_events_shelf import EventRedis, Keeping, asked
from hearth_gateway.asynchronous.ports import Cancellation, Ending, EventQueue, EventsUnavailable
from hearth_gateway.asynchronous.testing import InMemoryEvents
from hearth_gateway.core.async_event import AsyncEvent
from hearth_gateway.core.dead_letter import Letter
from hearth_gateway.core.invocation_status import State, status_of

NAME, OTHER = FunctionName("hello"), FunctionName("other")


def event(number: int, function: FunctionName = NAME, at_ms: int = 1_000) -> AsyncEvent:
    return AsyncEvent(f"id-{number}", function, "", "arn:f", b'{"n":\n1}', "Root=1", at_ms)


@pytest.fixture(params=["memory", pytest.param("redis", marks=pytest.mark.redis)])
async def queue(request: pytest.FixtureRequest) -> AsyncIterator[EventQueue]:
    if request.param == "memory":
        yield InMemoryEvents()
        return
    redis = await emptied(request.getfixturevalue("redis_url"))
    yield RedisEvents(redis)
    await redis.close()


async def emptied(url: str) -> EventRedis:
    async with Redis.from_url(url) as client:
        await client.flushdb()
    return EventRedis(url)


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
    await queue.end(event(1), Ending([event(2, OTHER, 4_000)]))
    await queue.end(event(1), Ending([event(3, OTHER, 4_000)]))
    assert list(await queue.recover(5_000)) == [OTHER]
    assert await queue.take(OTHER, 4_000) == event(2, OTHER, 4_000)
    assert await queue.take(OTHER, 4_000) is None
    await queue.put_back(event(1), 1_000)
    assert await queue.next_due_ms(NAME) is None


async def test_under_one_key_the_first_event_is_the_only_one(queue: EventQueue) -> None:
    assert await queue.accept(event(1), 1_000, once="order-7") == "id-1"
    assert await queue.accept(event(2), 1_000, once="order-7") == "id-1"
    assert await queue.accept(event(3, OTHER), 1_000, once="order-7") == "id-3"
    assert await queue.accept(event(4), 1_000, once="order-8") == "id-4"
    assert await queue.accept(event(1), 1_000, once="order-7") == "id-1"
    taken = {one.id for one in [await queue.take(NAME, 9_000) for _ in range(3)] if one is not None}
    assert taken == {"id-1", "id-4"}


async def test_a_key_is_known_after_its_event_is_over(queue: EventQueue) -> None:
    await queue.accept(event(1), 1_000, once="order-7")
    await queue.take(NAME, 1_000)
    await queue.end(event(1), Ending())
    assert await queue.accept(event(2), 1_000, once="order-7") == "id-1"
    assert await queue.take(NAME, 9_000) is None


async def state_of(queue: EventQueue, identity: str) -> State | None:
    found = await queue.find(identity)
    return None if found is None else found.state


async def test_an_invocation_can_be_followed_from_its_acceptance_until_after_its_end(queue: EventQueue) -> None:
    assert await queue.find("id-1") is None
    await queue.accept(event(1), 1_000)
    assert await state_of(queue, "id-1") is State.QUEUED
    await queue.take(NAME, 1_000)
    assert await state_of(queue, "id-1") is State.RUNNING
    failed = replace(event(1), attempts=1, error_type="Boom", error_message="no", last_attempt_ms=1_500)
    await queue.put_back(failed, 5_000)
    told = await queue.find("id-1")
    assert told is not None
    assert (told.state, told.attempts, told.next_ms, told.last_attempt_ms) == (State.RETRYING, 1, 5_000, 1_500)
    assert told.error == {"errorType": "Boom", "errorMessage": "no"}
    await queue.take(NAME, 5_000)
    over = replace(told, state=State.FAILED, ended_ms=6_000, next_ms=None, results=("arn:x",))
    await queue.end(failed, Ending(status=over))
    assert await queue.find("id-1") == over


async def test_what_waits_can_be_cancelled_and_what_runs_or_is_over_cannot(queue: EventQueue) -> None:
    for number in (1, 2):
        await queue.accept(event(number, at_ms=number), number)
    await queue.take(NAME, 1)
    assert await queue.cancel(NAME, "id-1", 10) is Cancellation.RUNNING
    assert await queue.cancel(NAME, "id-2", 10) is Cancellation.CANCELLED
    assert await queue.cancel(NAME, "id-2", 10) is Cancellation.GONE
    assert await queue.cancel(OTHER, "id-1", 10) is Cancellation.GONE
    assert await queue.take(NAME, 9_000) is None
    await queue.put_back(event(2), 1_000)
    assert await queue.next_due_ms(NAME) is None
    told = await queue.find("id-2")
    assert told is not None
    assert (told.state, told.ended_ms, told.next_ms) == (State.CANCELLED, 10, None)


async def test_invocations_are_listed_by_function_and_state_in_pages(queue: EventQueue) -> None:
    for number in range(1, 6):
        await queue.accept(event(number, at_ms=number), number)
    await queue.accept(event(9, OTHER), 1)
    for number in (1, 2):
        taken = await queue.take(NAME, 9_000)
        assert taken is not None
        status = status_of(taken, None)
        state = State.FAILED if number == 1 else State.SUCCEEDED
        await queue.end(taken, Ending(status=replace(status, state=state, ended_ms=100 + number)))
    await queue.take(NAME, 9_000)
    first, more = await queue.page(NAME, None, after=0, limit=2)
    assert ([one.id for one in first], more) == (["id-4", "id-5"], 2)
    rest, more = await queue.page(NAME, None, after=2, limit=9)
    assert ([one.id for one in rest], more) == (["id-3", "id-2", "id-1"], None)
    failed, more = await queue.page(NAME, State.FAILED, after=0, limit=9)
    assert ([one.id for one in failed], more) == (["id-1"], None)
    queued, _ = await queue.page(NAME, State.QUEUED, after=0, limit=9)
    assert [one.id for one in queued] == ["id-4", "id-5"]
    assert await queue.page(FunctionName("nobody"), None, after=0, limit=9) == ([], None)


@pytest.mark.redis
async def test_an_event_that_cannot_be_read_is_set_aside_and_holds_up_nobody(redis_url: str) -> None:
    redis = await emptied(redis_url)
    queue = RedisEvents(redis)
    for number in (1, 2):
        await queue.accept(event(number), number)
    await redis.client.hset("hearth:async:hello:events", "id-1", b"\x00 what?")
    assert [one.id for one in (await queue.page(NAME, None, after=0, limit=9))[0]] == ["id-2"]
    assert await queue.find("id-1") is None
    assert await queue.take(NAME, 9_000) == event(2)
    assert await redis.client.hkeys("hearth:async:hello:events") == [b"id-2"]
    stored = await asked(redis.client.hget("hearth:dead:function/hello:letters", "id-1"))
    letter = decode_letter(stored)
    assert (letter.payload, letter.reason, letter.box) == (b"\x00 what?", "Unreadable", "function/hello")
    await redis.close()


@pytest.mark.redis
async def test_a_server_that_forgot_the_scripts_is_told_them_again(redis_url: str) -> None:
    redis = await emptied(redis_url)
    queue = RedisEvents(redis)
    await queue.accept(event(1), 1_000)
    await queue.take(NAME, 1_000)
    await redis.client.script_flush()
    await queue.accept(event(2), 2_000)
    assert await queue.take(NAME, 2_000) == event(2)
    await redis.close()


@pytest.mark.redis
async def test_what_is_over_is_kept_in_bounds(redis_url: str) -> None:
    redis = await emptied(redis_url)
    queue = RedisEvents(redis, Keeping(letters=2, statuses=2, letter_age_s=100, status_age_s=100))
    for number in range(1, 5):
        await queue.accept(event(number), number)
        await queue.take(NAME, 9_000)
        at_ms = 1_000_000 + number
        status = replace(status_of(event(number), None), state=State.FAILED, ended_ms=at_ms)
        await queue.end(event(number), Ending(letter=Letter(event(number), "x", last_ms=at_ms), status=status))
    assert [one.id for one in (await queue.page(NAME, None, after=0, limit=9))[0]] == ["id-4", "id-3"]
    assert sorted(await redis.client.hkeys("hearth:dead:function/hello:letters")) == [b"id-3", b"id-4"]
    assert 0 < await redis.client.ttl("hearth:async:hello:ended") <= 100
    await redis.close()


@pytest.mark.redis
async def test_events_of_earlier_versions_can_be_read(redis_url: str) -> None:
    redis = await emptied(redis_url)
    record = (
        b'{"id":"id-1","function":"hello","qualifier":"","invoked_arn":"arn:f","trace_id":"Root=1",'
        b'"accepted_ms":1000,"attempts":0,"refusals":0}\n{"n":\n1}'
    )
    await redis.client.hset("hearth:async:hello:events", "id-1", record)
    await redis.client.zadd("hearth:async:hello:due", {"id-1": 1_000})
    await redis.client.sadd("hearth:async:functions", "hello")
    queue = RedisEvents(redis)
    assert list(await queue.recover(1_000)) == [NAME]
    assert await queue.take(NAME, 1_000) == event(1)
    await redis.close()


async def test_a_queue_out_of_reach_says_so() -> None:
    redis = EventRedis("redis://127.0.0.1:1")
    with pytest.raises(EventsUnavailable):
        await RedisEvents(redis).accept(event(1), 1_000)
    with pytest.raises(EventsUnavailable):
        await RedisEvents(redis).take(NAME, 1_000)
    await redis.close()
