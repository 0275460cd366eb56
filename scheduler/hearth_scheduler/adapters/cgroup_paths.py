"""Where a process's control groups lie in the file system: cgroup v1, v2 and the hybrid of both.

The driver (cgroupfs or systemd) does not matter: the kernel says where a process is. Source: cgroups(7).
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from hearth_scheduler.adapters.mount_table import MountPoint

UNIFIED = ""
"""The controller name under which version 2 appears in /proc/<pid>/cgroup."""


@dataclass(frozen=True, slots=True)
class Hierarchies:
    """The mounted hierarchies, by controller; version 2 as `UNIFIED`."""

    by_controller: dict[str, MountPoint]

    def directory(self, controller: str, membership: str) -> tuple[Path, bool] | None:
        """The directory of the control group that a /proc/<pid>/cgroup text names, and whether it is version 2.

        Where a version 1 hierarchy has the controller, version 2 does not: a controller is in one of them.
        """
        groups = dict(_groups(membership))
        for name in (controller, UNIFIED):
            mount = self.by_controller.get(name)
            if mount is not None and name in groups:
                return _below(mount, groups[name]), name == UNIFIED
        return None


def hierarchies(mounts: Iterable[MountPoint]) -> Hierarchies:
    """Pick the control group hierarchies out of the mount table."""
    found: dict[str, MountPoint] = {}
    for mount in mounts:
        if mount.kind == "cgroup2":
            found[UNIFIED] = mount
        elif mount.kind == "cgroup":
            found.update(dict.fromkeys(mount.options, mount))
    return Hierarchies(found)


def _groups(membership: str) -> Iterator[tuple[str, str]]:
    """`4:memory:/docker/abc` is one controller, `2:cpu,cpuacct:/x` are two, `0::/y` is version 2."""
    for line in membership.splitlines():
        _, controllers, path = line.split(":", 2)
        for controller in controllers.split(","):
            yield controller, path


def _below(mount: MountPoint, group: str) -> Path:
    """A hierarchy may be mounted from a group further down (in a container): that part is left out."""
    path = PurePosixPath(group)
    if path.is_relative_to(mount.root):
        path = path.relative_to(mount.root)
    return mount.path / str(path).lstrip("/")
