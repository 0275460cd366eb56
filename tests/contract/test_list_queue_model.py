"""Random histories of a list queue: the double and the real one keep every message in exactly one place."""

from collections.abc import Awaitable
from typing import Any, cast

import orjson
import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test
from redis.asyncio import Redis
from tests.contract.test_list_queue import FakeBench, RedisBench
from tests.unit.gateway.queue.queue_machine import OWNERS, Place, QueueMachine

from hearth_gateway.adapters.redis_list import stem_of

Seen = list[tuple[bytes, Place, int]]


def dead_letters(records: list[bytes]) -> Seen:
    return [(orjson.loads(record)["payload"].encode(), ("dead", ""), 0) for record in records]


class VisibleFake(FakeBench):
    def __init__(self) -> None:
        super().__init__(producer="RPUSH")

    async def places(self) -> Seen:
        shared = self.shared
        seen: Seen = [(body, ("source", ""), 0) for body in shared.source]
        seen += dead_letters(shared.dead)
        for name, owner in shared.owners.items():
            whose = name.partition("/")[2]
            seen += [(body, ("taken", whose), 0) for body in owner.taken]
            held = [shared.messages[one] for one in owner.leases if one in shared.messages]
            seen += [(message.body, ("leased", whose), message.attempts) for message in held]
        waiting = [shared.messages[one] for one in shared.retries]
        return seen + [(message.body, ("retry", ""), message.attempts) for message in waiting]

    async def close(self) -> None: ...


class VisibleRedis(RedisBench):
    def __init__(self, url: str) -> None:
        super().__init__(url, Redis.from_url(url), "RPUSH")

    async def places(self) -> Seen:
        async with self.client.pipeline() as pipe:  # one moment
            stem = stem_of(self.key)
            pipe.lrange(self.key, 0, -1)
            pipe.lrange(f"{self.key}-dead", 0, -1)
            pipe.hgetall(f"{stem}:messages")
            pipe.zrange(f"{stem}:retry", 0, -1)
            for owner in OWNERS:
                pipe.lrange(f"{stem}:taken:run-1/{owner}", 0, -1)
                pipe.smembers(f"{stem}:leases:run-1/{owner}")
            source, dead, messages, retries, *owned = await cast(Awaitable[list[Any]], pipe.execute())
        envelopes = {one: message.split(b" ", 2) for one, message in messages.items()}
        seen: Seen = [(body, ("source", ""), 0) for body in source] + dead_letters(dead)
        seen += [(envelopes[one][2], ("retry", ""), int(envelopes[one][0])) for one in retries]
        for owner, taken, leases in zip(OWNERS, owned[::2], owned[1::2], strict=True):
            seen += [(body, ("taken", owner), 0) for body in taken]
            held = [envelopes[one] for one in leases if one in envelopes]
            seen += [(body, ("leased", owner), int(count)) for count, _, body in held]
        return seen


def test_every_history_of_the_double_keeps_every_message() -> None:
    class OnTheDouble(QueueMachine):
        def __init__(self) -> None:
            super().__init__(VisibleFake)

    run_state_machine_as_test(
        OnTheDouble,
        settings=settings(max_examples=100, stateful_step_count=40, deadline=None),
    )


@pytest.mark.redis
def test_every_history_of_redis_keeps_every_message(redis_url: str) -> None:
    class OnRedis(QueueMachine):
        def __init__(self) -> None:
            super().__init__(lambda: VisibleRedis(redis_url))

    run_state_machine_as_test(
        OnRedis,
        settings=settings(
            max_examples=60, stateful_step_count=30, deadline=None, suppress_health_check=[HealthCheck.too_slow]
        ),
    )
