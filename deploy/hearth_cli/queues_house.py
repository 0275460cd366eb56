"""Composes the queues of Hearth's own Redis."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from hearth_gateway.adapters.redis_connections import RedisConnections
from hearth_gateway.adapters.redis_queue_book import RedisQueueBook
from hearth_gateway.adapters.redis_queues import RedisQueueStore
from hearth_gateway.core.authorization import Place
from hearth_gateway.queues.ports import QueueBook, QueueStore
from hearth_gateway.sources.ports import Clock


@dataclass(frozen=True, slots=True)
class OwnQueues:
    """Which queues there are, and their messages."""

    book: QueueBook
    store: QueueStore


@asynccontextmanager
async def own_queues(connections: RedisConnections, clock: Clock, place: Place) -> AsyncIterator[OwnQueues]:
    """Open while the `with` lasts."""
    connection = connections.connection()
    prefix = f"arn:aws:sqs:{place.region}:{place.account}:"
    async with RedisQueueStore(connection, clock, arn_prefix=prefix) as store:
        yield OwnQueues(RedisQueueBook(connection, clock), store)
