"""Cross-origin answers of function URLs, which the URL gives itself.

Rule 1: a preflight never reaches the function. Rule 2: where CORS is configured, what the function says about it is
overridden. Rule 3: an origin that is not allowed gets no header, which is what makes the browser refuse.
Source: "Cross-origin resource sharing (CORS)" in the AWS Lambda developer guide; the Fetch standard, "CORS protocol".
"""

from collections.abc import Iterator

from hearth.core.attachments import Cors
from hearth_gateway.core.http_event import HttpRequest
from hearth_gateway.core.http_response import HttpResponse

_PREFIX = "access-control-"


def is_preflight(request: HttpRequest) -> bool:
    """Whether a browser asks on behalf of a page; any other OPTIONS request is the function's."""
    return bool(
        request.method == "OPTIONS" and request.header("origin") and request.header("access-control-request-method")
    )


def preflight(cors: Cors, request: HttpRequest) -> HttpResponse:
    """The answer to a preflight: what a page of that origin may do, or nothing."""
    return HttpResponse(200, tuple(_preflight_headers(cors, request)))


def with_cors(cors: Cors, request: HttpRequest, response: HttpResponse) -> HttpResponse:
    """A function's response with the configured headers in place of its own."""
    own = tuple((name, value) for name, value in response.headers if not name.lower().startswith(_PREFIX))
    exposed = cors.expose_headers or ()
    added = list(_origin_headers(cors, request))
    if added and exposed:
        added.append(("Access-Control-Expose-Headers", _listed(exposed)))
    return HttpResponse(response.status, (*own, *added), response.body)


def _preflight_headers(cors: Cors, request: HttpRequest) -> Iterator[tuple[str, str]]:
    origin = list(_origin_headers(cors, request))
    if not origin:
        return
    yield from origin
    methods = _allowed(cors, cors.allow_methods, request.header("access-control-request-method"))
    if methods:
        yield "Access-Control-Allow-Methods", methods
    headers = _allowed(cors, cors.allow_headers, request.header("access-control-request-headers"))
    if headers:
        yield "Access-Control-Allow-Headers", headers
    if cors.max_age_s is not None:
        yield "Access-Control-Max-Age", str(cors.max_age_s)


def _origin_headers(cors: Cors, request: HttpRequest) -> Iterator[tuple[str, str]]:
    origin = request.header("origin")
    allowed = cors.allow_origins or ()
    is_any = "*" in allowed
    if not origin or not (is_any or origin.lower() in (item.lower() for item in allowed)):
        return
    # With credentials a browser takes no wildcard, so the origin is named.
    if is_any and not cors.allow_credentials:
        yield "Access-Control-Allow-Origin", "*"
    else:
        yield "Access-Control-Allow-Origin", origin
        yield "Vary", "Origin"
    if cors.allow_credentials:
        yield "Access-Control-Allow-Credentials", "true"


def _allowed(cors: Cors, configured: tuple[str, ...] | None, asked: str) -> str:
    """The configured list; a wildcard names what was asked for when a browser would not take the wildcard."""
    if configured and "*" in configured and cors.allow_credentials:
        return asked
    return _listed(configured or ())


def _listed(values: tuple[str, ...]) -> str:
    return ",".join(values)
