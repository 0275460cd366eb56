"""Which version an alias leads to: its weights are shares of chances."""

import random

from hypothesis import given
from hypothesis import strategies as st

from hearth.core.attachments import Alias

WEIGHTS = st.floats(min_value=0.0, max_value=1.0)
CHANCES = st.floats(min_value=0.0, max_value=1.0, exclude_max=True)


def test_ten_percent_are_ten_percent_within_statistics() -> None:
    """5,000 independent chances of 0.1: mean 500, standard deviation 21.2. Six deviations are left on each side."""
    alias = Alias("live", "1", "r", weights={"2": 0.1})
    chances = random.Random(20261121)
    second = sum(alias.choose(chances.random()) == "2" for _ in range(5_000))
    assert abs(second - 500) <= 6 * 21.3


@given(WEIGHTS, CHANCES)
def test_the_second_version_has_the_chances_below_its_weight(weight: float, chance: float) -> None:
    assert Alias("live", "1", "r", weights={"2": weight}).choose(chance) == ("2" if chance < weight else "1")


@given(CHANCES)
def test_the_ends_of_the_scale_are_never_and_always(chance: float) -> None:
    assert Alias("live", "1", "r", weights={"2": 0.0}).choose(chance) == "1"
    assert Alias("live", "1", "r", weights={"2": 1.0}).choose(chance) == "2"
    assert Alias("live", "1", "r").choose(chance) == "1"
