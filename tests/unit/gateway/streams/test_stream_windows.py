"""Tumbling windows: one state per lane and window, one final call for each, nothing lost on the way."""

import asyncio
from dataclasses import replace
from typing import Any

import orjson
from tests.unit.gateway.sources.stage import bad, good, in_virtual_time
from tests.unit.gateway.streams.stream_stage import DESTINATION, StreamStage, datas, mapping

from hearth.core.invocation import Invocation, Outcome


def event(invocation: Invocation) -> Any:
    return orjson.loads(invocation.payload)


def summing(stage: StreamStage, finals: list[Any]) -> None:
    """The function adds up what it gets; final calls are noted."""

    def answer(invocation: Invocation) -> Outcome:
        given = event(invocation)
        if given["isFinalInvokeForWindow"]:
            finals.append(given)
            return good()
        total = given["state"].get("sum", 0) + sum(map(int, datas(invocation)))
        return good(orjson.dumps({"state": {"sum": total}}))

    stage.scheduler.answer = answer


@in_virtual_time
async def test_state_is_handed_on_and_the_window_is_closed_by_the_next_record() -> None:
    stage = StreamStage(mapping(batch_size=2, tumbling_window_s=60))
    finals: list[Any] = []
    summing(stage, finals)
    base = 600_000_000
    for at_ms, value in ((0, "1"), (1_000, "2"), (59_999, "3"), (60_000, "4")):
        stage.add(value, at_ms=base + at_ms)
    async with stage.playing():
        await stage.until(lambda: len(finals) == 2)

    assert stage.seen() == [["1", "2"], ["3"], [], ["4"], []]
    assert [one["state"] for one in finals] == [{"sum": 6}, {"sum": 4}]
    first = event(stage.scheduler.seen[0])
    assert first["window"] == {"start": "1970-01-07T22:40:00Z", "end": "1970-01-07T22:41:00Z"}
    assert (first["shardId"], first["eventSourceARN"]) == ("shardId-000000000000", stage.mapping.source_arn)
    assert (first["state"], first["isWindowTerminatedEarly"]) == ({}, False)
    assert stage.kept == {}


@in_virtual_time
async def test_a_window_is_closed_soon_after_its_time_without_another_record() -> None:
    stage = StreamStage(mapping(tumbling_window_s=60))
    finals: list[Any] = []
    summing(stage, finals)
    async with stage.playing():
        stage.add("5")
        await stage.until(lambda: bool(finals))
        over_ms = stage.clock.now_ms() % 60_000

    assert finals[0]["state"] == {"sum": 5}
    assert 1_000 <= over_ms < 5_000


@in_virtual_time
async def test_the_state_survives() -> None:
    stage = StreamStage(mapping(tumbling_window_s=60))
    finals: list[Any] = []
    summing(stage, finals)
    async with stage.until_killed():
        stage.add("1")
        await stage.until(lambda: stage.is_settled)
    assert len(stage.kept) == 1
    stage.another()
    async with stage.playing():
        stage.add("2")
        await stage.until(lambda: bool(finals))

    assert finals[0]["state"] == {"sum": 3}


@in_virtual_time
async def test_an_answer_without_state_is_a_failure() -> None:
    stage = StreamStage(mapping(tumbling_window_s=60, retry_attempts=1, on_failure=DESTINATION))
    stage.add("1")
    async with stage.playing():
        await stage.until(lambda: bool(stage.courier.parcels))

    letter = stage.letters()[0]
    assert letter["responsePayload"]["errorType"] == "Hearth.NoWindowState"
    assert len(stage.scheduler.seen) == 2


@in_virtual_time
async def test_too_large_a_state_ends_its_window_early() -> None:
    stage = StreamStage(mapping(batch_size=1, tumbling_window_s=900))
    finals: list[Any] = []

    def answer(invocation: Invocation) -> Outcome:
        given = event(invocation)
        if given["isFinalInvokeForWindow"]:
            finals.append(given)
        size = 1_048_577 if datas(invocation) == ["large"] else 1
        return good(orjson.dumps({"state": {"text": "x" * size}}))

    stage.scheduler.answer = answer
    stage.add("small", "large", "after")
    async with stage.playing():
        await stage.until(lambda: stage.is_settled and len(finals) == 1)

    assert stage.seen() == [["small"], ["large"], [], ["after"]]
    assert finals[0]["isWindowTerminatedEarly"] is True
    assert event(stage.scheduler.seen[3])["state"] == {}


@in_virtual_time
async def test_a_last_call_that_fails_is_repeated_and_then_given_up_with_its_state() -> None:
    stage = StreamStage(mapping(tumbling_window_s=1, retry_attempts=2, on_failure=DESTINATION))
    stage.scheduler.answer = lambda one: bad() if event(one)["isFinalInvokeForWindow"] else good(b'{"state":{"n":1}}')
    stage.add("1")
    async with stage.playing():
        await stage.until(lambda: bool(stage.courier.parcels))
        await stage.until(lambda: stage.kept == {})

    assert stage.seen() == [["1"], [], [], []]
    assert stage.letters()[0]["RedisStreamBatchInfo"]["state"] == {"n": 1}


@in_virtual_time
async def test_windows_are_closed_early_when_lanes_change_or_they_are_switched_off() -> None:
    changes: list[dict[str, Any]] = [{"parallelization_factor": 2}, {"tumbling_window_s": 0}]
    for change in changes:
        finals: list[Any] = []
        stage = StreamStage(mapping(tumbling_window_s=900))
        summing(stage, finals)
        stage.add("7")
        async with stage.playing():
            await stage.until(lambda: stage.is_settled)  # noqa: B023
            stage.mapping = replace(stage.mapping, **change)
            stage.source.reconfigure(stage.mapping)
            await stage.until(lambda: bool(finals))  # noqa: B023
            await asyncio.sleep(1)

        assert (finals[0]["state"], finals[0]["isWindowTerminatedEarly"]) == ({"sum": 7}, True)
        assert stage.kept == {}


@in_virtual_time
async def test_lanes_have_windows_of_their_own() -> None:
    stage = StreamStage(mapping(tumbling_window_s=60, parallelization_factor=4))
    finals: list[Any] = []
    summing(stage, finals)
    base = 600_000_000
    for number in range(40):
        stage.add("1", key=f"k{number}", at_ms=base)
    async with stage.playing():
        await stage.until(lambda: stage.is_settled)
        await stage.until(lambda: sum(one["state"]["sum"] for one in finals) == 40)

    assert len(finals) == 4
