"""Composes event buses: their catalogue, what goes to them, and EventBridge's API over both."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from hearth.adapters.redis_store import RedisBusStore, connect
from hearth_cli.deliveries_house import PostOffice
from hearth_gateway.bus.bus_target import BusTarget
from hearth_gateway.bus.catalogue import Catalogue
from hearth_gateway.bus.event_buses import EventBuses
from hearth_gateway.bus.rule_timers import RuleTimers
from hearth_gateway.core.addresses import BusAddress
from hearth_gateway.core.authorization import Place
from hearth_gateway.core.bus_event import Place as EventPlace
from hearth_gateway.neighbours.calls import NeighbourService
from hearth_gateway.neighbours.events import events_service
from hearth_gateway.schedules.ports import Timers
from hearth_gateway.sources.ports import Clock


@asynccontextmanager
async def own_buses(
    url: str, office: PostOffice, timers: Timers, place: Place, *, clock: Clock
) -> AsyncIterator[NeighbourService]:
    """The service, open while the `with` lasts. `url` is Hearth's own Redis; deliveries to buses are entered in the
    post office."""
    client = connect(url)
    try:
        catalogue = Catalogue(RedisBusStore(client), EventPlace(*place))
        catalogue.on_change(RuleTimers(timers, catalogue.place).follow)
        await catalogue.load()
        buses = EventBuses(catalogue, office.courier, now_ms=clock.now_ms)
        office.targets[BusAddress] = BusTarget(buses)
        yield events_service(catalogue, buses, clock.now_ms)
    finally:
        await client.aclose()
