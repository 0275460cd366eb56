"""Control group files on a pretended kernel: version 2, and the order of writes in version 1."""

import errno
from pathlib import Path

import pytest

from hearth_scheduler.adapters import cgroup_limits
from hearth_scheduler.adapters.cgroup_limits import CgroupLimits, quota_us
from hearth_scheduler.adapters.cgroup_paths import UNIFIED, Hierarchies
from hearth_scheduler.adapters.mount_table import MountPoint
from hearth_scheduler.ports import Container, ContainerError

_ID = "c" * 64
_CONTAINER = Container(_ID, "one", pid=70)
_MIB = 2**20


def kernel(tmp_path: Path, files: dict[str, str], *, is_v2: bool) -> tuple[CgroupLimits, Path]:
    """A kernel where the container's group has these files and its init (70) has one child (71)."""
    group = tmp_path / "cgroup" / "docker" / _ID
    group.mkdir(parents=True)
    for name, content in files.items():
        (group / name).write_text(content)
    children = tmp_path / "proc/70/task/70/children"
    children.parent.mkdir(parents=True)
    children.write_text("71 ")
    path = f"/docker/{_ID}"
    membership = f"0::{path}\n" if is_v2 else f"4:memory:{path}\n1:cpu:{path}\n"
    (tmp_path / "proc/70/cgroup").write_text(membership)
    (tmp_path / "proc/71").mkdir()
    (tmp_path / "proc/71/status").write_text("Name:\tpython\nVmPeak:\t999999 kB\nVmHWM:\t  1024 kB\n")
    names = (UNIFIED,) if is_v2 else ("memory", "cpu")
    mount = MountPoint(tmp_path / "cgroup", "/", "cgroup", frozenset(), is_shared=False)
    return CgroupLimits(Hierarchies(dict.fromkeys(names, mount)), proc=tmp_path / "proc"), group


_V2_FILES = {
    "memory.max": "max",
    "memory.swap.max": "max",
    "cpu.max": "max 100000",
    "memory.stat": "anon 8388608\nfile 99999999\nanon_thp 7\nshmem 1048576\n",
    "memory.events": "low 0\nmax 5\noom 3\noom_kill 2\noom_group_kill 9\n",
}


async def test_version_2_is_limited_without_swap(tmp_path: Path) -> None:
    limits, group = kernel(tmp_path, _V2_FILES, is_v2=True)

    await limits.apply(_CONTAINER, memory_mib=128, cpus=0.5)

    written = {name: (group / name).read_text() for name in ("memory.max", "memory.swap.max", "cpu.max")}
    assert written == {"memory.max": str(128 * _MIB), "memory.swap.max": "0", "cpu.max": "50000 100000"}


async def test_lifting_the_quota_in_version_2_says_max(tmp_path: Path) -> None:
    limits, group = kernel(tmp_path, _V2_FILES, is_v2=True)
    await limits.apply(_CONTAINER, memory_mib=128, cpus=None)
    assert (group / "cpu.max").read_text() == "max 100000"


async def test_version_2_without_swap_accounting_is_limited_all_the_same(tmp_path: Path) -> None:
    files = {name: text for name, text in _V2_FILES.items() if name != "memory.swap.max"}
    limits, group = kernel(tmp_path, files, is_v2=True)
    await limits.apply(_CONTAINER, memory_mib=128, cpus=None)
    assert (group / "memory.max").read_text() == str(128 * _MIB)
    assert not (group / "memory.swap.max").exists()


def test_version_2_readings_count_anonymous_and_shared_memory(tmp_path: Path) -> None:
    limits, _ = kernel(tmp_path, _V2_FILES, is_v2=True)
    assert limits.memory_used_bytes(_CONTAINER) == 9 * _MIB
    assert limits.oom_kills(_CONTAINER) == 2
    limits.forget(_CONTAINER)


def test_the_runtimes_own_peak_counts_where_it_is_higher(tmp_path: Path) -> None:
    limits, _ = kernel(tmp_path, _V2_FILES, is_v2=True)
    (tmp_path / "proc/71/status").write_text(f"VmHWM:\t{40 * 1024} kB\n")
    assert limits.memory_used_bytes(_CONTAINER) == 40 * _MIB
    limits.forget(_CONTAINER)


def test_a_reading_never_falls(tmp_path: Path) -> None:
    limits, group = kernel(tmp_path, _V2_FILES, is_v2=True)
    assert limits.memory_used_bytes(_CONTAINER) == 9 * _MIB
    (group / "memory.stat").write_text("anon 1\nshmem 1\n")
    assert limits.memory_used_bytes(_CONTAINER) == 9 * _MIB
    limits.forget(_CONTAINER)


def test_version_1_readings_take_the_totals(tmp_path: Path) -> None:
    statistics = "cache 5\nrss 1\nshmem 1\ntotal_rss 4194304\ntotal_shmem 2097152\n"
    control = "oom_kill_disable 0\nunder_oom 0\noom_kill 4\n"
    files = {"memory.stat": statistics, "memory.oom_control": control}
    limits, _ = kernel(tmp_path, files, is_v2=False)
    assert limits.memory_used_bytes(_CONTAINER) == 6 * _MIB
    assert limits.oom_kills(_CONTAINER) == 4
    limits.forget(_CONTAINER)


def test_files_that_are_missing_read_as_nothing(tmp_path: Path) -> None:
    limits, _ = kernel(tmp_path, {}, is_v2=True)
    (tmp_path / "proc/71/status").unlink()
    assert limits.memory_used_bytes(_CONTAINER) == 0
    assert limits.oom_kills(_CONTAINER) == 0
    limits.forget(_CONTAINER)


async def test_a_kernel_that_refuses_a_limit_is_a_container_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, text: str, *, may_lack: bool = False) -> None:
        raise OSError(errno.EBUSY, "Device or resource busy")

    limits, _ = kernel(tmp_path, _V2_FILES, is_v2=True)
    monkeypatch.setattr(cgroup_limits, "_write", refuse)
    with pytest.raises(ContainerError, match="busy"):
        await limits.apply(_CONTAINER, memory_mib=128, cpus=None)


_MEMORY, _BOTH = "memory.limit_in_bytes", "memory.memsw.limit_in_bytes"


@pytest.mark.parametrize(
    ("before", "order"), [(64, [_BOTH, _MEMORY]), (256, [_MEMORY, _BOTH]), (128, [_MEMORY, _BOTH])]
)
async def test_version_1_never_has_memory_above_memory_and_swap(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: int, order: list[str]
) -> None:
    files = {_MEMORY: str(before * _MIB), _BOTH: str(before * _MIB)}
    files |= {"cpu.cfs_quota_us": "-1"}
    limits, group = kernel(tmp_path, files, is_v2=False)
    written: list[str] = []
    write = cgroup_limits._write

    def spy(path: Path, text: str, *, may_lack: bool = False) -> None:
        written.append(path.name)
        write(path, text, may_lack=may_lack)

    monkeypatch.setattr(cgroup_limits, "_write", spy)
    await limits.apply(_CONTAINER, memory_mib=128, cpus=0.0725)

    assert written[:2] == order
    assert {(group / name).read_text() for name in order} == {str(128 * _MIB)}
    assert (group / "cpu.cfs_quota_us").read_text() == "7249"


def test_a_quota_is_never_below_what_the_kernel_takes() -> None:
    assert quota_us(None) is None
    assert quota_us(0.001) == 1000
    assert quota_us(1.0) == 100_000
