"""Composes SQS: the service over Hearth's own queues, and the way to any other SQS."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from hearth.adapters.redis_store import RedisMoveTaskStore, connect
from hearth.config import Settings
from hearth.connections import ConnectionBook
from hearth_cli.queues_house import OwnQueues
from hearth_gateway.adapters.other_sqs import OtherSqs
from hearth_gateway.core.authorization import Place
from hearth_gateway.neighbours.sqs import SqsService
from hearth_gateway.neighbours.sqs_composition import sqs_service
from hearth_gateway.sources.ports import Clock


@asynccontextmanager
async def own_sqs(url: str, queues: OwnQueues, place: Place, clock: Clock) -> AsyncIterator[SqsService]:
    """The service, open while the `with` lasts. `url` is Hearth's own Redis."""
    client = connect(url)
    try:
        tasks = RedisMoveTaskStore(client)
        async with sqs_service(place, queues.book, queues.store, tasks, clock=clock) as service:
            yield service
    finally:
        await client.aclose()


@asynccontextmanager
async def other_sqs(settings: Settings, book: ConnectionBook, clock: Clock) -> AsyncIterator[OtherSqs]:
    """The clients of every other SQS, open while the `with` lasts."""
    other = OtherSqs(book, settings.aws_endpoints.get("sqs"), settings.region, clock)
    try:
        yield other
    finally:
        await other.close()
