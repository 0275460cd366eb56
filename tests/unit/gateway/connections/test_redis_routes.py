"""How servers are found: learnt once, doubted when something is wrong, and nobody dead stands in the way for long."""

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest
from redis.crc import key_slot
from redis.exceptions import ConnectionError as RedisConnectionError
from tests.unit.gateway.sources.stage import in_virtual_time

from hearth.core.connection_url import ClusterRedis, HostPort, SentinelRedis
from hearth_gateway.adapters.redis_routes import ENQUIRY_TIMEOUT_S, ClusterRoute, SentinelRoute

A, B, C, D, E = (HostPort(name, 1) for name in "abcde")


class Answers:
    """What servers answer; those without an answer keep whoever asks waiting."""

    def __init__(self, known: Mapping[HostPort, Any]) -> None:
        self.known = dict(known)
        self.asked: list[HostPort] = []

    async def ask(self, place: HostPort, question: tuple[str, ...]) -> Any:
        self.asked.append(place)
        if place not in self.known:
            await asyncio.sleep(ENQUIRY_TIMEOUT_S)
        return self.known.get(place)


def sentinel(answers: Answers) -> SentinelRoute:
    return SentinelRoute(SentinelRedis((A, B, C, D), "main"), answers.ask)


def cluster(answers: Answers) -> ClusterRoute:
    return ClusterRoute(ClusterRedis((A, B)), answers.ask)


def slots(*nodes: tuple[str, int]) -> list[list[Any]]:
    """A map of two halves."""
    halves = ((0, 8_191), (8_192, 16_383))
    return [
        [first, last, [host.encode(), port, b"id"]] for (first, last), (host, port) in zip(halves, nodes, strict=True)
    ]


@in_virtual_time
async def test_a_master_is_asked_for_once_and_again_after_a_doubt() -> None:
    answers = Answers({A: [b"m1", b"7"]})
    route = sentinel(answers)
    assert [await route.place("x"), await route.place("y")] == [HostPort("m1", 7)] * 2
    assert answers.asked == [A]
    answers.known[A] = [b"m2", b"8"]
    route.doubt()
    assert await route.place("x") == HostPort("m2", 8)


@in_virtual_time
async def test_sentinels_that_do_not_answer_are_asked_last_so_that_deadlines_end_in_progress() -> None:
    answers = Answers({D: [b"m", b"7"]})
    route = sentinel(answers)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(2.5 * ENQUIRY_TIMEOUT_S):
            await route.place("x")
    async with asyncio.timeout(2.5 * ENQUIRY_TIMEOUT_S):
        assert await route.place("x") == HostPort("m", 7)
    route.doubt()
    answers.asked.clear()
    assert await route.place("x") == HostPort("m", 7)
    assert answers.asked == [D]


@in_virtual_time
async def test_a_service_that_nobody_knows_is_said_to_be_unknown() -> None:
    with pytest.raises(RedisConnectionError, match="no sentinel of 4 knows a master of 'main'"):
        await sentinel(Answers(dict.fromkeys((A, B, C, D)))).place("x")


@in_virtual_time
async def test_keys_are_where_their_slots_are() -> None:
    answers = Answers({A: slots(("n1", 1), ("", 2))})
    route = cluster(answers)
    places = {await route.place(f"key-{number}") for number in range(50)}
    assert places == {HostPort("n1", 1), HostPort("a", 2)}  # one without a name is where it was asked
    assert await route.place("{tag}one") == await route.place("{tag}two")
    assert answers.asked == [A]


@in_virtual_time
async def test_nodes_that_were_learnt_are_asked_when_the_configured_ones_are_gone() -> None:
    answers = Answers({A: slots(("c", 1), ("d", 1))})
    route = cluster(answers)
    await route.place("x")
    answers.known = {C: slots(("c", 1), ("e", 1))}
    route.doubt()
    places = {await route.place(f"key-{number}") for number in range(50)}
    assert places == {C, E}


@in_virtual_time
async def test_a_map_with_holes_is_asked_for_again() -> None:
    whole = slots(("c", 1), ("d", 1))
    answers = Answers({A: whole[:1]})
    route = cluster(answers)
    missing = next(f"key-{n}" for n in range(100) if _half(f"key-{n}"))
    with pytest.raises(RedisConnectionError, match="slot of the key"):
        await route.place(missing)
    answers.known[A] = whole
    assert await route.place(missing) == D


def _half(key: str) -> bool:
    """Whether the key is in the upper half."""
    return key_slot(key.encode()) > 8_191
