"""The function operations from end to end: as a client library sees them, on an in-memory store."""

import asyncio
import base64
import hashlib
import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import orjson
import pytest
from tests.unit.gateway.lambda_api.harness import ARN, CODE, ROLE, START_S, Harness, zipped

from hearth.core.errors import (
    CodeStorageExceeded,
    InvalidParameterValue,
    InvalidRequestContent,
    RequestTooLarge,
    ResourceConflict,
    ResourceNotFound,
    ServiceError,
    ValidationError,
)
from hearth.core.runtimes import RUNTIMES
from hearth.registry import Configured, Forgotten
from hearth_gateway.core.operations import Route
from hearth_gateway.lambda_api.api import Answer, LambdaApi, Parameters

FUNCTIONS = "/2015-03-31/functions"


async def test_a_new_function_is_pending_with_all_its_defaults(api: Harness) -> None:
    answer = await api.create()
    assert answer.pop("status") == 201
    assert re.fullmatch(
        r"arn:aws:lambda:us-east-1::runtime:[0-9a-f]{64}", answer["RuntimeVersionConfig"].pop("RuntimeVersionArn")
    )
    assert answer == {
        "FunctionName": "hello",
        "FunctionArn": ARN,
        "Runtime": "python3.13",
        "Role": ROLE,
        "Handler": "app.handler",
        "CodeSize": len(CODE),
        "Description": "",
        "Timeout": 3,
        "MemorySize": 128,
        "LastModified": "2026-11-21T01:36:40.250+0000",
        "CodeSha256": base64.b64encode(hashlib.sha256(CODE).digest()).decode(),
        "Version": "$LATEST",
        "TracingConfig": {"Mode": "PassThrough"},
        "RevisionId": answer["RevisionId"],
        "State": "Pending",
        "StateReason": "The function is being created.",
        "StateReasonCode": "Creating",
        "PackageType": "Zip",
        "Architectures": ["x86_64"],
        "EphemeralStorage": {"Size": 512},
        "SnapStart": {"ApplyOn": "None", "OptimizationStatus": "Off"},
        "RuntimeVersionConfig": {},
        "LoggingConfig": {"LogFormat": "Text", "LogGroup": "/aws/lambda/hello"},
    }


async def test_it_becomes_active_once_its_code_is_unpacked(api: Harness) -> None:
    created = await api.create()
    await api.plane.deployer.idle()
    answer = await api.call("GetFunctionConfiguration", FunctionName="hello")
    assert answer["State"] == "Active"
    assert answer["LastUpdateStatus"] == "Successful"
    assert "StateReason" not in answer
    assert answer["RevisionId"] != created["RevisionId"]
    record = api.registry.find("hello")
    assert record is not None
    assert (Path(api.packages.tree(record.version().code_sha256)) / "app").read_bytes() == b"one"
    assert api.changes == [Configured(record.version())]


async def test_everything_that_was_configured_is_echoed(api: Harness) -> None:
    sent: dict[str, Any] = {
        "Description": "says hello",
        "Timeout": 900,
        "MemorySize": 10_240,
        "EphemeralStorage": {"Size": 10_240},
        "Environment": {"Variables": {"NAME": "wörld", "EMPTY": ""}},
        "TracingConfig": {"Mode": "Active"},
        "DeadLetterConfig": {"TargetArn": "arn:aws:sqs:us-east-1:000000000000:dead"},
        "KMSKeyArn": "arn:aws:kms:us-east-1:000000000000:key/k",
        "Architectures": ["x86_64"],
        "LoggingConfig": {
            "LogFormat": "JSON",
            "ApplicationLogLevel": "DEBUG",
            "SystemLogLevel": "WARN",
            "LogGroup": "elsewhere",
        },
    }
    await api.create(
        **sent,
        Tags={"team": "a"},
        SnapStart={"ApplyOn": "PublishedVersions"},
        VpcConfig={"SubnetIds": ["subnet-1"], "SecurityGroupIds": ["sg-1"]},
    )
    answer = await api.call("GetFunction", FunctionName="hello")
    assert answer["Tags"] == {"team": "a"}
    configuration = answer["Configuration"]
    assert {name: configuration[name] for name in sent} == sent
    assert configuration["SnapStart"] == {"ApplyOn": "PublishedVersions", "OptimizationStatus": "Off"}
    assert configuration["VpcConfig"] == {
        "SubnetIds": ["subnet-1"],
        "SecurityGroupIds": ["sg-1"],
        "VpcId": "",
        "Ipv6AllowedForDualStack": False,
    }


async def test_an_environment_that_was_never_set_is_told_from_an_empty_one(api: Harness) -> None:
    await api.create("unset")
    await api.create("empty", Environment={"Variables": {}})
    assert "Environment" not in await api.call("GetFunctionConfiguration", FunctionName="unset")
    answer = await api.call("GetFunctionConfiguration", FunctionName="empty")
    assert answer["Environment"] == {"Variables": {}}


async def test_json_logs_default_to_info(api: Harness) -> None:
    answer = await api.create(LoggingConfig={"LogFormat": "JSON"})
    assert answer["LoggingConfig"] == {
        "LogFormat": "JSON",
        "ApplicationLogLevel": "INFO",
        "SystemLogLevel": "INFO",
        "LogGroup": "/aws/lambda/hello",
    }


async def test_a_name_is_given_once(api: Harness) -> None:
    await api.create()
    with pytest.raises(ResourceConflict, match=r"^Function already exist: hello$"):
        await api.create()


async def test_of_two_creations_at_once_one_wins(api: Harness) -> None:
    results = await asyncio.gather(api.create(), api.create(), return_exceptions=True)
    assert sorted(type(result).__name__ for result in results) == ["ResourceConflict", "dict"]


LAYER = "arn:aws:lambda:us-east-1:000000000000:layer:l"
ACCESS_POINT = "arn:aws:elasticfilesystem:us-east-1:000000000000:access-point/fsap-00000000000000000"
ENVIRONMENT = (
    "Lambda was unable to configure your environment variables because the environment variables you have provided "
)
REFUSED: list[tuple[dict[str, Any], str]] = [
    (
        {"Runtime": "cobol85"},
        "Value cobol85 at 'runtime' failed to satisfy constraint: "
        f"Member must satisfy enum value set: [{', '.join(sorted(RUNTIMES))}]",
    ),
    (
        {"Code": {"ZipFile": b"garbage"}},
        "Could not unzip uploaded file. Please check your file, then try to upload again.",
    ),
    ({"Code": {}}, "Please provide a source for function code."),
    ({"Code": {"S3Bucket": "bucket", "S3Key": "key"}}, "Code in S3 is not available: no S3 endpoint is configured."),
    (
        {"PackageType": "Image", "Code": {"ImageUri": "x"}},
        "Please don't provide handler or runtime or layer when the intended function PackageType is IMAGE.",
    ),
    ({"Architectures": ["arm64"]}, "Architecture arm64 is not available. This platform runs x86_64."),
    ({"Layers": [f"{LAYER}:{number}" for number in range(6)]}, "Cannot reference more than 5 layers."),
    ({"Layers": [f"{LAYER}:1"]}, f"Layer version {LAYER}:1 does not exist."),
    (
        {"FileSystemConfigs": [{"Arn": ACCESS_POINT, "LocalMountPath": "/mnt/a"}]},
        "FileSystemConfigs is not available yet.",
    ),
    (
        {"Environment": {"Variables": {"AWS_REGION": "x", "AWS_ACCESS_KEY_ID": "y", "OK": "z"}}},
        f"{ENVIRONMENT}contains reserved keys that are currently not supported for modification. "
        "Reserved keys used in this request: AWS_ACCESS_KEY_ID, AWS_REGION",
    ),
    ({"Environment": {"Variables": {"AA": "\0"}}}, f"{ENVIRONMENT}contains a NUL character."),
    (
        {"LoggingConfig": {"ApplicationLogLevel": "DEBUG"}},
        "ApplicationLogLevel can only be set with LogFormat JSON.",
    ),
    ({"Tags": {str(number): "x" for number in range(51)}}, "Number of tags exceeds resource tag limit."),
]


@pytest.mark.parametrize(("parameters", "text"), REFUSED, ids=[next(iter(parameters)) for parameters, _ in REFUSED])
async def test_what_cannot_be_is_refused_in_the_services_words_and_leaves_nothing(
    api: Harness, tmp_path: Path, parameters: dict[str, Any], text: str
) -> None:
    with pytest.raises(InvalidParameterValue) as caught:
        await api.create(**parameters)
    assert caught.value.message == text
    assert api.store.records == {}
    assert list((tmp_path / "code").iterdir()) == []


async def test_a_zip_function_needs_runtime_and_handler(api: Harness) -> None:
    with pytest.raises(InvalidParameterValue, match=r"^Runtime and Handler are mandatory"):
        await api.call("CreateFunction", FunctionName="hello", Role=ROLE, Code={"ZipFile": CODE})


async def test_an_environment_is_measured_as_json(api: Harness) -> None:
    overhead = len('{"AA":""}')
    await api.create("fits", Environment={"Variables": {"AA": "x" * (4_096 - overhead)}})
    value = "x" * (4_097 - overhead)
    with pytest.raises(InvalidParameterValue) as caught:
        await api.create("big", Environment={"Variables": {"AA": value}})
    assert caught.value.message == (
        "Lambda was unable to configure your environment variables because the environment variables you have "
        f'provided exceeded the 4KB limit. String measured: {{"AA":"{value}"}}'
    )


async def test_a_package_over_50_mb_is_too_large_a_request(api: Harness) -> None:
    with pytest.raises(RequestTooLarge, match=r"^Zipped size must be smaller than 52428800 bytes$"):
        await api.create(Code={"ZipFile": bytes(52_428_801)})


async def test_shape_violations_are_found_before_anything_else(api: Harness) -> None:
    with pytest.raises(ValidationError) as caught:
        await api.raw("POST", FUNCTIONS, '{"FunctionName":"no spaces!","Timeout":901,"MemorySize":64}')
    assert caught.value.message.startswith("5 validation errors detected: Value 'no spaces!' at 'functionName'")
    assert "Value null at 'role'" in caught.value.message


async def test_garbage_in_the_body_is_a_clear_error(api: Harness) -> None:
    with pytest.raises(InvalidRequestContent, match="Could not parse request body into json"):
        await api.raw("POST", FUNCTIONS, "{garbage")


async def test_an_operation_without_a_handler_is_answered_by_name() -> None:
    with pytest.raises(InvalidParameterValue, match="ListLayers is not available"):
        await LambdaApi().handle(Route("ListLayers", {}), {}, {}, b"", permit=lambda _: None)


async def test_an_operation_has_one_handler() -> None:
    async def handler(parameters: Parameters) -> Answer:
        return 200, {"Layers": [parameters.get("MaxItems")]}

    api = LambdaApi()
    api.register("ListLayers", handler)
    answer = await api.handle(Route("ListLayers", {}), {"MaxItems": ["7"]}, {}, b"", permit=lambda _: None)
    assert answer.body == b'{"Layers":[7]}'
    with pytest.raises(ValueError, match="has a handler already"):
        api.register("ListLayers", handler)


async def test_answers_are_json_and_empty_ones_are_empty(api: Harness) -> None:
    await api.created()
    answer = await api.raw("GET", f"{FUNCTIONS}/hello")
    assert answer.headers == {"Content-Type": "application/json"}
    assert orjson.loads(answer.body)["Configuration"]["FunctionName"] == "hello"
    answer = await api.raw("DELETE", f"{FUNCTIONS}/hello")
    assert (answer.status, answer.body, answer.headers) == (204, b"", {})


async def test_a_function_is_found_by_every_form_of_its_name(api: Harness) -> None:
    await api.created()
    for name in ("hello", "function:hello", "000000000000:function:hello", ARN):
        answer = await api.call("GetFunctionConfiguration", FunctionName=name)
        assert answer["FunctionArn"] == ARN
    for qualified in ({"FunctionName": "hello:$LATEST"}, {"FunctionName": ARN, "Qualifier": "$LATEST"}):
        answer = await api.call("GetFunctionConfiguration", **qualified)
        assert answer["FunctionArn"] == f"{ARN}:$LATEST"


@pytest.mark.parametrize(
    ("operation", "parameters"),
    [
        ("GetFunction", {}),
        ("GetFunctionConfiguration", {}),
        ("UpdateFunctionCode", {"ZipFile": CODE}),
        ("UpdateFunctionConfiguration", {}),
        ("DeleteFunction", {}),
        ("ListVersionsByFunction", {}),
        ("GetFunctionCodeSigningConfig", {}),
        ("GetFunctionConcurrency", {}),
        ("PutFunctionConcurrency", {"ReservedConcurrentExecutions": 1}),
        ("DeleteFunctionConcurrency", {}),
    ],
)
async def test_a_missing_function_is_not_found(api: Harness, operation: str, parameters: dict[str, Any]) -> None:
    with pytest.raises(ResourceNotFound) as caught:
        await api.call(operation, FunctionName="hello", **parameters)
    assert caught.value.message == f"Function not found: {ARN}"


async def test_a_version_that_does_not_exist_is_not_found(api: Harness) -> None:
    await api.created()
    with pytest.raises(ResourceNotFound, match=rf"^Function not found: {ARN}:7$"):
        await api.call("GetFunction", FunctionName="hello", Qualifier="7")


async def test_get_function_says_where_to_download_the_code(api: Harness) -> None:
    await api.created()
    answer = orjson.loads((await api.raw("GET", f"{FUNCTIONS}/hello", host="hearth.test:9400")).body)
    assert answer["Code"]["RepositoryType"] == "S3"
    assert answer["Code"]["Location"].startswith("http://hearth.test:9400/_hearth/code/")
    parts = urlsplit(answer["Code"]["Location"])
    sha256 = parts.path.rsplit("/", 1)[-1]
    expires, signature = (pair.split("=")[1] for pair in parts.query.split("&"))
    assert api.packages.signed_file(sha256, expires, signature, START_S).read_bytes() == CODE
    assert "Tags" not in answer
    assert "Concurrency" not in answer


async def test_a_deleted_function_leaves_nothing(api: Harness, tmp_path: Path) -> None:
    await api.created()
    answer = await api.raw("DELETE", f"{FUNCTIONS}/hello")
    assert answer.status == 204
    assert api.store.records == {}
    assert list((tmp_path / "code").iterdir()) == []
    assert api.changes[-1] == Forgotten(api.changes[0].version.name)  # type: ignore[union-attr]  # Configured


async def test_latest_cannot_be_deleted_alone(api: Harness) -> None:
    await api.created()
    with pytest.raises(InvalidParameterValue) as caught:
        await api.call("DeleteFunction", FunctionName="hello", Qualifier="$LATEST")
    assert caught.value.message == "$LATEST version cannot be deleted without deleting the function."


async def test_a_function_deleted_while_pending_stays_deleted(api: Harness) -> None:
    await api.create()
    await api.call("DeleteFunction", FunctionName="hello")
    await api.plane.deployer.idle()
    assert api.registry.find("hello") is None
    assert api.store.records == {}


async def test_functions_are_listed_in_pages_of_at_most_fifty(api: Harness) -> None:
    names = [f"f{number:03}" for number in range(120)]
    for name in names:
        await api.create(name)
    seen: list[str] = []
    marker: dict[str, str] = {}
    sizes = []
    while True:
        page = await api.call("ListFunctions", MaxItems=10_000, **marker)
        seen += [item["FunctionName"] for item in page["Functions"]]
        sizes.append(len(page["Functions"]))
        if "NextMarker" not in page:
            break
        marker = {"Marker": page["NextMarker"]}
    assert seen == names
    assert sizes == [50, 50, 20]
    assert len((await api.call("ListFunctions", MaxItems=7))["Functions"]) == 7


async def test_lists_leave_out_state_and_runtime_version(api: Harness) -> None:
    await api.created()
    item = (await api.call("ListFunctions"))["Functions"][0]
    assert not {"State", "LastUpdateStatus", "RuntimeVersionConfig"} & item.keys()
    assert item["FunctionArn"] == ARN
    item = (await api.call("ListFunctions", FunctionVersion="ALL"))["Functions"][0]
    assert item["FunctionArn"] == f"{ARN}:$LATEST"


async def test_an_empty_platform_lists_nothing(api: Harness) -> None:
    assert await api.call("ListFunctions") == {"Functions": [], "status": 200}


@pytest.mark.parametrize("marker", ["%%%", "é", "QQ"])
async def test_a_foreign_marker_is_refused(api: Harness, marker: str) -> None:
    with pytest.raises(InvalidParameterValue, match="Invalid Marker"):
        await api.call("ListFunctions", Marker=marker)


async def test_the_only_version_is_latest(api: Harness) -> None:
    await api.created()
    versions = (await api.call("ListVersionsByFunction", FunctionName="hello"))["Versions"]
    assert [(item["Version"], item["FunctionArn"]) for item in versions] == [("$LATEST", f"{ARN}:$LATEST")]


async def test_a_function_has_no_code_signing_configuration(api: Harness) -> None:
    await api.created()
    answer = await api.raw("GET", "/2020-06-30/functions/hello/code-signing-config")
    assert (answer.status, answer.body) == (200, b"{}")


async def test_a_store_that_is_away_is_the_platforms_fault_and_nothing_is_created(api: Harness) -> None:
    api.store.fail_next = True
    with pytest.raises(ServiceError):
        await api.create()
    assert api.registry.find("hello") is None
    assert (await api.create())["status"] == 201


async def test_the_store_of_packages_is_bounded(tmp_path: Path) -> None:
    harness = Harness(tmp_path)
    harness.packages._max_total_bytes = len(CODE)
    async with harness.running() as api:
        await api.created("first")
        with pytest.raises(CodeStorageExceeded):
            await api.create("second", Code={"ZipFile": zipped(other=b"x" * 1000)})
        assert (await api.create("shares"))["status"] == 201
