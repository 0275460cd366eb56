"""Events of buses: the envelope that rules look at and targets get.

Rule: a parcel for a bus carries a whole event, in JSON. What its sender leaves out is filled in by the bus; only
`source`, `detail-type` and `detail` must be there.
Source: "Amazon EventBridge events", user guide; the members are those of every event.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson


class InvalidEvent(Exception):
    """Not an event; the message says why."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where an event happens, as its envelope says it."""

    region: str
    account: str


@dataclass(frozen=True, slots=True)
class BusEvent:
    """One event. `members` is the whole envelope, and `text` the same as JSON. `trace_id` is the trace header it came
    with: what follows from it belongs to that trace."""

    id: str
    members: Mapping[str, Any]
    text: bytes
    trace_id: str = ""


def event_of(
    event_id: str,
    place: Place,
    time_ms: int,
    *,
    source: str,
    detail_type: str,
    detail: object,
    resources: Sequence[str] = (),
) -> BusEvent:
    """An event with its envelope. `detail` is any value of JSON; `time_ms` is epoch milliseconds. Raises
    InvalidEvent."""
    members = {
        "version": "0",
        "id": event_id,
        "detail-type": detail_type,
        "source": source,
        "account": place.account,
        "time": time_text(time_ms),
        "region": place.region,
        "resources": list(resources),
        "detail": detail,
    }
    return BusEvent(event_id, members, _text(members))


def read_event(body: bytes, event_id: str, place: Place, time_ms: int) -> BusEvent:
    """The event that a parcel carries, complete. Raises InvalidEvent."""
    try:
        given = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise InvalidEvent("An event must be JSON.") from error
    if not isinstance(given, dict):
        raise InvalidEvent("An event must be a JSON object.")
    for name in ("source", "detail-type"):
        if not isinstance(given.get(name), str) or not given[name]:
            raise InvalidEvent(f"An event must have a {name}.")
    if not isinstance(given.get("detail"), dict):
        raise InvalidEvent("An event must have a detail, which is a JSON object.")
    usual = event_of(event_id, place, time_ms, source="", detail_type="", detail={}).members
    members = {name: given.get(name, value) for name, value in usual.items()}
    return BusEvent(event_id, members, _text(members))


def _text(members: Mapping[str, Any]) -> bytes:
    """JSON is read to a depth of a thousand, and written to a quarter of that."""
    try:
        return orjson.dumps(members)
    except TypeError as error:
        raise InvalidEvent("An event must not be nested that deeply.") from error


def time_text(time_ms: int) -> str:
    """A time as envelopes have it: in seconds, in UTC."""
    return datetime.fromtimestamp(time_ms // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
