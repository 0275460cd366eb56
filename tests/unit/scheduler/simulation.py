"""A world for the fleet to decide in: performs effects on paper, at times that the test chooses."""

from collections import deque

from tests.unit.scheduler.invariants import check

from hearth.core.function import FunctionName, FunctionVersion, ImageRun
from hearth_scheduler.core.effects import (
    Conclude,
    Dispatch,
    Effect,
    Grant,
    Refusal,
    Specialise,
    StartFor,
    StartStem,
    Stop,
    Verdict,
)
from hearth_scheduler.core.fleet import Fleet
from hearth_scheduler.core.policy import Policy


def function(
    name: str = "hello", *, revision: str = "1", memory_mib: int = 128, timeout_s: int = 3, image: str = ""
) -> FunctionVersion:
    """With an `image` each of its environments is started for it alone."""
    return FunctionVersion(
        name=FunctionName(name),
        version="$LATEST",
        revision=revision,
        arn=f"arn:aws:lambda:us-east-1:000000000000:function:{name}",
        runtime="python3.13",
        handler="app.handler",
        timeout_s=timeout_s,
        memory_mib=memory_mib,
        ephemeral_storage_mib=512,
        code_sha256="0" * 64,
        log_group=f"/aws/lambda/{name}",
        image=ImageRun(image) if image else None,
    )


class World:
    """Keeps what the effects ordered until the test lets it happen. After each event every invariant is checked."""

    def __init__(self, policy: Policy | None = None, stems: int = 0) -> None:
        self._ids = iter(f"e{n}" for n in range(10_000))
        self._requests = iter(f"q{n}" for n in range(10_000))
        self.fleet = Fleet(policy or Policy(), {"python3.13": stems}, lambda: next(self._ids))
        self.now = 100.0
        self.starting: deque[str] = deque()
        self.initialising: deque[str] = deque()
        self.stopping: deque[str] = deque()
        self.running: dict[str, str] = {}  # environment -> request
        self.concluded: dict[str, Verdict] = {}
        self.granted: list[str] = []
        self.refused = 0
        self.functions: dict[str, FunctionVersion] = {}
        self.provisioned: set[str] = set()  # what the effects called so

    def do(self, effects: list[Effect]) -> list[Effect]:
        for effect in effects:
            match effect:
                case StartStem() | StartFor():
                    self._start(effect)
                case Specialise():
                    self.initialising.append(effect.environment_id)
                    self.functions[effect.environment_id] = effect.function
                    self.provisioned |= {effect.environment_id} if effect.is_provisioned else set()
                case Dispatch():
                    assert effect.environment_id not in self.running, "one invocation at a time"
                    self.running[effect.environment_id] = effect.request_id
                case Stop():
                    self._stop(effect.environment_id)
                case Conclude():
                    assert effect.request_id not in self.concluded
                    self.concluded[effect.request_id] = effect.verdict
                    self.running = {e: r for e, r in self.running.items() if r != effect.request_id}
                case Grant():
                    self.granted.append(effect.reservation_id)
        check(self.fleet)
        return effects

    def _start(self, effect: StartStem | StartFor) -> None:
        self.starting.append(effect.environment_id)
        if isinstance(effect, StartFor):
            self.provisioned |= {effect.environment_id} if effect.is_provisioned else set()
            self.functions[effect.environment_id] = effect.function

    def _stop(self, environment_id: str) -> None:
        for queue in (self.starting, self.initialising):
            if environment_id in queue:
                queue.remove(environment_id)
        if environment_id not in self.stopping:
            self.stopping.append(environment_id)

    def pass_time(self, seconds: float) -> None:
        """Let time go by, stopping at every deadline on the way, as the engine's timer does."""
        end = self.now + seconds
        while self.fleet.deadlines.soonest <= end:
            self.now = max(self.now, self.fleet.deadlines.soonest)
            self.do(self.fleet.tick(self.now))
            self.now += 1e-6
        self.now = max(self.now, end)

    def configure(self, spec: FunctionVersion) -> None:
        self.do(self.fleet.configure(spec, self.now))

    def provision(self, spec: FunctionVersion, count: int, most: int | None = None) -> None:
        self.do(self.fleet.provision(spec.key, count, self.now, most=most))

    def arrive(self, spec: FunctionVersion, reservation_id: str = "") -> str | None:
        """A request; its id, or None if it was refused."""
        request_id = next(self._requests)
        answer = self.fleet.arrive(request_id, spec, self.now, reservation_id=reservation_id)
        if isinstance(answer, Refusal):
            self.refused += 1
            check(self.fleet)
            return None
        self.do(answer)
        return request_id

    def connect(self) -> str:
        """The oldest container start under way succeeds; the init of what was started for one function begins."""
        environment_id = self.starting.popleft()
        if environment_id in self.functions:
            self.initialising.append(environment_id)
        self.do(self.fleet.connected(environment_id, self.now))
        return environment_id

    def fail_start(self) -> str:
        """The oldest container start under way fails."""
        environment_id = self.starting.popleft()
        self.do(self.fleet.died(environment_id, self.now))
        return environment_id

    def initialise(self) -> str:
        """The oldest init under way succeeds."""
        environment_id = self.initialising.popleft()
        self.do(self.fleet.ready(environment_id, self.now))
        return environment_id

    def fail_init(self, verdict: Verdict = Verdict.INIT_FAILED) -> str:
        """The oldest init under way fails."""
        environment_id = self.initialising.popleft()
        self.do(self.fleet.failed(environment_id, verdict, self.now))
        return environment_id

    def finish(self, environment_id: str) -> None:
        """The environment's invocation ends and its runtime asks for the next event."""
        self.running.pop(environment_id, None)
        self.do(self.fleet.ready(environment_id, self.now))

    def remove(self) -> str:
        """The oldest removal under way is done."""
        environment_id = self.stopping.popleft()
        self.running.pop(environment_id, None)
        self.do(self.fleet.died(environment_id, self.now))
        return environment_id

    def break_down(self, environment_id: str, *, event_unread: bool = False) -> None:
        """The environment's container dies, or its runtime exits."""
        if event_unread:
            self.running.pop(environment_id, None)
        self.do(self.fleet.failed(environment_id, Verdict.DIED, self.now, event_unread=event_unread))

    def settle(self) -> None:
        """All that is under way succeeds, until nothing is."""
        for _ in range(1000):
            if not (self.starting or self.initialising or self.stopping or self.running):
                return
            while self.stopping:
                self.remove()
            if self.starting:
                self.connect()
            while self.initialising:
                self.initialise()
            for environment_id in list(self.running):
                self.finish(environment_id)
        raise AssertionError(f"it never comes to rest: {self.fleet.environments}")

    def warm(self, spec: FunctionVersion, count: int = 1) -> list[str]:
        """That many idle environments of the function."""
        requests = [self.arrive(spec) for _ in range(count)]
        assert None not in requests
        while self.starting:
            self.connect()
        while self.initialising:
            self.initialise()
        environments = list(self.running)
        for environment_id in environments:
            self.finish(environment_id)
        return environments

    def members(self, spec: FunctionVersion) -> int:
        return len(self.fleet.pools[spec.key].members)
