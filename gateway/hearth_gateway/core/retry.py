"""What becomes of a batch's messages once its outcome is known.

Rule 1: an attempt counts only when the function failed, or named the message in `batchItemFailures`.
Rule 2: what the platform failed to do is never an attempt; the messages come back after a growing pause.
Rule 3: a message that has used up its attempts goes to the dead-letter list, whole, with the error and the count.
Rule 4: a message that is too old is not run any more: it is dead without an attempt.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, assert_never

import orjson

from hearth.core.invocation import FunctionFailed, Outcome, PlatformFailed, Succeeded, Throttled
from hearth_gateway.core.back_off import doubling
from hearth_gateway.core.envelope import Death, Envelope, pack_envelope
from hearth_gateway.core.queue_batch import Message, attributes_of, body_text, failed_items

_MAX_ERROR_BYTES = 32_768
_ERROR_FIELDS = ("errorType", "errorMessage", "stackTrace", "trace", "requestId")


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often a message may fail (None: without end) and how long it rests after each failure.

    The rest doubles: with the defaults 1, 2, 4 … 60 s.
    """

    max_receive_count: int | None
    first_delay_ms: int = 1_000
    longest_delay_ms: int = 60_000

    def delay_ms(self, attempts: int) -> int:
        """The rest after that many failed attempts (at least one)."""
        return doubling(attempts - 1, self.first_delay_ms, self.longest_delay_ms)

    def is_exhausted(self, attempts: int) -> bool:
        return self.max_receive_count is not None and attempts >= self.max_receive_count


def platform_pause_ms(failures_in_a_row: int) -> int:
    """How long to wait after the platform failed so many times in a row: 100 ms doubling to 10 s."""
    return doubling(max(failures_in_a_row - 1, 0), 100, 10_000)


@dataclass(frozen=True, slots=True)
class Again:
    """Deliver the message again at `due_ms` (epoch milliseconds); `attempts` is the new count."""

    id: str
    attempts: int
    due_ms: int


@dataclass(frozen=True, slots=True)
class Dead:
    """Move the message to this list of the same Redis, as this element. An empty `list_key` is the mapping's own
    dead-letter list; None is no list: the record was posted elsewhere."""

    id: str
    record: bytes
    list_key: str | None = ""


@dataclass(frozen=True, slots=True)
class Settlement:
    """The fate of every message of a batch; applied in one atomic step."""

    done: tuple[str, ...] = ()
    again: tuple[Again, ...] = ()
    dead: tuple[Dead, ...] = ()

    @property
    def next_due_ms(self) -> int | None:
        return min((one.due_ms for one in self.again), default=None)

    @property
    def ids(self) -> frozenset[str]:
        return frozenset(self.done) | {one.id for one in self.again} | {one.id for one in self.dead}


@dataclass(frozen=True, slots=True)
class Terms:
    """What a mapping and its queue say about failure. `source` is the source's ARN, for the dead-letter record.

    `dead_letter_queue` is the list of the queue that a RedrivePolicy names: it gets the message itself, with the error
    in its head. Elsewhere a JSON record of it goes.
    """

    policy: RetryPolicy
    source: str
    is_partial: bool
    dead_letter_queue: str = ""


def settle(outcome: Outcome, messages: Sequence[Message], terms: Terms, *, now_ms: int, pause_ms: int) -> Settlement:
    """Turn an outcome into fates. `pause_ms` is how long messages rest when the platform failed."""
    match outcome:
        case Succeeded(payload=payload):
            failed = failed_items(payload, messages) if terms.is_partial else frozenset()
            return _failed(messages, failed, terms, error=_LISTED, now_ms=now_ms)
        case FunctionFailed(kind=kind, payload=payload):
            every = frozenset(message.id for message in messages)
            error = function_error(payload, kind.value)
            return _failed(messages, every, terms, error=error, now_ms=now_ms)
        case Throttled() | PlatformFailed():
            return give_back(messages, now_ms + pause_ms)
        case _:
            assert_never(outcome)


_LISTED = {
    "errorType": "Hearth.BatchItemFailure",
    "errorMessage": "The function's answer reported this message in batchItemFailures, or was not a valid answer.",
}
TOO_LARGE_ERROR = {
    "errorType": "Hearth.MessageTooLarge",
    "errorMessage": "The message does not fit an event of 6 MB.",
}
EXPIRED_ERROR = {
    "errorType": "Hearth.MessageExpired",
    "errorMessage": "The message was older than MaximumRecordAgeInSeconds when its turn came.",
}


def give_back(messages: Iterable[Message], due_ms: int) -> Settlement:
    """Return messages without counting an attempt."""
    return Settlement(again=tuple(Again(one.id, one.attempts, due_ms) for one in messages))


def refuse(messages: Iterable[Message], terms: Terms, error: dict[str, Any], now_ms: int) -> Settlement:
    """Dead-letter messages without an attempt: no event can hold them, or they are too old."""
    return Settlement(dead=tuple(_dead(one, terms, error, attempts=one.attempts, now_ms=now_ms) for one in messages))


def _failed(
    messages: Sequence[Message], failed: frozenset[str], terms: Terms, *, error: dict[str, Any], now_ms: int
) -> Settlement:
    again: list[Again] = []
    dead: list[Dead] = []
    for message in messages:
        if message.id not in failed:
            continue
        attempts = message.attempts + 1
        if terms.policy.is_exhausted(attempts):
            dead.append(_dead(message, terms, error, attempts=attempts, now_ms=now_ms))
        else:
            again.append(Again(message.id, attempts, now_ms + terms.policy.delay_ms(attempts)))
    done = tuple(message.id for message in messages if message.id not in failed)
    return Settlement(done, tuple(again), tuple(dead))


def _dead(message: Message, terms: Terms, error: dict[str, Any], *, attempts: int, now_ms: int) -> Dead:
    if terms.dead_letter_queue:
        moved = dead_message(message, terms.source, error, attempts=attempts, now_ms=now_ms)
        return Dead(message.id, moved, terms.dead_letter_queue)
    return Dead(message.id, dead_letter(message, terms.source, error, attempts=attempts, now_ms=now_ms))


def dead_message(message: Message, source: str, error: dict[str, Any], *, attempts: int, now_ms: int) -> bytes:
    """The message itself, for a queue of dead letters: its number in a FIFO queue is that queue's to give."""
    death = Death(source, error, attempts, message.first_received_ms, now_ms)
    return pack_envelope(Envelope(message.id, message.body, replace(message.head, sequence="", death=death)))


def dead_letter(message: Message, source: str, error: dict[str, Any], *, attempts: int, now_ms: int) -> bytes:
    """The JSON of the dead-letter list. Times are epoch milliseconds; `payload` is exact, base64 if not UTF-8."""
    text, is_binary = body_text(message.body)
    head = message.head
    # Only what a message was sent with; a plain body has none of it.
    sent = {"attributes": attributes_of(head), "group_id": head.group_id, "sent": head.sent_ms}
    return orjson.dumps(
        {
            "id": message.id,
            "source": source,
            "payload": text,
            "encoding": "base64" if is_binary else "utf-8",
            "error": error,
            "attempts": attempts,
            "first_received": message.first_received_ms,
            "last_failed": now_ms,
            **{name: value for name, value in sent.items() if value},
        }
    )


def function_error(payload: bytes, kind: str) -> dict[str, Any]:
    """The function's error as an object of errorType and errorMessage, whatever the runtime posted."""
    text = payload[:_MAX_ERROR_BYTES].decode(errors="replace")
    if len(payload) <= _MAX_ERROR_BYTES:
        try:
            posted = orjson.loads(payload)
        except orjson.JSONDecodeError:
            posted = None
        if isinstance(posted, dict):
            known = {name: posted[name] for name in _ERROR_FIELDS if name in posted}
            return {"errorType": kind or "Unhandled", "errorMessage": "", **known}
    return {"errorType": kind or "Unhandled", "errorMessage": text}
