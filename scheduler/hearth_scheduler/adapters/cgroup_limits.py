"""`Limits` by writing control group files: 0.1 ms, where the engine's own update takes 20 ms.

Needs write access to the hierarchies. Sources: the kernel's documentation of cgroup v1 memory and CFS bandwidth
control, and of cgroup v2.
"""

import errno
import os
from pathlib import Path

from hearth_scheduler.adapters.cgroup_paths import Hierarchies
from hearth_scheduler.adapters.cgroup_readings import CgroupReadings
from hearth_scheduler.adapters.docker_template import CPU_PERIOD_US
from hearth_scheduler.ports import Container, ContainerError

_MIN_QUOTA_US = 1000  # the kernel refuses less than 1 ms
_GONE = frozenset({errno.ENOENT, errno.ENODEV})


class CgroupLimits(CgroupReadings):
    """Limits and readings. A container that is gone is not an error: its death is told elsewhere."""

    def __init__(self, hierarchies: Hierarchies, *, proc: Path = Path("/proc")) -> None:
        super().__init__(hierarchies, proc=proc)
        self._known: dict[str, dict[str, tuple[Path, bool]]] = {}

    async def apply(self, container: Container, *, memory_mib: int, cpus: float | None) -> None:
        """Two or three short writes, so not worth a thread. Lowering below what is in use would make the kernel
        reclaim inside the write; a stem cell uses far less than the smallest function may. Raises ContainerError
        if the kernel refuses."""
        # A process that is being killed has left its groups already by its own account (version 1), and yet its
        # children are limited by them while they die.
        groups = self.directories(container, "memory", "cpu") or self._known.get(container.id, {})
        if groups:
            self._known[container.id] = groups
        try:
            if "memory" in groups:
                _limit_memory(*groups["memory"], memory_mib * 2**20)
            if "cpu" in groups:
                _limit_cpu(*groups["cpu"], quota_us(cpus))
        except OSError as problem:
            if problem.errno not in _GONE:
                raise ContainerError(f"limits of {container.environment_id}: {problem}") from problem

    def forget(self, container: Container) -> None:
        super().forget(container)
        self._known.pop(container.id, None)


def quota_us(cpus: float | None) -> int | None:
    """CPU time per period; None lifts the quota."""
    return None if cpus is None else max(_MIN_QUOTA_US, int(cpus * CPU_PERIOD_US))


def _limit_memory(group: Path, is_v2: bool, limit: int) -> None:
    if is_v2:
        _write(group / "memory.swap.max", "0", may_lack=True)
        _write(group / "memory.max", str(limit))
        return
    _limit_memory_v1(group, limit)


def _limit_memory_v1(group: Path, limit: int) -> None:
    """Memory and swap together (memsw) may never be below memory alone, not even between two writes: raising begins
    with memsw, lowering with memory. Without swap accounting there is no memsw."""
    memory, both = group / "memory.limit_in_bytes", group / "memory.memsw.limit_in_bytes"
    if limit > int(memory.read_text()):
        _write(both, str(limit), may_lack=True)
        _write(memory, str(limit))
    else:
        _write(memory, str(limit))
        _write(both, str(limit), may_lack=True)


def _limit_cpu(group: Path, is_v2: bool, quota: int | None) -> None:
    if is_v2:
        _write(group / "cpu.max", f"{'max' if quota is None else quota} {CPU_PERIOD_US}")
        return
    # The period is not written: it is 100 ms by the template, as by the kernel's default.
    _write(group / "cpu.cfs_quota_us", str(-1 if quota is None else quota))


def _write(path: Path, text: str, *, may_lack: bool = False) -> None:
    """Without O_CREAT: in a control group no file can be made."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_TRUNC | os.O_CLOEXEC)
    except FileNotFoundError:
        if may_lack:
            return
        raise
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)
