"""The way of nearly every request to a function: plain HTTP/1.1, read and answered without ceremony.

A connection starts here. As long as its requests are plain and the router knows them, they are served here, one after
the other; the first that is anything else takes the connection, with every byte of that request, over to aiohttp, for
good.

Rule 1: nothing unusual is decided here (`core/http_head.py`): aiohttp sees it as if this lane did not exist.
Rule 2: one request of a connection at a time; what arrives meanwhile is kept, up to a bound, and then not read.
Rule 3: whoever goes away is not missed: the wait is cancelled, the handler goes on.
"""

import asyncio
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from email.utils import formatdate
from http import HTTPStatus
from typing import Any, NamedTuple, Protocol, cast

import orjson
import structlog

from hearth.core.errors import HearthError, ServiceError
from hearth_gateway.core import http_head
from hearth_gateway.core.error_rendering import render
from hearth_gateway.core.http_head import Head
from hearth_gateway.core.operations import ApiResponse

MAX_AHEAD_BYTES = 64 * 1024
"""Bytes of further requests that are read before this one is answered."""
IDLE_S = 75.0
"""A connection without a request, or with half of one, is closed after this long (aiohttp's own keep-alive limit)."""
SWEEP_S = 15.0
ANSWERED_S = 900.0
"""A connection of aiohttp's is closed this long after an answer on it began if no whole request has come since: its
own limits do not see half a request. Long enough for the largest download over a slow line."""


class Answer(NamedTuple):
    """What goes on the wire; headers may repeat."""

    status: int
    headers: Iterable[tuple[str, str]]
    body: bytes


Done = Callable[[str, Answer], None]
"""Takes the request id and the answer."""


class Handler(Protocol):
    """Serves requests of one kind."""

    def __call__(self, head: Head, body: bytes, peer: str, done: Done) -> "asyncio.Future[Any] | None":
        """Call `done`, now or later; give what to cancel if the client goes away before. Raises NotPlain only."""
        ...


class NotPlain(Exception):
    """Raised by a handler, before anything else, for a request that turns out not to be for this lane."""


Router = Callable[[Head], Handler | None]
"""Who serves the requests with this head; None: not this lane."""

_OURS = frozenset({"x-amzn-requestid", "content-length", "connection", "date", "server"})
_NO_BODY = frozenset({HTTPStatus.NO_CONTENT.value, HTTPStatus.NOT_MODIFIED.value})
_REASONS = {status.value: f"{status.value} {status.phrase}" for status in HTTPStatus}


class FastLane:
    """The connections of this lane. `overtake` makes the protocol that a connection is handed over to."""

    def __init__(self, route: Router, overtake: Callable[[], asyncio.Protocol]) -> None:
        self.route = route
        self.overtake = overtake
        self.connections: set[Connection] = set()
        self.is_stopping = False
        self._expecting: dict[asyncio.BaseTransport, float] = {}
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
                connection.expire()
            self._abort_silent(time.monotonic())

    def expect(self, transport: asyncio.BaseTransport, within_s: float) -> None:
        """A whole request must come on this connection, which is somebody else's now, or it is closed."""
        self._expecting[transport] = time.monotonic() + within_s

    def heard(self, transport: asyncio.BaseTransport | None) -> None:
        """The request has come."""
        if transport is not None:
            self._expecting.pop(transport, None)

    def _abort_silent(self, now: float) -> None:
        """Those that are closed are forgotten; those that are closing may have something to write until their time."""
        for transport, deadline in list(self._expecting.items()):
            held = cast(asyncio.Transport, transport)
            if deadline < now or (held.is_closing() and not held.get_write_buffer_size()):
                del self._expecting[transport]
                held.abort()

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
        self._handler: Handler | None = None
        self._peer = ""
        self._is_paused = False
        self._stays = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are no subclasses
        peer = transport.get_extra_info("peername")
        self._peer = peer[0] if peer else ""
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
            if len(buffer) > http_head.MAX_HEAD_BYTES or not http_head.may_become_plain(buffer):
                self._hand_over()
            return None
        head = http_head.parse(buffer)
        self._handler = None if head is None else self._lane.route(head)
        if head is None or self._handler is None:
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
        assert self._handler is not None
        try:
            self._running = self._handler(head, body, self._peer, self._answer)
        except NotPlain:
            self._buffer[:0] = self._known + body
            self._hand_over()

    def _answer(self, request_id: str, answer: Answer) -> None:
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

    def _rendered(self, answer: Answer, request_id: str, *, stays: bool) -> bytes:
        more = "".join([f"{name}: {value}\r\n" for name, value in answer.headers if name.lower() not in _OURS])
        if not stays:
            more += "Connection: close\r\n"
        length = "" if answer.status in _NO_BODY else f"Content-Length: {len(answer.body)}\r\n"
        reason = _REASONS.get(answer.status) or f"{answer.status} "
        head = (
            f"HTTP/1.1 {reason}\r\n{more}x-amzn-RequestId: {request_id}\r\n"
            f"{length}Date: {self._lane.date()}\r\nServer: Hearth\r\n\r\n"
        ).encode("utf-8", "surrogateescape")
        return head + answer.body if length else head

    def _hand_over(self) -> None:
        """Give the connection to the full implementation, from the first byte that is not served yet."""
        transport, seen = self._transport, bytes(self._buffer)
        if transport is None:
            return
        self._transport = None
        self._lane.leave(self)
        self._lane.expect(transport, IDLE_S)
        self._buffer = bytearray()
        heir = self._lane.overtake()
        transport.set_protocol(heir)
        heir.connection_made(transport)
        heir.data_received(seen)

    def close_if_idle(self) -> None:
        if not self.is_serving and self._transport is not None:
            self._transport.close()

    def expire(self) -> None:
        """Close it if it is idle; if it was closed long ago, nobody reads what was written: then it is cut."""
        if self.is_serving or self._transport is None:
            return
        if self._transport.is_closing():
            self._transport.abort()
        else:
            self.since = time.monotonic()
            self._transport.close()

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()


def answered(response: ApiResponse) -> Answer:
    """An operation's answer, for this lane."""
    return Answer(response.status, response.headers.items(), response.body)


def failed(error: Exception) -> Answer:
    """The answer for an error: a documented one in its form, any other as an internal error, logged here."""
    if not isinstance(error, HearthError):
        structlog.get_logger().exception("request failed", exc_info=error)
        error = ServiceError("An internal error occurred. Please try again.")
    rendered = render(error)
    return Answer(rendered.status, rendered.headers.items(), orjson.dumps(rendered.body))
