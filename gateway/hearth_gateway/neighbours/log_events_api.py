"""CloudWatch Logs' operations on streams and events: what functions wrote, found again, and what is put beside it.

Rule 1: tokens are ids of events, so they mean the same tomorrow, whatever was written meanwhile.
Source: Amazon CloudWatch Logs API reference; the texts of errors are the service's.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from hearth.core.arns import log_stream_arn
from hearth.core.errors import ResourceNotFound
from hearth.core.log_events import ID_DIGITS, LogEvent, first_id
from hearth.core.log_filter import InvalidPattern, compile_pattern
from hearth.log_archive import EVENT_OVERHEAD_BYTES, Found, LogArchive, Search, Stream
from hearth_gateway.core.authorization import Place
from hearth_gateway.neighbours.calls import Call, Handler, Members
from hearth_gateway.neighbours.log_groups_api import (
    PAGE,
    already_exists,
    group_named,
    invalid,
    with_token,
)

MAX_BATCH_BYTES = 2**20
TOO_OLD_MS = 14 * 86_400_000
TOO_NEW_MS = 2 * 3_600_000
_NO_TIME_MS = 10**15
"""Later than any event."""

_EVENT_ID = re.compile(rf"\d{{{ID_DIGITS}}}", re.ASCII)
_TOKEN = re.compile(rf"(?P<way>[fb])/(?P<id>\d{{{ID_DIGITS}}})/s", re.ASCII)
_SEQUENCE_TOKEN = "0".zfill(ID_DIGITS)
"""Older clients hand back what they were given; nothing depends on it."""


class LogEventOperations:
    """The operations on log streams and their events."""

    def __init__(self, archive: LogArchive, place: Place, now_ms: Callable[[], int]) -> None:
        self._archive = archive
        self._place = place
        self._now_ms = now_ms

    def handlers(self) -> Mapping[str, Handler]:
        return {
            "DescribeLogStreams": self._describe_streams,
            "CreateLogStream": self._create_stream,
            "DeleteLogStream": self._delete_stream,
            "PutLogEvents": self._put,
            "GetLogEvents": self._get,
            "FilterLogEvents": self._filter,
        }

    # -- streams ---------------------------------------------------------------------------------------------------

    async def _describe_streams(self, call: Call) -> Members:
        group, prefix = group_named(call), call.get("logStreamNamePrefix", "")
        self._allow(call, "DescribeLogStreams", group)
        by_time = call.get("orderBy", "LogStreamName") == "LastEventTime"
        if by_time and prefix:
            raise invalid("Cannot order by LastEventTime with a logStreamNamePrefix.")
        streams = [stream for stream in await self._archive.streams(group) if stream.name.startswith(prefix)]
        streams.sort(key=lambda stream: _order(stream, by_time=by_time), reverse=call.get("descending", False))
        shown, token = _stream_page(streams, call)
        return with_token({"logStreams": [self._stream_members(group, stream) for stream in shown]}, token)

    def _stream_members(self, group: str, stream: Stream) -> Members:
        members: dict[str, Any] = {
            "logStreamName": stream.name,
            "creationTime": stream.created_ms,
            "arn": log_stream_arn(*self._place, group, stream.name),
            "uploadSequenceToken": _SEQUENCE_TOKEN,
            "storedBytes": 0,  # as CloudWatch has it since 2019
        }
        if stream.first_ms is not None and stream.last_ms is not None:
            members["firstEventTimestamp"] = stream.first_ms
            members["lastEventTimestamp"] = stream.last_ms
            members["lastIngestionTime"] = stream.last_ms
        return members

    async def _create_stream(self, call: Call) -> Members:
        group, stream = call["logGroupName"], call["logStreamName"]
        self._allow(call, "CreateLogStream", group, stream)
        if not await self._archive.create_stream(group, stream):
            raise already_exists("log stream")
        return {}

    async def _delete_stream(self, call: Call) -> Members:
        group, stream = call["logGroupName"], call["logStreamName"]
        self._allow(call, "DeleteLogStream", group, stream)
        await self._archive.delete_stream(group, stream)
        return {}

    # -- writing ---------------------------------------------------------------------------------------------------

    async def _put(self, call: Call) -> Members:
        group, stream, events = call["logGroupName"], call["logStreamName"], call["logEvents"]
        self._allow(call, "PutLogEvents", group, stream)
        _check_batch(events)
        if await self._archive.find_stream(group, stream) is None:
            raise ResourceNotFound("The specified log stream does not exist.")
        now_ms = self._now_ms()
        times = [event["timestamp"] for event in events]
        old = sum(1 for time in times if time < now_ms - TOO_OLD_MS)
        new = sum(1 for time in times if time > now_ms + TOO_NEW_MS)
        kept = events[old : len(events) - new]
        await self._archive.put(group, [(event["timestamp"], stream, event["message"], now_ms) for event in kept])
        rejected = {"tooOldLogEventEndIndex": old} if old else {}
        if new:
            rejected["tooNewLogEventStartIndex"] = len(events) - new
        answer: dict[str, Any] = {"nextSequenceToken": _SEQUENCE_TOKEN}
        return {**answer, "rejectedLogEventsInfo": rejected} if rejected else answer

    # -- reading ---------------------------------------------------------------------------------------------------

    async def _get(self, call: Call) -> Members:
        group, stream = group_named(call), call["logStreamName"]
        self._allow(call, "GetLogEvents", group, stream)
        way, event_id = _token(call)
        search = Search(
            group,
            since_ms=call.get("startTime", 0),
            until_ms=call.get("endTime", _NO_TIME_MS) - 1,
            after_id=event_id if way == "f" else "",
            before_id=event_id if way == "b" else None,
            is_wanted=lambda event: event.stream == stream,
            most=call.get("limit", 10_000),
            newest=way == "b" or (not way and not call.get("startFromHead", False)),
        )
        found = await self._archive.search(search)
        if not found.events and await self._archive.find_stream(group, stream) is None:
            raise ResourceNotFound("The specified log stream does not exist.")
        return {"events": [_event_members(event) for event in found.events], **_tokens(found, way, event_id)}

    async def _filter(self, call: Call) -> Members:
        group = group_named(call)
        self._allow(call, "FilterLogEvents", group)
        search = _filtered(call, group)
        names = set(call.get("logStreamNames", ()))
        if names and names - {stream.name for stream in await self._archive.streams(group)}:
            raise ResourceNotFound("The specified log stream does not exist.")
        found = await self._archive.search(search)
        events = [
            {"logStreamName": event.stream, **_event_members(event), "eventId": event.event_id}
            for event in found.events
        ]
        token = found.events[-1].event_id if found.has_more else ""
        return with_token({"events": events, "searchedLogStreams": []}, token)

    def _allow(self, call: Call, operation: str, group: str, stream: str = "") -> None:
        call.allow(f"logs:{operation}", log_stream_arn(*self._place, group, stream))


def _filtered(call: Call, group: str) -> Search:
    """What FilterLogEvents asks for."""
    names, prefix = frozenset(call.get("logStreamNames", ())), call.get("logStreamNamePrefix", "")
    if names and prefix:
        raise invalid("Only one of logStreamNames and logStreamNamePrefix can be given.")
    try:
        test = compile_pattern(call.get("filterPattern", ""))
    except InvalidPattern as error:
        raise invalid(str(error)) from error
    after = call.get("nextToken", "")
    if after and not _EVENT_ID.fullmatch(after):
        raise invalid("The specified nextToken is invalid.")
    since_ms, until_ms = call.get("startTime", 0), call.get("endTime", _NO_TIME_MS)
    if since_ms > until_ms:
        raise invalid("endTime must not be before startTime.")

    def is_wanted(event: LogEvent) -> bool:
        if names and event.stream not in names:
            return False
        return event.stream.startswith(prefix) and test(event.message)

    search = Search(group, since_ms, until_ms, is_wanted=is_wanted, most=call.get("limit", 10_000))
    # Nothing before the event of the token is wanted, so nothing before it need be read.
    return replace(search, after_id=after, since_ms=max(since_ms, int(after[:20]))) if after else search


def _stream_page(streams: list[Stream], call: Call) -> tuple[list[Stream], str]:
    """One page, and the token of the next: the last stream of this one. One that moved meanwhile, having new events,
    is a place all the same."""
    after = call.get("nextToken")
    names = [stream.name for stream in streams]
    if after is not None and after not in names:
        raise invalid("The specified nextToken is invalid.")
    start = 0 if after is None else names.index(after) + 1
    end = start + call.get("limit", PAGE)
    return streams[start:end], names[end - 1] if end < len(names) else ""


def _event_members(event: LogEvent) -> dict[str, Any]:
    return {"timestamp": event.at_ms, "message": event.message, "ingestionTime": event.ingested_ms}


def _check_batch(events: Sequence[Mapping[str, Any]]) -> None:
    times = [event["timestamp"] for event in events]
    if times != sorted(times):
        raise invalid("Log events in a single PutLogEvents request must be in chronological order.")
    size = sum(len(event["message"].encode()) + EVENT_OVERHEAD_BYTES for event in events)
    if size > MAX_BATCH_BYTES:
        raise invalid(f"Upload too large: {size} bytes exceeds limit of {MAX_BATCH_BYTES}")


def _token(call: Call) -> tuple[str, str]:
    """Which way from which event; both are "" without a token."""
    token = call.get("nextToken")
    if token is None:
        return "", ""
    found = _TOKEN.fullmatch(token)
    if found is None:
        raise invalid("The specified nextToken is invalid.")
    return found["way"], found["id"]


def _tokens(found: Found, way: str, event_id: str) -> Members:
    """Where to go on, both ways. At an end it is the token that was given, which is how clients notice."""
    match way, found.events:
        case _, [first, *_] as events:
            forward, backward = events[-1].event_id, first.event_id
        case "f", _:
            forward, backward = event_id, f"{int(event_id) + 1:0{ID_DIGITS}}"
        case "b", _:
            forward, backward = f"{max(0, int(event_id) - 1):0{ID_DIGITS}}", event_id
        case _:
            forward = backward = first_id(0)
    return {"nextForwardToken": f"f/{forward}/s", "nextBackwardToken": f"b/{backward}/s"}


def _order(stream: Stream, *, by_time: bool) -> tuple[int, str]:
    return (stream.last_ms or 0 if by_time else 0, stream.name)
