"""The AWS query protocol: a form as the request, XML as the answer. IAM, STS and SNS speak it.

Rule 1: the request's shape decides how a field is read: `Tags.member.1.Key` is a list only where the model has one.
Rule 2: an answer's elements are its members' names and its lists are not flattened: both are so throughout all three.
Rule 3: what XML 1.0 cannot hold is replaced, so that no answer can be one that no client can read.
Source: AWS query protocol, Smithy 2.0.
"""

import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any, assert_never
from urllib.parse import parse_qsl
from xml.sax.saxutils import escape

from hearth.core.errors import HearthError
from hearth.core.identity import Principal
from hearth_gateway.core.operations import ApiResponse
from hearth_gateway.core.validation import Blob, Flag, ListOf, MapOf, Moment, Number, Shape, Structure, Text, check
from hearth_gateway.lambda_api.service_model import load_inputs
from hearth_gateway.neighbours.calls import (
    Authorize,
    Call,
    CallerError,
    Handler,
    Members,
    NeighbourRequest,
    conditions_of,
)
from hearth_gateway.neighbours.service_choice import MAX_FORM_FIELDS

_XML = {"Content-Type": "text/xml"}
_NOT_XML = re.compile("[^\\t\\n\\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_MAX_DEPTH = 12

# The same errors, by the names that the query protocol's services have for them.
_CODES = {
    "AccessDeniedException": "AccessDenied",
    "ExpiredTokenException": "ExpiredToken",
    "IncompleteSignatureException": "IncompleteSignature",
    "InvalidSignatureException": "SignatureDoesNotMatch",
    "MissingAuthenticationTokenException": "MissingAuthenticationToken",
    "ServiceException": "ServiceFailure",
    "TooManyRequestsException": "Throttling",
    "UnrecognizedClientException": "InvalidClientTokenId",
    "ValidationException": "ValidationError",
}

Tree = dict[str, "Tree | str"]


class Entries(dict[str, str]):
    """A map in an answer: its keys are data, not names of elements."""


class QueryService:
    """A service of the query protocol: the operations that are here, by name. `codes` are its own names for errors."""

    def __init__(
        self,
        service: str,
        version: str,
        handlers: Mapping[str, Handler],
        *,
        namespace: str = "",
        codes: Mapping[str, str] | None = None,
    ) -> None:
        self._version = version
        self._namespace = namespace or f"https://{service}.amazonaws.com/doc/{version}/"
        self._codes = {**_CODES, **(codes or {})}
        self._handlers = dict(handlers)
        self._inputs = load_inputs(tuple(sorted(handlers)), service, version)

    async def handle(self, request: NeighbourRequest, principal: Principal, authorize: Authorize) -> ApiResponse:
        """Read, check, run, answer. Raises HearthError."""
        fields = _fields(request)
        action = fields.get("Action", "")
        handler = self._handlers.get(action)
        if handler is None:
            message = f"Could not find operation {action} for version {fields.get('Version', self._version)}"
            raise CallerError("InvalidAction", message)
        shape = self._inputs[action]
        members = read_members(shape, fields)
        check(shape, members)
        attempt_of = request.headers.get("amz-sdk-invocation-id") or request.request_id
        answer = await handler(Call(members, principal, authorize, conditions_of(request), attempt_of))
        return ApiResponse(200, render_answer(action, answer, self._namespace, request.request_id), _XML)

    def refusal(self, error: HearthError, request_id: str) -> ApiResponse:
        """An error in the service's own form."""
        return ApiResponse(error.status, render_error(error, self._namespace, request_id, self._codes), _XML)


def read_members(shape: Structure, fields: Mapping[str, str]) -> dict[str, Any]:
    """The members of a request, typed as the shape wants them; fields that it does not know are ignored."""
    found = _value(shape, _tree(fields), "")
    assert isinstance(found, dict)
    return found


def render_answer(action: str, answer: Members, namespace: str, request_id: str) -> bytes:
    """The answer of an operation. A result element is there also when it is empty: clients step into it."""
    result = f"<{action}Result>{''.join(_elements(answer))}</{action}Result>"
    metadata = f"<ResponseMetadata><RequestId>{request_id}</RequestId></ResponseMetadata>"
    return f'<{action}Response xmlns="{namespace}">{result}{metadata}</{action}Response>'.encode()


def render_error(
    error: HearthError, namespace: str, request_id: str, codes: Mapping[str, str] = MappingProxyType(_CODES)
) -> bytes:
    """An error of an operation, or of the way to it. `codes` are the service's names for the errors it shares."""
    kind = "Receiver" if error.status >= 500 else "Sender"  # noqa: PLR2004 - HTTP's server errors
    code = codes.get(error.code, error.code)
    detail = f"<Type>{kind}</Type><Code>{code}</Code><Message>{_text(error.message)}</Message>"
    return (
        f'<ErrorResponse xmlns="{namespace}"><Error>{detail}</Error><RequestId>{request_id}</RequestId></ErrorResponse>'
    ).encode()


def _fields(request: NeighbourRequest) -> dict[str, str]:
    source = request.body.decode("utf-8", "replace") if request.method == "POST" else request.query
    try:
        return dict(parse_qsl(source, keep_blank_values=True, max_num_fields=MAX_FORM_FIELDS))
    except ValueError as error:
        raise CallerError("MalformedQueryString", f"The query cannot be read: {error}") from error


def _tree(fields: Mapping[str, str]) -> Tree:
    """Fields by the parts of their names. A name that is a value and a branch at once is a branch."""
    root: Tree = {}
    for name, value in fields.items():
        *branches, leaf = name.split(".", _MAX_DEPTH)
        node = root
        for branch in branches:
            below = node.get(branch)
            if not isinstance(below, dict):
                below = node[branch] = {}
            node = below
        if not isinstance(node.get(leaf), dict):
            node[leaf] = value
    return root


def _value(shape: Shape, node: Tree | str, path: str) -> object:
    match shape:
        case Structure():
            tree = node if isinstance(node, dict) else {}
            present = ((name, member.shape) for name, member in shape.members.items() if name in tree)
            return {name: _value(inner, tree[name], f"{path}.{name}") for name, inner in present}
        case ListOf():
            return [_value(shape.member, item, path) for item in _numbered(node, "member")]
        case MapOf():
            entries = [item for item in _numbered(node, "entry") if isinstance(item, dict)]
            key, value = shape.key_name, shape.value_name
            return {str(item.get(key, "")): _value(shape.value, item.get(value, ""), path) for item in entries}
        case Text() | Number() | Flag() | Moment() | Blob():
            return _scalar(shape, node, path)
        case _:
            assert_never(shape)


def _numbered(node: Tree | str, word: str) -> Iterator[Tree | str]:
    """The items of a list, in the order of their numbers, whichever are missing."""
    branch = node.get(word, {}) if isinstance(node, dict) else {}
    if isinstance(branch, dict):
        numbers = sorted((int(key), key) for key in branch if key.isascii() and key.isdigit())
        yield from (branch[key] for _, key in numbers)


def _scalar(shape: Shape, node: Tree | str, path: str) -> object:
    if not isinstance(node, str):
        raise CallerError("MalformedInput", f"{path[1:]} has members of its own")
    match shape:
        case Number():
            if not re.fullmatch(r"-?[0-9]{1,18}", node):
                raise CallerError("MalformedInput", f"{path[1:]} must be a number, not '{node}'")
            return int(node)
        case Flag():
            return node.lower() == "true"
        case _:
            return node


def _elements(members: Members) -> Iterator[str]:
    for name, value in members.items():
        yield f"<{name}>{_content(value)}</{name}>"


def _content(value: object) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case datetime():
            return value.strftime("%Y-%m-%dT%H:%M:%SZ")
        case Entries():
            return "".join(f"<entry>{_content({'key': key, 'value': item})}</entry>" for key, item in value.items())
        case Mapping():
            return "".join(_elements(value))
        case list() | tuple():
            return "".join(f"<member>{_content(item)}</member>" for item in value)
        case _:
            return _text(str(value))


def _text(text: str) -> str:
    """Text as XML. A line break that is a carriage return would reach the reader as another one."""
    return escape(_NOT_XML.sub("\ufffd", text), {"\r": "&#13;"})
