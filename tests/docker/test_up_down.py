"""`hearth up` and `hearth down` for real: the whole house, in a data directory and on ports of its own."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker
import pytest
import redis

from hearth_cli import sweep
from hearth_cli.background import running_pid
from hearth_cli.locations import DataDir
from hearth_scheduler.ports import LABEL_INSTANCE, LABEL_ROLE

pytestmark = pytest.mark.docker

_EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "hello"


@dataclass(frozen=True)
class House:
    """One Hearth, run by its command."""

    place: DataDir
    variables: Mapping[str, str]
    client: docker.DockerClient

    @property
    def instance(self) -> str:
        return self.variables["HEARTH_INSTANCE"]

    def run(self, *arguments: str, **variables: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [Path(sys.executable).parent / "hearth", *arguments],
            capture_output=True,
            text=True,
            timeout=200,
            check=False,
            env={**self.variables, **variables},
            cwd=self.place.root.parent,
        )

    def ok(self, *arguments: str) -> str:
        """Its standard output; the test fails with its words if it failed."""
        done = self.run(*arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def up(self) -> dict[str, Any]:
        state: dict[str, Any] = json.loads(self.ok("up", "--json"))
        return state

    def containers(self, role: str | None = None) -> list[Any]:
        labels = [f"{LABEL_INSTANCE}={self.instance}", *([f"{LABEL_ROLE}={role}"] if role else [])]
        found: list[Any] = self.client.containers.list(all=True, filters={"label": labels}, ignore_removed=True)
        return found

    def kill_daemon(self) -> None:
        pid = running_pid(self.place)
        assert pid
        handle = os.pidfd_open(pid)
        signal.pidfd_send_signal(handle, signal.SIGKILL)
        os.close(handle)

    def leftovers(self) -> list[str]:
        """Whatever of it can still be found on this machine."""
        root = str(self.place.root)
        networks = self.client.networks.list(filters={"label": f"{LABEL_INSTANCE}={self.instance}"})
        run = self.place.run.iterdir() if self.place.run.exists() else iter(())
        return [
            *(f"container {each.name}" for each in self.containers()),
            *(f"network {each.name}" for each in networks),
            *(f"mount {each}" for each in sweep.mounts_below(self.place.root)),
            *(f"loop device of {each}" for each in _backing_files() if each.startswith(root)),
            *(f"process {each}" for each in _processes_of(root)),
            *(f"file {each}" for each in run if each.name not in ("lock", "turn")),
        ]


def _backing_files() -> Iterator[str]:
    for path in Path("/sys/block").glob("loop*/loop/backing_file"):
        try:
            yield path.read_text().strip()
        except OSError:
            continue  # detached meanwhile


def _processes_of(root: str) -> Iterator[int]:
    """Processes with our data directory in their environment."""
    wanted = f"HEARTH_DATA_DIR={root}".encode()
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            if wanted in path.read_bytes().split(b"\0"):
                yield int(path.parent.name)
        except OSError:
            continue  # gone meanwhile, or not ours to read


def _free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


@pytest.fixture(scope="module")
def house() -> Iterator[House]:
    """A house that the tests of this module share; each brings it into the state that it needs.

    Instance and directory are named such that `hearth_cli.sweep` finds them should this process be killed.
    """
    folder = Path(tempfile.mkdtemp(prefix=f"hearth-test-{os.getpid()}."))
    port, redis_port = _free_ports(2)
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("HEARTH_", "AWS_"))}
    variables = {
        "HEARTH_DATA_DIR": str(folder / "data"),
        "HEARTH_INSTANCE": f"test-{os.getpid()}-up",
        "HEARTH_PORT": str(port),
        "HEARTH_REDIS_PORT": str(redis_port),
        "HEARTH_STEM_CELLS": '{"python3.13": 1}',
    }
    client = docker.from_env()
    house = House(DataDir(folder / "data"), {**inherited, **variables}, client)
    yield house
    house.run("down", "--purge")
    client.close()
    shutil.rmtree(folder)


def _answer(house: House, name: str = "world") -> str:
    return str(json.loads(house.ok("invoke", "hello", json.dumps({"name": name})))["message"])


def test_the_main_job_is_shown_over_http_and_through_a_list(house: House) -> None:
    house.up()
    shown = json.loads(house.ok("hello", str(_EXAMPLE), "--json"))
    assert json.loads(shown["http_answer"])["message"] == "Hello, world, from a warm container!"
    assert f"Hello, {shown['message']}, from a warm container!" in shown["queue_answer"]
    assert shown["report"].startswith("REPORT RequestId: ")
    assert set(shown["http_time_ms"]) == {"queue", "start", "init", "handler", "overhead"}


def test_a_second_up_finds_it_running(house: House) -> None:
    assert house.up()["pid"] == house.up()["pid"]
    assert "running already" in house.run("up").stderr


def test_what_is_deployed_survives_down_and_up_and_down_leaves_nothing(house: House) -> None:
    house.up()
    house.ok("deploy", str(_EXAMPLE))
    house.ok("down")
    assert house.leftovers() == []
    house.up()
    assert _answer(house) == "Hello, world, from a warm container!"


def test_a_killed_daemon_is_followed_by_one_that_knows_everything(house: House) -> None:
    before = house.up()
    house.ok("deploy", str(_EXAMPLE))
    house.kill_daemon()
    assert house.run("status").returncode == 1
    assert house.up()["pid"] != before["pid"]
    assert _answer(house) == "Hello, world, from a warm container!"


def test_after_the_death_of_everything_up_starts_anew(house: House) -> None:
    house.up()
    house.ok("deploy", str(_EXAMPLE))
    house.kill_daemon()
    for container in house.containers():
        container.remove(force=True)
    house.up()
    assert _answer(house) == "Hello, world, from a warm container!"


def test_after_the_death_of_the_daemon_down_leaves_nothing(house: House) -> None:
    house.up()
    house.ok("deploy", str(_EXAMPLE))
    _answer(house)
    house.kill_daemon()
    assert house.leftovers() != []
    house.ok("down")
    assert house.leftovers() == []


def test_down_is_content_with_nothing_to_do(house: House) -> None:
    house.ok("down")
    house.ok("down")
    assert house.leftovers() == []


def test_purge_leaves_no_data_either(house: House) -> None:
    house.up()
    house.ok("down", "--purge")
    assert not house.place.root.exists()
    assert house.leftovers() == []


def test_hearths_redis_asks_for_its_password_and_keeps_everything(house: House) -> None:
    house.up()
    url = json.loads(house.ok("env", "--json"))["HEARTH_REDIS_URL"]
    with redis.Redis.from_url(url, decode_responses=True) as store:
        assert store.config_get("appendonly")["appendonly"] == "yes"
        assert store.config_get("bind")["bind"] == "127.0.0.1"
        assert store.config_get("maxmemory-policy")["maxmemory-policy"] == "noeviction"
    with (
        redis.Redis(port=int(house.variables["HEARTH_REDIS_PORT"])) as stranger,
        pytest.raises(redis.AuthenticationError),
    ):
        stranger.ping()


def test_hearths_redis_is_locked_in(house: House) -> None:
    house.up()
    (container,) = house.containers("redis")
    host = container.attrs["HostConfig"]
    assert host["CapDrop"] == ["ALL"]
    assert host["ReadonlyRootfs"]
    assert "no-new-privileges" in host["SecurityOpt"]
    assert not container.attrs["Config"]["User"].startswith("0")
    password = (house.place.keys / "redis-password").read_text().strip()
    assert password not in json.dumps(container.attrs)


def test_another_hearth_cannot_take_over_the_instance(house: House) -> None:
    house.up()
    elsewhere = house.place.root.parent / "elsewhere"
    done = house.run("up", HEARTH_DATA_DIR=str(elsewhere))
    assert done.returncode == 1
    assert f"belongs to {house.place.root}" in done.stderr
    assert house.run("down", HEARTH_DATA_DIR=str(elsewhere)).returncode == 1
    assert house.run("status").returncode == 0


def test_a_taken_port_is_said_in_a_sentence(house: House) -> None:
    house.ok("down")
    with socket.create_server(("127.0.0.1", int(house.variables["HEARTH_PORT"]))):
        done = house.run("up")
    assert done.returncode == 1
    assert "Address already in use" in done.stderr
    assert "Traceback" not in done.stderr
