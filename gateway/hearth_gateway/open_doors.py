"""Doors that need no signature of AWS's: whoever stands behind one proves in its own way who sends a request."""

from typing import Protocol

from hearth_gateway.core.http_event import HttpRequest
from hearth_gateway.core.operations import ApiResponse


class OpenDoor(Protocol):
    """Some paths of the one port, by what they begin with (`/hooks/`)."""

    @property
    def max_bytes(self) -> int:
        """The largest body; what is larger is refused with 413 before it is read."""
        ...

    async def respond(self, request: HttpRequest, request_id: str) -> ApiResponse:
        """Answer a request from anybody. Raises HearthError."""
        ...
