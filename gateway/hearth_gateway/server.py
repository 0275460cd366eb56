"""The one port: the Lambda API, function URLs, and Hearth's own few paths.

Rule 1: requests are told apart by their RAW target, because an ARN is one segment whose `%2F` must not be decoded.
Rule 2: every answer has a request id; every error a documented form; what is unexpected is logged once, with its
traceback, and shown to nobody.
Rule 3: stopping takes no new connection, lets what runs finish within a grace, and then closes.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self
from urllib.parse import parse_qs

import orjson
import structlog
from aiohttp import ClientError, web
from multidict import CIMultiDict

from hearth.core.errors import HearthError, InvalidParameterValue, ResourceNotFound, ServiceError, UnknownOperation
from hearth.core.invocation import MAX_REQUEST_BYTES, Outcome
from hearth.ports import LogReader, Scheduler
from hearth.registry import Registry
from hearth_gateway.core.endpoint import Endpoint
from hearth_gateway.core.error_rendering import render
from hearth_gateway.core.http_event import HttpRequest
from hearth_gateway.core.http_head import Head, LowerHeaders
from hearth_gateway.core.operations import ApiResponse, Route, route
from hearth_gateway.core.tracing import REQUEST_ID_BYTES, request_id
from hearth_gateway.fast_lane import Answer, Done, FastLane, Handler, answered, failed
from hearth_gateway.function_url import FunctionUrls, UrlTarget
from hearth_gateway.invoke import DRY_RUN, Invoker, answer
from hearth_gateway.random_bytes import RandomBytes
from hearth_gateway.request_body import read_body

GRACE_S = 10.0
MAX_UPLOAD_BYTES = 70_167_211
"""Body of CreateFunction and UpdateFunctionCode, as the service enforces it."""
PARALLEL_UPLOADS = 4
"""Uploads in memory at once; further ones wait for their turn with their bodies unread."""
LOG_BYTES = 65_536
"""What `/_hearth/logs/<name>` shows if not told otherwise."""

_UPLOADS = frozenset({"CreateFunction", "UpdateFunctionCode"})
_INVOKE_PREFIX = "/2015-03-31/functions/"
_INVOKE_SUFFIX = "/invocations"
_URL_PREFIX = "/fn/"
_URL_HOST = ".lambda-url."
_CODE_PREFIX = "/_hearth/code/"
_LOGS_PREFIX = "/_hearth/logs/"
_JSON = {"Content-Type": "application/json"}
# How often a silent stream looks whether its reader is still there.
_READER_CHECK_S = 1.0


class Api(Protocol):
    """Every operation but Invoke."""

    async def handle(
        self, route: Route, query: Mapping[str, list[str]], headers: Mapping[str, str], body: bytes
    ) -> ApiResponse: ...


class SignedPackages(Protocol):
    """Packages that may be downloaded with a signed link."""

    def signed_file(self, sha256: str, expires: str, signature: str, now_s: float) -> Path: ...


@dataclass(frozen=True, slots=True)
class Services:
    """What the server stands in front of. `health` gives what `/health` shows."""

    registry: Registry
    scheduler: Scheduler
    api: Api
    packages: SignedPackages
    logs: LogReader
    health: Callable[[], Mapping[str, object]]


class GatewayServer:
    """The HTTP server. An async context manager: entered, it listens; left, everything is closed."""

    def __init__(
        self, services: Services, endpoint: Endpoint, *, host: str, port: int, grace_s: float = GRACE_S
    ) -> None:
        self._services = services
        self._host = host
        self._port = port
        self._grace_s = grace_s
        self._invoker = Invoker(services.registry, services.scheduler, endpoint)
        self._urls = FunctionUrls(services.registry, services.scheduler, endpoint.port)
        self._uploads = asyncio.Semaphore(PARALLEL_UPLOADS)
        self._random = RandomBytes()
        self._stopping = asyncio.Event()
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
            web.Server(self._handle, access_log=None, auto_decompress=False), shutdown_timeout=self._grace_s
        )
        await runner.setup()
        assert runner.server is not None
        lane = FastLane(self._plainly, runner.server)
        try:
            loop = asyncio.get_running_loop()
            self._listener = await loop.create_server(lane, self._host, self._port, backlog=1024)
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
        if _URL_HOST in head.headers[b"host"].decode("latin-1") or head.target.startswith(_URL_PREFIX):
            return self._url_plainly
        is_invoke = head.target.startswith(_INVOKE_PREFIX) and head.method == "POST"
        return self._invoke_plainly if is_invoke and head.path.endswith(_INVOKE_SUFFIX) else None

    def _invoke_plainly(self, head: Head, body: bytes, peer: str, done: Done) -> "asyncio.Future[Outcome] | None":
        """An invocation from the fast lane; errors are answers."""
        identity = request_id(self._random.take(REQUEST_ID_BYTES))
        path, _, query = head.target.partition("?")
        label = path[len(_INVOKE_PREFIX) : -len(_INVOKE_SUFFIX)]
        try:
            headers = LowerHeaders(head.headers)
            invocation = self._invoker.prepare(label, query, headers, body=body, request_id=identity)
            if invocation is None:
                done(identity, answered(DRY_RUN))
                return None
            running = self._services.scheduler.submit(invocation)
        except Exception as error:  # the top of a request
            done(identity, failed(error))
            return None

        def conclude(outcome: "asyncio.Future[Outcome]") -> None:
            if outcome.cancelled():
                return
            try:
                response = answered(answer(invocation, outcome.result()))
            except Exception as error:  # the top of a request
                response = failed(error)
            done(identity, response)

        running.add_done_callback(conclude)
        return running

    def _url_plainly(self, head: Head, body: bytes, peer: str, done: Done) -> "asyncio.Future[None]":
        """A request to a function URL from the fast lane. The connection is the task's parent."""
        identity = request_id(self._random.take(REQUEST_ID_BYTES))

        async def respond() -> None:
            try:
                response = await self._url_answer(head, body, peer, identity)
            except Exception as error:  # the top of a request
                response = failed(error)
            done(identity, response)

        return asyncio.create_task(respond(), name="function-url")

    async def _url_answer(self, head: Head, body: bytes, peer: str, identity: str) -> Answer:
        path, _, query = head.target.partition("?")
        host = head.headers[b"host"].decode("latin-1")
        if _URL_HOST in host:
            target = self._urls.by_host(host.partition(".")[0].lower())
        else:
            name, slash, rest = path[len(_URL_PREFIX) :].partition("/")
            target, path = self._urls.by_name(name), slash + rest or "/"
        request = HttpRequest(
            method=head.method, path=path, query=query, headers=head.pairs(), body=body, source_ip=peer
        )
        response = await self._urls.respond(target, request, identity)
        return Answer(response.status, response.headers, response.body)

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        identity = request_id(self._random.take(REQUEST_ID_BYTES))
        try:
            return await self._dispatch(request, identity)
        except HearthError as error:
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
        host = request.headers.get("Host", "")
        if _URL_HOST in host:
            target = self._urls.by_host(host.partition(".")[0].lower())
            return await self._url(request, target, path, identity=identity)
        if path.startswith(_INVOKE_PREFIX) and request.method == "POST":
            label = path[len(_INVOKE_PREFIX) :].removesuffix("/")
            if label.endswith(_INVOKE_SUFFIX):
                return await self._invoke(request, label[: -len(_INVOKE_SUFFIX)], query, identity=identity)
        if path.startswith(_URL_PREFIX):
            name, slash, rest = path[len(_URL_PREFIX) :].partition("/")
            return await self._url(request, self._urls.by_name(name), slash + rest or "/", identity=identity)
        return await self._other(request, path, query, identity=identity)

    async def _invoke(self, request: web.BaseRequest, label: str, query: str, *, identity: str) -> web.StreamResponse:
        body = await read_body(request, MAX_REQUEST_BYTES, "InvokeFunction")
        answer = await self._invoker.invoke(label, query, request.headers, body=body, request_id=identity)
        return _answer(answer, identity)

    async def _url(
        self, request: web.BaseRequest, target: UrlTarget, path: str, *, identity: str
    ) -> web.StreamResponse:
        body = await read_body(request, MAX_REQUEST_BYTES, "InvokeFunction")
        arrived = HttpRequest(
            method=request.method,
            path=path,
            query=request.raw_path.partition("?")[2],
            headers=tuple(request.headers.items()),
            body=body,
            source_ip=request.remote or "",
            protocol=f"HTTP/{request.version.major}.{request.version.minor}",
        )
        response = await self._urls.respond(target, arrived, identity)
        headers = _head(response.headers, identity)
        return web.Response(status=response.status, headers=headers, body=response.body)

    async def _other(self, request: web.BaseRequest, path: str, query: str, *, identity: str) -> web.StreamResponse:
        if path.startswith("/_hearth/") or path == "/health":
            return await self._own(request, path, parse_qs(query), identity=identity)
        found = route(request.method, path, query)
        if found is None:
            raise UnknownOperation(f"{request.method} {path} is no operation of this service.")
        return _answer(await self._operate(request, found, query), identity)

    async def _operate(self, request: web.BaseRequest, found: Route, query: str) -> ApiResponse:
        operation = found.operation
        pairs = parse_qs(query, keep_blank_values=True)
        handle = self._services.api.handle
        if operation not in _UPLOADS:
            body = await read_body(request, MAX_REQUEST_BYTES, operation)
            return await handle(found, pairs, request.headers, body)
        async with self._uploads:
            body = await read_body(request, MAX_UPLOAD_BYTES, operation)
            return await handle(found, pairs, request.headers, body)

    async def _own(
        self, request: web.BaseRequest, path: str, query: Mapping[str, list[str]], *, identity: str
    ) -> web.StreamResponse:
        if request.method not in ("GET", "HEAD"):
            raise UnknownOperation(f"{request.method} {path} is no operation of this service.")
        if path == "/health":
            return _answer(ApiResponse(200, orjson.dumps(self._services.health()), _JSON), identity)
        if path.startswith(_CODE_PREFIX):
            return self._code(path.removeprefix(_CODE_PREFIX), query, identity)
        if path.startswith(_LOGS_PREFIX):
            return await self._logs(request, path.removeprefix(_LOGS_PREFIX), query, identity=identity)
        raise UnknownOperation(f"{request.method} {path} is no operation of this service.")

    def _code(self, sha256: str, query: Mapping[str, list[str]], identity: str) -> web.StreamResponse:
        expires, signature = query.get("expires", [""])[0], query.get("signature", [""])[0]
        path = self._services.packages.signed_file(sha256, expires, signature, time.time())
        return web.FileResponse(path, headers=_head({"Content-Type": "application/zip"}, identity))

    async def _logs(
        self, request: web.BaseRequest, name: str, query: Mapping[str, list[str]], *, identity: str
    ) -> web.StreamResponse:
        record = self._services.registry.find(name)
        if record is None:
            raise ResourceNotFound(f"Function not found: {name}")
        max_bytes = _whole_number(query.get("bytes", [str(LOG_BYTES)])[0])
        response = web.StreamResponse(headers=_head({"Content-Type": "application/x-ndjson"}, identity))
        if query.get("follow", ["0"])[0] in ("0", "false"):
            entries = await self._services.logs.tail(record.name, max_bytes)
            await response.prepare(request)
            for entry in entries:
                await response.write(_line(entry))
            return response
        async with aclosing(self._services.logs.follow(record.name, max_bytes)) as following:
            await response.prepare(request)
            await self._follow(request, response, following)
        return response

    async def _follow(
        self,
        request: web.BaseRequest,
        response: web.StreamResponse,
        following: AsyncGenerator[tuple[int, str, str], None],
    ) -> None:
        """Pass entries on until there are no more, the reader is gone, or we stop.

        A reader that goes is noticed when something is written to it, and a silent function never writes: hence
        the look at the connection.
        """
        async with asyncio.TaskGroup() as tasks:
            pump = tasks.create_task(_pump(response, following), name="follow-logs")
            stop = tasks.create_task(self._stopping.wait(), name="follow-logs-stop")
            while not (pump.done() or stop.done() or request.transport is None):
                await asyncio.wait((pump, stop), timeout=_READER_CHECK_S, return_when=asyncio.FIRST_COMPLETED)
            pump.cancel()
            stop.cancel()


async def _pump(response: web.StreamResponse, following: AsyncGenerator[tuple[int, str, str], None]) -> None:
    try:
        async for entry in following:
            await response.write(_line(entry))
    except ConnectionError:
        return  # the reader is gone


def _origin_form(target: str) -> str:
    """The target as a path. Clients that think we are a proxy send a whole URL (RFC 9112, section 3.2.2)."""
    if target.startswith("/"):
        return target
    rest = target.partition("://")[2]
    return rest[rest.find("/") :] if "/" in rest else "/"


def _line(entry: tuple[int, str, str]) -> bytes:
    return orjson.dumps(entry) + b"\n"


def _whole_number(text: str) -> int:
    if text.isascii() and text.isdigit() and len(text) <= len(str(2**40)):
        return int(text)
    raise InvalidParameterValue(f"{text!r} is not a number of bytes.")


def _answer(answer: ApiResponse, identity: str) -> web.Response:
    return web.Response(status=answer.status, headers=_head(answer.headers, identity), body=answer.body)


def _head(headers: Mapping[str, str] | Iterable[tuple[str, str]], identity: str) -> CIMultiDict[str]:
    """What every answer carries. Which software this is, and of which version, is nobody's business."""
    head = CIMultiDict(headers)
    head["x-amzn-RequestId"] = identity
    head.setdefault("Server", "Hearth")
    return head


def _error(error: HearthError, identity: str) -> web.Response:
    rendered = render(error)
    return _answer(ApiResponse(rendered.status, orjson.dumps(rendered.body), rendered.headers), identity)
