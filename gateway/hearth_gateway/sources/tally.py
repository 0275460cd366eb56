"""What sources did with records and messages since this Hearth started, by kind of source: for `/health`.

Rule: what is counted is over, and only the server may not know it yet: what comes again is not counted twice.
State: touched on one event loop only.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from enum import Enum

from hearth_gateway.core.mapping import EventSourceMapping, SourceKind

PROBLEM = "PROBLEM"
"""What `LastProcessingResult` begins with where a source is in trouble."""


class Count(Enum):
    """The ways in which a record ends."""

    HANDLED = "handled"
    FILTERED = "filtered"
    GIVEN_UP = "given_up"
    """Kept elsewhere: at a destination, in a dead-letter queue, as a dead letter."""
    TRIMMED = "trimmed"
    """Of streams: gone at the server before it was handled."""
    DROPPED = "dropped"
    """Of channels: received, and found no place anywhere."""


class Tally:
    """The counts of all sources."""

    def __init__(self) -> None:
        self._counts: defaultdict[SourceKind, Counter[Count]] = defaultdict(Counter)

    def add(self, kind: SourceKind, what: Count, count: int = 1) -> None:
        self._counts[kind][what] += count

    def told(self, results: Iterable[tuple[EventSourceMapping, str]]) -> Mapping[str, Mapping[str, int]]:
        """By kind, for those that exist or did something. `results` are all mappings with their last result."""
        there, troubled = Counter[SourceKind](), Counter[SourceKind]()
        for mapping, result in results:
            there[mapping.kind] += 1
            troubled[mapping.kind] += result.startswith(PROBLEM)
        return {
            kind.value: {
                "sources": there[kind],
                "in_trouble": troubled[kind],
                **{what.value: self._counts[kind][what] for what in Count},
            }
            for kind in SourceKind
            if kind in there or kind in self._counts
        }
