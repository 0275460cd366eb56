"""Cold: from a stem cell, from nothing, many at once. Beside `docker create` and `start` of the same image."""

import http.client
import time

from tests.bench import docker_floor, functions, load
from tests.bench.figures import Row, median, ms, percentile, quotient
from tests.bench.load import Load, LoadResult, Target
from tests.bench.measurement import Bench
from tests.bench.subject import BenchFailure, at_once

BAR_STEM_P50_S = 0.020
BAR_STEM_P95_S = 0.050
BAR_STEM_RATIO = 0.1
BAR_NOTHING_WARM_S = 0.100
"""Above one docker create and start."""
BAR_BURST_S = 2.0
BAR_MANY_S = 2.0
BURST_CLIENTS = 64
BURST_CALLS = 640
MANY = 25
_CLIENT_LIMIT_S = 60.0


class _Client:
    """A client with one kept-alive connection, as a user's HTTP library has."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_CLIENT_LIMIT_S)

    def call(self, target: Target) -> float:
        """Seconds from sending the request to having the answer."""
        if self._connection.sock is None:
            self._connection.connect()
        began = time.perf_counter()
        self._connection.request(target.method, target.path)
        response = self._connection.getresponse()
        body = response.read()
        took_s = time.perf_counter() - began
        if response.status != 200:
            raise BenchFailure(f"a cold start answered {response.status}: {body[:300]!r}")
        return took_s


def _cold_starts(bench: Bench) -> tuple[list[float], list[float]]:
    """Floor and subject in turns: seconds of each. A new function each time, on a Hearth that is at rest."""
    floor: list[float] = []
    subject: list[float] = []
    for number in range(bench.size.cold_starts):
        floor += docker_floor.create_and_start(bench.engine, 1)
        name = f"cold-{number}"
        target = bench.hearth.deploy(name, functions.revision(number))
        bench.hearth.settle()
        client = _Client(bench.hearth.port)
        subject.append(client.call(target))
        bench.hearth.delete(name)
    return floor, subject


def from_a_stem_cell(bench: Bench) -> list[Row]:
    """Client to client, one at a time."""
    bench.tell("cold starts from a stem cell")
    floor, subject = _cold_starts(bench)
    p50, p95, floor50 = percentile(subject, 50), percentile(subject, 95), percentile(floor, 50)
    ratio = quotient(p50, floor50)
    is_met = p50 <= BAR_STEM_P50_S and p95 <= BAR_STEM_P95_S and ratio is not None and ratio <= BAR_STEM_RATIO
    return [
        Row(
            f"cold start from a stem cell, p50 / p95 of {len(subject)}",
            f"{ms(p50)} / {ms(p95)}",
            f"{ms(floor50)} docker create + start",
            ratio,
            f"{ms(BAR_STEM_P50_S)} / {ms(BAR_STEM_P95_S)}, ≤ {BAR_STEM_RATIO} x",
            is_met,
            _details(subject, floor),
        )
    ]


def with_nothing_warm(bench: Bench) -> list[Row]:
    """No stem cell waits: a container has to be made first."""
    bench.tell("cold starts with nothing warm")
    floor, subject = _cold_starts(bench)
    p50, floor50 = percentile(subject, 50), percentile(floor, 50)
    return [
        Row(
            f"cold start with nothing warm, p50 of {len(subject)}",
            f"{ms(p50)} (p95 {ms(percentile(subject, 95))})",
            f"{ms(floor50)} docker create + start",
            quotient(p50, floor50),
            f"floor + {ms(BAR_NOTHING_WARM_S)}",
            p50 <= floor50 + BAR_NOTHING_WARM_S,
            _details(subject, floor),
        )
    ]


def _details(subject: list[float], floor: list[float]) -> dict[str, float | int | str]:
    return {
        "subject_p50_s": percentile(subject, 50),
        "subject_p95_s": percentile(subject, 95),
        "subject_worst_s": max(subject),
        "floor_p50_s": percentile(floor, 50),
        "floor_p95_s": percentile(floor, 95),
        "count": len(subject),
    }


def burst(bench: Bench) -> list[Row]:
    """Many clients at once on a function that nothing runs yet. The ideal is calls / clients x 100 ms."""
    bench.tell("64 clients at once from zero")
    ideal_s = BURST_CALLS / BURST_CLIENTS * 0.1
    result, stems = _from_zero(bench, "burst")
    return [
        Row(
            f"{BURST_CLIENTS} clients, {BURST_CALLS} calls of 100 ms, from zero ({stems} stem cells)",
            f"{result.duration_s:.2f} s, {_failures(result)}",
            f"{ideal_s:.2f} s ideal",
            quotient(result.duration_s, ideal_s),
            f"≤ {BAR_BURST_S:.0f} s, no error",
            result.duration_s <= BAR_BURST_S and result.good == BURST_CALLS,
            {
                "duration_s": result.duration_s,
                "good": result.good,
                "failures": result.outcome(),
                "p50_s": result.latency().p50,
                "worst_s": result.latency().worst,
            },
        )
    ]


def _from_zero(bench: Bench, name: str) -> tuple[LoadResult, int]:
    """What came back, and how many stem cells there were at the start."""
    with bench.hearth.function(name, functions.SLEEP) as target:
        bench.hearth.settle()
        stems = bench.hearth.ready_stems()
        return load.run(Load((target,), BURST_CLIENTS, 60, total=BURST_CALLS)), stems


def many_functions(bench: Bench) -> list[Row]:
    """As many different functions as possible start at the same moment. The floor: that many containers one by one."""
    bench.tell(f"{MANY} functions at once from zero")
    names = [f"many-{number}" for number in range(MANY)]
    floor = median(docker_floor.create_and_start(bench.engine, 3))
    try:
        deploy = bench.hearth.deploy
        targets = tuple(at_once(lambda i: deploy(names[i], functions.revision(i)), range(MANY)))
        bench.hearth.settle()
        stems = bench.hearth.ready_stems()
        result = load.run(Load(targets, MANY, 60, total=MANY))
    finally:
        bench.hearth.delete(*(name for name in names if _exists(bench, name)))
    worst = result.latency().worst
    return [
        Row(
            f"0 → {MANY} different functions at once, slowest answer ({stems} stem cells)",
            f"{worst:.2f} s, {_failures(result)}",
            f"{ms(floor)} docker create + start of one",
            quotient(worst, floor),
            f"{BAR_MANY_S:.0f} s, no failure",
            worst <= BAR_MANY_S and result.good == MANY,
            {"worst_s": worst, "p50_s": result.latency().p50, "good": result.good, "failures": result.outcome()},
        )
    ]


def _exists(bench: Bench, name: str) -> bool:
    try:
        bench.hearth.api.get_function_configuration(FunctionName=name)
    except bench.hearth.api.exceptions.ResourceNotFoundException:
        return False
    return True


def _failures(result: LoadResult) -> str:
    return result.outcome() or "no failure"
