"""Durable executions: there are none, and every operation says so in its documented way."""

from typing import Any

import pytest
from tests.unit.gateway.lambda_api.harness import ARN, Harness

from hearth.core.errors import InvalidParameterValue, ResourceNotFound, ValidationError

EXECUTION = f"{ARN}:1/durable-execution/name/id"
OF_EXECUTION = {"DurableExecutionArn": EXECUTION}
OF_CALLBACK = {"CallbackId": "abc/d+=="}
CHECKPOINT = {**OF_EXECUTION, "CheckpointToken": "abcd"}
ERROR = {"ErrorMessage": "no"}

CALLS: list[tuple[str, dict[str, Any], type[Exception]]] = [
    *(
        (f"{verb}DurableExecution", OF_EXECUTION, ResourceNotFound)
        for verb in ("Get", "Delete", "Stop", "Pause", "Resume")
    ),
    ("StopDurableExecution", {**OF_EXECUTION, "Error": ERROR}, ResourceNotFound),
    ("GetDurableExecutionHistory", OF_EXECUTION, ResourceNotFound),
    ("GetDurableExecutionState", CHECKPOINT, InvalidParameterValue),
    ("CheckpointDurableExecution", CHECKPOINT, InvalidParameterValue),
    ("SendDurableExecutionCallbackSuccess", {**OF_CALLBACK, "Result": b"\x00 no JSON"}, ResourceNotFound),
    ("SendDurableExecutionCallbackFailure", {**OF_CALLBACK, "Error": ERROR}, ResourceNotFound),
    ("SendDurableExecutionCallbackHeartbeat", OF_CALLBACK, ResourceNotFound),
]


@pytest.mark.parametrize(("operation", "parameters", "error"), CALLS)
async def test_there_is_no_execution_to_work_on(
    api: Harness, operation: str, parameters: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error):
        await api.call(operation, **parameters)


async def test_a_functions_executions_are_an_empty_list(api: Harness) -> None:
    await api.created()
    answer = await api.call("ListDurableExecutionsByFunction", FunctionName="hello", Statuses=["RUNNING"])
    assert answer == {"DurableExecutions": [], "status": 200}
    with pytest.raises(ResourceNotFound):
        await api.call("ListDurableExecutionsByFunction", FunctionName="hello", Qualifier="7")


async def test_a_name_that_is_no_execution_is_a_validation_error(api: Harness) -> None:
    with pytest.raises(ValidationError, match="at 'durableExecutionArn' failed"):
        await api.call("GetDurableExecution", DurableExecutionArn=ARN)
