"""The environment variables of a function."""

from dataclasses import replace
from typing import Any

import pytest
from tests.unit.scheduler.simulation import function

from hearth.core.function import FunctionVersion
from hearth_scheduler.core.variables import Setting, compose, endpoint_variables, needs_new_interpreter


def _of(runtime: str, interpreter: str) -> dict[str, str]:
    return compose(replace(function(), runtime=runtime), Setting(interpreter, region="r", log_stream="s"))


def _composed(**environment: str) -> dict[str, str]:
    described = replace(function(), environment=environment)
    return compose(described, Setting("python3.13", region="eu-north-1", log_stream="2026/stream"))


def test_the_reserved_variables_are_those_of_the_function() -> None:
    variables = _composed()

    assert variables["AWS_REGION"] == variables["AWS_DEFAULT_REGION"] == "eu-north-1"
    assert variables["AWS_LAMBDA_FUNCTION_NAME"] == "hello"
    assert variables["AWS_LAMBDA_FUNCTION_VERSION"] == "$LATEST"
    assert variables["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"] == "128"
    assert variables["AWS_LAMBDA_LOG_GROUP_NAME"] == "/aws/lambda/hello"
    assert variables["AWS_LAMBDA_LOG_STREAM_NAME"] == "2026/stream"
    assert variables["AWS_EXECUTION_ENV"] == "AWS_Lambda_python3.13"
    assert variables["_HANDLER"] == "app.handler"


def test_the_users_variables_stand_over_the_defaults() -> None:
    assert _composed()["TZ"] == ":UTC"
    assert _composed(TZ="Europe/Berlin")["TZ"] == "Europe/Berlin"


def test_the_reserved_variables_stand_over_the_users() -> None:
    assert _composed(_HANDLER="evil", AWS_REGION="moon")["_HANDLER"] == "app.handler"
    assert _composed(AWS_REGION="moon")["AWS_REGION"] == "eu-north-1"


def test_a_language_has_its_own_search_path() -> None:
    python, node, ruby = _composed(), _of("nodejs20.x", "nodejs20.x"), _of("ruby3.3", "ruby3.3")

    assert python["PYTHONPATH"] == "/var/runtime" and "NODE_PATH" not in python
    assert "/opt/nodejs/node_modules" in node["NODE_PATH"] and "PYTHONPATH" not in node
    assert ruby["GEM_PATH"].split(":")[1] == "/opt/ruby/gems/3.3.0"


def test_libraries_are_those_of_the_interpreter_and_the_name_that_of_the_runtime() -> None:
    variables = _of("nodejs18.x", "nodejs22.x")

    assert variables["NODE_PATH"].startswith("/opt/nodejs/node22/node_modules:")
    assert variables["AWS_EXECUTION_ENV"] == "AWS_Lambda_nodejs18.x"


def test_who_brings_a_runtime_is_not_told_of_one() -> None:
    assert "AWS_EXECUTION_ENV" not in _of("provided.al2023", "provided")
    assert _of("go1.x", "provided")["AWS_EXECUTION_ENV"] == "AWS_Lambda_go1.x"


def test_nothing_of_ours_is_given_to_a_function() -> None:
    assert not [name for name in _composed() if name.startswith("HEARTH")]


@pytest.mark.parametrize(
    "name", ["LD_PRELOAD", "LD_LIBRARY_PATH", "PYTHONHASHSEED", "NODE_OPTIONS", "AWS_LAMBDA_EXEC_WRAPPER"]
)
def test_what_an_interpreter_reads_at_its_start_needs_a_new_one(name: str) -> None:
    assert needs_new_interpreter({"COLOUR": "red", name: "1"})


def test_ordinary_variables_need_no_new_interpreter() -> None:
    assert not needs_new_interpreter({"COLOUR": "red", "TZ": "UTC", "PYTHONPATH": "/opt"})


def _set(spec: FunctionVersion, **more: Any) -> dict[str, str]:
    return compose(spec, Setting("python3.13", "eu-north-1", "s", **more))


def test_the_platform_is_where_sdks_look_for_aws_unless_the_user_says_otherwise() -> None:
    endpoints = endpoint_variables("http://172.18.0.1:9400", {})
    mine = replace(function(), environment={"AWS_ENDPOINT_URL": "http://mine"})

    assert _set(function(), endpoints=endpoints)["AWS_ENDPOINT_URL"] == "http://172.18.0.1:9400"
    assert _set(mine, endpoints=endpoints)["AWS_ENDPOINT_URL"] == "http://mine"


def test_a_service_with_a_place_of_its_own_has_a_variable_of_its_own() -> None:
    assert endpoint_variables(None, {"s3": "http://s3", "dynamodb streams": "http://d"}) == {
        "AWS_ENDPOINT_URL_S3": "http://s3",
        "AWS_ENDPOINT_URL_DYNAMODB_STREAMS": "http://d",
    }


def test_the_credentials_of_the_role_stand_over_the_users_variables() -> None:
    mine = replace(function(), environment={"AWS_SESSION_TOKEN": "mine"})

    assert _set(mine, credentials={"AWS_SESSION_TOKEN": "the role's"})["AWS_SESSION_TOKEN"] == "the role's"


def test_the_json_format_is_told_to_the_runtime_and_the_text_format_is_not() -> None:
    json = replace(function(), log_format="JSON", log_level="DEBUG")

    assert _set(json)["AWS_LAMBDA_LOG_FORMAT"] == "JSON" and _set(json)["AWS_LAMBDA_LOG_LEVEL"] == "DEBUG"
    assert not [name for name in _set(function()) if name.startswith("AWS_LAMBDA_LOG_FORMAT")]
    assert _set(replace(json, environment={"AWS_LAMBDA_LOG_LEVEL": "WARN"}))["AWS_LAMBDA_LOG_LEVEL"] == "WARN"


def test_the_kind_of_initialisation_is_told() -> None:
    assert _set(function())["AWS_LAMBDA_INITIALIZATION_TYPE"] == "on-demand"
    assert _set(function(), is_provisioned=True)["AWS_LAMBDA_INITIALIZATION_TYPE"] == "provisioned-concurrency"


def test_an_image_keeps_its_own_paths_language_and_handler() -> None:
    of_image = replace(function(image="an-image"), runtime="", handler="", environment={"PATH": "/mine"})
    variables = compose(of_image, Setting("", region="r", log_stream="s"))

    assert {"LANG", "TZ", "LD_LIBRARY_PATH", "_HANDLER"}.isdisjoint(variables)
    assert variables["PATH"] == "/mine"
    assert variables["AWS_EXECUTION_ENV"] == "AWS_Lambda_Image"
    assert variables["LAMBDA_TASK_ROOT"] == "/var/task"
