"""`Containers` on a Docker engine.

Rule 1: containers are built from one fixed template (`docker_template`), never from a caller's options.
Rule 2: a failed or cancelled start leaves nothing behind.
Rule 3: every call has a deadline, the client's timeout; a stalled engine delays, it never hangs.
"""

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any, Literal

import docker
from docker.errors import APIError, DockerException, ImageNotFound, NotFound

from hearth_scheduler.adapters.docker_engine import (
    CONFLICT,
    ClientFactory,
    EngineClients,
    engine_client,
    kill_and_remove,
)
from hearth_scheduler.adapters.docker_network import FunctionNetwork
from hearth_scheduler.adapters.docker_template import ROLE, Template, completed
from hearth_scheduler.adapters.worker_threads import WorkerThreads
from hearth_scheduler.ports import (
    LABEL_ENVIRONMENT,
    LABEL_EPOCH,
    LABEL_INSTANCE,
    LABEL_ROLE,
    LABEL_RUNTIME,
    Container,
    ContainerError,
    ContainerRequest,
    ImageMissing,
)

_REMOVE_ATTEMPTS = 3
_REMOVE_PAUSE_S = 0.2


class DockerContainers:
    """`Containers` on Docker. Each of its few threads has a client of its own; starts never delay removals."""

    def __init__(
        self,
        template: Template,
        *,
        network: Literal["internet", "none"],
        parallel_starts: int = 4,
        client: ClientFactory = engine_client,
    ) -> None:
        self._template = template
        self._network = FunctionNetwork(template.instance) if network == "internet" else None
        self._clients = EngineClients(client)
        self._starting = WorkerThreads("hearth-start", parallel_starts)
        self._working = WorkerThreads("hearth-engine", 4)
        self._pids: dict[str, int] = {}  # only `_listed` writes it; there are no restarts, so a pid never changes

    def __repr__(self) -> str:
        return f"DockerContainers({self._template!r})"

    async def start(self, request: ContainerRequest) -> Container:
        return await self._starting.run(partial(self._start, request), undo=self._undo_start)

    async def remove(self, container_id: str) -> None:
        await self._working.run(partial(self._remove, container_id))

    async def list(self) -> list[Container]:
        return [*await self._working.run(self._listed)]

    async def gateway(self) -> str | None:
        """The host's address as functions see it, on their network, which is there afterwards; None without one."""
        if self._network is None:
            return None
        return await self._working.run(partial(self._find_gateway, self._network))

    async def remove_network(self) -> None:
        """Take the network of functions away, for `hearth down`. Idempotent."""
        if self._network is not None:
            await self._working.run(partial(self._remove_network, self._network))

    def close(self) -> None:
        """Close the connections. Containers live on."""
        self._starting.close()
        self._working.close()
        self._clients.close()

    # Everything below runs in threads.

    def _start(self, request: ContainerRequest) -> Container:
        name = self._template.name(request)
        with self._clients.calling() as api:
            network = self._network.ready(api) if self._network else "none"
            image = {} if request.launch is None else _image_config(api, request.image)
            launch = None if request.launch is None else completed(request.launch, image)
            config = self._template.config(replace(request, launch=launch), network, image.get("Volumes") or ())
            try:
                identity = _create(api, config, name)
                api.start(identity)
                return replace(_running(api.inspect_container(identity)), launch=launch)
            except _NameTaken:  # somebody else's container: not ours to remove
                raise
            except (DockerException, ContainerError, OSError):
                self._clean_up(name)
                raise

    def _clean_up(self, name: str) -> None:
        """After a failed start. By name: when creating timed out, the engine may have made it all the same.

        Should even the removal fail, the failure of the start is what the caller hears; the label lets the next
        sweep find the rest.
        """
        if self._network:
            self._network.doubt()
        with suppress(ContainerError):
            self._remove(name)

    def _undo_start(self, container: Container) -> None:
        self._remove(container.id)

    def _remove(self, container_id: str) -> None:
        with self._clients.calling() as api:
            for attempt in range(_REMOVE_ATTEMPTS):
                try:
                    kill_and_remove(api, container_id)
                    return
                except APIError:
                    if attempt + 1 == _REMOVE_ATTEMPTS:
                        raise
                    time.sleep(_REMOVE_PAUSE_S)  # a filesystem still busy for a moment, mostly

    def _listed(self) -> Sequence[Container]:
        wanted = [f"{LABEL_INSTANCE}={self._template.instance}", f"{LABEL_ROLE}={ROLE}"]
        with self._clients.calling() as api:
            found = api.containers(all=True, filters={"label": wanted})
            containers = [self._container(api, summary) for summary in found]
        self._pids = {container.id: container.pid for container in containers if container.pid}
        return containers

    def _container(self, api: docker.APIClient, summary: Mapping[str, Any]) -> Container:
        labels = summary["Labels"]
        return Container(
            id=summary["Id"],
            environment_id=labels.get(LABEL_ENVIRONMENT, ""),
            pid=self._pid(api, summary["Id"]) if summary["State"] == "running" else 0,
            runtime=labels.get(LABEL_RUNTIME, ""),
            epoch=labels.get(LABEL_EPOCH, ""),
        )

    def _pid(self, api: docker.APIClient, container_id: str) -> int:
        """The engine's list has no pids, so each container is inspected once in its life."""
        if container_id in self._pids:
            return self._pids[container_id]
        try:
            return int(api.inspect_container(container_id)["State"]["Pid"])
        except NotFound:
            return 0

    def _find_gateway(self, network: FunctionNetwork) -> str | None:
        with self._clients.calling() as api:
            return network.gateway(api)

    def _remove_network(self, network: FunctionNetwork) -> None:
        with self._clients.calling() as api:
            network.remove(api)


class _NameTaken(ContainerError):
    """There is a container of this name already."""


def _create(api: docker.APIClient, config: Mapping[str, Any], name: str) -> str:
    try:
        created = api.create_container_from_config(config, name)  # type: ignore[no-untyped-call]  # so in the stubs
    except APIError as problem:
        if problem.status_code == CONFLICT:
            raise _NameTaken(problem.explanation or str(problem)) from problem
        raise
    return str(created["Id"])


def _image_config(api: docker.APIClient, name: str) -> Mapping[str, Any]:
    """What the image says about its containers; nothing, if it says nothing."""
    try:
        inspected: Mapping[str, Any] = api.inspect_image(name)  # type: ignore[no-untyped-call]  # so in the stubs
        return inspected["Config"] or {}
    except ImageNotFound as problem:
        raise ImageMissing(f"the image {name} is not on this host any more") from problem


def _running(inspected: Mapping[str, Any]) -> Container:
    state = inspected["State"]
    if not state["Running"] or not state["Pid"]:
        raise ContainerError(f"the container ended at once, exit code {state['ExitCode']}: {state['Error']}")
    labels = inspected["Config"]["Labels"]
    return Container(
        id=inspected["Id"],
        environment_id=labels[LABEL_ENVIRONMENT],
        pid=state["Pid"],
        runtime=labels[LABEL_RUNTIME],
        epoch=labels[LABEL_EPOCH],
    )
