"""Redrives as values: which dead letters are sent again, how fast, and how far that is.

Rule: a redrive takes what lay in the box when it began. What dies again meanwhile is not carried round and round.
"""

from dataclasses import dataclass, replace
from enum import Enum


class RedriveState(Enum):
    """How far a redrive is. CANCELLING is over as soon as the step under way is."""

    RUNNING = "running"
    COMPLETED = "completed"
    CANCELLING = "cancelling"
    CANCELLED = "cancelled"

    @property
    def is_active(self) -> bool:
        return self in (RedriveState.RUNNING, RedriveState.CANCELLING)


@dataclass(frozen=True, slots=True)
class Redrive:
    """One redrive. `ids` are the letters that were named, None for all; `total` is how many there were when it began.

    `moved` were sent again; `passed` are those that stay, because nobody knows where they came from, or that were gone.
    Times are epoch milliseconds.
    """

    id: str
    box: str
    total: int
    started_ms: int
    ids: tuple[str, ...] | None = None
    per_second: int | None = None
    moved: int = 0
    passed: int = 0
    state: RedriveState = RedriveState.RUNNING
    ended_ms: int | None = None

    @property
    def left(self) -> int:
        return max(0, self.total - self.moved - self.passed)

    def with_step(self, moved: int, passed: int) -> "Redrive":
        """So many more were sent, and so many stay."""
        return replace(self, moved=self.moved + moved, passed=self.passed + passed)

    def ended(self, state: RedriveState, now_ms: int) -> "Redrive":
        """It is over."""
        return replace(self, state=state, ended_ms=now_ms)


def step_size(redrive: Redrive, largest: int) -> int:
    """How many the next step carries: a tenth of a second's worth, so that the pace is even."""
    pace = largest if redrive.per_second is None else max(1, min(largest, redrive.per_second // 10))
    return min(pace, redrive.left)


def pause_s(redrive: Redrive, carried: int) -> float:
    """How long to rest after a step of so many, in seconds."""
    return carried / redrive.per_second if redrive.per_second else 0.0
