"""Function output: taken in memory, written behind to its log group, read back, followed.

Rule 1: `append` costs a list entry. It never waits, never raises and never touches the disk.
Rule 2: everything held in memory has a bound. What is over it is dropped, and a line in the log says how much.
Rule 3: one task writes; followers are told of what it took, in order, so that a tail and what follows it fit together.
Rule 4: whoever changes what is on disk, or wants all of it to be there, holds `settled`.
State: `_pending` and `_followers` belong to the event loop; `groups` and the rings to whoever holds `_disk`.
"""

import asyncio
import time
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from types import TracebackType

import structlog

from hearth.core.log_events import plain
from hearth.log_groups import LogGroup, LogGroups
from hearth.log_ring import Entry, LogRing, PutEntry

FLUSH_INTERVAL_S = 0.1
PENDING_BYTES_PER_GROUP = 4 * 2**20
PENDING_BYTES_TOTAL = 64 * 2**20
NEWEST_BYTES = 2**16
"""Of the bound per group, what is set aside for the newest output of a flood."""
FOLLOWER_BYTES = 2**20
"""What a reader may lag behind before it misses output."""
EAGER_FLUSH_BYTES = 2**18
"""With this much pending the writer does not wait for the interval to pass."""
EXPIRY_INTERVAL_S = 3600.0
"""How often old entries are looked for where they are kept for some days only."""
DAY_MS = 86_400_000

# What a piece costs beside its bytes: a tuple, its members, a place in a list. Keeps the bounds true for output that
# comes byte by byte.
_PIECE_OVERHEAD_BYTES = 128
_PORTION_BYTES = 2**20


class FunctionLogs:
    """Every log group. A `LogSink` and a `LogReader`. `clock` gives epoch seconds.

    Use as an async context manager: leaving it writes what is pending.
    """

    def __init__(self, directory: Path, bytes_per_group: int, *, clock: Callable[[], float] = time.time) -> None:
        self._directory = directory
        self._bytes_per_group = bytes_per_group
        self._clock = clock
        self.groups = LogGroups(directory)
        self._pending: dict[str, _Pending] = {}
        self._pending_bytes = 0
        self._followers: dict[str, set[_Follower]] = {}
        self._rings: dict[str, LogRing] = {}
        self._unwritten: dict[str, int] = {}
        self._disk = asyncio.Lock()
        self._has_work = asyncio.Event()
        self._is_urgent = asyncio.Event()
        self._stopping = False
        self._stopped = asyncio.Event()
        self._tasks = asyncio.TaskGroup()

    async def __aenter__(self) -> "FunctionLogs":
        await asyncio.to_thread(self._directory.mkdir, parents=True, exist_ok=True)
        await asyncio.to_thread(self.groups.load)
        await self._tasks.__aenter__()
        self._tasks.create_task(self._write_behind(), name="function-logs-writer")
        self._tasks.create_task(self._expire_now_and_then(), name="function-logs-expiry")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping = True
        self._stopped.set()
        self._has_work.set()
        self._is_urgent.set()
        await self._tasks.__aexit__(kind, error, trace)
        for follower in [follower for group in self._followers.values() for follower in group]:
            follower.close()

    @property
    def now_ms(self) -> int:
        """The time of what is appended now."""
        return int(self._clock() * 1000)

    def append(self, group: str, stream: str, text: bytes, at_ms: int) -> None:
        """Take a piece of output. What does not fit the bounds is dropped, and the log will say so."""
        pending = self._pending.get(group)
        if pending is None:
            pending = self._pending[group] = _Pending()
            self._has_work.set()
        room = PENDING_BYTES_TOTAL - self._pending_bytes
        self._pending_bytes += pending.take(at_ms, stream, text, room)
        if self._pending_bytes >= EAGER_FLUSH_BYTES:
            self._is_urgent.set()

    @asynccontextmanager
    async def settled(self) -> AsyncIterator[None]:
        """While this is held, all that was appended before is on disk, and nobody else writes."""
        async with self._disk:
            await self._flush()
            yield

    def ring(self, group: str) -> LogRing:
        """The entries of a group. To be called with `settled` held."""
        ring = self._rings.get(group)
        if ring is None:
            ring = self._rings[group] = LogRing(self.groups.place(group), self._bytes_per_group)
            known = self.groups.find(group)
            ring.keeps_days = None if known is None else known.retention_days
        return ring

    def cutoff_ms(self, group: LogGroup) -> int:
        """What is older than this is not shown any more."""
        return 0 if group.retention_days is None else self.now_ms - group.retention_days * DAY_MS

    async def put(self, group: str, entries: list[PutEntry]) -> None:
        """Add events as they are, on disk when this returns. To be called with `settled` held. Raises OSError."""
        await asyncio.to_thread(self.ring(group).append, entries)
        lines: list[Entry] = [(at_ms, stream, f"{plain(text)}\n") for at_ms, stream, text, _ in entries]
        for follower in self._followers.get(group, ()):
            follower.offer(lines)

    async def delete(self, group: str) -> None:
        """The group is gone, with all that is in it; who follows it is told that there is no more. With `settled`
        held."""
        await asyncio.to_thread(self._delete, group)
        for follower in self._followers.pop(group, ()):
            follower.close()

    async def tail(self, group: str, max_bytes: int) -> list[Entry]:
        """The newest entries, oldest first, with at most `max_bytes` of text, up to what was appended just now."""
        async with self.settled():
            return await asyncio.to_thread(self._read, group, max_bytes)

    async def follow(self, group: str, max_bytes: int = 0) -> AsyncGenerator[Entry, None]:
        """The newest entries (`max_bytes` of text), then new ones as they come, without gap or repetition.

        A reader that lags too far behind finds a line that says how much it missed. Ends when the group is deleted.
        """
        follower = _Follower()
        try:
            async with self.settled():
                self._followers.setdefault(group, set()).add(follower)
                backlog = await asyncio.to_thread(self._read, group, max_bytes) if max_bytes else []
            for entry in backlog:
                yield entry
            async for entry in follower.entries():
                yield entry
        finally:
            self._leave(group, follower)

    def _leave(self, group: str, follower: "_Follower") -> None:
        followers = self._followers.get(group, set())
        followers.discard(follower)
        if not followers:
            self._followers.pop(group, None)

    async def _expire_now_and_then(self) -> None:
        while not self._stopping:
            await self.expire()
            with suppress(TimeoutError):
                async with asyncio.timeout(EXPIRY_INTERVAL_S):
                    await self._stopped.wait()

    async def expire(self) -> None:
        """Remove what is older than its group keeps it."""
        for group in [group for group in self.groups.all() if group.retention_days is not None]:
            try:
                async with self.settled():
                    if self.groups.find(group.name) is not None:
                        await asyncio.to_thread(self.ring(group.name).expire, self.cutoff_ms(group))
            except OSError as error:
                structlog.get_logger().error("old output not removed", group=group.name, error=str(error))

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
        self._pending_bytes = 0
        if not self._stopping:
            self._has_work.clear()
            self._is_urgent.clear()
        for portion in _portions(pending):
            for group, entries in await asyncio.to_thread(self._store, portion):
                for follower in self._followers.get(group, ()):
                    follower.offer(entries)

    def _store(self, portion: "list[tuple[str, _Pending]]") -> list[tuple[str, list[Entry]]]:
        """In a thread: decode and write. A disk that takes nothing costs the output, nothing else."""
        return [(group, self._store_one(group, pending)) for group, pending in portion]

    def _store_one(self, group: str, pending: "_Pending") -> list[Entry]:
        entries: list[Entry] = []
        try:
            ring = self.ring(group)
            entries = [(at_ms, stream, ring.decode(stream, text)) for at_ms, stream, text in pending.pieces()]
            if self.groups.find(group) is None and entries:
                self.groups.put(LogGroup(group, entries[0][0]))
            ring.append([*self._unwritten_marker(group, entries), *entries])
        except OSError as error:
            self._lose(group, pending, error)
        else:
            self._unwritten.pop(group, None)
        return [(at_ms, stream, plain(text)) for at_ms, stream, text in entries]

    def _unwritten_marker(self, group: str, entries: list[Entry]) -> list[Entry]:
        lost = self._unwritten.get(group)
        if not lost or not entries:
            return []
        at_ms, stream, _ = entries[0]
        return [(at_ms, stream, _marker_text(lost, "the disk did not take it"))]

    def _lose(self, group: str, pending: "_Pending", error: OSError) -> None:
        if group not in self._unwritten:  # once per trouble, not once per batch
            structlog.get_logger().error("function output not written", group=group, error=str(error))
        size = sum(len(text) for _, _, text in pending.pieces())
        self._unwritten[group] = self._unwritten.get(group, 0) + size

    def _read(self, group: str, max_bytes: int) -> list[Entry]:
        known = self.groups.find(group)
        if known is None:
            return []
        cutoff_ms = self.cutoff_ms(known)
        return [entry for entry in self.ring(group).tail(max_bytes) if entry[0] >= cutoff_ms]

    def _delete(self, group: str) -> None:
        self.ring(group).delete()
        self.groups.remove(group)
        del self._rings[group]
        self._unwritten.pop(group, None)


class _Pending:
    """Output of one group that is not written yet: the beginning, and, past the bound, the newest of it.

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
        room = min(room, PENDING_BYTES_PER_GROUP - NEWEST_BYTES - before)
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


def _portions(pending: dict[str, _Pending]) -> Iterator[list[tuple[str, _Pending]]]:
    """About a megabyte each: few hops to a thread for many quiet groups, short ones for a loud one."""
    portion: list[tuple[str, _Pending]] = []
    size = 0
    for item in pending.items():
        portion.append(item)
        size += item[1].bytes
        if size >= _PORTION_BYTES:
            yield portion
            portion, size = [], 0
    if portion:
        yield portion
