"""Composes dead letters: the boxes, redrives, and their pages."""

import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

from hearth.adapters.redis_store import RedisRedriveStore, connect
from hearth_cli.deliveries_house import PostOffice
from hearth_cli.queues_house import OwnQueues
from hearth_gateway.adapters.redis_connections import RedisConnections
from hearth_gateway.adapters.redis_dead_letters import ListBox, StoreBox, store_boxes
from hearth_gateway.auth.gate import Gate
from hearth_gateway.core.authorization import Place
from hearth_gateway.core.mapping import EventSourceMapping
from hearth_gateway.dead_letters.boxes import AllBoxes
from hearth_gateway.dead_letters.pages import DeadLetterPages
from hearth_gateway.dead_letters.redrives import Redrives
from hearth_gateway.sources.ports import Clock

Mappings = Callable[[], Sequence[EventSourceMapping]]


def all_boxes(
    office: PostOffice, queues: OwnQueues, connections: RedisConnections, mappings: Mappings, *, place: Place
) -> AllBoxes:
    """Every box of this Hearth."""

    def open_store(name: str) -> StoreBox:
        def arn_of(function: str) -> str:
            return place.arn(f"function:{function}")

        return StoreBox(office.redis, name, arn_of=arn_of, ring=office.courier.ring)

    return AllBoxes(
        queues.book,
        queues.store,
        mappings=mappings,
        of_store=lambda: store_boxes(office.redis),
        open_store=open_store,
        open_list=lambda connection, key: ListBox(connections, connection, key, office.courier),
    )


@asynccontextmanager
async def dead_letters(
    url: str, boxes: AllBoxes, gate: Gate, place: Place, *, clock: Clock
) -> AsyncIterator[DeadLetterPages]:
    """Redrives go on while the `with` lasts. `url` is Hearth's own Redis."""
    client = connect(url)
    try:
        async with Redrives(RedisRedriveStore(client), boxes, clock) as redrives:
            yield DeadLetterPages(boxes, redrives, gate, place, new_id=lambda: str(uuid.uuid4()))
    finally:
        await client.aclose()
