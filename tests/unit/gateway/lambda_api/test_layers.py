"""Layers over the API: published, found, shared, deleted, and given to functions. Code that comes from S3."""

import asyncio
import base64
import hashlib
import json
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from tests.unit.gateway.lambda_api.harness import CODE, Harness, zipped

from hearth.core.errors import (
    AccessDenied,
    HearthError,
    InvalidParameterValue,
    InvalidRequestContent,
    PreconditionFailed,
    ResourceConflict,
    ResourceNotFound,
    ServiceError,
    ValidationError,
)
from hearth.core.package_rules import MAX_UNZIPPED_BYTES
from hearth_gateway.lambda_api.code_sources import ObjectName

TOOLS = "arn:aws:lambda:us-east-1:000000000000:layer:tools"
FIRST, SECOND = zipped(tool=b"first"), zipped(tool=b"second", other=b"x")
MISSING = "The resource you requested does not exist."


async def publish(api: Harness, name: str = "tools", content: bytes = FIRST, **parameters: Any) -> dict[str, Any]:
    return await api.call("PublishLayerVersion", LayerName=name, Content={"ZipFile": content}, **parameters)


async def refused(call: Any, kind: type[HearthError]) -> str:
    with pytest.raises(kind) as caught:
        await call
    return caught.value.message


async def test_a_published_version_is_answered_in_full(api: Harness) -> None:
    answer = await publish(
        api,
        Description="tools of all trades",
        LicenseInfo="MIT",
        CompatibleRuntimes=["python3.13", "nodejs22.x"],
        CompatibleArchitectures=["x86_64"],
    )

    content = answer.pop("Content")
    location = urlsplit(content.pop("Location"))
    assert (location.netloc, location.path) == ("127.0.0.1:9400", f"/_hearth/code/{hashlib.sha256(FIRST).hexdigest()}")
    assert content == {
        "CodeSha256": base64.b64encode(hashlib.sha256(FIRST).digest()).decode(),
        "CodeSize": len(FIRST),
    }
    created = answer.pop("CreatedDate")
    assert created.endswith(".250+0000")
    assert answer == {
        "status": 201,
        "LayerArn": TOOLS,
        "LayerVersionArn": f"{TOOLS}:1",
        "Version": 1,
        "Description": "tools of all trades",
        "LicenseInfo": "MIT",
        "CompatibleRuntimes": ["python3.13", "nodejs22.x"],
        "CompatibleArchitectures": ["x86_64"],
    }


async def test_what_was_never_said_is_not_shown(api: Harness) -> None:
    answer = await publish(api)

    assert answer["Description"] == ""
    assert {"LicenseInfo", "CompatibleRuntimes", "CompatibleArchitectures"}.isdisjoint(answer)


async def test_the_same_content_again_is_a_new_version_and_numbers_do_not_come_back(api: Harness) -> None:
    assert [(await publish(api))["Version"] for _ in range(3)] == [1, 2, 3]
    for number in (1, 2, 3):
        await api.call("DeleteLayerVersion", LayerName="tools", VersionNumber=number)

    assert (await publish(api))["Version"] == 4


async def test_numbers_do_not_come_back_after_a_restart_either(tmp_path: Path) -> None:
    async with Harness(tmp_path).running() as api:
        await publish(api)
        await api.call("DeleteLayerVersion", LayerName="tools", VersionNumber=1)

    async with Harness(tmp_path, layer_store=api.layer_store).running() as again:
        assert (await publish(again))["Version"] == 2
        assert (await again.call("GetLayerVersion", LayerName="tools", VersionNumber=2))["Version"] == 2


async def test_a_version_is_found_by_name_by_arn_and_from_every_region(api: Harness) -> None:
    published = await publish(api)
    elsewhere = TOOLS.replace("us-east-1", "eu-central-1")
    by_name = await api.call("GetLayerVersion", LayerName="tools", VersionNumber=1)

    assert {**by_name, "status": 201} == published
    for name in (TOOLS, elsewhere):
        assert await api.call("GetLayerVersion", LayerName=name, VersionNumber=1) == by_name
        assert await api.call("GetLayerVersionByArn", Arn=f"{name}:1") == by_name


async def test_what_is_not_there_is_said_in_the_services_words(api: Harness) -> None:
    await publish(api)
    get = {"LayerName": "tools", "VersionNumber": 2}
    assert await refused(api.call("GetLayerVersion", **get), ResourceNotFound) == MISSING
    assert await refused(api.call("GetLayerVersion", **get | {"LayerName": "none"}), ResourceNotFound) == MISSING
    assert await refused(api.call("GetLayerVersionByArn", Arn=f"{TOOLS}:7"), ResourceNotFound) == MISSING
    for operation in ("GetLayerVersion", "DeleteLayerVersion"):
        for number in (0, -1):
            call = api.call(operation, LayerName="tools", VersionNumber=number)
            assert await refused(call, InvalidParameterValue) == "Layer Version Cannot be less than 1"
    text = await refused(api.call("GetLayerVersionPolicy", **get), ResourceNotFound)
    assert text == f"Layer version {TOOLS}:2 does not exist."


async def test_another_accounts_layer_is_out_of_reach(api: Harness) -> None:
    foreign = "arn:aws:lambda:us-east-1:123456789012:layer:tools"
    for call in (
        api.call("GetLayerVersionByArn", Arn=f"{foreign}:1"),
        api.call("PublishLayerVersion", LayerName=foreign, Content={"ZipFile": FIRST}),
        api.create(Layers=[f"{foreign}:1"]),
    ):
        text = await refused(call, AccessDenied)
        assert "not authorized to perform: lambda:GetLayerVersion on resource: arn:aws:lambda" in text


@pytest.mark.parametrize("name", ["no spaces", "tools", TOOLS])
async def test_what_is_no_arn_of_a_version_is_a_shape_violation(api: Harness, name: str) -> None:
    await refused(api.call("GetLayerVersionByArn", Arn=name), ValidationError)


async def test_a_number_that_is_none_is_refused(api: Harness) -> None:
    await refused(api.raw("GET", "/2018-10-31/layers/tools/versions/latest"), InvalidRequestContent)


async def test_more_than_fifteen_runtimes_are_a_shape_violation(api: Harness) -> None:
    text = await refused(publish(api, CompatibleRuntimes=["python3.13"] * 16), ValidationError)
    assert "'compatibleRuntimes'" in text


async def test_layers_are_listed_with_their_newest_version_that_suits(api: Harness) -> None:
    await publish(api, "snakes", CompatibleRuntimes=["python3.13"], CompatibleArchitectures=["x86_64"])
    await publish(api, "snakes", CompatibleRuntimes=["python3.12"])
    await publish(api, "anything")
    await publish(api, "gone")
    await api.call("DeleteLayerVersion", LayerName="gone", VersionNumber=1)

    async def listed(**filters: str) -> list[tuple[str, int]]:
        layers = (await api.call("ListLayers", **filters))["Layers"]
        return [(layer["LayerName"], layer["LatestMatchingVersion"]["Version"]) for layer in layers]

    assert await listed() == [("anything", 1), ("snakes", 2)]
    assert await listed(CompatibleRuntime="python3.13") == [("snakes", 1)]
    assert await listed(CompatibleArchitecture="x86_64") == [("snakes", 1)]
    assert await listed(CompatibleRuntime="python3.12", CompatibleArchitecture="x86_64") == []
    item = (await api.call("ListLayers"))["Layers"][0]
    assert item["LayerArn"] == TOOLS.replace("tools", "anything")
    assert "Content" not in item["LatestMatchingVersion"]


async def test_versions_are_listed_newest_first_page_by_page(api: Harness) -> None:
    for _ in range(12):
        await publish(api)
    numbers: list[int] = []
    markers: dict[str, str] = {}
    while True:
        page = await api.call("ListLayerVersions", LayerName="tools", MaxItems=5, **markers)
        numbers += [version["Version"] for version in page["LayerVersions"]]
        if "NextMarker" not in page:
            break
        markers = {"Marker": page["NextMarker"]}

    assert numbers == list(range(12, 0, -1))


async def test_layers_are_listed_page_by_page_while_they_come_and_go(api: Harness) -> None:
    for name in ("a", "b", "c", "d"):
        await publish(api, name)
    first = await api.call("ListLayers", MaxItems=2)
    await api.call("DeleteLayerVersion", LayerName="b", VersionNumber=1)
    rest = await api.call("ListLayers", MaxItems=2, Marker=first["NextMarker"])

    assert [layer["LayerName"] for layer in first["Layers"] + rest["Layers"]] == ["a", "b", "c", "d"]
    assert "NextMarker" not in rest


async def test_versions_of_a_layer_that_does_not_exist_are_none(api: Harness) -> None:
    assert (await api.call("ListLayerVersions", LayerName="none"))["LayerVersions"] == []


async def test_deleting_is_success_also_where_nothing_is(api: Harness) -> None:
    await publish(api)
    for name, number in (("tools", 1), ("tools", 1), ("none", 5)):
        answer = await api.call("DeleteLayerVersion", LayerName=name, VersionNumber=number)
        assert answer["status"] == 204


async def test_a_deleted_version_takes_its_package_along(api: Harness, tmp_path: Path) -> None:
    await publish(api)
    await publish(api)
    await api.call("DeleteLayerVersion", LayerName="tools", VersionNumber=1)
    assert list((tmp_path / "code").iterdir()) != []
    await api.call("DeleteLayerVersion", LayerName="tools", VersionNumber=2)
    assert list((tmp_path / "code").iterdir()) == []


async def test_a_version_that_could_not_be_written_down_does_not_exist(api: Harness) -> None:
    api.layer_store.fail_next = True
    await refused(publish(api), ServiceError)

    assert await refused(api.call("GetLayerVersion", LayerName="tools", VersionNumber=1), ResourceNotFound) == MISSING
    assert (await publish(api))["Version"] == 1


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ({}, "Please provide a source for layer content."),
        (
            {"ZipFile": b"garbage"},
            "Could not unzip uploaded file. Please check your file, then try to upload again.",
        ),
        ({"S3Bucket": "bucket"}, "S3Bucket and S3Key must be provided together."),
        ({"ZipFile": FIRST, "S3Bucket": "bucket"}, "Please do not provide S3Bucket when providing a ZipFile."),
        ({"S3Bucket": "bucket", "S3Key": "key"}, "Code in S3 is not available: no S3 endpoint is configured."),
    ],
)
async def test_a_layer_needs_one_good_source(api: Harness, content: dict[str, Any], text: str) -> None:
    call = api.call("PublishLayerVersion", LayerName="tools", Content=content)
    assert await refused(call, InvalidParameterValue) == text
    assert api.layer_store.records == {}


# -- permissions -----------------------------------------------------------------------------------------------------


async def allow(api: Harness, sid: str = "all", principal: str = "*", **parameters: Any) -> dict[str, Any]:
    return await api.call(
        "AddLayerVersionPermission",
        LayerName="tools",
        VersionNumber=1,
        StatementId=sid,
        Action="lambda:GetLayerVersion",
        Principal=principal,
        **parameters,
    )


async def policy(api: Harness) -> dict[str, Any]:
    return await api.call("GetLayerVersionPolicy", LayerName="tools", VersionNumber=1)


async def disallow(api: Harness, sid: str, **parameters: Any) -> dict[str, Any]:
    return await api.call(
        "RemoveLayerVersionPermission", LayerName="tools", VersionNumber=1, StatementId=sid, **parameters
    )


async def test_a_permission_is_a_statement_of_the_versions_policy(api: Harness) -> None:
    await publish(api)
    added = await allow(api, "org", OrganizationId="o-0123456789")
    await allow(api, "friend", "123456789012")

    statement = {
        "Sid": "org",
        "Effect": "Allow",
        "Principal": "*",
        "Action": "lambda:GetLayerVersion",
        "Resource": f"{TOOLS}:1",
        "Condition": {"StringEquals": {"aws:PrincipalOrgID": "o-0123456789"}},
    }
    assert added["status"] == 201
    assert json.loads(added["Statement"]) == statement
    document = json.loads((await policy(api))["Policy"])
    assert document["Statement"][0] == statement
    assert document["Statement"][1]["Principal"] == {"AWS": "arn:aws:iam::123456789012:root"}


async def test_every_change_of_a_policy_has_its_own_revision_and_can_be_guarded(api: Harness) -> None:
    await publish(api)
    first = (await allow(api, "one"))["RevisionId"]
    second = (await allow(api, "two", RevisionId=first))["RevisionId"]
    assert first != second == (await policy(api))["RevisionId"]

    text = await refused(disallow(api, "one", RevisionId=first), PreconditionFailed)
    assert text == (
        "The Revision Id provided does not match the latest Revision Id. "
        "Call the GetLayerPolicy API to retrieve the latest Revision Id"
    )
    await refused(allow(api, "three", RevisionId=first), PreconditionFailed)
    assert (await disallow(api, "one", RevisionId=second))["status"] == 204
    assert [each["Sid"] for each in json.loads((await policy(api))["Policy"])["Statement"]] == ["two"]


async def test_what_a_policy_does_not_hold_is_said(api: Harness) -> None:
    await publish(api)
    nothing = "No policy is associated with the given resource."
    assert await refused(policy(api), ResourceNotFound) == nothing
    assert await refused(disallow(api, "all"), ResourceNotFound) == nothing
    await allow(api)
    text = await refused(allow(api), ResourceConflict)
    assert text.startswith("The statement id (all) provided already exists.")
    text = await refused(disallow(api, "none"), ResourceNotFound)
    assert text == "Statement none is not found in resource policy."
    await disallow(api, "all")
    assert await refused(policy(api), ResourceNotFound) == nothing


async def test_a_permission_for_a_version_that_is_missing_names_it(api: Harness) -> None:
    assert await refused(allow(api), ResourceNotFound) == f"Layer version {TOOLS}:1 does not exist."


# -- functions -------------------------------------------------------------------------------------------------------


async def opt_of(api: Harness, name: str = "hello") -> dict[str, bytes]:
    """What the function sees at /opt."""
    await api.plane.deployer.idle()
    record = api.registry.find(name)
    assert record is not None
    opt = api.packages.opt(record.version().layers)
    return {} if opt is None else contents(Path(opt))


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


async def test_a_functions_layers_are_merged_in_order_and_shown(api: Harness) -> None:
    await publish(api)
    await publish(api, "more", SECOND)
    more = TOOLS.replace("tools", "more")

    created = await api.created(Layers=[f"{TOOLS}:1", f"{more}:1"])

    assert created["Layers"] == [
        {"Arn": f"{TOOLS}:1", "CodeSize": len(FIRST)},
        {"Arn": f"{more}:1", "CodeSize": len(SECOND)},
    ]
    assert await opt_of(api) == {"tool": b"second", "other": b"x"}

    await api.call("UpdateFunctionConfiguration", FunctionName="hello", Layers=[f"{more}:1", f"{TOOLS}:1"])
    assert await opt_of(api) == {"tool": b"first", "other": b"x"}


async def test_no_layers_at_all_takes_them_away_and_not_saying_keeps_them(api: Harness, tmp_path: Path) -> None:
    await publish(api)
    await publish(api, "more", SECOND)
    await api.created(Layers=[f"{TOOLS}:1", TOOLS.replace("tools", "more:1")])
    await api.call("UpdateFunctionConfiguration", FunctionName="hello", Description="new")
    assert len(await opt_of(api)) == 2

    answer = await api.call("UpdateFunctionConfiguration", FunctionName="hello", Layers=[])

    assert "Layers" not in answer
    assert await opt_of(api) == {}
    assert list((tmp_path / "opt").iterdir()) == []


async def test_a_layer_of_any_region_is_ours(api: Harness) -> None:
    await publish(api)
    created = await api.created(Layers=[f"{TOOLS.replace('us-east-1', 'eu-west-3')}:1"])
    assert created["Layers"][0]["Arn"] == f"{TOOLS}:1"


async def test_a_deleted_layer_works_on_where_it_is_used_and_nowhere_else(api: Harness) -> None:
    await publish(api)
    await api.created(Layers=[f"{TOOLS}:1"])
    await api.call("DeleteLayerVersion", LayerName="tools", VersionNumber=1)

    assert await opt_of(api) == {"tool": b"first"}
    await api.call("UpdateFunctionCode", FunctionName="hello", ZipFile=zipped(app=b"newer"))
    assert await opt_of(api) == {"tool": b"first"}
    text = await refused(api.create("another", Layers=[f"{TOOLS}:1"]), InvalidParameterValue)
    assert text == f"Layer version {TOOLS}:1 does not exist."


async def test_the_last_function_takes_a_deleted_layers_package_along(api: Harness, tmp_path: Path) -> None:
    await publish(api)
    await api.created(Layers=[f"{TOOLS}:1"])
    await api.call("DeleteLayerVersion", LayerName="tools", VersionNumber=1)
    await api.call("DeleteFunction", FunctionName="hello")
    assert list((tmp_path / "code").iterdir()) == []


async def test_the_layers_of_a_function_survive_a_restart(tmp_path: Path) -> None:
    async with Harness(tmp_path).running() as api:
        await publish(api)
        await publish(api, "more", SECOND)
        await api.created(Layers=[f"{TOOLS}:1", TOOLS.replace("tools", "more:1")])
        await api.call("DeleteLayerVersion", LayerName="tools", VersionNumber=1)
    for tree in (tmp_path / "opt").iterdir():
        tree.rename(tmp_path / "lost")

    async with Harness(tmp_path, api.store, layer_store=api.layer_store).running() as again:
        assert await opt_of(again) == {"tool": b"second", "other": b"x"}


async def test_two_versions_of_one_layer_and_more_than_five_layers_are_refused(api: Harness) -> None:
    await publish(api)
    await publish(api)
    text = await refused(api.create(Layers=[f"{TOOLS}:1", f"{TOOLS}:2"]), InvalidParameterValue)
    assert text == (
        "Two different versions of the same layer are not allowed to be referenced in the same function. "
        f"{TOOLS}:1 and {TOOLS}:2 are versions of the same layer."
    )
    six = [f"{TOOLS}{number}:1" for number in range(6)]
    assert await refused(api.create(Layers=six), InvalidParameterValue) == "Cannot reference more than 5 layers."
    await refused(api.create(Layers=["tools:1"]), ValidationError)
    awslayer = "arn:aws:lambda:::awslayer:AmazonLinux1803"
    text = await refused(api.create(Layers=[awslayer]), InvalidParameterValue)
    assert text == f"Layer version {awslayer} does not exist."


async def test_code_and_layers_together_may_not_be_too_large(api: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hearth_gateway.lambda_api.layers.MAX_UNZIPPED_BYTES", 2_000)
    half, larger = zipped(zeros=bytes(1_000)), zipped(zeros=bytes(1_001))
    await publish(api, "tools", half)
    layers = [f"{TOOLS}:1"]
    await api.created("fits", Layers=layers, Code={"ZipFile": half})

    text = f"Unzipped size must be smaller than {MAX_UNZIPPED_BYTES} bytes"
    assert await refused(api.create("big", Layers=layers, Code={"ZipFile": larger}), InvalidParameterValue) == text
    update = api.call("UpdateFunctionCode", FunctionName="fits", ZipFile=larger)
    assert await refused(update, InvalidParameterValue) == text
    await api.created("lean", Code={"ZipFile": larger})
    attach = api.call("UpdateFunctionConfiguration", FunctionName="lean", Layers=layers)
    assert await refused(attach, InvalidParameterValue) == text


async def test_what_a_layer_says_it_is_compatible_with_is_not_enforced(api: Harness) -> None:
    await publish(api, CompatibleRuntimes=["ruby3.4"], CompatibleArchitectures=["arm64"])
    assert (await api.created(Layers=[f"{TOOLS}:1"]))["Layers"][0]["Arn"] == f"{TOOLS}:1"


# -- code from S3 ----------------------------------------------------------------------------------------------------


class Bucket:
    """An S3 of the test's own."""

    def __init__(self, **objects: bytes) -> None:
        self.objects = objects
        self.asked: list[ObjectName] = []

    async def fetch(self, name: ObjectName, target: Path, *, max_bytes: int) -> None:
        self.asked.append(name)
        if name.key not in self.objects:
            raise InvalidParameterValue("Error occurred while GetObject.")
        await asyncio.to_thread(target.write_bytes, self.objects[name.key])


@pytest.fixture
async def s3(tmp_path: Path) -> Any:
    harness = Harness(tmp_path)
    harness.objects = Bucket(app=CODE, layer=FIRST, garbage=b"garbage")
    async with harness.running():
        yield harness


def place(key: str, **more: str) -> dict[str, str]:
    return {"S3Bucket": "bucket", "S3Key": key, **more}


async def test_functions_and_layers_come_from_s3(s3: Harness) -> None:
    layer = await s3.call("PublishLayerVersion", LayerName="tools", Content=place("layer", S3ObjectVersion="v"))
    created = await s3.created(Code=place("app"), Layers=[layer["LayerVersionArn"]])
    updated = await s3.call("UpdateFunctionCode", FunctionName="hello", **place("layer"))

    assert created["CodeSha256"] == base64.b64encode(hashlib.sha256(CODE).digest()).decode()
    assert updated["CodeSha256"] == layer["Content"]["CodeSha256"]
    assert updated["CodeSize"] == len(FIRST)
    assert await opt_of(s3) == {"tool": b"first"}
    assert isinstance(s3.objects, Bucket)
    assert s3.objects.asked[0] == ObjectName("bucket", "layer", "v")


async def test_a_dry_run_reads_from_s3_and_keeps_nothing(s3: Harness, tmp_path: Path) -> None:
    await s3.created()
    answer = await s3.call("UpdateFunctionCode", FunctionName="hello", DryRun=True, **place("layer"))

    assert answer["CodeSha256"] == base64.b64encode(hashlib.sha256(FIRST).digest()).decode()
    assert [path.name for path in (tmp_path / "code").iterdir()] == [hashlib.sha256(CODE).hexdigest()]


@pytest.mark.parametrize("key", ["missing", "garbage"])
async def test_what_is_wrong_in_s3_leaves_nothing_behind(s3: Harness, tmp_path: Path, key: str) -> None:
    await refused(s3.create(Code=place(key)), InvalidParameterValue)
    assert list((tmp_path / "code").iterdir()) == []
    assert s3.store.records == {}
