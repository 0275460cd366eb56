"""Messages into events: the SQS record shape, batches within the payload limit, and what the answer says.

Source: AWS Lambda developer guide, "Using Lambda with Amazon SQS", event shape and "Reporting batch item failures".
"""

import base64
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from hearth.core.invocation import MAX_REQUEST_BYTES
from hearth_gateway.core.envelope import PLAIN, Head
from hearth_gateway.core.parcel import Attribute
from hearth_gateway.core.s3_events import NotAnS3Event, s3_records
from hearth_gateway.core.sqs_md5 import md5_of_attributes, md5_of_body

RECORD_OVERHEAD_BYTES = 700
"""A bound for what the record shape adds to a body, for deciding how many raw bytes to claim at once."""
SHAPES = (SQS_SHAPE, S3_SHAPE) = ("sqs", "s3")
"""What functions get of a list's messages: records of a queue, or records of an object store."""
ENCODING_ATTRIBUTE = "hearth.encoding"
"""The message attribute, `base64`, of a record whose body was not UTF-8."""

_OPEN, _CLOSE = b'{"Records":[', b"]}"


@dataclass(frozen=True, slots=True)
class Message:
    """A queue message in somebody's hands. `attempts` counts the ones that failed; this delivery is the next. `head` is
    what its sender said beside the body."""

    id: str
    body: bytes
    first_received_ms: int
    attempts: int = 0
    head: Head = PLAIN

    @property
    def sent_ms(self) -> int:
        """A plain push carries no time of its own: the first receipt is the earliest moment known."""
        return self.first_received_ms if self.head.sent_ms is None else self.head.sent_ms


@dataclass(frozen=True, slots=True)
class Origin:
    """Where messages come from, as their records say it. With the shape `s3` they hold what an object store says."""

    arn: str
    region: str
    account: str
    shape: str = SQS_SHAPE


@dataclass(frozen=True, slots=True)
class Batch:
    """Messages that fit one event, and the event."""

    messages: tuple[Message, ...]
    event: bytes


@dataclass(frozen=True, slots=True)
class Packing:
    """Claimed messages sorted out: one event's worth, those of the next events, those no event can hold."""

    batch: Batch | None
    left_over: tuple[Message, ...] = ()
    too_large: tuple[Message, ...] = ()


def pack(messages: Iterable[Message], origin: Origin, limit: int = MAX_REQUEST_BYTES) -> Packing:
    """Fill one event, in order, up to `limit` bytes of JSON. The batch is None if no message fits any event."""
    room = limit - len(_OPEN) - len(_CLOSE)
    records: list[bytes] = []
    packed: list[Message] = []
    left_over: list[Message] = []
    too_large: list[Message] = []
    used = 0
    for message in messages:
        if left_over:  # the batch is closed: the rest waits, measured when its turn comes
            left_over.append(message)
            continue
        record = _written(message, origin)
        if len(record) > room:
            too_large.append(message)
        elif used + len(record) > room:
            left_over.append(message)
        else:
            records.append(record)
            packed.append(message)
            used += len(record) + 1  # and a comma before the next
    batch = Batch(tuple(packed), _OPEN + b",".join(filter(None, records)) + _CLOSE) if packed else None
    return Packing(batch, tuple(left_over), tuple(too_large))


def _written(message: Message, origin: Origin) -> bytes:
    """The message's records, written. What should be an object store's and is not goes to the function as it is: it
    fails there, in the function's own words, and is kept as every message that fails."""
    if origin.shape == S3_SHAPE:
        try:
            return b",".join(map(orjson.dumps, s3_records(message.body, origin.region)))
        except NotAnS3Event:
            pass
    return orjson.dumps(record_of(message, origin))


def record_of(message: Message, origin: Origin) -> dict[str, Any]:
    """The message as a member of an event's `Records`."""
    text, is_binary = body_text(message.body)
    received = message.attempts + 1
    handle = base64.b64encode(f"{message.id}:{received}".encode()).decode()
    return {
        "messageId": message.id,
        "receiptHandle": handle,
        "body": text,
        "attributes": {
            "ApproximateReceiveCount": str(received),
            "SentTimestamp": str(message.sent_ms),
            "SenderId": message.head.sender or origin.account,
            "ApproximateFirstReceiveTimestamp": str(message.first_received_ms),
            **_system_attributes(message.head),
        },
        "messageAttributes": _attributes(message.head, is_binary=is_binary),
        "md5OfMessageAttributes": md5_of_attributes(message.head.attributes),
        # Of the text delivered, so that a consumer's own check agrees.
        "md5OfBody": md5_of_body(text),
        "eventSource": "aws:sqs",
        "eventSourceARN": origin.arn,
        "awsRegion": origin.region,
    }


def _system_attributes(head: Head) -> dict[str, str]:
    """Those that not every message has."""
    named = {
        "SequenceNumber": head.sequence,
        "MessageGroupId": head.group_id,
        "MessageDeduplicationId": head.deduplication_id,
        "AWSTraceHeader": head.trace_header,
        "DeadLetterQueueSourceArn": head.death.source_arn if head.death else "",
    }
    return {name: value for name, value in named.items() if value}


def _attributes(head: Head, *, is_binary: bool) -> dict[str, Any]:
    shown = attributes_of(head)
    return {**shown, ENCODING_ATTRIBUTE: _attribute(_BASE64)} if is_binary else shown


def attributes_of(head: Head) -> dict[str, Any]:
    """`messageAttributes` of a record."""
    return {name: _attribute(one) for name, one in head.attributes.items()}


_BASE64 = Attribute("String", "base64")


def _attribute(attribute: Attribute) -> dict[str, Any]:
    value = attribute.value
    shown = {"stringListValues": [], "binaryListValues": [], "dataType": attribute.data_type}
    if isinstance(value, bytes):
        return {"binaryValue": base64.b64encode(value).decode(), **shown}
    return {"stringValue": value, **shown}


def body_text(body: bytes) -> tuple[str, bool]:
    """The body as text, and whether it had to be base64 because it is not UTF-8."""
    try:
        return body.decode(), False
    except UnicodeDecodeError:
        return base64.b64encode(body).decode(), True


def failed_items(response: bytes, messages: Sequence[Message]) -> frozenset[str]:
    """The ids that `ReportBatchItemFailures` keeps in the queue, by the documented rules.

    An empty or null list, `{}` or `null` is success. A list of known ids is a partial failure. Everything else
    (an unknown, empty or null id, a wrong key, another shape, no JSON) fails the whole batch. An object that does
    not speak of batch failures at all counts as `{}`; one that misspells the word counts as a wrong key.
    """
    everything = frozenset(message.id for message in messages)
    try:
        answer = orjson.loads(response or b"null")
    except orjson.JSONDecodeError:
        return everything
    listed = _listed(answer)
    if listed is None or not listed <= everything:
        return everything
    return frozenset(listed)


def _listed(answer: Any) -> set[str] | None:
    """The identifiers listed; None if the answer has no valid shape."""
    if answer is None:
        return set()
    if not isinstance(answer, dict):
        return None
    if any(key != "batchItemFailures" and key.lower() == "batchitemfailures" for key in answer):
        return None
    items = answer.get("batchItemFailures") or []
    if not isinstance(items, list):
        return None
    ids = [item.get("itemIdentifier") if isinstance(item, dict) else None for item in items]
    return {str(one) for one in ids} if all(isinstance(one, str) and one for one in ids) else None
