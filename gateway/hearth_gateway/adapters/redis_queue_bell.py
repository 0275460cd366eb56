"""Tells receivers that wait when a list has an element: one blocked connection for each queue that is waited on.

The wait is a BLMOVE of the head of the list to the head of the same list. It is answered as soon as there is an
element, takes none, and serves whoever waits behind it as well.
"""

import asyncio
from collections.abc import Awaitable, Iterator
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Self, cast

import structlog
from redis.asyncio import Redis

from hearth_gateway.adapters.redis_connections import BlockingWait, RedisConnection
from hearth_gateway.core.back_off import back_off_s
from hearth_gateway.sources.ports import QueueUnavailable

WAIT_S = 20.0
MAX_WAITED = 1_000
"""Queues that are waited on at once; receivers of more look once a second instead."""


class Bell:
    """Rings for everybody who listens on one queue."""

    def __init__(self) -> None:
        self.ears: set[asyncio.Event] = set()
        self.watch: asyncio.Task[None] | None = None
        self.wanted = asyncio.Event()
        """Somebody waits who has looked since the last ring."""

    def ring(self) -> None:
        self.wanted.clear()
        for ear in self.ears:
            ear.set()


class QueueBells:
    """The bells of all queues that somebody waits on; alive between `async with` and its end."""

    def __init__(self, connection: RedisConnection) -> None:
        self._connection = connection
        self._bells: dict[str, Bell] = {}
        self._watches = asyncio.TaskGroup()

    async def __aenter__(self) -> Self:
        await self._watches.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for bell in self._bells.values():
            if bell.watch is not None:
                bell.watch.cancel()
        await self._watches.__aexit__(None, None, None)

    def ring(self, name: str) -> None:
        """Something was done to the queue here: whoever waits looks."""
        if name in self._bells:
            self._bells[name].ring()

    @contextmanager
    def listening(self, name: str) -> Iterator[asyncio.Event]:
        """An event that is set by everything that is done here to the queue from now on; see `wait`."""
        bell = self._bells.setdefault(name, Bell())
        ear = asyncio.Event()
        bell.ears.add(ear)
        try:
            yield ear
        finally:
            bell.ears.discard(ear)
            if not bell.ears:
                del self._bells[name]
                if bell.watch is not None:
                    bell.watch.cancel()

    async def wait(self, name: str, ear: asyncio.Event, longest_s: float) -> None:
        """Until the list has an element, or the bell rings; at most so long."""
        bell = self._bells[name]
        bell.wanted.set()
        if bell.watch is None and len(self._bells) <= MAX_WAITED:
            bell.watch = self._watches.create_task(self._watch(name, bell), name=f"queue {name}")
        with suppress(TimeoutError):
            async with asyncio.timeout(longest_s):
                await ear.wait()
        ear.clear()

    async def _watch(self, name: str, bell: Bell) -> None:
        wait = self._connection.wait(name)
        failures = 0
        try:
            while True:
                await bell.wanted.wait()
                try:
                    if await self._has_element(wait, name):
                        bell.ring()
                    failures = 0
                except QueueUnavailable as error:
                    structlog.get_logger().warning("queue cannot be watched", queue=name, reason=str(error))
                    await asyncio.sleep(back_off_s(failures))
                    failures += 1
        finally:
            await wait.close()

    async def _has_element(self, wait: BlockingWait, name: str) -> bool:
        def blocked(client: Redis) -> Awaitable[bytes | None]:
            return cast(Awaitable[bytes | None], client.blmove(name, name, cast(int, WAIT_S), "LEFT", "LEFT"))

        return await wait.run(WAIT_S, blocked) is not None
