"""Which claimed messages are run at all: not those that the filters drop, nor those that are too old.

Rule 1: what the filters drop is done with, whatever its age.
Rule 2: what is too old is dead without having been run, and without an attempt counted.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from hearth_gateway.core.filtering import Filters
from hearth_gateway.core.queue_batch import Message, Origin, record_of


@dataclass(frozen=True, slots=True)
class Sifted:
    """Messages to run, to drop, and too old ones."""

    wanted: tuple[Message, ...]
    dropped: tuple[Message, ...] = ()
    expired: tuple[Message, ...] = ()


def sift(
    messages: Iterable[Message], filters: Filters, origin: Origin, *, max_age_s: int | None, now_ms: int
) -> Sifted:
    """Sort messages out, each in order. `max_age_s` None or -1 is without end."""
    wanted: list[Message] = []
    dropped: list[Message] = []
    expired: list[Message] = []
    for message in messages:
        if filters and not filters.accepts(record_of(message, origin)):
            dropped.append(message)
        elif is_too_old(message, max_age_s, now_ms):
            expired.append(message)
        else:
            wanted.append(message)
    return Sifted(tuple(wanted), tuple(dropped), tuple(expired))


def is_too_old(message: Message, max_age_s: int | None, now_ms: int) -> bool:
    """Whether a message is older than MaximumRecordAgeInSeconds."""
    return max_age_s is not None and max_age_s >= 0 and now_ms - message.sent_ms > max_age_s * 1000
