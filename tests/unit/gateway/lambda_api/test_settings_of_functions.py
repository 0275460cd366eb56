"""Concurrency, account settings, function URLs and tags."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from tests.unit.gateway.lambda_api.harness import ARN, CODE, Harness

from hearth.core.errors import InvalidParameterValue, ResourceConflict, ResourceNotFound, ValidationError
from hearth.core.function import FunctionName
from hearth.registry import Limited

NO_RESOURCE = r"^The resource you requested does not exist\.$"


async def test_reserved_concurrency_is_set_shown_and_removed(api: Harness) -> None:
    await api.created()
    assert await api.call("GetFunctionConcurrency", FunctionName="hello") == {"status": 200}
    answer = await api.call("PutFunctionConcurrency", FunctionName="hello", ReservedConcurrentExecutions=5)
    assert answer == {"ReservedConcurrentExecutions": 5, "status": 200}
    assert await api.call("GetFunctionConcurrency", FunctionName="hello") == answer
    assert (await api.call("GetFunction", FunctionName="hello"))["Concurrency"] == {"ReservedConcurrentExecutions": 5}
    assert "Concurrency" not in await api.call("GetFunction", FunctionName="hello", Qualifier="$LATEST")
    assert (await api.call("DeleteFunctionConcurrency", FunctionName="hello"))["status"] == 204
    assert await api.call("GetFunctionConcurrency", FunctionName="hello") == {"status": 200}
    assert api.changes[1:] == [Limited(FunctionName("hello"), 5), Limited(FunctionName("hello"), None)]


async def test_zero_is_a_legal_reservation(api: Harness) -> None:
    await api.created()
    answer = await api.call("PutFunctionConcurrency", FunctionName="hello", ReservedConcurrentExecutions=0)
    assert answer["ReservedConcurrentExecutions"] == 0
    assert api.changes[-1] == Limited(FunctionName("hello"), 0)


async def test_reservations_leave_the_minimum_free(api: Harness) -> None:
    await api.created("one")
    await api.created("two")
    await api.call("PutFunctionConcurrency", FunctionName="one", ReservedConcurrentExecutions=500)
    await api.call("PutFunctionConcurrency", FunctionName="two", ReservedConcurrentExecutions=400)
    with pytest.raises(InvalidParameterValue) as caught:
        await api.call("PutFunctionConcurrency", FunctionName="two", ReservedConcurrentExecutions=401)
    assert caught.value.message == (
        "Specified ReservedConcurrentExecutions for function decreases account's UnreservedConcurrentExecution "
        "below its minimum value of [100]."
    )
    await api.call("PutFunctionConcurrency", FunctionName="one", ReservedConcurrentExecutions=100)
    await api.call("PutFunctionConcurrency", FunctionName="two", ReservedConcurrentExecutions=800)


async def test_two_reservations_at_once_cannot_be_too_much_together(api: Harness) -> None:
    await api.created("one")
    await api.created("two")
    puts = (
        api.call("PutFunctionConcurrency", FunctionName=name, ReservedConcurrentExecutions=600)
        for name in ("one", "two")
    )
    results = await asyncio.gather(*puts, return_exceptions=True)
    assert sorted(type(result).__name__ for result in results) == ["InvalidParameterValue", "dict"]


@pytest.mark.parametrize("operation", ["PutFunctionConcurrency", "GetFunctionConcurrency", "DeleteFunctionConcurrency"])
async def test_concurrency_belongs_to_the_whole_function(api: Harness, operation: str) -> None:
    await api.created()
    parameters = {"ReservedConcurrentExecutions": 1} if operation.startswith("Put") else {}
    with pytest.raises(InvalidParameterValue, match="permitted on Lambda functions only"):
        await api.call(operation, FunctionName="hello:$LATEST", **parameters)


async def test_account_settings_are_the_platforms_own(api: Harness) -> None:
    await api.created()
    await api.call("PutFunctionConcurrency", FunctionName="hello", ReservedConcurrentExecutions=10)
    answer = await api.call("GetAccountSettings")
    assert answer["AccountLimit"] == {
        "TotalCodeSize": 75_000_000_000,
        "CodeSizeUnzipped": 262_144_000,
        "CodeSizeZipped": 52_428_800,
        "ConcurrentExecutions": 1_000,
        "UnreservedConcurrentExecutions": 990,
    }
    assert answer["AccountUsage"] == {"TotalCodeSize": len(CODE), "FunctionCount": 1}


CORS: dict[str, Any] = {
    "AllowCredentials": True,
    "AllowHeaders": ["x-a"],
    "AllowMethods": ["GET"],
    "AllowOrigins": ["https://example.org"],
    "ExposeHeaders": ["x-b"],
    "MaxAge": 60,
}


async def test_a_function_url_is_created_and_shown(api: Harness) -> None:
    await api.created()
    created = await api.call("CreateFunctionUrlConfig", FunctionName="hello", AuthType="NONE", Cors=CORS)
    url_id = created["FunctionUrl"].removeprefix("http://").split(".")[0]
    assert created == {
        "FunctionUrl": f"http://{url_id}.lambda-url.localhost:9400/",
        "FunctionArn": ARN,
        "AuthType": "NONE",
        "Cors": CORS,
        "CreationTime": "2026-11-21T01:36:40.250000Z",
        "status": 201,
    }
    assert len(url_id) == 32
    assert url_id.isalnum()
    shown = await api.call("GetFunctionUrlConfig", FunctionName="hello")
    assert shown == {
        **created,
        "LastModifiedTime": "2026-11-21T01:36:40.250000Z",
        "InvokeMode": "BUFFERED",
        "status": 200,
    }
    assert api.registry.find_by_url(url_id) == (api.registry.find("hello"), "$LATEST")
    listed = await api.call("ListFunctionUrlConfigs", FunctionName="hello")
    assert listed["FunctionUrlConfigs"] == [{name: value for name, value in shown.items() if name != "status"}]


async def test_an_invoke_mode_that_was_sent_is_echoed(api: Harness) -> None:
    await api.created()
    answer = await api.call("CreateFunctionUrlConfig", FunctionName="hello", AuthType="NONE", InvokeMode="BUFFERED")
    assert answer["InvokeMode"] == "BUFFERED"
    assert "Cors" not in answer


async def test_a_function_has_one_url(api: Harness) -> None:
    await api.created()
    await api.call("CreateFunctionUrlConfig", FunctionName="hello", AuthType="NONE")
    with pytest.raises(ResourceConflict) as caught:
        await api.call("CreateFunctionUrlConfig", FunctionName="hello", AuthType="NONE")
    assert caught.value.message == (
        f"Failed to create function url config for [functionArn = {ARN}]. "
        "Error message:  FunctionUrlConfig exists for this Lambda function"
    )


async def test_a_url_changes_its_cors_and_keeps_its_address(api: Harness) -> None:
    await api.created()
    created = await api.call("CreateFunctionUrlConfig", FunctionName="hello", AuthType="NONE")
    api.now_s += 1
    updated = await api.call("UpdateFunctionUrlConfig", FunctionName="hello", Cors=CORS)
    assert updated["FunctionUrl"] == created["FunctionUrl"]
    assert updated["Cors"] == CORS
    assert updated["LastModifiedTime"] == "2026-11-21T01:36:41.250000Z"
    assert "Cors" not in await api.call("UpdateFunctionUrlConfig", FunctionName="hello", Cors={})


async def test_a_deleted_url_is_gone(api: Harness) -> None:
    await api.created()
    await api.call("CreateFunctionUrlConfig", FunctionName="hello", AuthType="NONE")
    assert (await api.call("DeleteFunctionUrlConfig", FunctionName="hello"))["status"] == 204
    for operation in ("GetFunctionUrlConfig", "UpdateFunctionUrlConfig", "DeleteFunctionUrlConfig"):
        with pytest.raises(ResourceNotFound, match=NO_RESOURCE):
            await api.call(operation, FunctionName="hello")
    assert (await api.call("ListFunctionUrlConfigs", FunctionName="hello"))["FunctionUrlConfigs"] == []


async def test_a_url_of_a_missing_function(api: Harness) -> None:
    for operation in ("GetFunctionUrlConfig", "DeleteFunctionUrlConfig"):
        with pytest.raises(ResourceNotFound, match=NO_RESOURCE):
            await api.call(operation, FunctionName="hello")
    with pytest.raises(ResourceNotFound, match=r"^Function does not exist$"):
        await api.call("ListFunctionUrlConfigs", FunctionName="hello")
    with pytest.raises(ResourceNotFound, match=r"^Function does not exist$"):
        await api.call("CreateFunctionUrlConfig", FunctionName="hello", AuthType="NONE")


@pytest.mark.parametrize("qualifier", ["1", "$LATEST"])
async def test_a_url_belongs_to_no_version(api: Harness, qualifier: str) -> None:
    await api.created()
    with pytest.raises(ValidationError, match="'qualifier' failed to satisfy constraint"):
        await api.call("GetFunctionUrlConfig", FunctionName="hello", Qualifier=qualifier)


async def test_who_may_use_a_url_is_kept_until_it_is_changed(api: Harness) -> None:
    await api.created()
    answer = await api.call("CreateFunctionUrlConfig", FunctionName="hello", AuthType="AWS_IAM")
    assert answer["AuthType"] == "AWS_IAM"
    await api.call("UpdateFunctionUrlConfig", FunctionName="hello", Cors=CORS)
    assert (await api.call("GetFunctionUrlConfig", FunctionName="hello"))["AuthType"] == "AWS_IAM"
    await api.call("UpdateFunctionUrlConfig", FunctionName="hello", AuthType="NONE")
    assert (await api.call("GetFunctionUrlConfig", FunctionName="hello"))["AuthType"] == "NONE"
    with pytest.raises(ValidationError, match="'authType' failed to satisfy constraint: Member must satisfy enum"):
        await api.call("UpdateFunctionUrlConfig", FunctionName="hello", AuthType="SOME")


async def test_an_invoke_mode_is_kept_until_it_is_changed(api: Harness) -> None:
    await api.created()
    await api.call("CreateFunctionUrlConfig", FunctionName="hello", AuthType="NONE", InvokeMode="RESPONSE_STREAM")
    assert (await api.call("UpdateFunctionUrlConfig", FunctionName="hello", Cors=CORS))[
        "InvokeMode"
    ] == "RESPONSE_STREAM"
    await api.call("UpdateFunctionUrlConfig", FunctionName="hello", InvokeMode="BUFFERED")
    assert (await api.call("GetFunctionUrlConfig", FunctionName="hello"))["InvokeMode"] == "BUFFERED"


async def test_tags_are_added_overwritten_and_removed(api: Harness) -> None:
    before = await api.created(Tags={"a": "1", "b": "2"})
    assert (await api.call("TagResource", Resource=ARN, Tags={"b": "3", "c ü": "4"}))["status"] == 204
    assert (await api.call("ListTags", Resource=ARN))["Tags"] == {"a": "1", "b": "3", "c ü": "4"}
    assert (await api.call("UntagResource", Resource=ARN, TagKeys=["a", "c ü", "unknown"]))["status"] == 204
    assert (await api.call("ListTags", Resource=ARN))["Tags"] == {"b": "3"}
    assert await api.call("GetFunctionConfiguration", FunctionName="hello") == before


async def test_a_function_has_at_most_fifty_tags(api: Harness) -> None:
    await api.created(Tags={str(number): "" for number in range(50)})
    await api.call("TagResource", Resource=ARN, Tags={"0": "again"})
    with pytest.raises(InvalidParameterValue, match=r"^Number of tags exceeds resource tag limit\.$"):
        await api.call("TagResource", Resource=ARN, Tags={"one more": ""})


async def test_no_tags_at_all_cannot_be_added(api: Harness) -> None:
    await api.created()
    with pytest.raises(InvalidParameterValue, match="An error occurred and the request cannot be processed"):
        await api.call("TagResource", Resource=ARN, Tags={})


async def test_versions_have_no_tags(api: Harness) -> None:
    await api.created()
    with pytest.raises(InvalidParameterValue, match=r"^Tags on function aliases and versions are not supported"):
        await api.call("ListTags", Resource=f"{ARN}:$LATEST")


async def test_tags_of_what_does_not_exist(api: Harness, tmp_path: Path) -> None:
    with pytest.raises(ResourceNotFound, match=f"^Function not found: {ARN}$"):
        await api.call("ListTags", Resource=ARN)
    with pytest.raises(ResourceNotFound, match=f"^Function not found: {ARN}$"):
        await api.call("TagResource", Resource=ARN, Tags={"a": "b"})
    mapping = "arn:aws:lambda:us-east-1:000000000000:event-source-mapping:00000000-0000-4000-8000-000000000000"
    with pytest.raises(ResourceNotFound, match=NO_RESOURCE):
        await api.call("ListTags", Resource=mapping)
