"""Recursion, runtime management and code signing through the API."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.unit.gateway.lambda_api.harness import ARN, Harness

from hearth.core.errors import CodeSigningConfigNotFound, InvalidParameterValue, ResourceNotFound

RUNTIME_VERSION = "arn:aws:lambda:us-east-1::runtime:" + "0" * 64


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Harness]:
    async with Harness(tmp_path).running() as harness:
        await harness.created()
        yield harness


async def test_loops_are_terminated_unless_allowed(api: Harness) -> None:
    assert (await api.call("GetFunctionRecursionConfig", FunctionName="hello"))["RecursiveLoop"] == "Terminate"
    await api.call("PutFunctionRecursionConfig", FunctionName="hello", RecursiveLoop="Allow")
    assert (await api.call("GetFunctionRecursionConfig", FunctionName=ARN))["RecursiveLoop"] == "Allow"


async def test_runtimes_are_updated_automatically_unless_told_otherwise(api: Harness) -> None:
    shown = await api.call("GetRuntimeManagementConfig", FunctionName="hello")
    assert shown == {"UpdateRuntimeOn": "Auto", "FunctionArn": f"{ARN}:$LATEST", "status": 200}
    wanted = {"UpdateRuntimeOn": "Manual", "RuntimeVersionArn": RUNTIME_VERSION}
    await api.call("PutRuntimeManagementConfig", FunctionName="hello", **wanted)
    assert (await api.call("GetRuntimeManagementConfig", FunctionName="hello")).items() >= wanted.items()


async def test_a_runtime_version_belongs_to_manual_alone(api: Harness) -> None:
    with pytest.raises(InvalidParameterValue, match="must be set"):
        await api.call("PutRuntimeManagementConfig", FunctionName="hello", UpdateRuntimeOn="Manual")
    with pytest.raises(InvalidParameterValue, match="only be set"):
        await api.call(
            "PutRuntimeManagementConfig",
            FunctionName="hello",
            UpdateRuntimeOn="Auto",
            RuntimeVersionArn=RUNTIME_VERSION,
        )


@pytest.mark.parametrize("operation", ["GetFunctionRecursionConfig", "GetRuntimeManagementConfig"])
async def test_settings_of_a_missing_function_are_not_found(api: Harness, operation: str) -> None:
    with pytest.raises(ResourceNotFound, match="Function not found"):
        await api.call(operation, FunctionName="nobody")


async def test_no_function_has_a_code_signing_configuration(api: Harness) -> None:
    config = "arn:aws:lambda:us-east-1:000000000000:code-signing-config:csc-" + "0" * 17
    assert await api.call("GetFunctionCodeSigningConfig", FunctionName="hello") == {"status": 200}
    assert (await api.call("DeleteFunctionCodeSigningConfig", FunctionName="hello"))["status"] == 204
    with pytest.raises(CodeSigningConfigNotFound):
        await api.call("PutFunctionCodeSigningConfig", FunctionName="hello", CodeSigningConfigArn=config)
