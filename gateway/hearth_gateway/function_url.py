"""Function URLs: plain HTTP in front of a function.

A URL is addressed by host name, as on AWS, or by path, which is Hearth's own way for hosts without wildcard names.
"""

import time
from typing import NamedTuple, assert_never
from urllib.parse import unquote

import orjson
import structlog

from hearth.core.attachments import UrlConfig
from hearth.core.errors import AccessDenied, HearthError, RequestTooLarge, ResourceNotFound
from hearth.core.function import LATEST, FunctionVersion
from hearth.core.invocation import (
    MAX_REQUEST_BYTES,
    FunctionFailed,
    Invocation,
    Outcome,
    PlatformFailed,
    Succeeded,
    Throttled,
)
from hearth.core.records import FunctionRecord
from hearth.ports import Scheduler
from hearth.registry import Registry
from hearth_gateway.auth.url_guard import FORBIDDEN, UrlGuard
from hearth_gateway.core import cors, http_prelude
from hearth_gateway.core.error_rendering import render
from hearth_gateway.core.http_event import Arrival, HttpRequest, http_event
from hearth_gateway.core.http_response import (
    JSON_TYPE,
    BadFunctionResponse,
    HttpResponse,
    bad_gateway,
    content_type_header,
    http_response,
)
from hearth_gateway.core.invoke_request import server_timing
from hearth_gateway.core.tracing import TRACE_BYTES, trace_header
from hearth_gateway.invoke import outcome_error
from hearth_gateway.random_bytes import RandomBytes


class UrlTarget(NamedTuple):
    """What a URL leads to: the function, or one of its aliases."""

    record: FunctionRecord
    qualifier: str
    url: UrlConfig

    @property
    def arn(self) -> str:
        return self.record.arn if self.qualifier == LATEST else f"{self.record.arn}:{self.qualifier}"


class FunctionUrls:
    """Answers requests to function URLs."""

    def __init__(self, registry: Registry, scheduler: Scheduler, port: int, guard: UrlGuard) -> None:
        self._guard = guard
        self._registry = registry
        self._scheduler = scheduler
        self._port = port
        self._random = RandomBytes()

    def by_host(self, url_id: str) -> UrlTarget:
        """The function behind a host name. One that is nobody's is forbidden, as on AWS: it must not tell whether a
        function exists."""
        found = self._registry.find_by_url(url_id)
        if found is None:
            raise AccessDenied(FORBIDDEN)
        record, qualifier = found
        return UrlTarget(record, qualifier, record.urls[qualifier])

    def by_name(self, name: str) -> UrlTarget:
        """The function behind `/fn/<name>`, or its alias behind `/fn/<name>:<alias>`. This way is ours, and whoever
        knows it is told what may be missing; but not which functions there are."""
        bare, _, alias = unquote(name).partition(":")
        record = self._registry.find(bare)
        url = None if record is None else record.urls.get(alias or LATEST)
        if record is None or url is None:
            raise ResourceNotFound(
                f"Function {unquote(name)} has no URL, or does not exist. CreateFunctionUrlConfig gives it one."
            )
        return UrlTarget(record, alias or LATEST, url)

    async def respond(self, target: UrlTarget, request: HttpRequest, request_id: str) -> HttpResponse:
        """Run the function behind a URL and make its answer a response; errors are responses too, for a browser
        shows a page nothing that lacks the cross-origin headers."""
        url = target.url
        if url.cors is not None and cors.is_preflight(request):
            return cors.preflight(url.cors, request)
        try:
            invocation = await self.invocation(target, request, request_id)
            response = as_response(invocation, await self._scheduler.invoke(invocation))
        except HearthError as error:
            response = error_response(error)
        return response if url.cors is None else cors.with_cors(url.cors, request, response)

    async def invocation(self, target: UrlTarget, request: HttpRequest, request_id: str) -> Invocation:
        """The invocation that a request to a URL is, if it is let through. Raises HearthError."""
        arrived_at, now_s = time.monotonic(), time.time()
        auth_type = target.url.auth_type
        request, principal = await self._guard.admit(
            request, target.record, qualifier=target.qualifier, arn=target.arn, auth_type=auth_type
        )
        random = self._random.take(TRACE_BYTES)
        trace_id = trace_header(request.header("x-amzn-trace-id"), random, int(now_s))
        arrival = Arrival(target.url.url_id, request_id, trace_id, int(now_s * 1000), self._port, principal)
        payload = orjson.dumps(http_event(request, arrival))
        if len(payload) > MAX_REQUEST_BYTES:
            raise RequestTooLarge(
                f"Request must be smaller than {MAX_REQUEST_BYTES} bytes for the InvokeFunction operation"
            )
        return Invocation(
            request_id=request_id,
            function=self._version(target),
            payload=payload,
            arrived_at=arrived_at,
            invoked_arn=target.arn,
            trace_id=trace_id,
        )

    def _version(self, target: UrlTarget) -> FunctionVersion:
        version = target.record.find(target.qualifier, self._random.chance())
        if version is None:
            raise AccessDenied(FORBIDDEN)
        return target.record.version(version.version)


def as_response(invocation: Invocation, outcome: Outcome) -> HttpResponse:
    """What a function's outcome says to a browser. Raises HearthError for one that is not the function's."""
    match outcome:
        case Succeeded(payload, ledger, _, content_type):
            response = _described(invocation, payload, content_type)
        case FunctionFailed(_, _, ledger):
            response = bad_gateway()
        case Throttled() | PlatformFailed(is_gone=True):
            raise outcome_error(outcome)
        case PlatformFailed(_, _, ledger):
            response = HttpResponse(
                500, (JSON_TYPE, ("x-amzn-ErrorType", "ServiceException")), b"Internal Server Error"
            )
        case _:
            assert_never(outcome)
    added = (("X-Amzn-Trace-Id", invocation.trace_id), ("Server-Timing", server_timing(ledger)))
    return HttpResponse(response.status, response.headers + added, response.body)


def _described(invocation: Invocation, payload: bytes, content_type: str) -> HttpResponse:
    try:
        if content_type:
            return _collected(payload, content_type)
        return http_response(orjson.loads(payload), payload)
    except (BadFunctionResponse, orjson.JSONDecodeError) as error:
        return not_described(invocation, error)


def _collected(payload: bytes, content_type: str) -> HttpResponse:
    """The response of a function that streams. Without a prelude it need not be JSON."""
    if content_type == http_prelude.CONTENT_TYPE:
        return http_prelude.whole_response(payload)
    try:
        returned = orjson.loads(payload)
    except orjson.JSONDecodeError:
        returned = None
    if isinstance(returned, dict) and "statusCode" in returned:
        return http_response(returned, payload)
    return HttpResponse(200, (content_type_header(content_type),), payload)


def not_described(invocation: Invocation, error: ValueError) -> HttpResponse:
    """The answer for a function that returned nonsense, which is told to whoever runs Hearth."""
    structlog.get_logger().warning(
        "function returned no HTTP response",
        function=invocation.function.name,
        request_id=invocation.request_id,
        error=str(error),
    )
    return bad_gateway()


def error_response(error: HearthError) -> HttpResponse:
    """An error of ours, as a response."""
    rendered = render(error)
    return HttpResponse(rendered.status, tuple(rendered.headers.items()), orjson.dumps(rendered.body))
