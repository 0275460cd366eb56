"""Finding a container's control groups, whatever the version and the driver."""

from pathlib import Path

from hearth_scheduler.adapters.cgroup_paths import hierarchies
from hearth_scheduler.adapters.mount_table import parse_mounts

_V1 = """\
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
"""
_V2 = "41 31 0:38 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate\n"
_HYBRID = _V1 + "41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"


def directory(table: str, controller: str, membership: str) -> tuple[Path, bool] | None:
    return hierarchies(parse_mounts(table)).directory(controller, membership)


def test_version_1_has_a_directory_per_controller() -> None:
    membership = "4:memory:/docker/abc\n1:cpu,cpuacct:/docker/abc\n"
    assert directory(_V1, "memory", membership) == (Path("/sys/fs/cgroup/memory/docker/abc"), False)
    assert directory(_V1, "cpu", membership) == (Path("/sys/fs/cgroup/cpu,cpuacct/docker/abc"), False)


def test_the_systemd_driver_is_just_another_path() -> None:
    membership = "4:memory:/system.slice/docker-abc.scope\n"
    found = directory(_V1, "memory", membership)
    assert found == (Path("/sys/fs/cgroup/memory/system.slice/docker-abc.scope"), False)


def test_version_2_has_one_directory_for_all() -> None:
    membership = "0::/system.slice/docker-abc.scope\n"
    wanted = (Path("/sys/fs/cgroup/system.slice/docker-abc.scope"), True)
    assert directory(_V2, "memory", membership) == wanted
    assert directory(_V2, "cpu", membership) == wanted


def test_in_a_hybrid_version_1_has_the_controllers() -> None:
    membership = "4:memory:/docker/abc\n0::/docker/abc\n"
    assert directory(_HYBRID, "memory", membership) == (Path("/sys/fs/cgroup/memory/docker/abc"), False)


def test_a_hierarchy_mounted_from_further_down_is_followed() -> None:
    table = "35 31 0:32 /docker /cgroups/memory rw - cgroup cgroup rw,memory\n"
    found = directory(table, "memory", "4:memory:/docker/abc\n")
    assert found == (Path("/cgroups/memory/abc"), False)


def test_a_controller_that_is_not_mounted_is_not_found() -> None:
    assert directory(_V1, "pids", "4:memory:/docker/abc\n") is None
    assert directory("", "memory", "0::/docker/abc\n") is None
