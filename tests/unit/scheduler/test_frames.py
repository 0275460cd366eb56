"""Frames as they arrive: in any pieces, from anybody."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hearth_scheduler.core.frames import MAX_META_BYTES, Frame, FrameParser, ProtocolError, encode

KINDS = b"HNREF"
MAX_BODY = 50

frames = st.builds(
    Frame,
    kind=st.sampled_from([bytes([kind]) for kind in KINDS]),
    meta=st.binary(max_size=40),
    body=st.binary(max_size=2 * MAX_BODY),
    oversize=st.just(0),
)


def _expected(frame: Frame) -> Frame:
    if len(frame.body) <= MAX_BODY:
        return frame
    return Frame(frame.kind, frame.meta, b"", oversize=len(frame.body))


def _split(data: bytes, cuts: list[int]) -> list[bytes]:
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return [data[begin:end] for begin, end in pairwise(edges)]


@given(st.lists(frames, max_size=8), st.lists(st.integers(min_value=0), max_size=12))
def test_frames_are_the_same_however_the_bytes_are_split(sent: list[Frame], cuts: list[int]) -> None:
    data = b"".join(encode(frame.kind, frame.meta, frame.body) for frame in sent)
    parser = FrameParser(KINDS, MAX_BODY)

    received = [frame for piece in _split(data, cuts) for frame in parser.feed(piece)]

    assert received == [_expected(frame) for frame in sent]


@given(st.lists(st.binary(max_size=100), max_size=10))
def test_garbage_is_a_protocol_error_or_nothing(pieces: list[bytes]) -> None:
    parser = FrameParser(KINDS, MAX_BODY)
    try:
        for piece in pieces:
            for frame in parser.feed(piece):
                assert frame.kind in KINDS and len(frame.body) <= MAX_BODY
                frame.fields()
    except ProtocolError:
        pass


def test_an_unknown_kind_is_refused_with_its_header_alone() -> None:
    with pytest.raises(ProtocolError):
        FrameParser(KINDS, MAX_BODY).feed(encode(b"I"))


def test_a_meta_that_cannot_be_is_refused_before_it_arrives() -> None:
    header = encode(b"R", b"m" * (MAX_META_BYTES + 1))[:9]

    with pytest.raises(ProtocolError):
        FrameParser(KINDS, MAX_BODY).feed(header)


def test_an_incomplete_frame_waits() -> None:
    assert FrameParser(KINDS, MAX_BODY).feed(encode(b"R", b"id", b"body")[:-1]) == []


def test_a_body_over_the_limit_is_counted_and_not_kept() -> None:
    parser = FrameParser(KINDS, MAX_BODY)
    length = 1_000_000
    data = encode(b"R", b"id", b"x" * length)

    assert parser.feed(data[:-1]) == []
    assert len(parser._buffer) == 0
    assert parser.feed(data[-1:] + encode(b"N")) == [Frame(b"R", b"id", b"", oversize=length), Frame(b"N", b"", b"")]


def test_a_body_at_the_limit_is_kept() -> None:
    (frame,) = FrameParser(KINDS, MAX_BODY).feed(encode(b"R", b"id", b"x" * MAX_BODY))

    assert (len(frame.body), frame.oversize) == (MAX_BODY, 0)


def test_fields_are_separated_by_nul_and_never_fail() -> None:
    assert Frame(b"R", b"a\0\0b\xff", b"").fields() == ["a", "", "b\ufffd"]
