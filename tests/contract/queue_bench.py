"""Queues to be tested: in memory and in Redis, beside a clock that stands still until it is told to go."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Protocol

import orjson
import pytest
from redis.asyncio import Redis

from hearth_gateway.adapters.redis_connections import RedisConnections
from hearth_gateway.adapters.redis_queue_book import RedisQueueBook
from hearth_gateway.adapters.redis_queues import RedisQueueStore
from hearth_gateway.queues.ports import Outgoing, Queue, QueueBook, QueueStore, Received, Wanted
from hearth_gateway.queues.testing import ARN_PREFIX, MemoryQueueBook, MemoryQueueStore

NOW = 1_700_000_000_000
LONG_S = 600.0
KINDS = ["memory", pytest.param("redis", marks=pytest.mark.redis)]
"""For a fixture that gives what `bench_of` opens."""


class StandingClock:
    """Time that passes when it is told to; waits are real, and short."""

    def __init__(self) -> None:
        self.ms = NOW

    def now_ms(self) -> int:
        return self.ms

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()

    async def pause(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class Bench(Protocol):
    """Queues of this test alone."""

    clock: StandingClock
    store: QueueStore
    book: QueueBook

    def name(self, base: str) -> str:
        """A name that no other test uses."""
        ...

    async def push(self, name: str, *elements: bytes) -> None:
        """What any producer does."""
        ...

    async def restart(self) -> None:
        """Whoever holds the store ends, and another opens it."""
        ...


class MemoryBench:
    def __init__(self) -> None:
        self.clock = StandingClock()
        self.book: QueueBook = MemoryQueueBook()
        self._memory = MemoryQueueStore(self.clock, self.book)
        self.store: QueueStore = self._memory

    def name(self, base: str) -> str:
        return base

    async def push(self, name: str, *elements: bytes) -> None:
        self._memory.push(name, *elements)

    async def restart(self) -> None:
        """Memory has no life beyond its holder."""


@dataclass
class RedisBench:
    url: str
    client: Redis
    clock: StandingClock
    stack: AsyncExitStack
    suffix: str = field(default_factory=lambda: uuid.uuid4().hex)

    async def restart(self) -> None:
        await self.stack.aclose()
        connection = (await self.stack.enter_async_context(RedisConnections.fixed(self.url))).connection()
        opening = RedisQueueStore(connection, self.clock, arn_prefix=ARN_PREFIX)
        self.store: QueueStore = await self.stack.enter_async_context(opening)
        self.book: QueueBook = RedisQueueBook(connection, self.clock)

    def name(self, base: str) -> str:
        stem, dot, end = base.partition(".")
        return f"{stem}-{self.suffix}{dot}{end}"

    async def push(self, name: str, *elements: bytes) -> None:
        await self.client.rpush(name, *elements)


@asynccontextmanager
async def redis_bench(url: str) -> AsyncIterator[RedisBench]:
    async with AsyncExitStack() as stack:
        bench = RedisBench(url, Redis.from_url(url), StandingClock(), stack)
        await bench.restart()
        yield bench
        await bench.client.aclose()


def outgoing(
    body: bytes, own_id: str = "", *, group: str = "", dedup: str = "", delay_ms: int | None = None
) -> Outgoing:
    message_id = own_id or str(uuid.uuid4())
    return Outgoing(message_id, body, group_id=group, deduplication_id=dedup, delay_ms=delay_ms, sender="me")


@asynccontextmanager
async def bench_of(request: pytest.FixtureRequest) -> AsyncIterator[Bench]:
    """The bench of the kind that is this fixture's parameter."""
    if request.param == "memory":
        yield MemoryBench()
        return
    async with redis_bench(request.getfixturevalue("redis_url")) as real:
        yield real


async def receive(bench: Bench, name: str, limit: int = 10, *, visibility_s: int | None = 30) -> list[Received]:
    return list(await bench.store.receive(name, Wanted(limit, visibility_s)))


def bodies(messages: Sequence[Received]) -> list[bytes]:
    return [message.body for message in messages]


async def create(bench: Bench, name: str, **attributes: str) -> None:
    await bench.book.create(Queue(name, attributes=attributes, created_ms=NOW, modified_ms=NOW))


def redrive(dead: str, most: int = 2) -> str:
    """A RedrivePolicy."""
    return orjson.dumps({"deadLetterTargetArn": f"{ARN_PREFIX}{dead}", "maxReceiveCount": most}).decode()
