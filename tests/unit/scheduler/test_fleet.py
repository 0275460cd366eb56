"""The scheduler's decisions, driven directly: no loop, no clock, no container."""

from tests.unit.scheduler.simulation import World, function

from hearth.core.invocation import ThrottleReason
from hearth_scheduler.core.admissions import MAX_REPEATS
from hearth_scheduler.core.effects import Refusal, Stop, StopReason, Verdict
from hearth_scheduler.core.environment import Phase
from hearth_scheduler.core.policy import Policy

HELLO = function()


def test_the_first_request_from_zero_takes_a_waiting_stem_cell() -> None:
    world = World(stems=1)
    world.pass_time(0)
    world.do(world.fleet.tick(world.now))
    cell = world.connect()

    world.arrive(HELLO)

    assert list(world.initialising) == [cell]


def test_the_first_request_without_stem_cells_starts_one_container() -> None:
    world = World()

    world.arrive(HELLO)

    assert len(world.starting) == 1


def test_a_request_takes_the_environment_that_was_used_last() -> None:
    world = World()
    environments = world.warm(HELLO, 3)

    world.arrive(HELLO)

    assert list(world.running) == [environments[-1]]


def test_a_waiting_request_takes_an_environment_that_falls_idle_before_the_new_one_is_ready() -> None:
    world = World()
    (busy,) = world.warm(HELLO)
    world.arrive(HELLO)
    world.pass_time(1)
    second = world.arrive(HELLO)

    world.finish(busy)

    assert world.running == {busy: second}


def test_at_the_cap_of_reserved_concurrency_a_request_is_refused_with_the_reason() -> None:
    world = World()
    world.configure(HELLO)
    world.do(world.fleet.limit(HELLO.name, 2, world.now))
    world.arrive(HELLO)
    world.arrive(HELLO)

    assert world.fleet.arrive("third", HELLO, world.now) == Refusal(ThrottleReason.RESERVED)


def test_reserved_concurrency_of_zero_refuses_everything() -> None:
    world = World()
    world.do(world.fleet.limit(HELLO.name, 0, world.now))

    assert world.arrive(HELLO) is None


def test_at_the_cap_of_the_account_a_request_is_refused_with_the_reason() -> None:
    world = World(Policy(account_concurrency=1))
    world.arrive(function("other"))

    assert world.fleet.arrive("second", HELLO, world.now) == Refusal(ThrottleReason.ACCOUNT)


def test_a_reservation_takes_its_share_out_of_the_account() -> None:
    world = World(Policy(account_concurrency=10))
    world.do(world.fleet.limit(HELLO.name, 9, world.now))
    world.arrive(function("other"))

    assert world.arrive(function("third")) is None
    assert world.arrive(HELLO) is not None


def test_an_environment_counts_against_the_cap_until_its_container_is_gone() -> None:
    world = World(Policy(idle_timeout_s=1000))
    world.do(world.fleet.limit(HELLO.name, 1, world.now))
    (old,) = world.warm(HELLO)
    world.arrive(HELLO)
    world.pass_time(HELLO.timeout_s)
    assert list(world.stopping) == [old]

    world.arrive(HELLO)
    assert not world.starting and not world.initialising

    world.remove()
    assert len(world.starting) == 1


def test_an_invocation_over_its_timeout_is_concluded_and_its_environment_stopped() -> None:
    world = World()
    (environment,) = world.warm(HELLO)
    request = world.arrive(HELLO)
    assert request is not None

    world.pass_time(HELLO.timeout_s - 0.001)
    assert request not in world.concluded
    world.pass_time(0.001)

    assert world.concluded[request] is Verdict.TIMED_OUT
    assert list(world.stopping) == [environment]


def test_an_idle_environment_goes_when_its_idle_clock_runs_out_and_leaves_zero() -> None:
    world = World(Policy(idle_timeout_s=60))
    world.warm(HELLO, 2)

    world.pass_time(60)
    while world.stopping:
        world.remove()

    assert world.members(HELLO) == 0


def test_using_an_environment_winds_its_idle_clock_up_again() -> None:
    world = World(Policy(idle_timeout_s=60))
    (environment,) = world.warm(HELLO)
    world.pass_time(59)
    world.arrive(HELLO)
    world.finish(environment)

    world.pass_time(59)

    assert world.fleet.environments[environment].phase is Phase.IDLE


def test_new_code_stops_idle_environments_of_the_old_code_at_once() -> None:
    world = World()
    (old,) = world.warm(HELLO)

    world.configure(function(revision="2"))

    assert list(world.stopping) == [old]


def test_new_code_lets_a_busy_environment_finish_and_then_stops_it() -> None:
    world = World()
    (old,) = world.warm(HELLO)
    world.arrive(HELLO)
    world.configure(function(revision="2"))
    assert not world.stopping

    world.finish(old)

    assert list(world.stopping) == [old]


def test_no_request_after_a_redeploy_reaches_old_code() -> None:
    world = World()
    (old,) = world.warm(HELLO)
    world.arrive(HELLO)
    new = function(revision="2")
    world.configure(new)
    world.arrive(new)
    world.finish(old)
    world.connect()
    fresh = world.initialise()

    assert world.functions[fresh].revision == "2"
    assert list(world.running) == [fresh]


def test_an_event_that_a_dead_environment_had_not_read_goes_to_another_one() -> None:
    world = World()
    first, second = world.warm(HELLO, 2)
    request = world.arrive(HELLO)

    world.break_down(second, event_unread=True)

    assert world.running == {first: request}
    assert not world.concluded


def test_an_event_that_a_dead_environment_had_read_is_concluded() -> None:
    world = World()
    (environment,) = world.warm(HELLO)
    request = world.arrive(HELLO)
    assert request is not None

    world.break_down(environment)

    assert world.concluded == {request: Verdict.DIED}


def test_a_failed_init_ends_the_request_that_waited_longest_and_only_that() -> None:
    world = World(stems=0)
    first, second = world.arrive(HELLO), world.arrive(HELLO)
    assert first is not None
    environment = world.connect()

    world.do(world.fleet.failed(environment, Verdict.INIT_FAILED, world.now))

    assert world.concluded == {first: Verdict.INIT_FAILED}
    assert second in world.fleet.requests


def test_an_init_over_its_limit_ends_its_request_and_its_environment() -> None:
    world = World(Policy(init_timeout_s=10, start_timeout_s=100))
    request = world.arrive(HELLO)
    assert request is not None
    world.connect()

    world.pass_time(10)

    assert world.concluded == {request: Verdict.INIT_TIMED_OUT}


def test_a_request_gives_up_when_no_environment_comes_in_time() -> None:
    world = World(Policy(start_timeout_s=5))
    request = world.arrive(HELLO)
    assert request is not None

    world.pass_time(5)

    assert world.concluded == {request: Verdict.NO_ENVIRONMENT}


def test_a_burst_on_a_fast_warm_function_starts_no_herd() -> None:
    world = World()
    world.warm(HELLO)
    for _ in range(5):  # a measured duration of one millisecond
        world.arrive(HELLO)
        world.now += 0.001
        world.finish(next(iter(world.running)))

    for _ in range(50):
        world.arrive(HELLO)

    assert not world.starting


def test_a_burst_on_a_slow_warm_function_starts_environments() -> None:
    world = World(Policy(parallel_starts=4))
    world.warm(HELLO)
    for _ in range(5):
        world.arrive(HELLO)
        world.now += 1.0
        world.finish(next(iter(world.running)))

    for _ in range(50):
        world.arrive(HELLO)

    assert len(world.starting) == 4


def test_requests_behind_an_unexpectedly_slow_one_do_not_wait_for_it() -> None:
    world = World()
    world.warm(HELLO)
    for _ in range(5):
        world.arrive(HELLO)
        world.now += 0.001
        world.finish(next(iter(world.running)))
    world.arrive(HELLO)
    world.arrive(HELLO)
    assert not world.starting

    world.pass_time(1)

    assert len(world.starting) == 1


def test_a_container_start_that_nobody_waits_for_any_more_becomes_a_stem_cell_and_then_surplus() -> None:
    world = World()
    request = world.arrive(HELLO)
    assert request is not None
    world.do(world.fleet.abandon(request, world.now))
    cell = world.connect()

    effects = world.do(world.fleet.tick(world.now))

    assert effects == [Stop(cell, StopReason.SURPLUS)]


def test_the_idlest_environment_makes_room_when_memory_is_short() -> None:
    world = World(Policy(memory_budget_mib=320))
    first, second = function("first"), function("second")
    (oldest,) = world.warm(first)
    world.now += 1
    world.warm(second)

    world.arrive(function("third"))
    world.connect()

    assert list(world.stopping) == [oldest]


def test_without_any_memory_to_be_had_a_request_is_answered_at_once() -> None:
    world = World(Policy(memory_budget_mib=128))

    request = world.arrive(function(memory_mib=1024))

    assert request is not None
    assert world.concluded == {request: Verdict.NO_MEMORY}


def test_a_reservation_waits_for_a_place_and_comes_before_later_requests() -> None:
    world = World()
    world.do(world.fleet.limit(HELLO.name, 1, world.now))
    (environment,) = world.warm(HELLO)
    world.arrive(HELLO)
    world.do(world.fleet.reserve("r1", HELLO))
    assert world.granted == []

    world.finish(environment)

    assert world.granted == ["r1"]
    assert world.arrive(HELLO) is None
    assert world.arrive(HELLO, reservation_id="r1") is not None


def test_a_reservation_that_is_given_back_frees_its_place() -> None:
    world = World()
    world.do(world.fleet.limit(HELLO.name, 1, world.now))
    world.do(world.fleet.reserve("r1", HELLO))

    world.do(world.fleet.release("r1", world.now))

    assert world.arrive(HELLO) is not None


def test_deleting_a_function_concludes_what_waits_and_lets_what_runs_finish() -> None:
    world = World()
    (environment,) = world.warm(HELLO)
    running = world.arrive(HELLO)
    world.pass_time(1)
    waiting = world.arrive(HELLO)
    assert waiting is not None

    world.do(world.fleet.forget(HELLO.name, world.now))
    assert world.concluded == {waiting: Verdict.DELETED}
    world.finish(environment)

    assert running not in world.concluded
    assert environment in world.stopping


def test_news_about_an_environment_that_is_gone_is_counted_and_ignored() -> None:
    world = World()
    (environment,) = world.warm(HELLO)
    world.break_down(environment)
    world.remove()

    assert world.do(world.fleet.ready(environment, world.now)) == []
    assert world.fleet.late_news == 1


def test_a_removal_that_does_not_end_is_ordered_anew() -> None:
    world = World()
    (environment,) = world.warm(HELLO)
    world.break_down(environment)

    world.now += 10
    effects = world.do(world.fleet.tick(world.now))

    assert Stop(environment, StopReason.STUCK) in effects


def test_the_stock_is_refilled_after_a_cold_start() -> None:
    world = World(stems=1)
    world.do(world.fleet.tick(world.now))
    world.connect()
    world.arrive(HELLO)
    assert not world.starting

    world.initialise()

    assert len(world.starting) == 1


def test_an_adopted_environment_of_the_current_revision_serves_the_next_request() -> None:
    world = World()
    world.configure(HELLO)
    world.fleet.adopt("old", "python3.13", world.now)
    world.do(world.fleet.adopted("old", HELLO, world.now))
    world.do(world.fleet.ready("old", world.now))

    request = world.arrive(HELLO)

    assert world.running == {"old": request}


def test_an_adopted_environment_of_an_old_revision_goes() -> None:
    world = World()
    world.configure(function(revision="2"))
    world.fleet.adopt("old", "python3.13", world.now)

    world.do(world.fleet.adopted("old", HELLO, world.now))

    assert list(world.stopping) == ["old"]


def test_shutting_down_answers_everyone_and_stops_everything() -> None:
    world = World(stems=2)
    world.warm(HELLO)
    running = world.arrive(HELLO)
    waiting = world.arrive(HELLO)

    world.do(world.fleet.close(world.now))
    while world.stopping:
        world.remove()

    assert set(world.concluded) == {running, waiting}
    assert not world.fleet.environments


def test_after_a_failed_start_the_next_one_waits_and_then_waits_longer() -> None:
    world = World(Policy(parallel_starts=1))
    world.arrive(HELLO)
    pauses = []
    for _ in range(3):
        world.do(world.fleet.died(world.starting.popleft(), world.now))
        assert not world.starting
        pauses.append(world.fleet.stock.paused_until - world.now)
        world.pass_time(pauses[-1])
        assert len(world.starting) == 1

    assert pauses == sorted(set(pauses))


def test_the_end_of_an_invocation_that_was_killed_meanwhile_is_late_news() -> None:
    world = World()
    (environment,) = world.warm(HELLO)
    world.arrive(HELLO)
    world.pass_time(HELLO.timeout_s)
    assert list(world.stopping) == [environment]

    assert world.fleet.ready(environment, world.now) == []

    assert world.fleet.late_news == 1
    assert world.fleet.environments[environment].phase is Phase.STOPPING


def test_an_event_that_nobody_reads_is_repeated_only_so_often() -> None:
    world = World()
    request = world.arrive(HELLO)
    assert request is not None
    for _ in range(1 + MAX_REPEATS):
        assert request not in world.concluded
        while not world.running:
            world.connect()
            world.initialise()
        (environment,) = world.running
        world.break_down(environment, event_unread=True)
        world.remove()

    assert world.concluded[request] is Verdict.DIED


def test_nothing_is_remembered_of_a_deleted_function() -> None:
    world = World()
    world.warm(HELLO)

    world.do(world.fleet.forget(HELLO.name, world.now))
    world.remove()

    assert not world.fleet.pools and not world.fleet.caps.quotas and not world.fleet.environments


def test_an_adopted_stem_cell_counts_as_one_on_its_way() -> None:
    world = World(stems=1)
    world.fleet.adopt("old", "python3.13", world.now)

    world.do(world.fleet.tick(world.now))

    assert not world.starting


def test_adopted_environments_that_are_at_work_do_not_hold_up_new_ones() -> None:
    world = World(Policy(parallel_starts=1))
    world.configure(HELLO)
    world.fleet.adopt("old", "python3.13", world.now, working_s=60.0)

    world.arrive(HELLO)

    assert len(world.starting) == 1


def test_an_adopted_environment_that_is_at_work_has_its_functions_time_to_show_itself() -> None:
    world = World(Policy(start_timeout_s=30.0))
    world.configure(HELLO)
    world.fleet.adopt("old", "python3.13", world.now, working_s=60.0)

    world.pass_time(89)
    assert not world.stopping
    world.do(world.fleet.adopted("old", HELLO, world.now))

    assert world.members(HELLO) == 1
