"""Composes hooks: their book, their public door, and the page that makes them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from hearth.adapters.redis_store import RedisHookStore, connect
from hearth.config import Settings
from hearth.sealing import Sealer
from hearth_cli.deliveries_house import PostOffice
from hearth_cli.locations import data_dir, sealing_key
from hearth_cli.topics_house import public_url
from hearth_gateway.adapters.redis_deduplication import RedisDeduplication
from hearth_gateway.auth.gate import Gate
from hearth_gateway.core.authorization import Place
from hearth_gateway.core.hook_signatures import TOLERANCE_S
from hearth_gateway.hooks.book import HookBook
from hearth_gateway.hooks.door import HookDoor
from hearth_gateway.hooks.pages import HookPages
from hearth_gateway.sources.ports import Clock

REMEMBERED_MS = (2 * TOLERANCE_S + 60) * 1_000
"""As long as a timestamp can be good, from its earliest moment to its latest, and a minute."""


@dataclass(frozen=True, slots=True)
class HookHouse:
    """What hooks offer."""

    door: HookDoor
    pages: HookPages


@asynccontextmanager
async def own_hooks(
    settings: Settings, url: str, office: PostOffice, gate: Gate, *, clock: Clock
) -> AsyncIterator[HookHouse]:
    """Open while the `with` lasts. `url` is Hearth's own Redis."""
    client, memory = connect(url), RedisDeduplication(url, REMEMBERED_MS, space="hook")
    try:
        book = HookBook(RedisHookStore(client), Sealer(sealing_key(data_dir(settings))))
        await book.load()
        door = HookDoor(book, office.courier, memory, clock.now_ms, region=settings.region, port=settings.port)
        place = Place(settings.region, settings.account)
        yield HookHouse(door, HookPages(book, gate, place, public_url(settings)))
    finally:
        await memory.close()
        await client.aclose()
