"""Provisioned concurrency over the API: what may have it, how much, and how far it has come."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.unit.gateway.lambda_api.harness import ARN, ENDPOINT, Harness

from hearth.core.errors import HearthError
from hearth.core.function import FunctionName
from hearth.core.provisioning import ProvisionedState, ProvisioningProblem
from hearth.registry import Change, Provisioned
from hearth_gateway.lambda_api.provisioned import ProvisionedConcurrencyOperations
from hearth_gateway.testing import FakeScheduler


class Subject:
    """A function `hello` with two published versions and the alias `live` on the first."""

    def __init__(self, api: Harness, scheduler: FakeScheduler) -> None:
        self.api = api
        self.scheduler = scheduler

    async def call(self, operation: str, **parameters: Any) -> dict[str, Any]:
        """The answer, or the error in its place."""
        try:
            return await self.api.call(operation, **parameters)
        except HearthError as error:
            return {"Error": {"Code": error.code, "Message": error.message}, "status": error.status}

    async def put(self, qualifier: str, count: int, name: str = "hello") -> dict[str, Any]:
        return await self.call(
            "PutProvisionedConcurrencyConfig",
            FunctionName=name,
            Qualifier=qualifier,
            ProvisionedConcurrentExecutions=count,
        )

    async def get(self, qualifier: str) -> dict[str, Any]:
        return await self.call("GetProvisionedConcurrencyConfig", FunctionName="hello", Qualifier=qualifier)

    async def alias(self, operation: str, **parameters: Any) -> dict[str, Any]:
        return await self.call(operation, FunctionName="hello", Name="live", **parameters)

    def is_at(self, version: str, state: ProvisionedState) -> None:
        self.scheduler.states[FunctionName("hello"), version] = state

    @property
    def told(self) -> list[tuple[str, int]]:
        return [(change.version, change.count) for change in self.api.changes if isinstance(change, Provisioned)]


@pytest.fixture
async def subject(tmp_path: Path) -> Any:
    endpoint = replace(ENDPOINT, account_concurrency=20, unreserved_minimum=5)
    async with Harness(tmp_path, endpoint=endpoint).running() as api:
        scheduler = FakeScheduler()
        operations = ProvisionedConcurrencyOperations(endpoint, api.registry, scheduler, clock=lambda: api.now_s)
        operations.register(api.plane.api)
        await api.created()
        for memory in (128, 256):
            await api.call("UpdateFunctionConfiguration", FunctionName="hello", MemorySize=memory)
            await api.plane.deployer.idle()
            await api.call("PublishVersion", FunctionName="hello")
            await api.plane.deployer.idle()
        found = Subject(api, scheduler)
        await found.alias("CreateAlias", FunctionVersion="1")
        yield found


async def test_it_is_accepted_before_anything_is_there_and_told_to_the_scheduler(subject: Subject) -> None:
    assert await subject.put("1", 3) == {
        "RequestedProvisionedConcurrentExecutions": 3,
        "AllocatedProvisionedConcurrentExecutions": 0,
        "AvailableProvisionedConcurrentExecutions": 0,
        "Status": "IN_PROGRESS",
        "LastModified": "2026-11-21T01:36:40+0000",
        "status": 202,
    }
    assert subject.told == [("1", 3)]


async def test_it_is_ready_when_all_are_available_and_not_before(subject: Subject) -> None:
    await subject.put("1", 2)
    subject.is_at("1", ProvisionedState(2, 2, 1))
    assert (await subject.get("1"))["Status"] == "IN_PROGRESS"

    subject.is_at("1", ProvisionedState(2, 2, 2))

    answer = await subject.get("1")
    assert answer["Status"] == "READY" and answer["AvailableProvisionedConcurrentExecutions"] == 2
    assert "StatusReason" not in answer


async def test_why_it_failed_is_told(subject: Subject) -> None:
    await subject.put("1", 2)

    subject.is_at("1", ProvisionedState(2, 0, 0, ProvisioningProblem.INIT_FAILURE))

    answer = await subject.get("1")
    assert (answer["Status"], answer["StatusReason"]) == ("FAILED", "FUNCTION_ERROR_INIT_FAILURE")


async def test_the_unpublished_version_cannot_have_it_however_it_is_reached(subject: Subject) -> None:
    await subject.alias("UpdateAlias", FunctionVersion="$LATEST")

    for qualifier in ("$LATEST", "live"):
        answer = await subject.put(qualifier, 1)
        assert answer["Error"]["Code"] == "InvalidParameterValueException"
        assert answer["Error"]["Message"] == (
            "Provisioned Concurrency Configs cannot be applied to unpublished function versions."
        )
    answer = await subject.get("$LATEST")
    assert answer["Error"]["Message"] == "The function resource provided must be an alias or a published version."


@pytest.mark.parametrize("qualifier", ["7", "nobody"])
async def test_a_qualifier_that_leads_nowhere_is_not_found(subject: Subject, qualifier: str) -> None:
    answer = await subject.put(qualifier, 1)

    assert answer["Error"] == {
        "Code": "ResourceNotFoundException",
        "Message": f"Function not found: {ARN}:{qualifier}",
    }


async def test_a_missing_configuration_has_an_error_of_its_own_and_can_be_deleted(subject: Subject) -> None:
    answer = await subject.get("1")

    assert answer["Error"] == {
        "Code": "ProvisionedConcurrencyConfigNotFoundException",
        "Message": "No Provisioned Concurrency Config found for this function",
    }
    deleted = await subject.call("DeleteProvisionedConcurrencyConfig", FunctionName="hello", Qualifier="1")
    assert deleted["status"] == 204


async def test_a_version_has_one_configuration_its_own_or_an_aliass(subject: Subject) -> None:
    await subject.put("1", 1)
    answer = await subject.put("live", 1)
    assert answer["Error"] == {
        "Code": "ResourceConflictException",
        "Message": "Alias can't be used for Provisioned Concurrency configuration on an already Provisioned version",
    }

    await subject.call("DeleteProvisionedConcurrencyConfig", FunctionName="hello", Qualifier="1")
    await subject.put("live", 1)
    answer = await subject.put("1", 1)

    assert answer["Error"] == {
        "Code": "ResourceConflictException",
        "Message": "Version is pointed by a Provisioned Concurrency alias",
    }


async def test_an_alias_with_weights_cannot_be_given_it(subject: Subject) -> None:
    await subject.alias("UpdateAlias", RoutingConfig={"AdditionalVersionWeights": {"2": 0.1}})

    answer = await subject.put("live", 1)

    assert answer["Error"]["Message"] == "Alias with weights can not be used with Provisioned Concurrency"


async def test_weights_split_what_an_alias_has_already(subject: Subject) -> None:
    await subject.put("live", 10)

    await subject.alias("UpdateAlias", RoutingConfig={"AdditionalVersionWeights": {"2": 0.25}})

    assert subject.told == [("1", 10), ("1", 7), ("2", 3)]
    subject.is_at("1", ProvisionedState(7, 7, 7))
    subject.is_at("2", ProvisionedState(3, 3, 2))
    assert (await subject.get("live"))["AvailableProvisionedConcurrentExecutions"] == 9


async def test_an_alias_that_moves_takes_its_environments_along(subject: Subject) -> None:
    await subject.put("live", 2)

    await subject.alias("UpdateAlias", FunctionVersion="2")

    assert sorted(subject.told[1:]) == [("1", 0), ("2", 2)]


async def test_a_provisioned_alias_cannot_move_to_a_provisioned_version(subject: Subject) -> None:
    await subject.put("live", 2)
    await subject.put("2", 2)

    answer = await subject.alias("UpdateAlias", FunctionVersion="2")

    assert answer["Error"]["Code"] == "ResourceConflictException"


async def test_deleting_the_alias_or_the_configuration_ends_it(subject: Subject) -> None:
    await subject.put("live", 2)
    await subject.put("2", 1)

    await subject.alias("DeleteAlias")
    await subject.call("DeleteProvisionedConcurrencyConfig", FunctionName="hello", Qualifier="2")

    assert subject.told[2:] == [("1", 0), ("2", 0)]


async def test_more_than_is_unreserved_is_refused_and_so_is_what_leaves_too_little(subject: Subject) -> None:
    assert (await subject.put("1", 21))["Error"]["Message"] == (
        "Specified ConcurrentExecutions for function is greater than account's unreserved concurrency [20]."
    )
    assert (await subject.put("1", 16))["Error"]["Message"] == (
        "Specified ConcurrentExecutions for function decreases account's UnreservedConcurrentExecution below its "
        "minimum value of [5]."
    )
    assert (await subject.put("1", 15))["status"] == 202
    assert (await subject.put("1", 15))["status"] == 202, "its own share is not taken twice"
    assert (await subject.put("2", 1))["Error"]["Code"] == "InvalidParameterValueException"


async def test_it_comes_out_of_the_functions_reserved_concurrency_if_it_has_some(subject: Subject) -> None:
    await subject.call("PutFunctionConcurrency", FunctionName="hello", ReservedConcurrentExecutions=4)
    await subject.put("1", 3)

    assert (await subject.put("2", 2))["Error"]["Message"] == (
        "Requested Provisioned Concurrency should not be greater than the reservedConcurrentExecution for function"
    )
    assert (await subject.put("2", 1))["status"] == 202


async def test_reserved_concurrency_cannot_fall_below_what_is_provisioned(subject: Subject) -> None:
    await subject.put("1", 3)

    answer = await subject.call("PutFunctionConcurrency", FunctionName="hello", ReservedConcurrentExecutions=0)

    assert answer["Error"]["Message"] == (
        "ReservedConcurrentExecutions 0 should not be lower than function's total provisioned concurrency [3]."
    )


async def test_what_is_provisioned_is_not_there_to_be_reserved_by_others(subject: Subject) -> None:
    await subject.put("1", 10)
    await subject.api.created("other")

    async def reserve(count: int) -> int:
        answer = await subject.call("PutFunctionConcurrency", FunctionName="other", ReservedConcurrentExecutions=count)
        return int(answer["status"])

    assert await reserve(6) == 400
    assert await reserve(5) == 200


async def test_a_reservation_takes_in_what_the_function_has_provisioned(subject: Subject) -> None:
    await subject.put("1", 10)

    answer = await subject.call("PutFunctionConcurrency", FunctionName="hello", ReservedConcurrentExecutions=15)

    assert answer["status"] == 200


async def test_all_configurations_of_a_function_are_listed_in_pages(subject: Subject) -> None:
    await subject.put("live", 1)
    await subject.put("2", 2)
    list_all = "ListProvisionedConcurrencyConfigs"

    first = await subject.call(list_all, FunctionName="hello", MaxItems=1)
    second = await subject.call(list_all, FunctionName="hello", MaxItems=1, Marker=first["NextMarker"])

    arns = [config["FunctionArn"] for page in (first, second) for config in page["ProvisionedConcurrencyConfigs"]]
    assert arns == [f"{ARN}:2", f"{ARN}:live"]
    assert "NextMarker" not in second


async def test_at_the_start_the_scheduler_is_told_what_is_to_be_ready(subject: Subject, tmp_path: Path) -> None:
    await subject.put("live", 2)
    told: list[Change] = []
    later = Harness(tmp_path, subject.api.store)
    later.registry.on_change(told.append)

    await later.registry.load()

    assert Provisioned(next(iter(later.registry)).name, "1", 2) in told
    assert later.registry.provisioned == 2


async def scale(subject: Subject, qualifier: str, **numbers: int) -> dict[str, Any]:
    named = {f"{name.title()}ExecutionEnvironments": number for name, number in numbers.items()}
    return await subject.call(
        "PutFunctionScalingConfig", FunctionName="hello", Qualifier=qualifier, FunctionScalingConfig=named
    )


async def scaling(subject: Subject, qualifier: str) -> dict[str, Any]:
    return await subject.call("GetFunctionScalingConfig", FunctionName="hello", Qualifier=qualifier)


def bounds(subject: Subject) -> list[tuple[str, int, int | None]]:
    changes = [change for change in subject.api.changes if isinstance(change, Provisioned)]
    return [(change.version, change.count, change.most) for change in changes]


async def test_a_version_has_environments_at_least_and_at_most(subject: Subject) -> None:
    assert await scaling(subject, "1") == {"FunctionArn": f"{ARN}:1", "status": 200}

    assert await scale(subject, "1", min=2, max=4) == {"FunctionState": "Active", "status": 202}

    assert bounds(subject) == [("1", 2, 4)]
    subject.is_at("1", ProvisionedState(2, 2, 1))
    assert await scaling(subject, "1") == {
        "FunctionArn": f"{ARN}:1",
        "AppliedFunctionScalingConfig": {"MinExecutionEnvironments": 1, "MaxExecutionEnvironments": 4},
        "RequestedFunctionScalingConfig": {"MinExecutionEnvironments": 2, "MaxExecutionEnvironments": 4},
        "status": 200,
    }


async def test_the_minimum_is_the_versions_provisioned_concurrency(subject: Subject) -> None:
    await scale(subject, "1", min=2)
    assert (await subject.get("1"))["RequestedProvisionedConcurrentExecutions"] == 2

    await subject.put("1", 3)

    requested = (await scaling(subject, "1"))["RequestedFunctionScalingConfig"]
    assert requested == {"MinExecutionEnvironments": 3}
    assert (await scale(subject, "1", min=16))["Error"]["Code"] == "InvalidParameterValueException"


async def test_a_scaling_configuration_replaces_the_one_before(subject: Subject) -> None:
    await scale(subject, "1", min=2, max=4)

    await scale(subject, "1", max=0)
    assert bounds(subject)[-1] == ("1", 0, 0)

    await scale(subject, "1")
    assert bounds(subject)[-1] == ("1", 0, None)
    assert await scaling(subject, "1") == {"FunctionArn": f"{ARN}:1", "status": 200}


@pytest.mark.parametrize("qualifier", ["1", "live"])
async def test_no_more_is_kept_ready_than_there_may_be(subject: Subject, qualifier: str) -> None:
    assert (await scale(subject, "1", min=3, max=2))["Error"]["Code"] == "InvalidParameterValueException"
    assert bounds(subject) == []
    await scale(subject, "1", max=2)

    assert (await subject.put(qualifier, 3))["Error"]["Code"] == "InvalidParameterValueException"
    assert (await subject.put(qualifier, 2))["status"] == 202
    assert (await scale(subject, "1", max=1)).get("status") == (202 if qualifier == "1" else 400)


@pytest.mark.parametrize("qualifier", ["7", "$LATEST.PUBLISHED"])
async def test_only_versions_that_are_there_can_be_scaled(subject: Subject, qualifier: str) -> None:
    not_found = {"Code": "ResourceNotFoundException", "Message": f"Function not found: {ARN}:{qualifier}"}

    assert (await scale(subject, qualifier, min=1))["Error"] == not_found
    assert (await scaling(subject, qualifier))["Error"] == not_found


async def test_a_maximum_goes_with_its_version_and_is_told_again_after_a_restart(
    subject: Subject, tmp_path: Path
) -> None:
    await scale(subject, "1", max=3)
    await scale(subject, "2", max=4)

    await subject.call("DeleteFunction", FunctionName="hello", Qualifier="2")

    record = subject.api.registry.find("hello")
    assert record is not None and record.ceilings == {"1": 3}
    assert bounds(subject)[-1] == ("2", 0, None)
    told: list[Change] = []
    later = Harness(tmp_path, subject.api.store)
    later.registry.on_change(told.append)
    await later.registry.load()
    assert [change for change in told if isinstance(change, Provisioned)] == [Provisioned(record.name, "1", 0, 3)]
