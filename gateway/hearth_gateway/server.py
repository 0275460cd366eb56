"""The one port: the Lambda API, function URLs, and Hearth's own few paths.

Rule 1: requests are told apart by their RAW target, because an ARN is one segment whose `%2F` must not be decoded.
Rule 2: every answer has a request id; every error a documented form; what is unexpected is logged once, with its
traceback, and shown to nobody.
Rule 3: before anything is done for a request, it is proven who sent it and judged whether they may; only `/health`,
signed links and function URLs that are open to everybody ask nobody.
Rule 4: stopping takes no new connection, lets what runs finish within a grace, and then closes.
"""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Protocol, Self
from urllib.parse import parse_qs, quote

import orjson
import structlog
from aiohttp import ClientError, web

from hearth.access_keys import AccessKeys
from hearth.core.errors import HearthError, ServiceError, UnknownOperation
from hearth.core.invocation import MAX_REQUEST_BYTES
from hearth.ports import LogReader, Scheduler
from hearth.registry import Registry
from hearth_gateway.auth.authentication import Authenticator, Ticket, verify_aside
from hearth_gateway.auth.gate import Gate, Permit
from hearth_gateway.auth.refusals import Refusals
from hearth_gateway.auth.url_guard import UrlGuard
from hearth_gateway.core.endpoint import Endpoint
from hearth_gateway.core.error_rendering import render
from hearth_gateway.core.http_event import HttpRequest
from hearth_gateway.core.http_head import Head
from hearth_gateway.core.operations import ApiResponse, Route, route
from hearth_gateway.core.sigv4 import Signed
from hearth_gateway.core.tracing import REQUEST_ID_BYTES, request_id
from hearth_gateway.fast_lane import ANSWERED_S, FastLane, Handler
from hearth_gateway.function_url import FunctionUrls
from hearth_gateway.http_noise import server_log
from hearth_gateway.invoke import INVOKE_PREFIX, INVOKE_SUFFIX, MAX_INVOKE_ASYNC_BYTES, REQUEST_ID, Events, Invoker
from hearth_gateway.neighbours.entrance import NeighbourEntrance
from hearth_gateway.neighbours.neighbours import Neighbours
from hearth_gateway.neighbours.service_choice import is_of_neighbours
from hearth_gateway.open_doors import OpenDoor
from hearth_gateway.own_pages import (
    CODE_PREFIX,
    HEALTH,
    KEYS,
    LOGS_PREFIX,
    KeyPages,
    LogPages,
    OwnPage,
    health_for,
    is_own,
)
from hearth_gateway.plain_invocations import PlainInvocations
from hearth_gateway.random_bytes import RandomBytes
from hearth_gateway.request_body import read_body
from hearth_gateway.streaming import ResponseStreams
from hearth_gateway.streaming import head as _head
from hearth_gateway.url_requests import UrlRequests, is_for_url

GRACE_S = 10.0
MAX_UPLOAD_BYTES = 70_167_211
"""Body of the requests that bring a package, as the service enforces it."""
PARALLEL_UPLOADS = 4
"""Uploads in memory at once; further ones wait for their turn with their bodies unread."""

_UPLOADS = frozenset({"CreateFunction", "PublishLayerVersion", "UpdateFunctionCode"})
_JSON = {"Content-Type": "application/json"}


class Api(Protocol):
    """Every operation but Invoke. `permit` is asked with the request's members before anything is done."""

    async def handle(
        self,
        route: Route,
        query: Mapping[str, list[str]],
        headers: Mapping[str, str],
        body: bytes,
        *,
        permit: Permit,
    ) -> ApiResponse: ...


class SignedPackages(Protocol):
    """Packages that may be downloaded with a signed link."""

    def signed_file(self, sha256: str, expires: str, signature: str, now_s: float) -> Path: ...


@dataclass(frozen=True, slots=True)
class Services:
    """What the server stands in front of. `health` gives what `/health` shows."""

    registry: Registry
    scheduler: Scheduler
    events: Events
    api: Api
    packages: SignedPackages
    logs: LogReader
    health: Callable[[], Mapping[str, object]]
    authenticator: Authenticator
    gate: Gate
    keys: AccessKeys
    url_guard: UrlGuard
    neighbours: Neighbours
    pages: Mapping[str, OwnPage] = field(default_factory=dict)
    """Hearth's own further paths, by what they begin with (`/_hearth/invocations`)."""
    open_doors: Mapping[str, OpenDoor] = field(default_factory=dict)
    """Paths whose requests prove themselves in another way, by what they begin with (`/hooks/`)."""


class GatewayServer:
    """The HTTP server. An async context manager: entered, it listens; left, everything is closed. `also`: further
    addresses to listen on, on the same port."""

    def __init__(
        self,
        services: Services,
        endpoint: Endpoint,
        *,
        host: str,
        port: int,
        also: Sequence[str] = (),
        grace_s: float = GRACE_S,
    ) -> None:
        self._services = services
        self._hosts = [host, *also]
        self._port = port
        self._grace_s = grace_s
        self._invoker = Invoker(services.registry, services.scheduler, endpoint, services.events)
        urls = FunctionUrls(services.registry, services.scheduler, endpoint.port, services.url_guard)
        self._urls = UrlRequests(urls, services.scheduler)
        self._streams = ResponseStreams(self._invoker, services.scheduler)
        self._uploads = asyncio.Semaphore(PARALLEL_UPLOADS)
        self._random = RandomBytes()
        self._authenticator = services.authenticator
        self._gate = services.gate
        self._refusals = Refusals()
        self._plain = PlainInvocations(
            self._invoker, services.scheduler, services.authenticator, services.gate, refusals=self._refusals
        )
        self._stopping = asyncio.Event()
        self._entrance = NeighbourEntrance(services.neighbours, services.authenticator, services.gate, self._stopping)
        self._key_pages = KeyPages(services.keys)
        self._log_pages = LogPages(services.registry, services.logs, services.gate, self._stopping)
        self._runner: web.ServerRunner | None = None
        self._lane: FastLane | None = None
        self._listener: asyncio.Server | None = None

    @property
    def port(self) -> int:
        """The port listened on, also where the system chose it."""
        return self._port

    async def __aenter__(self) -> Self:
        # Bodies reach functions as they were sent, so nothing is decompressed; one log line per invocation is the
        # scheduler's, so there is no access log.
        runner = web.ServerRunner(
            web.Server(self._watched, access_log=None, auto_decompress=False, logger=server_log()),
            shutdown_timeout=self._grace_s,
        )
        await runner.setup()
        assert runner.server is not None
        lane = FastLane(self._plainly, runner.server)
        try:
            loop = asyncio.get_running_loop()
            self._listener = await loop.create_server(lane, self._hosts, self._port, backlog=1024)
        except BaseException:
            await runner.cleanup()
            raise
        self._runner, self._lane = runner, lane
        self._port = self._listener.sockets[0].getsockname()[1]
        lane.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._stopping.set()
        if self._listener is not None and self._lane is not None and self._runner is not None:
            self._listener.close()
            async with asyncio.TaskGroup() as ending:
                ending.create_task(self._lane.stop(self._grace_s), name="stop-fast-lane")
                ending.create_task(self._runner.cleanup(), name="stop-server")

    def _plainly(self, head: Head) -> Handler | None:
        """Who serves a plain request in the fast lane: what goes to a function, if nothing about it is special."""
        if head.method == "HEAD" or head.body_end - head.body_start > MAX_REQUEST_BYTES:
            return None
        if is_for_url(head.headers[b"host"].decode("latin-1"), head.target):
            return self._urls.plainly
        return self._plain.handler(head)

    async def _watched(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer a request, and see to it that the next one comes as a whole or not at all."""
        transport = request.transport
        assert self._lane is not None
        self._lane.heard(transport)
        try:
            return await self._handle(request)
        finally:
            if transport is not None:
                self._lane.expect(transport, ANSWERED_S)

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        identity = request_id(self._random.take(REQUEST_ID_BYTES))
        try:
            return await self._dispatch(request, identity)
        except HearthError as error:
            self._refusals.note(error, request.remote or "")
            return _error(error, identity)
        except (ConnectionError, ClientError):
            # The caller went away in the middle of its request; whatever is answered, nobody reads it.
            response = web.Response(status=400)
            response.force_close()
            return response
        except Exception:
            structlog.get_logger().exception("request failed", request_id=identity, path=request.raw_path)
            return _error(ServiceError("An internal error occurred. Please try again."), identity)

    async def _dispatch(self, request: web.BaseRequest, identity: str) -> web.StreamResponse:
        path, _, query = _origin_form(request.raw_path).partition("?")
        if is_for_url(request.headers.get("Host", ""), path):
            return await self._urls.respond(request, path, query, identity)
        if path == HEALTH or path.startswith(CODE_PREFIX):
            return self._open_page(request, path, parse_qs(query), identity=identity)
        for prefix, door in self._services.open_doors.items():
            if path.startswith(prefix):
                return await self._through(door, request, path, query, identity=identity)
        if is_of_neighbours(path):
            return _answer(await self._entrance.respond(request, _signed(request), identity), identity)
        ticket = self._authenticator.examine(_signed(request), request.remote or "").of_lambda()
        return await self._for_someone(request, ticket, identity)

    async def _for_someone(self, request: web.BaseRequest, ticket: Ticket, identity: str) -> web.StreamResponse:
        """What needs a signature. The ticket is still to be verified, with the body."""
        path, query = ticket.request.path, ticket.request.query
        if path.startswith(INVOKE_PREFIX) and request.method == "POST":
            label = path[len(INVOKE_PREFIX) :].removesuffix("/")
            if label.endswith(INVOKE_SUFFIX):
                return await self._invoke(request, ticket, label[: -len(INVOKE_SUFFIX)], identity=identity)
        if is_own(path):
            return await self._own(request, ticket, identity)
        found = route(request.method, path, query)
        if found is None:
            raise UnknownOperation(f"{request.method} {path} is no operation of this service.")
        if found.operation == "InvokeWithResponseStream":
            return await self._stream(request, ticket, found, identity=identity)
        if found.operation == "InvokeAsync":
            return await self._invoke_async(request, ticket, found, identity=identity)
        return _answer(await self._operate(request, ticket, found), identity)

    async def _invoke_async(
        self, request: web.BaseRequest, ticket: Ticket, found: Route, *, identity: str
    ) -> web.StreamResponse:
        body = await verify_aside(ticket, await read_body(request, MAX_REQUEST_BYTES, found.operation))
        label = quote(found.labels["FunctionName"], safe="")
        self._gate.permit_invocation(ticket.caller, label, "")
        answer = await self._invoker.accept(
            label, "", request.headers, body=body, request_id=identity, max_bytes=MAX_INVOKE_ASYNC_BYTES
        )
        return _answer(answer, identity)

    async def _invoke(
        self, request: web.BaseRequest, ticket: Ticket, label: str, *, identity: str
    ) -> web.StreamResponse:
        body = await verify_aside(ticket, await read_body(request, MAX_REQUEST_BYTES, "InvokeFunction"))
        query = ticket.request.query
        self._gate.permit_invocation(ticket.caller, label, query)
        answer = await self._invoker.invoke(label, query, request.headers, body=body, request_id=identity)
        return _answer(answer, identity)

    async def _stream(
        self, request: web.BaseRequest, ticket: Ticket, found: Route, *, identity: str
    ) -> web.StreamResponse:
        body = await verify_aside(ticket, await read_body(request, MAX_REQUEST_BYTES, found.operation))
        label, query = found.labels["FunctionName"], ticket.request.query
        self._gate.permit_invocation(ticket.caller, label, query)
        return await self._streams.respond(request, label, query, body=body, identity=identity)

    async def _operate(self, request: web.BaseRequest, ticket: Ticket, found: Route) -> ApiResponse:
        operation = found.operation
        pairs = parse_qs(ticket.request.query, keep_blank_values=True)
        handle = partial(self._services.api.handle, permit=partial(self._gate.permit, ticket.caller, found))
        if operation not in _UPLOADS:
            body = await verify_aside(ticket, await read_body(request, MAX_REQUEST_BYTES, operation))
            return await handle(found, pairs, request.headers, body)
        async with self._uploads:
            body = await verify_aside(ticket, await read_body(request, MAX_UPLOAD_BYTES, operation))
            return await handle(found, pairs, request.headers, body)

    async def _through(
        self, door: OpenDoor, request: web.BaseRequest, path: str, query: str, *, identity: str
    ) -> web.StreamResponse:
        """What needs no signature of AWS's, because whoever stands behind the door knows another."""
        body = await read_body(request, door.max_bytes, path)
        protocol = f"HTTP/{request.version.major}.{request.version.minor}"
        headers = tuple(request.headers.items())
        arrived = HttpRequest(request.method, path, query, headers, body, request.remote or "", protocol)
        return _answer(await door.respond(arrived, identity), identity)

    def _open_page(
        self, request: web.BaseRequest, path: str, query: Mapping[str, list[str]], *, identity: str
    ) -> web.StreamResponse:
        """What needs no signature: the health, and packages for whoever has a link."""
        if request.method not in ("GET", "HEAD"):
            raise UnknownOperation(f"{request.method} {path} is no operation of this service.")
        if path == HEALTH:
            refused = {"refused": dict(self._refusals.counts)} if self._refusals.counts else {}
            told = health_for(self._services.health(), request.remote or "")
            health = orjson.dumps({**told, **refused})
            return _answer(ApiResponse(200, health, _JSON), identity)
        expires, signature = query.get("expires", [""])[0], query.get("signature", [""])[0]
        sha256 = path.removeprefix(CODE_PREFIX)
        file = self._services.packages.signed_file(sha256, expires, signature, time.time())
        return web.FileResponse(file, headers=_head({"Content-Type": "application/zip"}, identity))

    async def _own(self, request: web.BaseRequest, ticket: Ticket, identity: str) -> web.StreamResponse:
        """Hearth's own paths that need a signature."""
        path = ticket.request.path
        body = await verify_aside(ticket, await read_body(request, MAX_REQUEST_BYTES, path))
        if path == KEYS or path.startswith(f"{KEYS}/"):
            return _answer(await self._key_pages.respond(request.method, path, body, ticket.caller), identity)
        if path.startswith(LOGS_PREFIX) and request.method in ("GET", "HEAD"):
            name = path.removeprefix(LOGS_PREFIX)
            head = partial(_head, identity=identity)
            return await self._log_pages.show(request, ticket.caller, name=name, head=head)
        for prefix, page in self._services.pages.items():
            if path == prefix or path.startswith(f"{prefix}/"):
                query = parse_qs(ticket.request.query, keep_blank_values=True)
                answer = await page.respond(request.method, path, query, body=body, caller=ticket.caller)
                return _answer(answer, identity)
        raise UnknownOperation(f"{request.method} {path} is no operation of this service.")


def _signed(request: web.BaseRequest) -> Signed:
    """The request as it came by wire."""
    path, _, query = _origin_form(request.raw_path).partition("?")
    headers: dict[bytes, bytes] = {}
    for name, value in request.raw_headers:
        key = name.lower()
        headers[key] = headers[key] + b"," + value if key in headers else value
    return Signed(request.method, path, query, headers)


def _origin_form(target: str) -> str:
    """The target as a path. Clients that think we are a proxy send a whole URL (RFC 9112, section 3.2.2)."""
    if target.startswith("/"):
        return target
    rest = target.partition("://")[2]
    return rest[rest.find("/") :] if "/" in rest else "/"


def _answer(answer: ApiResponse, identity: str) -> web.Response:
    # An event that was accepted before, under the same key, is known by its own id.
    known = answer.headers.get(REQUEST_ID, identity)
    return web.Response(status=answer.status, headers=_head(answer.headers, known), body=answer.body)


def _error(error: HearthError, identity: str) -> web.Response:
    rendered = render(error)
    return _answer(ApiResponse(rendered.status, orjson.dumps(rendered.body), rendered.headers), identity)
