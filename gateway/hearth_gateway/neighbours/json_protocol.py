"""The AWS JSON 1.1 protocol: the operation in a header, JSON both ways. CloudWatch Logs and EventBridge speak
it.

Source: AWS JSON 1.1 protocol, Smithy 2.0.
"""

from collections.abc import Mapping

import orjson

from hearth.core.errors import HearthError, InvalidRequestContent, ServiceError, ValidationError
from hearth.core.identity import Principal
from hearth_gateway.core.operations import ApiResponse
from hearth_gateway.core.validation import check
from hearth_gateway.lambda_api.requests import Request, read_request
from hearth_gateway.lambda_api.service_model import load_inputs
from hearth_gateway.neighbours.calls import Authorize, Call, CallerError, Handler, NeighbourRequest, conditions_of

_JSON = {"Content-Type": "application/x-amz-json-1.1"}
_INVALID, _UNKNOWN = "InvalidParameterException", "UnknownOperationException"


class JsonService:
    """A service of the JSON protocol: the operations that are here, by name. `invalid` is the service's code for a
    request that breaks the constraints of its shape, `unknown` for an operation that is not here, `internal` for a
    failure of the platform's own."""

    def __init__(
        self,
        service: str,
        version: str,
        handlers: Mapping[str, Handler],
        *,
        invalid: str = _INVALID,
        unknown: str = _UNKNOWN,
        internal: str = ServiceError.code,
    ) -> None:
        self._internal = internal
        self._invalid = invalid
        self._unknown = unknown
        self._handlers = dict(handlers)
        self._inputs = load_inputs(tuple(sorted(handlers)), service, version)

    async def handle(self, request: NeighbourRequest, principal: Principal, authorize: Authorize) -> ApiResponse:
        """Read, check, run, answer. Raises HearthError."""
        operation = request.headers.get("X-Amz-Target", "").rpartition(".")[2]
        handler = self._handlers.get(operation)
        if handler is None:
            raise CallerError(self._unknown, f"{operation} is not available on this platform.")
        shape = self._inputs[operation]
        try:
            members = read_request(shape, Request({}, {}, {}, request.body))
            check(shape, members)
        except InvalidRequestContent as error:
            raise CallerError("SerializationException", error.message) from error
        except ValidationError as error:
            raise CallerError(self._invalid, error.message) from error
        attempt_of = request.headers.get("amz-sdk-invocation-id") or request.request_id
        answer = await handler(Call(members, principal, authorize, conditions_of(request), attempt_of))
        return ApiResponse(200, orjson.dumps(answer) if answer else b"", _JSON)

    def refusal(self, error: HearthError, request_id: str) -> ApiResponse:
        """An error in the service's own form."""
        code = self._internal if error.code == ServiceError.code else error.code
        body = {"__type": code, "message": error.message}
        # Denials and bad signatures are 400 in this protocol's services, unlike in the REST ones.
        status = error.status if error.status >= 500 else 400  # noqa: PLR2004 - HTTP's server errors
        return ApiResponse(status, orjson.dumps(body), {**_JSON, "x-amzn-ErrorType": code})
