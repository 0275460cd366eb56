"""Environments that are started for one function alone, because no stem cell can become one of its own."""

from tests.unit.scheduler.simulation import World, function

from hearth_scheduler.core.effects import StartFor, Stop, StopReason, Verdict
from hearth_scheduler.core.environment import Phase
from hearth_scheduler.core.memory import STEM_MIB
from hearth_scheduler.core.policy import Policy
from hearth_scheduler.core.pool import FINISHING_S
from hearth_scheduler.core.stock import FIRST_BACKOFF_S

IMAGE = function("image", image="an-image", memory_mib=256)
HELLO = function("hello")


def test_a_function_with_an_image_gets_a_container_of_its_own_even_if_stem_cells_wait() -> None:
    world = World(stems=1)
    world.do(world.fleet.tick(world.now))
    world.connect()

    effects = world.fleet.arrive("first", IMAGE, world.now)

    assert isinstance(effects, list)
    assert [type(effect) for effect in effects] == [StartFor]


def test_a_runtime_without_stem_cells_is_started_directly_too() -> None:
    world = World()
    world.fleet.starts.interpreter_of = lambda runtime: None

    world.arrive(HELLO)

    assert list(world.functions.values()) == [HELLO]


def test_its_init_begins_with_its_container_and_its_request_is_served_when_it_ends() -> None:
    world = World()
    request = world.arrive(IMAGE)

    environment = world.connect()
    assert world.fleet.environments[environment].phase is Phase.INIT
    world.initialise()

    assert world.running == {environment: request}


def test_a_request_does_not_wait_for_its_start_if_another_environment_falls_idle_first() -> None:
    world = World()
    (busy,) = world.warm(IMAGE)
    world.arrive(IMAGE)
    second = world.arrive(IMAGE)
    world.pass_time(1)
    assert len(world.starting) == 1

    world.finish(busy)

    assert world.running == {busy: second}


def test_environments_under_way_count_under_the_cap() -> None:
    world = World()
    world.configure(IMAGE)
    world.do(world.fleet.limit(IMAGE.name, 2, world.now))

    for _ in range(3):
        world.arrive(IMAGE)

    assert len(world.starting) == 2
    assert world.members(IMAGE) == 2


def test_one_that_is_starting_is_not_ordered_twice() -> None:
    world = World()
    world.arrive(IMAGE)

    world.pass_time(1)
    world.do(world.fleet.tick(world.now))

    assert len(world.starting) == 1


def test_all_starts_share_one_governor() -> None:
    world = World(Policy(parallel_starts=2))

    world.arrive(HELLO)
    world.arrive(IMAGE)
    world.arrive(IMAGE)
    assert len(world.starting) == 2

    world.connect()
    assert len(world.starting) == 2


def test_it_is_counted_with_the_memory_of_its_function_from_the_start() -> None:
    world = World()
    world.arrive(IMAGE)

    assert world.fleet.memory.used_mib == 256


def test_for_its_memory_idle_environments_of_others_have_to_go() -> None:
    world = World(Policy(memory_budget_mib=300))
    (idle,) = world.warm(HELLO)

    world.arrive(IMAGE)
    assert list(world.stopping) == [idle]
    assert not world.starting
    world.remove()

    assert len(world.starting) == 1


def test_where_its_memory_will_never_be_free_its_request_is_answered_at_once() -> None:
    world = World(Policy(memory_budget_mib=256 - STEM_MIB))

    request = world.arrive(IMAGE)

    assert world.concluded == {request: Verdict.NO_MEMORY}


def test_a_start_that_fails_makes_its_own_function_wait_and_nobody_else() -> None:
    world = World()
    world.arrive(IMAGE)
    world.fail_start()
    assert not world.starting

    world.arrive(HELLO)
    assert len(world.starting) == 1
    world.connect()
    world.pass_time(FIRST_BACKOFF_S * 1.1)

    assert len(world.starting) == 1


def test_after_each_failed_start_its_function_waits_longer() -> None:
    world = World()
    world.arrive(IMAGE)
    pauses = []
    for _ in range(3):
        world.fail_start()
        since = world.now
        while not world.starting:
            world.pass_time(FIRST_BACKOFF_S / 4)
        pauses.append(world.now - since)

    assert pauses == sorted(pauses)
    assert pauses[-1] > 3 * pauses[0]


def test_new_code_is_tried_at_once_however_often_the_old_one_could_not_be_started() -> None:
    world = World()
    world.arrive(IMAGE)
    world.fail_start()

    world.configure(function("image", image="another-image", revision="2"))

    assert len(world.starting) == 1


def test_what_can_never_start_is_told_to_everybody_who_waits() -> None:
    world = World()
    requests = {world.arrive(IMAGE), world.arrive(IMAGE)}

    while world.starting:
        environment = world.starting.popleft()
        world.do(world.fleet.cannot_start(environment, world.now))

    assert world.concluded == dict.fromkeys(requests, Verdict.NO_ENVIRONMENT)


def test_an_environment_that_works_goes_on_when_no_other_can_be_started() -> None:
    world = World()
    (busy,) = world.warm(IMAGE)
    world.arrive(IMAGE)
    waiting = world.arrive(IMAGE)
    world.pass_time(1)

    world.do(world.fleet.cannot_start(world.starting.popleft(), world.now))
    assert not world.concluded
    world.finish(busy)

    assert world.running == {busy: waiting}


def test_a_runtime_that_ends_before_its_container_is_known_ends_one_request() -> None:
    world = World()
    first, _ = world.arrive(IMAGE), world.arrive(IMAGE)

    world.break_down(world.starting[0])

    assert world.concluded == {first: Verdict.DIED}


def test_a_deployment_stops_what_is_being_started_for_the_code_before_it() -> None:
    world = World()
    request = world.arrive(IMAGE)
    (old,) = world.starting
    newer = function("image", image="another-image", revision="2")

    world.configure(newer)

    assert list(world.stopping) == [old]
    assert [world.functions[environment] for environment in world.starting] == [newer]
    world.connect()
    world.initialise()
    assert list(world.running.values()) == [request]


def test_news_of_a_start_that_was_given_up_meanwhile_changes_nothing() -> None:
    world = World()
    world.arrive(IMAGE)
    (environment,) = world.starting
    world.do(world.fleet.forget(IMAGE.name, world.now))

    assert world.fleet.connected(environment, world.now) == []
    assert world.fleet.environments[environment].phase is Phase.STOPPING
    world.remove()
    assert not world.fleet.environments


def test_a_start_that_takes_too_long_is_given_up_and_counts_as_failed() -> None:
    world = World(Policy(start_timeout_s=5.0))
    request = world.arrive(IMAGE)
    (environment,) = world.starting

    world.now = world.fleet.deadlines.soonest
    effects = world.do(world.fleet.tick(world.now))

    assert Stop(environment, StopReason.START_FAILED) in effects
    assert environment in world.stopping
    assert world.concluded == {request: Verdict.NO_ENVIRONMENT}
    assert world.fleet.pools[IMAGE.key].paused_until > world.now


def test_an_adopted_environment_of_an_image_serves_the_next_request() -> None:
    world = World()
    world.configure(IMAGE)
    world.fleet.adopt("old", "", world.now, working_s=3.0)
    world.do(world.fleet.adopted("old", IMAGE, world.now))
    world.do(world.fleet.ready("old", world.now))

    request = world.arrive(IMAGE)

    assert world.running == {"old": request}
    assert "" not in world.fleet.stock.counts()


def test_a_request_between_an_answer_and_the_next_question_waits_for_that_environment() -> None:
    world = World()
    (environment,) = world.warm(IMAGE)
    world.arrive(IMAGE)
    world.fleet.answered(environment, world.now)

    second = world.arrive(IMAGE)
    assert not world.starting
    world.finish(environment)

    assert world.running == {environment: second}


def test_a_runtime_that_answers_and_asks_for_nothing_more_holds_nobody_up_for_long() -> None:
    world = World()
    (environment,) = world.warm(IMAGE)
    world.arrive(IMAGE)
    world.fleet.answered(environment, world.now)
    world.arrive(IMAGE)

    world.pass_time(FINISHING_S + 0.5)

    assert len(world.starting) == 1
