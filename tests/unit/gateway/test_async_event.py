"""What becomes of an asynchronous event."""

import json
import re
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
from hearth_gateway.core.async_event import AsyncEvent, Condition, Terms
from hearth_gateway.core.async_fate import Again, Ended, Fate, after_attempt, before_attempt
from hearth_gateway.core.lineage import extended
from hearth_gateway.core.parcel import Attribute

ARN = "arn:aws:lambda:us-east-1:000000000000:function:hello"
QUEUE = "arn:aws:sqs:us-east-1:000000000000:failed"
LIST = "arn:hearth:redis:us-east-1:000000000000:hearth/list/failed"
BUS = "arn:aws:events:us-east-1:000000000000:event-bus/default"
BUCKET = "arn:aws:s3:::failed"
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
    record = json.loads(ended.parcels[0].body)
    assert record["requestContext"]["condition"] == "ZeroReservedConcurrency"
    assert "responseContext" not in record
    assert "responsePayload" not in record


def test_a_failure_leaves_a_record_and_the_dead_letter_queue_gets_the_event_itself() -> None:
    fate = after(
        EVENT, BOOM, Terms(max_retry_attempts=0, on_failure=QUEUE, dead_letter_arn=DEAD), now_ms=1_763_717_405_568
    )
    assert isinstance(fate, Ended)
    record, letter = fate.parcels
    assert (record.target, letter.target, letter.body) == (QUEUE, DEAD, EVENT.payload)
    assert letter.attributes == {
        "RequestID": Attribute("String", "id-1"),
        "ErrorCode": Attribute("Number", "200"),
        "ErrorMessage": Attribute("String", "boom"),
    }
    assert fate.letter is None
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
    record = json.loads(fate.parcels[0].body)
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
    assert json.loads(fate.parcels[0].body)["responsePayload"] == "\ufffdplain"


def test_what_is_given_up_with_nowhere_to_go_is_kept_as_a_dead_letter() -> None:
    fate = after(EVENT, BOOM, Terms(max_retry_attempts=0))
    assert isinstance(fate, Ended)
    assert fate.letter is not None
    assert (fate.letter.payload, fate.letter.reason, fate.letter.attempts) == (EVENT.payload, "RetriesExhausted", 1)
    assert (fate.letter.box, fate.letter.error["errorMessage"]) == ("function/hello", "boom")


def test_a_record_that_is_too_large_for_its_queue_loses_the_payloads() -> None:
    huge = Succeeded(b'"' + b"x" * 1_100_000 + b'"', Ledger())
    for target, is_whole in ((QUEUE, False), (LIST, True), (BUCKET, True)):
        fate = after(EVENT, huge, Terms(on_success=target))
        assert isinstance(fate, Ended)
        record = json.loads(fate.parcels[0].body)
        assert ("responsePayload" in record) is is_whole
        assert ("requestPayload" in record) is is_whole
        assert record["requestContext"]["condition"] == "Success"


def test_a_bus_gets_the_record_in_an_event() -> None:
    for outcome, terms, ended in (
        (FINE, Terms(on_success=BUS), "Success"),
        (BOOM, Terms(max_retry_attempts=0, on_failure=BUS), "Failure"),
    ):
        fate = after(EVENT, outcome, terms)
        assert isinstance(fate, Ended)
        event = json.loads(fate.parcels[0].body)
        assert event["source"] == "lambda"
        assert event["detail-type"] == f"Lambda Function Invocation Result - {ended}"
        assert event["resources"] == [BUS, f"{ARN}:$LATEST"]
        assert event["detail"]["requestContext"]["requestId"] == "id-1"
        assert (event["account"], event["region"]) == ("000000000000", "us-east-1")


def test_a_bucket_gets_the_record_under_a_key_of_the_day() -> None:
    fate = after(EVENT, BOOM, Terms(max_retry_attempts=0, on_failure=BUCKET), now_ms=1_763_717_405_568)
    assert isinstance(fate, Ended)
    key = fate.parcels[0].subject
    assert key is not None
    assert re.fullmatch(r"aws/lambda/async/hello/2025/11/21/2025-11-21T09\.30\.05-[0-9a-f-]{36}", key)


def test_a_loop_of_invocations_is_given_up_unless_the_function_allows_it() -> None:
    trace = "Root=1-65000000-000000000000000000000000"
    for _ in range(17):
        trace = f"Root=1-65000000-000000000000000000000000;Lineage={extended(trace, ARN)[0]}"
    looping = replace(EVENT, trace_id=trace)
    ended = before_attempt(looping, Terms(dead_letter_arn=DEAD), ARN, now_ms=2_000, is_stopped=False)
    assert ended is not None
    assert ended.condition is Condition.RECURSIVE_INVOCATION
    assert [parcel.target for parcel in ended.parcels] == [DEAD]
    assert before_attempt(looping, Terms(), ARN, now_ms=2_000, is_stopped=False, may_recur=True) is None


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
