"""SQS in the AWS JSON 1.0 protocol, which today's SDKs speak.

Rule: an error says both of its names, the one of this protocol in `__type` and that of the query protocol in a header,
by which programs written for the older one still tell errors apart.
Source: AWS JSON 1.0 protocol and AWS query compatible protocols, Smithy 2.0.
"""

import base64
from typing import Any

import orjson

from hearth.core.errors import HearthError, InvalidRequestContent
from hearth_gateway.core.operations import ApiResponse
from hearth_gateway.core.sqs_errors import SqsError, query_code
from hearth_gateway.core.validation import Structure
from hearth_gateway.lambda_api.requests import Request, read_request
from hearth_gateway.neighbours.calls import Members, NeighbourRequest

TARGET = "AmazonSQS."
CONTENT_TYPE = "application/x-amz-json-1.0"
_NAMESPACE = "com.amazonaws.sqs#"
_FIRST_SERVER_ERROR = 500


def operation_of(request: NeighbourRequest) -> str:
    """The operation that is asked for."""
    return request.headers.get("X-Amz-Target", "").removeprefix(TARGET)


def read(shape: Structure, request: NeighbourRequest) -> dict[str, Any]:
    """The members of a request. Raises SqsError."""
    try:
        return read_request(shape, Request({}, {}, {}, request.body))
    except InvalidRequestContent as error:
        raise SqsError("SerializationException", error.message) from error


def answer(members: Members) -> ApiResponse:
    """An operation's answer."""
    return ApiResponse(200, orjson.dumps(members, default=_text_of), {"Content-Type": CONTENT_TYPE})


def refusal(error: HearthError) -> ApiResponse:
    """An error."""
    fault = "Receiver" if error.status >= _FIRST_SERVER_ERROR else "Sender"
    headers = {"Content-Type": CONTENT_TYPE, "x-amzn-query-error": f"{query_code(error.code)};{fault}"}
    body = {"__type": f"{_NAMESPACE}{error.code}", "message": error.message}
    return ApiResponse(error.status, orjson.dumps(body), headers)


def _text_of(value: object) -> str:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    raise TypeError(f"{type(value).__name__} is not JSON")
