"""How many may be under way at once after something was out of order: one, two, four, eight …, doubling each second.

What comes back after an outage is weak: caches are cold, everybody asks at once. So nobody starts with everything.
Rule: time alone makes room again, not successes: one long run must not hold up the others. (Event sources, whose
batches are alike, ask for successes as well: `slow_start.py`.)
"""

from dataclasses import dataclass

FULL_AFTER = 12
"""Doublings after which there is no limit any more."""


@dataclass(frozen=True, slots=True)
class RampUp:
    """`since_ms` is when things begin again after an outage: nothing starts before. Epoch milliseconds."""

    since_ms: int
    doubling_ms: int = 1_000

    def width(self, now_ms: int) -> int | None:
        """How many may run now; None is no limit."""
        if now_ms < self.since_ms:
            return 0
        doublings = (now_ms - self.since_ms) // self.doubling_ms
        return None if doublings >= FULL_AFTER else int(1 << doublings)

    def wait_ms(self, running: int, now_ms: int) -> int:
        """How long until one more may run beside those; 0 if it may now."""
        width = self.width(now_ms)
        if width is None or running < width:
            return 0
        needed = min(running.bit_length(), FULL_AFTER)  # doublings until 2**needed > running, or there is no limit
        return max(1, self.since_ms + needed * self.doubling_ms - now_ms)
