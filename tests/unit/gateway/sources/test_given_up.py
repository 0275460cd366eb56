"""What streams and channels without a destination give up: a dead letter of the function, and never only a line in the
log."""

import asyncio
from collections.abc import Sequence
from typing import Any

import orjson
from tests.unit.gateway.connections import test_channel_source as channels
from tests.unit.gateway.sources.stage import NamedFunctions, ScriptedScheduler, bad, good, in_virtual_time
from tests.unit.gateway.streams.stream_stage import DESTINATION, StreamStage, mapping

from hearth.core.invocation import Invocation
from hearth_gateway.asynchronous.testing import RecordingCourier
from hearth_gateway.core.async_event import AsyncEvent
from hearth_gateway.core.channel_batch import Buffer
from hearth_gateway.core.dead_letter import Letter
from hearth_gateway.sources import channel_losses


def only(courier: RecordingCourier) -> Letter:
    (letter,) = courier.letters.values()
    assert courier.parcels == []
    return letter


def payload(letter: Letter) -> Any:
    return orjson.loads(letter.payload)


def numbers(event: Any) -> list[str]:
    return [record["redis"]["id"] for record in event["Records"]]


def always_bad(stage: Any) -> None:
    stage.scheduler.answer = lambda _: bad()


# -- streams ----------------------------------------------------------------------------------------------------------


@in_virtual_time
async def test_a_batch_of_a_stream_that_is_given_up_is_the_event_that_its_function_was_given() -> None:
    stage = StreamStage(mapping(batch_size=2, retry_attempts=1))
    always_bad(stage)
    first, _ = stage.add("a", "b")
    began_ms = stage.clock.now_ms()
    async with stage.playing():
        await stage.until(lambda: stage.is_settled)

    letter = only(stage.courier)
    assert (letter.box, letter.sender) == ("function/worker", stage.mapping.source_arn)
    assert (letter.reason, letter.attempts) == ("RetryAttemptsExhausted", 2)
    assert (letter.error["errorType"], letter.error["errorMessage"]) == ("ValueError", "boom")
    assert letter.first_ms == first.ms == began_ms < letter.last_ms
    assert payload(letter) == orjson.loads(stage.scheduler.seen[0].payload)
    assert isinstance(letter.item, AsyncEvent)
    assert (letter.item.function, letter.item.invoked_arn) == ("worker", stage.mapping.function_arn)
    assert not letter.item.service, "Hearth itself sends it again, which needs no permission"


@in_virtual_time
async def test_the_letter_has_the_id_that_its_parcel_would_have() -> None:
    found = []
    for target in (None, DESTINATION):
        stage = StreamStage(mapping(retry_attempts=0, on_failure=target))
        always_bad(stage)
        stage.add("a", at_ms=1_000)
        async with stage.playing():
            await stage.until(lambda stage=stage: stage.is_settled)  # type: ignore[misc]
        found += [*stage.courier.letters, *(parcel.id for parcel in stage.courier.parcels)]
    assert len(found) == 2 and found[0] == found[1]


@in_virtual_time
async def test_no_record_is_finished_before_its_letter_is_kept() -> None:
    stage = StreamStage(mapping(retry_attempts=0))
    always_bad(stage)
    stage.courier.is_down = True
    stage.add("a")
    async with stage.playing():
        await asyncio.sleep(60)
        assert not stage.is_settled
        stage.courier.is_down = False
        await stage.until(lambda: stage.is_settled)
    only(stage.courier)


@in_virtual_time
async def test_a_crash_between_letter_and_checkpoint_leaves_one_letter() -> None:
    class Breaking(RecordingCourier):
        """Whenever it has taken a letter, the stream is gone."""

        async def bury(self, letters: Sequence[Letter]) -> None:
            await super().bury(letters)
            stage.stream.is_down = True

    stage = StreamStage(mapping(retry_attempts=0), courier=Breaking())
    always_bad(stage)
    stage.add("a")
    async with stage.until_killed():
        await stage.until(lambda: bool(stage.courier.letters))
        await asyncio.sleep(10)
    assert not stage.is_settled
    stage.stream.is_down, stage.courier = False, next_run(stage.courier)
    stage.another()
    async with stage.playing():
        await stage.until(lambda: stage.is_settled)
    assert len(stage.scheduler.seen) == 2
    only(stage.courier)


def next_run(before: RecordingCourier) -> RecordingCourier:
    """The next run's courier on the same store."""
    after = RecordingCourier()
    after.letters = dict(before.letters)
    return after


@in_virtual_time
async def test_records_that_are_too_old_or_too_large_become_letters_of_their_own() -> None:
    stage = StreamStage(mapping(maximum_record_age_s=60))
    old = stage.add("a", "b", at_ms=stage.clock.now_ms() - 61_000)
    (large,) = stage.add("x" * 6_000_000)
    stage.add("fine")
    async with stage.playing():
        await stage.until(lambda: stage.is_settled)

    assert stage.seen() == [["fine"]]
    by_reason = {letter.reason: letter for letter in stage.courier.letters.values()}
    assert numbers(payload(by_reason["RecordAgeExceeded"])) == [str(one) for one in old]
    assert numbers(payload(by_reason["RecordTooLarge"])) == [str(large)]
    assert by_reason["RecordTooLarge"].error["errorType"] == "RecordTooLarge"


@in_virtual_time
async def test_what_fits_no_one_event_becomes_several_letters() -> None:
    stage = StreamStage(mapping(maximum_record_age_s=60))
    old = stage.add(*("x" * 2_000_000 for _ in range(3)), at_ms=stage.clock.now_ms() - 61_000)
    async with stage.playing():
        await stage.until(lambda: stage.is_settled)

    letters = list(stage.courier.letters.values())
    assert [one for letter in letters for one in numbers(payload(letter))] == [str(one) for one in old]
    assert all(len(letter.payload) <= 6_291_456 for letter in letters)


@in_virtual_time
async def test_ids_that_are_no_times_make_no_letter_from_the_future() -> None:
    stage = StreamStage(mapping(retry_attempts=0))
    always_bad(stage)
    stage.add("a", at_ms=2**62)
    async with stage.playing():
        await stage.until(lambda: stage.is_settled)
    assert only(stage.courier).first_ms <= stage.clock.now_ms()


@in_virtual_time
async def test_a_windows_last_call_is_a_letter_with_its_state() -> None:
    stage = StreamStage(mapping(tumbling_window_s=1, retry_attempts=0))

    def answer(invocation: Invocation) -> Any:
        return bad() if orjson.loads(invocation.payload)["isFinalInvokeForWindow"] else good(b'{"state":{"n":1}}')

    stage.scheduler.answer = answer
    stage.add("1")
    async with stage.playing():
        await stage.until(lambda: bool(stage.courier.letters) and stage.kept == {})
    assert payload(only(stage.courier)) == orjson.loads(stage.scheduler.seen[-1].payload)


@in_virtual_time
async def test_records_of_a_window_are_given_up_with_its_members() -> None:
    stage = StreamStage(mapping(tumbling_window_s=60, retry_attempts=0))
    always_bad(stage)
    stage.add("1")
    async with stage.playing():
        await stage.until(lambda: bool(stage.courier.letters))
    assert payload(only(stage.courier)) == orjson.loads(stage.scheduler.seen[0].payload)


# -- channels ---------------------------------------------------------------------------------------------------------


@in_virtual_time
async def test_messages_of_a_channel_that_are_given_up_are_the_event_that_the_function_was_given() -> None:
    stage = channels.Stage(channels.channel_mapping(retry_attempts=1))
    always_bad(stage)
    async with stage.playing():
        stage.channel.publish("1", "2")
        await stage.until(lambda: stage.courier.letters and stage.is_idle)
    letter = only(stage.courier)
    assert (letter.box, letter.sender) == ("function/worker", channels.ARN)
    assert (letter.reason, letter.attempts, letter.error["errorMessage"]) == ("RetryAttemptsExhausted", 2, "boom")
    assert letter.first_ms < letter.last_ms
    assert letter.payload == stage.scheduler.seen[0].payload


@in_virtual_time
async def test_what_finds_no_place_is_gathered_into_one_letter() -> None:
    stage = channels.Stage(
        channels.channel_mapping(batch_size=1),
        buffer=Buffer(max_messages=2),
        scheduler=ScriptedScheduler(places=1),
    )
    async with stage.playing():
        with stage.scheduler.held_up():
            stage.channel.publish(*"12345")
            await stage.until(lambda: stage.courier.letters)
        await stage.until(lambda: stage.is_idle)
    letter = only(stage.courier)
    assert (letter.reason, channels.texts(payload(letter))) == ("BufferFull", ["3", "4", "5"])
    assert stage.batches == [["1"], ["2"]]


@in_virtual_time
async def test_while_the_store_is_away_no_more_waits_for_it_than_there_is_room_for() -> None:
    stage = channels.Stage(
        channels.channel_mapping(batch_size=1),
        buffer=Buffer(max_messages=1),
        scheduler=ScriptedScheduler(places=1),
    )
    stage.courier.is_down = True
    many = channel_losses.MAX_REFUSED_MESSAGES + 50
    async with stage.playing():
        with stage.scheduler.held_up():
            stage.channel.publish(*("x" for _ in range(1 + many)))
            await asyncio.sleep(300)
            assert stage.source.last_result == f"PROBLEM: {many} messages were dropped"
            stage.courier.is_down = False
            await stage.until(lambda: stage.courier.letters)
            await asyncio.sleep(300)
    kept = sum(len(payload(letter)["Records"]) for letter in stage.courier.letters.values())
    assert kept == channel_losses.MAX_REFUSED_MESSAGES


@in_virtual_time
async def test_what_a_stop_cannot_run_is_a_letter() -> None:
    stage = channels.Stage(channels.channel_mapping(), functions=NamedFunctions())
    async with stage.playing():
        stage.channel.publish("1")
        await asyncio.sleep(1)
    letter = only(stage.courier)
    assert (letter.reason, channels.texts(payload(letter))) == ("EventSourceStopped", ["1"])
    assert stage.is_idle
