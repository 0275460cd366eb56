"""What the kernel tells about running containers: memory in use, out-of-memory kills.

Cheap, because files are opened once and read with pread; and never an error: a container that is gone gives what
was read last. Reading opens at most three descriptors per container, until `forget`.
"""

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from hearth_scheduler.adapters.cgroup_paths import Hierarchies
from hearth_scheduler.ports import Container

_READ_BYTES = 8192
_NUMBER_BYTES = 32
_KIB = 1024


@dataclass(slots=True)
class _Group:
    """What is held open for one container, and what was read. -1: not (yet) open."""

    is_v2: bool
    statistics: int = -1
    kills: int = -1
    process: int = -1
    peak_bytes: int = 0
    oom_kills: int = 0

    def close(self) -> None:
        for descriptor in (self.statistics, self.kills, self.process):
            if descriptor >= 0:
                os.close(descriptor)


class CgroupReadings:
    """Readings of containers by their control groups. Synchronous, one event loop."""

    def __init__(self, hierarchies: Hierarchies, *, proc: Path = Path("/proc")) -> None:
        self._hierarchies = hierarchies
        self._proc = proc
        self._groups: dict[str, _Group] = {}

    def directories(self, container: Container, *controllers: str) -> dict[str, tuple[Path, bool]]:
        """The container's group for each controller and whether it is version 2; empty if the container is gone.

        The path must name the container: the pid of a dead one may belong to a stranger by now.
        """
        try:
            membership = (self._proc / str(container.pid) / "cgroup").read_text()
        except OSError:
            return {}
        found = {name: self._hierarchies.directory(name, membership) for name in controllers}
        return {name: group for name, group in found.items() if group is not None and container.id in str(group[0])}

    def oom_kills(self, container: Container) -> int:
        """Source: memory.oom_control (version 1) and memory.events (version 2): both have a line `oom_kill N`."""
        group = self._group(container)
        if group is None:
            return 0
        text = _read(group.kills)
        group.oom_kills = max(group.oom_kills, _field(text, b"oom_kill "))
        return group.oom_kills

    def memory_used_bytes(self, container: Container) -> int:
        """Anonymous and shared memory of all processes now, the peak resident set of the runtime process, and what
        was read before: the highest of them. Page cache is left out: the kernel takes it back on demand."""
        group = self._group(container)
        if group is None:
            return 0
        text = _read(group.statistics)
        names = (b"anon ", b"shmem ") if group.is_v2 else (b"total_rss ", b"total_shmem ")
        now = sum(_field(text, name) for name in names)
        group.peak_bytes = max(group.peak_bytes, now, _peak_resident_bytes(group, self._proc, container.pid))
        return group.peak_bytes

    def forget(self, container: Container) -> None:
        """Close what is open. Idempotent."""
        group = self._groups.pop(container.id, None)
        if group is not None:
            group.close()

    def _group(self, container: Container) -> _Group | None:
        """The container's open files. A container that was never found is looked for again."""
        group = self._groups.get(container.id)
        if group is None:
            found = self.directories(container, "memory").get("memory")
            if found is None:
                return None
            group = self._groups[container.id] = _opened(*found)
        return group


def _opened(memory: Path, is_v2: bool) -> _Group:
    group = _Group(is_v2)
    group.statistics = _open(memory / "memory.stat")
    group.kills = _open(memory / ("memory.events" if is_v2 else "memory.oom_control"))
    return group


def _peak_resident_bytes(group: _Group, proc: Path, init: int) -> int:
    """VmHWM of the runtime, the init's only child: it sees a peak between two readings, or 0 if it cannot be had."""
    if group.process < 0:
        with suppress(OSError, IndexError):
            child = (proc / f"{init}/task/{init}/children").read_text().split()[0]
            group.process = _open(proc / child / "status")
    return _field(_read(group.process), b"VmHWM:") * _KIB


def _open(path: Path) -> int:
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return -1


def _read(descriptor: int) -> bytes:
    if descriptor < 0:
        return b""
    try:
        return os.pread(descriptor, _READ_BYTES, 0)
    except OSError:  # ENODEV, ESRCH: the group or the process is gone
        return b""


def _field(text: bytes, name: bytes) -> int:
    """The number after the name at the start of a line; 0 if there is none. The name ends with its separator."""
    at = (b"\n" + text).find(b"\n" + name)
    if at < 0:
        return 0
    words = text[at + len(name) : at + len(name) + _NUMBER_BYTES].split(None, 1)
    return int(words[0]) if words and words[0].isdigit() else 0
