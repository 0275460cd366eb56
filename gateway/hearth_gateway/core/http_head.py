"""The head of a plain HTTP/1.1 request, recognised without doubt or not at all.

Most requests to functions arrive as the same few bytes: a request line, some headers, a Content-Length, the body.
Those are read here. Whatever is in any way unusual (another version, a transfer coding, a repeated header, a fold, a
bare line break, an upgrade, an expectation) is not judged here but left to a complete HTTP implementation, from its
first byte on. So there is nothing two readers could understand differently (RFC 9112, section 11.2: request smuggling).
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

MAX_HEAD_BYTES = 16 * 1024
_END = b"\r\n\r\n"
_TARGET = re.compile(rb"/[!-~]*")
_NAME = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_BEGINNING = re.compile(rb"[A-Z]*\Z|[A-Z]+ (?:/[!-~]*)?(?: [HTP/1.\r]*)?\Z")
_NOT_PLAIN = frozenset({b"transfer-encoding", b"expect", b"upgrade", b"content-encoding", b"te", b"trailer"})
_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
MAX_LENGTH_DIGITS = 8


class LowerHeaders(Mapping[str, str]):
    """Header values by name, whatever its case. Values are ISO 8859-1, as HTTP has them."""

    __slots__ = ("_values",)

    def __init__(self, values: dict[bytes, bytes]) -> None:
        self._values = values

    def __getitem__(self, name: str) -> str:
        return self._values[name.lower().encode("latin-1")].decode("latin-1")

    def get(self, name: str, default: Any = None) -> Any:
        """Without the exception that Mapping's own would raise and catch: most headers asked for are not there."""
        value = self._values.get(name.lower().encode("latin-1"))
        return default if value is None else value.decode("latin-1")

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name.lower().encode("latin-1") in self._values

    def __iter__(self) -> Iterator[str]:
        return (name.decode("latin-1") for name in self._values)

    def __len__(self) -> int:
        return len(self._values)


class Head(NamedTuple):
    """A request line, its headers by lower-case name, and where the body begins and ends in the bytes given."""

    method: str
    target: str
    headers: dict[bytes, bytes]
    body_start: int
    body_end: int
    keeps_alive: bool

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]

    def pairs(self) -> tuple[tuple[str, str], ...]:
        """The headers as text; bytes that are not UTF-8 become lone surrogates."""
        decode = bytes.decode
        return tuple([(decode(k), decode(v, "utf-8", "surrogateescape")) for k, v in self.headers.items()])


def is_complete(data: bytes | bytearray) -> bool:
    """Whether the whole head has arrived."""
    return _END in data


def may_become_plain(data: bytes | bytearray) -> bool:
    """Whether a head of which only the beginning has arrived can still turn out plain."""
    end = data.find(b"\n")
    return bool(_BEGINNING.match(data)) if end < 0 else data[:end].endswith(b" HTTP/1.1\r")


def parse(data: bytes | bytearray) -> Head | None:
    """The head at the start of `data`, which has arrived completely; None if it is anything but plain."""
    end = data.find(_END)
    first, *lines = bytes(data[:end]).split(b"\r\n")
    parts = first.split(b" ")
    if len(parts) != 3 or parts[2] != b"HTTP/1.1" or not (_NAME.fullmatch(parts[0]) and _TARGET.fullmatch(parts[1])):  # noqa: PLR2004
        return None
    headers = _headers(lines)
    if headers is None or not _NOT_PLAIN.isdisjoint(headers):
        return None
    length = headers.get(b"content-length", b"0")
    if not length.isdigit() or len(length) > MAX_LENGTH_DIGITS:
        return None
    connection = headers.get(b"connection", b"keep-alive").lower()
    if connection not in (b"keep-alive", b"close"):
        return None
    start = end + len(_END)
    return Head(
        parts[0].decode("ascii"),
        parts[1].decode("ascii"),
        headers,
        start,
        start + int(length),
        connection == b"keep-alive",
    )


def _headers(lines: list[bytes]) -> dict[bytes, bytes] | None:
    headers: dict[bytes, bytes] = {}
    for line in lines:
        name, colon, value = line.partition(b":")
        if not colon or not _NAME.fullmatch(name) or _CONTROL.search(value):
            return None
        headers[name.lower()] = value.strip(b" \t")
    # A name that came twice is not for us; nor is a request without the host that HTTP/1.1 demands.
    return headers if len(headers) == len(lines) and b"host" in headers else None
