"""Function output: taken in memory, written behind, read back, followed.

Rule 1: `append` costs a list entry. It never waits, never raises and never touches the disk.
Rule 2: everything held in memory has a bound. What is over it is dropped, and a line in the log says how much.
Rule 3: one task writes; followers are told of what it took, in order, so that a tail and what follows it fit together.
State: `_pending`, `_removed` and `_followers` belong to the event loop; the rings to whoever holds `_disk`.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from types import TracebackType

import structlog

from hearth.core.function import FunctionName
from hearth.log_ring import Entry, LogRing

FLUSH_INTERVAL_S = 0.1
PENDING_BYTES_PER_FUNCTION = 4 * 2**20
PENDING_BYTES_TOTAL = 64 * 2**20
NEWEST_BYTES = 2**16
"""Of the bound per function, what is set aside for the newest output of a flood."""
FOLLOWER_BYTES = 2**20
"""What a reader may lag behind before it misses output."""
EAGER_FLUSH_BYTES = 2**18
"""With this much pending the writer does not wait for the interval to pass."""

# What a piece costs beside its bytes: a tuple, its members, a place in a list. Keeps the bounds true for output that
# comes byte by byte.
_PIECE_OVERHEAD_BYTES = 128
_GROUP_BYTES = 2**20


class FunctionLogs:
    """The log of every function. A `LogSink` and a `LogReader`.

    Use as an async context manager: leaving it writes what is pending.
    """

    def __init__(self, directory: Path, bytes_per_function: int) -> None:
        self._directory = directory
        self._bytes_per_function = bytes_per_function
        self._pending: dict[FunctionName, _Pending] = {}
        self._pending_bytes = 0
        self._removed: set[FunctionName] = set()
        self._followers: dict[FunctionName, set[_Follower]] = {}
        self._rings: dict[FunctionName, LogRing] = {}
        self._unwritten: dict[FunctionName, int] = {}
        self._disk = asyncio.Lock()
        self._has_work = asyncio.Event()
        self._is_urgent = asyncio.Event()
        self._stopping = False
        self._tasks = asyncio.TaskGroup()

    async def __aenter__(self) -> "FunctionLogs":
        await asyncio.to_thread(self._directory.mkdir, parents=True, exist_ok=True)
        await self._tasks.__aenter__()
        self._tasks.create_task(self._write_behind(), name="function-logs-writer")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping = True
        self._has_work.set()
        self._is_urgent.set()
        await self._tasks.__aexit__(kind, error, trace)
        for follower in [follower for group in self._followers.values() for follower in group]:
            follower.close()

    def append(self, function: FunctionName, stream: str, text: bytes, at_ms: int) -> None:
        """Take a piece of output. What does not fit the bounds is dropped, and the log will say so."""
        pending = self._pending.get(function)
        if pending is None:
            pending = self._pending[function] = _Pending()
            self._has_work.set()
        room = PENDING_BYTES_TOTAL - self._pending_bytes
        self._pending_bytes += pending.take(at_ms, stream, text, room)
        if self._pending_bytes >= EAGER_FLUSH_BYTES:
            self._is_urgent.set()

    def remove(self, function: FunctionName) -> None:
        """The function is gone: its log goes too, and whoever follows it is told that there is no more."""
        pending = self._pending.pop(function, None)
        if pending is not None:
            self._pending_bytes -= pending.bytes
        self._removed.add(function)
        self._has_work.set()
        for follower in self._followers.pop(function, ()):
            follower.close()

    async def functions(self) -> list[str]:
        """Names of all functions that have a log on disk, so that those of forgotten functions can be removed."""
        return await asyncio.to_thread(lambda: sorted(path.name for path in self._directory.iterdir()))

    async def tail(self, function: FunctionName, max_bytes: int) -> list[Entry]:
        """The newest entries, oldest first, with at most `max_bytes` of text, up to what was appended just now."""
        async with self._disk:
            await self._flush()
            return await asyncio.to_thread(self._read, function, max_bytes)

    async def follow(self, function: FunctionName, max_bytes: int = 0) -> AsyncGenerator[Entry, None]:
        """The newest entries (`max_bytes` of text), then new ones as they come, without gap or repetition.

        A reader that lags too far behind finds a line that says how much it missed. Ends when the function is removed.
        """
        follower = _Follower()
        try:
            async with self._disk:
                await self._flush()
                self._followers.setdefault(function, set()).add(follower)
                backlog = await asyncio.to_thread(self._read, function, max_bytes) if max_bytes else []
            for entry in backlog:
                yield entry
            async for entry in follower.entries():
                yield entry
        finally:
            self._leave(function, follower)

    def _leave(self, function: FunctionName, follower: "_Follower") -> None:
        group = self._followers.get(function, set())
        group.discard(follower)
        if not group:
            self._followers.pop(function, None)

    async def _write_behind(self) -> None:
        """Flush a short while after something came, at once when much came; sleep without end when nothing did."""
        while not self._stopping:
            await self._has_work.wait()
            with suppress(TimeoutError):  # the ordinary case: little output, batched
                async with asyncio.timeout(FLUSH_INTERVAL_S):
                    await self._is_urgent.wait()
            await self._flush_or_report()
        await self._flush_or_report()

    async def _flush_or_report(self) -> None:
        """A batch that cannot be handled is lost and said; functions go on."""
        try:
            async with self._disk:
                await self._flush()
        except Exception:
            structlog.get_logger().exception("function output lost")

    async def _flush(self) -> None:
        """Write all that is pending now, and tell the followers. To be called with `_disk` held."""
        pending, self._pending = self._pending, {}
        removed, self._removed = self._removed, set()
        self._pending_bytes = 0
        if not self._stopping:
            self._has_work.clear()
            self._is_urgent.clear()
        if removed:
            await asyncio.to_thread(self._delete, removed)
        for group in _groups(pending):
            for function, entries in await asyncio.to_thread(self._store, group):
                for follower in self._followers.get(function, ()):
                    follower.offer(entries)

    def _store(self, group: "list[tuple[FunctionName, _Pending]]") -> list[tuple[FunctionName, list[Entry]]]:
        """In a thread: decode and write. A disk that takes nothing costs the output, nothing else."""
        return [(function, self._store_one(function, pending)) for function, pending in group]

    def _store_one(self, function: FunctionName, pending: "_Pending") -> list[Entry]:
        entries: list[Entry] = []
        try:
            ring = self._ring(function)
            entries = [(at_ms, stream, ring.decode(stream, text)) for at_ms, stream, text in pending.pieces()]
            ring.append([*self._unwritten_marker(function, entries), *entries])
        except OSError as error:
            self._lose(function, pending, error)
        else:
            self._unwritten.pop(function, None)
        return entries

    def _unwritten_marker(self, function: FunctionName, entries: list[Entry]) -> list[Entry]:
        lost = self._unwritten.get(function)
        if not lost or not entries:
            return []
        at_ms, stream, _ = entries[0]
        return [(at_ms, stream, _marker_text(lost, "the disk did not take it"))]

    def _lose(self, function: FunctionName, pending: "_Pending", error: OSError) -> None:
        if function not in self._unwritten:  # once per trouble, not once per batch
            structlog.get_logger().error("function output not written", function=function, error=str(error))
        size = sum(len(text) for _, _, text in pending.pieces())
        self._unwritten[function] = self._unwritten.get(function, 0) + size

    def _read(self, function: FunctionName, max_bytes: int) -> list[Entry]:
        return self._ring(function).tail(max_bytes)

    def _delete(self, functions: Iterable[FunctionName]) -> None:
        for function in functions:
            self._ring(function).delete()
            del self._rings[function]
            self._unwritten.pop(function, None)

    def _ring(self, function: FunctionName) -> LogRing:
        ring = self._rings.get(function)
        if ring is None:
            ring = self._rings[function] = LogRing(self._directory / function, self._bytes_per_function)
        return ring


class _Pending:
    """Output of one function that is not written yet: the beginning, and, past the bound, the newest of it.

    The newest is kept because REPORT lines are in it.
    """

    __slots__ = ("_newest", "_newest_bytes", "_oldest", "bytes", "dropped_bytes")

    def __init__(self) -> None:
        self.bytes = 0
        self.dropped_bytes = 0
        self._oldest: list[tuple[int, str, bytes]] = []
        self._newest: deque[tuple[int, str, bytes]] = deque()
        self._newest_bytes = 0

    def take(self, at_ms: int, stream: str, text: bytes, room: int) -> int:
        """Take a piece, at the cost of older ones if there is no room; gives the memory that it cost."""
        before = self.bytes
        room = min(room, PENDING_BYTES_PER_FUNCTION - NEWEST_BYTES - before)
        if len(text) + _PIECE_OVERHEAD_BYTES <= room and not self._newest:
            self._oldest.append((at_ms, stream, text))
            self.bytes += len(text) + _PIECE_OVERHEAD_BYTES
        else:
            self._take_newest(at_ms, stream, text)
        return self.bytes - before

    def _take_newest(self, at_ms: int, stream: str, text: bytes) -> None:
        kept = text[-(NEWEST_BYTES - _PIECE_OVERHEAD_BYTES) :]
        self.dropped_bytes += len(text) - len(kept)
        self._newest.append((at_ms, stream, kept))
        self.bytes += len(kept) + _PIECE_OVERHEAD_BYTES
        self._newest_bytes += len(kept) + _PIECE_OVERHEAD_BYTES
        while self._newest_bytes > NEWEST_BYTES:
            _, _, gone = self._newest.popleft()
            self.dropped_bytes += len(gone)
            self.bytes -= len(gone) + _PIECE_OVERHEAD_BYTES
            self._newest_bytes -= len(gone) + _PIECE_OVERHEAD_BYTES

    def pieces(self) -> Iterator[tuple[int, str, bytes]]:
        """What is there, in order, with a line where something is missing."""
        yield from self._oldest
        if self.dropped_bytes:
            at_ms, stream, _ = self._newest[0]
            reason = "it came faster than it could be written"
            yield (at_ms, stream, _marker_text(self.dropped_bytes, reason).encode())
        yield from self._newest


class _Follower:
    """A reader's bounded queue. Past the bound it counts what the reader misses."""

    __slots__ = ("_bytes", "_entries", "_is_closed", "_news", "_skipped_bytes", "_skipped_last")

    def __init__(self) -> None:
        self._entries: deque[Entry] = deque()
        self._bytes = 0
        self._skipped_bytes = 0
        self._skipped_last = (0, "")
        self._is_closed = False
        self._news = asyncio.Event()

    def offer(self, entries: list[Entry]) -> None:
        for entry in entries:
            if self._skipped_bytes or self._bytes >= FOLLOWER_BYTES:
                self._skipped_bytes += len(entry[2])
                self._skipped_last = entry[:2]
            else:
                self._entries.append(entry)
                self._bytes += _cost(entry)
        self._news.set()

    def close(self) -> None:
        self._is_closed = True
        self._news.set()

    async def entries(self) -> AsyncGenerator[Entry, None]:
        """What was offered, until closed. Waits without a deadline: the reader's going is what ends it."""
        while True:
            while (entry := self._next()) is not None:
                yield entry
            if self._is_closed:
                return
            self._news.clear()
            await self._news.wait()

    def _next(self) -> Entry | None:
        if self._entries:
            entry = self._entries.popleft()
            self._bytes -= _cost(entry)
            return entry
        if not self._skipped_bytes:
            return None
        text = _marker_text(self._skipped_bytes, "this reader is slower than the function")
        self._skipped_bytes = 0
        return (*self._skipped_last, text)


def _cost(entry: Entry) -> int:
    return len(entry[2]) + _PIECE_OVERHEAD_BYTES


def _marker_text(lost: int, reason: str) -> str:
    return f"\n[hearth] {lost} bytes of output are missing here: {reason}\n"


def _groups(pending: dict[FunctionName, _Pending]) -> Iterator[list[tuple[FunctionName, _Pending]]]:
    """Portions of about a megabyte: few hops to a thread for many quiet functions, short ones for a loud one."""
    group: list[tuple[FunctionName, _Pending]] = []
    size = 0
    for item in pending.items():
        group.append(item)
        size += item[1].bytes
        if size >= _GROUP_BYTES:
            yield group
            group, size = [], 0
    if group:
        yield group
