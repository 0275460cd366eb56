"""SQS in the AWS query protocol, for clients from before it spoke JSON: a form asks, XML answers.

Rule 1: lists and maps are flattened and have names of their own on the wire (`Attribute.1.Name`), which the service
model of today no longer tells: the tables below do.
Rule 2: what XML 1.0 cannot hold is replaced, so that no answer can be one that no client can read.
Source: "Making query API requests" in the Amazon SQS developer guide; AWS query protocol, Smithy 2.0.
"""

import base64
import binascii
import re
from collections.abc import Iterator, Mapping
from typing import Any, assert_never
from urllib.parse import parse_qsl
from xml.sax.saxutils import escape

from hearth.core.errors import HearthError
from hearth_gateway.core.operations import ApiResponse
from hearth_gateway.core.sqs_errors import SqsError, query_code
from hearth_gateway.core.validation import Blob, Flag, ListOf, MapOf, Moment, Number, Shape, Structure, Text
from hearth_gateway.neighbours.calls import Members, NeighbourRequest
from hearth_gateway.neighbours.service_choice import MAX_FORM_FIELDS

NAMESPACE = "http://queue.amazonaws.com/doc/2012-11-05/"
_XML = {"Content-Type": "text/xml"}
_NOT_XML = re.compile("[^\\t\\n\\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_MAX_DEPTH = 8
_FIRST_SERVER_ERROR = 500

_REQUEST_NAMES: Mapping[str, tuple[str, ...]] = {
    "AttributeNames": ("AttributeName",),
    "MessageSystemAttributeNames": ("MessageSystemAttributeName", "MessageSystemAttributeNames"),
    "MessageAttributeNames": ("MessageAttributeName",),
    "Attributes": ("Attribute",),
    "MessageAttributes": ("MessageAttribute",),
    "MessageSystemAttributes": ("MessageSystemAttribute",),
    "tags": ("Tag", "Tags"),
    "Tags": ("Tag", "Tags"),
    "TagKeys": ("TagKey",),
    "AWSAccountIds": ("AWSAccountId",),
    "Actions": ("ActionName",),
    "Entries": (
        "SendMessageBatchRequestEntry",
        "DeleteMessageBatchRequestEntry",
        "ChangeMessageVisibilityBatchRequestEntry",
    ),
}
"""How members of requests that are lists or maps are spelt in forms; others are spelt as they are called."""

_ANSWER_NAMES: Mapping[str, str] = {
    "Attributes": "Attribute",
    "Failed": "BatchResultErrorEntry",
    "MessageAttributes": "MessageAttribute",
    "Messages": "Message",
    "QueueUrls": "QueueUrl",
    "Results": "ListMessageMoveTasksResultEntry",
    "Tags": "Tag",
    "queueUrls": "QueueUrl",
}
_KEYS = {"tags": ("Key", "Value"), "Tags": ("Key", "Value")}
_NAME_VALUE = ("Name", "Value")

Tree = dict[str, "Tree | str"]


def read_fields(request: NeighbourRequest) -> dict[str, str]:
    """The fields of the form, or of the query of a GET."""
    source = request.body.decode("utf-8", "replace") if request.method == "POST" else request.query
    try:
        return dict(parse_qsl(source, keep_blank_values=True, max_num_fields=MAX_FORM_FIELDS))
    except ValueError as error:
        raise SqsError("MalformedQueryString", f"The query cannot be read: {error}") from error


def read(shape: Structure, fields: Mapping[str, str]) -> dict[str, Any]:
    """The members of a request, typed as the shape wants them; fields that it does not know are ignored."""
    return _structure(shape, _tree(fields))


def answer(operation: str, members: Members, request_id: str) -> ApiResponse:
    """An operation's answer. A result element is there only where the operation has one to give."""
    content = "".join(_elements(members, operation))
    result = f"<{operation}Result>{content}</{operation}Result>" if operation not in _WITHOUT_RESULT else ""
    metadata = f"<ResponseMetadata><RequestId>{request_id}</RequestId></ResponseMetadata>"
    text = f'<{operation}Response xmlns="{NAMESPACE}">{result}{metadata}</{operation}Response>'
    return ApiResponse(200, f'<?xml version="1.0"?>{text}'.encode(), _XML)


def refusal(error: HearthError, request_id: str) -> ApiResponse:
    """An error."""
    kind = "Receiver" if error.status >= _FIRST_SERVER_ERROR else "Sender"
    code, message = query_code(error.code), _text(error.message)
    detail = f"<Error><Type>{kind}</Type><Code>{code}</Code><Message>{message}</Message><Detail/></Error>"
    text = f'<ErrorResponse xmlns="{NAMESPACE}">{detail}<RequestId>{request_id}</RequestId></ErrorResponse>'
    return ApiResponse(error.status, f'<?xml version="1.0"?>{text}'.encode(), _XML)


_WITHOUT_RESULT = frozenset(
    {
        "AddPermission",
        "ChangeMessageVisibility",
        "DeleteMessage",
        "DeleteQueue",
        "PurgeQueue",
        "RemovePermission",
        "SetQueueAttributes",
        "TagQueue",
        "UntagQueue",
    }
)


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


def _structure(shape: Structure, tree: Tree) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, member in shape.members.items():
        node = next((tree[spelt] for spelt in _REQUEST_NAMES.get(name, (name,)) if spelt in tree), None)
        if node is not None:
            found[name] = _value(member.shape, node, name)
    return found


def _value(shape: Shape, node: Tree | str, name: str) -> Any:
    match shape:
        case Structure():
            return _structure(shape, node) if isinstance(node, dict) else {}
        case ListOf():
            return [_value(shape.member, item, name) for item in _numbered(node)]
        case MapOf():
            key, value = _KEYS.get(name, _NAME_VALUE)
            entries = [item for item in _numbered(node) if isinstance(item, dict)]
            return {str(item.get(key, "")): _value(shape.value, item.get(value, ""), name) for item in entries}
        case Text() | Number() | Flag() | Moment() | Blob():
            return _scalar(shape, node, name)
        case _:
            assert_never(shape)


def _numbered(node: Tree | str) -> Iterator[Tree | str]:
    """The items of a list, in the order of their numbers, whichever are missing."""
    branch = node if isinstance(node, dict) else {}
    numbers = sorted((int(key), key) for key in branch if key.isascii() and key.isdigit())
    yield from (branch[key] for _, key in numbers)


def _scalar(shape: Text | Number | Flag | Moment | Blob, node: Tree | str, name: str) -> object:
    if not isinstance(node, str):
        raise SqsError("MalformedInput", f"{name} has members of its own")
    match shape:
        case Number():
            if not re.fullmatch(r"-?[0-9]{1,18}", node):
                raise SqsError("MalformedInput", f"{name} must be a number, not '{node}'")
            return int(node)
        case Flag():
            return node.lower() == "true"
        case Blob():
            try:
                return base64.b64decode(node, validate=True)
            except (binascii.Error, ValueError) as error:
                raise SqsError("MalformedInput", f"{name} is not base64") from error
        case _:
            return node


def _elements(members: Members, operation: str) -> Iterator[str]:
    for name, value in members.items():
        spelt = f"{operation}ResultEntry" if name == "Successful" else _ANSWER_NAMES.get(name, name)
        if isinstance(value, Mapping) and name in _ANSWER_NAMES:
            key, content = _KEYS.get(name, _NAME_VALUE)
            for one, item in value.items():
                inner = _content(item, operation)
                yield f"<{spelt}><{key}>{_text(one)}</{key}><{content}>{inner}</{content}></{spelt}>"
        elif isinstance(value, list | tuple):
            yield from (f"<{spelt}>{_content(item, operation)}</{spelt}>" for item in value)
        else:
            yield f"<{spelt}>{_content(value, operation)}</{spelt}>"


def _content(value: object, operation: str) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case bytes():
            return base64.b64encode(value).decode()
        case Mapping():
            return "".join(_elements(value, operation))
        case _:
            return _text(str(value))


def _text(text: str) -> str:
    """Text as XML. A line break that is a carriage return would reach the reader as another one."""
    return escape(_NOT_XML.sub("\ufffd", text), {"\r": "&#13;"})
