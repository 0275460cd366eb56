"""What a function behind a URL returned, as an HTTP response: payload format 2.0.

Rule 1: an object with `statusCode` describes a response; any other value is the body of a 200.
Rule 2: a description that makes no sense is the function's error and gives 502, never half a response.
Source: "Response payload format" in "Invoking Lambda function URLs", AWS Lambda developer guide.
"""

import binascii
import re
from base64 import b64decode
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from hearth_gateway.core.http_event import HOP_BY_HOP

JSON_TYPE = ("Content-Type", "application/json")
BYTES_TYPE = ("Content-Type", "application/octet-stream")

# We count the bytes ourselves, and an answer ends where we say.
_NOT_FROM_FUNCTIONS = HOP_BY_HOP | {"content-length"}
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_DEFAULT_STATUS = 200
_MIN_STATUS, _MAX_STATUS = 200, 599


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """A response on its way to the wire; headers may repeat."""

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""


class BadFunctionResponse(ValueError):
    """The function returned something that cannot be made an HTTP response."""


def bad_gateway() -> HttpResponse:
    """The answer for a function that failed or returned nonsense."""
    return HttpResponse(502, (JSON_TYPE,), b"Internal Server Error")


def http_response(returned: object, payload: bytes) -> HttpResponse:
    """The response a function described. `payload` is the JSON text of `returned`. Raises BadFunctionResponse."""
    if isinstance(returned, dict) and "statusCode" in returned:
        return _described(returned)
    body = returned.encode() if isinstance(returned, str) else payload
    return HttpResponse(200, (JSON_TYPE,), body)


def content_type_header(said: str) -> tuple[str, str]:
    """The content type a function gave its stream. One that cannot stand in a header is none."""
    return BYTES_TYPE if _CONTROL.search(said) or not said else ("Content-Type", said)


def http_head(members: Mapping[str, object]) -> HttpResponse:
    """A response whose body comes by itself, as a prelude describes it. Raises BadFunctionResponse."""
    return HttpResponse(_status(members.get("statusCode", _DEFAULT_STATUS)), _all_headers(members, BYTES_TYPE))


def _described(members: Mapping[str, object]) -> HttpResponse:
    return HttpResponse(_status(members["statusCode"]), _all_headers(members, JSON_TYPE), _body(members))


def _all_headers(members: Mapping[str, object], default_type: tuple[str, str]) -> tuple[tuple[str, str], ...]:
    headers = tuple(_headers(members.get("headers")))
    if not any(name.lower() == "content-type" for name, _ in headers):
        headers = (default_type, *headers)
    return headers + tuple(_cookies(members.get("cookies")))


def _status(status: object) -> int:
    """A whole number, or its decimal digits: both are seen in the wild and both are taken."""
    if isinstance(status, bool):
        raise BadFunctionResponse(f"statusCode is {status}")
    if isinstance(status, str) and re.fullmatch(r"\d{3}", status, re.ASCII):
        status = int(status)
    if isinstance(status, float) and status.is_integer():
        status = int(status)
    if not isinstance(status, int) or not _MIN_STATUS <= status <= _MAX_STATUS:
        raise BadFunctionResponse(f"statusCode is {status!r}")
    return status


def _headers(headers: object) -> Iterator[tuple[str, str]]:
    if headers is None:
        return
    if not isinstance(headers, Mapping):
        raise BadFunctionResponse("headers is not an object")
    for name, value in headers.items():
        if not _TOKEN.fullmatch(name):
            raise BadFunctionResponse(f"{name!r} cannot be the name of a header")
        if value is not None and name.lower() not in _NOT_FROM_FUNCTIONS:
            yield name, _header_value(value)


def _header_value(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    text = str(value) if isinstance(value, str | int | float) else None
    if text is None or _CONTROL.search(text):
        raise BadFunctionResponse("a header's value is not a line of text")
    return text


def _cookies(cookies: object) -> Iterator[tuple[str, str]]:
    if cookies is None:
        return
    if not isinstance(cookies, list):
        raise BadFunctionResponse("cookies is not a list")
    for cookie in cookies:
        if not isinstance(cookie, str) or _CONTROL.search(cookie):
            raise BadFunctionResponse("a cookie is not a line of text")
        yield "Set-Cookie", cookie


def _body(members: Mapping[str, object]) -> bytes:
    body = members.get("body")
    if body is None:
        return b""
    if not isinstance(body, str):
        raise BadFunctionResponse("body is not a string")
    if members.get("isBase64Encoded") is not True:
        return body.encode()
    try:
        return b64decode(body, validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadFunctionResponse("body is not base64") from error
