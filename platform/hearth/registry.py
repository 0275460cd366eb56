"""The gateway's truth about functions: every record in memory, every change durable first.

Rule 1: the store is written before memory, so what was seen once is not lost by a crash.
Rule 2: one writer at a time per function (`writing`); readers never wait.
Rule 3: listeners are told after memory changed, on the event loop, in the order of the changes.
Rule 4: a write that failed may have happened all the same (the answer was lost). Its record is kept in `_doubtful`
until a later write of the same function settles it, so that nothing it needs is thrown away.
Rule 5: totals over all functions are kept, not counted: nothing here takes longer for there being more functions.
State: what begins with an underscore is changed by `load`, `put` and `remove` only, `_released` also by `released`.
"""

import asyncio
from bisect import bisect_right, insort
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import structlog

from hearth.core.function import FunctionName, FunctionVersion
from hearth.core.provisioning import targets
from hearth.core.records import FunctionRecord
from hearth.ports import FunctionStore
from hearth.wire import StoredRecordError, decode_record, encode_record


@dataclass(frozen=True, slots=True)
class Configured:
    """What a version runs now; told for every change of it, and for every runnable version at load."""

    version: FunctionVersion


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """A published version is gone; its function stays."""

    name: FunctionName
    version: str


@dataclass(frozen=True, slots=True)
class Limited:
    """A function's reserved concurrency, None for none."""

    name: FunctionName
    reserved: int | None


@dataclass(frozen=True, slots=True)
class Provisioned:
    """How many environments of a version are to be kept ready, by all configurations that lead to it together, and
    how many there may be at most, None for any number."""

    name: FunctionName
    version: str
    count: int
    most: int | None = None


@dataclass(frozen=True, slots=True)
class Forgotten:
    """The function is gone."""

    name: FunctionName


Change = Configured | Withdrawn | Limited | Provisioned | Forgotten


class Registry:
    """Every function of this platform, by name."""

    def __init__(self, store: FunctionStore) -> None:
        self._store = store
        self._records: dict[str, FunctionRecord] = {}
        self._names: list[str] = []
        self._urls: dict[str, tuple[FunctionName, str]] = {}
        self._doubtful: dict[str, FunctionRecord] = {}
        self._needed: Counter[str] = Counter()
        self._released: set[str] = set()
        self._reserved = 0
        self._provisioned = 0
        # Two reservations at once, each small enough, could be too much together: to be held while one is checked.
        self.reserving = asyncio.Lock()
        self._listeners: list[Callable[[Change], None]] = []
        self._locks: dict[str, _Turn] = {}

    def __len__(self) -> int:
        return len(self._records)

    def __iter__(self) -> Iterator[FunctionRecord]:
        """Every record, in no particular order."""
        return iter(self._records.values())

    def on_change(self, listener: Callable[[Change], None]) -> None:
        """Tell `listener` of every change from now on. Register before `load` to be told of what is there."""
        self._listeners.append(listener)

    async def load(self) -> None:
        """Take in what the store has. A record that cannot be read is reported and left where it is."""
        for name, stored in (await self._store.load_all()).items():
            try:
                record = decode_record(stored)
            except StoredRecordError as error:
                structlog.get_logger().error("function record unreadable", function=name, error=str(error))
            else:
                self._take(record)

    def find(self, name: str) -> FunctionRecord | None:
        """The function of this bare name. On the path of every invocation: one look into a dictionary."""
        return self._records.get(name)

    def find_by_url(self, url_id: str) -> tuple[FunctionRecord, str] | None:
        """The function whose URL has this id as the first label of its host name, and the qualifier it belongs to:
        an alias, or `$LATEST` for the function itself."""
        found = self._urls.get(url_id)
        return None if found is None else (self._records[found[0]], found[1])

    def page(self, after: str, limit: int) -> tuple[list[FunctionRecord], str | None]:
        """The next records in order of name, and the name to go on after, None at the end."""
        start = bisect_right(self._names, after)
        names = self._names[start : start + limit]
        more = start + limit < len(self._names)
        return [self._records[name] for name in names], names[-1] if more else None

    @property
    def reserved(self) -> int:
        """The reserved concurrency of all functions together."""
        return self._reserved

    @property
    def provisioned(self) -> int:
        """The provisioned concurrency of all functions that have nothing reserved to take it from."""
        return self._provisioned

    def packages(self) -> set[str]:
        """The SHA-256 of every package that any function needs, or may need."""
        return set(self._needed).union(*(record.packages for record in self._doubtful.values()))

    def needs(self, sha256: str) -> bool:
        """Whether any function needs this package, or may need it."""
        return sha256 in self._needed or any(sha256 in record.packages for record in self._doubtful.values())

    def released(self) -> set[str]:
        """The packages that lost their last function since this was asked last. One may have found another since."""
        released, self._released = self._released, set()
        return released

    @asynccontextmanager
    async def writing(self, name: str) -> AsyncIterator[FunctionRecord | None]:
        """Be the only writer of this function; gives the record as it is now."""
        turn = self._locks.setdefault(name, _Turn())
        turn.users += 1
        try:
            async with turn.lock:
                yield self._records.get(name)
        finally:
            turn.users -= 1
            if not turn.users:
                del self._locks[name]

    async def put(self, record: FunctionRecord, *, is_reproducible: bool = False) -> None:
        """Make this the function's record, durably unless the next start would arrive at it by itself. To be called
        inside `writing`."""
        try:
            await self._store.put(record.name, encode_record(record), is_reproducible=is_reproducible)
        except BaseException:
            self._doubtful[record.name] = record
            raise
        self._settle_doubt(record.name)
        self._take(record)

    async def remove(self, name: FunctionName) -> None:
        """Forget the function, durably. To be called inside `writing`."""
        await self._store.delete(name)
        self._settle_doubt(name)
        record = self._records.pop(name, None)
        if record is None:
            return
        self._count(record, None)
        del self._names[bisect_right(self._names, name) - 1]
        for url in record.urls.values():
            del self._urls[url.url_id]
        self._tell(Forgotten(name))

    def _take(self, record: FunctionRecord) -> None:
        before = self._records.get(record.name)
        if before is None:
            insort(self._names, record.name)
        self._records[record.name] = record
        self._count(before, record)
        self._index_url(before, record)
        self._announce(before, record)

    def _settle_doubt(self, name: str) -> None:
        doubtful = self._doubtful.pop(name, None)
        if doubtful is not None:
            self._released |= doubtful.packages

    def _count(self, before: FunctionRecord | None, after: FunctionRecord | None) -> None:
        """Keep the totals: `before` does not count any more, `after` does."""
        lost = frozenset() if before is None else before.packages
        gained = frozenset() if after is None else after.packages
        self._reserved += (after.reserved or 0 if after else 0) - (before.reserved or 0 if before else 0)
        self._provisioned += _from_unreserved(after) - _from_unreserved(before)
        self._needed.update(gained - lost)
        for sha256 in lost - gained:
            self._needed[sha256] -= 1
            if not self._needed[sha256]:
                del self._needed[sha256]
                self._released.add(sha256)

    def _index_url(self, before: FunctionRecord | None, record: FunctionRecord) -> None:
        for url in () if before is None else before.urls.values():
            del self._urls[url.url_id]
        for qualifier, url in record.urls.items():
            self._urls[url.url_id] = (record.name, qualifier)

    def _announce(self, before: FunctionRecord | None, record: FunctionRecord) -> None:
        if record.reserved != (before.reserved if before else None):
            self._tell(Limited(record.name, record.reserved))
        known = {} if before is None else before.running
        for number, running in record.running.items():
            if running is not known.get(number) and running != known.get(number):
                self._tell(Configured(running))
        wanted, before_it = _wanted(record), {} if before is None else _wanted(before)
        for number in {**before_it, **wanted}:
            count, most = wanted.get(number, (0, None))
            if (count, most) != before_it.get(number, (0, None)):
                self._tell(Provisioned(record.name, number, count, most))
        for number in known.keys() - record.running.keys():
            self._tell(Withdrawn(record.name, number))

    def _tell(self, change: Change) -> None:
        for listener in self._listeners:
            listener(change)


def _wanted(record: FunctionRecord) -> dict[str, tuple[int, int | None]]:
    """How many environments of each version there are to be, at least and at most; versions without are left out."""
    least = targets(record)
    return {number: (least.get(number, 0), record.ceilings.get(number)) for number in {**least, **record.ceilings}}


def _from_unreserved(record: FunctionRecord | None) -> int:
    if record is None or record.reserved is not None:
        return 0
    return sum(each.requested for each in record.provisioned.values())


class _Turn:
    """A function's writers: the lock, and how many hold or await it, so that it can be dropped."""

    __slots__ = ("lock", "users")

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.users = 0
