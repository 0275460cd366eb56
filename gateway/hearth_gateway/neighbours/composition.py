"""Puts the neighbouring services together."""

import time
from collections.abc import Callable

from hearth.roles import RoleStore
from hearth_gateway.neighbours.iam import iam_service
from hearth_gateway.neighbours.neighbours import Neighbours
from hearth_gateway.neighbours.service_choice import IAM, STS
from hearth_gateway.neighbours.sts import Sessions, StsOperations


def _now_ms() -> int:
    return int(time.time() * 1000)


def neighbours(
    account: str, roles: RoleStore, sessions: Sessions, *, now_ms: Callable[[], int] = _now_ms
) -> Neighbours:
    """STS, IAM and CloudWatch Logs."""
    services = {
        STS: StsOperations(account, roles, sessions, clock=lambda: now_ms() / 1000).service(),
        IAM: iam_service(account, roles, now_ms),
    }
    return Neighbours(services, roles)
