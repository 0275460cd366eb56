"""What a stream source asks of the world: a stream as one mapping sees it."""

from dataclasses import dataclass
from typing import Protocol

from hearth_gateway.core.mapping import EventSourceMapping
from hearth_gateway.core.stream_entry import EntryId
from hearth_gateway.core.stream_lanes import Page
from hearth_gateway.core.stream_progress import Facts, StreamSettlement

MOST_PENDING = 100_000
"""How many records of a mapping may be read and not finished. That is how far other lanes get ahead of one that is
stuck; the server keeps about a hundred bytes for each."""


class GroupLost(Exception):
    """The stream, or the mapping's group on it, is not there (any more). `enter` says what to do."""


@dataclass(frozen=True, slots=True)
class Fresh:
    """What was read for the first time. `is_held_back`: there may be more, but too much is pending already."""

    page: Page
    is_held_back: bool = False


class StreamReader(Protocol):
    """One mapping's view of one stream, through a consumer group of its own. See docs/stream-protocol.md.

    `session` numbers grow; each method but `wait`, `settle` (its acknowledgements) and `forget` is refused with
    StaleSession once another session has begun. Every method raises QueueUnavailable when the stream cannot be reached:
    whether the change took place is unknown then. Repeating any of them is harmless.
    """

    async def enter(self, session: int) -> Facts:
        """Begin a session: fence off those before it, and say what is there."""
        ...

    async def begin(self, session: int, after: EntryId, *, is_new_stream: bool) -> None:
        """Remember that all after this entry is to be read, and make the group if there is a stream. Of a stream that
        is another one, whatever was kept is forgotten. Does nothing if the group is there."""
        ...

    async def adopt(self, session: int) -> int:
        """Take over what other consumers of the group hold; gives how many of it the stream has no more."""
        ...

    async def read(self, session: int, limit: int, max_bytes: int) -> Fresh:
        """Records that nobody has read, without waiting; they are pending from now on. At least one if there is any.
        Raises GroupLost."""
        ...

    async def pending(self, session: int, after: EntryId, limit: int, max_bytes: int) -> Page:
        """Records that were read and are not finished, from there on; one at least, if any. Raises GroupLost."""
        ...

    async def wait(self, after: EntryId, wait_s: float) -> None:
        """Return when the stream has a record after that one, or after so many seconds. Changes nothing."""
        ...

    async def settle(self, session: int, settlement: StreamSettlement) -> None:
        """Make it durable, in one step. Entries are finished even if the session is stale; facts are not kept then."""
        ...

    async def forget(self) -> None:
        """The mapping is gone: remove its group and everything that was kept."""
        ...

    async def close(self) -> None:
        """Drop connections of this reader's own."""
        ...


class Streams(Protocol):
    """Opens the stream of a mapping, on the connection its source names."""

    def open(self, mapping: EventSourceMapping) -> StreamReader:
        """Raises QueueUnavailable for a connection that is not configured (any more)."""
        ...
