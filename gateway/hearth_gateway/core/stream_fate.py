"""What becomes of a batch of stream records once its outcome is known.

Rule 1: an attempt counts only when the function failed, or listed a record; what the platform failed to do never does.
Rule 2: remedies in this order: a listed record sets the checkpoint before it; else a batch may be halved, which counts
for nothing; else the whole batch comes again. Each rests 1 s doubling to 60 s; a batch that was halved rests 1 s.
Rule 3: a record that was listed in vain is given up alone. The service gives up all that is behind the checkpoint as
well; but the function has not said that those failed, and a good record is not to be lost with a bad one.
Source: AWS Lambda developer guide, "Using Lambda with Kinesis", error handling; "Configuring partial batch response".
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any, assert_never

import orjson

from hearth.core.invocation import FunctionFailed, Outcome, PlatformFailed, Succeeded, Throttled
from hearth_gateway.core.retry import RetryPolicy, function_error
from hearth_gateway.core.stream_batch import listed
from hearth_gateway.core.stream_entry import Entry, EntryId
from hearth_gateway.core.stream_lanes import Attempt, BatchTerms
from hearth_gateway.core.stream_progress import Mark
from hearth_gateway.core.stream_window import MAX_STATE_BYTES, Window, state_of


class Condition(Enum):
    """Why records were given up. The value is `condition` in the failure record."""

    EXHAUSTED = "RetryAttemptsExhausted"
    TOO_OLD = "RecordAgeExceeded"
    TOO_LARGE = "RecordTooLarge"  # ours: a Kinesis record always fits an event


@dataclass(frozen=True, slots=True)
class Letter:
    """Records that are given up, and what was wrong with them if that is known. `was_invoked`: the function saw them in
    the call that ended their time; `has_thrown`: it failed itself, and did not merely answer so."""

    entries: tuple[Entry, ...]
    condition: Condition
    attempts: int
    error: Mapping[str, Any] | None = None
    was_invoked: bool = False
    has_thrown: bool = False


@dataclass(frozen=True, slots=True)
class Fate:
    """What is to be done: so many records from the head are finished with, these batches are marked, the window is now
    this one (None: there is none), the lane rests so long."""

    done: int = 0
    marks: Mapping[EntryId, Mark] = field(default_factory=dict)
    window: Window | None = None
    letter: Letter | None = None
    pause_ms: int = 0


def judge(outcome: Outcome, attempt: Attempt, terms: BatchTerms, platform_pause_ms: int) -> Fate:
    """The fate of a batch. `platform_pause_ms` is the rest after a failure of the platform's."""
    match outcome:
        case Succeeded(payload=payload):
            return _answered(payload, attempt, terms)
        case FunctionFailed(kind=kind, payload=payload):
            return _failed(attempt, terms, function_error(payload, kind.value), has_thrown=True)
        case Throttled() | PlatformFailed():
            return Fate(window=attempt.window, pause_ms=platform_pause_ms)
        case _:
            assert_never(outcome)


def judge_close(outcome: Outcome, window: Window, terms: BatchTerms, platform_pause_ms: int) -> Fate:
    """The fate of a window after its last call."""
    match outcome:
        case Succeeded():
            return Fate()
        case FunctionFailed(kind=kind, payload=payload):
            attempts = window.attempts + 1
            if is_exhausted(terms, attempts):
                error = function_error(payload, kind.value)
                return Fate(letter=Letter((), Condition.EXHAUSTED, attempts, error, was_invoked=True, has_thrown=True))
            return Fate(window=replace(window, attempts=attempts), pause_ms=_rest_ms(attempts))
        case Throttled() | PlatformFailed():
            return Fate(window=window, pause_ms=platform_pause_ms)
        case _:
            assert_never(outcome)


def is_exhausted(terms: BatchTerms, attempts: int) -> bool:
    """Whether so many failed attempts are all there are."""
    return terms.max_retries is not None and attempts > terms.max_retries


def _rest_ms(attempts: int) -> int:
    return RetryPolicy(None).delay_ms(attempts)


def _answered(payload: bytes, attempt: Attempt, terms: BatchTerms) -> Fate:
    answer = _read(payload)
    state = state_of(answer) if attempt.window is not None else None
    if attempt.window is not None and state is None:
        return _failed(attempt, terms, _NO_STATE)
    found = listed(answer, attempt.entries) if terms.is_partial else None
    if found is not None and not found.is_valid:
        return _failed(attempt, terms, _UNREADABLE)
    first = None if found is None else found.first
    if first is None:
        return Fate(len(attempt.entries), window=_with(attempt.window, state))
    # Without any progress the state is of a batch that comes again whole.
    window = _with(attempt.window, state) if first else attempt.window
    return replace(_listed(attempt, first, terms), window=window)


def _listed(attempt: Attempt, first: int, terms: BatchTerms) -> Fate:
    """The record at `first` is the lowest that failed. What begins there is another batch, unless nothing was done."""
    attempts = 1 if first else attempt.attempts + 1
    if is_exhausted(terms, attempts):
        letter = Letter((attempt.entries[first],), Condition.EXHAUSTED, attempts, was_invoked=True)
        return Fate(first + 1, letter=letter)
    mark = Mark(attempt.entries[-1].id, attempts)
    return Fate(first, {attempt.entries[first].id: mark}, pause_ms=_rest_ms(attempts))


def _failed(attempt: Attempt, terms: BatchTerms, error: Mapping[str, Any], *, has_thrown: bool = False) -> Fate:
    entries = attempt.entries
    if terms.is_bisecting and len(entries) > 1:
        middle = len(entries) // 2
        halves = {
            entries[0].id: Mark(entries[middle - 1].id, attempt.attempts),
            entries[middle].id: Mark(entries[-1].id, attempt.attempts),
        }
        return Fate(marks=halves, window=attempt.window, pause_ms=_rest_ms(1))
    attempts = attempt.attempts + 1
    if is_exhausted(terms, attempts):
        letter = Letter(entries, Condition.EXHAUSTED, attempts, error, was_invoked=True, has_thrown=has_thrown)
        return Fate(len(entries), window=attempt.window, letter=letter)
    mark = Mark(entries[-1].id, attempts)
    return Fate(marks={entries[0].id: mark}, window=attempt.window, pause_ms=_rest_ms(attempts))


def _with(window: Window | None, state: bytes | None) -> Window | None:
    if window is None or state is None:
        return window
    return replace(window, state=state, is_early=len(state) > MAX_STATE_BYTES)


def _read(payload: bytes) -> Any:
    """The answer; what is no JSON is an answer of no valid shape."""
    try:
        return orjson.loads(payload or b"null")
    except orjson.JSONDecodeError:
        return ""


_NO_STATE = {"errorType": "Hearth.NoWindowState", "errorMessage": "The function's answer has no state for its window."}
_UNREADABLE = {
    "errorType": "Hearth.BatchItemFailure",
    "errorMessage": "The function's answer lists no valid batchItemFailures.",
}
