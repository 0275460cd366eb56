"""Where the time of a warm invocation goes: `python -m tests.bench.hot_path [--way url|invoke]`.

Samples the daemon's stack with py-spy (`pip install py-spy`; needs ptrace, so usually root) while a load runs, and
prints the processor time per invocation by function. Sampling does not slow some functions down more than others, as
a tracing profiler does. Only what holds the interpreter's lock is sampled, so neither waiting nor a system call that
lets go of it counts; the daemon's whole processor time is spread over these samples.
"""

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.table import Table
from tests.bench import cpu, docker_floor, functions, load
from tests.bench.load import Load, LoadResult, RunningLoad, Target
from tests.bench.subject import ONE_VCPU_MIB, BenchFailure, Hearth, hearth, heed_interrupts

RATE_PER_S = 500
_FRAME = re.compile(r"^(?P<function>.*) \((?P<file>[^()]*?)(?::\d+)?\)$")
_GENERATED = "__create_fn__"
"""What the methods are called that `dataclass` writes: all alike, so that only their caller tells them apart."""
_SHOWN = 45


@dataclass(slots=True)
class Profile:
    """Samples by function: those in which it was on top, and those in which it was on the stack at all."""

    samples: int = 0
    own: Counter[str] = field(default_factory=Counter)
    within: Counter[str] = field(default_factory=Counter)


def folded(lines: Iterable[str]) -> Profile:
    """Read py-spy's raw format: frames joined by semicolons, outermost first, then the number of samples."""
    profile = Profile()
    for line in lines:
        stack, _, count = line.rstrip().rpartition(" ")
        frames = [_short(frame) for frame in stack.split(";") if not frame.startswith("process ")]
        if not frames or not count.isdigit():
            continue
        for caller, index in zip(frames, range(1, len(frames)), strict=False):
            if frames[index].startswith(_GENERATED):
                frames[index] = f"dataclass made in {caller}"
        profile.samples += int(count)
        profile.own[frames[-1]] += int(count)
        for frame in set(frames):
            profile.within[frame] += int(count)
    return profile


def _short(frame: str) -> str:
    """The function with the last two parts of its file's path."""
    found = _FRAME.match(frame)
    if found is None:
        return frame
    return f"{found['function']} ({'/'.join(found['file'].split('/')[-2:])})"


def _record(pid: int, seconds: int, target: Target, connections: int) -> tuple[Profile, cpu.CpuTime, LoadResult]:
    command = shutil.which("py-spy", path=str(Path(sys.executable).parent)) or shutil.which("py-spy")
    if command is None:
        raise BenchFailure("py-spy is not installed: pip install py-spy")
    with tempfile.TemporaryDirectory(prefix="hearth-bench-") as folder:
        file = Path(folder) / "samples"
        words = [command, "record", "--pid", str(pid), "--format", "raw", "--output", str(file)]
        words += ["--rate", str(RATE_PER_S), "--duration", str(seconds), "--gil"]
        with RunningLoad(Load((target,), connections, seconds + 3)) as running:
            with cpu.used_by(pid) as spent:
                done = subprocess.run(words, capture_output=True, text=True, timeout=seconds + 30, check=False)
            result = running.result()
        if done.returncode != 0:
            raise BenchFailure(f"py-spy: {done.stderr.strip()}")
        return folded(file.read_text().splitlines()), spent, result


def _print(profile: Profile, us_per_sample: float) -> None:
    table = Table("function", "own µs", "own %", "with callees µs", "%", box=None)
    names = sorted(profile.within, key=lambda name: profile.own[name], reverse=True)
    for name in names[:_SHOWN]:
        own, within = profile.own[name], profile.within[name]
        table.add_row(
            name,
            f"{own * us_per_sample:.1f}",
            f"{own / profile.samples:.1%}",
            f"{within * us_per_sample:.1f}",
            f"{within / profile.samples:.1%}",
        )
    Console(width=None if sys.stdout.isatty() else 160).print(table)


def _measure(subject: Hearth, way: str, connections: int, seconds: int) -> None:
    with subject.function("hello", functions.HELLO, memory_mib=ONE_VCPU_MIB) as url:
        path = "/2015-03-31/functions/hello/invocations"
        invoke = Target(url.host, url.port, path, "POST", "{}", keys=subject.variables)
        target = url if way == "url" else invoke
        load.run(Load((target,), connections, 3))
        pid = subject.pid()
        with cpu.used_by(pid) as spent:
            plain = load.run(Load((target,), connections, seconds / 2))
        us = spent.total_s / max(plain.good, 1) * 1e6
        print(
            f"{plain.goodput_per_s:.0f}/s, {us:.0f} µs of the daemon's processor time per invocation, of them ", end=""
        )
        print(f"{spent.system_s / max(spent.total_s, 1e-9):.0%} in the kernel. {plain.outcome()}")
        profile, _, _ = _record(pid, seconds, target, connections)
    _print(profile, us / max(profile.samples, 1))


def main() -> int:
    """Start a Hearth, load it, sample it, clear up."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.hot_path", description="Profile a warm invocation.")
    parser.add_argument("--way", choices=["url", "invoke"], default="url", help="function URL, or the API's Invoke")
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--seconds", type=int, default=10)
    options = parser.parse_args()
    heed_interrupts()
    with docker_floor.engine() as engine, hearth(engine, {}) as subject:
        _measure(subject, options.way, options.connections, options.seconds)
    return 0


if __name__ == "__main__":
    sys.exit(main())
