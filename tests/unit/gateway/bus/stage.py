"""A bus with everything around it in memory."""

from dataclasses import dataclass, field

from hearth.testing import InMemoryStore
from hearth_gateway.asynchronous.testing import RecordingCourier
from hearth_gateway.bus.catalogue import Catalogue
from hearth_gateway.bus.event_buses import EventBuses
from hearth_gateway.core.bus_event import BusEvent, Place, event_of
from hearth_gateway.core.bus_rule import Rule, Target

PLACE = Place("us-east-1", "000000000000")
START_MS = 1_795_255_200_000
FUNCTION = "arn:aws:lambda:us-east-1:000000000000:function:f"
QUEUE = "arn:aws:sqs:us-east-1:000000000000:jobs"


def bus(name: str) -> str:
    return f"arn:aws:events:us-east-1:000000000000:event-bus/{name}"


@dataclass
class Stage:
    """`store` outlives what is built on it."""

    store: InMemoryStore = field(default_factory=InMemoryStore)
    courier: RecordingCourier = field(default_factory=RecordingCourier)
    now_ms: int = START_MS

    def __post_init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        self.catalogue = Catalogue(self.store, PLACE)
        self.buses = EventBuses(self.catalogue, self.courier, now_ms=lambda: self.now_ms)

    async def rule(
        self, name: str, *targets: Target, pattern: str = '{"source": ["shop"]}', bus: str = "default"
    ) -> None:
        await self.catalogue.put(Rule(name, bus, START_MS, pattern=pattern, targets=targets))

    @property
    def sent(self) -> list[tuple[str, bytes]]:
        return [(parcel.target, parcel.body) for parcel in self.courier.parcels]


def an_event(event_id: str = "e-1", source: str = "shop", **detail: object) -> BusEvent:
    return event_of(event_id, PLACE, START_MS, source=source, detail_type="order", detail=detail)
