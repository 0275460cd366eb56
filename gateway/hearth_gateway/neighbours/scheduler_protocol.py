"""The REST JSON protocol as EventBridge Scheduler speaks it: methods and paths as operations, JSON both ways.

Source: AWS restJson1 protocol, Smithy 2.0; the request syntax of each operation in the EventBridge Scheduler API
reference.
"""

from collections.abc import Mapping
from urllib.parse import parse_qs, unquote

import orjson

from hearth.core.errors import HearthError, InvalidRequestContent, ServiceError
from hearth.core.identity import Principal
from hearth_gateway.core.operations import ApiResponse
from hearth_gateway.core.validation import check
from hearth_gateway.lambda_api.requests import Request, read_request
from hearth_gateway.lambda_api.service_model import load_inputs
from hearth_gateway.neighbours.calls import Authorize, Call, CallerError, Handler, NeighbourRequest, conditions_of

SERVICE, VERSION = "scheduler", "2021-06-30"

_JSON = {"Content-Type": "application/json"}
_INTERNAL = "InternalServerException"
# Method, first segment of the path, and whether there is more: the operation, and what the rest of the path is.
_ROUTES: Mapping[tuple[str, str, bool], tuple[str, str]] = {
    ("POST", "schedules", True): ("CreateSchedule", "Name"),
    ("GET", "schedules", True): ("GetSchedule", "Name"),
    ("PUT", "schedules", True): ("UpdateSchedule", "Name"),
    ("DELETE", "schedules", True): ("DeleteSchedule", "Name"),
    ("GET", "schedules", False): ("ListSchedules", ""),
    ("POST", "schedule-groups", True): ("CreateScheduleGroup", "Name"),
    ("GET", "schedule-groups", True): ("GetScheduleGroup", "Name"),
    ("DELETE", "schedule-groups", True): ("DeleteScheduleGroup", "Name"),
    ("GET", "schedule-groups", False): ("ListScheduleGroups", ""),
    ("POST", "tags", True): ("TagResource", "ResourceArn"),
    ("GET", "tags", True): ("ListTagsForResource", "ResourceArn"),
    ("DELETE", "tags", True): ("UntagResource", "ResourceArn"),
}
OPERATIONS = tuple(sorted(operation for operation, _ in _ROUTES.values()))


class SchedulerProtocol:
    """The service: a handler for each of `OPERATIONS`."""

    def __init__(self, handlers: Mapping[str, Handler]) -> None:
        self._handlers = {operation: handlers[operation] for operation in OPERATIONS}
        self._inputs = load_inputs(OPERATIONS, SERVICE, VERSION)

    async def handle(self, request: NeighbourRequest, principal: Principal, authorize: Authorize) -> ApiResponse:
        """Read, check, run, answer. Raises HearthError."""
        operation, labels = route(request.method, request.path)
        shape = self._inputs[operation]
        query = parse_qs(request.query, keep_blank_values=True)
        try:
            members = read_request(shape, Request(labels, query, request.headers, request.body))
        except InvalidRequestContent as error:
            raise CallerError("SerializationException", error.message) from error
        check(shape, members)
        answer = await self._handlers[operation](Call(members, principal, authorize, conditions_of(request)))
        return ApiResponse(200, orjson.dumps(answer), _JSON)

    def refusal(self, error: HearthError, request_id: str) -> ApiResponse:
        """An error in the service's own form."""
        code = _INTERNAL if error.code == ServiceError.code else error.code
        return ApiResponse(error.status, orjson.dumps({"Message": error.message}), {**_JSON, "x-amzn-ErrorType": code})


def route(method: str, raw_path: str) -> tuple[str, Mapping[str, str]]:
    """The operation that a request asks for, and the label in its path; an ARN may be in it with raw slashes. Raises
    CallerError."""
    first, _, rest = raw_path.strip("/").partition("/")
    found = _ROUTES.get((method, first, bool(rest)))
    if found is None:
        raise CallerError("UnknownOperationException", f"{method} {raw_path} is no operation of this service.", 404)
    operation, label = found
    return operation, {label: unquote(rest)} if label else {}
