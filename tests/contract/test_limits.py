"""One suite for every `Limits`, then what only a real kernel can show."""

from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from hearth_scheduler.adapters.cgroup_limits import CgroupLimits
from hearth_scheduler.adapters.cgroup_paths import hierarchies
from hearth_scheduler.adapters.cgroup_readings import CgroupReadings
from hearth_scheduler.adapters.docker_containers import DockerContainers
from hearth_scheduler.adapters.docker_template import BindMode, Template
from hearth_scheduler.adapters.host_abilities import choose_limits
from hearth_scheduler.adapters.mount_table import read_mounts
from hearth_scheduler.adapters.update_limits import DockerUpdateLimits
from hearth_scheduler.ports import Container, ContainerRequest, Limits
from hearth_scheduler.testing import FakeLimits

Execute = Callable[..., tuple[int, str]]
MakeRequest = Callable[..., ContainerRequest]

_MIB = 2**20
_PYTHON = "/usr/bin/python3.13"
_GONE = Container("f" * 64, "gone", pid=2**22 + 1)
"""A container that is not there: no process has this number (it is above the kernel's largest)."""

docker_mark = pytest.mark.docker


@pytest.fixture(params=["fake", "cgroup", "update"])
def limits(request: pytest.FixtureRequest) -> Limits:
    made: Limits = request.getfixturevalue(f"{request.param}_limits")
    return made


@pytest.fixture
def fake_limits() -> FakeLimits:
    return FakeLimits()


@pytest.fixture
def cgroup_limits() -> CgroupLimits:
    return CgroupLimits(hierarchies(read_mounts()))


@pytest.fixture
async def update_limits() -> AsyncIterator[DockerUpdateLimits]:
    limits = DockerUpdateLimits(hierarchies(read_mounts()))
    yield limits
    limits.close()


@pytest.fixture(params=["cgroup", pytest.param("update")])
def real_limits(request: pytest.FixtureRequest) -> CgroupLimits | DockerUpdateLimits:
    made: CgroupLimits | DockerUpdateLimits = request.getfixturevalue(f"{request.param}_limits")
    return made


@pytest.fixture
async def container(instance: str, init: Path, image: str, make_request: MakeRequest) -> AsyncIterator[Container]:
    containers = DockerContainers(Template(instance, init, BindMode.LINK), network="none")
    started = await containers.start(make_request(memory_mib=256))
    yield started
    await containers.remove(started.id)
    containers.close()


def test_nothing_is_known_of_a_container_that_is_gone(limits: Limits) -> None:
    assert limits.oom_kills(_GONE) == 0
    assert limits.memory_used_bytes(_GONE) == 0


def test_forgetting_what_was_never_known_is_fine(limits: Limits) -> None:
    limits.forget(_GONE)
    limits.forget(_GONE)


@docker_mark
async def test_limiting_a_container_that_is_gone_is_fine(limits: Limits) -> None:
    await limits.apply(_GONE, memory_mib=128, cpus=0.1)


def test_the_fakes_memory_reading_never_falls(fake_limits: FakeLimits) -> None:
    fake_limits.reading(_GONE).used_bytes = 100
    assert fake_limits.memory_used_bytes(_GONE) == 100
    fake_limits.reading(_GONE).used_bytes = 50
    assert fake_limits.memory_used_bytes(_GONE) == 100


def kernel_says(readings: CgroupReadings, container: Container) -> tuple[int, int | None]:
    """Memory limit in MiB and CPU quota in µs per period, from the kernel."""
    groups = readings.directories(container, "memory", "cpu")
    memory, cpu = groups["memory"], groups["cpu"]
    limit = memory[0] / ("memory.max" if memory[1] else "memory.limit_in_bytes")
    quota = cpu[0] / ("cpu.max" if cpu[1] else "cpu.cfs_quota_us")
    said = quota.read_text().split()[0]
    return int(limit.read_text()) // _MIB, None if said in ("max", "-1") else int(said)


@docker_mark
async def test_limits_go_up_and_down(real_limits: CgroupLimits | DockerUpdateLimits, container: Container) -> None:
    assert kernel_says(real_limits, container) == (256, None)
    await real_limits.apply(container, memory_mib=128, cpus=0.25)
    assert kernel_says(real_limits, container) == (128, 25_000)
    await real_limits.apply(container, memory_mib=1769, cpus=1.0)
    assert kernel_says(real_limits, container) == (1769, 100_000)
    await real_limits.apply(container, memory_mib=1769, cpus=None)
    assert kernel_says(real_limits, container) == (1769, None)


_EAT = "import sys; kept = b'x' * (int(sys.argv[1]) << 20); print('eaten')"


@docker_mark
async def test_the_memory_limit_bites_and_the_kill_is_counted(
    real_limits: CgroupLimits | DockerUpdateLimits, container: Container, execute: Execute
) -> None:
    await real_limits.apply(container, memory_mib=128, cpus=None)
    assert execute(container.id, _PYTHON, "-c", _EAT, "60") == (0, "eaten\n")
    assert real_limits.oom_kills(container) == 0

    assert execute(container.id, _PYTHON, "-c", _EAT, "200")[0] == 137

    assert real_limits.oom_kills(container) == 1


@docker_mark
async def test_page_cache_is_not_memory_in_use(
    cgroup_limits: CgroupLimits, container: Container, execute: Execute
) -> None:
    execute(container.id, "dd", "if=/dev/zero", "of=/tmp/file", "bs=1M", "count=64")
    assert cgroup_limits.memory_used_bytes(container) < 32 * _MIB


_GROW_AND_SHRINK = """
import sys, time
kept = b'x' * (48 << 20); del kept
print('done', flush=True); time.sleep(600)
"""


@docker_mark
async def test_a_peak_between_two_readings_is_seen(
    instance: str,
    image: str,
    tmp_path: Path,
    cgroup_limits: CgroupLimits,
    make_request: MakeRequest,
    execute: Execute,
) -> None:
    """The runtime is the init's child, as here the program is the shell's."""
    containers = DockerContainers(Template(instance, tmp_path, BindMode.LINK), network="none")
    command = ("/bin/sh", "-c", f'{_PYTHON} -c "{_GROW_AND_SHRINK}" > /tmp/said; true')
    container = await containers.start(make_request(command=command))
    execute(container.id, "sh", "-c", "until grep -q done /tmp/said; do sleep 0.02; done")

    assert 48 * _MIB < cgroup_limits.memory_used_bytes(container) < 90 * _MIB

    await containers.remove(container.id)
    assert cgroup_limits.memory_used_bytes(container) > 48 * _MIB, "what was read stays true after the end"
    assert cgroup_limits.oom_kills(container) == 0
    await cgroup_limits.apply(container, memory_mib=128, cpus=0.5)
    cgroup_limits.forget(container)
    assert cgroup_limits.memory_used_bytes(container) == 0
    containers.close()


@docker_mark
async def test_a_stranger_with_a_recycled_pid_is_left_alone(cgroup_limits: CgroupLimits, container: Container) -> None:
    impostor = replace(container, id="f" * 64)
    await cgroup_limits.apply(impostor, memory_mib=128, cpus=0.5)
    assert kernel_says(cgroup_limits, container) == (256, None)
    assert cgroup_limits.memory_used_bytes(impostor) == 0


@docker_mark
def test_the_limits_that_fit_the_host_are_chosen_and_explained() -> None:
    choice = choose_limits()
    assert choice.why
    if isinstance(choice.limits, DockerUpdateLimits):
        choice.limits.close()
