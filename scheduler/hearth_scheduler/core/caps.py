"""Who may run: places under the function's reserved concurrency and under the account's cap, both exact.

A place is taken when an invocation is admitted (or a reservation granted) and given back when its environment has
finished with it. Source: AWS Lambda developer guide, "Understanding Lambda function scaling"; reserved concurrency is
both a guarantee and a cap, and what is not reserved is shared by all other functions.
"""

from dataclasses import dataclass

from hearth.core.function import FunctionName
from hearth.core.invocation import ThrottleReason


@dataclass(slots=True, eq=False)
class Quota:
    """One function's share: `reserved` is its cap, or None; `in_flight` counts the places it holds."""

    name: FunctionName
    reserved: int | None = None
    in_flight: int = 0


class Caps:
    """All quotas. Owned and changed by the fleet alone."""

    def __init__(self, account: int) -> None:
        self.account = account
        self.quotas: dict[FunctionName, Quota] = {}
        self._reserved_total = 0
        self._unreserved_in_flight = 0

    def quota(self, name: FunctionName) -> Quota:
        found = self.quotas.get(name)
        if found is None:
            found = self.quotas[name] = Quota(name)
        return found

    def cap(self, quota: Quota) -> int:
        """The most places, and so environments, this function may have."""
        return self.account - self._reserved_total if quota.reserved is None else quota.reserved

    def refusal(self, quota: Quota) -> ThrottleReason | None:
        """Why the function may not have one more place now; None when it may."""
        if quota.reserved is not None:
            return ThrottleReason.RESERVED if quota.in_flight >= quota.reserved else None
        full = self._unreserved_in_flight >= self.account - self._reserved_total
        return ThrottleReason.ACCOUNT if full else None

    def occupy(self, quota: Quota) -> None:
        quota.in_flight += 1
        if quota.reserved is None:
            self._unreserved_in_flight += 1

    def vacate(self, quota: Quota) -> None:
        quota.in_flight -= 1
        if quota.reserved is None:
            self._unreserved_in_flight -= 1

    def limit(self, name: FunctionName, reserved: int | None) -> None:
        """Change the reservation; places held now move with the function."""
        quota = self.quota(name)
        if quota.reserved is None:
            self._unreserved_in_flight -= quota.in_flight
        self._reserved_total += (reserved or 0) - (quota.reserved or 0)
        quota.reserved = reserved
        if reserved is None:
            self._unreserved_in_flight += quota.in_flight

    def forget(self, name: FunctionName) -> None:
        """The function is gone, and with it its reservation; what still runs keeps its places, and its quota, which a
        new function of that name takes over."""
        self.limit(name, None)
        if not self.quotas[name].in_flight:
            del self.quotas[name]

    @property
    def in_flight(self) -> int:
        return sum(quota.in_flight for quota in self.quotas.values())
