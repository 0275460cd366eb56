"""What tests at every level share: a real Redis, one per session, in a container of Hearth's own image."""

import asyncio
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import docker
import pytest
import uvloop
from testcontainers.core.config import testcontainers_config
from testcontainers.core.container import DockerContainer
from testcontainers.core.wait_strategies import LogMessageWaitStrategy

REDIS_IMAGE = "hearth/redis:latest"
REDIS_PORT = 6379
START_TIMEOUT_S = 60

OWNER_LABEL = "hearth.test.owner"
"""The process id of the session that made a container."""

# The library's own reaper needs an image that may not be there; the sweep below does its job.
testcontainers_config.ryuk_disabled = True


def _sweep() -> None:
    """Remove the containers of sessions that are gone, and of this one; those of a session that runs are its own."""
    client = docker.from_env()
    try:
        for container in client.containers.list(all=True, filters={"label": OWNER_LABEL}, ignore_removed=True):
            owner = container.labels[OWNER_LABEL]
            if owner == str(os.getpid()) or not Path("/proc", owner).exists():
                container.remove(force=True, v=True)
    finally:
        client.close()


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Tests run on the loop that the daemon runs on: uvloop differs from asyncio's own in more than speed."""
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    """The URL of a real Redis with an append-only file."""
    _sweep()
    container = (
        DockerContainer(REDIS_IMAGE)
        .with_exposed_ports(REDIS_PORT)
        .with_kwargs(labels={OWNER_LABEL: str(os.getpid())})
        # Not once a second: tests that wait for the disk would wait for the clock.
        .with_command("--appendfsync always")
        .waiting_for(LogMessageWaitStrategy("Ready to accept connections").with_startup_timeout(START_TIMEOUT_S))
    )
    try:
        container.start()
        host = container.get_container_host_ip()
        yield f"redis://{host}:{container.get_exposed_port(REDIS_PORT)}"
    finally:
        _sweep()
