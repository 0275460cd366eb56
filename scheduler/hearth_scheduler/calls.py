"""One invocation while the scheduler has it: its ledger, its log, its answer."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from hearth.core.invocation import Invocation, Ledger, Outcome
from hearth.core.log_lines import LOG_TAIL_BYTES
from hearth_scheduler.streams import Streamed


@dataclass(slots=True, eq=False)
class Call:
    """`dispatched_at` is 0 until the event was handed over; times are monotonic seconds.

    `outcome` is set once the handler has answered; with a log tail it is given to the caller only when the REPORT line
    exists, which is when the runtime asks for its next event. `streamed` is there once the handler has begun to answer
    in pieces.
    """

    invocation: Invocation
    answer: asyncio.Future[Outcome]
    arrived_at: float
    dispatched_at: float = 0.0
    answered_at: float = 0.0
    init_s: float = 0.0
    outcome: Outcome | None = None
    ledger: Ledger = field(default_factory=Ledger)
    tail: bytearray | None = None
    streamed: Streamed | None = None
    when_abandoned: Callable[[str], None] | None = None

    def answered(self, answer: asyncio.Future[Outcome]) -> None:
        """The future is done; if its caller cancelled it, whoever runs the call is told."""
        if answer.cancelled() and self.when_abandoned is not None:
            self.when_abandoned(self.invocation.request_id)

    def log(self, text: bytes) -> None:
        """Keep the end of the invocation's log, if the caller wants it."""
        if self.tail is not None:
            self.tail += text
            if len(self.tail) > 2 * LOG_TAIL_BYTES:
                del self.tail[:-LOG_TAIL_BYTES]

    @property
    def last_log(self) -> bytes:
        return bytes(self.tail[-LOG_TAIL_BYTES:]) if self.tail is not None else b""

    def resolve(self, outcome: Outcome) -> None:
        """Answer the caller, who may have gone."""
        if not self.answer.done():
            self.answer.set_result(outcome)

    def dispatched(self, now: float, *, cold_since: float, init_s: float) -> None:
        """The event is handed over. What was waited for since arrival is split: the environment's init and start,
        as far as they fell into the wait, and the rest, which was queueing."""
        self.dispatched_at = now
        waited = max(0.0, now - self.arrived_at)
        self.init_s = init_s
        self.ledger.init_s = min(init_s, waited)
        self.ledger.start_s = min(cold_since, waited - self.ledger.init_s)
        self.ledger.queue_s = waited - self.ledger.init_s - self.ledger.start_s

    def closed(self, now: float) -> None:
        """The answer is there: what is not accounted for was spent in the platform."""
        self.answered_at = now
        ledger = self.ledger
        ledger.handler_s = max(0.0, now - self.dispatched_at) if self.dispatched_at else 0.0
        total = now - self.invocation.arrived_at
        ledger.overhead_s = max(0.0, total - ledger.queue_s - ledger.start_s - ledger.init_s - ledger.handler_s)
