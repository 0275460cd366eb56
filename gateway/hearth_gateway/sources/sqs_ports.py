"""What a source, or a delivery, asks of another SQS."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from hearth_gateway.core.parcel import Attribute
from hearth_gateway.core.sqs_event import SqsMessage
from hearth_gateway.sources.ports import QueueUnavailable


class SqsRefused(QueueUnavailable):
    """The other SQS answered, and said no. `code` is its name for the reason; `is_final` says that asking again later
    is no use."""

    def __init__(self, code: str, message: str, *, is_final: bool) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.is_final = is_final


@dataclass(frozen=True, slots=True)
class SqsLetter:
    """A message to send. An empty group, deduplication id or trace header is none."""

    body: str
    attributes: Mapping[str, Attribute] = field(default_factory=dict)
    group_id: str = ""
    deduplication_id: str = ""
    trace_header: str = ""


class SqsApi(Protocol):
    """One SQS, its queues by name. Every method raises QueueUnavailable (SqsRefused, if there was an answer); what was
    asked for may have happened all the same."""

    async def receive(self, queue: str, limit: int, *, wait_s: int, visibility_s: int) -> Sequence[SqsMessage]:
        """Up to 10 messages, with all they have, hidden for `visibility_s`; waits up to 20 s for the first."""
        ...

    async def delete(self, queue: str, receipts: Sequence[str]) -> Sequence[str]:
        """These are done with. Gives those that could not be deleted now and can later."""
        ...

    async def change_visibility(self, queue: str, changes: Mapping[str, int]) -> Sequence[str]:
        """Hide the messages of these receipts for so many seconds from now. Gives those that are not ours any more."""
        ...

    async def visibility_s(self, queue: str) -> int:
        """The queue's own VisibilityTimeout."""
        ...

    async def send(self, queue: str, letter: SqsLetter) -> str:
        """Send one message; gives its id."""
        ...
