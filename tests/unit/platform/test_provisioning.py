"""How many environments of which version the configurations of a function ask for, and how far each has come."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st
from tests.unit.platform.test_registry import active

from hearth.core.attachments import Alias, ProvisionedConcurrency
from hearth.core.provisioning import ProvisionedState, ProvisioningProblem, shares, state_of, targets
from hearth.core.records import FunctionRecord


def _record(aliases: dict[str, Alias], **provisioned: int) -> FunctionRecord:
    record = active()
    versions = {number: replace(record.latest, version=number) for number in ("1", "2", "3")}
    configs = {name.removeprefix("v"): ProvisionedConcurrency(count, 0) for name, count in provisioned.items()}
    return replace(record, versions=versions, aliases=aliases, provisioned=configs)


def _alias(name: str, version: str, **weights: float) -> dict[str, Alias]:
    return {name: Alias(name, version, "r", weights={key.removeprefix("v"): value for key, value in weights.items()})}


def test_configurations_of_versions_and_aliases_add_up_by_version() -> None:
    record = _record(_alias("live", "1") | _alias("beta", "1"), live=2, beta=3, v2=4)

    assert targets(record) == {"1": 5, "2": 4}


def test_an_alias_without_a_published_version_asks_for_nothing() -> None:
    assert targets(_record(_alias("live", "$LATEST"), live=2)) == {}


@given(requested=st.integers(1, 1000), weight=st.floats(0, 1))
def test_a_split_by_weights_asks_for_as_much_as_was_requested(requested: int, weight: float) -> None:
    split = shares(_record(_alias("live", "1", v2=weight), live=requested), "live")

    assert sum(split.values()) == requested
    assert all(count >= 0 for count in split.values())


def test_where_two_configurations_meet_in_a_version_the_first_by_name_is_served_first() -> None:
    record = _record(_alias("a", "1") | _alias("b", "1"), a=2, b=2)
    by_version = {"1": ProvisionedState(4, 3, 3)}

    assert state_of(record, "a", by_version).available == 2
    assert state_of(record, "b", by_version).available == 1


def test_a_problem_of_any_of_its_versions_is_the_configurations() -> None:
    record = _record(_alias("live", "1", v2=0.5), live=4)
    by_version = {
        "1": ProvisionedState(2, 2, 2),
        "2": ProvisionedState(2, 0, 0, ProvisioningProblem.INIT_FAILURE),
    }

    assert state_of(record, "live", by_version) == ProvisionedState(4, 2, 2, ProvisioningProblem.INIT_FAILURE)
