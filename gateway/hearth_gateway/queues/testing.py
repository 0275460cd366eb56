"""Queues in memory, which pass the same contract suite as those in Redis."""

import asyncio
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from hearth_gateway.core.envelope import Death, Envelope, Head, pack_envelope, unpack_envelope
from hearth_gateway.core.sqs_attributes import redrive_policy
from hearth_gateway.queues.outgoing import fitting
from hearth_gateway.queues.ports import (
    DEDUPLICATION_MS,
    DEFAULT_RETENTION_S,
    DEFAULT_VISIBILITY_S,
    FIFO_SUFFIX,
    Counts,
    Grip,
    Lying,
    Move,
    Outgoing,
    Peeked,
    Queue,
    Received,
    Sent,
    Wanted,
)
from hearth_gateway.queues.receipts import read_receipt, receipt_of
from hearth_gateway.sources.ports import Clock

ARN_PREFIX = "arn:aws:sqs:us-east-1:000000000000:"
TOO_OFTEN = {
    "errorType": "Hearth.ReceivedTooOften",
    "errorMessage": "The message was received as often as the redrive policy allows.",
}


class MemoryQueueBook:
    """A `QueueBook` of a dictionary. `stored` gives the messages of a queue that nobody created."""

    def __init__(self) -> None:
        self.queues: dict[str, Queue] = {}
        self.store: MemoryQueueStore | None = None

    async def create(self, queue: Queue) -> Queue:
        return self.queues.setdefault(queue.name, queue)

    async def find(self, name: str) -> Queue | None:
        is_used = self.store is not None and bool(self.store.lying.get(name))
        return self.queues.get(name) or (Queue(name, is_created=False) if is_used else None)

    async def set_attributes(self, name: str, attributes: Mapping[str, str | None], now_ms: int) -> bool:
        if name in self.queues:
            queue = self.queues[name]
            self.queues[name] = replace(queue, attributes=_merged(queue.attributes, attributes), modified_ms=now_ms)
        return name in self.queues

    async def set_tags(self, name: str, tags: Mapping[str, str | None]) -> bool:
        if name in self.queues:
            self.queues[name] = replace(self.queues[name], tags=_merged(self.queues[name].tags, tags))
        return name in self.queues

    async def delete(self, name: str) -> bool:
        if self.store is not None:
            await self.store.purge(name)
            self.store.forget(name)
        return self.queues.pop(name, None) is not None

    async def names(self, prefix: str = "", after: str = "", limit: int = 1000) -> Sequence[str]:
        return [name for name in sorted(self.queues) if name.startswith(prefix) and name > after][:limit]


def _merged(before: Mapping[str, str], changes: Mapping[str, str | None]) -> dict[str, str]:
    wanted = {**before, **changes}
    return {key: value for key, value in wanted.items() if value is not None}


@dataclass(slots=True)
class Kept:
    """One message. `turn` orders those that are due again; `is_fresh`: it lies in the list and has no time."""

    id: str
    element: bytes
    head: Head
    body: bytes
    is_fresh: bool = True
    delayed_until_ms: int = 0
    hidden_until_ms: int = 0
    attempts: int = 0
    first_ms: int = 0
    receive_id: str = ""
    is_named: bool = True

    def is_hidden(self, now_ms: int) -> bool:
        return max(self.hidden_until_ms, self.delayed_until_ms) > now_ms


@dataclass(slots=True)
class _Memory:
    """What a FIFO queue remembers of deduplication ids and attempts."""

    sequence: int = 0
    sent: dict[str, tuple[int, Sent]] = field(default_factory=dict)
    attempts: dict[str, tuple[int, str, list[str]]] = field(default_factory=dict)


class MemoryQueueStore:
    """A `QueueStore` of dictionaries."""

    def __init__(self, clock: Clock, book: MemoryQueueBook | None = None, *, arn_prefix: str = ARN_PREFIX) -> None:
        self.lying: dict[str, list[Kept]] = {}
        self._memories: dict[str, _Memory] = {}
        self._clock = clock
        self._book = book or MemoryQueueBook()
        self._book.store = self
        self._arn_prefix = arn_prefix
        self._changed = asyncio.Event()
        self._ids = (f"00000000-0000-4000-8000-{n:012}" for n in itertools.count())

    def push(self, name: str, *elements: bytes) -> None:
        """What any producer does."""
        for element in elements:
            envelope = unpack_envelope(element)
            known = {one.id for one in self.lying.get(name, ())}
            is_named = envelope.id is not None and envelope.id not in known
            own_id = envelope.id if is_named and envelope.id else next(self._ids)
            kept = Kept(own_id, element, envelope.head, envelope.body, is_named=is_named)
            self.lying.setdefault(name, []).append(kept)
        self._ring()

    def forget(self, name: str) -> None:
        """The queue is deleted."""
        self._memories.pop(name, None)

    async def send(self, name: str, messages: Sequence[Outgoing]) -> Sequence[Sent]:
        return [self._send(name, message) for message in map(fitting, messages)]

    async def receive(self, name: str, wanted: Wanted) -> Sequence[Received]:
        ends = self._clock.monotonic() + wanted.wait_s
        while True:
            received = self._receive(name, wanted)
            left_s = ends - self._clock.monotonic()
            if received or left_s <= 0:
                return received
            try:
                async with asyncio.timeout(min(left_s, self._until_s(name))):
                    await self._changed.wait()
            except TimeoutError:
                continue

    async def delete(self, name: str, receipts: Sequence[str]) -> Sequence[Grip]:
        return [self._grip(name, receipt, self._drop, is_strict=_is_fifo(name)) for receipt in receipts]

    async def change_visibility(self, name: str, changes: Sequence[tuple[str, int]]) -> Sequence[Grip]:
        now_ms = self._clock.now_ms()

        def hide(seconds: int) -> Callable[[str, Kept], None]:
            return lambda _, kept: setattr(kept, "hidden_until_ms", now_ms + seconds * 1000)

        grips = [self._grip(name, receipt, hide(seconds), is_strict=True) for receipt, seconds in changes]
        self._ring()
        return grips

    async def purge(self, name: str) -> None:
        self.lying.pop(name, None)

    async def counts(self, name: str) -> Counts:
        self._expire(name)
        lying = [self._lying(one) for one in self.lying.get(name, ())]
        return Counts(lying.count(Lying.VISIBLE), lying.count(Lying.IN_FLIGHT), lying.count(Lying.DELAYED))

    async def peek(self, name: str, start: int = 0, limit: int = 100) -> Sequence[Peeked]:
        kept = self.lying.get(name, [])
        ordered = [one for one in kept if one.is_fresh] + [one for one in kept if not one.is_fresh]
        return [self._peeked(one) for one in ordered[start : start + limit]]

    async def move(self, name: str, moves: Sequence[Move]) -> int:
        moved = 0
        for one in moves:
            found = next((kept for kept in self.lying.get(name, ()) if self._is_meant(kept, one)), None)
            if found is not None:
                self._drop(name, found)
                if one.target is not None:
                    self.push(one.target, one.replacement)
                moved += 1
        return moved

    # Sending

    def _send(self, name: str, message: Outgoing) -> Sent:
        memory, now_ms = self._memories.setdefault(name, _Memory()), self._clock.now_ms()
        key = message.deduplication_id
        if self._attribute(name, "DeduplicationScope") == "messageGroup":
            key = f"{message.group_id}\t{key}"
        if _is_fifo(name) and message.deduplication_id and key in memory.sent:
            until_ms, sent = memory.sent[key]
            if until_ms > now_ms:
                return replace(sent, is_duplicate=True)
        if _is_fifo(name):
            memory.sequence += 1
        sent = Sent(message.id, f"{memory.sequence:020}" if _is_fifo(name) else "")
        memory.sent[key] = (now_ms + DEDUPLICATION_MS, sent)
        self.push(name, _element(message, sent.sequence, now_ms))
        kept = self.lying[name][-1]
        own_delay_ms = 1000 * int(self._attribute(name, "DelaySeconds") or 0)
        delay_ms = own_delay_ms if message.delay_ms is None else message.delay_ms
        if delay_ms:
            kept.delayed_until_ms = now_ms + delay_ms
            kept.is_fresh = _is_fifo(name)
        return sent

    # Receiving

    def _receive(self, name: str, wanted: Wanted) -> list[Received]:
        now_ms = self._clock.now_ms()
        self._changed.clear()
        self._expire(name)
        own = int(self._attribute(name, "VisibilityTimeout") or DEFAULT_VISIBILITY_S)
        until_ms = now_ms + 1000 * (own if wanted.visibility_s is None else wanted.visibility_s)
        memory = self._memories.setdefault(name, _Memory())
        if wanted.attempt_id and (again := self._repeated(name, wanted.attempt_id, until_ms)):
            return again
        receive_id = next(self._ids)
        received: list[Received] = []
        for kept in list(self._candidates(name, now_ms)):
            if len(received) == wanted.limit:
                break
            if not self._bury(name, kept, now_ms):
                received.append(_given(kept, receive_id, now_ms, until_ms))
        memory.attempts[wanted.attempt_id] = (now_ms + DEDUPLICATION_MS, receive_id, [one.id for one in received])
        return received

    def _candidates(self, name: str, now_ms: int) -> Iterator[Kept]:
        kept = self.lying.get(name, [])
        if _is_fifo(name):
            return self._of_groups(kept, now_ms)
        due = sorted((one for one in kept if not one.is_fresh and not one.is_hidden(now_ms)), key=_due)
        return iter(due + [one for one in kept if one.is_fresh])

    def _of_groups(self, kept: Sequence[Kept], now_ms: int) -> Iterator[Kept]:
        blocked = {one.head.group_id for one in kept if one.hidden_until_ms > now_ms}
        for one in kept:
            if one.delayed_until_ms > now_ms:
                blocked.add(one.head.group_id)
            if one.head.group_id not in blocked:
                yield one

    def _repeated(self, name: str, attempt_id: str, until_ms: int) -> list[Received]:
        now_ms = self._clock.now_ms()
        ends_ms, receive_id, ids = self._memories[name].attempts.get(attempt_id, (0, "", []))
        held = [one for one in self.lying.get(name, ()) if one.id in ids and one.receive_id == receive_id]
        if ends_ms <= now_ms or len(held) < len(ids) or not all(one.hidden_until_ms > now_ms for one in held):
            return []
        for one in held:
            one.hidden_until_ms = until_ms
        return [_received(one, receive_id) for one in held]

    def _bury(self, name: str, kept: Kept, now_ms: int) -> bool:
        policy = redrive_policy(self._attributes(name))
        if policy is None or kept.attempts < policy[1]:
            return False
        death = Death(f"{self._arn_prefix}{name}", TOO_OFTEN, kept.attempts, kept.first_ms, now_ms)
        head = replace(kept.head, sequence="", death=death)
        self._drop(name, kept)
        self.push(policy[0].rpartition(":")[2], pack_envelope(Envelope(kept.id, kept.body, head)))
        return True

    def _expire(self, name: str) -> None:
        if name not in self._book.queues:
            return
        longest_ms = 1000 * int(self._attribute(name, "MessageRetentionPeriod") or DEFAULT_RETENTION_S)
        oldest_ms = self._clock.now_ms() - longest_ms
        self.lying[name] = [one for one in self.lying.get(name, []) if not 0 < _since(one) < oldest_ms]

    # Looking

    def _peeked(self, kept: Kept) -> Peeked:
        is_unnamed = kept.is_fresh and not kept.is_named
        envelope = Envelope(None if is_unnamed else kept.id, kept.body, kept.head)
        return Peeked(envelope, kept.element, self._lying(kept), kept.attempts)

    def _lying(self, kept: Kept) -> Lying:
        now_ms = self._clock.now_ms()
        if kept.hidden_until_ms > now_ms:
            return Lying.IN_FLIGHT
        return Lying.DELAYED if kept.delayed_until_ms > now_ms else Lying.VISIBLE

    def _is_meant(self, kept: Kept, move: Move) -> bool:
        wanted = move.peeked.envelope.id
        is_it = kept.id == wanted if wanted is not None else kept.is_fresh and kept.element == move.peeked.element
        return is_it and kept.hidden_until_ms <= self._clock.now_ms()

    def _grip(self, name: str, receipt: str, act: Callable[[str, Kept], None], *, is_strict: bool) -> Grip:
        read = read_receipt(receipt)
        if read is None:
            return Grip.INVALID
        for kept in self.lying.get(name, ()):
            is_over = kept.hidden_until_ms <= self._clock.now_ms()
            if (kept.id, kept.receive_id) == read and not (is_strict and is_over):
                act(name, kept)
                return Grip.HELD
        return Grip.STALE

    def _drop(self, name: str, kept: Kept) -> None:
        self.lying[name].remove(kept)
        self._ring()

    def _attributes(self, name: str) -> Mapping[str, str]:
        queue = self._book.queues.get(name)
        return queue.attributes if queue else {}

    def _attribute(self, name: str, key: str) -> str | None:
        return self._attributes(name).get(key)

    def _until_s(self, name: str) -> float:
        now_ms = self._clock.now_ms()
        times = [max(one.hidden_until_ms, one.delayed_until_ms) for one in self.lying.get(name, ())]
        return min((time - now_ms for time in times if time > now_ms), default=60_000) / 1000

    def _ring(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()


def _is_fifo(name: str) -> bool:
    return name.endswith(FIFO_SUFFIX)


def _due(kept: Kept) -> int:
    return max(kept.hidden_until_ms, kept.delayed_until_ms)


def _since(kept: Kept) -> int:
    if kept.head.death is not None:
        return kept.head.death.last_failed_ms
    return kept.first_ms if kept.head.sent_ms is None else kept.head.sent_ms


def _element(message: Outgoing, sequence: str, now_ms: int) -> bytes:
    head = Head(
        sent_ms=now_ms,
        attributes=message.attributes,
        group_id=message.group_id,
        deduplication_id=message.deduplication_id,
        sequence=sequence,
        sender=message.sender,
        trace_header=message.trace_header,
    )
    return pack_envelope(Envelope(message.id, message.body, head))


def _given(kept: Kept, receive_id: str, now_ms: int, until_ms: int) -> Received:
    kept.attempts += 1
    kept.first_ms = kept.first_ms or now_ms
    kept.is_fresh, kept.hidden_until_ms, kept.receive_id = False, until_ms, receive_id
    kept.delayed_until_ms = 0
    return _received(kept, receive_id)


def _received(kept: Kept, receive_id: str) -> Received:
    return Received(kept.id, receipt_of(kept.id, receive_id), kept.body, kept.attempts, kept.first_ms, kept.head)
