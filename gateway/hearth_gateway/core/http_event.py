"""An HTTP request as the event that a function behind a URL receives: payload format 2.0.

Rule 1: path and query reach the function as they were sent, percent-encoding included; nothing is normalised.
Rule 2: members that would be empty are left out.
Rule 3: what belongs to the connection, not to the request, is left out.
Source: "Request payload format" in "Invoking Lambda function URLs", AWS Lambda developer guide.
"""

import re
from base64 import b64encode
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any
from urllib.parse import quote, unquote_plus

from hearth.core.identity import Principal

HOP_BY_HOP = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
"""Fields of one connection (RFC 9110 section 7.6.1), which no intermediary passes on."""

_NOT_FOR_FUNCTIONS = HOP_BY_HOP | {"expect", "cookie", "x-amzn-trace-id"}
_TEXT_TYPE = re.compile(r"text/.+|application/(?:json|xml|javascript)|.+\+(?:json|xml)")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_ASCII = "".join(map(chr, range(0x21, 0x7F)))


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """A request as it came by wire. `path` and `query` are raw; bytes that are not UTF-8 are lone surrogates.

    `sent_path` is the path that was sent where it is not the one that the function sees.
    """

    method: str
    path: str
    query: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    source_ip: str
    protocol: str = "HTTP/1.1"
    sent_path: str | None = None

    def header(self, name: str) -> str:
        """The first value of a header by its lower-case name, or nothing."""
        return next((value for key, value in self.headers if key.lower() == name), "")

    @property
    def host(self) -> str:
        """The host as addressed, without a port."""
        host = self.header("host")
        return host[: host.rfind("]") + 1] if host.startswith("[") else host.partition(":")[0]


@dataclass(frozen=True, slots=True)
class Arrival:
    """What the platform adds to a request. `at_ms`: epoch; `port`: where we listen; `principal`: who signed it."""

    url_id: str
    request_id: str
    trace_id: str
    at_ms: int
    port: int
    principal: Principal | None = None


def http_event(request: HttpRequest, arrival: Arrival) -> dict[str, Any]:
    """The event, ready to be written as JSON."""
    body, is_base64 = _body(request)
    members: dict[str, Any] = {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": raw_text(request.path),
        "rawQueryString": raw_text(request.query),
        "cookies": _cookies(request.headers),
        "headers": _headers(request, arrival),
        "queryStringParameters": query_parameters(raw_text(request.query)),
        "requestContext": _context(request, arrival),
        "body": body,
    }
    kept = {name: value for name, value in members.items() if value or name == "rawQueryString"}
    return kept | {"isBase64Encoded": is_base64}


def query_parameters(query: str) -> dict[str, str]:
    """Decoded names and values; a repeated name has its values joined by commas."""
    pairs = (part.partition("=") for part in query.split("&") if part)
    return _joined((unquote_plus(name), unquote_plus(value)) for name, _, value in pairs)


def raw_text(raw: str) -> str:
    """Raw bytes beyond ASCII have no place in a request target, but come; they go on percent-encoded."""
    return raw if raw.isascii() else quote(raw.encode("utf-8", "surrogateescape"), safe=_ASCII)


def _header_text(value: str) -> str:
    """Header bytes that are not UTF-8 are read as ISO 8859-1, which has a character for every byte."""
    if value.isascii():
        return value
    raw = value.encode("utf-8", "surrogateescape")
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("iso-8859-1")


def _joined(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in pairs:
        found[name] = f"{found[name]},{value}" if name in found else value
    return found


def _headers(request: HttpRequest, arrival: Arrival) -> dict[str, str]:
    """Lower-case names. A proxy in front of us is believed about scheme and port, and its list of hops goes on."""
    lowered = ((_header_text(name).lower(), _header_text(value)) for name, value in request.headers)
    found = _joined((name, value) for name, value in lowered if name not in _NOT_FOR_FUNCTIONS)
    hops = found.get("x-forwarded-for")
    return {
        "x-forwarded-proto": "http",
        "x-forwarded-port": str(arrival.port),
        **found,
        "x-forwarded-for": f"{hops}, {request.source_ip}" if hops else request.source_ip,
        "x-amzn-trace-id": arrival.trace_id,
    }


def _cookies(headers: Iterable[tuple[str, str]]) -> list[str]:
    lines = (_header_text(value) for name, value in headers if name.lower() == "cookie")
    return [cookie for line in lines for part in line.split(";") if (cookie := part.strip())]


def _body(request: HttpRequest) -> tuple[str, bool]:
    """Text for textual types, base64 for everything else, text that is not UTF-8 (or compressed) included."""
    if not request.body:
        return "", False
    kind = request.header("content-type").partition(";")[0].strip().lower()
    if _TEXT_TYPE.fullmatch(kind):
        try:
            return request.body.decode(), False
        except UnicodeDecodeError:
            pass
    return b64encode(request.body).decode(), True


def _context(request: HttpRequest, arrival: Arrival) -> Mapping[str, Any]:
    principal = arrival.principal
    return {
        "accountId": "anonymous" if principal is None else principal.account,
        "apiId": arrival.url_id,
        **({} if principal is None else {"authorizer": {"iam": _identity(principal)}}),
        "domainName": _header_text(request.host),
        "domainPrefix": arrival.url_id,
        "http": {
            "method": request.method,
            "path": raw_text(request.path),
            "protocol": request.protocol,
            "sourceIp": request.source_ip,
            "userAgent": _header_text(request.header("user-agent")),
        },
        "requestId": arrival.request_id,
        "routeKey": "$default",
        "stage": "$default",
        "time": _log_time(arrival.at_ms // 1000),
        "timeEpoch": arrival.at_ms,
    }


def _identity(principal: Principal) -> Mapping[str, Any]:
    """Who signed the request."""
    return {
        "accessKey": principal.access_key_id,
        "accountId": principal.account,
        "callerId": principal.user_id,
        "cognitoIdentity": None,
        "principalOrgId": None,
        "userArn": principal.arn,
        "userId": principal.user_id,
    }


@lru_cache(maxsize=2)
def _log_time(at_s: int) -> str:
    """`21/Nov/2026:10:00:00 +0000`, English whatever the locale. Requests of the same second share it."""
    moment = datetime.fromtimestamp(at_s, UTC)
    return f"{moment:%d}/{_MONTHS[moment.month - 1]}/{moment:%Y:%H:%M:%S} +0000"
