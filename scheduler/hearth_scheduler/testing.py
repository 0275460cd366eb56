"""Fakes of the scheduler's ports. They pass the same contract suites as the real adapters (tests/contract)."""

import asyncio
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from hearth_scheduler.adapters import environment_places
from hearth_scheduler.ports import Container, ContainerError, ContainerRequest, Places


class FakeContainers:
    """Containers in memory.

    `requests` has every request in order. `fail_next` makes the next start fail. While `gate` is cleared, starts
    wait. `on_start` is called with each started container: a test lets a pretended init connect there. `die` lets
    a container stop by itself: it stays in the list, with pid 0, until it is removed.
    """

    def __init__(self) -> None:
        self.requests: list[ContainerRequest] = []
        self.removed: list[str] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.on_start: Callable[[ContainerRequest, Container], None] = lambda request, container: None
        self._failures: list[str] = []
        self._containers: dict[str, Container] = {}
        self._numbers = count(1)

    def fail_next(self, message: str) -> None:
        """The next start raises ContainerError with this message."""
        self._failures.append(message)

    def die(self, container_id: str) -> None:
        """The container's processes are gone."""
        was = self._containers[container_id]
        self._containers[container_id] = Container(was.id, was.environment_id, 0, was.runtime, was.epoch)

    async def start(self, request: ContainerRequest) -> Container:
        self.requests.append(request)
        await self.gate.wait()
        if self._failures:
            raise ContainerError(self._failures.pop(0))
        if any(each.environment_id == request.environment_id for each in self._containers.values()):
            raise ContainerError(f"the name of {request.environment_id} is taken")
        container = self._add(request)
        self.on_start(request, container)
        return container

    def _add(self, request: ContainerRequest) -> Container:
        number = next(self._numbers)
        container = Container(
            id=f"container-{number}",
            environment_id=request.environment_id,
            pid=100_000 + number,
            runtime=request.runtime,
            epoch=request.epoch,
        )
        self._containers[container.id] = container
        return container

    async def remove(self, container_id: str) -> None:
        if self._containers.pop(container_id, None) is not None:
            self.removed.append(container_id)

    async def list(self) -> list[Container]:
        return [*self._containers.values()]


class FakeSlots:
    """Places as ordinary directories; code is copied in. `attached` tells what was attached where."""

    def __init__(self, run: Path) -> None:
        self.attached: dict[str, tuple[Path | None, int]] = {}
        self._environments = environment_places.environments_directory(run)

    def places(self, environment_id: str) -> Places:
        return environment_places.lay_out(self._environments, environment_id)

    async def prepare(self, environment_id: str) -> Places:
        places = self.places(environment_id)
        places.root.mkdir(parents=True)
        environment_places.make_directories(places)
        return places

    async def attach(self, places: Places, *, code: Path | None, tmp_mib: int, opt: Path | None = None) -> None:
        if code is not None:
            shutil.copytree(code, places.task, symlinks=True, dirs_exist_ok=True)
        if opt is not None:
            shutil.copytree(opt, places.opt, symlinks=True, dirs_exist_ok=True)
        self.attached[places.root.name] = (code, tmp_mib)

    async def release(self, environment_id: str) -> None:
        self.attached.pop(environment_id, None)
        shutil.rmtree(self.places(environment_id).root, ignore_errors=True)

    async def leftovers(self) -> list[str]:
        return sorted(environment_places.environment_ids(self._environments))


@dataclass(slots=True)
class FakeReading:
    """What the fake kernel says about one container; tests set it."""

    memory_mib: int | None = None
    cpus: float | None = None
    oom_kills: int = 0
    used_bytes: int = 0


@dataclass(slots=True)
class FakeLimits:
    """Limits in memory. `readings[container id]` is what was applied and what will be read."""

    readings: dict[str, FakeReading] = field(default_factory=dict)
    _peaks: dict[str, int] = field(default_factory=dict)

    def reading(self, container: Container) -> FakeReading:
        return self.readings.setdefault(container.id, FakeReading())

    async def apply(self, container: Container, *, memory_mib: int, cpus: float | None) -> None:
        reading = self.reading(container)
        reading.memory_mib, reading.cpus = memory_mib, cpus

    def oom_kills(self, container: Container) -> int:
        return self.reading(container).oom_kills

    def memory_used_bytes(self, container: Container) -> int:
        used = max(self.reading(container).used_bytes, self._peaks.get(container.id, 0))
        self._peaks[container.id] = used
        return used

    def forget(self, container: Container) -> None:
        self.readings.pop(container.id, None)
        self._peaks.pop(container.id, None)
