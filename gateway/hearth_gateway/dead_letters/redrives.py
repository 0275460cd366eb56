"""Redrives at work: dead letters go back to where they came from.

Rule 1: a letter leaves its box in the step in which it is sent again, so nothing is lost however a redrive ends. Its
record is written after each step, and one that was under way when Hearth ended goes on at the next start.
Rule 2: one redrive at a time for each box. A letter whose way back nobody knows stays where it is.
State: `_redrives` is changed here only, on one event loop.
"""

import asyncio
from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict
from types import TracebackType
from typing import Any, Self

import orjson
import structlog
from pydantic import TypeAdapter, ValidationError

from hearth.core.errors import HearthError, ResourceConflict, ResourceNotFound
from hearth_gateway.core.back_off import back_off_s
from hearth_gateway.core.dead_view import Dead
from hearth_gateway.core.redrive import Redrive, RedriveState, pause_s, step_size
from hearth_gateway.dead_letters.ports import Box, Boxes, BoxUnavailable, RedriveStore
from hearth_gateway.sources.ports import Clock

STEP = 100
"""Letters at once, where no pace is set."""
MAX_KEPT = 200
"""Redrives that are over are shown until there are so many later ones."""

_RECORD = TypeAdapter(Redrive)

log = structlog.get_logger(__name__)


class Redrives:
    """All redrives; alive between `async with` and its end."""

    def __init__(self, store: RedriveStore, boxes: Boxes, clock: Clock) -> None:
        self._store = store
        self._boxes = boxes
        self._clock = clock
        self._redrives: dict[str, Redrive] = {}
        self._running: dict[str, asyncio.Task[None]] = {}
        self._group = asyncio.TaskGroup()

    async def __aenter__(self) -> Self:
        for identity, record in (await self._store.load_all()).items():
            try:
                self._redrives[identity] = _RECORD.validate_json(record)
            except ValidationError as error:
                log.error("redrive unreadable", redrive=identity, error=str(error))
        await self._group.__aenter__()
        for redrive in self._redrives.values():
            if redrive.state.is_active:
                self._begin(redrive)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """What is under way stays running in its record: it goes on at the next start."""
        for running in self._running.values():
            running.cancel()
        await self._group.__aexit__(None, None, None)

    def __iter__(self) -> Iterator[Redrive]:
        return iter(sorted(self._redrives.values(), key=lambda one: (one.started_ms, one.id), reverse=True))

    def find(self, identity: str) -> Redrive:
        """Raises ResourceNotFound."""
        found = self._redrives.get(identity)
        if found is None:
            raise ResourceNotFound(f"There is no redrive {identity!r}.")
        return found

    async def start(
        self, identity: str, box: str, *, ids: Collection[str] | None = None, per_second: int | None = None
    ) -> Redrive:
        """Send letters of a box again: all, or those of these ids. Raises ResourceNotFound, ResourceConflict,
        BoxUnavailable."""
        opened = self._boxes.open(box)
        total = await opened.count() if ids is None else len(ids)
        self._refuse_second(box)
        named = None if ids is None else tuple(ids)
        redrive = Redrive(identity, box, total, self._clock.now_ms(), named, per_second)
        self._redrives[identity] = redrive  # at once, so that nobody starts a second one meanwhile
        try:
            await self._store.put(identity, _encoded(redrive))
        except BaseException:
            del self._redrives[identity]
            raise
        await self._forget_old()
        self._begin(redrive)
        return redrive

    async def cancel(self, identity: str) -> Redrive:
        """Let a redrive end with the step it is in. Raises ResourceNotFound, ResourceConflict."""
        redrive = self.find(identity)
        if not redrive.state.is_active:
            raise ResourceConflict(f"The redrive {identity} is {redrive.state.value} already.")
        redrive = redrive.ended(RedriveState.CANCELLING, self._clock.now_ms())
        await self._put(redrive)
        return redrive

    def _refuse_second(self, box: str) -> None:
        for redrive in self._redrives.values():
            if redrive.box == box and redrive.state.is_active:
                raise ResourceConflict(f"There is a redrive of this box under way: {redrive.id}.")

    async def _forget_old(self) -> None:
        over = [one for one in self if not one.state.is_active]
        for old in over[MAX_KEPT:]:
            await self._store.delete(old.id)
            del self._redrives[old.id]

    def _begin(self, redrive: Redrive) -> None:
        running = self._group.create_task(self._run(redrive.id), name=f"redrive {redrive.id}")
        self._running[redrive.id] = running
        running.add_done_callback(lambda _: self._running.pop(redrive.id, None))

    async def _run(self, identity: str) -> None:
        """Until it is over; whatever is away, it is tried again."""
        failures = 0
        while True:
            try:
                if await self._step(identity):
                    return
                failures = 0
            except (BoxUnavailable, HearthError) as error:
                log.warning("a redrive waits", redrive=identity, reason=str(error))
            except Exception:  # the top of a task: the others must go on
                log.exception("a redrive broke", redrive=identity)
            else:
                continue
            await self._clock.pause(back_off_s(failures))
            failures += 1

    async def _step(self, identity: str) -> bool:
        """Send some letters again. True when the redrive is over."""
        redrive = self._redrives[identity]
        if redrive.state is RedriveState.CANCELLING:
            await self._put(redrive.ended(RedriveState.CANCELLED, self._clock.now_ms()))
            return True
        size = step_size(redrive, STEP)
        letters = await self._next(redrive, self._boxes.open(redrive.box), size) if size else ()
        if not size or (not letters and redrive.ids is None):
            await self._put(redrive.ended(RedriveState.COMPLETED, self._clock.now_ms()))
            return True
        moved = await self._boxes.open(redrive.box).revive(letters, self._clock.now_ms()) if letters else 0
        considered = len(letters) if redrive.ids is None else size
        # Cancelled meanwhile, perhaps: the state is whatever it is now, the count is ours.
        await self._put(self._redrives[identity].with_step(moved, max(0, considered - moved)))
        await self._clock.pause(pause_s(redrive, considered))
        return False

    async def _next(self, redrive: Redrive, box: Box, size: int) -> Sequence[Dead]:
        if redrive.ids is None:
            return await box.page(redrive.passed, size, until_ms=redrive.started_ms)
        done = redrive.moved + redrive.passed
        return await box.find(redrive.ids[done : done + size])

    async def _put(self, redrive: Redrive) -> None:
        self._redrives[redrive.id] = redrive
        await self._store.put(redrive.id, _encoded(redrive))


def shown(redrive: Redrive) -> dict[str, Any]:
    """As JSON shows it."""
    return {**asdict(redrive), "state": redrive.state.value, "ids": None if redrive.ids is None else list(redrive.ids)}


def _encoded(redrive: Redrive) -> bytes:
    return orjson.dumps(shown(redrive))
