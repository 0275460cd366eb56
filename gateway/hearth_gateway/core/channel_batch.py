"""Messages of channels: records, the bounded buffer between receipt and function, and what failure makes of them.

Rule 1: a channel keeps nothing, so a message that was received exists here only. From then on it ends in one of three
ways, each of them counted: a function took it, a filter did not want it, or it is reported as lost with the reason.
Rule 2: the buffer is the only back-pressure there is, as nobody can ask a publisher to wait. It counts a message from
its receipt until its end, also while it runs or rests after a failure.
Rule 3: only the function's own failures are attempts.
"""

import heapq
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import Enum
from typing import Any, assert_never

import orjson

from hearth.core.invocation import MAX_REQUEST_BYTES, FunctionFailed, Outcome, PlatformFailed, Succeeded, Throttled
from hearth_gateway.core.back_off import doubling
from hearth_gateway.core.dead_letter import Letter, unhandled
from hearth_gateway.core.mapping import EventSourceMapping
from hearth_gateway.core.queue_batch import body_text
from hearth_gateway.core.retry import function_error

EVENT_SOURCE = "hearth:redis-channel"
DEFAULT_RETRY_ATTEMPTS = 2
"""As for asynchronous invocations: a message cannot be read again, so one failure should not be the end of it."""
MAX_HELD_MESSAGES = 10_000
MAX_HELD_BYTES = 32 * 2**20
FIRST_RETRY_MS, LONGEST_RETRY_MS = 1_000, 60_000
FIRST_REFUSAL_MS, LONGEST_REFUSAL_MS = 100, 10_000

_OPEN, _CLOSE = b'{"Records":[', b"]}"
PART_BYTES = 200_000
"""Records of messages that were given up are cut into parts of this size: queues and functions take 256 KB and more."""
EVENT_ROOM = MAX_REQUEST_BYTES - len(_OPEN) - len(_CLOSE)
"""Bytes of records, commas included, that fit one event."""


class Condition(Enum):
    """Why messages were given up, as records of them say it."""

    RETRIES_EXHAUSTED = "RetryAttemptsExhausted"
    TOO_OLD = "RecordAgeExceeded"
    TOO_LARGE = "RecordTooLarge"
    BUFFER_FULL = "BufferFull"
    STOPPED = "EventSourceStopped"

    @property
    def explained(self) -> str:
        """The same in words, for where there is no error of the function's."""
        return _EXPLAINED[self]


_EXPLAINED = {
    Condition.RETRIES_EXHAUSTED: "The function failed until its attempts were used up.",
    Condition.TOO_OLD: "The messages are older than MaximumRecordAgeInSeconds.",
    Condition.TOO_LARGE: "The message fits no event.",
    Condition.BUFFER_FULL: "More messages came than the mapping can hold until the function takes them.",
    Condition.STOPPED: "The event source was stopped before the function took the messages.",
}


@dataclass(frozen=True, slots=True)
class Published:
    """A message as the server sent it. `pattern` is the one that it matched, for those who subscribed to patterns."""

    channel: str
    message: bytes
    pattern: str | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """A received message: its id, its record as JSON, and when it came (epoch milliseconds)."""

    id: str
    record: bytes
    received_ms: int

    @classmethod
    def of(cls, members: Mapping[str, Any]) -> "Entry":
        """The entry of a record."""
        return cls(members["messageId"], orjson.dumps(members), members["receivedTimestamp"])

    @property
    def size(self) -> int:
        """Bytes that it takes in an event, with the comma after it."""
        return len(self.record) + 1


@dataclass(frozen=True, slots=True)
class Batch:
    """Messages that run together, and go on doing so when they have to run again."""

    entries: tuple[Entry, ...]
    attempts: int = 0
    refusals: int = 0

    @property
    def event(self) -> bytes:
        """What the function gets."""
        return _OPEN + b",".join(entry.record for entry in self.entries) + _CLOSE


@dataclass(frozen=True, slots=True)
class Done:
    """The function took the batch."""


@dataclass(frozen=True, slots=True)
class Again:
    """The batch runs again at `due_ms` (epoch milliseconds)."""

    batch: Batch
    due_ms: int


@dataclass(frozen=True, slots=True)
class Lost:
    """Messages that were given up, with the function's error where it has one."""

    entries: tuple[Entry, ...]
    condition: Condition
    attempts: int = 0
    error: Mapping[str, Any] | None = None


Fate = Done | Again | Lost


@dataclass(frozen=True, slots=True)
class Terms:
    """What a mapping says about failure. None: without end, of any age."""

    retry_attempts: int | None
    max_age_ms: int | None

    @classmethod
    def of(cls, retry_attempts: int | None, maximum_record_age_s: int | None) -> "Terms":
        """The terms of MaximumRetryAttempts and MaximumRecordAgeInSeconds, where -1 means without end."""
        retries = DEFAULT_RETRY_ATTEMPTS if retry_attempts is None else retry_attempts
        age_s = -1 if maximum_record_age_s is None else maximum_record_age_s
        return cls(None if retries < 0 else retries, None if age_s < 0 else age_s * 1_000)


# -- records ----------------------------------------------------------------------------------------------------------


def members_of(published: Published, *, own_id: str, arn: str, region: str, received_ms: int) -> dict[str, Any]:
    """The record of a message, as the function gets it. Text is as it came; other bytes are base64."""
    text, is_binary = body_text(published.message)
    return {
        "messageId": own_id,
        "eventSource": EVENT_SOURCE,
        "eventSourceARN": arn,
        "awsRegion": region,
        "channel": published.channel,
        "pattern": published.pattern,
        "message": text,
        "isBase64Encoded": is_binary,
        "receivedTimestamp": received_ms,
    }


def parts_of(lost: Lost) -> Iterator[Lost]:
    """The same in parts that destinations can take; a message that is larger is a part of its own."""
    part: list[Entry] = []
    size = 0
    for entry in lost.entries:
        if part and size + entry.size > PART_BYTES:
            yield replace(lost, entries=tuple(part))
            part, size = [], 0
        part.append(entry)
        size += entry.size
    if part:
        yield replace(lost, entries=tuple(part))


def failure_record(lost: Lost, *, request_id: str, function_arn: str, source_arn: str, now_ms: int) -> bytes:
    """What a destination gets of messages that were given up. It carries them whole: nobody can read them again.

    Its form is that of the records which streams send, with the messages as `requestPayload`.
    """
    return orjson.dumps(
        {
            "requestContext": {
                "requestId": request_id,
                "functionArn": function_arn,
                "condition": lost.condition.value,
                "approximateInvokeCount": lost.attempts,
            },
            "responseContext": None
            if lost.error is None
            else {"statusCode": 200, "executedVersion": None, "functionError": "Unhandled"},
            "version": "1.0",
            "timestamp": _iso(now_ms),
            "RedisChannelBatchInfo": {
                "eventSourceArn": source_arn,
                "batchSize": len(lost.entries),
                "approximateArrivalOfFirstRecord": _iso(lost.entries[0].received_ms),
                "approximateArrivalOfLastRecord": _iso(lost.entries[-1].received_ms),
            },
            "requestPayload": orjson.Fragment(Batch(lost.entries).event),
            "responsePayload": lost.error,
        }
    )


def dead_letter(lost: Lost, mapping: EventSourceMapping, own_id: str, now_ms: int) -> Letter:
    """The same for the default store, of a mapping without a destination: the event that the function would be given.
    Each run would be another batch, so it is the messages together that are sent again."""
    error = lost.error or {"errorType": lost.condition.value, "errorMessage": lost.condition.explained}
    first_ms = lost.entries[0].received_ms
    event = unhandled(mapping, own_id, Batch(lost.entries).event, first_ms)
    return Letter(event, lost.condition.value, error, lost.attempts, first_ms, now_ms)


def _iso(epoch_ms: int) -> str:
    moment = datetime.fromtimestamp(epoch_ms // 1000, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{epoch_ms % 1000:03}Z"


# -- the buffer -------------------------------------------------------------------------------------------------------


class Buffer:
    """Messages between their receipt and their end: waiting, resting after a failure, or out in somebody's hands.

    `held` counts all three and never passes the bounds. Batches that rest keep together; new ones are made when taken.
    """

    def __init__(self, max_messages: int = MAX_HELD_MESSAGES, max_bytes: int = MAX_HELD_BYTES) -> None:
        self._max_messages = max_messages
        self._max_bytes = max_bytes
        self._waiting: deque[Entry] = deque()
        self._waiting_bytes = 0
        self._resting: list[tuple[int, int, Batch]] = []
        self._rests = 0
        self.held = 0
        self.held_bytes = 0

    def __repr__(self) -> str:
        return f"Buffer({len(self._waiting)} waiting, {len(self._resting)} batches resting, {self.held} held)"

    @property
    def is_idle(self) -> bool:
        """Nothing is left to take, now or later."""
        return not self._waiting and not self._resting

    def offer(self, entry: Entry) -> bool:
        """Take in a message that was received; False, and nothing happened, if there is no room."""
        if not self.hold(entry):
            return False
        self._waiting.append(entry)
        self._waiting_bytes += entry.size
        return True

    def hold(self, entry: Entry) -> bool:
        """Count a message that is in somebody's hands already; False, and nothing happened, if there is no room."""
        if self.held >= self._max_messages or self.held_bytes + entry.size > self._max_bytes:
            return False
        self.held += 1
        self.held_bytes += entry.size
        return True

    def ready_ms(self, batch_size: int, window_ms: int) -> int | None:
        """When the next batch may run: in the past for now, None if there is none."""
        times = [self._resting[0][0]] if self._resting else []
        if self._waiting:
            is_full = len(self._waiting) >= batch_size or self._waiting_bytes >= EVENT_ROOM
            times.append(self._waiting[0].received_ms + (0 if is_full else window_ms))
        return min(times, default=None)

    def take(self, batch_size: int, now_ms: int) -> Batch | None:
        """The batch whose turn it is: the one that is due again, else the messages that have waited longest."""
        if self._resting and self._resting[0][0] <= now_ms:
            return heapq.heappop(self._resting)[2]
        taken: list[Entry] = []
        size = 0
        while self._waiting and len(taken) < batch_size and size + self._waiting[0].size <= EVENT_ROOM + 1:
            taken.append(self._waiting.popleft())
            size += taken[-1].size
        self._waiting_bytes -= size
        return Batch(tuple(taken)) if taken else None

    def take_all(self) -> tuple[Entry, ...]:
        """Everything that waits or rests, oldest first: for whoever gives it up."""
        entries = [entry for _, _, batch in self._resting for entry in batch.entries]
        entries += self._waiting
        self._resting, self._waiting, self._waiting_bytes = [], deque(), 0
        return tuple(sorted(entries, key=lambda entry: entry.received_ms))

    def rest(self, again: Again) -> None:
        """A batch that was taken runs again later."""
        self._rests += 1
        heapq.heappush(self._resting, (again.due_ms, self._rests, again.batch))

    def end(self, entries: Sequence[Entry]) -> None:
        """These messages, which were taken, are no longer our concern."""
        self.held -= len(entries)
        self.held_bytes -= sum(entry.size for entry in entries)


def fits_an_event(entry: Entry) -> bool:
    """Whether any event can hold the message."""
    return len(entry.record) <= EVENT_ROOM


# -- what becomes of them ---------------------------------------------------------------------------------------------


def without_the_old(batch: Batch, terms: Terms, now_ms: int) -> tuple[Batch | None, Lost | None]:
    """The batch without messages that are older than the mapping wants, and those."""
    if terms.max_age_ms is None:
        return batch, None
    fresh = tuple(entry for entry in batch.entries if now_ms - entry.received_ms <= terms.max_age_ms)
    if len(fresh) == len(batch.entries):
        return batch, None
    old = tuple(entry for entry in batch.entries if now_ms - entry.received_ms > terms.max_age_ms)
    return replace(batch, entries=fresh) if fresh else None, Lost(old, Condition.TOO_OLD, batch.attempts)


def after_attempt(batch: Batch, outcome: Outcome, terms: Terms, now_ms: int) -> Fate:
    """What becomes of a batch whose attempt ended so."""
    match outcome:
        case Succeeded():
            return Done()
        case FunctionFailed(kind=kind, payload=payload):
            failed = replace(batch, attempts=batch.attempts + 1, refusals=0)
            if terms.retry_attempts is not None and failed.attempts > terms.retry_attempts:
                error = function_error(payload, kind.value)
                return Lost(batch.entries, Condition.RETRIES_EXHAUSTED, failed.attempts, error)
            return Again(failed, now_ms + doubling(failed.attempts - 1, FIRST_RETRY_MS, LONGEST_RETRY_MS))
        case Throttled() | PlatformFailed():
            pause_ms = doubling(batch.refusals, FIRST_REFUSAL_MS, LONGEST_REFUSAL_MS)
            return Again(replace(batch, refusals=batch.refusals + 1), now_ms + pause_ms)
        case _:
            assert_never(outcome)
