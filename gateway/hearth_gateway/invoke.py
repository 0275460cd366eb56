"""The Invoke operation: the hot path.

Rule 1: between the body and the scheduler nothing waits: a look into the registry, a check of the payload, and off.
Rule 2: what most requests do not have (a qualifier, a client context, an ARN for a name) costs most requests nothing.
Source: "Invoke" in the AWS Lambda API reference.
"""

import time
from base64 import b64encode
from collections.abc import Mapping
from typing import Protocol, assert_never
from urllib.parse import parse_qs, unquote

import orjson

from hearth.core.errors import (
    HearthError,
    InvalidParameterValue,
    InvalidRequestContent,
    RecursiveInvocation,
    RequestTooLarge,
    ResourceNotFound,
    ServiceError,
    TooManyRequests,
)
from hearth.core.function import FunctionVersion
from hearth.core.invocation import FunctionFailed, Invocation, Outcome, PlatformFailed, Succeeded, Throttled
from hearth.core.log_lines import LOG_TAIL_BYTES
from hearth.core.records import FunctionRecord
from hearth.ports import Scheduler
from hearth.registry import Registry
from hearth_gateway.core import invoke_request, lineage, names
from hearth_gateway.core.async_event import AsyncEvent
from hearth_gateway.core.endpoint import Endpoint
from hearth_gateway.core.http_response import content_type_header
from hearth_gateway.core.invoke_request import InvocationType
from hearth_gateway.core.names import FunctionReference
from hearth_gateway.core.operations import ApiResponse
from hearth_gateway.core.tracing import TRACE_BYTES, trace_header
from hearth_gateway.random_bytes import RandomBytes

INVOKE_PREFIX = "/2015-03-31/functions/"
INVOKE_SUFFIX = "/invocations"
"""What the path of Invoke begins and ends with; between them is the function."""
DRY_RUN = ApiResponse(204)
REQUEST_ID = "x-amzn-RequestId"
MAX_EVENT_BYTES = 1_048_576
"""Payload of an asynchronous invocation, AWS Lambda quotas."""
MAX_INVOKE_ASYNC_BYTES = 262_144
"""Payload of InvokeAsync."""


class Events(Protocol):
    """Takes asynchronous invocations."""

    async def accept(self, event: AsyncEvent, once: str = "") -> str:
        """Keep the event, on disk when this returns; `once` is a key under which only the first event of a day is kept.
        Gives the id of the event that is kept. Raises ServiceError if it cannot be kept."""
        ...


class Invoker:
    """Answers Invoke."""

    def __init__(self, registry: Registry, scheduler: Scheduler, endpoint: Endpoint, events: Events) -> None:
        self._registry = registry
        self._scheduler = scheduler
        self._endpoint = endpoint
        self._events = events
        self._random = RandomBytes()

    async def invoke(
        self, label: str, query: str, headers: Mapping[str, str], *, body: bytes, request_id: str
    ) -> ApiResponse:
        """Run a function once and wait for its answer. `label` and `query` are raw; raises HearthError."""
        if headers.get("X-Amz-Invocation-Type") == InvocationType.EVENT.value:
            return await self.accept(label, query, headers, body=body, request_id=request_id)
        invocation = self.prepare(label, query, headers, body=body, request_id=request_id)
        if invocation is None:
            return DRY_RUN
        return answer(invocation, await self._scheduler.invoke(invocation))

    async def accept(
        self,
        label: str,
        query: str,
        headers: Mapping[str, str],
        *,
        body: bytes,
        request_id: str,
        max_bytes: int = MAX_EVENT_BYTES,
    ) -> ApiResponse:
        """Keep an event to run the function with later, and say so once it is on disk. Raises HearthError."""
        if len(body) > max_bytes:
            raise RequestTooLarge(f"Request must be smaller than {max_bytes} bytes for the InvokeFunction operation")
        invoke_request.check_request_id(headers.get("x-amzn-RequestId", ""))
        once = invoke_request.idempotency_key(headers)
        record, _, invoked_arn = self._find(label, query)
        trace_id = self._chained(record, headers)
        event = AsyncEvent(
            id=request_id,
            function=record.name,
            qualifier=self._reference(label, query).qualifier or "",
            invoked_arn=invoked_arn,
            payload=checked_payload(body),
            trace_id=trace_id,
            accepted_ms=time.time_ns() // 1_000_000,
        )
        kept = await self._events.accept(event, once)
        return ApiResponse(202, b"", {"X-Amzn-Trace-Id": trace_id, REQUEST_ID: kept})

    def prepare(
        self, label: str, query: str, headers: Mapping[str, str], *, body: bytes, request_id: str
    ) -> Invocation | None:
        """The invocation that a request asks for; None if it only wanted to be checked. Raises HearthError."""
        arrived_at = time.monotonic()
        get = headers.get
        invoke_request.check_request_id(get("x-amzn-RequestId", ""))
        kind = invoke_request.invocation_type(get("X-Amz-Invocation-Type", ""))
        record, function, invoked_arn = self._find(label, query)
        context = get("X-Amz-Client-Context")
        trace_id = self._trace(record, headers)
        invocation = Invocation(
            request_id,
            function,
            checked_payload(body),
            arrived_at,
            invoked_arn,
            trace_id,
            invoke_request.client_context(context) if context else "",
            invoke_request.wants_log_tail(get("X-Amz-Log-Type", "")),
        )
        if "X-Amz-Tenant-Id" in headers:
            raise InvalidParameterValue("The function does not support tenant isolation, so it takes no tenant id.")
        return None if kind is InvocationType.DRY_RUN else invocation

    def _find(self, label: str, query: str) -> tuple[FunctionRecord, FunctionVersion, str]:
        """The function, what runs, and its ARN as addressed."""
        if not query:
            record = self._registry.find(label)
            if record is not None:  # addressed by its bare name, as nearly always
                return record, record.version(), record.arn
        reference = self._reference(label, query)
        record = self._registry.find(reference.name)
        version = None if record is None else record.find(reference.qualifier, self._random.chance())
        if record is None or version is None:
            raise names.function_not_found(reference, self._endpoint.region, self._endpoint.account)
        return record, record.version(version.version), self._arn(record, reference)

    def _trace(self, record: FunctionRecord, headers: Mapping[str, str]) -> str:
        incoming = headers.get("X-Amzn-Trace-Id", "")
        trace_id = trace_header(incoming, self._random.take(TRACE_BYTES), int(time.time()))
        return _traced(record, incoming, trace_id) if incoming else trace_id

    def _chained(self, record: FunctionRecord, headers: Mapping[str, str]) -> str:
        """The trace of an event. A loop is not refused here: its event is given up when its turn comes, so that it is
        found where given-up events are."""
        incoming = headers.get("X-Amzn-Trace-Id", "")
        trace_id = trace_header(incoming, self._random.take(TRACE_BYTES), int(time.time()))
        return f"{trace_id};Lineage={lineage.extended(incoming, record.arn)[0]}" if incoming else trace_id

    def _reference(self, label: str, query: str) -> FunctionReference:
        reference = names.parse_function_name(unquote(label), self._endpoint.account)
        qualifiers = parse_qs(query).get("Qualifier") if query else None
        return names.qualified(reference, qualifiers[0] if qualifiers else None)

    def _arn(self, record: FunctionRecord, reference: FunctionReference) -> str:
        return record.arn if reference.qualifier is None else f"{record.arn}:{reference.qualifier}"


def _traced(record: FunctionRecord, incoming: str, trace_id: str) -> str:
    """The trace header with the chain that led here; raises if it is a loop that nobody allowed."""
    chain, count = lineage.extended(incoming, record.arn)
    if count > lineage.MAX_INVOCATIONS and record.recursive_loop != "Allow":
        raise RecursiveInvocation(
            f"Recursive invocation detected: function {record.arn} was invoked {count - 1} times by the same chain of "
            "requests. PutFunctionRecursionConfig with RecursiveLoop Allow permits it."
        )
    return f"{trace_id};Lineage={chain}"


def checked_payload(body: bytes) -> bytes:
    """The event, unchanged, if it is JSON in UTF-8. An empty body is an empty object."""
    if not body:
        return b"{}"
    try:
        orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise InvalidRequestContent(
            f"Could not parse request body into json: Could not parse payload into json: {error}"
        ) from error
    return body


def answer(invocation: Invocation, outcome: Outcome) -> ApiResponse:
    """What the caller gets for an outcome. Raises HearthError for those that are not the function's."""
    match outcome:
        case Succeeded(payload, ledger, log_tail, content_type):
            headers = _headers(invocation, invoke_request.server_timing(ledger))
            if content_type:  # it was streamed, and collected
                headers.update((content_type_header(content_type),))
        case FunctionFailed(_, payload, ledger, log_tail):
            headers = _headers(invocation, invoke_request.server_timing(ledger))
            headers["X-Amz-Function-Error"] = "Unhandled"
        case Throttled() | PlatformFailed():
            raise outcome_error(outcome)
        case _:
            assert_never(outcome)
    if invocation.wants_log_tail:
        headers["X-Amz-Log-Result"] = b64encode(log_tail[-LOG_TAIL_BYTES:]).decode()
    return ApiResponse(200, payload, headers)


def outcome_error(outcome: Throttled | PlatformFailed) -> HearthError:
    """An outcome that is not the function's, as an error."""
    match outcome:
        case Throttled(reason, retry_after_s):
            return TooManyRequests(reason.value, retry_after_s)
        case PlatformFailed(reason):
            return ResourceNotFound(reason) if outcome.is_gone else ServiceError(reason)
        case _:
            assert_never(outcome)


def _headers(invocation: Invocation, timing: str) -> dict[str, str]:
    return {
        "Content-Type": "application/json",
        "X-Amz-Executed-Version": invocation.function.version,
        "X-Amzn-Trace-Id": invocation.trace_id,
        "Server-Timing": timing,
    }
