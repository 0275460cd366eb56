"""When timers fire, and what becomes of firings that were missed.

Rule 1: a timer's firings are for scheduled times, strictly one after the other; its mark is the last one dealt with.
Rule 2: everything about a firing follows from the timer's id and the scheduled time: its id, and its place in a
flexible window. A restart changes neither.
Rule 3: a firing is missed when it is later than `ON_TIME_MS`. Which missed ones are made good is a policy; none is that
is older than the timer's maximum age.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, tzinfo
from enum import Enum

from hearth_gateway.core.parcel import DEFAULT_MAX_AGE_S, derived_id
from hearth_gateway.core.schedule_expression import ScheduleExpression, next_time

ON_TIME_MS = 60_000
"""EventBridge Scheduler's own precision: a firing within a minute of its time is on time."""
CLOCK_WAS_WRONG_MS = 3_600_000
"""A mark that lies this far in the future was made by a clock that was wrong; a smaller step back is waited out."""


class MissedFirings(Enum):
    """What happens to the firings of a time when Hearth was not running. The value is the word of the setting."""

    LATEST = "latest"
    ALL = "all"
    SKIP = "skip"


@dataclass(frozen=True, slots=True)
class Timer:
    """Something that fires. `id` is the ARN of whose timer it is.

    Times are epoch milliseconds. It fires for times after `since_ms` (when it was created, last changed or enabled;
    one less than a time that should itself count), from `start_ms` to `end_ms`, both included. Rates count from
    `anchor_ms`. A firing waits up to `window_s` seconds longer, by chance. `missed` None is the setting's policy.
    """

    id: str
    expression: ScheduleExpression
    since_ms: int
    anchor_ms: int
    zone: tzinfo = UTC
    start_ms: int | None = None
    end_ms: int | None = None
    window_s: int = 0
    missed: MissedFirings | None = None
    max_age_s: int = DEFAULT_MAX_AGE_S


@dataclass(frozen=True, slots=True)
class Firing:
    """One firing. `id` is the same however often it is asked for; `scheduled_ms` is the time that the expression gives,
    `fired_ms` when it really happens."""

    id: str
    scheduled_ms: int
    fired_ms: int


@dataclass(frozen=True, slots=True)
class Mark:
    """How far a timer has come: the scheduled times of the last firing dealt with, and of the last one made."""

    handled_ms: int
    fired_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Due:
    """A firing to come: when it is scheduled for, and when it is due, which in a flexible window is later."""

    scheduled_ms: int
    due_ms: int


def firing_id(timer_id: str, scheduled_ms: int) -> str:
    """The id of a timer's firing for that time."""
    return derived_id(timer_id, str(scheduled_ms))


@dataclass(frozen=True, slots=True)
class Step:
    """What a timer that is due does: fire for these scheduled times, have come so far, and wait for the next."""

    scheduled: tuple[int, ...]
    mark: Mark
    next: Due | None


def next_due(timer: Timer, mark: Mark | None, now_ms: int) -> Due | None:
    """The first firing that has not been dealt with, which may be overdue; None if there is none any more."""
    return _due_after(timer, _came_to(timer, mark, now_ms))


def take_step(timer: Timer, mark: Mark | None, now_ms: int, default: MissedFirings) -> Step:
    """Deal with everything that is due by now."""
    policy = timer.missed or default
    came_to = _came_to(timer, mark, now_ms)
    handled = came_to
    pending: list[Due] = []
    for span_ms in _spans_ms(timer, policy):
        handled = max(came_to, now_ms - span_ms - 1)
        pending = list(_pending(timer, handled, now_ms))
        if pending:
            handled = pending[-1].scheduled_ms
            break
    fire = _chosen(pending, policy, now_ms)
    last = fire[-1] if fire else (mark.fired_ms if mark else None)
    return Step(fire, Mark(handled, last), _due_after(timer, handled))


def _chosen(pending: list[Due], policy: MissedFirings, now_ms: int) -> tuple[int, ...]:
    match policy:
        case MissedFirings.ALL:
            kept = pending
        case MissedFirings.LATEST:
            kept = pending[-1:]
        case MissedFirings.SKIP:
            kept = [due for due in pending if now_ms - due.due_ms <= ON_TIME_MS]
    return tuple(due.scheduled_ms for due in kept)


def _spans_ms(timer: Timer, policy: MissedFirings) -> tuple[int, ...]:
    """How far back to look for firings, nearer first: after a long absence the latest of a fast rate is soon found."""
    window_ms, age_ms = timer.window_s * 1000, timer.max_age_s * 1000
    match policy:
        case MissedFirings.ALL:
            return (age_ms,)
        case MissedFirings.LATEST:
            return (min(2 * ON_TIME_MS + window_ms, age_ms), min(60 * ON_TIME_MS + window_ms, age_ms), age_ms)
        case MissedFirings.SKIP:
            return (min(ON_TIME_MS + window_ms, age_ms),)


def _came_to(timer: Timer, mark: Mark | None, now_ms: int) -> int:
    came_to = max(timer.since_ms, mark.handled_ms) if mark else timer.since_ms
    return min(came_to, now_ms) if came_to > now_ms + CLOCK_WAS_WRONG_MS else came_to


def _pending(timer: Timer, after_ms: int, now_ms: int) -> Iterator[Due]:
    due = _due_after(timer, after_ms)
    while due is not None and due.due_ms <= now_ms:
        yield due
        due = _due_after(timer, due.scheduled_ms)


def _due_after(timer: Timer, after_ms: int) -> Due | None:
    scheduled_ms = _scheduled_after(timer, after_ms)
    if scheduled_ms is None:
        return None
    return Due(scheduled_ms, scheduled_ms + _offset_ms(timer, scheduled_ms))


def _scheduled_after(timer: Timer, after_ms: int) -> int | None:
    if timer.start_ms is not None:
        after_ms = max(after_ms, timer.start_ms - 1)
    scheduled_ms = next_time(timer.expression, after_ms, timer.zone, timer.anchor_ms)
    if scheduled_ms is None or (timer.end_ms is not None and scheduled_ms > timer.end_ms):
        return None
    return scheduled_ms


def _offset_ms(timer: Timer, scheduled_ms: int) -> int:
    """The firing's place in the window: by chance, yet the same after a restart, since it is made of the firing's id.

    A window ends where the next firing begins, so that firings keep their order.
    """
    if timer.window_s == 0:
        return 0
    room_ms = timer.window_s * 1000
    following_ms = _scheduled_after(timer, scheduled_ms)
    if following_ms is not None:
        room_ms = min(room_ms, following_ms - scheduled_ms)
    chance = int(firing_id(timer.id, scheduled_ms)[:8], 16)
    return room_ms * chance >> 32
