"""Composes topics: their book, what publishes to them, SNS's API over both, and the links in what they send."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from hearth.adapters.redis_store import RedisTopicStore, connect
from hearth.config import Settings
from hearth_cli.deliveries_house import PostOffice
from hearth_cli.endpoint import url as own_address
from hearth_cli.locations import data_dir, topic_key
from hearth_gateway.adapters.redis_deduplication import RedisDeduplication
from hearth_gateway.asynchronous.targets import TopicTarget
from hearth_gateway.core.addresses import TopicAddress
from hearth_gateway.core.topic_messages import Seal
from hearth_gateway.neighbours.calls import NeighbourService
from hearth_gateway.neighbours.sns import sns_service
from hearth_gateway.neighbours.sns_answers import Desk
from hearth_gateway.sources.ports import Clock
from hearth_gateway.topics.book import TopicBook
from hearth_gateway.topics.links import CERTIFICATE, TopicLinks
from hearth_gateway.topics.publisher import TopicPublisher
from hearth_gateway.topics.signing import TopicSigner, new_key


@dataclass(frozen=True, slots=True)
class TopicHouse:
    """What topics offer: SNS, and the door for the links in their messages."""

    service: NeighbourService
    links: TopicLinks


def public_url(settings: Settings) -> str:
    """Where others reach this Hearth."""
    return (settings.public_url or own_address(settings)).rstrip("/")


@asynccontextmanager
async def own_topics(settings: Settings, url: str, office: PostOffice, clock: Clock) -> AsyncIterator[TopicHouse]:
    """Open while the `with` lasts. `url` is Hearth's own Redis; deliveries to topics are entered in the post office."""
    client, memory = connect(url), RedisDeduplication(url)
    try:
        book = TopicBook(RedisTopicStore(client))
        await book.load()
        signer = TopicSigner(await asyncio.to_thread(topic_key, data_dir(settings), new_key))
        base_url = public_url(settings)
        seal = Seal(signer.sign, base_url + CERTIFICATE, base_url)
        publisher = TopicPublisher(book, office.courier, memory, seal)
        office.targets[TopicAddress] = TopicTarget(publisher)
        desk = Desk(book, settings.region, settings.account)
        service = sns_service(desk, publisher, office.courier, seal, now_ms=clock.now_ms)
        yield TopicHouse(service, TopicLinks(book, signer.certificate, clock.now_ms))
    finally:
        await memory.close()
        await client.aclose()
