"""One invocation on its way, and every way it can end.

Times are seconds of one monotonic clock unless a name says otherwise.
What is made for every invocation is a named tuple: as immutable as a frozen dataclass, made in a quarter of its time.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple, Protocol

from hearth.core.function import FunctionVersion


class ResponseStream(Protocol):
    """Takes a response piece by piece, as it is produced, on behalf of a caller that wants it so."""

    def begin(self, content_type: str, go_on: Callable[[], None]) -> None:
        """The function has begun to answer. `go_on` is to be called when there is room again."""
        ...

    def write(self, piece: bytes) -> bool:
        """Take a piece. False: that was enough for now; what is under way already comes all the same."""
        ...


class Invocation(NamedTuple):
    """A request to run a function once. `payload` reaches the handler byte for byte. A function that streams its
    response writes it to `stream`; without one its pieces are collected. One that does not stream never touches it.
    """

    request_id: str
    function: FunctionVersion
    payload: bytes
    arrived_at: float
    invoked_arn: str
    trace_id: str = ""
    client_context: str = ""
    wants_log_tail: bool = False
    stream: ResponseStream | None = None


@dataclass(slots=True)
class Ledger:
    """Where the milliseconds of one invocation went, in seconds. Zero where a step did not happen.

    queue: waiting for a place; start: until an environment existed; init: code loading; handler: event handed over
    until the response; overhead: the rest, spent in the platform.
    """

    queue_s: float = 0.0
    start_s: float = 0.0
    init_s: float = 0.0
    handler_s: float = 0.0
    overhead_s: float = 0.0


class ThrottleReason(Enum):
    """The reasons of TooManyRequestsException that the scheduler can give (AWS Lambda API, Invoke)."""

    RESERVED = "ReservedFunctionConcurrentInvocationLimitExceeded"
    ACCOUNT = "ConcurrentInvocationLimitExceeded"


class FailureKind(Enum):
    """Why a function, not the platform, failed. The value is the `Error Type` of the REPORT line."""

    HANDLER = ""  # a caught exception: an ordinary REPORT line
    INIT = "Runtime.InitError"
    TIMEOUT = "Sandbox.Timedout"
    EXIT = "Runtime.ExitError"
    OUT_OF_MEMORY = "Runtime.OutOfMemory"
    INVALID_ENTRYPOINT = "Runtime.InvalidEntrypoint"
    INVALID_WORKING_DIR = "Runtime.InvalidWorkingDir"
    RESPONSE_TOO_LARGE = "Function.ResponseSizeTooLarge"


class Succeeded(NamedTuple):
    """The handler returned; `payload` is its JSON, as the runtime posted it.

    `content_type` is that of a response that was streamed, whose payload is what was collected of it: all, or nothing
    where the caller took the pieces.
    """

    payload: bytes
    ledger: Ledger
    log_tail: bytes = b""
    content_type: str = ""


class FunctionFailed(NamedTuple):
    """The function failed: still HTTP 200, with `X-Amz-Function-Error: Unhandled` and this payload. A stream may have
    begun by then: it is cut off."""

    kind: FailureKind
    payload: bytes
    ledger: Ledger
    log_tail: bytes = b""


@dataclass(frozen=True, slots=True)
class Throttled:
    """No place at the cap. Never counts as an attempt."""

    reason: ThrottleReason
    retry_after_s: int = 1


@dataclass(frozen=True, slots=True)
class PlatformFailed:
    """The platform lost the environment or could not make one. Never the function's fault, never an attempt.

    `was_started`: whether the handler may have run, so that repeating it could run it twice. `is_gone`: there is no
    such function any more; it was deleted while the request waited.
    """

    reason: str
    was_started: bool
    ledger: Ledger = field(default_factory=Ledger)
    is_gone: bool = False


Outcome = Succeeded | FunctionFailed | Throttled | PlatformFailed

MAX_REQUEST_BYTES = 6_291_456
"""Synchronous request payload, AWS Lambda quotas."""

MAX_RESPONSE_BYTES = 6_291_556
"""Synchronous response payload: 6 MiB and 100 bytes, as the service enforces it."""
