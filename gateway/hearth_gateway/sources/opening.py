"""Opens the source of a mapping: one class for each kind of source."""

from typing import assert_never

from hearth_gateway.core.mapping import EventSourceMapping, SourceKind
from hearth_gateway.sources.list_source import ListSource
from hearth_gateway.sources.ports import Queues, QueueUnavailable, Source, Surroundings


class OpenSources:
    """The sources of this Hearth."""

    def __init__(self, around: Surroundings, queues: Queues) -> None:
        self._around = around
        self._queues = queues

    def open(self, mapping: EventSourceMapping, *, is_successor: bool) -> Source:
        """See `Sources`."""
        match mapping.kind:
            case SourceKind.QUEUE | SourceKind.LIST:
                queue = self._queues.open(mapping)
                return ListSource(mapping, queue, self._around, is_successor=is_successor)
            case SourceKind.STREAM | SourceKind.CHANNEL:
                raise QueueUnavailable(f"sources of the kind {mapping.kind.value} are not read yet")
            case _:
                assert_never(mapping.kind)
