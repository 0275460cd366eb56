"""Rules with a schedule keep a timer while they are enabled, and fire for their targets."""

import orjson
import pytest
from tests.unit.gateway.bus.stage import FUNCTION, PLACE, QUEUE, START_MS, Stage

from hearth_gateway.bus.rule_timers import RuleTimers
from hearth_gateway.core.bus_rule import Rule, RuleState, Target
from hearth_gateway.core.firing import Firing, Timer
from hearth_gateway.core.schedule_expression import parse_rule_expression
from hearth_gateway.schedules.ports import Completed, Post, Progress, TimersUnavailable

ARN = "arn:aws:events:us-east-1:000000000000:rule/nightly"


class RecordingTimers:
    """The timers that were put and not removed. While `is_down` the marks of those that go stay."""

    def __init__(self) -> None:
        self.timers: dict[str, tuple[Timer, Post]] = {}
        self.is_down = False

    def put(self, timer: Timer, post: Post, completed: Completed | None = None) -> None:
        assert completed is None
        self.timers[timer.id] = (timer, post)

    async def remove(self, timer_id: str) -> None:
        self.timers.pop(timer_id, None)
        if self.is_down:
            raise TimersUnavailable("down")

    def progress(self, timer_id: str) -> Progress:
        raise AssertionError(f"nobody asks how far {timer_id} came")


@pytest.fixture
def timers() -> RecordingTimers:
    return RecordingTimers()


@pytest.fixture
def stage(timers: RecordingTimers) -> Stage:
    made = Stage()
    made.catalogue.on_change(RuleTimers(timers, PLACE).follow)
    return made


def nightly(
    schedule: str | None = "rate(1 day)", state: RuleState = RuleState.ENABLED, pattern: str | None = None
) -> Rule:
    targets = (Target("1", FUNCTION), Target("2", QUEUE, input='{"a":1}'))
    return Rule("nightly", "default", START_MS, state, pattern, schedule, targets=targets)


async def test_a_schedule_is_a_timer_from_when_it_was_set(stage: Stage, timers: RecordingTimers) -> None:
    await stage.catalogue.put(nightly())
    timer, _ = timers.timers[ARN]
    assert timer == Timer(ARN, parse_rule_expression("rate(1 day)"), since_ms=START_MS, anchor_ms=START_MS)


async def test_a_firing_goes_to_every_target_and_is_the_same_each_time_it_is_asked_for(
    stage: Stage, timers: RecordingTimers
) -> None:
    await stage.catalogue.put(nightly())
    _, post = timers.timers[ARN]
    firing = Firing("f-1", START_MS, START_MS + 5)
    function, queue = post(firing)
    assert orjson.loads(function.body) == {
        "version": "0",
        "id": "f-1",
        "detail-type": "Scheduled Event",
        "source": "aws.events",
        "account": "000000000000",
        "time": "2026-11-21T10:00:00Z",
        "region": "us-east-1",
        "resources": [ARN],
        "detail": {},
    }
    assert (queue.target, queue.body, queue.sender) == (QUEUE, b'{"a":1}', ARN)
    assert [parcel.id for parcel in post(firing)] == [function.id, queue.id]
    assert {parcel.id for parcel in post(Firing("f-2", START_MS, START_MS))}.isdisjoint({function.id, queue.id})


async def test_there_is_no_timer_without_a_schedule_or_when_a_rule_is_off_or_gone(
    stage: Stage, timers: RecordingTimers
) -> None:
    pattern = '{"source": ["shop"]}'
    for rule in (nightly(state=RuleState.DISABLED), nightly(None, pattern=pattern)):
        await stage.catalogue.put(nightly())
        assert ARN in timers.timers
        await stage.catalogue.put(rule)
        assert ARN not in timers.timers
    await stage.catalogue.put(nightly())
    await stage.catalogue.remove(nightly())
    assert ARN not in timers.timers


async def test_a_rule_goes_even_if_the_mark_of_its_timer_stays(stage: Stage, timers: RecordingTimers) -> None:
    await stage.catalogue.put(nightly())
    timers.is_down = True
    await stage.catalogue.remove(nightly())
    assert stage.catalogue.find_rule("default", "nightly") is None


async def test_timers_begin_again_after_a_restart(stage: Stage, timers: RecordingTimers) -> None:
    await stage.catalogue.put(nightly())
    timers.timers.clear()
    stage.restart()
    stage.catalogue.on_change(RuleTimers(timers, PLACE).follow)
    await stage.catalogue.load()
    assert list(timers.timers) == [ARN]
