"""Where the server for a key is: one address, what the sentinels say, or the part of a cluster that has the key.

Rule: what was learnt holds until it is doubted, which every error of the network or of a role is reason for. Then it is
learnt anew at the next use; nothing is asked while all goes well.
Sources: "Guidelines for Redis clients with support for Redis Sentinel"; "Redis cluster specification".
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Protocol, assert_never

from redis.asyncio import BlockingConnectionPool, Connection, ConnectionPool, Redis, SSLConnection
from redis.asyncio.connection import UnixDomainSocketConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.crc import key_slot
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from hearth.core.connection_url import (
    ClusterRedis,
    HostPort,
    Login,
    Place,
    RedisUrl,
    SentinelRedis,
    SingleRedis,
    Tls,
    UnixSocket,
)

CONNECT_TIMEOUT_S = 2.0
ENQUIRY_TIMEOUT_S = 2.0
"""One question to one sentinel or cluster node, connecting included."""
COMMAND_TIMEOUT_S = 5.0
MAX_CONNECTIONS = 8
"""Command connections per server; what goes beyond waits for one."""

# Every call has its deadline around it. The client's own would go through asyncio.wait_for, which in Python 3.11
# swallows a cancellation that arrives as the write completes: a source that cannot be stopped.
_NO_SOCKET_TIMEOUT = None


Enquire = Callable[[HostPort, tuple[str, ...]], Awaitable[Any]]
"""Asks one server one question: the answer, or None from one that is away or refuses, for there are others to ask."""


class Route(Protocol):
    """How a server is found."""

    async def place(self, key: str) -> Place:
        """Where the server is that may write the key. Raises RedisError or OSError."""
        ...

    def doubt(self) -> None:
        """What was learnt may be wrong: ask anew next time."""
        ...

    def commands(self, place: Place) -> Redis:
        """A client of several connections, for commands."""
        ...

    def dedicated(self, place: Place, *, protocol: int | None = None) -> Redis:
        """A client of one connection, for a wait that may be long. `protocol` is RESP 2 or 3, None the client's own
        choice."""
        ...


def route_of(url: RedisUrl) -> Route:
    """The route that a connection's URL asks for."""
    match url:
        case SingleRedis():
            return FixedRoute(url)
        case SentinelRedis():
            return SentinelRoute(url)
        case ClusterRedis():
            return ClusterRoute(url)
        case _:
            assert_never(url)


class _Clients:
    """Makes clients for servers that are all spoken to in the same way."""

    def __init__(self, login: Login, tls: Tls | None, database: int) -> None:
        self._login = login
        self._tls = tls
        self._database = database

    def commands(self, place: Place) -> Redis:
        options = self._options(place)
        pool = BlockingConnectionPool(max_connections=MAX_CONNECTIONS, timeout=COMMAND_TIMEOUT_S, **options)
        return Redis.from_pool(pool)

    def dedicated(self, place: Place, *, protocol: int | None = None) -> Redis:
        return Redis.from_pool(ConnectionPool(max_connections=1, protocol=protocol, **self._options(place)))

    async def enquire(self, place: HostPort, question: tuple[str, ...]) -> Any:
        """See `Enquire`."""
        client = self.dedicated(place)
        try:
            async with asyncio.timeout(ENQUIRY_TIMEOUT_S):
                return await client.execute_command(*question)  # type: ignore[no-untyped-call] # redis-py's own gap
        except (RedisError, OSError):
            return None
        finally:
            with suppress(RedisError, OSError):
                await client.aclose()

    def _options(self, place: Place) -> dict[str, Any]:
        return {
            **_where(place, self._tls),
            "username": self._login.username or None,
            "password": self._login.password or None,
            "db": self._database,
            "socket_timeout": _NO_SOCKET_TIMEOUT,
            # Nothing is repeated silently: whoever asks knows what a lost answer means.
            "retry": Retry(NoBackoff(), 0),
        }


def _where(place: Place, tls: Tls | None) -> dict[str, Any]:
    if isinstance(place, UnixSocket):
        return {"connection_class": UnixDomainSocketConnection, "path": place.path}
    where: dict[str, Any] = {
        "host": place.host,
        "port": place.port,
        "socket_connect_timeout": CONNECT_TIMEOUT_S,
        "socket_keepalive": True,
    }
    if tls is None:
        return {**where, "connection_class": Connection}
    return {
        **where,
        "connection_class": SSLConnection,
        "ssl_ca_certs": tls.ca_certs,
        "ssl_certfile": tls.certfile,
        "ssl_keyfile": tls.keyfile,
        "ssl_cert_reqs": "required" if tls.is_verified else "none",
        "ssl_check_hostname": tls.checks_hostname,
    }


class FixedRoute(_Clients):
    """One server, whatever the key."""

    def __init__(self, url: SingleRedis) -> None:
        super().__init__(url.login, url.tls, url.database)
        self._place = url.place

    async def place(self, key: str) -> Place:
        return self._place

    def doubt(self) -> None:
        pass  # nothing was learnt


class SentinelRoute(_Clients):
    """The master of a service. Sentinels are asked in turn; those that did not answer come last."""

    def __init__(self, url: SentinelRedis, enquire: Enquire | None = None) -> None:
        super().__init__(url.login, url.tls, url.database)
        self._service = url.service
        self._sentinels = list(url.sentinels)
        self._enquire = enquire or _Clients(url.sentinel_login, url.tls, 0).enquire
        self._master: HostPort | None = None
        self._asking = asyncio.Lock()

    async def place(self, key: str) -> Place:
        async with self._asking:
            if self._master is None:
                self._master = await self._ask()
            return self._master

    def doubt(self) -> None:
        self._master = None

    async def _ask(self) -> HostPort:
        for sentinel in list(self._sentinels):
            reply = await self._enquire(sentinel, ("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self._service))
            if reply:
                return HostPort(_text(reply[0]), int(reply[1]))
            _last(self._sentinels, sentinel)
        raise RedisConnectionError(f"no sentinel of {len(self._sentinels)} knows a master of {self._service!r}")


class ClusterRoute(_Clients):
    """The node of a cluster that has the key's slot, by the map that any of the nodes gives."""

    def __init__(self, url: ClusterRedis, enquire: Enquire | None = None) -> None:
        super().__init__(url.login, url.tls, 0)
        self._enquire = enquire or self.enquire
        self._seeds = list(url.nodes)
        self._slots: Mapping[int, HostPort] = {}
        self._asking = asyncio.Lock()

    async def place(self, key: str) -> Place:
        async with self._asking:
            if not self._slots:
                self._slots = await self._ask()
        found = self._slots.get(key_slot(key.encode()))
        if found is None:
            self.doubt()
            raise RedisConnectionError("no node of the cluster has the slot of the key")
        return found

    def doubt(self) -> None:
        # Who was in the map may know the next one, even when none of the configured nodes is left.
        learnt = [node for node in dict.fromkeys(self._slots.values()) if node not in self._seeds]
        self._seeds = [*self._seeds, *learnt][-_MOST_SEEDS:]
        self._slots = {}

    async def _ask(self) -> Mapping[int, HostPort]:
        for seed in list(self._seeds):
            reply = await self._enquire(seed, ("CLUSTER", "SLOTS"))
            if reply:
                return {
                    slot: _node(master, seed)
                    for first, last, master, *_ in reply
                    for slot in range(int(first), int(last) + 1)
                }
            _last(self._seeds, seed)
        raise RedisConnectionError(f"no node of {len(self._seeds)} of the cluster answers with a map of it")


_MOST_SEEDS = 32


def _node(described: Sequence[Any], asked: HostPort) -> HostPort:
    """A node as the map gives it. One that does not know its own address is where it was asked."""
    host = _text(described[0]) if described[0] else ""
    return HostPort(host if host and host != "?" else asked.host, int(described[1]))


def _last(places: list[HostPort], place: HostPort) -> None:
    """Who did not answer is asked last from now on. Whoever waits for the answer has a deadline, and would otherwise
    never get beyond the first few that are dead."""
    places.remove(place)
    places.append(place)


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value
