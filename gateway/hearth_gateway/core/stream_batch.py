"""Stream entries into events: the Kinesis record shape, batches within the payload limit, windows.

Source: AWS Lambda developer guide, "Using Lambda with Kinesis", event shape and tumbling windows.
"""

import base64
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson

from hearth.core.invocation import MAX_REQUEST_BYTES
from hearth_gateway.core.stream_entry import DATA_FIELD, KEY_FIELD, SHARD, Entry, is_text, text
from hearth_gateway.core.stream_window import Window

_OPEN, _CLOSE = b'{"Records":[', b"]}"
_KEY = "batchItemFailures"
_NUMBER = re.compile(r"[0-9]{1,128}")


@dataclass(frozen=True, slots=True)
class StreamOrigin:
    """Where entries come from, as their records say it. `role` is the function's."""

    arn: str
    stream: str
    region: str
    role: str = ""
    key_field: str = KEY_FIELD


@dataclass(frozen=True, slots=True)
class Packed:
    """An event, and how many entries are in it. None of them: not even the first one fits."""

    event: bytes
    count: int


def pack(
    entries: Iterable[Entry], origin: StreamOrigin, window: Window | None, limit: int = MAX_REQUEST_BYTES
) -> Packed:
    """Fill one event, in order, up to `limit` bytes of JSON."""
    close = _CLOSE if window is None else b"]," + _window_members(window, origin, is_final=False)
    room = limit - len(_OPEN) - len(close)
    records: list[bytes] = []
    for entry in entries:
        encoded = orjson.dumps(record(entry, origin))
        room -= len(encoded) + 1  # and a comma
        if room < 0:
            break
        records.append(encoded)
    return Packed(_OPEN + b",".join(records) + close, len(records))


def final_event(window: Window, origin: StreamOrigin) -> bytes:
    """The event of a window's last call: no records, the whole state."""
    return _OPEN + b"]," + _window_members(window, origin, is_final=True)


def _window_members(window: Window, origin: StreamOrigin, *, is_final: bool) -> bytes:
    """The members beside `Records`, and the closing brace."""
    members = {
        "window": {"start": _second(window.start_ms), "end": _second(window.end_ms)},
        "state": orjson.Fragment(window.state),
        "shardId": SHARD,
        "eventSourceARN": origin.arn,
        "isFinalInvokeForWindow": is_final,
        "isWindowTerminatedEarly": is_final and window.is_early,
    }
    return orjson.dumps(members)[1:]


def _second(epoch_ms: int) -> str:
    # A producer's own ids may be no times at all, and beyond what a date can say.
    return datetime.fromtimestamp(min(epoch_ms // 1000, 253_402_300_799), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def record(entry: Entry, origin: StreamOrigin) -> dict[str, Any]:
    """The entry in Kinesis' shape. The member `redis` is ours: the entry as Redis has it, but for its data."""
    number = entry.id.sequence_number
    return {
        "kinesis": {
            "kinesisSchemaVersion": "1.0",
            "partitionKey": text(entry.key(origin.key_field)),
            "sequenceNumber": number,
            "data": base64.b64encode(entry.data).decode(),
            "approximateArrivalTimestamp": entry.id.ms / 1000,
        },
        "eventSource": "aws:kinesis",
        "eventVersion": "1.0",
        "eventID": f"{SHARD}:{number}",
        "eventName": "aws:kinesis:record",
        "invokeIdentityArn": origin.role,
        "awsRegion": origin.region,
        "eventSourceARN": origin.arn,
        "redis": _raw(entry, origin),
    }


def _raw(entry: Entry, origin: StreamOrigin) -> dict[str, Any]:
    fields = [(name, value) for name, value in entry.fields if name != DATA_FIELD]
    raw: dict[str, Any] = {
        "stream": origin.stream,
        "id": str(entry.id),
        "fields": {text(name): text(value) for name, value in fields},
    }
    binary = [text(name) for name, value in fields if not is_text(value)]
    return {**raw, "base64Fields": binary} if binary else raw


def seen_by_filters(entry: Entry, key_field: str) -> dict[str, Any]:
    """What filter criteria are compared with: the members of `kinesis`, with the data as it was sent."""
    return {
        "kinesisSchemaVersion": "1.0",
        "partitionKey": text(entry.key(key_field)),
        "sequenceNumber": entry.id.sequence_number,
        "data": entry.data,
        "approximateArrivalTimestamp": entry.id.ms / 1000,
    }


@dataclass(frozen=True, slots=True)
class Listed:
    """What an answer says of a batch: `first` is the lowest entry that failed (None: none did); `is_valid` is False
    for an answer that cannot be read, which is a failure of the whole batch."""

    first: int | None
    is_valid: bool = True


def listed(answer: Any, entries: Sequence[Entry]) -> Listed:
    """Read `batchItemFailures` by the documented rules for streams.

    The checkpoint is before the lowest sequence number that is listed: numbers of other records count by their value.
    An empty, null or missing identifier, one that is no number, a misspelt key or another shape fails the whole batch.
    """
    if answer is None:
        return Listed(None)
    if not isinstance(answer, dict) or any(name != _KEY and name.lower() == _KEY.lower() for name in answer):
        return Listed(None, is_valid=False)
    items = answer.get(_KEY) or []
    if not isinstance(items, list):
        return Listed(None, is_valid=False)
    ids = [item.get("itemIdentifier") if isinstance(item, dict) else None for item in items]
    if not all(isinstance(one, str) and _NUMBER.fullmatch(one) for one in ids):
        return Listed(None, is_valid=False)
    lowest = min((int(str(one)) for one in ids), default=None)
    if lowest is None:
        return Listed(None)
    return Listed(next((at for at, one in enumerate(entries) if int(one.id.sequence_number) >= lowest), None))
