"""The failure record of a stream: what the on-failure destination is told.

Queues and topics get positions, as with AWS; every other destination gets the records as well (`payload`, which AWS
sends to S3 only), and what the function said (`responsePayload`), because a stream that is trimmed keeps neither.
Source: AWS Lambda developer guide, "Retain discarded batch records", Kinesis and S3.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson

from hearth_gateway.core.addresses import BucketAddress, QueueAddress, TopicAddress, parse_address
from hearth_gateway.core.mapping import EventSourceMapping, is_own_form
from hearth_gateway.core.parcel import Parcel
from hearth_gateway.core.stream_batch import StreamOrigin, record
from hearth_gateway.core.stream_entry import SHARD, Entry
from hearth_gateway.core.stream_fate import Letter
from hearth_gateway.core.stream_window import Window


@dataclass(frozen=True, slots=True)
class Sending:
    """What a failure record says beside the letter. `request_id` is of the last call, or a new one if there was none;
    `window` is the one whose last call failed."""

    request_id: str
    version: str
    now_ms: int
    window: Window | None = None


def failure_parcel(letter: Letter, mapping: EventSourceMapping, origin: StreamOrigin, sending: Sending) -> Parcel:
    """The record as a parcel for the mapping's destination. Its id follows from what is given up: sent twice it is
    one."""
    if mapping.on_failure is None:
        raise ValueError("the mapping has no destination")
    target = parse_address(mapping.on_failure)
    body = _body(letter, mapping, sending)
    if not isinstance(target, QueueAddress | TopicAddress):
        body["payload"] = {"Records": [record(entry, origin) for entry in letter.entries]}
        if letter.error is not None:
            body["responsePayload"] = letter.error
    own_id = f"stream:{mapping.uuid}:{_range(letter, sending.window)}"
    is_object = isinstance(target, BucketAddress)
    return Parcel(
        id=own_id,
        target=mapping.on_failure,
        body=orjson.dumps(body),
        accepted_ms=sending.now_ms,
        sender=mapping.function_arn,
        subject=_object_key(mapping, sending) if is_object else None,
    )


def _range(letter: Letter, window: Window | None) -> str:
    if letter.entries:
        return f"{letter.entries[0].id}:{letter.entries[-1].id}"
    return "" if window is None else window.name


def _body(letter: Letter, mapping: EventSourceMapping, sending: Sending) -> dict[str, Any]:
    context = {
        "requestId": sending.request_id,
        "functionArn": mapping.function_arn,
        "condition": letter.condition.value,
        "approximateInvokeCount": letter.attempts,
    }
    failed = "Unhandled" if letter.has_thrown else None
    response = {"statusCode": 200, "executedVersion": sending.version, "functionError": failed}
    batch = "RedisStreamBatchInfo" if is_own_form(mapping.source_arn) else "KinesisBatchInfo"
    return {
        "requestContext": context,
        "responseContext": response if letter.was_invoked else None,
        "version": "1.0",
        "timestamp": _instant(sending.now_ms),
        batch: {**_extent(letter.entries), **_window(sending.window), "streamArn": mapping.source_arn},
    }


def _extent(entries: tuple[Entry, ...]) -> Mapping[str, Any]:
    if not entries:
        return {"shardId": SHARD, "batchSize": 0}
    first, last = entries[0].id, entries[-1].id
    return {
        "shardId": SHARD,
        "startSequenceNumber": first.sequence_number,
        "endSequenceNumber": last.sequence_number,
        "approximateArrivalOfFirstRecord": _instant(first.ms),
        "approximateArrivalOfLastRecord": _instant(last.ms),
        "batchSize": len(entries),
    }


def _window(window: Window | None) -> Mapping[str, Any]:
    """Ours: what is lost with a window whose last call fails is its state."""
    if window is None:
        return {}
    return {
        "windowStart": _instant(window.start_ms),
        "windowEnd": _instant(window.end_ms),
        "state": orjson.Fragment(window.state),
    }


def _instant(epoch_ms: int) -> str:
    """To the millisecond. Ids that are no times (a producer's own) are beyond what a date can say at some point."""
    bounded = min(epoch_ms, 253_402_300_799_999)
    when = datetime.fromtimestamp(bounded // 1000, UTC)
    return f"{when:%Y-%m-%dT%H:%M:%S}.{bounded % 1000:03d}Z"


def _object_key(mapping: EventSourceMapping, sending: Sending) -> str:
    when = datetime.fromtimestamp(sending.now_ms // 1000, UTC)
    name = f"{when:%Y-%m-%dT%H.%M.%S}-{sending.request_id}"
    return f"aws/lambda/{mapping.uuid}/{SHARD}/{when:%Y/%m/%d}/{name}"
