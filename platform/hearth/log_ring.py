"""One log group on disk: a ring of segment files that never outgrows its budget. Blocking; call it in a thread.

Rule 1: a line of a segment is one entry, `[epoch ms, stream, text]`; a line that does not parse is skipped, because
a killed process or a full disk may have torn it. An entry with a fourth member, the time of its arrival, was put there
as one event.
Rule 2: the oldest segment goes before a new one is begun, so that the budget holds at every moment.
Rule 3: where entries are kept for some days only, each day begins a segment, so that whole segments expire.
State: `_segments` and `_is_torn` are changed by `append`, `expire` and `delete` only; one thread at a time does that,
any may read. `_spans` is filled by readers: a segment that is not the newest does not change any more.
"""

import codecs
import os
import shutil
import time
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import orjson

from hearth.core.log_events import SILENCE_MS, Piece, plain

Entry = tuple[int, str, str]
"""Epoch milliseconds, log stream, text. A carriage return in it is a line break inside one record."""
PutEntry = tuple[int, str, str, int]
"""An entry that is one event, and when it arrived."""

SEGMENTS = 8
"""Segments in a full ring: deleting the oldest loses an eighth of the history."""

_SUFFIX = ".jsonl"
# A character takes at most six bytes as JSON (`\\u0000`); the rest of a line is the time and the stream's name.
_JSON_BYTES_PER_CHARACTER = 6
_ENTRY_HEAD_BYTES = 1024
_WAITING_DECODERS = 256
_DAY_MS = 86_400_000
_BREATH_PIECES = 256
_BREATH_S = 0.00005


class _Stored(NamedTuple):
    """A line of a segment, read."""

    at_ms: int
    stream: str
    text: str
    arrived_ms: int | None


class Segment(NamedTuple):
    """A segment as it was at some moment: what is behind `size` came later."""

    number: int
    size: int


class Span(NamedTuple):
    """The oldest and the newest time in a segment, and each stream's own."""

    oldest_ms: int
    newest_ms: int
    streams: dict[str, tuple[int, int]]


class LogRing:
    """The segments of one log group, oldest first. `keeps_days`: what is older may be expired."""

    def __init__(self, directory: Path, budget_bytes: int) -> None:
        self._directory = directory
        self._budget_bytes = budget_bytes
        self._segment_bytes = budget_bytes // SEGMENTS
        self._text_length = max(1, (self._segment_bytes - _ENTRY_HEAD_BYTES) // _JSON_BYTES_PER_CHARACTER)
        self._segments = {number: _path(directory, number).stat().st_size for number in _numbers(directory)}
        self._is_torn = self._ends_torn()
        self._decoders: dict[str, codecs.IncrementalDecoder] = {}
        self._spans: dict[int, Span] = {}
        self._day = -1
        self.keeps_days: int | None = None

    @property
    def size(self) -> int:
        """Bytes on disk."""
        return sum(self._segments.values())

    def __repr__(self) -> str:
        return f"LogRing({str(self._directory)!r}, {self.size} of {self._budget_bytes} bytes)"

    def decode(self, stream: str, output: bytes) -> str:
        """Output as text. A character cut in two by the end of a piece is completed by the stream's next piece."""
        decoder = self._decoders.pop(stream, None) or codecs.getincrementaldecoder("utf-8")("replace")
        text = decoder.decode(output)
        if decoder.getstate()[0]:
            if len(self._decoders) >= _WAITING_DECODERS:
                del self._decoders[next(iter(self._decoders))]
            self._decoders[stream] = decoder
        return text

    def append(self, entries: Sequence[Entry | PutEntry]) -> None:
        """Write entries behind the others. Raises OSError; what could not be written leaves no torn line."""
        self._directory.mkdir(parents=True, exist_ok=True)
        if self.keeps_days is not None and entries:
            self._begin_day(entries[0][0] // _DAY_MS)
        pieces = chain.from_iterable(self._cut(entry) for entry in entries)
        chunk = bytearray(b"\n" if self._is_torn else b"")
        self._is_torn = False
        for line in (orjson.dumps(piece) + b"\n" for piece in pieces):
            if self._newest_size() + len(chunk) + len(line) > self._segment_bytes:
                self._write(chunk)
                self._rotate()
                chunk.clear()
            chunk += line
        self._write(chunk)

    def tail(self, max_bytes: int) -> list[Entry]:
        """The newest entries, oldest first, with at most `max_bytes` of text; the first one may be cut."""
        found: list[Entry] = []
        left = max_bytes
        for at_ms, stream, text in self._newest_first():
            size = len(text.encode())
            if size > left:
                cut = text.encode()[size - left :].decode(errors="ignore")
                found.extend([(at_ms, stream, cut)] if cut else [])
                break
            found.append((at_ms, stream, text))
            left -= size
        return found[::-1]

    def segments(self) -> list[Segment]:
        """What there is now, oldest first: what `pieces` can be asked for, also while more is appended."""
        return [Segment(number, size) for number, size in self._segments.items()]

    def pieces(self, segments: list[Segment], since_ms: int) -> Iterator[Piece]:
        """Every piece that an event of `since_ms` or later can have, and possibly earlier ones."""
        sealed = segments[:-1]
        known = (self._spans.get(segment.number) for segment in sealed)
        old = next((i for i, span in enumerate(known) if span is None or _ends(span) >= since_ms), len(sealed))
        # One more: a line that ends in the first of them may begin in the one before it.
        for segment in segments[max(0, old - 1) :]:
            found = list(_breathing(self._pieces(segment)))
            if segment in sealed:
                self._spans[segment.number] = _span(found)
            yield from _breathing(found)

    def spans(self, segments: list[Segment]) -> Iterator[Span]:
        """The times in each segment."""
        for segment in segments:
            span = self._spans.get(segment.number) if segment is not segments[-1] else None
            if span is None:
                span = _span(list(self._pieces(segment)))
                if segment is not segments[-1]:
                    self._spans[segment.number] = span
            yield span

    def expire(self, before_ms: int) -> None:
        """Remove the segments in which everything is older than this."""
        for segment, span in zip(self.segments(), list(self.spans(self.segments())), strict=True):
            if span.newest_ms >= before_ms:
                return
            _path(self._directory, segment.number).unlink(missing_ok=True)
            del self._segments[segment.number]
            self._spans.pop(segment.number, None)

    def blot(self, stream: str) -> None:
        """Overwrite every entry of a stream with as many spaces: what is left stays where it is, and keeps its ids."""
        for segment in self.segments():
            path = _path(self._directory, segment.number)
            lines = path.read_bytes().split(b"\n")
            blotted = [b" " * len(line) if _is_of(line, stream) else line for line in lines]
            if blotted != lines:
                with path.open("r+b") as file:
                    file.write(b"\n".join(blotted))
                self._spans.pop(segment.number, None)

    def delete(self) -> None:
        """Remove the whole log."""
        self._segments.clear()
        self._decoders.clear()
        self._spans.clear()
        self._is_torn = False
        shutil.rmtree(self._directory, ignore_errors=True)

    def _cut(self, entry: Entry | PutEntry) -> Iterator[tuple[object, ...]]:
        """An entry that could outgrow a segment is kept as several."""
        text = entry[2]
        for start in range(0, len(text), self._text_length):
            yield (*entry[:2], text[start : start + self._text_length], *entry[3:])

    def _begin_day(self, day: int) -> None:
        """A segment holds the entries of one day; which day the newest is of is not known after a start."""
        if day > self._day:
            self._day = day
            if self._segments:
                self._rotate()

    def _newest_size(self) -> int:
        return next(reversed(self._segments.values()), self._segment_bytes)

    def _rotate(self) -> None:
        while self._segments and sum(self._segments.values()) + self._segment_bytes > self._budget_bytes:
            oldest = next(iter(self._segments))
            _path(self._directory, oldest).unlink(missing_ok=True)
            del self._segments[oldest]
            self._spans.pop(oldest, None)
        self._segments[next(reversed(self._segments), 0) + 1] = 0

    def _write(self, chunk: bytearray) -> None:
        if not chunk:
            return
        number, size = next(reversed(self._segments.items()))
        path = _path(self._directory, number)
        try:
            with path.open("ab", buffering=0) as file:
                _write_all(file.fileno(), chunk)
        except OSError:
            self._undo(path, size)
            raise
        self._segments[number] = size + len(chunk)

    def _undo(self, path: Path, size: int) -> None:
        try:
            os.truncate(path, size)
        except OSError:
            self._is_torn = True

    def _ends_torn(self) -> bool:
        number = next(reversed(self._segments), None)
        if number is None or not self._segments[number]:
            return False
        with _path(self._directory, number).open("rb") as file:
            file.seek(-1, os.SEEK_END)
            return file.read(1) != b"\n"

    def _newest_first(self) -> Iterator[Entry]:
        for number in reversed(_numbers(self._directory)):
            try:
                lines = _path(self._directory, number).read_bytes().split(b"\n")
            except FileNotFoundError:  # it fell off the ring meanwhile, and so did all before it
                return
            yield from map(_shown, filter(None, map(_entry, reversed(lines))))

    def _pieces(self, segment: Segment) -> Iterator[Piece]:
        try:
            with _path(self._directory, segment.number).open("rb") as file:
                lines = file.read(segment.size).split(b"\n")
        except FileNotFoundError:  # it fell off the ring meanwhile
            return
        offset = 0
        for line in lines:
            entry = _entry(line)
            if entry is not None:
                yield Piece(segment.number, offset, *entry)
            offset += len(line) + 1


def _breathing(pieces: Iterable[Piece]) -> Iterator[Piece]:
    """The pieces, with a pause now and then: a long search must not keep the event loop from the interpreter, for which
    it would have to wait 5 ms each time (`sys.getswitchinterval`)."""
    for count, piece in enumerate(pieces):
        if count % _BREATH_PIECES == 0:
            time.sleep(_BREATH_S)
        yield piece


def _write_all(descriptor: int, chunk: bytearray) -> None:
    """A nearly full disk takes a part and refuses the rest."""
    view = memoryview(bytes(chunk))
    while view:
        view = view[os.write(descriptor, view) :]


def _entry(line: bytes) -> _Stored | None:
    try:
        at_ms, stream, text, *more = orjson.loads(line)
    except (ValueError, TypeError):
        return None
    arrived_ms = more[0] if more else None
    is_entry = isinstance(at_ms, int) and isinstance(stream, str) and isinstance(text, str)
    return _Stored(at_ms, stream, text, arrived_ms) if is_entry and isinstance(arrived_ms, int | None) else None


def _is_of(line: bytes, stream: str) -> bool:
    entry = _entry(line)
    return entry is not None and entry.stream == stream


def _shown(entry: _Stored) -> Entry:
    """An entry as a reader of plain output sees it: an event that was put there is a line of its own."""
    text = plain(entry.text)
    is_open = entry.arrived_ms is not None and not text.endswith("\n")
    return (entry.at_ms, entry.stream, f"{text}\n" if is_open else text)


def _span(pieces: list[Piece]) -> Span:
    streams: dict[str, tuple[int, int]] = {}
    for piece in pieces:
        first, last = streams.get(piece.stream, (piece.at_ms, piece.at_ms))
        streams[piece.stream] = (min(first, piece.at_ms), max(last, piece.at_ms))
    oldest = min((first for first, _ in streams.values()), default=0)
    return Span(oldest, max((last for _, last in streams.values()), default=0), streams)


def _ends(span: Span) -> int:
    """When the last event of a segment can be: a line without an end is an event only a while later."""
    return span.newest_ms + SILENCE_MS


def _path(directory: Path, number: int) -> Path:
    return directory / f"{number:010d}{_SUFFIX}"


def _numbers(directory: Path) -> list[int]:
    names = directory.glob(f"*{_SUFFIX}")
    return sorted(int(path.stem) for path in names if path.stem.isdigit())
