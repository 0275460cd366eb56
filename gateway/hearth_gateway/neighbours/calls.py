"""What all neighbouring services share: a call, who makes it, and the errors it can end with.

A handler gets the members of the request by the names of the service model, checked against the model's constraints,
and gives the members of the answer: strings, numbers, booleans, datetimes, lists, and mappings without None.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from hearth.core.errors import Fault, HearthError
from hearth.core.identity import Principal
from hearth.core.policy import PolicyDocument
from hearth_gateway.core.operations import ApiResponse

Members = Mapping[str, Any]
Conditions = Mapping[str, str | tuple[str, ...]]


class CallerError(HearthError):
    """An error of the caller's by one of the service's own codes."""

    fault = Fault.CALLER

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.code = code
        self.status = status


def denied(message: str) -> CallerError:
    """A refusal that no policy is needed for."""
    return CallerError("AccessDenied", message, 403)


class Authorize(Protocol):
    """Raises an error of the caller's unless whoever makes the request may do this. `policy` is the resource's own."""

    def __call__(
        self, action: str, resource: str, *, conditions: Conditions, policy: PolicyDocument | None = None
    ) -> None: ...


@dataclass(frozen=True, slots=True)
class NeighbourRequest:
    """A request to a neighbouring service, its signature verified. `path` is raw, `headers` find a name in any case;
    `surroundings` are the condition keys that every request has; `is_there` says whether its sender still waits for an
    answer that is worth giving."""

    method: str
    query: str
    headers: Mapping[str, str]
    body: bytes
    request_id: str
    source_ip: str = ""
    path: str = "/"
    surroundings: Conditions = field(default_factory=dict)
    is_there: Callable[[], bool] = lambda: True


@dataclass(frozen=True, slots=True)
class Call:
    """One operation asked for. `conditions` are the condition keys that hold for every operation. `attempt_of` is the
    same for every attempt of a client that tries again by itself, else the request's own id."""

    parameters: dict[str, Any]
    principal: Principal
    authorize: Authorize
    conditions: Conditions = field(default_factory=dict)
    attempt_of: str = ""

    def __getitem__(self, member: str) -> Any:
        """A member that the model requires."""
        return self.parameters[member]

    def get(self, member: str, default: Any = None) -> Any:
        """A member that may be missing."""
        return self.parameters.get(member, default)

    def allow(
        self,
        action: str,
        resource: str,
        conditions: Conditions | None = None,
        *,
        policy: PolicyDocument | None = None,
    ) -> None:
        """Raise AccessDenied unless the caller may do this, by policies of their own or by the resource's `policy`."""
        self.authorize(action, resource, conditions={**self.conditions, **(conditions or {})}, policy=policy)


Handler = Callable[[Call], Awaitable[Members]]


class NeighbourService(Protocol):
    """One service: its protocol and its operations."""

    async def handle(self, request: NeighbourRequest, principal: Principal, authorize: Authorize) -> ApiResponse:
        """Read, check, run, answer. Raises HearthError."""
        ...

    def refusal(self, error: HearthError, request_id: str) -> ApiResponse:
        """An error in the service's own form."""
        ...


def conditions_of(request: NeighbourRequest) -> Conditions:
    """The condition keys of a request's time, connection and client: trust policies may ask for any of them."""
    known = {"aws:SourceIp": request.source_ip, "aws:UserAgent": request.headers.get("User-Agent", "")}
    return {**request.surroundings, **{key: value for key, value in known.items() if value}}
