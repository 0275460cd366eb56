"""Schedule expressions: what is one, and when it is due, against an evaluator that looks at every single minute."""

from calendar import monthrange
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import islice
from zoneinfo import ZoneInfo

import pytest
from cronsim import CronSim
from hypothesis import given, settings
from hypothesis import strategies as st

from hearth_gateway.core.schedule_expression import (
    Cron,
    Days,
    InvalidExpression,
    Once,
    Rate,
    ScheduleExpression,
    days_of_month,
    next_time,
    parse_expression,
    parse_rule_expression,
)

MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
WEEKDAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
BERLIN = ZoneInfo("Europe/Berlin")
IsMeant = Callable[[datetime], bool]
ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata", "Africa/Cairo")


def ms(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)


def times(text: str, start: datetime, number: int, zone: str = "UTC") -> list[str]:
    """The next times, as clocks there show them."""
    expression, where, at = parse_expression(text), ZoneInfo(zone), ms(start)
    found = []
    for _ in range(number):
        after = next_time(expression, at, where, 0)
        if after is None:
            break
        found.append(f"{datetime.fromtimestamp(after / 1000, where):%Y-%m-%dT%H:%M}")
        at = after
    return found


# Which texts are expressions


@pytest.mark.parametrize(
    "text",
    [
        *("rate(1 minute)", "rate(5 minutes)", "rate(1 hour)", "rate(7 days)", "rate(1 minutes)"),
        *("cron(0/10 * ? * MON-FRI *)", "cron(0 9 ? * 2#1 *)", "cron(0 0 L * ? *)", "cron(0 0 LW * ? *)"),
        *("cron(0 0 15W * ? *)", "cron(0 0 L-3 * ? *)", "cron(0 18 ? * 6L *)", "cron(0 18 ? * FRIL *)"),
        *("cron(0-15/1 8-8 ? * 2,3,4,5,6,7 *)", "cron(30-30 13-13 ? * 2,4,6 *)", "cron(1-31/30 1-1 ? * 1,7 *)"),
        *("cron(0 22-2 ? * FRI-MON *)", "cron(15 10 1 jan,jul ? 2026-2030)", "cron(*/5 * * * ? *)"),
        *("at(2026-11-21T10:00:00)", "at(2028-02-29T23:59:59)"),
    ],
)
def test_these_are_expressions(text: str) -> None:
    parse_expression(text)


@pytest.mark.parametrize(
    "text",
    [
        *("", "5 minutes", "rate()", "rate(0 minutes)", "rate(-1 minutes)", "rate(5  minutes)", "rate(5 seconds)"),
        *("rate(1.5 hours)", "cron()", "cron(0 9 * * *)", "cron(0 9 * * * *)", "cron(0 9 ? * ? *)"),
        *("cron(60 9 * * ? *)", "cron(0 24 * * ? *)", "cron(0 9 0 * ? *)", "cron(0 9 32 * ? *)", "cron(0 9 * 13 ? *)"),
        *("cron(0 9 ? * 0 *)", "cron(0 9 ? * 8 *)", "cron(0 9 ? * -1 *)", "cron(0 9 * * ? 1969)"),
        *("cron(0 9 * * ? 2200)", "cron(0 9 * * ? 2030-2026)", "cron(*/0 9 * * ? *)", "cron(0 9 32W * ? *)"),
        *("cron(0 9 1W,15W * ? *)", "cron(0 9 L,1 * ? *)", "cron(0 9 ? * 3#1,6#3 *)", "cron(0 9 ? * 2#6 *)"),
        *("cron(0/5, 9-18, ?, *, MON-FRI, *)", "cron(0 9 ? * FOO *)", "cron(0 9 W * ? *)", "cron(*-5 9 * * ? *)"),
        *("at(2026-02-30T10:00:00)", "at(2026-11-21 10:00:00)", "at(2026-11-21T10:00)", "at(9999-12-31T23:59:59)"),
        *("rate(5 minutes) ", " rate(5 minutes)", "RATE(5 minutes)", "cron(\u0661 9 * * ? *)"),
    ],
)
def test_these_are_no_expressions(text: str) -> None:
    with pytest.raises(InvalidExpression):
        parse_expression(text)


@given(st.text(max_size=40))
def test_any_text_is_an_expression_or_refused(text: str) -> None:
    for given_text in (text, f"cron({text})", f"rate({text})", f"at({text})"):
        try:
            parse_expression(given_text)
        except InvalidExpression:
            continue


def test_a_rule_has_no_single_time_and_its_units_agree_with_their_numbers() -> None:
    for text in ("at(2026-11-21T10:00:00)", "rate(1 minutes)", "rate(5 minute)"):
        with pytest.raises(InvalidExpression):
            parse_rule_expression(text)
    assert parse_rule_expression("rate(1 hour)") == Rate(3600)
    assert parse_rule_expression("rate(2 hours)") == Rate(7200)
    assert parse_rule_expression("cron(0 9 ? * 2 *)") == parse_expression("cron(0 9 ? * MON *)")


# When they are due

START = datetime(2026, 11, 21, 10, 5, 30, tzinfo=UTC)  # a Saturday


def test_weekdays_are_numbered_from_sunday() -> None:
    assert times("cron(0 9 ? * 1 *)", START, 2) == ["2026-11-22T09:00", "2026-11-29T09:00"]
    assert times("cron(0 9 ? * 7 *)", START, 1) == ["2026-11-28T09:00"]
    assert times("cron(0 12 ? * L *)", START, 1) == ["2026-11-21T12:00"]  # the last day of the week


def test_the_nth_weekday_and_the_last_one_of_a_month() -> None:
    assert times("cron(0 9 ? * 2#1 *)", START, 3) == ["2026-12-07T09:00", "2027-01-04T09:00", "2027-02-01T09:00"]
    assert times("cron(0 9 ? * 6L *)", START, 2) == ["2026-11-27T09:00", "2026-12-25T09:00"]
    assert times("cron(0 9 ? * 2#5 *)", START, 2) == ["2026-11-30T09:00", "2027-03-29T09:00"]


def test_the_last_days_of_a_month() -> None:
    assert times("cron(0 0 L * ? *)", START, 4) == [
        *("2026-11-30T00:00", "2026-12-31T00:00", "2027-01-31T00:00", "2027-02-28T00:00")
    ]
    assert times("cron(0 0 L-3 2 ? *)", START, 2) == ["2027-02-25T00:00", "2028-02-26T00:00"]


def test_the_nearest_working_day_stays_in_its_month() -> None:
    # 1 August 2026 is a Saturday, 31 May 2026 a Sunday, 15 November 2026 a Sunday, 28 November 2026 a Saturday.
    assert times("cron(0 0 1W 8 ? 2026)", datetime(2026, 1, 1, tzinfo=UTC), 1) == ["2026-08-03T00:00"]
    assert times("cron(0 0 31W 5 ? 2026)", datetime(2026, 1, 1, tzinfo=UTC), 1) == ["2026-05-29T00:00"]
    assert times("cron(0 0 15W 11 ? 2026)", datetime(2026, 1, 1, tzinfo=UTC), 1) == ["2026-11-16T00:00"]
    assert times("cron(0 0 28W 11 ? 2026)", datetime(2026, 1, 1, tzinfo=UTC), 1) == ["2026-11-27T00:00"]
    assert times("cron(0 0 31W 11 ? *)", START, 1) == []  # there is no such day
    assert times("cron(0 0 LW 1 ? *)", START, 1) == ["2027-01-29T00:00"]


def test_ranges_go_over_the_end_and_steps_begin_at_the_first() -> None:
    assert times("cron(0 22-2/2 * * ? *)", START, 4) == [
        *("2026-11-21T22:00", "2026-11-22T00:00", "2026-11-22T02:00", "2026-11-22T22:00")
    ]
    assert times("cron(5/20 10 * * ? *)", START, 3) == ["2026-11-21T10:25", "2026-11-21T10:45", "2026-11-22T10:05"]


def test_years_end() -> None:
    assert times("cron(0 0 1 1 ? 2027,2029)", START, 9) == ["2027-01-01T00:00", "2029-01-01T00:00"]
    assert times("cron(0 0 30 2 ? *)", START, 1) == []
    assert times("cron(0 0 29 2 ? *)", START, 2) == ["2028-02-29T00:00", "2032-02-29T00:00"]


def test_a_local_time_that_clocks_go_over_is_skipped() -> None:
    assert times("cron(30 2 ? * SUN *)", datetime(2027, 3, 20, tzinfo=UTC), 3, "Europe/Berlin") == [
        *("2027-03-21T02:30", "2027-04-04T02:30", "2027-04-11T02:30")
    ]


def test_a_local_time_that_is_there_twice_counts_once() -> None:
    first = datetime(2026, 10, 25, 0, 29, tzinfo=UTC)  # 02:29 in Berlin; an hour later it is 02:29 again
    assert times("cron(30 2 * * ? *)", first, 2, "Europe/Berlin") == ["2026-10-25T02:30", "2026-10-26T02:30"]
    again = next_time(parse_expression("cron(30 2 * * ? *)"), ms(first + timedelta(hours=1)), BERLIN, 0)
    assert again == ms(datetime(2026, 10, 26, 1, 30, tzinfo=UTC))


def test_a_single_time_is_local_and_comes_once() -> None:
    expression = parse_expression("at(2026-07-01T12:00:00)")
    noon = ms(datetime(2026, 7, 1, 10, tzinfo=UTC))
    assert next_time(expression, 0, BERLIN, 0) == noon
    assert next_time(expression, noon - 1, BERLIN, 0) == noon
    assert next_time(expression, noon, BERLIN, 0) is None


def test_a_single_time_that_clocks_go_over_is_not_lost() -> None:
    at = next_time(Once(datetime(2027, 3, 28, 2, 30)), 0, BERLIN, 0)  # noqa: DTZ001 - local by nature
    assert at == ms(datetime(2027, 3, 28, 1, 30, tzinfo=UTC))


@given(st.integers(1, 10_000), st.integers(0, 10**13), st.integers(0, 10**13))
def test_a_rate_keeps_its_step_from_its_anchor(period_s: int, anchor: int, after: int) -> None:
    found = next_time(Rate(period_s), after, UTC, anchor)
    assert found is not None
    assert (found - anchor) % (period_s * 1000) == 0
    assert after < found <= after + period_s * 1000


# Against evaluators that are nothing like it


@st.composite
def fields(draw: st.DrawFn, least: int, most: int) -> tuple[str, frozenset[int]]:
    """A field's text, and what it means."""
    everything = range(least, most + 1)
    first, second, step = (
        draw(st.integers(least, most)),
        draw(st.integers(least, most)),
        draw(st.integers(1, most - least)),
    )
    low, high = sorted((first, second))
    simple = [
        ("*", everything),
        (str(first), (first,)),
        (f"{low}-{high}", range(low, high + 1)),
        (f"{first}/{step}", range(first, most + 1, step)),
        (f"*/{step}", range(least, most + 1, step)),
        (f"{low}-{high}/{step}", range(low, high + 1, step)),
        (f"{first},{second}", (first, second)),
        (f"{high}-{low}", (*range(high, most + 1), *range(least, low + 1)) if high > low else (low,)),
    ]
    text, values = draw(st.sampled_from(simple))
    return text, frozenset(values)


@st.composite
def days(draw: st.DrawFn) -> tuple[str, str, IsMeant]:  # noqa: PLR0911 - one for each kind
    """Day-of-month, day-of-week, and a function that says whether a date is meant."""
    match draw(st.sampled_from(["day", "weekday", "last", "before", "near", "near-last", "nth", "last-weekday"])):
        case "day":
            text, values = draw(fields(1, 31))
            return text, "?", lambda day: day.day in values
        case "weekday":
            text, values = draw(fields(1, 7))
            return "?", text, lambda day: _weekday(day) in values
        case "last":
            return "L", "?", lambda day: day.day == _length(day)
        case "before":
            before = draw(st.integers(1, 30))
            return f"L-{before}", "?", lambda day: day.day == _length(day) - before
        case "near":
            wanted = draw(st.integers(1, 31))
            return f"{wanted}W", "?", lambda day: wanted <= _length(day) and day.day == _near(day, wanted)
        case "near-last":
            return "LW", "?", lambda day: day.day == _near(day, _length(day))
        case "nth":
            weekday, nth = draw(st.integers(1, 7)), draw(st.integers(1, 5))
            return "?", f"{weekday}#{nth}", lambda day: _weekday(day) == weekday and (day.day - 1) // 7 + 1 == nth
        case _:
            weekday = draw(st.integers(1, 7))
            named = f"{WEEKDAYS[weekday - 1]}L"
            return "?", named, lambda day: _weekday(day) == weekday and day.day + 7 > _length(day)


def _weekday(day: datetime) -> int:
    return day.isoweekday() % 7 + 1


def _length(day: datetime) -> int:
    return monthrange(day.year, day.month)[1]


def _near(day: datetime, wanted: int) -> int:
    """By looking at every working day of the month. There is no tie: one of the two is always nearer."""
    working = [number for number in range(1, _length(day) + 1) if _weekday(day.replace(day=number)) not in (1, 7)]
    return min(working, key=lambda number: abs(number - wanted))


CHANGES = (
    *(("Europe/Berlin", "2026-03-29T01:00"), ("Europe/Berlin", "2026-10-25T01:00")),
    *(("America/New_York", "2026-03-08T07:00"), ("America/New_York", "2026-11-01T06:00")),
    *(("Australia/Lord_Howe", "2026-04-04T15:00"), ("Australia/Lord_Howe", "2026-10-03T15:30")),
    *(("Africa/Cairo", "2026-04-23T22:00"), ("Africa/Cairo", "2026-10-29T21:00")),
)
"""When clocks there change, in UTC; on Lord Howe by half an hour, in Cairo at midnight."""


@st.composite
def starts(draw: st.DrawFn) -> tuple[str, datetime]:
    """A zone and a time to begin at: any, or one shortly before clocks change there."""
    if draw(st.booleans()):
        offset = timedelta(minutes=draw(st.integers(0, 3 * 365 * 1440)))
        return draw(st.sampled_from(ZONES)), datetime(2026, 1, 1, tzinfo=UTC) + offset
    zone, change = draw(st.sampled_from(CHANGES))
    return zone, datetime.fromisoformat(f"{change}:00+00:00") - timedelta(minutes=draw(st.integers(0, 600)))


@settings(deadline=None, max_examples=100)
@given(fields(0, 59), fields(0, 23), days(), fields(1, 12), starts())
def test_the_calendar_agrees_with_a_look_at_every_minute(
    minutes: tuple[str, frozenset[int]],
    hours: tuple[str, frozenset[int]],
    day: tuple[str, str, IsMeant],
    months: tuple[str, frozenset[int]],
    place: tuple[str, datetime],
) -> None:
    text = f"cron({minutes[0]} {hours[0]} {day[0]} {months[0]} {day[1]} *)"
    where, start, is_meant = ZoneInfo(place[0]), place[1], day[2]
    found = next_time(parse_expression(text), ms(start), where, 0)
    horizon = start + timedelta(days=2)

    def matches(instant: datetime) -> bool:
        local = instant.astimezone(where)
        if local.fold or local.minute not in minutes[1] or local.hour not in hours[1]:
            return False
        return local.month in months[1] and is_meant(local)

    every = (start + timedelta(minutes=number) for number in range(1, 2 * 1440 + 1))
    expected = next((ms(instant) for instant in every if matches(instant)), None)
    assert (found if found is not None and found <= ms(horizon) else None) == expected


@settings(deadline=None)
@given(fields(0, 59), fields(0, 23), fields(1, 31), fields(1, 12), st.integers(0, 3 * 365 * 1440))
def test_what_common_cron_can_say_too_it_says_alike(
    minutes: tuple[str, frozenset[int]],
    hours: tuple[str, frozenset[int]],
    month_days: tuple[str, frozenset[int]],
    months: tuple[str, frozenset[int]],
    offset_min: int,
) -> None:
    common = [",".join(map(str, sorted(values))) for _, values in (minutes, hours, month_days, months)]
    start = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=offset_min)
    try:
        reference = CronSim(f"{' '.join(common)} *", start)
    except ValueError:
        return
    except Exception as error:  # its own error for days that no month has
        assert "day" in str(error)
        return
    expected = [ms(moment) for moment in islice(reference, 3)]
    expression = parse_expression(f"cron({minutes[0]} {hours[0]} {month_days[0]} {months[0]} ? *)")
    assert _next_times(expression, ms(start), 3) == expected


def _next_times(expression: ScheduleExpression, after: int, number: int) -> list[int]:
    found: list[int] = []
    while len(found) < number and (following := next_time(expression, (found or [after])[-1], UTC, 0)) is not None:
        found.append(following)
    return found


@given(st.integers(1970, 2199), st.integers(1, 12), st.integers(1, 7))
def test_the_five_of_a_weekday_are_all_there_are(year: int, month: int, weekday: int) -> None:
    every = days_of_month(_days(f"? * {weekday}"), year, month)
    nths = [days_of_month(_days(f"? * {weekday}#{nth}"), year, month) for nth in range(1, 6)]
    assert sum(nths) == every
    assert days_of_month(_days(f"? * {weekday}L"), year, month) == 1 << every.bit_length() - 1


def _days(fields_text: str) -> Days:
    month_day, month, weekday = fields_text.split()
    expression = parse_expression(f"cron(0 0 {month_day} {month} {weekday} *)")
    assert isinstance(expression, Cron)
    return expression.days
