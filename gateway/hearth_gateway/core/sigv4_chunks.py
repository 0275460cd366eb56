"""Bodies that were signed piece by piece: `aws-chunked` with a signature per chunk.

Clients use it for bodies that they cannot read twice. Each chunk's signature holds the one before it, so that none
can be left out, moved or repeated; the request's own signature is the first of the chain.
Source: "Signature calculations for the Authorization header: transferring payload in multiple chunks" and
"... including trailing headers", Amazon S3 API reference.
"""

import hmac
from hashlib import sha256
from typing import NamedTuple

from hearth.core.auth_errors import SIGNATURE_MISMATCH, IncompleteSignature, InvalidSignature
from hearth_gateway.core.sigv4 import ALGORITHM, Claim

SIGNED = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
SIGNED_WITH_TRAILER = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"
UNSIGNED_WITH_TRAILER = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"

_EMPTY_HASH = sha256(b"").hexdigest()
_LINE_END = b"\r\n"
_MAX_LINE = 1024
_EXTENSION = b"chunk-signature="
_TRAILER_SIGNATURE = b"x-amz-trailer-signature"


class _Chunk(NamedTuple):
    data: bytes
    signature: str
    end: int


def unchunked(body: bytes, form: str, claim: Claim, key: bytes) -> bytes:
    """The body that the chunks carry, every signature verified. `key` is the signing key. Raises InvalidSignature for
    a chunk that was not signed, IncompleteSignature for what are no chunks."""
    is_signed = form != UNSIGNED_WITH_TRAILER
    pieces: list[bytes] = []
    previous, at = claim.signature, 0
    while True:
        chunk = _chunk(body, at)
        if is_signed:
            _check(_text_of(chunk.data, previous, claim), chunk.signature, key)
            previous = chunk.signature
        at = chunk.end
        if not chunk.data:
            break
        pieces.append(chunk.data)
    trailer = body[at:]
    if form == SIGNED_WITH_TRAILER:
        _check_trailer(trailer, previous, claim, key)
    elif form == SIGNED and trailer not in (b"", _LINE_END):
        raise IncompleteSignature("There are bytes behind the last chunk.")
    return b"".join(pieces)


def _chunk(body: bytes, start: int) -> _Chunk:
    """The chunk that begins here. The last has no data, and no line end behind the data it does not have."""
    line_end = body.find(_LINE_END, start, start + _MAX_LINE)
    size, _, extension = body[start:line_end].partition(b";") if line_end >= 0 else (b"", b"", b"")
    try:
        length = int(size, 16) if size.isalnum() else -1
    except ValueError:
        length = -1
    begin = line_end + len(_LINE_END)
    end = begin + length
    if length < 0 or (length and body[end : end + len(_LINE_END)] != _LINE_END):
        raise IncompleteSignature("The body is not made of chunks.")
    signature = extension.strip().removeprefix(_EXTENSION).decode("latin-1")
    return _Chunk(body[begin:end], signature, end + len(_LINE_END) if length else end)


def _text_of(data: bytes, previous: str, claim: Claim) -> str:
    digest = sha256(data).hexdigest()
    return f"{ALGORITHM}-PAYLOAD\n{claim.moment}\n{claim.scope}\n{previous}\n{_EMPTY_HASH}\n{digest}"


def _check_trailer(trailer: bytes, previous: str, claim: Claim, key: bytes) -> None:
    lines = [line.partition(b":") for line in trailer.split(_LINE_END) if line]
    fields = [(name.strip().lower(), value.strip()) for name, _, value in lines]
    signatures = [value for name, value in fields if name == _TRAILER_SIGNATURE]
    if len(signatures) != 1:
        raise IncompleteSignature("The trailer has no signature.")
    signed = b"".join(name + b":" + value + b"\n" for name, value in fields if name != _TRAILER_SIGNATURE)
    digest = sha256(signed).hexdigest()
    text = f"{ALGORITHM}-TRAILER\n{claim.moment}\n{claim.scope}\n{previous}\n{digest}"
    _check(text, signatures[0].decode("latin-1"), key)


def _check(text: str, signature: str, key: bytes) -> None:
    expected = hmac.digest(key, text.encode(), "sha256").hex()
    if not hmac.compare_digest(expected.encode(), signature.encode("latin-1", "replace")):
        raise InvalidSignature(SIGNATURE_MISMATCH)
