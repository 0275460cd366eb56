"""Schedules, their groups, and how far timers came, in Redis: a hash each, a field per record.

Every change is one script, so it happens whole or not at all, and is on disk when it returns where the server can tell.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import cast

import orjson

from hearth.core.errors import ServiceError
from hearth_gateway.adapters.redis_connections import RedisConnection, Script
from hearth_gateway.core.firing import Mark
from hearth_gateway.schedules.ports import TimersUnavailable
from hearth_gateway.sources.ports import QueueUnavailable

MARKS_KEY = "hearth:{timers}:marks"
SCHEDULES_KEY = "hearth:{schedules}:schedules"
GROUPS_KEY = "hearth:{schedules}:groups"
LOAD_TIMEOUT_S = 30.0
AT_ONCE = 1_000
"""Fields of one command; Lua takes no more than a few thousand arguments."""

_PUT = Script("return redis.call('HSET', KEYS[1], unpack(ARGV))")
_DROP = Script("return redis.call('HDEL', KEYS[1], unpack(ARGV))")
_DROP_GROUP = Script("""
for at = 2, #ARGV do redis.call('HDEL', KEYS[2], ARGV[at]) end
return redis.call('HDEL', KEYS[1], ARGV[1])
""")


class RedisMarks:
    """The `Marks` on Redis."""

    def __init__(self, connection: RedisConnection) -> None:
        self._connection = connection

    async def load(self) -> Mapping[str, Mark]:
        try:
            found = await self._connection.ask(
                MARKS_KEY, lambda client: client.hgetall(MARKS_KEY), deadline_s=LOAD_TIMEOUT_S
            )
        except QueueUnavailable as error:
            raise TimersUnavailable(str(error)) from error
        return {timer_id: Mark(*orjson.loads(mark)) for timer_id, mark in _decoded(found).items()}

    async def advance(self, marks: Mapping[str, Mark]) -> None:
        fields: list[str | bytes | int | float] = []
        for timer_id, mark in marks.items():
            fields += (timer_id, orjson.dumps((mark.handled_ms, mark.fired_ms)))
        await self._run(_PUT, fields)

    async def forget(self, timer_ids: Collection[str]) -> None:
        ids = list(timer_ids)
        for start in range(0, len(ids), AT_ONCE):
            await self._run(_DROP, list(ids[start : start + AT_ONCE]))

    async def _run(self, script: Script, arguments: list[str | bytes | int | float]) -> None:
        try:
            await self._connection.run_durably(script, [MARKS_KEY], arguments)
        except QueueUnavailable as error:
            raise TimersUnavailable(str(error)) from error


class RedisSchedules:
    """The `ScheduleStore` on Redis."""

    def __init__(self, connection: RedisConnection) -> None:
        self._connection = connection

    async def load(self) -> tuple[Mapping[str, bytes], Mapping[str, bytes]]:
        return await self._all(GROUPS_KEY), await self._all(SCHEDULES_KEY)

    async def put(self, key: str, record: bytes) -> None:
        await self._run(_PUT, [SCHEDULES_KEY], [key, record])

    async def delete(self, key: str) -> None:
        await self._run(_DROP, [SCHEDULES_KEY], [key])

    async def put_group(self, name: str, record: bytes) -> None:
        await self._run(_PUT, [GROUPS_KEY], [name, record])

    async def delete_group(self, name: str, keys: Sequence[str]) -> None:
        await self._run(_DROP_GROUP, [GROUPS_KEY, SCHEDULES_KEY], [name, *keys])

    async def _all(self, key: str) -> Mapping[str, bytes]:
        try:
            found = await self._connection.ask(key, lambda client: client.hgetall(key), deadline_s=LOAD_TIMEOUT_S)
        except QueueUnavailable as error:
            raise ServiceError(f"The schedules cannot be read: {error}") from error
        return _decoded(found)

    async def _run(self, script: Script, keys: list[str], arguments: list[str | bytes | int | float]) -> None:
        try:
            await self._connection.run_durably(script, keys, arguments)
        except QueueUnavailable as error:
            raise ServiceError(f"The schedule could not be stored: {error}") from error


def _decoded(found: object) -> Mapping[str, bytes]:
    """The client's answer by its true type: it is asked for bytes."""
    return {name.decode(): value for name, value in cast(Mapping[bytes, bytes], found).items()}
