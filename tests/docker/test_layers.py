"""Layers in real containers: whose file wins, what is found where, and what happens to those who use a layer that goes.

Everything runs twice: with code that is mounted into containers, and with code that is linked into them.
"""

import io
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import docker
import pytest
from tests.docker.house import NODE, House, house, package, unique

pytestmark = pytest.mark.docker

PYTHON_HANDLER = """
import json, os, pathlib, subprocess
import first, both, deep

def handler(event, context):
    return {
        "both": both.WHO,
        "deep": deep.WHO,
        "first": first.WHO,
        "data": pathlib.Path("/opt/data").read_text(),
        "tool": subprocess.run(["tool"], capture_output=True, text=True, check=True).stdout.strip(),
        "library": os.path.exists("/opt/lib/note"),
        "wrapped": os.environ.get("WRAPPED"),
        "writable": os.access("/opt/data", os.W_OK),
    }
"""

NODE_HANDLER = """
const first = require("first");
const both = require("both");
exports.handler = async () => ({ first: first.who, both: both.who });
"""

BARE = """
import importlib.util, os

def handler(event, context):
    return {"layers": sorted(os.listdir("/opt")), "both": importlib.util.find_spec("both") is not None}
"""

FIRST = {
    "python/first.py": "WHO = 'first'",
    "python/both.py": "WHO = 'first'",
    "python/lib/python3.13/site-packages/deep.py": "WHO = 'first'",
    "nodejs/node_modules/first/index.js": "exports.who = 'first'",
    "nodejs/node_modules/both/index.js": "exports.who = 'first'",
    "lib/note": "",
    "data/of/the/first": "a directory where the other has a file",
}
SECOND = {
    "python/both.py": "WHO = 'second'",
    "nodejs/node_modules/both/index.js": "exports.who = 'second'",
    "data": "a file",
}
PROGRAMS = {
    "bin/tool": "#!/bin/sh\necho from a layer\n",
    "wrapper": '#!/bin/sh\nexport WRAPPED=yes\nexec "$@"\n',
}


@pytest.fixture(scope="module")
def linking(docker_engine: docker.DockerClient) -> Iterator[House]:
    settings = {"COLD_START_MODE": "link", "STEM_CELLS": '{"python3.13": 1, "nodejs20.x": 1}'}
    with house(docker_engine, settings) as subject:
        yield subject


@pytest.fixture(params=["hearth", "linking"])
def subject(request: pytest.FixtureRequest) -> House:
    found: House = request.getfixturevalue(request.param)
    return found


def archive(files: Mapping[str, str], programs: Mapping[str, str] | None = None) -> bytes:
    """A layer, its programs executable."""
    out = io.BytesIO(package(files))
    with zipfile.ZipFile(out, "a") as opened:
        for name, content in (programs or {}).items():
            info = zipfile.ZipInfo(name)
            info.external_attr = 0o755 << 16
            opened.writestr(info, content)
    return out.getvalue()


def published(subject: House, files: Mapping[str, str], programs: Mapping[str, str] | None = None) -> str:
    """A new layer of its own; the ARN of its version."""
    content = {"ZipFile": archive(files, programs)}
    return str(subject.api.publish_layer_version(LayerName=unique("layer"), Content=content)["LayerVersionArn"])


def test_python_finds_modules_data_and_programs_of_its_layers_the_later_one_winning(subject: House) -> None:
    layers = [published(subject, FIRST, PROGRAMS), published(subject, SECOND)]
    name = subject.create("python-layers", PYTHON_HANDLER, Layers=layers)

    expected = {
        "first": "first",
        "both": "second",
        "deep": "first",
        "data": "a file",
        "tool": "from a layer",
        "library": True,
        "wrapped": None,
        "writable": False,
    }
    assert subject.invoke(name).value == expected

    variables = {"AWS_LAMBDA_EXEC_WRAPPER": "/opt/wrapper"}
    subject.api.update_function_configuration(FunctionName=name, Environment={"Variables": variables})
    subject.settled(name)
    assert subject.invoke(name).value == {**expected, "wrapped": "yes"}


def test_node_finds_modules_of_its_layers_the_later_one_winning(subject: House) -> None:
    first, second = published(subject, FIRST), published(subject, SECOND)
    name = subject.create("node-layers", NODE_HANDLER, runtime=NODE, Layers=[first, second])
    assert subject.invoke(name).value == {"first": "first", "both": "second"}

    subject.api.update_function_configuration(FunctionName=name, Layers=[second, first])
    subject.settled(name)
    assert subject.invoke(name).value == {"first": "first", "both": "first"}


def test_layers_can_be_taken_away_and_a_deleted_one_stays_with_those_who_have_it(subject: House) -> None:
    layers = [published(subject, FIRST), published(subject, SECOND)]
    name = subject.create("leaving-layers", BARE, Layers=layers)
    for arn in layers:
        layer, _, number = arn.rpartition(":")
        subject.api.delete_layer_version(LayerName=layer, VersionNumber=int(number))

    subject.replace_code(name, BARE + "\n")
    shown = subject.invoke(name).value
    assert shown == {"layers": ["data", "lib", "nodejs", "python"], "both": True}

    answer = subject.api.update_function_configuration(FunctionName=name, Layers=[])
    subject.settled(name)
    assert "Layers" not in answer
    assert subject.invoke(name).value == {"layers": ["lib"], "both": False}
    with pytest.raises(subject.api.exceptions.InvalidParameterValueException, match="does not exist"):
        subject.api.update_function_configuration(FunctionName=name, Layers=layers)


def test_layers_survive_the_death_of_the_daemon(docker_engine: docker.DockerClient) -> None:
    with house(docker_engine, {"STEM_CELLS": '{"python3.13": 1}'}) as subject:
        layers = [published(subject, FIRST, PROGRAMS), published(subject, SECOND)]
        name = subject.create("surviving-layers", PYTHON_HANDLER, Layers=layers)
        subject.kill()
        subject.up()

        assert subject.invoke(name).value["both"] == "second"
        layer, _, _ = layers[0].rpartition(":")
        versions = subject.api.list_layer_versions(LayerName=layer)["LayerVersions"]
        assert [version["LayerVersionArn"] for version in versions] == layers[:1]


def test_the_command_line_publishes_and_downloads_a_layer(hearth: House, tmp_path: Path) -> None:
    file = tmp_path / "layer.zip"
    file.write_bytes(archive(SECOND))
    name = unique("cli")
    made = hearth.aws("publish-layer-version", "--layer-name", name, "--zip-file", f"fileb://{file}")
    shown = hearth.aws("get-layer-version", "--layer-name", name, "--version-number", str(made["Version"]))
    location = shown["Content"]["Location"].split(str(hearth.port), 1)[1]

    assert hearth.http("GET", location).body == file.read_bytes()
    hearth.aws("delete-layer-version", "--layer-name", name, "--version-number", "1")
    assert hearth.aws("list-layer-versions", "--layer-name", name) == {"LayerVersions": []}
