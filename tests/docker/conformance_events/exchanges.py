"""Holds what SQS, SNS, EventBridge and Scheduler answer against botocore's models of them, whatever their protocol.

Rule 1: every answer has what its shape requires, nothing that its shape does not know, and a request id.
Rule 2: every error is one that the operation lists, or one that every service has, with its status and a message.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from xml.etree import ElementTree

import boto3
import pytest
from botocore import xform_name
from botocore.config import Config
from botocore.exceptions import ClientError
from tests.docker.conformance.service_model import unknown_members, violations
from tests.docker.house import House

COMMON = frozenset(
    {
        *("ValidationException", "SerializationException", "AccessDeniedException", "UnknownOperationException"),
        *("UnsupportedOperation", "ValidationError", "MalformedInput", "InvalidAction", "AccessDenied"),
        *("InvalidParameterValue", "MissingParameter", "InvalidAttributeName"),
    }
)
"""Errors that services have without saying so in their models: SQS's `InvalidParameterValue` is one of them, and the
`InvalidAttributeName` of its ReceiveMessage."""

REAL_DIFFERENCES = ("Batch: answer.Failed is missing", "Batch: answer.Successful is missing")
"""Where the services themselves do not keep to their models: SQS leaves out a list of a batch that is empty."""


def client(hearth: House, service: str, **config: Any) -> Any:
    """A boto3 client that repeats nothing, and sends what it is given even if that is wrong."""
    settings = {"retries": {"total_max_attempts": 1}, "proxies": {}, "parameter_validation": False, "read_timeout": 60}
    return boto3.client(
        service,
        endpoint_url=hearth.variables["AWS_ENDPOINT_URL"],
        aws_access_key_id=hearth.variables["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=hearth.variables["AWS_SECRET_ACCESS_KEY"],
        region_name=hearth.variables["AWS_REGION"],
        config=Config(**{**settings, **config}),
    )


@dataclass
class Exchanges:
    """What went over the wire: which operations succeeded, and what was against the model."""

    client: Any
    succeeded: set[str] = field(default_factory=set)
    problems: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        service = self.client.meta.service_model.service_id.hyphenize()
        self.client.meta.events.register(f"after-call.{service}.*", self._judge)

    def _judge(self, http_response: Any, parsed: dict[str, Any], model: Any, **_: Any) -> None:
        found = _of_error if http_response.status_code >= 300 else _of_answer
        said = [f"{model.name}: {one}" for one in found(http_response, parsed, model)]
        self.problems += [one for one in said if not one.endswith(REAL_DIFFERENCES)]
        if http_response.status_code < 300:
            self.succeeded.add(model.name)


def heard(stage: Any, service: str) -> Iterator[Exchanges]:
    """What a test says and hears, by a client that the stage is given; none of it may be against the model."""
    stage.api = client(stage.hearth, service)
    found = Exchanges(stage.api)
    yield found
    assert found.problems == []


@dataclass(frozen=True)
class Refusal:
    """A request that must be refused: its members, made from the stage of its service; what the error is called, and
    what its class in the SDK is called where the model has one."""

    operation: str
    why: str
    members: Callable[[Any], Mapping[str, Any]]
    code: str
    exception: str = ""
    status: int = 400

    def __str__(self) -> str:
        return f"{self.operation}: {self.why}"

    def check(self, api: Any, stage: Any) -> None:
        error = refused(api, self.operation, self.members(stage))
        assert (error.response["Error"]["Code"], status_of(error)) == (self.code, self.status), error
        assert type(error).__name__ == (self.exception or "ClientError")


def refused(api: Any, operation: str, members: Mapping[str, Any], body: Mapping[str, Any] | None = None) -> ClientError:
    """The error that this request ends with. Members that the operation does not have are left
    out. With a `body`, that is sent instead of what the SDK would make of the members."""

    def replace(params: dict[str, Any], **_: Any) -> None:
        params["body"] = json.dumps(body).encode()

    known = api.meta.service_model.operation_model(operation).input_shape.members
    event = f"before-call.{api.meta.service_model.service_id.hyphenize()}.{operation}"
    if body is not None:
        api.meta.events.register(event, replace)
    try:
        with pytest.raises(ClientError) as caught:
            getattr(api, xform_name(operation))(**{name: one for name, one in members.items() if name in known})
    finally:
        api.meta.events.unregister(event, replace)
    return caught.value


def status_of(error: ClientError) -> int:
    status: int = error.response["ResponseMetadata"]["HTTPStatusCode"]
    return status


def plain(shape: Any, known: Mapping[str, Any], name: str = "") -> Any:
    """The least that the shape takes: what it requires, each with its plainest legal value. `known` are values of
    members for which those would not do."""
    if name in known:
        return known[name]
    match shape.type_name:
        case "structure":
            return {each: plain(shape.members[each], known, each) for each in shape.required_members}
        case "list":
            return [plain(shape.member, known)]
        case "map":
            return {"a": plain(shape.value, known)}
        case "string":
            return (shape.metadata.get("enum") or ["x" * max(1, shape.metadata.get("min", 1))])[0]
        case kind:
            return {"boolean": True, "timestamp": 0, "blob": "eA=="}.get(kind, shape.metadata.get("min", 1))


def mistyped(shape: Any, whole: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Bodies in each of which one member has the wrong type, and which one that is."""
    wrong = {"string": {"a": 1}, "list": "x", "structure": "x", "map": "x", "integer": "x", "boolean": "x", "blob": 1}
    for name in sorted(in_body(shape)):
        kind = shape.members[name].type_name
        yield name, {**whole, name: wrong.get(kind, [])}


def incomplete(shape: Any, whole: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Bodies in each of which one required member is missing."""
    for name in shape.required_members:
        if name in in_body(shape):
            yield name, {key: value for key, value in whole.items() if key != name}


def excessive(shape: Any, whole: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Bodies in each of which one member is just outside a limit of its shape."""
    for name in sorted(in_body(shape)):
        for value in _outside(shape.members[name]):
            yield name, {**whole, name: value}


def in_body(shape: Any) -> set[str]:
    """The members that travel in the body."""
    return {name for name, each in shape.members.items() if each.serialization.get("location") is None}


def _outside(shape: Any) -> Iterator[Any]:
    limits = shape.metadata
    match shape.type_name:
        case "string":
            yield from ["x" * (limits["max"] + 1)] if "max" in limits else []
            yield from [""] if limits.get("min") else []
            yield from ["\u0001 no"] if "pattern" in limits or "enum" in limits else []
        case "integer" | "long":
            yield from [limits["max"] + 1] if "max" in limits else []
            yield from [limits["min"] - 1] if "min" in limits else []
        case "list":
            yield from [[plain(shape.member, {})] * (limits["max"] + 1)] if "max" in limits else []
            yield from [[]] if limits.get("min") else []
        case _:
            return


def _of_answer(http_response: Any, parsed: dict[str, Any], model: Any) -> Iterator[str]:
    if not parsed["ResponseMetadata"].get("RequestId"):
        yield "no request id"
    if model.output_shape is None:
        return
    values = {name: value for name, value in parsed.items() if name != "ResponseMetadata"}
    yield from violations(model.output_shape, values)
    if model.service_model.metadata["protocol"] == "query":
        root = ElementTree.fromstring(http_response.content)
        yield from _unknown_elements(model.output_shape, _child(root, f"{model.name}Result"), "answer")
    elif http_response.content:
        yield from unknown_members(model.output_shape, json.loads(http_response.content))


def _of_error(http_response: Any, parsed: dict[str, Any], model: Any) -> Iterator[str]:
    error = parsed["Error"]
    code, name = error["Code"], error.get("QueryErrorCode", error["Code"])
    listed = {shape.error_code: shape for shape in model.error_shapes}
    if not parsed["ResponseMetadata"].get("RequestId"):
        yield f"{code} has no request id"
    if not error.get("Message"):
        yield f"{code} has no message"
    if name in listed:
        expected = listed[name].metadata.get("error", {}).get("httpStatusCode")
        if expected not in (None, http_response.status_code):
            yield f"{code} came with status {http_response.status_code} instead of {expected}"
    elif code not in COMMON:
        yield f"{code} is no error of this operation"


def _unknown_elements(shape: Any, element: ElementTree.Element, path: str) -> Iterator[str]:
    match shape.type_name:
        case "structure":
            known = {each.serialization.get("name", name): each for name, each in shape.members.items()}
        case "list":
            known = {shape.member.serialization.get("name", "member"): shape.member}
        case "map":
            names = (shape.key.serialization.get("name", "key"), shape.value.serialization.get("name", "value"))
            yield from (f"{path} has a broken entry" for one in element if tuple(map(_name, one)) != names)
            return
        case _:
            known = {}
    for child in element:
        if _name(child) in known:
            yield from _unknown_elements(known[_name(child)], child, f"{path}.{_name(child)}")
        else:
            yield f"{path}.{_name(child)} is unknown"


def _child(element: ElementTree.Element, name: str) -> ElementTree.Element:
    return next(child for child in element if _name(child) == name)


def _name(element: ElementTree.Element) -> str:
    return element.tag.rpartition("}")[2]
