"""Pieces on their way through the scheduler: pace, limits, pauses."""

import asyncio
from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from hearth.core.invocation import MAX_RESPONSE_BYTES
from hearth_scheduler.core.stream_pace import UNTHROTTLED_BYTES, Pace, StreamLimits
from hearth_scheduler.streams import Collected, Relay

PATIENCE_S = 20.0
_TAKINGS = st.lists(st.tuples(st.integers(1, 2 * UNTHROTTLED_BYTES), st.floats(0, 100)), max_size=30)


@given(_TAKINGS, st.integers(1, 10**7))
def test_whoever_waits_as_told_is_never_faster_than_the_rate(takings: list[tuple[int, float]], rate: int) -> None:
    pace, now, taken = Pace(StreamLimits(rate_bytes_per_s=rate)), 1000.0, 0
    for count, idle_s in takings:
        now += idle_s
        delay_s = pace.take(count, now)
        assert delay_s >= 0
        now += delay_s
        taken += count
        assert taken - UNTHROTTLED_BYTES <= rate * (now - 1000.0) * 1.000001 + 1


@given(_TAKINGS)
def test_without_a_rate_nobody_waits(takings: list[tuple[int, float]]) -> None:
    pace = Pace(StreamLimits())
    assert all(pace.take(count, now) == 0 for count, now in takings)


def test_the_first_bytes_are_free_and_the_others_take_their_time() -> None:
    pace = Pace(StreamLimits(rate_bytes_per_s=2 * 2**20))
    assert pace.take(UNTHROTTLED_BYTES, 0.0) == 0.0
    assert pace.take(2**20, 0.0) == 0.5
    assert pace.take(2**20, 0.5) == 0.5
    assert pace.take(2**20, 10.0) == 0.5


class Ends:
    """Both ends of a relay."""

    def __init__(self) -> None:
        self.is_paused = False
        self.takes = True
        self.pieces: list[bytes] = []
        self.go_on: Callable[[], None] = lambda: None
        self.resumed = asyncio.Event()

    def begin(self, content_type: str, go_on: Callable[[], None]) -> None:
        self.go_on = go_on

    def write(self, piece: bytes) -> bool:
        self.pieces.append(piece)
        return self.takes

    def pause(self) -> None:
        self.is_paused = True

    def resume(self) -> None:
        self.is_paused = False
        self.resumed.set()

    def relay(self, limits: StreamLimits = StreamLimits()) -> Relay:  # noqa: B008 - immutable
        relay = Relay(self, self, Pace(limits), asyncio.get_running_loop().time)
        relay.begin("text/plain")
        return relay


async def test_a_full_taker_pauses_the_source_until_it_has_room() -> None:
    ends = Ends()
    relay = ends.relay()
    relay.take(b"a")
    assert not ends.is_paused
    ends.takes = False
    relay.take(b"b")
    assert ends.is_paused
    ends.go_on()
    assert not ends.is_paused


async def test_a_rate_pauses_the_source_for_a_while() -> None:
    ends = Ends()
    relay = ends.relay(StreamLimits(rate_bytes_per_s=100))
    relay.take(bytes(UNTHROTTLED_BYTES))
    assert not ends.is_paused
    relay.take(bytes(2))
    assert ends.is_paused
    await asyncio.wait_for(ends.resumed.wait(), PATIENCE_S)
    relay.close()


async def test_a_taker_with_room_does_not_shorten_the_pause_of_a_rate() -> None:
    ends = Ends()
    relay = ends.relay(StreamLimits(rate_bytes_per_s=1))
    ends.takes = False
    relay.take(bytes(UNTHROTTLED_BYTES + 1000))
    ends.go_on()
    assert ends.is_paused
    relay.close()


async def test_a_closed_relay_reads_on_and_hands_nothing_on() -> None:
    ends = Ends()
    relay = ends.relay(StreamLimits(max_bytes=2, rate_bytes_per_s=1))
    ends.takes = False
    assert relay.take(b"a")
    relay.close()
    relay.close()
    assert not ends.is_paused
    assert relay.take(b"more than the limit")
    assert ends.pieces == [b"a"]


async def test_the_piece_that_is_too_much_is_not_handed_on() -> None:
    ends = Ends()
    relay = ends.relay(StreamLimits(max_bytes=2))
    assert relay.take(b"ab")
    assert not relay.take(b"c")
    assert ends.pieces == [b"ab"]


@given(st.lists(st.integers(0, MAX_RESPONSE_BYTES // 2), max_size=6))
def test_collected_pieces_are_whole_or_counted(sizes: list[int]) -> None:
    collected = Collected("text/plain")
    for size in sizes:
        assert collected.take(bytes(size))
    total = sum(sizes)
    if total <= MAX_RESPONSE_BYTES:
        assert (len(collected.body), collected.oversize) == (total, 0)
    else:
        assert (len(collected.body), collected.oversize) == (0, total)
