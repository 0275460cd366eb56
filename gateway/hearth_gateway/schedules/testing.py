"""Doubles of what schedules need: marks in memory, which pass the same contract suite as those on Redis."""

from collections.abc import Collection, Mapping

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
