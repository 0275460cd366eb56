"""Every operation of the Lambda API, driven by boto3 against a running Hearth, its answers held against the model."""

from collections.abc import Iterator
from typing import Any

import botocore.session
import pytest
from botocore import xform_name
from botocore.exceptions import ClientError
from tests.docker.conformance.operations import DRIVES, DURABLES, REFUSALS, Stage
from tests.docker.conformance.service_model import Checker
from tests.docker.house import House

pytestmark = pytest.mark.docker

MODEL = botocore.session.get_session().get_service_model("lambda")
OF_A_FUNCTION = sorted(
    name
    for name in MODEL.operation_names
    if name not in DURABLES and "FunctionName" in MODEL.operation_model(name).input_shape.required_members
)
NAMED_IN_ADVANCE = {"CreateFunction"}
"""What a function need not exist for."""
MISSING = {
    "CreateEventSourceMapping": "InvalidParameterValueException",
}
"""What a missing function is called where it is not ResourceNotFoundException."""


@pytest.fixture(scope="module")
def stage(hearth: House) -> Stage:
    return Stage(hearth, hearth.client())


@pytest.fixture
def checker(stage: Stage) -> Iterator[Checker]:
    """What a test drove; no answer on the way may have been against the model."""
    stage.api = stage.hearth.client()
    found = Checker(stage.api)
    yield found
    assert found.problems == []


def test_no_operation_of_the_model_is_forgotten() -> None:
    assert sorted((*DRIVES, *REFUSALS, *DURABLES)) == sorted(MODEL.operation_names)


@pytest.mark.parametrize("operation", DRIVES)
def test_an_operation_answers_as_the_model_says(stage: Stage, checker: Checker, operation: str) -> None:
    DRIVES[operation](stage)
    assert operation in checker.driven


@pytest.mark.parametrize("operation", REFUSALS)
def test_what_cannot_be_done_here_is_refused_as_the_model_says(stage: Stage, checker: Checker, operation: str) -> None:
    call, code = REFUSALS[operation]
    assert _refused(lambda: call(stage)) == code
    assert operation in checker.driven


@pytest.mark.parametrize("operation", DURABLES)
def test_durable_executions_are_refused_cleanly(stage: Stage, operation: str) -> None:
    call = getattr(stage.api, xform_name(operation))
    with pytest.raises(ClientError) as caught:
        call(**DURABLES[operation])
    status = caught.value.response["ResponseMetadata"]["HTTPStatusCode"]
    assert 400 <= status < 500
    assert caught.value.response["Error"]["Message"]


@pytest.mark.parametrize("operation", [name for name in OF_A_FUNCTION if name not in NAMED_IN_ADVANCE])
def test_a_missing_function_is_said_to_be_missing(stage: Stage, checker: Checker, operation: str) -> None:
    parameters = _minimal(operation, FunctionName="nobody-has-this-name")
    call = getattr(stage.api, xform_name(operation))
    assert _refused(lambda: call(**parameters)) == MISSING.get(operation, "ResourceNotFoundException")


@pytest.mark.parametrize("operation", OF_A_FUNCTION)
def test_a_name_that_is_none_is_a_validation_error(stage: Stage, checker: Checker, operation: str) -> None:
    parameters = _minimal(operation, FunctionName="what a name!")
    call = getattr(stage.api, xform_name(operation))
    assert _refused(lambda: call(**parameters)) == "ValidationException"


def _refused(call: Any) -> str:
    with pytest.raises(ClientError) as caught:
        call()
    return str(caught.value.response["Error"]["Code"])


def _minimal(operation: str, **given: Any) -> dict[str, Any]:
    """The required parameters, each with the plainest legal value."""
    shape = MODEL.operation_model(operation).input_shape
    return {name: given.get(name) or _plainest(name, shape.members[name]) for name in shape.required_members} | {
        name: value for name, value in _SENSIBLE.get(operation, {}).items()
    }


_SENSIBLE: dict[str, dict[str, Any]] = {
    "CreateEventSourceMapping": {"EventSourceArn": "arn:aws:sqs:us-east-1:000000000000:jobs"},
    "CreateFunction": {"Code": {"ZipFile": b"PK"}, "Runtime": "python3.13", "Handler": "app.handler"},
    "PutFunctionEventInvokeConfig": {"MaximumRetryAttempts": 1},
    "UpdateFunctionCode": {"ZipFile": b"PK"},
}
_PLAINEST = {
    "Role": "arn:aws:iam::000000000000:role/r",
    "Principal": "s3.amazonaws.com",
    "Action": "lambda:InvokeFunction",
    "CodeSigningConfigArn": "arn:aws:lambda:us-east-1:000000000000:code-signing-config:csc-0123456789abcdef0",
    "FunctionVersion": "1",
    "Qualifier": "1",
    "Name": "live",
}


def _plainest(name: str, shape: Any) -> Any:
    if name in _PLAINEST:
        return _PLAINEST[name]
    if shape.metadata.get("enum"):
        return shape.metadata["enum"][0]
    return {"string": "x", "integer": 1, "long": 1, "blob": b"{}", "structure": {}, "map": {}, "list": []}[
        shape.type_name
    ]
