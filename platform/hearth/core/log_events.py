"""Log events out of a log's pieces.

What is stored is output as it came, in pieces that begin and end anywhere; what the Logs API shows is events: lines,
each with a time, a stream and an id of its own.

Rule 1: an event depends on what is stored only, not on when it is read: ids are the same in every answer.
Rule 2: an event's time is not before the moment from which it can be read. So whoever asks again from the newest time
they have seen misses nothing, and knows by the ids what they have seen already.
Rule 3: a line ends at its line break, or where its stream falls silent for `SILENCE_MS`, or where it gets too long.
A carriage return is a line break inside one event: runtime clients write tracebacks so.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

SILENCE_MS = 2_000
MAX_MESSAGE = 2**18
"""Characters from which a line is cut (CloudWatch Logs quotas)."""
ID_DIGITS = 56


class Piece(NamedTuple):
    """A piece of a stream's output, and where it lies: the segment's number and the bytes before it there. With
    `ingested_ms` it is no output but one event, put there as it is. Times are epoch milliseconds."""

    segment: int
    offset: int
    at_ms: int
    stream: str
    text: str
    ingested_ms: int | None = None


class LogEvent(NamedTuple):
    """One event. Ids are in the order of time, and of place among those of the same millisecond."""

    event_id: str
    at_ms: int
    stream: str
    message: str
    ingested_ms: int


class _Line:
    """A line whose end has not come."""

    __slots__ = ("index", "last", "length", "parts")

    def __init__(self) -> None:
        self.parts: list[str] = []
        self.length = 0

    def add(self, piece: Piece, text: str, index: int) -> None:
        self.parts.append(text)
        self.length += len(text)
        self.last = piece
        self.index = index

    def event(self, at_ms: int) -> LogEvent:
        return _event(self.last, self.index, at_ms, "".join(self.parts))


def assemble(pieces: Iterable[Piece], now_ms: int, since_ms: int = 0) -> Iterator[LogEvent]:
    """The events of pieces that are in the order of writing: all of `since_ms` or later, and possibly earlier ones.
    What is to follow, follows later than `now_ms`."""
    lines: dict[str, _Line] = {}
    for piece in pieces:
        if piece.ingested_ms is not None:
            yield LogEvent(_id(piece, 0, piece.at_ms), piece.at_ms, piece.stream, piece.text, piece.ingested_ms)
            continue
        line = lines.pop(piece.stream, None)
        if line is None and piece.text.endswith("\n"):
            # Nothing is open before or after it. Nearly every piece is so: old ones cost next to nothing.
            if piece.at_ms >= since_ms:
                yield from _whole(piece)
            continue
        if line is not None and piece.at_ms - line.last.at_ms > SILENCE_MS:
            yield line.event(line.last.at_ms + SILENCE_MS)
            line = None
        yield from _in_piece(piece, line or _Line(), lines)
    for line in lines.values():
        if now_ms - line.last.at_ms > SILENCE_MS:
            yield line.event(line.last.at_ms + SILENCE_MS)


def _whole(piece: Piece) -> Iterator[LogEvent]:
    """The events of a piece that is made of whole lines."""
    for index, text in enumerate(piece.text[:-1].split("\n")):
        yield _event(piece, index, piece.at_ms, f"{text}\n")


def _in_piece(piece: Piece, line: _Line, lines: dict[str, _Line]) -> Iterator[LogEvent]:
    """The events that end in this piece; a line that does not is kept in `lines`."""
    *ended, rest = piece.text.split("\n")
    for index, text in enumerate(ended):
        line.add(piece, f"{text}\n", index)
        yield line.event(piece.at_ms)
        line = _Line()
    if rest:
        line.add(piece, rest, len(ended))
    if line.length >= MAX_MESSAGE:
        yield line.event(piece.at_ms)
    elif line.parts:
        lines[piece.stream] = line


def plain(text: str) -> str:
    """Text with the line breaks that were carriage returns."""
    return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text


def first_id(at_ms: int) -> str:
    """An id that no event before this time reaches."""
    return f"{at_ms:020}".ljust(ID_DIGITS, "0")


def _event(piece: Piece, index: int, at_ms: int, text: str) -> LogEvent:
    return LogEvent(_id(piece, index, at_ms), at_ms, piece.stream, plain(text), at_ms)


def _id(piece: Piece, index: int, at_ms: int) -> str:
    """20 digits of time, 12 of the segment, 14 of the place in it, 10 of the line: as long as CloudWatch's own."""
    return f"{at_ms:020}{piece.segment:012}{piece.offset:014}{index:010}"
