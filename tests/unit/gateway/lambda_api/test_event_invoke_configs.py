"""Event invoke configurations through the API."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.unit.gateway.lambda_api.harness import ARN, START_S, Harness

from hearth.core.errors import InvalidParameterValue, ResourceNotFound

OTHER = "arn:aws:lambda:us-east-1:000000000000:function:other"
QUEUE = "arn:aws:sqs:us-east-1:000000000000:failed"


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Harness]:
    async with Harness(tmp_path).running() as harness:
        await harness.created()
        await harness.created("other")
        yield harness


async def test_a_put_shows_the_qualified_arn_and_empty_destinations(api: Harness) -> None:
    shown = await api.call("PutFunctionEventInvokeConfig", FunctionName="hello", MaximumRetryAttempts=0)
    assert shown.pop("LastModified").timestamp() == START_S
    assert shown == {
        "FunctionArn": f"{ARN}:$LATEST",
        "MaximumRetryAttempts": 0,
        "DestinationConfig": {"OnSuccess": {}, "OnFailure": {}},
        "status": 200,
    }


async def test_a_put_replaces_and_an_update_merges(api: Harness) -> None:
    await api.call("PutFunctionEventInvokeConfig", FunctionName="hello", MaximumRetryAttempts=1)
    destinations = {"OnSuccess": {"Destination": OTHER}, "OnFailure": {"Destination": QUEUE}}
    merged = await api.call("UpdateFunctionEventInvokeConfig", FunctionName="hello", DestinationConfig=destinations)
    assert (merged["MaximumRetryAttempts"], merged["DestinationConfig"]) == (1, destinations)
    replaced = await api.call("PutFunctionEventInvokeConfig", FunctionName="hello", MaximumEventAgeInSeconds=60)
    assert "MaximumRetryAttempts" not in replaced
    assert replaced["DestinationConfig"] == {"OnSuccess": {}, "OnFailure": {}}


async def test_a_put_of_nothing_is_refused(api: Harness) -> None:
    with pytest.raises(InvalidParameterValue, match="at least one of error handling or destination setting"):
        await api.call("PutFunctionEventInvokeConfig", FunctionName="hello")


@pytest.mark.parametrize(
    ("destination", "text"),
    [(ARN, "You can't specify the function as a destination for itself"), (f"{ARN}x", "is invalid")],
)
async def test_a_destination_must_be_another_function_that_exists(api: Harness, destination: str, text: str) -> None:
    with pytest.raises(InvalidParameterValue, match=text):
        await api.call(
            "PutFunctionEventInvokeConfig",
            FunctionName="hello",
            DestinationConfig={"OnSuccess": {"Destination": destination}},
        )


@pytest.mark.parametrize("operation", ["GetFunctionEventInvokeConfig", "DeleteFunctionEventInvokeConfig"])
@pytest.mark.parametrize("name", ["hello", "nobody"])
async def test_what_was_never_set_is_not_found(api: Harness, operation: str, name: str) -> None:
    with pytest.raises(ResourceNotFound, match=rf"The function .*:{name}:\$LATEST doesn't have an EventInvokeConfig"):
        await api.call(operation, FunctionName=name)


async def test_a_missing_function_has_nothing_to_configure(api: Harness) -> None:
    with pytest.raises(ResourceNotFound, match="The function doesn't exist"):
        await api.call("PutFunctionEventInvokeConfig", FunctionName="nobody", MaximumRetryAttempts=0)


async def test_a_deleted_configuration_is_gone_from_the_list(api: Harness) -> None:
    await api.call("PutFunctionEventInvokeConfig", FunctionName="hello", MaximumRetryAttempts=0)
    listed = await api.call("ListFunctionEventInvokeConfigs", FunctionName="hello")
    assert [one["FunctionArn"] for one in listed["FunctionEventInvokeConfigs"]] == [f"{ARN}:$LATEST"]
    await api.call("DeleteFunctionEventInvokeConfig", FunctionName="hello")
    assert (await api.call("ListFunctionEventInvokeConfigs", FunctionName="hello"))["FunctionEventInvokeConfigs"] == []
