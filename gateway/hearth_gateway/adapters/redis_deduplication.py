"""What FIFO topics remember, in Redis: a hash per claim that ends by itself, and a counter per topic.

Claim and number are one script; the keys of a topic share a hash slot.
"""

from typing import Any

from redis.exceptions import RedisError

from hearth.core.errors import ServiceError
from hearth_gateway.adapters.redis_client import WAIT_FOR_DISK, own_client, raise_if_not_synced, within_deadline
from hearth_gateway.topics.ports import Claim

WINDOW_MS = 300_000
"""AWS's deduplication interval."""

_CLAIM = """
local known = redis.call('HMGET', KEYS[1], 'message', 'sequence', 'done')
if known[1] then return known end
local sequence = redis.call('INCR', KEYS[2])
redis.call('HSET', KEYS[1], 'message', ARGV[1], 'sequence', sequence)
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return {ARGV[1], tostring(sequence), false}
"""
_FINISH = """
if redis.call('EXISTS', KEYS[1]) == 1 then redis.call('HSET', KEYS[1], 'done', '1') end
return 1
"""


class RedisDeduplication:
    """The `Deduplication` on Redis. `space` keeps what different parts remember apart."""

    def __init__(self, url: str, window_ms: int = WINDOW_MS, *, space: str = "sns") -> None:
        self._client = own_client(url)
        self._window_ms = window_ms
        self._space = space

    async def close(self) -> None:
        await self._client.aclose()

    async def claim(self, topic: str, key: str, message_id: str) -> Claim:
        async with self._client.pipeline(transaction=False) as pipe:
            pipe.eval(_CLAIM, 2, self._claim(topic, key), self._counter(topic), message_id, str(self._window_ms))
            pipe.execute_command(*WAIT_FOR_DISK)
            found, synced = await _asked(pipe.execute(raise_on_error=False))
        if isinstance(found, RedisError):
            raise ServiceError(f"The store refused: {found}") from found
        try:
            raise_if_not_synced(synced)
        except (RedisError, TimeoutError) as error:
            raise ServiceError("The store did not reach its disk in time.") from error
        message, sequence, done = found
        return Claim(message.decode(), int(sequence), is_new=done is None)

    async def finish(self, topic: str, key: str) -> None:
        await _asked(self._client.eval(_FINISH, 1, self._claim(topic, key)))

    def _claim(self, topic: str, key: str) -> str:
        return f"hearth:{{{self._space}:{topic}}}:claim:{key}"

    def _counter(self, topic: str) -> str:
        return f"hearth:{{{self._space}:{topic}}}:sequence"


async def _asked(call: object) -> Any:
    try:
        return await within_deadline(call)
    except (RedisError, OSError) as error:
        raise ServiceError(f"The store is not available: {type(error).__name__}: {error}") from error
