"""Warm: throughput and latency beside a plain aiohttp hello, the same load generator and cores."""

from dataclasses import dataclass

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


@dataclass(frozen=True, slots=True)
class Pair:
    """Floor and subject, chunk by chunk."""

    floor: list[LoadResult]
    subject: list[LoadResult]
    floor_cpu_s: list[float]
    subject_cpu_s: list[float]
    """Processor seconds of the serving process (not the functions' containers) per good answer."""

    def failed(self) -> str:
        odd = {result.outcome() for result in self.subject} - {""}
        return "; ".join(sorted(odd))


def throughput(bench: Bench) -> list[Row]:
    """Closed loop at several numbers of connections; at one connection also the latency that is added."""
    rows: list[Row] = []
    with bench.hearth.function("hello", functions.HELLO, memory_mib=ONE_VCPU_MIB) as target:
        for connections in CONNECTIONS:
            bench.tell(f"warm throughput, {connections} connections")
            pair = _alternate(bench, target, connections)
            rows.append(_throughput_row(connections, pair))
            if connections == 1:
                rows.append(_latency_row("warm latency added, 1 connection", pair))
    return rows


def half_load(bench: Bench) -> list[Row]:
    """Open loop at half of what the subject can do at 16 connections; the floor at the same rate."""
    with bench.hearth.function("hello", functions.HELLO, memory_mib=ONE_VCPU_MIB) as target:
        bench.tell("warm latency at half load")
        _warm_up(target, 16)
        peak = load.run(Load((target,), 16, bench.size.chunk_s * 2)).goodput_per_s
        pair = _alternate(bench, target, 16, rate_per_s=max(peak / 2, 1.0))
        return [_latency_row(f"warm latency added at half load ({peak / 2:.0f}/s)", pair)]


def _warm_up(target: Target, connections: int) -> None:
    load.run(Load((target,), connections, _WARM_UP_S))


def _alternate(bench: Bench, target: Target, connections: int, rate_per_s: float | None = None) -> Pair:
    for each in (bench.hello, target):
        _warm_up(each, connections)
    pair = Pair([], [], [], [])
    sides = (
        (pair.floor, pair.floor_cpu_s, bench.hello, bench.hello_pid),
        (pair.subject, pair.subject_cpu_s, target, bench.hearth.pid()),
    )
    for _ in range(bench.size.chunks):
        for results, cpu_s, each, pid in sides:
            with cpu.used_by(pid) as spent:
                result = load.run(Load((each,), connections, bench.size.chunk_s, rate_per_s=rate_per_s))
            results.append(result)
            cpu_s.append(spent.total_s / max(result.good, 1))
    return pair


def _throughput_row(connections: int, pair: Pair) -> Row:
    floor = median([result.goodput_per_s for result in pair.floor])
    subject = median([result.goodput_per_s for result in pair.subject])
    ratio = quotient(subject, floor)
    odd = pair.failed()
    return Row(
        f"warm throughput, {connections} connection{'s' * (connections > 1)}",
        f"{subject:.0f}/s, {median(pair.subject_cpu_s) * 1e6:.0f} µs CPU" + (f" ({odd})" if odd else ""),
        f"{floor:.0f}/s, {median(pair.floor_cpu_s) * 1e6:.0f} µs CPU, aiohttp hello",
        ratio,
        f"≥ {BAR_THROUGHPUT} x",
        ratio is not None and ratio >= BAR_THROUGHPUT and not odd,
        {
            "subject_per_s": subject,
            "floor_per_s": floor,
            "subject_p50_s": median([result.latency().p50 for result in pair.subject]),
            "subject_p99_s": median([result.latency().p99 for result in pair.subject]),
            "floor_p50_s": median([result.latency().p50 for result in pair.floor]),
            "floor_p99_s": median([result.latency().p99 for result in pair.floor]),
            "subject_cpu_us": median(pair.subject_cpu_s) * 1e6,
            "floor_cpu_us": median(pair.floor_cpu_s) * 1e6,
            "failures": odd,
        },
    )


def _latency_row(name: str, pair: Pair) -> Row:
    floor50, floor99 = (median([getattr(r.latency(), p) for r in pair.floor]) for p in ("p50", "p99"))
    subject50, subject99 = (median([getattr(r.latency(), p) for r in pair.subject]) for p in ("p50", "p99"))
    added50, added99 = subject50 - floor50, subject99 - floor99
    return Row(
        name,
        f"{ms(added50)} / {ms(added99)}",
        f"{ms(floor50)} / {ms(floor99)} aiohttp hello",
        quotient(added50, floor50),
        f"p50 ≤ {BAR_ADDED_P50:.0f} x hello's p50; p99 ≤ {ms(BAR_ADDED_P99_S)}",
        added50 <= BAR_ADDED_P50 * floor50 and added99 <= BAR_ADDED_P99_S,
        {
            "added_p50_s": added50,
            "added_p99_s": added99,
            "subject_p50_s": subject50,
            "subject_p99_s": subject99,
            "floor_p50_s": floor50,
            "floor_p99_s": floor99,
            "failures": pair.failed(),
        },
    )
