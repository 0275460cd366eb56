"""The scheduler's decisions: every environment, every admitted request, every place, in one object with one owner.

Each method is one event: it changes the state and returns what is to be done about it. Nothing here waits, reads a
clock or touches the world. The engine feeds events and performs effects.

It is long because one event may touch everything here, and each step must leave the whole consistent (`check`). What
can be decided alone has its own module: caps, reservations, growth, stock, memory, provision.

Rule 1: a request takes the warmest idle environment; failing that it waits for whichever comes first, a new
environment or one that falls idle. Choosing an environment and marking it BUSY is one step.
Rule 2: caps are exact. Places (invocations in flight) of a function never exceed its cap, nor do the environments of
one of its versions; an environment counts until its container is gone.
Rule 3: no herd. One more environment is started only if that is worth it (`core/growth.py`), and a start is decided
when it can begin.
Rule 4: an environment of an old revision finishes what it does and goes; it never gets another request.
Rule 5: a function that no stem cell can become gets containers of its own, under the same governor. Such an
environment is a member of its pool, and so counts under its cap, from the order to start it.
Rule 6: deadlines are data (`core/deadlines.py`); `tick` does what is due.
Rule 7: provisioned environments (`core/provision.py`) are started when nobody waits who could be served instead, and
are given events before others, so that the others may age.
Rule 8: an environment that has become too old for its credentials gets no further request.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping

from hearth.core.function import FunctionName, FunctionVersion
from hearth.core.provisioning import ProvisionedState, ProvisioningProblem
from hearth_scheduler.core.caps import Caps
from hearth_scheduler.core.deadlines import Deadlines
from hearth_scheduler.core.effects import (
    Conclude,
    Dispatch,
    Effect,
    Refusal,
    Specialise,
    StartFor,
    StartStem,
    Stop,
    StopReason,
    Verdict,
)
from hearth_scheduler.core.environment import NEVER, Environment, Phase, Signal
from hearth_scheduler.core.growth import Host, decide
from hearth_scheduler.core.memory import STEM_MIB, MemoryBudget
from hearth_scheduler.core.policy import Policy
from hearth_scheduler.core.pool import FINISHING_S, UNDER_WAY, Pool, Request
from hearth_scheduler.core.reservations import Reservations
from hearth_scheduler.core.stock import Stock

MAX_REPEATS = 2
"""How often an event that was not read goes to another environment: a function that asks for events and dies of itself
must not go through containers without end."""
STUCK_S = 10.0
"""A removal that took longer is ordered anew."""


class Fleet:
    """See the module. `new_id` gives the ids of environments: chance is an argument. `interpreter_of` says what runs a
    runtime identifier, by the name under which its stem cells are kept; None: it has none (rule 5)."""

    def __init__(
        self,
        policy: Policy,
        stem_cells: dict[str, int],
        new_id: Callable[[], str],
        interpreter_of: Callable[[str], str | None] = str,
    ) -> None:
        self.policy = policy
        self.environments: dict[str, Environment] = {}
        self.pools: dict[tuple[FunctionName, str], Pool] = {}
        self.requests: dict[str, Request] = {}
        self.caps = Caps(policy.account_concurrency)
        self.memory = MemoryBudget(policy.memory_budget_mib)
        self.stock = Stock(stem_cells, ceiling=policy.stem_cells_max, parallel_starts=policy.parallel_starts)
        self.deadlines = Deadlines()
        self.late_news = 0
        self.host = Host(policy.processors)
        self._new_id = new_id
        self._interpreter_of = interpreter_of
        self._hungry: dict[Pool, None] = {}
        self._unready: dict[Pool, None] = {}  # not all of what is provisioned is initialised
        self.reservations = Reservations(self.caps)
        self._closing = False

    # -- functions ---------------------------------------------------------------------------------------------

    def configure(self, function: FunctionVersion, now: float) -> list[Effect]:
        """This is the current revision now."""
        effects: list[Effect] = []
        pool = self._pool(function)
        if pool.current.revision != function.revision:
            pool.current = function
            pool.paused_until = pool.backoff_s = 0.0
            pool.base_s = pool.init_s = 0.0
            pool.is_base_known = False
            pool.provision.forgive()
            self._retire(pool, now, effects)
            self._feed(now, effects)
        else:
            pool.current = function
            if pool in self._unready:
                self._feed(now, effects)
        return effects

    def forget(self, name: FunctionName, now: float) -> list[Effect]:
        """The function was deleted: what waits is concluded, what runs finishes, the rest goes."""
        effects: list[Effect] = []
        for key in [key for key in self.pools if key[0] == name]:
            self._drop(key, now, effects)
        self.caps.forget(name)
        self._feed(now, effects)
        return effects

    def withdraw(self, key: tuple[FunctionName, str], now: float) -> list[Effect]:
        """One version was deleted: the same for its pool alone."""
        effects: list[Effect] = []
        if key in self.pools:
            self._drop(key, now, effects)
        self.caps.withdraw(key)
        self._feed(now, effects)
        return effects

    def limit(self, name: FunctionName, reserved: int | None, now: float) -> list[Effect]:
        """Set or lift the function's reserved concurrency."""
        self.caps.limit(name, reserved)
        effects: list[Effect] = []
        for pool in [pool for key, pool in self.pools.items() if key[0] == name]:
            self._trim(pool, now, effects)
            self._adjust(pool, now)
        self.reservations.grant(effects)
        self._feed(now, effects)
        return effects

    def provision(
        self, key: tuple[FunctionName, str], count: int, now: float, *, most: int | None = None
    ) -> list[Effect]:
        """Keep so many environments of this version ready, and never have more than `most` (None: the function's cap
        alone counts). Ready ones that are too many then serve on as ordinary ones."""
        share = self.caps.share(key)
        self.caps.guarantee(share, count)
        self.caps.bound(share, most)
        effects: list[Effect] = []
        pool = self.pools.get(key)
        if pool is not None:
            pool.provision.forgive()
            self._trim(pool, now, effects)
            self._adjust(pool, now)
        self.reservations.grant(effects)
        self._feed(now, effects)
        return effects

    def provisioned(self, key: tuple[FunctionName, str]) -> ProvisionedState:
        """How far that has come."""
        requested, pool = self.caps.share(key).guaranteed, self.pools.get(key)
        if pool is None:
            return ProvisionedState(requested)
        allocated = len(pool.provision.members)
        available = allocated - pool.provision.initialising
        return ProvisionedState(requested, allocated, available, pool.provision.problem)

    # -- requests ----------------------------------------------------------------------------------------------

    def arrive(
        self, request_id: str, function: FunctionVersion, now: float, *, reservation_id: str = ""
    ) -> list[Effect] | Refusal:
        """A request; with a granted reservation it is admitted already."""
        pool = self.pools.get(function.key) or self._pool(function)
        if reservation_id:
            self.reservations.redeem(reservation_id, pool.share)
        else:
            reason = self.caps.refusal(pool.share)
            if reason is not None:
                return Refusal(reason)
            self.caps.occupy(pool.share)
        request = Request(request_id, pool, now, now + self.policy.start_timeout_s)
        self.requests[request_id] = request
        effects: list[Effect] = []
        idle = pool.provision.idle or pool.idle
        if idle:
            self._assign(idle.popitem()[1], request, now, effects)
        else:
            pool.waiting.append(request)
            self.deadlines.note(request.deadline)
            self._pump(pool, now, effects)
            if self._missing(pool, now):
                self._order_starts(now, effects)
            if pool.waiting and not pool.members:
                self._give_up_without_memory(pool, now, effects)
        return effects

    def abandon(self, request_id: str, now: float) -> list[Effect]:
        """The caller has gone. What waits is dropped; what runs goes on and is not missed."""
        request = self.requests.get(request_id)
        effects: list[Effect] = []
        if request is not None and not request.environment_id:
            self._end(request, effects, now)
        return effects

    def reserve(self, reservation_id: str, function: FunctionVersion) -> list[Effect]:
        """Ask for a place; `Grant` comes now or later, in order of asking."""
        self.reservations.ask(reservation_id, function)
        effects: list[Effect] = []
        self.reservations.grant(effects)
        return effects

    def release(self, reservation_id: str, now: float) -> list[Effect]:
        """Give an unused reservation back, granted or not."""
        effects: list[Effect] = []
        if self.reservations.take_back(reservation_id):
            self.reservations.grant(effects)
        return effects

    # -- news of environments ------------------------------------------------------------------------------------

    def adopt(
        self,
        environment_id: str,
        runtime: str,
        now: float,
        *,
        working_s: float | None = None,
        provisioned_for: FunctionVersion | None = None,
    ) -> None:
        """A container of an earlier run: it has until the start timeout to show itself. A stem cell counts as one on
        its way, so that none is started in its stead. A function's (`working_s`: its timeout) may be at work and show
        itself only afterwards; it must not hold up the start of others. One that provisioned concurrency kept counts as
        there, so that none is started in its stead."""
        environment = self._add(runtime, now, environment_id=environment_id)
        if provisioned_for is not None:
            environment.expected_by = self._pool(provisioned_for).provision.expected
            environment.expected_by.add(environment_id)
        if working_s is None:
            self.stock.begin(runtime, environment_id)
        else:
            environment.deadline += working_s

    def connected(self, environment_id: str, now: float) -> list[Effect]:
        """A container has started: a stem cell is ready to be specialised, or a function's own runtime has begun."""
        environment = self._living(environment_id)
        if environment is None:
            return []
        if environment.phase is Phase.STOPPING:
            self.late_news += 1
            return []
        effects: list[Effect] = []
        pool = self._pool_of(environment)
        if pool is None:
            environment.move(Signal.CONNECTED, now)
            self.stock.arrived(environment.runtime, environment_id)
        else:
            self.stock.end_direct(environment_id)
            pool.backoff_s = 0.0
            self._begin_init(environment, pool, now)
        self._feed(now, effects)
        return effects

    def adopted(
        self,
        environment_id: str,
        function: FunctionVersion,
        now: float,
        *,
        age_s: float = 0.0,
        was_provisioned: bool = False,
    ) -> list[Effect]:
        """A container of an earlier run shows itself as the environment of a function, `age_s` after it became one."""
        environment = self._living(environment_id)
        if environment is None:
            return []
        self.stock.left_start(environment.runtime, environment_id)
        effects: list[Effect] = []
        self._expect_no_more(environment)
        pool = self.pools.get(function.key)
        full = pool is not None and len(pool.members) >= self.caps.cap(pool.share)
        if pool is None or full or pool.current.revision != function.revision:
            self._stop(environment, StopReason.STALE, now, effects)
        else:
            is_provisioned = was_provisioned and pool.provision.lacking(self._target(pool)) > 0
            self._join(environment, pool, now, is_provisioned=is_provisioned, age_s=age_s)
        return effects

    def ready(self, environment_id: str, now: float) -> list[Effect]:
        """The runtime asks for its next event: its init, or its invocation, is over."""
        environment = self._living(environment_id)
        if environment is None:
            return []
        effects: list[Effect] = []
        pool, phase = self._pool_of(environment), environment.phase
        if phase is Phase.INIT:
            if pool is not None:
                pool.initialising -= 1
                pool.initialised_in(now - environment.since)
                if environment.is_provisioned:
                    pool.provision.problem = None
            environment.move(Signal.READY, now, self._rests_until(environment, now))
            self._place(environment, pool, now, effects)
            if self._unready:
                self._keep_ready(now, effects)
            self._order_starts(now, effects)  # refill what this cold start took
        elif phase in (Phase.BUSY, Phase.RETIRING):
            self._finish(environment, pool, now, effects)
            if phase is Phase.BUSY:
                self._place(environment, pool, now, effects)
        else:  # it was told to go while it was finishing
            self.late_news += 1
        return effects

    def answered(self, environment_id: str, now: float) -> None:
        """A runtime that answers and asks for its next event in two steps has done the first: whoever comes in between
        is better served by it than by another container."""
        environment = self.environments.get(environment_id)
        pool = None if environment is None else self._pool_of(environment)
        if environment is not None and pool is not None and environment.phase is Phase.BUSY:
            pool.finishing[environment_id] = now + FINISHING_S

    def died(self, environment_id: str, now: float) -> list[Effect]:
        """The container is gone, and its places with it."""
        environment = self._living(environment_id)
        if environment is None:
            return []
        effects: list[Effect] = []
        self._leave_start(environment, now, has_failed=True)
        self.memory.vacate(environment_id)
        self._leave(environment)
        self._settle(environment, now, effects, event_unread=False)
        environment.move(Signal.DIED, now)
        del self.environments[environment_id]
        self.deadlines.note(self.stock.paused_until if self.stock.paused_until > now else NEVER)
        self._feed(now, effects)
        return effects

    def cannot_start(self, environment_id: str, now: float) -> list[Effect]:
        """Its function's own container cannot be started, now or later (its image is gone), and is gone itself: nobody
        waits for the next attempt."""
        environment = self.environments.get(environment_id)
        pool = None if environment is None else self._pool_of(environment)
        effects: list[Effect] = []
        if pool is not None and pool.initialising == 1 and not pool.busy:
            for request in list(pool.waiting):
                self._conclude(request, Verdict.NO_ENVIRONMENT, effects, now)
        return effects + self.died(environment_id, now)

    def failed(self, environment_id: str, verdict: Verdict, now: float, *, event_unread: bool = False) -> list[Effect]:
        """The environment broke (its runtime exited, its init failed, its container died): whoever it holds up is
        told, and it goes. An event it had not read goes to another environment at once."""
        environment = self._living(environment_id)
        if environment is None or environment.phase is Phase.STOPPING:
            return []
        effects: list[Effect] = []
        pool = self._pool_of(environment)
        self._note_failure(environment, pool, verdict, now)
        if environment.phase in UNDER_WAY and pool is not None and pool.waiting:
            self._conclude(pool.waiting[0], verdict, effects, now, environment_id=environment_id)
        else:
            self._settle(environment, now, effects, event_unread=event_unread)
        exited = verdict is Verdict.DIED
        self._stop(environment, StopReason.EXITED if exited else StopReason.INIT_FAILED, now, effects)
        self._feed(now, effects)
        return effects

    # -- time ----------------------------------------------------------------------------------------------------

    def tick(self, now: float) -> list[Effect]:
        """Do what is due, and find the next deadline."""
        effects: list[Effect] = []
        self.deadlines.begin_anew()
        for environment in list(self.environments.values()):
            if environment.deadline <= now:
                self._expire(environment, now, effects)
            self.deadlines.note(environment.deadline)
        for pool in list(self._hungry):
            for request in [r for r in pool.waiting if r.deadline <= now]:
                self._conclude(request, Verdict.NO_ENVIRONMENT, effects, now)
            if pool.waiting:
                self.deadlines.note(min(r.deadline for r in pool.waiting))
        self._feed(now, effects)
        for environment_id in [] if self._closing else self.stock.surplus(now):
            self._stop(self.environments[environment_id], StopReason.SURPLUS, now, effects)
        return effects

    def observe(self, *, host_is_busy: bool) -> None:
        """How busy the processors are; the next decisions take it into account."""
        self.host = Host(self.policy.processors, host_is_busy)

    def close(self, now: float) -> list[Effect]:
        """Stop everything: no more starts; whoever waits or runs is told."""
        self._closing = True
        effects: list[Effect] = []
        for request in list(self.requests.values()):
            self._conclude(request, Verdict.SHUTDOWN, effects, now, environment_id=request.environment_id)
        for environment in list(self.environments.values()):
            self._stop(environment, StopReason.SHUTDOWN, now, effects)
        return effects

    # -- steps -----------------------------------------------------------------------------------------------------

    def _expire(self, environment: Environment, now: float, effects: list[Effect]) -> None:
        match environment.phase:
            case Phase.BUSY | Phase.RETIRING:
                self._time_out(environment, now, effects)
            case Phase.INIT:
                self._time_out_init(environment, now, effects)
            case Phase.IDLE:
                self._end_rest(environment, now, effects)
            case Phase.STARTING:
                self._stop(environment, StopReason.START_FAILED, now, effects)
            case Phase.STOPPING:
                environment.deadline = now + STUCK_S
                effects.append(Stop(environment.id, StopReason.STUCK))
            case Phase.STEM | Phase.GONE:
                raise AssertionError(f"no deadline belongs to {environment!r}")

    def _time_out(self, environment: Environment, now: float, effects: list[Effect]) -> None:
        if environment.request_id is not None:
            request = self.requests[environment.request_id]
            self._conclude(request, Verdict.TIMED_OUT, effects, now, environment_id=environment.id)
        self._stop(environment, StopReason.TIMEOUT, now, effects)

    def _time_out_init(self, environment: Environment, now: float, effects: list[Effect]) -> None:
        pool = self._pool_of(environment)
        self._note_failure(environment, pool, Verdict.INIT_TIMED_OUT, now)
        if pool is not None and pool.waiting:
            self._conclude(pool.waiting[0], Verdict.INIT_TIMED_OUT, effects, now, environment_id=environment.id)
        self._stop(environment, StopReason.INIT_TIMEOUT, now, effects)

    def _pump(self, pool: Pool, now: float, effects: list[Effect]) -> None:
        """Serve the pool's waiting requests: idle ones first, then stem cells, then new containers."""
        while pool.waiting and (idle := pool.provision.idle or pool.idle):
            self._assign(idle.popitem()[1], pool.waiting.popleft(), now, effects)
        if not pool.waiting:
            self._hungry.pop(pool, None)
            return
        self._hungry[pool] = None
        for _ in range(self._missing(pool, now)):
            if not self._grow(pool, now, effects):
                return

    def _grow(self, pool: Pool, now: float, effects: list[Effect], *, is_provisioned: bool = False) -> bool:
        """Make a stem cell an environment of the pool, if there is one and memory for it."""
        stem = self._interpreter(pool)
        if stem is None or not self.stock.has_ready(stem):
            return False
        if not self._make_room(pool.current.memory_mib - STEM_MIB, now, effects):
            return False
        environment = self.environments[self.stock.take(stem, now)]
        self._join(environment, pool, now, is_provisioned=is_provisioned)
        effects.append(Specialise(environment.id, pool.current, is_provisioned))
        return True

    def _feed(self, now: float, effects: list[Effect]) -> None:
        """Offer what has come free to every pool that waits, the one that has waited longest first."""
        for pool in sorted(self._hungry, key=lambda p: p.waiting[0].since if p.waiting else now):
            self._pump(pool, now, effects)
        if self._unready:
            self._keep_ready(now, effects)
        self._order_starts(now, effects)

    def _keep_ready(self, now: float, effects: list[Effect]) -> None:
        """Start what provisioned concurrency lacks (rule 6), no more at once than container starts."""
        for pool in list(self._unready):
            provision, target = pool.provision, self._target(pool)
            if provision.lacking(target) <= 0 and not provision.initialising and not provision.expected:
                del self._unready[pool]
            elif now < max(provision.retry_at, pool.paused_until):
                self.deadlines.note(max(provision.retry_at, pool.paused_until))
        for pool in self._unready:
            for _ in range(self._startable(pool, now, effects)):
                if not self._grow(pool, now, effects, is_provisioned=True):
                    break

    def _startable(self, pool: Pool, now: float, effects: list[Effect]) -> int:
        """How many provisioned environments the pool may start now. An ordinary idle one gives up its place."""
        wanted = pool.provision.startable(self._target(pool), now)
        wanted = min(wanted, self.policy.parallel_starts - sum(p.provision.initialising for p in self._unready))
        if wanted <= 0 or self._closing or now < pool.paused_until:
            return 0
        if self.memory.is_hopeless(pool.current.memory_mib, self._evictable_mib()):
            pool.provision.problem = ProvisioningProblem.NO_MEMORY
            return 0
        room = self.caps.cap(pool.share) - len(pool.members)
        leaving = sum(environment.phase is Phase.STOPPING for environment in pool.members.values())
        for environment in list(pool.idle.values())[: max(0, wanted - room - leaving)]:
            self._stop(environment, StopReason.SURPLUS, now, effects)
        return max(0, min(wanted, room))

    def _target(self, pool: Pool) -> int:
        """How many are to be provisioned. A cap of the function's own is heeded at once; that of the account only
        where they are started, so that one function's reservation does not turn over those of all others."""
        caps = (pool.share.guaranteed, pool.quota.reserved, pool.share.most)
        return min(cap for cap in caps if cap is not None)

    def _trim(self, pool: Pool, now: float, effects: list[Effect]) -> None:
        """The cap may have been lowered: idle environments beyond it go."""
        excess = max(0, len(pool.members) - self.caps.cap(pool.share))
        for environment in [*pool.idle.values(), *pool.provision.idle.values()][:excess]:
            self._stop(environment, StopReason.SURPLUS, now, effects)

    def _adjust(self, pool: Pool, now: float) -> None:
        """The target has changed: what is too many becomes ordinary, the idle ones first."""
        provision = pool.provision
        surplus = max(0, -provision.lacking(self._target(pool)))
        for environment in [*provision.idle.values(), *provision.members.values()][:surplus]:
            self._make_ordinary(environment, pool, now)
        self._unready[pool] = None

    def _make_ordinary(self, environment: Environment, pool: Pool, now: float) -> None:
        if not environment.is_provisioned:  # named twice among the surplus
            return
        environment.is_provisioned = False
        self._unkeep(environment, pool)
        if environment.phase is Phase.IDLE:
            pool.idle[environment.id] = environment
            environment.deadline = self._rests_until(environment, now)
            self.deadlines.note(environment.deadline)

    def _unkeep(self, environment: Environment, pool: Pool) -> None:
        """It counts no longer among the provisioned ones; if it was one, it is to be replaced."""
        pool.provision.idle.pop(environment.id, None)
        if pool.provision.members.pop(environment.id, None) is not None:
            self._unready[pool] = None

    def _note_failure(self, environment: Environment, pool: Pool | None, verdict: Verdict, now: float) -> None:
        """A provisioned environment broke before it was of any use. One that breaks at work is replaced at once: how
        often, requests bound."""
        if pool is not None and environment.is_provisioned and environment.phase in (Phase.INIT, Phase.IDLE):
            is_ours = verdict is Verdict.NO_ENVIRONMENT
            problem = ProvisioningProblem.PLATFORM if is_ours else ProvisioningProblem.INIT_FAILURE
            pool.provision.failed(problem, now)

    def _missing(self, pool: Pool, now: float) -> int:
        """How many environments the pool should get now (rule 3), as far as its cap allows (rule 2)."""
        lacking = pool.lacking(now)
        if lacking <= 0 or self._closing:
            if pool.waiting:
                self.deadlines.note(min((until for until in pool.finishing.values() if until > now), default=NEVER))
            return 0
        if now < pool.paused_until:
            self.deadlines.note(pool.paused_until)
            return 0
        if now < pool.patient_until and lacking <= pool.patient_with:
            self.deadlines.note(pool.patient_until)
            return 0
        room = self.caps.cap(pool.share) - len(pool.members)
        if room <= 0:
            return 0
        stem = self._interpreter(pool)
        has_stem = stem is not None and self.stock.has_ready(stem)
        growth = decide(pool.load(now), self.host, has_stem=has_stem)
        if growth.ask_again_s is not None:
            pool.patient_until, pool.patient_with = now + growth.ask_again_s, lacking
            self.deadlines.note(pool.patient_until)
        return min(growth.more, room)

    def _order_starts(self, now: float, effects: list[Effect]) -> None:
        if self._closing:
            return
        missing = {pool: more for pool in self._hungry if (more := self._missing(pool, now))}
        is_provisioned = not missing
        if is_provisioned:
            missing = {pool: more for pool in self._unready if (more := self._startable(pool, now, effects))}
        demand, alone = self._demand(missing)
        for wanted in self.stock.starts(demand, now, host_is_busy=self.host.is_busy):
            if wanted in alone:
                self._start_for(alone[wanted], now, effects, is_provisioned=is_provisioned)
            elif not self._start_stem(wanted, now, effects):
                return
        if self.stock.paused_until > now:
            self.deadlines.note(self.stock.paused_until)

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
        if not self._make_room(STEM_MIB, now, effects):
            return False
        environment = self._add(runtime, now)
        self.stock.begin(runtime, environment.id)
        effects.append(StartStem(environment.id, runtime))
        return True

    def _start_for(self, pool: Pool, now: float, effects: list[Effect], *, is_provisioned: bool) -> None:
        """A container for this pool alone; if there is no room, a later event tries again."""
        function = pool.current
        if not self._make_room(function.memory_mib, now, effects):
            return
        environment = self._add(function.runtime, now, mib=function.memory_mib)
        self._enlist(environment, pool, now, is_provisioned=is_provisioned)
        self.stock.begin_direct(environment.id)
        effects.append(StartFor(environment.id, function, is_provisioned))

    def _leave_start(self, environment: Environment, now: float, *, has_failed: bool) -> None:
        """It is not on its way any more. Whose start has failed waits a little before the next one: all stem cells, or
        this pool alone."""
        pool = self._pool_of(environment)
        if pool is None:
            self.stock.lost(environment.runtime, environment.id, now)
        elif has_failed and environment.phase is Phase.STARTING:
            pool.start_failed(now)
            self.deadlines.note(pool.paused_until)
            if environment.is_provisioned:
                pool.provision.failed(ProvisioningProblem.PLATFORM, now)
        self.stock.end_direct(environment.id)

    def _make_room(self, mib: int, now: float, effects: list[Effect]) -> bool:
        """True when that much memory is free now. Otherwise the idlest environments are told to go, and a later
        event tries again."""
        for environment_id in self.memory.evict(mib, self._idlest_first()):
            self._stop(self.environments[environment_id], StopReason.EVICTED, now, effects)
        return self.memory.fits(mib)

    def _idlest_first(self) -> Iterator[str]:
        idle = [e for pool in self.pools.values() for e in pool.idle.values()]
        return (e.id for e in sorted(idle, key=lambda e: e.since))

    def _give_up_without_memory(self, pool: Pool, now: float, effects: list[Effect]) -> None:
        """Nothing runs, nothing is on its way, nothing can be evicted: better an answer now than a wait in vain."""
        if self.memory.is_hopeless(pool.current.memory_mib, self._evictable_mib()):
            for request in list(pool.waiting):
                self._conclude(request, Verdict.NO_MEMORY, effects, now)

    def _evictable_mib(self) -> int:
        return sum(e.function.memory_mib for p in self.pools.values() for e in p.idle.values() if e.function)

    def _assign(self, environment: Environment, request: Request, now: float, effects: list[Effect]) -> None:
        function = environment.function
        assert function is not None
        environment.move(Signal.ASSIGNED, now, now + function.timeout_s)
        environment.request_id = request.id
        request.environment_id = environment.id
        self.deadlines.note(environment.deadline)
        effects.append(Dispatch(environment.id, request.id))

    def _finish(self, environment: Environment, pool: Pool | None, now: float, effects: list[Effect]) -> None:
        if pool is not None:
            pool.finishing.pop(environment.id, None)
            pool.took(now - environment.since, now, is_first=not environment.has_run)
        environment.has_run = True
        request = self.requests.get(environment.request_id or "")
        environment.request_id = None
        if environment.phase is Phase.RETIRING:
            self._stop(environment, StopReason.STALE, now, effects, signal=Signal.FINISHED)
        else:
            environment.move(Signal.FINISHED, now, self._rests_until(environment, now))
        if request is not None:
            self._end(request, effects, now)

    def _place(self, environment: Environment, pool: Pool | None, now: float, effects: list[Effect]) -> None:
        """Give an idle environment its next request, or let it idle; a stale one goes instead."""
        if pool is None or not pool.is_current(environment):
            self._stop(environment, StopReason.STALE, now, effects)
        elif now >= environment.expires:
            self._stop(environment, StopReason.AGED, now, effects)
        elif pool.waiting:
            self._assign(environment, pool.waiting.popleft(), now, effects)
            if not pool.waiting:
                self._hungry.pop(pool, None)
        else:
            idle = pool.provision.idle if environment.is_provisioned else pool.idle
            idle[environment.id] = environment
            self.deadlines.note(environment.deadline)
            if self._hungry:  # another function may be waiting for the memory this one can give up
                self._feed(now, effects)

    def _rests_until(self, environment: Environment, now: float) -> float:
        """How long it may be idle from now on."""
        if environment.is_provisioned:
            return environment.expires - self.policy.renewal_s
        return min(now + self.policy.idle_timeout_s, environment.expires)

    def _end_rest(self, environment: Environment, now: float, effects: list[Effect]) -> None:
        """An idle environment's time is up."""
        pool = self._pool_of(environment)
        if now >= environment.expires:
            self._stop(environment, StopReason.AGED, now, effects)
        elif environment.is_provisioned and pool is not None:
            self._make_ordinary(environment, pool, now)
        else:
            self._stop(environment, StopReason.IDLE, now, effects)

    def _join(
        self, environment: Environment, pool: Pool, now: float, *, is_provisioned: bool = False, age_s: float = 0.0
    ) -> None:
        self._enlist(environment, pool, now, is_provisioned=is_provisioned)
        self._begin_init(environment, pool, now)
        environment.expires -= age_s
        self.memory.occupy(environment.id, pool.current.memory_mib)

    def _enlist(self, environment: Environment, pool: Pool, now: float, *, is_provisioned: bool) -> None:
        """It belongs to this pool from now on."""
        environment.function = pool.current
        environment.is_provisioned = is_provisioned
        pool.members[environment.id] = environment
        pool.grown_at = now
        pool.initialising += 1
        if is_provisioned:
            pool.provision.members[environment.id] = environment

    def _begin_init(self, environment: Environment, pool: Pool, now: float) -> None:
        limit = self.policy.provisioned_init_timeout_s if environment.is_provisioned else self.policy.init_timeout_s
        environment.expires = now + self.policy.environment_lifetime_s
        environment.move(Signal.SPECIALISED, now, now + max(limit, float(pool.current.timeout_s)))
        self.deadlines.note(environment.deadline)

    def _leave(self, environment: Environment) -> None:
        """Take the environment out of its pool's books."""
        self._expect_no_more(environment)
        pool = self._pool_of(environment)
        if pool is not None and pool.members.pop(environment.id, None) is not None:
            pool.idle.pop(environment.id, None)
            pool.finishing.pop(environment.id, None)
            self._unkeep(environment, pool)
            pool.initialising -= environment.phase in UNDER_WAY
            pool.patient_until = 0.0

    def _settle(self, environment: Environment, now: float, effects: list[Effect], *, event_unread: bool) -> None:
        """A dead environment's request: elsewhere if it was never read, otherwise its end."""
        request = self.requests.get(environment.request_id or "")
        environment.request_id = None
        if request is None:
            return
        is_served = not self._closing and self.pools.get(request.pool.current.key) is request.pool
        if event_unread and is_served and request.repeats < MAX_REPEATS:
            request.repeats += 1
            request.environment_id = ""
            request.deadline = now + self.policy.start_timeout_s
            request.pool.waiting.appendleft(request)
            self._hungry[request.pool] = None
            self.deadlines.note(request.deadline)
        else:
            self._conclude(request, Verdict.DIED, effects, now, environment_id=environment.id)

    def _stop(
        self,
        environment: Environment,
        reason: StopReason,
        now: float,
        effects: list[Effect],
        *,
        signal: Signal = Signal.STOP,
    ) -> None:
        """Order the removal. The environment keeps counting until its container is gone (rule 2)."""
        if environment.phase is Phase.STOPPING:
            return
        self._expect_no_more(environment)
        pool = self._pool_of(environment)
        if pool is not None:
            pool.idle.pop(environment.id, None)
            self._unkeep(environment, pool)
            pool.initialising -= environment.phase in UNDER_WAY
        self._leave_start(environment, now, has_failed=reason is StopReason.START_FAILED)
        environment.move(signal, now, now + STUCK_S)
        self.memory.leaves(environment.id)
        self.deadlines.note(environment.deadline)
        effects.append(Stop(environment.id, reason))

    def _drop(self, key: tuple[FunctionName, str], now: float, effects: list[Effect]) -> None:
        pool = self.pools[key]
        for request in list(pool.waiting):
            self._conclude(request, Verdict.DELETED, effects, now)
        self._hungry.pop(pool, None)
        self._retire(pool, now, effects, everything=True)
        self._unready.pop(pool, None)
        del self.pools[key]

    def _retire(self, pool: Pool, now: float, effects: list[Effect], *, everything: bool = False) -> None:
        for environment in list(pool.members.values()):
            if pool.is_current(environment) and not everything:
                continue
            if environment.phase is Phase.BUSY:
                environment.move(Signal.RETIRE, environment.since, environment.deadline)
                self._unkeep(environment, pool)
            elif environment.phase is Phase.IDLE or environment.phase in UNDER_WAY:
                self._stop(environment, StopReason.STALE, now, effects)

    def _conclude(
        self,
        request: Request,
        verdict: Verdict,
        effects: list[Effect],
        now: float,
        *,
        environment_id: str = "",
    ) -> None:
        effects.append(Conclude(request.id, verdict, environment_id))
        self._end(request, effects, now)

    def _end(self, request: Request, effects: list[Effect], now: float) -> None:
        """The request is over: its place is free for whoever waits for one."""
        del self.requests[request.id]
        if not request.environment_id:
            request.pool.waiting.remove(request)
            if not request.pool.waiting:
                self._hungry.pop(request.pool, None)
        else:
            environment = self.environments.get(request.environment_id)
            if environment is not None and environment.request_id == request.id:
                environment.request_id = None
        self.caps.vacate(request.pool.share)
        if self.reservations.is_anybody_waiting:
            self.reservations.grant(effects)

    def _expect_no_more(self, environment: Environment) -> None:
        """An adopted environment has shown itself, or never will."""
        if environment.expected_by is not None:
            environment.expected_by.discard(environment.id)
            environment.expected_by = None

    def _interpreter(self, pool: Pool) -> str | None:
        """Whose stem cells can become this pool's environments; None: each is started for it alone."""
        return None if pool.current.image is not None else self._interpreter_of(pool.current.runtime)

    def _pool(self, function: FunctionVersion) -> Pool:
        pool = self.pools.get(function.key)
        if pool is None:
            pool = self.pools[function.key] = Pool(self.caps.share(function.key), function)
            if pool.share.guaranteed:
                self._unready[pool] = None
        return pool

    def _pool_of(self, environment: Environment) -> Pool | None:
        pool = self.pools.get(environment.function.key) if environment.function else None
        return pool if pool is not None and environment.id in pool.members else None

    def _living(self, environment_id: str) -> Environment | None:
        environment = self.environments.get(environment_id)
        if environment is None:
            self.late_news += 1
        return environment

    def _add(self, runtime: str, now: float, *, environment_id: str = "", mib: int = STEM_MIB) -> Environment:
        environment = Environment(environment_id or self._new_id(), runtime, now, now + self.policy.start_timeout_s)
        self.environments[environment.id] = environment
        self.memory.occupy(environment.id, mib)
        self.deadlines.note(environment.deadline)
        return environment

    def check(self) -> None:
        """Every invariant, for tests and after each event in them."""
        for pool in self.pools.values():
            pool.check()
            assert bool(pool.waiting) == (pool in self._hungry), pool
            assert len(pool.provision.members) <= self._target(pool), pool
            assert pool in self._unready or not pool.provision.lacking(self._target(pool)), pool
        self.caps.check(Counter([r.pool.share for r in self.requests.values()] + self.reservations.held))
        for environment in self.environments.values():
            if environment.request_id is not None:
                assert self.requests[environment.request_id].environment_id == environment.id
            assert environment.deadline >= self.deadlines.soonest, environment
