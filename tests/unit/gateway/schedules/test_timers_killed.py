"""Timers through histories of kills, absences and stores that are away: every firing is made, and none twice."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.gateway.sources.stage import in_virtual_time

from hearth_gateway.asynchronous.testing import RecordingCourier
from hearth_gateway.core.firing import Firing, Mark, MissedFirings, Timer
from hearth_gateway.core.parcel import Parcel
from hearth_gateway.core.schedule_expression import Rate
from hearth_gateway.schedules.ports import Post
from hearth_gateway.schedules.testing import InMemoryMarks
from hearth_gateway.schedules.timers import TimerEngine
from hearth_gateway.sources.testing import LoopClock

PERIODS_S = (60, 180, 420)


class SlowCourier(RecordingCourier):
    """Takes a while before and after it has the parcels, so that a kill can come anywhere."""

    async def post(self, parcels: Sequence[Parcel]) -> None:
        await asyncio.sleep(0.7)
        await super().post(parcels)
        await asyncio.sleep(0.7)


class SlowMarks(InMemoryMarks):
    """As slow as the courier."""

    async def advance(self, marks: Mapping[str, Mark]) -> None:
        await asyncio.sleep(0.7)
        await super().advance(marks)
        await asyncio.sleep(0.7)


class Life(NamedTuple):
    """One life of the engine: how long, what is away in its second half, and how long it is dead afterwards."""

    seconds: float
    fault: str
    dead_s: float


lives = st.lists(
    st.builds(
        Life,
        st.one_of(st.floats(0, 5), st.floats(58, 63), st.floats(0, 900)),
        st.sampled_from(["", "courier", "marks"]),
        st.one_of(st.just(0.0), st.floats(0, 3600)),
    ),
    min_size=1,
    max_size=8,
)


def sends(name: str) -> Post:
    def post(firing: Firing) -> Sequence[Parcel]:
        return (Parcel(firing.id, name, str(firing.scheduled_ms).encode(), firing.fired_ms),)

    return post


async def live(engine: TimerEngine, timers: Sequence[Timer], seconds: float) -> None:
    for timer in timers:
        engine.put(timer, sends(timer.id))
    await asyncio.sleep(seconds)


@settings(deadline=None, max_examples=60)
@given(lives)
@in_virtual_time
async def test_every_firing_is_made_whatever_happens_and_none_twice(history: list[Life]) -> None:
    courier, marks, clock = SlowCourier(), SlowMarks(), LoopClock()
    start = clock.now_ms()
    timers = [Timer(f"every-{period}", Rate(period), since_ms=start, anchor_ms=start) for period in PERIODS_S]
    for life in [*history, Life(300, "", 0)]:
        async with TimerEngine(marks, courier, clock, MissedFirings.ALL) as engine:
            await live(engine, timers, life.seconds / 2)
            courier.is_down, marks.is_down = life.fault == "courier", life.fault == "marks"
            await asyncio.sleep(life.seconds / 2)
            if life.fault == "":
                end = clock.now_ms() - 10_000  # what is due just now may still be on its way
        courier.is_down = marks.is_down = False
        await asyncio.sleep(life.dead_s)
    made = sorted((parcel.target, int(parcel.body)) for parcel in courier.parcels)
    assert len(made) == len(set(made))
    expected = {
        (timer.id, at)
        for timer, period in zip(timers, PERIODS_S, strict=True)
        for at in range(start + period * 1000, end, period * 1000)
    }
    assert expected <= set(made)
    assert all((at - start) % 60_000 == 0 for _, at in made)
