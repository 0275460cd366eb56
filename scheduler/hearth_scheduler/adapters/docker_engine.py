"""The connection to a Docker engine: short control calls with a deadline, one kind of error.

No event stream, no log stream: nothing long-lived may occupy these connections.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import docker
from docker.errors import APIError, DockerException, NotFound
from docker.utils import kwargs_from_env

from hearth_scheduler.ports import ContainerError

CONFLICT = 409
_REMOVE_TIMEOUT_S = 30

ClientFactory = Callable[[], docker.APIClient]


def engine_client(timeout_s: int = 30) -> docker.APIClient:
    """A client of the engine that DOCKER_HOST (or the default socket) names."""
    return docker.APIClient(version="auto", timeout=timeout_s, **kwargs_from_env())


class EngineClients:
    """One client per thread: requests' sessions do not promise to be safe to share."""

    def __init__(self, factory: ClientFactory) -> None:
        self._factory = factory
        self._mine = threading.local()
        self._all: list[docker.APIClient] = []

    @contextmanager
    def calling(self) -> Iterator[docker.APIClient]:
        """This thread's client; whatever goes wrong inside leaves as ContainerError."""
        try:
            yield self._client()
        except APIError as problem:
            raise ContainerError(problem.explanation or str(problem)) from problem
        except (DockerException, OSError) as problem:  # OSError: requests' own, timeouts included
            raise ContainerError(str(problem)) from problem

    def _client(self) -> docker.APIClient:
        client: docker.APIClient | None = getattr(self._mine, "client", None)
        if client is None:
            client = self._mine.client = self._factory()
            self._all.append(client)
        return client

    def close(self) -> None:
        for client in self._all:
            client.close()


def kill_and_remove(api: docker.APIClient, container_id: str) -> None:
    """Removing by force kills first, and returns when the container is gone; 409 means somebody is at it already."""
    try:
        api.remove_container(container_id, force=True, v=True)
    except NotFound:
        pass
    except APIError as problem:
        if problem.status_code != CONFLICT:
            raise
        with suppress(NotFound):
            api.wait(container_id, timeout=_REMOVE_TIMEOUT_S, condition="removed")
