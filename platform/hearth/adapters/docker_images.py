"""`ContainerImages` on a Docker engine: what is there, and what has to be pulled.

Rule 1: nothing here deletes an image; they are the operator's.
Rule 2: a pull is bounded: in time, and by how long the engine may say nothing.
"""

import asyncio
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal

import docker
from docker.errors import APIError, DockerException, ImageNotFound
from docker.utils import kwargs_from_env

from hearth.core.container_images import FoundImage, deleted, missing, problem, repository, resolved, tag
from hearth.core.records import ContainerImage, Reason
from hearth.ports import ImageUnusable

_CALL_S = 30
_SILENCE_S = 30
_PULL_LIMIT_S = 1800.0
_PARALLEL_PULLS = 2

Freshness = Literal["missing", "always"]


class DockerImages:
    """Credentials are those of the operator's own Docker configuration, credential helpers included."""

    def __init__(self, architecture: str, freshness: Freshness = "missing") -> None:
        self._architecture = architecture
        self._freshness = freshness
        self._pulls = asyncio.Semaphore(_PARALLEL_PULLS)
        self._closing = threading.Event()

    async def find(self, uri: str) -> ContainerImage:
        """See `ContainerImages`."""
        if self._freshness == "missing":
            found = await asyncio.to_thread(self._look, uri)
            if found is not None:
                return resolved(uri, found)
        return ContainerImage(uri, "", "")

    async def ensure(self, image: ContainerImage) -> ContainerImage:
        """See `ContainerImages`."""
        name = image.resolved or (image.uri if self._freshness == "missing" else "")
        found = await asyncio.to_thread(self._look, name) if name else None
        if found is None and (not image.resolved or "@" in image.resolved):
            async with self._pulls:
                found = await asyncio.to_thread(self._pull, image.resolved or image.uri)
        if found is None:
            raise ImageUnusable(deleted(image))
        wrong = problem(image.uri, found, self._architecture)
        if wrong is not None:
            raise ImageUnusable(wrong)
        return image if image.resolved else resolved(image.uri, found)

    def close(self) -> None:
        """End pulls under way, at the engine's next word."""
        self._closing.set()

    # Everything below runs in threads.

    def _look(self, name: str) -> FoundImage | None:
        with _engine(name, _CALL_S) as api:
            try:
                return _found(api.inspect_image(name))  # type: ignore[no-untyped-call]  # so in the stubs
            except ImageNotFound:
                return None

    def _pull(self, name: str) -> FoundImage | None:
        with _engine(name, _SILENCE_S) as api:
            digest = name.partition("@")[2]
            self._follow(name, api.pull(repository(name), tag=digest or tag(name), stream=True, decode=True))
        return self._look(name)

    def _follow(self, name: str, events: Iterable[Mapping[str, Any]]) -> None:
        """Wait for the end of a pull. Raises ImageUnusable in the engine's words."""
        give_up_at = time.monotonic() + _PULL_LIMIT_S
        for event in events:
            if "error" in event:
                raise ImageUnusable(missing(name, str(event["error"])))
            if self._closing.is_set() or time.monotonic() > give_up_at:
                raise ImageUnusable(Reason("InternalError", f"Pulling {name} did not come to an end."))


def _found(inspected: Mapping[str, Any]) -> FoundImage:
    return FoundImage(
        id=inspected["Id"],
        digests=inspected.get("RepoDigests") or (),
        system=inspected["Os"],
        architecture=inspected["Architecture"],
        size=inspected["Size"],
    )


@contextmanager
def _engine(name: str, timeout_s: int) -> Iterator[docker.APIClient]:
    """A connection for one question about an image; whatever goes wrong leaves as ImageUnusable."""
    api: docker.APIClient | None = None
    try:
        api = docker.APIClient(version="auto", timeout=timeout_s, **kwargs_from_env())
        yield api
    except APIError as error:
        raise ImageUnusable(missing(name, error.explanation or str(error))) from error
    except (DockerException, OSError) as error:  # OSError: requests' own, timeouts included
        raise ImageUnusable(missing(name, str(error))) from error
    finally:
        if api is not None:
            api.close()
