"""What a channel source asks of the world: to be told what is published, as long as it lasts."""

from collections.abc import Callable
from typing import NoReturn, Protocol

from hearth_gateway.core.channel_batch import Published
from hearth_gateway.core.mapping import EventSourceMapping

Hear = Callable[[Published], None]


class ChannelListener(Protocol):
    """One mapping's subscription. Nothing is kept for it: what is published while it is away is lost."""

    async def listen(self, hear: Hear, subscribed: Callable[[], None]) -> NoReturn:
        """Subscribe, say so, and pass on every message from then on, in order, until cancelled. Raises
        QueueUnavailable when the subscription is lost or refused; the next call makes another."""
        ...

    async def close(self) -> None:
        """Drop the connection of its own."""
        ...


class Channels(Protocol):
    """Opens the channel of a mapping, on the connection its source names."""

    def open(self, mapping: EventSourceMapping) -> ChannelListener:
        """Raises QueueUnavailable for a connection that is not configured (any more)."""
        ...
