"""Schedules over HTTP, as Hearth's own page: GET `/_hearth/schedules` shows all of them and how far each has come.

The API of EventBridge Scheduler tells neither when a schedule fires next nor when it last did.
"""

from collections.abc import Mapping

import orjson

from hearth.core.errors import UnknownOperation
from hearth_gateway.auth.authentication import Caller
from hearth_gateway.auth.gate import Gate
from hearth_gateway.core.operations import ApiResponse
from hearth_gateway.core.schedule import Schedule
from hearth_gateway.schedules.book import ScheduleBook

PREFIX = "/_hearth/schedules"

_JSON = {"Content-Type": "application/json"}


class SchedulePages:
    """The own page of schedules. Times are epoch milliseconds."""

    def __init__(self, book: ScheduleBook, gate: Gate) -> None:
        self._book = book
        self._gate = gate

    async def respond(
        self, method: str, path: str, query: Mapping[str, list[str]], *, body: bytes, caller: Caller
    ) -> ApiResponse:
        """See `OwnPage`."""
        if method != "GET" or path.removeprefix(PREFIX).strip("/"):
            raise UnknownOperation(f"{method} {path} is no operation of this service.")
        place = self._book.place
        every = f"arn:aws:scheduler:{place.region}:{place.account}:schedule/*/*"
        self._gate.authorize(caller, "scheduler:ListSchedules", every, conditions={})
        return ApiResponse(200, orjson.dumps([self._shown(one) for one in self._book.schedules()]), _JSON)

    def _shown(self, schedule: Schedule) -> Mapping[str, object]:
        progress = self._book.progress(schedule)
        return {
            "name": schedule.name,
            "group": schedule.group,
            "expression": schedule.expression,
            "zone": schedule.zone,
            "state": schedule.state.value,
            "next_ms": progress.next_ms,
            "last_ms": progress.last_ms,
            "target": schedule.target["Arn"],
        }
