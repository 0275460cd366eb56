"""The memory that is promised to environments."""

from hypothesis import given
from hypothesis import strategies as st

from hearth_scheduler.core.memory import MemoryBudget

NAMES = ("a", "b", "c", "d")


def _budget(mib: int, **held: int) -> MemoryBudget:
    budget = MemoryBudget(mib)
    for name, each in held.items():
        budget.occupy(name, each)
    return budget


def test_what_fits_is_what_is_not_held() -> None:
    budget = _budget(100, a=60)

    assert budget.fits(40)
    assert not budget.fits(41)


def test_holding_again_replaces_what_was_held() -> None:
    budget = _budget(100, a=60)

    budget.occupy("a", 10)

    assert budget.used_mib == 10


def test_nobody_goes_when_it_fits() -> None:
    assert _budget(100, a=60).evict(40, ["a"]) == []


def test_the_idlest_go_until_it_fits_and_no_more() -> None:
    budget = _budget(100, a=30, b=30, c=30)

    assert budget.evict(50, ["b", "a", "c"]) == ["b", "a"]


def test_nobody_goes_in_vain() -> None:
    budget = _budget(100, a=30, b=60)

    assert budget.evict(90, ["a"]) == []


def test_nobody_else_goes_for_what_is_leaving_already() -> None:
    budget = _budget(100, a=60, b=40)
    budget.leaves("a")
    budget.leaves("a")

    assert not budget.fits(50)
    assert budget.evict(50, ["b"]) == []


def test_it_is_hopeless_when_neither_leaving_nor_evicting_helps() -> None:
    budget = _budget(100, a=60, b=40)
    assert budget.is_hopeless(50, evictable_mib=40)

    budget.leaves("a")

    assert not budget.is_hopeless(50, evictable_mib=0)


@given(
    st.lists(
        st.tuples(st.sampled_from(["occupy", "leaves", "vacate"]), st.sampled_from(NAMES), st.integers(0, 100)),
        max_size=40,
    )
)
def test_the_sums_are_those_of_what_is_held(steps: list[tuple[str, str, int]]) -> None:
    budget = MemoryBudget(200)
    for what, name, mib in steps:
        if what == "occupy" and name not in budget.leaving:
            budget.occupy(name, mib)
        elif what == "leaves" and name in budget.held:
            budget.leaves(name)
        elif what == "vacate":
            budget.vacate(name)
        assert budget.used_mib == sum(budget.held.values())
        assert budget.leaving_mib == sum(budget.held[each] for each in budget.leaving)
