"""A Redis list in memory, and a clock of its own; they pass the same contract suite as the real queue."""

import asyncio
import itertools
from collections import deque
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from typing import TypeVar

from hearth_gateway.core.envelope import unpack_envelope
from hearth_gateway.core.mapping import EventSourceMapping, Producer
from hearth_gateway.core.queue_batch import RECORD_OVERHEAD_BYTES, Message
from hearth_gateway.core.retry import Dead, Settlement
from hearth_gateway.sources.ports import Claim, Gathered, ListQueue, QueueUnavailable, Redrive, StaleSession

_T = TypeVar("_T")  # Python 3.11 has no type parameter syntax


@dataclass(slots=True)
class FakeOwner:
    """What one owner holds. `session` is None while it is not alive; `newest` is the last there was."""

    session: int | None = None
    newest: int = 0
    taken: deque[bytes] = field(default_factory=deque)
    leases: set[str] = field(default_factory=set)


class FakeList:
    """One list and everything that belongs to it. Owners are created by use and never forgotten."""

    def __init__(self) -> None:
        self.source: deque[bytes] = deque()
        self.messages: dict[str, Message] = {}
        self.retries: dict[str, int] = {}
        self.dead: list[bytes] = []
        self.elsewhere: dict[str, list[bytes]] = {}
        """What was dead-lettered to lists that the settlement named."""
        self.redrive: Redrive | None = None
        self.owners: dict[str, FakeOwner] = {}
        self.waiting: deque[tuple[FakeOwner, asyncio.Future[bool]]] = deque()
        self.head_is_left = True
        self.faults: deque[tuple[str, bool]] = deque()
        self._ids = itertools.count()

    def push(self, *bodies: bytes) -> None:
        """What a producer does."""
        for body in bodies:
            (self.source.append if self.head_is_left else self.source.appendleft)(body)
        self._serve()

    def fail(self, transition: str, *, applied: bool) -> None:
        """Let the next such transition fail; `applied`: only its answer is lost."""
        self.faults.append((transition, applied))

    def pop_head(self) -> bytes:
        return self.source.popleft() if self.head_is_left else self.source.pop()

    def push_head(self, body: bytes) -> None:
        (self.source.appendleft if self.head_is_left else self.source.append)(body)

    def peek_head(self) -> bytes | None:
        return self.source[0 if self.head_is_left else -1] if self.source else None

    def new_id(self) -> str:
        return f"00000000-0000-4000-8000-{next(self._ids):012}"

    def restore(self, owner: FakeOwner, keep: Collection[str], now_ms: int) -> None:
        while owner.taken:
            self.push_head(owner.taken.pop())
        for one in owner.leases - set(keep):
            owner.leases.discard(one)
            if one in self.messages:
                self.retries[one] = now_ms
        self._serve()

    def _serve(self) -> None:
        while self.waiting and self.source:
            owner, waiter = self.waiting.popleft()
            if not waiter.done():
                owner.taken.append(self.pop_head())
                waiter.set_result(True)

    def wait(self, owner: FakeOwner, waiter: asyncio.Future[bool]) -> None:
        """Serve the waiter its body as soon as there is one; first come, first served."""
        self.waiting.append((owner, waiter))
        self._serve()

    def bury(self, lost: Dead) -> None:
        if lost.list_key == "":
            self.dead.append(lost.record)
        elif lost.list_key is not None:
            self.elsewhere.setdefault(lost.list_key, []).append(lost.record)

    def next_due(self) -> int | None:
        return min(self.retries.values(), default=None)

    def due(self, now_ms: int) -> list[str]:
        return sorted((one for one, at in self.retries.items() if at <= now_ms), key=self.retries.__getitem__)


class FakeListQueue:
    """One owner's view of a `FakeList`; see `ListQueue`."""

    def __init__(self, shared: FakeList, owner: str, previous_run: str = "") -> None:
        self.shared = shared
        self._name = owner
        self._previous = previous_run
        self._own = shared.owners.setdefault(owner, FakeOwner())
        self._waiter: asyncio.Future[bool] | None = None

    async def enter(self, session: int, keep: Collection[str], now_ms: int) -> int | None:
        def step() -> int | None:
            self._live(session)
            self.shared.restore(self._own, keep, now_ms)
            return self._take_over(now_ms)

        return self._apply("enter", step)

    async def beat(self, session: int, now_ms: int) -> int | None:
        def step() -> int | None:
            self._live(session)
            return self._take_over(now_ms)

        return self._apply("beat", step)

    async def take(self, wait_s: float) -> bool:
        self._apply("take", lambda: None)
        self._waiter = asyncio.get_running_loop().create_future()
        self.shared.wait(self._own, self._waiter)
        try:
            async with asyncio.timeout(wait_s):
                return await self._waiter
        except TimeoutError:
            return False

    async def interrupt(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(False)

    async def gather(self, session: int, limit: int, max_bytes: int) -> Gathered:
        def step() -> Gathered:
            taken = self._own.taken
            while len(taken) < limit and sum(map(len, taken)) < max_bytes and self.shared.source:
                taken.append(self.shared.pop_head())
            return Gathered(len(taken), sum(map(len, taken)))

        self._check(session)
        return self._apply("gather", step)

    async def claim(self, session: int, limit: int, *, max_bytes: int, now_ms: int) -> Claim:
        self._check(session)
        return self._apply("claim", lambda: self._claim(limit, max_bytes, now_ms))

    async def settle(self, settlement: Settlement, now_ms: int) -> None:
        self._apply("settle", lambda: self._settle(settlement))

    async def leave(self, now_ms: int, *, forget: bool) -> None:
        def step() -> None:
            self._own.session = None
            self.shared.restore(self._own, (), now_ms)

        self._apply("leave", step)

    async def close(self) -> None:
        await self.interrupt()

    def die(self) -> None:
        """The owner's liveness runs out."""
        self._own.session = None

    def _apply(self, transition: str, step: Callable[[], _T]) -> _T:
        faulty = bool(self.shared.faults) and self.shared.faults[0][0] == transition
        if not faulty:
            return step()
        _, applied = self.shared.faults.popleft()
        if applied:
            step()
        raise QueueUnavailable(f"{transition} failed on purpose")

    def _live(self, session: int) -> None:
        if session < self._own.newest:
            raise StaleSession("STALE session")
        self._own.session = self._own.newest = session

    def _check(self, session: int) -> None:
        if self._own.session != session:
            raise StaleSession("STALE session")

    def _take_over(self, now_ms: int) -> int | None:
        for name, other in self.shared.owners.items():
            is_previous = bool(self._previous) and name.startswith(f"{self._previous}/")
            if other is not self._own and (other.session is None or is_previous):
                self.shared.restore(other, (), now_ms)
        return self.shared.next_due()

    def _claim(self, limit: int, max_bytes: int, now_ms: int) -> Claim:
        claimed: list[Message] = []
        size = 0

        def fits(body: bytes) -> bool:
            nonlocal size
            cost = len(body) + RECORD_OVERHEAD_BYTES
            if len(claimed) == limit or (claimed and size + cost > max_bytes):
                return False
            size += cost
            return True

        def fresh(element: bytes) -> Message:
            envelope = unpack_envelope(element)
            own_id = self.shared.new_id() if envelope.id is None else envelope.id
            message = Message(own_id, envelope.body, now_ms, head=envelope.head)
            self.shared.messages[message.id] = message
            return message

        while self._own.taken and fits(self._own.taken[0]):
            claimed.append(fresh(self._own.taken.popleft()))
        for one in self.shared.due(now_ms) if not self._own.taken else ():
            if not fits(self.shared.messages[one].body):
                break
            claimed.append(self.shared.messages[one])
            del self.shared.retries[one]
        due = len(self.shared.due(now_ms))
        while not due and (body := self.shared.peek_head()) is not None and fits(body):
            claimed.append(fresh(self.shared.pop_head()))
        self._own.leases.update(message.id for message in claimed)
        available = len(self._own.taken) + len(self.shared.source) + due
        return Claim(tuple(claimed), available, self.shared.next_due(), self.shared.redrive)

    def _settle(self, settlement: Settlement) -> None:
        for one in settlement.done:
            self.shared.messages.pop(one, None)
            self.shared.retries.pop(one, None)
            self._own.leases.discard(one)
        for fate in settlement.again:
            if fate.id in self._own.leases and fate.id in self.shared.messages:
                held = self.shared.messages[fate.id]
                self.shared.messages[fate.id] = replace(held, attempts=fate.attempts)
                self.shared.retries[fate.id] = fate.due_ms
            self._own.leases.discard(fate.id)
        for lost in settlement.dead:
            if lost.id in self._own.leases and self.shared.messages.pop(lost.id, None) is not None:
                self.shared.bury(lost)
            self._own.leases.discard(lost.id)


class FakeQueues:
    """One `FakeList` per source ARN."""

    def __init__(self, run: str = "run-1", previous_run: str = "") -> None:
        self.lists: dict[str, FakeList] = {}
        self.opened: list[FakeListQueue] = []
        self.run = run
        self.previous_run = previous_run

    def list_of(self, source_arn: str) -> FakeList:
        return self.lists.setdefault(source_arn, FakeList())

    def open(self, mapping: EventSourceMapping) -> ListQueue:
        shared = self.list_of(mapping.source_arn)
        shared.head_is_left = mapping.producer is Producer.RPUSH
        queue = FakeListQueue(shared, f"{self.run}/{mapping.uuid}", self.previous_run)
        self.opened.append(queue)
        return queue


class LoopClock:
    """The event loop's own time, so that a loop with virtual time makes every pause instant."""

    def now_ms(self) -> int:
        return int(asyncio.get_running_loop().time() * 1000)

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()

    async def pause(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
