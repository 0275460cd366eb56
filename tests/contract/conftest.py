"""What contract tests of the scheduler's ports need: an engine, an image, an instance name swept afterwards."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import docker
import pytest

from hearth_scheduler.adapters import environment_places
from hearth_scheduler.adapters.docker_engine import engine_client, kill_and_remove
from hearth_scheduler.adapters.docker_network import FunctionNetwork
from hearth_scheduler.ports import LABEL_INSTANCE, ContainerRequest, Places

IMAGE = "hearth/python3.13:latest"

Execute = Callable[..., tuple[int, str]]


@pytest.fixture(scope="session")
def engine() -> Iterator[docker.APIClient]:
    """A client of the tests' own, to look at the engine behind the adapter's back."""
    client = engine_client()
    yield client
    client.close()


@pytest.fixture(scope="session")
def image(engine: docker.APIClient) -> str:
    if not engine.images(IMAGE):
        pytest.fail(f"the image {IMAGE} is missing: run `hearth images build`")
    return IMAGE


@pytest.fixture
def instance(engine: docker.APIClient) -> Iterator[str]:
    """The name of an instance of this test alone; its containers and its network are swept."""
    name = f"test-{os.getpid()}"
    yield name
    left = engine.containers(all=True, filters={"label": f"{LABEL_INSTANCE}={name}"})
    for container in left:
        kill_and_remove(engine, container["Id"])
    FunctionNetwork(name).remove(engine)


@pytest.fixture
def execute(engine: docker.APIClient) -> Execute:
    """Run a command in a container; its exit code and output."""

    def run(container_id: str, *command: str, user: str = "") -> tuple[int, str]:
        created = engine.exec_create(container_id, list(command), user=user)
        output = engine.exec_start(created["Id"])
        return engine.exec_inspect(created["Id"])["ExitCode"], output.decode()

    return run


@pytest.fixture
def init(tmp_path: Path) -> Path:
    """A file to be bound where the init goes; these tests run other commands."""
    path = tmp_path / "init"
    path.write_bytes(b"")
    return path


@pytest.fixture
def make_places(tmp_path: Path) -> Callable[[str], Places]:
    """Places as plain directories, for tests that are about something else."""

    def make(environment_id: str) -> Places:
        places = environment_places.lay_out(tmp_path / "places", environment_id)
        places.root.mkdir(parents=True)
        environment_places.make_directories(places)
        return places

    return make


MakeRequest = Callable[..., ContainerRequest]


@pytest.fixture
def make_request(make_places: Callable[[str], Places]) -> MakeRequest:
    """Requests for a container that sleeps."""

    def make(
        environment_id: str = "one",
        *,
        image: str = IMAGE,
        command: tuple[str, ...] = ("/bin/sleep", "600"),
        places: Places | None = None,
        memory_mib: int = 128,
        cpus: float | None = None,
    ) -> ContainerRequest:
        return ContainerRequest(
            environment_id=environment_id,
            image=image,
            command=command,
            places=places or make_places(environment_id),
            epoch="epoch-1",
            runtime="python3.13",
            memory_mib=memory_mib,
            cpus=cpus,
            variables={"GREETING": "hello world"},
        )

    return make
