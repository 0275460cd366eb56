"""What FIFO topics remember of their messages, in memory and in Redis alike."""

import uuid
from collections.abc import AsyncIterator

import pytest

from hearth_gateway.adapters.redis_deduplication import RedisDeduplication
from hearth_gateway.topics.ports import Deduplication
from hearth_gateway.topics.testing import InMemoryDeduplication


@pytest.fixture(params=["in memory", pytest.param("redis", marks=pytest.mark.redis)])
async def memory(request: pytest.FixtureRequest) -> AsyncIterator[Deduplication]:
    if request.param == "in memory":
        yield InMemoryDeduplication(lambda: 0)
        return
    on_redis = RedisDeduplication(request.getfixturevalue("redis_url"))
    yield on_redis
    await on_redis.close()


@pytest.fixture
def topic() -> str:
    return f"{uuid.uuid4()}.fifo"


async def test_messages_are_numbered_from_one(memory: Deduplication, topic: str) -> None:
    first, second = await memory.claim(topic, "a", "m1"), await memory.claim(topic, "b", "m2")
    assert [(one.message_id, one.sequence, one.is_new) for one in (first, second)] == [("m1", 1, True), ("m2", 2, True)]


async def test_a_message_that_is_not_finished_goes_out_again_under_its_first_id(
    memory: Deduplication, topic: str
) -> None:
    first = await memory.claim(topic, "a", "m1")
    assert await memory.claim(topic, "a", "m2") == first


async def test_a_message_that_is_finished_does_not_go_out_again(memory: Deduplication, topic: str) -> None:
    await memory.claim(topic, "a", "m1")
    await memory.finish(topic, "a")
    again = await memory.claim(topic, "a", "m2")
    assert (again.message_id, again.sequence, again.is_new) == ("m1", 1, False)


async def test_topics_do_not_know_of_each_other(memory: Deduplication, topic: str) -> None:
    await memory.claim(topic, "a", "m1")
    other = await memory.claim(f"other-{topic}", "a", "m2")
    assert (other.message_id, other.sequence) == ("m2", 1)


async def test_after_the_interval_a_message_is_a_new_one() -> None:
    now = 0
    memory = InMemoryDeduplication(lambda: now)
    await memory.claim("t", "a", "m1")
    await memory.finish("t", "a")
    now = 300_000
    assert (await memory.claim("t", "a", "m2")).is_new


@pytest.mark.redis
async def test_redis_forgets_by_itself(redis_url: str, topic: str) -> None:
    memory = RedisDeduplication(redis_url, window_ms=1)
    await memory.claim(topic, "a", "m1")
    await memory.finish(topic, "a")
    while not (again := await memory.claim(topic, "a", "m2")).is_new:
        pass  # one millisecond
    assert again.message_id == "m2"
    await memory.close()
