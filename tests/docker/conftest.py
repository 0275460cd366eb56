"""The Hearth that most end-to-end tests share: a real daemon, in its own data directory, on its own ports."""

from collections.abc import Iterator

import docker
import pytest
import redis
from tests.docker.house import House, house
from tests.docker.terraform import Provider, provider
from tests.docker.witness import Witness
from tests.docker.witness import witness as listening

from hearth_cli import sweep


@pytest.fixture(scope="session")
def docker_engine() -> Iterator[docker.DockerClient]:
    client = sweep.engine()
    sweep.test_runs()  # what killed runs left behind
    yield client
    client.close()


@pytest.fixture(scope="session")
def hearth(docker_engine: docker.DockerClient, redis_url: str) -> Iterator[House]:
    """A running Hearth. Tests share it, so each makes functions and queues of its own. Its connection `mine` is
    the tests' Redis."""
    # Idle environments go soon, or a hundred functions would leave a hundred containers for the end.
    settings = {"CONNECTIONS": f'{{"mine": "{redis_url}"}}', "IDLE_TIMEOUT_S": "15"}
    with house(docker_engine, settings) as subject:
        yield subject


@pytest.fixture
def witness(hearth: House) -> Iterator[Witness]:
    """Hears what functions of the shared Hearth tell."""
    with listening(hearth.gateway()) as found:
        yield found


@pytest.fixture
def store(hearth: House) -> Iterator["redis.Redis"]:
    """The own Redis of the shared Hearth."""
    with hearth.redis() as found:
        yield found


@pytest.fixture(scope="session")
def terraform_provider(tmp_path_factory: pytest.TempPathFactory) -> Provider:
    return provider(tmp_path_factory.mktemp("terraform"))
