"""The timer engine in virtual time: nothing fired twice, nothing passed over, one broken timer is one broken timer."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from tests.unit.gateway.sources.stage import in_virtual_time

from hearth_gateway.asynchronous.testing import RecordingCourier
from hearth_gateway.core.firing import Firing, Mark, MissedFirings, Timer
from hearth_gateway.core.parcel import Parcel
from hearth_gateway.core.schedule_expression import Rate, parse_expression
from hearth_gateway.schedules.ports import Post
from hearth_gateway.schedules.testing import InMemoryMarks
from hearth_gateway.schedules.timers import TimerEngine
from hearth_gateway.sources.testing import LoopClock

MINUTE = 60_000
PAST = parse_expression("cron(0 0 1 1 ? 1970)")


class Stage:
    """A courier and marks that outlive the engines on it."""

    def __init__(self) -> None:
        self.courier = RecordingCourier()
        self.marks = InMemoryMarks()
        self.clock = LoopClock()

    @asynccontextmanager
    async def engine(self, missed: MissedFirings = MissedFirings.LATEST) -> AsyncIterator[TimerEngine]:
        async with TimerEngine(self.marks, self.courier, self.clock, missed) as engine:
            yield engine

    @property
    def posted(self) -> list[str]:
        return [parcel.target for parcel in self.courier.parcels]

    def timer(self, name: str = "a", minutes: int = 1) -> Timer:
        now_ms = self.clock.now_ms()
        return Timer(name, Rate(60 * minutes), since_ms=now_ms, anchor_ms=now_ms)


def sends(target: str) -> Post:
    def post(firing: Firing) -> Sequence[Parcel]:
        return (Parcel(firing.id, target, b"", firing.fired_ms),)

    return post


async def minutes(number: float) -> None:
    await asyncio.sleep(number * 60)


@in_virtual_time
async def test_a_timer_fires_at_its_times_and_not_in_between() -> None:
    stage = Stage()
    async with stage.engine() as engine:
        engine.put(stage.timer(minutes=5), sends("a"))
        start = stage.clock.now_ms()
        await minutes(16)
    assert [(parcel.accepted_ms - start) // MINUTE for parcel in stage.courier.parcels] == [5, 10, 15]


@in_virtual_time
async def test_a_timer_that_comes_while_the_engine_sleeps_is_not_late() -> None:
    stage = Stage()
    async with stage.engine() as engine:
        engine.put(stage.timer("far", minutes=500), sends("far"))
        await asyncio.sleep(1)
        start = stage.clock.now_ms()
        engine.put(Timer("near", Rate(5), since_ms=start, anchor_ms=start), sends("near"))
        await asyncio.sleep(6)
    assert stage.posted == ["near"]
    assert stage.courier.parcels[0].accepted_ms - start == 5_000


@in_virtual_time
async def test_a_timer_that_is_replaced_or_removed_fires_no_more_as_it_was() -> None:
    stage = Stage()
    async with stage.engine() as engine:
        engine.put(stage.timer("a", minutes=2), sends("old"))
        engine.put(stage.timer("b", minutes=2), sends("gone"))
        await minutes(1)
        engine.put(stage.timer("a", minutes=2), sends("new"))
        await engine.remove("b")
        await minutes(2.5)
        assert engine.progress("b").next_ms is None
    assert stage.posted == ["new"]


@in_virtual_time
async def test_a_restart_fires_nothing_twice_and_makes_good_the_latest() -> None:
    stage = Stage()
    timer = stage.timer()
    async with stage.engine() as engine:
        engine.put(timer, sends("a"))
        await minutes(2.5)
    assert len(stage.posted) == 2
    await minutes(10)
    async with stage.engine() as engine:
        engine.put(timer, sends("a"))
        await asyncio.sleep(1)
        assert len(stage.posted) == 3
        await minutes(1)
    assert len(stage.posted) == 4


@in_virtual_time
async def test_under_the_policy_all_a_restart_makes_good_everything() -> None:
    stage = Stage()
    timer = stage.timer()
    async with stage.engine(MissedFirings.ALL) as engine:
        engine.put(timer, sends("a"))
        await minutes(2.5)
    await minutes(10)
    async with stage.engine(MissedFirings.ALL) as engine:
        engine.put(timer, sends("a"))
        await asyncio.sleep(1)
    assert len(stage.posted) == 12


@in_virtual_time
async def test_killed_between_posting_and_marking_the_same_parcel_is_posted_again() -> None:
    stage = Stage()
    timer = stage.timer()
    async with stage.engine() as engine:
        engine.put(timer, sends("a"))
        await minutes(0.9)
        stage.marks.is_down = True
        await minutes(0.2)
    assert len(stage.posted) == 1
    assert stage.marks.kept == {}
    stage.marks.is_down = False
    async with stage.engine() as engine:
        engine.put(timer, sends("a"))
        await minutes(0.1)
    assert len(stage.posted) == 1  # the courier knows the id
    assert stage.marks.kept[timer.id] == Mark(timer.since_ms + MINUTE, timer.since_ms + MINUTE)


@in_virtual_time
async def test_what_is_due_while_the_courier_is_away_is_posted_when_it_is_back() -> None:
    stage = Stage()
    async with stage.engine(MissedFirings.ALL) as engine:
        engine.put(stage.timer(), sends("a"))
        stage.courier.is_down = True
        await minutes(5.5)
        assert stage.posted == []
        stage.courier.is_down = False
        await minutes(1)
    assert len(stage.posted) == 6


@in_virtual_time
async def test_nothing_fires_before_the_marks_are_known() -> None:
    stage = Stage()
    timer = stage.timer()
    stage.marks.kept[timer.id] = Mark(timer.since_ms + 30 * MINUTE)
    stage.marks.is_down = True
    async with stage.engine() as engine:
        engine.put(timer, sends("a"))
        await minutes(10)
        stage.marks.is_down = False
        await minutes(20.5)
        assert stage.posted == []
        await minutes(1)
    assert stage.posted == ["a"]


@in_virtual_time
async def test_a_timer_that_breaks_holds_up_no_other() -> None:
    def broken(firing: Firing) -> Sequence[Parcel]:
        raise ValueError("broken")

    stage = Stage()
    async with stage.engine() as engine:
        for name in ("a", "b", "c"):
            engine.put(stage.timer(name), broken if name == "b" else sends(name))
        await minutes(1.1)
    assert sorted(stage.posted) == ["a", "c"]


@in_virtual_time
async def test_many_timers_of_one_time_all_fire() -> None:
    stage = Stage()
    async with stage.engine() as engine:
        for number in range(1_000):
            engine.put(stage.timer(f"timer-{number}"), sends(f"timer-{number}"))
        await minutes(1.1)
    assert len(set(stage.posted)) == 1_000


@in_virtual_time
async def test_who_owns_a_timer_hears_of_its_end_also_after_a_restart_and_again_if_it_fails() -> None:
    stage = Stage()
    heard: list[str] = []

    async def completed() -> None:
        heard.append("end")
        if len(heard) == 1:
            raise OSError("not now")

    now_ms = stage.clock.now_ms()
    timer = Timer("a", Rate(60), since_ms=now_ms, anchor_ms=now_ms, end_ms=now_ms + 2 * MINUTE)
    async with stage.engine() as engine:
        engine.put(timer, sends("a"), completed)
        await minutes(1.5)
        assert heard == []
        await minutes(1)
        assert heard == ["end", "end"]
    async with stage.engine() as engine:
        engine.put(timer, sends("a"), completed)
        await minutes(1)
    assert stage.posted == ["a", "a"]
    assert len(heard) == 3


@in_virtual_time
async def test_a_timer_removed_while_its_parcels_are_on_their_way_leaves_no_mark() -> None:
    stage = Stage()
    async with stage.engine() as engine:
        engine.put(stage.timer(), sends("a"))
        await minutes(0.9)

        async def post(parcels: Sequence[Parcel]) -> None:
            await asyncio.sleep(30)

        stage.courier.post = post  # type: ignore[method-assign] # one that takes its time
        await minutes(0.2)
        await engine.remove("a")
        await minutes(1)
    assert stage.marks.kept == {}


@in_virtual_time
async def test_progress_says_when_it_was_last_and_will_be_next() -> None:
    stage = Stage()
    async with stage.engine() as engine:
        timer = stage.timer(minutes=5)
        engine.put(timer, sends("a"))
        await minutes(6)
        progress = engine.progress("a")
        assert progress.last_ms == timer.since_ms + 5 * MINUTE
        assert progress.next_ms == timer.since_ms + 10 * MINUTE
        engine.put(Timer("never", PAST, since_ms=0, anchor_ms=0), sends("never"))
        assert engine.progress("never").next_ms is None


@in_virtual_time
async def test_a_clock_that_is_set_forward_is_noticed_soon() -> None:
    stage = Stage()
    step_ms = 0

    class Stepped(LoopClock):
        def now_ms(self) -> int:
            return super().now_ms() + step_ms

    stage.clock = Stepped()
    async with stage.engine() as engine:
        engine.put(stage.timer(minutes=60), sends("a"))
        await minutes(1)
        step_ms = 60 * MINUTE
        await minutes(0.5)
    assert stage.posted == ["a"]
