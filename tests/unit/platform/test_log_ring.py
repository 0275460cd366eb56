"""One function's log on disk: bounded, in order, and readable after any death."""

import resource
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hearth.core.log_events import plain
from hearth.log_ring import Entry, LogRing

BUDGET = 2**16
DAY_MS = 86_400_000

texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=3000)
entries = st.lists(st.tuples(st.integers(0, 2**41), st.sampled_from(["a", "b"]), texts), max_size=40)


def text_of(found: list[Entry]) -> str:
    return "".join(text for _, _, text in found)


def disk_bytes(directory: Path) -> int:
    return sum(path.stat().st_size for path in directory.iterdir())


@settings(max_examples=40, deadline=None)
@given(st.lists(entries, max_size=6))
def test_whatever_is_written_the_newest_is_read_back_and_the_budget_holds(
    tmp_path_factory: pytest.TempPathFactory, batches: list[list[Entry]]
) -> None:
    directory = tmp_path_factory.mktemp("ring") / "f"
    written = ""
    for batch in batches:
        # A new ring each time: nothing is kept but what is on disk.
        LogRing(directory, BUDGET).append(batch)
        written += "".join(plain(text) for _, _, text in batch)
        assert disk_bytes(directory) <= BUDGET
    found = text_of(LogRing(directory, BUDGET).tail(10 * BUDGET))
    assert written.endswith(found)
    if len(written) < BUDGET // 8:
        assert found == written


@given(st.integers(0, 40))
def test_a_tail_has_at_most_the_bytes_asked_for(tmp_path_factory: pytest.TempPathFactory, limit: int) -> None:
    ring = LogRing(tmp_path_factory.mktemp("ring"), BUDGET)
    ring.append([(1, "s", "zwölf Zeichen"), (2, "s", "und mehr"), (3, "s", "ende")])
    text = text_of(ring.tail(limit))
    assert len(text.encode()) <= limit
    assert "zwölf Zeichenund mehrende".endswith(text)


def test_a_torn_last_line_is_skipped_and_the_next_one_is_whole(tmp_path: Path) -> None:
    LogRing(tmp_path, BUDGET).append([(1, "s", "whole\n")])
    segment = next(tmp_path.iterdir())
    segment.write_bytes(segment.read_bytes() + b'[2,"s","to')
    ring = LogRing(tmp_path, BUDGET)
    ring.append([(3, "s", "next\n")])
    assert ring.tail(1000) == [(1, "s", "whole\n"), (3, "s", "next\n")]


def test_a_disk_that_fills_up_half_way_leaves_whole_lines(tmp_path: Path) -> None:
    ring = LogRing(tmp_path, 2**20)
    ring.append([(1, "s", "before\n")])
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200, hard))
    try:
        with pytest.raises(OSError, match="large"):
            ring.append([(2, "s", "x" * 1000)])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    ring.append([(3, "s", "after\n")])
    assert ring.tail(1000) == [(1, "s", "before\n"), (3, "s", "after\n")]


def test_foreign_files_and_garbage_lines_are_no_entries(tmp_path: Path) -> None:
    ring = LogRing(tmp_path, BUDGET)
    ring.append([(1, "s", "text")])
    (tmp_path / "notes.jsonl").write_bytes(b'[1,"s","not ours"]\n')
    segment = tmp_path / "0000000001.jsonl"
    segment.write_bytes(segment.read_bytes() + b'{}\n[1,2,3]\n["x"]\n\xff\n')
    assert LogRing(tmp_path, BUDGET).tail(1000) == [(1, "s", "text")]


@given(st.text(st.characters(exclude_characters="\r", exclude_categories=["Cs"])), st.lists(st.integers(0, 400)))
def test_a_character_cut_in_two_is_put_together_again(
    tmp_path_factory: pytest.TempPathFactory, text: str, cuts: list[int]
) -> None:
    ring = LogRing(tmp_path_factory.mktemp("ring"), BUDGET)
    raw = text.encode()
    places = [0, *sorted(min(cut, len(raw)) for cut in cuts), len(raw)]
    pieces = [raw[start:end] for start, end in pairwise(places)]
    assert "".join(ring.decode("s", piece) for piece in pieces) == text


def test_streams_do_not_complete_each_others_characters(tmp_path: Path) -> None:
    ring = LogRing(tmp_path, BUDGET)
    euro = "€".encode()
    assert ring.decode("a", euro[:1]) == ""
    assert ring.decode("b", b"x") == "x"
    assert ring.decode("a", euro[1:]) == "€"


def test_carriage_returns_inside_a_record_are_read_as_line_breaks(tmp_path: Path) -> None:
    ring = LogRing(tmp_path, BUDGET)
    ring.append([(1, "s", ring.decode("s", b"[ERROR] boom\rTraceback\r  line\n")), (2, "s", "dos\r\n")])
    assert text_of(ring.tail(1000)) == "[ERROR] boom\nTraceback\n  line\ndos\n"
    pieces = ring.pieces(ring.segments(), 0)
    assert [piece.text for piece in pieces] == ["[ERROR] boom\rTraceback\r  line\n", "dos\r\n"]


def test_an_event_that_was_put_is_a_line_in_the_tail_and_itself_among_the_pieces(tmp_path: Path) -> None:
    ring = LogRing(tmp_path, BUDGET)
    ring.append([(5, "s", "two\nlines", 9), (6, "s", "one\n", 9)])
    assert ring.tail(1000) == [(5, "s", "two\nlines\n"), (6, "s", "one\n")]
    found = [(piece.at_ms, piece.text, piece.ingested_ms) for piece in ring.pieces(ring.segments(), 0)]
    assert found == [(5, "two\nlines", 9), (6, "one\n", 9)]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5000), st.integers(1, 1000)), min_size=1, max_size=150))
def test_pieces_since_a_time_lack_nothing_of_it(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[int, int]]
) -> None:
    ring = LogRing(tmp_path_factory.mktemp("ring"), BUDGET)
    now_ms, times = 0, list[int]()
    for pause_ms, size in steps:
        now_ms += pause_ms
        ring.append([(now_ms, "s", "x" * size)])
        times.append(now_ms)
        # What was learned about a segment on the way must stay true.
        since_ms = times[len(times) // 2]
        found = [piece.at_ms for piece in ring.pieces(ring.segments(), since_ms) if piece.at_ms >= since_ms]
        kept = [piece.at_ms for piece in ring.pieces(ring.segments(), 0) if piece.at_ms >= since_ms]
        assert found == kept
        assert times[-len(kept) :] == kept or not kept


def test_pieces_know_where_they_lie(tmp_path: Path) -> None:
    ring = LogRing(tmp_path, BUDGET)
    ring.append([(1, "s", "ä\n"), (2, "s", "b\n")])
    (segment,) = ring.segments()
    content = next(tmp_path.iterdir()).read_bytes()
    found = [(piece.segment, piece.offset) for piece in ring.pieces([segment], 0)]
    assert found == [(segment.number, 0), (segment.number, content.index(b"\n") + 1)]


def test_what_is_appended_while_somebody_reads_is_for_the_next_time(tmp_path: Path) -> None:
    ring = LogRing(tmp_path, BUDGET)
    ring.append([(1, "s", "old\n")])
    segments = ring.segments()
    ring.append([(2, "s", "new\n")])
    assert [piece.text for piece in ring.pieces(segments, 0)] == ["old\n"]


def test_each_day_begins_a_segment_where_days_count_and_old_days_expire(tmp_path: Path) -> None:
    ring = LogRing(tmp_path, BUDGET)
    ring.keeps_days = 2
    for day in range(4):
        ring.append([(day * DAY_MS, "s", f"{day}a\n")])
        ring.append([(day * DAY_MS + 1, "s", f"{day}b\n"), (0, "s", "put late\n", 9)])
    assert len(ring.segments()) == 4
    ring.expire(2 * DAY_MS)
    assert text_of(ring.tail(1000)).startswith("2a\n")
    assert len(list(tmp_path.iterdir())) == 2
    ring.expire(9 * DAY_MS)
    assert (ring.tail(1000), ring.size, list(tmp_path.iterdir())) == ([], 0, [])
    ring.append([(9 * DAY_MS, "s", "again\n")])
    assert text_of(LogRing(tmp_path, BUDGET).tail(1000)) == "again\n"


def test_a_blotted_stream_is_gone_and_the_others_stay_where_they_are(tmp_path: Path) -> None:
    ring = LogRing(tmp_path, BUDGET)
    for index in range(40):
        ring.append([(index, "ab"[index % 2], "secret" * 100 + "\n"), (index, "c", f"{index}\n")])
    before = list(ring.pieces(ring.segments(), 0))
    assert len(ring.segments()) > 2
    ring.blot("a")
    assert list(ring.pieces(ring.segments(), 0)) == [piece for piece in before if piece.stream != "a"]
    assert {stream for span in ring.spans(ring.segments()) for stream in span.streams} == {"b", "c"}
    ring.append([(50, "a", "again\n")])
    assert text_of(LogRing(tmp_path, BUDGET).tail(10)).endswith("again\n")


def test_spans_tell_each_streams_times(tmp_path: Path) -> None:
    ring = LogRing(tmp_path, BUDGET)
    ring.append([(5, "a", "x\n"), (3, "b", "x\n"), (7, "a", "x\n")])
    (span,) = ring.spans(ring.segments())
    assert (span.oldest_ms, span.newest_ms, span.streams) == (3, 7, {"a": (5, 7), "b": (3, 3)})
