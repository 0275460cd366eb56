"""Puts the neighbouring services together."""

import time
from collections.abc import Callable, Mapping

from hearth.log_archive import LogArchive
from hearth.roles import RoleStore
from hearth_gateway.core.authorization import Place
from hearth_gateway.neighbours.calls import NeighbourService
from hearth_gateway.neighbours.iam import iam_service
from hearth_gateway.neighbours.json_protocol import JsonService
from hearth_gateway.neighbours.log_events_api import LogEventOperations
from hearth_gateway.neighbours.log_groups_api import LogGroupOperations
from hearth_gateway.neighbours.neighbours import Neighbours
from hearth_gateway.neighbours.service_choice import IAM, LOGS, STS
from hearth_gateway.neighbours.sts import Sessions, StsOperations


def _now_ms() -> int:
    return int(time.time() * 1000)


LOGS_VERSION = "2014-03-28"


def neighbours(
    place: Place,
    roles: RoleStore,
    sessions: Sessions,
    logs: LogArchive,
    *,
    more: Mapping[str, NeighbourService] | None = None,
    now_ms: Callable[[], int] = _now_ms,
) -> Neighbours:
    """STS, IAM and CloudWatch Logs, and `more` by signing name."""
    log_handlers = {
        **LogGroupOperations(logs, place).handlers(),
        **LogEventOperations(logs, place, now_ms).handlers(),
    }
    services: dict[str, NeighbourService] = {
        STS: StsOperations(place.account, roles, sessions, clock=lambda: now_ms() / 1000).service(),
        IAM: iam_service(place.account, roles, now_ms),
        LOGS: JsonService(LOGS, LOGS_VERSION, log_handlers),
        **(more or {}),
    }
    return Neighbours(services)
