"""What becomes of an asynchronous event: before it runs, and after each attempt.

Rule 1: only the function's own failures are attempts. A throttle or a failure of the platform puts the event back after
1 s doubling to 5 min, for as long as its age allows.
Rule 2: an event ends once, and where it ends its records go: to a destination, to the dead-letter queue, or to both;
one that is given up and has neither is kept as a dead letter.
Rule 3: what cannot be handed to the function at all, because there is none or its policy does not allow the sender,
never was the function's: it goes where the sender wants what it could not deliver.
Source: "How Lambda handles errors and retries with asynchronous invocation" in the AWS Lambda developer guide.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, assert_never

from hearth.core.invocation import FunctionFailed, Outcome, PlatformFailed, Succeeded, Throttled
from hearth.core.records import FunctionRecord
from hearth_gateway.core import lineage
from hearth_gateway.core.async_event import AsyncEvent, Condition, Terms
from hearth_gateway.core.async_records import Response, destination_parcel, failure_parcel
from hearth_gateway.core.authorization import may_service_invoke
from hearth_gateway.core.back_off import doubling
from hearth_gateway.core.dead_letter import Letter, undelivered
from hearth_gateway.core.invocation_status import InvocationStatus, State, status_of
from hearth_gateway.core.parcel import Parcel
from hearth_gateway.core.retry import function_error

FIRST_REFUSAL_PAUSE_MS = 1_000
LONGEST_REFUSAL_PAUSE_MS = 300_000
_STORED_ERROR = 1_024
_FUNCTION_ERROR_STATUS = 200
_THROTTLED_STATUS = 429
_REFUSED_STATUS = 400


@dataclass(frozen=True, slots=True)
class Again:
    """The event is due again at `due_ms` (epoch milliseconds)."""

    event: AsyncEvent
    due_ms: int


@dataclass(frozen=True, slots=True)
class Ended:
    """The event is over. `parcels` leave with it; `letter` stays where nothing leaves that would keep it."""

    event: AsyncEvent
    condition: Condition
    parcels: tuple[Parcel, ...] = ()
    letter: Letter | None = None
    error: Mapping[str, Any] = field(default_factory=dict)

    def status(self, now_ms: int) -> InvocationStatus:
        """What is told about the invocation from now on."""
        is_success = self.condition is Condition.SUCCESS
        return replace(
            status_of(self.event, None),
            state=State.SUCCEEDED if is_success else State.FAILED,
            attempts=self.event.attempts + is_success,
            ended_ms=now_ms,
            condition=self.condition.value,
            error=_brief(self.error),
            results=tuple(parcel.target for parcel in self.parcels),
        )


Fate = Again | Ended


def unreachable(event: AsyncEvent, record: FunctionRecord | None, *, is_open: bool, now_ms: int) -> Ended | None:
    """The end of an event whose function is not there, or whose policy does not let the sender invoke it. `is_open`:
    services need no permission here."""
    if record is None or record.find(event.qualifier or None) is None:
        return _undeliverable(event, Condition.FUNCTION_NOT_FOUND, f"Function not found: {event.invoked_arn}", now_ms)
    if is_open or not event.service:
        return None
    account = account_of(event.sender)
    if may_service_invoke(
        record, event.qualifier or None, event.service, source_arn=event.sender, source_account=account
    ):
        return None
    return _undeliverable(event, Condition.NOT_PERMITTED, missing_permission(event), now_ms)


def account_of(arn: str) -> str:
    """The account in an ARN; a bucket's has none."""
    parts = arn.split(":")
    return parts[4] if len(parts) > 5 else ""  # noqa: PLR2004 - the fields of an ARN


def missing_permission(event: AsyncEvent) -> str:
    """What to do about a policy that does not allow the sender."""
    name, qualifier = event.function, f" --qualifier {event.qualifier}" if event.qualifier else ""
    return (
        f"{event.service} may not invoke {event.invoked_arn} for {event.sender or 'it'}. Allow it: aws lambda "
        f"add-permission --function-name {name}{qualifier} --statement-id {event.service.partition('.')[0]} "
        f"--action lambda:InvokeFunction --principal {event.service}"
        + (f" --source-arn {event.sender}" if event.sender else "")
    )


def before_attempt(
    event: AsyncEvent, terms: Terms, function_arn: str, *, now_ms: int, is_stopped: bool, may_recur: bool = False
) -> Ended | None:
    """Whether the event ends without (another) attempt. `is_stopped`: the function's reserved concurrency is 0;
    `may_recur`: it may be in its own chain of invocations as often as it likes."""
    if is_stopped:
        error = {"errorType": "ReservedFunctionConcurrentInvocationLimitExceeded", "errorMessage": "Rate Exceeded."}
        return _given_up(event, terms, function_arn, Condition.ZERO_RESERVED_CONCURRENCY, error=error, now_ms=now_ms)
    if event.age_ms(now_ms) > terms.max_age_ms:
        error = _known_error(event) or {"errorType": "EventAgeExceeded", "errorMessage": "The event is too old."}
        return _given_up(event, terms, function_arn, Condition.EVENT_AGE_EXCEEDED, error=error, now_ms=now_ms)
    if not may_recur and lineage.times(event.trace_id, function_arn) > lineage.MAX_INVOCATIONS:
        error = {"errorType": "RecursiveInvocationException", "errorMessage": "Recursive invocation detected."}
        return _given_up(event, terms, function_arn, Condition.RECURSIVE_INVOCATION, error=error, now_ms=now_ms)
    return None


def after_attempt(
    event: AsyncEvent, outcome: Outcome, terms: Terms, function_arn: str, *, version: str, now_ms: int
) -> Fate:
    """What becomes of an event whose attempt ended so. `version` is the one that ran."""
    match outcome:
        case Succeeded(payload=payload):
            return _succeeded(event, Response(version, payload), terms, function_arn, now_ms=now_ms)
        case FunctionFailed(payload=payload, kind=kind):
            error = function_error(payload, kind.value)
            response = Response(version, payload, "Unhandled")
            return _after_failure(event, error, terms, function_arn, response=response, now_ms=now_ms)
        case Throttled() | PlatformFailed():
            return refused(event, now_ms)
        case _:
            assert_never(outcome)


def refused(event: AsyncEvent, now_ms: int) -> Again:
    """Whatever kept the event from running was not the function: that is no attempt."""
    pause = doubling(event.refusals, FIRST_REFUSAL_PAUSE_MS, LONGEST_REFUSAL_PAUSE_MS)
    return Again(replace(event, refusals=event.refusals + 1), now_ms + pause)


def _succeeded(event: AsyncEvent, response: Response, terms: Terms, function_arn: str, *, now_ms: int) -> Ended:
    event = replace(event, last_attempt_ms=now_ms)
    if terms.on_success is None:
        return Ended(event, Condition.SUCCESS)
    parcel = destination_parcel(
        event,
        terms.on_success,
        function_arn,
        Condition.SUCCESS,
        count=event.attempts + 1,
        response=response,
        now_ms=now_ms,
    )
    return Ended(event, Condition.SUCCESS, (parcel,))


def _after_failure(
    event: AsyncEvent, error: dict[str, Any], terms: Terms, function_arn: str, *, response: Response, now_ms: int
) -> Fate:
    failed = replace(
        event,
        attempts=event.attempts + 1,
        refusals=0,
        last_attempt_ms=now_ms,
        error_type=str(error["errorType"]),
        error_message=str(error["errorMessage"])[:_STORED_ERROR],
    )
    condition = Condition.RETRIES_EXHAUSTED
    if failed.attempts <= terms.max_retry_attempts:
        due_ms = now_ms + terms.delay_ms(failed.attempts)
        if event.age_ms(due_ms) <= terms.max_age_ms:
            return Again(failed, due_ms)
        condition = Condition.EVENT_AGE_EXCEEDED
    return _given_up(failed, terms, function_arn, condition, error=error, now_ms=now_ms, response=response)


def _given_up(
    event: AsyncEvent,
    terms: Terms,
    function_arn: str,
    condition: Condition,
    *,
    error: Mapping[str, Any],
    now_ms: int,
    response: Response | None = None,
) -> Ended:
    parcels = []
    if terms.on_failure is not None:
        parcels.append(
            destination_parcel(
                event,
                terms.on_failure,
                function_arn,
                condition,
                count=event.attempts,
                response=response,
                now_ms=now_ms,
            )
        )
    if terms.dead_letter_arn is not None:
        message = str(error.get("errorMessage", ""))
        status = _status(condition, response)
        parcels.append(
            failure_parcel(event, terms.dead_letter_arn, function_arn, status=status, message=message, now_ms=now_ms)
        )
    letter = None if parcels else Letter(event, condition.value, error, event.attempts, event.accepted_ms, now_ms)
    return Ended(event, condition, tuple(parcels), letter, error)


def _undeliverable(event: AsyncEvent, condition: Condition, message: str, now_ms: int) -> Ended:
    left = undelivered(event, code=condition.value, message=message, attempts=event.attempts, now_ms=now_ms)
    error = {"errorType": condition.value, "errorMessage": message}
    if isinstance(left, Letter):
        return Ended(event, condition, (), left, error)
    return Ended(event, condition, (left,), None, error)


def _status(condition: Condition, response: Response | None) -> int:
    if response is not None:
        return _FUNCTION_ERROR_STATUS
    return _REFUSED_STATUS if condition is Condition.RECURSIVE_INVOCATION else _THROTTLED_STATUS


def _known_error(event: AsyncEvent) -> dict[str, Any]:
    if not event.error_type:
        return {}
    return {"errorType": event.error_type, "errorMessage": event.error_message}


def _brief(error: Mapping[str, Any]) -> dict[str, Any]:
    if not error:
        return {}
    message = str(error.get("errorMessage", ""))[:_STORED_ERROR]
    return {"errorType": str(error.get("errorType", "")), "errorMessage": message}
