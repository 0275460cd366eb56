"""The HTTP prelude of a streamed response: JSON with status, headers and cookies, eight NUL bytes, then the body.

Rule 1: pieces are cut anywhere, also within the NULs.
Rule 2: JSON holds no NUL, so the first eight in a row are its end.
Rule 3: a prelude has a bound, because it is kept until it is whole.
Source: "Response streaming for Lambda functions", AWS Lambda developer guide.
"""

import json
from typing import NamedTuple

from hearth_gateway.core.http_response import BadFunctionResponse, HttpResponse, http_head

CONTENT_TYPE = "application/vnd.awslambda.http-integration-response"
SEPARATOR = bytes(8)
MAX_PRELUDE_BYTES = 256 * 1024


class Prelude(NamedTuple):
    """A response without its body, and what has come of the body already."""

    head: HttpResponse
    rest: bytes


class PreludeParser:
    """Feed pieces until there is a prelude. Raises BadFunctionResponse."""

    def __init__(self) -> None:
        self._seen = bytearray()

    def feed(self, piece: bytes) -> Prelude | None:
        """The prelude, if it is whole now."""
        start = max(0, len(self._seen) - len(SEPARATOR) + 1)
        self._seen += piece
        end = self._seen.find(SEPARATOR, start)
        if end > MAX_PRELUDE_BYTES or (end < 0 and len(self._seen) > MAX_PRELUDE_BYTES):
            raise BadFunctionResponse(f"the prelude of the response is longer than {MAX_PRELUDE_BYTES} bytes")
        if end < 0:
            return None
        return Prelude(_parsed(bytes(self._seen[:end])), bytes(self._seen[end + len(SEPARATOR) :]))


def whole_response(payload: bytes) -> HttpResponse:
    """A response with prelude that has come as a whole. Raises BadFunctionResponse."""
    prelude = PreludeParser().feed(payload)
    if prelude is None:
        raise BadFunctionResponse("the response ended within its prelude")
    return HttpResponse(prelude.head.status, prelude.head.headers, prelude.rest)


def _parsed(text: bytes) -> HttpResponse:
    try:
        members = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadFunctionResponse("the prelude of the response is not JSON") from error
    if not isinstance(members, dict):
        raise BadFunctionResponse("the prelude of the response is not an object")
    return http_head(members)
