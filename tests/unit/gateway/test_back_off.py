"""Waits before another try: they double, and they end growing."""

from collections.abc import Callable
from itertools import pairwise

import pytest

from hearth_gateway.core.back_off import back_off_s, doubling, short_back_off_s


def test_a_wait_doubles_until_its_limit() -> None:
    assert [doubling(times, 3, 20) for times in range(5)] == [3, 6, 12, 20, 20]


def test_a_million_failures_wait_no_longer_than_the_limit() -> None:
    assert (back_off_s(1_000_000), short_back_off_s(1_000_000)) == (30.0, 2.0)


@pytest.mark.parametrize("wait", [back_off_s, short_back_off_s])
def test_the_first_wait_is_short_and_none_is_shorter_than_the_one_before(wait: Callable[[int], float]) -> None:
    waits = [wait(failures) for failures in range(20)]
    assert waits[0] == 0.1
    assert all(after >= before for before, after in pairwise(waits))
