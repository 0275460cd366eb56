"""The frames of docs/environment-protocol.md: `kind (1 byte) | meta_len (u32) | body_len (u32) | meta | body`."""

from struct import Struct

HEADER = Struct("!cII")
VERSION = b"1"

HELLO = b"H"
SPECIALISE = b"S"
NEXT = b"N"
INVOKE = b"I"
RESPONSE = b"R"
ERROR = b"E"
INIT_FAILED = b"F"
BEGIN = b"P"
PIECE = b"D"
END = b"Z"


def encode(kind: bytes, meta: tuple[bytes, ...] = (), body: bytes = b"") -> bytes:
    """One frame. A NUL inside a field would shift the others, so it is taken out."""
    fields = b"\0".join(field.replace(b"\0", b"") for field in meta)
    return HEADER.pack(kind, len(fields), len(body)) + fields + body


NEXT_FRAME = encode(NEXT)
