"""Random histories of events and parcels, in memory and on Redis side by side: the fake is what the real one is."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis

from hearth.core.function import FunctionName
from hearth_gateway.adapters.redis_events import RedisDeliveries, RedisEvents
from hearth_gateway.adapters.redis_events_shelf import EventRedis
from hearth_gateway.asynchronous.ports import DeliveryQueue, Ending, EventQueue
from hearth_gateway.asynchronous.testing import InMemoryDeliveries, InMemoryEvents
from hearth_gateway.core.async_event import AsyncEvent
from hearth_gateway.core.invocation_status import State, status_of
from hearth_gateway.core.parcel import Parcel

pytestmark = pytest.mark.redis
NAMES = (FunctionName("f"), FunctionName("g"))
TARGETS = ("arn:aws:sqs:us-east-1:000000000000:q.fifo", "https://example.org/")

Step = tuple[str, int, int]
"""What is done, to which thing, and when or to whom."""

WHAT = (
    *("accept", "once", "take", "put_back", "end", "follow", "cancel", "find", "page", "recover", "restore"),
    *("post", "peek", "take_parcel", "again", "deliver", "recover_parcels"),
)
STEPS = st.lists(st.tuples(st.sampled_from(WHAT), st.integers(0, 5), st.integers(0, 3)), max_size=40)


def event(number: int) -> AsyncEvent:
    return AsyncEvent(f"e-{number}", NAMES[number % 2], "", "arn:f", b"{}", "", number + 1)


def parcel(number: int) -> Parcel:
    return Parcel(f"p-{number}", TARGETS[number % 2], b"{}", number + 1)


@dataclass(frozen=True)
class Pair:
    """The two queues of one store, and what can be done with them."""

    events: EventQueue
    parcels: DeliveryQueue

    async def done(self, step: Step) -> Any:
        """What a step answers."""
        what, number, more = step
        one, other, now_ms = event(number), parcel(number), 2 * more + 1
        status = replace(status_of(one, None), state=State.FAILED, ended_ms=100 * now_ms + number)
        state = (None, State.QUEUED, State.FAILED, State.RUNNING)[more]
        events, parcels = self.events, self.parcels
        steps: dict[str, Callable[[], Awaitable[Any]]] = {
            "accept": lambda: events.accept(one, one.accepted_ms),
            "once": lambda: events.accept(one, one.accepted_ms, once=f"key-{more}"),
            "take": lambda: events.take(one.function, now_ms),
            "put_back": lambda: events.put_back(replace(one, attempts=more), now_ms),
            "end": lambda: events.end(one, Ending(status=status)),
            "follow": lambda: events.end(one, Ending([parcel(more), event(5 - more)], status=status)),
            "cancel": lambda: events.cancel(one.function, one.id, now_ms),
            "find": lambda: events.find(one.id),
            "page": lambda: events.page(one.function, state, after=number, limit=3),
            "recover": lambda: events.recover(now_ms),
            "recover_parcels": lambda: parcels.recover(now_ms),
            "restore": lambda: events.restore(one.function, {f"e-{more}"}, now_ms),
            "post": lambda: parcels.post([other, parcel(more), event(more)]),
            "peek": lambda: parcels.take(TARGETS[0], now_ms, stays=True),
            "take_parcel": lambda: parcels.take(TARGETS[1], now_ms),
            "again": lambda: parcels.put_back(replace(other, attempts=more), now_ms if number % 2 else None),
            "deliver": lambda: parcels.end(other, Ending()),
        }
        answer = await steps[what]()
        return sorted(answer) if what.startswith("recover") else answer


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
@example(steps=[("post", 0, 2), ("follow", 2, 3)])
def test_both_tell_the_same_story(redis_url: str, steps: list[Step]) -> None:
    async def scenario() -> None:
        async with Redis.from_url(redis_url) as client:
            await client.flushdb()
        fake = InMemoryDeliveries()
        told = Pair(InMemoryEvents(fake.memory), fake)
        redis = EventRedis(redis_url)
        real = Pair(RedisEvents(redis), RedisDeliveries(redis))
        try:
            for step in steps:
                assert await real.done(step) == await told.done(step), step
            for name in NAMES:
                assert await real.events.next_due_ms(name) == await told.events.next_due_ms(name)
            for target in TARGETS:
                assert await real.parcels.next_due_ms(target) == await told.parcels.next_due_ms(target)
        finally:
            await redis.close()

    asyncio.run(scenario())
