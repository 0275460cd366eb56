"""What every operation of SQS is given: the request's members, who asks, and which queue is meant."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from hearth.core.policy_document import MalformedPolicy, PolicyDocument, parse_policy
from hearth_gateway.core.authorization import Place
from hearth_gateway.core.sqs_errors import no_queue
from hearth_gateway.core.sqs_names import is_name, name_in_url, queue_url
from hearth_gateway.neighbours.calls import Call, Members
from hearth_gateway.queues.ports import Queue, QueueBook


@dataclass(frozen=True, slots=True)
class SqsCall:
    """One operation asked for.

    `origin` is scheme and host as the client used them; `path` the raw path it sent the request to; `is_there` says
    whether anybody still waits for the answer.
    """

    call: Call
    origin: str
    path: str
    is_there: Callable[[], bool]

    def __getitem__(self, member: str) -> Any:
        """A member that the model requires."""
        return self.call[member]

    def get(self, member: str, default: Any = None) -> Any:
        """A member that may be missing."""
        return self.call.get(member, default)


SqsHandler = Callable[[SqsCall], Awaitable[Members]]


class QueueDoor:
    """Finds the queue that a call means, if whoever calls may do what they ask for."""

    def __init__(self, place: Place, book: QueueBook) -> None:
        self.place = place
        self._book = book

    def arn(self, name: str) -> str:
        """The ARN of a queue of this account."""
        return f"arn:aws:sqs:{self.place.region}:{self.place.account}:{name}"

    def url(self, asked: SqsCall, name: str) -> str:
        """The URL of a queue, as this client reaches it."""
        return queue_url(asked.origin, self.place.account, name)

    def name(self, asked: SqsCall) -> str:
        """The name in QueueUrl, or in the path that the request was sent to."""
        return name_in_url(asked.get("QueueUrl") or asked.path, self.place.account)

    async def enter(self, asked: SqsCall, action: str) -> Queue:
        """The queue of `QueueUrl`. Raises AccessDenied, QueueDoesNotExist."""
        return await self.enter_named(asked, action, self.name(asked))

    async def enter_named(self, asked: SqsCall, action: str, name: str) -> Queue:
        """The queue of this name. Raises AccessDenied, QueueDoesNotExist."""
        queue = await self.find_named(asked, action, name)
        if queue is None:
            raise no_queue()
        return queue

    async def find_named(self, asked: SqsCall, action: str, name: str) -> Queue | None:
        """The queue of this name, if there is one. Whoever may not ask does not learn whether it is there."""
        queue = await self._book.find(name) if is_name(name) else None
        asked.call.allow(f"sqs:{action}", self.arn(name), policy=None if queue is None else _policy(queue))
        return queue

    def name_of(self, arn: str) -> str | None:
        """The name of the queue of ours that an ARN means; None if it means anything else."""
        prefix = self.arn("")
        name = arn.removeprefix(prefix)
        return name if arn.startswith(prefix) and is_name(name) else None


def _policy(queue: Queue) -> PolicyDocument | None:
    """The queue's own policy, which can only add to what callers may do."""
    text = queue.attributes.get("Policy", "")
    try:
        return parse_policy(text) if text else None
    except MalformedPolicy:
        return None  # one that an earlier version took
