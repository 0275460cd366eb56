"""The scheduler's decisions: every environment, every admitted request, every place, in one object with one owner.

Each method is one event: it changes the state and returns what is to be done about it. Nothing here waits, reads a
clock or touches the world. The engine feeds events and performs effects.

It is long because all events stand here, and one event may touch everything and must leave the whole consistent: so
this says which parts are told what, in which order. How they do it is theirs, and none of them knows the fleet:
`roster`: which environments there are, and to which pool they belong; what provisioned concurrency keeps of them.
`admissions`: the requests that wait or are at work. `starts`: what is made for those who wait, on top of both.
Beneath these: caps, reservations, growth, stock, memory, provision, deadlines.

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

from collections.abc import Callable

from hearth.core.function import FunctionName, FunctionVersion
from hearth.core.provisioning import ProvisionedState
from hearth_scheduler.core.admissions import Admissions
from hearth_scheduler.core.caps import Caps
from hearth_scheduler.core.deadlines import Deadlines
from hearth_scheduler.core.effects import Effect, Refusal, Stop, StopReason, Verdict
from hearth_scheduler.core.environment import NEVER, Environment, Phase, Signal
from hearth_scheduler.core.growth import Host
from hearth_scheduler.core.policy import Policy
from hearth_scheduler.core.pool import FINISHING_S, UNDER_WAY, Pool
from hearth_scheduler.core.reservations import Reservations
from hearth_scheduler.core.roster import STUCK_S, Roster
from hearth_scheduler.core.starts import Starts
from hearth_scheduler.core.stock import Stock


class Fleet:
    """See the module. `new_id` gives the ids of environments: chance is an argument. `interpreter_of` says what runs a
    runtime identifier, by the name under which its stem cells are kept; None: it has none (rule 5). Others may read
    what stands here, and change nothing."""

    def __init__(
        self,
        policy: Policy,
        stem_cells: dict[str, int],
        new_id: Callable[[], str],
        interpreter_of: Callable[[str], str | None] = str,
    ) -> None:
        self.policy = policy
        self.deadlines = Deadlines()
        self.caps = Caps(policy.account_concurrency)
        self.reservations = Reservations(self.caps)
        self.stock = Stock(stem_cells, ceiling=policy.stem_cells_max, parallel_starts=policy.parallel_starts)
        self.roster = Roster(policy, self.caps, self.stock, deadlines=self.deadlines, new_id=new_id)
        self.admissions = Admissions(
            policy, self.roster, self.caps, reservations=self.reservations, deadlines=self.deadlines
        )
        self.starts = Starts(
            policy, self.roster, self.admissions, self.stock, deadlines=self.deadlines, interpreter_of=interpreter_of
        )
        self.environments = self.roster.environments
        self.pools = self.roster.pools
        self.memory = self.roster.memory
        self.requests = self.admissions.requests
        self.late_news = 0

    # -- functions ---------------------------------------------------------------------------------------------

    def configure(self, function: FunctionVersion, now: float) -> list[Effect]:
        """This is the current revision now."""
        effects: list[Effect] = []
        pool = self.roster.pool(function)
        is_new = pool.current.revision != function.revision
        pool.current = function
        if is_new:
            pool.forget_measures()
            pool.provision.forgive()
            self.roster.retire(pool, now, effects)
        if is_new or pool in self.roster.unready:
            self.starts.feed(now, effects)
        return effects

    def forget(self, name: FunctionName, now: float) -> list[Effect]:
        """The function was deleted: what waits is concluded, what runs finishes, the rest goes."""
        effects: list[Effect] = []
        for key in [key for key in self.pools if key[0] == name]:
            self._drop(self.pools[key], now, effects)
        self.caps.forget(name)
        self.starts.feed(now, effects)
        return effects

    def withdraw(self, key: tuple[FunctionName, str], now: float) -> list[Effect]:
        """One version was deleted: the same for its pool alone."""
        effects: list[Effect] = []
        if key in self.pools:
            self._drop(self.pools[key], now, effects)
        self.caps.withdraw(key)
        self.starts.feed(now, effects)
        return effects

    def limit(self, name: FunctionName, reserved: int | None, now: float) -> list[Effect]:
        """Set or lift the function's reserved concurrency."""
        self.caps.limit(name, reserved)
        effects: list[Effect] = []
        for pool in [pool for key, pool in self.pools.items() if key[0] == name]:
            self.roster.trim(pool, now, effects)
            self.roster.adjust(pool, now)
        self.reservations.grant(effects)
        self.starts.feed(now, effects)
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
            self.roster.trim(pool, now, effects)
            self.roster.adjust(pool, now)
        self.reservations.grant(effects)
        self.starts.feed(now, effects)
        return effects

    def provisioned(self, key: tuple[FunctionName, str]) -> ProvisionedState:
        """How far that has come."""
        requested, pool = self.caps.share(key).guaranteed, self.pools.get(key)
        return ProvisionedState(requested) if pool is None else pool.provision.state(requested)

    # -- requests ----------------------------------------------------------------------------------------------

    def arrive(
        self, request_id: str, function: FunctionVersion, now: float, *, reservation_id: str = ""
    ) -> list[Effect] | Refusal:
        """A request; with a granted reservation it is admitted already."""
        pool = self.pools.get(function.key) or self.roster.pool(function)
        request = self.admissions.admit(request_id, pool, now, reservation_id)
        if isinstance(request, Refusal):
            return request
        effects: list[Effect] = []
        idle = pool.provision.idle or pool.idle
        if idle:
            self.admissions.assign(idle.popitem()[1], request, now, effects)
        else:
            self.admissions.wait(request)
            self.starts.feed_newcomer(pool, now, effects)
        return effects

    def abandon(self, request_id: str, now: float) -> list[Effect]:
        """The caller has gone. What waits is dropped; what runs goes on and is not missed."""
        request = self.requests.get(request_id)
        effects: list[Effect] = []
        if request is not None and not request.environment_id:
            self.admissions.end(request, effects)
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
        environment = self.roster.add(runtime, now, environment_id=environment_id)
        if provisioned_for is not None:
            environment.expected_by = self.roster.pool(provisioned_for).provision.expected
            environment.expected_by.add(environment_id)
        if working_s is None:
            self.stock.begin(runtime, environment_id)
        else:
            environment.deadline += working_s

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
        self.roster.expect_no_more(environment)
        pool = self.pools.get(function.key)
        if pool is None or self.roster.room(pool) <= 0 or pool.current.revision != function.revision:
            self.roster.stop(environment, StopReason.STALE, now, effects)
        else:
            is_provisioned = was_provisioned and pool.provision.lacking(self.roster.target(pool)) > 0
            self.roster.join(environment, pool, now, is_provisioned=is_provisioned, age_s=age_s)
        return effects

    def connected(self, environment_id: str, now: float) -> list[Effect]:
        """A container has started: a stem cell is ready to be specialised, or a function's own runtime has begun."""
        environment = self._living(environment_id)
        if environment is None:
            return []
        if environment.phase is Phase.STOPPING:
            self.late_news += 1
            return []
        effects: list[Effect] = []
        pool = self.roster.pool_of(environment)
        if pool is None:
            environment.move(Signal.CONNECTED, now)
            self.stock.arrived(environment.runtime, environment_id)
        else:
            self.stock.end_direct(environment_id)
            pool.backoff_s = 0.0
            self.roster.begin_init(environment, pool, now)
        self.starts.feed(now, effects)
        return effects

    def ready(self, environment_id: str, now: float) -> list[Effect]:
        """The runtime asks for its next event: its init, or its invocation, is over."""
        environment = self._living(environment_id)
        if environment is None:
            return []
        effects: list[Effect] = []
        pool, phase = self.roster.pool_of(environment), environment.phase
        if phase is Phase.INIT:
            self._end_init(environment, pool, now, effects)
        elif phase is Phase.BUSY or phase is Phase.RETIRING:
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
        pool = None if environment is None else self.roster.pool_of(environment)
        if environment is not None and pool is not None and environment.phase is Phase.BUSY:
            pool.finishing[environment_id] = now + FINISHING_S

    def died(self, environment_id: str, now: float) -> list[Effect]:
        """The container is gone, and its places with it."""
        environment = self._living(environment_id)
        if environment is None:
            return []
        effects: list[Effect] = []
        self.roster.leave(environment, now)
        self.admissions.settle(environment, now, effects, may_repeat=False)
        self.deadlines.note(self.stock.paused_until if self.stock.paused_until > now else NEVER)
        self.starts.feed(now, effects)
        return effects

    def cannot_start(self, environment_id: str, now: float) -> list[Effect]:
        """Its function's own container cannot be started, now or later (its image is gone), and is gone itself: nobody
        waits for the next attempt."""
        environment = self.environments.get(environment_id)
        pool = None if environment is None else self.roster.pool_of(environment)
        effects: list[Effect] = []
        if pool is not None and pool.initialising == 1 and not pool.busy:
            self.admissions.give_up(pool, Verdict.NO_ENVIRONMENT, effects)
        return effects + self.died(environment_id, now)

    def failed(self, environment_id: str, verdict: Verdict, now: float, *, event_unread: bool = False) -> list[Effect]:
        """The environment broke (its runtime exited, its init failed, its container died): whoever it holds up is
        told, and it goes. An event it had not read goes to another environment at once."""
        environment = self._living(environment_id)
        if environment is None or environment.phase is Phase.STOPPING:
            return []
        effects: list[Effect] = []
        pool = self.roster.pool_of(environment)
        self.roster.note_failure(environment, pool, verdict, now)
        if environment.phase in UNDER_WAY and pool is not None and pool.waiting:
            self.admissions.conclude(pool.waiting[0], verdict, effects, environment_id=environment_id)
        else:
            may_repeat = event_unread and not self.starts.is_closed
            self.admissions.settle(environment, now, effects, may_repeat=may_repeat)
        exited = verdict is Verdict.DIED
        self.roster.stop(environment, StopReason.EXITED if exited else StopReason.INIT_FAILED, now, effects)
        self.starts.feed(now, effects)
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
        self.admissions.expire(now, effects)
        self.starts.feed(now, effects)
        for environment_id in [] if self.starts.is_closed else self.stock.surplus(now):
            self.roster.stop(self.environments[environment_id], StopReason.SURPLUS, now, effects)
        return effects

    def observe(self, *, host_is_busy: bool) -> None:
        """How busy the processors are; the next decisions take it into account."""
        self.starts.host = Host(self.policy.processors, host_is_busy)

    def close(self, now: float) -> list[Effect]:
        """Stop everything: no more starts; whoever waits or runs is told."""
        self.starts.is_closed = True
        effects: list[Effect] = []
        for request in list(self.requests.values()):
            self.admissions.conclude(request, Verdict.SHUTDOWN, effects, environment_id=request.environment_id)
        for environment in list(self.environments.values()):
            self.roster.stop(environment, StopReason.SHUTDOWN, now, effects)
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
                self.roster.stop(environment, StopReason.START_FAILED, now, effects)
            case Phase.STOPPING:
                environment.deadline = now + STUCK_S
                effects.append(Stop(environment.id, StopReason.STUCK))
            case Phase.STEM | Phase.GONE:
                raise AssertionError(f"no deadline belongs to {environment!r}")

    def _time_out(self, environment: Environment, now: float, effects: list[Effect]) -> None:
        if environment.request_id is not None:
            request = self.requests[environment.request_id]
            self.admissions.conclude(request, Verdict.TIMED_OUT, effects, environment_id=environment.id)
        self.roster.stop(environment, StopReason.TIMEOUT, now, effects)

    def _time_out_init(self, environment: Environment, now: float, effects: list[Effect]) -> None:
        pool, verdict = self.roster.pool_of(environment), Verdict.INIT_TIMED_OUT
        self.roster.note_failure(environment, pool, verdict, now)
        if pool is not None and pool.waiting:
            self.admissions.conclude(pool.waiting[0], verdict, effects, environment_id=environment.id)
        self.roster.stop(environment, StopReason.INIT_TIMEOUT, now, effects)

    def _end_rest(self, environment: Environment, now: float, effects: list[Effect]) -> None:
        """An idle environment's time is up."""
        pool = self.roster.pool_of(environment)
        if now >= environment.expires:
            self.roster.stop(environment, StopReason.AGED, now, effects)
        elif environment.is_provisioned and pool is not None:
            self.roster.make_ordinary(environment, pool, now)
        else:
            self.roster.stop(environment, StopReason.IDLE, now, effects)

    def _end_init(self, environment: Environment, pool: Pool | None, now: float, effects: list[Effect]) -> None:
        if pool is not None:
            pool.initialising -= 1
            pool.initialised_in(now - environment.since)
            if environment.is_provisioned:
                pool.provision.problem = None
        environment.move(Signal.READY, now, self.roster.rests_until(environment, now))
        self._place(environment, pool, now, effects)
        self.starts.keep_ready(now, effects)
        self.starts.order(now, effects)  # refill what this cold start took

    def _finish(self, environment: Environment, pool: Pool | None, now: float, effects: list[Effect]) -> None:
        if pool is not None:
            pool.finishing.pop(environment.id, None)
            pool.took(now - environment.since, now, is_first=not environment.has_run)
        environment.has_run = True
        request = self.requests.get(environment.request_id or "")
        environment.request_id = None
        if environment.phase is Phase.RETIRING:
            self.roster.stop(environment, StopReason.STALE, now, effects, signal=Signal.FINISHED)
        else:
            environment.move(Signal.FINISHED, now, self.roster.rests_until(environment, now))
        if request is not None:
            self.admissions.end(request, effects)

    def _place(self, environment: Environment, pool: Pool | None, now: float, effects: list[Effect]) -> None:
        """Give an idle environment its next request, or let it idle; a stale one goes instead."""
        if pool is None or not pool.is_current(environment):
            self.roster.stop(environment, StopReason.STALE, now, effects)
        elif now >= environment.expires:
            self.roster.stop(environment, StopReason.AGED, now, effects)
        elif pool.waiting:
            self.admissions.assign_next(environment, pool, now, effects)
        else:
            self.roster.lie_down(environment, pool)
            if self.admissions.hungry:  # another function may be waiting for the memory this one can give up
                self.starts.feed(now, effects)

    def _drop(self, pool: Pool, now: float, effects: list[Effect]) -> None:
        """Its version is gone."""
        self.admissions.give_up(pool, Verdict.DELETED, effects)
        self.roster.dissolve(pool, now, effects)

    def _living(self, environment_id: str) -> Environment | None:
        environment = self.environments.get(environment_id)
        if environment is None:
            self.late_news += 1
        return environment
