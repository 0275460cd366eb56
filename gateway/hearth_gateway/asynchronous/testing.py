"""Doubles of what asynchronous invocations need: an `EventQueue` in memory, which passes the same contract suite as the
one on Redis, and a `Courier` that keeps what it is given."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from hearth.core.errors import ServiceError
from hearth.core.function import FunctionName
from hearth_gateway.asynchronous.ports import EventsUnavailable, Push
from hearth_gateway.core.async_event import AsyncEvent
from hearth_gateway.core.parcel import Parcel


class RecordingCourier:
    """Keeps the parcels it is given, each id once. While `is_down` it takes none."""

    def __init__(self) -> None:
        self.parcels: list[Parcel] = []
        self.is_down = False

    async def post(self, parcels: Sequence[Parcel]) -> None:
        if self.is_down:
            raise ServiceError("The parcels could not be stored: down")
        known = {parcel.id for parcel in self.parcels}
        self.parcels += [parcel for parcel in parcels if parcel.id not in known]


@dataclass(slots=True)
class _Kept:
    event: AsyncEvent
    due_ms: int | None
    """None while it is taken."""


class InMemoryEvents:
    """Outlives the owner that uses it, as a server does. While `is_down` every call fails; while it
    `loses_answers`, an event is taken and nobody hears of it."""

    def __init__(self) -> None:
        self.kept: dict[str, _Kept] = {}
        self.lists: dict[str, list[bytes]] = {}
        self.is_down = False
        self.loses_answers = False

    async def recover(self, now_ms: int) -> Sequence[FunctionName]:
        self._check()
        for kept in self.kept.values():
            kept.due_ms = now_ms if kept.due_ms is None else kept.due_ms
        return sorted({kept.event.function for kept in self.kept.values()})

    async def restore(self, function: FunctionName, keep: Collection[str], now_ms: int) -> None:
        self._check()
        for kept in self.kept.values():
            if kept.event.function == function and kept.due_ms is None and kept.event.id not in keep:
                kept.due_ms = now_ms

    async def accept(self, event: AsyncEvent, due_ms: int) -> None:
        self._check()
        self.kept.setdefault(event.id, _Kept(event, due_ms))

    async def next_due_ms(self, function: FunctionName) -> int | None:
        self._check()
        return min((due for _, due in self._waiting(function)), default=None)

    async def take(self, function: FunctionName, now_ms: int) -> AsyncEvent | None:
        self._check()
        due = sorted((due, kept.event.id) for kept, due in self._waiting(function) if due <= now_ms)
        if not due:
            return None
        kept = self.kept[due[0][1]]
        kept.due_ms = None
        if self.loses_answers:
            raise EventsUnavailable("the answer was lost")
        return kept.event

    async def put_back(self, event: AsyncEvent, due_ms: int) -> None:
        self._check()
        if event.id in self.kept:
            self.kept[event.id] = _Kept(event, due_ms)

    async def end(self, event: AsyncEvent, pushes: Sequence[Push], follow_ups: Sequence[AsyncEvent]) -> None:
        self._check()
        if self.kept.pop(event.id, None) is None:
            return
        for push in pushes:
            self.lists.setdefault(push.key, []).append(push.body)
        for follow_up in follow_ups:
            self.kept.setdefault(follow_up.id, _Kept(follow_up, follow_up.accepted_ms))

    def _waiting(self, function: FunctionName) -> list[tuple[_Kept, int]]:
        return [
            (kept, kept.due_ms)
            for kept in self.kept.values()
            if kept.event.function == function and kept.due_ms is not None
        ]

    def _check(self) -> None:
        if self.is_down:
            raise EventsUnavailable("down")
