"""Opens the source of a mapping: one class for each kind of source."""

from collections.abc import Callable, Mapping
from typing import assert_never

from hearth_gateway.core.mapping import EventSourceMapping, SourceKind
from hearth_gateway.sources.list_source import ListSource
from hearth_gateway.sources.ports import Queues, QueueUnavailable, Source, Surroundings

Opener = Callable[[EventSourceMapping], Source]


class OpenSources:
    """The sources of this Hearth. `openers` are those of the kinds that are no queues."""

    def __init__(
        self, around: Surroundings, queues: Queues, openers: Mapping[SourceKind, Opener] | None = None
    ) -> None:
        self._around = around
        self._queues = queues
        self._openers = openers or {}

    def open(self, mapping: EventSourceMapping, *, is_successor: bool) -> Source:
        """See `Sources`."""
        match mapping.kind:
            case SourceKind.QUEUE | SourceKind.LIST:
                queue = self._queues.open(mapping)
                return ListSource(mapping, queue, self._around, is_successor=is_successor)
            case SourceKind.STREAM | SourceKind.CHANNEL:
                if mapping.kind not in self._openers:
                    raise QueueUnavailable(f"nobody here reads sources of the kind {mapping.kind.value}")
                return self._openers[mapping.kind](mapping)
            case _:
                assert_never(mapping.kind)
