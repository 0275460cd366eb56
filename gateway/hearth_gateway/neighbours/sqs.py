"""SQS: one table of operations, spoken in the JSON protocol of today's SDKs and in the query protocol of older clients.

Source: Amazon SQS API reference.
"""

from collections.abc import Mapping
from typing import Any

from hearth.core.errors import HearthError
from hearth.core.identity import Principal
from hearth_gateway.core.operations import ApiResponse
from hearth_gateway.core.sqs_errors import SqsError, missing, unsupported
from hearth_gateway.neighbours import sqs_json, sqs_query
from hearth_gateway.neighbours.calls import Authorize, Call, Members, NeighbourRequest, conditions_of
from hearth_gateway.neighbours.sqs_calls import SqsCall, SqsHandler
from hearth_gateway.neighbours.sqs_shapes import check_required, load_shapes
from hearth_gateway.sources.ports import QueueUnavailable

_WRONG_KIND = "WRONGTYPE"


class SqsService:
    """The service. The operations it has are those it is given."""

    def __init__(self, handlers: Mapping[str, SqsHandler]) -> None:
        self._handlers = dict(handlers)
        self._shapes = load_shapes()

    async def handle(self, request: NeighbourRequest, principal: Principal, authorize: Authorize) -> ApiResponse:
        """Read, check, run, answer. Its errors are answers too: only here it is known which protocol was spoken."""
        is_json = _is_json(request)
        try:
            operation, members = self._read_json(request) if is_json else self._read_form(request)
            call = Call(members, principal, authorize, conditions_of(request))
            answer = await self._run(operation, SqsCall(call, _origin(request), request.path, request.is_there))
        except HearthError as error:
            return sqs_json.refusal(error) if is_json else sqs_query.refusal(error, request.request_id)
        return sqs_json.answer(answer) if is_json else sqs_query.answer(operation, answer, request.request_id)

    def refusal(self, error: HearthError, request_id: str) -> ApiResponse:
        """An error from before the service was asked, in today's protocol."""
        return sqs_json.refusal(error)

    def form_refusal(self, error: HearthError, request_id: str) -> ApiResponse:
        """The same for an older client."""
        return sqs_query.refusal(error, request_id)

    async def _run(self, operation: str, asked: SqsCall) -> Members:
        try:
            return await self._handlers[operation](asked)
        except QueueUnavailable as error:
            if _WRONG_KIND in str(error):
                raise unsupported("The key of that name in Redis holds something else than messages.") from error
            raise SqsError("ServiceUnavailable", f"The queues are not available now: {error}", 503) from error

    def _read_json(self, request: NeighbourRequest) -> tuple[str, dict[str, Any]]:
        operation = sqs_json.operation_of(request)
        if operation not in self._handlers:
            raise SqsError("UnknownOperationException", f"The action {operation} is not valid for this endpoint.")
        members = sqs_json.read(self._shapes[operation], request)
        check_required(self._shapes[operation], members, needs_url=not request.path.strip("/"))
        return operation, members

    def _read_form(self, request: NeighbourRequest) -> tuple[str, dict[str, Any]]:
        fields = sqs_query.read_fields(request)
        operation = fields.get("Action", "")
        if not operation:
            raise missing("Action")
        if operation not in self._handlers:
            raise SqsError("UnknownOperationException", f"The action {operation} is not valid for this endpoint.")
        members = sqs_query.read(self._shapes[operation], fields)
        check_required(self._shapes[operation], members, needs_url=False)
        return operation, members


def _is_json(request: NeighbourRequest) -> bool:
    return bool(request.headers.get("X-Amz-Target", ""))


def _origin(request: NeighbourRequest) -> str:
    """Scheme and host as the client used them; in front of us there may be something that speaks TLS."""
    scheme = "https" if request.headers.get("X-Forwarded-Proto", "").lower() == "https" else "http"
    return f"{scheme}://{request.headers.get('Host', 'localhost')}"
