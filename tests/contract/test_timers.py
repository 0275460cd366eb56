"""The contracts of the marks of timers and of the store of schedules, held by those in memory and those on Redis."""

from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from hearth.core.errors import ServiceError
from hearth_gateway.adapters.redis_connections import RedisConnections
from hearth_gateway.adapters.redis_schedules import RedisMarks, RedisSchedules
from hearth_gateway.core.firing import Mark
from hearth_gateway.schedules.ports import Marks, ScheduleStore, TimersUnavailable
from hearth_gateway.schedules.testing import InMemoryMarks, InMemorySchedules

NOWHERE = "redis://127.0.0.1:1"


@pytest.fixture(params=["memory", pytest.param("redis", marks=pytest.mark.redis)])
async def connections(request: pytest.FixtureRequest) -> AsyncIterator[RedisConnections | None]:
    """None stands for memory."""
    if request.param == "memory":
        yield None
        return
    url: str = request.getfixturevalue("redis_url")
    async with Redis.from_url(url) as client:
        await client.flushdb()
    async with RedisConnections.fixed(url) as opened:
        yield opened


@pytest.fixture
def marks(connections: RedisConnections | None) -> Marks:
    return InMemoryMarks() if connections is None else RedisMarks(connections.connection())


@pytest.fixture
def store(connections: RedisConnections | None) -> ScheduleStore:
    return InMemorySchedules() if connections is None else RedisSchedules(connections.connection())


async def test_a_mark_is_found_as_it_was_left_and_replaced_by_the_next(marks: Marks) -> None:
    assert await marks.load() == {}
    await marks.advance({"arn:a": Mark(1_000), "arn:b": Mark(2_000, 1_500)})
    await marks.advance({"arn:a": Mark(3_000, 3_000)})
    assert await marks.load() == {"arn:a": Mark(3_000, 3_000), "arn:b": Mark(2_000, 1_500)}


async def test_marks_are_forgotten_known_or_not(marks: Marks) -> None:
    await marks.advance({"arn:a": Mark(1_000), "arn:b": Mark(2_000)})
    await marks.forget(["arn:a", "arn:never"])
    await marks.forget([])
    assert await marks.load() == {"arn:b": Mark(2_000)}


async def test_many_marks_go_in_one_step_and_out_again(marks: Marks) -> None:
    many = {f"arn:{number}": Mark(number, number) for number in range(1_200)}
    names = list(many)
    for start in range(0, len(names), 100):
        await marks.advance({name: many[name] for name in names[start : start + 100]})
    assert await marks.load() == many
    await marks.forget(names)
    assert await marks.load() == {}


async def test_schedules_and_groups_are_kept_by_their_names(store: ScheduleStore) -> None:
    assert await store.load() == ({}, {})
    await store.put_group("nightly", b"{}")
    await store.put("nightly/one", b'{"n": 1}')
    await store.put("nightly/one", b'{"n": 2}')
    await store.put("default/two", b"2")
    assert await store.load() == ({"nightly": b"{}"}, {"nightly/one": b'{"n": 2}', "default/two": b"2"})
    await store.delete("default/two")
    await store.delete("default/never")
    assert (await store.load())[1] == {"nightly/one": b'{"n": 2}'}


async def test_a_group_goes_with_its_schedules(store: ScheduleStore) -> None:
    for name in ("nightly", "empty"):
        await store.put_group(name, b"{}")
    for key in ("nightly/one", "nightly/two", "default/three"):
        await store.put(key, b"{}")
    await store.delete_group("nightly", ["nightly/one", "nightly/two"])
    await store.delete_group("empty", [])
    assert await store.load() == ({}, {"default/three": b"{}"})


async def test_a_server_that_is_away_is_said_to_be() -> None:
    async with RedisConnections.fixed(NOWHERE) as connections:
        marks, store = RedisMarks(connections.connection()), RedisSchedules(connections.connection())
        with pytest.raises(TimersUnavailable):
            await marks.load()
        with pytest.raises(TimersUnavailable):
            await marks.advance({"arn:a": Mark(1)})
        with pytest.raises(ServiceError):
            await store.load()
        with pytest.raises(ServiceError):
            await store.put("default/one", b"{}")
