"""Keys of Redis that are no lists are no queues: a queue's name can be that of anything."""

from uuid import uuid4

import pytest
from redis.asyncio import Redis

from hearth_gateway.adapters.redis_connections import RedisConnections
from hearth_gateway.adapters.redis_queue_book import RedisQueueBook
from hearth_gateway.sources.ports import SystemClock

pytestmark = pytest.mark.redis


async def test_a_stream_or_a_hash_of_that_name_is_not_taken_for_a_queue(redis_url: str) -> None:
    stream, table, jobs = (f"{kind}-{uuid4().hex}" for kind in ("stream", "table", "jobs"))
    async with RedisConnections.fixed(redis_url) as connections, Redis.from_url(redis_url) as client:
        book = RedisQueueBook(connections.connection(), SystemClock())
        await client.xadd(stream, {"a": "b"})
        await client.hset(table, "a", "b")
        await client.rpush(jobs, "a")
        assert await book.find(stream) is None
        assert await book.find(table) is None
        assert await book.find(jobs) is not None
