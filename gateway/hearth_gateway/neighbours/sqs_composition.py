"""Puts SQS together."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from hearth_gateway.core.authorization import Place
from hearth_gateway.neighbours.sqs import SqsService
from hearth_gateway.neighbours.sqs_calls import QueueDoor
from hearth_gateway.neighbours.sqs_messages_api import MessageOperations
from hearth_gateway.neighbours.sqs_moves import MoveTasks, MoveTaskStore
from hearth_gateway.neighbours.sqs_moves_api import MoveOperations
from hearth_gateway.neighbours.sqs_queues_api import QueueOperations
from hearth_gateway.queues.ports import QueueBook, QueueStore
from hearth_gateway.sources.ports import Clock


@asynccontextmanager
async def sqs_service(
    place: Place, book: QueueBook, store: QueueStore, tasks: MoveTaskStore, *, clock: Clock
) -> AsyncIterator[SqsService]:
    """SQS over these queues. Message move tasks that were under way go on while it is open."""
    door = QueueDoor(place, book)
    queues = QueueOperations(door, book, store, clock.now_ms)
    async with MoveTasks(tasks, store, clock, door.name_of) as moves:
        yield SqsService(
            {
                **queues.handlers(),
                **MessageOperations(door, store).handlers(),
                **MoveOperations(door, moves, store, queues.sources_of, now_ms=clock.now_ms).handlers(),
            }
        )
