"""What schedules offer and what they ask of the world.

`Timers` is the one engine that everything with a schedule expression uses: schedules, and rules of event buses. Who
owns a timer keeps its definition and puts it again at every start; the engine keeps how far each has come.
"""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from hearth_gateway.core.firing import Firing, Mark, Timer
from hearth_gateway.core.parcel import Parcel


class TimersUnavailable(Exception):
    """The store cannot be reached or refuses; whether the change took place is unknown. Trying again may help."""


Post = Callable[[Firing], Sequence[Parcel]]
"""What a firing sends. Pure: asked again after a crash it gives parcels of the same ids, made of `Firing.id`."""
Completed = Callable[[], Awaitable[None]]
"""Told when a timer will never fire again, at least once."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a timer has come; epoch milliseconds. `next_ms` is when it is due next, a flexible window included; None
    if never. `last_ms` is the scheduled time of its last firing, None before the first."""

    next_ms: int | None
    last_ms: int | None


class Timers(Protocol):
    """Fires timers. Each firing is posted at least once; which of those that were missed are made good is the timer's
    policy."""

    def put(self, timer: Timer, post: Post, completed: Completed | None = None) -> None:
        """Begin, or go on with, the timer of this id, in place of the one before. It fires for the times after
        `timer.since_ms` and after what it was fired for already, before a restart as well. A timer that is disabled is
        not put but removed; enabled again, its `since_ms` is that moment."""
        ...

    async def remove(self, timer_id: str) -> None:
        """End a timer and forget how far it came. Unknown ids are fine."""
        ...

    def progress(self, timer_id: str) -> Progress:
        """Both None for an id that is not here."""
        ...


class Marks(Protocol):
    """How far each timer has come, on disk. Every method raises TimersUnavailable."""

    async def load(self) -> Mapping[str, Mark]:
        """All marks by timer."""
        ...

    async def advance(self, marks: Mapping[str, Mark]) -> None:
        """Replace the marks of these timers, in one step."""
        ...

    async def forget(self, timer_ids: Collection[str]) -> None:
        """Drop the marks of these timers."""
        ...


class ScheduleStore(Protocol):
    """Schedules and their groups as records, on disk when a change returns. Every method raises ServiceError."""

    async def load(self) -> tuple[Mapping[str, bytes], Mapping[str, bytes]]:
        """All groups by name, and all schedules by key."""
        ...

    async def put(self, key: str, record: bytes) -> None: ...

    async def delete(self, key: str) -> None: ...

    async def put_group(self, name: str, record: bytes) -> None: ...

    async def delete_group(self, name: str, keys: Sequence[str]) -> None:
        """Drop a group and these schedules, which are all it has, in one step."""
        ...
