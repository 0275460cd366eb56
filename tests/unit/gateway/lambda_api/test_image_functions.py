"""Functions whose code is a container image, through the Lambda API."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.unit.gateway.lambda_api.harness import CODE, ROLE, Harness

from hearth.core.container_images import FoundImage
from hearth.core.errors import InvalidParameterValue
from hearth.registry import Configured

URI = "000000000000.dkr.ecr.us-east-1.amazonaws.com/app:latest"
REPOSITORY = URI.removesuffix(":latest")


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Harness]:
    async with Harness(tmp_path).running() as harness:
        harness.images.tag(URI, "a1")
        yield harness


async def create(api: Harness, **parameters: Any) -> dict[str, Any]:
    needed = {"FunctionName": "hello", "PackageType": "Image", "Role": ROLE, "Code": {"ImageUri": URI}}
    answer = await api.call("CreateFunction", **{**needed, **parameters})
    await api.plane.deployer.idle()
    return answer


async def configuration(api: Harness) -> dict[str, Any]:
    return await api.call("GetFunctionConfiguration", FunctionName="hello")


async def test_an_image_function_has_an_images_members_and_none_of_a_packages(api: Harness) -> None:
    created = await create(api)
    settled = await configuration(api)

    assert created["status"] == 201
    assert created["State"] == "Pending"
    assert settled["State"] == "Active"
    assert settled["PackageType"] == "Image"
    assert settled["CodeSize"] == 0
    assert settled["CodeSha256"] == "a1" * 32
    assert {"Runtime", "Handler", "RuntimeVersionConfig", "Layers", "ImageConfigResponse"}.isdisjoint(settled)


async def test_get_function_names_the_image_as_written_and_as_meant(api: Harness) -> None:
    await create(api)

    assert (await api.call("GetFunction", FunctionName="hello"))["Code"] == {
        "RepositoryType": "ECR",
        "ImageUri": URI,
        "ResolvedImageUri": f"{REPOSITORY}@sha256:{'a1' * 32}",
    }


async def test_what_runs_is_the_image_by_content_with_the_functions_own_settings(api: Harness) -> None:
    await create(api, ImageConfig={"EntryPoint": ["/run"], "Command": ["a", "b"], "WorkingDirectory": "/srv"})

    (told,) = [change.version for change in api.changes if isinstance(change, Configured)]
    assert told.image is not None
    assert told.image == (f"sha256:{'a1' * 32}", ("/run",), ("a", "b"), "/srv")
    assert (told.runtime, told.handler, told.code_sha256) == ("", "", "")


async def test_a_tag_that_moves_changes_nothing_until_the_code_is_updated(api: Harness) -> None:
    await create(api)
    api.images.tag(URI, "b2")

    await api.call("UpdateFunctionConfiguration", FunctionName="hello", Timeout=9)
    await api.plane.deployer.idle()
    assert (await configuration(api))["CodeSha256"] == "a1" * 32

    await api.call("UpdateFunctionCode", FunctionName="hello", ImageUri=URI)
    await api.plane.deployer.idle()
    assert (await configuration(api))["CodeSha256"] == "b2" * 32


async def test_a_published_version_keeps_its_image(api: Harness) -> None:
    await create(api, Publish=True)
    api.images.tag(URI, "b2")
    await api.call("UpdateFunctionCode", FunctionName="hello", ImageUri=URI)
    await api.plane.deployer.idle()

    first = await api.call("GetFunctionConfiguration", FunctionName="hello", Qualifier="1")
    assert first["State"] == "Active"
    assert first["CodeSha256"] == "a1" * 32


async def test_the_settings_of_an_image_are_shown_replaced_as_a_whole_and_taken_back(api: Harness) -> None:
    await create(api, ImageConfig={"EntryPoint": ["/run"], "Command": ["a"]})
    assert (await configuration(api))["ImageConfigResponse"] == {
        "ImageConfig": {"EntryPoint": ["/run"], "Command": ["a"]}
    }

    await api.call("UpdateFunctionConfiguration", FunctionName="hello", ImageConfig={"WorkingDirectory": "/srv"})
    await api.plane.deployer.idle()
    assert (await configuration(api))["ImageConfigResponse"] == {"ImageConfig": {"WorkingDirectory": "/srv"}}

    await api.call("UpdateFunctionConfiguration", FunctionName="hello", ImageConfig={})
    await api.plane.deployer.idle()
    assert "ImageConfigResponse" not in await configuration(api)


async def test_an_image_that_is_not_here_is_pulled_while_the_function_is_pending(api: Harness) -> None:
    elsewhere = FoundImage(f"sha256:{'c3' * 32}", (f"registry/app@sha256:{'d4' * 32}",), "linux", "amd64", 1)
    api.images.registry["registry/app:1"] = elsewhere

    pending = await create(api, Code={"ImageUri": "registry/app:1"})
    settled = await configuration(api)

    assert pending["State"] == "Pending"
    assert "ResolvedImageUri" not in pending
    assert (settled["State"], settled["CodeSha256"]) == ("Active", "d4" * 32)


async def test_an_image_that_cannot_be_had_makes_the_function_failed_with_the_reason(api: Harness) -> None:
    await create(api, Code={"ImageUri": "nowhere/app:1"})
    failed = await configuration(api)

    assert (failed["State"], failed["StateReasonCode"]) == ("Failed", "ImageAccessDenied")
    assert failed["StateReason"] == "Source image nowhere/app:1 is not on this host and cannot be pulled."


async def test_an_image_for_another_processor_makes_the_function_failed(api: Harness) -> None:
    api.images.tag("foreign:1", "e5", architecture="arm64")

    await create(api, Code={"ImageUri": "foreign:1"})

    assert (await configuration(api))["StateReasonCode"] == "InvalidImage"


async def test_after_an_update_that_failed_the_image_before_it_goes_on_running(api: Harness) -> None:
    await create(api)
    await api.call("UpdateFunctionCode", FunctionName="hello", ImageUri="nowhere/app:1")
    await api.plane.deployer.idle()

    after = await configuration(api)
    assert (after["State"], after["LastUpdateStatus"]) == ("Active", "Failed")
    assert after["LastUpdateStatusReasonCode"] == "ImageAccessDenied"
    assert [c.version.image for c in api.changes if isinstance(c, Configured)][-1] == (
        f"sha256:{'a1' * 32}",
        None,
        None,
        None,
    )


async def test_an_image_that_was_deleted_is_noticed_at_the_next_deployment(api: Harness) -> None:
    await create(api)
    api.images.here.clear()

    await api.call("UpdateFunctionConfiguration", FunctionName="hello", Timeout=9)
    await api.plane.deployer.idle()

    assert (await configuration(api))["LastUpdateStatusReasonCode"] == "ImageDeleted"


async def test_a_dry_run_says_which_image_it_would_be_and_changes_nothing(api: Harness) -> None:
    await create(api)
    api.images.tag(URI, "b2")

    tried = await api.call("UpdateFunctionCode", FunctionName="hello", ImageUri=URI, DryRun=True)

    assert tried["CodeSha256"] == "b2" * 32
    assert (await configuration(api))["CodeSha256"] == "a1" * 32


OF_PACKAGES = "Please don't provide handler or runtime or layer when the intended function PackageType is IMAGE."
LAYER = "arn:aws:lambda:us-east-1:000000000000:layer:l:1"


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"Runtime": "python3.13"}, OF_PACKAGES),
        ({"Handler": "app.handler"}, OF_PACKAGES),
        ({"Layers": [LAYER]}, OF_PACKAGES),
        ({"Code": {"ZipFile": CODE}}, "Please provide ImageUri when creating a function with packageType Image."),
        ({"Code": {}}, "Please provide ImageUri when creating a function with packageType Image."),
    ],
    ids=["runtime", "handler", "layers", "zip", "nothing"],
)
async def test_what_belongs_to_packages_is_refused_for_images(
    api: Harness, parameters: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidParameterValue) as refused:
        await create(api, **parameters)

    assert refused.value.message == message
    assert api.registry.find("hello") is None


async def test_a_name_that_can_be_no_image_is_refused_at_once(api: Harness) -> None:
    with pytest.raises(InvalidParameterValue):
        await create(api, Code={"ImageUri": "NotLower"})


@pytest.mark.parametrize(
    ("operation", "parameters", "message"),
    [
        (
            "UpdateFunctionCode",
            {"FunctionName": "hello", "ZipFile": CODE},
            "Please provide ImageUri when updating a function with packageType Image.",
        ),
        (
            "UpdateFunctionCode",
            {"FunctionName": "zipped", "ImageUri": URI},
            "Please don't provide ImageUri when updating a function with packageType Zip.",
        ),
        ("UpdateFunctionConfiguration", {"FunctionName": "hello", "Handler": "app.handler"}, OF_PACKAGES),
        (
            "UpdateFunctionConfiguration",
            {"FunctionName": "zipped", "ImageConfig": {"Command": ["a"]}},
            "Please don't provide ImageConfig when the intended function PackageType is ZIP.",
        ),
    ],
    ids=["zip for an image", "image for a zip", "handler for an image", "image settings for a zip"],
)
async def test_a_type_of_package_cannot_be_changed(
    api: Harness, operation: str, parameters: dict[str, Any], message: str
) -> None:
    await create(api)
    await api.created("zipped")

    with pytest.raises(InvalidParameterValue) as refused:
        await api.call(operation, **parameters)

    assert refused.value.message == message


async def test_an_unfinished_pull_is_taken_up_after_a_restart(tmp_path: Path) -> None:
    first = Harness(tmp_path)
    async with first.running():
        await first.call("CreateFunction", FunctionName="hello", PackageType="Image", Role=ROLE, Code={"ImageUri": URI})
    second = Harness(tmp_path, first.store)
    second.images.tag(URI, "a1")
    async with second.running():
        await second.plane.deployer.idle()
        assert (await configuration(second))["State"] == "Active"
