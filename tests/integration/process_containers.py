"""`Containers` that are processes of this host: process ids, sockets, exits and SIGKILL are real, Docker is not."""

import asyncio
import os
import signal
import subprocess
import sys
from contextlib import suppress
from itertools import count
from pathlib import Path

from hearth_scheduler.ports import Container, ContainerError, ContainerRequest

PROGRAM = Path(__file__).with_name("pretended_container.py")


class ProcessContainers:
    """`failures` are those of the next starts. While `gate` is cleared, starts wait; while `returning` is, the
    container runs, and its start has yet to be reported. While `stubborn` is positive, removals fail and count it down.

    A container with a launch runs a client of the Runtime API; its image is the directory of its code.
    """

    def __init__(self) -> None:
        self.failures: list[str | ContainerError] = []
        self.stubborn = 0
        self.started: list[ContainerRequest] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.returning = asyncio.Event()
        self.returning.set()
        self._running: dict[str, tuple[Container, subprocess.Popen[bytes]]] = {}
        self._numbers = count(1)

    @property
    def running(self) -> list[Container]:
        return [container for container, _ in self._running.values()]

    async def start(self, request: ContainerRequest) -> Container:
        self.started.append(request)
        await self.gate.wait()
        if self.failures:
            failure = self.failures.pop(0)
            raise ContainerError(failure) if isinstance(failure, str) else failure
        places = request.places
        process = subprocess.Popen(  # noqa: ASYNC220 - a fork; nothing is waited for
            [sys.executable, "-I", "-S", str(PROGRAM), str(places.sockets), *_inside(request)],
            env={**request.variables},
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        number = next(self._numbers)
        container = Container(f"c{number}", request.environment_id, process.pid, request.runtime, request.epoch)
        self._running[container.id] = (container, process)
        try:
            await self.returning.wait()
        except asyncio.CancelledError:
            await self.remove(container.id)
            raise
        return container

    async def remove(self, container_id: str) -> None:
        if self.stubborn:
            self.stubborn -= 1
            raise ContainerError("the engine is in a bad mood")
        if container_id in self._running:
            _, process = self._running[container_id]
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await asyncio.to_thread(process.wait)
            self._running.pop(container_id, None)

    async def list(self) -> list[Container]:
        return [self._as_it_is(container, process) for container, process in self._running.values()]

    def _as_it_is(self, container: Container, process: subprocess.Popen[bytes]) -> Container:
        is_over = process.poll() is not None
        pid = 0 if is_over else container.pid
        return Container(container.id, container.environment_id, pid, container.runtime, container.epoch)


def _inside(request: ContainerRequest) -> list[str]:
    """What the program is told: where the code is, and, if it is started for one function, what begins it."""
    launch = request.launch
    if launch is None:
        return [str(request.places.task)]
    if launch.has_code:
        return [str(request.places.task), "bootstrap"]
    return [request.image, (launch.entry_point or ("",))[0]]
