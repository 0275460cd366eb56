"""Provisioned concurrency: how many environments of each version a function's configurations ask for, and how far
the scheduler has come.

Rule 1: a configuration belongs to a version or to an alias. An alias' moves with it, and is split by its weights.
Rule 2: environments belong to a version. Where several configurations meet in one, the first by name is served first.
Source: "Configuring provisioned concurrency for a function", AWS Lambda developer guide.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from hearth.core.function import LATEST

if TYPE_CHECKING:
    from hearth.core.records import FunctionRecord


class ProvisioningProblem(Enum):
    """Why environments cannot be kept ready; the value is the `StatusReason` that callers are told."""

    INIT_FAILURE = "FUNCTION_ERROR_INIT_FAILURE"
    NO_MEMORY = "INSUFFICIENT_MEMORY"
    PLATFORM = "INTERNAL_ERROR"


@dataclass(frozen=True, slots=True)
class ProvisionedState:
    """How far it has come. `allocated` counts the environments there are, `available` those that are initialised, be
    they idle or at work. A problem is set while attempts fail, and goes with the first that succeeds."""

    requested: int = 0
    allocated: int = 0
    available: int = 0
    problem: ProvisioningProblem | None = None


def shares(record: "FunctionRecord", qualifier: str) -> Mapping[str, int]:
    """How many environments of which version the configuration of this qualifier asks for.

    Worked example: 10 for an alias that gives version 2 a weight of 0.25: 3 of version 2 and 7 of its own.
    """
    requested = record.provisioned[qualifier].requested
    alias = record.aliases.get(qualifier)
    if alias is None:
        return {qualifier: requested}
    split = {version: math.ceil(requested * weight) for version, weight in alias.weights.items()}
    return {**split, alias.version: requested - sum(split.values())}


def targets(record: "FunctionRecord") -> dict[str, int]:
    """How many environments of each version all configurations together ask for; versions without are left out."""
    found: dict[str, int] = {}
    for qualifier in record.provisioned:
        for version, count in shares(record, qualifier).items():
            if count > 0 and version in record.versions and version != LATEST:
                found[version] = found.get(version, 0) + count
    return found


def state_of(record: "FunctionRecord", qualifier: str, by_version: Mapping[str, ProvisionedState]) -> ProvisionedState:
    """How far the configuration of this qualifier has come, given the state of every version it asks for."""
    allocated = available = 0
    problem = None
    for version, count in shares(record, qualifier).items():
        state = by_version.get(version, ProvisionedState())
        before = sum(other.get(version, 0) for other in _earlier(record, qualifier))
        allocated += max(0, min(count, state.allocated - before))
        available += max(0, min(count, state.available - before))
        problem = problem or (state.problem if count else None)
    return ProvisionedState(record.provisioned[qualifier].requested, allocated, available, problem)


def _earlier(record: "FunctionRecord", qualifier: str) -> Iterator[Mapping[str, int]]:
    """What the configurations ask for that are served before this one's (rule 2)."""
    return (shares(record, other) for other in record.provisioned if other < qualifier)
