"""Published versions, from end to end: as a client library sees them."""

import asyncio
import base64
import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.unit.gateway.lambda_api.harness import ARN, CODE, OTHER_CODE, ROLE, Harness

from hearth.core.errors import InvalidParameterValue, PreconditionFailed, ResourceConflict, ResourceNotFound
from hearth.core.records import FunctionRecord, Package, Phase
from hearth.registry import Withdrawn
from hearth_gateway.core import versions


def sha256(code: bytes) -> str:
    return base64.b64encode(hashlib.sha256(code).digest()).decode()


def record(api: Harness, name: str = "hello") -> FunctionRecord:
    found = api.registry.find(name)
    assert found is not None
    return found


async def update(api: Harness, **members: Any) -> dict[str, Any]:
    answer = await api.call("UpdateFunctionConfiguration", FunctionName="hello", **members)
    await api.plane.deployer.idle()
    return answer


async def publish(api: Harness, **members: Any) -> dict[str, Any]:
    return await api.call("PublishVersion", FunctionName="hello", **members)


async def get(api: Harness, name: str = "hello", **members: Any) -> dict[str, Any]:
    return await api.call("GetFunctionConfiguration", FunctionName=name, **members)


async def test_a_published_version_is_latest_frozen(api: Harness) -> None:
    latest = await api.created(Environment={"Variables": {"AA": "x"}}, Description="mine")
    answer = await publish(api)
    assert answer.pop("status") == 201
    assert (answer["Version"], answer["FunctionArn"], answer["State"]) == ("1", f"{ARN}:1", "Active")
    assert answer["RevisionId"] != latest["RevisionId"]
    differing = {"Version", "FunctionArn", "RevisionId", "LastModified", "status"}
    assert {k: v for k, v in answer.items() if k not in differing} == {
        k: v for k, v in latest.items() if k not in differing
    }
    await update(api, Timeout=30, Environment={"Variables": {}}, Description="other")
    await api.call("UpdateFunctionCode", FunctionName="hello", ZipFile=OTHER_CODE)
    await api.plane.deployer.idle()
    assert {**await get(api, Qualifier="1"), "status": 0} == {**answer, "status": 0}
    assert api.packages.tree(hashlib.sha256(CODE).hexdigest())  # raises if it is gone


async def test_publishing_what_did_not_change_gives_the_version_there_is(api: Harness) -> None:
    await api.created()
    first = await publish(api, Description="release")
    assert first["Description"] == "release"
    assert await publish(api, Description="again") == first
    assert (await get(api))["Description"] == ""
    await update(api, Description="changed")
    assert (await publish(api))["Version"] == "2"
    await api.call("UpdateFunctionCode", FunctionName="hello", ZipFile=OTHER_CODE)
    await api.plane.deployer.idle()
    assert (await publish(api))["Version"] == "3"


async def test_a_publication_can_be_guarded(api: Harness) -> None:
    latest = await api.created()
    with pytest.raises(InvalidParameterValue) as caught:
        await publish(api, CodeSha256="nonsense=")
    assert caught.value.message == (
        f"CodeSHA256 (nonsense=) is different from current CodeSHA256 in $LATEST ({sha256(CODE)}). "
        "Please try again with the CodeSHA256 in $LATEST."
    )
    with pytest.raises(PreconditionFailed):
        await publish(api, RevisionId="another")
    answer = await publish(api, CodeSha256=sha256(CODE), RevisionId=latest["RevisionId"])
    assert answer["Version"] == "1"


async def test_neither_tags_nor_settings_are_published(api: Harness) -> None:
    await api.created(Tags={"a": "b"})
    await api.call("PutFunctionConcurrency", FunctionName="hello", ReservedConcurrentExecutions=3)
    await publish(api)
    whole = await api.call("GetFunction", FunctionName="hello")
    assert whole["Concurrency"] == {"ReservedConcurrentExecutions": 3}
    assert "Concurrency" not in await api.call("GetFunction", FunctionName="hello", Qualifier="1")
    with pytest.raises(ResourceNotFound):
        await api.call("GetPolicy", FunctionName="hello", Qualifier="1")


async def test_a_function_can_be_created_published(api: Harness) -> None:
    answer = await api.create(Publish=True)
    assert (answer["Version"], answer["FunctionArn"], answer["State"]) == ("1", ARN, "Pending")
    assert (await get(api, Qualifier="1"))["State"] == "Pending"
    await api.plane.deployer.idle()
    assert (await get(api, Qualifier="1"))["State"] == "Active"
    assert (await get(api))["Version"] == "$LATEST"
    assert (await publish(api))["Version"] == "1"


async def test_new_code_can_be_published_at_once(api: Harness) -> None:
    await api.created(Publish=True)
    answer = await api.call("UpdateFunctionCode", FunctionName="hello", ZipFile=OTHER_CODE, Publish=True)
    assert (answer["Version"], answer["FunctionArn"], answer["State"]) == ("2", f"{ARN}:2", "Pending")
    assert (await get(api))["LastUpdateStatus"] == "InProgress"
    await api.plane.deployer.idle()
    assert (await get(api, Qualifier="2"))["State"] == "Active"
    assert record(api).version("1").code_sha256 == hashlib.sha256(CODE).hexdigest()
    assert record(api).version("2").code_sha256 == hashlib.sha256(OTHER_CODE).hexdigest()
    assert record(api).version("2").version == "2"
    again = await api.call("UpdateFunctionCode", FunctionName="hello", ZipFile=OTHER_CODE, Publish=True)
    assert again["Version"] == "2"


async def test_a_version_that_was_pending_at_a_crash_becomes_active_at_the_next_start(tmp_path: Path) -> None:
    async with Harness(tmp_path).running() as before:
        await before.create(Publish=True)
        store = before.store
    async with Harness(tmp_path, store).running() as after:
        await after.plane.deployer.idle()
        assert (await get(after, Qualifier="1"))["State"] == "Active"


async def test_nothing_is_published_while_a_change_is_under_way(api: Harness) -> None:
    await api.create()
    with pytest.raises(ResourceConflict, match="currently in the following state: Pending"):
        await publish(api)
    await api.plane.deployer.idle()
    await api.call("UpdateFunctionConfiguration", FunctionName="hello", Timeout=9)
    with pytest.raises(ResourceConflict, match="An update is in progress for resource"):
        await publish(api)


async def test_versions_are_listed_from_latest_on_in_pages(api: Harness) -> None:
    await api.created()
    for timeout in range(10, 22):
        await update(api, Timeout=timeout)
        await publish(api)
    pages = []
    marker: dict[str, str] = {}
    while True:
        page = await api.call("ListVersionsByFunction", FunctionName="hello", MaxItems=5, **marker)
        pages.append([item["Version"] for item in page["Versions"]])
        assert all(item["FunctionArn"] == f"{ARN}:{item['Version']}" for item in page["Versions"])
        assert not any("State" in item for item in page["Versions"])
        if "NextMarker" not in page:
            break
        marker = {"Marker": page["NextMarker"]}
    assert pages == [["$LATEST", "1", "2", "3", "4"], ["5", "6", "7", "8", "9"], ["10", "11", "12"]]


async def test_a_page_never_has_more_than_fifty_versions(api: Harness) -> None:
    await api.created()
    for timeout in range(1, 53):
        await update(api, Timeout=timeout)
        await publish(api)
    page = await api.call("ListVersionsByFunction", FunctionName="hello", MaxItems=10_000)
    assert [item["Version"] for item in page["Versions"]] == ["$LATEST", *map(str, range(1, 50))]


async def test_all_versions_of_all_functions_can_be_listed(api: Harness) -> None:
    for name in ("a", "b", "c"):
        await api.created(name, Publish=True)
    await api.call("UpdateFunctionCode", FunctionName="b", ZipFile=OTHER_CODE, Publish=True)
    found: list[str] = []
    marker: dict[str, str] = {}
    while True:
        page = await api.call("ListFunctions", FunctionVersion="ALL", MaxItems=2, **marker)
        assert 0 < len(page["Functions"]) <= 2
        found += [item["FunctionArn"].rpartition("function:")[2] for item in page["Functions"]]
        if "NextMarker" not in page:
            break
        marker = {"Marker": page["NextMarker"]}
    assert found == ["a:$LATEST", "a:1", "b:$LATEST", "b:1", "b:2", "c:$LATEST", "c:1"]
    plain = await api.call("ListFunctions")
    assert [item["FunctionArn"].rpartition("function:")[2] for item in plain["Functions"]] == ["a", "b", "c"]


@pytest.mark.parametrize("marker", ["x", "MQ==", "YTpi", "YToxOjI="])
async def test_a_marker_of_somebody_else_is_refused_or_harmless(api: Harness, marker: str) -> None:
    await api.created("a")
    for operation in (
        api.call("ListFunctions", FunctionVersion="ALL", Marker=marker),
        api.call("ListFunctions", Marker=marker),
        api.call("ListVersionsByFunction", FunctionName="a", Marker=marker),
        api.call("ListAliases", FunctionName="a", Marker=marker),
    ):
        try:
            await operation
        except InvalidParameterValue as error:
            assert error.message == "Invalid Marker."


async def test_a_deleted_version_is_gone_and_its_number_with_it(api: Harness, tmp_path: Path) -> None:
    await api.created(Publish=True)
    await api.call("UpdateFunctionCode", FunctionName="hello", ZipFile=OTHER_CODE, Publish=True)
    await api.plane.deployer.idle()
    assert (await api.call("DeleteFunction", FunctionName="hello", Qualifier="1"))["status"] == 204
    assert Withdrawn(record(api).name, "1") in api.changes
    assert [path.name for path in (tmp_path / "code").iterdir()] == [hashlib.sha256(OTHER_CODE).hexdigest()]
    with pytest.raises(ResourceNotFound, match=f"^Function not found: {ARN}:1$"):
        await get(api, Qualifier="1")
    await api.call("DeleteFunction", FunctionName="hello:2")
    assert (await publish(api))["Version"] == "3"


async def test_latest_is_not_deleted_by_itself(api: Harness) -> None:
    await api.created()
    with pytest.raises(InvalidParameterValue, match=r"^\$LATEST version cannot be deleted without"):
        await api.call("DeleteFunction", FunctionName="hello", Qualifier="$LATEST")


async def test_a_version_that_an_alias_leads_to_stays(api: Harness) -> None:
    await api.created(Publish=True)
    await update(api, Timeout=9)
    await publish(api)
    weights = {"AdditionalVersionWeights": {"2": 0.1}}
    await api.call("CreateAlias", FunctionName="hello", Name="prod", FunctionVersion="1", RoutingConfig=weights)
    for number in ("1", "2"):
        with pytest.raises(ResourceConflict, match="alias: prod"):
            await api.call("DeleteFunction", FunctionName="hello", Qualifier=number)
    with pytest.raises(InvalidParameterValue, match="aliases"):
        await api.call("DeleteFunction", FunctionName="hello", Qualifier="prod")
    await api.call("DeleteFunction", FunctionName="hello")
    assert api.registry.find("hello") is None


@pytest.mark.parametrize("operation", ["PublishVersion", "UpdateFunctionConfiguration", "UpdateFunctionCode"])
async def test_only_latest_can_be_changed(api: Harness, operation: str) -> None:
    await api.created(Publish=True)
    code = {"ZipFile": OTHER_CODE} if operation == "UpdateFunctionCode" else {}
    with pytest.raises(InvalidParameterValue, match="permitted on Lambda functions only"):
        await api.call(operation, FunctionName="hello:1", **code)
    assert (await api.call(operation, FunctionName="hello:$LATEST", **code))["FunctionName"] == "hello"


async def test_every_way_to_address_a_version_shows_in_the_answer(api: Harness) -> None:
    await api.created(Publish=True)
    await api.call("CreateAlias", FunctionName="hello", Name="prod", FunctionVersion="1")
    addressed = {
        "hello": (ARN, "$LATEST"),
        "hello:$LATEST": (f"{ARN}:$LATEST", "$LATEST"),
        "hello:1": (f"{ARN}:1", "1"),
        f"{ARN}:prod": (f"{ARN}:prod", "1"),
        "arn:aws-cn:lambda:cn-north-1:000000000000:function:hello:1": (f"{ARN}:1", "1"),
    }
    for name, expected in addressed.items():
        answer = await get(api, name)
        assert (answer["FunctionArn"], answer["Version"]) == expected
    for qualifier in ("2", "other", "$LATEST.PUBLISHED"):
        with pytest.raises(ResourceNotFound) as caught:
            await get(api, Qualifier=qualifier)
        assert caught.value.message == f"Function not found: {ARN}:{qualifier}"


async def test_two_publications_at_once_are_one_version(api: Harness) -> None:
    await api.created()
    answers = await asyncio.gather(publish(api), publish(api), publish(api))
    assert {answer["Version"] for answer in answers} == {"1"}
    assert record(api).latest.deployment.configuration.role == ROLE


@pytest.mark.parametrize("operation", ["PublishVersion", "UpdateFunctionCode"])
async def test_publishing_into_a_capacity_provider_is_refused(api: Harness, operation: str) -> None:
    await api.created()
    code = {"ZipFile": OTHER_CODE} if operation == "UpdateFunctionCode" else {}
    with pytest.raises(InvalidParameterValue, match="PublishTo is not available"):
        await api.call(operation, FunctionName="hello", PublishTo="LATEST_PUBLISHED", **code)


async def test_what_failed_is_not_published(api: Harness) -> None:
    await api.created()
    deployment = replace(record(api).latest.deployment, package=Package("0" * 64, 1))
    broken = replace(record(api), latest=record(api).latest.changed(deployment, "r", 0))
    await api.registry.put(broken)
    api.plane.deployer.settle(broken, broken.latest)
    await api.plane.deployer.idle()
    with pytest.raises(ResourceConflict, match=f"The last update failed for resource: {ARN}"):
        await publish(api)
    never = replace(broken.latest, phase=Phase.FAILED, previous=None)
    await api.registry.put(replace(broken, latest=never))
    with pytest.raises(ResourceConflict, match="currently in the following state: Failed"):
        await publish(api)


async def test_a_version_whose_package_is_broken_fails_and_is_published_anew(api: Harness) -> None:
    await api.created()
    deployment = replace(record(api).latest.deployment, package=Package("0" * 64, 1))
    changed = replace(record(api), latest=record(api).latest.changed(deployment, "r", 0))
    changed, version = versions.published(changed, description=None, revision_id="v", now_ms=0)
    await api.registry.put(changed)
    api.plane.deployer.settle(changed, changed.latest, version)
    await api.plane.deployer.idle()
    answer = await get(api, Qualifier="1")
    assert (answer["State"], answer["StateReasonCode"]) == ("Failed", "InternalError")
    await api.call("UpdateFunctionCode", FunctionName="hello", ZipFile=OTHER_CODE)
    await api.plane.deployer.idle()
    assert (await publish(api))["Version"] == "2"


async def test_the_revision_id_changes_at_every_step(api: Harness) -> None:
    seen = [(await api.create())["RevisionId"]]
    await api.plane.deployer.idle()
    seen.append((await get(api))["RevisionId"])
    answer = await api.call("UpdateFunctionCode", FunctionName="hello", ZipFile=OTHER_CODE)
    assert (answer["State"], answer["LastUpdateStatus"], answer["LastUpdateStatusReasonCode"]) == (
        "Active",
        "InProgress",
        "Creating",
    )
    seen.append(answer["RevisionId"])
    await api.plane.deployer.idle()
    answer = await get(api)
    assert answer["LastUpdateStatus"] == "Successful"
    assert "LastUpdateStatusReason" not in answer
    seen.append(answer["RevisionId"])
    assert (await publish(api))["RevisionId"] not in seen
    assert (await get(api))["RevisionId"] == seen[-1]
    assert len(set(seen)) == 4


async def test_a_version_deployed_with_latest_is_written_once(api: Harness) -> None:
    """One write for the creation and one for its end, whatever number of versions became ready."""
    writes: list[str] = []
    put = api.store.put

    async def counted(key: str, stored: bytes, /, *, is_reproducible: bool = False) -> None:
        writes.append(key)
        await put(key, stored, is_reproducible=is_reproducible)

    api.store.put = counted  # type: ignore[method-assign]  # to be counted
    await api.created(Publish=True)
    assert writes == ["hello", "hello"]


async def test_a_start_touches_nothing_that_is_ready(tmp_path: Path) -> None:
    async with Harness(tmp_path).running() as before:
        await before.created(Publish=True)
        store = before.store
    store.fail_next = True  # a write would fail
    async with Harness(tmp_path, store).running() as after:
        await after.plane.deployer.idle()
    assert store.fail_next
