"""The `aws` command from creation to deletion: versions, aliases, layers, permissions, a URL, the log."""

import base64
import json
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from tests.docker.house import PYTHON, ROLE, House, eventually, package, unique

pytestmark = pytest.mark.docker

CODE = """
import of_the_layer
def handler(event, context):
    print('said', event)
    return {'layer': of_the_layer.VALUE, 'version': context.function_version, 'code': NUMBER}
NUMBER = 1
"""
CALLS = 5_000
SHARE = 0.1
CLIENTS = 4


class Command:
    """`aws <service> …` against this Hearth; JSON in, JSON out."""

    def __init__(self, hearth: House) -> None:
        self._hearth = hearth

    def __call__(self, service: str, *arguments: str) -> Any:
        text = self._hearth.command(service, *arguments, "--output", "json", program="aws")
        return json.loads(text) if text.strip() else None


@pytest.fixture
def aws(hearth: House) -> Command:
    return Command(hearth)


def test_the_command_walks_through_the_life_of_a_function(hearth: House, aws: Command, tmp_path: Path) -> None:
    name = unique("walk")
    code, layer, answer = tmp_path / "code.zip", tmp_path / "layer.zip", tmp_path / "answer.json"
    code.write_bytes(package({"app.py": CODE}))
    layer.write_bytes(package({"python/of_the_layer.py": "VALUE = 'of the layer'\n"}))

    published = aws(
        "lambda", "publish-layer-version", "--layer-name", name, "--zip-file", f"fileb://{layer}",
        "--compatible-runtimes", PYTHON,
    )  # fmt: skip
    created = aws(
        "lambda", "create-function", "--function-name", name, "--runtime", PYTHON, "--role", ROLE,
        "--handler", "app.handler", "--zip-file", f"fileb://{code}", "--layers", published["LayerVersionArn"],
    )  # fmt: skip
    assert created["State"] == "Pending"
    aws("lambda", "wait", "function-active-v2", "--function-name", name)

    assert aws("lambda", "publish-version", "--function-name", name)["Version"] == "1"
    aws("lambda", "update-function-configuration", "--function-name", name, "--description", "second")
    aws("lambda", "wait", "function-updated-v2", "--function-name", name)
    assert aws("lambda", "publish-version", "--function-name", name)["Version"] == "2"
    alias = aws(
        "lambda", "create-alias", "--function-name", name, "--name", "live", "--function-version", "1",
        "--routing-config", "AdditionalVersionWeights={2=0.5}",
    )  # fmt: skip
    assert alias["RoutingConfig"] == {"AdditionalVersionWeights": {"2": 0.5}}

    invoked = aws(
        "lambda", "invoke", "--function-name", f"{name}:live", "--log-type", "Tail", "--payload", '"hello"', str(answer)
    )
    assert json.loads(answer.read_text()) == {"layer": "of the layer", "version": invoked["ExecutedVersion"], "code": 1}
    assert "said hello" in base64.b64decode(invoked["LogResult"]).decode()

    permission = ("--statement-id", "bucket", "--action", "lambda:InvokeFunction", "--principal", "s3.amazonaws.com")
    aws("lambda", "add-permission", "--function-name", name, *permission)
    policy = json.loads(aws("lambda", "get-policy", "--function-name", name)["Policy"])
    assert [statement["Sid"] for statement in policy["Statement"]] == ["bucket"]
    aws("lambda", "remove-permission", "--function-name", name, "--statement-id", "bucket")

    url = aws("lambda", "create-function-url-config", "--function-name", name, "--auth-type", "NONE")["FunctionUrl"]
    page = hearth.http("GET", "/", {"Host": url.split("/")[2]})
    assert json.loads(page.body)["layer"] == "of the layer"

    follow = Follower(aws, f"/aws/lambda/{name}")
    eventually(lambda: "said hello" in follow.heard(), "the log of the first call is there")
    aws("lambda", "invoke", "--function-name", name, "--payload", '"again"', str(answer))
    eventually(lambda: "said again" in follow.heard(), "the log of the second call is there")
    assert follow.heard().count("said again") == 1

    aws("lambda", "delete-alias", "--function-name", name, "--name", "live")
    aws("lambda", "delete-function", "--function-name", name)
    aws("lambda", "delete-layer-version", "--layer-name", name, "--version-number", "1")
    assert name not in [one["FunctionName"] for one in aws("lambda", "list-functions")["Functions"]]


class Follower:
    """Follows a log group the way `aws logs tail --follow` of the second aws command does: FilterLogEvents from the
    time of the newest event on, leaving out what was shown already."""

    def __init__(self, aws: Command, group: str) -> None:
        self._aws = aws
        self._group = group
        self._since_ms = 0
        self._shown: set[str] = set()
        self._text = ""

    def heard(self) -> str:
        for event in self._fresh():
            self._shown.add(event["eventId"])
            self._since_ms = max(self._since_ms, event["timestamp"])
            self._text += event["message"]
        return self._text

    def _fresh(self) -> Iterator[dict[str, Any]]:
        answer = self._aws(
            "logs", "filter-log-events", "--log-group-name", self._group, "--start-time", str(self._since_ms)
        )
        yield from (event for event in answer["events"] if event["eventId"] not in self._shown)


def test_a_weight_of_a_tenth_is_a_tenth_of_the_calls(hearth: House) -> None:
    code = "def handler(event, context):\n    return context.function_version\n"
    name = hearth.create("weighted", code, memory_mb=1_769)
    first = hearth.api.publish_version(FunctionName=name)["Version"]
    hearth.replace_code(name, code + "# second\n")
    second = hearth.api.publish_version(FunctionName=name)["Version"]
    weights = {"AdditionalVersionWeights": {second: SHARE}}
    hearth.api.create_alias(FunctionName=name, Name="live", FunctionVersion=first, RoutingConfig=weights)

    def call(_: int) -> tuple[str, str]:
        answer = hearth.api.invoke(FunctionName=name, Qualifier="live", Payload=b"{}")
        return answer["ExecutedVersion"], json.loads(answer["Payload"].read())

    with ThreadPoolExecutor(CLIENTS) as pool:
        seen = Counter(pool.map(call, range(CALLS)))
    assert set(seen) == {(first, first), (second, second)}
    # Five standard deviations of a binomial distribution: chance alone fails this once in two million runs.
    deviation = 5 * (CALLS * SHARE * (1 - SHARE)) ** 0.5
    assert abs(seen[second, second] - CALLS * SHARE) < deviation
