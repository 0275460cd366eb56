"""The Redis servers of this Hearth by the names of their connections: one set of command connections per name.

Rule 1: nothing is repeated silently, for a change whose answer was lost may have happened. The two exceptions did not
happen: a script the server does not have yet, and a key that has moved to another server.
Rule 2: every call has a deadline, and every failure leaves here as QueueUnavailable. The caller backs off and asks
again; by then a failed-over master, a moved slot or a changed URL has been found anew.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self, TypeVar, cast

from redis.asyncio import Redis
from redis.exceptions import (
    AskError,
    ClusterDownError,
    MovedError,
    NoScriptError,
    ReadOnlyError,
    RedisError,
    ResponseError,
)

from hearth.core.connection_url import BadConnectionUrl, Place, parse_redis_url
from hearth_gateway.adapters.redis_client import WAIT_FOR_DISK, raise_if_not_synced
from hearth_gateway.adapters.redis_routes import COMMAND_TIMEOUT_S, ClusterRoute, Route, route_of
from hearth_gateway.core.addresses import OWN_CONNECTION
from hearth_gateway.sources.ports import QueueUnavailable, StaleSession

WAIT_GRACE_S = 5.0
"""How long after its time a blocking wait is given up: the server is gone or hangs."""

MOST_SERVERS = 64
"""Servers of one connection that are kept connected: a cluster's nodes, masters that were."""

_T = TypeVar("_T")
UrlOf = Callable[[str], str | None]
"""The URL of the connection of that name, None while there is none. `OWN_CONNECTION` is Hearth's own Redis."""


@dataclass(frozen=True, slots=True)
class Script:
    """A Lua script that is one transition, known to servers by its digest."""

    source: str
    sha: str = field(init=False)

    def __post_init__(self) -> None:
        digest = hashlib.sha1(self.source.encode(), usedforsecurity=False).hexdigest()
        object.__setattr__(self, "sha", digest)


@contextmanager
def mapped() -> Iterator[None]:
    """Foreign errors become ours, here and nowhere else."""
    try:
        yield
    except (RedisError, OSError) as error:  # TimeoutError is an OSError
        if "STALE session" in str(error):
            raise StaleSession(str(error)) from error
        raise QueueUnavailable(f"{type(error).__name__}: {error}") from error


class RedisConnection:
    """One named connection. Its servers are found when first used, and again after every doubt."""

    def __init__(self, name: str, url_of: UrlOf) -> None:
        self.name = name
        self._url_of = url_of
        self._route: Route | None = None
        self._commands: dict[Place, Redis] = {}
        self._waits: set[BlockingWait] = set()

    def __repr__(self) -> str:
        return f"RedisConnection({self.name!r})"

    @property
    def is_cluster(self) -> bool:
        """Whether keys live on several servers. Raises QueueUnavailable for a connection that is not there."""
        return isinstance(self._found_route(), ClusterRoute)

    async def ask(
        self, key: str, call: Callable[[Redis], Awaitable[_T]], *, deadline_s: float = COMMAND_TIMEOUT_S
    ) -> _T:
        """What `call` gives, made with a client of the server that has the key. It is made a second time only if the
        first server said that the key is another's. Raises QueueUnavailable."""
        with mapped():
            async with asyncio.timeout(deadline_s), self._doubting():
                try:
                    return await call(await self._client(key))
                except MovedError:
                    self.doubt()
                    return await call(await self._client(key))

    async def run(
        self,
        script: Script,
        keys: list[str],
        arguments: list[str | bytes | int | float],
        *,
        deadline_s: float = COMMAND_TIMEOUT_S,
    ) -> Any:
        """The script's reply; all keys are in the slot of the first. Raises QueueUnavailable."""
        given = cast(Any, (len(keys), *keys, *arguments))

        async def call(client: Redis) -> Any:
            try:
                return await client.evalsha(script.sha, *given)
            except NoScriptError:
                return await client.eval(script.source, *given)

        return await self.ask(keys[0], call, deadline_s=deadline_s)

    async def run_durably(self, script: Script, keys: list[str], arguments: list[str | bytes | int | float]) -> Any:
        """As `run`, and the server has it on disk when this returns, where it can tell (WAITAOF: Redis 7.2 with an
        append-only file). When this fails, the script may have run all the same."""
        given = cast(Any, (len(keys), *keys, *arguments))

        async def call(client: Redis) -> Any:
            async with client.pipeline(transaction=False) as pipe:
                pipe.eval(script.source, *given)
                pipe.execute_command(*WAIT_FOR_DISK)
                reply, synced = await pipe.execute(raise_on_error=False)
            if isinstance(reply, RedisError):
                raise reply
            raise_if_not_synced(synced)
            return reply

        return await self.ask(keys[0], call)

    def wait(self, key: str, *, protocol: int | None = None) -> "BlockingWait":
        """A connection of its own for blocking waits on the key; close it. `protocol` is RESP 2 or 3, None the client's
        own choice."""
        wait = BlockingWait(self, key, protocol=protocol)
        self._waits.add(wait)
        return wait

    def forget(self, wait: "BlockingWait") -> None:
        """A wait that is closed."""
        self._waits.discard(wait)

    def doubt(self) -> None:
        """Find the servers anew at the next use."""
        if self._route is not None:
            self._route.doubt()

    async def reset(self) -> None:
        """Drop every connection, in use or not: the URL is another now. What was waiting fails."""
        self._route = None
        clients, self._commands = list(self._commands.values()), {}
        for client in clients:
            await _drop(client)
        for wait in list(self._waits):
            await wait.drop()

    async def close(self) -> None:
        """Drop every connection, for good."""
        await self.reset()

    async def dedicated(self, key: str, *, protocol: int | None = None) -> tuple[Redis, Place]:
        """A client of one connection of its own to the server that has the key, and where that is; the caller closes
        it, and speaks of failures to `doubt`. Raises RedisError, OSError or QueueUnavailable."""
        route = self._found_route()
        place = await route.place(key)
        return route.dedicated(place, protocol=protocol), place

    def commands_at(self, place: Place) -> Redis:
        """The shared client of a server whose place is known."""
        if place not in self._commands:
            self._commands[place] = self._found_route().commands(place)
        return self._commands[place]

    @asynccontextmanager
    async def _doubting(self) -> AsyncIterator[None]:
        """Whatever says that this may be the wrong server makes us look again next time."""
        try:
            yield
        except (ReadOnlyError, AskError, ClusterDownError, asyncio.CancelledError):
            self.doubt()
            raise
        except ResponseError:
            raise  # the server's own answer: it is there, and it is the right one
        except (RedisError, OSError):
            self.doubt()
            raise

    async def _client(self, key: str) -> Redis:
        while len(self._commands) > MOST_SERVERS:
            await _drop(self._commands.pop(next(iter(self._commands))))
        return self.commands_at(await self._found_route().place(key))

    def _found_route(self) -> Route:
        if self._route is None:
            url = self._url_of(self.name)
            if url is None:
                raise QueueUnavailable(f"no connection named {self.name!r} is configured")
            try:
                self._route = route_of(parse_redis_url(url))
            except BadConnectionUrl as error:
                raise QueueUnavailable(f"the connection {self.name!r} cannot be used: {error}") from error
        return self._route


class BlockingWait:
    """One connection for waits that the server answers late, such as BLMOVE and XREADGROUP BLOCK."""

    def __init__(self, connection: RedisConnection, key: str, *, protocol: int | None = None) -> None:
        self._connection = connection
        self._key = key
        self._protocol = protocol
        self._client: Redis | None = None
        self._place: Place | None = None
        self._blocked_id: int | None = None

    async def run(self, wait_s: float, call: Callable[[Redis], Awaitable[_T]]) -> _T:
        """What `call` gives; the server answers it after `wait_s` seconds at the latest. Raises QueueUnavailable."""
        try:
            with mapped():
                async with asyncio.timeout(wait_s + WAIT_GRACE_S):
                    client = await self.client()
                    # Asked anew each time: a reconnected client has another id.
                    self._blocked_id = await client.client_id()
                    return await call(client)
        except QueueUnavailable:
            # Also when the server merely refused: a slot that moves or a master that became a replica says so here.
            await self.fail()
            raise
        finally:
            self._blocked_id = None

    async def interrupt(self) -> None:
        """End a waiting `run` from the side; it answers as if its time were up. Harmless when none waits."""
        blocked, place = self._blocked_id, self._place
        if blocked is None or place is None:
            return
        with mapped():
            async with asyncio.timeout(COMMAND_TIMEOUT_S):
                await self._connection.commands_at(place).client_unblock(blocked)

    async def fail(self) -> None:
        """It went wrong here: drop the connection, and find the server anew."""
        self._connection.doubt()
        await self.drop()

    async def drop(self) -> None:
        """Drop the connection; the next `run` makes another, to wherever the key is then."""
        client, self._client, self._place = self._client, None, None
        if client is not None:
            await _drop(client)

    async def close(self) -> None:
        self._connection.forget(self)
        await self.drop()

    async def client(self) -> Redis:
        """The connection itself, for those who speak on it by themselves. Raises as `RedisConnection.dedicated`."""
        if self._client is None:
            self._client, self._place = await self._connection.dedicated(self._key, protocol=self._protocol)
        return self._client


class RedisConnections:
    """Every Redis of this Hearth, by name; alive between `async with` and its end."""

    def __init__(self, url_of: UrlOf) -> None:
        self._url_of = url_of
        self._open: dict[str, RedisConnection] = {}

    @classmethod
    def fixed(cls, own_url: str, connections: Mapping[str, str] | None = None) -> Self:
        """Connections that never change."""
        return cls({**(connections or {}), OWN_CONNECTION: own_url}.get)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for connection in self._open.values():
            await connection.close()

    def connection(self, name: str = OWN_CONNECTION) -> RedisConnection:
        """The connection of that name, the same for everybody. Raises QueueUnavailable for one that is not there."""
        if self._url_of(name) is None:
            raise QueueUnavailable(f"no connection named {name!r} is configured")
        return self._open.setdefault(name, RedisConnection(name, self._url_of))

    async def changed(self, name: str) -> None:
        """The connection's URL is another, or gone: whoever uses it connects anew."""
        if name in self._open:
            await self._open[name].reset()


async def _drop(client: Redis) -> None:
    with suppress(RedisError, OSError):
        await client.aclose()
