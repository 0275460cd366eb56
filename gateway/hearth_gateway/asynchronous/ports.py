"""What asynchronous invocations and deliveries ask of the world: durable queues, and targets that take what leaves."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from hearth.core.function import FunctionName
from hearth_gateway.core.async_event import AsyncEvent
from hearth_gateway.core.dead_letter import Letter
from hearth_gateway.core.invocation_status import InvocationStatus, State
from hearth_gateway.core.parcel import Parcel


class EventsUnavailable(Exception):
    """The queue cannot be reached or refuses; whether the change took place is unknown. Trying again may help."""


class TargetRefused(Exception):
    """The target does not take this parcel, and will not tomorrow. `code` says why, in a word."""

    def __init__(self, message: str, code: str = "TargetRefused") -> None:
        super().__init__(message)
        self.code = code


class TargetUnavailable(Exception):
    """The target cannot take the parcel now; trying again may help, `retry_after_s` seconds from now if it said so."""

    def __init__(self, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class Target(Protocol):
    """Delivers to one kind of address. One that delivered may be asked to do it again: a crash can come in between."""

    async def deliver(self, parcel: Parcel) -> None:
        """Hand it over; when this returns it is the target's. Raises TargetRefused or TargetUnavailable; anything else
        that is raised counts as unavailable."""
        ...


class Courier(Protocol):
    """Takes parcels, keeps them, and delivers each at least once: to functions as asynchronous invocations, to queues,
    lists and streams, topics, buses, buckets and webhooks. Takes dead letters as well, and delivers none of them."""

    async def post(self, parcels: Sequence[Parcel]) -> None:
        """Keep them all in one step, on disk when this returns. Raises ServiceError if they could not be kept; they may
        have been all the same, and posting them again by the same ids is harmless."""
        ...

    async def bury(self, letters: Sequence[Letter]) -> None:
        """Keep dead letters of what has nowhere else to go, in the default store; in all as `post` does it. The same
        id twice is one letter."""
        ...


Posted = AsyncEvent | Parcel
"""What can be kept: an event for a function, or a parcel for anything else."""


@dataclass(frozen=True, slots=True)
class Ending:
    """What happens in the same step in which something kept is forgotten."""

    follow_ups: Sequence[Posted] = ()
    letter: Letter | None = None
    status: InvocationStatus | None = None


class Cancellation(Enum):
    """What came of the wish to cancel an invocation."""

    CANCELLED = "cancelled"
    RUNNING = "running"
    GONE = "gone"


class Shelf(Protocol):
    """What is kept, by recipient (a function's name, or a target's ARN or URL). One owner; times are epoch
    milliseconds; every method raises EventsUnavailable.

    What is kept is in one of two states, due (at a time) or taken; it is forgotten by its end only.
    """

    async def recover(self, now_ms: int) -> Sequence[str]:
        """Make everything that was taken due again: its owner is dead. Gives the recipients that have something."""
        ...

    async def restore(self, recipient: str, keep: Collection[str], now_ms: int) -> None:
        """Make what is taken of the recipient due again, but for those of these ids, which are in hand. For whoever
        does not know whether a `take` happened whose answer was lost."""
        ...

    async def next_due_ms(self, recipient: str) -> int | None:
        """When the next one is due; None if none waits (taken ones do not)."""
        ...


class EventQueue(Shelf, Protocol):
    """Accepted events by function."""

    async def accept(self, event: AsyncEvent, due_ms: int, once: str = "") -> str:
        """Keep a new event; on disk when this returns, as far as the server can. Again with the same id: no change.
        `once`: a key under which only the first event of a day is kept. Gives the id of the event that is kept."""
        ...

    async def take(self, function: FunctionName, now_ms: int) -> AsyncEvent | None:
        """Take the event that has been due for longest. One that cannot be read is set aside as a dead letter."""
        ...

    async def put_back(self, event: AsyncEvent, due_ms: int) -> None:
        """A taken event is due again, with its counts as given."""
        ...

    async def end(self, event: AsyncEvent, ending: Ending) -> None:
        """Forget a taken event and do what follows from it, in one step. A second time changes nothing."""
        ...

    async def cancel(self, function: FunctionName, identity: str, now_ms: int) -> Cancellation:
        """Forget an event that does not run."""
        ...

    async def find(self, identity: str) -> InvocationStatus | None:
        """The invocation of this id, going on or ended not long ago."""
        ...

    async def page(
        self, function: FunctionName, state: State | None, *, after: int, limit: int
    ) -> tuple[Sequence[InvocationStatus], int | None]:
        """Invocations of a function, those that go on first, then those that ended, newest first. `after` and the
        number given with a page say where the next one begins; None: there is none. A page may have fewer than
        `limit`."""
        ...


class DeliveryQueue(Shelf, Protocol):
    """Parcels by target, and the one way in for whatever is posted."""

    async def post(self, posted: Sequence[Posted]) -> None:
        """Keep them all, in one step; on disk when this returns, as far as the server can. Those of ids that are kept
        already: no change."""
        ...

    async def bury(self, letters: Sequence[Letter]) -> None:
        """Put dead letters into their boxes, in one step; on disk when this returns, as far as the server can. Those of
        ids that lie there already are replaced."""
        ...

    async def take(self, target: str, now_ms: int, *, stays: bool = False) -> Parcel | None:
        """Take the parcel that has been due for longest; `stays`: only look at it, so that it stays the first."""
        ...

    async def put_back(self, parcel: Parcel, due_ms: int | None) -> None:
        """The parcel is due again, with its count as given; None leaves it where it is."""
        ...

    async def end(self, parcel: Parcel, ending: Ending) -> None:
        """Forget the parcel and do what follows from it, in one step. A second time changes nothing."""
        ...
