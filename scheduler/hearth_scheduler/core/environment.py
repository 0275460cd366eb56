"""The life of one execution environment: one enum, one table.

    STARTING --CONNECTED--> STEM --SPECIALISED--> INIT --READY--> IDLE <==ASSIGNED/FINISHED==> BUSY
    STARTING --SPECIALISED--> INIT            (it already is a function's: started for it, or adopted after a restart)
    BUSY --RETIRE--> RETIRING --FINISHED--> STOPPING
    any living phase --STOP--> STOPPING       any phase --DIED--> GONE

Rule 1: everything that decides what may happen to an environment stands in `NEXT`.
Rule 2: a pair that is missing there is a defect of ours: it raises, with the environment's history.
Rule 3: news about an environment that is gone is normal in a distributed system; whoever receives it ignores and
counts it before it comes here.

STEM is a generic container of a runtime: started, connected, interpreter loaded, belonging to no function yet.
READY means that the runtime asked for its next event, not that Docker says "running".
"""

from collections import deque
from dataclasses import dataclass, field
from enum import Enum

from hearth.core.function import FunctionVersion


class Phase(Enum):
    # Members are single objects. Enum's own hash is a Python function, and each invocation would call it four times.
    __hash__ = object.__hash__

    STARTING = "starting"
    STEM = "stem"
    INIT = "init"
    IDLE = "idle"
    BUSY = "busy"
    RETIRING = "retiring"
    STOPPING = "stopping"
    GONE = "gone"


class Signal(Enum):
    __hash__ = object.__hash__  # as above

    CONNECTED = "connected"
    SPECIALISED = "specialised"
    READY = "ready"
    ASSIGNED = "assigned"
    FINISHED = "finished"
    RETIRE = "retire"
    STOP = "stop"
    DIED = "died"


_LEAVING = {Signal.STOP: Phase.STOPPING, Signal.DIED: Phase.GONE}

NEXT: dict[Phase, dict[Signal, Phase]] = {
    Phase.STARTING: {Signal.CONNECTED: Phase.STEM, Signal.SPECIALISED: Phase.INIT, **_LEAVING},
    Phase.STEM: {Signal.SPECIALISED: Phase.INIT, **_LEAVING},
    Phase.INIT: {Signal.READY: Phase.IDLE, **_LEAVING},
    Phase.IDLE: {Signal.ASSIGNED: Phase.BUSY, **_LEAVING},
    Phase.BUSY: {Signal.FINISHED: Phase.IDLE, Signal.RETIRE: Phase.RETIRING, **_LEAVING},
    Phase.RETIRING: {Signal.FINISHED: Phase.STOPPING, **_LEAVING},
    Phase.STOPPING: {Signal.DIED: Phase.GONE},
    Phase.GONE: {},
}

HISTORY = 12
NEVER = float("inf")


class IllegalTransition(Exception):
    """A signal that the environment's phase does not know: a defect in the scheduler."""


@dataclass(slots=True, eq=False)
class Environment:
    """One environment. Only the fleet changes it.

    `deadline` is the moment by which the present phase must end, in the scheduler's monotonic seconds:
    STARTING, INIT: the environment has failed; BUSY, RETIRING: the invocation has timed out; IDLE: it goes;
    STOPPING: the removal is ordered anew. `since` is when the phase began. `has_run`: an invocation has ended here.
    `expires`: from then on it gets no more events, because the credentials it was given run out some time later.
    `is_provisioned`: provisioned concurrency keeps it; otherwise demand does. `expected_by`: who counts on an adopted
    environment that has not shown itself yet.
    """

    id: str
    runtime: str
    since: float
    deadline: float = NEVER
    function: FunctionVersion | None = None
    request_id: str | None = None
    has_run: bool = False
    expires: float = NEVER
    is_provisioned: bool = False
    expected_by: set[str] | None = None
    phase: Phase = Phase.STARTING
    history: deque[tuple[float, Signal]] = field(default_factory=lambda: deque(maxlen=HISTORY))

    def move(self, signal: Signal, now: float, deadline: float = NEVER) -> Phase:
        """Follow the table; raise `IllegalTransition` and change nothing where it has no way."""
        phase = NEXT[self.phase].get(signal)
        if phase is None:
            raise IllegalTransition(f"{signal.value} in {self!r}; {self.story()}")
        self.history.append((now, signal))
        self.phase = phase
        self.since = now
        self.deadline = deadline
        return phase

    def story(self) -> str:
        """The last transitions, oldest first."""
        return " ".join(f"{at:.3f}:{signal.value}" for at, signal in self.history) or "no history"

    def __repr__(self) -> str:
        whose = "/".join(self.function.key) if self.function else "-"
        return f"<Environment {self.id} {self.phase.value} {self.runtime} {whose}>"
