"""Composes everything that turns events into invocations: queues, topics, buses, schedules, hooks, deliveries.

Each part is entered here, in the order in which they need each other, and left in reverse.
"""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

from hearth.config import Settings
from hearth.connections import ConnectionBook
from hearth.registry import Registry
from hearth_cli.bus_house import own_buses
from hearth_cli.connections_house import ServerChecks
from hearth_cli.dead_letters_house import all_boxes, dead_letters
from hearth_cli.deliveries_house import PostOffice, deliveries, own_targets, webhooks
from hearth_cli.guards import Doors
from hearth_cli.hooks_house import own_hooks
from hearth_cli.queues_house import own_queues
from hearth_cli.schedules_house import own_timers, scheduling
from hearth_cli.sqs_house import own_sqs
from hearth_cli.topics_house import own_topics
from hearth_gateway import connection_pages, invocation_pages, webhook_pages
from hearth_gateway.adapters.other_sqs import OtherSqs
from hearth_gateway.adapters.redis_connections import RedisConnections
from hearth_gateway.asynchronous.dispatcher import AsyncInvocations
from hearth_gateway.connection_pages import ConnectionPages
from hearth_gateway.core.addresses import QueueAddress
from hearth_gateway.core.authorization import Place
from hearth_gateway.dead_letters import pages as dead_letter_pages
from hearth_gateway.hooks import door as hook_door
from hearth_gateway.hooks import pages as hook_pages
from hearth_gateway.invocation_pages import InvocationPages
from hearth_gateway.neighbours.calls import NeighbourService
from hearth_gateway.neighbours.service_choice import EVENTS, SCHEDULER, SNS, SQS
from hearth_gateway.neighbours.sqs_target import QueueTarget
from hearth_gateway.open_doors import OpenDoor
from hearth_gateway.own_pages import OwnPage
from hearth_gateway.schedules import pages as schedule_pages
from hearth_gateway.sources.ports import Clock
from hearth_gateway.sources.supervisor import EventSources
from hearth_gateway.topics import links as topic_links
from hearth_gateway.webhook_pages import WebhookPages


@dataclass(frozen=True, slots=True)
class Foundation:
    """What the parts are built on. `url` is Hearth's own Redis; `office` has the courier, and the table of targets in
    which a part enters who delivers to its kind of address."""

    settings: Settings
    url: str
    run: str
    book: ConnectionBook
    connections: RedisConnections
    other_sqs: OtherSqs
    registry: Registry
    doors: Doors
    sources: EventSources
    invocations: AsyncInvocations
    office: PostOffice
    clock: Clock


@dataclass(slots=True)
class EventHouse:
    """What the parts offer: services by signing name, pages and open doors by the path they begin with, words for
    `/health`."""

    services: dict[str, NeighbourService] = field(default_factory=dict)
    pages: dict[str, OwnPage] = field(default_factory=dict)
    open_doors: dict[str, OpenDoor] = field(default_factory=dict)
    health: dict[str, Callable[[], Mapping[str, object]]] = field(default_factory=dict)


@asynccontextmanager
async def event_house(on: Foundation) -> AsyncIterator[EventHouse]:
    """Everything is running while the `with` lasts."""
    house = EventHouse()
    place = Place(on.settings.region, on.settings.account)
    checks = ServerChecks(on.book, on.connections)
    house.pages[connection_pages.PREFIX] = ConnectionPages(on.book, checks, on.doors.gate, place)
    async with AsyncExitStack() as stack:
        queues = await stack.enter_async_context(own_queues(on.connections, on.clock, place))
        house.services[SQS] = await stack.enter_async_context(own_sqs(on.url, queues, place, on.clock))
        own_targets(on.office, on.connections)
        on.office.targets[QueueAddress] = QueueTarget(queues.store, on.other_sqs.find)
        timers = await stack.enter_async_context(own_timers(on.settings, on.connections, on.office.courier, on.clock))
        house.health["timers"] = timers.health
        schedules = await scheduling(on.settings, on.connections, timers, doors=on.doors, clock=on.clock)
        house.services[SCHEDULER] = schedules.service
        house.pages[schedule_pages.PREFIX] = schedules.page
        hooks = await stack.enter_async_context(webhooks(on.settings, on.office, on.url))
        house.pages[webhook_pages.PREFIX] = WebhookPages(hooks, on.doors.gate, place)
        house.pages[invocation_pages.PREFIX] = InvocationPages(on.invocations, on.doors.gate, place)
        buses = own_buses(on.url, on.office, timers, place, clock=on.clock)
        house.services[EVENTS] = await stack.enter_async_context(buses)
        topics = await stack.enter_async_context(own_topics(on.settings, on.url, on.office, on.clock))
        house.services[SNS], house.open_doors[topic_links.PREFIX] = topics.service, topics.links
        doors = own_hooks(on.settings, on.url, on.office, on.doors.gate, clock=on.clock)
        incoming = await stack.enter_async_context(doors)
        house.open_doors[hook_door.PREFIX], house.pages[hook_pages.PREFIX] = incoming.door, incoming.pages
        boxes = all_boxes(on.office, queues, on.connections, on.sources.every, place=place)
        letters = await stack.enter_async_context(dead_letters(on.url, boxes, on.doors.gate, place, clock=on.clock))
        house.pages[dead_letter_pages.PREFIX] = house.pages[dead_letter_pages.REDRIVES] = letters
        house.health["hooks"] = incoming.door.health
        # The parts come here. Deliveries begin when every part has entered its targets, so they come last.
        engine = await stack.enter_async_context(deliveries(on.office, on.clock))
        house.health["deliveries"] = engine.health
        house.health["sources"] = on.sources.health
        house.health["asynchronous"] = on.invocations.health
        yield house
