"""The subscription: always read, bounded, batched, and honest about what it loses."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

import orjson
import pytest
from structlog.testing import capture_logs
from tests.unit.gateway.sources.stage import (
    NamedFunctions,
    ScriptedScheduler,
    bad,
    good,
    in_virtual_time,
    lost,
    mapping,
)

from hearth.core.invocation import Invocation, Outcome
from hearth_gateway.asynchronous.testing import RecordingCourier
from hearth_gateway.core.channel_batch import Buffer
from hearth_gateway.core.mapping import EventSourceMapping
from hearth_gateway.sources import channel_source, ports
from hearth_gateway.sources.channel_source import ChannelSource
from hearth_gateway.sources.channel_testing import FakeChannel
from hearth_gateway.sources.ports import Surroundings
from hearth_gateway.sources.testing import LoopClock

ARN = "arn:hearth:redis:us-east-1:000000000000:hearth/channel/news"
TARGET = "arn:aws:sqs:us-east-1:000000000000:lost"


def channel_mapping(**changes: Any) -> EventSourceMapping:
    return mapping(**{"source_arn": ARN, **changes})


@dataclass
class Stage:
    mapping: EventSourceMapping = field(default_factory=channel_mapping)
    buffer: Buffer = field(default_factory=Buffer)
    scheduler: ScriptedScheduler = field(default_factory=ScriptedScheduler)
    functions: NamedFunctions = field(default_factory=lambda: NamedFunctions("worker"))
    channel: FakeChannel = field(default_factory=FakeChannel)
    courier: RecordingCourier = field(default_factory=RecordingCourier)

    def __post_init__(self) -> None:
        self.clock = LoopClock()
        around = Surroundings(
            scheduler=self.scheduler,
            functions=self.functions,
            clock=self.clock,
            region="us-east-1",
            account="000000000000",
            max_receive_count=3,
        )
        self.around = around
        self.source = ChannelSource(self.mapping, self.channel, around, self.courier, buffer=self.buffer)

    @asynccontextmanager
    async def playing(self) -> AsyncIterator[asyncio.Task[None]]:
        task = asyncio.create_task(self.source.run(), name="source")
        try:
            await self.until(lambda: self.channel.is_heard or self.channel.is_down)
            yield task
        finally:
            self.source.stop()
            await task

    async def until(self, condition: Any) -> None:
        while not condition():  # noqa: ASYNC110  # virtual time: this is what lets it pass
            await asyncio.sleep(0.02)

    @property
    def batches(self) -> list[list[str]]:
        return [texts(orjson.loads(invocation.payload)) for invocation in self.scheduler.seen]

    @property
    def is_idle(self) -> bool:
        return self.buffer.held == 0

    @property
    def records(self) -> list[dict[str, Any]]:
        return [orjson.loads(parcel.body) for parcel in self.courier.parcels]


def texts(event: dict[str, Any]) -> list[str]:
    return [record["message"] for record in event["Records"]]


def with_target(**changes: Any) -> EventSourceMapping:
    return channel_mapping(on_failure=TARGET, **changes)


@in_virtual_time
async def test_what_is_published_reaches_the_function() -> None:
    stage = Stage()
    async with stage.playing():
        assert stage.source.last_result == ports.NO_RECORDS
        stage.channel.publish("hello")
        await stage.until(lambda: stage.batches and stage.is_idle)
        assert stage.source.last_result == "OK (at most once)"
    [invocation] = stage.scheduler.seen
    [record] = orjson.loads(invocation.payload)["Records"]
    assert (record["message"], record["channel"], record["eventSourceARN"]) == ("hello", "news", ARN)
    assert invocation.invoked_arn == stage.mapping.function_arn


@in_virtual_time
async def test_messages_that_come_while_all_slots_are_taken_join_one_batch() -> None:
    stage = Stage(scheduler=ScriptedScheduler(places=1))
    async with stage.playing():
        with stage.scheduler.held_up():
            stage.channel.publish("1")
            await stage.until(lambda: stage.scheduler.seen)
            for number in range(2, 8):
                stage.channel.publish(str(number))
                await asyncio.sleep(1)
        await stage.until(lambda: stage.is_idle)
    assert stage.batches == [["1"], ["2", "3", "4", "5", "6", "7"]]


@in_virtual_time
async def test_a_window_gathers_until_the_batch_is_full_or_the_time_is_over() -> None:
    stage = Stage(channel_mapping(batch_size=3, window_s=60))
    async with stage.playing():
        stage.channel.publish("1", "2", "3", "4")
        await asyncio.sleep(1)
        assert stage.batches == [["1", "2", "3"]]
        await asyncio.sleep(58)
        assert len(stage.batches) == 1
        await asyncio.sleep(2)
        assert stage.batches == [["1", "2", "3"], ["4"]]


@in_virtual_time
async def test_no_more_run_at_once_than_the_mapping_allows() -> None:
    stage = Stage(channel_mapping(batch_size=1, maximum_concurrency=2))
    async with stage.playing():
        with stage.scheduler.held_up():
            stage.channel.publish(*"123456")
            await asyncio.sleep(100)
            assert stage.scheduler.held == 2
        await stage.until(lambda: stage.is_idle)
    assert len(stage.batches) == 6


@in_virtual_time
async def test_messages_that_the_filter_does_not_want_run_nothing() -> None:
    stage = Stage(channel_mapping(filters=('{"message":{"n":[{"numeric":[">",1]}]}}',)))
    async with stage.playing():
        stage.channel.publish('{"n":1}', '{"n":2}', "no json")
        await stage.until(lambda: stage.batches and stage.is_idle)
    assert stage.batches == [['{"n":2}']]


@in_virtual_time
async def test_a_failure_is_repeated_and_then_sent_to_the_destination_whole() -> None:
    stage = Stage(with_target(retry_attempts=1))
    stage.scheduler.answer = lambda _: bad()
    async with stage.playing():
        stage.channel.publish("1", "2")
        await stage.until(lambda: stage.courier.parcels and stage.is_idle)
    assert stage.batches == [["1", "2"], ["1", "2"]]
    [parcel], [record] = stage.courier.parcels, stage.records
    assert (parcel.target, parcel.sender) == (TARGET, stage.mapping.arn)
    assert record["requestContext"]["condition"] == "RetryAttemptsExhausted"
    assert record["requestContext"]["approximateInvokeCount"] == 2
    assert texts(record["requestPayload"]) == ["1", "2"]
    assert record["responsePayload"]["errorMessage"] == "boom"


@in_virtual_time
async def test_a_failed_batch_rests_before_it_runs_again() -> None:
    stage = Stage(channel_mapping(retry_attempts=3))
    times: list[float] = []

    def answer(_: Invocation) -> Outcome:
        times.append(stage.clock.monotonic())
        return bad()

    stage.scheduler.answer = answer
    async with stage.playing():
        stage.channel.publish("1")
        await stage.until(lambda: len(times) == 4)
    pauses = [round(after - before) for before, after in pairwise(times)]
    assert pauses == [1, 2, 4]


@in_virtual_time
async def test_other_messages_run_while_a_failed_batch_rests() -> None:
    stage = Stage(channel_mapping(maximum_concurrency=1, retry_attempts=-1))
    stage.scheduler.answer = lambda invocation: bad() if b"poison" in invocation.payload else good()
    async with stage.playing():
        stage.channel.publish("poison")
        await stage.until(lambda: len(stage.batches) == 4)
        stage.channel.publish("good")
        await stage.until(lambda: ["good"] in stage.batches)
        stage.scheduler.answer = lambda _: good()
        await stage.until(lambda: stage.is_idle)


@in_virtual_time
async def test_what_the_platform_fails_is_repeated_without_end() -> None:
    stage = Stage(with_target(retry_attempts=0))
    outcomes: list[Outcome] = [lost()] * 30 + [good()]
    stage.scheduler.answer = lambda _: outcomes.pop(0)
    async with stage.playing():
        stage.channel.publish("1")
        await stage.until(lambda: stage.is_idle)
    assert not outcomes and not stage.courier.parcels


@in_virtual_time
async def test_without_a_destination_a_loss_is_in_the_log_and_in_the_result() -> None:
    stage = Stage(channel_mapping(retry_attempts=0))
    stage.scheduler.answer = lambda _: bad()
    with capture_logs() as logs:
        async with stage.playing():
            stage.channel.publish("1")
            await stage.until(lambda: stage.batches and stage.is_idle)
            stage.scheduler.answer = lambda _: good()
            stage.channel.publish("2")
            await stage.until(lambda: stage.is_idle)
            assert stage.source.last_result == "OK (at most once; 1 dropped)"
    [told] = [one for one in logs if one["event"] == "messages given up"]
    assert (told["count"], told["why"], told["log_level"]) == (1, "RetryAttemptsExhausted", "error")


@in_virtual_time
async def test_what_finds_no_place_is_counted_and_gathered_for_the_destination() -> None:
    stage = Stage(with_target(batch_size=1), buffer=Buffer(max_messages=2), scheduler=ScriptedScheduler(places=1))
    with capture_logs() as logs:
        async with stage.playing():
            with stage.scheduler.held_up():
                stage.channel.publish(*"12345")
                await stage.until(lambda: stage.courier.parcels)
                assert stage.source.last_result == "PROBLEM: 3 messages were dropped"
                assert stage.buffer.held == 2
            await stage.until(lambda: stage.is_idle)
    assert stage.batches == [["1"], ["2"]]
    [record] = stage.records
    assert texts(record["requestPayload"]) == ["3", "4", "5"]
    assert record["requestContext"]["condition"] == "BufferFull"
    assert sum(one["count"] for one in logs if one["event"] == "messages find no place") == 3


@in_virtual_time
async def test_a_message_that_no_event_can_hold_goes_to_the_destination() -> None:
    stage = Stage(with_target())
    async with stage.playing():
        stage.channel.publish("x" * 6_291_456, "small")
        await stage.until(lambda: stage.courier.parcels and stage.batches)
    assert stage.batches == [["small"]]
    assert stage.records[0]["requestContext"]["condition"] == "RecordTooLarge"


@in_virtual_time
async def test_messages_too_old_are_not_run() -> None:
    stage = Stage(with_target(maximum_record_age_s=60), functions=NamedFunctions())
    async with stage.playing():
        stage.channel.publish("old")
        await asyncio.sleep(100)
        stage.channel.publish("new")
        stage.functions.known = NamedFunctions("worker").known
        stage.source.wake()
        await stage.until(lambda: stage.is_idle)
    assert stage.batches == [["new"]]
    assert stage.records[0]["requestContext"]["condition"] == "RecordAgeExceeded"


@in_virtual_time
async def test_while_the_courier_is_away_what_is_given_up_keeps_its_place_and_is_sent_later() -> None:
    stage = Stage(with_target(retry_attempts=0))
    stage.scheduler.answer = lambda _: bad()
    stage.courier.is_down = True
    async with stage.playing():
        stage.channel.publish("1")
        await asyncio.sleep(300)
        assert stage.buffer.held == 1
        stage.courier.is_down = False
        await stage.until(lambda: stage.is_idle)
    assert [texts(record["requestPayload"]) for record in stage.records] == [["1"]]


@in_virtual_time
async def test_a_lost_subscription_is_made_again_and_the_log_says_how_long_it_was_away() -> None:
    stage = Stage()
    with capture_logs() as logs:
        async with stage.playing():
            stage.channel.is_down = True
            stage.channel.cut()
            await stage.until(lambda: not stage.channel.is_heard)
            assert stage.channel.publish("nobody hears this") == 0
            await asyncio.sleep(5)
            assert stage.source.last_result == ports.NO_SOURCE
            stage.channel.is_down = False
            await stage.until(lambda: stage.channel.is_heard)
            stage.channel.publish("2")
            await stage.until(lambda: stage.batches)
    assert stage.batches == [["2"]]
    [told] = [one for one in logs if one["event"].startswith("subscribed again")]
    assert 5 < told["away_s"] < 40


@in_virtual_time
async def test_a_server_that_stays_away_is_asked_less_and_less() -> None:
    stage = Stage()
    stage.channel.is_down = True
    with capture_logs() as logs:
        async with stage.playing():
            await asyncio.sleep(600)
    assert len([one for one in logs if one["event"] == "event source in trouble"]) < 40


@in_virtual_time
async def test_a_stop_runs_what_was_received_before_it_returns() -> None:
    stage = Stage(channel_mapping(window_s=300))
    async with stage.playing():
        stage.channel.publish("1", "2")
        await asyncio.sleep(1)
        assert not stage.batches
    assert stage.batches == [["1", "2"]]
    assert not stage.channel.is_heard


@in_virtual_time
async def test_a_stop_waits_for_a_slot_and_for_a_second_attempt() -> None:
    stage = Stage(with_target(), scheduler=ScriptedScheduler(places=0))
    outcomes = [bad(), good()]
    stage.scheduler.answer = lambda _: outcomes.pop(0)
    async with stage.playing():
        stage.channel.publish("1")
        await asyncio.sleep(1)
        stage.source.stop()
        await asyncio.sleep(3)
        stage.scheduler.places = 1
        stage.scheduler.admit()
    assert stage.batches == [["1"], ["1"]]
    assert stage.is_idle and not stage.courier.parcels


@in_virtual_time
async def test_what_a_stop_cannot_run_goes_to_the_destination() -> None:
    stage = Stage(with_target(), functions=NamedFunctions())
    async with stage.playing():
        stage.channel.publish("1")
        await asyncio.sleep(1)
        began = stage.clock.monotonic()
    assert stage.clock.monotonic() - began < channel_source.DRAIN_S + channel_source.SEND_AFTER_STOP_S
    [record] = stage.records
    assert record["requestContext"]["condition"] == "EventSourceStopped"
    assert stage.is_idle


@in_virtual_time
async def test_a_batch_that_runs_at_the_stop_ends_well() -> None:
    stage = Stage()
    released: list[bool] = []

    def answer(_: Invocation) -> Outcome:
        released.append(stage.channel.is_heard)
        return good()

    stage.scheduler.answer = answer
    async with stage.playing():
        stage.scheduler.gate.clear()
        stage.channel.publish("1")
        await stage.until(lambda: stage.scheduler.seen)
        stage.source.stop()
        await asyncio.sleep(60)
        stage.scheduler.gate.set()
    assert released == [False] and stage.is_idle and not stage.courier.parcels


@in_virtual_time
async def test_a_source_that_is_cancelled_says_how_much_is_lost_and_gives_its_slots_back() -> None:
    stage = Stage(channel_mapping(batch_size=1), scheduler=ScriptedScheduler(places=1))
    with capture_logs() as logs:
        task = asyncio.create_task(stage.source.run(), name="source")
        await stage.until(lambda: stage.channel.is_heard)
        stage.scheduler.gate.clear()
        stage.channel.publish("1", "2", "3")
        await stage.until(lambda: stage.scheduler.seen)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert [one["count"] for one in logs if "lost with the end" in one["event"]] == [3]
    assert stage.scheduler.held == 0


@in_virtual_time
async def test_a_changed_mapping_is_used_from_the_next_message_on() -> None:
    stage = Stage()
    async with stage.playing():
        stage.source.reconfigure(replace(stage.mapping, batch_size=1, filters=('{"message":["yes"]}',)))
        stage.channel.publish("no", "yes", "yes")
        await stage.until(lambda: len(stage.batches) == 2)
    assert stage.batches == [["yes"], ["yes"]]
