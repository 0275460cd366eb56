"""What becomes of a parcel after a try to deliver it.

The waits double from 1 s to 5 min; a target that says when to come back is believed, within an hour.
"""

from dataclasses import dataclass, replace

from hearth_gateway.core.back_off import doubling
from hearth_gateway.core.parcel import Parcel

FIRST_DELAY_MS = 1_000
LONGEST_DELAY_MS = 300_000
LONGEST_WISH_S = 3_600


@dataclass(frozen=True, slots=True)
class Attempt:
    """A try that failed: why, and when the target wants the next one, if it said so."""

    code: str
    message: str
    retry_after_s: float | None = None


@dataclass(frozen=True, slots=True)
class TryAgain:
    """The parcel is due again at `due_ms` (epoch milliseconds)."""

    parcel: Parcel
    due_ms: int
    message: str


@dataclass(frozen=True, slots=True)
class GiveUp:
    """The target does not get it any more."""

    parcel: Parcel
    code: str
    message: str


DeliveryFate = TryAgain | GiveUp | None
"""None: it was delivered."""


def before_delivery(parcel: Parcel, now_ms: int) -> GiveUp | None:
    """Whether a parcel that nobody could try in time is given up."""
    if now_ms - parcel.accepted_ms <= parcel.max_age_s * 1_000 or not parcel.attempts:
        return None  # one try it gets, however late: its age is not its fault when Hearth did not run
    return GiveUp(parcel, "AgeExceeded", f"It could not be delivered within {parcel.max_age_s} s.")


def after_failure(parcel: Parcel, attempt: Attempt, now_ms: int) -> DeliveryFate:
    """Another try, unless there were too many or it would come too late."""
    tried = replace(parcel, attempts=parcel.attempts + 1)
    if tried.attempts >= parcel.max_attempts:
        return GiveUp(tried, attempt.code, f"{attempt.message} (try {tried.attempts} of {parcel.max_attempts})")
    delay_ms = doubling(tried.attempts - 1, FIRST_DELAY_MS, LONGEST_DELAY_MS)
    if attempt.retry_after_s is not None:
        delay_ms = max(delay_ms, int(min(attempt.retry_after_s, LONGEST_WISH_S) * 1_000))
    due_ms = now_ms + delay_ms
    if due_ms - parcel.accepted_ms > parcel.max_age_s * 1_000:
        return GiveUp(tried, attempt.code, f"{attempt.message} (after {parcel.max_age_s} s)")
    return TryAgain(tried, due_ms, attempt.message)
