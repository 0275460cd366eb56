"""Records, answers, positions and fates of streams, as plain values."""

import base64
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.gateway.sources.stage import bad, good

from hearth.core.invocation import Throttled, ThrottleReason
from hearth_gateway.core.mapping import StartingPosition
from hearth_gateway.core.stream_batch import Listed, StreamOrigin, listed, pack, record
from hearth_gateway.core.stream_entry import BEGINNING, MOST, Entry, EntryId, lane_of
from hearth_gateway.core.stream_fate import Condition, judge
from hearth_gateway.core.stream_lanes import Attempt, BatchTerms
from hearth_gateway.core.stream_progress import (
    Beginning,
    Facts,
    Mark,
    Position,
    Shape,
    Start,
    mark_name,
    position,
    sort_out,
)
from hearth_gateway.core.stream_window import Window, window_at

ORIGIN = StreamOrigin("arn:stream", "events", "us-east-1", "arn:role")
NOW = 1_700_000_000_000
ids = st.builds(EntryId, st.integers(0, MOST), st.integers(0, MOST))


def entry(number: int = 0, **fields: bytes) -> Entry:
    return Entry(EntryId(NOW, number), tuple((name.encode(), value) for name, value in fields.items()))


def entries(count: int) -> tuple[Entry, ...]:
    return tuple(entry(number, data=b"x") for number in range(count))


def listing(*numbers: object) -> Any:
    return {"batchItemFailures": [{"itemIdentifier": one} for one in numbers]}


class TestIds:
    @given(ids, ids)
    def test_sequence_numbers_sort_as_ids_do_as_text_and_as_numbers(self, one: EntryId, other: EntryId) -> None:
        texts = (one.sequence_number, other.sequence_number)
        assert (texts[0] < texts[1]) == (one < other)
        assert (int(texts[0]) < int(texts[1])) == (one < other)
        assert len(texts[0]) == len(texts[1])

    @given(ids)
    def test_ids_survive_being_written(self, one: EntryId) -> None:
        assert EntryId.parse(str(one)) == one

    def test_before_is_the_next_smaller_one(self) -> None:
        assert EntryId(5, 1).before() == EntryId(5, 0)
        assert EntryId(5, 0).before() == EntryId(4, MOST)
        assert BEGINNING.before() == BEGINNING

    @given(st.binary(), st.integers(1, 10))
    def test_a_key_has_one_lane(self, key: bytes, factor: int) -> None:
        assert lane_of(key, factor) == lane_of(key, factor) < factor

    def test_keys_are_spread_over_lanes(self) -> None:
        assert {lane_of(b"%d" % number, 10) for number in range(200)} == set(range(10))


class TestRecords:
    @given(st.binary())
    def test_data_is_exact(self, data: bytes) -> None:
        found = record(entry(data=data), ORIGIN)
        assert base64.b64decode(found["kinesis"]["data"]) == data

    def test_without_data_all_fields_are_the_data(self) -> None:
        found = record(entry(a=b"1", b="zwölf".encode(), c=b"\xff"), ORIGIN)
        assert orjson.loads(base64.b64decode(found["kinesis"]["data"])) == {"a": "1", "b": "zwölf", "c": "/w=="}
        assert found["redis"]["base64Fields"] == ["c"]

    def test_the_members_are_those_of_kinesis(self) -> None:
        found = record(entry(7, partitionKey=b"ada", data=b"x"), ORIGIN)
        assert found["kinesis"]["partitionKey"] == "ada"
        assert found["kinesis"]["approximateArrivalTimestamp"] == NOW / 1000
        assert found["eventID"] == f"shardId-000000000000:{found['kinesis']['sequenceNumber']}"
        assert (found["eventSource"], found["eventName"]) == ("aws:kinesis", "aws:kinesis:record")
        assert found["redis"] == {"stream": "events", "id": f"{NOW}-7", "fields": {"partitionKey": "ada"}}

    @given(st.lists(st.integers(0, 2_000), max_size=20), st.integers(600, 8_000), st.booleans())
    def test_an_event_never_exceeds_its_limit_and_is_filled(
        self, sizes: list[int], limit: int, is_windowed: bool
    ) -> None:
        given_ = [entry(number, data=b"x" * size) for number, size in enumerate(sizes)]
        window = window_at(NOW, 60_000, "0") if is_windowed else None
        packed = pack(given_, ORIGIN, window, limit)
        assert len(orjson.loads(packed.event)["Records"]) == packed.count
        assert packed.count == 0 or len(packed.event) <= limit
        if packed.count < len(given_):
            assert len(pack(given_[: packed.count + 1], ORIGIN, window, 10**9).event) >= limit


class TestAnswers:
    @pytest.mark.parametrize("answer", [None, {}, {"batchItemFailures": []}, {"batchItemFailures": None}, {"other": 1}])
    def test_nothing_listed_is_success(self, answer: Any) -> None:
        assert listed(answer, entries(3)) == Listed(None)

    @pytest.mark.parametrize(
        "answer",
        [
            listing(""),
            listing(None),
            listing("foo"),
            listing(5),
            listing("9" * 5_000),
            {"batchItemFailures": [{"wrong": "1"}]},
            {"batchItemFailures": "1"},
            {"BatchItemFailures": []},
            "text",
            [],
        ],
    )
    def test_what_cannot_be_read_fails_everything(self, answer: Any) -> None:
        assert not listed(answer, entries(3)).is_valid

    def test_the_lowest_counts(self) -> None:
        batch = entries(5)
        numbers = [batch[at].id.sequence_number for at in (3, 1, 4)]
        assert listed(listing(*numbers), batch) == Listed(1)

    def test_other_numbers_count_by_their_value(self) -> None:
        batch = entries(3)
        assert listed(listing("1"), batch) == Listed(0)
        assert listed(listing(EntryId(NOW + 1, 0).sequence_number), batch) == Listed(None)


class TestFates:
    def test_the_platforms_failure_changes_nothing_but_the_time(self) -> None:
        window = Window("w", 0, 60_000)
        fate = judge(Throttled(ThrottleReason.ACCOUNT), Attempt(entries(2), 3, window), BatchTerms(max_retries=0), 700)
        assert (fate.done, dict(fate.marks), fate.letter, fate.window, fate.pause_ms) == (0, {}, None, window, 700)

    @given(st.integers(1, 50), st.integers(0, 10), st.booleans(), st.sampled_from([None, 0, 3, 10]))
    def test_a_failure_gives_up_or_marks_the_whole_batch(
        self, count: int, attempts: int, is_bisecting: bool, retries: int | None
    ) -> None:
        batch = entries(count)
        terms = BatchTerms(max_retries=retries, is_bisecting=is_bisecting)
        fate = judge(bad(), Attempt(batch, attempts), terms, 0)
        if fate.letter is not None:
            assert (fate.letter.entries, fate.done) == (batch, count)
            assert retries is not None and attempts + 1 > retries
            return
        assert fate.done == 0
        ends = [(first, mark.last) for first, mark in fate.marks.items()]
        covered = [one.id for first, last in ends for one in batch if first <= one.id <= last]
        assert covered == [one.id for one in batch]
        expected = attempts if len(ends) == 2 else attempts + 1
        assert {mark.attempts for mark in fate.marks.values()} == {expected}

    def test_progress_begins_another_count(self) -> None:
        batch = entries(4)
        answer = orjson.dumps(listing(batch[2].id.sequence_number))
        terms = BatchTerms(max_retries=1, is_partial=True)
        fate = judge(good(answer), Attempt(batch, 1), terms, 0)
        assert (fate.done, fate.marks) == (2, {batch[2].id: Mark(batch[3].id, 1)})
        again = judge(good(answer), Attempt(batch[2:], 1), terms, 0)
        assert (again.done, dict(again.marks)) == (1, {})
        assert again.letter is not None
        assert (again.letter.entries, again.letter.condition) == (batch[2:3], Condition.EXHAUSTED)


class TestPositions:
    def start(self, kind: StartingPosition, at_ms: int | None = None) -> Start:
        return Start(kind, NOW, at_ms)

    def test_the_group_knows_best(self) -> None:
        found = position(Facts(True, EntryId(9, 0), None, None), self.start(StartingPosition.LATEST))
        assert found == Position(None, Beginning.GROUP)

    @pytest.mark.parametrize(
        ("last", "after"),
        [
            (None, BEGINNING),
            (EntryId(NOW - 5_000, 3), EntryId(NOW - 5_000, 3)),
            (EntryId(NOW + 5_000, 3), EntryId(NOW - 1, MOST)),
            (EntryId(7, 3), EntryId(7, 3)),  # ids that are no times
            (EntryId(MOST, 3), EntryId(MOST, 3)),
        ],
    )
    def test_latest_is_the_end_when_the_mapping_was_made(self, last: EntryId | None, after: EntryId) -> None:
        found = position(Facts(False, last, None, None), self.start(StartingPosition.LATEST))
        assert found == Position(after, Beginning.NEW)

    def test_a_timestamp_includes_itself(self) -> None:
        found = position(Facts(False, None, None, None), self.start(StartingPosition.AT_TIMESTAMP, 500))
        assert found == Position(EntryId(499, MOST), Beginning.NEW)

    def test_a_lost_group_goes_on_before_what_is_unfinished(self) -> None:
        facts = Facts(False, EntryId(9, 0), EntryId(8, 0), EntryId(5, 2))
        assert position(facts, self.start(StartingPosition.LATEST)) == Position(EntryId(5, 1), Beginning.AGAIN)

    def test_smaller_ids_are_another_stream(self) -> None:
        facts = Facts(False, EntryId(7, 9), EntryId(8, 0), EntryId(5, 2))
        assert position(facts, self.start(StartingPosition.LATEST)) == Position(BEGINNING, Beginning.RECREATED)


class TestKeeping:
    @given(st.text(), st.integers(1, 10))
    def test_marks_and_windows_are_found_again_whatever_the_key_is_called(self, field: str, factor: int) -> None:
        shape = Shape(factor, field)
        lane = factor - 1
        window = window_at(NOW, 60_000, shape.lane_name(lane))
        mark = Mark(EntryId(2, 2), 7)
        kept = {mark_name(EntryId(1, 1), shape.lane_name(lane)): mark.encode(), window.name: window.encode()}

        found = sort_out(kept, shape)

        assert found.marks == {lane: {EntryId(1, 1): mark}}
        assert found.windows == {lane: (window,)}
        assert found.obsolete == ()

    def test_another_shape_forgets_marks_and_ends_windows(self) -> None:
        old = Shape(4).lane_name(3)
        window = window_at(NOW, 60_000, old)
        kept = {mark_name(EntryId(1, 1), old): Mark(EntryId(2, 2), 7).encode(), window.name: window.encode()}

        found = sort_out(kept, Shape(2))

        assert found.marks == {}
        assert [(one.name, one.is_early) for one in found.windows[0]] == [(window.name, True)]
        assert found.obsolete == (mark_name(EntryId(1, 1), old),)
