"""The scheduler at work: feeds the fleet with events and does what it decides.

The fleet is changed here and nowhere else. An event comes in (a request, a frame from a container, a deadline, the end
of a piece of work); the fleet answers with effects; each is performed (`performer.py`).

The path of a warm invocation: `invoke` → fleet → `Dispatch` → one send; one receive → `answers` → the caller's future;
`asked_next` → fleet. No Docker, no disk, no lock, no task is on it.
"""

import asyncio
import itertools
import time
from collections import Counter
from collections.abc import Callable, Iterable

import structlog

from hearth.core.errors import ServiceError
from hearth.core.function import FunctionName, FunctionVersion
from hearth.core.invocation import Invocation, Outcome, PlatformFailed, Throttled
from hearth.core.opt_trees import opt_name
from hearth.core.provisioning import ProvisionedState
from hearth.ports import CodeTrees
from hearth_scheduler.answers import Answers
from hearth_scheduler.calls import Call
from hearth_scheduler.core.effects import Effect, Refusal, Verdict
from hearth_scheduler.core.environment import NEVER
from hearth_scheduler.core.fleet import Fleet
from hearth_scheduler.core.stream_pace import StreamLimits
from hearth_scheduler.environments import Environments
from hearth_scheduler.member import Member
from hearth_scheduler.performer import Performer
from hearth_scheduler.reporter import Reporter
from hearth_scheduler.tasks import Tasks

CLOSING = "Hearth is shutting down"
SWEEP_S = 10.0
OBSERVE_S = 0.5
CLOSE_S = 30.0
"""How long a shutdown waits for containers to be removed before it leaves them to the next start's sweep."""

MEND_S = 1.0
"""When to look again after a tick that failed."""

log = structlog.get_logger(__name__)


class Engine:
    """Implements `hearth.ports.Scheduler`. Use as an async context manager: leaving it removes every container."""

    def __init__(
        self,
        fleet: Fleet,
        environments: Environments,
        reporter: Reporter,
        codes: CodeTrees,
        *,
        stream_limits: StreamLimits = StreamLimits(),  # noqa: B008 - immutable
        host_is_busy: Callable[[], bool] = lambda: False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.fleet = fleet
        self.counters: Counter[str] = Counter()
        self.answers = Answers(reporter, stream_limits, self.counters, clock)
        self._environments = environments
        self._reporter = reporter
        self._host_is_busy = host_is_busy
        self._clock = clock
        self._calls: dict[str, Call] = {}
        self._grants: dict[str, asyncio.Future[None]] = {}
        self._performer = Performer(
            environments, reporter, codes, calls=self._calls, grants=self._grants, counters=self.counters, clock=clock
        )
        self._reservation_ids = itertools.count()
        self._tasks = Tasks()
        self._timer: asyncio.TimerHandle | None = None
        self._armed_for = NEVER
        self._early_limits: dict[FunctionName, int | None] = {}
        self._early_provisions: dict[tuple[FunctionName, str], tuple[int, int | None]] = {}
        self._is_open = False
        self._is_closing = False
        self._emptied = asyncio.Event()

    # -- life ------------------------------------------------------------------------------------------------------

    async def __aenter__(self) -> "Engine":
        await self._tasks.__aenter__()
        self._loop = asyncio.get_running_loop()
        self._environments.attach(self, self._tasks)
        try:
            await self._environments.recover()
        except BaseException:
            await self._environments.close()
            await self._tasks.__aexit__()
            raise
        self._is_open = True
        for name, reserved in self._early_limits.items():
            self.limit(name, reserved)
        for (name, version), (count, most) in self._early_provisions.items():
            self.provision(name, version, count, most)
        self._perform(self.fleet.tick(self._clock()))
        self._sweeper = self._tasks.start(self._sweep(), "container-sweeper")
        self._observer = self._tasks.start(self._observe(), "processor-gauge")
        return self

    async def __aexit__(self, *exc: object) -> None:
        try:
            await self.close()
        finally:
            await self._tasks.__aexit__()

    async def close(self) -> None:
        """Answer whoever waits, remove every container, in parallel, bounded. Idempotent."""
        if self._is_closing:
            return
        self._is_closing = True
        self._sweeper.cancel()
        self._observer.cancel()
        for granted in self._grants.values():
            if not granted.done():
                granted.set_exception(ServiceError(CLOSING))
        self._perform(self.fleet.close(self._clock()))
        if self.fleet.environments:
            try:
                await asyncio.wait_for(self._emptied.wait(), CLOSE_S)
            except TimeoutError:
                log.error("containers left to the next start", count=len(self.fleet.environments))
        if self._timer is not None:
            self._timer.cancel()
        await self._environments.close()

    # -- the port --------------------------------------------------------------------------------------------------

    async def invoke(self, invocation: Invocation) -> Outcome:
        """See `hearth.ports.Scheduler.invoke`."""
        return await self.submit(invocation)

    def submit(self, invocation: Invocation, reservation_id: str = "") -> asyncio.Future[Outcome]:
        """See `hearth.ports.Scheduler.submit`. With a granted reservation the invocation runs in its place."""
        request_id = invocation.request_id
        if request_id in self._calls:
            raise ValueError(f"request {request_id} is under way already")
        answer: asyncio.Future[Outcome] = self._loop.create_future()
        if self._is_closing:
            answer.set_result(PlatformFailed(CLOSING, was_started=False))
            return answer
        now = self._clock()
        effects = self.fleet.arrive(request_id, invocation.function, now, reservation_id=reservation_id)
        if isinstance(effects, Refusal):
            self.counters["throttled"] += 1
            answer.set_result(Throttled(effects.reason))
            return answer
        call = Call(invocation, answer, now)
        if invocation.wants_log_tail:
            call.tail = bytearray()
        self._calls[request_id] = call
        answer.add_done_callback(call.answered)
        call.when_abandoned = self._abandon
        self._perform(effects)
        return answer

    async def reserve(self, function: FunctionVersion) -> "PlaceHeld":
        """See `hearth.ports.Scheduler.reserve`. Raises ServiceError when the scheduler closes meanwhile."""
        if self._is_closing:
            raise ServiceError(CLOSING)
        reservation_id = f"r{next(self._reservation_ids)}"
        granted = self._loop.create_future()
        self._grants[reservation_id] = granted
        self._perform(self.fleet.reserve(reservation_id, function))
        try:
            await granted
        except (asyncio.CancelledError, ServiceError):
            self._perform(self.fleet.release(reservation_id, self._clock()))
            raise
        finally:
            del self._grants[reservation_id]
        return PlaceHeld(self, reservation_id)

    def configure(self, function: FunctionVersion) -> None:
        """See `hearth.ports.Scheduler.configure`."""
        self._perform(self.fleet.configure(function, self._clock()))

    def forget(self, name: FunctionName) -> None:
        """See `hearth.ports.Scheduler.forget`."""
        self._perform(self.fleet.forget(name, self._clock()))

    def withdraw(self, name: FunctionName, version: str) -> None:
        """See `hearth.ports.Scheduler.withdraw`."""
        self._perform(self.fleet.withdraw((name, version), self._clock()))

    def limit(self, name: FunctionName, reserved: int | None) -> None:
        """See `hearth.ports.Scheduler.limit`. Before the start nothing is there to stop or to feed, and nothing may be
        started yet: what is said then is done once the containers of the run before are known."""
        if not self._is_open:
            self._early_limits[name] = reserved
            return
        self._perform(self.fleet.limit(name, reserved, self._clock()))

    def provision(self, name: FunctionName, version: str, count: int, most: int | None = None) -> None:
        """See `hearth.ports.Scheduler.provision`. Before the start as for `limit`: environments of the run before
        count first."""
        if not self._is_open:
            self._early_provisions[name, version] = count, most
            return
        self._perform(self.fleet.provision((name, version), count, self._clock(), most=most))

    def provisioned(self, name: FunctionName, version: str) -> ProvisionedState:
        """See `hearth.ports.Scheduler.provisioned`."""
        return self.fleet.provisioned((name, version))

    def codes_in_use(self) -> set[str]:
        """The packages and merged trees that living environments run; they must not be deleted."""
        functions = [e.function for e in self.fleet.environments.values() if e.function is not None]
        return {name for f in functions for name in (f.code_sha256, opt_name(f.layers)) if name}

    @property
    def last_error(self) -> str:
        """Why an environment could not be made, most recently: whoever waited for it is told."""
        return self._performer.last_error

    @last_error.setter
    def last_error(self, error: str) -> None:
        self._performer.last_error = error

    def _abandon(self, request_id: str) -> None:
        """The caller has gone."""
        call = self._calls.get(request_id)
        if call is not None and call.streamed is not None:
            call.streamed.close()
        self._perform(self.fleet.abandon(request_id, self._clock()))
        if request_id not in self.fleet.requests:
            self._calls.pop(request_id, None)

    def release(self, reservation_id: str) -> None:
        self._perform(self.fleet.release(reservation_id, self._clock()))

    # -- events and deadlines ----------------------------------------------------------------------------------------

    def _perform(self, effects: Iterable[Effect]) -> None:
        """Have done what the fleet decided, and look again when it wants to be asked next."""
        for environment_id in self._performer.perform(effects):
            self._loop.call_soon(self._fail, environment_id)
        if self.fleet.deadlines.soonest < self._armed_for:
            self._arm()

    def _fail(self, environment_id: str) -> None:
        """What it should have done failed here. The next tick is at hand if even this fails."""
        self._perform(self.fleet.failed(environment_id, Verdict.DIED, self._clock()))

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._armed_for = self.fleet.deadlines.soonest
        delay = max(0.0, self._armed_for - self._clock())
        self._timer = self._loop.call_later(delay, self._tick)

    def _tick(self) -> None:
        self._timer = None
        self._armed_for = NEVER
        try:
            self._perform(self.fleet.tick(self._clock()))
        except Exception:  # a defect; without a timer every deadline would be missed
            self.counters["defects"] += 1
            log.exception("a tick failed")
            self._timer = self._loop.call_later(MEND_S, self._tick)

    # -- news of environments --------------------------------------------------------------------------------------

    def connected(self, member: Member) -> None:
        self._perform(self.fleet.connected(member.id, self._clock()))

    def adopted(self, member: Member, function: FunctionVersion) -> None:
        self._perform(
            self.fleet.adopted(
                member.id, function, self._clock(), age_s=member.age_s, was_provisioned=member.is_provisioned
            )
        )

    def asked_next(self, member: Member) -> None:
        """The runtime waits for its next event: the end of an init or of an invocation."""
        now = self._clock()
        call, member.call = member.call, None
        if call is not None:
            self._finish(member, call, now)
        elif not member.ready_at:
            member.ready_at = now
            self._environments.initialised(member)
        self._perform(self.fleet.ready(member.id, now))

    def _finish(self, member: Member, call: Call, now: float) -> None:
        self._environments.sample(member, now)
        self._reporter.finished(member, call, now)
        self._calls.pop(call.invocation.request_id, None)
        if call.tail is not None and call.outcome is not None:
            call.resolve(self._reporter.with_tail(call.outcome, call))

    def finishing(self, member: Member) -> None:
        """Its runtime has answered, and will ask for its next event by another request."""
        self.fleet.answered(member.id, self._clock())

    def broke(self, member: Member, verdict: Verdict, *, event_unread: bool = False) -> None:
        """The environment is of no more use: its runtime exited, its init failed, its container died."""
        effects = self.fleet.failed(member.id, verdict, self._clock(), event_unread=event_unread)
        if event_unread and member.call is not None:
            member.call.dispatched_at = 0.0  # it has not begun; a Dispatch that may follow sets it anew
            member.call = None
        self._perform(effects)

    def died(self, environment_id: str) -> None:
        """The container is gone and its places are free."""
        self._perform(self.fleet.died(environment_id, self._clock()))
        if self._is_closing and not self.fleet.environments:
            self._emptied.set()

    def start_failed(self, environment_id: str, error: str, *, is_final: bool = False) -> None:
        """A container did not start; what remains of it is removed already. `is_final`: nor will the next one."""
        self.last_error = error
        self.counters["start-failures"] += 1
        log.warning("a container did not start", environment=environment_id, error=error)
        if is_final:
            self._perform(self.fleet.cannot_start(environment_id, self._clock()))
        else:
            self.died(environment_id)

    def adopt(self, member: Member, function: FunctionVersion | None, *, working_s: float | None) -> None:
        provisioned_for = function if member.is_provisioned else None
        now = self._clock()
        self.fleet.adopt(member.id, member.runtime, now, working_s=working_s, provisioned_for=provisioned_for)

    @property
    def now(self) -> float:
        return self._clock()

    # -- watching --------------------------------------------------------------------------------------------------

    async def _observe(self) -> None:
        """Tell the fleet how busy the processors are: it grows more carefully when they are the bottleneck."""
        while True:
            await asyncio.sleep(OBSERVE_S)
            self.fleet.observe(host_is_busy=self._host_is_busy())

    async def _sweep(self) -> None:
        """Compare what Docker runs with the ledger, every few seconds, and mend the difference. Nothing that serves
        requests depends on it: deaths are seen at once by other means."""
        while True:
            await asyncio.sleep(SWEEP_S)
            try:
                await self._environments.compare()
            except Exception as error:  # the top of a task: whatever it is, the next sweep tries again
                log.warning("could not compare containers with the ledger", error=str(error))
            self._perform(self.fleet.tick(self._clock()))


class PlaceHeld:
    """Implements `hearth.ports.Slot`."""

    def __init__(self, engine: Engine, reservation_id: str) -> None:
        self._engine = engine
        self._reservation_id = reservation_id
        self._is_open = True

    async def invoke(self, invocation: Invocation) -> Outcome:
        """See `hearth.ports.Slot.invoke`."""
        if not self._is_open:
            raise RuntimeError("this slot was used or released already")
        self._is_open = False
        return await self._engine.submit(invocation, self._reservation_id)

    def release(self) -> None:
        """See `hearth.ports.Slot.release`."""
        if self._is_open:
            self._is_open = False
            self._engine.release(self._reservation_id)
