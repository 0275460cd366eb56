"""Redis servers of every kind for tests: with TLS, with sentinels, as a cluster; and a list worked off on them."""

import asyncio
import datetime
import io
import ipaddress
import os
import socket
import tarfile
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import docker
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from redis.asyncio import Redis
from tests.conftest import OWNER_LABEL, REDIS_IMAGE
from tests.unit.gateway.sources.stage import NamedFunctions, ScriptedScheduler, bodies, good, mapping

from hearth.core.invocation import Invocation, Outcome
from hearth_gateway.adapters.redis_connections import RedisConnection, RedisConnections
from hearth_gateway.adapters.redis_list import RedisQueues
from hearth_gateway.sources.list_source import ListSource
from hearth_gateway.sources.ports import QueueUnavailable, Surroundings, SystemClock

NAME = "other"
"""The name of the connection that tests use."""
SLOTS_EACH = 5_462
"""Slots of each of a cluster's three masters, but for the last, which has fewer."""
_START_S = 20.0


@dataclass
class Server:
    """A server in a container."""

    container: Any
    port: int = 6379

    @property
    def host(self) -> str:
        self.container.reload()
        return str(self.container.attrs["NetworkSettings"]["IPAddress"])

    @property
    def address(self) -> str:
        return f"{self.host}:{self.port}"

    def kill(self) -> None:
        """As by a power failure of the server alone."""
        self.container.kill()

    def start(self) -> None:
        self.container.start()
        self.wait_ready()

    def wait_ready(self) -> None:
        """Until it takes connections."""
        ends = time.monotonic() + _START_S
        while True:
            with suppress(OSError), socket.create_connection((self.host, self.port), timeout=1):
                return
            assert time.monotonic() < ends, self.container.logs().decode()[-2_000:]
            time.sleep(0.05)


class Servers:
    """Makes servers, and removes them at the end."""

    def __init__(self, engine: Any) -> None:
        self._engine = engine
        self._made: list[Any] = []

    def add(
        self,
        *arguments: str,
        port: int = 6379,
        files: Mapping[str, bytes] | None = None,
        published: int | None = None,
        script: str | None = None,
    ) -> Server:
        """A server with these settings; `script` is what runs instead of it."""
        entrypoint = {"entrypoint": ["sh", "-c", script], "command": []} if script else {"command": list(arguments)}
        container = self._engine.containers.create(
            REDIS_IMAGE,
            labels={OWNER_LABEL: str(os.getpid())},
            ports={f"{port}/tcp": ("127.0.0.1", published)} if published else None,
            **entrypoint,
        )
        self._made.append(container)
        if files:
            container.put_archive("/", _tar(files))
        container.start()
        server = Server(container, port)
        server.wait_ready()
        return server

    def close(self) -> None:
        for container in self._made:
            container.remove(force=True, v=True)


@contextmanager
def servers() -> Iterator[Servers]:
    """Servers as long as the `with` lasts."""
    engine = docker.from_env()
    made = Servers(engine)
    try:
        yield made
    finally:
        made.close()
        engine.close()


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def _tar(files: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(content), 0o644
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


# -- a cluster --------------------------------------------------------------------------------------------------------


class Cluster:
    """Three masters."""

    def __init__(self, made: Servers) -> None:
        options = ("--cluster-enabled", "yes", "--cluster-node-timeout", "2000")
        self.nodes = [made.add(*options) for _ in range(3)]
        self.hosts = [node.host for node in self.nodes]
        self.clients = [Redis(host=host, decode_responses=True) for host in self.hosts]

    @property
    def url(self) -> str:
        return f"redis+cluster://127.0.0.1:1,{self.hosts[0]}:6379"

    async def join(self) -> None:
        for number, client in enumerate(self.clients):
            first, last = number * SLOTS_EACH, min(16_383, (number + 1) * SLOTS_EACH - 1)
            await self.ask(client, "CLUSTER", "ADDSLOTSRANGE", first, last)
            if number:
                await self.ask(client, "CLUSTER", "MEET", self.hosts[0], 6379)
        for client in self.clients:
            while "cluster_state:ok" not in await self.ask(client, "CLUSTER", "INFO"):  # noqa: ASYNC110
                await asyncio.sleep(0.05)

    async def move(self, slot: int, source: int, target: int) -> None:
        """The slot and its keys, while everybody works."""
        ids = [await self.ask(client, "CLUSTER", "MYID") for client in self.clients]
        await self.ask(self.clients[target], "CLUSTER", "SETSLOT", slot, "IMPORTING", ids[source])
        await self.ask(self.clients[source], "CLUSTER", "SETSLOT", slot, "MIGRATING", ids[target])
        while keys := await self.ask(self.clients[source], "CLUSTER", "GETKEYSINSLOT", slot, 100):
            await self.ask(self.clients[source], "MIGRATE", self.hosts[target], 6379, "", 0, 5_000, "KEYS", *keys)
        for number in (target, source, 3 - source - target):
            await self.ask(self.clients[number], "CLUSTER", "SETSLOT", slot, "NODE", ids[target])

    @staticmethod
    async def ask(client: Redis, *command: str | int) -> Any:
        return await client.execute_command(*command)  # type: ignore[no-untyped-call] # redis-py's own gap

    async def close(self) -> None:
        for client in self.clients:
            await client.aclose()


# -- certificates -----------------------------------------------------------------------------------------------------


@dataclass
class Authority:
    """A certificate authority of the test's own."""

    name: str
    key: Any = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))

    def __post_init__(self) -> None:
        self.certificate = self._signed(self.name, self.key.public_key(), is_authority=True)

    @property
    def pem(self) -> bytes:
        return cast(bytes, self.certificate.public_bytes(Encoding.PEM))

    def issue(self, name: str) -> tuple[bytes, bytes]:
        """A certificate for 127.0.0.1, and its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = self._signed(name, key.public_key())
        plain = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return certificate.public_bytes(Encoding.PEM), plain

    def _signed(self, name: str, public: Any, *, is_authority: bool = False) -> Any:
        now = datetime.datetime.now(datetime.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(_named(name))
            .issuer_name(_named(self.name))
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
            .add_extension(
                x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False
            )
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        )
        return builder.sign(self.key, hashes.SHA256())


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def written(folder: Path, **contents: bytes) -> Mapping[str, str]:
    """These files, and where they are."""
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    return {name: str(folder / name) for name in contents}


# -- a list that works ------------------------------------------------------------------------------------------------


class Work:
    """A list on a named connection with a source that reads it, and a producer that knows what was taken in."""

    def __init__(self, connections: RedisConnections, key: str) -> None:
        self.connections = connections
        self.key = key
        self.handled: Counter[str] = Counter()
        self.accepted: set[str] = set()
        self.scheduler = ScriptedScheduler(places=2)
        self.scheduler.answer = self._answer
        around = Surroundings(
            scheduler=self.scheduler,
            functions=NamedFunctions("worker"),
            clock=SystemClock(),
            region="us-east-1",
            account="000000000000",
            max_receive_count=5,
        )
        wanted = mapping(
            uuid=str(uuid.uuid4()), source_arn=f"arn:hearth:redis:us-east-1:000000000000:{NAME}/list/{key}"
        )
        self._queue = RedisQueues(connections, run=uuid.uuid4().hex, previous_run=None).open(wanted)
        self.source = ListSource(wanted, self._queue, around)

    def _answer(self, invocation: Invocation) -> Outcome:
        self.handled.update(bodies(invocation))
        return good()

    async def push(self, message: str, *, replicas: int = 0) -> None:
        """Push until the server has taken it, and so many replicas have too. What failed may be there all the same."""

        async def call(client: Redis) -> int:
            async with client.pipeline(transaction=False) as pipe:
                pipe.rpush(self.key, message)
                if replicas:
                    pipe.wait(replicas, 1_000)
                _, *waited = await pipe.execute()
            return int(waited[0]) if waited else 0

        connection = self.connections.connection(NAME)
        while True:
            with suppress(QueueUnavailable):
                if await connection.ask(self.key, call) >= replicas:
                    self.accepted.add(message)
                    return
            await asyncio.sleep(0.1)

    async def push_many(self, prefix: str, count: int, *, replicas: int = 0) -> None:
        for number in range(count):
            await self.push(f"{prefix}-{number}", replicas=replicas)

    async def until_all_handled(self) -> None:
        await eventually(lambda: self.accepted <= set(self.handled))

    async def until_blocked(self) -> None:
        """The source waits for more, in its blocking wait."""
        await until_blocked(self.connections.connection(NAME), self.key, "blmove")


async def until_blocked(connection: RedisConnection, key: str, command: str) -> None:
    """Some client of the server that has the key is in this command."""

    async def clients(client: Redis) -> Sequence[Mapping[str, str]]:
        return await cast(Awaitable[Sequence[Mapping[str, str]]], client.client_list())

    while not any(one["cmd"] == command for one in await connection.ask(key, clients)):  # noqa: ASYNC110 - a server's
        await asyncio.sleep(0.02)


@asynccontextmanager
async def working(url: str, key: str) -> AsyncIterator[Work]:
    """A list of that URL, worked off as long as the `with` lasts."""
    async with RedisConnections.fixed("redis://127.0.0.1:1", {NAME: url}) as connections:
        work = Work(connections, key)
        task = asyncio.create_task(work.source.run(), name="source")
        try:
            yield work
        finally:
            work.source.stop()
            await task
            await work._queue.close()


async def eventually(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 - the other side is a server, which sets no events
        await asyncio.sleep(0.02)
