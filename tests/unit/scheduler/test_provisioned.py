"""Provisioned concurrency: environments that are ready before anybody asks."""

from dataclasses import replace

import pytest
from tests.unit.scheduler.simulation import World, function

from hearth.core.function import FunctionVersion
from hearth.core.provisioning import ProvisionedState, ProvisioningProblem
from hearth_scheduler.core.effects import Verdict
from hearth_scheduler.core.environment import Phase
from hearth_scheduler.core.policy import Policy

HELLO = replace(function(), version="1")


def _state(world: World, spec: FunctionVersion = HELLO) -> ProvisionedState:
    return world.fleet.provisioned(spec.key)


def _provisioned(count: int, policy: Policy | None = None, spec: FunctionVersion = HELLO) -> World:
    world = World(policy)
    world.configure(spec)
    world.provision(spec, count)
    world.settle()
    return world


def test_as_many_as_asked_for_are_initialised_without_any_request() -> None:
    world = _provisioned(3)

    assert _state(world) == ProvisionedState(3, 3, 3)
    assert world.members(HELLO) == 3 and len(world.provisioned) == 3


def test_a_function_with_an_image_is_provisioned_too() -> None:
    world = _provisioned(2, spec=replace(function(image="an-image"), version="1"))

    assert _state(world) == ProvisionedState(2, 2, 2)


def test_one_that_is_being_initialised_is_allocated_but_not_available() -> None:
    world = World(stems=1)
    world.configure(HELLO)
    world.do(world.fleet.tick(world.now))
    world.connect()

    world.provision(HELLO, 1)

    assert _state(world) == ProvisionedState(1, 1, 0)


def test_no_more_inits_are_under_way_than_container_starts_may_be() -> None:
    world = World(Policy(parallel_starts=2), stems=4)
    world.configure(HELLO)
    world.do(world.fleet.tick(world.now))
    for _ in range(4):
        world.connect()

    world.provision(HELLO, 4)

    assert len(world.initialising) == 2


def test_who_waits_is_served_before_anything_is_provisioned() -> None:
    world = World(Policy(parallel_starts=1))
    world.configure(HELLO)
    other = function("other")
    world.arrive(other)
    world.provision(HELLO, 1)

    world.connect()

    assert world.functions[world.initialising[0]] == other


def test_idleness_does_not_stop_it() -> None:
    world = _provisioned(2, Policy(idle_timeout_s=60))

    world.pass_time(3600)

    assert _state(world).available == 2


def test_others_need_of_memory_does_not_stop_it() -> None:
    world = _provisioned(1, Policy(memory_budget_mib=200))

    world.arrive(function("other"))

    assert _state(world).available == 1
    assert list(world.concluded.values()) == [Verdict.NO_MEMORY]


def test_ordinary_idle_environments_of_others_make_room_for_it() -> None:
    world = World(Policy(memory_budget_mib=300))
    world.warm(function("other"), 2)
    world.configure(HELLO)

    world.provision(HELLO, 1)
    world.settle()

    assert _state(world).available == 1


def test_without_memory_it_fails_and_says_so_and_starts_nothing() -> None:
    world = World(Policy(memory_budget_mib=100))
    world.configure(HELLO)

    world.provision(HELLO, 1)

    assert _state(world) == ProvisionedState(1, 0, 0, ProvisioningProblem.NO_MEMORY)
    assert not world.starting


def test_one_that_dies_is_replaced() -> None:
    world = _provisioned(2)
    world.arrive(HELLO)
    (victim,) = world.running

    world.break_down(victim)
    world.settle()

    assert _state(world).available == 2
    assert victim not in world.fleet.environments


def test_provisioned_environments_are_used_before_ordinary_ones() -> None:
    world = _provisioned(1)
    world.arrive(HELLO)
    world.arrive(HELLO)
    world.settle()

    world.arrive(HELLO)

    assert set(world.running) <= world.provisioned


def test_what_exceeds_the_target_spills_over_to_ordinary_environments_that_idle_out() -> None:
    world = _provisioned(1, Policy(idle_timeout_s=60))
    world.arrive(HELLO)
    world.arrive(HELLO)
    world.settle()
    assert world.members(HELLO) == 2

    world.pass_time(61)
    world.settle()

    assert world.members(HELLO) == 1 and _state(world).available == 1


def test_lowering_the_target_makes_ordinary_environments_of_the_surplus() -> None:
    world = _provisioned(3, Policy(idle_timeout_s=60))

    world.provision(HELLO, 1)
    assert _state(world) == ProvisionedState(1, 1, 1) and world.members(HELLO) == 3
    world.pass_time(61)
    world.settle()

    assert world.members(HELLO) == 1


def test_reserved_concurrency_caps_what_is_provisioned() -> None:
    world = World()
    world.configure(HELLO)
    world.do(world.fleet.limit(HELLO.name, 2, world.now))

    world.provision(HELLO, 5)
    world.settle()

    assert _state(world) == ProvisionedState(5, 2, 2)


def test_at_the_cap_an_ordinary_idle_environment_gives_up_its_place() -> None:
    world = World()
    world.do(world.fleet.limit(HELLO.name, 2, world.now))
    world.warm(HELLO, 2)

    world.provision(HELLO, 2)
    world.settle()

    assert _state(world).available == 2 and world.members(HELLO) == 2


def test_other_functions_cannot_take_the_places_of_what_is_provisioned() -> None:
    world = _provisioned(2, Policy(account_concurrency=3))
    other = function("other")
    world.arrive(other)

    assert world.arrive(other) is None
    assert world.arrive(HELLO) is not None and world.arrive(HELLO) is not None


def test_a_new_revision_replaces_them() -> None:
    world = _provisioned(2)
    old = set(world.fleet.environments)

    world.configure(replace(HELLO, revision="2"))
    world.settle()

    assert _state(world).available == 2
    assert not old & set(world.fleet.environments)


def test_a_deleted_version_leaves_nothing_behind() -> None:
    world = _provisioned(2)

    world.do(world.fleet.withdraw(HELLO.key, world.now))
    world.settle()

    assert not world.fleet.environments
    assert _state(world) == ProvisionedState()


def test_a_version_that_becomes_known_later_gets_what_was_asked_for() -> None:
    world = World()
    world.provision(HELLO, 1)

    world.configure(HELLO)
    world.settle()

    assert _state(world).available == 1


def test_its_init_may_take_130_seconds() -> None:
    world = World()
    world.configure(HELLO)
    world.provision(HELLO, 1)
    environment = world.connect()

    world.pass_time(129)
    assert world.fleet.environments[environment].phase is Phase.INIT
    world.pass_time(2)

    assert world.fleet.environments[environment].phase is Phase.STOPPING


def test_after_a_failed_init_the_next_waits_ever_longer_and_the_second_failure_is_told() -> None:
    world = World()
    world.configure(HELLO)
    world.provision(HELLO, 1)
    waits = []
    problems = []
    for _ in range(4):
        world.connect()
        world.fail_init()
        problems.append(_state(world).problem)
        world.remove()
        began = world.now
        while not world.starting:
            world.pass_time(0.25)
        waits.append(world.now - began)

    assert waits == pytest.approx([1, 2, 4, 8], abs=0.3)
    assert problems == [None, *[ProvisioningProblem.INIT_FAILURE] * 3]


def test_an_init_that_succeeds_ends_the_problem() -> None:
    world = World()
    world.configure(HELLO)
    world.provision(HELLO, 1)
    for _ in range(2):
        world.connect()
        world.fail_init()
        world.remove()
        world.pass_time(10)

    world.settle()

    assert _state(world) == ProvisionedState(1, 1, 1)


def test_while_inits_fail_only_one_is_tried_at_a_time() -> None:
    world = World()
    world.configure(HELLO)
    world.provision(HELLO, 4)
    while world.starting:
        world.connect()
    while world.initialising:
        world.fail_init()
    while world.stopping:
        world.remove()

    world.pass_time(60)
    while world.starting:
        world.connect()

    assert len(world.initialising) == 1


def test_one_that_breaks_soon_after_every_good_init_is_not_started_without_end() -> None:
    world = _provisioned(1)
    starts = 0
    for _ in range(100):
        world.settle()
        for environment_id in list(world.fleet.environments):
            world.break_down(environment_id)
            starts += 1
        world.settle()
        world.pass_time(1)

    assert starts < 10


def test_at_the_age_limit_a_successor_is_ready_before_the_old_one_goes() -> None:
    world = _provisioned(1, Policy(environment_lifetime_s=1000, idle_timeout_s=60))
    (old,) = world.fleet.environments

    world.pass_time(945)
    world.settle()

    assert old in world.fleet.environments and world.members(HELLO) == 2
    world.pass_time(60)
    world.settle()
    assert old not in world.fleet.environments and _state(world).available == 1


def test_an_environment_that_is_too_old_gets_no_further_request() -> None:
    world = World(Policy(environment_lifetime_s=10))
    (old,) = world.warm(HELLO)
    world.pass_time(8)
    world.arrive(HELLO)
    world.pass_time(2.5)

    world.finish(old)

    assert list(world.stopping) == [old]


def test_an_idle_environment_goes_when_it_is_too_old() -> None:
    world = World(Policy(environment_lifetime_s=10))
    (old,) = world.warm(HELLO)

    world.pass_time(10)

    assert list(world.stopping) == [old]


def test_after_a_restart_the_provisioned_ones_are_counted_before_they_show_themselves() -> None:
    world = World()
    world.configure(HELLO)
    world.fleet.adopt("old", "python3.13", world.now, working_s=3.0, provisioned_for=HELLO)

    world.provision(HELLO, 1)
    assert not world.starting
    world.do(world.fleet.adopted("old", HELLO, world.now, age_s=5.0, was_provisioned=True))
    world.do(world.fleet.ready("old", world.now))

    assert _state(world) == ProvisionedState(1, 1, 1)


def test_one_that_does_not_show_itself_after_a_restart_is_replaced() -> None:
    world = World()
    world.configure(HELLO)
    world.fleet.adopt("old", "python3.13", world.now, working_s=3.0, provisioned_for=HELLO)
    world.provision(HELLO, 1)

    world.pass_time(34)
    world.settle()

    assert _state(world).available == 1 and "old" not in world.fleet.environments


def test_an_adopted_environment_keeps_its_age() -> None:
    world = World(Policy(environment_lifetime_s=100))
    world.configure(HELLO)
    world.fleet.adopt("old", "python3.13", world.now, working_s=3.0)
    world.do(world.fleet.adopted("old", HELLO, world.now, age_s=95.0))
    world.do(world.fleet.ready("old", world.now))

    world.pass_time(6)

    assert list(world.stopping) == ["old"]


def test_a_place_granted_for_one_version_may_be_used_for_another() -> None:
    world = World()
    second = replace(HELLO, version="2")
    world.do(world.fleet.reserve("r", HELLO))

    assert world.arrive(second, "r") is not None
    assert world.fleet.caps.share(second.key).in_flight == 1


def test_a_version_never_has_more_environments_than_its_own_cap() -> None:
    world = World()
    world.configure(HELLO)
    world.provision(HELLO, 0, most=2)

    admitted = [world.arrive(HELLO) for _ in range(3)]

    assert [request is None for request in admitted] == [False, False, True]
    assert world.arrive(replace(HELLO, version="2")) is not None
    while world.starting or world.initialising:
        if world.starting:
            world.connect()
        if world.initialising:
            world.initialise()
    assert world.members(HELLO) == 2


def test_a_lowered_cap_stops_idle_environments_even_those_kept_ready() -> None:
    world = _provisioned(3)

    world.provision(HELLO, 1, most=1)
    world.settle()

    assert world.members(HELLO) == 1 and _state(world) == ProvisionedState(1, 1, 1)
