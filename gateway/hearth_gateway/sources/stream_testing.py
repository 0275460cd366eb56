"""A Redis stream in memory; its readers pass the same contract suite as the real ones."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from hearth_gateway.core.stream_entry import BEGINNING, Entry, EntryId
from hearth_gateway.core.stream_lanes import Page
from hearth_gateway.core.stream_progress import Facts, StreamSettlement
from hearth_gateway.sources.ports import QueueUnavailable, StaleSession
from hearth_gateway.sources.stream_ports import MOST_PENDING, Fresh, GroupLost

_T = TypeVar("_T")  # Python 3.11 has no type parameter syntax

OWN = "hearth"


@dataclass(slots=True)
class FakeGroup:
    """A consumer group: the newest entry delivered, and who holds what is not finished."""

    delivered: EntryId
    pending: dict[EntryId, str] = field(default_factory=dict)


@dataclass(slots=True)
class FakeState:
    """What is kept beside a group."""

    session: int | None = None
    read: EntryId | None = None
    unfinished: EntryId | None = None
    kept: dict[str, bytes] = field(default_factory=dict)


class FakeStream:
    """One stream with its groups, and what mappings keep beside them. It survives its readers, as a server does."""

    def __init__(self) -> None:
        self.entries: dict[EntryId, Entry] = {}
        self.newest: EntryId | None = None
        self.groups: dict[str, FakeGroup] = {}
        self.states: dict[str, FakeState] = {}
        self.waiting: set[asyncio.Event] = set()
        self.faults: list[tuple[str, bool]] = []
        self.is_down = False

    def add(self, fields: Mapping[bytes, bytes], own_id: EntryId) -> EntryId:
        """What a producer does."""
        if own_id <= (self.newest or BEGINNING):
            raise ValueError("ids grow")
        self.entries[own_id] = Entry(own_id, tuple(fields.items()))
        self.newest = own_id
        for bell in self.waiting:
            bell.set()
        return own_id

    def trim(self, keep: int) -> None:
        """Drop all but the newest so many."""
        for one in list(self.entries)[: max(len(self.entries) - keep, 0)]:
            del self.entries[one]

    def delete(self) -> None:
        """The whole stream, groups and all, as DEL does."""
        self.entries.clear()
        self.groups.clear()
        self.newest = None

    def fail(self, transition: str, *, applied: bool) -> None:
        """Let the next such transition fail; `applied`: only its answer is lost."""
        self.faults.append((transition, applied))


class FakeStreamReader:
    """One mapping's view of a `FakeStream`; see `StreamReader`."""

    def __init__(self, shared: FakeStream, group: str, *, most_pending: int = MOST_PENDING) -> None:
        self.shared = shared
        self._group = group
        self._most_pending = most_pending

    @property
    def _state(self) -> FakeState:
        return self.shared.states.setdefault(self._group, FakeState())

    async def enter(self, session: int) -> Facts:
        def step() -> Facts:
            state, group = self._state, self.shared.groups.get(self._group)
            state.session = session
            foreign = 0 if group is None else sum(1 for holder in group.pending.values() if holder != OWN)
            return Facts(group is not None, self.shared.newest, state.read, state.unfinished, foreign, dict(state.kept))

        return self._apply("enter", step)

    async def begin(self, session: int, after: EntryId, *, is_new_stream: bool) -> None:
        def step() -> None:
            self._check(session)
            if self._group in self.shared.groups:
                return
            if self.shared.newest is not None:
                self.shared.groups[self._group] = FakeGroup(after)
            if is_new_stream:
                self._state.kept.clear()
            self._state.read, self._state.unfinished = after, None

        self._apply("begin", step)

    async def adopt(self, session: int) -> int:
        def step() -> int:
            group = self._existing(session)
            gone = [one for one in group.pending if one not in self.shared.entries]
            group.pending = {one: OWN for one in group.pending if one in self.shared.entries}
            return len(gone)

        return self._apply("adopt", step)

    async def read(self, session: int, limit: int, max_bytes: int) -> Fresh:
        def step() -> Fresh:
            group = self._existing(session)
            most = min(limit, self._most_pending - len(group.pending))
            if most <= 0:
                return Fresh(Page(is_last=False), is_held_back=True)
            there = [one for one in self.shared.entries if one > group.delivered]
            page = self._page(there, most, max_bytes)
            if page.entries:
                group.pending |= {one.id: OWN for one in page.entries}
                group.delivered = self._state.read = page.through
                self._state.unfinished = self._state.unfinished or page.entries[0].id
            return Fresh(page)

        return self._apply("read", step)

    async def pending(self, session: int, after: EntryId, limit: int, max_bytes: int) -> Page:
        def step() -> Page:
            group = self._existing(session)
            return self._page(
                sorted(o for o, who in group.pending.items() if o > after and who == OWN), limit, max_bytes
            )

        return self._apply("pending", step)

    async def wait(self, after: EntryId, wait_s: float) -> None:
        self._apply("wait", lambda: None)
        bell = asyncio.Event()
        self.shared.waiting.add(bell)
        try:
            async with asyncio.timeout(wait_s):
                while not any(one > after for one in self.shared.entries):
                    await bell.wait()
                    bell.clear()
        except TimeoutError:
            pass
        finally:
            self.shared.waiting.discard(bell)

    async def settle(self, session: int, settlement: StreamSettlement) -> None:
        def step() -> None:
            state, group = self._state, self.shared.groups.get(self._group)
            if group is not None:
                for one in settlement.done:
                    group.pending.pop(one, None)
            self._check(session)
            if group is not None:
                state.unfinished = min(group.pending, default=None)
            state.kept |= settlement.keep
            for name in settlement.forget:
                state.kept.pop(name, None)

        self._apply("settle", step)

    async def forget(self) -> None:
        def step() -> None:
            self.shared.groups.pop(self._group, None)
            self.shared.states.pop(self._group, None)

        self._apply("forget", step)

    async def close(self) -> None: ...

    def _page(self, ids: list[EntryId], limit: int, max_bytes: int) -> Page:
        entries: list[Entry] = []
        gone: list[EntryId] = []
        size, through = 0, BEGINNING
        for at, one in enumerate(ids):
            if at == limit or size >= max_bytes:
                return Page(tuple(entries), tuple(gone), through, is_last=False)
            through, entry = one, self.shared.entries.get(one)
            if entry is None:
                gone.append(one)
            else:
                entries.append(entry)
                size += sum(len(name) + len(value) for name, value in entry.fields)
        return Page(tuple(entries), tuple(gone), through, is_last=len(ids) < limit)

    def _apply(self, transition: str, step: Callable[[], _T]) -> _T:
        if self.shared.is_down:
            raise QueueUnavailable("down")
        fault = next((one for one in self.shared.faults if one[0] == transition), None)
        if fault is None:
            return step()
        self.shared.faults.remove(fault)
        if fault[1]:
            step()
        raise QueueUnavailable(f"{transition} failed on purpose")

    def _check(self, session: int) -> None:
        if self._state.session != session:
            raise StaleSession("STALE session")

    def _existing(self, session: int) -> FakeGroup:
        self._check(session)
        group = self.shared.groups.get(self._group)
        if group is None:
            raise GroupLost
        return group
