"""The failure record of a stream: what the on-failure destination is told; without one, the dead letter.

Queues and topics get positions, as with AWS; every other destination gets the records as well (`payload`, which AWS
sends to S3 only), and what the function said (`responsePayload`), because a stream that is trimmed keeps neither.
Source: AWS Lambda developer guide, "Retain discarded batch records", Kinesis and S3.
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, assert_never

import orjson

from hearth_gateway.core import dead_letter
from hearth_gateway.core.addresses import BucketAddress, QueueAddress, TopicAddress, parse_address
from hearth_gateway.core.mapping import EventSourceMapping, is_own_form
from hearth_gateway.core.parcel import Parcel
from hearth_gateway.core.stream_batch import StreamOrigin, final_event, pack, record
from hearth_gateway.core.stream_entry import SHARD, Entry
from hearth_gateway.core.stream_fate import Condition, Letter
from hearth_gateway.core.stream_window import Window


@dataclass(frozen=True, slots=True)
class Sending:
    """What a failure record says beside the letter. `request_id` is of the last call, or a new one if there was none;
    `window` is the one whose last call failed; `role` is the function's."""

    request_id: str
    version: str
    now_ms: int
    window: Window | None = None
    role: str = ""


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
    is_object = isinstance(target, BucketAddress)
    return Parcel(
        id=_id(mapping, letter.entries, sending.window),
        target=mapping.on_failure,
        body=orjson.dumps(body),
        accepted_ms=sending.now_ms,
        sender=mapping.function_arn,
        subject=_object_key(mapping, sending) if is_object else None,
    )


def dead_letters(
    letter: Letter, mapping: EventSourceMapping, origin: StreamOrigin, sending: Sending, *, window: Window | None
) -> list[dead_letter.Letter]:
    """The same for the default store, of a mapping without a destination: the event again, by the id that its parcel
    would have. `window` is the one that its records are in. What fits no one event becomes several letters."""
    error = letter.error or {"errorType": letter.condition.value, "errorMessage": _explained(letter.condition)}
    found = []
    for entries, event in _events(letter, origin, sending, window):
        arrived_ms = entries[0].id.ms if entries else sending.now_ms
        first_ms = min(arrived_ms, sending.now_ms)  # a producer's own ids may be no times at all
        item = dead_letter.unhandled(mapping, _id(mapping, entries, sending.window), event, first_ms)
        found.append(dead_letter.Letter(item, letter.condition.value, error, letter.attempts, first_ms, sending.now_ms))
    return found


def _events(
    letter: Letter, origin: StreamOrigin, sending: Sending, window: Window | None
) -> Iterator[tuple[Sequence[Entry], bytes]]:
    """What the function would be given, in events that it can be given; a record that fits none is one of its own."""
    origin = replace(origin, role=sending.role)
    if not letter.entries and sending.window is not None:
        yield (), final_event(sending.window, origin)
    rest = letter.entries
    while rest:
        packed = pack(rest, origin, window)
        if not packed.count:
            packed = pack(rest[:1], origin, window, sys.maxsize)
        yield rest[: packed.count], packed.event
        rest = rest[packed.count :]


def _explained(condition: Condition) -> str:
    match condition:
        case Condition.EXHAUSTED:
            return "The function listed the record as failed until its attempts were used up."
        case Condition.TOO_OLD:
            return "The record is older than MaximumRecordAgeInSeconds."
        case Condition.TOO_LARGE:
            return "The record fits no event."
        case _:
            assert_never(condition)


def _id(mapping: EventSourceMapping, entries: Sequence[Entry], window: Window | None) -> str:
    """The same for the same records, or the same window's last call."""
    name = "" if window is None else window.name
    extent = f"{entries[0].id}:{entries[-1].id}" if entries else name
    return f"stream:{mapping.uuid}:{extent}"


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
