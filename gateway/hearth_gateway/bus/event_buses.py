"""Event buses at work: an event in, the parcels that the rules make of it out.

Rule: all parcels of all events that were put together are posted in one step. Who put them is answered after that. How
much one step may be is bounded, however many rules and targets there are.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from hearth.core.errors import InvalidParameterValue, RequestTooLarge
from hearth_gateway.asynchronous.ports import Courier
from hearth_gateway.bus.catalogue import Catalogue
from hearth_gateway.core.bus_event import BusEvent, InvalidEvent, read_event
from hearth_gateway.core.bus_rule import parcels
from hearth_gateway.core.parcel import Parcel

MAX_POST_BYTES = 64 * 1024 * 1024
"""Of what is posted in one step: an event of a megabyte for sixty targets."""
_OF_RULES = ":rule/"


@dataclass(frozen=True, slots=True)
class Posted:
    """An event for a bus. `was_forwarded`: a rule of another bus sent it."""

    bus: str
    event: BusEvent
    was_forwarded: bool = False


class EventBuses:
    """The `Buses` of this installation."""

    def __init__(self, catalogue: Catalogue, courier: Courier, *, now_ms: Callable[[], int]) -> None:
        self._catalogue = catalogue
        self._courier = courier
        self._now_ms = now_ms

    async def put(self, name: str, body: bytes, *, event_id: str, sender: str = "", trace_id: str = "") -> None:
        """See `Buses`."""
        self._catalogue.bus(name)
        try:
            event = read_event(body, event_id, self._catalogue.place, self._now_ms())
        except InvalidEvent as error:
            raise InvalidParameterValue(str(error)) from error
        await self.post([Posted(name, replace(event, trace_id=trace_id), was_forwarded=_OF_RULES in sender)])

    async def post(self, events: Sequence[Posted]) -> None:
        """Hand these events to the rules of their buses. Raises RequestTooLarge, with nothing done, and ServiceError if
        what follows could not be kept."""
        found: list[Parcel] = []
        size = 0
        for parcel in (parcel for one in events for parcel in self._parcels(one)):
            size += len(parcel.body)
            if size > MAX_POST_BYTES:
                raise RequestTooLarge(f"What the rules make of these events is more than {MAX_POST_BYTES} bytes.")
            found.append(parcel)
        if found:
            await self._courier.post(found)

    def _parcels(self, posted: Posted) -> Iterator[Parcel]:
        now_ms = self._now_ms()
        for rule in self._catalogue.ready_rules(posted.bus):
            if rule.rule.is_enabled and rule.pattern is not None and rule.pattern.matches(posted.event.members):
                yield from parcels(rule, posted.event, now_ms, was_forwarded=posted.was_forwarded)
