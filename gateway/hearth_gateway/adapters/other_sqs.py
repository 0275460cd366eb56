"""Which SQS an address means: Hearth's own, the one that the configuration names, or that of a named connection.

Rule: a connection's URL is read anew whenever it has changed; who asks gets the client of today's URL.
State: `_clients` is changed here only, on one event loop.
"""

from functools import partial

from hearth.connections import ConnectionBook
from hearth.core.connection_url import BadConnectionUrl, SqsService, parse_connection_url
from hearth_gateway.adapters.sqs_client import SqsClient, SqsPlace
from hearth_gateway.core.addresses import QueueAddress
from hearth_gateway.core.mapping import EventSourceMapping
from hearth_gateway.sources.ports import Clock, QueueUnavailable, Surroundings
from hearth_gateway.sources.sqs_source import SqsSource


class OtherSqs:
    """The clients of every SQS but Hearth's own. `endpoint` is the one that `arn:aws:sqs:` means; None: our own."""

    def __init__(self, book: ConnectionBook, endpoint: str | None, region: str, clock: Clock) -> None:
        self._book = book
        self._endpoint = endpoint
        self._region = region
        self._clock = clock
        self._clients: dict[str, SqsClient] = {}
        book.on_change(self._forget)

    def is_other(self, address: QueueAddress) -> bool:
        """Whether the queue is not Hearth's own."""
        return bool(address.connection or self._endpoint)

    def find(self, address: QueueAddress) -> SqsClient | None:
        """The client for a queue, None for a queue of Hearth's own. Raises QueueUnavailable for a connection that is
        not there, or is no SQS."""
        if not self.is_other(address):
            return None
        known = self._clients.get(address.connection)
        if known is None:
            known = self._clients[address.connection] = SqsClient(self._place(address.connection), self._clock)
        return known

    def source(self, mapping: EventSourceMapping, around: Surroundings) -> SqsSource | None:
        """The source of a mapping on a queue of another SQS; None for any other mapping."""
        address = mapping.source
        if not isinstance(address, QueueAddress) or not self.is_other(address):
            return None
        return SqsSource(mapping, partial(self._there, address), around)

    def _there(self, address: QueueAddress) -> SqsClient:
        found = self.find(address)
        assert found is not None  # `is_other` said so, and that does not change
        return found

    async def close(self) -> None:
        """Drop all connections."""
        for client in self._clients.values():
            await client.close()
        self._clients.clear()

    def _place(self, connection: str) -> SqsPlace:
        if not connection:
            assert self._endpoint is not None  # `find` asks for no other
            return SqsPlace(self._endpoint, self._region)
        url = self._book.url(connection)
        if url is None:
            raise QueueUnavailable(f"there is no connection named {connection!r}")
        try:
            found = parse_connection_url(url)
        except BadConnectionUrl as error:
            raise QueueUnavailable(f"the connection {connection!r}: {error}") from None  # its frames hold the URL
        if not isinstance(found, SqsService):
            raise QueueUnavailable(f"the connection {connection!r} is no SQS")
        return SqsPlace(found.endpoint, found.region, found.access_key_id, found.secret_access_key)

    async def _forget(self, connection: str) -> None:
        client = self._clients.pop(connection, None)
        if client is not None:
            await client.close()
