"""Provisioned concurrency with real containers: ready before anybody asks, replaced, moved, and kept over a kill."""

import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import docker
import pytest
from botocore.exceptions import ClientError
from tests.docker.house import PATIENCE_S, House, eventually, house

pytestmark = pytest.mark.docker

CODE = """
import os
started = os.environ["AWS_LAMBDA_INITIALIZATION_TYPE"]
def handler(event, context):
    return [started, os.environ["AWS_LAMBDA_FUNCTION_VERSION"], os.environ["AWS_LAMBDA_LOG_STREAM_NAME"]]
"""

WAITING = """
import os, socket
def handler(event, context):
    host, port = os.environ["GATE"].split(":")
    with socket.create_connection((host, int(port))) as gate:
        return gate.recv(1).decode()
"""


@pytest.fixture(scope="module")
def ready(docker_engine: docker.DockerClient) -> Iterator[House]:
    """A Hearth that is killed by one of these tests. Ordinary idle environments go almost at once."""
    with house(docker_engine, {"STEM_CELLS": '{"python3.13": 1}', "IDLE_TIMEOUT_S": "1"}) as subject:
        yield subject


@pytest.fixture
def function(ready: House) -> Iterator[str]:
    """A function with the version 1 and the alias `live`."""
    name = ready.create("provisioned", CODE)
    ready.api.publish_version(FunctionName=name)
    ready.api.create_alias(FunctionName=name, Name="live", FunctionVersion="1")
    yield name
    ready.api.delete_function(FunctionName=name)


def _put(house: House, name: str, qualifier: str, count: int) -> None:
    house.api.put_provisioned_concurrency_config(
        FunctionName=name, Qualifier=qualifier, ProvisionedConcurrentExecutions=count
    )


def _status(house: House, name: str, qualifier: str) -> dict[str, Any]:
    found: dict[str, Any] = house.api.get_provisioned_concurrency_config(FunctionName=name, Qualifier=qualifier)
    return found


def _is_ready(house: House, name: str, qualifier: str) -> None:
    eventually(lambda: bool(_status(house, name, qualifier)["Status"] == "READY"), f"{qualifier} is ready")


def test_the_first_request_finds_an_environment_that_has_been_initialised(ready: House, function: str) -> None:
    _put(ready, function, "live", 2)
    _is_ready(ready, function, "live")

    answer = ready.invoke(function, Qualifier="live")

    assert answer.value[:2] == ["provisioned-concurrency", "1"]
    assert _status(ready, function, "live")["AvailableProvisionedConcurrentExecutions"] == 2


def test_an_environment_that_is_killed_is_replaced(ready: House, function: str) -> None:
    _put(ready, function, "1", 1)
    _is_ready(ready, function, "1")
    before = ready.invoke(function, Qualifier="1").value[2]
    for container in ready.containers():
        container.kill()

    eventually(lambda: ready.invoke(function, Qualifier="1").value[2] != before, "another one answers")
    _is_ready(ready, function, "1")
    assert ready.invoke(function, Qualifier="1").value[0] == "provisioned-concurrency"


def test_an_alias_that_moves_takes_them_along(ready: House, function: str) -> None:
    _put(ready, function, "live", 1)
    _is_ready(ready, function, "live")
    ready.replace_code(function, CODE + "# changed\n")
    ready.api.publish_version(FunctionName=function)

    ready.api.update_alias(FunctionName=function, Name="live", FunctionVersion="2")
    _is_ready(ready, function, "live")

    assert ready.invoke(function, Qualifier="live").value[:2] == ["provisioned-concurrency", "2"]


def test_an_init_that_fails_is_told_and_not_repeated_without_end(ready: House) -> None:
    name = ready.create("broken", "raise SystemExit(1)")
    ready.api.publish_version(FunctionName=name)
    before = ready.health()["counters"].get("container-starts", 0)

    _put(ready, name, "1", 1)
    eventually(lambda: bool(_status(ready, name, "1")["Status"] == "FAILED"), "it has failed")

    assert _status(ready, name, "1")["StatusReason"] == "FUNCTION_ERROR_INIT_FAILURE"
    assert ready.health()["counters"]["container-starts"] - before < 20
    ready.api.delete_function(FunctionName=name)


def test_they_are_adopted_after_a_kill_and_none_is_started_in_their_stead(ready: House, function: str) -> None:
    _put(ready, function, "live", 2)
    _is_ready(ready, function, "live")
    before = {container.id for container in ready.containers()}

    ready.kill()
    ready.up()
    _is_ready(ready, function, "live")

    answer = ready.invoke(function, Qualifier="live")
    assert answer.value[0] == "provisioned-concurrency"
    assert len({container.id for container in ready.containers()} & before) >= 2


def test_after_the_end_of_the_configuration_they_idle_out(ready: House, function: str) -> None:
    _put(ready, function, "live", 1)
    _is_ready(ready, function, "live")

    ready.api.delete_provisioned_concurrency_config(FunctionName=function, Qualifier="live")

    eventually(lambda: not ready.health()["environments"].get("idle"), "nothing idles any more")


def test_a_scaling_configuration_keeps_environments_ready_and_allows_no_more(ready: House) -> None:
    with socket.create_server((ready.gateway(), 0)) as gate, ThreadPoolExecutor(1) as elsewhere:
        gate.settimeout(PATIENCE_S)
        address = "{}:{}".format(*gate.getsockname())
        name = ready.create("scaled", WAITING, timeout_s=60, variables={"GATE": address})
        ready.api.publish_version(FunctionName=name)
        config = {"MinExecutionEnvironments": 1, "MaxExecutionEnvironments": 1}
        ready.api.put_function_scaling_config(FunctionName=name, Qualifier="1", FunctionScalingConfig=config)

        def is_applied() -> bool:
            answer = ready.api.get_function_scaling_config(FunctionName=name, Qualifier="1")
            return bool(answer["AppliedFunctionScalingConfig"] == config)

        eventually(is_applied, "one environment is ready")
        first = elsewhere.submit(ready.invoke, name, Qualifier="1")
        at_work, _ = gate.accept()
        with at_work, pytest.raises(ClientError) as caught:
            ready.invoke(name, Qualifier="1")
        assert caught.value.response["Error"]["Code"] == "TooManyRequestsException"
        assert first.result(PATIENCE_S).error is None
    ready.api.delete_function(FunctionName=name)
