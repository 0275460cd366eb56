"""Message move tasks at work: dead letters go back to the queues they came from, or to another one.

Rule 1: a step is one atomic move of some messages, so nothing is lost or doubled however it ends. The record of a task
is written after each step, and a task that was under way when Hearth ended goes on at the next start.
Rule 2: one task at a time for each source. A message whose way back nobody knows ends the task as failed; it stays.
State: `_tasks` is changed here only, on one event loop.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Protocol, Self

import structlog

from hearth.core.errors import HearthError
from hearth_gateway.core.back_off import back_off_s
from hearth_gateway.core.envelope import Envelope, pack_envelope
from hearth_gateway.core.sqs_move import (
    MAX_LISTED,
    UNKNOWN_SOURCE,
    MoveStatus,
    MoveTask,
    decode_task,
    encode_task,
    pause_s,
    step_size,
)
from hearth_gateway.queues.ports import Lying, Move, Peeked, QueueStore
from hearth_gateway.sources.ports import Clock, QueueUnavailable

STEP = 100
"""Messages carried at once, where no pace is set."""
IDLE_PAUSE_S = 0.1
"""After a step that found everything taken by somebody else."""


class MoveTaskStore(Protocol):
    """The durable home of move tasks, by id."""

    async def load_all(self) -> dict[str, bytes]: ...

    async def put(self, task_id: str, record: bytes, /) -> None: ...

    async def delete(self, task_id: str, /) -> None: ...


class MoveTasks:
    """All tasks; alive between `async with` and its end. `name_of` gives the name in an ARN of a queue of ours."""

    def __init__(
        self, tasks: MoveTaskStore, store: QueueStore, clock: Clock, name_of: Callable[[str], str | None]
    ) -> None:
        self._kept = tasks
        self._store = store
        self._clock = clock
        self._name_of = name_of
        self._tasks: dict[str, MoveTask] = {}
        self._running: dict[str, asyncio.Task[None]] = {}
        self._group = asyncio.TaskGroup()

    async def __aenter__(self) -> Self:
        for task_id, record in (await self._kept.load_all()).items():
            try:
                self._tasks[task_id] = decode_task(record)
            except ValueError as error:
                structlog.get_logger().error("move task unreadable", task=task_id, error=str(error))
        await self._group.__aenter__()
        for task in self._tasks.values():
            if task.status.is_active:
                self._begin(task)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Tasks under way stay RUNNING in their records: they go on at the next start."""
        for running in self._running.values():
            running.cancel()
        await self._group.__aexit__(None, None, None)

    def of(self, source: str) -> Sequence[MoveTask]:
        """The tasks of a queue, the newest first."""
        found = [task for task in self._tasks.values() if task.source == source]
        return sorted(found, key=lambda task: task.started_ms, reverse=True)

    def find(self, task_id: str) -> MoveTask | None:
        """The task of this id."""
        return self._tasks.get(task_id)

    async def start(self, task: MoveTask) -> None:
        """Keep the task, forget those of its queue that nobody is shown any more, and begin."""
        self._tasks[task.id] = task  # at once, so that nobody starts a second one meanwhile
        try:
            await self._kept.put(task.id, encode_task(task))
        except BaseException:
            del self._tasks[task.id]
            raise
        for old in self.of(task.source)[MAX_LISTED:]:
            await self._kept.delete(old.id)
            del self._tasks[old.id]
        self._begin(task)

    async def cancel(self, task_id: str) -> MoveTask:
        """Let a task end with the step it is in."""
        task = self._tasks[task_id].ended(MoveStatus.CANCELLING)
        await self._put(task)
        return task

    def _begin(self, task: MoveTask) -> None:
        running = self._group.create_task(self._run(task.id), name=f"move task {task.id}")
        self._running[task.id] = running
        running.add_done_callback(lambda _: self._running.pop(task.id, None))

    async def _run(self, task_id: str) -> None:
        """Until the task is over; whatever is away, it is tried again."""
        failures = 0
        while True:
            try:
                if await self._step(task_id):
                    return
                failures = 0
            except (QueueUnavailable, HearthError) as error:
                structlog.get_logger().warning("move task waits", task=task_id, reason=str(error))
                await self._clock.pause(back_off_s(failures))
                failures += 1

    async def _step(self, task_id: str) -> bool:
        """Carry some messages. True when the task is over."""
        task = self._tasks[task_id]
        if task.status is MoveStatus.CANCELLING:
            await self._put(task.ended(MoveStatus.CANCELLED))
            return True
        size = min(step_size(task.per_second, STEP), task.left)
        found = await self._store.peek(task.source, 0, size) if size else ()
        waiting = [one for one in found if one.lying is Lying.VISIBLE]
        if not waiting:
            await self._put(task.ended(MoveStatus.COMPLETED))
            return True
        moves = [move for one in waiting if (move := self._move(task, one)) is not None]
        carried = await self._store.move(task.source, moves) if moves else 0
        # Cancelled meanwhile, perhaps: the status is whatever it is now, the count is ours.
        after = self._tasks[task_id].with_moved(carried)
        if len(moves) < len(waiting):
            await self._put(after.ended(MoveStatus.FAILED, UNKNOWN_SOURCE))
            return True
        await self._put(after)
        await self._clock.pause(max(pause_s(task.per_second, carried), 0.0 if carried else IDLE_PAUSE_S))
        return False

    def _move(self, task: MoveTask, dead: Peeked) -> Move | None:
        """Where a message goes, and as what: it is alive again. None if nobody knows where it came from. A list is made
        by what is put into it, so that the way back to a queue that is only a list is always there."""
        head = dead.envelope.head
        target = task.destination or (self._name_of(head.death.source_arn) if head.death is not None else None)
        return None if target is None else Move(dead, target, _revived(dead.envelope))

    async def _put(self, task: MoveTask) -> None:
        self._tasks[task.id] = task
        await self._kept.put(task.id, encode_task(task))


def _revived(envelope: Envelope) -> bytes:
    """The message as it was before it died."""
    return pack_envelope(replace(envelope, head=replace(envelope.head, death=None)))
