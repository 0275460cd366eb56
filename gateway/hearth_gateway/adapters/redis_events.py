"""Asynchronous events in Redis.

A hash holds the events of a function by id, a sorted set their ids by due time; a taken one has the score TAKEN. A set
holds the functions that may have events. Every transition is one script, so it happens whole or not at all.
"""

import asyncio
from collections.abc import Awaitable, Collection, Sequence
from typing import Any, cast

import orjson
from pydantic import BaseModel, ValidationError
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError, ResponseError

from hearth.core.function import FunctionName
from hearth_gateway.asynchronous.ports import DeliveryRefused, EventsUnavailable, Push
from hearth_gateway.core.async_event import AsyncEvent

STEM = "hearth:async"
FUNCTIONS_KEY = f"{STEM}:functions"
TAKEN = 9_007_199_254_740_991
"""2^53 - 1, the greatest whole number that a score holds exactly: later than every due time."""
CALL_TIMEOUT_S = 5.0
FSYNC_TIMEOUT_MS = 3_000
MAX_CONNECTIONS = 16

_KEEP = """
local function keep(functions, name, id, record, due)
  local stem = KEYS[1] .. ':' .. name
  if redis.call('HSETNX', stem .. ':events', id, record) == 1 then
    redis.call('SADD', functions, name)
    redis.call('ZADD', stem .. ':due', due, id)
  end
end
"""
_ACCEPT = _KEEP + "keep(KEYS[2], ARGV[1], ARGV[2], ARGV[3], ARGV[4]) return 1"
_TAKE = """
local stem = KEYS[1] .. ':' .. ARGV[1]
local id = redis.call('ZRANGEBYSCORE', stem .. ':due', '-inf', ARGV[2], 'LIMIT', 0, 1)[1]
if not id then return false end
redis.call('ZADD', stem .. ':due', ARGV[3], id)
local record = redis.call('HGET', stem .. ':events', id)
if not record then redis.call('ZREM', stem .. ':due', id) end
return record
"""
_PUT_BACK = """
local stem = KEYS[1] .. ':' .. ARGV[1]
if redis.call('HEXISTS', stem .. ':events', ARGV[2]) == 0 then return 0 end
redis.call('HSET', stem .. ':events', ARGV[2], ARGV[3])
redis.call('ZADD', stem .. ':due', ARGV[4], ARGV[2])
return 1
"""
_END = (
    _KEEP
    + """
local stem = KEYS[1] .. ':' .. ARGV[1]
if redis.call('HEXISTS', stem .. ':events', ARGV[2]) == 0 then return 0 end
local at, pushes = 4, tonumber(ARGV[3])
for _ = 1, pushes do
  redis.call('RPUSH', ARGV[at], ARGV[at + 1])
  at = at + 2
end
while ARGV[at] do
  keep(KEYS[2], ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3])
  at = at + 4
end
redis.call('HDEL', stem .. ':events', ARGV[2])
redis.call('ZREM', stem .. ':due', ARGV[2])
if redis.call('ZCARD', stem .. ':due') == 0 then redis.call('SREM', KEYS[2], ARGV[1]) end
return 1
"""
)
_RESTORE = """
local due, keep = KEYS[1] .. ':' .. ARGV[1] .. ':due', {}
for at = 4, #ARGV do keep[ARGV[at]] = true end
for _, id in ipairs(redis.call('ZRANGEBYSCORE', due, ARGV[3], '+inf')) do
  if not keep[id] then redis.call('ZADD', due, ARGV[2], id) end
end
return 1
"""
_RECOVER = """
for _, name in ipairs(redis.call('SMEMBERS', KEYS[2])) do
  local due = KEYS[1] .. ':' .. name .. ':due'
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', due, ARGV[2], '+inf')) do
    redis.call('ZADD', due, ARGV[1], id)
  end
end
return redis.call('SMEMBERS', KEYS[2])
"""


class _Head(BaseModel):
    """An event without its payload."""

    id: str
    function: str
    qualifier: str
    invoked_arn: str
    trace_id: str
    accepted_ms: int
    attempts: int = 0
    refusals: int = 0


class RedisEvents:
    """The `EventQueue` on Redis."""

    def __init__(self, url: str) -> None:
        # Every call has its deadline around it here; the client's own would swallow cancellations on Python 3.11.
        pool = BlockingConnectionPool.from_url(
            url,
            max_connections=MAX_CONNECTIONS,
            timeout=CALL_TIMEOUT_S,
            socket_timeout=None,
            socket_connect_timeout=CALL_TIMEOUT_S,
            retry=Retry(NoBackoff(), 0),
        )
        self._client = Redis.from_pool(pool)

    async def close(self) -> None:
        await self._client.aclose()

    async def recover(self, now_ms: int) -> Sequence[FunctionName]:
        names = await self._run(_RECOVER, now_ms, TAKEN)
        return [FunctionName(name.decode()) for name in names]

    async def restore(self, function: FunctionName, keep: Collection[str], now_ms: int) -> None:
        await self._run(_RESTORE, function, now_ms, TAKEN, *keep)

    async def accept(self, event: AsyncEvent, due_ms: int) -> None:
        arguments = (event.function, event.id, encode(event), due_ms)
        async with self._client.pipeline(transaction=False) as pipe:
            pipe.eval(_ACCEPT, 2, STEM, FUNCTIONS_KEY, *arguments)
            pipe.execute_command("WAITAOF", 1, 0, FSYNC_TIMEOUT_MS)
            kept, synced = await _asked(pipe.execute(raise_on_error=False))
        if isinstance(kept, RedisError):
            raise EventsUnavailable(str(kept)) from kept
        if isinstance(synced, ResponseError):
            return  # a server without WAITAOF or without an append-only file: memory is all there is
        if isinstance(synced, RedisError) or synced[0] < 1:
            raise EventsUnavailable("the server did not reach its disk in time")

    async def next_due_ms(self, function: FunctionName) -> int | None:
        found = await _asked(self._client.zrange(f"{STEM}:{function}:due", 0, 0, withscores=True))
        due = int(found[0][1]) if found else TAKEN
        return None if due == TAKEN else due

    async def take(self, function: FunctionName, now_ms: int) -> AsyncEvent | None:
        record = await self._run(_TAKE, function, now_ms, TAKEN)
        return None if record is None else decode(record)

    async def put_back(self, event: AsyncEvent, due_ms: int) -> None:
        await self._run(_PUT_BACK, event.function, event.id, encode(event), due_ms)

    async def end(self, event: AsyncEvent, pushes: Sequence[Push], follow_ups: Sequence[AsyncEvent]) -> None:
        arguments: list[str | bytes | int] = [event.function, event.id, len(pushes)]
        for push in pushes:
            arguments += (push.key, push.body)
        for follow_up in follow_ups:
            arguments += (follow_up.function, follow_up.id, encode(follow_up), follow_up.accepted_ms)
        try:
            await self._run(_END, *arguments)
        except EventsUnavailable as error:
            if "WRONGTYPE" in str(error):
                raise DeliveryRefused(str(error)) from error
            raise

    async def _run(self, script: str, *arguments: str | bytes | int) -> Any:
        return await _asked(self._client.eval(script, 2, STEM, FUNCTIONS_KEY, *cast(Any, arguments)))


def encode(event: AsyncEvent) -> bytes:
    """A line of JSON, then the payload as it came."""
    head = {name: getattr(event, name) for name in _Head.model_fields}
    return orjson.dumps(head) + b"\n" + event.payload


def decode(record: bytes) -> AsyncEvent:
    """The event of a stored record."""
    line, _, payload = record.partition(b"\n")
    try:
        head = _Head.model_validate_json(line)
    except ValidationError as error:
        raise EventsUnavailable(f"an event cannot be read: {error}") from error
    values = head.model_dump()
    return AsyncEvent(payload=payload, **{**values, "function": FunctionName(head.function)})


async def _asked(call: object) -> Any:
    try:
        async with asyncio.timeout(CALL_TIMEOUT_S):
            return await cast(Awaitable[Any], call)
    except (RedisError, OSError) as error:  # TimeoutError is an OSError
        raise EventsUnavailable(f"{type(error).__name__}: {error}") from error
