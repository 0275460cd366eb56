"""The poller: slot first, then messages; acknowledged by the outcome; nothing lost with the connection."""

import asyncio

import orjson
from tests.unit.gateway.sources.stage import Stage, bad, bodies, good, in_virtual_time, lost, mapping

from hearth.core.invocation import Invocation, Outcome
from hearth_gateway.core.mapping import TAG_MAX_RECEIVE_COUNT
from hearth_gateway.sources import list_source, ports
from hearth_gateway.sources.testing import FakeListQueue


@in_virtual_time
async def test_a_pushed_body_reaches_the_function_and_leaves_the_list() -> None:
    stage = Stage()
    async with stage.playing():
        stage.jobs.push(b'{"n":1}')
        await stage.until(lambda: stage.is_empty)

    assert stage.all_bodies() == ['{"n":1}']
    assert stage.scheduler.seen[0].invoked_arn == stage.mapping.function_arn
    assert stage.source.last_result == ports.OK


@in_virtual_time
async def test_an_idle_source_holds_no_slot() -> None:
    stage = Stage()
    async with stage.playing():
        await asyncio.sleep(3600)
        assert stage.scheduler.held == 0


@in_virtual_time
async def test_no_message_is_claimed_before_there_is_a_slot() -> None:
    stage = Stage(mapping(batch_size=1))
    stage.scheduler.places = 1
    stage.jobs.push(b"1", b"2", b"3", b"4")
    with stage.scheduler.held_up():
        async with stage.playing():
            await stage.until(lambda: stage.scheduler.held == 1)
            await asyncio.sleep(600)
            assert len(stage.jobs.messages) == 1
            assert list(stage.jobs.source) == [b"2", b"3", b"4"]
            stage.scheduler.gate.set()
            await stage.until(lambda: stage.is_empty)

    assert stage.all_bodies() == ["1", "2", "3", "4"]
    assert stage.scheduler.most_held == 1


@in_virtual_time
async def test_a_backlog_fills_all_slots_at_once() -> None:
    stage = Stage(mapping(batch_size=2))
    stage.jobs.push(*(b"%d" % n for n in range(20)))
    with stage.scheduler.held_up():
        async with stage.playing():
            await stage.until(lambda: stage.scheduler.held == 5)
            stage.scheduler.gate.set()
            await stage.until(lambda: stage.is_empty)

    assert [len(bodies(invocation)) for invocation in stage.scheduler.seen] == [2] * 10


@in_virtual_time
async def test_maximum_concurrency_is_never_exceeded() -> None:
    stage = Stage(mapping(batch_size=1, maximum_concurrency=2))
    stage.jobs.push(*(b"%d" % n for n in range(20)))
    async with stage.playing():
        await stage.until(lambda: stage.is_empty)

    assert stage.scheduler.most_held == 2
    assert len(stage.scheduler.seen) == 20


@in_virtual_time
async def test_a_failing_message_is_dead_lettered_after_its_attempts() -> None:
    stage = Stage()
    stage.scheduler.answer = lambda invocation: bad()
    async with stage.playing():
        stage.jobs.push(b"poison")
        await stage.until(lambda: bool(stage.jobs.dead))

    counts = [orjson.loads(one.payload)["Records"][0]["attributes"] for one in stage.scheduler.seen]
    assert [count["ApproximateReceiveCount"] for count in counts] == ["1", "2", "3"]
    dead = orjson.loads(stage.jobs.dead[0])
    assert (dead["payload"], dead["attempts"], dead["encoding"]) == ("poison", 3, "utf-8")
    assert dead["error"] == {"errorMessage": "boom", "errorType": "ValueError"}
    assert dead["source"] == stage.mapping.source_arn
    assert stage.is_empty
    assert stage.source.last_result == ports.CALL_FAILED


@in_virtual_time
async def test_the_mappings_tag_sets_the_number_of_attempts() -> None:
    stage = Stage(mapping(tags={TAG_MAX_RECEIVE_COUNT: "1"}))
    stage.scheduler.answer = lambda invocation: bad()
    stage.jobs.push(b"poison")
    async with stage.playing():
        await stage.until(lambda: bool(stage.jobs.dead))

    assert len(stage.scheduler.seen) == 1


@in_virtual_time
async def test_failures_of_the_platform_are_never_attempts() -> None:
    stage = Stage()
    answers = iter([lost() for _ in range(100)])
    stage.scheduler.answer = lambda invocation: next(answers, good())
    async with stage.playing():
        stage.jobs.push(b"patient")
        await stage.until(lambda: stage.is_empty)

    assert stage.jobs.dead == []
    counts = {
        orjson.loads(one.payload)["Records"][0]["attributes"]["ApproximateReceiveCount"] for one in stage.scheduler.seen
    }
    assert (len(stage.scheduler.seen), counts) == (101, {"1"})


@in_virtual_time
async def test_a_slot_that_breaks_is_the_platforms_failure() -> None:
    stage = Stage()

    def broken(invocation: Invocation) -> Outcome:
        if len(stage.scheduler.seen) == 1:
            raise OSError("socket gone")
        return good()

    stage.scheduler.answer = broken
    async with stage.playing():
        stage.jobs.push(b"1")
        await stage.until(lambda: stage.is_empty)

    assert (len(stage.scheduler.seen), stage.jobs.dead) == (2, [])


@in_virtual_time
async def test_only_the_reported_items_come_again() -> None:
    stage = Stage(mapping(response_types=("ReportBatchItemFailures",)))

    def second_fails(invocation: Invocation) -> Outcome:
        failed = [one["messageId"] for one in orjson.loads(invocation.payload)["Records"] if one["body"] == "2"]
        return good(orjson.dumps({"batchItemFailures": [{"itemIdentifier": one} for one in failed]}))

    stage.scheduler.answer = second_fails
    stage.jobs.push(b"1", b"2", b"3")
    async with stage.playing():
        await stage.until(lambda: bool(stage.jobs.dead))

    assert [bodies(one) for one in stage.scheduler.seen] == [["1", "2", "3"], ["2"], ["2"]]


@in_virtual_time
async def test_a_window_gathers_what_comes_within_it() -> None:
    stage = Stage(mapping(batch_size=10, window_s=5))
    async with stage.playing():
        for n in range(4):
            stage.jobs.push(b"%d" % n)
            await asyncio.sleep(1)
        await stage.until(lambda: stage.is_empty)
        assert [bodies(one) for one in stage.scheduler.seen] == [["0", "1", "2", "3"]]


@in_virtual_time
async def test_a_full_batch_does_not_wait_for_its_window() -> None:
    stage = Stage(mapping(batch_size=3, window_s=300))
    began = asyncio.get_running_loop().time()
    stage.jobs.push(b"0", b"1", b"2")
    async with stage.playing():
        await stage.until(lambda: stage.is_empty)

    assert asyncio.get_running_loop().time() - began < 1
    assert [bodies(one) for one in stage.scheduler.seen] == [["0", "1", "2"]]


@in_virtual_time
async def test_what_does_not_fill_a_batch_gets_its_own_window() -> None:
    stage = Stage(mapping(batch_size=3, window_s=5))
    stage.jobs.push(b"0", b"1", b"2", b"3")
    async with stage.playing():
        await asyncio.sleep(1)
        stage.jobs.push(b"4")
        await stage.until(lambda: stage.is_empty)

    assert [bodies(one) for one in stage.scheduler.seen] == [["0", "1", "2"], ["3", "4"]]


@in_virtual_time
async def test_while_there_is_no_function_messages_stay() -> None:
    stage = Stage()
    stage.functions.known.clear()
    stage.jobs.push(b"1", b"2")
    async with stage.playing():
        await asyncio.sleep(600)
        assert (stage.jobs.messages, stage.source.last_result) == ({}, ports.NO_FUNCTION)
        stage.functions.known["worker"] = Stage().functions.known["worker"]
        stage.source.wake()
        await stage.until(lambda: stage.is_empty)

    assert stage.all_bodies() == ["1", "2"]


@in_virtual_time
async def test_an_outcome_survives_the_loss_of_redis() -> None:
    stage = Stage()
    for _ in range(20):
        stage.jobs.fail("settle", applied=False)
    async with stage.playing():
        stage.jobs.push(b"1")
        await stage.until(lambda: stage.is_empty)

    assert stage.all_bodies() == ["1"]


@in_virtual_time
async def test_a_settlement_whose_answer_is_lost_counts_once() -> None:
    stage = Stage()
    stage.scheduler.answer = lambda invocation: bad()
    stage.jobs.fail("settle", applied=True)
    async with stage.playing():
        stage.jobs.push(b"poison")
        await stage.until(lambda: bool(stage.jobs.dead))

    assert (len(stage.scheduler.seen), orjson.loads(stage.jobs.dead[0])["attempts"]) == (3, 3)


@in_virtual_time
async def test_a_claim_whose_answer_is_lost_is_made_good() -> None:
    stage = Stage()
    stage.jobs.push(b"1", b"2")
    stage.jobs.fail("claim", applied=True)
    async with stage.playing():
        await stage.until(lambda: stage.is_empty)

    assert sorted(stage.all_bodies()) == ["1", "2"]
    assert stage.scheduler.held == 0


@in_virtual_time
async def test_a_long_outage_is_waited_for() -> None:
    stage = Stage()
    for _ in range(30):
        stage.jobs.fail("enter", applied=False)
    stage.jobs.push(b"1")
    async with stage.playing():
        await stage.until(lambda: stage.source.last_result == ports.NO_SOURCE)
        await stage.until(lambda: stage.is_empty)

    assert stage.all_bodies() == ["1"]


@in_virtual_time
async def test_a_batch_in_flight_is_not_run_again_because_the_session_broke() -> None:
    stage = Stage(mapping(batch_size=1))
    stage.jobs.push(b"1")
    with stage.scheduler.held_up():
        async with stage.playing():
            await stage.until(lambda: len(stage.scheduler.seen) == 1)
            await stage.queue.interrupt()  # the taker tries again, and meets the fault
            stage.jobs.fail("take", applied=False)
            await asyncio.sleep(60)
            stage.jobs.push(b"2")
            await stage.until(lambda: len(stage.scheduler.seen) == 2)
            stage.scheduler.gate.set()
            await stage.until(lambda: stage.is_empty)

    assert stage.all_bodies() == ["1", "2"]


@in_virtual_time
async def test_stopping_finishes_what_is_in_flight_and_puts_back_the_rest() -> None:
    stage = Stage(mapping(batch_size=2))
    stage.scheduler.places = 1
    stage.jobs.push(b"1", b"2", b"3", b"4", b"5")
    with stage.scheduler.held_up():
        async with stage.playing() as task:
            await stage.until(lambda: len(stage.scheduler.seen) == 1)
            stage.source.stop()
            await asyncio.sleep(600)
            assert not task.done()
            assert list(stage.jobs.source) == [b"3", b"4", b"5"]
            stage.scheduler.gate.set()

    assert stage.all_bodies() == ["1", "2"]
    assert list(stage.jobs.source) == [b"3", b"4", b"5"]
    assert stage.jobs.messages == {}


@in_virtual_time
async def test_stopping_in_a_window_puts_the_gathered_bodies_back_in_order() -> None:
    stage = Stage(mapping(batch_size=100, window_s=300))
    async with stage.playing():
        for body in (b"1", b"2", b"3"):
            stage.jobs.push(body)
            await asyncio.sleep(1)
        assert list(stage.jobs.source) == []

    assert list(stage.jobs.source) == [b"1", b"2", b"3"]
    assert stage.scheduler.seen == []


@in_virtual_time
async def test_a_draining_source_is_not_taken_for_dead() -> None:
    stage = Stage()
    stage.jobs.push(b"1")
    other = FakeListQueue(stage.jobs, "run-2/x")
    with stage.scheduler.held_up():
        async with stage.playing():
            await stage.until(lambda: len(stage.scheduler.seen) == 1)
            stage.source.stop()
            await asyncio.sleep(1)
            stage.queue.die()
            await asyncio.sleep(list_source.HEARTBEAT_S)
            await other.enter(10_000, (), 10**12)
            assert (await other.claim(10_000, 9, max_bytes=9**9, now_ms=10**12)).messages == ()
            stage.scheduler.gate.set()


@in_virtual_time
async def test_a_stopping_source_gives_up_on_a_list_that_stays_away() -> None:
    stage = Stage()
    stage.jobs.push(b"1")
    with stage.scheduler.held_up():
        async with stage.playing():
            await stage.until(lambda: len(stage.scheduler.seen) == 1)
            stage.source.stop()
            await asyncio.sleep(1)
            for _ in range(1000):
                stage.jobs.fail("settle", applied=False)
            stage.scheduler.gate.set()

    assert len(stage.jobs.messages) == 1


@in_virtual_time
async def test_a_message_no_event_can_hold_is_dead_lettered_with_the_reason() -> None:
    stage = Stage()
    stage.jobs.push(b"\x01" * 2_000_000, b"small")
    async with stage.playing():
        await stage.until(lambda: stage.is_empty)

    [record] = map(orjson.loads, stage.jobs.dead)
    assert (record["error"]["errorType"], record["attempts"]) == ("Hearth.MessageTooLarge", 0)
    assert len(record["payload"]) == 2_000_000
    assert stage.all_bodies() == ["small"]


@in_virtual_time
async def test_messages_beyond_six_megabytes_go_into_the_next_event() -> None:
    stage = Stage()
    stage.jobs.push(*[b'"' * 1_900_000] * 3)
    async with stage.playing():
        await stage.until(lambda: stage.is_empty)

    assert [len(bodies(one)) for one in stage.scheduler.seen] == [1, 1, 1]
    assert stage.jobs.dead == []


@in_virtual_time
async def test_new_settings_are_used_from_the_next_batch_on() -> None:
    stage = Stage(mapping(batch_size=1))
    async with stage.playing():
        await asyncio.sleep(1)
        stage.source.reconfigure(mapping(batch_size=3))
        stage.jobs.push(b"0")
        await stage.until(lambda: stage.is_empty)
        stage.jobs.source.extend([b"1", b"2"])
        stage.jobs.push(b"3")
        await stage.until(lambda: stage.is_empty)

    assert [len(bodies(one)) for one in stage.scheduler.seen] == [1, 3]
