"""Composes everything asynchronous: the queue of events, the courier, the delivery engine and its targets.

The post office is opened before anything that posts; deliveries begin last, once every part has entered who delivers to
its kind of address.
"""

import random
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from hearth.adapters.redis_store import RedisWebhookStore, connect
from hearth.config import Settings
from hearth.ports import Scheduler
from hearth.registry import Registry
from hearth.sealing import Sealer
from hearth_cli.locations import data_dir, sealing_key
from hearth_gateway.adapters.redis_connections import RedisConnections
from hearth_gateway.adapters.redis_events import RedisDeliveries, RedisEvents
from hearth_gateway.adapters.redis_events_shelf import EventRedis, Keeping
from hearth_gateway.adapters.redis_targets import RedisListTarget, RedisStreamTarget
from hearth_gateway.adapters.webhook_client import WebhookTarget
from hearth_gateway.asynchronous.deliveries import Deliveries, WebUrl
from hearth_gateway.asynchronous.dispatcher import AsyncInvocations, House
from hearth_gateway.asynchronous.ports import Target
from hearth_gateway.asynchronous.posting import DurableCourier
from hearth_gateway.asynchronous.targets import Buckets, BucketTarget
from hearth_gateway.asynchronous.webhook_book import WebhookBook
from hearth_gateway.core.addresses import BucketAddress, ListAddress, StreamAddress, WebhookAddress
from hearth_gateway.core.authorization import Place
from hearth_gateway.core.tracing import TRACE_BYTES, trace_header
from hearth_gateway.sources.ports import Clock

DRAIN_S = 20.0
"""How long a shutdown lets what runs finish; what still runs then is done again by the next start."""

DELIVERY_DRAIN_S = 5.0
"""The same for deliveries, which are safe to repeat: nobody waits long for a target that does not answer."""


@dataclass(slots=True)
class PostOffice:
    """What is posted and delivered, before and after anybody works there. Parts enter who delivers to addresses of
    their kind in `targets`."""

    redis: EventRedis
    events: RedisEvents
    deliveries: RedisDeliveries
    courier: DurableCourier
    targets: dict[type[object], Target] = field(default_factory=dict)


@asynccontextmanager
async def post_office(settings: Settings, url: str, buckets: Buckets) -> AsyncIterator[PostOffice]:
    """Open while the `with` lasts."""
    redis = EventRedis(url)
    keeping = Keeping(
        settings.dead_letter_retention_s,
        settings.dead_letters_per_box,
        settings.invocation_retention_s,
        settings.invocations_kept,
    )
    deliveries = RedisDeliveries(redis, keeping)
    courier = DurableCourier(deliveries, Place(settings.region, settings.account), new_trace=_new_trace)
    try:
        office = PostOffice(redis, RedisEvents(redis, keeping), deliveries, courier)
        office.targets[BucketAddress] = BucketTarget(buckets)
        yield office
    finally:
        await redis.close()


@asynccontextmanager
async def async_invocations(
    settings: Settings, office: PostOffice, registry: Registry, scheduler: Scheduler, *, clock: Clock
) -> AsyncIterator[AsyncInvocations]:
    """Accepted events run while the `with` lasts."""
    delays_ms = tuple(int(delay_s * 1000) for delay_s in settings.async_retry_delays_s)
    events = AsyncInvocations(
        office.events,
        registry,
        scheduler,
        clock,
        courier=office.courier,
        chance=random.random,
        rules=House(delays_ms, is_open=settings.service_policy == "open"),
        drain_s=DRAIN_S,
    )
    office.courier.ring_function = events.ring
    registry.on_change(lambda _: events.functions_changed())
    async with events:
        yield events


def own_targets(office: PostOffice, connections: RedisConnections) -> None:
    """Enter who delivers to what needs no other part."""
    office.targets[ListAddress] = RedisListTarget(connections)
    office.targets[StreamAddress] = RedisStreamTarget(connections)


@asynccontextmanager
async def webhooks(settings: Settings, office: PostOffice, url: str) -> AsyncIterator[WebhookBook]:
    """The registered webhooks; entered as targets, and called while the `with` lasts."""
    client = connect(url)
    book = WebhookBook(RedisWebhookStore(client), Sealer(sealing_key(data_dir(settings))))
    target = WebhookTarget(book.find, time.time, reaches_inside=settings.webhook_reach == "everywhere")
    try:
        await book.load()
        office.targets[WebhookAddress] = office.targets[WebUrl] = target
        yield book
    finally:
        await target.close()
        await client.aclose()


@asynccontextmanager
async def deliveries(office: PostOffice, clock: Clock) -> AsyncIterator[Deliveries]:
    """Parcels are delivered while the `with` lasts."""
    engine = Deliveries(office.deliveries, office.targets, office.courier, clock, drain_s=DELIVERY_DRAIN_S)
    office.courier.ring_target = engine.ring
    async with engine:
        yield engine


def _new_trace() -> str:
    return trace_header("", secrets.token_bytes(TRACE_BYTES), int(time.time()))
