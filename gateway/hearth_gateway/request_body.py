"""Reads a request's body, never more of it than its operation takes."""

import asyncio
from collections.abc import Awaitable, Callable

from aiohttp import web

from hearth.core.errors import HearthError, InvalidRequestContent, RequestTooLarge

READ_LIMIT_S = 300.0
"""A caller that has not sent its body after this long does not get an answer."""

_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


async def read_body(request: web.BaseRequest, max_bytes: int, operation: str) -> bytes:
    """The whole body. One that says it is too large is refused before a byte of it is read.

    Nearly always the body came with the headers and is there already: then nothing here waits.
    """
    content = request.content
    if content.is_eof():
        return _within(content.read_nowait(), max_bytes, operation)
    if (request.content_length or 0) > max_bytes:
        raise too_large(max_bytes, operation)
    await _invite(request)
    try:
        async with asyncio.timeout(READ_LIMIT_S):
            return await _read(content.readany, max_bytes, operation)
    except TimeoutError as error:
        raise InvalidRequestContent(f"The request body did not arrive within {READ_LIMIT_S:.0f} seconds.") from error


def too_large(max_bytes: int, operation: str) -> HearthError:
    """The documented refusal of a body."""
    return RequestTooLarge(f"Request must be smaller than {max_bytes} bytes for the {operation} operation")


async def _read(readany: Callable[[], Awaitable[bytes]], max_bytes: int, operation: str) -> bytes:
    body = bytearray()
    while chunk := await readany():
        body += chunk
        if len(body) > max_bytes:
            raise too_large(max_bytes, operation)
    return bytes(body)


async def _invite(request: web.BaseRequest) -> None:
    """Some clients (curl, for one) hold back a body until they are told that it is wanted: RFC 9110, 10.1.1."""
    if request.headers.get("Expect", "").lower() == "100-continue":
        await request.writer.write(_CONTINUE)
        request.writer.output_size = 0  # what was written is not the answer yet


def _within(body: bytes, max_bytes: int, operation: str) -> bytes:
    if len(body) > max_bytes:
        raise too_large(max_bytes, operation)
    return body
