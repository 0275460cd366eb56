"""One function's log on disk: a ring of segment files that never outgrows its budget. Blocking; call it in a thread.

Rule 1: a line of a segment is one entry, `[epoch ms, stream, text]`; a line that does not parse is skipped, because
a killed process or a full disk may have torn it.
Rule 2: the oldest segment goes before a new one is begun, so that the budget holds at every moment.
State: `_segments` and `_is_torn` are changed by `append` only; one thread at a time appends, any may read.
"""

import codecs
import os
import shutil
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import orjson

Entry = tuple[int, str, str]
"""Epoch milliseconds, log stream, text."""

SEGMENTS = 8
"""Segments in a full ring: deleting the oldest loses an eighth of the history."""

_SUFFIX = ".jsonl"
# A character takes at most six bytes as JSON (`\\u0000`); the rest of a line is the time and the stream's name.
_JSON_BYTES_PER_CHARACTER = 6
_ENTRY_HEAD_BYTES = 1024
_WAITING_DECODERS = 256


class LogRing:
    """The segments of one function, oldest first."""

    def __init__(self, directory: Path, budget_bytes: int) -> None:
        self._directory = directory
        self._budget_bytes = budget_bytes
        self._segment_bytes = budget_bytes // SEGMENTS
        self._text_length = max(1, (self._segment_bytes - _ENTRY_HEAD_BYTES) // _JSON_BYTES_PER_CHARACTER)
        self._segments = {number: _path(directory, number).stat().st_size for number in _numbers(directory)}
        self._is_torn = self._ends_torn()
        self._decoders: dict[str, codecs.IncrementalDecoder] = {}

    def __repr__(self) -> str:
        return f"LogRing({str(self._directory)!r}, {sum(self._segments.values())} of {self._budget_bytes} bytes)"

    def decode(self, stream: str, output: bytes) -> str:
        """Output as text. A character cut in two by the end of a piece is completed by the stream's next piece.

        Runtime clients write the line breaks inside one record as carriage returns; here they become line breaks.
        """
        decoder = self._decoders.pop(stream, None) or codecs.getincrementaldecoder("utf-8")("replace")
        text = decoder.decode(output)
        if decoder.getstate()[0]:
            if len(self._decoders) >= _WAITING_DECODERS:
                del self._decoders[next(iter(self._decoders))]
            self._decoders[stream] = decoder
        return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text

    def append(self, entries: list[Entry]) -> None:
        """Write entries behind the others. Raises OSError; what could not be written leaves no torn line."""
        self._directory.mkdir(parents=True, exist_ok=True)
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

    def delete(self) -> None:
        """Remove the whole log."""
        self._segments.clear()
        self._decoders.clear()
        self._is_torn = False
        shutil.rmtree(self._directory, ignore_errors=True)

    def _cut(self, entry: Entry) -> Iterator[Entry]:
        """An entry that could outgrow a segment is kept as several."""
        at_ms, stream, text = entry
        for start in range(0, len(text), self._text_length):
            yield (at_ms, stream, text[start : start + self._text_length])

    def _newest_size(self) -> int:
        return next(reversed(self._segments.values()), self._segment_bytes)

    def _rotate(self) -> None:
        while self._segments and sum(self._segments.values()) + self._segment_bytes > self._budget_bytes:
            oldest = next(iter(self._segments))
            _path(self._directory, oldest).unlink(missing_ok=True)
            del self._segments[oldest]
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
            yield from filter(None, map(_entry, reversed(lines)))


def _write_all(descriptor: int, chunk: bytearray) -> None:
    """A nearly full disk takes a part and refuses the rest."""
    view = memoryview(bytes(chunk))
    while view:
        view = view[os.write(descriptor, view) :]


def _entry(line: bytes) -> Entry | None:
    try:
        at_ms, stream, text = orjson.loads(line)
    except (ValueError, TypeError):
        return None
    is_entry = isinstance(at_ms, int) and isinstance(stream, str) and isinstance(text, str)
    return (at_ms, stream, text) if is_entry else None


def _path(directory: Path, number: int) -> Path:
    return directory / f"{number:010d}{_SUFFIX}"


def _numbers(directory: Path) -> list[int]:
    names = directory.glob(f"*{_SUFFIX}")
    return sorted(int(path.stem) for path in names if path.stem.isdigit())
