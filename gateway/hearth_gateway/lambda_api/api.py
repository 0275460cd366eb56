"""The Lambda API's one entrance: a routed request in, an answer out.

Each operation has one handler. The handler gets the request's members by the names of the service model, already
checked against the model's constraints, wherever in the request they came from; blobs are bytes. It gives the status
and the members of the answer; None means an empty body. Errors are raised as `HearthError`.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import orjson

from hearth.core.errors import InvalidParameterValue
from hearth_gateway.auth.gate import Permit
from hearth_gateway.core.operations import OPERATIONS, ApiResponse, Route
from hearth_gateway.core.validation import check
from hearth_gateway.lambda_api.requests import Request, read_request
from hearth_gateway.lambda_api.service_model import load_inputs


class Parameters(dict[str, Any]):
    """The members of a request, and the host that the client called us by ("" if it did not say)."""

    host: str = ""


Answer = tuple[int, Mapping[str, Any] | None]
Handler = Callable[[Parameters], Awaitable[Answer]]

_JSON = {"Content-Type": "application/json"}
_LARGE_BODY = 2**18
"""Bytes of body from which reading a request is left to a thread, so that invocations are not held up."""


class LambdaApi:
    """All operations but Invoke, which has a path of its own."""

    def __init__(self) -> None:
        self._handlers: dict[str, Handler] = {}
        self._inputs = load_inputs(tuple(operation.name for operation in OPERATIONS))

    def register(self, operation: str, handler: Handler) -> None:
        """Answer this operation with this handler. Each operation has exactly one."""
        if operation in self._handlers:
            raise ValueError(f"{operation} has a handler already")
        self._handlers[operation] = handler

    async def handle(
        self,
        route: Route,
        query: Mapping[str, list[str]],
        headers: Mapping[str, str],
        body: bytes,
        *,
        permit: Permit,
    ) -> ApiResponse:
        """Check the request, ask whether it is permitted, run the operation, encode its answer. Raises HearthError."""
        shape = self._inputs[route.operation]
        request = Request(route.labels, query, headers, body)
        if len(body) < _LARGE_BODY:
            members = read_request(shape, request)
        else:
            members = await asyncio.to_thread(read_request, shape, request)
        check(shape, members)
        permit(members)
        handler = self._handlers.get(route.operation)
        if handler is None:
            raise InvalidParameterValue(f"{route.operation} is not available on this platform.")
        parameters = Parameters(members)
        parameters.host = request.header("host")
        status, answer = await handler(parameters)
        if answer is None:
            return ApiResponse(status)
        return ApiResponse(status, orjson.dumps(answer), _JSON)
