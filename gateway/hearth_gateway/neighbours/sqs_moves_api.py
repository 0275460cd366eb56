"""The operations on message move tasks: the way back out of a dead-letter queue.

Source: StartMessageMoveTask, CancelMessageMoveTask and ListMessageMoveTasks in the Amazon SQS API reference.
"""

import uuid
from collections.abc import AsyncIterator, Callable

from hearth_gateway.core.sqs_errors import invalid, not_found, unsupported
from hearth_gateway.core.sqs_message import ranged
from hearth_gateway.core.sqs_move import MAX_LISTED, MAX_PER_SECOND, MoveStatus, MoveTask, id_in_handle, task_handle
from hearth_gateway.core.sqs_names import FIFO_SUFFIX
from hearth_gateway.neighbours.calls import Members
from hearth_gateway.neighbours.sqs_calls import QueueDoor, SqsCall, SqsHandler
from hearth_gateway.neighbours.sqs_moves import MoveTasks
from hearth_gateway.queues.ports import QueueStore

NOT_THERE = "The resource that you specified for the {} parameter doesn't exist."
_NO_TASK = "Task does not exist."


class MoveOperations:
    """What is asked about move tasks. `sources_of` gives the queues whose dead letters go to a queue."""

    def __init__(
        self,
        door: QueueDoor,
        tasks: MoveTasks,
        store: QueueStore,
        sources_of: Callable[[str], AsyncIterator[str]],
        *,
        now_ms: Callable[[], int],
        new_id: Callable[[], str] = lambda: str(uuid.uuid4()),
    ) -> None:
        self._door = door
        self._tasks = tasks
        self._store = store
        self._sources_of = sources_of
        self._now_ms = now_ms
        self._new_id = new_id

    def handlers(self) -> dict[str, SqsHandler]:
        """The operations by name."""
        return {
            "CancelMessageMoveTask": self._cancel,
            "ListMessageMoveTasks": self._list,
            "StartMessageMoveTask": self._start,
        }

    async def _start(self, asked: SqsCall) -> Members:
        source = await self._queue(asked, "SourceArn", "StartMessageMoveTask", "ReceiveMessage", "DeleteMessage")
        destination = await self._queue(asked, "DestinationArn", "SendMessage") if asked.get("DestinationArn") else None
        per_second = ranged(asked.call.parameters, "MaxNumberOfMessagesPerSecond", 1, MAX_PER_SECOND)
        await self._check(asked, source, destination)
        counts = await self._store.counts(source)
        task = MoveTask(self._new_id(), source, destination, per_second, counts.visible, self._now_ms())
        # No wait between the look and the start: else two could begin.
        if any(one.status.is_active for one in self._tasks.of(source)):
            raise unsupported(
                "There is already a task running. Only one active task is allowed for a source queue arn at a given "
                "time."
            )
        await self._tasks.start(task)
        return {"TaskHandle": task_handle(task, self._door.arn(source))}

    async def _queue(self, asked: SqsCall, parameter: str, *actions: str) -> str:
        """The name of the queue of this ARN. Raises ResourceNotFoundException, AccessDenied."""
        name = self._door.name_of(asked[parameter])
        if name is None:
            raise not_found(NOT_THERE.format(parameter))
        for action in actions:
            queue = await self._door.find_named(asked, action, name)
            if queue is None:
                raise not_found(NOT_THERE.format(parameter))
        return name

    async def _check(self, asked: SqsCall, source: str, destination: str | None) -> None:
        """Only dead letters are moved, to a queue of the same kind, and by who may send to where they go."""
        origins = [name async for name in self._sources_of(source)]
        if not origins and not await self._holds_dead_letters(source):
            raise invalid("Source queue must be configured as a Dead Letter Queue.")
        if destination == source:
            raise invalid("The source and the destination of a message move task must be different queues.")
        if destination is not None and destination.endswith(FIFO_SUFFIX) != source.endswith(FIFO_SUFFIX):
            raise invalid("The source and the destination queue must be of the same type.")
        for origin in origins if destination is None else ():
            asked.call.allow("sqs:SendMessage", self._door.arn(origin))

    async def _holds_dead_letters(self, name: str) -> bool:
        """A list that event source mappings put their dead letters into, which no queue names as its own."""
        return any(one.envelope.head.death is not None for one in await self._store.peek(name, 0, 1))

    async def _cancel(self, asked: SqsCall) -> Members:
        told = id_in_handle(asked["TaskHandle"])
        if told is None:
            raise invalid(f"Value {asked['TaskHandle']} for parameter TaskHandle is invalid.")
        task_id, source_arn = told
        asked.call.allow("sqs:CancelMessageMoveTask", source_arn)
        task = self._tasks.find(task_id)
        if task is None or self._door.arn(task.source) != source_arn:
            raise not_found(_NO_TASK)
        if task.status is not MoveStatus.RUNNING:
            raise unsupported(f"Only active tasks can be cancelled. Task {task_id} is {task.status.value}.")
        task = await self._tasks.cancel(task_id)
        return {"ApproximateNumberOfMessagesMoved": task.moved}

    async def _list(self, asked: SqsCall) -> Members:
        # A list that was emptied is not there any more; its tasks are.
        tasks = self._tasks.of(self._door.name_of(asked["SourceArn"]) or "")
        if tasks:
            asked.call.allow("sqs:ListMessageMoveTasks", asked["SourceArn"])
        else:
            await self._queue(asked, "SourceArn", "ListMessageMoveTasks")
        limit = ranged(asked.call.parameters, "MaxResults", 1, MAX_LISTED) or 1
        shown = [self._shown(task) for task in tasks[:limit]]
        return {"Results": shown} if shown else {}

    def _shown(self, task: MoveTask) -> dict[str, str | int]:
        """A task as it is listed; the handle is for those that can still be cancelled."""
        shown: dict[str, str | int | None] = {
            "TaskHandle": task_handle(task, self._door.arn(task.source)) if task.status is MoveStatus.RUNNING else None,
            "Status": task.status.value,
            "SourceArn": self._door.arn(task.source),
            "DestinationArn": None if task.destination is None else self._door.arn(task.destination),
            "MaxNumberOfMessagesPerSecond": task.per_second,
            "ApproximateNumberOfMessagesMoved": task.moved,
            "ApproximateNumberOfMessagesToMove": task.to_move,
            "FailureReason": task.failure or None,
            "StartedTimestamp": task.started_ms,
        }
        return {name: value for name, value in shown.items() if value is not None}
