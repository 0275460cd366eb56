"""One suite for every `Containers`, then what only a real engine can show."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import docker
import pytest

from hearth_scheduler.adapters.docker_containers import DockerContainers
from hearth_scheduler.adapters.docker_template import BindMode, Template
from hearth_scheduler.ports import Container, ContainerError, ContainerRequest, Containers, ImageMissing, Launch, Places
from hearth_scheduler.testing import FakeContainers

Execute = Callable[..., tuple[int, str]]
MakeRequest = Callable[..., ContainerRequest]


@dataclass(frozen=True, slots=True)
class Rig:
    """The containers under test, and how to make the world behind them misbehave."""

    containers: Containers
    die: Callable[[str], None]
    break_next: Callable[[], None]


@pytest.fixture(params=["fake", pytest.param("docker", marks=pytest.mark.docker)])
def rig(request: pytest.FixtureRequest) -> Rig:
    made: Rig = request.getfixturevalue(f"{request.param}_rig")
    return made


@pytest.fixture
def fake_rig() -> Rig:
    fake = FakeContainers()
    return Rig(fake, fake.die, lambda: fake.fail_next("no such image"))


class BreakableClient(docker.APIClient):
    """A real client whose next start of a container fails, after the container was created."""

    is_broken = False

    def start(self, *arguments: Any, **options: Any) -> None:
        if BreakableClient.is_broken:
            BreakableClient.is_broken = False
            raise docker.errors.DockerException("broken by the test")
        super().start(*arguments, **options)


@pytest.fixture
async def real(instance: str, init: Path, image: str) -> AsyncIterator[DockerContainers]:
    containers = DockerContainers(
        Template(instance, init, BindMode.LINK),
        network="none",
        client=lambda: BreakableClient(version="auto", timeout=30),
    )
    yield containers
    containers.close()


@pytest.fixture
def docker_rig(real: DockerContainers, engine: docker.APIClient) -> Rig:
    def die(container_id: str) -> None:
        engine.kill(container_id)
        engine.wait(container_id)

    return Rig(real, die, lambda: setattr(BreakableClient, "is_broken", True))


async def test_a_started_container_is_listed_as_it_was_returned(rig: Rig, make_request: MakeRequest) -> None:
    started = await rig.containers.start(make_request("one"))

    assert started.environment_id == "one"
    assert started.pid > 0
    assert (started.runtime, started.epoch) == ("python3.13", "epoch-1")
    assert await rig.containers.list() == [started]
    assert await rig.containers.list() == [started]


async def test_a_removed_container_is_gone(rig: Rig, make_request: MakeRequest) -> None:
    started = await rig.containers.start(make_request())
    await rig.containers.remove(started.id)
    assert await rig.containers.list() == []


async def test_removing_what_is_gone_is_success(rig: Rig, make_request: MakeRequest) -> None:
    started = await rig.containers.start(make_request())
    await rig.containers.remove(started.id)
    await rig.containers.remove(started.id)
    await rig.containers.remove("0" * 64)


async def test_removing_one_container_many_times_at_once_is_success(rig: Rig, make_request: MakeRequest) -> None:
    started = await rig.containers.start(make_request())
    await asyncio.gather(*(rig.containers.remove(started.id) for _ in range(4)))
    assert await rig.containers.list() == []


async def test_containers_start_and_go_in_parallel(rig: Rig, make_request: MakeRequest) -> None:
    requests = [make_request(f"environment-{number}") for number in range(3)]
    started = await asyncio.gather(*map(rig.containers.start, requests))
    assert {each.environment_id for each in await rig.containers.list()} == {r.environment_id for r in requests}
    await asyncio.gather(*(rig.containers.remove(each.id) for each in started))
    assert await rig.containers.list() == []


async def test_a_dead_container_is_listed_without_a_pid(rig: Rig, make_request: MakeRequest) -> None:
    started = await rig.containers.start(make_request())
    await rig.containers.list()
    rig.die(started.id)
    (listed,) = await rig.containers.list()
    assert (listed.id, listed.pid) == (started.id, 0)


async def test_a_failed_start_leaves_nothing(rig: Rig, make_request: MakeRequest) -> None:
    rig.break_next()
    with pytest.raises(ContainerError):
        await rig.containers.start(make_request())
    assert await rig.containers.list() == []


async def test_a_second_container_of_one_environment_is_refused(rig: Rig, make_request: MakeRequest) -> None:
    request = make_request()
    first = await rig.containers.start(request)
    with pytest.raises(ContainerError):
        await rig.containers.start(request)
    assert await rig.containers.list() == [first]


async def test_a_start_cancelled_while_the_gate_is_closed_leaves_nothing(make_request: MakeRequest) -> None:
    fake = FakeContainers()
    fake.gate.clear()
    starting = asyncio.ensure_future(fake.start(make_request()))
    await asyncio.sleep(0)
    starting.cancel()
    with suppress(asyncio.CancelledError):
        await starting
    assert await fake.list() == []


class TellingClient(docker.APIClient):
    """A real client that tells when it has just done a step of starting a container."""

    on_step: Callable[[str], None] = staticmethod(lambda step: None)

    def create_container_from_config(self, *arguments: Any, **options: Any) -> Any:
        created = super().create_container_from_config(*arguments, **options)  # type: ignore[no-untyped-call]
        TellingClient.on_step("created")
        return created

    def start(self, *arguments: Any, **options: Any) -> None:
        super().start(*arguments, **options)
        TellingClient.on_step("started")


@pytest.mark.docker
@pytest.mark.parametrize("step", ["created", "started"])
async def test_a_start_cancelled_half_way_leaves_nothing(
    step: str, instance: str, init: Path, image: str, make_request: MakeRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    template = Template(instance, init, BindMode.LINK)
    containers = DockerContainers(template, network="none", client=lambda: TellingClient(version="auto", timeout=30))
    reached, loop = asyncio.Event(), asyncio.get_running_loop()

    def tell(done: str) -> None:
        if done == step:
            loop.call_soon_threadsafe(reached.set)

    monkeypatch.setattr(TellingClient, "on_step", staticmethod(tell))
    starting = asyncio.ensure_future(containers.start(make_request()))
    await reached.wait()

    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting

    assert await containers.list() == []
    containers.close()


@pytest.mark.docker
async def test_a_container_that_ends_at_once_is_an_error(real: DockerContainers, make_request: MakeRequest) -> None:
    with pytest.raises(ContainerError):
        await real.start(make_request(command=("/no/such/program",)))
    assert await real.list() == []


@pytest.mark.docker
async def test_a_missing_image_is_an_error_in_the_engines_words(
    real: DockerContainers, make_request: MakeRequest
) -> None:
    with pytest.raises(ContainerError, match="No such image"):
        await real.start(make_request(image="hearth/none-such:latest"))


@pytest.mark.docker
async def test_the_template_hardens_every_container(
    real: DockerContainers, make_request: MakeRequest, execute: Execute
) -> None:
    container = await real.start(make_request())

    assert execute(container.id, "id", "-u")[1].strip() == "993"
    assert execute(container.id, "id", "-G")[1].strip() == "990"
    assert execute(container.id, "sh", "-c", "ulimit -n")[1].strip() == "1024"
    assert "Read-only" in execute(container.id, "touch", "/here", user="0")[1]
    assert "Read-only" in execute(container.id, "touch", "/var/task/here", user="0")[1]
    assert execute(container.id, "touch", "/tmp/here")[0] == 0
    assert execute(container.id, "sh", "-c", "echo $GREETING")[1].strip() == "hello world"
    status = _status(container.pid)
    assert status["NoNewPrivs"] == "1"
    assert status["CapBnd"] == "0" * 16
    assert status["Seccomp"] == "2"


def _status(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return dict(line.split(":\t", 1) for line in lines if ":\t" in line)


@pytest.mark.docker
async def test_the_limits_of_the_template_reach_the_engine(
    real: DockerContainers, engine: docker.APIClient, make_request: MakeRequest
) -> None:
    container = await real.start(make_request())
    inspected = engine.inspect_container(container.id)["HostConfig"]
    assert inspected["PidsLimit"] == 1024
    assert inspected["Memory"] == inspected["MemorySwap"] == 128 * 2**20
    assert inspected["LogConfig"]["Type"] == "none"
    assert inspected["RestartPolicy"]["Name"] in ("", "no")


@pytest.mark.docker
async def test_without_a_network_there_is_only_the_loopback(
    real: DockerContainers, make_request: MakeRequest, execute: Execute
) -> None:
    container = await real.start(make_request())
    assert execute(container.id, "ls", "/sys/class/net")[1].split() == ["lo"]


_LISTEN = "import http.server as h; h.HTTPServer(('', 8000), h.SimpleHTTPRequestHandler).serve_forever()"
_CONNECT = "import socket, sys; socket.create_connection((sys.argv[1], 8000), timeout=2)"
_PYTHON = "/usr/bin/python3.13"


@pytest.mark.docker
async def test_functions_cannot_reach_each_other(
    instance: str,
    init: Path,
    image: str,
    engine: docker.APIClient,
    make_request: MakeRequest,
    execute: Execute,
) -> None:
    containers = DockerContainers(Template(instance, init, BindMode.LINK), network="internet")
    server = await containers.start(make_request("server", command=(_PYTHON, "-c", _LISTEN)))
    client = await containers.start(make_request("client"))
    networks = engine.inspect_container(server.id)["NetworkSettings"]["Networks"]
    address = networks[f"hearth-{instance}"]["IPAddress"]
    engine.exec_start(  # until it listens
        engine.exec_create(server.id, ["sh", "-c", f'until {_PYTHON} -c "{_CONNECT}" 127.0.0.1; do sleep 0.05; done'])[
            "Id"
        ]
    )

    assert execute(server.id, _PYTHON, "-c", _CONNECT, address)[0] == 0
    code, output = execute(client.id, _PYTHON, "-c", _CONNECT, address)

    assert code == 1, "one function reached another"
    assert "TimeoutError" in output or "OSError" in output

    await containers.remove(server.id)
    await containers.remove(client.id)
    await containers.remove_network()
    await containers.remove_network()
    assert engine.networks(names=[f"hearth-{instance}"]) == []
    containers.close()


@pytest.mark.docker
async def test_a_network_that_somebody_removed_is_made_again(
    instance: str, init: Path, image: str, engine: docker.APIClient, make_request: MakeRequest
) -> None:
    containers = DockerContainers(Template(instance, init, BindMode.LINK), network="internet")
    first = await containers.start(make_request("first"))
    await containers.remove(first.id)
    engine.remove_network(f"hearth-{instance}")

    with pytest.raises(ContainerError):
        await containers.start(make_request("second"))
    third = await containers.start(make_request("third"))

    assert [each.id for each in await containers.list()] == [third.id]
    containers.close()


@pytest.mark.docker
async def test_a_foreign_network_of_our_name_is_refused(
    instance: str, init: Path, image: str, engine: docker.APIClient, make_request: MakeRequest
) -> None:
    foreign = engine.create_network(f"hearth-{instance}")["Id"]
    containers = DockerContainers(Template(instance, init, BindMode.LINK), network="internet")
    try:
        with pytest.raises(ContainerError, match="not one Hearth made"):
            await containers.start(make_request())
    finally:
        engine.remove_network(foreign)
        containers.close()


async def test_an_engine_that_never_answers_is_an_error_in_the_end(
    tmp_path: Path, init: Path, make_places: Callable[[str], Places], make_request: MakeRequest
) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "engine.sock"))
        listener.listen(8)
        containers = DockerContainers(
            Template("stalled", init, BindMode.LINK),
            network="none",
            client=lambda: docker.APIClient(f"unix://{tmp_path}/engine.sock", version="1.41", timeout=1),
        )
        with pytest.raises(ContainerError, match="timed out"):
            await containers.start(make_request())
        with pytest.raises(ContainerError, match="timed out"):
            await containers.remove("0" * 64)
        containers.close()


def test_a_container_shows_what_it_is() -> None:
    assert "environment_id='one'" in repr(Container("id", "one", 1))


SLEEPER = ("/bin/sh", "-c", "sleep 600; :")
"""What it is told as an init is told it does not read."""


@pytest.mark.docker
async def test_what_a_launch_leaves_to_the_image_is_taken_from_it(
    real: DockerContainers, make_request: MakeRequest, engine: docker.APIClient
) -> None:
    asked = Launch(("/run",), None, None, has_code=False)

    started = await real.start(replace(make_request("one", command=SLEEPER), launch=asked))

    assert started.launch is not None
    assert started.launch.entry_point == ("/run",)
    assert started.launch.directory == "/var/task"
    told = engine.inspect_container(started.id)["Args"]
    assert told == [*SLEEPER[1:], "-C", "/var/task", "/run", *(started.launch.command or ())]


@pytest.mark.docker
async def test_an_image_that_is_not_there_is_told_apart_from_an_engine_that_fails(
    real: DockerContainers, make_request: MakeRequest
) -> None:
    absent = make_request("one", image="sha256:" + "0" * 64)

    with pytest.raises(ImageMissing):
        await real.start(replace(absent, launch=Launch(None, None, None, has_code=False)))

    assert await real.list() == []
