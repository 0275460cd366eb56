"""A client to Hearth's own Redis whose callers bear the deadline, and what the server says of its disk.

redis-py's socket timeout swallows cancellations on Python 3.11, and its retries would repeat what may have happened.
"""

import asyncio
from collections.abc import Awaitable
from typing import Any, cast

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError, ResponseError

CALL_TIMEOUT_S = 5.0
FSYNC_TIMEOUT_MS = 3_000
"""Less than a call's own deadline, so that the server's answer is heard."""
WAIT_FOR_DISK = ("WAITAOF", 1, 0, FSYNC_TIMEOUT_MS)
"""The command behind a write, on the same connection."""
MAX_CONNECTIONS = 16


def own_client(url: str) -> Redis:
    """No retries and no deadline of its own: every call goes through `within_deadline`."""
    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=MAX_CONNECTIONS,
        timeout=CALL_TIMEOUT_S,
        socket_timeout=None,
        socket_connect_timeout=CALL_TIMEOUT_S,
        retry=Retry(NoBackoff(), 0),
    )
    return Redis.from_pool(pool)


async def within_deadline(call: object) -> Any:
    """The answer of a command. Raises RedisError or OSError, of which TimeoutError is one."""
    async with asyncio.timeout(CALL_TIMEOUT_S):
        return await cast(Awaitable[Any], call)


def raise_if_not_synced(synced: object) -> None:
    """`synced` is the answer to `WAIT_FOR_DISK`, or its error. Raises TimeoutError, or the error.

    A server without WAITAOF or without an append-only file answers with an error: memory is all there is."""
    if isinstance(synced, ResponseError):
        return
    if isinstance(synced, RedisError):
        raise synced
    if cast(Any, synced)[0] < 1:
        raise TimeoutError("the server did not reach its disk in time")
