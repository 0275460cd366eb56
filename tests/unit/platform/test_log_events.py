"""Events out of pieces: whole lines, stable ids, and none that a reader who comes back could miss."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from hearth.core.log_events import ID_DIGITS, MAX_MESSAGE, SILENCE_MS, LogEvent, Piece, assemble, first_id

LATER = 10**12


def pieces(*texts: tuple[int, str] | tuple[int, str, str]) -> list[Piece]:
    """Pieces one after the other: time, text and, if it is not `s`, the stream."""
    return [Piece(1, 100 * place, each[0], (*each, "s")[2], each[1]) for place, each in enumerate(texts)]


def messages(found: list[Piece], now_ms: int = LATER) -> list[str]:
    return [event.message for event in assemble(found, now_ms)]


def test_a_line_is_an_event_and_keeps_its_line_break() -> None:
    assert messages(pieces((1, "one\ntwo\n"), (2, "three\n"))) == ["one\n", "two\n", "three\n"]


def test_a_line_may_come_in_pieces_and_has_the_time_of_its_end() -> None:
    found = list(assemble(pieces((1, "hal"), (2, "other\n", "t"), (3, "lo\n")), LATER))
    assert [(event.message, event.at_ms, event.stream) for event in found] == [("other\n", 2, "t"), ("hallo\n", 3, "s")]


def test_a_traceback_is_one_event() -> None:
    assert messages(pieces((1, "[ERROR] boom\rTraceback\r  line\ndos\r\n"))) == [
        "[ERROR] boom\nTraceback\n  line\n",
        "dos\n",
    ]


def test_a_line_without_an_end_is_an_event_once_its_stream_is_silent() -> None:
    found = pieces((1000, "working..."))
    assert messages(found, 1000 + SILENCE_MS) == []
    (event,) = assemble(found, 1001 + SILENCE_MS)
    assert (event.message, event.at_ms) == ("working...", 1000 + SILENCE_MS)
    # It stays what it was when its stream goes on.
    more = [*found, Piece(1, 100, 1001 + SILENCE_MS, "s", "done\n")]
    assert next(iter(assemble(more, LATER))) == event
    assert messages(more) == ["working...", "done\n"]


def test_a_line_that_never_ends_is_cut() -> None:
    half = "x" * (MAX_MESSAGE // 2)
    assert messages(pieces((1, half), (2, half), (3, "rest\n"))) == [half * 2, "rest\n"]


def test_what_was_put_there_as_an_event_stays_whole() -> None:
    put = Piece(1, 5, 7, "s", "two\nlines", 9)
    (event,) = assemble([put], 0)
    assert event == LogEvent(event.event_id, 7, "s", "two\nlines", 9)


history = st.lists(
    st.tuples(
        st.integers(0, SILENCE_MS * 2),
        st.text(alphabet="ab\n\r", max_size=6),
        st.sampled_from(["s", "t"]),
        st.booleans(),
    ),
    max_size=25,
)


@given(history)
def test_a_reader_who_comes_back_misses_nothing_and_sees_nothing_change(
    steps: list[tuple[int, str, str, bool]],
) -> None:
    """Reads now and then from the newest time seen, as `aws logs tail --follow` does."""
    now_ms, stored, seen = 1, [], dict[str, LogEvent]()
    for place, (pause_ms, text, stream, is_read) in enumerate(steps):
        now_ms += pause_ms
        stored.append(Piece(1, place, now_ms, stream, text))
        if is_read:
            _read(stored, now_ms, seen)
    now_ms += SILENCE_MS + 1
    _read(stored, now_ms, seen)
    everything = list(assemble(stored, now_ms))
    assert sorted(seen.values()) == sorted(everything)
    assert len({event.event_id for event in everything}) == len(everything)
    for name in "st":
        kept = "".join(event.message for event in sorted(everything) if event.stream == name)
        written = "".join(piece.text for piece in stored if piece.stream == name)
        assert kept.replace("\n", "") == written.replace("\r", "").replace("\n", "")


@given(history, st.integers(0, 50 * SILENCE_MS))
def test_events_since_a_time_are_those_among_all_that_are_not_older(
    steps: list[tuple[int, str, str, bool]], since_ms: int
) -> None:
    now_ms, stored = 1, list[Piece]()
    for place, (pause_ms, text, stream, _) in enumerate(steps):
        now_ms += pause_ms
        stored.append(Piece(1, place, now_ms, stream, text))
    everything = [event for event in assemble(stored, LATER) if event.at_ms >= since_ms]
    assert [event for event in assemble(stored, LATER, since_ms) if event.at_ms >= since_ms] == everything


def _read(stored: list[Piece], now_ms: int, seen: dict[str, LogEvent]) -> None:
    since = max((event.at_ms for event in seen.values()), default=0)
    for event in assemble(stored, now_ms):
        assert seen.get(event.event_id, event) == event
        if event.at_ms >= since:
            seen[event.event_id] = event


@given(st.lists(st.tuples(st.integers(0, 10**14), st.integers(1, 10**9), st.integers(0, 10**12)), min_size=2))
def test_ids_sort_by_time_and_then_by_place(places: list[tuple[int, int, int]]) -> None:
    found = [Piece(segment, offset, at, "s", "x\n") for at, segment, offset in sorted(set(places))]
    ids = [next(assemble([piece], LATER)).event_id for piece in found]
    assert all(before < after for before, after in pairwise(ids))
    assert {len(identity) for identity in ids} == {ID_DIGITS}
    assert all(
        first_id(piece.at_ms) <= identity < first_id(piece.at_ms + 1)
        for piece, identity in zip(found, ids, strict=True)
    )
