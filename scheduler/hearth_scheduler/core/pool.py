"""The environments and the waiting requests of one function version."""

from collections import deque
from dataclasses import dataclass, field

from hearth.core.function import FunctionVersion
from hearth_scheduler.core.caps import Quota, Share
from hearth_scheduler.core.environment import Environment, Phase
from hearth_scheduler.core.growth import Load
from hearth_scheduler.core.provision import Provision
from hearth_scheduler.core.stock import backoff

SMOOTHING = 0.2
CREEP_S = 10.0
"""In this time the best measured duration may double."""
UNDER_WAY = (Phase.STARTING, Phase.INIT)
"""Members that will serve without having served yet; one that is STARTING is started for this pool alone."""
FINISHING_S = 0.1
"""So long a runtime that has answered is expected to ask for its next event at any moment."""


@dataclass(slots=True, eq=False)
class Request:
    """An admitted invocation: it holds a place. `deadline` bounds its wait for an environment.
    `repeats`: how often an environment died before it had read the event."""

    id: str
    pool: "Pool"
    since: float
    deadline: float
    environment_id: str = ""
    repeats: int = 0


@dataclass(slots=True, eq=False)
class Pool:
    """One function version. `share` is its part of the function's places; `provision` is what of its `members`
    provisioned concurrency keeps, `idle` those of the others that idle. It is ordered: the last one in is the first
    one out (warmest first), so that the cold end ages until its idle clock runs out. Changed by the fleet alone.

    `initialising` counts the members that are `UNDER_WAY`. `finishing` are those that have answered, with the moment
    until which they are believed to ask for more by themselves. Until `paused_until` none is started for it alone,
    because the last such start has failed.
    `base_s` is what an invocation takes at best (it creeps up, so that a function that has become slower is believed
    after a while), `init_s` what an init takes on average; 0 while unknown. `grown_at`: when an environment was added
    last. Until `patient_until`, and with no more than `patient_with` requests to serve, it was decided not to grow.
    """

    share: Share
    current: FunctionVersion
    members: dict[str, Environment] = field(default_factory=dict)
    idle: dict[str, Environment] = field(default_factory=dict)
    waiting: deque[Request] = field(default_factory=deque)
    provision: Provision = field(default_factory=Provision)
    initialising: int = 0
    base_s: float = 0.0
    init_s: float = 0.0
    is_base_known: bool = False
    measured_at: float = 0.0
    grown_at: float = 0.0
    patient_until: float = 0.0
    patient_with: int = 0
    finishing: dict[str, float] = field(default_factory=dict)
    backoff_s: float = 0.0
    paused_until: float = 0.0

    @property
    def quota(self) -> Quota:
        return self.share.quota

    @property
    def name(self) -> str:
        """What a demand for environments of this pool alone is called; no runtime has a colon in its name."""
        return ":".join(self.current.key)

    @property
    def busy(self) -> int:
        return len(self.members) - len(self.idle) - len(self.provision.idle) - self.initialising

    def is_current(self, environment: Environment) -> bool:
        function = environment.function
        return function is not None and function.revision == self.current.revision

    def took(self, seconds: float, now: float, *, is_first: bool) -> None:
        """An invocation occupied an environment for this long. An environment's first one is believed only as long as
        there is nothing better."""
        if is_first:
            self.base_s = self.base_s or seconds
            return
        if not self.is_base_known:
            self.base_s, self.is_base_known = 0.0, True
        crept = self.base_s * (1.0 + (now - self.measured_at) / CREEP_S)
        self.base_s = min(seconds, crept) if self.base_s else seconds
        self.measured_at = now

    def lacking(self, now: float) -> int:
        """How many wait that nothing under way will serve: no init, and nothing that is about to ask for its next
        event."""
        return len(self.waiting) - self.initialising - sum(until > now for until in self.finishing.values())

    def load(self, now: float) -> Load:
        """What the decision to grow is made from."""
        return Load(
            lacking=self.lacking(now),
            busy=self.busy,
            members=len(self.members),
            base_s=self.base_s,
            is_base_known=self.is_base_known,
            init_s=self.init_s,
            waited_s=now - self.waiting[0].since if self.waiting else 0.0,
            since_growth_s=now - self.grown_at,
        )

    def start_failed(self, now: float) -> None:
        """A container could not be started for it."""
        self.backoff_s = backoff(self.backoff_s)
        self.paused_until = now + self.backoff_s

    def forget_measures(self) -> None:
        """There is other code to run: what was measured, and that starts failed, says nothing any more."""
        self.paused_until = self.backoff_s = 0.0
        self.base_s = self.init_s = 0.0
        self.is_base_known = False

    def initialised_in(self, seconds: float) -> None:
        self.init_s += (seconds - self.init_s) * (SMOOTHING if self.init_s else 1.0)

    def check(self) -> None:
        """Every invariant of this pool, for tests."""
        assert set(self.idle) | set(self.finishing) <= set(self.members)
        assert all(e.phase is Phase.IDLE for e in self.idle.values()), self.idle
        idle = [e for e in self.members.values() if e.phase is Phase.IDLE]
        assert len(idle) == len(self.idle) + len(self.provision.idle), (idle, self.idle)
        assert not any(e.is_provisioned for e in self.idle.values()), self.idle
        self.provision.check(self.members)
        initialising = [e for e in self.members.values() if e.phase in UNDER_WAY]
        assert len(initialising) == self.initialising, (initialising, self.initialising)
        assert not (self.waiting and (self.idle or self.provision.idle)), "a request waits while an environment idles"
