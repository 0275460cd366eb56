"""The catalogue of schedules: what a restart finds, and what happens when the store is away."""

from dataclasses import replace

import pytest

from hearth.core.errors import ServiceError
from hearth_gateway.core.bus_event import Place
from hearth_gateway.core.firing import Firing, MissedFirings, Timer
from hearth_gateway.core.schedule import Schedule, ScheduleGroup, ScheduleState
from hearth_gateway.schedules.book import ScheduleBook, changed
from hearth_gateway.schedules.ports import Completed, Post, Progress
from hearth_gateway.schedules.testing import InMemorySchedules

NOW = 1_795_000_000_000
STEM = "arn:aws:scheduler:us-east-1:000000000000:schedule/"
TARGET = {"Arn": "arn:aws:lambda:us-east-1:000000000000:function:f", "RoleArn": "arn:aws:iam::000000000000:role/r"}


class RecordingTimers:
    """What was put and not removed."""

    def __init__(self) -> None:
        self.put_timers: dict[str, tuple[Timer, Post, Completed | None]] = {}

    def put(self, timer: Timer, post: Post, completed: Completed | None = None) -> None:
        self.put_timers[timer.id] = (timer, post, completed)

    async def remove(self, timer_id: str) -> None:
        self.put_timers.pop(timer_id, None)

    def progress(self, timer_id: str) -> Progress:
        return Progress(None, None)


def schedule(name: str = "one", group: str = "default", expression: str = "rate(5 minutes)") -> Schedule:
    return Schedule(
        name,
        group,
        f"{STEM}{group}/{name}",
        expression,
        TARGET,
        NOW,
        NOW,
        since_ms=NOW,
        anchor_ms=NOW,
        is_by_maker=True,
    )


async def book(store: InMemorySchedules, timers: RecordingTimers, refusal: str = "") -> ScheduleBook:
    opened = ScheduleBook(store, timers, Place("us-east-1", "000000000000"), lambda *_: refusal)
    await opened.load(NOW)
    return opened


async def test_a_restart_finds_everything_and_sets_the_timers() -> None:
    store, timers = InMemorySchedules(), RecordingTimers()
    first = await book(store, timers)
    await first.put_group(ScheduleGroup("nightly", NOW, NOW, {"hearth:missed-firings": "all"}))
    kept = replace(schedule("a", "nightly"), zone="Asia/Tokyo", end_ms=NOW + 1, window_min=5)
    off = replace(schedule("b"), state=ScheduleState.DISABLED)
    await first.put(kept)
    await first.put(off)
    again = RecordingTimers()
    second = await book(store, again)
    assert second.schedules() == [off, kept]
    assert second.groups() == first.groups()
    assert list(again.put_timers) == [kept.arn]
    timer, post, completed = again.put_timers[kept.arn]
    assert timer == timers.put_timers[kept.arn][0]
    assert (timer.missed, timer.window_s, str(timer.zone)) == (MissedFirings.ALL, 300, "Asia/Tokyo")
    assert completed is None
    (parcel,) = post(Firing("id", NOW, NOW + 7))
    assert (parcel.id, parcel.target, parcel.accepted_ms) == ("id", TARGET["Arn"], NOW + 7)


async def test_what_cannot_be_stored_is_not_there() -> None:
    store, timers = InMemorySchedules(), RecordingTimers()
    opened = await book(store, timers)
    await opened.put(schedule("kept"))
    store.is_down = True
    with pytest.raises(ServiceError):
        await opened.put(schedule("new"))
    with pytest.raises(ServiceError):
        await opened.delete(schedule("kept"))
    assert [one.name for one in opened.schedules()] == ["kept"]
    assert list(timers.put_timers) == [f"{STEM}default/kept"]


async def test_a_record_that_cannot_be_read_is_left_and_the_others_go_on() -> None:
    store, timers = InMemorySchedules(), RecordingTimers()
    first = await book(store, timers)
    await first.put(schedule("good"))
    await first.put(replace(schedule("odd"), zone="Europe/Atlantis"))
    store.schedules["default/bad"] = b"{"
    store.groups["bad"] = b"[]"
    again = RecordingTimers()
    second = await book(store, again)
    assert [one.name for one in second.schedules()] == ["good", "odd"]
    assert list(again.put_timers) == [f"{STEM}default/good"]
    assert store.schedules["default/bad"] == b"{"


async def test_a_schedule_that_deletes_itself_does_not_delete_its_successor() -> None:
    store, timers = InMemorySchedules(), RecordingTimers()
    opened = await book(store, timers)
    first = replace(schedule(), is_deleted_after_completion=True)
    await opened.put(first)
    completed = timers.put_timers[first.arn][2]
    assert completed is not None
    await opened.put(replace(first, description="another"))
    await completed()
    assert len(opened.schedules()) == 1
    completed = timers.put_timers[first.arn][2]
    assert completed is not None
    await completed()
    assert opened.schedules() == []
    assert store.schedules == {}


async def test_what_a_role_may_not_send_and_nobody_takes_is_not_sent() -> None:
    store, timers = InMemorySchedules(), RecordingTimers()
    opened = await book(store, timers, refusal="no")
    await opened.put(replace(schedule(), is_by_maker=False))
    assert timers.put_timers[schedule().arn][1](Firing("id", NOW, NOW)) == ()


def test_an_update_goes_on_or_begins_again_by_what_it_changes() -> None:
    before, later = schedule(), NOW + 1_000
    fresh = replace(before, created_ms=later, modified_ms=later, since_ms=later, anchor_ms=later)
    words = changed(before, replace(fresh, description="new"), later)
    assert (words.since_ms, words.anchor_ms, words.created_ms, words.modified_ms) == (NOW, NOW, NOW, later)
    state = changed(before, replace(fresh, state=ScheduleState.DISABLED), later)
    assert (state.since_ms, state.anchor_ms) == (later, NOW)
    times = changed(before, replace(fresh, expression="rate(1 hour)"), later)
    assert (times.since_ms, times.anchor_ms) == (later, later)
