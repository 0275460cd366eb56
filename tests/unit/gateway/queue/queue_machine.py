"""Drives any list queue with random transitions, lost answers and deaths, beside a model that knows every message.

The model's claim: every body is at every moment in exactly one place, and its count is the number of failures that
its holders reported.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any, Protocol, TypeVar

import orjson
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from hearth_gateway.core.queue_batch import Message
from hearth_gateway.core.retry import Again, Dead, Settlement
from hearth_gateway.sources.ports import ListQueue, StaleSession

_T = TypeVar("_T")
OWNERS = ("a", "b", "c")
LARGE = 6_000_000
Place = tuple[str, str]
"""What kind of place, and whose."""


class Bench(Protocol):
    def open(self, owner: str, *, run: str = ..., previous_run: str | None = ...) -> ListQueue: ...

    async def push(self, *bodies: bytes) -> None: ...

    async def kill(self, owner: str, *, run: str = ...) -> None: ...

    async def places(self) -> list[tuple[bytes, Place, int]]:
        """Every body that is somewhere, where, and its count (0 outside the books)."""
        ...

    async def close(self) -> None: ...


class QueueMachine(RuleBasedStateMachine):
    """Three owners on one list."""

    def __init__(self, make_bench: Callable[[], Bench]) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.bench = make_bench()
        self.queues = {owner: self.bench.open(owner) for owner in OWNERS}
        self.now_ms = 1_000
        self.pushed = 0
        self.session = 0
        self.sessions: dict[str, int] = {}
        self.alive: set[str] = set()
        self.believed: dict[str, dict[str, Message]] = {owner: {} for owner in OWNERS}
        self.where: dict[bytes, Place] = {}
        self.counts: Counter[bytes] = Counter()

    def do(self, work: Coroutine[Any, Any, _T]) -> _T:
        return self.loop.run_until_complete(work)

    def teardown(self) -> None:
        self.do(self.bench.close())
        self.loop.close()

    # What happens

    @rule(count=st.integers(1, 5))
    def push(self, count: int) -> None:
        for _ in range(count):
            body = b"%d" % self.pushed
            self.pushed += 1
            self.do(self.bench.push(body))
            self.where[body] = ("source", "")

    @rule(ms=st.integers(1, 50))
    def time_passes(self, ms: int) -> None:
        self.now_ms += ms

    @rule(owner=st.sampled_from(OWNERS), keeps=st.booleans())
    def enter(self, owner: str, keeps: bool) -> None:
        """A (re)connection, or (keeping nothing) a start after a crash of the source."""
        if not keeps:
            self.believed[owner].clear()
        self.session += 1
        self.sessions[owner] = self.session
        self.do(self.queues[owner].enter(self.session, frozenset(self.believed[owner]), self.now_ms))
        self.alive.add(owner)
        self._restored(owner, keep={message.body for message in self.believed[owner].values()})
        self._taken_over()

    @precondition(lambda self: self.alive)
    @rule(data=st.data())
    def beat(self, data: st.DataObject) -> None:
        owner = data.draw(st.sampled_from(sorted(self.alive)))
        self.do(self.queues[owner].beat(self.sessions[owner], self.now_ms))
        self._taken_over()

    @rule(owner=st.sampled_from(OWNERS))
    def dies(self, owner: str) -> None:
        """Its liveness runs out. It may still believe that it holds something: a process can be merely slow."""
        self.do(self.bench.kill(owner))
        self.alive.discard(owner)

    @rule(owner=st.sampled_from(OWNERS))
    def leave(self, owner: str) -> None:
        self.do(self.queues[owner].leave(self.now_ms, forget=False))
        self.alive.discard(owner)
        self._restored(owner, keep=set())

    @precondition(lambda self: self.sessions and ("source", "") in self.where.values())
    @rule(data=st.data())
    def take(self, data: st.DataObject) -> None:
        """By an owner that has entered once, dead or alive: the server may serve a wait whose client has gone."""
        owner = data.draw(st.sampled_from(sorted(self.sessions)))
        assert self.do(self.queues[owner].take(1.0))
        self._moved_to_taken(owner)

    @rule(owner=st.sampled_from(OWNERS), limit=st.integers(1, 4))
    def gather(self, owner: str, limit: int) -> None:
        if self._is_refused(owner, self.queues[owner].gather(self.sessions.get(owner, 0), limit, LARGE)):
            return
        self._moved_to_taken(owner)

    @rule(owner=st.sampled_from(OWNERS), limit=st.integers(1, 4), answer_is_lost=st.booleans())
    def claim(self, owner: str, limit: int, answer_is_lost: bool) -> None:
        session = self.sessions.get(owner, 0)
        try:
            claim = self.do(self.queues[owner].claim(session, limit, max_bytes=LARGE, now_ms=self.now_ms))
        except StaleSession:
            assert owner not in self.alive
            return
        assert owner in self.alive
        claimable = {("source", ""), ("taken", owner), ("retry", "")}
        for message in claim.messages:
            assert self.where[message.body] in claimable
            assert message.attempts == self.counts[message.body]
            self.where[message.body] = ("leased", owner)
            if not answer_is_lost:
                self.believed[owner][message.id] = message

    @rule(owner=st.sampled_from(OWNERS), data=st.data(), times=st.integers(1, 2))
    def settle(self, owner: str, data: st.DataObject, times: int) -> None:
        """Any fates for what the owner believes to hold; sometimes repeated, as after a lost answer."""
        done: list[str] = []
        again: list[Again] = []
        dead: list[Dead] = []
        for message in list(self.believed[owner].values()):
            fate = data.draw(st.sampled_from(["done", "failed", "given back", "dead", "later"]))
            if fate == "later":
                continue
            if fate == "done":
                done.append(message.id)
            elif fate == "dead":
                dead.append(Dead(message.id, orjson.dumps({"payload": message.body.decode()})))
            else:
                again.append(Again(message.id, message.attempts + (fate == "failed"), self.now_ms + 10))
            self._decided(owner, message, fate)
        for _ in range(times):
            self.do(self.queues[owner].settle(Settlement(tuple(done), tuple(again), tuple(dead)), self.now_ms))

    # What must hold

    @invariant()
    def every_body_is_in_one_place_with_its_count(self) -> None:
        seen = self.do(self.bench.places())
        assert Counter(body for body, _, _ in seen) == Counter(self._somewhere())
        for body, place, count in seen:
            assert place == self.where[body]
            assert count == (self.counts[body] if place[0] in ("leased", "retry") else 0)

    # The model's own moves

    def _somewhere(self) -> list[bytes]:
        return [body for body, place in self.where.items() if place[0] != "done"]

    def _decided(self, owner: str, message: Message, fate: str) -> None:
        del self.believed[owner][message.id]
        place = self.where[message.body]
        if fate == "done":
            # A message that is dead already stays a dead letter: its record has left the queue.
            self.where[message.body] = place if place[0] == "dead" else ("done", "")
        elif place == ("leased", owner):
            self.where[message.body] = ("dead", "") if fate == "dead" else ("retry", "")
            self.counts[message.body] = message.attempts + (fate == "failed")

    def _restored(self, owner: str, keep: set[bytes]) -> None:
        for body, place in self.where.items():
            if place == ("taken", owner):
                self.where[body] = ("source", "")
            elif place == ("leased", owner) and body not in keep:
                self.where[body] = ("retry", "")

    def _taken_over(self) -> None:
        for other in set(OWNERS) - self.alive:
            self._restored(other, keep=set())

    def _moved_to_taken(self, owner: str) -> None:
        for body, place, _ in self.do(self.bench.places()):
            if place == ("taken", owner):
                assert self.where[body] in (("source", ""), ("taken", owner))
                self.where[body] = place

    def _is_refused(self, owner: str, work: Coroutine[Any, Any, object]) -> bool:
        try:
            self.do(work)
        except StaleSession:
            assert owner not in self.alive
            return True
        assert owner in self.alive
        return False
