"""PutEvents and TestEventPattern: events in.

Rule 1: an entry that is wrong is answered with its own error and the others are taken; who may not put an entry is
refused altogether.
Rule 2: the answer goes out when everything that follows from the entries is on disk.
Rule 3: an event's id follows from the entry, its place, and the client's own name for the request, which is the same
when the client tries again by itself: a repetition makes no second delivery of what still waits.
Source: PutEvents in the Amazon EventBridge API reference; "Calculating PutEvents event entry size", user guide.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import orjson

from hearth_gateway.bus.catalogue import Catalogue
from hearth_gateway.bus.event_buses import EventBuses, Posted
from hearth_gateway.core.bus_event import InvalidEvent, event_of
from hearth_gateway.core.bus_rule import bus_arn
from hearth_gateway.core.event_pattern import InvalidPattern, compile_pattern
from hearth_gateway.core.parcel import derived_id
from hearth_gateway.neighbours.calls import Call, Handler, Members
from hearth_gateway.neighbours.events_answers import (
    bus_name,
    invalid,
    invalid_pattern,
    resource_conditions,
    unsupported,
)

MAX_BYTES = 1024 * 1024
"""Of all entries of a request."""
LAST_TIME_S = 253_402_300_799
"""The end of the year 9999: later times cannot be written."""
TIME_BYTES = 14
"""What a time counts, however it is written."""
RESERVED_SOURCE = "aws."

_REQUIRED = ("Source", "DetailType", "Detail")


@dataclass(frozen=True, slots=True)
class Refused:
    """Why an entry is not taken."""

    code: str
    message: str


class PutOperations:
    """The operations that take events."""

    def __init__(self, catalogue: Catalogue, buses: EventBuses, now_ms: Callable[[], int]) -> None:
        self._catalogue = catalogue
        self._buses = buses
        self._now_ms = now_ms

    def handlers(self) -> Mapping[str, Handler]:
        return {"PutEvents": self._put, "TestEventPattern": self._test}

    async def _put(self, call: Call) -> Members:
        if call.get("EndpointId"):
            raise unsupported("EndpointId")
        entries = call["Entries"]
        for entry in entries:
            self._allow(call, entry)
        if sum(map(_size, entries)) > MAX_BYTES:
            raise invalid("Total size of the entries in the request is over the limit.")
        read = [self._read(entry, f"{call.attempt_of}/{place}") for place, entry in enumerate(entries)]
        await self._buses.post([one for one in read if isinstance(one, Posted)])
        failed = sum(isinstance(one, Refused) for one in read)
        return {"FailedEntryCount": failed, "Entries": [_answer(one) for one in read]}

    def _allow(self, call: Call, entry: Mapping[str, Any]) -> None:
        name = bus_name(entry.get("EventBusName"))
        bus = self._catalogue.find_bus(name)
        said = {"events:source": entry.get("Source", ""), "events:detail-type": entry.get("DetailType", "")}
        conditions = {
            **resource_conditions(bus.tags if bus else {}),
            **{key: text for key, text in said.items() if text},
        }
        call.allow("events:PutEvents", bus_arn(self._catalogue.place, name), conditions)

    def _read(self, entry: Mapping[str, Any], attempt: str) -> Posted | Refused:
        for name in _REQUIRED:
            if not entry.get(name):
                reason = f"Parameter {name} is not valid. Reason: {name} is a required argument."
                return Refused("InvalidArgument", reason)
        if not 0 <= (entry.get("Time") or 0) <= LAST_TIME_S:
            return Refused("InvalidArgument", "Parameter Time is not valid.")
        if entry["Source"].startswith(RESERVED_SOURCE):
            return Refused("NotAuthorizedForSourceException", "Not authorized for the source.")
        bus = bus_name(entry.get("EventBusName"))
        if self._catalogue.find_bus(bus) is None:
            return Refused("ResourceNotFoundException", f"Event bus {bus} does not exist.")
        try:
            detail = orjson.loads(entry["Detail"])
        except orjson.JSONDecodeError:
            detail = None
        if not isinstance(detail, dict):
            return Refused("MalformedDetail", "Detail is malformed.")
        return self._posted(bus, entry, detail, attempt)

    def _posted(self, bus: str, entry: Mapping[str, Any], detail: Mapping[str, Any], attempt: str) -> Posted | Refused:
        time = entry.get("Time")
        try:
            event = event_of(
                derived_id(attempt, f"{bus}/{_digest(entry)}"),
                self._catalogue.place,
                self._now_ms() if time is None else int(time * 1000),
                source=entry["Source"],
                detail_type=entry["DetailType"],
                detail=detail,
                resources=entry.get("Resources", ()),
            )
        except InvalidEvent as error:
            return Refused("MalformedDetail", str(error))
        return Posted(bus, replace(event, trace_id=entry.get("TraceHeader", "")))

    async def _test(self, call: Call) -> Members:
        call.allow("events:TestEventPattern", "*")
        try:
            event = orjson.loads(call["Event"])
        except orjson.JSONDecodeError as error:
            raise invalid("Parameter Event is not valid.") from error
        if not isinstance(event, dict):
            raise invalid("Parameter Event is not valid.")
        try:
            return {"Result": compile_pattern(call["EventPattern"]).matches(event)}
        except InvalidPattern as error:
            raise invalid_pattern(error) from error


def _answer(read: Posted | Refused) -> Members:
    if isinstance(read, Posted):
        return {"EventId": read.event.id}
    return {"ErrorCode": read.code, "ErrorMessage": read.message}


def _size(entry: Mapping[str, Any]) -> int:
    texts = [*(entry.get(name, "") for name in _REQUIRED), *entry.get("Resources", ())]
    return sum(len(text.encode()) for text in texts) + (TIME_BYTES if entry.get("Time") is not None else 0)


def _digest(entry: Mapping[str, Any]) -> str:
    return hashlib.sha256(orjson.dumps(entry, option=orjson.OPT_SORT_KEYS, default=str)).hexdigest()
