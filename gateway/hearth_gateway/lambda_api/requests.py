"""From the bytes of a request to the members of its operation's input, by the names of the service model.

Wrong types are found here; constraints are checked afterwards, in `hearth_gateway.core.validation`. Members that
the model does not know are ignored, as newer clients may send them; null is the same as absent.
"""

import base64
import binascii
import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, assert_never

import orjson

from hearth.core.errors import InvalidRequestContent
from hearth_gateway.core.validation import Blob, Flag, ListOf, MapOf, Member, Moment, Number, Shape, Structure, Text

_BASE64_CHUNK = 2**17
"""Characters decoded at once, a multiple of 4: the interpreter lock is not held for the whole of a big package."""
_LARGE_PACKAGE = 2**18
"""Characters from which a package is taken out of the body before the rest is parsed."""
_PACKAGE_NAME = b'"ZipFile"'


@dataclass(frozen=True, slots=True)
class Request:
    """A request whose operation is known. Labels and query values are decoded; header names may have any case."""

    labels: Mapping[str, str]
    query: Mapping[str, list[str]]
    headers: Mapping[str, str]
    body: bytes

    def header(self, name: str) -> str:
        """A header's value by its lower-case name, "" if it is not there."""
        return next((value for key, value in self.headers.items() if key.lower() == name), "")


def read_request(shape: Structure, request: Request) -> dict[str, Any]:
    """Every member the request has, wherever it travelled."""
    document = _members_of_body(shape, request.body)
    found: dict[str, Any] = {}
    for name, member in shape.members.items():
        value = _outside(member, request) if member.location else document.get(name)
        if value is not None:
            found[name] = value if member.location else _typed(member.shape, value, name)
    return found


def _members_of_body(shape: Structure, body: bytes) -> dict[str, Any]:
    if all(member.location for member in shape.members.values()):
        return {}
    if not shape.payload:
        return _document(body)
    if isinstance(shape.members[shape.payload].shape, Blob):
        return {shape.payload: body}
    return {shape.payload: _document(body)} if body else {}


def _document(body: bytes) -> dict[str, Any]:
    if not body:
        return {}
    lifted = _without_package(body) if len(body) > _LARGE_PACKAGE else None
    return _parsed(body) if lifted is None else lifted


def _without_package(body: bytes) -> dict[str, Any] | None:
    """The document with its large package decoded already, None if the body does not look like one.

    Parsing 70 MB of JSON keeps the interpreter, and with it every invocation, waiting for a quarter of a second. Base64
    needs no escapes, so the package ends at the next quote; found and decoded in pieces it holds nobody up.
    """
    colon = body.find(b":", body.find(_PACKAGE_NAME) + len(_PACKAGE_NAME))
    start = body.find(b'"', colon) + 1
    end = body.find(b'"', start)
    if end - start < _LARGE_PACKAGE or colon < 0 or body[colon + 1 : start - 1].strip():
        return None
    if body.find(b"\\", start, end) >= 0:
        return None  # a client that escapes slashes, which JSON allows
    document = _parsed(body[:start] + body[end:])
    for holder in (document, document.get("Code"), document.get("Content")):
        if isinstance(holder, dict) and holder.get("ZipFile") == "":
            holder["ZipFile"] = _bytes(memoryview(body)[start:end], "ZipFile")
            return document
    return None


def _parsed(body: bytes) -> dict[str, Any]:
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise InvalidRequestContent(f"Could not parse request body into json: {error}") from error
    if not isinstance(document, dict):
        raise InvalidRequestContent("Could not parse request body into json: an object is expected")
    return document


def _outside(member: Member, request: Request) -> object:
    """A member outside the body; everything there is text, which is read as the shape wants it."""
    match member.location:
        case "uri":
            label = request.labels.get(member.wire_name)
            return None if label is None else _from_text(member.shape, label, member.wire_name)
        case "querystring":
            values = request.query.get(member.wire_name)
            if not values:
                return None
            return values if isinstance(member.shape, ListOf) else _from_text(member.shape, values[0], member.wire_name)
        case "header":
            text = request.header(member.wire_name.lower())
            return None if not text else _from_text(member.shape, text, member.wire_name)
        case other:
            raise TypeError(f"members in {other} are not read here")


def _from_text(shape: Shape, text: str, name: str) -> object:
    match shape:
        case Number():
            try:
                return int(text) if shape.is_whole else float(text)
            except ValueError as error:
                raise InvalidRequestContent(f"{name} must be a number, not '{text}'") from error
        case Flag():
            return text.lower() == "true"
        case _:
            return text


def _typed(shape: Shape, value: object, path: str) -> object:
    """The value if it has the type that its shape asks for; nulls inside are dropped."""
    match shape:
        case Structure() if isinstance(value, dict):
            items = ((name, member.shape) for name, member in shape.members.items() if value.get(name) is not None)
            return {name: _typed(inner, value[name], f"{path}.{name}") for name, inner in items}
        case ListOf() if isinstance(value, list):
            return [_typed(shape.member, item, path) for item in value if item is not None]
        case MapOf() if isinstance(value, dict):
            return {key: _typed(shape.value, item, f"{path}.{key}") for key, item in value.items() if item is not None}
        case Blob() if isinstance(value, bytes):
            return value
        case Blob() if isinstance(value, str):
            return _bytes(memoryview(value.encode()), path)
        case Structure() | ListOf() | MapOf() | Blob():
            raise _wrong_type(path)
        case Text() | Number() | Flag() | Moment():
            return _scalar(shape, value, path)
        case _:
            assert_never(shape)


def _scalar(shape: Text | Number | Flag | Moment, value: object, path: str) -> object:
    match shape:
        case Text():
            fits = isinstance(value, str)
        case Flag():
            fits = isinstance(value, bool)
        case Number(is_whole=True):
            fits = isinstance(value, int) and not isinstance(value, bool)
        case Number() | Moment():
            fits = isinstance(value, int | float) and not isinstance(value, bool)
        case _:
            assert_never(shape)
    if not fits:
        raise _wrong_type(path)
    return value


def _bytes(text: memoryview, path: str) -> bytes:
    decoded = io.BytesIO()
    try:
        for start in range(0, len(text), _BASE64_CHUNK):
            decoded.write(base64.b64decode(text[start : start + _BASE64_CHUNK], validate=True))
        return decoded.getvalue()
    except (binascii.Error, ValueError) as error:
        raise InvalidRequestContent(f"Could not parse request body into json: {path} is not base64") from error


def _wrong_type(path: str) -> InvalidRequestContent:
    return InvalidRequestContent(f"Could not parse request body into json: {path} has the wrong type")
