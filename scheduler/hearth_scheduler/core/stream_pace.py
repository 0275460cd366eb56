"""How much a function may stream, and how fast. Source: "Response streaming for Lambda functions", AWS Lambda developer
guide: 200 MB, of which the first 6 MB at any speed and the rest at no more than 2 MB a second."""

from dataclasses import dataclass

UNTHROTTLED_BYTES = 6 * 2**20


@dataclass(frozen=True, slots=True)
class StreamLimits:
    """Limits of one streamed response. A rate of 0 is no limit."""

    max_bytes: int = 200 * 2**20
    rate_bytes_per_s: int = 0


@dataclass(slots=True)
class Pace:
    """One response's pace. `free_at`: when, in seconds of the caller's clock, what was taken has earned its time."""

    limits: StreamLimits
    taken: int = 0
    free_at: float = 0.0

    def take(self, count: int, now: float) -> float:
        """So many bytes have come; how many seconds to wait before more of them are taken."""
        self.taken += count
        throttled = min(count, self.taken - UNTHROTTLED_BYTES)
        if throttled <= 0 or not self.limits.rate_bytes_per_s:
            return 0.0
        self.free_at = max(self.free_at, now) + throttled / self.limits.rate_bytes_per_s
        return self.free_at - now

    @property
    def is_too_much(self) -> bool:
        return self.taken > self.limits.max_bytes
