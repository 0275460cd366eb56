"""Messages into events, and what an answer says about them."""

import hashlib
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hearth_gateway.core.queue_batch import Message, Origin, failed_items, pack

ORIGIN = Origin("arn:aws:sqs:us-east-1:000000000000:jobs", "us-east-1", "000000000000")
MESSAGES = (Message("a", b"1", 5), Message("b", b"2", 6, attempts=2))
ALL = frozenset({"a", "b"})


def test_a_record_has_the_shape_that_batch_code_expects() -> None:
    batch = pack(MESSAGES[1:], ORIGIN).batch
    assert batch is not None
    [record] = orjson.loads(batch.event)["Records"]

    assert isinstance(record.pop("receiptHandle"), str)
    assert record == {
        "messageId": "b",
        "body": "2",
        "attributes": {
            "ApproximateReceiveCount": "3",
            "SentTimestamp": "6",
            "SenderId": "000000000000",
            "ApproximateFirstReceiveTimestamp": "6",
        },
        "messageAttributes": {},
        "md5OfMessageAttributes": None,
        "md5OfBody": hashlib.md5(b"2", usedforsecurity=False).hexdigest(),
        "eventSource": "aws:sqs",
        "eventSourceARN": ORIGIN.arn,
        "awsRegion": "us-east-1",
    }


def test_a_body_that_is_not_text_is_base64_and_says_so() -> None:
    batch = pack([Message("a", b"\xff\x00", 5)], ORIGIN).batch
    assert batch is not None
    [record] = orjson.loads(batch.event)["Records"]

    assert record["body"] == "/wA="
    assert record["messageAttributes"]["hearth.encoding"]["stringValue"] == "base64"
    assert record["md5OfBody"] == hashlib.md5(b"/wA=", usedforsecurity=False).hexdigest()


@given(st.lists(st.binary(max_size=3_000), max_size=12), st.integers(600, 5_000))
def test_packing_keeps_every_message_once_in_order_within_the_limit(bodies: list[bytes], limit: int) -> None:
    messages = [Message(str(n), body, 0) for n, body in enumerate(bodies)]

    packing = pack(messages, ORIGIN, limit)

    packed = packing.batch.messages if packing.batch else ()
    assert sorted([*packed, *packing.left_over, *packing.too_large], key=lambda one: int(one.id)) == messages
    assert list(packed) == sorted(packed, key=lambda one: int(one.id))
    if packing.batch:
        assert len(packing.batch.event) <= limit
        assert len(orjson.loads(packing.batch.event)["Records"]) == len(packed)
    else:
        # Something always moves: what is left over without a batch would come back for ever.
        assert not packing.left_over
    for one in packing.too_large:
        assert pack([one], ORIGIN, limit).batch is None


@pytest.mark.parametrize(
    ("response", "failed"),
    [
        (b'{"batchItemFailures":[]}', frozenset()),
        (b'{"batchItemFailures":null}', frozenset()),
        (b"{}", frozenset()),
        (b"null", frozenset()),
        (b"", frozenset()),
        (b'{"statusCode":200}', frozenset()),
        (b'{"batchItemFailures":[{"itemIdentifier":"a"}]}', frozenset({"a"})),
        (b'{"batchItemFailures":[{"itemIdentifier":"a"},{"itemIdentifier":"a"}]}', frozenset({"a"})),
        (b'{"batchItemFailures":[{"itemIdentifier":"a"},{"itemIdentifier":"b"}]}', ALL),
        (b'{"batchItemFailures":[{"itemIdentifier":""}]}', ALL),
        (b'{"batchItemFailures":[{"itemIdentifier":null}]}', ALL),
        (b'{"batchItemFailures":[{"messageId":"a"}]}', ALL),
        (b'{"batchItemFailures":[{"itemIdentifier":"c"}]}', ALL),
        (b'{"batchItemFailures":["a"]}', ALL),
        (b'{"batchItemFailures":"a"}', ALL),
        (b'{"BatchItemFailures":[]}', ALL),
        (b'"ok"', ALL),
        (b"[]", ALL),
        (b"{", ALL),
    ],
)
def test_the_answers_of_report_batch_item_failures(response: bytes, failed: frozenset[str]) -> None:
    assert failed_items(response, MESSAGES) == failed


_json: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["batchItemFailures", "itemIdentifier", "x"]), inner)
    ),
)


@given(_json)
def test_whatever_the_answer_only_messages_of_the_batch_can_fail(answer: Any) -> None:
    assert failed_items(orjson.dumps(answer), MESSAGES) <= ALL


class TestObjectStores:
    """What MinIO pushes to a Redis list with `format=access`, for functions that are written for S3."""

    ORIGIN = Origin("arn:hearth:redis:us-east-1:000000000000:hearth/list/bucket", "us-east-1", "000000000000", "s3")

    def access(self, *keys: str) -> bytes:
        records = [
            {
                "eventName": "s3:ObjectCreated:Put",
                "eventSource": "minio:s3",
                "s3": {"bucket": {"name": "b"}, "object": {"key": key}},
            }
            for key in keys
        ]
        return orjson.dumps([{"Event": records, "EventTime": "2026-11-21T10:00:00Z"}])

    def test_the_records_of_all_messages_are_one_event_of_s3(self) -> None:
        messages = [Message("1", self.access("x"), 5), Message("2", self.access("y%2Fz", "w"), 5)]
        batch = pack(messages, self.ORIGIN).batch
        assert batch is not None
        found = [(one["eventSource"], one["s3"]["object"]["key"]) for one in orjson.loads(batch.event)["Records"]]
        assert found == [("aws:s3", "x"), ("aws:s3", "y/z"), ("aws:s3", "w")]
        assert [one.id for one in batch.messages] == ["1", "2"]

    def test_what_is_no_event_of_an_object_store_reaches_the_function_as_it_is(self) -> None:
        batch = pack([Message("1", b"nonsense", 5), Message("2", self.access("x"), 5)], self.ORIGIN).batch
        assert batch is not None
        first, second = orjson.loads(batch.event)["Records"]
        assert (first["body"], second["s3"]["object"]["key"]) == ("nonsense", "x")
