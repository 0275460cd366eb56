"""Images that are built only when somebody asks for them: those that are here run a real handler."""

import json
from collections.abc import Mapping

import docker
import pytest
from tests.docker.environment import Environment, MakeEnvironment
from tests.docker.test_images import ENVIRONMENT, FUNCTION, NODE, PYTHON, ask_by_http, engine, init, make

from hearth.core.runtimes import RUNTIMES, Family
from hearth_cli import images, recipes

pytestmark = pytest.mark.docker
__all__ = ["engine", "init", "make"]  # fixtures

ON_DEMAND = [name for name in recipes.INTERPRETERS if name not in recipes.DEFAULTS]
STEMS: Mapping[Family, Mapping[str, str]] = {Family.PYTHON: FUNCTION[PYTHON], Family.NODEJS: FUNCTION[NODE]}
RUBY = """
require 'json'

def handler(event:, context:)
  raise IndexError, 'no luck' if event['do'] == 'fail'
  { event: event, id: context.aws_request_id, left: context.get_remaining_time_in_millis > 0, at: Dir.pwd }
end

module Deep
  class App
    def self.handler(event:, context:) = [self.name, context.function_name]
  end
end
"""


def of(*families: Family) -> pytest.MarkDecorator:
    names = [name for name in ON_DEMAND if RUNTIMES[name].family in families]
    return pytest.mark.parametrize("interpreter", names)


def made(engine: docker.DockerClient, make: MakeEnvironment, interpreter: str) -> Environment:
    """An environment of an image that is here; nobody waits for one to be built."""
    if interpreter not in images.installed(engine):
        pytest.skip(f"hearth images build {interpreter}")
    images.build(engine, only=[interpreter])
    return make(interpreter)


@of(Family.PYTHON, Family.NODEJS)
def test_a_stem_cell_of_any_version_becomes_a_function(
    engine: docker.DockerClient, make: MakeEnvironment, interpreter: str
) -> None:
    environment = made(engine, make, interpreter)
    environment.start_stem()
    client = environment.client()
    environment.write(STEMS[RUNTIMES[interpreter].family])
    client.become("app.handler", ENVIRONMENT)
    assert client.invoke({"a": [1]}) == {"a": [1]}
    seen = client.invoke({"do": "environment"}, "id-2")
    assert isinstance(seen, dict)
    assert seen["AWS_EXECUTION_ENV"] == f"AWS_Lambda_{interpreter}"
    kind, error = client.invoke_to_error({"do": "fail"}, "id-3")
    assert (kind, error["errorMessage"]) == (error["errorType"], "no luck")


@of(Family.PYTHON, Family.NODEJS)
def test_an_interpreter_of_any_version_can_start_anew(
    engine: docker.DockerClient, make: MakeEnvironment, interpreter: str
) -> None:
    environment = made(engine, make, interpreter)
    environment.start_stem()
    client = environment.client()
    environment.write(STEMS[RUNTIMES[interpreter].family])
    client.become("app.handler", {**ENVIRONMENT, "LD_LIBRARY_PATH": "/opt/lib"}, anew=True)
    assert client.invoke({"a": 1}) == {"a": 1}


@of(Family.NODEJS)
def test_modules_are_imported_from_layers_and_the_sdk_in_any_version(
    engine: docker.DockerClient, make: MakeEnvironment, interpreter: str
) -> None:
    environment = made(engine, make, interpreter)
    environment.start_stem()
    client = environment.client()
    code = (
        "import { S3Client } from '@aws-sdk/client-s3'; import from_layer from 'greeting'; "
        "export const handler = async () => [typeof S3Client, from_layer];"
    )
    module = environment.opt / "nodejs/node_modules/greeting"
    module.mkdir(parents=True)
    (module / "index.js").write_text("module.exports = 'from the layer';")
    environment.write({"app.mjs": code})
    client.become("app.handler", ENVIRONMENT)
    assert client.invoke({}) == ["function", "from the layer"]


@of(Family.RUBY)
@pytest.mark.parametrize(
    ("handler", "event", "answer"),
    [
        ("app.handler", {"ü": 1}, {"event": {"ü": 1}, "id": "id-1", "left": True, "at": "/var/task"}),
        ("app.Deep::App.handler", {}, ["Deep::App", "hello"]),
    ],
)
def test_a_ruby_handler_answers(
    engine: docker.DockerClient, make: MakeEnvironment, interpreter: str, handler: str, *, event: object, answer: object
) -> None:
    environment = made(engine, make, interpreter)
    environment.write({"app.rb": RUBY})
    environment.start("/var/runtime/bootstrap", variables={**ENVIRONMENT, "_HANDLER": handler})
    path, body = ask_by_http(environment, json.dumps(event).encode())
    assert path == "/2018-06-01/runtime/invocation/id-1/response"
    assert json.loads(body) == answer


@of(Family.RUBY)
@pytest.mark.parametrize(
    ("handler", "path", "kind"),
    [
        ("app.handler", "invocation/id-1/error", "Function<IndexError>"),
        ("absent.handler", "init/error", "Init<LoadError>"),
        ("app.absent", "init/error", "Init<NameError>"),
    ],
)
def test_a_ruby_error_has_the_shape_of_its_language(
    engine: docker.DockerClient, make: MakeEnvironment, interpreter: str, handler: str, *, path: str, kind: str
) -> None:
    environment = made(engine, make, interpreter)
    environment.write({"app.rb": RUBY})
    environment.start("/var/runtime/bootstrap", variables={**ENVIRONMENT, "_HANDLER": handler})
    told, body = ask_by_http(environment, b'{"do": "fail"}')
    error = json.loads(body)
    assert (told, error["errorType"]) == (f"/2018-06-01/runtime/{path}", kind)
    if path.endswith("id-1/error"):
        assert error["errorMessage"] == "no luck"
        assert error["stackTrace"][0].startswith("/var/task/app.rb:5:in ")


@of(Family.JAVA)
def test_a_java_method_answers(engine: docker.DockerClient, make: MakeEnvironment, interpreter: str) -> None:
    environment = made(engine, make, interpreter)
    # There is no compiler here; a method of Java's own is a handler as good as any.
    handler = "java.util.UUID::fromString"
    environment.start("/var/runtime/bootstrap", variables={**ENVIRONMENT, "_HANDLER": handler})
    path, body = ask_by_http(environment, b'"123E4567-E89B-12D3-A456-426614174000"')
    assert path == "/2018-06-01/runtime/invocation/id-1/response"
    assert json.loads(body) == "123e4567-e89b-12d3-a456-426614174000"


@of(Family.JAVA)
def test_a_java_class_that_is_missing_is_the_functions_error(
    engine: docker.DockerClient, make: MakeEnvironment, interpreter: str
) -> None:
    environment = made(engine, make, interpreter)
    environment.start("/var/runtime/bootstrap", variables={**ENVIRONMENT, "_HANDLER": "absent.App::handler"})
    path, body = ask_by_http(environment, b"{}")
    assert path == "/2018-06-01/runtime/invocation/id-1/error"
    assert json.loads(body)["errorMessage"] == "Class not found: absent.App"
