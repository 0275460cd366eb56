"""The Lambda Runtime API, version 2018-06-01, for any runtime client that speaks HTTP on 127.0.0.1:9001.

The listening socket belongs to the container's own network namespace and was handed over by the init; connections are
accepted on it here. Source: AWS Lambda developer guide, "Using the Lambda runtime API"; the error bodies are those of
AWS's open-source runtime interface emulator.

Rule 1: `next` has no time limit, and a connection is never closed between `next` and the answer.
Rule 2: trailers count. Go's client posts every answer chunked and says in a trailer that it failed half-way.
"""

import asyncio
import socket
from typing import Protocol

import httptools
import orjson
import structlog

from hearth.core.invocation import MAX_RESPONSE_BYTES, Invocation
from hearth_scheduler.core.runtime_talk import OutOfTurn

PREFIX = "/2018-06-01/runtime/"
MAX_CONNECTIONS = 32
OK = orjson.dumps({"status": "OK"})
REASONS = {200: b"OK", 202: b"Accepted", 400: b"Bad Request", 403: b"Forbidden", 404: b"Not Found", 413: b"Too Large"}
ERROR_TYPE = "lambda-runtime-function-error-type"

log = structlog.get_logger(__name__)


class RuntimeApi(Protocol):
    """What the runtime's requests are turned into. Raises OutOfTurn for what is not its turn."""

    def next(self) -> None:
        """The runtime asks for an event; it is delivered later."""

    def answer(self, request_id: str, body: bytes, *, error_type: str | None, oversize: int) -> None: ...

    def init_error(self, error_type: str, body: bytes) -> None: ...


class HttpRuntime:
    """The Runtime API server of one environment."""

    def __init__(self, listener: socket.socket, api: RuntimeApi, tasks: asyncio.TaskGroup) -> None:
        self._listener = listener
        self._api = api
        self._tasks = tasks
        self._loop = asyncio.get_running_loop()
        self._connections: set[_Connection] = set()
        self._asking: _Connection | None = None
        self._loop.add_reader(listener.fileno(), self._accept)

    def _accept(self) -> None:
        try:
            conn, _ = self._listener.accept()
        except OSError:
            return
        if len(self._connections) >= MAX_CONNECTIONS:
            conn.close()
            return
        conn.setblocking(False)
        conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection = _Connection(self)
        self._connections.add(connection)
        self._tasks.create_task(self._attach(connection, conn), name="runtime-api-connection")

    async def _attach(self, connection: "_Connection", conn: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(lambda: connection, conn)
        except OSError:
            self._connections.discard(connection)

    def gone(self, connection: "_Connection") -> None:
        self._connections.discard(connection)
        if self._asking is connection:
            self._asking = None

    def close(self) -> None:
        """Close all connections; the listener belongs to the link. Idempotent."""
        for connection in list(self._connections):
            connection.abort()
        self._connections.clear()

    def deliver(self, invocation: Invocation, deadline_ms: int) -> bool:
        """Answer the waiting `next`. False if nobody waits."""
        connection = self._asking
        if connection is None:
            return False
        self._asking = None
        connection.reply(200, invocation.payload, _event_headers(invocation, deadline_ms))
        return True

    def handle(self, connection: "_Connection", method: bytes, path: str, request: "_Request") -> None:
        """Route one request. Source: the OpenAPI document of the Runtime API."""
        try:
            self._route(connection, method, path, request)
        except OutOfTurn as refused:
            body = {"errorMessage": str(refused), "errorType": refused.error_type}
            connection.reply(refused.status, orjson.dumps(body))

    def _route(self, connection: "_Connection", method: bytes, path: str, request: "_Request") -> None:
        steps = path.removeprefix(PREFIX).split("/") if path.startswith(PREFIX) else []
        match method, steps:
            case b"GET", ["invocation", "next"]:
                self._asking = connection
                self._api.next()
            case b"POST", ["invocation", request_id, ("response" | "error") as what]:
                error_type = request.error_type if what == "error" or request.failed_half_way else None
                self._api.answer(request_id, bytes(request.body), error_type=error_type, oversize=request.oversize)
                self._acknowledge(connection, request)
            case b"POST", ["init", "error"]:
                self._api.init_error(request.error_type, bytes(request.body))
                connection.reply(202, OK)
            case b"GET", _ if path == "/2018-06-01/ping":
                connection.reply(200, b"pong")
            case _:
                connection.reply(404, b'{"errorMessage":"no such path","errorType":"NotFound"}')

    def _acknowledge(self, connection: "_Connection", request: "_Request") -> None:
        if not request.oversize:
            connection.reply(202, OK)
            return
        message = f"Exceeded maximum allowed payload size ({MAX_RESPONSE_BYTES} bytes)."
        connection.reply(413, orjson.dumps({"errorMessage": message, "errorType": "RequestEntityTooLarge"}))


class _Request:
    """What has arrived of one request. A body over the limit is counted, not kept."""

    __slots__ = ("body", "error_type", "failed_half_way", "headers_done", "oversize")

    def __init__(self) -> None:
        self.body = bytearray()
        self.oversize = 0
        self.error_type = ""
        self.headers_done = False
        self.failed_half_way = False


class _Connection(asyncio.Protocol):
    """One HTTP/1.1 connection, parsed by httptools, whose header callback also reports trailers."""

    def __init__(self, server: HttpRuntime) -> None:
        self._server = server
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpRequestParser(self)
        self._url = b""
        self._request = _Request()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            log.info("not HTTP on the Runtime API", error=str(error))
            self.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._server.gone(self)

    def on_message_begin(self) -> None:
        self._url = b""
        self._request = _Request()

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.decode("latin-1").lower() == ERROR_TYPE:
            self._request.error_type = value.decode("latin-1")
            self._request.failed_half_way = self._request.headers_done

    def on_headers_complete(self) -> None:
        self._request.headers_done = True

    def on_body(self, body: bytes) -> None:
        request = self._request
        if request.oversize or len(request.body) + len(body) > MAX_RESPONSE_BYTES:
            request.oversize = max(request.oversize, len(request.body)) + len(body)
            request.body.clear()
        else:
            request.body += body

    def on_message_complete(self) -> None:
        self._server.handle(self, self._parser.get_method(), self._url.decode("latin-1"), self._request)

    def reply(self, status: int, body: bytes, headers: bytes = b"Content-Type: application/json\r\n") -> None:
        if self._transport is not None and not self._transport.is_closing():
            start = b"HTTP/1.1 %d %s\r\n%sContent-Length: %d\r\n\r\n" % (status, REASONS[status], headers, len(body))
            self._transport.write(start + body)

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()


def _event_headers(invocation: Invocation, deadline_ms: int) -> bytes:
    lines = {
        "Content-Type": "application/json",
        "Lambda-Runtime-Aws-Request-Id": invocation.request_id,
        "Lambda-Runtime-Deadline-Ms": str(deadline_ms),
        "Lambda-Runtime-Invoked-Function-Arn": invocation.invoked_arn,
        "Lambda-Runtime-Trace-Id": invocation.trace_id,
        "Lambda-Runtime-Client-Context": invocation.client_context,
    }
    return "".join(f"{name}: {_one_line(value)}\r\n" for name, value in lines.items() if value).encode()


def _one_line(value: str) -> str:
    """A client context may hold line breaks between its members; a header may not."""
    return value.replace("\r", " ").replace("\n", " ")
