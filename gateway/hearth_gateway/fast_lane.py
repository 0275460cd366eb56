"""The way of nearly every invocation: plain `POST …/invocations` requests, read and answered without ceremony.

A connection starts here. As long as its requests are plain invocations they are served here, one after the other; the
first that is anything else takes the connection, with every byte of that request, over to aiohttp, for good.

Rule 1: nothing unusual is decided here (`core/http_head.py`): aiohttp sees it as if this lane did not exist.
Rule 2: one request of a connection at a time; what arrives meanwhile is kept, up to a bound, and then not read.
Rule 3: whoever goes away is not missed: the wait is cancelled, the handler goes on.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from email.utils import formatdate
from http import HTTPStatus
from typing import cast

import orjson
import structlog

from hearth.core.errors import HearthError, ServiceError
from hearth.core.invocation import MAX_REQUEST_BYTES
from hearth_gateway.core import http_head
from hearth_gateway.core.error_rendering import render
from hearth_gateway.core.http_head import Head, LowerHeaders
from hearth_gateway.core.operations import ApiResponse

INVOKE_PREFIX = b"POST /2015-03-31/functions/"
_TARGET_PREFIX = b"/2015-03-31/functions/"
_SUFFIX = b"/invocations"
URL_HOST = b".lambda-url."
MAX_AHEAD_BYTES = 64 * 1024
"""Bytes of further requests that are read before this one is answered."""
IDLE_S = 75.0
"""A connection without a request, or with half of one, is closed after this long (aiohttp's own keep-alive limit)."""
SWEEP_S = 15.0

Invoke = Callable[[str, str, LowerHeaders, bytes], Awaitable[tuple[str, ApiResponse]]]
"""(label, query, headers, body) → (request id, answer); raises nothing but CancelledError."""

_REASONS = {status.value: status.phrase.encode() for status in HTTPStatus}


class FastLane:
    """The connections of this lane. `overtake` makes the protocol that a connection is handed over to."""

    def __init__(self, invoke: Invoke, overtake: Callable[[], asyncio.Protocol]) -> None:
        self.invoke = invoke
        self.overtake = overtake
        self.connections: set[Connection] = set()
        self.is_stopping = False
        self._second = 0
        self._date = b""
        self._sweeper: asyncio.Task[None] | None = None

    def __call__(self) -> "Connection":
        return Connection(self)

    def start(self) -> None:
        """Begin to close connections that have been idle for too long."""
        self._sweeper = asyncio.create_task(self._sweep(), name="idle-connections")

    async def stop(self, grace_s: float) -> None:
        """Close what is idle, let what runs finish within the grace, then close everything."""
        self.is_stopping = True
        if self._sweeper is not None:
            self._sweeper.cancel()
        for connection in list(self.connections):
            connection.close_if_idle()
        tasks = [connection.task for connection in self.connections if connection.task is not None]
        if tasks:
            await asyncio.wait(tasks, timeout=grace_s)
        for connection in list(self.connections):
            connection.abort()

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_S)
            before = time.monotonic() - IDLE_S
            for connection in [each for each in self.connections if each.since < before]:
                connection.close_if_idle()

    def date(self) -> bytes:
        """The Date header's value, made once a second (RFC 9110, section 6.6.1)."""
        now = int(time.time())
        if now != self._second:
            self._second, self._date = now, formatdate(now, usegmt=True).encode()
        return self._date


class Connection(asyncio.Protocol):
    """One connection. `task` is the request being served; `since` is when it was made or its last request ended."""

    def __init__(self, lane: FastLane) -> None:
        self.task: asyncio.Task[None] | None = None
        self.since = time.monotonic()
        self._lane = lane
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._head: Head | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are no subclasses
        self._lane.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._lane.connections.discard(self)
        self._transport = None
        if self.task is not None:
            self.task.cancel()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if self.task is None:
            self._advance()
        elif len(self._buffer) > MAX_AHEAD_BYTES and self._transport is not None:
            self._transport.pause_reading()

    def eof_received(self) -> bool:
        """A client that has said everything may still listen; keep the connection until it is answered."""
        return self.task is not None

    def _advance(self) -> None:
        """Serve the request at the head of the buffer, once all of it is there, or hand the connection over."""
        buffer = self._buffer
        if not buffer:
            return
        if self._head is None:
            if not (buffer.startswith(INVOKE_PREFIX) or INVOKE_PREFIX.startswith(buffer)):
                self._hand_over()
                return
            if not http_head.is_complete(buffer):
                if len(buffer) > http_head.MAX_HEAD_BYTES:
                    self._hand_over()
                return
            self._head = http_head.parse(buffer)
            if self._head is None or not _is_for_us(self._head):
                self._hand_over()
                return
        if len(buffer) >= self._head.body_end:
            self._serve(self._head)

    def _serve(self, head: Head) -> None:
        body = bytes(self._buffer[head.body_start : head.body_end])
        del self._buffer[: head.body_end]
        self._head = None
        self.task = asyncio.create_task(self._answer(head, body), name="invoke")

    async def _answer(self, head: Head, body: bytes) -> None:
        path, _, query = head.target.decode("ascii").partition("?")
        label = path[len(_TARGET_PREFIX) : -len(_SUFFIX)]
        request_id, answer = await self._lane.invoke(label, query, LowerHeaders(head.headers), body)
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        stays = head.keeps_alive and not self._lane.is_stopping
        transport.write(self._rendered(answer, request_id, stays=stays))
        self.task = None
        self.since = time.monotonic()
        if not stays:
            transport.close()
            return
        transport.resume_reading()
        self._advance()

    def _rendered(self, answer: ApiResponse, request_id: str, *, stays: bool) -> bytes:
        lines = [f"{name}: {value}\r\n" for name, value in answer.headers.items()]
        if not stays:
            lines.append("Connection: close\r\n")
        return (
            b"HTTP/1.1 %d %s\r\n%sx-amzn-RequestId: %s\r\nContent-Length: %d\r\nDate: %s\r\nServer: Hearth\r\n\r\n%s"
            % (
                answer.status,
                _REASONS[answer.status],
                "".join(lines).encode("latin-1"),
                request_id.encode(),
                len(answer.body),
                self._lane.date(),
                answer.body,
            )
        )

    def _hand_over(self) -> None:
        """Give the connection to the full implementation, from the first byte that is not served yet."""
        transport, seen = self._transport, bytes(self._buffer)
        if transport is None:
            return
        self._lane.connections.discard(self)
        self._transport = None
        self._buffer = bytearray()
        heir = self._lane.overtake()
        transport.set_protocol(heir)
        heir.connection_made(transport)
        heir.data_received(seen)

    def close_if_idle(self) -> None:
        if self.task is None and self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()


def _is_for_us(head: Head) -> bool:
    """Whether this is a plain invocation; one over the size limit gets its error from the other side."""
    if URL_HOST in head.headers[b"host"]:
        return False  # a function URL may have any path
    path = head.target.partition(b"?")[0]
    return path.endswith(_SUFFIX) and head.body_end - head.body_start <= MAX_REQUEST_BYTES


def failed(error: Exception) -> ApiResponse:
    """The answer for an error: a documented one in its form, any other as an internal error, logged here."""
    if not isinstance(error, HearthError):
        structlog.get_logger().exception("request failed", exc_info=error)
        error = ServiceError("An internal error occurred. Please try again.")
    rendered = render(error)
    return ApiResponse(rendered.status, orjson.dumps(rendered.body), rendered.headers)
