"""A real server on a loopback socket, in front of a fake scheduler."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import aiohttp
from yarl import URL

from hearth.access_keys import AccessKey, AccessKeys
from hearth.core.attachments import Cors, UrlConfig
from hearth.core.errors import AccessDenied, InvalidParameterValue
from hearth.core.function import FunctionName
from hearth.core.identity import SessionIssuer, root
from hearth.core.records import Configuration, Deployment, FunctionRecord, Package, VersionRecord
from hearth.core.runtimes import Catalogue
from hearth.log_archive import LogArchive
from hearth.logs import FunctionLogs
from hearth.registry import Registry
from hearth.roles import RoleStore
from hearth.testing import InMemoryStore
from hearth_gateway.auth.authentication import Authenticator, TrustingAuthenticator
from hearth_gateway.auth.gate import Gate, Permit
from hearth_gateway.auth.url_guard import UrlGuard
from hearth_gateway.core.async_event import AsyncEvent
from hearth_gateway.core.authorization import Place
from hearth_gateway.core.endpoint import Endpoint
from hearth_gateway.core.operations import ApiResponse, Route
from hearth_gateway.neighbours.composition import neighbours
from hearth_gateway.server import GatewayServer, Services
from hearth_gateway.testing import FakeScheduler

REGION, ACCOUNT = "us-east-1", "000000000000"
ENDPOINT = Endpoint(REGION, ACCOUNT, 9400, Catalogue.of("python3.13"))
ADMIN = AccessKey("AKIAADMIN", "admin-secret")
URL_ID = "abcdefghijklmnopqrstuvwxyz012345"


def record(name: str, *, is_active: bool = True, url: bool = False, cors: Cors | None = None) -> FunctionRecord:
    """A function's record, with a URL if wanted."""
    configuration = Configuration(f"arn:aws:iam::{ACCOUNT}:role/r", "python3.13", "app.handler")
    version = VersionRecord("$LATEST", Deployment(configuration, Package("0" * 64, 1)), "r1", 0)
    return FunctionRecord(
        FunctionName(name),
        REGION,
        ACCOUNT,
        version.ready("r2") if is_active else version,
        urls={"$LATEST": UrlConfig(URL_ID, "NONE", 0, 0, cors=cors)} if url else {},
    )


class RecordingApi:
    """Stands for the operations that are not Invoke."""

    def __init__(self) -> None:
        self.calls: list[tuple[Route, Mapping[str, list[str]], bytes]] = []

    async def handle(
        self, route: Route, query: Mapping[str, list[str]], headers: Mapping[str, str], body: bytes, *, permit: Permit
    ) -> ApiResponse:
        permit(route.labels)
        self.calls.append((route, query, body))
        if body == b"refuse":
            raise InvalidParameterValue("refused")
        if body == b"break":
            raise ZeroDivisionError("secret detail")
        return ApiResponse(200, b'{"ok":true}', {"Content-Type": "application/json"})


def access_keys() -> AccessKeys:
    """The administrator's key, and a store for more."""
    return AccessKeys(InMemoryStore(), ACCOUNT, ADMIN, SessionIssuer(bytes(32)))


class RecordingEvents:
    """Takes asynchronous invocations, and keeps them."""

    def __init__(self) -> None:
        self.accepted: list[AsyncEvent] = []
        self.accepted_once: dict[str, str] = {}

    async def accept(self, event: AsyncEvent, once: str = "") -> str:
        first = self.accepted_once.setdefault(once, event.id) if once else event.id
        if first == event.id:
            self.accepted.append(event)
        return first


class OnePackage:
    """Knows one signature for one file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def signed_file(self, sha256: str, expires: str, signature: str, now_s: float) -> Path:
        if (sha256, expires, signature) != ("a" * 64, "99", "good"):
            raise AccessDenied("The link's signature does not match.")
        return self.path


@dataclass
class Served:
    """The server under test and what stands behind it."""

    server: GatewayServer
    client: aiohttp.ClientSession
    registry: Registry
    scheduler: FakeScheduler
    api: RecordingApi
    logs: FunctionLogs
    package: OnePackage
    health: dict[str, object] = field(default_factory=dict)
    events: RecordingEvents = field(default_factory=RecordingEvents)

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.server.port}"

    def url(self, target: str) -> URL:
        """A target that reaches the wire exactly as written."""
        return URL(self.base + target, encoded=True)

    async def put(self, added: FunctionRecord) -> None:
        async with self.registry.writing(added.name):
            await self.registry.put(added)

    async def configure_url(self, name: str, cors: Cors | None = None) -> None:
        found = self.registry.find(name)
        assert found is not None
        await self.put(replace(found, urls={"$LATEST": UrlConfig(URL_ID, "NONE", 0, 0, cors=cors)}))


@asynccontextmanager
async def serving(
    directory: Path,
    grace_s: float = 10.0,
    *,
    authenticator: Authenticator | None = None,
    keys: AccessKeys | None = None,
    wants_statement: bool = False,
) -> AsyncIterator[Served]:
    """A server with the functions `hello` (without a URL), `web` (with one) and `unready`. Everybody may do everything
    unless an authenticator is given."""
    registry, scheduler, api = Registry(InMemoryStore()), FakeScheduler(), RecordingApi()
    events = RecordingEvents()
    keys, roles = keys or access_keys(), RoleStore(InMemoryStore())
    keys.role_policies = roles.policies_of
    package = OnePackage(directory / "package.zip")
    health: dict[str, object] = {"status": "ok"}
    async with FunctionLogs(directory / "logs", 2**20) as logs:
        authenticator, gate = (
            authenticator or TrustingAuthenticator(root(ACCOUNT), REGION),
            Gate(registry, Place(REGION, ACCOUNT)),
        )
        services = Services(
            registry,
            scheduler,
            events,
            api,
            package,
            logs,
            lambda: health,
            authenticator,
            gate,
            keys,
            UrlGuard(authenticator, gate, wants_statement=wants_statement),
            neighbours(Place(REGION, ACCOUNT), roles, keys, LogArchive(logs)),
        )
        async with (
            GatewayServer(services, ENDPOINT, host="127.0.0.1", port=0, grace_s=grace_s) as server,
            aiohttp.ClientSession(auto_decompress=False) as client,
        ):
            served = Served(server, client, registry, scheduler, api, logs, package, health, events)
            await served.put(record("hello"))
            await served.put(record("web", url=True))
            await served.put(record("unready", is_active=False))
            yield served
