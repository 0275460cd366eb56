"""The neighbouring services behind a small HTTP server, and real clients of AWS's for them.

Who a request is from is decided by its access key alone; that signatures are verified is shown where the whole server
is tested.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

import botocore.session
from aiohttp import web
from botocore.config import Config

from hearth.access_keys import AccessKey, AccessKeys
from hearth.core.identity import Credential, Principal, SessionIssuer
from hearth.core.invocation import MAX_REQUEST_BYTES
from hearth.log_archive import LogArchive
from hearth.logs import FunctionLogs
from hearth.registry import Registry
from hearth.roles import RoleStore
from hearth.testing import InMemoryStore
from hearth_gateway.auth.authentication import Caller
from hearth_gateway.auth.gate import Gate
from hearth_gateway.core.authorization import Place
from hearth_gateway.neighbours.calls import NeighbourRequest, NeighbourService
from hearth_gateway.neighbours.composition import neighbours
from hearth_gateway.neighbours.service_choice import choose_service
from hearth_gateway.request_body import read_body

ACCOUNT, REGION = "000000000000", "us-east-1"
ADMIN = "AKIAADMIN"
START_MS = 1_795_000_000_000

_KEY = re.compile(r"Credential=([^/]+)/")


@dataclass
class House:
    """What the services stand on, and the clients of them."""

    port: int
    roles: RoleStore
    keys: AccessKeys
    logs: FunctionLogs
    now_ms: int = START_MS

    def advance(self, seconds: float) -> None:
        self.now_ms += int(seconds * 1000)

    async def add_user(self, name: str, *policies: str) -> str:
        """A user with these policies; gives their access key."""
        return (await self.keys.create(name, policies, self.now_ms / 1000)).access_key_id

    def principal(self, authorization: str, token: str) -> Principal:
        found = _KEY.search(authorization)
        credential = self.keys.secret_of(found[1] if found else ADMIN, token, self.now_ms / 1000)
        assert isinstance(credential, Credential), credential
        return credential.principal

    def client(self, service: str, key: str = ADMIN, secret: str = "secret", token: str | None = None) -> "Client":
        session = botocore.session.Session()
        session.set_credentials(key, secret, token)
        made = session.create_client(
            service,
            region_name=REGION,
            endpoint_url=f"http://127.0.0.1:{self.port}",
            # Without the client's own checks: it is the server's that are tested.
            config=Config(retries={"total_max_attempts": 1}, inject_host_prefix=False, parameter_validation=False),
        )
        return Client(made)

    def assumed(self, service: str, credentials: Mapping[str, str]) -> "Client":
        """A client with temporary credentials."""
        return self.client(
            service, credentials["AccessKeyId"], credentials["SecretAccessKey"], credentials["SessionToken"]
        )


class Client:
    """A botocore client whose calls can be awaited. Every answer is parsed by the service's own model."""

    def __init__(self, client: Any) -> None:
        self.raw = client

    async def __call__(self, operation: str, /, **parameters: object) -> dict[str, Any]:
        return cast(dict[str, Any], await asyncio.to_thread(getattr(self.raw, operation), **parameters))

    async def code(self, operation: str, /, **parameters: object) -> tuple[str, int]:
        """The code and HTTP status of the error that the call ends with."""
        error = await self.error(operation, **parameters)
        return error.response["Error"]["Code"], error.response["ResponseMetadata"]["HTTPStatusCode"]

    async def error(self, operation: str, /, **parameters: object) -> Any:
        try:
            await self(operation, **parameters)
        except self.raw.exceptions.ClientError as error:
            return error
        raise AssertionError(f"{operation} succeeded")


@asynccontextmanager
async def house(directory: Path, more: Mapping[str, NeighbourService] | None = None) -> AsyncIterator[House]:
    """The services over empty stores, and `more` by signing name."""
    roles = RoleStore(InMemoryStore())
    keys = AccessKeys(InMemoryStore(), ACCOUNT, AccessKey(ADMIN, "secret"), SessionIssuer(b"k" * 32))
    keys.role_policies = roles.policies_of
    logs = FunctionLogs(directory / "logs", 2**20, clock=lambda: opened.now_ms / 1000)
    opened = House(0, roles, keys, logs)
    async with logs:
        server = web.ServerRunner(web.Server(_handler(opened, more or {})), shutdown_timeout=1)
        await server.setup()
        site = web.TCPSite(server, "127.0.0.1", 0)
        await site.start()
        opened.port = server.addresses[0][1]
        yield opened
        await server.cleanup()


def _handler(opened: House, more: Mapping[str, NeighbourService]) -> Callable[[web.BaseRequest], Any]:
    services = neighbours(
        Place(REGION, ACCOUNT),
        opened.roles,
        opened.keys,
        LogArchive(opened.logs),
        more=more,
        now_ms=lambda: opened.now_ms,
    )

    gate = Gate(Registry(InMemoryStore()), Place(REGION, ACCOUNT), clock=lambda: opened.now_ms / 1000)
    gate.has_role = opened.roles.exists

    async def handle(request: web.BaseRequest) -> web.Response:
        body = await read_body(request, MAX_REQUEST_BYTES, "/")
        path, _, query = request.raw_path.partition("?")
        service = choose_service(request.method, path, query, headers=request.headers, body=body)
        headers = request.headers
        who = opened.principal(headers.get("Authorization", ""), headers.get("X-Amz-Security-Token", ""))
        asked = NeighbourRequest(
            request.method,
            query,
            headers,
            body,
            "1-2-3",
            source_ip="127.0.0.1",
            path=path,
            is_there=lambda: request.transport is not None,
        )
        caller = Caller(who, service, REGION, "127.0.0.1")
        answer = await services.handle(service, asked, who, partial(gate.authorize, caller))
        return web.Response(status=answer.status, body=answer.body, headers=answer.headers)

    return handle
