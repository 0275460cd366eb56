"""Composes named connections: the book of them, who uses them, and the page that changes them."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import redis.asyncio

from hearth.adapters.redis_store import RedisConnectionStore
from hearth.config import Settings
from hearth.connections import ConnectionBook
from hearth.core.connection_url import (
    BadConnectionUrl,
    SingleRedis,
    SqsService,
    parse_connection_url,
    parse_redis_url,
)
from hearth.core.errors import InvalidParameterValue
from hearth.registry import Registry
from hearth.sealing import Sealer
from hearth_cli.console import Failure
from hearth_cli.locations import DataDir, sealing_key
from hearth_gateway.adapters.redis_check import check_redis
from hearth_gateway.adapters.redis_connections import RedisConnections
from hearth_gateway.core.addresses import OWN_CONNECTION, Address, parse_address
from hearth_gateway.core.durability import ServerFacts
from hearth_gateway.core.mapping import EventSourceMapping
from hearth_gateway.sources.ports import QueueUnavailable
from hearth_gateway.sources.supervisor import EventSources

_CHECK_TIMEOUT_S = 5.0
_ALL = 2**31
_TLS_SCHEME = "https"


@asynccontextmanager
async def open_connections(
    settings: Settings, place: DataDir, client: "redis.asyncio.Redis", *, own_url: str
) -> AsyncIterator[tuple[ConnectionBook, RedisConnections]]:
    """Every connection, those of the configuration included, and Redis by their names: a URL that changes is taken up
    at once. Raises Failure for a connection of the configuration that is none."""
    _check_own(own_url)
    sealer = Sealer(sealing_key(place))
    try:
        book = ConnectionBook(RedisConnectionStore(client), sealer, settings.connections)
    except InvalidParameterValue as error:
        raise Failure(error.message) from error
    await book.load()
    async with RedisConnections(lambda name: own_url if name == OWN_CONNECTION else book.url(name)) as connections:
        book.on_change(connections.changed)
        yield book, connections


def _check_own(url: str) -> None:
    """Everything of Hearth's own is on one server. Raises Failure for a URL that says otherwise, without showing it."""
    try:
        is_single = isinstance(parse_redis_url(url), SingleRedis)
    except BadConnectionUrl as error:
        raise Failure(f"redis_url cannot be used: {error}") from None
    if not is_single:
        raise Failure("redis_url must be one server (redis://, rediss:// or unix://); others can be connections")


class ConnectionUsers:
    """Says what uses a connection: sources and destinations of mappings, destinations of functions."""

    def __init__(self, sources: EventSources, registry: Registry) -> None:
        self._sources = sources
        self._registry = registry

    def __call__(self, name: str) -> Sequence[str]:
        return [*self._mappings(name), *self._functions(name)]

    def _mappings(self, name: str) -> Iterator[str]:
        def uses(mapping: EventSourceMapping) -> bool:
            return mapping.source.connection == name or _is_on(mapping.on_failure, name)

        found, _ = self._sources.page("", _ALL, uses)
        yield from (f"the event source mapping {mapping.uuid}" for mapping in found)

    def _functions(self, name: str) -> Iterator[str]:
        for record in self._registry:
            targets = [record.latest.deployment.configuration.dead_letter_arn]
            for config in record.event_invoke.values():
                targets += [config.on_success, config.on_failure]
            if any(_is_on(target, name) for target in targets):
                yield f"the function {record.name}"


def _is_on(arn: str | None, name: str) -> bool:
    found: Address | None = parse_address(arn) if arn else None
    return getattr(found, "connection", OWN_CONNECTION) == name


class ServerChecks:
    """The page's `Checks`."""

    def __init__(self, book: ConnectionBook, connections: RedisConnections) -> None:
        self._book = book
        self._connections = connections

    async def redis(self, name: str) -> ServerFacts:
        return await check_redis(self._connections.connection(name))

    async def sqs(self, name: str) -> None:
        """Whether anybody takes connections there; keys are tried when a queue is."""
        found = parse_connection_url(self._book.find(name).url)
        assert isinstance(found, SqsService)  # the page looked
        where = urlsplit(found.endpoint)
        is_tls = where.scheme == _TLS_SCHEME
        port = where.port or (443 if is_tls else 80)
        try:
            async with asyncio.timeout(_CHECK_TIMEOUT_S):
                context = ssl.create_default_context() if is_tls else None
                _, writer = await asyncio.open_connection(where.hostname, port, ssl=context)
                writer.close()
                await writer.wait_closed()
        except OSError as error:
            raise QueueUnavailable(f"{type(error).__name__}: {error}") from error
