"""Who may run: places under the function's reserved concurrency and under the account's cap, both exact.

A place is taken when an invocation is admitted (or a reservation granted) and given back when its environment has
finished with it. Source: AWS Lambda developer guide, "Understanding Lambda function scaling"; reserved concurrency is
both a guarantee and a cap, and what is not reserved is shared by all other functions.

Rule 1: provisioned concurrency is a guarantee to its version: so many places nobody else may take, from the moment it
is asked for. They are set aside from the function's reserved concurrency, or from what all share.
Rule 2: what a version has in flight beyond its guarantee spills over: into the rest of the function's reserved
concurrency, or into the rest of what is shared.
Rule 3: no guarantee goes beyond a cap. If guarantees are larger than the cap (it was lowered), the cap is what counts.
Rule 4: a version may have a cap of its own, within its function's.

Worked example: 10 in all, version 1 of `a` provisioned with 4, nothing reserved. Others may have 6 in flight, and `a`
its 4 at any time. With 6 of version 1 in flight others may have 4: two have spilled over.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from hearth.core.function import FunctionName
from hearth.core.invocation import ThrottleReason


@dataclass(slots=True, eq=False)
class Quota:
    """One function's places: `reserved` is its cap, or None; `in_flight` counts the places it holds, `spilled` those
    of them beyond its versions' guarantees, `guaranteed` the sum of these."""

    name: FunctionName
    reserved: int | None = None
    in_flight: int = 0
    spilled: int = 0
    guaranteed: int = 0
    shares: dict[str, "Share"] = field(default_factory=dict, repr=False)


@dataclass(slots=True, eq=False)
class Share:
    """One version's part of its function's quota. `most` is the version's own cap, or None."""

    quota: Quota
    version: str
    guaranteed: int = 0
    in_flight: int = 0
    most: int | None = None

    @property
    def spilled(self) -> int:
        return max(0, self.in_flight - self.guaranteed)


class Caps:
    """All quotas. Owned and changed by the fleet alone."""

    def __init__(self, account: int) -> None:
        self.account = account
        self.quotas: dict[FunctionName, Quota] = {}
        self._reserved_total = 0
        # Sums over the functions without a reservation.
        self._in_flight = 0
        self._spilled = 0
        self._guaranteed = 0

    def quota(self, name: FunctionName) -> Quota:
        found = self.quotas.get(name)
        if found is None:
            found = self.quotas[name] = Quota(name)
        return found

    def share(self, key: tuple[FunctionName, str]) -> Share:
        """The share of one version."""
        name, version = key
        quota = self.quota(name)
        found = quota.shares.get(version)
        if found is None:
            found = quota.shares[version] = Share(quota, version)
        return found

    def cap(self, share: Share) -> int:
        """The most places, and so environments, this version may have."""
        reserved = share.quota.reserved
        cap = self.account - self._reserved_total if reserved is None else reserved
        return cap if share.most is None else min(cap, share.most)

    def refusal(self, share: Share) -> ThrottleReason | None:
        """Why the version may not have one more place now; None when it may."""
        if share.most is not None and share.in_flight >= share.most:
            return ThrottleReason.RESERVED
        quota = share.quota
        spills = share.in_flight >= share.guaranteed
        if quota.reserved is not None:
            cap = quota.reserved
            full = quota.in_flight >= cap or (spills and quota.spilled >= cap - quota.guaranteed)
            return ThrottleReason.RESERVED if full else None
        cap = self.account - self._reserved_total
        full = self._in_flight >= cap or (spills and self._spilled >= cap - self._guaranteed)
        return ThrottleReason.ACCOUNT if full else None

    def occupy(self, share: Share) -> None:
        quota = share.quota
        spills = share.in_flight >= share.guaranteed
        share.in_flight += 1
        quota.in_flight += 1
        quota.spilled += spills
        if quota.reserved is None:
            self._in_flight += 1
            self._spilled += spills

    def vacate(self, share: Share) -> None:
        quota = share.quota
        share.in_flight -= 1
        spilled = share.in_flight >= share.guaranteed
        quota.in_flight -= 1
        quota.spilled -= spilled
        if quota.reserved is None:
            self._in_flight -= 1
            self._spilled -= spilled

    def limit(self, name: FunctionName, reserved: int | None) -> None:
        """Change the reservation; places held now move with the function."""
        quota = self.quota(name)
        self._set_apart(quota)
        self._reserved_total += (reserved or 0) - (quota.reserved or 0)
        quota.reserved = reserved
        self._join_in(quota)

    def guarantee(self, share: Share, places: int) -> None:
        """Change what only this version may use."""
        quota = share.quota
        self._set_apart(quota)
        quota.spilled -= share.spilled
        quota.guaranteed += places - share.guaranteed
        share.guaranteed = places
        quota.spilled += share.spilled
        self._join_in(quota)

    def bound(self, share: Share, most: int | None) -> None:
        """Change the version's own cap."""
        share.most = most

    def withdraw(self, key: tuple[FunctionName, str]) -> None:
        """The version is gone, and with it its guarantee and its cap; what still runs keeps its places."""
        share = self.share(key)
        self.guarantee(share, 0)
        self.bound(share, None)
        if not share.in_flight:
            del share.quota.shares[share.version]

    def forget(self, name: FunctionName) -> None:
        """The function is gone, and with it its reservation; what still runs keeps its places, and its quota, which a
        new function of that name takes over."""
        self.limit(name, None)
        quota = self.quotas[name]
        for version in list(quota.shares):
            self.withdraw((name, version))
        if not quota.in_flight:
            del self.quotas[name]

    def check(self, held: Mapping[Share, int]) -> None:
        """Every invariant, given the places that are really held, for tests."""
        unreserved = [quota for quota in self.quotas.values() if quota.reserved is None]
        assert self._in_flight == sum(quota.in_flight for quota in unreserved)
        assert self._spilled == sum(quota.spilled for quota in unreserved)
        assert self._guaranteed == sum(quota.guaranteed for quota in unreserved)
        for quota in self.quotas.values():
            shares = quota.shares.values()
            assert quota.in_flight == sum(share.in_flight for share in shares), quota
            assert quota.spilled == sum(share.spilled for share in shares), quota
            assert quota.guaranteed == sum(share.guaranteed for share in shares), quota
            for share in shares:
                assert share.in_flight == held.get(share, 0), share

    def _set_apart(self, quota: Quota) -> None:
        if quota.reserved is None:
            self._in_flight -= quota.in_flight
            self._spilled -= quota.spilled
            self._guaranteed -= quota.guaranteed

    def _join_in(self, quota: Quota) -> None:
        if quota.reserved is None:
            self._in_flight += quota.in_flight
            self._spilled += quota.spilled
            self._guaranteed += quota.guaranteed

    @property
    def in_flight(self) -> int:
        return sum(quota.in_flight for quota in self.quotas.values())
