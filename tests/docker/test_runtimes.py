"""Runtime identifiers, end to end: what runs exactly, what runs on a stand-in and says so, what brings its own."""

import io
import zipfile
from collections.abc import Iterator

import docker
import pytest
from botocore.exceptions import ClientError
from tests.docker.house import ROLE, House, house, unique

from hearth_cli import recipes

pytestmark = pytest.mark.docker

SHELL_RUNTIME = """#!/bin/sh
api="http://$AWS_LAMBDA_RUNTIME_API/2018-06-01/runtime/invocation"
headers=$(mktemp)
while :; do
    event=$(curl -sS -D "$headers" "$api/next")
    id=$(grep -i '^lambda-runtime-aws-request-id:' "$headers" | tr -d '\\r' | cut -d ' ' -f 2)
    echo "said by $id"
    curl -sS -o /dev/null -d "{\\"by\\": \\"$0\\", \\"event\\": $event}" "$api/$id/response"
done
"""
VERSION = "import os, sys\ndef handler(event, context): return [sys.version_info[:2], os.environ['AWS_EXECUTION_ENV']]"


def create(hearth: House, runtime: str, program: str | None, *, mode: int = 0o755) -> str:
    """A function that is one program of this name, or an empty package with a text in it."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        entry = zipfile.ZipInfo(program or "README")
        entry.external_attr = mode << 16
        archive.writestr(entry, SHELL_RUNTIME)
    name = unique("runtime")
    code = {"ZipFile": buffer.getvalue()}
    hearth.api.create_function(FunctionName=name, Runtime=runtime, Role=ROLE, Handler="main", Code=code, Timeout=20)
    hearth.settled(name)
    return name


@pytest.mark.parametrize(
    ("runtime", "program"), [("provided.al2023", "bootstrap"), ("provided.al2", "bootstrap"), ("go1.x", "main")]
)
def test_a_program_that_brings_its_own_runtime_answers_again_and_again(
    hearth: House, runtime: str, program: str
) -> None:
    name = create(hearth, runtime, program)
    for number in range(3):
        answer = hearth.invoke(name, {"n": number})
        assert answer.value == {"by": f"/var/task/{program}", "event": {"n": number}}
        assert f"said by {answer.request_id}" in answer.log


@pytest.mark.parametrize(("program", "mode"), [(None, 0o644), ("bootstrap", 0o644)])
def test_a_function_without_a_program_to_run_says_so(hearth: House, program: str | None, mode: int) -> None:
    answer = hearth.invoke(create(hearth, "provided.al2023", program, mode=mode))
    assert answer.error == "Unhandled"
    assert answer.value["errorType"] == "Runtime.InvalidEntrypoint"


def test_a_stand_in_is_named_in_the_configuration_and_in_the_log(hearth: House) -> None:
    name = hearth.create("old", VERSION, runtime="python3.6")
    shown = hearth.settled(name)["RuntimeVersionConfig"]
    (major, minor), execution = hearth.invoke(name).value
    assert (major, execution) == (3, "AWS_Lambda_python3.6")
    message = f"python3.6 is not installed here: the function runs on python3.{minor}."
    assert shown["Error"] == {"ErrorCode": "RuntimeSubstituted", "Message": message}
    first = hearth.log(name).splitlines()[0]
    assert first.startswith("INIT_START Runtime Version: python:3.6.v1\t")
    assert first.endswith(f"\tRunning On: python3.{minor}")
    assert shown["RuntimeVersionArn"] in first


@pytest.fixture(scope="module")
def strict(docker_engine: docker.DockerClient) -> Iterator[House]:
    """A Hearth that takes no stand-ins, but an image of the operator's own for a runtime that it has not."""
    own = f'{{"dotnet8": "{recipes.reference("provided")}"}}'
    with house(docker_engine, {"RUNTIME_SUBSTITUTION": "refuse", "RUNTIME_IMAGES": own}) as subject:
        yield subject


def test_an_operator_can_refuse_stand_ins(strict: House) -> None:
    with pytest.raises(ClientError, match=r"Runtime python3\.6 is not installed on this platform") as refused:
        strict.create("old", VERSION, runtime="python3.6")
    assert refused.value.response["Error"]["Code"] == "InvalidParameterValueException"
    assert strict.invoke(strict.create("exact", VERSION)).value == [[3, 13], "AWS_Lambda_python3.13"]


def test_an_operator_can_bring_an_image_for_any_runtime(strict: House) -> None:
    name = create(strict, "dotnet8", "bootstrap")
    assert "Error" not in strict.settled(name)["RuntimeVersionConfig"]
    assert strict.invoke(name, [1]).value == {"by": "/var/task/bootstrap", "event": [1]}
