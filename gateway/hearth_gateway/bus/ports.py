"""What event buses offer to whoever sends them events: the courier, schedules."""

from typing import Protocol


class Buses(Protocol):
    """Event buses as senders see them."""

    async def put(self, name: str, body: bytes, *, event_id: str, sender: str = "") -> None:
        """Hand a whole event (JSON, see `core/bus_event.py`) to the rules of the bus; everything that follows from it
        is kept on disk when this returns. The same id again makes the same parcels.

        `sender` is the parcel's: what another rule forwarded is not forwarded to a third bus. Raises ResourceNotFound
        if there is no such bus and InvalidParameterValue for a body that is no event, which will not change, and
        ServiceError if the parcels could not be kept, which trying again may change.
        """
        ...
