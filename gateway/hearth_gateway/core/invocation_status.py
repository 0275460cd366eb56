"""What can be told about an asynchronous invocation by its id, from its acceptance until a day after its end."""

from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hearth_gateway.core.async_event import AsyncEvent


class State(Enum):
    """Where an invocation is. The first three move on, the others are ends."""

    QUEUED = "queued"
    RUNNING = "running"
    RETRYING = "retrying"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_end(self) -> bool:
        return self in (State.SUCCEEDED, State.FAILED, State.CANCELLED)


@dataclass(frozen=True, slots=True)
class InvocationStatus:
    """One invocation. `attempts` counts the runs that the function ended, well or not; `next_ms` is when it is due;
    `results` are the targets its records went to. Times are epoch milliseconds, None where there is none."""

    id: str
    function: str
    qualifier: str
    state: State
    attempts: int
    accepted_ms: int
    next_ms: int | None = None
    last_attempt_ms: int | None = None
    ended_ms: int | None = None
    condition: str = ""
    error: dict[str, Any] = field(default_factory=dict)
    results: tuple[str, ...] = ()

    def shown(self) -> dict[str, Any]:
        """As JSON shows it."""
        return {
            "id": self.id,
            "function": self.function,
            "qualifier": self.qualifier,
            "state": self.state.value,
            "attempts": self.attempts,
            "accepted_ms": self.accepted_ms,
            "next_ms": self.next_ms,
            "last_attempt_ms": self.last_attempt_ms,
            "ended_ms": self.ended_ms,
            "condition": self.condition,
            "error": self.error,
            "results": list(self.results),
        }


def status_of(event: "AsyncEvent", due_ms: int | None) -> InvocationStatus:
    """The status of an event that is not over; `due_ms` is None while it runs."""
    tried = event.attempts > 0 or event.refusals > 0
    state = State.RUNNING if due_ms is None else State.RETRYING if tried else State.QUEUED
    return InvocationStatus(
        event.id,
        event.function,
        event.qualifier,
        state,
        event.attempts,
        event.accepted_ms,
        next_ms=due_ms,
        last_attempt_ms=event.last_attempt_ms or None,
        error={"errorType": event.error_type, "errorMessage": event.error_message} if event.error_type else {},
    )
