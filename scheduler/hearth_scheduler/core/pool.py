"""The environments and the waiting requests of one function version."""

from collections import deque
from dataclasses import dataclass, field

from hearth.core.function import FunctionVersion
from hearth_scheduler.core.caps import Quota
from hearth_scheduler.core.environment import NEVER, Environment, Phase

SMOOTHING = 0.2


@dataclass(slots=True, eq=False)
class Request:
    """An admitted invocation: it holds a place. `deadline` bounds its wait for an environment."""

    id: str
    pool: "Pool"
    since: float
    deadline: float
    environment_id: str = ""


@dataclass(slots=True, eq=False)
class Pool:
    """One function version. `idle` is ordered: the last one in is the first one out (warmest first), so that the
    cold end ages until its idle clock runs out. Changed by the fleet alone.

    `duration_s` and `init_s` are smoothed measurements, 0 while unknown. `reconsider_at`: when to ask again whether
    to start one more environment.
    """

    quota: Quota
    current: FunctionVersion
    members: dict[str, Environment] = field(default_factory=dict)
    idle: dict[str, Environment] = field(default_factory=dict)
    waiting: deque[Request] = field(default_factory=deque)
    initialising: int = 0
    duration_s: float = 0.0
    init_s: float = 0.0
    reconsider_at: float = NEVER

    @property
    def runtime(self) -> str:
        return self.current.runtime

    @property
    def busy(self) -> int:
        return len(self.members) - len(self.idle) - self.initialising

    def is_current(self, environment: Environment) -> bool:
        function = environment.function
        return function is not None and function.revision == self.current.revision

    def took(self, seconds: float) -> None:
        """An invocation occupied an environment for this long."""
        self.duration_s += (seconds - self.duration_s) * (SMOOTHING if self.duration_s else 1.0)

    def initialised_in(self, seconds: float) -> None:
        self.init_s += (seconds - self.init_s) * (SMOOTHING if self.init_s else 1.0)

    def check(self) -> None:
        """Every invariant of this pool, for tests."""
        assert set(self.idle) <= set(self.members)
        assert all(e.phase is Phase.IDLE for e in self.idle.values()), self.idle
        idle = [e for e in self.members.values() if e.phase is Phase.IDLE]
        assert len(idle) == len(self.idle), (idle, self.idle)
        initialising = [e for e in self.members.values() if e.phase is Phase.INIT]
        assert len(initialising) == self.initialising, (initialising, self.initialising)
        assert not (self.waiting and self.idle), "a request waits while an environment idles"
