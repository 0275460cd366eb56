"""A channel in memory: what is published while somebody listens is heard, and nothing else."""

import asyncio
from collections.abc import Callable
from typing import NoReturn

from hearth_gateway.core.channel_batch import Published
from hearth_gateway.sources.channel_ports import Hear
from hearth_gateway.sources.ports import QueueUnavailable


class FakeChannel:
    """A `ChannelListener` and the server behind it. While `is_down` nobody can subscribe."""

    def __init__(self, name: str = "news") -> None:
        self.name = name
        self.is_down = False
        self.subscriptions = 0
        self.is_closed = False
        self._hear: Hear | None = None
        self._lost = asyncio.Event()

    @property
    def is_heard(self) -> bool:
        return self._hear is not None

    def publish(self, *messages: bytes | str) -> int:
        """What a publisher does; gives how many listeners there were."""
        if self._hear is None:
            return 0
        for message in messages:
            self._hear(Published(self.name, message.encode() if isinstance(message, str) else message))
        return 1

    def cut(self) -> None:
        """The connection is lost."""
        self._lost.set()

    async def listen(self, hear: Hear, subscribed: Callable[[], None]) -> NoReturn:
        """See `ChannelListener`."""
        if self.is_down:
            raise QueueUnavailable("down")
        self._lost.clear()
        self.subscriptions += 1
        self._hear = hear
        try:
            subscribed()
            await self._lost.wait()
            raise QueueUnavailable("the connection was lost")
        finally:
            self._hear = None

    async def close(self) -> None:
        """See `ChannelListener`."""
        self.is_closed = True
