"""Which queues there are, in Redis: the settings of each in a hash beside its messages, and all names in one set.

The hash is what counts, for the scripts that move messages read it; the set is for listing. They may lie in different
slots, so a name enters the set before its hash is there and leaves it after that is gone: a listed name whose queue is
not there is left out, and one that is there is always listed.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

from hearth_gateway.adapters.redis_connections import RedisConnection
from hearth_gateway.adapters.redis_list import queue_keys, queue_script, stem_of
from hearth_gateway.core.addresses import RESERVED
from hearth_gateway.queues.ports import Queue
from hearth_gateway.sources.ports import Clock

NAMES_KEY = "hearth:queues"
_CREATED, _MODIFIED = "created", "modified"
_ATTRIBUTE, _TAG = "a:", "t:"


class RedisQueueBook:
    """The `QueueBook` on one Redis."""

    def __init__(self, connection: RedisConnection, clock: Clock) -> None:
        self._connection = connection
        self._clock = clock

    async def create(self, queue: Queue) -> Queue:
        queue_keys(queue.name)  # refuses what is no queue
        await self._connection.ask(NAMES_KEY, lambda client: client.zadd(NAMES_KEY, {queue.name: 0}))
        fields = await self._run("create", queue.name, *_flat(_fields(queue)), is_durable=True)
        return _queue(queue.name, dict(zip(*(iter(fields),) * 2, strict=True)))

    async def find(self, name: str) -> Queue | None:
        if name.startswith(RESERVED):
            return None
        stem = stem_of(name)

        async def look(client: Any) -> tuple[dict[bytes, bytes], bool]:
            async with client.pipeline(transaction=False) as pipe:
                pipe.hgetall(f"{stem}:queue")
                pipe.type(name)
                pipe.exists(f"{stem}:messages", f"{stem}:owners")
                fields, kind, used = await pipe.execute()
            # A key of another type is somebody else's: a stream must not be purged because it was taken for a queue.
            return fields, kind == b"list" or (bool(used) and kind == b"none")

        fields, used = await self._connection.ask(name, look)
        if fields:
            return _queue(name, fields)
        return Queue(name, is_created=False) if used else None

    async def set_attributes(self, name: str, attributes: Mapping[str, str | None], now_ms: int) -> bool:
        changes = {f"{_ATTRIBUTE}{key}": value for key, value in attributes.items()}
        return await self._change(name, {**changes, _MODIFIED: str(now_ms)})

    async def set_tags(self, name: str, tags: Mapping[str, str | None]) -> bool:
        return await self._change(name, {f"{_TAG}{key}": value for key, value in tags.items()})

    async def delete(self, name: str) -> bool:
        was_there = await self._run("purge", name, "1")
        await self._connection.ask(NAMES_KEY, lambda client: client.zrem(NAMES_KEY, name))
        return bool(was_there)

    async def names(self, prefix: str = "", after: str = "", limit: int = 1000) -> Sequence[str]:
        found: list[str] = []
        while len(found) < limit:
            page = await self._listed(prefix, after, limit)
            found += await self._existing(page)
            if len(page) < limit:
                break
            after = page[-1]
        return found[:limit]

    async def _listed(self, prefix: str, after: str, limit: int) -> list[str]:
        start = max(after, prefix)
        low = f"({start}" if start == after and after else f"[{start}" if start else "-"
        high = f"[{prefix}\xff" if prefix else "+"
        found = await self._connection.ask(
            NAMES_KEY, lambda client: client.zrange(NAMES_KEY, low, high, bylex=True, offset=0, num=limit)
        )
        return [name.decode() for name in cast(list[bytes], found)]

    async def _existing(self, names: Sequence[str]) -> list[str]:
        return [name for name in names if await self._exists(name)]

    async def _exists(self, name: str) -> bool:
        settings = f"{stem_of(name)}:queue"
        return bool(await self._connection.ask(settings, lambda client: client.exists(settings)))

    async def _change(self, name: str, changes: Mapping[str, str | None]) -> bool:
        gone = [key for key, value in changes.items() if value is None]
        kept = {key: value for key, value in changes.items() if value is not None}
        return bool(await self._run("change", name, len(gone), *gone, *_flat(kept), is_durable=True))

    async def _run(self, transition: str, name: str, *arguments: str | int, is_durable: bool = False) -> Any:
        run = self._connection.run_durably if is_durable else self._connection.run
        given: list[str | bytes | int | float] = ["LEFT", "", self._clock.now_ms(), *arguments]
        return await run(queue_script(f"queues_{transition}"), queue_keys(name), given)


def _flat(fields: Mapping[str, str]) -> Iterator[str]:
    for key, value in fields.items():
        yield key
        yield value


def _fields(queue: Queue) -> dict[str, str]:
    return {
        _CREATED: str(queue.created_ms),
        _MODIFIED: str(queue.modified_ms),
        **{f"{_ATTRIBUTE}{key}": value for key, value in queue.attributes.items()},
        **{f"{_TAG}{key}": value for key, value in queue.tags.items()},
    }


def _queue(name: str, fields: Mapping[bytes, bytes]) -> Queue:
    known = {key.decode(): value.decode() for key, value in fields.items()}
    return Queue(
        name,
        attributes=_prefixed(known, _ATTRIBUTE),
        tags=_prefixed(known, _TAG),
        created_ms=int(known.get(_CREATED, 0)),
        modified_ms=int(known.get(_MODIFIED, 0)),
    )


def _prefixed(fields: Mapping[str, str], prefix: str) -> dict[str, str]:
    return {key[len(prefix) :]: value for key, value in fields.items() if key.startswith(prefix)}
