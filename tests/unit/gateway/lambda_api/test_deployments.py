"""Deployments across crashes: what a record says is enough to go on from."""

import asyncio
import hashlib
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from tests.unit.gateway.lambda_api.harness import CODE, OTHER_CODE, Harness

from hearth.core.errors import ResourceConflict, ServiceError
from hearth.core.function import FunctionName
from hearth.core.records import Package, Phase
from hearth.registry import Configured
from hearth.wire import decode_record, encode_record


async def test_a_crash_while_pending_is_made_good_at_the_next_start(tmp_path: Path) -> None:
    async with Harness(tmp_path).running() as before:
        await before.create()
        store = before.store
        # Left before the deployer had a turn, as by kill -9.
    async with Harness(tmp_path, store).running() as after:
        await after.plane.deployer.idle()
        answer = await after.call("GetFunctionConfiguration", FunctionName="hello")
        assert answer["State"] == "Active"


async def test_a_crash_during_an_update_runs_the_old_code_until_the_new_is_ready(tmp_path: Path) -> None:
    async with Harness(tmp_path).running() as before:
        await before.created()
        await before.call("UpdateFunctionCode", FunctionName="hello", ZipFile=OTHER_CODE)
        store = before.store
    async with Harness(tmp_path, store).running() as after:
        record = after.registry.find("hello")
        assert record is not None
        assert record.version().code_sha256 == hashlib.sha256(CODE).hexdigest()
        await after.plane.deployer.idle()
        record = after.registry.find("hello")
        assert record is not None
        assert record.version().code_sha256 == hashlib.sha256(OTHER_CODE).hexdigest()
        assert [change.version.code_sha256 for change in after.changes if isinstance(change, Configured)] == [
            hashlib.sha256(CODE).hexdigest(),
            hashlib.sha256(OTHER_CODE).hexdigest(),
        ]


async def test_a_pending_function_whose_package_is_lost_fails_and_says_why(tmp_path: Path) -> None:
    async with Harness(tmp_path).running() as before:
        await before.create()
        store = before.store
    shutil.rmtree(tmp_path / "code")
    async with Harness(tmp_path, store).running() as after:
        await after.plane.deployer.idle()
        answer = await after.call("GetFunctionConfiguration", FunctionName="hello")
        assert (answer["State"], answer["StateReasonCode"]) == ("Failed", "InternalError")
        record = after.registry.find("hello")
        assert record is not None
        with pytest.raises(ResourceConflict, match="Failed"):
            record.version()
        await after.call("UpdateFunctionCode", FunctionName="hello", ZipFile=CODE)
        await after.plane.deployer.idle()
        assert (await after.call("GetFunctionConfiguration", FunctionName="hello"))["State"] == "Active"


async def test_a_failed_update_leaves_the_old_version_active(api: Harness) -> None:
    await api.created()
    record = api.registry.find("hello")
    assert record is not None
    missing = replace(record.latest.deployment, package=Package("0" * 64, 1))
    record = replace(record, latest=record.latest.changed(missing, "r", 0))
    await api.registry.put(record)
    api.plane.deployer.settle(record, record.latest)
    await api.plane.deployer.idle()
    answer = await api.call("GetFunctionConfiguration", FunctionName="hello")
    assert (answer["State"], answer["LastUpdateStatus"]) == ("Active", "Failed")
    assert answer["LastUpdateStatusReasonCode"] == "InternalError"


async def test_a_tree_that_is_missing_is_made_again_at_the_start(tmp_path: Path) -> None:
    async with Harness(tmp_path).running() as before:
        await before.created()
        store = before.store
    sha256 = hashlib.sha256(CODE).hexdigest()
    shutil.rmtree(tmp_path / "code" / sha256 / "tree")
    async with Harness(tmp_path, store).running() as after:
        await after.plane.deployer.idle()
        tree = after.packages.tree(sha256)
    assert (tmp_path / "code" / sha256 / "tree" / "app").read_bytes() == b"one"
    assert tree == str(tmp_path / "code" / sha256 / "tree")


async def test_a_package_without_a_record_is_dropped_at_the_start(tmp_path: Path) -> None:
    async with Harness(tmp_path).running() as before:
        async with before.packages.added(OTHER_CODE):
            pass  # killed before the record was written
        store = before.store
    async with Harness(tmp_path, store).running():
        assert list((tmp_path / "code").iterdir()) == []


async def test_everything_about_a_function_survives_a_restart(tmp_path: Path) -> None:
    async with Harness(tmp_path).running() as before:
        await before.created(Tags={"a": "b"}, Environment={"Variables": {"AA": "x"}})
        await before.call("PutFunctionConcurrency", FunctionName="hello", ReservedConcurrentExecutions=3)
        await before.call("CreateFunctionUrlConfig", FunctionName="hello", AuthType="NONE")
        record, store = before.registry.find("hello"), before.store
    async with Harness(tmp_path, store).running() as after:
        assert after.registry.find("hello") == record


async def test_the_end_of_a_deployment_is_recorded_once_the_store_is_back(
    api: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []

    async def no_wait(delay_s: float) -> None:
        waits.append(delay_s)

    monkeypatch.setattr(asyncio, "sleep", no_wait)
    await api.create()
    api.store.fail_next = True
    await api.plane.deployer.idle()
    assert waits == [0.1]
    assert decode_record(api.store.records["hello"]).latest.phase is Phase.ACTIVE


async def test_a_write_with_an_unknown_end_keeps_its_package(api: Harness) -> None:
    api.store.fail_next = True
    with pytest.raises(ServiceError):
        await api.create()
    await api.created("other", Code={"ZipFile": OTHER_CODE})
    await api.call("DeleteFunction", FunctionName="other")
    assert api.packages.total_bytes == len(CODE)


async def test_one_function_recreated_during_the_deployment_of_another_is_not_mixed_up(api: Harness) -> None:
    await api.create(Code={"ZipFile": CODE})
    await api.call("DeleteFunction", FunctionName="hello")
    await api.create(Code={"ZipFile": OTHER_CODE})
    await api.plane.deployer.idle()
    record = api.registry.find("hello")
    assert record is not None
    assert record.version().code_sha256 == hashlib.sha256(OTHER_CODE).hexdigest()
    assert api.store.records == {FunctionName("hello"): encode_record(record)}
