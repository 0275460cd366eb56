"""Handlers that are generators: what they yield is their response, sent as it is yielded.

    def handler(event, context):
        yield {"statusCode": 200, "headers": {"Content-Type": "text/event-stream"}}  # if it is for a function URL
        for word in ("one", "two"):
            yield word

This is Hearth's own. AWS's client for Python has no response streaming and answers a generator with an error, so no
function that works there works differently here.

Rule 1: a dict that is yielded first is the HTTP prelude; everything else is text, which becomes UTF-8, or bytes.
Rule 2: a piece counts as yielded once the kernel has it: a caller that reads slowly makes the generator wait.
"""

import json
from collections.abc import Callable, Iterator
from types import GeneratorType

from hearth_runtime import frames
from hearth_runtime.connection import Connection

_PIECE_BYTES = 64 * 1024
_PRELUDE = b"application/vnd.awslambda.http-integration-response"
_BYTES = b"application/octet-stream"
_SEPARATOR = bytes(8)

# In place of a content type: the response has been sent already.
STREAMED = "streamed"

Marshal = Callable[[object], tuple[bytes | str, str]]


def marshal(response: object, plainly: Marshal, connection: Connection, request_id: bytes) -> tuple[bytes | str, str]:
    """Make a handler's response bytes, as AWS's client would; a generator is run and sent instead."""
    if not isinstance(response, GeneratorType):
        return plainly(response)
    for said in _frames(response, request_id):
        connection.tell(said)
    return b"", STREAMED


def _frames(pieces: Iterator[object], request_id: bytes) -> Iterator[bytes]:
    """The response but for its end. It begins with its first piece: a handler that fails before has just failed."""
    first = next(pieces, b"")
    is_described = isinstance(first, dict)
    yield frames.encode(frames.BEGIN, (request_id, _PRELUDE if is_described else _BYTES))
    opening = json.dumps(first).encode() + _SEPARATOR if is_described else first
    yield from _cut(opening, request_id)
    for piece in pieces:
        yield from _cut(piece, request_id)


def _cut(piece: object, request_id: bytes) -> Iterator[bytes]:
    data = piece.encode("utf-8", "surrogatepass") if isinstance(piece, str) else piece
    if not isinstance(data, bytes | bytearray | memoryview):
        raise TypeError(f"a streaming handler yields text or bytes, not {type(piece).__name__}")
    whole = memoryview(data).cast("B")
    for start in range(0, len(whole), _PIECE_BYTES):
        yield frames.encode(frames.PIECE, (request_id,), bytes(whole[start : start + _PIECE_BYTES]))
