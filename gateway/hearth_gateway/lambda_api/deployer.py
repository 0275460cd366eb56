"""Brings deployments about: a version is Pending or InProgress exactly as long as its package is not ready to run.

Rule 1: what a record says is enough to go on from; after a crash `resume` drives every unfinished one to its end.
Rule 2: a change that came in between wins; a task that finds another deployment than the one it prepared steps back.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Self

import structlog

from hearth.core.errors import HearthError, ServiceError
from hearth.core.function import FunctionName
from hearth.core.records import SETTLING, ContainerImage, Deployment, FunctionRecord, Reason, VersionRecord
from hearth.packages import CodePackages
from hearth.ports import ContainerImages, ImageUnusable
from hearth.registry import Registry

PARALLEL_UNPACKS = 2
"""Unpacking is bound by processor and disk; more at once would only take them from running functions."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """What came of preparing a version: its image by content, if it has one, or the problem that it has."""

    image: ContainerImage | None = None
    problem: Reason | None = None


Ends = Sequence[tuple[VersionRecord, Prepared]]
"""Versions as they were when they were prepared."""

FIRST_RETRY_S = 0.1
LAST_RETRY_S = 10.0

LOOK_AGAIN_S = 10.0
"""How long packages that somebody else than a function still needed are left alone, at least."""


class Deployer:
    """The tasks that make packages ready. An async context manager: leaving it abandons what is unfinished, which
    the next start resumes."""

    def __init__(
        self, registry: Registry, packages: CodePackages, images: ContainerImages, new_id: Callable[[], str]
    ) -> None:
        self._registry = registry
        self._packages = packages
        self._images = images
        self._new_id = new_id
        self._group = asyncio.TaskGroup()
        self._kept: set[str] = set()
        self._look_again_at = 0.0
        self._running: set[asyncio.Task[None]] = set()
        self._places = asyncio.Semaphore(PARALLEL_UNPACKS)

    async def __aenter__(self) -> Self:
        await self._group.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._running:
            task.cancel()
        await self._group.__aexit__(None, None, None)

    async def resume(self) -> None:
        """Take up what a crash interrupted, make again the trees that are missing, drop what nobody needs."""
        await self.collect()
        missing = await asyncio.to_thread(self._packages.without_tree, self._registry.packages())
        for record in self._registry:
            everything = (record.latest, *record.versions.values())
            unready = [version for version in everything if version.phase in SETTLING or version.packages & missing]
            if unready:
                self.settle(record, *unready)

    def settle(self, record: FunctionRecord, *versions: VersionRecord) -> None:
        """Make the deployments of these versions ready and say so in the record; returns at once."""
        once = tuple({version.version: version for version in versions}.values())
        task = self._group.create_task(self._settle(record, once), name=f"deploy {record.name}")
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def idle(self) -> None:
        """Wait until nothing is under way."""
        while self._running:
            await asyncio.wait(self._running)

    async def collect_released(self) -> None:
        """Delete packages that no function needs any more, if there are any. What others still need, as running
        environments do, is tried again with the next ones, but not with each deployment: looking costs a little."""
        released, now = self._registry.released(), asyncio.get_running_loop().time()
        if not released and (not self._kept or now < self._look_again_at):
            return
        await self.collect()
        suspects = self._kept | released
        self._kept = {name for name in suspects if self._packages.holds(name) and not self._registry.needs(name)}
        self._look_again_at = now + LOOK_AGAIN_S

    async def collect(self) -> None:
        """Delete packages that nobody needs. That it fails is no reason to fail anything else."""
        try:
            await self._packages.collect(self._registry.packages)
        except OSError as error:
            structlog.get_logger().warning("packages not collected", error=str(error))

    async def _settle(self, record: FunctionRecord, versions: tuple[VersionRecord, ...]) -> None:
        try:
            ends = [(version, await self._prepare(record, version)) for version in versions]
            settled = [(version, prepared) for version, prepared in ends if version.phase in SETTLING]
            if settled:
                await self._conclude(record, settled)
        except Exception:
            structlog.get_logger().exception("deployment failed", function=record.name)

    async def _prepare(self, record: FunctionRecord, version: VersionRecord) -> Prepared:
        """Unpack what the version wants to run, or have its image here."""
        serving = version.serving
        wanted = version.deployment if version.phase in SETTLING or serving is None else serving
        if wanted.image is None:
            return Prepared(problem=await self._unpack(record, wanted))
        try:
            return Prepared(await self._images.ensure(wanted.image))
        except ImageUnusable as error:
            return Prepared(problem=error.reason)

    async def _unpack(self, record: FunctionRecord, wanted: Deployment) -> Reason | None:
        """The reason if that is impossible."""
        try:
            async with self._places:
                for sha256 in wanted.packages:
                    await self._packages.unpack(sha256)
                await self._packages.merge(wanted.layers)
        except HearthError as error:
            return Reason("InvalidZipFileException", error.message)
        except OSError as error:
            structlog.get_logger().error("package not unpacked", function=record.name, error=str(error))
            return Reason("InternalError", "The package could not be unpacked.")
        return None

    async def _conclude(self, record: FunctionRecord, ends: Ends) -> None:
        """Record the end of the deployment, however long the store is away."""
        delay_s = FIRST_RETRY_S
        while True:
            try:
                await self._write_ends(record.name, ends)
            except ServiceError as error:
                structlog.get_logger().warning("deployment not recorded yet", function=record.name, error=str(error))
                await asyncio.sleep(delay_s)
                delay_s = min(2 * delay_s, LAST_RETRY_S)
            else:
                break
        await self.collect_released()

    async def _write_ends(self, name: FunctionName, ends: Ends) -> None:
        async with self._registry.writing(name) as before:
            record = before
            for version, prepared in ends:
                record = None if record is None else self._ended(record, version, prepared)
            if record is not None and record is not before:
                await self._registry.put(record, is_reproducible=True)

    def _ended(self, record: FunctionRecord, version: VersionRecord, prepared: Prepared) -> FunctionRecord:
        current = record.find(version.version)
        if current is None or current.revision_id != version.revision_id:
            return record
        if prepared.problem is not None:
            return record.with_version(current.broken(prepared.problem, self._new_id()))
        return record.with_version(current.ready(self._new_id(), prepared.image))
