"""Every environment and every pool: who belongs to whom, and how an environment comes and goes.

Rule 1: an environment counts, under its pool's cap and in memory, from the order to start it until its container is
gone. To stop one is to order its removal.
Rule 2: whose start has failed waits a little before the next one: all stem cells, or one pool alone.
Rule 3: what provisioned concurrency lost, however it went, makes its pool `unready`.
"""

from collections.abc import Callable, Iterator

from hearth.core.function import FunctionName, FunctionVersion
from hearth.core.provisioning import ProvisioningProblem
from hearth_scheduler.core.caps import Caps
from hearth_scheduler.core.deadlines import Deadlines
from hearth_scheduler.core.effects import Effect, Stop, StopReason, Verdict
from hearth_scheduler.core.environment import Environment, Phase, Signal
from hearth_scheduler.core.memory import STEM_MIB, MemoryBudget
from hearth_scheduler.core.policy import Policy
from hearth_scheduler.core.pool import UNDER_WAY, Pool
from hearth_scheduler.core.stock import Stock

STUCK_S = 10.0
"""A removal that took longer is ordered anew."""


class Roster:
    """Owned and changed by the fleet and its parts alone. `unready` are the pools of which not all that is provisioned
    is initialised. `new_id` gives the ids of environments."""

    def __init__(
        self, policy: Policy, caps: Caps, stock: Stock, *, deadlines: Deadlines, new_id: Callable[[], str]
    ) -> None:
        self.environments: dict[str, Environment] = {}
        self.pools: dict[tuple[FunctionName, str], Pool] = {}
        self.unready: dict[Pool, None] = {}
        self.memory = MemoryBudget(policy.memory_budget_mib)
        self._policy = policy
        self._caps = caps
        self._stock = stock
        self._deadlines = deadlines
        self._new_id = new_id

    # -- pools -------------------------------------------------------------------------------------------------

    def pool(self, function: FunctionVersion) -> Pool:
        """The version's pool; one that was never heard of gets one."""
        pool = self.pools.get(function.key)
        if pool is None:
            pool = self.pools[function.key] = Pool(self._caps.share(function.key), function)
            if pool.share.guaranteed:
                self.unready[pool] = None
        return pool

    def pool_of(self, environment: Environment) -> Pool | None:
        """Whose member it is; None: a stem cell, or its pool is gone."""
        pool = self.pools.get(environment.function.key) if environment.function else None
        return pool if pool is not None and environment.id in pool.members else None

    def room(self, pool: Pool) -> int:
        """How many more environments its cap allows."""
        return self._caps.cap(pool.share) - len(pool.members)

    def trim(self, pool: Pool, now: float, effects: list[Effect]) -> None:
        """The cap may have been lowered: idle environments beyond it go."""
        excess = max(0, -self.room(pool))
        for environment in [*pool.idle.values(), *pool.provision.idle.values()][:excess]:
            self.stop(environment, StopReason.SURPLUS, now, effects)

    def retire(self, pool: Pool, now: float, effects: list[Effect], *, everything: bool = False) -> None:
        """What is of an old revision goes, or all of it: at once, or when it has finished what it does."""
        for environment in list(pool.members.values()):
            if pool.is_current(environment) and not everything:
                continue
            if environment.phase is Phase.BUSY:
                environment.move(Signal.RETIRE, environment.since, environment.deadline)
                self._unkeep(environment, pool)
            elif environment.phase is Phase.IDLE or environment.phase in UNDER_WAY:
                self.stop(environment, StopReason.STALE, now, effects)

    def dissolve(self, pool: Pool, now: float, effects: list[Effect]) -> None:
        """Its version is gone: it starts nothing any more, and its members go."""
        self.retire(pool, now, effects, everything=True)
        self.unready.pop(pool, None)
        del self.pools[pool.current.key]

    # -- coming ------------------------------------------------------------------------------------------------

    def add(self, runtime: str, now: float, *, environment_id: str = "", mib: int = STEM_MIB) -> Environment:
        """A container is to be started, or was by an earlier run."""
        environment = Environment(environment_id or self._new_id(), runtime, now, now + self._policy.start_timeout_s)
        self.environments[environment.id] = environment
        self.memory.occupy(environment.id, mib)
        self._deadlines.note(environment.deadline)
        return environment

    def enlist(self, environment: Environment, pool: Pool, now: float, *, is_provisioned: bool) -> None:
        """It belongs to this pool from now on."""
        environment.function = pool.current
        environment.is_provisioned = is_provisioned
        pool.members[environment.id] = environment
        pool.grown_at = now
        pool.initialising += 1
        if is_provisioned:
            pool.provision.members[environment.id] = environment

    def join(
        self, environment: Environment, pool: Pool, now: float, *, is_provisioned: bool = False, age_s: float = 0.0
    ) -> None:
        """A running container becomes an environment of the pool, or shows itself as one that became so before."""
        self.enlist(environment, pool, now, is_provisioned=is_provisioned)
        self.begin_init(environment, pool, now)
        environment.expires -= age_s
        self.memory.occupy(environment.id, pool.current.memory_mib)

    def begin_init(self, environment: Environment, pool: Pool, now: float) -> None:
        policy = self._policy
        limit = policy.provisioned_init_timeout_s if environment.is_provisioned else policy.init_timeout_s
        environment.expires = now + policy.environment_lifetime_s
        environment.move(Signal.SPECIALISED, now, now + max(limit, float(pool.current.timeout_s)))
        self._deadlines.note(environment.deadline)

    def expect_no_more(self, environment: Environment) -> None:
        """An adopted environment has shown itself, or never will."""
        if environment.expected_by is not None:
            environment.expected_by.discard(environment.id)
            environment.expected_by = None

    # -- being idle ----------------------------------------------------------------------------------------------

    def rests_until(self, environment: Environment, now: float) -> float:
        """How long it may be idle from now on."""
        if environment.is_provisioned:
            return environment.expires - self._policy.renewal_s
        return min(now + self._policy.idle_timeout_s, environment.expires)

    def lie_down(self, environment: Environment, pool: Pool) -> None:
        """It has nothing to do."""
        idle = pool.provision.idle if environment.is_provisioned else pool.idle
        idle[environment.id] = environment
        self._deadlines.note(environment.deadline)

    def idlest_first(self) -> Iterator[str]:
        idle = [e for pool in self.pools.values() for e in pool.idle.values()]
        return (e.id for e in sorted(idle, key=lambda e: e.since))

    def is_hopeless(self, pool: Pool) -> bool:
        """There is no memory for one more of its environments, even if all went that may."""
        evictable = sum(e.function.memory_mib for p in self.pools.values() for e in p.idle.values() if e.function)
        return self.memory.is_hopeless(pool.current.memory_mib, evictable)

    def make_room(self, mib: int, now: float, effects: list[Effect]) -> bool:
        """True when that much memory is free now. Otherwise the idlest environments are told to go, and a later
        event tries again."""
        for environment_id in self.memory.evict(mib, self.idlest_first()):
            self.stop(self.environments[environment_id], StopReason.EVICTED, now, effects)
        return self.memory.fits(mib)

    # -- provisioned concurrency -----------------------------------------------------------------------------------

    def target(self, pool: Pool) -> int:
        """How many are to be provisioned. A cap of the function's own is heeded at once; that of the account only
        where they are started, so that one function's reservation does not turn over those of all others."""
        caps = (pool.share.guaranteed, pool.quota.reserved, pool.share.most)
        return min(cap for cap in caps if cap is not None)

    def adjust(self, pool: Pool, now: float) -> None:
        """The target has changed: what is too many becomes ordinary, the idle ones first."""
        provision = pool.provision
        surplus = max(0, -provision.lacking(self.target(pool)))
        for environment in [*provision.idle.values(), *provision.members.values()][:surplus]:
            self.make_ordinary(environment, pool, now)
        self.unready[pool] = None

    def make_ordinary(self, environment: Environment, pool: Pool, now: float) -> None:
        if not environment.is_provisioned:  # named twice among the surplus
            return
        environment.is_provisioned = False
        self._unkeep(environment, pool)
        if environment.phase is Phase.IDLE:
            environment.deadline = self.rests_until(environment, now)
            self.lie_down(environment, pool)

    def note_failure(self, environment: Environment, pool: Pool | None, verdict: Verdict, now: float) -> None:
        """A provisioned environment broke before it was of any use. One that breaks at work is replaced at once: how
        often, requests bound."""
        if pool is not None and environment.is_provisioned and environment.phase in (Phase.INIT, Phase.IDLE):
            is_ours = verdict is Verdict.NO_ENVIRONMENT
            problem = ProvisioningProblem.PLATFORM if is_ours else ProvisioningProblem.INIT_FAILURE
            pool.provision.failed(problem, now)

    def _unkeep(self, environment: Environment, pool: Pool) -> None:
        """It counts no longer among the provisioned ones; if it was one, it is to be replaced."""
        pool.provision.idle.pop(environment.id, None)
        if pool.provision.members.pop(environment.id, None) is not None:
            self.unready[pool] = None

    # -- going -------------------------------------------------------------------------------------------------

    def stop(
        self,
        environment: Environment,
        reason: StopReason,
        now: float,
        effects: list[Effect],
        *,
        signal: Signal = Signal.STOP,
    ) -> None:
        """Order the removal. The environment keeps counting until its container is gone (rule 1)."""
        if environment.phase is Phase.STOPPING:
            return
        self.expect_no_more(environment)
        pool = self.pool_of(environment)
        if pool is not None:
            pool.idle.pop(environment.id, None)
            self._unkeep(environment, pool)
            pool.initialising -= environment.phase in UNDER_WAY
        self._leave_start(environment, pool, now, has_failed=reason is StopReason.START_FAILED)
        environment.move(signal, now, now + STUCK_S)
        self.memory.leaves(environment.id)
        self._deadlines.note(environment.deadline)
        effects.append(Stop(environment.id, reason))

    def leave(self, environment: Environment, now: float) -> None:
        """Its container is gone: it is in no book any more."""
        pool = self.pool_of(environment)
        self._leave_start(environment, pool, now, has_failed=True)
        self.memory.vacate(environment.id)
        self.expect_no_more(environment)
        if pool is not None:
            del pool.members[environment.id]
            pool.idle.pop(environment.id, None)
            pool.finishing.pop(environment.id, None)
            self._unkeep(environment, pool)
            pool.initialising -= environment.phase in UNDER_WAY
            pool.patient_until = 0.0
        environment.move(Signal.DIED, now)
        del self.environments[environment.id]

    def _leave_start(self, environment: Environment, pool: Pool | None, now: float, *, has_failed: bool) -> None:
        """It is not on its way any more (rule 2)."""
        if pool is None:
            self._stock.lost(environment.runtime, environment.id, now)
        elif has_failed and environment.phase is Phase.STARTING:
            pool.start_failed(now)
            self._deadlines.note(pool.paused_until)
            if environment.is_provisioned:
                pool.provision.failed(ProvisioningProblem.PLATFORM, now)
        self._stock.end_direct(environment.id)
