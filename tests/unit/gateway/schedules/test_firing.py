"""When timers fire, which missed firings are made good, and where in a window they fall."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hearth_gateway.core.firing import Mark, MissedFirings, Timer, next_due, take_step
from hearth_gateway.core.schedule_expression import Rate, parse_expression

MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000
T0 = 20_000 * DAY
EVERY_MINUTE = Timer("arn:timer", parse_expression("cron(* * * * ? *)"), since_ms=T0, anchor_ms=T0)
LATEST, ALL, SKIP = MissedFirings.LATEST, MissedFirings.ALL, MissedFirings.SKIP


def due_ms(timer: Timer, mark: Mark | None = None, now_ms: int = T0) -> int | None:
    due = next_due(timer, mark, now_ms)
    return None if due is None else due.due_ms


def test_a_timer_fires_after_it_was_made_and_after_what_it_was_fired_for() -> None:
    assert due_ms(EVERY_MINUTE) == T0 + MINUTE
    assert due_ms(EVERY_MINUTE, Mark(T0 + 5 * MINUTE)) == T0 + 6 * MINUTE
    assert due_ms(EVERY_MINUTE, Mark(T0 - 5 * MINUTE)) == T0 + MINUTE


def test_start_and_end_are_part_of_the_time_between() -> None:
    timer = replace(EVERY_MINUTE, start_ms=T0 + 10 * MINUTE, end_ms=T0 + 11 * MINUTE)
    assert due_ms(timer) == T0 + 10 * MINUTE
    assert due_ms(timer, Mark(T0 + 10 * MINUTE)) == T0 + 11 * MINUTE
    assert due_ms(timer, Mark(T0 + 11 * MINUTE)) is None


def test_a_rate_of_a_rule_waits_one_period_and_one_of_a_schedule_begins_at_once() -> None:
    rule = Timer("arn:rule", Rate(300), since_ms=T0, anchor_ms=T0)
    assert due_ms(rule) == T0 + 5 * MINUTE
    assert due_ms(replace(rule, since_ms=T0 - 1)) == T0


@pytest.mark.parametrize(("policy", "fired"), [(LATEST, [180]), (ALL, [60, 120, 180]), (SKIP, [])])
def test_what_was_missed_is_made_good_by_policy(policy: MissedFirings, fired: list[int]) -> None:
    hourly = Timer("arn:timer", Rate(3600), since_ms=T0, anchor_ms=T0)
    step = take_step(hourly, None, T0 + 3 * HOUR + 10 * MINUTE, policy)
    assert [(time - T0) // MINUTE for time in step.scheduled] == fired
    assert step.next is not None
    assert step.next.scheduled_ms == T0 + 4 * HOUR


@pytest.mark.parametrize("policy", list(MissedFirings))
def test_a_firing_that_is_on_time_is_made_under_every_policy(policy: MissedFirings) -> None:
    step = take_step(EVERY_MINUTE, Mark(T0), T0 + MINUTE + 59_000, policy)
    assert step.scheduled == (T0 + MINUTE,)
    assert step.mark == Mark(T0 + MINUTE, T0 + MINUTE)


def test_the_latest_is_the_last_of_those_that_are_due() -> None:
    for minutes in (2, 5, 300):
        step = take_step(EVERY_MINUTE, Mark(T0), T0 + minutes * MINUTE + 30_000, LATEST)
        assert step.scheduled == (T0 + minutes * MINUTE,)


def test_a_timers_own_policy_goes_before_the_setting() -> None:
    step = take_step(replace(EVERY_MINUTE, missed=SKIP), Mark(T0), T0 + HOUR + MINUTE // 2, ALL)
    assert step.scheduled == (T0 + HOUR,)


def test_a_firing_that_is_older_than_the_maximum_age_is_gone() -> None:
    daily = Timer("arn:timer", Rate(86_400), since_ms=T0, anchor_ms=T0, max_age_s=3600)
    assert take_step(daily, None, T0 + DAY + HOUR, LATEST).scheduled == (T0 + DAY,)
    late = take_step(daily, None, T0 + DAY + HOUR + 1, LATEST)
    assert late.scheduled == ()
    assert late.next is not None
    assert late.next.scheduled_ms == T0 + 2 * DAY


def test_all_that_is_made_good_is_what_the_maximum_age_leaves() -> None:
    step = take_step(replace(EVERY_MINUTE, max_age_s=600), Mark(T0), T0 + 30 * DAY, ALL)
    assert len(step.scheduled) == 11  # ten minutes, both ends included


def test_a_single_time_that_was_missed_is_made_good_once() -> None:
    once = Timer("arn:timer", parse_expression("at(2026-11-21T10:00:00)"), since_ms=0, anchor_ms=0)
    at = due_ms(once)
    assert at is not None
    step = take_step(once, None, at + HOUR, LATEST)
    assert step.scheduled == (at,)
    assert step.next is None
    assert next_due(once, step.mark, at + HOUR) is None


def test_a_mark_from_a_clock_that_was_wrong_does_not_silence_the_timer() -> None:
    year_ahead = Mark(T0 + 365 * DAY, T0 + 365 * DAY)
    assert due_ms(EVERY_MINUTE, year_ahead, T0) == T0 + MINUTE
    # A small step back is waited out instead: what was fired is not fired again.
    assert due_ms(EVERY_MINUTE, Mark(T0 + 10 * MINUTE), T0) == T0 + 11 * MINUTE


windows = st.integers(0, 7200)


@given(windows, st.integers(1, 600), st.integers(0, 10**6))
def test_firings_in_a_window_keep_their_order_and_their_place(window_s: int, period_s: int, ticks: int) -> None:
    timer = Timer("arn:timer", Rate(period_s), since_ms=T0, anchor_ms=T0, window_s=window_s)
    first = next_due(timer, Mark(T0 + ticks), T0)
    assert first is not None
    second = next_due(timer, Mark(first.scheduled_ms), T0)
    assert second is not None
    assert first.scheduled_ms <= first.due_ms <= first.scheduled_ms + window_s * 1000
    assert first.due_ms <= second.scheduled_ms
    assert next_due(timer, Mark(T0 + ticks), T0) == first


def test_places_in_a_window_are_spread() -> None:
    timer = Timer("arn:timer", Rate(3600), since_ms=T0, anchor_ms=T0, window_s=1800)
    offsets = set()
    mark = Mark(T0)
    for _ in range(50):
        due = next_due(timer, mark, mark.handled_ms)
        assert due is not None
        offsets.add((due.due_ms - due.scheduled_ms) // 300_000)
        mark = Mark(due.scheduled_ms)
    assert offsets == {0, 1, 2, 3, 4, 5}


@given(
    st.sampled_from([Rate(60), Rate(3600), parse_expression("cron(0/7 * * * ? *)")]),
    st.sampled_from(list(MissedFirings)),
    windows,
    st.lists(st.integers(1, 2 * HOUR), min_size=1, max_size=20),
)
def test_whatever_the_pauses_no_firing_is_made_twice_and_all_makes_every_one(
    expression: Rate, policy: MissedFirings, window_s: int, pauses: list[int]
) -> None:
    timer = Timer("arn:timer", expression, since_ms=T0, anchor_ms=T0, window_s=window_s)
    now, mark = T0, None
    fired: list[int] = []
    for pause in pauses:
        now += pause
        step = take_step(timer, mark, now, policy)
        fired += step.scheduled
        mark = step.mark if step.scheduled else mark  # the engine keeps the marks of firings
        assert step.next is None or step.next.due_ms > now
    assert fired == sorted(set(fired))
    if policy is ALL:
        every, mark = [], None
        while (due := next_due(timer, mark, now)) is not None and due.due_ms <= now:
            every.append(due.scheduled_ms)
            mark = Mark(due.scheduled_ms)
        assert fired == every
