"""The host's memory, as promised to environments: who fits, and who has to go first."""

from collections.abc import Iterable
from dataclasses import dataclass, field

STEM_MIB = 32
"""What a waiting stem cell is counted for; it uses about 13 MiB with its shim."""


@dataclass(slots=True)
class MemoryBudget:
    """`held` is what each living environment may use; `leaving` names those whose removal is under way."""

    budget_mib: int
    held: dict[str, int] = field(default_factory=dict)
    leaving: set[str] = field(default_factory=set)
    used_mib: int = 0
    leaving_mib: int = 0

    def occupy(self, environment_id: str, mib: int) -> None:
        """Set what the environment is counted for."""
        self.used_mib += mib - self.held.get(environment_id, 0)
        self.held[environment_id] = mib

    def leaves(self, environment_id: str) -> None:
        """It will be free soon: count on it before evicting others."""
        if environment_id not in self.leaving:
            self.leaving.add(environment_id)
            self.leaving_mib += self.held[environment_id]

    def vacate(self, environment_id: str) -> None:
        mib = self.held.pop(environment_id, 0)
        self.used_mib -= mib
        if environment_id in self.leaving:
            self.leaving.discard(environment_id)
            self.leaving_mib -= mib

    def fits(self, mib: int) -> bool:
        return self.used_mib + mib <= self.budget_mib

    def evict(self, mib: int, idlest_first: Iterable[str]) -> list[str]:
        """Whom to stop so that `mib` will fit; nobody if it fits, will fit, or cannot be made to fit."""
        missing = self.used_mib - self.leaving_mib + mib - self.budget_mib
        chosen: list[str] = []
        if missing <= 0:
            return chosen
        for environment_id in idlest_first:
            chosen.append(environment_id)
            missing -= self.held[environment_id]
            if missing <= 0:
                return chosen
        return []

    def is_hopeless(self, mib: int, evictable_mib: int) -> bool:
        """Neither what is leaving nor what could be made to leave makes room."""
        return self.used_mib - self.leaving_mib - evictable_mib + mib > self.budget_mib
