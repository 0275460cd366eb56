"""Another SQS, in memory: the queues that pass the contract of the real ones, behind the port of a client."""

from collections.abc import Mapping, Sequence

from hearth_gateway.core.sqs_attributes import number
from hearth_gateway.core.sqs_event import SqsMessage
from hearth_gateway.queues.ports import Grip, Outgoing, Queue, Received, Wanted
from hearth_gateway.queues.testing import MemoryQueueBook, MemoryQueueStore
from hearth_gateway.sources.ports import Clock, QueueUnavailable
from hearth_gateway.sources.sqs_ports import SqsLetter, SqsRefused


class MemorySqs:
    """A `SqsApi` over queues in memory. While `is_away` nothing is heard of it."""

    def __init__(self, clock: Clock) -> None:
        self.book = MemoryQueueBook()
        self.store = MemoryQueueStore(clock, self.book)
        self.is_away = False
        self.waits = 0
        self.renewals = 0
        self._clock = clock
        self._sent = 0

    async def create(self, name: str, **attributes: str) -> None:
        """Make a queue."""
        await self.book.create(Queue(name, attributes))

    async def receive(self, queue: str, limit: int, *, wait_s: int, visibility_s: int) -> Sequence[SqsMessage]:
        await self._find(queue)
        self.waits += wait_s > 0
        received = await self.store.receive(queue, Wanted(limit, visibility_s, wait_s))
        return [self._message(one) for one in received]

    async def delete(self, queue: str, receipts: Sequence[str]) -> Sequence[str]:
        await self._find(queue)
        await self.store.delete(queue, receipts)
        return ()

    async def change_visibility(self, queue: str, changes: Mapping[str, int]) -> Sequence[str]:
        await self._find(queue)
        self.renewals += 1
        grips = await self.store.change_visibility(queue, list(changes.items()))
        return [receipt for receipt, grip in zip(changes, grips, strict=True) if grip is not Grip.HELD]

    async def visibility_s(self, queue: str) -> int:
        return number((await self._find(queue)).attributes, "VisibilityTimeout")

    async def send(self, queue: str, letter: SqsLetter) -> str:
        await self._find(queue)
        self._sent += 1
        outgoing = Outgoing(
            f"message-{self._sent}",
            letter.body.encode(),
            letter.attributes,
            group_id=letter.group_id,
            deduplication_id=letter.deduplication_id,
            trace_header=letter.trace_header,
        )
        return (await self.store.send(queue, [outgoing]))[0].id

    async def _find(self, queue: str) -> Queue:
        if self.is_away:
            raise QueueUnavailable("away on purpose")
        found = await self.book.find(queue)
        if found is None:
            raise SqsRefused("QueueDoesNotExist", "The specified queue does not exist.", is_final=True)
        return found

    def _message(self, one: Received) -> SqsMessage:
        head = one.head
        system = {
            "ApproximateReceiveCount": str(one.receive_count),
            "SentTimestamp": str(head.sent_ms),
            "MessageGroupId": head.group_id,
            "AWSTraceHeader": head.trace_header,
        }
        told = {name: value for name, value in system.items() if value}
        return SqsMessage(one.id, one.receipt, one.body.decode(), self._clock.monotonic(), told, head.attributes)
