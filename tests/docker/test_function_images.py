"""Functions from container images, and packages on runtimes that ask the Runtime API: real containers, unmodified
clients."""

import io
import tarfile
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import docker
import pytest
from botocore.exceptions import ClientError
from docker.errors import ImageNotFound
from tests.docker.house import PYTHON, ROLE, House, eventually, house, unique

from hearth.adapters.docker_images import DockerImages
from hearth.core.records import ContainerImage
from hearth.ports import ImageUnusable
from hearth_cli.recipes import reference

pytestmark = pytest.mark.docker

APP = """
import os, time
def handler(event, context):
    print("at work in", os.getcwd())
    if "sleep" in event:
        time.sleep(event["sleep"])
    if "error" in event:
        raise ValueError(event["error"])
    if "eat" in event:
        return len(bytes(os.urandom(2**20) * event["eat"]))
    if "exit" in event:
        os._exit(event["exit"])
    return {
        "mark": os.environ["MARK"],
        "stream": os.environ["AWS_LAMBDA_LOG_STREAM_NAME"],
        "variables": sorted(os.environ),
        "user": [os.getuid(), os.getgid()],
        "code": attempt("/var/task/new"),
        "tmp": attempt("/tmp/new"),
        "data": attempt("/data/new"),
        "memory": context.memory_limit_in_mb,
    }
def attempt(path):
    try:
        return open(path, "w").write("x")
    except OSError as error:
        return error.strerror
"""
DOCKERFILE = """
FROM {ground}
USER root
COPY app.py /var/task/app.py
ENV MARK={mark}
RUN mkdir -m 777 /data
VOLUME /data
ENTRYPOINT ["python3", "-m", "awslambdaric"]
CMD ["app.handler"]
"""
BOOTSTRAP = """#!/bin/sh
api=http://$AWS_LAMBDA_RUNTIME_API/2018-06-01/runtime/invocation
while true; do
    event=$(curl -sS --dump-header /tmp/head $api/next)
    id=$(grep -i aws-request-id /tmp/head | tr -d '\\r' | cut -d' ' -f2)
    echo "got $event"
    answer="{\\"event\\":$event,\\"handler\\":\\"$_HANDLER\\",\\"in\\":\\"$PWD\\"}"
    curl -sS -o /dev/null --data "$answer" $api/$id/response
done
"""

Build = Callable[[str, str], str]


def build(engine: docker.DockerClient, files: Mapping[str, str], name: str) -> str:
    """An image of these files, one of which is its Dockerfile; its id."""
    context = io.BytesIO()
    with tarfile.open(fileobj=context, mode="w") as archive:
        for path, content in files.items():
            entry = tarfile.TarInfo(path)
            entry.size = len(content.encode())
            archive.addfile(entry, io.BytesIO(content.encode()))
    context.seek(0)
    image, _ = engine.images.build(fileobj=context, custom_context=True, tag=name, rm=True)
    return str(image.id)


def program(name: str, content: str) -> bytes:
    """A package of one executable file."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        entry = zipfile.ZipInfo(name)
        entry.external_attr = 0o755 << 16
        archive.writestr(entry, content)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def built(docker_engine: docker.DockerClient) -> Iterator[Build]:
    """Builds an image with this mark under this name, whose id is returned. All are removed at the end."""
    ids: list[str] = []

    def make(name: str, mark: str) -> str:
        files = {"Dockerfile": DOCKERFILE.format(ground=reference(PYTHON), mark=mark), "app.py": APP}
        ids.append(build(docker_engine, files, name))
        return ids[-1]

    yield make
    for image_id in ids:
        with suppress(ImageNotFound):
            docker_engine.images.remove(image_id, force=True)


@pytest.fixture(scope="module")
def image(built: Build) -> str:
    """An image that any test may use."""
    name = f"{unique('hearth-test-image')}:one"
    built(name, "one")
    return name


@pytest.fixture
def create(hearth: House) -> Iterator[Callable[..., str]]:
    """Creates functions, and deletes them at the end."""
    made: list[str] = []

    def make(image: str, **settings: Any) -> str:
        name = unique("image")
        needed = {"Timeout": 20, "MemorySize": 256, "Role": ROLE}
        code = {"ImageUri": image}
        hearth.api.create_function(FunctionName=name, PackageType="Image", Code=code, **{**needed, **settings})
        made.append(name)
        hearth.api.get_waiter("function_active_v2").wait(FunctionName=name)
        return name

    yield make
    for name in made:
        with suppress(ClientError):
            hearth.api.delete_function(FunctionName=name)


def containers_of(hearth: House, image_id: str) -> int:
    return sum(each.attrs["Image"] == image_id for each in hearth.containers())


def test_an_unmodified_client_in_an_image_is_a_function(hearth: House, image: str, create: Callable[..., str]) -> None:
    name = create(image)
    shown = hearth.api.get_function(FunctionName=name)
    cold = hearth.invoke(name, {})
    warm = hearth.invoke(name, {})

    assert shown["Code"]["ImageUri"] == image
    assert shown["Configuration"]["PackageType"] == "Image"
    assert cold.error is None
    assert cold.value["mark"] == "one"
    assert cold.value["memory"] == "256"
    assert warm.value["stream"] == cold.value["stream"]
    assert "at work in /var/task" in cold.log
    assert "Init Duration" in cold.log
    assert "INIT_START" not in cold.log


def test_an_image_is_as_confined_as_a_package(hearth: House, image: str, create: Callable[..., str]) -> None:
    value = hearth.invoke(create(image), {}).value

    assert value["user"] == [993, 990]
    assert value["code"] == value["data"] == "Read-only file system"
    assert value["tmp"] == 1
    assert not [variable for variable in value["variables"] if variable.startswith("HEARTH")]


def test_an_error_an_exit_too_much_memory_and_a_timeout_of_an_image_are_those_of_a_function(
    hearth: House, image: str, create: Callable[..., str]
) -> None:
    name = create(image, Timeout=3)

    assert hearth.invoke(name, {"error": "no"}).value["errorType"] == "ValueError"
    assert hearth.invoke(name, {"exit": 3}).value["errorType"] == "Runtime.ExitError"
    assert hearth.invoke(name, {"eat": 400}).value["errorType"] == "Runtime.OutOfMemory"
    slow = hearth.invoke(name, {"sleep": 60})
    assert slow.value["errorMessage"] == f"RequestId: {slow.request_id} Error: Task timed out after 3.00 seconds"
    assert hearth.invoke(name, {}).error is None


def test_three_requests_at_once_run_in_three_containers_which_go_when_nobody_asks(
    hearth: House, built: Build, create: Callable[..., str]
) -> None:
    image = f"{unique('hearth-test-image')}:crowd"
    image_id = built(image, "crowd")
    name = create(image)
    with ThreadPoolExecutor(3) as callers:
        answers = list(callers.map(lambda _: hearth.invoke(name, {"sleep": 2}), range(3)))

    assert len({answer.value["stream"] for answer in answers}) == 3
    assert containers_of(hearth, image_id) == 3
    eventually(lambda: containers_of(hearth, image_id) == 0, "nothing of the image runs any more")
    assert hearth.invoke(name, {}).error is None


def test_a_tag_that_moves_is_taken_up_by_the_next_update_of_the_code(
    hearth: House, built: Build, create: Callable[..., str]
) -> None:
    tag = f"{unique('hearth-test-image')}:latest"
    first = built(tag, "first")
    name = create(tag)
    hearth.invoke(name, {})
    built(tag, "second")

    hearth.api.update_function_configuration(FunctionName=name, Timeout=19)
    hearth.api.get_waiter("function_updated_v2").wait(FunctionName=name)
    assert hearth.invoke(name, {}).value["mark"] == "first"

    hearth.api.update_function_code(FunctionName=name, ImageUri=tag)
    hearth.api.get_waiter("function_updated_v2").wait(FunctionName=name)
    assert hearth.invoke(name, {}).value["mark"] == "second"
    eventually(lambda: containers_of(hearth, first) == 0, "nothing of the first image runs any more")


def test_what_cannot_be_started_is_told_in_lambdas_words(hearth: House, image: str, create: Callable[..., str]) -> None:
    lost = hearth.invoke(create(image, ImageConfig={"EntryPoint": ["/no/such"], "Command": ["a"]}), {})
    homeless = hearth.invoke(create(image, ImageConfig={"WorkingDirectory": "/nowhere"}), {})
    forbidden = hearth.invoke(create(image, ImageConfig={"EntryPoint": ["/var/task/app.py"]}), {})
    silent = hearth.invoke(create(image, ImageConfig={"EntryPoint": ["/bin/true"]}), {})

    said = "fork/exec /no/such: no such file or directory"
    assert lost.value == {
        "errorType": "Runtime.InvalidEntrypoint",
        "errorMessage": f"RequestId: {lost.request_id} Error: {said}",
    }
    assert f"IMAGE\tLaunch error: {said}\tEntry Point: [/no/such]\tCmd: [a]\tWorkingDir: [/var/task]\n" in lost.log
    assert homeless.value["errorType"] == "Runtime.InvalidWorkingDir"
    assert "chdir /nowhere: no such file or directory" in homeless.log
    assert "permission denied" in forbidden.value["errorMessage"]
    assert silent.value["errorType"] == "Runtime.ExitError"


def test_an_image_function_outlives_a_killed_daemon_and_leaves_no_container_behind(
    docker_engine: docker.DockerClient, image: str
) -> None:
    with house(docker_engine, {"STEM_CELLS": "{}"}) as subject:
        name = unique("image")
        subject.api.create_function(FunctionName=name, PackageType="Image", Role=ROLE, Code={"ImageUri": image})
        subject.settled(name)
        subject.invoke(name, {})

        subject.kill()
        subject.up()

        assert subject.invoke(name, {}).error is None
        # Whether the client gave up with the daemon, or asked the next one, is its own affair.
        eventually(lambda: len(subject.containers()) == 1, "only one container of the function is left")
        assert subject.invoke(name, {}).error is None


def test_a_deleted_function_leaves_its_image_and_no_container(
    hearth: House, built: Build, create: Callable[..., str], docker_engine: docker.DockerClient
) -> None:
    image = f"{unique('hearth-test-image')}:kept"
    image_id = built(image, "kept")
    name = create(image)
    hearth.invoke(name, {})

    hearth.api.delete_function(FunctionName=name)

    eventually(lambda: containers_of(hearth, image_id) == 0, "the function's container is gone")
    assert docker_engine.images.get(image_id)


def test_an_image_that_somebody_deleted_is_named_to_the_caller_at_once(
    hearth: House, built: Build, create: Callable[..., str], docker_engine: docker.DockerClient
) -> None:
    image = f"{unique('hearth-test-image')}:lost"
    image_id = built(image, "lost")
    name = create(image)
    docker_engine.images.remove(image_id, force=True)
    began = time.monotonic()

    with pytest.raises(ClientError) as refused:
        hearth.invoke(name, {})

    assert image_id in refused.value.response["Error"]["Message"]
    assert time.monotonic() - began < 20, "nobody should have waited for what cannot come"


def test_an_image_that_is_nowhere_makes_the_function_failed_with_the_engines_reason(hearth: House) -> None:
    name, image = unique("image"), f"localhost:1/{unique('nowhere')}:1"
    hearth.api.create_function(FunctionName=name, PackageType="Image", Role=ROLE, Code={"ImageUri": image})

    def state() -> dict[str, Any]:
        shown: dict[str, Any] = hearth.api.get_function_configuration(FunctionName=name)
        return shown

    eventually(lambda: state()["State"] != "Pending", "the pull has ended")
    shown = state()
    hearth.api.delete_function(FunctionName=name)

    assert (shown["State"], shown["StateReasonCode"]) == ("Failed", "ImageAccessDenied")
    assert image in shown["StateReason"]


def test_a_package_that_brings_its_own_runtime_runs_as_a_shell_script(hearth: House) -> None:
    name = unique("own-runtime")
    hearth.api.create_function(
        FunctionName=name,
        Runtime="provided.al2023",
        Handler="some.thing",
        Role=ROLE,
        Timeout=20,
        Code={"ZipFile": program("bootstrap", BOOTSTRAP)},
    )
    hearth.api.get_waiter("function_active_v2").wait(FunctionName=name)
    first, second = hearth.invoke(name, {"a": 1}), hearth.invoke(name, {"a": 2})
    hearth.api.delete_function(FunctionName=name)

    assert first.value == {"event": {"a": 1}, "handler": "some.thing", "in": "/var/task"}
    assert second.value["event"] == {"a": 2}
    assert 'got {"a": 1}' in first.log
    assert "Init Duration" in first.log
    assert "Init Duration" not in second.log


async def test_images_are_found_by_name_and_meant_by_content(built: Build) -> None:
    name = f"{unique('hearth-test-image')}:found"
    image_id = built(name, "found")
    images = DockerImages("x86_64")

    found = await images.find(name)
    assert found == ContainerImage(name, image_id, image_id.removeprefix("sha256:"))
    assert await images.ensure(found) == found
    assert await images.ensure(ContainerImage(name, "", "")) == found
    assert await images.find(f"{name}-other") == ContainerImage(f"{name}-other", "", "")
    with pytest.raises(ImageUnusable):
        await images.find("No/Such:Name:At:All")
    with pytest.raises(ImageUnusable) as foreign:
        await DockerImages("arm64").ensure(found)
    assert foreign.value.reason.code == "InvalidImage"
