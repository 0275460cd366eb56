"""AWS's client for JavaScript, as the Node.js image has it, pointed at Hearth: it reads strictly what boto3 forgives.

One program goes through one life of a function and tells what it saw; the tests read that.
"""

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import docker
import pytest
from tests.docker.house import NODE, ROLE, House, package, unique

pytestmark = pytest.mark.docker

PROGRAM = Path(__file__).with_name("javascript_client.cjs")
HANDLER = """
def handler(event, context):
    if event == "fail":
        raise ValueError("no luck")
    return {"saw": event}
"""
OPERATIONS = 44
"""Answers that are no errors, at least."""


@pytest.fixture(scope="module")
def name() -> str:
    return unique("javascript")


@pytest.fixture(scope="module")
def seen(hearth: House, name: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the program tells."""
    folder = tmp_path_factory.mktemp("javascript")
    (folder / "client.cjs").write_bytes(PROGRAM.read_bytes())
    (folder / "function.zip").write_bytes(package({"app.py": HANDLER}))
    (folder / "layer.zip").write_bytes(package({"python/of_the_layer.py": "VALUE = 1\n"}))
    settings = {
        "name": name,
        "role": ROLE,
        "queue": hearth.queue_arn(name),
        "endpoint": hearth.variables["AWS_ENDPOINT_URL"],
        "region": hearth.variables["AWS_REGION"],
        "key": hearth.variables["AWS_ACCESS_KEY_ID"],
        "secret": hearth.variables["AWS_SECRET_ACCESS_KEY"],
    }
    try:
        hearth.engine.containers.run(
            f"hearth/{NODE}",
            ["/program/client.cjs"],
            entrypoint=["/var/lang/bin/node"],
            environment={"SETTINGS": json.dumps(settings), "NODE_PATH": "/var/runtime/node_modules"},
            volumes={str(folder): {"bind": "/program", "mode": "rw"}},
            labels={"hearth.instance": hearth.instance},
            network_mode="host",
            user="0",
            remove=True,
        )
    except docker.errors.ContainerError as error:
        pytest.fail(f"{str(error)[-4000:]}\n{hearth.errors()}")
    value: dict[str, Any] = json.loads((folder / "seen.json").read_text())
    return value


def modelled(status: int, name: str, message: str, **more: Any) -> dict[str, Any]:
    """An error that the client has a class for."""
    told = {"name": name, "message": message, "fault": "client", "status": status, "isModelled": True, "Type": "User"}
    return told | more


def test_a_function_is_created_waited_for_and_read_back(seen: dict[str, Any], name: str) -> None:
    creation = seen["creation"]
    assert (creation["status"], creation["state"], creation["waited"]) == (201, "Pending", "SUCCESS")
    assert len(creation["requestId"]) == 36
    assert creation["isPackage"]
    assert creation["tags"] == {"a": "1"}
    configuration = creation["configuration"]
    assert datetime.strptime(configuration["LastModified"], "%Y-%m-%dT%H:%M:%S.%f%z")
    defaults = {
        "EphemeralStorage": {"Size": 512},
        "TracingConfig": {"Mode": "PassThrough"},
        "SnapStart": {"ApplyOn": "None", "OptimizationStatus": "Off"},
        "LoggingConfig": {"LogFormat": "Text", "LogGroup": f"/aws/lambda/{name}"},
        "Architectures": ["x86_64"],
        "Environment": {"Variables": {"STAGE": "test"}},
    }
    assert {member: configuration[member] for member in defaults} == defaults
    assert creation["again"] == modelled(409, "ResourceConflictException", f"Function already exist: {name}")


def test_it_is_invoked_in_every_way(seen: dict[str, Any], name: str) -> None:
    invocation = seen["invocation"]
    assert invocation["answer"] == {"saw": {"a": [1, "ä"]}}
    assert "REPORT RequestId: " in invocation["log"]
    assert invocation["version"] == "$LATEST"
    assert invocation["error"] == [200, "Unhandled", "ValueError"]
    assert invocation["statuses"] == [200, 202, 204]
    arn = f"arn:aws:lambda:us-east-1:000000000000:function:{name}-none"
    assert invocation["missing"] == modelled(404, "ResourceNotFoundException", f"Function not found: {arn}")
    bad = invocation["bad"]
    assert (bad["name"], bad["status"], bad["isModelled"]) == ("InvalidRequestContentException", 400, True)
    wrong = invocation["wrongKey"]
    assert (wrong["name"], wrong["status"]) == ("InvalidSignatureException", 403)


def test_its_answer_comes_as_an_event_stream(seen: dict[str, Any]) -> None:
    stream = seen["stream"]
    assert (stream["status"], stream["version"]) == (200, "$LATEST")
    assert json.loads(stream["whole"]) == {"saw": "stream"}
    assert stream["end"] == {}
    failure = stream["failure"]
    assert (failure["code"], failure["hasLog"]) == ("Unhandled", True)
    assert json.loads(failure["details"])["errorMessage"] == "no luck"


def test_it_is_updated_under_the_guard_of_its_revision(seen: dict[str, Any]) -> None:
    update = seen["update"]
    assert (update["status"], update["timeout"]) == ("InProgress", 9)
    assert (update["stale"]["name"], update["stale"]["status"]) == ("PreconditionFailedException", 412)


def test_versions_are_paged_and_an_alias_leads_to_one(seen: dict[str, Any], name: str) -> None:
    versions = seen["versions"]
    assert versions["versions"] == ["$LATEST", "1"]
    assert (versions["aliases"], versions["isChanged"], versions["invoked"]) == (["live"], True, "1")
    arn = f"arn:aws:lambda:us-east-1:000000000000:function:{name}:none"
    assert versions["missing"] == modelled(404, "ResourceNotFoundException", f"Cannot find alias arn: {arn}")


def test_a_throttle_says_why_and_when_to_come_back(seen: dict[str, Any]) -> None:
    limits = seen["limits"]
    assert limits["throttled"] == modelled(
        429,
        "TooManyRequestsException",
        "Rate Exceeded.",
        Reason="ReservedFunctionConcurrentInvocationLimitExceeded",
        retryAfterSeconds=limits["throttled"]["retryAfterSeconds"],
    )
    assert int(limits["throttled"]["retryAfterSeconds"]) >= 1
    assert (limits["reserved"], limits["zipped"]) == (0, 52_428_800)
    assert (limits["invalid"]["name"], limits["invalid"]["status"]) == ("InvalidParameterValueException", 400)
    missing = "No Provisioned Concurrency Config found for this function"
    assert limits["unknown"] == modelled(404, "ProvisionedConcurrencyConfigNotFoundException", missing)


def test_permissions_and_tags_are_kept(seen: dict[str, Any]) -> None:
    permissions = seen["permissions"]
    (statement,) = permissions["policy"]["Statement"]
    assert statement["Principal"] == {"Service": "s3.amazonaws.com"}
    assert statement["Condition"] == {"ArnLike": {"AWS:SourceArn": "arn:aws:s3:::pictures"}}
    assert permissions["tags"] == {"b": "2 3"}
    assert permissions["signing"] is None
    assert (permissions["invalid"]["name"], permissions["invalid"]["status"]) == ("ValidationException", 400)


def test_moments_that_are_numbers_become_dates(seen: dict[str, Any]) -> None:
    connections = seen["connections"]
    assert connections["retries"] == [1, True]
    assert connections["listed"] == [True]
    assert connections["mappings"] == [[5, True]]


def test_a_function_url_is_one_and_its_moment_is_text(seen: dict[str, Any]) -> None:
    connections = seen["connections"]
    assert connections["url"]
    assert connections["cors"] == {"AllowOrigins": ["*"], "MaxAge": 5}
    assert datetime.strptime(connections["created"], "%Y-%m-%dT%H:%M:%S.%f%z")


def test_a_layer_is_published_found_by_its_arn_and_deleted(seen: dict[str, Any]) -> None:
    layers = seen["layers"]
    assert (layers["version"], layers["listed"]) == (1, 1)
    assert layers["size"] > 0
    assert layers["gone"]["message"] == "The resource you requested does not exist."


def test_in_the_end_it_is_gone(seen: dict[str, Any]) -> None:
    end = seen["end"]
    assert (end["isListed"], end["status"]) == (True, 204)
    assert (end["gone"]["name"], end["gone"]["status"]) == ("ResourceNotFoundException", 404)
    assert end["answered"] >= OPERATIONS
