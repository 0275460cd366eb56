"""Fates: what counts as an attempt, how long messages rest, what a dead letter holds."""

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

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
from hearth_gateway.core.queue_batch import Message
from hearth_gateway.core.retry import Again, RetryPolicy, Terms, function_error, platform_pause_ms, settle

TERMS = Terms(RetryPolicy(3), "arn", is_partial=True)
FAILED = FunctionFailed(FailureKind.TIMEOUT, b'{"errorMessage":"Task timed out"}', Ledger())
ANSWERS: list[Outcome] = [
    Succeeded(b"null", Ledger()),
    Succeeded(b'{"batchItemFailures":[{"itemIdentifier":"0"}]}', Ledger()),
    FAILED,
    Throttled(ThrottleReason.RESERVED),
    PlatformFailed("lost", was_started=True),
]

messages = st.lists(st.tuples(st.binary(max_size=9), st.integers(0, 9)), max_size=9).map(
    lambda rows: [Message(str(n), body, 1, attempts) for n, (body, attempts) in enumerate(rows)]
)


@given(st.sampled_from(ANSWERS), messages)
def test_every_message_has_exactly_one_fate(outcome: Outcome, batch: list[Message]) -> None:
    fates = settle(outcome, batch, TERMS, now_ms=100, pause_ms=50)

    ids = [*fates.done, *(one.id for one in fates.again), *(one.id for one in fates.dead)]
    assert sorted(ids) == sorted(message.id for message in batch)


@pytest.mark.parametrize("outcome", [Throttled(ThrottleReason.ACCOUNT), PlatformFailed("lost", was_started=True)])
def test_what_the_platform_could_not_do_is_never_an_attempt(outcome: Outcome) -> None:
    fates = settle(outcome, [Message("a", b"", 1, attempts=2)], TERMS, now_ms=100, pause_ms=50)

    assert (fates.again, fates.dead, fates.done) == ((Again("a", 2, 150),), (), ())


def test_a_failure_counts_and_the_last_one_is_death_with_everything_told() -> None:
    batch = [Message("a", b"x", 1, attempts=1), Message("b", b"\xff", 2, attempts=2)]

    fates = settle(FAILED, batch, TERMS, now_ms=100, pause_ms=0)

    assert fates.again == (Again("a", 2, 2_100),)
    [dead] = fates.dead
    assert (dead.id, orjson.loads(dead.record)) == (
        "b",
        {
            "id": "b",
            "source": "arn",
            "payload": "/w==",
            "encoding": "base64",
            "error": {"errorType": "Sandbox.Timedout", "errorMessage": "Task timed out"},
            "attempts": 3,
            "first_received": 2,
            "last_failed": 100,
        },
    )


def test_without_a_limit_nothing_dies() -> None:
    endless = Terms(RetryPolicy(None), "arn", is_partial=False)
    fates = settle(FAILED, [Message("a", b"", 1, attempts=10**6)], endless, now_ms=0, pause_ms=0)

    assert fates.again == (Again("a", 10**6 + 1, 60_000),)


def test_rests_double_up_to_their_longest() -> None:
    assert [RetryPolicy(9).delay_ms(n) for n in range(1, 9)] == [1000, 2000, 4000, 8000, 16000, 32000, 60000, 60000]
    assert [platform_pause_ms(n) for n in (0, 1, 2, 3, 8, 1000)] == [100, 100, 200, 400, 10_000, 10_000]


@pytest.mark.parametrize("payload", [b"", b"\xff", b"[1]", b'"text"', b"{", b"x" * 100_000])
def test_any_error_payload_becomes_an_error_with_type_and_message(payload: bytes) -> None:
    error = function_error(payload, "")

    assert error["errorType"] == "Unhandled"
    assert len(error["errorMessage"]) <= 32_768
