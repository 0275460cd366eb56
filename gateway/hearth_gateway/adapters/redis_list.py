"""Redis lists as queues: the transitions of docs/queue-protocol.md as Lua scripts, and the one blocking wait.

Rule 1: every state of a message lives in Redis; this module holds none.
Rule 2: nothing is repeated silently. The client's own retries are off, because a claim whose answer was lost must
be made good by `enter`, not sent again.
Needs Redis 6.2 (BLMOVE), one server; `maxmemory-policy` must be `noeviction`, which is the default.
"""

import asyncio
import re
import uuid
from collections.abc import Awaitable, Collection, Iterator, Mapping
from contextlib import contextmanager
from importlib import resources
from types import TracebackType
from typing import Any, Self, cast

from redis.asyncio import BlockingConnectionPool, ConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.commands.core import AsyncScript
from redis.exceptions import RedisError

from hearth_gateway.core.addresses import OWN_CONNECTION
from hearth_gateway.core.mapping import EventSourceMapping, Producer
from hearth_gateway.core.queue_batch import RECORD_OVERHEAD_BYTES, Message
from hearth_gateway.core.retry import Settlement
from hearth_gateway.sources.ports import Claim, Gathered, ListQueue, QueueUnavailable, StaleSession

LIVENESS_TTL_MS = 10_000
"""An owner that has not beaten for this long is dead, and what it holds is taken over."""
COMMAND_TIMEOUT_S = 5.0
CONNECT_TIMEOUT_S = 2.0
# Every call has its deadline around it, here. The client's own would go through asyncio.wait_for, which in Python 3.11
# swallows a cancellation that arrives as the write completes: a source that cannot be stopped.
NO_SOCKET_TIMEOUT = None
TAKE_GRACE_S = 5.0
"""How long after its time a blocking take is given up: the server is gone or hangs."""
MAX_CONNECTIONS = 8
"""Command connections per Redis; transitions beyond that wait for one."""

_TAGGED = re.compile(r"\{[^{}]+\}")
_TRANSITIONS = ("enter", "beat", "gather", "claim", "settle", "leave")


def stem_of(key: str) -> str:
    """The prefix of our own keys for a list, in the same hash slot as the list.

    A key that has a hash tag of its own keeps it; the second colon tells `{a}` from `a`.
    """
    return f"hearth::{key}" if _TAGGED.search(key) else f"hearth:{{{key}}}"


def load_scripts() -> dict[str, str]:
    """The source of each transition: the shared head and its own part."""
    here = resources.files("hearth_gateway.adapters")
    shared = (here / "redis_list_shared.lua").read_text()
    return {name: f"{shared}\n{(here / f'redis_list_{name}.lua').read_text()}" for name in _TRANSITIONS}


@contextmanager
def _mapped() -> Iterator[None]:
    """Foreign errors become ours, here and nowhere else."""
    try:
        yield
    except (RedisError, OSError) as error:  # TimeoutError is an OSError
        if "STALE session" in str(error):
            raise StaleSession(str(error)) from error
        raise QueueUnavailable(f"{type(error).__name__}: {error}") from error


class RedisListQueue:
    """One owner's view of one list. Commands share the connections of `commands`; `take` has its own."""

    def __init__(
        self, commands: "RedisConnection", mapping: EventSourceMapping, *, run: str, previous_run: str | None
    ) -> None:
        key = mapping.address.key
        self._commands = commands
        self._source = key
        self._keys = [key, stem_of(key), mapping.dead_letter_key]
        self._head = "LEFT" if mapping.producer is Producer.RPUSH else "RIGHT"
        self._owner = f"{run}/{mapping.uuid}"
        self._taken = f"{stem_of(key)}:taken:{self._owner}"
        self._previous_run = previous_run or ""
        self._blocking = commands.dedicated()
        self._blocked_id: int | None = None

    def __repr__(self) -> str:
        return f"RedisListQueue({self._source!r}, owner={self._owner!r})"

    async def enter(self, session: int, keep: Collection[str], now_ms: int) -> int | None:
        due = await self._run("enter", now_ms, session, LIVENESS_TTL_MS, self._previous_run, *keep)
        return _due(due)

    async def beat(self, session: int, now_ms: int) -> int | None:
        return _due(await self._run("beat", now_ms, session, LIVENESS_TTL_MS, self._previous_run))

    async def take(self, wait_s: float) -> bool:
        with _mapped():
            try:
                async with asyncio.timeout(wait_s + TAKE_GRACE_S):
                    # Asked anew each time: a reconnected client has another id.
                    self._blocked_id = await self._blocking.client_id()
                    # redis-py types whole seconds only; fractions are Redis's own documented unit.
                    waiting = self._blocking.blmove(self._source, self._taken, cast(int, wait_s), self._head, "RIGHT")
                    return await cast(Awaitable[bytes | None], waiting) is not None
            finally:
                self._blocked_id = None

    async def interrupt(self) -> None:
        if self._blocked_id is not None:
            with _mapped():
                await self._commands.client.client_unblock(self._blocked_id)

    async def gather(self, session: int, limit: int, max_bytes: int) -> Gathered:
        count, size = await self._run("gather", 0, session, limit, max_bytes)
        return Gathered(count, size)

    async def claim(self, session: int, limit: int, *, max_bytes: int, now_ms: int) -> Claim:
        ids = (str(uuid.uuid4()) for _ in range(limit))
        reply = await self._run("claim", now_ms, session, max_bytes, RECORD_OVERHEAD_BYTES, *ids)
        rows = zip(*(iter(reply[2:]),) * 4, strict=True)
        messages = tuple(Message(mid.decode(), body, int(first), int(count)) for mid, count, first, body in rows)
        return Claim(messages, reply[0], _due(reply[1]))

    async def settle(self, settlement: Settlement, now_ms: int) -> None:
        done, again, dead = settlement.done, settlement.again, settlement.dead
        fates: list[str | int | bytes] = [len(done), len(again), len(dead), *done]
        for one in again:
            fates += (one.id, one.attempts, one.due_ms)
        for lost in dead:
            fates += (lost.id, lost.record)
        await self._run("settle", now_ms, *fates)

    async def leave(self, now_ms: int, *, forget: bool) -> None:
        await self._run("leave", now_ms, "1" if forget else "0")

    async def close(self) -> None:
        with _mapped():
            await self._blocking.aclose()

    async def _run(self, transition: str, now_ms: int, *arguments: str | int | bytes) -> Any:
        script = self._commands.scripts[transition]
        with _mapped():
            async with asyncio.timeout(COMMAND_TIMEOUT_S):
                return await script(keys=self._keys, args=[self._head, self._owner, now_ms, *arguments])


def _due(reply: int) -> int | None:
    return None if reply < 0 else reply


class RedisConnection:
    """The command connections to one Redis, shared by every list there. Dropped by `close`."""

    def __init__(self, url: str) -> None:
        self._url = url
        pool = BlockingConnectionPool.from_url(
            url,
            max_connections=MAX_CONNECTIONS,
            timeout=COMMAND_TIMEOUT_S,
            socket_timeout=NO_SOCKET_TIMEOUT,
            socket_connect_timeout=CONNECT_TIMEOUT_S,
            retry=Retry(NoBackoff(), 0),
        )
        self.client = Redis.from_pool(pool)
        # register_script only computes digests; EVALSHA falls back to loading when the server does not know one.
        self.scripts: Mapping[str, AsyncScript] = {
            name: self.client.register_script(source) for name, source in load_scripts().items()
        }

    def dedicated(self) -> Redis:
        """A client of one connection, for a wait that may be long; its deadline is the caller's."""
        pool = ConnectionPool.from_url(
            self._url,
            max_connections=1,
            socket_timeout=NO_SOCKET_TIMEOUT,
            socket_connect_timeout=CONNECT_TIMEOUT_S,
            retry=Retry(NoBackoff(), 0),
        )
        return Redis.from_pool(pool)

    async def close(self) -> None:
        await self.client.aclose()


class RedisQueues:
    """Opens lists, one set of command connections per Redis. `run` names this run of Hearth, `previous_run` the
    one before it with the same data, which is known to be dead."""

    def __init__(self, own_url: str, connections: Mapping[str, str], *, run: str, previous_run: str | None) -> None:
        self._urls = {**connections, OWN_CONNECTION: own_url}
        self._run = run
        self._previous_run = previous_run
        self._open: dict[str, RedisConnection] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for connection in self._open.values():
            await connection.close()

    def open(self, mapping: EventSourceMapping) -> ListQueue:
        name = mapping.address.connection
        url = self._urls.get(name)
        if url is None:
            raise QueueUnavailable(f"no connection named {name!r} is configured")
        if url not in self._open:
            self._open[url] = RedisConnection(url)
        return RedisListQueue(self._open[url], mapping, run=self._run, previous_run=self._previous_run)
