"""Messages of another SQS: as they are received, and as the records of an event.

Rule: a record is what that SQS said, attribute by attribute; its receipt handle is the real one, so that a handler may
use it.
Source: AWS Lambda developer guide, "Using Lambda with Amazon SQS", event shape.
"""

import base64
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from hearth.core.invocation import MAX_REQUEST_BYTES
from hearth_gateway.core.parcel import Attribute
from hearth_gateway.core.queue_batch import Origin
from hearth_gateway.core.sqs_md5 import md5_of_attributes, md5_of_body

_OPEN, _CLOSE = b'{"Records":[', b"]}"
LONGEST_VISIBILITY_S = 43_200


@dataclass(frozen=True, slots=True)
class SqsMessage:
    """A message that another SQS has given. `system` are its system attributes, as that SQS spells them; `received` is
    when it was received, seconds of a monotonic clock."""

    id: str
    receipt: str
    body: str
    received: float
    system: Mapping[str, str] = field(default_factory=dict)
    attributes: Mapping[str, Attribute] = field(default_factory=dict)

    @property
    def receive_count(self) -> int:
        """How often it was received, this time included."""
        text = self.system.get("ApproximateReceiveCount", "1")
        return int(text) if text.isdecimal() else 1


@dataclass(frozen=True, slots=True)
class SqsBatch:
    """Messages that fit one event, and the event; `left_over` are for the next one."""

    messages: tuple[SqsMessage, ...]
    event: bytes
    left_over: tuple[SqsMessage, ...] = ()


def sqs_record(message: SqsMessage, origin: Origin) -> dict[str, Any]:
    """The message as a member of `Records`."""
    return {
        "messageId": message.id,
        "receiptHandle": message.receipt,
        "body": message.body,
        "attributes": dict(message.system),
        "messageAttributes": {name: _attribute(one) for name, one in message.attributes.items()},
        "md5OfMessageAttributes": md5_of_attributes(message.attributes),
        "md5OfBody": md5_of_body(message.body),
        "eventSource": "aws:sqs",
        "eventSourceARN": origin.arn,
        "awsRegion": origin.region,
    }


def sqs_batch(messages: Iterable[SqsMessage], origin: Origin, limit: int = MAX_REQUEST_BYTES) -> SqsBatch:
    """Fill one event, in order, up to `limit` bytes of JSON. The first message is always in it: none of SQS is larger
    than an event."""
    room = limit - len(_OPEN) - len(_CLOSE)
    records: list[bytes] = []
    packed: list[SqsMessage] = []
    waiting = list(messages)
    for message in waiting:
        record = orjson.dumps(sqs_record(message, origin))
        room -= len(record) + 1
        if room < 0 and packed:
            break
        records.append(record)
        packed.append(message)
    return SqsBatch(tuple(packed), _OPEN + b",".join(records) + _CLOSE, tuple(waiting[len(packed) :]))


def rest_s(message: SqsMessage, queue_visibility_s: int, shortest_s: int, now: float) -> int:
    """How long a message that failed is hidden: what is left of the queue's own visibility timeout, as on AWS, and
    never less than `shortest_s`. Worked example: received 12 s ago from a queue with 30 s: 18 s more."""
    left_s = queue_visibility_s - (now - message.received)
    return min(LONGEST_VISIBILITY_S, max(shortest_s, round(left_s)))


def _attribute(attribute: Attribute) -> dict[str, Any]:
    shown: dict[str, Any] = {"stringListValues": [], "binaryListValues": [], "dataType": attribute.data_type}
    if isinstance(attribute.value, bytes):
        return {"binaryValue": base64.b64encode(attribute.value).decode(), **shown}
    return {"stringValue": attribute.value, **shown}
