"""Asynchronous invocations as values: an accepted event, and what becomes of it.

Rule 1: only the function's own failures are attempts. A throttle or a failure of the platform puts the event back after
1 s doubling to 5 min, for as long as its age allows.
Rule 2: an event ends once, and where it ends its records go: to a destination, to the dead-letter queue, or to both.
Source: "How Lambda handles errors and retries with asynchronous invocation" and "Capturing records of Lambda
asynchronous invocations" in the AWS Lambda developer guide.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import Enum
from typing import Any, assert_never

import orjson

from hearth.core.attachments import EventInvokeConfig
from hearth.core.function import LATEST, FunctionName
from hearth.core.invocation import FunctionFailed, Outcome, PlatformFailed, Succeeded, Throttled
from hearth_gateway.core.retry import doubling

DEFAULT_RETRY_ATTEMPTS = 2
DEFAULT_MAX_AGE_S = 21_600
FIRST_REFUSAL_PAUSE_MS = 1_000
LONGEST_REFUSAL_PAUSE_MS = 300_000


class Condition(Enum):
    """Why an event ended, as destination records say it."""

    SUCCESS = "Success"
    RETRIES_EXHAUSTED = "RetriesExhausted"
    EVENT_AGE_EXCEEDED = "EventAgeExceeded"
    ZERO_RESERVED_CONCURRENCY = "ZeroReservedConcurrency"


@dataclass(frozen=True, slots=True)
class AsyncEvent:
    """An accepted event. `id` is the request id of every attempt; `qualifier` is empty where the caller gave none.

    `attempts` counts runs that the function failed, `refusals` throttles and platform failures since the last run.
    `accepted_ms` is epoch milliseconds.
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

    def age_ms(self, now_ms: int) -> int:
        return max(0, now_ms - self.accepted_ms)


@dataclass(frozen=True, slots=True)
class Terms:
    """What a function says about its asynchronous invocations. `delays_ms` are the waits before the attempts that
    follow a failure; the last one goes on being used."""

    max_retry_attempts: int = DEFAULT_RETRY_ATTEMPTS
    max_age_ms: int = DEFAULT_MAX_AGE_S * 1_000
    delays_ms: tuple[int, ...] = (60_000, 120_000)
    on_success: str | None = None
    on_failure: str | None = None
    dead_letter_arn: str | None = None

    def delay_ms(self, attempts: int) -> int:
        """The wait after that many failed attempts, at least one."""
        return self.delays_ms[min(attempts, len(self.delays_ms)) - 1]


@dataclass(frozen=True, slots=True)
class Delivery:
    """Something that leaves with the end of an event: `body` for the queue or function that `target` names."""

    target: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Again:
    """The event is due again at `due_ms` (epoch milliseconds)."""

    event: AsyncEvent
    due_ms: int


@dataclass(frozen=True, slots=True)
class Ended:
    """The event is over."""

    condition: Condition
    deliveries: tuple[Delivery, ...] = ()


Fate = Again | Ended


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


def before_attempt(
    event: AsyncEvent, terms: Terms, function_arn: str, *, now_ms: int, is_stopped: bool
) -> Ended | None:
    """Whether the event ends without (another) attempt. `is_stopped`: the function's reserved concurrency is 0."""
    if is_stopped:
        return _given_up(event, terms, function_arn, Condition.ZERO_RESERVED_CONCURRENCY, now_ms=now_ms)
    if event.age_ms(now_ms) > terms.max_age_ms:
        return _given_up(event, terms, function_arn, Condition.EVENT_AGE_EXCEEDED, now_ms=now_ms)
    return None


def after_attempt(
    event: AsyncEvent, outcome: Outcome, terms: Terms, function_arn: str, *, version: str, now_ms: int
) -> Fate:
    """What becomes of an event whose attempt ended so. `version` is the one that ran."""
    match outcome:
        case Succeeded(payload=payload):
            response = {"statusCode": 200, "executedVersion": version}
            record = _record(event, function_arn, Condition.SUCCESS, event.attempts + 1, now_ms=now_ms)
            body = _with_response(record, response, payload)
            targets = () if terms.on_success is None else (Delivery(terms.on_success, body),)
            return Ended(Condition.SUCCESS, targets)
        case FunctionFailed(payload=payload):
            return _after_failure(event, payload, terms, function_arn, version=version, now_ms=now_ms)
        case Throttled() | PlatformFailed():
            pause = doubling(event.refusals, FIRST_REFUSAL_PAUSE_MS, LONGEST_REFUSAL_PAUSE_MS)
            return Again(replace(event, refusals=event.refusals + 1), now_ms + pause)
        case _:
            assert_never(outcome)


def _after_failure(
    event: AsyncEvent, payload: bytes, terms: Terms, function_arn: str, *, version: str, now_ms: int
) -> Fate:
    failed = replace(event, attempts=event.attempts + 1, refusals=0)
    condition = Condition.RETRIES_EXHAUSTED
    if failed.attempts <= terms.max_retry_attempts:
        due_ms = now_ms + terms.delay_ms(failed.attempts)
        if event.age_ms(due_ms) <= terms.max_age_ms:
            return Again(failed, due_ms)
        condition = Condition.EVENT_AGE_EXCEEDED
    response = {"statusCode": 200, "executedVersion": version, "functionError": "Unhandled"}
    return _given_up(failed, terms, function_arn, condition, now_ms=now_ms, response=response, answer=payload)


def _given_up(
    event: AsyncEvent,
    terms: Terms,
    function_arn: str,
    condition: Condition,
    *,
    now_ms: int,
    response: Mapping[str, Any] | None = None,
    answer: bytes = b"",
) -> Ended:
    deliveries = []
    if terms.on_failure is not None:
        record = _record(event, function_arn, condition, event.attempts, now_ms=now_ms)
        body = orjson.dumps(record) if response is None else _with_response(record, response, answer)
        deliveries.append(Delivery(terms.on_failure, body))
    if terms.dead_letter_arn is not None:
        deliveries.append(Delivery(terms.dead_letter_arn, event.payload))
    return Ended(condition, tuple(deliveries))


def _record(event: AsyncEvent, function_arn: str, condition: Condition, count: int, *, now_ms: int) -> dict[str, Any]:
    """A destination record, version 1.0, without the response. The function's ARN in it is always qualified."""
    moment = datetime.fromtimestamp(now_ms / 1000, UTC)
    return {
        "version": "1.0",
        "timestamp": moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{now_ms % 1000:03}Z",
        "requestContext": {
            "requestId": event.id,
            "functionArn": f"{function_arn}:{event.qualifier or LATEST}",
            "condition": condition.value,
            "approximateInvokeCount": count,
        },
        "requestPayload": orjson.Fragment(event.payload),
    }


def _with_response(record: dict[str, Any], response: Mapping[str, Any], payload: bytes) -> bytes:
    return orjson.dumps({**record, "responseContext": response, "responsePayload": orjson.Fragment(_json(payload))})


def _json(payload: bytes) -> bytes:
    """The function's answer; text where it is no JSON, which a custom runtime may post."""
    try:
        orjson.loads(payload)
    except orjson.JSONDecodeError:
        return orjson.dumps(payload.decode(errors="replace"))
    return payload
