"""After an outage one may run, then two, then four; the wait that is told is exactly the one that is needed."""

from hypothesis import given
from hypothesis import strategies as st

from hearth_gateway.core.ramp_up import FULL_AFTER, RampUp


def test_the_width_doubles_each_second_until_there_is_no_limit() -> None:
    ramp = RampUp(10_000)
    assert [ramp.width(10_000 + second * 1_000) for second in range(4)] == [1, 2, 4, 8]
    assert ramp.width(10_000 + (FULL_AFTER - 1) * 1_000) == 2 ** (FULL_AFTER - 1)
    assert ramp.width(10_000 + FULL_AFTER * 1_000) is None


def test_nothing_starts_while_the_outage_lasts() -> None:
    assert (RampUp(10_000).width(9_999), RampUp(10_000).wait_ms(0, 9_000)) == (0, 1_000)


@given(running=st.integers(0, 20_000), now_ms=st.integers(0, 30_000))
def test_one_more_may_run_after_the_wait_and_not_before(running: int, now_ms: int) -> None:
    ramp = RampUp(5_000)

    def has_room(at_ms: int) -> bool:
        width = ramp.width(at_ms)
        return width is None or running < width

    wait_ms = ramp.wait_ms(running, now_ms)
    assert (wait_ms == 0) == has_room(now_ms)
    assert has_room(now_ms + wait_ms)
    assert wait_ms == 0 or not has_room(now_ms + wait_ms - 1)
