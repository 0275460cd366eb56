"""The numbers the fleet decides by. Where they come from, and what they are by default for a server, says
`hearth.config`."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Policy:
    """Seconds and MiB."""

    account_concurrency: int = 1000
    memory_budget_mib: int = 4096
    idle_timeout_s: float = 600.0
    init_timeout_s: float = 10.0
    provisioned_init_timeout_s: float = 130.0
    environment_lifetime_s: float = 43_200.0
    start_timeout_s: float = 30.0
    parallel_starts: int = 4
    stem_cells_max: int = 32
    processors: int = 1

    @property
    def renewal_s(self) -> float:
        """So long before it is too old a provisioned environment gets a successor."""
        return min(self.idle_timeout_s, self.environment_lifetime_s / 10)
