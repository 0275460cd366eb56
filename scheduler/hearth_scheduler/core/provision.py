"""The environments of one function version that provisioned concurrency keeps ready.

Rule 1: they are started ahead of any request, and neither idleness nor anybody's need for memory stops them. One that
dies, or goes stale, is replaced.
Rule 2: while attempts fail they are made one at a time, 1 s after a failure, doubling to 5 min: a function whose init
fails must not turn over containers without end.
Rule 3: a failure is forgotten after 10 min without another, not at the first success: a runtime that dies soon after
every good init is no better.
Rule 4: shortly before it is too old an environment is given up to ordinary service and a successor started, so that
the change of generations is not seen.
"""

from dataclasses import dataclass, field

from hearth.core.provisioning import ProvisionedState, ProvisioningProblem
from hearth_scheduler.core.environment import Environment, Phase

FIRST_BACKOFF_S = 1.0
LAST_BACKOFF_S = 300.0
CALM_S = 600.0
REPORTED_FAILURES = 2
"""So many in a row, and callers are told that it has failed."""


@dataclass(slots=True, eq=False)
class Provision:
    """`members` are those that count: on their way, idle, or at work; `idle` is the idle part of them, warmest
    last. `expected` are ids of environments of an earlier run that have not shown themselves yet. Changed by the fleet
    alone."""

    members: dict[str, Environment] = field(default_factory=dict)
    idle: dict[str, Environment] = field(default_factory=dict)
    expected: set[str] = field(default_factory=set)
    problem: ProvisioningProblem | None = None
    failures: int = 0
    failed_at: float = 0.0
    retry_at: float = 0.0

    @property
    def initialising(self) -> int:
        return sum(environment.phase not in (Phase.IDLE, Phase.BUSY) for environment in self.members.values())

    def state(self, requested: int) -> ProvisionedState:
        """How far it has come with what was asked for."""
        allocated = len(self.members)
        return ProvisionedState(requested, allocated, allocated - self.initialising, self.problem)

    def lacking(self, target: int) -> int:
        """How many there are too few; negative: too many."""
        return target - len(self.members) - len(self.expected)

    def startable(self, target: int, now: float) -> int:
        """How many may be started now (rule 2)."""
        if now < self.retry_at:
            return 0
        lacking = max(0, self.lacking(target))
        return min(lacking, max(0, 1 - self.initialising)) if self.failures else lacking

    def failed(self, problem: ProvisioningProblem, now: float) -> None:
        """An environment did not get as far as being of use."""
        if now - self.failed_at > CALM_S:
            self.failures = 0
        self.failures += 1
        self.failed_at = now
        self.retry_at = now + min(FIRST_BACKOFF_S * 2.0 ** min(self.failures - 1, 10), LAST_BACKOFF_S)
        if self.failures >= REPORTED_FAILURES:
            self.problem = problem

    def forgive(self) -> None:
        """There is other code to try, or another number: what failed says nothing any more."""
        self.failures, self.retry_at, self.problem = 0, 0.0, None

    def check(self, members: dict[str, Environment]) -> None:
        """Every invariant, for tests."""
        counting = {Phase.STARTING, Phase.INIT, Phase.IDLE, Phase.BUSY}
        marked = {e.id for e in members.values() if e.is_provisioned and e.phase in counting}
        assert marked == set(self.members), (marked, self.members)
        idle = {e.id for e in self.members.values() if e.phase is Phase.IDLE}
        assert idle == set(self.idle), (idle, self.idle)
        assert not self.expected & set(self.members)
