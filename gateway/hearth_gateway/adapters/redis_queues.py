"""The messages of queues in Redis, for senders and receivers. See docs/queue-protocol.md.

Rule 1: every state of a message lives in Redis. A received message is on the books and hidden until a time; when that
has passed it is simply there again, without anybody's doing.
Rule 2: waiting takes nothing. A wait moves the first element of the list to where it is, which is answered as soon as
there is one; so a receiver that goes away while it waits has nothing to give back.
"""

import uuid
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

from hearth_gateway.adapters.redis_connections import RedisConnection
from hearth_gateway.adapters.redis_list import new_id_base, queue_keys, queue_script
from hearth_gateway.adapters.redis_queue_bell import QueueBells
from hearth_gateway.core.envelope import MAGIC, Envelope, Head, pack_envelope, unpack_envelope
from hearth_gateway.queues.outgoing import fitting
from hearth_gateway.queues.ports import (
    Counts,
    Grip,
    Lying,
    Move,
    Outgoing,
    Peeked,
    Received,
    Sent,
    Wanted,
)
from hearth_gateway.queues.receipts import read_receipt, receipt_of
from hearth_gateway.sources.ports import Clock

LONGEST_LOOK_S = 1.0
"""A receiver that waits looks for messages whose time has come at least so often: others may have changed that time."""
_TAKEN = 9_007_199_254_740_991


class RedisQueueStore:
    """The `QueueStore` on one Redis; alive between `async with` and its end. `arn_prefix` is what queues' ARNs begin
    with, up to the name."""

    def __init__(self, connection: RedisConnection, clock: Clock, *, arn_prefix: str) -> None:
        self._connection = connection
        self._clock = clock
        self._arn_prefix = arn_prefix
        self._bells = QueueBells(connection)

    async def __aenter__(self) -> Self:
        await self._bells.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._bells.__aexit__(kind, error, trace)

    async def send(self, name: str, messages: Sequence[Outgoing]) -> Sequence[Sent]:
        now_ms = self._clock.now_ms()
        arguments: list[str | bytes | int] = [len(messages)]
        for message in map(fitting, messages):
            delay = "" if message.delay_ms is None else message.delay_ms
            arguments += (message.id, message.deduplication_id, delay, message.group_id, _tail(message, now_ms))
        reply = await self._run("send", name, *arguments, now_ms=now_ms, is_durable=True)
        self._bells.ring(name)
        return [
            Sent(own_id.decode(), sequence.decode(), bool(is_duplicate))
            for own_id, sequence, is_duplicate in zip(*(iter(reply),) * 3, strict=True)
        ]

    async def receive(self, name: str, wanted: Wanted) -> Sequence[Received]:
        ends = self._clock.monotonic() + wanted.wait_s
        with self._bells.listening(name) as ear:
            while True:
                received, due_ms = await self._receive(name, wanted)
                left_s = ends - self._clock.monotonic()
                if received or left_s <= 0:
                    return received
                await self._bells.wait(name, ear, min(left_s, LONGEST_LOOK_S, self._until_s(due_ms)))

    async def delete(self, name: str, receipts: Sequence[str]) -> Sequence[Grip]:
        read = [read_receipt(receipt) for receipt in receipts]
        known = [part for one in read if one for part in one]
        return _grips(read, await self._run("delete", name, *known) if known else [])

    async def change_visibility(self, name: str, changes: Sequence[tuple[str, int]]) -> Sequence[Grip]:
        now_ms = self._clock.now_ms()
        read = [read_receipt(receipt) for receipt, _ in changes]
        known: list[str | bytes | int] = []
        for one, (_, seconds) in zip(read, changes, strict=True):
            known += (*one, now_ms + seconds * 1000) if one else ()
        grips = _grips(read, await self._run("hide", name, *known, now_ms=now_ms) if known else [])
        self._bells.ring(name)
        return grips

    async def purge(self, name: str) -> None:
        await self._run("purge", name, "0")

    async def counts(self, name: str) -> Counts:
        return Counts(*await self._run("counts", name))

    async def peek(self, name: str, start: int = 0, limit: int = 100) -> Sequence[Peeked]:
        now_ms = self._clock.now_ms()
        reply = await self._run("peek", name, start, limit, now_ms=now_ms)
        return [_peeked(*row) for row in zip(*(iter(reply),) * 4, strict=True)]

    async def move(self, name: str, moves: Sequence[Move]) -> int:
        arguments: list[str | bytes | int] = []
        for one in moves:
            own_id = one.peeked.envelope.id or ""
            queue_keys(one.target or name)  # refuses what is no queue
            arguments += (own_id, one.peeked.element, one.target or "", one.replacement)
        moved = await self._run("move", name, *arguments, is_durable=True)
        for target in {one.target for one in moves if one.target}:
            self._bells.ring(target)
        return int(moved)

    async def _receive(self, name: str, wanted: Wanted) -> tuple[Sequence[Received], int]:
        visibility = "" if wanted.visibility_s is None else wanted.visibility_s * 1000
        arn = f"{self._arn_prefix}{name}"
        due_ms, receive, *rows = await self._run(
            "receive", name, wanted.limit, visibility, uuid.uuid4().hex, new_id_base(), arn, wanted.attempt_id
        )
        receive_id = receive.decode()
        return [_received(receive_id, row) for row in zip(*(iter(rows),) * 4, strict=True)], due_ms

    def _until_s(self, due_ms: int) -> float:
        if due_ms < 0:
            return LONGEST_LOOK_S
        return max(due_ms - self._clock.now_ms(), 0) / 1000 + 0.001

    async def _run(
        self,
        transition: str,
        name: str,
        *arguments: str | bytes | int,
        now_ms: int | None = None,
        is_durable: bool = False,
    ) -> Any:
        run = self._connection.run_durably if is_durable else self._connection.run
        now = self._clock.now_ms() if now_ms is None else now_ms
        given: list[str | bytes | int | float] = ["LEFT", "", now, *arguments]
        return await run(queue_script(f"queues_{transition}"), queue_keys(name), given)


def _tail(message: Outgoing, now_ms: int) -> bytes:
    """The envelope from behind the sequence number on, which the script gives."""
    head = Head(
        sent_ms=now_ms,
        attributes=message.attributes,
        group_id=message.group_id,
        deduplication_id=message.deduplication_id,
        sender=message.sender,
        trace_header=message.trace_header,
    )
    element = pack_envelope(Envelope(message.id, message.body, head))
    return element[len(MAGIC) + len(message.id.encode()) + 1 :]


def _received(receive_id: str, row: tuple[bytes, bytes, bytes, bytes]) -> Received:
    own_id, count, first, element = row
    envelope = unpack_envelope(element)
    message_id = own_id.decode()
    receipt = receipt_of(message_id, receive_id)
    return Received(message_id, receipt, envelope.body, int(count), int(first), envelope.head)


def _peeked(own_id: bytes, count: bytes, hidden: bytes, element: bytes) -> Peeked:
    envelope = unpack_envelope(element)
    if own_id:
        envelope = Envelope(own_id.decode(), envelope.body, envelope.head)
    # Hidden and never received is delayed: a receive counts, and a lease has no time.
    lying = Lying.VISIBLE if not hidden else Lying.DELAYED if count == b"0" and _has_time(hidden) else Lying.IN_FLIGHT
    return Peeked(envelope, element, lying, int(count))


def _has_time(hidden: bytes) -> bool:
    return int(float(hidden)) != _TAKEN


def _grips(read: Sequence[tuple[str, str] | None], reply: Sequence[int]) -> list[Grip]:
    """The answers for the handles that could be read, and INVALID for the others."""
    answers = iter(reply)
    return [Grip.INVALID if one is None else Grip.HELD if next(answers) else Grip.STALE for one in read]
