"""Opens the source of a mapping: one class for each kind of source."""

from collections.abc import Callable, Mapping
from typing import assert_never

from hearth_gateway.core.mapping import EventSourceMapping, SourceKind
from hearth_gateway.sources.list_source import ListSource
from hearth_gateway.sources.ports import Queues, QueueUnavailable, Source, Surroundings

Opener = Callable[[EventSourceMapping], Source]


def _none(mapping: EventSourceMapping) -> Source | None:
    """Every queue is Hearth's own."""
    return None


class OpenSources:
    """The sources of this Hearth. `openers` are those of the kinds that are no queues; `other_sqs` opens the source of
    a queue of another SQS, and gives None for one of Hearth's own."""

    def __init__(
        self,
        around: Surroundings,
        queues: Queues,
        openers: Mapping[SourceKind, Opener] | None = None,
        other_sqs: Callable[[EventSourceMapping], Source | None] = _none,
    ) -> None:
        self._other_sqs = other_sqs
        self._around = around
        self._queues = queues
        self._openers = openers or {}

    def open(self, mapping: EventSourceMapping, *, is_successor: bool) -> Source:
        """See `Sources`."""
        match mapping.kind:
            case SourceKind.QUEUE | SourceKind.LIST:
                found = self._other_sqs(mapping)
                if found is not None:
                    return found
                queue = self._queues.open(mapping)
                return ListSource(mapping, queue, self._around, is_successor=is_successor)
            case SourceKind.STREAM | SourceKind.CHANNEL:
                if mapping.kind not in self._openers:
                    raise QueueUnavailable(f"nobody here reads sources of the kind {mapping.kind.value}")
                return self._openers[mapping.kind](mapping)
            case _:
                assert_never(mapping.kind)
