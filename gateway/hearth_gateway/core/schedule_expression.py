"""Schedule expressions: `rate(5 minutes)`, `cron(0 9 ? * MON-FRI *)`, `at(2026-11-21T10:00:00)`, and when they are due.

Rule 1: exactly one of day-of-month and day-of-week is `?`, and weekdays are numbered from 1, Sunday.
Rule 2: cron is about local times. One that does not exist, because clocks go forward over it, is skipped; one that is
there twice, because they go back, counts the first time only.
Rule 3: rates are durations: a day is 24 hours, also when clocks change. They count from an anchor.
Source: "Schedule types in EventBridge Scheduler" and "Setting a schedule pattern for scheduled rules in EventBridge",
AWS user guides. See docs/decisions/006 for why the calendar is computed here.
"""

import re
from calendar import monthrange
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import assert_never

FIRST_YEAR, LAST_YEAR = 1970, 2199
SATURDAY, SUNDAY = 6, 7  # as `date.isoweekday` counts

_MINUTE = timedelta(minutes=1)
_EPOCH = datetime.fromtimestamp(0, UTC)
_MILLISECOND = timedelta(milliseconds=1)
_UNITS_S = {"minute": 60, "hour": 3_600, "day": 86_400}
_WHOLE = re.compile(r"(?P<kind>rate|cron|at)\((?P<inner>.*)\)", re.DOTALL)
_RATE = re.compile(r"(?P<count>[1-9][0-9]{0,5}) (?P<unit>minute|hour|day)(?P<plural>s?)")
_AT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}")
_ITEM = re.compile(r"(?P<first>\*|[0-9A-Z]+)(?:-(?P<last>[0-9A-Z]+))?(?:/(?P<step>[0-9]+))?")
_FIELDS = 6


class InvalidExpression(ValueError):
    """The text is no schedule expression."""


@dataclass(frozen=True, slots=True)
class Rate:
    """Every so many seconds."""

    period_s: int


@dataclass(frozen=True, slots=True)
class Once:
    """One time, local, without a zone."""

    local: datetime


@dataclass(frozen=True, slots=True)
class MonthDays:
    """Days by number, a bit each: bit 1 is the first."""

    mask: int


@dataclass(frozen=True, slots=True)
class LastDay:
    """The last day of the month, or so many days before it."""

    before: int


@dataclass(frozen=True, slots=True)
class NearestWeekday:
    """The working day that is nearest to this day of the month, in the same month; `None` is the month's last day."""

    day: int | None


@dataclass(frozen=True, slots=True)
class Weekdays:
    """Days of the week, a bit each: bit 1 is Sunday."""

    mask: int


@dataclass(frozen=True, slots=True)
class NthWeekday:
    """The first to fifth such weekday of the month (1 is Sunday); the last one where `nth` is None."""

    weekday: int
    nth: int | None


Days = MonthDays | LastDay | NearestWeekday | Weekdays | NthWeekday


@dataclass(frozen=True, slots=True)
class Cron:
    """Sets of minutes, hours, months and years, a bit for each value (years count from `FIRST_YEAR`), and of days."""

    minutes: int
    hours: int
    days: Days
    months: int
    years: int


ScheduleExpression = Rate | Cron | Once


@dataclass(frozen=True, slots=True)
class _Field:
    least: int
    most: int
    names: Mapping[str, int]
    wraps: bool = True


def _named(first: int, words: str) -> Mapping[str, int]:
    return {word: first + place for place, word in enumerate(words.split())}


_MINUTES = _Field(0, 59, {})
_HOURS = _Field(0, 23, {})
_MONTH_DAYS = _Field(1, 31, {})
_MONTHS = _Field(1, 12, _named(1, "JAN FEB MAR APR MAY JUN JUL AUG SEP OCT NOV DEC"))
_WEEKDAYS = _Field(1, 7, _named(1, "SUN MON TUE WED THU FRI SAT"))
_YEARS = _Field(FIRST_YEAR, LAST_YEAR, {}, wraps=False)


# Reading


def parse_expression(text: str) -> ScheduleExpression:
    """An expression of EventBridge Scheduler. Raises InvalidExpression."""
    found = _WHOLE.fullmatch(text)
    if found is None:
        raise InvalidExpression(text)
    match found["kind"]:
        case "rate":
            return _rate(found["inner"])
        case "cron":
            return _cron(found["inner"])
        case _:
            return _once(found["inner"])


def parse_rule_expression(text: str) -> Rate | Cron:
    """An expression of a rule of EventBridge: no `at`, and a rate's unit agrees with its number."""
    expression = parse_expression(text)
    if isinstance(expression, Once):
        raise InvalidExpression(text)
    if isinstance(expression, Rate) and text.startswith("rate(1 ") is text.endswith("s)"):
        raise InvalidExpression(text)
    return expression


def _rate(inner: str) -> Rate:
    found = _RATE.fullmatch(inner)
    if found is None:
        raise InvalidExpression(inner)
    return Rate(int(found["count"]) * _UNITS_S[found["unit"]])


def _once(inner: str) -> Once:
    if not _AT.fullmatch(inner):
        raise InvalidExpression(inner)
    try:
        local = datetime.fromisoformat(inner)
    except ValueError as error:
        raise InvalidExpression(inner) from error
    if not FIRST_YEAR <= local.year <= LAST_YEAR:
        raise InvalidExpression(inner)
    return Once(local)


def _cron(inner: str) -> Cron:
    fields = inner.upper().split()
    if len(fields) != _FIELDS:
        raise InvalidExpression(inner)
    minutes, hours, month_day, months, weekday, years = fields
    if (month_day == "?") is (weekday == "?"):
        raise InvalidExpression(inner)
    return Cron(
        _mask(minutes, _MINUTES),
        _mask(hours, _HOURS),
        _month_days(month_day) if weekday == "?" else _weekdays(weekday),
        _mask(months, _MONTHS),
        _mask(years, _YEARS) >> FIRST_YEAR,
    )


def _month_days(text: str) -> Days:
    if text == "L":
        return LastDay(0)
    if text == "LW":
        return NearestWeekday(None)
    if text.startswith("L-"):
        return LastDay(_within(text[2:], 1, 30))
    if text.endswith("W"):
        return NearestWeekday(_within(text[:-1], 1, 31))
    return MonthDays(_mask(text, _MONTH_DAYS))


def _weekdays(text: str) -> Days:
    if text == "L":
        return Weekdays(1 << _WEEKDAYS.most)  # the last day of the week
    if text.endswith("L"):
        return NthWeekday(_value(text[:-1], _WEEKDAYS), None)
    weekday, hash_sign, nth = text.partition("#")
    if hash_sign:
        return NthWeekday(_value(weekday, _WEEKDAYS), _within(nth, 1, 5))
    return Weekdays(_mask(text, _WEEKDAYS))


def _mask(text: str, field: _Field) -> int:
    mask = 0
    for item in text.split(","):
        for value in _values(item, field):
            mask |= 1 << value
    return mask


def _values(item: str, field: _Field) -> Iterator[int]:
    found = _ITEM.fullmatch(item)
    if found is None or (found["first"] == "*" and found["last"]):
        raise InvalidExpression(item)
    step = _within(found["step"], 1, field.most) if found["step"] else 1
    if found["first"] == "*":
        first, last = field.least, field.most
    else:
        first = _value(found["first"], field)
        last = _value(found["last"], field) if found["last"] else first
        if found["step"] and not found["last"]:
            last = field.most
    if last < first:
        if not field.wraps:
            raise InvalidExpression(item)
        last += field.most - field.least + 1  # FRI-MON, 22-2: over the end and on from the beginning
    size = field.most - field.least + 1
    return (field.least + (value - field.least) % size for value in range(first, last + 1, step))


def _value(text: str, field: _Field) -> int:
    named = field.names.get(text)
    return _within(text, field.least, field.most) if named is None else named


def _within(text: str, least: int, most: int) -> int:
    if not (text.isascii() and text.isdigit()) or not least <= int(text[:9]) <= most:
        raise InvalidExpression(text)
    return int(text[:9])


# Computing


def next_time(expression: ScheduleExpression, after_ms: int, zone: tzinfo, anchor_ms: int) -> int | None:
    """The first time after this one, epoch milliseconds; None if there is none. Rates count from `anchor_ms`."""
    match expression:
        case Rate(period_s=period_s):
            period_ms = period_s * 1000
            return anchor_ms + ((after_ms - anchor_ms) // period_ms + 1) * period_ms
        case Once(local=local):
            # A time that clocks go over is the one that they would have shown, had they not been changed.
            at_ms = (local.replace(tzinfo=zone).astimezone(UTC) - _EPOCH) // _MILLISECOND
            return at_ms if at_ms > after_ms else None
        case Cron():
            return _next_by_calendar(expression, after_ms, zone)
        case _:
            assert_never(expression)


def _next_by_calendar(cron: Cron, after_ms: int, zone: tzinfo) -> int | None:
    start = (_EPOCH + timedelta(milliseconds=after_ms)).astimezone(zone).replace(tzinfo=None, fold=0)
    for local in _local_times(cron, start.replace(second=0, microsecond=0) + _MINUTE):
        instant_ms = _instant_ms(local, zone)
        if instant_ms is not None and instant_ms > after_ms:
            return instant_ms
    return None


def _instant_ms(local: datetime, zone: tzinfo) -> int | None:
    """When local clocks show this, for the first time; None if they never do."""
    instant = local.replace(tzinfo=zone).astimezone(UTC)
    if instant.astimezone(zone).replace(tzinfo=None, fold=0) != local:
        return None
    return (instant - _EPOCH) // _MILLISECOND


def _local_times(cron: Cron, start: datetime) -> Iterator[datetime]:
    """All local times from `start` on, in order."""
    for day in _dates(cron, start.date()):
        earliest = start.time() if day == start.date() else time()
        for hour in _bits(cron.hours, earliest.hour):
            for minute in _bits(cron.minutes, earliest.minute if hour == earliest.hour else 0):
                yield datetime.combine(day, time(hour, minute))


def _dates(cron: Cron, start: date) -> Iterator[date]:
    for year_bit in _bits(cron.years, max(start.year - FIRST_YEAR, 0)):
        year = FIRST_YEAR + year_bit
        for month in _bits(cron.months, start.month if year == start.year else 1):
            is_first = (year, month) == (start.year, start.month)
            for day in _bits(days_of_month(cron.days, year, month), start.day if is_first else 1):
                yield date(year, month, day)


def _bits(mask: int, least: int) -> Iterator[int]:
    """The numbers of the bits that are set, from `least` on."""
    left = mask >> least << least
    while left:
        lowest = left & -left
        yield lowest.bit_length() - 1
        left ^= lowest


def days_of_month(days: Days, year: int, month: int) -> int:
    """Which days of a month are meant, a bit each; bit 1 is the first."""
    first_weekday, length = monthrange(year, month)
    within = (1 << length + 1) - 2
    match days:
        case MonthDays(mask=mask):
            return mask & within
        case LastDay(before=before):
            return 1 << length - before if before < length else 0
        case NearestWeekday(day=day):
            return _nearest(length if day is None else day, first_weekday, length)
        case Weekdays(mask=mask):
            return _weekly(mask, first_weekday) & within
        case NthWeekday(weekday=weekday, nth=nth):
            every = list(_bits(_weekly(1 << weekday, first_weekday) & within, 1))
            chosen = every[-1:] if nth is None else every[nth - 1 : nth]
            return sum(1 << day for day in chosen)
        case _:
            assert_never(days)


def _nearest(day: int, first_weekday: int, length: int) -> int:
    """`first_weekday` is the weekday of the first, Monday 0."""
    if day > length:
        return 0
    match (first_weekday + day - 1) % 7 + 1:
        case weekday if weekday == SATURDAY:
            day += -1 if day > 1 else 2
        case weekday if weekday == SUNDAY:
            day += 1 if day < length else -2
    return 1 << day


def _weekly(mask: int, first_weekday: int) -> int:
    """The days 1 to 31 that fall on the weekdays of the mask."""
    found = 0
    for day in range(1, 32):
        weekday = (first_weekday + day) % 7 + 1  # Monday 0 was the first's; the mask's Sunday is 1
        found |= (mask >> weekday & 1) << day
    return found
