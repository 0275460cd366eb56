"""Aliases, from end to end: as a client library sees them."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from tests.unit.gateway.lambda_api.harness import ARN, Harness

from hearth.core.attachments import ProvisionedConcurrency
from hearth.core.errors import (
    InvalidParameterValue,
    PreconditionFailed,
    ResourceConflict,
    ResourceNotFound,
    ValidationError,
)

PROD = f"{ARN}:prod"


async def versions(api: Harness, count: int = 2) -> None:
    """A function with this many published versions."""
    await api.created()
    for number in range(1, count + 1):
        await api.call("UpdateFunctionConfiguration", FunctionName="hello", Timeout=number)
        await api.plane.deployer.idle()
        await api.call("PublishVersion", FunctionName="hello")


async def create(api: Harness, version: str = "1", name: str = "prod", **members: Any) -> dict[str, Any]:
    return await api.call("CreateAlias", FunctionName="hello", Name=name, FunctionVersion=version, **members)


async def update(api: Harness, **members: Any) -> dict[str, Any]:
    return await api.call("UpdateAlias", FunctionName="hello", Name="prod", **members)


def weights(**shares: float) -> dict[str, Any]:
    return {"AdditionalVersionWeights": {name.removeprefix("v"): share for name, share in shares.items()}}


async def test_an_alias_is_a_name_for_a_version(api: Harness) -> None:
    await versions(api)
    answer = await create(api, Description="live")
    assert answer.pop("status") == 201
    assert answer == {
        "AliasArn": PROD,
        "Name": "prod",
        "FunctionVersion": "1",
        "Description": "live",
        "RevisionId": answer["RevisionId"],
    }
    got = await api.call("GetAlias", FunctionName="hello", Name="prod")
    assert {**got, "status": 0} == {**answer, "status": 0}
    configuration = await api.call("GetFunctionConfiguration", FunctionName="hello", Qualifier="prod")
    assert (configuration["Version"], configuration["FunctionArn"]) == ("1", PROD)


async def test_a_changed_alias_keeps_what_was_not_sent(api: Harness) -> None:
    await versions(api)
    created = await create(api, Description="live", RoutingConfig=weights(v2=0.25))
    assert created["RoutingConfig"] == weights(v2=0.25)
    answer = await update(api, Description="other")
    assert (answer["FunctionVersion"], answer["RoutingConfig"]) == ("1", weights(v2=0.25))
    assert answer["RevisionId"] != created["RevisionId"]
    moved = await update(api, FunctionVersion="2", RoutingConfig={"AdditionalVersionWeights": {}})
    assert (moved["FunctionVersion"], moved["Description"]) == ("2", "other")
    assert "RoutingConfig" not in moved


async def test_a_revision_id_guards_an_alias(api: Harness) -> None:
    await versions(api)
    created = await create(api)
    with pytest.raises(PreconditionFailed, match="Call the GetFunction/GetAlias API"):
        await update(api, FunctionVersion="2", RevisionId="another")
    await update(api, FunctionVersion="2", RevisionId=created["RevisionId"])


async def test_an_alias_may_follow_latest_but_not_share_it(api: Harness) -> None:
    await versions(api)
    assert (await create(api, "$LATEST"))["FunctionVersion"] == "$LATEST"
    with pytest.raises(InvalidParameterValue) as caught:
        await update(api, RoutingConfig=weights(v1=0.5))
    assert caught.value.message == "$LATEST is not supported for an alias pointing to more than 1 version"


REFUSED: list[tuple[dict[str, Any], type[Exception], str]] = [
    (
        weights(v1=0.5),
        InvalidParameterValue,
        "Invalid function version 1. Function version 1 is already included in routing configuration.",
    ),
    (
        weights(v2=0.1, v3=0.1),
        InvalidParameterValue,
        "Number of items in AdditionalVersionWeights cannot be greater than 1",
    ),
    (weights(v9=0.5), ResourceNotFound, f"Function not found: {ARN}:9"),
    (
        weights(v2=2.0),
        ValidationError,
        "1 validation error detected: Value '{2=2.0}' at 'routingConfig.additionalVersionWeights' failed to satisfy "
        "constraint: Map value must satisfy constraint: [Member must have value less than or equal to 1.0, "
        "Member must have value greater than or equal to 0.0, Member must not be null]",
    ),
    (
        weights(blue=0.5),
        ValidationError,
        "1 validation error detected: Value '{blue=0.5}' at 'routingConfig.additionalVersionWeights' failed to satisfy "
        "constraint: Map keys must satisfy constraint: [Member must have length less than or equal to 1024, "
        "Member must have length greater than or equal to 1, "
        "Member must satisfy regular expression pattern: [0-9]+, Member must not be null]",
    ),
]


@pytest.mark.parametrize(("routing", "error", "text"), REFUSED)
async def test_weights_that_make_no_sense_are_refused(
    api: Harness, routing: dict[str, Any], error: type[Exception], text: str
) -> None:
    await versions(api, 3)
    with pytest.raises(error) as caught:
        await create(api, RoutingConfig=routing)
    assert str(caught.value) == text
    await create(api)
    with pytest.raises(error):
        await update(api, RoutingConfig=routing)


async def test_an_alias_moved_onto_its_second_version_must_give_up_its_share(api: Harness) -> None:
    await versions(api)
    await create(api, RoutingConfig=weights(v2=0.5))
    with pytest.raises(InvalidParameterValue, match="already included in routing configuration"):
        await update(api, FunctionVersion="2")


async def test_versions_that_share_an_alias_share_their_role(api: Harness) -> None:
    await versions(api, 1)
    await api.call("UpdateFunctionConfiguration", FunctionName="hello", Role="arn:aws:iam::000000000000:role/other")
    await api.plane.deployer.idle()
    await api.call("PublishVersion", FunctionName="hello")
    with pytest.raises(InvalidParameterValue, match="same execution role and dead-letter queue"):
        await create(api, RoutingConfig=weights(v2=0.5))


async def test_names_of_aliases_are_given_once_and_are_no_numbers(api: Harness) -> None:
    await versions(api)
    await create(api)
    with pytest.raises(ResourceConflict) as caught:
        await create(api, "2")
    assert caught.value.message == f"Alias already exists: {PROD}"
    with pytest.raises(ValidationError, match="at 'name' failed to satisfy constraint"):
        await create(api, name="7")
    results = await asyncio.gather(create(api, name="b"), create(api, name="b"), return_exceptions=True)
    assert sorted(type(result).__name__ for result in results) == ["ResourceConflict", "dict"]


async def test_what_is_missing_is_named(api: Harness) -> None:
    await versions(api, 1)
    with pytest.raises(ResourceNotFound, match=f"^Cannot find alias arn: {PROD}$"):
        await api.call("GetAlias", FunctionName="hello", Name="prod")
    with pytest.raises(ResourceNotFound, match=f"^Alias not found: {PROD}$"):
        await update(api, FunctionVersion="1")
    with pytest.raises(ResourceNotFound, match=f"^Function not found: {ARN}:5$"):
        await create(api, "5")
    with pytest.raises(ResourceNotFound, match=f"^Function not found: {ARN[:-5]}other$"):
        await api.call("ListAliases", FunctionName="other")
    with pytest.raises(ResourceNotFound, match=f"^Function not found: {PROD}$"):
        await api.call("GetFunction", FunctionName="hello", Qualifier="prod")
    assert await api.call("DeleteAlias", FunctionName="hello", Name="prod") == {"status": 204}


async def test_aliases_are_listed_by_name_and_by_version(api: Harness) -> None:
    await versions(api)
    for name, version in (("c", "1"), ("a", "2"), ("b", "1")):
        await create(api, version, name)
    await create(api, "1", "d", RoutingConfig=weights(v2=0.1))

    async def names(**members: Any) -> list[str]:
        answer = await api.call("ListAliases", FunctionName="hello", **members)
        return [alias["Name"] for alias in answer["Aliases"]]

    assert await names() == ["a", "b", "c", "d"]
    assert await names(FunctionVersion="2") == ["a", "d"]
    page = await api.call("ListAliases", FunctionName="hello", MaxItems=3)
    assert await names(Marker=page["NextMarker"]) == ["d"]


async def test_a_deleted_alias_takes_with_it_what_was_attached_to_it(api: Harness) -> None:
    await versions(api)
    await create(api)
    url = await api.call("CreateFunctionUrlConfig", FunctionName="hello", Qualifier="prod", AuthType="NONE")
    url_id = url["FunctionUrl"].removeprefix("http://").partition(".")[0]
    await api.call(
        "AddPermission",
        FunctionName="hello",
        Qualifier="prod",
        StatementId="s",
        Action="lambda:InvokeFunction",
        Principal="s3.amazonaws.com",
    )
    await api.call("PutFunctionEventInvokeConfig", FunctionName="hello", Qualifier="prod", MaximumRetryAttempts=1)
    await api.call(
        "PutRuntimeManagementConfig", FunctionName="hello", Qualifier="prod", UpdateRuntimeOn="FunctionUpdate"
    )
    found = api.registry.find("hello")
    assert found is not None
    await api.registry.put(
        replace(found, provisioned={"prod": ProvisionedConcurrency(1, 0), "2": ProvisionedConcurrency(2, 0)})
    )
    assert api.registry.find_by_url(url_id) is not None
    await api.call("DeleteAlias", FunctionName="hello", Name="prod")
    assert api.registry.find_by_url(url_id) is None
    await create(api)
    for operation in ("GetFunctionUrlConfig", "GetPolicy", "GetFunctionEventInvokeConfig"):
        with pytest.raises(ResourceNotFound):
            await api.call(operation, FunctionName="hello", Qualifier="prod")
    found = api.registry.find("hello")
    assert found is not None
    assert found.provisioned.keys() == {"2"}
    settings = await api.call("GetRuntimeManagementConfig", FunctionName="hello", Qualifier="prod")
    assert settings["UpdateRuntimeOn"] == "Auto"


async def test_each_alias_has_a_url_of_its_own(api: Harness) -> None:
    await versions(api)
    await create(api)
    whole = await api.call("CreateFunctionUrlConfig", FunctionName="hello", AuthType="NONE")
    own = await api.call("CreateFunctionUrlConfig", FunctionName="hello:prod", AuthType="NONE")
    assert (whole["FunctionArn"], own["FunctionArn"]) == (ARN, PROD)
    with pytest.raises(ResourceConflict) as caught:
        await api.call("CreateFunctionUrlConfig", FunctionName="hello", Qualifier="prod", AuthType="NONE")
    assert caught.value.message == (
        f"Failed to create function url config for [functionArn = {PROD}]. "
        "Error message:  FunctionUrlConfig exists for this Lambda function"
    )
    await api.call("UpdateFunctionUrlConfig", FunctionName="hello", Qualifier="prod", Cors={"MaxAge": 5})
    assert "Cors" not in await api.call("GetFunctionUrlConfig", FunctionName="hello")
    listed = await api.call("ListFunctionUrlConfigs", FunctionName="hello", MaxItems=1)
    rest = await api.call("ListFunctionUrlConfigs", FunctionName="hello", Marker=listed["NextMarker"])
    assert [item["FunctionArn"] for item in listed["FunctionUrlConfigs"] + rest["FunctionUrlConfigs"]] == [ARN, PROD]
    assert "NextMarker" not in rest
    await api.call("DeleteFunctionUrlConfig", FunctionName="hello", Qualifier="prod")
    assert await api.call("GetFunctionUrlConfig", FunctionName="hello")


@pytest.mark.parametrize("qualifier", ["1", "$LATEST"])
async def test_versions_have_no_url(api: Harness, qualifier: str) -> None:
    await versions(api, 1)
    with pytest.raises(ValidationError, match="at 'qualifier' failed to satisfy constraint"):
        await api.call("CreateFunctionUrlConfig", FunctionName="hello", Qualifier=qualifier, AuthType="NONE")
    with pytest.raises(ResourceNotFound, match=r"^Function does not exist$"):
        await api.call("CreateFunctionUrlConfig", FunctionName="hello", Qualifier="none", AuthType="NONE")
