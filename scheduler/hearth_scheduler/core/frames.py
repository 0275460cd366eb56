"""Frames of the environment protocol (docs/environment-protocol.md), as a parser that does no IO.

A frame is `kind (1 byte) | meta_len (u32) | body_len (u32) | meta | body`, integers big-endian, meta fields separated
by NUL bytes.

Rule 1: what comes from a container is not trusted: kind and lengths are bounded before anything is stored.
Rule 2: a body over the limit is counted and thrown away, not stored; the frame arrives with `oversize` set.
"""

import struct
from typing import NamedTuple

HEADER = struct.Struct(">cII")
MAX_META_BYTES = 64 * 1024


class ProtocolError(Exception):
    """The other side does not speak the protocol; the connection is of no more use."""


class Frame(NamedTuple):
    """One frame. `oversize` is the length of a body that was over the limit and thrown away, else 0."""

    kind: bytes
    meta: bytes
    body: bytes
    oversize: int = 0

    def fields(self) -> list[str]:
        """The meta fields; bytes that are not UTF-8 are replaced, never refused."""
        return self.meta.decode(errors="replace").split("\0")


def encode(kind: bytes, meta: bytes = b"", body: bytes = b"") -> bytes:
    """One frame on the wire."""
    return HEADER.pack(kind, len(meta), len(body)) + meta + body


class FrameParser:
    """Feed bytes, get frames."""

    def __init__(self, kinds: bytes, max_body_bytes: int) -> None:
        self._kinds = kinds
        self._max_body = max_body_bytes
        self._buffer = bytearray()
        self._skipping: tuple[bytes, bytes, int] | None = None  # kind, meta, body length of what is thrown away
        self._skipped = 0

    def feed(self, data: bytes) -> list[Frame]:
        """All frames that are complete now. Raises ProtocolError on a kind or a meta length that cannot be."""
        frames: list[Frame] = []
        self._buffer += data
        while (frame := self._next()) is not None:
            frames.append(frame)
        return frames

    def _next(self) -> Frame | None:
        if self._skipping is not None:
            return self._skip(*self._skipping)
        buffer = self._buffer
        if len(buffer) < HEADER.size:
            return None
        kind, meta_len, body_len = HEADER.unpack_from(buffer)
        if kind not in self._kinds or meta_len > MAX_META_BYTES:
            raise ProtocolError(f"no frame begins with {bytes(buffer[: HEADER.size])!r}")
        head = HEADER.size + meta_len
        if body_len > self._max_body:
            if len(buffer) < head:
                return None
            self._skipping = (kind, bytes(buffer[HEADER.size : head]), body_len)
            del buffer[:head]
            return self._skip(*self._skipping)
        end = head + body_len
        if len(buffer) < end:
            return None
        frame = Frame(kind, bytes(buffer[HEADER.size : head]), bytes(buffer[head:end]))
        del buffer[:end]
        return frame

    def _skip(self, kind: bytes, meta: bytes, length: int) -> Frame | None:
        drop = min(length - self._skipped, len(self._buffer))
        del self._buffer[:drop]
        self._skipped += drop
        if self._skipped < length:
            return None
        self._skipping, self._skipped = None, 0
        return Frame(kind, meta, b"", oversize=length)
