"""The load generator as the benchmark uses it: a process of its own, told what to do in JSON, answering in JSON."""

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

ROOT = Path(__file__).resolve().parents[2]
SPARE_S = 60.0
"""How much longer than its own limit the process may take before it counts as hung."""


@dataclass(frozen=True, slots=True)
class Target:
    """One HTTP request, to be sent again and again."""

    host: str
    port: int
    path: str
    method: str = "GET"
    body: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    keys: Mapping[str, str] | None = None
    """What `hearth env` exports, if the request is to be signed: anew every second, as clients do at least."""


@dataclass(frozen=True, slots=True)
class Load:
    """What to send. Connection i sends target i modulo their number.

    Closed loop unless `rate_per_s` is set: then requests arrive at that pace whatever becomes of the earlier ones,
    and wait for a free connection within their measured time. Ends at `total` requests or after `limit_s`.
    `pause_after_429_s`: how long a throttled client waits at least before it tries again; at most twice as long:
    clients that all come back at one moment are an artefact of the measurement. `ramp_s`: the time in which they start.
    """

    targets: tuple[Target, ...]
    connections: int
    limit_s: float
    total: int | None = None
    rate_per_s: float | None = None
    pause_after_429_s: float = 0.0
    ramp_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Latency:
    """Of the answers with one status; seconds."""

    count: int
    p50: float
    p95: float
    p99: float
    worst: float


@dataclass(frozen=True, slots=True)
class LoadResult:
    """What came back. `errors`: connections refused, lost or broken, by kind; they count as failed requests."""

    duration_s: float
    by_status: dict[int, Latency] = field(default_factory=dict)
    errors: dict[str, int] = field(default_factory=dict)

    @property
    def good(self) -> int:
        return self.count(200, 300)

    @property
    def failed(self) -> int:
        """Everything but success and throttling."""
        answered = sum(latency.count for status, latency in self.by_status.items() if status != 429)
        return answered - self.good + sum(self.errors.values())

    @property
    def goodput_per_s(self) -> float:
        return self.good / self.duration_s if self.duration_s else 0.0

    def count(self, first: int, end: int) -> int:
        return sum(latency.count for status, latency in self.by_status.items() if first <= status < end)

    def latency(self, status: int = 200) -> Latency:
        nothing = float("nan")
        return self.by_status.get(status, Latency(0, nothing, nothing, nothing, nothing))

    def outcome(self) -> str:
        """All that was not a plain success, in a few words."""
        odd = [f"{latency.count} x {status}" for status, latency in self.by_status.items() if status != 200]
        return ", ".join(odd + [f"{count} x {kind}" for kind, count in self.errors.items()])


class RunningLoad:
    """A load generator at work. Leaving the `with` kills it if it still runs."""

    def __init__(self, load: Load) -> None:
        self._limit_s = load.limit_s + SPARE_S
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.bench.load_process"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=ROOT,
            start_new_session=True,  # an interrupted terminal is ours to handle, not each child's
        )
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(asdict(load)).encode() + b"\n")
        self._process.stdin.flush()

    def is_running(self) -> bool:
        return self._process.poll() is None

    def result(self) -> LoadResult:
        """Wait for the end. RuntimeError: the generator itself failed, which says nothing about the subject."""
        output, _ = self._process.communicate(timeout=self._limit_s)
        if self._process.returncode != 0:
            raise RuntimeError(f"the load generator failed with exit code {self._process.returncode}")
        answer = json.loads(output)
        by_status = {int(status): Latency(**latency) for status, latency in answer["by_status"].items()}
        return LoadResult(answer["duration_s"], by_status, answer["errors"])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()


def run(load: Load) -> LoadResult:
    """Generate the load and wait for the result."""
    with RunningLoad(load) as running:
        return running.result()
