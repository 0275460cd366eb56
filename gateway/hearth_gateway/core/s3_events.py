"""What object stores say of their objects, as S3 says it to functions.

| sender | what arrives |
|---|---|
| S3, Ceph, any that is true to S3 | `{"Records": [record]}` |
| MinIO, webhook | `{"EventName", "Key", "Records": [record]}` |
| MinIO, Redis with `format=access` | `[{"Event": [record], "EventTime"}]` |
| SeaweedFS, webhook | `{"key", "event_type", "message_data"}` |

Rule 1: records leave as S3's own: `aws:s3`, names without `s3:`, a region, keys form-encoded once with their slashes.
Rule 2: one record is one event, with an id that follows from what happened: told twice, it is the same.
Rule 3: what is no record is said to be none; it is not guessed at. S3's test event is one without records.
Source: "Event message structure", Amazon S3 user guide; "Process Amazon S3 event notifications with Lambda".
"""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote_plus, unquote_plus

import orjson

SERVICE = "s3.amazonaws.com"
_BUCKETS = "/buckets/"
"""Where SeaweedFS keeps what its S3 gateway shows."""
_SEAWEED_NAMES = {
    "create": "ObjectCreated:Put",
    "update": "ObjectCreated:Put",
    "rename": "ObjectCreated:Copy",
    "delete": "ObjectRemoved:Delete",
}


class NotAnS3Event(ValueError):
    """What came is nothing that an object store says."""


@dataclass(frozen=True, slots=True)
class S3Filter:
    """Which events are wanted, as a LambdaFunctionConfiguration has it. Nothing said is no condition."""

    buckets: tuple[str, ...] = ()
    prefix: str = ""
    suffix: str = ""
    events: tuple[str, ...] = ()

    def accepts(self, record: Mapping[str, Any]) -> bool:
        """Whether a record (as S3's) is wanted. Prefix and suffix are of the key as it is, not as it is written."""
        key = key_of(record)
        return (
            (not self.buckets or bucket_of(record) in self.buckets)
            and key.startswith(self.prefix)
            and key.endswith(self.suffix)
            and (not self.events or any(_covers(one, record["eventName"]) for one in self.events))
        )


def s3_records(body: bytes, region: str) -> tuple[dict[str, Any], ...]:
    """The records of a message of any of these senders. Raises NotAnS3Event."""
    try:
        said = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise NotAnS3Event(f"it is not JSON: {error}") from error
    try:
        records = tuple(_normalised(one, region) for one in _found(said, region))
        orjson.dumps([[records]])  # what is nested too deeply for an event can be read, and never be written again
        return records
    except NotAnS3Event:
        raise
    except (AttributeError, TypeError, ValueError, ArithmeticError, OSError) as error:
        # Members of other types than the senders' own: a text where an object should be, a time beyond all calendars.
        raise NotAnS3Event(f"a member is of another type: {error}") from error


def s3_event(record: Mapping[str, Any]) -> bytes:
    """The event of one record."""
    return orjson.dumps({"Records": [record]})


def bucket_of(record: Mapping[str, Any]) -> str:
    return str(record["s3"]["bucket"]["name"])


def bucket_arn(record: Mapping[str, Any]) -> str:
    return f"arn:aws:s3:::{bucket_of(record)}"


def key_of(record: Mapping[str, Any]) -> str:
    """The object's key as it is."""
    return unquote_plus(str(record["s3"]["object"]["key"]))


def identity_of(record: Mapping[str, Any]) -> str:
    """What makes the event this one: the sequencer orders the events of a key; without one everything counts."""
    thing = record["s3"]["object"]
    if thing.get("sequencer"):
        words = (bucket_of(record), thing["key"], thing.get("versionId", ""), thing["sequencer"], record["eventName"])
        return hashlib.sha256("\0".join(map(str, words)).encode()).hexdigest()
    return hashlib.sha256(orjson.dumps(record, option=orjson.OPT_SORT_KEYS)).hexdigest()


def _covers(wanted: str, name: str) -> bool:
    """`s3:ObjectCreated:*` covers every way of creating, `*` everything; the prefix may be left out."""
    wanted = wanted.removeprefix("s3:")
    return name.startswith(wanted[:-1]) if wanted.endswith("*") else wanted == name


def _found(said: Any, region: str) -> Iterator[Any]:
    match said:
        case {"Records": list(records)}:
            yield from records
        case {"Service": "Amazon S3", "Event": "s3:TestEvent"}:
            return
        case {"key": str(key), "event_type": str(kind), "message_data": dict(data)}:
            yield from _of_seaweed(key, kind, data, region)
        case [{"Event": list()}, *_] if all(isinstance(one, dict) and "Event" in one for one in said):
            for one in said:
                yield from one["Event"] if isinstance(one["Event"], list) else (one["Event"],)
        case _:
            raise NotAnS3Event("it has none of the known shapes")


def _normalised(record: Mapping[str, Any], region: str) -> dict[str, Any]:
    try:
        s3 = record["s3"]
        bucket, thing = s3["bucket"], s3["object"]
        name, key = str(bucket["name"]), str(thing["key"])
        event = str(record["eventName"]).removeprefix("s3:")
    except (KeyError, TypeError) as error:
        raise NotAnS3Event(f"a record lacks {error}") from error
    if not name or not key or not event:
        raise NotAnS3Event("a record names no bucket, no object, or no event")
    request = record.get("requestParameters") or {}
    return {
        "eventVersion": "2.1",
        "eventSource": "aws:s3",
        "awsRegion": record.get("awsRegion") or region,
        "eventTime": str(record.get("eventTime", "")),
        "eventName": event,
        "userIdentity": record.get("userIdentity") or {"principalId": "Hearth:Anonymous"},
        "requestParameters": {"sourceIPAddress": str(request.get("sourceIPAddress", ""))},
        "responseElements": record.get("responseElements") or {},
        "s3": {
            "s3SchemaVersion": "1.0",
            "configurationId": str(s3.get("configurationId", "")),
            "bucket": {
                "name": name,
                "ownerIdentity": bucket.get("ownerIdentity") or {"principalId": ""},
                "arn": f"arn:aws:s3:::{name}",
            },
            "object": {**_kept(thing), "key": quote_plus(unquote_plus(key), safe="/")},
        },
    }


def _kept(thing: Mapping[str, Any]) -> dict[str, Any]:
    """What S3 tells of an object; what is not known (a removed one has no size) is left out."""
    return {
        name: thing[name] for name in ("size", "eTag", "versionId", "sequencer") if thing.get(name) not in (None, "")
    }


def _of_seaweed(key: str, kind: str, data: Mapping[str, Any], region: str) -> Iterator[dict[str, Any]]:
    """The change of a filer's entry as a record. What lies in no bucket, and directories, are none."""
    entry = data.get("new_entry") or data.get("old_entry") or {}
    name = _SEAWEED_NAMES.get(kind)
    if name is None:
        raise NotAnS3Event(f"{kind!r} is no change that is known")
    if kind == "rename":
        key = f"{data.get('new_parent_path', '')}/{entry.get('name', '')}"
    bucket, _, path = key.removeprefix(_BUCKETS).partition("/")
    if not key.startswith(_BUCKETS) or not path or entry.get("is_directory"):
        return
    about = entry.get("attributes") or {}
    changed_s = about.get("mtime") or 0
    yield {
        "eventName": name,
        "awsRegion": region,
        "eventTime": f"{datetime.fromtimestamp(changed_s, UTC):%Y-%m-%dT%H:%M:%S}.000Z" if changed_s else "",
        "s3": {
            "bucket": {"name": bucket},
            "object": {"key": quote_plus(path), "size": about.get("file_size"), "sequencer": _sequencer(about)},
        },
    }


def _sequencer(about: Mapping[str, Any]) -> str:
    seconds, nanoseconds = about.get("mtime") or 0, about.get("mtime_ns") or 0
    return f"{seconds * 10**9 + nanoseconds:016X}" if seconds else ""
