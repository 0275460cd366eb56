"""What a queue source asks of the world: a list with transitions, functions by name, a clock."""

import asyncio
import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import Protocol

from hearth.core.function import FunctionVersion
from hearth.ports import Scheduler
from hearth_gateway.asynchronous.ports import Courier
from hearth_gateway.core.mapping import EventSourceMapping
from hearth_gateway.core.queue_batch import Message
from hearth_gateway.core.retry import Settlement
from hearth_gateway.sources.tally import Tally

NO_RECORDS = "No records processed"
OK = "OK"
CALL_FAILED = "PROBLEM: Function call failed"
NO_FUNCTION = "PROBLEM: Function not found"
NO_PLATFORM = "PROBLEM: Function could not be run"
NO_SOURCE = "PROBLEM: Event source not reachable"


class QueueUnavailable(Exception):
    """The list cannot be reached or refuses; the message is the store's own words. Trying again may help."""


class StaleSession(QueueUnavailable):
    """The owner's liveness ran out or a newer session began: what this session asks for is refused."""


@dataclass(frozen=True, slots=True)
class Gathered:
    """What an owner holds back for its next claim."""

    count: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Redrive:
    """A queue's RedrivePolicy: where messages go that failed so often."""

    dead_letter_arn: str
    max_receive_count: int


@dataclass(frozen=True, slots=True)
class Claim:
    """Messages leased to the owner; how many more could be claimed now; when the next one is due (epoch ms); the
    queue's own RedrivePolicy. Messages of a FIFO queue are all of one group, in its order, and block it."""

    messages: tuple[Message, ...]
    available: int
    next_due_ms: int | None
    redrive: Redrive | None = None


class ListQueue(Protocol):
    """One owner's view of one Redis list; each method but `take` and `interrupt` is one atomic transition.

    An owner is one source of one run of Hearth. `now_ms` is epoch milliseconds. Every method raises
    QueueUnavailable when the list cannot be reached; whether the transition took place is then unknown, and
    `enter` makes it good. See docs/queue-protocol.md.
    """

    async def enter(self, session: int, keep: Collection[str], now_ms: int) -> int | None:
        """Begin a session: be alive, fence off earlier sessions, put back what they took or leased except the
        messages in `keep`, and take over what dead owners hold. Gives when the next message is due."""
        ...

    async def beat(self, session: int, now_ms: int) -> int | None:
        """Stay alive, and take over what owners that died since hold. Gives when the next message is due."""
        ...

    async def take(self, wait_s: float) -> bool:
        """Wait until the list has a body and hold it for the next claim; False after `wait_s` seconds."""
        ...

    async def interrupt(self) -> None:
        """End a waiting `take` from the side; it returns as if its time were up. Harmless when none waits."""
        ...

    async def gather(self, session: int, limit: int, max_bytes: int) -> Gathered:
        """Hold more bodies back for the next claim, without waiting, up to both limits."""
        ...

    async def claim(self, session: int, limit: int, *, max_bytes: int, now_ms: int) -> Claim:
        """Lease up to `limit` messages: what is held back, then what is due again, then the list. At least one
        if there is any; no more than `max_bytes` of bodies otherwise. Raises StaleSession."""
        ...

    async def settle(self, settlement: Settlement, now_ms: int) -> None:
        """Apply the fates of leased messages. Repeating it changes nothing. A message done is gone wherever it
        is; every other fate concerns only messages that are still leased to this owner."""
        ...

    async def leave(self, now_ms: int, *, forget: bool) -> None:
        """Put back what is held and leased, and stop being alive. `forget`: nothing of this owner can arrive
        late, so that nobody needs to look after it."""
        ...

    async def close(self) -> None:
        """Drop connections of this queue's own."""
        ...


class Source(Protocol):
    """One mapping's poller. `last_result` is the mapping's `LastProcessingResult`."""

    last_result: str

    async def run(self) -> None:
        """Poll until `stop`, and until what is in flight is settled. Survives the loss of its connection; other
        errors end it, and the supervisor opens another."""
        ...

    def reconfigure(self, mapping: EventSourceMapping) -> None:
        """Use these settings from the next batch on. What is polled never changes."""
        ...

    def wake(self) -> None:
        """Look again: a function may have come or changed."""
        ...

    def stop(self) -> None:
        """Take nothing more; `run` returns once the batches in flight are settled."""
        ...

    async def close(self) -> None:
        """Drop the connections of its own."""
        ...


class Sources(Protocol):
    """Opens the source of a mapping, whatever its kind."""

    def open(self, mapping: EventSourceMapping, *, is_successor: bool) -> Source:
        """`is_successor`: one before it broke. Raises QueueUnavailable for a connection that is not configured (any
        more)."""
        ...


class Queues(Protocol):
    """Opens the list of a mapping, on the connection its source names."""

    def open(self, mapping: EventSourceMapping) -> ListQueue:
        """Raises QueueUnavailable for a connection that is not configured (any more)."""
        ...


class Functions(Protocol):
    """The functions that can be run now."""

    def current(self, name: str, qualifier: str) -> FunctionVersion | None:
        """The version to run, or None while there is none. An empty qualifier is `$LATEST`."""
        ...


class Clock(Protocol):
    """Time, so that tests can have their own."""

    def now_ms(self) -> int:
        """Epoch milliseconds: they are compared across restarts and instances."""
        ...

    def monotonic(self) -> float: ...

    async def pause(self, seconds: float) -> None: ...


class SystemClock:
    """The machine's own time."""

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def monotonic(self) -> float:
        return time.monotonic()

    async def pause(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What every source of this Hearth shares. `sessions` numbers all sessions of this run, so that none repeats.
    `courier` takes what is for destinations beyond the source's own Redis; `owns_queues` says that `arn:aws:sqs:` names
    the queues there, and not those of another SQS; `tally` counts what sources did."""

    scheduler: Scheduler
    functions: Functions
    clock: Clock
    region: str
    account: str
    max_receive_count: int
    sessions: Iterator[int] = field(default_factory=lambda: count(1))
    courier: Courier | None = None
    owns_queues: bool = True
    tally: Tally = field(default_factory=Tally)
