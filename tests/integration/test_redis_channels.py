"""Channels on real servers: every kind of subscription, loss that is noticed, and a cluster."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from typing import Any, cast

import pytest
from redis.asyncio import Redis
from redis.crc import key_slot
from tests.integration.redis_house import NAME, SLOTS_EACH, Cluster, Servers, eventually, servers

from hearth_gateway.adapters.redis_channels import RedisChannel
from hearth_gateway.adapters.redis_connections import RedisConnection, RedisConnections
from hearth_gateway.core.addresses import ChannelAddress, ChannelKind
from hearth_gateway.core.channel_batch import Published
from hearth_gateway.sources.ports import QueueUnavailable

pytestmark = [pytest.mark.redis, pytest.mark.timeout(60)]


@pytest.fixture
def made() -> Iterator[Servers]:
    with servers() as those:
        yield those


def unique() -> str:
    return f"news-{uuid.uuid4().hex}"


class Ear:
    """A subscription that goes on until it is lost, and what it heard."""

    def __init__(self, connection: RedisConnection, kind: ChannelKind, name: str, *, ask_after_s: float = 10.0) -> None:
        self.heard: list[Published] = []
        self.is_subscribed = False
        self.channel = RedisChannel(connection, ChannelAddress(NAME, kind, name), ask_after_s=ask_after_s)
        self.task: asyncio.Task[None] = asyncio.create_task(self._listen(), name="ear")

    async def _listen(self) -> None:
        await self.channel.listen(self.heard.append, self._subscribed)

    def _subscribed(self) -> None:
        self.is_subscribed = True

    async def close(self) -> None:
        self.task.cancel()
        with suppress(asyncio.CancelledError, QueueUnavailable):
            await self.task
        await self.channel.close()


@asynccontextmanager
async def hearing(
    url: str, kind: ChannelKind, name: str, *, ask_after_s: float = 10.0
) -> AsyncIterator[tuple[Ear, RedisConnection]]:
    async with RedisConnections.fixed("redis://127.0.0.1:1", {NAME: url}) as connections:
        connection = connections.connection(NAME)
        ear = Ear(connection, kind, name, ask_after_s=ask_after_s)
        await eventually(lambda: ear.is_subscribed or ear.task.done())
        try:
            yield ear, connection
        finally:
            await ear.close()


async def ask(connection: RedisConnection, *command: str | bytes, key: str = "") -> Any:
    def call(client: Redis) -> Awaitable[Any]:
        return cast(Callable[..., Awaitable[Any]], client.execute_command)(*command)

    return await connection.ask(key, call)


async def pings(connection: RedisConnection) -> int:
    """How often the server was asked whether it is there."""
    counts = await connection.ask("", lambda client: client.info("commandstats"))
    return int(counts.get("cmdstat_ping", {"calls": 0})["calls"])


@pytest.mark.parametrize(
    ("kind", "suffix", "publish", "pattern"),
    [
        (ChannelKind.CHANNEL, ":a", "PUBLISH", None),
        (ChannelKind.PATTERN, ":*", "PUBLISH", ":*"),
        (ChannelKind.SHARD, ":a", "SPUBLISH", None),
    ],
)
async def test_every_kind_of_subscription_hears_its_messages_as_they_are(
    redis_url: str, kind: ChannelKind, suffix: str, publish: str, pattern: str | None
) -> None:
    name = unique()
    async with hearing(redis_url, kind, name + suffix) as (ear, connection):
        messages = [b"text", b"\xff\x00\r\n", b""]
        for message in messages:
            assert await ask(connection, publish, f"{name}:a", message) == 1
        await ask(connection, publish, f"{name}-other:a", b"not for us")
        await eventually(lambda: len(ear.heard) == 3)
        expected = None if pattern is None else name + pattern
        assert ear.heard == [Published(f"{name}:a", message, expected) for message in messages]


async def test_a_subscription_that_is_cut_is_said_to_be_lost_and_can_be_made_again(redis_url: str) -> None:
    name = unique()
    async with hearing(redis_url, ChannelKind.CHANNEL, name) as (ear, connection):
        await ask(connection, "CLIENT", "KILL", "TYPE", "pubsub")
        with pytest.raises(QueueUnavailable):
            await ear.task
        ear.is_subscribed = False
        ear.task = asyncio.create_task(ear._listen(), name="ear")
        await eventually(lambda: ear.is_subscribed)
        await ask(connection, "PUBLISH", name, b"again")
        await eventually(lambda: len(ear.heard) == 1)


async def test_a_silent_subscription_stays_as_long_as_the_server_answers(redis_url: str) -> None:
    name = unique()
    async with hearing(redis_url, ChannelKind.CHANNEL, name, ask_after_s=0.2) as (ear, connection):
        before = await pings(connection)
        while await pings(connection) < before + 3:  # noqa: ASYNC110 - a server's
            await asyncio.sleep(0.02)
        await ask(connection, "PUBLISH", name, b"x")
        await eventually(lambda: len(ear.heard) == 1)
        assert not ear.task.done()


async def test_a_server_that_hangs_is_noticed(made: Servers) -> None:
    server = await asyncio.to_thread(made.add)
    async with hearing(f"redis://{server.address}", ChannelKind.CHANNEL, unique(), ask_after_s=0.2) as (ear, _):
        await asyncio.to_thread(server.container.pause)
        with pytest.raises(QueueUnavailable, match="silent"):
            await ear.task
        await asyncio.to_thread(server.container.unpause)


async def test_a_changed_url_ends_the_subscription_at_the_old_server(redis_url: str) -> None:
    name = unique()
    urls: dict[str, str] = {NAME: redis_url}
    async with RedisConnections(urls.get) as connections:
        ear = Ear(connections.connection(NAME), ChannelKind.CHANNEL, name)
        await eventually(lambda: ear.is_subscribed)
        await connections.changed(NAME)
        with pytest.raises(QueueUnavailable):
            await ear.task
        await ear.close()


async def test_a_server_that_refuses_says_why(made: Servers) -> None:
    server = await asyncio.to_thread(made.add, "--requirepass", "s3cret")
    for url in (f"redis://{server.address}", f"redis://:wrong@{server.address}"):
        async with hearing(url, ChannelKind.CHANNEL, unique()) as (ear, _):
            with pytest.raises(QueueUnavailable) as refused:
                await ear.task
            assert "s3cret" not in str(refused.value)


async def test_a_cancelled_subscription_leaves_no_connection(redis_url: str) -> None:
    name = unique()
    async with hearing(redis_url, ChannelKind.CHANNEL, name) as (ear, connection):
        await ear.close()
        while await ask(connection, "PUBSUB", "NUMSUB", name) != [name.encode(), 0]:  # noqa: ASYNC110 - a server's
            await asyncio.sleep(0.02)


async def test_a_sharded_channel_is_heard_where_it_lives_and_found_again_when_it_moves(made: Servers) -> None:
    cluster = await asyncio.to_thread(Cluster, made)
    try:
        await cluster.join()
        name = next(one for one in iter(unique, "") if SLOTS_EACH <= key_slot(one.encode()) < 2 * SLOTS_EACH)
        async with hearing(cluster.url, ChannelKind.SHARD, name) as (ear, connection):
            assert await ask(connection, "SPUBLISH", name, b"here", key=name) == 1
            await eventually(lambda: len(ear.heard) == 1)
            await cluster.move(key_slot(name.encode()), 1, 2)
            with pytest.raises(QueueUnavailable, match="sunsubscribe"):
                await ear.task
            ear.is_subscribed = False
            ear.task = asyncio.create_task(ear._listen(), name="ear")
            await eventually(lambda: ear.is_subscribed)
            assert await ask(connection, "SPUBLISH", name, b"there", key=name) == 1
            await eventually(lambda: len(ear.heard) == 2)
    finally:
        await cluster.close()
