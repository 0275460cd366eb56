"""The queues of Hearth's own Redis: which there are, and what happens to the messages in them.

A queue named `jobs` is the Redis list `jobs` and the keys that docs/queue-protocol.md names. Plain pushes and messages
sent here may mix; receivers here and event source mappings compete for them. A name that ends in `.fifo` is a FIFO
queue. Every method raises QueueUnavailable when Redis cannot be reached; whether a change took place is then unknown.
Names are those of the queues, without region or account.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol

from hearth_gateway.core.envelope import PLAIN, Envelope, Head
from hearth_gateway.core.parcel import Attribute

DEDUPLICATION_MS = 300_000
"""How long a FIFO queue remembers a deduplication id. Source: Amazon SQS developer guide, "Exactly-once processing"."""
DEFAULT_VISIBILITY_S = 30
DEFAULT_RETENTION_S = 345_600
FIFO_SUFFIX = ".fifo"


@dataclass(frozen=True, slots=True)
class Queue:
    """A queue and its attributes, as SetQueueAttributes names and spells them; only those that were set.

    `is_created` is False for a list that is in use but that nobody created as a queue: it has no attributes.
    """

    name: str
    attributes: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    created_ms: int = 0
    modified_ms: int = 0
    is_created: bool = True

    @property
    def is_fifo(self) -> bool:
        return self.name.endswith(FIFO_SUFFIX)


class QueueBook(Protocol):
    """The queues that were created."""

    async def create(self, queue: Queue) -> Queue:
        """Enter it, unless there is one of this name; gives the one that is there now (compare its attributes)."""
        ...

    async def find(self, name: str) -> Queue | None:
        """The queue; one that is not created if only its list (or messages taken from it) is there."""
        ...

    async def set_attributes(self, name: str, attributes: Mapping[str, str | None], now_ms: int) -> bool:
        """Set these and take back those that are None. Messages obey at once. False: there is no such queue, and it is
        not made."""
        ...

    async def set_tags(self, name: str, tags: Mapping[str, str | None]) -> bool:
        """Set these and take back those that are None. False: there is no such queue."""
        ...

    async def delete(self, name: str) -> bool:
        """Forget the queue and every message in it. False: there was none."""
        ...

    async def names(self, prefix: str = "", after: str = "", limit: int = 1000) -> Sequence[str]:
        """The created queues whose names begin so, in order, those behind `after`."""
        ...


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message to send. `delay_ms` None is the queue's own DelaySeconds. A FIFO queue wants `deduplication_id` (the
    caller computes it from the content where that is asked for); an empty `group_id` is a group like any other."""

    id: str
    body: bytes
    attributes: Mapping[str, Attribute] = field(default_factory=dict)
    delay_ms: int | None = None
    group_id: str = ""
    deduplication_id: str = ""
    sender: str = ""
    trace_header: str = ""


@dataclass(frozen=True, slots=True)
class Sent:
    """What became of an `Outgoing`. A duplicate is the message that came first: its id, its sequence number."""

    id: str
    sequence: str = ""
    is_duplicate: bool = False


@dataclass(frozen=True, slots=True)
class Received:
    """A message in the hands of a receiver. `receive_count` includes this receive; times are epoch milliseconds."""

    id: str
    receipt: str
    body: bytes
    receive_count: int
    first_received_ms: int
    head: Head = PLAIN


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a receiver asks for. `visibility_s` None is the queue's own VisibilityTimeout, or 30 s. `attempt_id` (FIFO)
    makes a repeated receive give the same messages again, for as long as nobody else could have got them."""

    limit: int = 1
    visibility_s: int | None = None
    wait_s: float = 0.0
    attempt_id: str = ""


class Grip(Enum):
    """What a receipt handle was good for."""

    HELD = "held"
    """It was the latest receive's: done as asked."""
    STALE = "stale"
    """The message is gone, or was received again since, or (asked to change its visibility) is visible again."""
    INVALID = "invalid"
    """No handle of this store."""


@dataclass(frozen=True, slots=True)
class Counts:
    """How many messages there are: that could be received now, in somebody's hands (or resting after a failure), and
    sent with a delay that is not over."""

    visible: int = 0
    in_flight: int = 0
    delayed: int = 0


class Lying(Enum):
    """Where a message is."""

    VISIBLE = "visible"
    DELAYED = "delayed"
    IN_FLIGHT = "in flight"


@dataclass(frozen=True, slots=True)
class Peeked:
    """A message looked at. `element` is what lies in Redis, the word for `Move`."""

    envelope: Envelope
    element: bytes
    lying: Lying = Lying.VISIBLE
    receive_count: int = 0


@dataclass(frozen=True, slots=True)
class Move:
    """Take one message that nobody holds out of a queue and put `replacement` at the end of the list `target`, or
    nothing anywhere (None)."""

    peeked: Peeked
    target: str | None
    replacement: bytes = b""


class QueueStore(Protocol):
    """The messages of all queues. A queue need not be created."""

    async def send(self, name: str, messages: Sequence[Outgoing]) -> Sequence[Sent]:
        """Keep them all in one step, in order; on disk when this returns."""
        ...

    async def receive(self, name: str, wanted: Wanted) -> Sequence[Received]:
        """Up to `limit` messages, hidden from everybody else for the visibility timeout; at once if there are any,
        else as soon as there are within `wait_s`. A message received as often as the queue's RedrivePolicy allows goes
        to its dead-letter queue instead. Cancelling a wait loses nothing."""
        ...

    async def delete(self, name: str, receipts: Sequence[str]) -> Sequence[Grip]:
        """The messages of these receives are done with. Of a stale handle nothing happens."""
        ...

    async def change_visibility(self, name: str, changes: Sequence[tuple[str, int]]) -> Sequence[Grip]:
        """Hide the messages of these receives for so many seconds from now; 0 gives them back."""
        ...

    async def purge(self, name: str) -> None:
        """Every message is gone, whoever holds it."""
        ...

    async def counts(self, name: str) -> Counts:
        """How many there are."""
        ...

    async def peek(self, name: str, start: int = 0, limit: int = 100) -> Sequence[Peeked]:
        """Some messages, without touching them: the waiting ones in order, then the others. `start` skips so many."""
        ...

    async def move(self, name: str, moves: Sequence[Move]) -> int:
        """Carry out these moves in one step; one whose message is no longer there, or held, is skipped. Gives how many
        were carried out."""
        ...
