"""The services beside Lambda that its tools cannot do without, on the same port.

`handle` always answers: an error goes out in the form of the service that was meant, or no client could read it.
"""

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

import structlog

from hearth.core.errors import HearthError, ServiceError
from hearth.core.identity import Principal
from hearth_gateway.core.operations import ApiResponse
from hearth_gateway.neighbours.calls import Authorize, CallerError, NeighbourRequest, NeighbourService
from hearth_gateway.neighbours.json_protocol import JsonService


@runtime_checkable
class SpeaksForms(Protocol):
    """A service that speaks the query protocol beside its own."""

    def form_refusal(self, error: HearthError, request_id: str) -> ApiResponse:
        """An error in the query protocol."""
        ...


class Neighbours:
    """The neighbouring services by signing name."""

    def __init__(self, services: Mapping[str, NeighbourService]) -> None:
        self._services = dict(services)
        # What an error looks like when it is not known whom it should come from.
        self._nobody = JsonService("logs", "2014-03-28", {})

    async def handle(
        self, service: str, request: NeighbourRequest, principal: Principal, authorize: Authorize
    ) -> ApiResponse:
        """The answer of the service of this signing name; errors are answers too."""
        found = self._services.get(service)
        try:
            if found is None:
                raise CallerError("UnknownOperationException", f"There is no service {service!r} on this platform.")
            return await found.handle(request, principal, authorize)
        except HearthError as error:
            return self.refuse(service, error, request.request_id)
        except Exception:  # the top of a request
            structlog.get_logger().exception("request failed", request_id=request.request_id, service=service)
            unknown = ServiceError("An internal error occurred. Please try again.")
            return self.refuse(service, unknown, request.request_id)

    def refuse(self, service: str, error: HearthError, request_id: str, *, is_form: bool = False) -> ApiResponse:
        """An error in the form of this service, also one from before the service was asked. `is_form`: that of the
        query protocol, where the service speaks another one too."""
        found = self._services.get(service, self._nobody)
        if is_form and isinstance(found, SpeaksForms):
            return found.form_refusal(error, request_id)
        return found.refusal(error, request_id)
