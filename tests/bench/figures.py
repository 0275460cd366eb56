"""What a measurement is worth: percentiles, and rows that stand beside a floor and a bar."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field


def percentile(values: Sequence[float], percent: float) -> float:
    """The nearest-rank percentile: always a value that was measured. NaN if nothing was."""
    if not values:
        return math.nan
    ordered = sorted(values)
    rank = math.ceil(percent / 100 * len(ordered))
    return ordered[max(rank, 1) - 1]


def median(values: Sequence[float]) -> float:
    """NaN if there are none."""
    return statistics.median(values) if values else math.nan


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the result. `is_met` None: there is no bar, or nothing could be measured.

    `details` holds everything else that was measured, by name with unit, for the JSON.
    """

    name: str
    figure: str
    floor: str = ""
    ratio: float | None = None
    bar: str = ""
    is_met: bool | None = None
    details: dict[str, float | int | str] = field(default_factory=dict)


def ms(seconds: float) -> str:
    """Milliseconds, with as many digits as mean something."""
    value = seconds * 1e3
    if math.isnan(value):
        return "?"
    return f"{value:.2f} ms" if value < 10 else f"{value:.0f} ms"


def quotient(figure: float, floor: float) -> float | None:
    """None where it would say nothing."""
    if not floor or math.isnan(figure) or math.isnan(floor):
        return None
    return figure / floor
