"""What asynchronous invocations ask of the world: a durable queue of events per function."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

from hearth.core.function import FunctionName
from hearth_gateway.core.async_event import AsyncEvent
from hearth_gateway.core.parcel import Parcel


class EventsUnavailable(Exception):
    """The queue cannot be reached or refuses; whether the change took place is unknown. Trying again may help."""


class DeliveryRefused(Exception):
    """The list that a record is for cannot take it, and will not tomorrow: it is not a list."""


@dataclass(frozen=True, slots=True)
class Push:
    """A body for a Redis list of Hearth's own, which is what an `arn:aws:sqs:` ARN names."""

    key: str
    body: bytes


class Courier(Protocol):
    """Takes parcels, keeps them, and delivers each at least once: to functions as asynchronous invocations, to queues,
    lists and streams, topics, buses, buckets and webhooks."""

    async def post(self, parcels: Sequence[Parcel]) -> None:
        """Keep them all in one step, on disk when this returns. Raises ServiceError if they could not be kept; they may
        have been all the same, and posting them again by the same ids is harmless."""
        ...


class EventQueue(Protocol):
    """Accepted events by function. One owner; times are epoch milliseconds; every method raises EventsUnavailable.

    An event is in one of two states, due (at a time) or taken; it is forgotten by `end` only.
    """

    async def recover(self, now_ms: int) -> Sequence[FunctionName]:
        """Make everything that was taken due again: its owner is dead. Gives the functions that have events."""
        ...

    async def restore(self, function: FunctionName, keep: Collection[str], now_ms: int) -> None:
        """Make the function's taken events due again, but for those of these ids, which are in hand. For whoever does
        not know whether a `take` happened whose answer was lost."""
        ...

    async def accept(self, event: AsyncEvent, due_ms: int) -> None:
        """Keep a new event; on disk when this returns, as far as the server can. Again with the same id: no change."""
        ...

    async def next_due_ms(self, function: FunctionName) -> int | None:
        """When the function's next event is due; None if none waits (taken ones do not)."""
        ...

    async def take(self, function: FunctionName, now_ms: int) -> AsyncEvent | None:
        """Take the event that has been due for longest."""
        ...

    async def put_back(self, event: AsyncEvent, due_ms: int) -> None:
        """A taken event is due again, with its counts as given."""
        ...

    async def end(self, event: AsyncEvent, pushes: Sequence[Push], follow_ups: Sequence[AsyncEvent]) -> None:
        """Forget a taken event and, in the same step, push its records and accept what follows from it. A second time
        changes nothing. Raises DeliveryRefused, with nothing done."""
        ...
