"""After an outage batches begin one by one."""

from hypothesis import given
from hypothesis import strategies as st

from hearth_gateway.core.slow_start import (
    AWAY_MS,
    FAILING_MS,
    FULL,
    STEP_MS,
    Pace,
    came_back,
    failed,
    slow,
    succeeded,
)

STEADY = Pace(None, 0)


def test_the_limit_doubles_with_time_until_there_is_none() -> None:
    pace = slow(1_000)

    limits = [pace.limit(1_000 + step * STEP_MS) for step in range(7)]

    assert limits == [1, 2, 4, 8, 16, 32, None]
    assert pace.limit(1_000 + STEP_MS - 1) == 1
    assert pace.until_step_ms(1_000 + STEP_MS - 1) == 1


def test_every_success_makes_room_for_one_more() -> None:
    pace = slow(0)
    for _ in range(3):
        pace = succeeded(pace, 10)
    assert pace.limit(10) == 4

    for _ in range(FULL):
        pace = succeeded(pace, 10)
    assert pace.limit(10) is None


def test_a_success_does_not_put_off_the_next_step() -> None:
    pace = succeeded(slow(0), STEP_MS - 1)

    assert (pace.limit(STEP_MS - 1), pace.limit(STEP_MS)) == (2, 4)


def test_a_failure_stops_the_growth_but_takes_nothing_away() -> None:
    pace = failed(slow(0), STEP_MS, FAILING_MS)

    assert (pace.limit(STEP_MS), pace.limit(2 * STEP_MS - 1)) == (2, 2)


def test_nothing_but_failures_for_long_is_an_outage() -> None:
    pace = failed(STEADY, 0, FAILING_MS)
    assert failed(pace, FAILING_MS - 1, FAILING_MS).limit(FAILING_MS - 1) is None
    assert failed(pace, FAILING_MS, FAILING_MS).limit(FAILING_MS) == 1

    relieved = succeeded(pace, FAILING_MS - 1)
    assert failed(relieved, FAILING_MS, FAILING_MS).limit(FAILING_MS) is None


def test_a_short_absence_is_no_outage() -> None:
    assert came_back(STEADY, 5, AWAY_MS - 1) == STEADY
    assert came_back(STEADY, 5, AWAY_MS) == slow(5)


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 30_000)), max_size=40))
def test_there_is_always_room_for_at_least_one(events: list[tuple[bool, int]]) -> None:
    pace, now_ms = slow(0), 0
    for is_success, passed_ms in events:
        now_ms += passed_ms
        before = pace.limit(now_ms)
        pace = succeeded(pace, now_ms) if is_success else failed(pace, now_ms, FAILING_MS)
        after = pace.limit(now_ms)
        assert after is None or after >= 1
        if is_success:
            assert after is None or (before is not None and after == before + 1)
        step_ms = pace.until_step_ms(now_ms)
        assert step_ms is None or 0 < step_ms <= STEP_MS
