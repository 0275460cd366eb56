"""What the fleet wants done. It decides; the engine does these, in the order given."""

from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

from hearth.core.function import FunctionVersion
from hearth.core.invocation import ThrottleReason


class StopReason(Enum):
    """Why an environment goes. Each is a metric label and stands in the log."""

    IDLE = "idle"
    STALE = "stale"
    AGED = "aged"
    EVICTED = "evicted"
    TIMEOUT = "timeout"
    INIT_FAILED = "init-failed"
    INIT_TIMEOUT = "init-timeout"
    START_FAILED = "start-failed"
    EXITED = "exited"
    SURPLUS = "surplus"
    SHUTDOWN = "shutdown"
    STUCK = "stuck"


class Verdict(Enum):
    """How a request ends without an answer of its handler."""

    TIMED_OUT = "timed-out"
    DIED = "died"
    INIT_FAILED = "init-failed"
    INIT_TIMED_OUT = "init-timed-out"
    NO_ENVIRONMENT = "no-environment"
    NO_MEMORY = "no-memory"
    DELETED = "deleted"
    SHUTDOWN = "shutdown"


@dataclass(frozen=True, slots=True)
class StartStem:
    """Start a generic container of the runtime under this id."""

    environment_id: str
    runtime: str


@dataclass(frozen=True, slots=True)
class StartFor:
    """Start a container for this function alone, under this id: its runtime begins with the container.
    `is_provisioned`: ahead of any request, and to be kept."""

    environment_id: str
    function: FunctionVersion
    is_provisioned: bool = False


@dataclass(frozen=True, slots=True)
class Specialise:
    """Make this stem cell the function's environment. `is_provisioned`: ahead of any request, and to be kept."""

    environment_id: str
    function: FunctionVersion
    is_provisioned: bool = False


class Dispatch(NamedTuple):
    """Hand the request to the environment, whose runtime is waiting for it."""

    environment_id: str
    request_id: str


@dataclass(frozen=True, slots=True)
class Stop:
    """Kill and remove the environment, then report that it died."""

    environment_id: str
    reason: StopReason


@dataclass(frozen=True, slots=True)
class Conclude:
    """End a request that will get no answer from its handler. `environment_id` is empty if it never had one."""

    request_id: str
    verdict: Verdict
    environment_id: str = ""


@dataclass(frozen=True, slots=True)
class Grant:
    """A reservation's turn has come: it holds a place now."""

    reservation_id: str


Effect = StartStem | StartFor | Specialise | Dispatch | Stop | Conclude | Grant


@dataclass(frozen=True, slots=True)
class Refusal:
    """The answer to a request that is not admitted."""

    reason: ThrottleReason
