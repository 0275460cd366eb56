"""Drives any store of queues with random histories, beside a model that knows every message.

What the model claims: a message is received by whoever asks while it is visible, and by nobody else; nothing is lost;
only the latest receipt counts; a FIFO group is served in order, and not while one of its messages is in hands.
"""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, TypeVar

import orjson
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from tests.contract.queue_bench import Bench, outgoing

from hearth_gateway.queues.ports import Counts, Grip, Lying, Move, Queue, Received, Wanted
from hearth_gateway.queues.testing import ARN_PREFIX

_T = TypeVar("_T")
MOST = 4
"""The redrive policy's maxReceiveCount."""
OpenBench = Callable[[], AbstractAsyncContextManager[Bench]]


@dataclass
class Known:
    """What the model knows of one message."""

    body: bytes
    group: str
    is_listed: bool = True
    """It lies in the list, and was never received or delayed there."""
    hidden_until_ms: int = 0
    delayed_until_ms: int = 0
    receives: int = 0
    receipt: str = ""

    def is_visible(self, now_ms: int) -> bool:
        return max(self.hidden_until_ms, self.delayed_until_ms) <= now_ms


class QueueStoreMachine(RuleBasedStateMachine):
    """One queue with a dead-letter queue, used by everybody at once."""

    is_fifo = False

    def __init__(self, open_bench: OpenBench) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self._opening = open_bench()
        self.bench = self.do(self._opening.__aenter__())
        suffix = ".fifo" if self.is_fifo else ""
        self.name, self.dead_name = self.bench.name(f"jobs{suffix}"), self.bench.name(f"dead{suffix}")
        policy = {"deadLetterTargetArn": f"{ARN_PREFIX}{self.dead_name}", "maxReceiveCount": MOST}
        queue = Queue(self.name, {"RedrivePolicy": orjson.dumps(policy).decode()})
        self.do(self.bench.book.create(queue))
        self.messages: list[Known] = []
        self.dead: list[bytes] = []
        self.old_receipts: list[str] = []
        self.sent = 0

    def do(self, work: Coroutine[Any, Any, _T]) -> _T:
        return self.loop.run_until_complete(work)

    @property
    def now_ms(self) -> int:
        return self.bench.clock.ms

    def teardown(self) -> None:
        self._drain()
        self.do(self._opening.__aexit__(None, None, None))
        self.loop.close()

    # What happens

    @rule(count=st.integers(1, 4), group=st.sampled_from("abc"), delay_s=st.sampled_from([0, 0, 0, 5]))
    def send(self, count: int, group: str, delay_s: int) -> None:
        delay_ms = 0 if self.is_fifo else delay_s * 1000
        known = [self._new(group, delay_ms) for _ in range(count)]
        messages = [outgoing(one.body, one.body.decode(), group=group, delay_ms=delay_ms) for one in known]
        assert [one.id for one in self.do(self.bench.store.send(self.name, messages))] == [
            one.body.decode() for one in known
        ]

    @rule()
    def push(self) -> None:
        """What a producer does that knows nothing of queues."""
        self.do(self.bench.push(self.name, self._new("", 0).body))

    @rule(seconds=st.sampled_from([0, 1, 5, 30]))
    def time_passes(self, seconds: int) -> None:
        self.bench.clock.ms += seconds * 1000 + 1

    @rule(limit=st.integers(1, 6), visibility_s=st.sampled_from([0, 1, 30]))
    def receive(self, limit: int, visibility_s: int) -> None:
        expected = self._expected(limit)
        received = list(self.do(self.bench.store.receive(self.name, Wanted(limit, visibility_s))))
        assert len(received) == len(expected)
        if self.is_fifo:
            self._check_order(received)
        else:
            assert [one.body for one in received if self._find(one).is_listed] == [
                one.body for one in expected if one.is_listed
            ]
        for message in received:
            self._took(message, visibility_s)

    @precondition(lambda self: self._held())
    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        known = data.draw(st.sampled_from(self._held()), label="held")
        is_over = self.is_fifo and known.hidden_until_ms <= self.now_ms
        [grip] = self.do(self.bench.store.delete(self.name, [known.receipt]))
        assert grip is (Grip.STALE if is_over else Grip.HELD)
        if not is_over:
            self.messages.remove(known)
            self.old_receipts.append(known.receipt)

    @precondition(lambda self: self._held())
    @rule(data=st.data(), seconds=st.sampled_from([0, 1, 60]))
    def change_visibility(self, data: st.DataObject, seconds: int) -> None:
        known = data.draw(st.sampled_from(self._held()), label="held")
        is_over = known.hidden_until_ms <= self.now_ms
        [grip] = self.do(self.bench.store.change_visibility(self.name, [(known.receipt, seconds)]))
        assert grip is (Grip.STALE if is_over else Grip.HELD)
        if not is_over:
            known.hidden_until_ms = self.now_ms + seconds * 1000

    @precondition(lambda self: self.old_receipts)
    @rule(data=st.data())
    def use_an_old_receipt(self, data: st.DataObject) -> None:
        receipt = data.draw(st.sampled_from(self.old_receipts), label="old")
        assert self.do(self.bench.store.delete(self.name, [receipt])) == [Grip.STALE]
        assert self.do(self.bench.store.change_visibility(self.name, [(receipt, 0)])) == [Grip.STALE]

    @precondition(lambda self: self.messages)
    @rule(data=st.data())
    def move(self, data: st.DataObject) -> None:
        shown = self.do(self.bench.store.peek(self.name))
        assert {one.envelope.body for one in shown} == {one.body for one in self.messages}
        peeked = data.draw(st.sampled_from(sorted(shown, key=lambda one: one.envelope.body)), label="moved")
        [known] = [one for one in self.messages if one.body == peeked.envelope.body]
        is_held = known.hidden_until_ms > self.now_ms
        assert (peeked.lying is Lying.IN_FLIGHT) is is_held
        assert self.do(self.bench.store.move(self.name, [Move(peeked, None)])) == (0 if is_held else 1)
        if not is_held:
            self.messages.remove(known)

    @rule()
    def restart(self) -> None:
        """Whoever holds the store ends, and another opens it."""
        self.do(self.bench.restart())

    # What must hold

    @invariant()
    def counts_are_what_the_model_counts(self) -> None:
        in_flight = sum(one.hidden_until_ms > self.now_ms for one in self.messages)
        delayed = sum(one.delayed_until_ms > self.now_ms >= one.hidden_until_ms for one in self.messages)
        visible = len(self.messages) - in_flight - delayed
        assert self.do(self.bench.store.counts(self.name)) == Counts(visible, in_flight, delayed)

    # The model's own moves

    def _new(self, group: str, delay_ms: int) -> Known:
        self.sent += 1
        known = Known(b"m%05d" % self.sent, group)
        if delay_ms:
            known.delayed_until_ms, known.is_listed = self.now_ms + delay_ms, False
        self.messages.append(known)
        return known

    def _held(self) -> list[Known]:
        return [one for one in self.messages if one.receipt]

    def _find(self, received: Received) -> Known:
        [known] = [one for one in self.messages if one.body == received.body]
        return known

    def _expected(self, limit: int) -> list[Known]:
        """As many as must be received now; those that were received too often die on the way."""
        if self.is_fifo:
            return self._expected_of_groups(limit)
        due = [one for one in self.messages if not one.is_listed and one.is_visible(self.now_ms)]
        due.sort(key=lambda one: (max(one.hidden_until_ms, one.delayed_until_ms), one.body))
        picked: list[Known] = []
        for one in [*due, *(one for one in self.messages if one.is_listed)]:
            if len(picked) == limit:
                break
            if one.receives < MOST:
                picked.append(one)
            else:
                self._dies(one)
        return picked

    def _expected_of_groups(self, limit: int) -> list[Known]:
        """Which of them depends on whose turn it is, so that only their number is known where it is limited."""
        free: list[Known] = []
        for group in {one.group for one in self.messages}:
            members = [one for one in self.messages if one.group == group]
            if all(one.is_visible(self.now_ms) for one in members):
                free += members
        alive = [one for one in free if one.receives < MOST]
        return alive[:limit]

    def _check_order(self, received: list[Received]) -> None:
        self._bury_unseen(received)
        for group in {self._find(one).group for one in received}:
            members = [one for one in self.messages if one.group == group]
            assert all(one.is_visible(self.now_ms) for one in members)
            served = [one.body for one in received if self._find(one).group == group]
            assert served == [one.body for one in members[: len(served)]]

    def _bury_unseen(self, received: list[Received]) -> None:
        """What was received too often and stood before something received now is dead."""
        lying = {one.envelope.body for one in self.do(self.bench.store.peek(self.name, 0, 1000))}
        for one in [one for one in self.messages if one.body not in lying]:
            assert one.receives >= MOST
            self._dies(one)
        assert not received or lying

    def _took(self, message: Received, visibility_s: int) -> None:
        known = self._find(message)
        known.receives += 1
        assert message.receive_count == known.receives
        if known.receipt:
            self.old_receipts.append(known.receipt)
        known.receipt, known.is_listed = message.receipt, False
        known.hidden_until_ms, known.delayed_until_ms = self.now_ms + visibility_s * 1000, 0

    def _dies(self, known: Known) -> None:
        self.messages.remove(known)
        if known.receipt:
            self.old_receipts.append(known.receipt)
        self.dead.append(known.body)

    def _drain(self) -> None:
        """Whatever is left is received, sooner or later, or is dead."""
        bodies: list[bytes] = []
        self.bench.clock.ms += 10_000_000
        while batch := self.do(self.bench.store.receive(self.name, Wanted(10, 100_000))):
            bodies += [one.body for one in batch]
            self.do(self.bench.store.delete(self.name, [one.receipt for one in batch]))
        while batch := self.do(self.bench.store.receive(self.dead_name, Wanted(10, 100_000))):
            bodies += [one.body for one in batch]
            self.do(self.bench.store.delete(self.dead_name, [one.receipt for one in batch]))
        assert sorted(bodies) == sorted([one.body for one in self.messages] + self.dead)


class FifoStoreMachine(QueueStoreMachine):
    is_fifo = True
