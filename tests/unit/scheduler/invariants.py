"""What holds of a fleet after every event, whatever happened before."""

from collections import Counter

from hearth_scheduler.core.fleet import Fleet


def check(fleet: Fleet) -> None:
    """Every invariant of the fleet and of its parts."""
    _check_pools(fleet)
    held = [request.pool.share for request in fleet.requests.values()] + fleet.reservations.held
    fleet.caps.check(Counter(held))
    for environment in fleet.environments.values():
        if environment.request_id is not None:
            assert fleet.requests[environment.request_id].environment_id == environment.id
        assert environment.deadline >= fleet.deadlines.soonest, environment


def _check_pools(fleet: Fleet) -> None:
    unready = fleet.roster.unready
    for pool in fleet.pools.values():
        pool.check()
        target = fleet.roster.target(pool)
        assert bool(pool.waiting) == (pool in fleet.admissions.hungry), pool
        assert len(pool.provision.members) <= target, pool
        assert pool in unready or not pool.provision.lacking(target), pool
