"""Function URLs with InvokeMode RESPONSE_STREAM: status and headers from the prelude, then the body as it is written.

Source: "Response streaming for Lambda functions" and "Invoke mode" in the AWS Lambda developer guide.
"""

from http import HTTPStatus

from aiohttp import web

from hearth.core.errors import HearthError
from hearth.core.invocation import Invocation, Succeeded
from hearth.ports import Scheduler
from hearth_gateway.core import cors, http_prelude
from hearth_gateway.core.http_event import HttpRequest
from hearth_gateway.core.http_prelude import Prelude, PreludeParser
from hearth_gateway.core.http_response import (
    JSON_TYPE,
    BadFunctionResponse,
    HttpResponse,
    content_type_header,
)
from hearth_gateway.function_url import FunctionUrls, UrlTarget, as_response, error_response, not_described
from hearth_gateway.streaming import RunningResponse, cut_off_on_error, head, write

RESPONSE_STREAM = "RESPONSE_STREAM"
_NO_BODY = frozenset({HTTPStatus.NO_CONTENT.value, HTTPStatus.NOT_MODIFIED.value})


class StreamedUrls:
    """Answers requests to function URLs that stream."""

    def __init__(self, urls: FunctionUrls, scheduler: Scheduler) -> None:
        self._urls = urls
        self._scheduler = scheduler

    async def respond(
        self, connection: web.BaseRequest, target: UrlTarget, request: HttpRequest, *, identity: str
    ) -> web.StreamResponse:
        """Run the function behind a URL and pass its response on. Errors are responses, as for any other URL."""
        settings = target.url.cors
        if settings is not None and cors.is_preflight(request):
            return _whole(cors.preflight(settings, request), identity)
        try:
            invocation = await self._urls.invocation(target, request, identity)
        except HearthError as error:
            return _whole(_allowed(target, request, error_response(error)), identity)
        running = RunningResponse(self._scheduler, invocation)
        try:
            begun, prelude = await _beginning(invocation, running)
            answer = _allowed(target, request, prelude.head)
            if not begun:
                return _whole(answer, identity)
            return await _pass_on(connection, running, answer, first=prelude.rest, identity=identity)
        finally:
            running.abandon()


async def _beginning(invocation: Invocation, running: RunningResponse) -> tuple[bool, Prelude]:
    """Whether there is a response to be streamed, and how it begins; if not, what is said instead."""
    if not await running.begun():
        return False, Prelude(_in_one(invocation, running), b"")
    if running.content_type != http_prelude.CONTENT_TYPE:
        if not await running.has_piece() and not isinstance(running.outcome(), Succeeded):
            return False, Prelude(_in_one(invocation, running), b"")
        return True, Prelude(HttpResponse(200, _with_trace(invocation, content_type_header(running.content_type))), b"")
    try:
        prelude = await _prelude(running)
    except BadFunctionResponse as error:
        return False, Prelude(not_described(invocation, error), b"")
    if prelude is None:
        return False, Prelude(_in_one(invocation, running), b"")
    described = HttpResponse(prelude.head.status, _with_trace(invocation, *prelude.head.headers))
    return True, Prelude(described, prelude.rest)


async def _prelude(running: RunningResponse) -> Prelude | None:
    """The prelude, or nothing if the function failed before there was a whole one. Raises BadFunctionResponse."""
    parser = PreludeParser()
    async for piece in running.pieces():
        if (prelude := parser.feed(piece)) is not None:
            return prelude
    if isinstance(running.outcome(), Succeeded):
        raise BadFunctionResponse("the response ended within its prelude")
    return None


def _in_one(invocation: Invocation, running: RunningResponse) -> HttpResponse:
    """The answer of a function that does not stream: its JSON as it is, for nothing in it describes a response here."""
    outcome = running.outcome()
    if isinstance(outcome, Succeeded):
        return HttpResponse(200, _with_trace(invocation, JSON_TYPE), outcome.payload)
    try:
        return as_response(invocation, outcome)
    except HearthError as error:
        return error_response(error)


async def _pass_on(
    connection: web.BaseRequest, running: RunningResponse, answer: HttpResponse, *, first: bytes, identity: str
) -> web.StreamResponse:
    """Send the response as it comes. A function that fails half-way breaks the connection."""
    response = web.StreamResponse(status=answer.status, headers=head(answer.headers, identity))
    has_body = connection.method != "HEAD" and answer.status not in _NO_BODY
    with cut_off_on_error(connection):
        await response.prepare(connection)
        if first and has_body:
            await write(response, first)
        async for piece in running.pieces():
            if has_body:
                await write(response, piece)
    if not isinstance(running.outcome(), Succeeded):
        if connection.transport is not None:
            connection.transport.close()  # what is on its way still arrives; only the end of the body never comes
        raise ConnectionAbortedError("the function failed in the middle of its response")
    return response


def _whole(response: HttpResponse, identity: str) -> web.Response:
    return web.Response(status=response.status, headers=head(response.headers, identity), body=response.body)


def _allowed(target: UrlTarget, request: HttpRequest, response: HttpResponse) -> HttpResponse:
    settings = target.url.cors
    return response if settings is None else cors.with_cors(settings, request, response)


def _with_trace(invocation: Invocation, *headers: tuple[str, str]) -> tuple[tuple[str, str], ...]:
    return (*headers, ("X-Amzn-Trace-Id", invocation.trace_id))
