"""A stream source: slot first, in order, one batch per lane; what fails is retried, halved, or given up."""

import asyncio
from dataclasses import replace
from itertools import pairwise

import orjson
from tests.unit.gateway.sources.stage import bad, good, in_virtual_time, lost
from tests.unit.gateway.streams.stream_stage import (
    DESTINATION,
    KINESIS,
    StreamStage,
    datas,
    mapping,
    sequence_numbers,
)

from hearth.core.invocation import Invocation, Outcome
from hearth_gateway.core.mapping import StartingPosition
from hearth_gateway.core.mapping_state import State
from hearth_gateway.core.stream_entry import EntryId, lane_of
from hearth_gateway.sources import ports

PARTIAL = ("ReportBatchItemFailures",)


def fails_on(stage: StreamStage, *poison: str) -> None:
    """The function throws whenever it gets one of these."""
    stage.scheduler.answer = lambda one: bad() if set(datas(one)) & set(poison) else good()


def reports(*poison: str) -> "object":
    """The function lists these."""

    def answer(one: Invocation) -> Outcome:
        pairs = zip(datas(one), sequence_numbers(one), strict=True)
        items = [{"itemIdentifier": number} for data, number in pairs if data in poison]
        return good(orjson.dumps({"batchItemFailures": items}))

    return answer


class TestDelivery:
    @in_virtual_time
    async def test_records_arrive_in_order_in_batches(self) -> None:
        stage = StreamStage(mapping(batch_size=3))
        stage.add(*"abcdefgh")
        async with stage.playing():
            await stage.until(lambda: stage.is_settled)

        assert stage.seen() == [list("abc"), list("def"), list("gh")]
        assert stage.source.last_result == ports.OK
        assert stage.scheduler.seen[0].invoked_arn == stage.mapping.function_arn

    @in_virtual_time
    async def test_what_is_added_later_is_noticed_at_once(self) -> None:
        stage = StreamStage()
        async with stage.playing():
            await asyncio.sleep(3600)
            began = stage.clock.now_ms()
            stage.add("late")
            await stage.until(lambda: stage.is_settled)

        assert stage.seen() == [["late"]]
        assert stage.clock.now_ms() - began < 100

    @in_virtual_time
    async def test_an_idle_source_holds_no_slot(self) -> None:
        stage = StreamStage()
        async with stage.playing():
            await asyncio.sleep(3600)
            assert stage.scheduler.held == 0

    @in_virtual_time
    async def test_a_batch_takes_along_what_came_while_it_waited_for_its_slot(self) -> None:
        stage = StreamStage()
        stage.scheduler.places = 0
        stage.add("a")
        async with stage.playing():
            await asyncio.sleep(5)
            stage.add("b", "c")
            await asyncio.sleep(5)
            stage.scheduler.places = 1
            stage.scheduler.admit()
            await stage.until(lambda: stage.is_settled)

        assert stage.seen() == [["a", "b", "c"]]

    @in_virtual_time
    async def test_two_mappings_see_every_record_each(self) -> None:
        one = StreamStage()
        other = StreamStage(replace(one.mapping, uuid="2" * 8), stream=one.stream)
        one.add("a", "b")
        async with one.playing(), other.playing():
            await one.until(lambda: one.is_settled and other.is_settled)

        assert one.seen() == other.seen() == [["a", "b"]]

    @in_virtual_time
    async def test_the_window_fills_a_batch(self) -> None:
        stage = StreamStage(mapping(window_s=5))
        async with stage.playing():
            for value in "abc":
                stage.add(value)
                await asyncio.sleep(1)
            await stage.until(lambda: stage.is_settled)
            stage.add(*"0123456789")
            began = stage.clock.now_ms()
            await stage.until(lambda: stage.is_settled)
            assert stage.clock.now_ms() - began < 1_000

        assert stage.seen() == [list("abc"), list("0123456789")]

    @in_virtual_time
    async def test_filtered_records_are_finished_without_a_function(self) -> None:
        stage = StreamStage(mapping(filters=('{"data": {"kind": ["good"]}}',)))
        stage.add('{"kind": "bad"}', '{"kind": "good"}', "no JSON", '{"kind": "bad"}')
        async with stage.playing():
            await stage.until(lambda: stage.is_settled)

        assert stage.seen() == [['{"kind": "good"}']]

    @in_virtual_time
    async def test_a_million_records_cost_no_memory(self) -> None:
        stage = StreamStage(mapping(batch_size=10))
        stage.add(*(str(number) for number in range(20_000)))
        with stage.scheduler.held_up():
            async with stage.playing():
                await asyncio.sleep(60)
                assert len(stage.pending) <= 40
                stage.scheduler.gate.set()


class TestLanes:
    @in_virtual_time
    async def test_a_key_keeps_its_order_and_lanes_work_side_by_side(self) -> None:
        stage = StreamStage(mapping(batch_size=2, parallelization_factor=4))
        for number in range(20):
            for key in "ABCDEFGH":
                stage.add(f"{key}{number}", key=key)
        async with stage.playing():
            await stage.until(lambda: stage.is_settled)

        handled = [value for batch in stage.seen() for value in batch]
        for key in "ABCDEFGH":
            assert [value for value in handled if value[0] == key] == [f"{key}{number}" for number in range(20)]
        assert 2 <= stage.scheduler.most_held <= 4

    @in_virtual_time
    async def test_a_lane_that_is_stuck_stops_no_other_and_costs_no_memory(self) -> None:
        stage = StreamStage(mapping(batch_size=2, parallelization_factor=4))
        for number in range(100):
            for key in "ABCDEFGH":
                stage.add(f"{key}{number}", key=key)
        fails_on(stage, "A0")
        async with stage.playing():
            await asyncio.sleep(600)
            handled = {value for batch in stage.seen() for value in batch}
            blocked = {key for key in "ABCDEFGH" if f"{key}99" not in handled}
            assert "A" in blocked
            assert len(blocked) < 8
            stage.scheduler.answer = lambda one: good()
            await stage.until(lambda: stage.is_settled)

        values = [value for batch in stage.seen() for value in batch]
        assert len(set(values)) == 800
        for key in "ABCDEFGH":
            first = list(dict.fromkeys(value for value in values if value[0] == key))
            assert first == [f"{key}{number}" for number in range(100)]

    @in_virtual_time
    async def test_others_get_only_so_far_ahead_of_a_lane_that_is_stuck(self) -> None:
        stage = StreamStage(mapping(batch_size=2, parallelization_factor=2), most_pending=50)
        fails_on(stage, "A")
        stage.add("A", key="A")
        async with stage.playing():
            for number in range(500):
                stage.add(f"a{number}", key="A")
                stage.add(f"b{number}", key="B")
            await asyncio.sleep(600)
            assert len(stage.pending) == 50
            stage.scheduler.answer = lambda one: good()
            await stage.until(lambda: stage.is_settled)

    @in_virtual_time
    async def test_another_number_of_lanes_is_taken_up_while_running(self) -> None:
        stage = StreamStage(mapping(batch_size=1))
        async with stage.playing():
            for number in range(50):
                stage.add(f"A{number}", key="A")
                stage.add(f"B{number}", key="B")
                if number == 20:
                    stage.source.reconfigure(replace(stage.mapping, parallelization_factor=3))
                await asyncio.sleep(0.005)
            await stage.until(lambda: stage.is_settled)

        handled = [value for batch in stage.seen() for value in batch]
        for key in "AB":
            assert [value for value in handled if value[0] == key] == [f"{key}{number}" for number in range(50)]

    @in_virtual_time
    async def test_a_tag_names_the_field_of_the_key(self) -> None:
        stage = StreamStage(mapping(tags={"hearth:partition-key": "user"}))
        stage.stream.add({b"user": b"ada", b"n": b"1"}, EntryId(1, 0))
        async with stage.playing():
            await stage.until(lambda: stage.is_settled)

        record = orjson.loads(stage.scheduler.seen[0].payload)["Records"][0]
        assert record["kinesis"]["partitionKey"] == "ada"
        assert orjson.loads(datas(stage.scheduler.seen[0])[0]) == {"user": "ada", "n": "1"}


class TestFailure:
    @in_virtual_time
    async def test_a_batch_that_fails_comes_again_as_it_was_after_a_growing_rest(self) -> None:
        stage = StreamStage(mapping(batch_size=3))
        answers = iter([bad(), bad(), bad()])
        times: list[int] = []

        def answer(one: Invocation) -> Outcome:
            times.append(stage.clock.now_ms())
            return next(answers, good())

        stage.scheduler.answer = answer
        stage.add("a", "b")
        async with stage.playing():
            await stage.until(lambda: bool(stage.scheduler.seen))
            stage.add("c", "d")
            await stage.until(lambda: stage.is_settled)

        assert stage.seen() == [["a", "b"]] * 4 + [["c", "d"]]
        rests = [after - before for before, after in pairwise(times)][:3]
        assert [round(rest / 1000) for rest in rests] == [1, 2, 4]

    @in_virtual_time
    async def test_without_a_limit_it_comes_again_for_ever(self) -> None:
        stage = StreamStage()
        fails_on(stage, "a")
        stage.add("a", "b")
        async with stage.playing():
            await asyncio.sleep(86_400)

        assert len(stage.scheduler.seen) > 1_000
        assert stage.courier.parcels == []

    @in_virtual_time
    async def test_retries_are_counted_and_then_the_batch_is_given_up(self) -> None:
        stage = StreamStage(mapping(batch_size=2, retry_attempts=2, on_failure=DESTINATION))
        fails_on(stage, "a")
        first, last = stage.add("a", "b")
        stage.add("c")
        async with stage.playing():
            await stage.until(lambda: stage.is_settled)

        assert stage.seen() == [["a", "b"]] * 3 + [["c"]]
        (letter,) = stage.letters()
        assert letter["requestContext"]["condition"] == "RetryAttemptsExhausted"
        assert letter["requestContext"]["approximateInvokeCount"] == 3
        assert letter["requestContext"]["requestId"] == stage.scheduler.seen[2].request_id
        assert letter["responseContext"]["functionError"] == "Unhandled"
        info = letter["RedisStreamBatchInfo"]
        assert (info["startSequenceNumber"], info["endSequenceNumber"]) == (first.sequence_number, last.sequence_number)
        assert (info["batchSize"], info["shardId"]) == (2, "shardId-000000000000")
        assert len(letter["payload"]["Records"]) == 2
        assert stage.kept == {}

    @in_virtual_time
    async def test_a_kinesis_arn_gets_the_record_of_kinesis_and_a_queue_gets_positions_only(self) -> None:
        queue = "arn:aws:sqs:us-east-1:000000000000:failures"
        stage = StreamStage(mapping(source_arn=KINESIS, retry_attempts=0, on_failure=queue))
        fails_on(stage, "a")
        stage.add("a")
        async with stage.playing():
            await stage.until(lambda: stage.is_settled)

        (letter,) = stage.letters()
        assert set(letter) == {"requestContext", "responseContext", "version", "timestamp", "KinesisBatchInfo"}
        assert stage.courier.parcels[0].target == queue

    @in_virtual_time
    async def test_failures_of_the_platform_are_never_attempts(self) -> None:
        stage = StreamStage(mapping(retry_attempts=0, on_failure=DESTINATION))
        answers = iter([lost() for _ in range(50)])
        stage.scheduler.answer = lambda one: next(answers, good())
        stage.add("a")
        async with stage.playing():
            await stage.until(lambda: stage.is_settled)

        assert (len(stage.scheduler.seen), stage.courier.parcels) == (51, [])

    @in_virtual_time
    async def test_halving_leaves_the_poison_alone_and_counts_for_nothing(self) -> None:
        stage = StreamStage(mapping(retry_attempts=1, is_bisecting=True, on_failure=DESTINATION))
        fails_on(stage, "f")
        ids = stage.add(*"abcdefghij")
        async with stage.playing():
            await stage.until(lambda: stage.is_settled)

        (letter,) = stage.letters()
        assert letter["RedisStreamBatchInfo"]["startSequenceNumber"] == ids[5].sequence_number
        assert letter["RedisStreamBatchInfo"]["batchSize"] == 1
        assert letter["requestContext"]["approximateInvokeCount"] == 2
        well = [value for batch in stage.seen() if "f" not in batch for value in batch]
        assert well == list("abcdeghij")
        assert stage.seen().count(["f"]) == 2
        assert stage.kept == {}

    @in_virtual_time
    async def test_listed_records_set_the_checkpoint_before_the_lowest(self) -> None:
        stage = StreamStage(mapping(response_types=PARTIAL))
        answer = reports("c", "e")
        stage.scheduler.answer = lambda one: answer(one) if len(stage.scheduler.seen) < 3 else good()  # type: ignore[operator]  # a function
        stage.add(*"abcdef")
        async with stage.playing():
            await stage.until(lambda: stage.is_settled)

        assert stage.seen() == [list("abcdef"), list("cdef"), list("cdef")]

    @in_virtual_time
    async def test_a_record_listed_in_vain_is_given_up_alone(self) -> None:
        stage = StreamStage(mapping(response_types=PARTIAL, retry_attempts=1, on_failure=DESTINATION))
        stage.scheduler.answer = reports("c")  # type: ignore[assignment]  # a function
        ids = stage.add(*"abcdef")
        async with stage.playing():
            await stage.until(lambda: stage.is_settled)

        (letter,) = stage.letters()
        info = letter["RedisStreamBatchInfo"]
        assert (info["startSequenceNumber"], info["batchSize"]) == (ids[2].sequence_number, 1)
        assert letter["responseContext"]["functionError"] is None
        assert stage.seen() == [list("abcdef"), list("cdef"), list("def")]

    @in_virtual_time
    async def test_an_answer_that_cannot_be_read_fails_the_batch(self) -> None:
        for payload in (b'{"batchItemFailures":[{"itemIdentifier":""}]}', b'{"batchItemFailures":[{"id":1}]}', b"1"):
            stage = StreamStage(mapping(response_types=PARTIAL))
            answers = iter([good(payload)])
            stage.scheduler.answer = lambda one, answers=answers: next(answers, good())  # type: ignore[misc]
            stage.add("a", "b")
            async with stage.playing():
                await stage.until(lambda stage=stage: stage.is_settled)  # type: ignore[misc]
            assert stage.seen() == [["a", "b"]] * 2

    @in_virtual_time
    async def test_records_that_are_too_old_are_given_up_unseen(self) -> None:
        stage = StreamStage(mapping(maximum_record_age_s=60, on_failure=DESTINATION))
        now = stage.clock.now_ms()
        old = stage.add("a", "b", at_ms=now - 61_000)
        stage.add("c")
        async with stage.playing():
            await stage.until(lambda: stage.is_settled)

        assert stage.seen() == [["c"]]
        (letter,) = stage.letters()
        assert letter["requestContext"]["condition"] == "RecordAgeExceeded"
        assert letter["RedisStreamBatchInfo"]["endSequenceNumber"] == old[1].sequence_number
        assert letter["responseContext"] is None

    @in_virtual_time
    async def test_a_batch_that_fails_for_too_long_is_too_old(self) -> None:
        stage = StreamStage(mapping(maximum_record_age_s=60, on_failure=DESTINATION))
        fails_on(stage, "a")
        stage.add("a")
        async with stage.playing():
            await stage.until(lambda: stage.is_settled)

        (letter,) = stage.letters()
        assert letter["requestContext"]["condition"] == "RecordAgeExceeded"
        assert letter["requestContext"]["approximateInvokeCount"] == len(stage.scheduler.seen)

    @in_virtual_time
    async def test_a_record_that_fits_no_event_is_given_up_and_the_others_go_on(self) -> None:
        stage = StreamStage(mapping(on_failure=DESTINATION))
        stage.add("a", "x" * 6_000_000, "b")
        async with stage.playing():
            await stage.until(lambda: stage.is_settled)

        assert stage.seen() == [["a"], ["b"]]
        assert stage.letters()[0]["requestContext"]["condition"] == "RecordTooLarge"

    @in_virtual_time
    async def test_an_event_holds_six_megabytes_at_most(self) -> None:
        stage = StreamStage()
        stage.add(*("x" * 2_000_000 for _ in range(5)))
        async with stage.playing():
            await stage.until(lambda: stage.is_settled)

        assert [len(batch) for batch in stage.seen()] == [2, 2, 1]
        assert all(len(one.payload) <= 6_291_456 for one in stage.scheduler.seen)

    @in_virtual_time
    async def test_nothing_is_finished_before_its_failure_record_is_kept(self) -> None:
        stage = StreamStage(mapping(retry_attempts=0, on_failure=DESTINATION))
        fails_on(stage, "a")
        stage.courier.is_down = True
        stage.add("a")
        async with stage.playing():
            await asyncio.sleep(60)
            assert not stage.is_settled
            stage.courier.is_down = False
            await stage.until(lambda: stage.is_settled)

        assert len(stage.courier.parcels) == 1
        assert len(stage.scheduler.seen) == 1


class TestRestart:
    @in_virtual_time
    async def test_what_was_in_flight_comes_first_and_nothing_is_lost(self) -> None:
        stage = StreamStage(mapping(batch_size=2))
        stage.add(*"abcdef")
        with stage.scheduler.held_up():
            async with stage.until_killed():
                await stage.until(lambda: stage.scheduler.held == 1)
        stage.another()
        async with stage.playing():
            await stage.until(lambda: stage.is_settled)

        assert stage.seen() == [["a", "b"], ["a", "b"], ["c", "d"], ["e", "f"]]

    @in_virtual_time
    async def test_counts_survive(self) -> None:
        stage = StreamStage(mapping(retry_attempts=3, on_failure=DESTINATION))
        fails_on(stage, "a")
        stage.add("a")
        for attempts in (1, 2, 3):
            async with stage.until_killed():
                await stage.until(lambda: len(stage.scheduler.seen) == attempts and bool(stage.kept))  # noqa: B023
                await stage.until(lambda: any(v.endswith(b" %d" % attempts) for v in stage.kept.values()))  # noqa: B023
            stage.another()
        async with stage.playing():
            await stage.until(lambda: stage.is_settled)

        assert len(stage.scheduler.seen) == 4
        assert stage.letters()[0]["requestContext"]["approximateInvokeCount"] == 4

    @in_virtual_time
    async def test_halves_survive(self) -> None:
        stage = StreamStage(mapping(is_bisecting=True))
        fails_on(stage, "a")
        stage.add(*"abcd")
        async with stage.until_killed():
            await stage.until(lambda: len(stage.kept) == 2)
        stage.another()
        stage.scheduler.answer = lambda one: good()
        async with stage.playing():
            await stage.until(lambda: stage.is_settled)

        assert stage.seen() == [list("abcd"), list("ab"), list("cd")]
        assert stage.kept == {}

    @in_virtual_time
    async def test_a_stop_lets_the_batch_in_flight_finish(self) -> None:
        stage = StreamStage(mapping(batch_size=1))
        stage.add("a", "b")
        with stage.scheduler.held_up():
            async with stage.playing():
                await stage.until(lambda: len(stage.pending) == 2)
                stage.source.stop()
                await asyncio.sleep(60)
                stage.scheduler.gate.set()

        assert stage.seen() == [["a"]]
        assert [one.seq for one in stage.pending] == [2]

    @in_virtual_time
    async def test_a_stop_while_waiting_for_a_slot_takes_none(self) -> None:
        stage = StreamStage()
        stage.scheduler.places = 0
        stage.add("a")
        async with stage.playing():
            await asyncio.sleep(10)

        stage.scheduler.places = 1
        assert (stage.scheduler.seen, stage.scheduler.held) == ([], 0)

    @in_virtual_time
    async def test_nothing_stays_behind_of_a_mapping_that_is_deleted(self) -> None:
        stage = StreamStage()
        stage.add("a")
        async with stage.playing():
            await stage.until(lambda: stage.is_settled)
            stage.source.reconfigure(replace(stage.mapping, state=State.DELETING))

        assert (stage.stream.groups, stage.stream.states) == ({}, {})


class TestTrouble:
    @in_virtual_time
    async def test_a_lost_connection_is_taken_up_again_and_nothing_is_skipped(self) -> None:
        stage = StreamStage(mapping(batch_size=2))
        async with stage.playing():
            stage.add("a")
            await stage.until(lambda: stage.is_settled)
            stage.stream.is_down = True
            stage.add("b", "c", "d")
            await asyncio.sleep(120)
            assert stage.source.last_result == ports.NO_SOURCE
            stage.stream.is_down = False
            await stage.until(lambda: stage.is_settled)

        assert [value for batch in stage.seen() for value in batch] == list("abcd")

    @in_virtual_time
    async def test_a_read_whose_answer_was_lost_is_found_among_the_pending(self) -> None:
        stage = StreamStage()
        stage.add("a", "b")
        stage.stream.fail("read", applied=True)
        async with stage.playing():
            await stage.until(lambda: stage.is_settled)

        assert [value for batch in stage.seen() for value in batch] == ["a", "b"]

    @in_virtual_time
    async def test_an_outcome_is_settled_when_the_server_is_back(self) -> None:
        stage = StreamStage()
        stage.add("a")
        for _ in range(5):
            stage.stream.fail("settle", applied=False)
        async with stage.playing():
            await stage.until(lambda: stage.is_settled)

        assert stage.seen() == [["a"]]

    @in_virtual_time
    async def test_records_trimmed_before_they_were_handled_are_skipped_once(self) -> None:
        stage = StreamStage(mapping(batch_size=1))
        stage.add(*"abcdef")
        with stage.scheduler.held_up():
            async with stage.until_killed():
                await stage.until(lambda: stage.scheduler.held == 1)
                await stage.until(lambda: len(stage.pending) == 2)
        stage.stream.trim(4)
        stage.another()
        async with stage.playing():
            await stage.until(lambda: stage.is_settled)

        assert stage.seen() == [["a"], ["c"], ["d"], ["e"], ["f"]]

    @in_virtual_time
    async def test_what_another_consumer_holds_is_taken_over(self) -> None:
        stage = StreamStage()
        stage.add("a", "b")
        with stage.scheduler.held_up():
            async with stage.until_killed():
                await stage.until(lambda: stage.scheduler.held == 1)
        pending = stage.pending
        pending.update(dict.fromkeys(pending, "somebody"))
        stage.another()
        async with stage.playing():
            await stage.until(lambda: stage.is_settled)

        assert stage.seen()[1:] == [["a", "b"]]

    @in_virtual_time
    async def test_a_group_that_is_lost_is_made_again_where_it_was(self) -> None:
        stage = StreamStage(mapping(batch_size=1))
        stage.add(*"abc")
        async with stage.playing():
            await stage.until(lambda: stage.is_settled)
            stage.stream.groups.clear()
            stage.add(*"def")
            await stage.until(lambda: bool(stage.stream.groups) and stage.is_settled)

        assert [value for batch in stage.seen() for value in batch] == list("abcdef")

    @in_virtual_time
    async def test_a_group_lost_beside_a_lane_that_is_stuck_repeats_nothing_that_is_done(self) -> None:
        stage = StreamStage(mapping(batch_size=1, parallelization_factor=2))
        fails_on(stage, "bad")
        stage.add("bad", "after", key="A")
        other = next(key for key in "BCDEFGH" if lane_of(key.encode(), 2) != lane_of(b"A", 2))
        stage.add(*"12345", key=other)
        async with stage.playing():
            await stage.until(lambda: ["5"] in stage.seen())
            stage.stream.groups.clear()
            stage.add("6", key=other)
            await stage.until(lambda: ["6"] in stage.seen())
            stage.scheduler.answer = lambda one: good()
            await stage.until(lambda: stage.is_settled)

        values = [value for batch in stage.seen() for value in batch if value != "bad"]
        assert sorted(values) == [*"123456", "after"]

    @in_virtual_time
    async def test_a_group_lost_while_hearth_is_down_skips_nothing(self) -> None:
        stage = StreamStage(mapping(batch_size=1))
        stage.add(*"abcd")
        answers = iter([good(), good()])
        stage.scheduler.answer = lambda one: next(answers, lost())
        async with stage.until_killed():
            await stage.until(lambda: len(stage.scheduler.seen) == 3)
        stage.stream.groups.clear()
        stage.scheduler.answer = lambda one: good()
        stage.another()
        async with stage.playing():
            await stage.until(lambda: bool(stage.stream.groups) and stage.is_settled)

        assert [value for batch in stage.seen() for value in batch] == list("abccd")

    @in_virtual_time
    async def test_a_stream_that_is_deleted_and_made_anew_is_read_from_its_beginning(self) -> None:
        stage = StreamStage(mapping(batch_size=1))
        stage.add(*"abc")
        async with stage.playing():
            await stage.until(lambda: stage.is_settled)
            stage.stream.delete()
            await asyncio.sleep(30)
            stage.stream.add({b"data": b"small"}, EntryId(1, 1))
            stage.stream.add({b"data": b"smaller"}, EntryId(1, 2))
            await stage.until(lambda: stage.is_settled)

        assert [value for batch in stage.seen() for value in batch] == [*"abc", "small", "smaller"]

    @in_virtual_time
    async def test_a_function_that_is_not_there_is_waited_for(self) -> None:
        stage = StreamStage()
        worker = stage.functions.known.pop("worker")
        stage.add("a")
        async with stage.playing():
            await asyncio.sleep(100)
            assert stage.source.last_result == ports.NO_FUNCTION
            stage.functions.known["worker"] = worker
            stage.source.wake()
            await stage.until(lambda: stage.is_settled)


class TestStart:
    @in_virtual_time
    async def test_latest_begins_when_the_mapping_is_made_not_when_it_is_enabled(self) -> None:
        stage = StreamStage()
        stage.add("before")
        await asyncio.sleep(1)
        stage.mapping = mapping(
            starting_position=StartingPosition.LATEST, last_modified_ms=stage.clock.now_ms(), batch_size=1
        )
        await asyncio.sleep(0.5)
        stage.add("while it was enabling")
        stage.another()
        async with stage.playing():
            await stage.until(lambda: stage.is_settled)
            stage.add("after")
            await stage.until(lambda: stage.is_settled)

        assert stage.seen() == [["while it was enabling"], ["after"]]

    @in_virtual_time
    async def test_latest_of_no_stream_is_its_beginning(self) -> None:
        stage = StreamStage(mapping(starting_position=StartingPosition.LATEST))
        async with stage.playing():
            await asyncio.sleep(60)
            stage.add("first")
            await stage.until(lambda: stage.is_settled)

        assert stage.seen() == [["first"]]

    @in_virtual_time
    async def test_a_timestamp_is_where_to_begin(self) -> None:
        stage = StreamStage()
        now = stage.clock.now_ms()
        for value, at_ms in (("a", now - 3), ("b", now - 2), ("c", now - 1)):
            stage.add(value, at_ms=at_ms)
        stage.mapping = mapping(starting_position=StartingPosition.AT_TIMESTAMP, starting_position_ms=now - 2)
        stage.another()
        async with stage.playing():
            await stage.until(lambda: stage.is_settled)

        assert stage.seen() == [["b", "c"]]
