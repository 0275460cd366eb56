"""What the queues of events and of parcels have in common on Redis: one connection pool, the scripts, the wait for the
disk.

Every transition is one script, so it happens whole or not at all. See `redis_events_shared.lua` for the keys.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from math import ceil
from typing import Any, cast

import structlog
from redis.exceptions import NoScriptError, RedisError

from hearth_gateway.adapters.redis_client import WAIT_FOR_DISK, own_client, raise_if_not_synced, within_deadline
from hearth_gateway.adapters.redis_events_records import (
    encode_event,
    encode_letter,
    encode_parcel,
    encode_status,
)
from hearth_gateway.asynchronous.ports import Ending, EventsUnavailable, Posted
from hearth_gateway.core.addresses import QueueAddress, parse_address
from hearth_gateway.core.async_event import AsyncEvent
from hearth_gateway.core.dead_letter import Letter, Unreadable
from hearth_gateway.core.invocation_status import InvocationStatus
from hearth_gateway.core.parcel import Parcel
from hearth_gateway.core.webhook import shown_target

EVENTS = "hearth:async"
PARCELS = "hearth:courier"
TAKEN = 9_007_199_254_740_991
"""2^53 - 1, the greatest whole number that a score holds exactly: later than every due time."""
ONCE_S = 86_400
"""How long a key keeps a second event from being accepted."""

UNREADABLE = "Unreadable"
"""The reason of a dead letter whose bytes made no sense."""

Argument = str | bytes | int | float

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Keeping:
    """How long, and how many, of what is over: dead letters per box, statuses per function."""

    letter_age_s: int = 14 * 86_400
    letters: int = 10_000
    status_age_s: int = 86_400
    statuses: int = 10_000


@cache
def script(name: str) -> str:
    """The source of a transition: the shared head and its own part."""
    here = resources.files("hearth_gateway.adapters")
    return (here / "redis_events_shared.lua").read_text() + (here / f"redis_events_{name}.lua").read_text()


def is_ordered(target: str) -> bool:
    """Whether a target gets its parcels strictly one after another, in the order in which they were posted."""
    address = parse_address(target)
    return isinstance(address, QueueAddress) and address.is_fifo


class EventRedis:
    """The commands to Hearth's own Redis for events, parcels and letters. `close` when done."""

    def __init__(self, url: str) -> None:
        self.client = own_client(url)
        self._digests: dict[str, str] = {}

    async def close(self) -> None:
        await self.client.aclose()

    async def run(self, name: str, *arguments: Argument) -> Any:
        """One transition."""
        return await asked(self._evaluated(name, arguments))

    async def run_durably(self, name: str, *arguments: Argument) -> Any:
        """One transition; on disk when this returns, as far as the server can."""
        answer, synced = await self._durably("EVALSHA", await self._digest(name), arguments)
        if isinstance(answer, NoScriptError):  # the server was restarted: it does not know the script, and did nothing
            answer, synced = await self._durably("EVAL", script(name), arguments)
        if isinstance(answer, RedisError):
            raise EventsUnavailable(str(answer)) from answer
        try:
            raise_if_not_synced(synced)
        except (RedisError, TimeoutError) as error:
            raise EventsUnavailable("the server did not reach its disk in time") from error
        return answer

    async def _durably(self, command: str, source: str, arguments: Sequence[Argument]) -> tuple[Any, Any]:
        """A script's answer, or its error, and what the wait for the disk said."""
        async with self.client.pipeline(transaction=False) as pipe:
            pipe.execute_command(command, source, 0, *arguments)
            pipe.execute_command(*WAIT_FOR_DISK)
            answer, synced = await asked(pipe.execute(raise_on_error=False))
        return answer, synced

    async def _digest(self, name: str) -> str:
        """What the server knows a script by, once it was told."""
        if name not in self._digests:
            self._digests[name] = str(await asked(self.client.script_load(script(name))))
        return self._digests[name]

    async def _evaluated(self, name: str, arguments: Sequence[Argument]) -> Any:
        digest = await self._digest(name)
        try:
            return await cast(Any, self.client.evalsha(digest, 0, *cast(Any, arguments)))
        except NoScriptError:  # the server was restarted: it does not know the script any more, and did nothing
            return await cast(Any, self.client.eval(script(name), 0, *cast(Any, arguments)))


class RedisShelf:
    """The `Shelf` under a stem."""

    def __init__(self, redis: EventRedis, stem: str, keeping: Keeping) -> None:
        self._redis = redis
        self._stem = stem
        self._keeping = keeping

    async def recover(self, now_ms: int) -> Sequence[str]:
        return [name.decode() for name in await self._redis.run("recover", self._stem, now_ms)]

    async def restore(self, recipient: str, keep: Collection[str], now_ms: int) -> None:
        await self._redis.run("restore", self._stem, recipient, now_ms, *keep)

    async def next_due_ms(self, recipient: str) -> int | None:
        found = await asked(self._redis.client.zrange(f"{self._stem}:{recipient}:due", 0, 0, withscores=True))
        due = ceil(found[0][1]) if found else TAKEN  # what is in order has times between whole milliseconds
        return None if due == TAKEN else due

    async def _take(self, recipient: str, now_ms: int, *, stays: bool = False) -> tuple[str, bytes] | None:
        found = await self._redis.run("take", self._stem, recipient, now_ms, "1" if stays else "0")
        return None if found is None else (found[0].decode(), found[1])

    async def _put_back(self, recipient: str, identity: str, record: bytes, due_ms: int | None) -> None:
        due = "" if due_ms is None else due_ms
        await self._redis.run("put_back", self._stem, recipient, identity, record, due)

    async def _end(self, recipient: str, identity: str, ending: Ending, now_ms: int) -> None:
        letters = [] if ending.letter is None else letter_arguments(ending.letter, self._keeping)
        statuses = [] if ending.status is None else status_arguments(ending.status, self._keeping, now_ms)
        follow_ups = [argument for one in ending.follow_ups for argument in post_arguments(one)]
        counts = (len(ending.follow_ups), int(bool(letters)), int(bool(statuses)))
        arguments = (self._stem, recipient, identity, *counts, *follow_ups, *letters, *statuses)
        dropped = await self._redis.run("end", *arguments)
        if dropped and ending.letter is not None:
            tell_dropped({ending.letter.box}, dropped)

    async def _set_aside(self, recipient: str, item: Unreadable, error: Exception, now_ms: int) -> None:
        """Out of the way of the others, into the dead letters."""
        log.error(
            "a stored event cannot be read and is set aside",
            recipient=shown_target(recipient),
            id=item.id,
            error=str(error),
        )
        why = {"errorType": UNREADABLE, "errorMessage": str(error)}
        await self._end(recipient, item.id, Ending(letter=Letter(item, UNREADABLE, why, 0, now_ms, now_ms)), now_ms)


def tell_dropped(boxes: Collection[str], count: int) -> None:
    """Say that old letters had to go for new ones."""
    log.warning("dead letters dropped: their box is full or they are too old", box=", ".join(sorted(boxes)), n=count)


def post_arguments(posted: Posted) -> Iterator[Argument]:
    """What `keep` is told about something new."""
    match posted:
        case AsyncEvent():
            yield from (EVENTS, posted.function, posted.id, encode_event(posted), posted.accepted_ms, "0")
        case Parcel():
            ordered = "1" if is_ordered(posted.target) else "0"
            yield from (PARCELS, posted.target, posted.id, encode_parcel(posted), posted.accepted_ms, ordered)


def letter_arguments(letter: Letter, keeping: Keeping) -> tuple[Argument, ...]:
    cutoff = letter.last_ms - keeping.letter_age_s * 1_000
    return (letter.box, letter.id, encode_letter(letter), letter.last_ms, cutoff, keeping.letters)


def status_arguments(status: InvocationStatus, keeping: Keeping, now_ms: int) -> tuple[Argument, ...]:
    cutoff = now_ms - keeping.status_age_s * 1_000
    record = encode_status(status)
    return (status.function, status.id, record, now_ms, cutoff, keeping.statuses, keeping.status_age_s)


async def asked(call: object) -> Any:
    """The answer within its time. Raises EventsUnavailable."""
    try:
        return await within_deadline(call)
    except (RedisError, OSError) as error:
        raise EventsUnavailable(f"{type(error).__name__}: {error}") from error
