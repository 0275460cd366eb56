"""The floor of everything cold: `docker create` and `docker start` of the same image, by the engine's API."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import docker
from tests.bench.subject import RUNTIME

LABEL = "hearth.bench"


def create_and_start(engine: docker.DockerClient, times: int) -> list[float]:
    """Seconds of each, one after the other; removing them is not counted."""
    return [_once(engine) for _ in range(times)]


def _once(engine: docker.DockerClient) -> float:
    began = time.perf_counter()
    container = engine.containers.create(
        f"hearth/{RUNTIME}:latest", entrypoint=["/bin/sleep"], command=["60"], labels={LABEL: "floor"}
    )
    try:
        container.start()
        return time.perf_counter() - began
    finally:
        container.remove(force=True)


@contextmanager
def engine() -> Iterator[docker.DockerClient]:
    """The engine's client, without a client of its own for each call."""
    client = docker.from_env(version="auto", timeout=120)
    try:
        yield client
    finally:
        client.close()
