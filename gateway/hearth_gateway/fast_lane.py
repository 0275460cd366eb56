"""The way of nearly every invocation: plain `POST …/invocations` requests, read and answered without ceremony.

A connection starts here. As long as its requests are plain invocations they are served here, one after the other; the
first that is anything else takes the connection, with every byte of that request, over to aiohttp, for good.

Rule 1: nothing unusual is decided here (`core/http_head.py`): aiohttp sees it as if this lane did not exist.
Rule 2: one request of a connection at a time; what arrives meanwhile is kept, up to a bound, and then not read.
Rule 3: whoever goes away is not missed: the wait is cancelled, the handler goes on.
"""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from email.utils import formatdate
from http import HTTPStatus
from typing import Any, Protocol, cast

import orjson
import structlog

from hearth.core.errors import HearthError, ServiceError
from hearth.core.invocation import MAX_REQUEST_BYTES
from hearth_gateway.core import http_head
from hearth_gateway.core.error_rendering import render
from hearth_gateway.core.http_head import Head, LowerHeaders
from hearth_gateway.core.operations import ApiResponse

INVOKE_PREFIX = b"POST /2015-03-31/functions/"
_TARGET_PREFIX = "/2015-03-31/functions/"
_SUFFIX = "/invocations"
URL_HOST = b".lambda-url."
MAX_AHEAD_BYTES = 64 * 1024
"""Bytes of further requests that are read before this one is answered."""
IDLE_S = 75.0
"""A connection without a request, or with half of one, is closed after this long (aiohttp's own keep-alive limit)."""
SWEEP_S = 15.0

Done = Callable[[str, ApiResponse], None]


class Invoke(Protocol):
    """What the lane hands its requests to."""

    def __call__(
        self, label: str, query: str, headers: LowerHeaders, *, body: bytes, done: Done
    ) -> "asyncio.Future[Any] | None":
        """Call `done(request id, answer)`, now or later; give what to cancel if the client goes away before. Raises
        nothing."""
        ...


_REASONS = {status.value: f"{status.value} {status.phrase}" for status in HTTPStatus}


class FastLane:
    """The connections of this lane. `overtake` makes the protocol that a connection is handed over to."""

    def __init__(self, invoke: Invoke, overtake: Callable[[], asyncio.Protocol]) -> None:
        self.invoke = invoke
        self.overtake = overtake
        self.connections: set[Connection] = set()
        self.is_stopping = False
        self._second = 0
        self._date = ""
        self._sweeper: asyncio.Task[None] | None = None
        self._emptied: asyncio.Event | None = None

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
        if self.connections:
            self._emptied = asyncio.Event()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._emptied.wait(), grace_s)
        for connection in list(self.connections):
            connection.abort()

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_S)
            before = time.monotonic() - IDLE_S
            for connection in [each for each in self.connections if each.since < before]:
                connection.close_if_idle()

    def leave(self, connection: "Connection") -> None:
        """The connection is closed, or somebody else's now."""
        self.connections.discard(connection)
        if self._emptied is not None and not self.connections:
            self._emptied.set()

    def date(self) -> str:
        """The Date header's value, made once a second (RFC 9110, section 6.6.1)."""
        now = int(time.time())
        if now != self._second:
            self._second, self._date = now, formatdate(now, usegmt=True)
        return self._date


class Connection(asyncio.Protocol):
    """One connection. `is_serving`: a request is on its way; `since`: when the last one ended, or the connection began.

    Most clients send one head again and again, so the last one is kept and recognised by its bytes.
    """

    def __init__(self, lane: FastLane) -> None:
        self.is_serving = False
        self.since = time.monotonic()
        self._lane = lane
        self._transport: asyncio.Transport | None = None
        self._running: asyncio.Future[Any] | None = None
        self._buffer = bytearray()
        self._head: Head | None = None
        self._known = b""
        self._known_head: Head | None = None
        self._is_paused = False
        self._stays = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are no subclasses
        self._lane.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._lane.leave(self)
        if self._running is not None:
            self._running.cancel()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if not self.is_serving:
            self._advance()
        elif len(self._buffer) > MAX_AHEAD_BYTES and self._transport is not None:
            self._is_paused = True
            self._transport.pause_reading()

    def _advance(self) -> None:
        """Serve the request at the head of the buffer, once all of it is there, or hand the connection over."""
        if self._head is None and self._buffer:
            self._head = self._recognise()
        if self._head is not None and len(self._buffer) >= self._head.body_end:
            self._serve(self._head)

    def _recognise(self) -> Head | None:
        """The head of the next request if it has arrived and is for us; if it is not, the connection is gone."""
        buffer = self._buffer
        if self._known_head is not None and buffer.startswith(self._known):
            return self._known_head
        if not http_head.is_complete(buffer):
            is_begun_well = buffer.startswith(INVOKE_PREFIX) or INVOKE_PREFIX.startswith(buffer)
            if not is_begun_well or len(buffer) > http_head.MAX_HEAD_BYTES:
                self._hand_over()
            return None
        head = http_head.parse(buffer) if buffer.startswith(INVOKE_PREFIX) else None
        if head is None or not _is_for_us(head):
            self._hand_over()
            return None
        self._known, self._known_head = bytes(buffer[: head.body_start]), head
        return head

    def _serve(self, head: Head) -> None:
        body = bytes(self._buffer[head.body_start : head.body_end])
        del self._buffer[: head.body_end]
        self._head = None
        self._stays = head.keeps_alive
        self.is_serving = True
        path, _, query = head.target.partition("?")
        label = path[len(_TARGET_PREFIX) : -len(_SUFFIX)]
        self._running = self._lane.invoke(label, query, LowerHeaders(head.headers), body=body, done=self._answer)

    def _answer(self, request_id: str, answer: ApiResponse) -> None:
        self._running = None
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        stays = self._stays and not self._lane.is_stopping
        transport.write(self._rendered(answer, request_id, stays=stays))
        self.is_serving = False
        self.since = time.monotonic()
        if not stays:
            transport.close()
            return
        if self._is_paused:
            self._is_paused = False
            transport.resume_reading()
        if self._buffer:
            self._advance()

    def _rendered(self, answer: ApiResponse, request_id: str, *, stays: bool) -> bytes:
        more = "".join([f"{name}: {value}\r\n" for name, value in answer.headers.items()])
        if not stays:
            more += "Connection: close\r\n"
        head = (
            f"HTTP/1.1 {_REASONS[answer.status]}\r\n{more}x-amzn-RequestId: {request_id}\r\n"
            f"Content-Length: {len(answer.body)}\r\nDate: {self._lane.date()}\r\nServer: Hearth\r\n\r\n"
        )
        return head.encode("latin-1") + answer.body

    def _hand_over(self) -> None:
        """Give the connection to the full implementation, from the first byte that is not served yet."""
        transport, seen = self._transport, bytes(self._buffer)
        if transport is None:
            return
        self._transport = None
        self._lane.leave(self)
        self._buffer = bytearray()
        heir = self._lane.overtake()
        transport.set_protocol(heir)
        heir.connection_made(transport)
        heir.data_received(seen)

    def close_if_idle(self) -> None:
        if not self.is_serving and self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()


def _is_for_us(head: Head) -> bool:
    """Whether this is a plain invocation; one over the size limit gets its error from the other side."""
    if URL_HOST in head.headers[b"host"]:
        return False  # a function URL may have any path
    return head.target.partition("?")[0].endswith(_SUFFIX) and head.body_end - head.body_start <= MAX_REQUEST_BYTES


def failed(error: Exception) -> ApiResponse:
    """The answer for an error: a documented one in its form, any other as an internal error, logged here."""
    if not isinstance(error, HearthError):
        structlog.get_logger().exception("request failed", exc_info=error)
        error = ServiceError("An internal error occurred. Please try again.")
    rendered = render(error)
    return ApiResponse(rendered.status, orjson.dumps(rendered.body), rendered.headers)
