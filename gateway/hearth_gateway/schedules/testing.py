"""Doubles of what schedules need, in memory: they pass the same contract suite as the stores on Redis."""

from collections.abc import Collection, Mapping, Sequence

from hearth.core.errors import ServiceError
from hearth_gateway.core.firing import Mark
from hearth_gateway.schedules.ports import TimersUnavailable


class InMemoryMarks:
    """Outlives the engine that uses it, as a server does. While `is_down` every call fails."""

    def __init__(self) -> None:
        self.kept: dict[str, Mark] = {}
        self.is_down = False

    async def load(self) -> Mapping[str, Mark]:
        self._check()
        return dict(self.kept)

    async def advance(self, marks: Mapping[str, Mark]) -> None:
        self._check()
        self.kept |= marks

    async def forget(self, timer_ids: Collection[str]) -> None:
        self._check()
        for timer_id in timer_ids:
            self.kept.pop(timer_id, None)

    def _check(self) -> None:
        if self.is_down:
            raise TimersUnavailable("down")


class InMemorySchedules:
    """Outlives the book that uses it, as a server does. While `is_down` every call fails."""

    def __init__(self) -> None:
        self.groups: dict[str, bytes] = {}
        self.schedules: dict[str, bytes] = {}
        self.is_down = False

    async def load(self) -> tuple[Mapping[str, bytes], Mapping[str, bytes]]:
        self._check()
        return dict(self.groups), dict(self.schedules)

    async def put(self, key: str, record: bytes) -> None:
        self._check()
        self.schedules[key] = record

    async def delete(self, key: str) -> None:
        self._check()
        self.schedules.pop(key, None)

    async def put_group(self, name: str, record: bytes) -> None:
        self._check()
        self.groups[name] = record

    async def delete_group(self, name: str, keys: Sequence[str]) -> None:
        self._check()
        for key in keys:
            self.schedules.pop(key, None)
        self.groups.pop(name, None)

    def _check(self) -> None:
        if self.is_down:
            raise ServiceError("The schedules cannot be read: down")
