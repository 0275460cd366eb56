"""Responses on their way to a caller while the function still produces them.

Rule 1: little is kept: a caller that reads slowly makes the function wait (`hearth_scheduler.streams` says how).
Rule 2: what goes wrong before the first byte is an ordinary answer; what goes wrong later cannot be one any more.
Rule 3: a caller that goes away is not missed: the function goes on, its pieces are thrown away.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import assert_never

from aiohttp import web
from multidict import CIMultiDict

from hearth.core.errors import ServiceError
from hearth.core.invocation import (
    FunctionFailed,
    Invocation,
    Outcome,
    PlatformFailed,
    Succeeded,
    Throttled,
)
from hearth.core.log_lines import LOG_TAIL_BYTES
from hearth.ports import Scheduler
from hearth_gateway.core import event_stream, invoke_request
from hearth_gateway.invoke import Invoker, outcome_error

ENOUGH_BYTES = 256 * 1024
"""So many bytes of a response wait for its reader; then the function has to."""
MORE_BYTES = ENOUGH_BYTES // 4
READER_LIMIT_S = 300.0
"""A reader that takes nothing for this long is as good as gone."""


class RunningResponse:
    """An invocation whose response comes in pieces, if the function streams. Implements `ResponseStream`.

    Waiting here needs no deadline: the function's timeout ends the outcome.
    """

    def __init__(self, scheduler: Scheduler, invocation: Invocation) -> None:
        self.content_type = ""
        self._waiting: deque[bytes] = deque()
        self._bytes = 0
        self._go_on: Callable[[], None] | None = None
        self._is_full = False
        self._news = asyncio.Event()
        self._outcome = scheduler.submit(invocation._replace(stream=self))
        self._outcome.add_done_callback(lambda _: self._news.set())

    def begin(self, content_type: str, go_on: Callable[[], None]) -> None:
        """See `ResponseStream`."""
        self.content_type, self._go_on = content_type, go_on
        self._news.set()

    def write(self, piece: bytes) -> bool:
        """See `ResponseStream`."""
        if piece:
            self._waiting.append(piece)
            self._bytes += len(piece)
            self._news.set()
        self._is_full = self._bytes >= ENOUGH_BYTES
        return not self._is_full

    async def begun(self) -> bool:
        """Wait for the response; whether it comes in pieces. If it does not, there is an outcome."""
        while self._go_on is None and not self._outcome.done():
            await self._wait()
        return self._go_on is not None

    async def has_piece(self) -> bool:
        """Wait for the first piece; whether there is one. If not, there is an outcome."""
        while not self._waiting and not self._outcome.done():
            await self._wait()
        return bool(self._waiting)

    async def pieces(self) -> AsyncIterator[bytes]:
        """What the function writes, until its outcome. May be left and taken up again."""
        while True:
            while self._waiting:
                yield self._take()
            if self._outcome.done():
                return
            await self._wait()

    def _take(self) -> bytes:
        piece = self._waiting.popleft()
        self._bytes -= len(piece)
        if self._is_full and self._bytes <= MORE_BYTES and self._go_on is not None:
            self._is_full = False
            self._go_on()
        return piece

    async def _wait(self) -> None:
        self._news.clear()
        await self._news.wait()

    def outcome(self) -> Outcome:
        """How it ended; only after it has."""
        return self._outcome.result()

    def abandon(self) -> None:
        """Nobody wants the rest of it. Does nothing if there is no rest."""
        self._outcome.cancel()


@contextmanager
def cut_off_on_error(request: web.BaseRequest) -> Iterator[None]:
    """Once an answer has begun, the end of its connection is the one way left to say that it is not complete."""
    try:
        yield
    except BaseException:
        if request.transport is not None:
            request.transport.abort()
        raise


async def write(response: web.StreamResponse, data: bytes) -> None:
    """Send a part of an answer, as soon as the reader has room. Raises ConnectionError if it is not reading."""
    try:
        async with asyncio.timeout(READER_LIMIT_S):
            await response.write(data)
    except TimeoutError as error:
        raise ConnectionAbortedError(f"the reader took nothing for {READER_LIMIT_S:.0f} seconds") from error


def head(headers: Mapping[str, str] | Iterable[tuple[str, str]], identity: str) -> CIMultiDict[str]:
    """What every answer carries. Which software this is, and of which version, is nobody's business."""
    said = CIMultiDict(headers)
    said["x-amzn-RequestId"] = identity
    said.setdefault("Server", "Hearth")
    return said


class ResponseStreams:
    """Answers InvokeWithResponseStream. Source: that operation in the AWS Lambda API reference."""

    def __init__(self, invoker: Invoker, scheduler: Scheduler) -> None:
        self._invoker = invoker
        self._scheduler = scheduler

    async def respond(
        self, request: web.BaseRequest, label: str, query: str, *, body: bytes, identity: str
    ) -> web.StreamResponse:
        """Run a function and answer with its response as it comes. `query` is raw; raises HearthError."""
        invoke_request.check_streaming_type(request.headers.get("X-Amz-Invocation-Type", ""))
        invocation = self._invoker.prepare(label, query, request.headers, body=body, request_id=identity)
        if invocation is None:
            return web.Response(status=204, headers=head({}, identity))
        running = RunningResponse(self._scheduler, invocation)
        try:
            return await self._answer(request, invocation, running)
        finally:
            running.abandon()

    async def _answer(
        self, request: web.BaseRequest, invocation: Invocation, running: RunningResponse
    ) -> web.StreamResponse:
        in_one = b"" if await running.begun() else _whole(running.outcome())
        headers = {
            "Content-Type": event_stream.CONTENT_TYPE,
            "X-Amz-Executed-Version": invocation.function.version,
            "X-Amzn-Trace-Id": invocation.trace_id,
        }
        response = web.StreamResponse(headers=head(headers, invocation.request_id))
        with cut_off_on_error(request):
            await response.prepare(request)
            if in_one:
                await write(response, event_stream.payload_chunk(in_one))
            async for piece in running.pieces():
                await write(response, event_stream.payload_chunk(piece))
            await write(response, _complete(invocation, running.outcome()))
        return response


def _whole(outcome: Outcome) -> bytes:
    """The response of a function that does not stream. Raises HearthError for an outcome that is not the function's."""
    match outcome:
        case Succeeded(payload):
            return payload
        case FunctionFailed():
            return b""
        case Throttled() | PlatformFailed():
            raise outcome_error(outcome)
        case _:
            assert_never(outcome)


def _complete(invocation: Invocation, outcome: Outcome) -> bytes:
    """The end of the stream. An error that is not the function's can only be told here once the stream has begun."""
    match outcome:
        case Succeeded(log_tail=log_tail):
            code, details = "", ""
        case FunctionFailed(_, payload, _, log_tail):
            code, details = "Unhandled", payload.decode(errors="replace")
        case Throttled() | PlatformFailed():
            code, details, log_tail = ServiceError.code, outcome_error(outcome).message, b""
        case _:
            assert_never(outcome)
    tail = log_tail[-LOG_TAIL_BYTES:] if invocation.wants_log_tail else None
    return event_stream.invoke_complete(error_code=code, error_details=details, log_tail=tail)
