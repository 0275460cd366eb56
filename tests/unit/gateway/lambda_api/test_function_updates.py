"""Updates of functions: what changes, what runs meanwhile, and what guards them."""

import base64
import hashlib
from pathlib import Path

import pytest
from tests.unit.gateway.lambda_api.harness import ARN, CODE, OTHER_CODE, Harness

from hearth.core.errors import InvalidParameterValue, PreconditionFailed, ResourceConflict
from hearth.registry import Configured


async def test_an_update_of_the_configuration_changes_what_was_sent_and_nothing_else(api: Harness) -> None:
    before = await api.created(Description="old", Environment={"Variables": {"AA": "a"}})
    api.now_s += 60
    answer = await api.call("UpdateFunctionConfiguration", FunctionName="hello", Timeout=10)
    assert answer["status"] == 200
    assert (answer["State"], answer["LastUpdateStatus"]) == ("Active", "InProgress")
    assert answer["LastUpdateStatusReason"] == "The function is being created."
    assert answer["LastUpdateStatusReasonCode"] == "Creating"
    await api.plane.deployer.idle()
    after = await api.call("GetFunctionConfiguration", FunctionName="hello")
    assert after["LastUpdateStatus"] == "Successful"
    assert len({before["RevisionId"], answer["RevisionId"], after["RevisionId"]}) == 3
    assert after["LastModified"] == "2026-11-21T01:37:40.250+0000"
    changed = {"Timeout", "RevisionId", "LastModified"}
    assert {name for name in before if before[name] != after[name]} == changed


async def test_maps_that_are_sent_replace_the_old_ones_and_empty_targets_remove(api: Harness) -> None:
    await api.created(
        Environment={"Variables": {"AA": "a", "BB": "b"}},
        DeadLetterConfig={"TargetArn": "arn:aws:sqs:us-east-1:000000000000:dead"},
        KMSKeyArn="arn:aws:kms:us-east-1:000000000000:key/k",
        VpcConfig={"SubnetIds": ["subnet-1"], "SecurityGroupIds": ["sg-1"]},
    )
    answer = await api.call(
        "UpdateFunctionConfiguration",
        FunctionName="hello",
        Environment={"Variables": {"CC": "c"}},
        DeadLetterConfig={"TargetArn": ""},
        KMSKeyArn="",
        VpcConfig={"SubnetIds": [], "SecurityGroupIds": []},
    )
    assert answer["Environment"] == {"Variables": {"CC": "c"}}
    assert not {"DeadLetterConfig", "KMSKeyArn", "VpcConfig"} & answer.keys()


async def test_a_change_back_to_text_logs_drops_the_levels(api: Harness) -> None:
    await api.created(LoggingConfig={"LogFormat": "JSON", "LogGroup": "mine"})
    answer = await api.call("UpdateFunctionConfiguration", FunctionName="hello", LoggingConfig={"LogFormat": "Text"})
    assert answer["LoggingConfig"] == {"LogFormat": "Text", "LogGroup": "mine"}


async def test_new_code_runs_once_it_is_unpacked_and_the_old_is_collected(api: Harness, tmp_path: Path) -> None:
    await api.created()
    answer = await api.call("UpdateFunctionCode", FunctionName="hello", ZipFile=OTHER_CODE)
    assert answer["CodeSha256"] == base64.b64encode(hashlib.sha256(OTHER_CODE).digest()).decode()
    record = api.registry.find("hello")
    assert record is not None
    assert record.version().code_sha256 == hashlib.sha256(CODE).hexdigest()
    await api.plane.deployer.idle()
    record = api.registry.find("hello")
    assert record is not None
    assert record.version().code_sha256 == hashlib.sha256(OTHER_CODE).hexdigest()
    assert [path.name for path in (tmp_path / "code").iterdir()] == [record.version().code_sha256]
    assert api.changes[-1] == Configured(record.version())


async def test_a_dry_run_answers_and_changes_nothing(api: Harness, tmp_path: Path) -> None:
    before = await api.created()
    answer = await api.call("UpdateFunctionCode", FunctionName="hello", ZipFile=OTHER_CODE, DryRun=True)
    assert answer["CodeSize"] == len(OTHER_CODE)
    assert await api.call("GetFunctionConfiguration", FunctionName="hello") == before
    assert len(list((tmp_path / "code").iterdir())) == 1
    with pytest.raises(InvalidParameterValue, match="Could not unzip"):
        await api.call("UpdateFunctionCode", FunctionName="hello", ZipFile=b"garbage", DryRun=True)


async def test_a_bad_package_does_not_disturb_the_running_one(api: Harness) -> None:
    before = await api.created()
    with pytest.raises(InvalidParameterValue, match="Could not unzip"):
        await api.call("UpdateFunctionCode", FunctionName="hello", ZipFile=b"garbage")
    assert await api.call("GetFunctionConfiguration", FunctionName="hello") == before


async def test_changes_wait_for_the_one_before_them(api: Harness) -> None:
    await api.create()
    with pytest.raises(ResourceConflict, match=r"currently in the following state: Pending$"):
        await api.call("UpdateFunctionConfiguration", FunctionName="hello", Timeout=4)
    await api.plane.deployer.idle()
    await api.call("UpdateFunctionConfiguration", FunctionName="hello", Timeout=4)
    with pytest.raises(ResourceConflict) as caught:
        await api.call("UpdateFunctionCode", FunctionName="hello", ZipFile=OTHER_CODE)
    assert caught.value.message == (
        f"The operation cannot be performed at this time. An update is in progress for resource: {ARN}"
    )


async def test_a_revision_id_guards_against_lost_updates(api: Harness) -> None:
    current = await api.created()
    with pytest.raises(PreconditionFailed, match=r"^The Revision Id provided does not match the latest Revision Id"):
        await api.call("UpdateFunctionConfiguration", FunctionName="hello", Timeout=4, RevisionId="other")
    await api.call("UpdateFunctionConfiguration", FunctionName="hello", Timeout=4, RevisionId=current["RevisionId"])
