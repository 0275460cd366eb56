"""What event buses offer to whoever sends them events (the courier, schedules), and what they ask of the world."""

from typing import Protocol


class Buses(Protocol):
    """Event buses as senders see them."""

    async def put(self, name: str, body: bytes, *, event_id: str, sender: str = "", trace_id: str = "") -> None:
        """Hand a whole event (JSON, see `core/bus_event.py`) to the rules of the bus; everything that follows from it
        is kept on disk when this returns. The same id again makes the same parcels.

        `sender` and `trace_id` are the parcel's: what another rule forwarded is not forwarded to a third bus. Raises
        ResourceNotFound if there is no such bus and InvalidParameterValue for a body that is no event, which will not
        change, and ServiceError if the parcels could not be kept, which trying again may change.
        """
        ...


class Records(Protocol):
    """The durable home of buses and rules, by key. The same promises as `hearth.ports.FunctionStore`."""

    async def load_all(self) -> dict[str, bytes]: ...

    async def put(self, key: str, record: bytes, /) -> None: ...

    async def delete(self, key: str, /) -> None: ...
