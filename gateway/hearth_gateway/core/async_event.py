"""Asynchronous invocations as values: an accepted event, and what its function says about such events.

Source: "How Lambda handles errors and retries with asynchronous invocation" in the AWS Lambda developer guide.
"""

from dataclasses import dataclass
from enum import Enum

from hearth.core.attachments import EventInvokeConfig
from hearth.core.function import FunctionName

DEFAULT_RETRY_ATTEMPTS = 2
DEFAULT_MAX_AGE_S = 21_600
DELAYS_MS = (60_000, 120_000)
"""Before the second and the third attempt."""


class Condition(Enum):
    """Why an event ended. The first four are as destination records say it on AWS, where the others have no record."""

    SUCCESS = "Success"
    RETRIES_EXHAUSTED = "RetriesExhausted"
    EVENT_AGE_EXCEEDED = "EventAgeExceeded"
    ZERO_RESERVED_CONCURRENCY = "ZeroReservedConcurrency"
    RECURSIVE_INVOCATION = "RecursiveInvocation"
    FUNCTION_NOT_FOUND = "FunctionNotFound"
    NOT_PERMITTED = "NotPermitted"


@dataclass(frozen=True, slots=True)
class AsyncEvent:
    """An accepted event. `id` is the request id of every attempt; `qualifier` is empty where the caller gave none.

    `attempts` counts runs that the function failed, `refusals` throttles and platform failures since the last run.
    `sender`, `service` and `dead_letter_arn` are those of the parcel that it came as (`core/parcel.py`), empty for an
    invocation by API. `error_type` and `error_message` are of the last failed attempt. Times are epoch milliseconds.
    """

    id: str
    function: FunctionName
    qualifier: str
    invoked_arn: str
    payload: bytes
    trace_id: str
    accepted_ms: int
    attempts: int = 0
    refusals: int = 0
    sender: str = ""
    service: str = ""
    dead_letter_arn: str | None = None
    last_attempt_ms: int = 0
    error_type: str = ""
    error_message: str = ""

    def age_ms(self, now_ms: int) -> int:
        return max(0, now_ms - self.accepted_ms)


@dataclass(frozen=True, slots=True)
class Terms:
    """What a function says about its asynchronous invocations. `delays_ms` are the waits before the attempts that
    follow a failure; the last one goes on being used."""

    max_retry_attempts: int = DEFAULT_RETRY_ATTEMPTS
    max_age_ms: int = DEFAULT_MAX_AGE_S * 1_000
    delays_ms: tuple[int, ...] = DELAYS_MS
    on_success: str | None = None
    on_failure: str | None = None
    dead_letter_arn: str | None = None

    def delay_ms(self, attempts: int) -> int:
        """The wait after that many failed attempts, at least one."""
        return self.delays_ms[min(attempts, len(self.delays_ms)) - 1]


def terms_of(config: EventInvokeConfig | None, dead_letter_arn: str | None, delays_ms: tuple[int, ...]) -> Terms:
    """The terms of a function or alias, defaults where nothing was set."""
    if config is None:
        return Terms(delays_ms=delays_ms, dead_letter_arn=dead_letter_arn)
    retries, age_s = config.max_retry_attempts, config.max_event_age_s
    return Terms(
        max_retry_attempts=DEFAULT_RETRY_ATTEMPTS if retries is None else retries,
        max_age_ms=(DEFAULT_MAX_AGE_S if age_s is None else age_s) * 1_000,
        delays_ms=delays_ms,
        on_success=config.on_success,
        on_failure=config.on_failure,
        dead_letter_arn=dead_letter_arn,
    )
