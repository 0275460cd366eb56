"""Doubles of what asynchronous invocations need: queues in memory, which pass the same contract suite as those on
Redis, and a `Courier` that keeps what it is given."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from math import ceil

from hearth.core.errors import ServiceError
from hearth.core.function import FunctionName
from hearth_gateway.asynchronous.ports import (
    Cancellation,
    Ending,
    EventsUnavailable,
    Posted,
    TargetRefused,
    TargetUnavailable,
)
from hearth_gateway.core.async_event import AsyncEvent
from hearth_gateway.core.dead_letter import Letter
from hearth_gateway.core.invocation_status import InvocationStatus, State, status_of
from hearth_gateway.core.parcel import Parcel


class RecordingCourier:
    """Keeps the parcels and letters it is given, each id once. While `is_down` it takes none."""

    def __init__(self) -> None:
        self.parcels: list[Parcel] = []
        self.letters: dict[str, Letter] = {}
        self.is_down = False

    async def post(self, parcels: Sequence[Parcel]) -> None:
        if self.is_down:
            raise ServiceError("The parcels could not be stored: down")
        known = {parcel.id for parcel in self.parcels}
        self.parcels += [parcel for parcel in parcels if parcel.id not in known]

    async def bury(self, letters: Sequence[Letter]) -> None:
        if self.is_down:
            raise ServiceError("The letters could not be stored: down")
        self.letters |= {letter.id: letter for letter in letters}


class RecordingTarget:
    """Takes parcels as long as `failures` has nothing to raise for the next one."""

    def __init__(self) -> None:
        self.delivered: list[Parcel] = []
        self.failures: list[TargetRefused | TargetUnavailable | Exception] = []

    async def deliver(self, parcel: Parcel) -> None:
        if self.failures:
            raise self.failures.pop(0)
        self.delivered.append(parcel)


@dataclass(slots=True)
class _Kept:
    item: Posted
    due_ms: float | None
    """None while it is taken."""


@dataclass(slots=True)
class Memory:
    """What a server outlives its clients with. While `is_down` every call fails; while it `loses_answers`, something is
    taken and nobody hears of it."""

    events: dict[str, _Kept] = field(default_factory=dict)
    parcels: dict[str, _Kept] = field(default_factory=dict)
    letters: dict[tuple[str, str], Letter] = field(default_factory=dict)
    ended: dict[str, InvocationStatus] = field(default_factory=dict)
    keys: dict[tuple[str, str], str] = field(default_factory=dict)
    last: dict[str, float] = field(default_factory=dict)
    """The time of the newest parcel of each FIFO queue."""
    is_down: bool = False
    loses_answers: bool = False

    def keep(self, posted: Posted, due_ms: int | None = None) -> None:
        """Keep something new; an id that is kept already changes nothing."""
        due: float = posted.accepted_ms if due_ms is None else due_ms
        if isinstance(posted, AsyncEvent):
            self.events.setdefault(posted.id, _Kept(posted, due))
        elif posted.id not in self.parcels:
            if posted.target.endswith(".fifo"):
                due = self.last[posted.target] = max(due, self.last.get(posted.target, 0) + 1 / 1024)
            self.parcels[posted.id] = _Kept(posted, due)

    def end(self, among: dict[str, _Kept], identity: str, ending: Ending) -> None:
        """Forget, and do what follows."""
        if identity not in among:
            return
        for one in ending.follow_ups:
            self.keep(one)
        del among[identity]
        if ending.letter is not None:
            self.letters[ending.letter.box, ending.letter.id] = ending.letter
        if ending.status is not None:
            self.ended[identity] = ending.status

    def check(self) -> None:
        if self.is_down:
            raise EventsUnavailable("down")


class _InMemoryShelf:
    """What both queues have in common."""

    def __init__(self, memory: Memory, kept: dict[str, _Kept]) -> None:
        self.memory = memory
        self._kept = kept

    async def recover(self, now_ms: int) -> Sequence[str]:
        self.memory.check()
        for kept in self._kept.values():
            kept.due_ms = now_ms if kept.due_ms is None else kept.due_ms
        return sorted({_recipient(kept.item) for kept in self._kept.values()})

    async def restore(self, recipient: str, keep: Collection[str], now_ms: int) -> None:
        self.memory.check()
        for kept in self._kept.values():
            if _recipient(kept.item) == recipient and kept.due_ms is None and kept.item.id not in keep:
                kept.due_ms = now_ms

    async def next_due_ms(self, recipient: str) -> int | None:
        self.memory.check()
        return min((ceil(due) for due, _ in self._waiting(recipient)), default=None)

    def _take(self, recipient: str, now_ms: int, *, stays: bool = False) -> Posted | None:
        self.memory.check()
        due = sorted((due, identity) for due, identity in self._waiting(recipient) if due <= now_ms)
        if not due:
            return None
        kept = self._kept[due[0][1]]
        if not stays:
            kept.due_ms = None
        if self.memory.loses_answers:
            raise EventsUnavailable("the answer was lost")
        return kept.item

    def _put_back(self, item: Posted, due_ms: int | None) -> None:
        self.memory.check()
        if item.id in self._kept:
            self._kept[item.id] = _Kept(item, self._kept[item.id].due_ms if due_ms is None else due_ms)

    def _waiting(self, recipient: str) -> Iterable[tuple[float, str]]:
        for kept in self._kept.values():
            if _recipient(kept.item) == recipient and kept.due_ms is not None:
                yield kept.due_ms, kept.item.id


class InMemoryEvents(_InMemoryShelf):
    """The `EventQueue` in memory."""

    def __init__(self, memory: Memory | None = None) -> None:
        memory = memory or Memory()
        super().__init__(memory, memory.events)

    async def accept(self, event: AsyncEvent, due_ms: int, once: str = "") -> str:
        self.memory.check()
        if once and (known := self.memory.keys.setdefault((event.function, once), event.id)) != event.id:
            return known
        self.memory.keep(event, due_ms)
        return event.id

    async def take(self, function: FunctionName, now_ms: int) -> AsyncEvent | None:
        found = self._take(function, now_ms)
        assert found is None or isinstance(found, AsyncEvent)
        return found

    async def put_back(self, event: AsyncEvent, due_ms: int) -> None:
        self._put_back(event, due_ms)

    async def end(self, event: AsyncEvent, ending: Ending) -> None:
        self.memory.check()
        self.memory.end(self._kept, event.id, ending)

    async def cancel(self, function: FunctionName, identity: str, now_ms: int) -> Cancellation:
        self.memory.check()
        kept = self._kept.get(identity)
        if kept is None or _recipient(kept.item) != function:
            return Cancellation.GONE
        if kept.due_ms is None:
            return Cancellation.RUNNING
        assert isinstance(kept.item, AsyncEvent)
        del self._kept[identity]
        self.memory.ended[identity] = replace(
            status_of(kept.item, now_ms), state=State.CANCELLED, ended_ms=now_ms, next_ms=None
        )
        return Cancellation.CANCELLED

    async def find(self, identity: str) -> InvocationStatus | None:
        self.memory.check()
        kept = self._kept.get(identity)
        return self.memory.ended.get(identity) if kept is None else _status(kept)

    async def page(
        self, function: FunctionName, state: State | None, *, after: int, limit: int
    ) -> tuple[Sequence[InvocationStatus], int | None]:
        self.memory.check()
        going = sorted(
            (one for one in self._kept.values() if _recipient(one.item) == function),
            key=lambda one: float("inf") if one.due_ms is None else one.due_ms,
        )
        over = sorted(
            (one for one in self.memory.ended.values() if one.function == function),
            key=lambda one: -(one.ended_ms or 0),
        )
        every = [*map(_status, going), *over]
        began = max(after, len(going)) if state is not None and state.is_end else after
        wanted = [one for one in every[began : began + limit] if state is None or one.state is state]
        return wanted, began + limit if began + limit < len(every) else None


class InMemoryDeliveries(_InMemoryShelf):
    """The `DeliveryQueue` in memory."""

    def __init__(self, memory: Memory | None = None) -> None:
        memory = memory or Memory()
        super().__init__(memory, memory.parcels)

    async def post(self, posted: Sequence[Posted]) -> None:
        self.memory.check()
        for one in posted:
            self.memory.keep(one)

    async def bury(self, letters: Sequence[Letter]) -> None:
        self.memory.check()
        self.memory.letters |= {(letter.box, letter.id): letter for letter in letters}

    async def take(self, target: str, now_ms: int, *, stays: bool = False) -> Parcel | None:
        found = self._take(target, now_ms, stays=stays)
        assert found is None or isinstance(found, Parcel)
        return found

    async def put_back(self, parcel: Parcel, due_ms: int | None) -> None:
        self._put_back(parcel, due_ms)

    async def end(self, parcel: Parcel, ending: Ending) -> None:
        self.memory.check()
        self.memory.end(self._kept, parcel.id, ending)


def _recipient(item: Posted) -> str:
    return item.function if isinstance(item, AsyncEvent) else item.target


def _status(kept: _Kept) -> InvocationStatus:
    assert isinstance(kept.item, AsyncEvent)
    return status_of(kept.item, None if kept.due_ms is None else int(kept.due_ms))
