"""How many batches of a source may run at once after an outage: 1, 2, 4 … until nobody counts any more.

Rule 1: after an outage the first batch runs alone. Each that succeeds makes room for one more beside it, so that the
number doubles with every round; and it doubles with every `STEP_MS` in which none failed, so that functions which take
minutes are not held back for hours.
Rule 2: an outage is: the source begins, or was away for `AWAY_MS`; the platform failed for so long; or nothing but
failures came from the function for `FAILING_MS`. What waits after one is old and much of it may fail again, and all at
once it would ask for a container for every slot there is.
Source: the slow start of TCP congestion control, RFC 5681 section 3.1.
"""

from dataclasses import dataclass, replace

STEP_MS = 5_000
AWAY_MS = 10_000
FAILING_MS = 60_000
FULL = 64
"""From here on there is no limit but MaximumConcurrency and the slots there are."""


@dataclass(frozen=True, slots=True)
class Pace:
    """`allowed` batches at once as of `stepped_ms`, None without a limit; failing since then, None if not. Times are
    epoch milliseconds."""

    allowed: int | None
    stepped_ms: int
    failing_since_ms: int | None = None

    def limit(self, now_ms: int) -> int | None:
        """How many batches may run at once now; None without a limit."""
        if self.allowed is None:
            return None
        steps = min(max(now_ms - self.stepped_ms, 0) // STEP_MS, 10)
        allowed = self.allowed * 2**steps
        return None if allowed >= FULL else int(allowed)

    def until_step_ms(self, now_ms: int) -> int | None:
        """How long until the limit grows by itself; None without a limit."""
        return None if self.allowed is None else STEP_MS - max(now_ms - self.stepped_ms, 0) % STEP_MS


def slow(now_ms: int) -> Pace:
    """After an outage."""
    return Pace(1, now_ms)


def succeeded(pace: Pace, now_ms: int) -> Pace:
    """A batch succeeded."""
    allowed = pace.limit(now_ms)
    if allowed is None:
        return Pace(None, now_ms)
    steps = max(now_ms - pace.stepped_ms, 0) // STEP_MS
    grown = allowed + 1
    return Pace(None if grown >= FULL else grown, pace.stepped_ms + steps * STEP_MS)


def failed(pace: Pace, now_ms: int, patience_ms: int) -> Pace:
    """A batch failed. Nothing but failures for `patience_ms` is an outage."""
    since_ms = now_ms if pace.failing_since_ms is None else pace.failing_since_ms
    if now_ms - since_ms >= patience_ms:
        return Pace(1, now_ms, since_ms)
    allowed = pace.limit(now_ms)
    return replace(pace, allowed=allowed, stepped_ms=now_ms, failing_since_ms=since_ms)


def came_back(pace: Pace, now_ms: int, away_ms: int) -> Pace:
    """The source is there again after `away_ms`."""
    return slow(now_ms) if away_ms >= AWAY_MS else pace
