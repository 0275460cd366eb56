"""What happens when an engine fails at the worst moment; the engine here is scripted."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import docker
import pytest
from docker.errors import APIError
from requests import ConnectionError as NoConnection
from requests import ReadTimeout, Response

from hearth_scheduler.adapters import docker_containers
from hearth_scheduler.adapters.docker_containers import DockerContainers
from hearth_scheduler.adapters.docker_network import FunctionNetwork
from hearth_scheduler.adapters.docker_template import BindMode, Template
from hearth_scheduler.adapters.environment_places import lay_out
from hearth_scheduler.ports import ContainerError, ContainerRequest

_REQUEST = ContainerRequest(
    "one", "image", ("/hearth/init",), lay_out(Path("/run"), "one"), "e", "python3.13", 128, None
)


def answer(status: int, explanation: str) -> APIError:
    response = Response()
    response.status_code = status
    return APIError(explanation, response=response, explanation=explanation)


class ScriptedEngine:
    """Every call is noted; a call with failures left raises the next of them, any other succeeds."""

    def __init__(self, **failures: list[Exception]) -> None:
        self.calls: list[tuple[str, Any]] = []
        self.failures = failures
        self.inspected: dict[str, Any] = {"State": {"Running": True, "Pid": 7}, "Id": "id"}
        self.network: list[dict[str, Any]] = []

    def _called(self, name: str, about: Any) -> None:
        self.calls.append((name, about))
        if self.failures.get(name):
            raise self.failures[name].pop(0)

    def names(self) -> list[str]:
        return [name for name, _ in self.calls]

    def create_container_from_config(self, config: dict[str, Any], name: str) -> dict[str, str]:
        self._called("create", name)
        self.inspected["Config"] = {"Labels": config["Labels"]}
        return {"Id": "id"}

    def start(self, container: str) -> None:
        self._called("start", container)

    def inspect_container(self, container: str) -> dict[str, Any]:
        self._called("inspect", container)
        return self.inspected

    def remove_container(self, container: str, *, force: bool, v: bool) -> None:
        assert force
        assert v
        self._called("remove", container)

    def wait(self, container: str, *, timeout: int, condition: str) -> None:
        assert condition == "removed"
        self._called("wait", container)

    def networks(self, names: list[str]) -> list[dict[str, Any]]:
        return self.network

    def close(self) -> None: ...


def containers(engine: ScriptedEngine) -> DockerContainers:
    factory = cast(Callable[[], docker.APIClient], lambda: engine)
    return DockerContainers(Template("main", Path("/init"), BindMode.LINK), network="none", client=factory)


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(docker_containers, "_REMOVE_PAUSE_S", 0)


async def test_a_create_that_timed_out_is_removed_by_name() -> None:
    """The engine may have made it all the same; nobody knows its id."""
    engine = ScriptedEngine(create=[ReadTimeout("timed out")])
    with pytest.raises(ContainerError, match="timed out"):
        await containers(engine).start(_REQUEST)
    assert engine.calls[-1] == ("remove", "hearth-main-one")


async def test_a_name_that_was_taken_is_not_removed() -> None:
    engine = ScriptedEngine(create=[answer(409, "the name is in use")])
    with pytest.raises(ContainerError, match="in use"):
        await containers(engine).start(_REQUEST)
    assert engine.names() == ["create"]


async def test_a_conflict_at_the_start_itself_is_cleaned_up() -> None:
    engine = ScriptedEngine(start=[answer(409, "marked for removal")])
    with pytest.raises(ContainerError, match="marked for removal"):
        await containers(engine).start(_REQUEST)
    assert engine.names() == ["create", "start", "remove"]


async def test_a_clean_up_that_fails_too_does_not_hide_why_the_start_failed() -> None:
    engine = ScriptedEngine(start=[answer(500, "no space left")], remove=[NoConnection("engine gone")])
    with pytest.raises(ContainerError, match="no space left"):
        await containers(engine).start(_REQUEST)


async def test_a_container_that_has_ended_already_is_an_error() -> None:
    engine = ScriptedEngine()
    engine.inspected["State"] = {"Running": False, "Pid": 0, "ExitCode": 127, "Error": "no such file"}
    with pytest.raises(ContainerError, match="exit code 127"):
        await containers(engine).start(_REQUEST)
    assert engine.names()[-1] == "remove"


async def test_a_removal_under_way_is_waited_for() -> None:
    engine = ScriptedEngine(remove=[answer(409, "removal is already in progress")])
    await containers(engine).remove("id")
    assert engine.names() == ["remove", "wait"]


async def test_a_busy_filesystem_is_tried_again() -> None:
    engine = ScriptedEngine(remove=[answer(500, "device or resource busy")] * 2)
    await containers(engine).remove("id")
    assert engine.names() == ["remove"] * 3


async def test_a_container_that_cannot_be_removed_is_an_error_in_the_end() -> None:
    engine = ScriptedEngine(remove=[answer(500, "device or resource busy")] * 9)
    with pytest.raises(ContainerError, match="busy"):
        await containers(engine).remove("id")


async def test_an_engine_that_is_not_there_is_a_container_error() -> None:
    def no_engine() -> docker.APIClient:
        raise docker.errors.DockerException("is the engine running?")

    away = DockerContainers(Template("main", Path("/init"), BindMode.LINK), network="none", client=no_engine)
    with pytest.raises(ContainerError, match="is the engine running"):
        await away.list()
    away.close()


def test_a_network_whose_name_only_contains_ours_is_not_ours() -> None:
    engine = ScriptedEngine()
    engine.network = [{"Name": "hearth-main-2", "Id": "x", "Labels": {}, "Options": {}}]
    FunctionNetwork("main").remove(cast(docker.APIClient, engine))
    assert engine.names() == []
