"""Which environments are made, when, and from what: of a stem cell, or of a container started for one function alone.

Rule 1: those who wait come first, the pool whose oldest request has waited longest before the others; then what
provisioned concurrency lacks; then the stock of stem cells.
Rule 2: a start is decided when it can begin: nothing is queued here. Whatever is refused now (a cap, no memory, a
pause after a failure, no free start) is asked for again by the next event, or at a noted deadline.
"""

from collections.abc import Callable, Mapping

from hearth.core.provisioning import ProvisioningProblem
from hearth_scheduler.core.admissions import Admissions
from hearth_scheduler.core.deadlines import Deadlines
from hearth_scheduler.core.effects import Effect, Specialise, StartFor, StartStem, StopReason, Verdict
from hearth_scheduler.core.environment import NEVER, Phase
from hearth_scheduler.core.growth import Host, decide
from hearth_scheduler.core.memory import STEM_MIB
from hearth_scheduler.core.policy import Policy
from hearth_scheduler.core.pool import Pool
from hearth_scheduler.core.roster import Roster
from hearth_scheduler.core.stock import Stock


class Starts:
    """Owned by the fleet alone. `interpreter_of` says what runs a runtime identifier, by the name under which its stem
    cells are kept; None: it has none. `is_closed`: nothing is started any more."""

    def __init__(
        self,
        policy: Policy,
        roster: Roster,
        admissions: Admissions,
        stock: Stock,
        *,
        deadlines: Deadlines,
        interpreter_of: Callable[[str], str | None],
    ) -> None:
        self.host = Host(policy.processors)
        self.interpreter_of = interpreter_of
        self.is_closed = False
        self._parallel_starts = policy.parallel_starts
        self._roster = roster
        self._admissions = admissions
        self._stock = stock
        self._deadlines = deadlines

    def feed(self, now: float, effects: list[Effect]) -> None:
        """Offer what has come free to every pool that waits (rule 1)."""
        for pool in sorted(self._admissions.hungry, key=lambda p: p.waiting[0].since if p.waiting else now):
            self._serve(pool, now, effects)
        self.keep_ready(now, effects)
        self.order(now, effects)

    def feed_newcomer(self, pool: Pool, now: float, effects: list[Effect]) -> None:
        """The same for one pool in which one more request waits: nothing has come free for the others."""
        self._serve(pool, now, effects)
        if self._missing(pool, now):
            self.order(now, effects)
        if pool.waiting and not pool.members and self._roster.is_hopeless(pool):
            # Nothing runs, nothing is on its way, nothing can be evicted: better an answer now than a wait in vain.
            self._admissions.give_up(pool, Verdict.NO_MEMORY, effects)

    def keep_ready(self, now: float, effects: list[Effect]) -> None:
        """Start what provisioned concurrency lacks, no more at once than container starts."""
        unready = self._roster.unready
        for pool in list(unready):
            provision, target = pool.provision, self._roster.target(pool)
            if provision.lacking(target) <= 0 and not provision.initialising and not provision.expected:
                del unready[pool]
            elif now < max(provision.retry_at, pool.paused_until):
                self._deadlines.note(max(provision.retry_at, pool.paused_until))
        for pool in unready:
            for _ in range(self._startable(pool, now, effects)):
                if not self._grow(pool, now, effects, is_provisioned=True):
                    break

    def order(self, now: float, effects: list[Effect]) -> None:
        """Order the containers that are wanted, as far as the governor allows (`core/stock.py`)."""
        if self.is_closed:
            return
        missing = {pool: more for pool in self._admissions.hungry if (more := self._missing(pool, now))}
        is_provisioned = not missing
        if is_provisioned:
            missing = {pool: more for pool in self._roster.unready if (more := self._startable(pool, now, effects))}
        demand, alone = self._demand(missing)
        for wanted in self._stock.starts(demand, now, host_is_busy=self.host.is_busy):
            if wanted in alone:
                self._start_for(alone[wanted], now, effects, is_provisioned=is_provisioned)
            elif not self._start_stem(wanted, now, effects):
                return
        if self._stock.paused_until > now:
            self._deadlines.note(self._stock.paused_until)

    def _serve(self, pool: Pool, now: float, effects: list[Effect]) -> None:
        """Serve the pool's waiting requests: idle environments first, then stem cells."""
        while pool.waiting and (idle := pool.provision.idle or pool.idle):
            self._admissions.assign_next(idle.popitem()[1], pool, now, effects)
        for _ in range(self._missing(pool, now) if pool.waiting else 0):
            if not self._grow(pool, now, effects):
                return

    def _missing(self, pool: Pool, now: float) -> int:
        """How many environments the pool should get now: as many as are worth it, as far as its cap allows."""
        lacking = pool.lacking(now)
        if lacking <= 0 or self.is_closed:
            if pool.waiting:
                self._deadlines.note(min((until for until in pool.finishing.values() if until > now), default=NEVER))
            return 0
        if now < pool.paused_until:
            self._deadlines.note(pool.paused_until)
            return 0
        if now < pool.patient_until and lacking <= pool.patient_with:
            self._deadlines.note(pool.patient_until)
            return 0
        room = self._roster.room(pool)
        return min(self._worth(pool, lacking, now), room) if room > 0 else 0

    def _worth(self, pool: Pool, lacking: int, now: float) -> int:
        """How many are worth it (`core/growth.py`); if it is too early to say, this is asked again."""
        stem = self._interpreter(pool)
        has_stem = stem is not None and self._stock.has_ready(stem)
        growth = decide(pool.load(now), self.host, has_stem=has_stem)
        if growth.ask_again_s is not None:
            pool.patient_until, pool.patient_with = now + growth.ask_again_s, lacking
            self._deadlines.note(pool.patient_until)
        return growth.more

    def _startable(self, pool: Pool, now: float, effects: list[Effect]) -> int:
        """How many provisioned environments the pool may start now. An ordinary idle one gives up its place."""
        wanted = pool.provision.startable(self._roster.target(pool), now)
        under_way = sum(p.provision.initialising for p in self._roster.unready)
        wanted = min(wanted, self._parallel_starts - under_way)
        if wanted <= 0 or self.is_closed or now < pool.paused_until:
            return 0
        if self._roster.is_hopeless(pool):
            pool.provision.problem = ProvisioningProblem.NO_MEMORY
            return 0
        room = self._roster.room(pool)
        leaving = sum(environment.phase is Phase.STOPPING for environment in pool.members.values())
        for environment in list(pool.idle.values())[: max(0, wanted - room - leaving)]:
            self._roster.stop(environment, StopReason.SURPLUS, now, effects)
        return max(0, min(wanted, room))

    def _grow(self, pool: Pool, now: float, effects: list[Effect], *, is_provisioned: bool = False) -> bool:
        """Make a stem cell an environment of the pool, if there is one and memory for it."""
        stem = self._interpreter(pool)
        if stem is None or not self._stock.has_ready(stem):
            return False
        if not self._roster.make_room(pool.current.memory_mib - STEM_MIB, now, effects):
            return False
        environment = self._roster.environments[self._stock.take(stem, now)]
        self._roster.join(environment, pool, now, is_provisioned=is_provisioned)
        effects.append(Specialise(environment.id, pool.current, is_provisioned))
        return True

    def _demand(self, missing: Mapping[Pool, int]) -> tuple[dict[str, int], dict[str, Pool]]:
        """How many containers are wanted of what, and which of these names are pools that need their own."""
        demand: dict[str, int] = {}
        alone: dict[str, Pool] = {}
        for pool, more in missing.items():
            stem = self._interpreter(pool)
            demand[stem or pool.name] = demand.get(stem or pool.name, 0) + more
            if stem is None:
                alone[pool.name] = pool
        return demand, alone

    def _start_stem(self, runtime: str, now: float, effects: list[Effect]) -> bool:
        if not self._roster.make_room(STEM_MIB, now, effects):
            return False
        environment = self._roster.add(runtime, now)
        self._stock.begin(runtime, environment.id)
        effects.append(StartStem(environment.id, runtime))
        return True

    def _start_for(self, pool: Pool, now: float, effects: list[Effect], *, is_provisioned: bool) -> None:
        """A container for this pool alone; if there is no room, a later event tries again."""
        function = pool.current
        if not self._roster.make_room(function.memory_mib, now, effects):
            return
        environment = self._roster.add(function.runtime, now, mib=function.memory_mib)
        self._roster.enlist(environment, pool, now, is_provisioned=is_provisioned)
        self._stock.begin_direct(environment.id)
        effects.append(StartFor(environment.id, function, is_provisioned))

    def _interpreter(self, pool: Pool) -> str | None:
        """Whose stem cells can become this pool's environments; None: each is started for it alone."""
        return None if pool.current.image is not None else self.interpreter_of(pool.current.runtime)
