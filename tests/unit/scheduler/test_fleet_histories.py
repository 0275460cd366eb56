"""Random histories of legal events: after each one every invariant holds, and no request is ever lost."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from tests.unit.scheduler.invariants import check
from tests.unit.scheduler.simulation import World, function

from hearth.core.function import FunctionName, FunctionVersion
from hearth.core.provisioning import ProvisioningProblem
from hearth_scheduler.core.policy import Policy
from hearth_scheduler.core.pool import Pool

NAMES = st.sampled_from(["a", "b", "c", "image-d", "image-e"])


class Histories(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.revision = 1
        self.admitted: set[str] = set()
        self.finished: set[str] = set()
        self.reservations: dict[str, FunctionVersion] = {}
        self.caps: dict[str, int] = {}
        self.sizes: dict[tuple[FunctionName, str], int] = {}

    @initialize(stems=st.integers(0, 3), memory=st.sampled_from([300, 600, 4096]), account=st.integers(3, 8))
    def begin(self, stems: int, memory: int, account: int) -> None:
        policy = Policy(account_concurrency=account, memory_budget_mib=memory, parallel_starts=2)
        self.world = World(policy, stems)
        self.world.do(self.world.fleet.tick(self.world.now))
        self.counter = 0

    def spec(self, name: str) -> FunctionVersion:
        pool = self.world.fleet.pools.get(function(name).key)
        return pool.current if pool else self.deployed(name)

    def deployed(self, name: str) -> FunctionVersion:
        """Functions with an image get containers of their own; the others share stem cells."""
        return function(name, revision=str(self.revision), image="an-image" if name.startswith("image") else "")

    @rule(name=NAMES)
    def request(self, name: str) -> None:
        request_id = self.world.arrive(self.spec(name))
        if request_id is not None:
            self.admitted.add(request_id)

    @rule(name=NAMES)
    def redeploy(self, name: str) -> None:
        self.revision += 1
        self.world.configure(self.deployed(name))

    @rule(name=NAMES, cap=st.one_of(st.none(), st.integers(0, 2)))
    def limit(self, name: str, cap: int | None) -> None:
        self.world.do(self.world.fleet.limit(function(name).name, cap, self.world.now))

    @rule(name=NAMES, count=st.integers(0, 3), most=st.one_of(st.none(), st.integers(0, 3)))
    def provision(self, name: str, count: int, most: int | None) -> None:
        self.world.provision(self.spec(name), count, most)

    @rule(name=NAMES)
    def withdraw(self, name: str) -> None:
        self.world.do(self.world.fleet.withdraw(function(name).key, self.world.now))

    @rule(name=NAMES)
    def delete(self, name: str) -> None:
        self.world.do(self.world.fleet.forget(function(name).name, self.world.now))

    @rule(name=NAMES)
    def reserve(self, name: str) -> None:
        self.counter += 1
        self.reservations[f"r{self.counter}"] = self.spec(name)
        self.world.do(self.world.fleet.reserve(f"r{self.counter}", self.spec(name)))

    @precondition(lambda self: self.reservations)
    @rule(use=st.booleans(), data=st.data())
    def settle_reservation(self, use: bool, data: st.DataObject) -> None:
        reservation_id = data.draw(st.sampled_from(sorted(self.reservations)))
        granted = reservation_id in self.world.granted
        spec = self.reservations.pop(reservation_id)
        if use and granted:
            request_id = self.world.arrive(spec, reservation_id)
            assert request_id is not None, "a granted place is never refused"
            self.admitted.add(request_id)
        else:
            self.world.do(self.world.fleet.release(reservation_id, self.world.now))

    @precondition(lambda self: self.world.starting)
    @rule(ending=st.sampled_from(["connects", "fails", "cannot", "breaks"]))
    def start_ends(self, ending: str) -> None:
        environment_id = self.world.starting[0]
        match ending:
            case "connects":
                self.world.connect()
            case "fails":
                self.world.fail_start()
            case "cannot":
                self.world.starting.popleft()
                self.world.do(self.world.fleet.cannot_start(environment_id, self.world.now))
            case _:
                self.world.break_down(environment_id)

    @precondition(lambda self: self.world.initialising)
    @rule(succeeds=st.booleans())
    def init_ends(self, succeeds: bool) -> None:
        if succeeds:
            self.world.initialise()
        else:
            self.world.fail_init()

    @precondition(lambda self: self.world.running)
    @rule(data=st.data())
    def finish(self, data: st.DataObject) -> None:
        environment_id = data.draw(st.sampled_from(sorted(self.world.running)))
        self.finished.add(self.world.running[environment_id])
        self.world.finish(environment_id)

    @precondition(lambda self: self.world.running)
    @rule(data=st.data())
    def answers(self, data: st.DataObject) -> None:
        self.world.fleet.answered(data.draw(st.sampled_from(sorted(self.world.running))), self.world.now)

    @precondition(lambda self: self.world.running)
    @rule(data=st.data(), unread=st.booleans())
    def breaks(self, data: st.DataObject, unread: bool) -> None:
        self.world.break_down(data.draw(st.sampled_from(sorted(self.world.running))), event_unread=unread)

    @precondition(lambda self: self.world.stopping)
    @rule()
    def removal_ends(self) -> None:
        self.world.remove()

    @rule(seconds=st.sampled_from([0.01, 0.5, 4.0, 700.0]))
    def time_passes(self, seconds: float) -> None:
        self.world.pass_time(seconds)

    @invariant()
    def nothing_is_lost(self) -> None:
        if hasattr(self, "world"):
            fleet = self.world.fleet
            check(fleet)
            open_requests = self.admitted - self.finished - set(self.world.concluded)
            assert open_requests == set(fleet.requests)

    @invariant()
    def nothing_grows_beyond_a_cap(self) -> None:
        """A pool has more environments than its cap only if the cap was lowered, and then no more than it had."""
        if hasattr(self, "world"):
            fleet = self.world.fleet
            sizes = {key: len(pool.members) for key, pool in fleet.pools.items()}
            for key, pool in fleet.pools.items():
                assert sizes[key] <= max(fleet.caps.cap(pool.share), self.sizes.get(key, 0)), pool
            self.sizes = sizes

    @invariant()
    def memory_is_kept(self) -> None:
        if hasattr(self, "world"):
            memory = self.world.fleet.memory
            assert memory.used_mib == sum(memory.held.values()) <= max(memory.budget_mib, memory.used_mib)
            assert set(memory.held) == set(self.world.fleet.environments)

    def come_to_rest(self) -> None:
        """When nothing fails any more and nobody asks for more, all that is provisioned is there: as far as the caps
        and the memory allow."""
        for reservation_id in sorted(self.reservations):
            self.world.do(self.world.fleet.release(reservation_id, self.world.now))
        self.world.settle()
        for _ in range(50):
            if not self.unready():
                return
            self.world.pass_time(20.0)  # shorter than any start or init may take
            self.world.settle()
        raise AssertionError(self.unready())

    def unready(self) -> list[Pool]:
        """The pools that lack something they could have."""
        caps = self.world.fleet.caps
        return [
            pool
            for pool in self.world.fleet.pools.values()
            if pool.provision.lacking(min(pool.share.guaranteed, caps.cap(pool.share))) > 0
            and pool.provision.problem is not ProvisioningProblem.NO_MEMORY
        ]

    def teardown(self) -> None:
        """Left alone, every history ends with every request answered and no environment left."""
        if not hasattr(self, "world"):
            return
        self.come_to_rest()
        self.world.do(self.world.fleet.close(self.world.now))
        while self.world.stopping:
            self.world.remove()
        assert not self.world.fleet.environments
        assert not self.world.fleet.requests


TestHistories = Histories.TestCase
TestHistories.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
