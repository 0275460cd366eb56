"""Warm: throughput and latency beside a plain aiohttp hello, the same load generator and cores.

By both ways in: the Lambda API's Invoke, and a function URL, which makes an event of the request and a response of
the answer.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.bench import cpu, functions, load
from tests.bench.figures import Row, median, ms, quotient
from tests.bench.load import Load, LoadResult, Target
from tests.bench.measurement import Bench
from tests.bench.subject import ONE_VCPU_MIB

CONNECTIONS = (1, 16, 64)
BAR_THROUGHPUT = 0.5
BAR_ADDED_P50 = 2.0
"""Times the median of the hello."""
BAR_ADDED_P99_S = 0.003
_WARM_UP_S = 1.5
_FUNCTION = "hello"


@dataclass(frozen=True, slots=True)
class Side:
    """One of those that take turns, chunk by chunk.

    `cpu_s`: processor seconds of the serving process `pid` (not of the functions' containers) per good answer.
    """

    name: str
    target: Target
    pid: int
    results: list[LoadResult] = field(default_factory=list)
    cpu_s: list[float] = field(default_factory=list)

    def take_turn(self, wish: Load) -> None:
        with cpu.used_by(self.pid) as spent:
            result = load.run(wish)
        self.results.append(result)
        self.cpu_s.append(spent.total_s / max(result.good, 1))

    @property
    def per_s(self) -> float:
        return median([result.goodput_per_s for result in self.results])

    @property
    def p50(self) -> float:
        return median([result.latency().p50 for result in self.results])

    @property
    def p99(self) -> float:
        return median([result.latency().p99 for result in self.results])

    @property
    def cpu_us(self) -> float:
        return median(self.cpu_s) * 1e6

    def odd(self) -> str:
        """All that was not a plain success."""
        return "; ".join(sorted({result.outcome() for result in self.results} - {""}))

    def details(self, prefix: str) -> dict[str, float | int | str]:
        return {
            f"{prefix}_per_s": self.per_s,
            f"{prefix}_cpu_us": self.cpu_us,
            f"{prefix}_p50_s": self.p50,
            f"{prefix}_p99_s": self.p99,
            f"{prefix}_oddities": self.odd(),
        }


def throughput(bench: Bench) -> list[Row]:
    """Closed loop at several numbers of connections; at one connection also the latency that is added."""
    rows: list[Row] = []
    with bench.hearth.function(_FUNCTION, functions.HELLO, memory_mib=ONE_VCPU_MIB) as url:
        for connections in CONNECTIONS:
            bench.tell(f"warm throughput, {connections} connections")
            floor, *subjects = _alternate(bench, url, connections)
            rows += [_throughput_row(connections, floor, subject) for subject in subjects]
            if connections == 1:
                rows += [_latency_row("1 connection", floor, subject) for subject in subjects]
    return rows


def half_load(bench: Bench) -> list[Row]:
    """Open loop at half of what the function's URL can do at 16 connections; everyone at the same rate."""
    with bench.hearth.function(_FUNCTION, functions.HELLO, memory_mib=ONE_VCPU_MIB) as url:
        bench.tell("warm latency at half load")
        _warm_up(url, 16)
        peak = load.run(Load((url,), 16, bench.size.chunk_s * 2)).goodput_per_s
        rate = max(peak / 2, 1.0)
        floor, *subjects = _alternate(bench, url, 16, rate_per_s=rate)
        return [_latency_row(f"half load ({rate:.0f}/s)", floor, subject) for subject in subjects]


def _warm_up(target: Target, connections: int) -> None:
    load.run(Load((target,), connections, _WARM_UP_S))


def _alternate(bench: Bench, url: Target, connections: int, rate_per_s: float | None = None) -> Sequence[Side]:
    pid = bench.hearth.pid()
    path = f"/2015-03-31/functions/{_FUNCTION}/invocations"
    invoke = Target(url.host, url.port, path, "POST", "{}", keys=bench.hearth.variables)
    sides = (
        Side("aiohttp hello", bench.hello, bench.hello_pid),
        Side("function URL", url, pid),
        Side("Invoke", invoke, pid),
    )
    for side in sides:
        _warm_up(side.target, connections)
    for _ in range(bench.size.chunks):
        for side in sides:
            side.take_turn(Load((side.target,), connections, bench.size.chunk_s, rate_per_s=rate_per_s))
    return sides


def _throughput_row(connections: int, floor: Side, subject: Side) -> Row:
    ratio = quotient(subject.per_s, floor.per_s)
    odd = subject.odd()
    return Row(
        f"warm throughput, {subject.name}, {connections} connection{'s' * (connections > 1)}",
        f"{subject.per_s:.0f}/s, {subject.cpu_us:.0f} µs CPU" + (f" ({odd})" if odd else ""),
        f"{floor.per_s:.0f}/s, {floor.cpu_us:.0f} µs CPU, {floor.name}",
        ratio,
        f"≥ {BAR_THROUGHPUT} x",
        ratio is not None and ratio >= BAR_THROUGHPUT and not odd,
        subject.details("subject") | floor.details("floor"),
    )


def _latency_row(load_name: str, floor: Side, subject: Side) -> Row:
    added50, added99 = subject.p50 - floor.p50, subject.p99 - floor.p99
    return Row(
        f"warm latency added, {subject.name}, {load_name}, p50 / p99",
        f"{ms(added50)} / {ms(added99)}",
        f"{ms(floor.p50)} / {ms(floor.p99)} {floor.name}",
        quotient(added50, floor.p50),
        f"p50 ≤ {BAR_ADDED_P50:.0f} x hello's p50; p99 ≤ {ms(BAR_ADDED_P99_S)}",
        added50 <= BAR_ADDED_P50 * floor.p50 and added99 <= BAR_ADDED_P99_S,
        {"added_p50_s": added50, "added_p99_s": added99} | subject.details("subject") | floor.details("floor"),
    )
