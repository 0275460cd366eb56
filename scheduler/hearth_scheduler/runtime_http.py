"""The Lambda Runtime API, version 2018-06-01, for any runtime client that speaks HTTP on 127.0.0.1:9001.

The listening socket belongs to the container's own network namespace and was handed over by the init; connections are
accepted on it here. Source: AWS Lambda developer guide, "Using the Lambda runtime API"; the error bodies are those of
AWS's open-source runtime interface emulator.

Rule 1: `next` has no time limit, and a connection is never closed between `next` and the answer.
Rule 2: trailers count. Go's client posts every answer chunked and says in a trailer that it failed half-way.
Rule 3: what a client sends is bounded, head, trailers and body alike, before it is believed or kept.
Rule 4: a response whose head says that it streams is handed on as it arrives, and not read faster than it is taken.
"""

import asyncio
import binascii
import socket
from base64 import b64decode
from contextlib import suppress
from typing import Protocol, cast

import httptools
import orjson
import structlog

from hearth.core.invocation import MAX_RESPONSE_BYTES, Invocation
from hearth.core.log_lines import error_payload
from hearth_scheduler.core.runtime_talk import OutOfTurn
from hearth_scheduler.streams import Source
from hearth_scheduler.tasks import Tasks

PREFIX = "/2018-06-01/runtime/"
MAX_CONNECTIONS = 32
MAX_HEAD_BYTES = 256 * 1024
"""Everything of a request that is not its body."""
FRAMING_FACTOR = 8
"""Chunked framing may take up to so many bytes for each byte of the body: five for a chunk of one byte."""
OK = orjson.dumps({"status": "OK"})
REASONS = {
    200: b"OK",
    202: b"Accepted",
    400: b"Bad Request",
    403: b"Forbidden",
    404: b"Not Found",
    413: b"Too Large",
    500: b"Internal Server Error",
}
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
ERROR_TYPE = b"lambda-runtime-function-error-type"
ERROR_BODY = b"lambda-runtime-function-error-body"
RESPONSE_MODE = b"lambda-runtime-function-response-mode"
DEFAULT_STREAM_TYPE = "application/octet-stream"
TRUNCATED = "Runtime.TruncatedResponse"
TRUNCATION_GRACE_S = 0.5
"""A runtime that dies in the middle of a response breaks its connection too; by then its death is known."""

log = structlog.get_logger(__name__)


class RuntimeApi(Protocol):
    """What the runtime's requests are turned into. Raises OutOfTurn for what is not its turn."""

    def next(self) -> None:
        """The runtime asks for an event; it is delivered later."""

    def answer(self, request_id: str, body: bytes, *, error_type: str | None, oversize: int) -> None: ...

    def begin(self, request_id: str, content_type: str, source: Source) -> None:
        """A response that streams has begun; its pieces come from `source`."""

    def piece(self, request_id: str, piece: bytes) -> None: ...

    def end(self, request_id: str, error: bytes | None) -> None:
        """The response is complete; `error` is that of a function that failed half-way."""

    def init_error(self, error_type: str, body: bytes) -> None: ...


class HttpRuntime:
    """The Runtime API server of one environment. An event that nobody waits for is kept for the next who asks: the
    connection of a waiting `next` may have broken a moment ago."""

    def __init__(self, listener: socket.socket, api: RuntimeApi, tasks: Tasks) -> None:
        self._listener = listener
        self._api = api
        self._tasks = tasks
        self._loop = asyncio.get_running_loop()
        self._connections: set[_Connection] = set()
        self._asking: _Connection | None = None
        self._kept: tuple[Invocation, int] | None = None
        self._cut_off = ""
        self._is_closed = False
        self.has_spoken = False
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
        self._tasks.start(self._attach(connection, conn), "runtime-api-connection")

    async def _attach(self, connection: "_Connection", conn: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(lambda: connection, conn)
        except OSError:
            self._connections.discard(connection)
            conn.close()
        if self._is_closed:
            connection.abort()

    def gone(self, connection: "_Connection", request: "_Request") -> None:
        self._connections.discard(connection)
        if self._asking is connection:
            self._asking = None
        if request.streaming and not self._is_closed:
            self._cut_off = request.streaming
            self._loop.call_later(TRUNCATION_GRACE_S, self._truncated)

    def _truncated(self) -> None:
        """The runtime lives on, but nothing more of its response can come."""
        request_id, self._cut_off = self._cut_off, ""
        if request_id and not self._is_closed:
            error = error_payload(TRUNCATED, f"RequestId: {request_id} Error: the response was cut off")
            with suppress(OutOfTurn):
                self._api.end(request_id, error)

    def close(self) -> None:
        """Close all connections; the listener belongs to the link. Idempotent."""
        self._is_closed = True
        for connection in list(self._connections):
            connection.abort()
        self._connections.clear()

    def deliver(self, invocation: Invocation, deadline_ms: int) -> None:
        """Answer the waiting `next`, or else the one that comes next."""
        connection, self._asking = self._asking, None
        if connection is None:
            self._kept = (invocation, deadline_ms)
        else:
            connection.reply(200, invocation.payload, _event_headers(invocation, deadline_ms))

    def open(self, connection: "_Connection", method: bytes, path: str, request: "_Request") -> None:
        """A request's head says how its response is meant to be read. A refusal is said when all of it has come."""
        match method, _steps(path):
            case b"POST", ["invocation", request_id, "response"]:
                try:
                    if request.response_mode != "streaming":
                        raise OutOfTurn("InvalidFunctionResponseMode", 400, "Invalid response mode header")
                    self._api.begin(request_id, request.content_type or DEFAULT_STREAM_TYPE, connection)
                except OutOfTurn as refused:
                    request.refused = refused
                else:
                    request.streaming = request_id
            case _:
                pass

    def take(self, request: "_Request", piece: bytes) -> None:
        """A piece of a response that streams."""
        request.streamed += len(piece)
        if request.refused is None:
            try:
                self._api.piece(request.streaming, piece)
            except OutOfTurn as refused:
                request.refused = refused

    def handle(self, connection: "_Connection", method: bytes, path: str, request: "_Request") -> None:
        """Route one request. Source: the OpenAPI document of the Runtime API."""
        try:
            self._route(connection, method, path, request)
        except OutOfTurn as refused:
            body = {"errorMessage": str(refused), "errorType": refused.error_type}
            connection.reply(refused.status, orjson.dumps(body))
        except Exception:  # a defect of ours: the client is told, and a runtime that is told 500 exits
            log.exception("a call of the Runtime API failed", path=path)
            connection.reply(500, b'{"errorMessage":"internal error","errorType":"InternalServerError"}')

    def _route(self, connection: "_Connection", method: bytes, path: str, request: "_Request") -> None:
        match method, _steps(path):
            case b"GET", ["invocation", "next"]:
                self._next(connection)
            case b"POST", ["invocation", request_id, "response"] if request.is_streamed:
                request.streaming = ""
                if request.refused is not None:
                    raise request.refused
                self._api.end(request_id, request.error if request.failed_half_way else None)
                connection.reply(202, OK)
            case b"POST", ["invocation", request_id, ("response" | "error") as what]:
                error_type = request.error_type if what == "error" or request.failed_half_way else None
                body = request.error if request.failed_half_way else bytes(request.body)
                self._api.answer(request_id, body, error_type=error_type, oversize=request.oversize)
                self._acknowledge(connection, request)
            case b"POST", ["init", "error"]:
                self._api.init_error(request.error_type, bytes(request.body))
                connection.reply(202, OK)
            case b"GET", _ if path == "/2018-06-01/ping":
                connection.reply(200, b"pong")
            case _:
                connection.reply(404, b'{"errorMessage":"no such path","errorType":"NotFound"}')

    def _next(self, connection: "_Connection") -> None:
        self.has_spoken = True
        self._truncated()
        if self._kept is not None:
            (invocation, deadline_ms), self._kept = self._kept, None
            connection.reply(200, invocation.payload, _event_headers(invocation, deadline_ms))
            return
        asked_before, self._asking = self._asking, connection  # first: the event may be delivered within `next`
        try:
            self._api.next()
        except OutOfTurn:
            self._asking = asked_before
            raise

    def _acknowledge(self, connection: "_Connection", request: "_Request") -> None:
        if not request.oversize:
            connection.reply(202, OK)
            return
        message = f"Exceeded maximum allowed payload size ({MAX_RESPONSE_BYTES} bytes)."
        connection.reply(413, orjson.dumps({"errorMessage": message, "errorType": "RequestEntityTooLarge"}))


class _Request:
    """What has arrived of one request. A body over the limit is counted, not kept. `arrived` counts all its bytes.

    `streaming` is the request id of a response that is being handed on, `streamed` how much of it was.
    """

    __slots__ = (
        "arrived",
        "body",
        "content_type",
        "error_body",
        "error_type",
        "failed_half_way",
        "headers_done",
        "oversize",
        "refused",
        "response_mode",
        "streamed",
        "streaming",
    )

    def __init__(self) -> None:
        self.arrived = 0
        self.body = bytearray()
        self.oversize = 0
        self.error_type = ""
        self.error_body = b""
        self.content_type = ""
        self.response_mode = ""
        self.headers_done = False
        self.failed_half_way = False
        self.streaming = ""
        self.streamed = 0
        self.refused: OutOfTurn | None = None

    @property
    def is_streamed(self) -> bool:
        """Whether the body was handed on, or would have been if it had been this request's turn."""
        return bool(self.streaming) or self.refused is not None

    @property
    def error(self) -> bytes:
        """The error of a function that failed half-way: base64 in a trailer, or else whatever there is."""
        try:
            said = b64decode(self.error_body, validate=True)
        except binascii.Error:
            said = b""
        return said or bytes(self.body) or error_payload(self.error_type, "")

    @property
    def is_endless(self) -> bool:
        """More head, framing or trailer than any client needs."""
        return self.arrived > MAX_HEAD_BYTES + FRAMING_FACTOR * max(self.oversize, len(self.body), self.streamed)


class _Connection(asyncio.Protocol):
    """One HTTP/1.1 connection, parsed by httptools, whose header callback also reports trailers."""

    def __init__(self, server: HttpRuntime) -> None:
        self._server = server
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpRequestParser(self)
        self._url = b""
        self._request = _Request()
        self._is_last = False
        self._is_paused = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are no subclasses

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            log.info("not HTTP on the Runtime API", error=str(error))
            self.abort()
            return
        self._request.arrived += len(data)
        if self._request.is_endless:
            log.info("an endless request on the Runtime API")
            self.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._server.gone(self, self._request)

    def on_message_begin(self) -> None:
        self._url = b""
        self._request = _Request()

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        lower, request = name.lower(), self._request
        if lower == ERROR_TYPE:
            request.error_type = value.decode("latin-1")
            request.failed_half_way = request.headers_done and bool(value)
        elif lower == ERROR_BODY:
            request.error_body = value
        elif lower == RESPONSE_MODE:
            request.response_mode = value.decode("latin-1").lower()
        elif lower == b"content-type":
            request.content_type = value.decode("latin-1")
        elif lower == b"expect" and value.lower() == b"100-continue" and self._transport is not None:
            self._transport.write(CONTINUE)  # curl, and so a runtime written in shell, waits a second for it

    def on_headers_complete(self) -> None:
        request = self._request
        if request.response_mode and not request.headers_done:
            self._server.open(self, self._parser.get_method(), self._url.decode("latin-1"), request)
        request.headers_done = True

    def on_body(self, body: bytes) -> None:
        request = self._request
        if request.is_streamed:
            self._server.take(request, body)
        elif request.oversize or len(request.body) + len(body) > MAX_RESPONSE_BYTES:
            request.oversize = max(request.oversize, len(request.body)) + len(body)
            request.body.clear()
        else:
            request.body += body

    def on_message_complete(self) -> None:
        self._is_last = not self._parser.should_keep_alive()
        self._server.handle(self, self._parser.get_method(), self._url.decode("latin-1"), self._request)

    def reply(self, status: int, body: bytes, headers: bytes = b"Content-Type: application/json\r\n") -> None:
        if self._transport is not None and not self._transport.is_closing():
            start = b"HTTP/1.1 %d %s\r\n%sContent-Length: %d\r\n\r\n" % (status, REASONS[status], headers, len(body))
            self._transport.write(start + body)
            if self._is_last:
                self._transport.close()

    def pause(self) -> None:
        """See `Source`."""
        if self._transport is not None and not self._is_paused and not self._transport.is_closing():
            self._is_paused = True
            self._transport.pause_reading()

    def resume(self) -> None:
        """See `Source`."""
        if self._transport is not None and self._is_paused and not self._transport.is_closing():
            self._is_paused = False
            self._transport.resume_reading()

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()


def _steps(path: str) -> list[str]:
    """What is asked of the Runtime API; nothing for any other path."""
    return path.removeprefix(PREFIX).split("/") if path.startswith(PREFIX) else []


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
