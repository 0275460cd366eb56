"""What `/health` says of sources: sums by kind, of what is over."""

import asyncio
from typing import Any

import orjson
from tests.unit.gateway.connections import test_channel_source as channels
from tests.unit.gateway.sources import test_sqs_source as queues
from tests.unit.gateway.sources import test_supervisor as houses
from tests.unit.gateway.sources.stage import ScriptedScheduler, Stage, bad, bodies, good, in_virtual_time, mapping
from tests.unit.gateway.streams import stream_stage as streams

from hearth_gateway.core.channel_batch import Buffer
from hearth_gateway.sources import channel_losses
from hearth_gateway.sources.ports import CALL_FAILED, NO_RECORDS, Surroundings
from hearth_gateway.sources.tally import Tally

LIST = "arn:hearth:redis:us-east-1:000000000000:hearth/list/jobs"


def counted(around: Surroundings, kind: str) -> dict[str, int]:
    """What happened, without what never did."""
    told = around.tally.told([]).get(kind, {})
    return {name: count for name, count in told.items() if count}


def test_kinds_that_are_not_there_and_did_nothing_are_not_told() -> None:
    tally = Tally()
    assert tally.told([]) == {}
    told = tally.told([(mapping(source_arn=LIST), NO_RECORDS), (mapping(source_arn=LIST), CALL_FAILED)])
    nothing = dict.fromkeys(("handled", "filtered", "given_up", "trimmed", "dropped"), 0)
    assert told == {"list": {"sources": 2, "in_trouble": 1, **nothing}}


@in_virtual_time
async def test_records_of_a_stream_are_counted_by_their_end() -> None:
    stage = streams.StreamStage(
        streams.mapping(batch_size=1, retry_attempts=1, filters=('{"data":[{"anything-but":"no"}]}',))
    )
    stage.scheduler.answer = lambda one: bad() if streams.datas(one) == ["bad"] else good()
    stage.add("no", "a", "bad", "no", "b", "c")
    async with stage.playing():
        await stage.until(lambda: stage.is_settled)
    assert counted(stage.around, "stream") == {"handled": 3, "filtered": 2, "given_up": 1}


@in_virtual_time
async def test_records_that_a_stream_trimmed_are_counted() -> None:
    stage = streams.StreamStage()
    stage.scheduler.places = 0
    stage.add(*"abcd")
    async with stage.until_killed():
        await stage.until(lambda: len(stage.pending) == 4)
    stage.stream.trim(1)
    stage.scheduler.places = 1
    stage.another()
    async with stage.playing():
        await stage.until(lambda: stage.is_settled)
    assert counted(stage.around, "stream") == {"handled": 1, "trimmed": 3}


@in_virtual_time
async def test_messages_of_a_channel_are_counted_by_their_end() -> None:
    stage = channels.Stage(
        channels.channel_mapping(batch_size=1, retry_attempts=0, filters=('{"message":["a","bad"]}',))
    )
    stage.scheduler.answer = lambda one: bad() if b'"bad"' in one.payload else good()
    async with stage.playing():
        stage.channel.publish("a", "no", "bad", "a")
        await stage.until(lambda: stage.courier.letters and stage.is_idle)
    assert counted(stage.around, "channel") == {"handled": 2, "filtered": 1, "given_up": 1}


@in_virtual_time
async def test_what_a_channel_loses_for_good_is_dropped_and_what_is_kept_is_given_up() -> None:
    stage = channels.Stage(
        channels.channel_mapping(batch_size=1), buffer=Buffer(max_messages=1), scheduler=ScriptedScheduler(places=1)
    )
    stage.courier.is_down = True
    async with stage.playing():
        with stage.scheduler.held_up():
            stage.channel.publish(*("x" for _ in range(1 + channel_losses.MAX_REFUSED_MESSAGES + 50)))
            await asyncio.sleep(60)
            assert counted(stage.around, "channel") == {"dropped": 50}
            stage.courier.is_down = False
            await asyncio.sleep(60)
        await stage.until(lambda: stage.is_idle)
    kept = channel_losses.MAX_REFUSED_MESSAGES
    assert counted(stage.around, "channel") == {"handled": 1, "given_up": kept, "dropped": 50}


@in_virtual_time
async def test_what_ends_with_its_source_is_dropped() -> None:
    stage = channels.Stage(channels.channel_mapping(retry_attempts=0))
    stage.scheduler.answer = lambda _: bad()
    stage.courier.is_down = True
    async with stage.playing():
        stage.channel.publish("a")
        await stage.until(lambda: bool(stage.batches))
    assert counted(stage.around, "channel") == {"dropped": 1}


@in_virtual_time
async def test_messages_of_a_queue_are_counted_by_their_end() -> None:
    stage = Stage(mapping(batch_size=1, retry_attempts=0, filters=('{"body":["a","bad"]}',)))
    stage.scheduler.answer = lambda one: bad() if bodies(one) == ["bad"] else good()
    async with stage.playing():
        stage.jobs.push(b"a", b"no", b"bad", b"a")
        await stage.until(lambda: counted(stage.around, "queue") == {"handled": 2, "filtered": 1, "given_up": 1})


@in_virtual_time
async def test_messages_of_another_sqs_are_counted_by_their_end() -> None:
    play = queues.Play(filters=('{"body":["a"]}',))
    await play.open()
    await play.send("a", "no", "a")
    async with play.playing():
        await play.until_empty()
    assert counted(play.around, "queue") == {"handled": 2, "filtered": 1}


@in_virtual_time
async def test_the_house_tells_how_many_sources_there_are_and_how_many_are_in_trouble() -> None:
    house = houses.House()
    house.scheduler.answer = lambda one: bad() if bodies(one) == ["bad"] else good(orjson.dumps(None))
    wanted = mapping()
    other: Any = mapping(uuid="22222222-2222-4222-8222-222222222222", source_arn=wanted.source_arn + "2")
    async with house.open() as sources:
        await sources.create(wanted)
        await sources.create(other)
        house.queues.list_of(wanted.source_arn).push(b"a")
        house.queues.list_of(other.source_arn).push(b"bad")
        await houses.until(lambda: sources.last_result(other.uuid) == CALL_FAILED)
        await houses.until(lambda: sources.health()["queue"]["handled"] == 1)
        told = sources.health()["queue"]
    assert (told["sources"], told["in_trouble"]) == (2, 1)
