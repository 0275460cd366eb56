"""Doubles of what topics need; the memory of FIFO topics passes the same contract suite as the one on Redis."""

from collections.abc import Callable

from hearth_gateway.core.topic_messages import Seal
from hearth_gateway.topics.ports import Claim

WINDOW_MS = 300_000


class InMemoryDeduplication:
    """Remembers by the clock that it is given, in epoch milliseconds."""

    def __init__(self, now_ms: Callable[[], int], window_ms: int = WINDOW_MS) -> None:
        self._now_ms = now_ms
        self._window_ms = window_ms
        self._sequences: dict[str, int] = {}
        self._claims: dict[tuple[str, str], tuple[Claim, int]] = {}

    async def claim(self, topic: str, key: str, message_id: str) -> Claim:
        known = self._claims.get((topic, key))
        if known is not None and self._now_ms() - known[1] < self._window_ms:
            return known[0]
        self._sequences[topic] = self._sequences.get(topic, 0) + 1
        claim = Claim(message_id, self._sequences[topic], is_new=True)
        self._claims[topic, key] = (claim, self._now_ms())
        return claim

    async def finish(self, topic: str, key: str) -> None:
        claim, at_ms = self._claims[topic, key]
        self._claims[topic, key] = (Claim(claim.message_id, claim.sequence, is_new=False), at_ms)


def plain_seal(base_url: str = "http://hearth.test") -> Seal:
    """Signs with the words themselves, so that a test can read what was signed."""
    return Seal(lambda words, version: f"{version}:{words}", f"{base_url}/sns/certificate.pem", base_url)
