"""Under pressure: more clients than places, and changes while requests are under way."""

import threading
from collections import Counter
from dataclasses import replace

from tests.bench import functions, load
from tests.bench.figures import Row, median, ms, quotient
from tests.bench.load import Load, LoadResult, Target
from tests.bench.measurement import Bench
from tests.bench.subject import ONE_VCPU_MIB, package

CAP = 10
CLIENTS = 500
BAR_GOODPUT = 0.9
BAR_THROTTLE_S = 0.050
_RETRY_AFTER_S = 1.0
"""What the answer's Retry-After says."""
_REDEPLOY_EVERY_S = 1.5
_WAVE = ((16, 0.8), (2, 0.2))
"""Connections, and the share of the requests sent over them: environments become idle between the high tides."""
_WAVES = 10


def overload(bench: Bench) -> list[Row]:
    """A function that takes 100 ms, capped; as many clients as places first, then fifty times as many."""
    with bench.hearth.function("capped", functions.SLEEP) as target:
        bench.hearth.api.put_function_concurrency(FunctionName="capped", ReservedConcurrentExecutions=CAP)
        bench.tell("overload: peak goodput")
        wish = Load((target,), CAP, bench.size.chunk_s * 2)
        load.run(replace(wish, limit_s=2))
        peak = load.run(wish).goodput_per_s
        bench.tell(f"overload: {CLIENTS} clients on a cap of {CAP}")
        patient = load.run(replace(wish, connections=CLIENTS, limit_s=8, pause_after_429_s=_RETRY_AFTER_S, ramp_s=1))
        hasty = load.run(replace(wish, connections=CLIENTS, limit_s=6))
        crowd = load.run(Load((bench.hello,), CLIENTS, 3))
    return [
        _overload_row(f"overload: {CLIENTS} clients heeding Retry-After, cap {CAP}", patient, peak, ""),
        _overload_row(
            f"overload: {CLIENTS} clients retrying at once, cap {CAP}",
            hasty,
            peak,
            f"; aiohttp hello with {CLIENTS} clients: p50 {ms(crowd.latency().p50)}",
        ),
    ]


def _overload_row(name: str, result: LoadResult, peak: float, beside: str) -> Row:
    goodput = result.goodput_per_s
    throttles = result.latency(429)
    ratio = quotient(goodput, peak)
    failed = result.failed
    return Row(
        name,
        f"{goodput:.0f}/s good; {throttles.count} x 429, p50 {ms(throttles.p50)}, p99 {ms(throttles.p99)};"
        f" {failed} failed",
        f"{peak:.0f}/s at {CAP} clients{beside}",
        ratio,
        f"≥ {BAR_GOODPUT} x, 429 < {ms(BAR_THROTTLE_S)} (p99), no 5xx",
        ratio is not None and ratio >= BAR_GOODPUT and throttles.p99 < BAR_THROTTLE_S and failed == 0,
        {
            "goodput_per_s": goodput,
            "peak_per_s": peak,
            "throttled": throttles.count,
            "throttled_p50_s": throttles.p50,
            "throttled_p99_s": throttles.p99,
            "throttled_worst_s": throttles.worst,
            "failed": failed,
            "outcome": result.outcome(),
        },
    )


class _Redeployer:
    """New code for the function, again and again, until told to stop."""

    def __init__(self, bench: Bench, name: str) -> None:
        self.count = 0
        self.problems: Counter[str] = Counter()
        self._bench = bench
        self._name = name
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="redeploy", daemon=True)

    def __enter__(self) -> "_Redeployer":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(_REDEPLOY_EVERY_S):
            self.count += 1
            try:
                code = package(functions.revision(self.count))
                self._bench.hearth.api.update_function_code(FunctionName=self._name, ZipFile=code)
            except Exception as error:  # the top of the thread: counted, and shown in the row
                self.problems[type(error).__name__] += 1


def redeploys(bench: Bench) -> list[Row]:
    """Tides of requests while the code changes and idle environments stop after half a second."""
    total = bench.size.requests
    bench.tell(f"{total} requests during redeploys and scale-down")
    results: list[LoadResult] = []
    with (
        bench.hearth.function("changing", functions.HELLO, memory_mib=ONE_VCPU_MIB) as target,
        _Redeployer(bench, "changing") as redeployer,
    ):
        before = _removed(bench)
        for _ in range(_WAVES):
            results += [_tide(target, connections, int(total * share / _WAVES)) for connections, share in _WAVE]
        stopped = _removed(bench) - before
    failed = sum(result.failed + result.count(429, 430) for result in results)
    sent = failed + sum(result.good for result in results)
    kinds = "; ".join(sorted({result.outcome() for result in results} - {""}))
    return [
        Row(
            f"failed requests in {sent} during {redeployer.count} redeploys and scale-down",
            f"{failed}" + (f" ({kinds})" if kinds else ""),
            f"{median([result.latency().worst for result in results]):.2f} s slowest answer (median of tides)",
            None,
            "0",
            failed == 0 and sent >= total and not redeployer.problems,
            {
                "failed": failed,
                "sent": sent,
                "redeploys": redeployer.count,
                "redeploy_problems": str(dict(redeployer.problems)),
                "environments_made": stopped,
                "worst_s": max(result.latency().worst for result in results),
            },
        )
    ]


def _tide(target: Target, connections: int, total: int) -> LoadResult:
    return load.run(Load((target,), connections, 120, total=total))


def _removed(bench: Bench) -> int:
    """How many environments there have been, as far as the daemon counts them."""
    counters = bench.hearth.health().get("counters", {})
    return sum(count for name, count in counters.items() if "start" in name)
