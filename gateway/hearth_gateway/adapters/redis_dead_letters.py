"""The default store of dead letters on Redis, and lists of named connections as boxes."""

from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import replace
from typing import Any, cast

import structlog

from hearth.core.errors import ServiceError
from hearth_gateway.adapters.redis_connections import RedisConnections, Script
from hearth_gateway.adapters.redis_events_records import Unintelligible, decode_letter
from hearth_gateway.adapters.redis_events_shelf import Argument, EventRedis, asked, post_arguments
from hearth_gateway.asynchronous.ports import Courier, EventsUnavailable, Posted
from hearth_gateway.core.async_event import AsyncEvent
from hearth_gateway.core.dead_letter import FUNCTION_BOX, TARGET_BOX, Letter, Unreadable
from hearth_gateway.core.dead_view import Dead, of_element, of_store
from hearth_gateway.core.envelope import unpack_envelope
from hearth_gateway.core.parcel import Parcel, derived_id
from hearth_gateway.dead_letters.ports import BoxUnavailable
from hearth_gateway.sources.ports import QueueUnavailable

STEM = "hearth:dead"
SEARCHED = 100_000
"""How many elements of a list are looked at for an id."""
PIECE = 500

_REMOVE = Script("local n = 0 for _, e in ipairs(ARGV) do n = n + redis.call('LREM', KEYS[1], 1, e) end return n")

log = structlog.get_logger(__name__)


class StoreBox:
    """A box of the default store. `ring` is told what was sent again, `arn_of` gives a function's ARN."""

    def __init__(
        self,
        redis: EventRedis,
        name: str,
        *,
        arn_of: Callable[[str], str],
        ring: Callable[[Sequence[Posted]], None],
    ) -> None:
        self._redis = redis
        self._name = name
        self._ring = ring
        self._source = arn_of(name.removeprefix(FUNCTION_BOX)) if name.startswith(FUNCTION_BOX) else ""
        self._source = self._source or name.removeprefix(TARGET_BOX)
        self._letters = f"{STEM}:{name}:letters"
        self._order = f"{STEM}:{name}:at"

    async def count(self) -> int:
        return int(await _mapped(self._redis.client.zcard(self._order)))

    async def page(self, after: int, limit: int, until_ms: int | None = None) -> Sequence[Dead]:
        highest: Any = "+inf" if until_ms is None else until_ms
        found = self._redis.client.zrangebyscore(self._order, "-inf", highest, start=after, num=limit)
        return await self.find([one.decode() for one in await _mapped(found)])

    async def find(self, ids: Collection[str]) -> Sequence[Dead]:
        return [of_store(letter, self._source) for letter in await self._read(ids)]

    async def revive(self, letters: Sequence[Dead], now_ms: int) -> int:
        found = await self._read([one.id for one in letters if one.source])
        again = [(letter.id, _again(letter, now_ms)) for letter in found if not isinstance(letter.item, Unreadable)]
        if not again:
            return 0
        arguments: list[Argument] = [self._name]
        for identity, item in again:
            arguments += (identity, *post_arguments(item))
        sent = int(await _run(self._redis.run_durably("redrive", *arguments)))
        self._ring([item for _, item in again])
        return sent

    async def remove(self, letters: Sequence[Dead]) -> int:
        ids = [one.id for one in letters]
        return int(await _run(self._redis.run("discard", self._name, *ids))) if ids else 0

    async def purge(self) -> int:
        return int(await _run(self._redis.run("discard", self._name)))

    async def _read(self, ids: Collection[str]) -> Sequence[Letter]:
        if not ids:
            return ()
        records = await _mapped(cast(Any, self._redis.client.hmget(self._letters, list(ids))))
        letters = []
        for identity, record in zip(ids, records, strict=True):
            try:
                letters += [] if record is None else [decode_letter(record)]
            except Unintelligible:  # it is shown, and can be thrown away
                letters.append(Letter(Unreadable(identity, self._name, record), "Unreadable"))
        return letters


async def store_boxes(redis: EventRedis) -> Sequence[str]:
    """The names of the boxes of the default store."""
    found = await _mapped(cast(Any, redis.client.smembers(f"{STEM}:boxes")))
    return sorted(name.decode() for name in found)


class ListBox:
    """A list of a named connection. What is sent again goes by the courier: the list it goes to may be on another
    server, where one step cannot reach. Between the two a crash sends it twice; nothing is lost."""

    def __init__(self, connections: RedisConnections, connection: str, key: str, courier: Courier) -> None:
        self._connections = connections
        self._connection = connection
        self._key = key
        self._courier = courier

    async def count(self) -> int:
        return int(await self._ask(lambda client: client.llen(self._key)))

    async def page(self, after: int, limit: int, until_ms: int | None = None) -> Sequence[Dead]:
        if not limit:
            return ()
        elements = await self._ask(lambda client: client.lrange(self._key, after, after + limit - 1))
        return [of_element(element, unpack_envelope(element)) for element in elements]

    async def find(self, ids: Collection[str]) -> Sequence[Dead]:
        found: list[Dead] = []
        for start in range(0, SEARCHED, PIECE):
            page = await self.page(start, PIECE)
            found += [one for one in page if one.id in ids]
            if len(page) < PIECE or len(found) >= len(ids):
                break
        return found

    async def revive(self, letters: Sequence[Dead], now_ms: int) -> int:
        back = [one for one in letters if one.source]
        parcels = [
            Parcel(derived_id(f"{self._connection}/{self._key}/{one.id}", "redrive"), one.source, one.revived, now_ms)
            for one in back
        ]
        try:
            await self._courier.post(parcels)
        except ServiceError as error:
            raise BoxUnavailable(error.message) from error
        await self.remove(back)
        return len(back)

    async def remove(self, letters: Sequence[Dead]) -> int:
        elements: list[str | bytes | int | float] = [one.element for one in letters]
        if not elements:
            return 0
        try:
            return int(await self._opened().run_durably(_REMOVE, [self._key], elements))
        except QueueUnavailable as error:
            raise BoxUnavailable(str(error)) from error

    async def purge(self) -> int:
        count = await self.count()
        await self._ask(lambda client: client.unlink(self._key))
        return count

    def _opened(self) -> Any:
        return self._connections.connection(self._connection)

    async def _ask(self, call: Callable[[Any], Awaitable[Any]]) -> Any:
        try:
            return await self._opened().ask(self._key, call)
        except QueueUnavailable as error:
            raise BoxUnavailable(str(error)) from error


def _again(letter: Letter, now_ms: int) -> Posted:
    """What a letter was, as if it were new."""
    match letter.item:
        case AsyncEvent() as event:
            return replace(event, attempts=0, refusals=0, accepted_ms=now_ms, error_type="", error_message="")
        case Parcel() as parcel:
            return replace(parcel, attempts=0, accepted_ms=now_ms)
        case other:
            raise TypeError(f"{other!r} cannot be sent again")


async def _mapped(call: object) -> Any:
    return await _run(asked(call))


async def _run(call: Awaitable[Any]) -> Any:
    try:
        return await call
    except EventsUnavailable as error:
        raise BoxUnavailable(str(error)) from error
