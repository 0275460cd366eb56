"""Delivery to Redis lists and streams of any named connection.

A push is on the server's disk before the parcel is forgotten, as far as the server can tell. One whose answer was lost
is made again.
"""

from collections.abc import Sequence

from hearth_gateway.adapters.redis_connections import RedisConnections, Script
from hearth_gateway.asynchronous.ports import TargetRefused, TargetUnavailable
from hearth_gateway.core.addresses import RESERVED, ListAddress, StreamAddress, parse_address
from hearth_gateway.core.parcel import Parcel
from hearth_gateway.sources.ports import QueueUnavailable

STREAM_FIELD = "data"
"""The field of a stream's entry that holds the body."""
_WRONG_KIND = "WRONGTYPE"

_PUSH = Script("return redis.call('RPUSH', KEYS[1], ARGV[1])")
_ADD = Script("return redis.call('XADD', KEYS[1], '*', unpack(ARGV))")


class RedisListTarget:
    """Pushes bodies to the tail of a list, as they are."""

    def __init__(self, connections: RedisConnections) -> None:
        self._connections = connections

    async def deliver(self, parcel: Parcel) -> None:
        """See `Target`."""
        address = parse_address(parcel.target)
        if not isinstance(address, ListAddress):
            raise TargetRefused(f"{parcel.target} is no list", "InvalidTarget")
        await _run(self._connections, _PUSH, address, [parcel.body])


class RedisStreamTarget:
    """Adds entries to a stream: the body in one field, the group in `partitionKey`, where there is one."""

    def __init__(self, connections: RedisConnections) -> None:
        self._connections = connections

    async def deliver(self, parcel: Parcel) -> None:
        """See `Target`."""
        address = parse_address(parcel.target)
        if not isinstance(address, StreamAddress):
            raise TargetRefused(f"{parcel.target} is no stream", "InvalidTarget")
        entry: list[str | bytes] = [STREAM_FIELD, parcel.body]
        if parcel.group_id:
            entry += ["partitionKey", parcel.group_id]
        await _run(self._connections, _ADD, address, entry)


async def _run(
    connections: RedisConnections,
    script: Script,
    address: ListAddress | StreamAddress,
    arguments: Sequence[str | bytes],
) -> None:
    if address.key.startswith(RESERVED):
        raise TargetRefused(f"{address.key!r} is a key of Hearth's own", "InvalidTarget")
    try:
        await connections.connection(address.connection).run_durably(script, [address.key], list(arguments))
    except QueueUnavailable as error:
        if _WRONG_KIND in str(error):
            raise TargetRefused(str(error), "WrongType") from error
        raise TargetUnavailable(str(error)) from error
