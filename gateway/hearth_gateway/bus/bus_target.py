"""Delivers parcels to event buses."""

from hearth.core.errors import Fault, HearthError
from hearth_gateway.asynchronous.ports import TargetRefused, TargetUnavailable
from hearth_gateway.bus.ports import Buses
from hearth_gateway.core.addresses import BusAddress, parse_address
from hearth_gateway.core.parcel import Parcel


class BusTarget:
    """The `Target` of addresses of buses."""

    def __init__(self, buses: Buses) -> None:
        self._buses = buses

    async def deliver(self, parcel: Parcel) -> None:
        """See `Target`."""
        address = parse_address(parcel.target)
        if not isinstance(address, BusAddress):
            raise TargetRefused(f"{parcel.target} is no event bus")
        try:
            await self._buses.put(
                address.name, parcel.body, event_id=parcel.id, sender=parcel.sender, trace_id=parcel.trace_id
            )
        except HearthError as error:
            if error.fault is Fault.CALLER:
                raise TargetRefused(error.message, error.code) from error
            raise TargetUnavailable(error.message) from error
