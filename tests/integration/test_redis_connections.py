"""Connections on real servers: TLS, a server that dies and comes back, a failover, a cluster whose slots move."""

import asyncio
import uuid
from collections.abc import Awaitable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from redis.asyncio import Redis
from redis.crc import key_slot
from tests.integration.redis_house import (
    NAME,
    SLOTS_EACH,
    Authority,
    Cluster,
    Server,
    Servers,
    free_port,
    servers,
    until_blocked,
    working,
    written,
)
from tests.unit.gateway.sources.stage import mapping

from hearth_gateway.adapters.redis_check import check_redis
from hearth_gateway.adapters.redis_connections import RedisConnections, Script
from hearth_gateway.adapters.redis_list import RedisQueues
from hearth_gateway.core.durability import Durability, durability_of
from hearth_gateway.core.mapping import TAG_DEAD_LETTER_LIST
from hearth_gateway.sources.ports import QueueUnavailable

pytestmark = [pytest.mark.redis, pytest.mark.timeout(120)]


@pytest.fixture
def made() -> Iterator[Servers]:
    with servers() as those:
        yield those


def key() -> str:
    return f"{{jobs-{uuid.uuid4().hex}}}"


async def ping(url: str) -> Any:
    async with RedisConnections.fixed(url) as connections:
        return await connections.connection().ask("", lambda client: cast(Awaitable[Any], client.ping()))


# -- one server -------------------------------------------------------------------------------------------------------


async def test_a_script_runs_by_its_digest_and_is_sent_once_where_it_is_unknown(redis_url: str) -> None:
    script = Script(f"-- {uuid.uuid4().hex}\nreturn {{KEYS[1], ARGV[1], redis.call('INCR', KEYS[1])}}")
    async with RedisConnections.fixed(redis_url) as connections:
        connection = connections.connection()
        own = uuid.uuid4().hex
        assert await connection.run(script, [own], ["x"]) == [own.encode(), b"x", 1]
        assert await connection.run(script, [own], ["x"]) == [own.encode(), b"x", 2]
        assert await connection.run_durably(script, [own], ["x"]) == [own.encode(), b"x", 3]
        known = await connection.ask("", lambda client: cast(Awaitable[Any], client.script_exists(script.sha)))
    assert known == [True]


async def test_what_a_script_refuses_is_said_and_not_repeated(redis_url: str) -> None:
    own = uuid.uuid4().hex
    script = Script("redis.call('INCR', KEYS[1]) return redis.error_reply('ODD no')")
    async with RedisConnections.fixed(redis_url) as connections:
        connection = connections.connection()
        for call in (connection.run, connection.run_durably):
            with pytest.raises(QueueUnavailable, match="ODD no"):
                await call(script, [own], [])
        count = await connection.ask(own, lambda client: cast(Awaitable[Any], client.get(own)))
    assert count == b"2"


async def test_the_check_says_what_the_server_keeps(redis_url: str) -> None:
    async with RedisConnections.fixed(redis_url) as connections:
        facts = await check_redis(connections.connection())
    assert durability_of(facts) is Durability.EVERY_WRITE
    assert facts.role == "master" and facts.version


async def test_a_blocking_wait_ends_from_the_side_and_goes_on_working(redis_url: str) -> None:
    own = uuid.uuid4().hex
    async with RedisConnections.fixed(redis_url) as connections:
        wait = connections.connection().wait(own)

        def blocked(client: Redis) -> Awaitable[Any]:
            return cast(Awaitable[Any], client.blpop([own], 30))

        waiting = asyncio.create_task(wait.run(30, blocked), name="wait")
        while not waiting.done():
            await wait.interrupt()
            await asyncio.sleep(0.02)
        assert await waiting is None
        await connections.connection().ask(own, lambda client: cast(Awaitable[Any], client.rpush(own, "x")))
        assert await wait.run(30, blocked) == (own.encode(), b"x")
        await wait.close()


async def test_a_changed_url_is_taken_up_by_whoever_waits(redis_url: str) -> None:
    urls: dict[str, str] = {"a": f"{redis_url}/1"}
    own = uuid.uuid4().hex
    async with RedisConnections(urls.get) as connections:
        connection = connections.connection("a")
        wait = connection.wait(own)

        def blocked(client: Redis) -> Awaitable[Any]:
            return cast(Awaitable[Any], client.blpop([own], 30))

        waiting = asyncio.create_task(wait.run(30, blocked), name="wait")
        await until_blocked(connection, own, "blpop")
        urls["a"] = f"{redis_url}/2"
        await connections.changed("a")
        with pytest.raises(QueueUnavailable):
            await waiting
        async with RedisConnections.fixed(f"{redis_url}/2") as others:
            await others.connection().ask(own, lambda client: cast(Awaitable[Any], client.rpush(own, "x")))
        assert await wait.run(30, blocked) == (own.encode(), b"x")
        del urls["a"]
        await connections.changed("a")
        with pytest.raises(QueueUnavailable, match="no connection named 'a'"):
            await wait.run(30, blocked)
        with pytest.raises(QueueUnavailable, match="no connection named 'a'"):
            connections.connection("a")
        await wait.close()


async def test_a_list_goes_on_when_its_server_was_killed_and_came_back(made: Servers) -> None:
    port = free_port()
    server = made.add("--appendfsync", "always", published=port)
    async with working(f"redis://127.0.0.1:{port}", key()) as work:
        await work.push_many("before", 50)
        producer = asyncio.create_task(work.push_many("while", 50), name="producer")
        await asyncio.to_thread(server.kill)
        await asyncio.to_thread(server.start)
        await producer
        await work.push_many("after", 10)
        await work.until_all_handled()
    assert len(work.accepted) == 110


# -- TLS --------------------------------------------------------------------------------------------------------------


async def test_tls_trusts_whom_it_is_told_to_and_shows_its_own_certificate(made: Servers, tmp_path: Path) -> None:
    authority, stranger = Authority("ours"), Authority("strangers")
    certificate, private = authority.issue("server")
    own_certificate, own_private = authority.issue("client")
    files = written(tmp_path, ca=authority.pem, stranger=stranger.pem, certificate=own_certificate, private=own_private)
    port = free_port()
    made.add(
        *("--port", "0", "--tls-port", "6379", "--requirepass", "s3cret"),
        *("--tls-cert-file", "/server.pem", "--tls-key-file", "/server.key", "--tls-ca-cert-file", "/ca.pem"),
        files={"server.pem": certificate, "server.key": private, "ca.pem": authority.pem},
        published=port,
    )
    where = f"rediss://:s3cret@127.0.0.1:{port}"
    client = f"ssl_certfile={files['certificate']}&ssl_keyfile={files['private']}"
    async with working(f"{where}?ssl_ca_certs={files['ca']}&{client}", key()) as work:
        await work.push_many("tls", 20)
        await work.until_all_handled()
    assert await ping(f"{where}?ssl_cert_reqs=none&{client}")
    for wrong in (
        f"{where}?ssl_ca_certs={files['stranger']}&{client}",
        f"{where}?ssl_ca_certs={files['ca']}",
        f"{where}?{client}",
        f"redis://:s3cret@127.0.0.1:{port}",
        f"rediss://:wrong@127.0.0.1:{port}?ssl_ca_certs={files['ca']}&{client}",
    ):
        with pytest.raises(QueueUnavailable) as refused:
            await ping(wrong)
        assert "s3cret" not in str(refused.value)


# -- sentinels --------------------------------------------------------------------------------------------------------

_SENTINEL = """printf 'port 26379\\nprotected-mode no\\nsentinel monitor main {host} 6379 1\\n\
sentinel down-after-milliseconds main 500\\nsentinel failover-timeout main 3000\\n' > /tmp/sentinel.conf
exec redis-server /tmp/sentinel.conf --sentinel"""


async def test_a_failover_loses_nothing_that_the_new_master_had(made: Servers) -> None:
    def build() -> tuple[Server, str]:
        master = made.add()
        made.add("--replicaof", master.host, "6379")
        sentinel = made.add(script=_SENTINEL.format(host=master.host), port=26379)
        return master, f"redis+sentinel://127.0.0.1:1,{sentinel.address}/main"

    master, url = await asyncio.to_thread(build)
    async with working(url, key()) as work:
        await work.push_many("before", 30, replicas=1)
        await work.until_all_handled()
        await work.until_blocked()
        producer = asyncio.create_task(work.push_many("while", 30), name="producer")
        await asyncio.to_thread(master.kill)
        await producer
        await work.until_all_handled()
        facts = await check_redis(work.connections.connection(NAME))
    assert facts.role == "master"
    assert len(work.accepted) == 60


# -- a cluster --------------------------------------------------------------------------------------------------------


def keys_of_all_nodes() -> list[str]:
    """A list for each of the three masters."""
    found: dict[int, str] = {}
    while len(found) < 3:
        one = key()
        found[key_slot(one.encode()) // SLOTS_EACH] = one
    return [found[number] for number in range(3)]


async def test_a_list_whose_dead_letters_would_be_on_another_node_is_refused() -> None:
    plain = mapping(source_arn=f"arn:hearth:redis:us-east-1:000000000000:{NAME}/list/jobs")
    tagged = mapping(source_arn=f"arn:hearth:redis:us-east-1:000000000000:{NAME}/list/{{jobs}}")
    named = mapping(source_arn=plain.source_arn, tags={TAG_DEAD_LETTER_LIST: "{jobs}:dead"})
    async with RedisConnections.fixed("redis://127.0.0.1:1", {NAME: "redis+cluster://127.0.0.1:1"}) as connections:
        queues = RedisQueues(connections, run="run", previous_run=None)
        with pytest.raises(QueueUnavailable, match="one hash slot"):
            queues.open(plain)
        for fine in (tagged, named):
            await queues.open(fine).close()


async def test_lists_on_all_nodes_of_a_cluster_are_worked_off_also_while_a_slot_moves(made: Servers) -> None:
    cluster = await asyncio.to_thread(Cluster, made)
    try:
        await cluster.join()
        first, second, third = keys_of_all_nodes()
        async with working(cluster.url, first) as one, working(cluster.url, second) as two:
            async with working(cluster.url, third) as three:
                await asyncio.gather(*(work.push_many("here", 20) for work in (one, two, three)))
                await asyncio.gather(*(work.until_all_handled() for work in (one, two, three)))
            await two.until_blocked()
            producer = asyncio.create_task(two.push_many("while", 60), name="producer")
            await cluster.move(key_slot(second.encode()), 1, 2)
            await producer
            await two.push_many("after", 10)
            await two.until_all_handled()
        assert len(two.accepted) == 90
    finally:
        await cluster.close()
