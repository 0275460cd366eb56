"""Redis channels: one connection for each subscription, read as the protocol has it.

Rule 1: a subscription that is lost is said to be lost. The client library's own way would connect and subscribe again
by itself, and nobody would know of the gap.
Rule 2: silence is not life. A connection on which nothing came for a while is asked, and given up if it does not
answer: messages would be lost on it for as long as TCP takes to notice.
Source: "Redis Pub/Sub" (forms of messages, PING in a subscribed connection) and the commands SUBSCRIBE, PSUBSCRIBE and
SSUBSCRIBE. RESP 2 is spoken, in which messages are answers like all others.
"""

import asyncio
from collections.abc import Callable
from typing import Any, NoReturn

from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from hearth_gateway.adapters.redis_connections import BlockingWait, RedisConnection, RedisConnections, mapped
from hearth_gateway.core.addresses import ChannelAddress, ChannelKind
from hearth_gateway.core.channel_batch import Published
from hearth_gateway.core.mapping import EventSourceMapping
from hearth_gateway.sources.channel_ports import ChannelListener, Hear
from hearth_gateway.sources.ports import QueueUnavailable

SUBSCRIBE_TIMEOUT_S = 5.0
ASK_AFTER_S = 10.0
"""How long a subscription may be silent until the server is asked; and as long again until it is given up."""

_COMMANDS = {
    ChannelKind.CHANNEL: "SUBSCRIBE",
    ChannelKind.PATTERN: "PSUBSCRIBE",
    ChannelKind.SHARD: "SSUBSCRIBE",
}
_RESP = 2


class RedisChannel:
    """The `ChannelListener` of one address."""

    def __init__(
        self, connection: RedisConnection, address: ChannelAddress, *, ask_after_s: float = ASK_AFTER_S
    ) -> None:
        self._address = address
        self._ask_after_s = ask_after_s
        # Only sharded channels live at a node of their own; others are heard anywhere.
        key = address.name if address.kind is ChannelKind.SHARD else ""
        self._wait: BlockingWait = connection.wait(key, protocol=_RESP)

    def __repr__(self) -> str:
        return f"RedisChannel({self._address})"

    async def listen(self, hear: Hear, subscribed: Callable[[], None]) -> NoReturn:
        """See `ChannelListener`."""
        try:
            with mapped():
                async with asyncio.timeout(SUBSCRIBE_TIMEOUT_S):
                    connection = await self._subscribed()
                subscribed()
                while True:
                    await self._hear_one(connection, hear)
        except QueueUnavailable:
            await self._wait.fail()
            raise
        except asyncio.CancelledError:
            await self._wait.drop()
            raise

    async def close(self) -> None:
        """See `ChannelListener`."""
        await self._wait.close()

    async def _subscribed(self) -> AbstractConnection:
        client = await self._wait.client()
        # redis-py's own gap in its types
        connection: AbstractConnection = await client.connection_pool.get_connection()  # type: ignore[no-untyped-call]
        command = _COMMANDS[self._address.kind]
        await connection.send_command(command, self._address.name)
        reply = await connection.read_response()
        if _word(reply) != command.lower():
            raise RedisError(f"the server answered {command} with {_word(reply)!r}")
        return connection

    async def _hear_one(self, connection: AbstractConnection, hear: Hear) -> None:
        reply = await connection.read_response(timeout=self._ask_after_s)
        if reply is None:
            async with asyncio.timeout(self._ask_after_s):
                await connection.send_command("PING")
            reply = await connection.read_response(timeout=self._ask_after_s)
        match reply:
            case None:
                raise RedisConnectionError("the subscription is silent, and the server does not answer")
            case [b"message" | b"smessage", channel, message]:
                hear(Published(_text(channel), message))
            case [b"pmessage", pattern, channel, message]:
                hear(Published(_text(channel), message, _text(pattern)))
            case [b"pong", *_]:
                pass
            case _:
                # A slot that moved to another node ends the subscription to its channels in this way.
                raise RedisConnectionError(f"the server ended the subscription ({_word(reply)})")


class RedisChannels:
    """Opens the channels of mappings, on the connections that their sources name."""

    def __init__(self, connections: RedisConnections) -> None:
        self._connections = connections

    def open(self, mapping: EventSourceMapping) -> ChannelListener:
        """See `Channels`."""
        address = mapping.source
        if not isinstance(address, ChannelAddress):
            raise QueueUnavailable(f"{mapping.source_arn} is no channel")
        return RedisChannel(self._connections.connection(address.connection), address)


def _word(reply: Any) -> str:
    """What kind of answer it is."""
    first = reply[0] if isinstance(reply, list) and reply else reply
    return _text(first)[:40] if isinstance(first, bytes) else type(first).__name__


def _text(name: bytes) -> str:
    return name.decode(errors="replace")
