"""Answers that are lost or refused while nobody would ask again."""

import asyncio

import pytest
from structlog.testing import capture_logs
from tests.unit.gateway.sources.stage import in_virtual_time
from tests.unit.gateway.streams.stream_stage import StreamStage, mapping

LONG_S = 600.0


@in_virtual_time
async def test_a_session_refused_to_a_lane_is_begun_anew_although_no_lane_has_room() -> None:
    stage = StreamStage(mapping(batch_size=1))
    stage.add(*"abcdef")
    async with stage.playing(), asyncio.timeout(LONG_S):
        with stage.scheduler.held_up():
            await stage.until(lambda: stage.scheduler.held == 1)
            await asyncio.sleep(1)  # the lane is full
            stage.stream.states[stage.mapping.uuid].session = 0  # an older session's `enter` arrives late
        await stage.until(lambda: stage.is_settled)

    assert stage.seen() == [[one] for one in "abcdef"]


@in_virtual_time
@pytest.mark.parametrize("is_applied", [True, False])
async def test_what_the_filters_refused_is_acknowledged_until_the_server_has_answered(is_applied: bool) -> None:
    stage = StreamStage(mapping(filters=('{"data": {"kind": ["good"]}}',)))
    stage.add('{"kind": "bad"}', '{"kind": "good"}')
    stage.stream.fail("settle", applied=is_applied)
    async with stage.playing(), asyncio.timeout(LONG_S):
        await stage.until(lambda: stage.is_settled)

    assert stage.seen() == [['{"kind": "good"}']]


@in_virtual_time
async def test_what_was_trimmed_is_counted_once_and_acknowledged_until_the_server_has_answered() -> None:
    stage = StreamStage(mapping(batch_size=10))
    stage.add(*"abc")
    with stage.scheduler.held_up():
        async with stage.until_killed():
            await stage.until(lambda: stage.scheduler.held == 1)
    stage.stream.trim(1)
    stage.another()
    stage.stream.fail("settle", applied=False)
    with capture_logs() as logs:
        async with stage.playing(), asyncio.timeout(LONG_S):
            await stage.until(lambda: stage.is_settled)

    assert stage.seen() == [["a", "b", "c"], ["c"]]
    assert [line["count"] for line in logs if "trimmed" in line["event"]] == [2]
