"""The buffer between receipt and function: bounded, in order, and every message ends once."""

import base64

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from hearth.core.invocation import MAX_REQUEST_BYTES, FailureKind, FunctionFailed, Ledger, PlatformFailed, Succeeded
from hearth_gateway.core import channel_batch as c

ARN = "arn:hearth:redis:us-east-1:000000000000:hearth/channel/news"


def entry(number: int, *, size: int = 10, at_ms: int = 0) -> c.Entry:
    return c.Entry(f"{number}", b'"' + b"x" * (size - 2) + b'"', at_ms)


def members(message: bytes, pattern: str | None = None) -> dict[str, object]:
    published = c.Published("news.today", message, pattern)
    return c.members_of(published, own_id="id-1", arn=ARN, region="us-east-1", received_ms=7)


def test_a_record_says_where_its_message_comes_from() -> None:
    assert members(b"hello", "news.*") == {
        "messageId": "id-1",
        "eventSource": "hearth:redis-channel",
        "eventSourceARN": ARN,
        "awsRegion": "us-east-1",
        "channel": "news.today",
        "pattern": "news.*",
        "message": "hello",
        "isBase64Encoded": False,
        "receivedTimestamp": 7,
    }


def test_a_message_that_is_no_text_is_base64_and_says_so() -> None:
    record = members(b"\xff\x00")
    assert (record["message"], record["isBase64Encoded"]) == (base64.b64encode(b"\xff\x00").decode(), True)


@given(st.lists(st.binary(max_size=50), min_size=1, max_size=20))
def test_every_message_is_in_the_event_as_it_was_published(messages: list[bytes]) -> None:
    batch = c.Batch(tuple(c.Entry.of(members(message)) for message in messages))
    records = orjson.loads(batch.event)["Records"]
    read = [base64.b64decode(one["message"]) if one["isBase64Encoded"] else one["message"].encode() for one in records]
    assert read == messages


def test_a_batch_is_ready_when_it_is_full_or_its_window_is_over() -> None:
    buffer = c.Buffer()
    assert buffer.ready_ms(3, 1_000) is None
    buffer.offer(entry(1, at_ms=50))
    buffer.offer(entry(2, at_ms=60))
    assert buffer.ready_ms(3, 1_000) == 1_050
    assert buffer.ready_ms(2, 1_000) == 50


def test_a_batch_that_rests_keeps_together_and_goes_before_new_messages() -> None:
    buffer = c.Buffer()
    for number in range(4):
        buffer.offer(entry(number))
    first = buffer.take(2, 0)
    assert first is not None
    buffer.rest(c.Again(first, due_ms=100))
    assert buffer.ready_ms(10, 1_000) == 100
    assert buffer.take(10, 100) == first
    rest = buffer.take(10, 100)
    assert rest is not None and [one.id for one in rest.entries] == ["2", "3"]


def test_messages_beyond_an_event_wait_for_the_next() -> None:
    buffer = c.Buffer()
    half = (c.EVENT_ROOM - 1) // 2  # and a comma between them
    for number in range(3):
        assert buffer.offer(entry(number, size=half))
    batch = buffer.take(10, 0)
    assert batch is not None and len(batch.entries) == 2 and len(batch.event) <= MAX_REQUEST_BYTES


@pytest.mark.parametrize(("size", "fits"), [(c.EVENT_ROOM, True), (c.EVENT_ROOM + 1, False)])
def test_the_largest_message_fills_an_event_to_the_last_byte(size: int, fits: bool) -> None:
    one = entry(1, size=size)
    assert c.fits_an_event(one) is fits
    if fits:
        buffer = c.Buffer()
        buffer.offer(one)
        batch = buffer.take(10, 0)
        assert batch is not None and len(batch.event) == MAX_REQUEST_BYTES


class Bounded(RuleBasedStateMachine):
    """Whatever happens in whatever order: never more than the bounds, nothing twice, nothing gone."""

    def __init__(self) -> None:
        super().__init__()
        self.buffer = c.Buffer(max_messages=5, max_bytes=200)
        self.next = 0
        self.accepted: set[str] = set()
        self.bytes = 0
        self.ended: set[str] = set()
        self.out: list[c.Batch] = []

    @rule(size=st.integers(3, 90))
    def publish(self, size: int) -> None:
        one = entry(self.next, size=size, at_ms=self.next)
        self.next += 1
        if self.buffer.offer(one):
            self.accepted.add(one.id)
            self.bytes += one.size

    @rule(limit=st.integers(1, 4), now=st.integers(0, 30))
    def take(self, limit: int, now: int) -> None:
        batch = self.buffer.take(limit, now)
        if batch is not None:
            self.out.append(batch)

    @precondition(lambda self: self.out)
    @rule(due=st.integers(0, 30))
    def rest(self, due: int) -> None:
        self.buffer.rest(c.Again(self.out.pop(0), due))

    @precondition(lambda self: self.out)
    @rule()
    def end(self) -> None:
        entries = self.out.pop().entries
        assert not self.ended & {one.id for one in entries}
        self.ended |= {one.id for one in entries}
        self.bytes -= sum(one.size for one in entries)
        self.buffer.end(entries)

    @invariant()
    def is_bounded_and_counts_right(self) -> None:
        assert self.buffer.held == len(self.accepted) - len(self.ended) <= 5
        assert self.buffer.held_bytes == self.bytes <= 200

    def teardown(self) -> None:
        left = {one.id for one in self.buffer.take_all()} | {one.id for batch in self.out for one in batch.entries}
        assert left == self.accepted - self.ended


TestBounded = Bounded.TestCase


# -- what becomes of a batch ------------------------------------------------------------------------------------------

FAILED = FunctionFailed(FailureKind.HANDLER, b'{"errorType":"E","errorMessage":"m"}', Ledger())


def test_failures_are_repeated_with_growing_pauses_and_then_given_up_with_the_error() -> None:
    terms = c.Terms.of(None, None)
    batch = c.Batch((entry(1),))
    first = c.after_attempt(batch, FAILED, terms, now_ms=0)
    assert isinstance(first, c.Again) and first.due_ms == 1_000
    second = c.after_attempt(first.batch, FAILED, terms, now_ms=0)
    assert isinstance(second, c.Again) and second.due_ms == 2_000
    third = c.after_attempt(second.batch, FAILED, terms, now_ms=0)
    assert third == c.Lost(batch.entries, c.Condition.RETRIES_EXHAUSTED, 3, {"errorType": "E", "errorMessage": "m"})


@pytest.mark.parametrize(("attempts", "ends"), [(0, True), (-1, False)])
def test_the_mapping_says_how_often(attempts: int, ends: bool) -> None:
    batch = c.Batch((entry(1),), attempts=0 if ends else 1_000)
    assert isinstance(c.after_attempt(batch, FAILED, c.Terms.of(attempts, None), 0), c.Lost) is ends


def test_what_the_platform_fails_is_no_attempt() -> None:
    batch = c.Batch((entry(1),))
    fate = c.after_attempt(batch, PlatformFailed("away", was_started=False), c.Terms.of(0, None), 0)
    assert isinstance(fate, c.Again) and fate.batch.attempts == 0 and fate.due_ms == 100


def test_a_success_is_done() -> None:
    assert c.after_attempt(c.Batch((entry(1),)), Succeeded(b"", Ledger()), c.Terms.of(None, None), 0) == c.Done()


def test_messages_older_than_the_mapping_wants_leave_their_batch() -> None:
    batch = c.Batch((entry(1, at_ms=0), entry(2, at_ms=5_000)))
    fresh, old = c.without_the_old(batch, c.Terms.of(None, 5), now_ms=6_000)
    assert fresh is not None and [one.id for one in fresh.entries] == ["2"]
    assert old is not None and [one.id for one in old.entries] == ["1"] and old.condition is c.Condition.TOO_OLD
    assert c.without_the_old(batch, c.Terms.of(None, -1), now_ms=10**9) == (batch, None)


def test_a_record_of_loss_carries_the_messages_whole() -> None:
    entries = (c.Entry.of(members(b"a")), c.Entry.of(members(b"b")))
    lost = c.Lost(entries, c.Condition.RETRIES_EXHAUSTED, 3, {"errorType": "E"})
    record = orjson.loads(c.failure_record(lost, request_id="r", function_arn="f", source_arn=ARN, now_ms=1_500))
    assert [one["message"] for one in record["requestPayload"]["Records"]] == ["a", "b"]
    assert record["requestContext"] == {
        "requestId": "r",
        "functionArn": "f",
        "condition": "RetryAttemptsExhausted",
        "approximateInvokeCount": 3,
    }
    assert (record["timestamp"], record["responsePayload"]) == ("1970-01-01T00:00:01.500Z", {"errorType": "E"})
    assert record["RedisChannelBatchInfo"]["batchSize"] == 2


@given(st.lists(st.integers(3, c.PART_BYTES + 100), min_size=1, max_size=12))
def test_parts_are_small_and_together_the_whole(sizes: list[int]) -> None:
    lost = c.Lost(tuple(entry(n, size=size) for n, size in enumerate(sizes)), c.Condition.BUFFER_FULL)
    parts = list(c.parts_of(lost))
    assert tuple(one for part in parts for one in part.entries) == lost.entries
    assert all(len(part.entries) == 1 or sum(one.size for one in part.entries) <= c.PART_BYTES for part in parts)
