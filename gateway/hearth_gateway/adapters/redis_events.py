"""Asynchronous events and parcels in Redis."""

from collections.abc import Sequence
from dataclasses import replace
from hashlib import sha256

import structlog

from hearth.core.function import FunctionName
from hearth_gateway.adapters.redis_events_records import (
    Unintelligible,
    decode_event,
    decode_parcel,
    decode_status,
    encode_event,
    encode_parcel,
)
from hearth_gateway.adapters.redis_events_shelf import (
    EVENTS,
    ONCE_S,
    PARCELS,
    TAKEN,
    EventRedis,
    Keeping,
    RedisShelf,
    asked,
    letter_arguments,
    post_arguments,
    status_arguments,
    tell_dropped,
)
from hearth_gateway.asynchronous.ports import Cancellation, Ending, Posted
from hearth_gateway.core.async_event import AsyncEvent
from hearth_gateway.core.dead_letter import FUNCTION_BOX, TARGET_BOX, Letter, Unreadable
from hearth_gateway.core.invocation_status import InvocationStatus, State, status_of
from hearth_gateway.core.parcel import Parcel

log = structlog.get_logger(__name__)


class RedisEvents(RedisShelf):
    """The `EventQueue` on Redis."""

    def __init__(self, redis: EventRedis, keeping: Keeping | None = None) -> None:
        super().__init__(redis, EVENTS, keeping or Keeping())

    async def accept(self, event: AsyncEvent, due_ms: int, once: str = "") -> str:
        *arguments, _, ordered = post_arguments(event)
        key = f"{EVENTS}:once:{event.function}:{sha256(once.encode()).hexdigest()}" if once else ""
        kept = await self._redis.run_durably("post", key, event.id, ONCE_S, *arguments, due_ms, ordered)
        return str(kept.decode())

    async def take(self, function: FunctionName, now_ms: int) -> AsyncEvent | None:
        while found := await self._take(function, now_ms):
            identity, record = found
            try:
                return decode_event(record)
            except Unintelligible as error:
                await self._set_aside(function, Unreadable(identity, FUNCTION_BOX + function, record), error, now_ms)
        return None

    async def put_back(self, event: AsyncEvent, due_ms: int) -> None:
        await self._put_back(event.function, event.id, encode_event(event), due_ms)

    async def end(self, event: AsyncEvent, ending: Ending) -> None:
        ended_ms = event.accepted_ms if ending.status is None else ending.status.ended_ms or event.accepted_ms
        await self._end(event.function, event.id, ending, ended_ms)

    async def cancel(self, function: FunctionName, identity: str, now_ms: int) -> Cancellation:
        record = await asked(self._redis.client.hget(f"{EVENTS}:{function}:events", identity))
        if record is None:
            return Cancellation.GONE
        status = InvocationStatus(identity, function, "", State.CANCELLED, 0, now_ms, ended_ms=now_ms)
        try:
            status = replace(status_of(decode_event(record), now_ms), state=State.CANCELLED, ended_ms=now_ms)
        except Unintelligible as error:
            log.warning("an event that cannot be read is cancelled", request_id=identity, error=str(error))
        arguments = status_arguments(replace(status, next_ms=None), self._keeping, now_ms)
        answer = await self._redis.run_durably("cancel", *arguments)
        return Cancellation(answer.decode())

    async def find(self, identity: str) -> InvocationStatus | None:
        found = await self._redis.run("find", identity)
        if found is None:
            return None
        return decode_status(found[0]) if len(found) == 1 else _going(found[0], found[1])

    async def page(
        self, function: FunctionName, state: State | None, *, after: int, limit: int
    ) -> tuple[Sequence[InvocationStatus], int | None]:
        only_ended = "1" if state is not None and state.is_end else "0"
        there, began, heads, *rows = await self._redis.run("page", function, after, limit, only_ended)
        going = [
            _going(head, score) for head, score in zip(rows[: 2 * heads : 2], rows[1 : 2 * heads : 2], strict=True)
        ]
        ended = [decode_status(row) for row in rows[2 * heads :]]
        wanted = [one for one in (*going, *ended) if one is not None and (state is None or one.state is state)]
        following = began + limit
        return wanted, following if following < there else None


class RedisDeliveries(RedisShelf):
    """The `DeliveryQueue` on Redis."""

    def __init__(self, redis: EventRedis, keeping: Keeping | None = None) -> None:
        super().__init__(redis, PARCELS, keeping or Keeping())

    async def post(self, posted: Sequence[Posted]) -> None:
        arguments = [argument for one in posted for argument in post_arguments(one)]
        if arguments:
            await self._redis.run_durably("post", "", "", ONCE_S, *arguments)

    async def bury(self, letters: Sequence[Letter]) -> None:
        arguments = [argument for one in letters for argument in letter_arguments(one, self._keeping)]
        dropped = await self._redis.run_durably("bury", *arguments) if arguments else 0
        if dropped:
            tell_dropped({one.box for one in letters}, dropped)

    async def take(self, target: str, now_ms: int, *, stays: bool = False) -> Parcel | None:
        while found := await self._take(target, now_ms, stays=stays):
            identity, record = found
            try:
                return decode_parcel(record)
            except Unintelligible as error:
                await self._set_aside(target, Unreadable(identity, TARGET_BOX + target, record), error, now_ms)
        return None

    async def put_back(self, parcel: Parcel, due_ms: int | None) -> None:
        await self._put_back(parcel.target, parcel.id, encode_parcel(parcel), due_ms)

    async def end(self, parcel: Parcel, ending: Ending) -> None:
        await self._end(parcel.target, parcel.id, ending, parcel.accepted_ms)


def _going(head: bytes, score: bytes) -> InvocationStatus | None:
    """The status of what goes on; None if it cannot be read, which is found out again when its turn comes."""
    due = int(float(score))
    try:
        return status_of(decode_event(head), None if due >= TAKEN else due)
    except Unintelligible:
        return None
