"""`python -m tests.bench [--only ROW …] [--json FILE] [--quick | --full]`: measure, print, clear up."""

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import docker
from rich.console import Console
from tests.bench import (
    docker_floor,
    hello,
    report,
    rows_cold,
    rows_control,
    rows_house,
    rows_pressure,
    rows_queue,
    rows_warm,
)
from tests.bench.figures import Row
from tests.bench.load import Target
from tests.bench.measurement import (
    DEFAULTS,
    FULL,
    LARGE_STOCK,
    NOTHING_WARM,
    QUICK,
    SHORT_IDLE,
    USUAL,
    Bench,
    Measurement,
    Size,
)
from tests.bench.subject import hearth, heed_interrupts

# Neighbours with the same settings share one Hearth.
MEASUREMENTS = (
    Measurement("cold-stem", DEFAULTS, rows_cold.from_a_stem_cell),
    Measurement("warm", DEFAULTS, rows_warm.throughput),
    Measurement("half-load", DEFAULTS, rows_warm.half_load),
    Measurement("queue-latency", DEFAULTS, rows_queue.latency),
    Measurement("queue-throughput", DEFAULTS, rows_queue.throughput),
    Measurement("overload", DEFAULTS, rows_pressure.overload),
    Measurement("memory", DEFAULTS, rows_house.memory, is_first=True),
    Measurement("control-plane", DEFAULTS, rows_control.control_plane),
    Measurement("leftovers", DEFAULTS, rows_house.leftovers),
    Measurement("many", DEFAULTS, rows_cold.many_functions, is_first=True),
    Measurement("burst", DEFAULTS, rows_cold.burst, is_first=True),
    Measurement("cold-nothing", NOTHING_WARM, rows_cold.with_nothing_warm),
    Measurement("many-stock", LARGE_STOCK, rows_cold.many_functions),
    Measurement("burst-stock", LARGE_STOCK, rows_cold.burst, is_first=True),
    Measurement("redeploys", SHORT_IDLE, rows_pressure.redeploys),
)

_out = Console(width=None if sys.stdout.isatty() else 160)
_err = Console(stderr=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description="Measure Hearth beside its floors.")
    names = [measurement.name for measurement in MEASUREMENTS]
    parser.add_argument("--only", nargs="+", choices=names, metavar="ROW", help=f"some of: {', '.join(names)}")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there too")
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--quick", dest="size", action="store_const", const=QUICK, default=USUAL, help="see it work")
    size.add_argument("--full", dest="size", action="store_const", const=FULL, help="100,000 requests, longer chunks")
    return parser.parse_args()


def main() -> int:
    """0: everything was measured, met or not."""
    heed_interrupts()
    options = _options()
    chosen = [each for each in MEASUREMENTS if options.only is None or each.name in options.only]
    rows: list[Row] = []
    problems: dict[str, str] = {}
    try:
        with docker_floor.engine() as engine, hello.serving() as floor:
            for measured in _measure(chosen, engine, floor, options.size, problems):
                rows += measured
    except KeyboardInterrupt:
        _err.print("interrupted; everything was cleared up", style="yellow")
        problems["the rest"] = "interrupted"
    report.show(_out, rows, problems)
    if options.json is not None:
        report.write_json(options.json, rows, problems)
    return 1 if problems else 0


def _measure(
    chosen: Sequence[Measurement],
    engine: docker.DockerClient,
    floor: tuple[Target, int],
    size: Size,
    problems: dict[str, str],
) -> Iterator[list[Row]]:
    """The rows of one measurement after the other. One that fails is a problem, and the others go on."""
    for left in _groups(chosen):
        settings = left[0].settings
        try:
            with hearth(engine, settings) as subject:
                bench = Bench(subject, *floor, engine=engine, size=size, tell=_tell)
                while left:
                    yield _rows_of(left.pop(0), bench, problems)
        except Exception as error:  # this Hearth did not start or did not stop
            problems[", ".join(each.name for each in left) or "clearing up"] = _reason(error)


def _groups(chosen: Sequence[Measurement]) -> list[list[Measurement]]:
    """Those that share a Hearth, one after the other."""
    groups: list[list[Measurement]] = []
    for measurement in chosen:
        if groups and not measurement.is_first and groups[-1][-1].settings == measurement.settings:
            groups[-1].append(measurement)
        else:
            groups.append([measurement])
    return groups


def _rows_of(measurement: Measurement, bench: Bench, problems: dict[str, str]) -> list[Row]:
    try:
        return measurement.measure(bench)
    except Exception as error:  # the top of a measurement: what cannot be measured is reported
        problems[measurement.name] = _reason(error)
        return []


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def _tell(message: str) -> None:
    _err.print(f"  {message}", style="dim", markup=False)


if __name__ == "__main__":
    sys.exit(main())
