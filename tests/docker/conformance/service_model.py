"""Holds answers against the service's own model, which botocore itself never does.

Rule 1: what the model requires must be there, and what is there must have the type and obey the limits of its shape.
Rule 2: a member that the model does not know is a mistake: strict clients drop it, and nobody would notice.
"""

import json
import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

_OUTSIDE_THE_BODY = frozenset({"header", "headers", "statusCode"})
_TYPES: dict[str, type | tuple[type, ...]] = {
    "string": str,
    "boolean": bool,
    "integer": int,
    "long": int,
    "float": (int, float),
    "double": (int, float),
    "timestamp": datetime,
    "blob": (bytes, bytearray),
}


def violations(shape: Any, value: Any, path: str = "answer") -> Iterator[str]:
    """Everything about a parsed value that its shape forbids, in words."""
    match shape.type_name:
        case "structure":
            yield from _of_structure(shape, value, path)
        case "list":
            yield from _of_size(shape, len(value), path)
            for number, item in enumerate(value):
                yield from violations(shape.member, item, f"{path}[{number}]")
        case "map":
            yield from _of_size(shape, len(value), path)
            for key, item in value.items():
                yield from violations(shape.key, key, f"{path} key")
                yield from violations(shape.value, item, f"{path}.{key}")
        case kind:
            yield from _of_scalar(shape, kind, value, path)


def unknown_members(shape: Any, body: Any, path: str = "answer") -> Iterator[str]:
    """Members of a raw JSON body that its shape does not have, and nulls, which the service leaves out."""
    if body is None:
        yield f"{path} is null"
    elif shape.type_name == "structure" and isinstance(body, Mapping):
        known = {
            member.serialization.get("name", name): member
            for name, member in shape.members.items()
            if member.serialization.get("location") not in _OUTSIDE_THE_BODY
        }
        yield from (f"{path}.{name} is unknown" for name in body.keys() - known.keys())
        for name in body.keys() & known.keys():
            yield from unknown_members(known[name], body[name], f"{path}.{name}")
    elif shape.type_name == "list" and isinstance(body, list):
        for number, item in enumerate(body):
            yield from unknown_members(shape.member, item, f"{path}[{number}]")


REAL_DIFFERENCES = (
    "LastUpdateStatusReasonCode is 'Creating'",
    "GetFunctionCodeSigningConfig: answer.CodeSigningConfigArn is missing",
    "GetFunctionCodeSigningConfig: answer.FunctionName is missing",
)
"""Where the service itself does not keep to its model, and tools count on what it does."""


class Checker:
    """Listens to a boto3 client: every answer is held against the model; errors must be such as the operation lists.

    `unmodelled` are error codes that the service sends without having them in its model.
    """

    unmodelled = frozenset(
        {
            "ValidationException",
            "AccessDeniedException",
            "RequestEntityTooLargeException",
            "UnrecognizedClientException",
            "InvalidSignatureException",
            "MissingAuthenticationTokenException",
        }
    )

    def __init__(self, client: Any) -> None:
        self.driven: set[str] = set()
        self.problems: list[str] = []
        client.meta.events.register("after-call.lambda.*", self._judge)

    def _judge(self, http_response: Any, parsed: dict[str, Any], model: Any, **_: Any) -> None:
        self.driven.add(model.name)
        found = [f"{model.name}: {one}" for one in _of_exchange(http_response, parsed, model, self.unmodelled)]
        self.problems += [problem for problem in found if not any(known in problem for known in REAL_DIFFERENCES)]


def _of_exchange(http_response: Any, parsed: dict[str, Any], model: Any, unmodelled: frozenset[str]) -> Iterator[str]:
    if not parsed["ResponseMetadata"].get("RequestId"):
        yield "no x-amzn-RequestId"
    if http_response.status_code >= 300:
        yield from _of_error(http_response, parsed, model, unmodelled)
        return
    values = {name: value for name, value in parsed.items() if name != "ResponseMetadata"}
    if model.output_shape is None:
        return
    if model.has_streaming_output or model.has_event_stream_output:
        values = {name: value for name, value in values.items() if not hasattr(value, "read") and name != "EventStream"}
    elif http_response.content:
        yield from unknown_members(model.output_shape, json.loads(http_response.content))
    yield from violations(model.output_shape, values)


def _of_error(http_response: Any, parsed: dict[str, Any], model: Any, unmodelled: frozenset[str]) -> Iterator[str]:
    error = parsed["Error"]
    listed = {shape.name: shape for shape in model.error_shapes}
    if not error.get("Message"):
        yield f"{error['Code']} has no message"
    if error["Code"] in listed:
        expected = listed[error["Code"]].metadata.get("error", {}).get("httpStatusCode")
        if expected not in (None, http_response.status_code):
            yield f"{error['Code']} came with status {http_response.status_code} instead of {expected}"
        yield from unknown_members(listed[error["Code"]], json.loads(http_response.content), "error")
    elif error["Code"] not in unmodelled:
        yield f"{error['Code']} is no error of this operation"
    if http_response.headers.get("x-amzn-ErrorType") != error["Code"]:
        yield "x-amzn-ErrorType differs from the code"


def _of_structure(shape: Any, value: Any, path: str) -> Iterator[str]:
    if not isinstance(value, Mapping):
        yield f"{path} is no structure"
        return
    for name in shape.required_members:
        if name not in value:
            yield f"{path}.{name} is missing"
    for name, item in value.items():
        if name in shape.members:
            yield from violations(shape.members[name], item, f"{path}.{name}")


def _of_scalar(shape: Any, kind: str, value: Any, path: str) -> Iterator[str]:
    if not isinstance(value, _TYPES[kind]):
        yield f"{path} is {type(value).__name__}, not {kind}"
        return
    limits = shape.metadata
    if isinstance(value, str):
        if "enum" in limits and value not in limits["enum"]:
            yield f"{path} is {value!r}, not one of {limits['enum']}"
        if "pattern" in limits and not re.fullmatch(limits["pattern"], value):
            yield f"{path} is {value!r}, which does not match {limits['pattern']}"
        yield from _of_size(shape, len(value), path)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield from _of_size(shape, value, path)


def _of_size(shape: Any, size: float, path: str) -> Iterator[str]:
    low, high = shape.metadata.get("min"), shape.metadata.get("max")
    if low is not None and size < low:
        yield f"{path} is less than {low}: {size}"
    if high is not None and size > high:
        yield f"{path} is more than {high}: {size}"
