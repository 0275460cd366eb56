"""What becomes of an asynchronous event."""

import json
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from hearth.core.function import FunctionName
from hearth.core.invocation import (
    FailureKind,
    FunctionFailed,
    Ledger,
    Outcome,
    PlatformFailed,
    Succeeded,
    Throttled,
    ThrottleReason,
)
from hearth_gateway.core.async_event import (
    Again,
    AsyncEvent,
    Condition,
    Ended,
    Fate,
    Terms,
    after_attempt,
    before_attempt,
)

ARN = "arn:aws:lambda:us-east-1:000000000000:function:hello"
QUEUE = "arn:aws:sqs:us-east-1:000000000000:failed"
DEAD = "arn:aws:sqs:us-east-1:000000000000:dead"
EVENT = AsyncEvent("id-1", FunctionName("hello"), "", ARN, b'{"order":1}', "Root=1", accepted_ms=1_000)
BOOM = FunctionFailed(FailureKind.HANDLER, b'{"errorMessage":"boom"}', Ledger())
FINE = Succeeded(b'"done"', Ledger())
FULL = Throttled(ThrottleReason.RESERVED)


def after(event: AsyncEvent, outcome: Outcome, terms: Terms | None = None, now_ms: int = 2_000) -> Fate:
    return after_attempt(event, outcome, terms or Terms(), ARN, version="$LATEST", now_ms=now_ms)


def test_a_failing_function_gets_two_more_attempts_after_one_and_two_minutes() -> None:
    event, waits = EVENT, []
    while isinstance(fate := after(event, BOOM), Again):
        waits.append(fate.due_ms - 2_000)
        event = fate.event
    assert waits == [60_000, 120_000]
    assert fate.condition is Condition.RETRIES_EXHAUSTED


def test_a_throttle_is_no_attempt_and_waits_longer_each_time() -> None:
    event, waits = EVENT, []
    for _ in range(12):
        fate = after(event, FULL)
        assert isinstance(fate, Again)
        waits.append(fate.due_ms - 2_000)
        event = fate.event
    assert waits[:4] == [1_000, 2_000, 4_000, 8_000]
    assert max(waits) == 300_000
    assert event.attempts == 0


def test_an_event_that_is_too_old_is_given_up_unrun() -> None:
    assert before_attempt(EVENT, Terms(max_age_ms=60_000), ARN, now_ms=61_000, is_stopped=False) is None
    ended = before_attempt(EVENT, Terms(max_age_ms=60_000), ARN, now_ms=61_001, is_stopped=False)
    assert ended is not None
    assert ended.condition is Condition.EVENT_AGE_EXCEEDED


def test_a_retry_that_would_come_too_late_is_not_waited_for() -> None:
    fate = after(EVENT, BOOM, Terms(max_age_ms=60_000))
    assert isinstance(fate, Ended)
    assert fate.condition is Condition.EVENT_AGE_EXCEEDED


def test_a_stopped_function_gives_up_without_a_response() -> None:
    ended = before_attempt(EVENT, Terms(on_failure=QUEUE), ARN, now_ms=2_000, is_stopped=True)
    assert ended is not None
    record = json.loads(ended.deliveries[0].body)
    assert record["requestContext"]["condition"] == "ZeroReservedConcurrency"
    assert "responseContext" not in record
    assert "responsePayload" not in record


def test_a_failure_leaves_a_record_and_the_dead_letter_queue_gets_the_event_itself() -> None:
    fate = after(
        EVENT, BOOM, Terms(max_retry_attempts=0, on_failure=QUEUE, dead_letter_arn=DEAD), now_ms=1_763_717_405_568
    )
    assert isinstance(fate, Ended)
    record, letter = fate.deliveries
    assert (record.target, letter.target, letter.body) == (QUEUE, DEAD, EVENT.payload)
    assert json.loads(record.body) == {
        "version": "1.0",
        "timestamp": "2025-11-21T09:30:05.568Z",
        "requestContext": {
            "requestId": "id-1",
            "functionArn": f"{ARN}:$LATEST",
            "condition": "RetriesExhausted",
            "approximateInvokeCount": 1,
        },
        "requestPayload": {"order": 1},
        "responseContext": {"statusCode": 200, "executedVersion": "$LATEST", "functionError": "Unhandled"},
        "responsePayload": {"errorMessage": "boom"},
    }


def test_a_success_is_recorded_with_the_count_of_attempts() -> None:
    fate = after(replace(EVENT, attempts=1, qualifier="live"), FINE, Terms(on_success=QUEUE))
    assert isinstance(fate, Ended)
    record = json.loads(fate.deliveries[0].body)
    assert record["requestContext"] == {
        "requestId": "id-1",
        "functionArn": f"{ARN}:live",
        "condition": "Success",
        "approximateInvokeCount": 2,
    }
    assert record["responseContext"] == {"statusCode": 200, "executedVersion": "$LATEST"}
    assert record["responsePayload"] == "done"


def test_an_answer_that_is_no_json_is_recorded_as_text() -> None:
    fate = after(EVENT, Succeeded(b"\xffplain", Ledger()), Terms(on_success=QUEUE))
    assert isinstance(fate, Ended)
    assert json.loads(fate.deliveries[0].body)["responsePayload"] == "\ufffdplain"


@given(
    st.lists(st.sampled_from([BOOM, FULL, PlatformFailed("gone", was_started=True)]), max_size=40),
    st.integers(0, 2),
    st.integers(60, 21_600),
)
def test_whatever_happens_the_function_fails_at_most_its_attempts(
    outcomes: list[Outcome], retries: int, age_s: int
) -> None:
    terms, event, now_ms, failures = Terms(retries, age_s * 1_000), EVENT, 2_000, 0
    for outcome in outcomes:
        if before_attempt(event, terms, ARN, now_ms=now_ms, is_stopped=False) is not None:
            break
        failures += outcome is BOOM
        fate = after(event, outcome, terms, now_ms)
        if isinstance(fate, Ended):
            break
        assert fate.due_ms > now_ms
        event, now_ms = fate.event, fate.due_ms
    assert failures <= retries + 1
