"""The lineage of a chain of invocations."""

from hypothesis import given
from hypothesis import strategies as st

from hearth_gateway.core.lineage import MAX_FUNCTIONS, extended

ROOT = "Root=1-65000000-000000000000000000000000;Parent=0000000000000000;Sampled=0"


def test_a_header_without_lineage_starts_a_chain() -> None:
    lineage, count = extended(ROOT, "arn:a")
    assert count == 1
    assert lineage.startswith("1:")


def test_a_function_that_calls_itself_is_counted() -> None:
    header = ROOT
    for expected in range(1, 20):
        lineage, count = extended(header, "arn:a")
        assert count == expected
        header = f"{ROOT};Lineage={lineage}"


def test_functions_in_a_ring_are_counted_apart() -> None:
    header, counts = ROOT, []
    for arn in ("arn:a", "arn:b", "arn:c") * 3:
        lineage, count = extended(header, arn)
        counts.append(count)
        header = f"{ROOT};Lineage={lineage}"
    assert counts == [1, 1, 1, 2, 2, 2, 3, 3, 3]


@given(st.text(), st.lists(st.sampled_from([f"arn:{n}" for n in range(30)]), max_size=60))
def test_whatever_came_in_the_lineage_stays_short_and_readable(header: str, chain: list[str]) -> None:
    for arn in chain:
        lineage, count = extended(header, arn)
        assert count >= 1
        assert len(lineage.split("|")) <= MAX_FUNCTIONS
        header = f"{ROOT};Lineage={lineage}"
