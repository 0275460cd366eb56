"""What it costs to have it, and what is left when it was killed."""

import re
import time
from dataclasses import dataclass
from pathlib import Path

from docker.models.containers import Container
from tests.bench import functions, load
from tests.bench.figures import Row, median
from tests.bench.load import Load, RunningLoad
from tests.bench.measurement import Bench
from tests.bench.subject import BenchFailure, Hearth, at_once

BAR_ENVIRONMENT_MIB = 25.0
BAR_CONTROL_PLANE_MIB = 150.0
_MIB = 2**20
_WARM = 4
_REST_S = 3.0
_AFTER_CRASH_S = 10.0


@dataclass(frozen=True, slots=True)
class Weight:
    """Of one container, in MiB. `charged`: what its cgroup holds but for page cache, which any other may share."""

    charged: float
    shim: float

    @property
    def total(self) -> float:
        return self.charged + self.shim


def memory(bench: Bench) -> list[Row]:
    """After some invocations, at rest."""
    bench.tell("memory at rest")
    hearth = bench.hearth
    with hearth.function("resting", functions.SLEEP) as target:
        before = {container.id for container in hearth.containers()}
        load.run(Load((target,), _WARM, 10, total=_WARM * 5))
        time.sleep(_REST_S)
        # Stem cells are environments too, and the ones that ran are among those that waited before.
        weights = [_weigh(container) for container in hearth.containers() if container.status == "running"]
        made = len({container.id for container in hearth.containers()} - before)
    return [_environment_row(weights, made), *_control_plane_rows(bench)]


def _environment_row(weights: list[Weight], made: int) -> Row:
    total = median([weight.total for weight in weights])
    charged, shim = median([weight.charged for weight in weights]), median([weight.shim for weight in weights])
    return Row(
        f"memory of an idle Python environment (median of {len(weights)}, warm ones and stem cells)",
        f"{total:.1f} MiB: cgroup {charged:.1f}, shim {shim:.1f}",
        "",
        None,
        f"≤ {BAR_ENVIRONMENT_MIB:.0f} MiB",
        total <= BAR_ENVIRONMENT_MIB,
        {
            "total_mib": total,
            "cgroup_mib": charged,
            "shim_pss_mib": shim,
            "worst_mib": max((weight.total for weight in weights), default=0.0),
            "environments": len(weights),
            "made_meanwhile": made,
        },
    )


def _control_plane_rows(bench: Bench) -> list[Row]:
    hearth, count = bench.hearth, bench.size.idle_functions
    hearth.settle()
    time.sleep(_REST_S)
    before = _control_plane(hearth)
    containers = len(hearth.containers())
    names = [f"asleep-{number}" for number in range(count)]
    try:
        at_once(lambda number: hearth.create(names[number], functions.revision(number)), range(count))
        time.sleep(_REST_S)
        grown_kib = (sum(_control_plane(hearth)) - sum(before)) * 1024 / count
        more = len(hearth.containers()) - containers
    finally:
        at_once(lambda name: hearth.api.delete_function(FunctionName=name), names)
    daemon, redis = before
    return [
        Row(
            "control plane at rest, with Redis (PSS)",
            f"{daemon + redis:.0f} MiB: daemon {daemon:.0f}, Redis {redis:.0f}",
            "",
            None,
            f"≤ {BAR_CONTROL_PLANE_MIB:.0f} MiB",
            daemon + redis <= BAR_CONTROL_PLANE_MIB,
            {"daemon_pss_mib": daemon, "redis_pss_mib": redis},
        ),
        Row(
            f"each of {count} scaled-to-zero functions",
            f"{more} containers; {grown_kib:.0f} KiB of the control plane's memory each",
            "",
            None,
            "0 containers",
            more <= 0,
            {"containers": more, "kib_per_function": grown_kib},
        ),
    ]


def _control_plane(hearth: Hearth) -> tuple[float, float]:
    """PSS of the daemon and of Redis, in MiB."""
    redis = [int(container.attrs["State"]["Pid"]) for container in map(_reloaded, hearth.containers("redis"))]
    return _pss_mib(hearth.pid()), sum(map(_pss_mib, redis))


def _reloaded(container: Container) -> Container:
    container.reload()
    return container


def _pss_mib(pid: int) -> float:
    found = re.search(r"^Pss:\s+(\d+) kB", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.MULTILINE)
    if found is None:
        raise BenchFailure(f"the kernel does not say the PSS of process {pid}")
    return int(found[1]) / 1024


def _weigh(container: Container) -> Weight:
    pid = int(_reloaded(container).attrs["State"]["Pid"])
    return Weight(_charged_mib(pid), _shim_mib(str(container.id)))


def _charged_mib(pid: int) -> float:
    """Control groups of either version; the kernel's documentation, cgroup-v1/memory.rst and cgroup-v2.rst."""
    for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if "memory" in controllers.split(","):
            return _v1_mib(Path("/sys/fs/cgroup/memory" + path))
    path = Path(f"/proc/{pid}/cgroup").read_text().split("0::", 1)[1].strip()
    folder = Path("/sys/fs/cgroup" + path)
    used = int((folder / "memory.current").read_text())
    return (used - _stat(folder)["file"] + _stat(folder)["shmem"]) / _MIB


def _v1_mib(folder: Path) -> float:
    used = int((folder / "memory.usage_in_bytes").read_text())
    stat = _stat(folder)
    return (used - stat["cache"] + stat.get("shmem", 0)) / _MIB


def _stat(folder: Path) -> dict[str, int]:
    lines = (line.split() for line in (folder / "memory.stat").read_text().splitlines())
    return {name: int(value) for name, value in lines}


def _shim_mib(container_id: str) -> float:
    """The engine's process beside each container."""
    found = [pid for pid, words in _processes() if "containerd-shim" in words and f"\0{container_id}\0" in words]
    return sum(map(_pss_mib, found))


def _processes() -> list[tuple[int, str]]:
    """Process ids with their command lines, words separated by NUL."""
    found: list[tuple[int, str]] = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                found.append((int(folder.name), (folder / "cmdline").read_text(errors="replace")))
            except OSError:
                continue
    return found


# ---- after a crash ----


def leftovers(bench: Bench) -> list[Row]:
    """kill -9 of the daemon under load, `hearth down`, and what there is ten seconds after the kill."""
    bench.tell("kill -9 of the daemon, then hearth down")
    hearth = bench.hearth
    target = hearth.deploy("killed", functions.SLEEP)
    with RunningLoad(Load((target,), 8, 3)) as running:
        time.sleep(1)
        hearth.kill()
        killed_at = time.monotonic()
        running.result()
    hearth.down()
    down_s = time.monotonic() - killed_at
    time.sleep(max(0.0, _AFTER_CRASH_S - down_s))
    left = _left(hearth)
    hearth.up()
    status = load.run(Load((target,), 1, 30, total=1)).good
    return [
        Row(
            "left 10 s after kill -9 of the daemon and hearth down",
            ", ".join(f"{count} {what}" for what, count in left.items()),
            "",
            None,
            "0; then up, and the function answers",
            not any(left.values()) and status == 1,
            {**left, "down_done_s_after_kill": down_s, "answers_after_up": status},
        )
    ]


def _left(hearth: Hearth) -> dict[str, int]:
    folder = str(hearth.data_dir)
    run = hearth.data_dir / "run"
    files = [path for path in run.rglob("*") if path.name not in ("lock", "turn")] if run.exists() else []
    return {
        "containers": sum(len(hearth.containers(role)) for role in ("environment", "redis")),
        "mounts": sum(folder in line for line in Path("/proc/self/mountinfo").read_text().splitlines()),
        "sockets": sum(folder in line for line in Path("/proc/net/unix").read_text().splitlines())
        + sum(path.is_socket() for path in files),
        "processes": sum(folder in words for _, words in _processes()),
        "loop_devices": sum(folder in _backing(path) for path in Path("/sys/block").glob("loop*")),
        "networks": len(hearth.engine.networks.list(filters={"label": f"hearth.instance={hearth.instance}"})),
        "files_of_the_run": len(files),
    }


def _backing(device: Path) -> str:
    try:
        return (device / "loop/backing_file").read_text()
    except OSError:
        return ""
