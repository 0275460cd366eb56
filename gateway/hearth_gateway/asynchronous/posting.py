"""The courier: the one way in for everything that leaves for a target.

Rule 1: what is for a function becomes an event of its queue, under the parcel's id; everything else waits for delivery.
Rule 2: a whole post is kept in one step.
"""

from collections.abc import Callable, Sequence

from hearth.core.errors import HearthError, ServiceError
from hearth_gateway.asynchronous.ports import DeliveryQueue, EventsUnavailable, Posted
from hearth_gateway.core import lineage
from hearth_gateway.core.addresses import FunctionAddress, parse_address
from hearth_gateway.core.async_event import AsyncEvent
from hearth_gateway.core.authorization import Place
from hearth_gateway.core.dead_letter import Letter
from hearth_gateway.core.names import parse_function_name
from hearth_gateway.core.parcel import Parcel

Ring = Callable[[str], None]
"""Told that there is something for this function, or for this target."""


def _nobody(recipient: str) -> None:
    """Nobody is there to be woken."""


class DurableCourier:
    """The `Courier` of Hearth's own Redis. `new_trace` makes trace headers for what has none. Whoever feeds functions
    and targets sets `ring_function` and `ring_target`."""

    def __init__(self, queue: DeliveryQueue, place: Place, *, new_trace: Callable[[], str]) -> None:
        self._queue = queue
        self._place = place
        self._new_trace = new_trace
        self.ring_function: Ring = _nobody
        self.ring_target: Ring = _nobody

    async def post(self, parcels: Sequence[Parcel]) -> None:
        """See `Courier`."""
        posted = [self.posted(parcel) for parcel in parcels]
        try:
            await self._queue.post(posted)
        except EventsUnavailable as error:
            raise ServiceError(f"What was to be delivered could not be stored: {error}") from error
        self.ring(posted)

    async def bury(self, letters: Sequence[Letter]) -> None:
        """See `Courier`."""
        try:
            await self._queue.bury(letters)
        except EventsUnavailable as error:
            raise ServiceError(f"Dead letters could not be stored: {error}") from error

    def posted(self, parcel: Parcel) -> Posted:
        """What is kept for a parcel. One for a function that cannot be named stays a parcel, and is refused later."""
        if not isinstance(parse_address(parcel.target), FunctionAddress):
            return parcel
        return event_of(parcel, self._place, parcel.trace_id or self._new_trace()) or parcel

    def ring(self, posted: Sequence[Posted]) -> None:
        """Wake whoever has to do with these."""
        for function in {one.function for one in posted if isinstance(one, AsyncEvent)}:
            self.ring_function(function)
        for target in {one.target for one in posted if isinstance(one, Parcel)}:
            self.ring_target(target)


def event_of(parcel: Parcel, place: Place, trace_id: str) -> AsyncEvent | None:
    """The event that a parcel is for its function; None if the ARN names no function of ours."""
    try:
        reference = parse_function_name(parcel.target, place.account)
    except HearthError:
        return None
    return AsyncEvent(
        id=parcel.id,
        function=reference.name,
        qualifier=reference.qualifier or "",
        invoked_arn=reference.arn(*place),
        payload=parcel.body,
        trace_id=traced(trace_id, reference.name, place),
        accepted_ms=parcel.accepted_ms,
        sender=parcel.sender,
        service=parcel.service,
        dead_letter_arn=parcel.dead_letter_arn,
    )


def traced(trace_id: str, name: str, place: Place) -> str:
    """The trace header once the function is in the chain."""
    chain, _ = lineage.extended(trace_id, place.arn(f"function:{name}"))
    fields = [part for part in trace_id.split(";") if part and not part.strip().startswith("Lineage=")]
    return ";".join([*fields, f"Lineage={chain}"])
