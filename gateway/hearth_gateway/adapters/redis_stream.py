"""Redis streams read through consumer groups: the transitions of docs/stream-protocol.md as Lua scripts, and a wait.

Rule 1: what is read is pending in the group until it is finished; nothing about it lives here.
Rule 2: the stream is its producers': nothing is added to it, removed from it or trimmed.
Rule 3: the wait changes nothing (XREAD, not XREADGROUP), so that it may be cut off at any moment.
Needs Redis 6.2. In a cluster the keys of one stream share its slot.
"""

from collections.abc import Sequence
from importlib import resources
from typing import Any

from redis.asyncio import Redis

from hearth_gateway.adapters.redis_connections import BlockingWait, RedisConnection, RedisConnections, Script
from hearth_gateway.adapters.redis_list import stem_of
from hearth_gateway.core.addresses import StreamAddress
from hearth_gateway.core.mapping import EventSourceMapping
from hearth_gateway.core.stream_entry import Entry, EntryId
from hearth_gateway.core.stream_lanes import Page
from hearth_gateway.core.stream_progress import Facts, StreamSettlement
from hearth_gateway.sources.stream_ports import MOST_PENDING, Fresh, GroupLost, StreamReader

NEW = ">"
ADOPT_AT_ONCE = 1_000
_TRANSITIONS = ("enter", "begin", "adopt", "read", "settle", "forget")
_OWN = frozenset({"session", "read", "unfinished"})
"""The names in the hash that are no facts of lanes."""

Argument = str | bytes | int | float


def load_scripts() -> dict[str, Script]:
    """Each transition: the shared head and its own part."""
    here = resources.files("hearth_gateway.adapters")
    shared = (here / "redis_stream_shared.lua").read_text()
    return {name: Script(f"{shared}\n{(here / f'redis_stream_{name}.lua').read_text()}") for name in _TRANSITIONS}


class RedisStreamReader:
    """One mapping's view of one stream. The group is named after the mapping; its one consumer is `hearth`."""

    def __init__(
        self,
        connection: RedisConnection,
        mapping: EventSourceMapping,
        scripts: dict[str, Script],
        *,
        run: str,
        most_pending: int = MOST_PENDING,
    ) -> None:
        address = mapping.source
        if not isinstance(address, StreamAddress):
            raise TypeError(f"{address!r} is no stream")
        self._connection = connection
        self._scripts = scripts
        self._key = address.key
        self._keys = [address.key, f"{stem_of(address.key)}:stream:{mapping.uuid}"]
        self._group = mapping.uuid
        self._run = run
        self._most_pending = most_pending
        self._wait: BlockingWait = connection.wait(address.key)

    def __repr__(self) -> str:
        return f"RedisStreamReader({self._key!r}, group={self._group!r})"

    async def enter(self, session: int) -> Facts:
        newest, has_group, foreign, flat = await self._ask("enter", session)
        kept = {flat[at].decode(): flat[at + 1] for at in range(0, len(flat), 2)}
        return Facts(
            has_group=bool(has_group),
            last=_id(newest),
            read=_id(kept.get("read")),
            unfinished=_id(kept.get("unfinished")),
            foreign=foreign,
            kept={name: value for name, value in kept.items() if name not in _OWN},
        )

    async def begin(self, session: int, after: EntryId, *, is_new_stream: bool) -> None:
        arguments: list[Argument] = [self._group, self._session(session), str(after), int(is_new_stream)]
        # Where a mapping begins is fixed once: it is on disk before anything is read.
        await self._connection.run_durably(self._scripts["begin"], self._keys, arguments)

    async def adopt(self, session: int) -> int:
        cursor, gone = b"0-0", 0
        while True:
            _, cursor, some = _there(await self._ask("adopt", session, cursor, ADOPT_AT_ONCE))
            gone += int(some)
            if cursor == b"0-0":
                return gone

    async def read(self, session: int, limit: int, max_bytes: int) -> Fresh:
        reply = _there(await self._ask("read", session, NEW, limit, max_bytes, self._most_pending))
        return Fresh(_page(reply), is_held_back=reply[0] == b"held")

    async def pending(self, session: int, after: EntryId, limit: int, max_bytes: int) -> Page:
        return _page(_there(await self._ask("read", session, str(after), limit, max_bytes, 0)))

    async def wait(self, after: EntryId, wait_s: float) -> None:
        async def block(client: Redis) -> None:
            await client.xread({self._key: str(after)}, count=1, block=int(wait_s * 1000))

        await self._wait.run(wait_s, block)

    async def settle(self, session: int, settlement: StreamSettlement) -> None:
        arguments: list[Argument] = [len(settlement.done), *map(str, settlement.done), len(settlement.keep)]
        for name, value in settlement.keep.items():
            arguments += (name, value)
        await self._ask("settle", session, *arguments, *settlement.forget)

    async def forget(self) -> None:
        await self._ask("forget", 0)

    async def close(self) -> None:
        await self._wait.close()

    def _session(self, session: int) -> str:
        return f"{self._run}/{session}"

    async def _ask(self, transition: str, session: int, *arguments: Argument) -> Any:
        given: list[Argument] = [self._group, self._session(session), *arguments]
        return await self._connection.run(self._scripts[transition], self._keys, given)


def _there(reply: Sequence[Any]) -> Sequence[Any]:
    """The reply, unless it says that the group or the stream is not there."""
    if reply[0] == b"lost":
        raise GroupLost
    return reply


def _id(text: bytes | None) -> EntryId | None:
    return EntryId.parse(text.decode()) if text else None


def _page(reply: Sequence[Any]) -> Page:
    entries: list[Entry] = []
    gone: list[EntryId] = []
    through = EntryId(0, 0)
    for raw, flat in reply[2]:
        through = EntryId.parse(raw.decode())
        if flat is None:
            gone.append(through)
        else:
            entries.append(Entry(through, tuple(zip(flat[::2], flat[1::2], strict=True))))
    return Page(tuple(entries), tuple(gone), through, is_last=bool(reply[1]))


class RedisStreams:
    """Opens streams on named connections. `run` names this run of Hearth."""

    def __init__(self, connections: RedisConnections, *, run: str) -> None:
        self._connections = connections
        self._run = run
        self._scripts = load_scripts()

    def open(self, mapping: EventSourceMapping) -> StreamReader:
        """See `Streams`."""
        address = mapping.source
        if not isinstance(address, StreamAddress):
            raise TypeError(f"{address!r} is no stream")
        connection = self._connections.connection(address.connection)
        return RedisStreamReader(connection, mapping, self._scripts, run=self._run)
