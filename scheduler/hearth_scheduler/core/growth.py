"""Whether one more environment is worth it: Little's law with measured times, and no herd.

A request that finds no idle environment waits for whichever comes first: an environment that falls idle, or a new
one. A new one costs time and processor, so it is started only if those who wait would otherwise wait longer than that.

Rule 1: without measurements (nothing busy, or nothing finished yet) everyone who waits gets one: Lambda's own rule.
Rule 2: with them, the last in line waits `lacking * base / busy`. `base` is what an invocation takes at best, not on
average: on a busy host averages grow with every environment added, and would ask for ever more of them.
Rule 3: whoever has really waited that long gets one more, one at a time, unless the processors are the bottleneck.
Rule 4: the first invocation of an environment is no measure: nothing is warm yet, and it takes many times as long.
Until there is a better one, those who wait show how long it takes by how long they have waited.
Rule 5: up to the number of processors an environment is cheap: it needs to save only an eighth of its cost.

Worked example: 64 clients of a function that takes 0.4 ms, one environment, stem cells ready: 63 * 0.4 / 1 = 25 ms, so
a second one; with two, 62 * 0.4 / 2 = 12 ms: enough. The same with a function that sleeps 100 ms: 6.3 s, so 63 more.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

STEM_COST_S = 0.025
"""Taking a stem cell, loading the code, and the share of refilling the stock that falls on others."""
CONTAINER_COST_S = 0.3
EAGER_SHARE = 8


class Load(NamedTuple):
    """One function version at one moment. Counts, and seconds; 0 where nothing is known.

    `lacking`: requests that wait and that no environment under way will serve. `waited_s`: of the oldest of them.
    `is_base_known`: `base_s` is more than the duration of a first invocation.
    `since_growth_s`: since the last environment was added.
    """

    lacking: int
    busy: int
    members: int
    base_s: float
    is_base_known: bool
    init_s: float
    waited_s: float
    since_growth_s: float


@dataclass(frozen=True, slots=True)
class Host:
    """What all functions share. `is_busy`: the processors are the bottleneck."""

    processors: int = 1
    is_busy: bool = False


class Growth(NamedTuple):
    """How many `more` to add now, or else after how many seconds to ask again (None: when something happens)."""

    more: int
    ask_again_s: float | None = None


NONE = Growth(0)


def decide(load: Load, host: Host, *, has_stem: bool) -> Growth:
    """See the module."""
    if load.lacking <= 0:
        return NONE
    if not load.busy or not load.base_s:
        return Growth(load.lacking)
    cost = max(load.init_s, STEM_COST_S) if has_stem else CONTAINER_COST_S + load.init_s
    if load.members < host.processors:
        cost /= EAGER_SHARE
    base_s = load.base_s if load.is_base_known else min(load.base_s, load.waited_s)
    wanted = load.lacking * base_s / cost
    if wanted >= load.busy:
        return Growth(max(1, min(load.lacking, math.ceil(wanted) - load.busy)))
    patience = max(cost - load.waited_s, cost - load.since_growth_s)
    if patience <= 0 and not host.is_busy:
        return Growth(1)
    return Growth(0, max(patience, cost / EAGER_SHARE))
