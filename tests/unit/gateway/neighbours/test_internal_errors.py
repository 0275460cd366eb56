"""A failure of the platform's own has the name that each service has for it: SDKs know it as one to try again."""

import orjson
import pytest

from hearth.core.errors import ServiceError
from hearth_gateway.neighbours.calls import Call, Members, NeighbourService
from hearth_gateway.neighbours.json_protocol import JsonService
from hearth_gateway.neighbours.scheduler_protocol import OPERATIONS, SchedulerProtocol


async def nothing(call: Call) -> Members:
    return {}


@pytest.mark.parametrize(
    ("service", "code"),
    [
        (JsonService("events", "2015-10-07", {}, internal="InternalException"), "InternalException"),
        (JsonService("logs", "2014-03-28", {}), "ServiceException"),
        (SchedulerProtocol(dict.fromkeys(OPERATIONS, nothing)), "InternalServerException"),
    ],
)
def test_an_internal_error_has_the_services_own_name(service: NeighbourService, code: str) -> None:
    answer = service.refusal(ServiceError("An internal error occurred."), "id")
    assert (answer.status, answer.headers["x-amzn-ErrorType"]) == (500, code)
    assert orjson.loads(answer.body).get("__type", code) == code
