"""What dead letters ask of the world: boxes."""

from collections.abc import Collection, Sequence
from typing import Protocol

from hearth_gateway.core.dead_view import Dead


class BoxUnavailable(Exception):
    """The box cannot be reached; whether a change took place is unknown. Trying again may help."""


class Box(Protocol):
    """One box. Every method raises BoxUnavailable."""

    async def count(self) -> int:
        """How many letters there are."""
        ...

    async def page(self, after: int, limit: int, until_ms: int | None = None) -> Sequence[Dead]:
        """Letters, the oldest first, skipping so many. `until_ms`: only what died until then, where that is known."""
        ...

    async def find(self, ids: Collection[str]) -> Sequence[Dead]:
        """Those of these ids that are there."""
        ...

    async def revive(self, letters: Sequence[Dead], now_ms: int) -> int:
        """Send letters again, to where they came from, and take them out; each happens whole or not at all, or twice
        where the two ends are different servers. Gives how many."""
        ...

    async def remove(self, letters: Sequence[Dead]) -> int:
        """Throw letters away. Gives how many."""
        ...

    async def purge(self) -> int:
        """Throw everything away. Gives how many there were."""
        ...


class Boxes(Protocol):
    """All boxes, by name."""

    async def names(self) -> Sequence[str]:
        """Those that may have letters."""
        ...

    def open(self, name: str) -> Box:
        """Raises ResourceNotFound for what names no box."""
        ...


class RedriveStore(Protocol):
    """The durable home of redrives, by id. Raises ServiceError."""

    async def load_all(self) -> dict[str, bytes]: ...

    async def put(self, redrive_id: str, record: bytes, /) -> None: ...

    async def delete(self, redrive_id: str, /) -> None: ...
