"""Asks a Redis what it is: whether it answers, its version and role, and what it keeps when it dies."""

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any, cast

from redis.asyncio import Redis
from redis.exceptions import ResponseError

from hearth_gateway.adapters.redis_connections import RedisConnection
from hearth_gateway.core.durability import ServerFacts, facts_of

_SETTINGS = ("appendonly", "appendfsync", "save", "maxmemory", "maxmemory-policy")


async def check_redis(connection: RedisConnection) -> ServerFacts:
    """What the server says of itself; of a cluster it is the node of the first slot. Raises QueueUnavailable."""

    async def call(client: Redis) -> ServerFacts:
        await cast(Awaitable[Any], client.ping())
        info = await _or_nothing(client.info)
        settings: dict[str, str] = {}
        for name in _SETTINGS:  # one by one: only Redis 7 takes several names
            settings |= await _or_nothing(partial(client.config_get, name))
        return facts_of(info, settings)

    return await connection.ask("", call)


async def _or_nothing(call: Callable[[], Any]) -> Mapping[str, str]:
    """The answer as texts; empty if the server does not allow the question."""
    try:
        answer = await call()
    except ResponseError:
        return {}
    return {_text(name): _text(value) for name, value in answer.items()}


def _text(value: object) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
