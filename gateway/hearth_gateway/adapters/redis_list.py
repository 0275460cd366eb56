"""Redis lists as queues: the transitions of docs/queue-protocol.md as Lua scripts, and the one blocking wait.

What receivers and senders ask of the same lists is in `redis_queues`.
Rule 1: every state of a message lives in Redis; this module holds none.
Rule 2: nothing is repeated silently. The client's own retries are off, because a claim whose answer was lost must
be made good by `enter`, not sent again.
Needs Redis 6.2 (BLMOVE); `maxmemory-policy` must be `noeviction`, which is the default.
"""

import re
import uuid
from collections.abc import Awaitable, Collection
from functools import cache
from importlib import resources
from typing import Any, cast

from redis.asyncio import Redis
from redis.crc import key_slot

from hearth_gateway.adapters.redis_connections import RedisConnection, RedisConnections, Script
from hearth_gateway.core.addresses import RESERVED
from hearth_gateway.core.envelope import unpack_envelope
from hearth_gateway.core.mapping import EventSourceMapping, Producer
from hearth_gateway.core.queue_batch import RECORD_OVERHEAD_BYTES, Message
from hearth_gateway.core.retry import Settlement
from hearth_gateway.core.sqs_attributes import redrive_policy
from hearth_gateway.queues.ports import FIFO_SUFFIX
from hearth_gateway.sources.ports import Claim, Gathered, ListQueue, QueueUnavailable, Redrive

LIVENESS_TTL_MS = 10_000
"""An owner that has not beaten for this long is dead, and what it holds is taken over."""

NOT_TOGETHER = (
    "on a cluster a list and its dead-letter list must be in one hash slot: give the key a hash tag, as in {jobs}, "
    "or name the dead-letter list so that it has one, as in {jobs}:dead"
)
"""A message leaves the one and enters the other in one step, which a cluster takes within a slot only."""

_TAGGED = re.compile(r"\{[^{}]+\}")
_TRANSITIONS = ("enter", "beat", "gather", "claim", "settle", "leave")
_PICKING = frozenset({"list_claim", "queues_receive", "queues_counts"})


def stem_of(key: str) -> str:
    """The prefix of our own keys for a list, in the same hash slot as the list.

    A key that has a hash tag of its own keeps it; the second colon tells `{a}` from `a`.
    """
    return f"hearth::{key}" if _TAGGED.search(key) else f"hearth:{{{key}}}"


@cache
def queue_script(name: str) -> Script:
    """A script on a queue: the shared head, what it shares with those that pick messages, and its own part."""
    here = resources.files("hearth_gateway.adapters")
    parts = ["list_shared", *(["list_picking"] if name in _PICKING else []), name]
    return Script("\n".join((here / f"redis_{part}.lua").read_text() for part in parts))


@cache
def transitions() -> dict[str, Script]:
    """The script of each transition."""
    return {name: queue_script(f"list_{name}") for name in _TRANSITIONS}


def queue_keys(name: str) -> list[str]:
    """The keys of the scripts on a queue. Raises QueueUnavailable for a key of Hearth's own, which is no queue."""
    if name.startswith(RESERVED):
        raise QueueUnavailable(f"{name!r} is a key of Hearth's own")
    return [name, stem_of(name)]


def new_id_base() -> str:
    """24 characters of a random UUID. The scripts make ids of it by counting in the last twelve."""
    return str(uuid.uuid4())[:24]


class RedisListQueue:
    """One owner's view of one list. Commands share the connection of that name; `take` has one of its own."""

    def __init__(
        self, connection: RedisConnection, mapping: EventSourceMapping, *, run: str, previous_run: str | None
    ) -> None:
        key = mapping.address.key
        self._connection = connection
        self._source = key
        self._is_fifo = key.endswith(FIFO_SUFFIX)
        self._keys = [key, stem_of(key)]
        self._dead_letter_key = mapping.dead_letter_key
        self._head = "LEFT" if mapping.producer is Producer.RPUSH else "RIGHT"
        self._owner = f"{run}/{mapping.uuid}"
        self._taken = f"{stem_of(key)}:taken:{self._owner}"
        self._previous_run = previous_run or ""
        self._wait = connection.wait(key)

    def __repr__(self) -> str:
        return f"RedisListQueue({self._source!r}, owner={self._owner!r})"

    async def enter(self, session: int, keep: Collection[str], now_ms: int) -> int | None:
        due = await self._run("enter", now_ms, session, LIVENESS_TTL_MS, self._previous_run, *keep)
        return _due(due)

    async def beat(self, session: int, now_ms: int) -> int | None:
        return _due(await self._run("beat", now_ms, session, LIVENESS_TTL_MS, self._previous_run))

    async def take(self, wait_s: float) -> bool:
        def blocked(client: Redis) -> Awaitable[bytes | None]:
            # redis-py types whole seconds only; fractions are Redis's own documented unit.
            # A FIFO queue's element goes back to where it was: nobody may hold one while others are sorted.
            target, end = (self._source, self._head) if self._is_fifo else (self._taken, "RIGHT")
            waiting = client.blmove(self._source, target, cast(int, wait_s), self._head, end)
            return cast(Awaitable[bytes | None], waiting)

        return await self._wait.run(wait_s, blocked) is not None

    async def interrupt(self) -> None:
        await self._wait.interrupt()

    async def gather(self, session: int, limit: int, max_bytes: int) -> Gathered:
        count, size = await self._run("gather", 0, session, limit, max_bytes)
        return Gathered(count, size)

    async def claim(self, session: int, limit: int, *, max_bytes: int, now_ms: int) -> Claim:
        available, due, policy, *rows = await self._run(
            "claim", now_ms, session, max_bytes, RECORD_OVERHEAD_BYTES, limit, new_id_base()
        )
        messages = tuple(_message(*row) for row in zip(*(iter(rows),) * 4, strict=True))
        return Claim(messages, available, _due(due), redrive_of(policy))

    async def settle(self, settlement: Settlement, now_ms: int) -> None:
        done, again, dead = settlement.done, settlement.again, settlement.dead
        fates: list[str | int | bytes] = [len(done), len(again), len(dead), *done]
        for one in again:
            fates += (one.id, one.attempts, one.due_ms)
        for lost in dead:
            list_key = self._dead_letter_key if lost.list_key == "" else lost.list_key or ""
            fates += (lost.id, list_key, lost.record)
        await self._run("settle", now_ms, *fates)

    async def leave(self, now_ms: int, *, forget: bool) -> None:
        await self._run("leave", now_ms, "1" if forget else "0")

    async def close(self) -> None:
        await self._wait.close()

    async def _run(self, transition: str, now_ms: int, *arguments: str | int | bytes) -> Any:
        return await self._connection.run(
            transitions()[transition], self._keys, [self._head, self._owner, now_ms, *arguments]
        )


def _due(reply: int) -> int | None:
    return None if reply < 0 else reply


def _message(own_id: bytes, attempts: bytes, first_received: bytes, element: bytes) -> Message:
    envelope = unpack_envelope(element)
    return Message(own_id.decode(), envelope.body, int(first_received), int(attempts), envelope.head)


def redrive_of(policy: bytes) -> Redrive | None:
    """The RedrivePolicy as it is kept; what cannot be read is none."""
    try:
        found = redrive_policy({"RedrivePolicy": policy.decode()})
    except (ValueError, KeyError, TypeError):
        return None
    return None if found is None else Redrive(*found)


class RedisQueues:
    """Opens lists on the connection that a mapping's source names. `run` names this run of Hearth, `previous_run` the
    one before it with the same data, which is known to be dead."""

    def __init__(self, connections: RedisConnections, *, run: str, previous_run: str | None) -> None:
        self._connections = connections
        self._run = run
        self._previous_run = previous_run

    def open(self, mapping: EventSourceMapping) -> ListQueue:
        connection = self._connections.connection(mapping.address.connection)
        slots = {key_slot(name.encode()) for name in (mapping.address.key, mapping.dead_letter_key)}
        if connection.is_cluster and len(slots) > 1:
            raise QueueUnavailable(NOT_TOGETHER)
        return RedisListQueue(connection, mapping, run=self._run, previous_run=self._previous_run)
