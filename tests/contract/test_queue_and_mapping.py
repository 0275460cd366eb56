"""A queue in Redis with both sorts of consumers: an event source mapping's owner, and receivers."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

import orjson
import pytest
from tests.contract.queue_bench import NOW, RedisBench, outgoing, redis_bench
from tests.contract.test_list_queue import RedisBench as ListBench

from hearth_gateway.core.queue_batch import Message
from hearth_gateway.core.retry import Again, Dead, Settlement
from hearth_gateway.queues.ports import Counts, Grip, Lying, Move, Queue, Received, Wanted
from hearth_gateway.queues.testing import ARN_PREFIX
from hearth_gateway.sources.ports import Claim, ListQueue, QueueUnavailable, Redrive

pytestmark = pytest.mark.redis
LARGE = 6_000_000


@dataclass
class Both:
    """One queue, its receivers and its mapping's owner, at the same time."""

    name: str
    bench: RedisBench
    lists: ListBench
    owner: ListQueue

    async def send(self, *bodies: bytes, group: str = "") -> None:
        await self.bench.store.send(self.name, [outgoing(body, body.decode(), group=group) for body in bodies])

    async def receive(self, limit: int = 10) -> list[Received]:
        return list(await self.bench.store.receive(self.name, Wanted(limit, 30)))

    async def claim(self, limit: int = 10) -> Claim:
        return await self.owner.claim(1, limit, max_bytes=LARGE, now_ms=self.bench.clock.ms)

    async def bodies(self, limit: int = 10) -> list[bytes]:
        return [message.body for message in (await self.claim(limit)).messages]

    async def settle(self, *, done: tuple[Message, ...] = (), again: tuple[tuple[Message, int], ...] = ()) -> None:
        fates = tuple(Again(message.id, message.attempts + 1, due_ms) for message, due_ms in again)
        await self.owner.settle(Settlement(tuple(one.id for one in done), fates), self.bench.clock.ms)


async def opened(url: str, base: str) -> AsyncIterator[Both]:
    async with redis_bench(url) as bench:
        name = bench.name(base)
        lists = ListBench(url, bench.client, "RPUSH", key=name)
        owner = lists.open("a")
        await owner.enter(1, (), NOW)
        yield Both(name, bench, lists, owner)
        for queue in lists.queues:
            await queue.close()
        for connections in lists.opened:
            await connections.__aexit__(None, None, None)


@pytest.fixture
async def both(redis_url: str) -> AsyncIterator[Both]:
    async for one in opened(redis_url, "jobs"):
        yield one


@pytest.fixture
async def fifo(redis_url: str) -> AsyncIterator[Both]:
    async for one in opened(redis_url, "jobs.fifo"):
        yield one


async def test_a_sent_message_is_claimed_with_its_head(both: Both) -> None:
    await both.send(b"1")

    [message] = (await both.claim()).messages

    assert (message.id, message.body, message.head.sent_ms, message.head.sender) == ("1", b"1", NOW, "me")


async def test_each_message_goes_to_one_consumer(both: Both) -> None:
    await both.send(b"1", b"2", b"3", b"4")

    [first] = await both.receive(1)
    claimed = await both.bodies(2)
    [last] = await both.receive()

    assert [first.body, *claimed, last.body] == [b"1", b"2", b"3", b"4"]
    assert await both.bench.store.counts(both.name) == Counts(0, 4, 0)


async def test_what_a_receiver_does_not_delete_is_claimed_when_its_time_is_up(both: Both) -> None:
    await both.send(b"1")
    await both.receive()
    early = await both.claim()
    assert (early.messages, early.next_due_ms) == ((), NOW + 30_000)

    both.bench.clock.ms += 30_000
    [message] = (await both.claim()).messages

    assert (message.id, message.attempts) == ("1", 1)


async def test_a_stale_handle_does_not_delete_what_a_mapping_holds(both: Both) -> None:
    await both.send(b"1")
    [received] = await both.receive()
    both.bench.clock.ms += 30_000
    [message] = (await both.claim()).messages

    assert await both.bench.store.delete(both.name, [received.receipt]) == [Grip.STALE]
    assert await both.bench.store.change_visibility(both.name, [(received.receipt, 0)]) == [Grip.STALE]

    await both.settle(again=((message, both.bench.clock.ms),))
    assert await both.bodies() == [b"1"]


async def test_what_rests_after_a_mappings_failure_goes_to_whoever_asks_when_it_is_due(both: Both) -> None:
    await both.send(b"1")
    [message] = (await both.claim()).messages
    await both.settle(again=((message, NOW + 1_000),))
    await both.owner.leave(NOW, forget=True)
    assert await both.receive() == []

    both.bench.clock.ms += 1_000
    [received] = await both.receive()

    assert (received.id, received.receive_count) == ("1", 2)


async def test_a_receiver_takes_over_what_a_dead_owner_held(both: Both) -> None:
    await both.send(b"1", b"2", b"3")
    await both.owner.gather(1, 1, LARGE)
    await both.bodies(2)
    assert [one.body for one in await both.receive()] == [b"3"]

    await both.lists.kill("a")

    assert sorted(one.body for one in await both.receive()) == [b"1", b"2"]


async def test_an_owner_and_a_receiver_wait_side_by_side(both: Both) -> None:
    taking = asyncio.ensure_future(both.owner.take(20.0))
    receiving = asyncio.ensure_future(both.bench.store.receive(both.name, Wanted(1, 30, wait_s=60.0)))
    await asyncio.wait({taking, receiving}, timeout=0.05)

    await both.send(b"1", b"2")

    received = [one.body for one in await receiving]
    assert await taking
    assert sorted([*received, *await both.bodies()]) == [b"1", b"2"]


async def test_a_delayed_message_is_claimed_when_its_delay_is_over(both: Both) -> None:
    await both.bench.store.send(both.name, [outgoing(b"1", delay_ms=5_000)])

    assert (await both.claim()).next_due_ms == NOW + 5_000
    both.bench.clock.ms += 5_000
    [message] = (await both.claim()).messages
    assert (message.first_received_ms, message.attempts) == (NOW + 5_000, 0)
    assert await both.bench.store.counts(both.name) == Counts(0, 1, 0)


async def test_a_claim_says_the_queues_redrive_policy(both: Both) -> None:
    assert (await both.claim()).redrive is None
    policy = {"deadLetterTargetArn": f"{ARN_PREFIX}dead", "maxReceiveCount": "4"}
    await both.bench.book.create(Queue(both.name, {"RedrivePolicy": orjson.dumps(policy).decode()}))

    assert (await both.claim()).redrive == Redrive(f"{ARN_PREFIX}dead", 4)


async def test_a_dead_message_goes_where_its_settlement_says_or_nowhere(both: Both) -> None:
    other = both.bench.name("other")
    await both.send(b"1", b"2")
    one, two = (await both.claim()).messages

    await both.owner.settle(Settlement(dead=(Dead(one.id, b"record", other), Dead(two.id, b"posted", None))), NOW)

    assert [message.body for message in await both.bench.store.receive(other, Wanted(5, 30))] == [b"record"]
    assert await both.bench.store.counts(both.name) == Counts()
    assert await both.lists.dead() == []


async def test_a_created_queues_mapping_is_not_given_what_is_too_old(both: Both) -> None:
    await both.bench.book.create(Queue(both.name, {"MessageRetentionPeriod": "60"}))
    await both.send(b"1")
    both.bench.clock.ms += 60_001
    await both.send(b"2")

    assert await both.bodies() == [b"2"]


async def test_what_is_purged_while_it_runs_stays_gone(both: Both) -> None:
    await both.send(b"1", b"2")
    one, two = (await both.claim()).messages
    await both.bench.store.purge(both.name)

    await both.settle(done=(one,), again=((two, NOW),))

    assert await both.bodies() == []
    assert await both.bench.store.counts(both.name) == Counts()


async def test_a_message_in_a_mappings_hands_is_neither_moved_nor_delayed(both: Both) -> None:
    await both.send(b"1")
    await both.claim()

    [peeked] = await both.bench.store.peek(both.name)

    assert peeked.lying is Lying.IN_FLIGHT


async def test_keys_of_hearths_own_are_no_queues(both: Both) -> None:
    store, book = both.bench.store, both.bench.book
    await both.send(b"1")
    [peeked] = await store.peek(both.name)

    for attempt in (
        store.send("hearth:functions", [outgoing(b"1")]),
        store.move(both.name, [Move(peeked, "hearth:functions", b"x")]),
        book.create(Queue("hearth:functions")),
    ):
        with pytest.raises(QueueUnavailable, match="Hearth's own"):
            await attempt
    assert await book.find("hearth:functions") is None
    assert len(await store.peek(both.name)) == 1


async def test_a_policy_that_names_a_key_of_hearths_own_moves_nothing(both: Both) -> None:
    policy = {"deadLetterTargetArn": f"{ARN_PREFIX}hearth:nobody", "maxReceiveCount": 1}
    await both.bench.book.create(Queue(both.name, {"RedrivePolicy": orjson.dumps(policy).decode()}))
    await both.send(b"1")
    await both.receive()
    both.bench.clock.ms += 30_000

    assert [one.receive_count for one in await both.receive()] == [2]
    assert not await both.bench.client.exists("hearth:nobody")


# FIFO


async def test_a_batch_of_a_fifo_queue_is_of_one_group(fifo: Both) -> None:
    await fifo.send(b"a1", b"a2", group="a")
    await fifo.send(b"b1", group="b")

    first, second, third = await fifo.claim(), await fifo.claim(), await fifo.claim()

    assert [[one.body for one in claim.messages] for claim in (first, second, third)] == [[b"a1", b"a2"], [b"b1"], []]
    assert [claim.available for claim in (first, second, third)] == [1, 0, 0]


async def test_a_failed_group_blocks_and_comes_again_in_order(fifo: Both) -> None:
    await fifo.send(b"1", b"2", b"3", group="a")
    one, two = (await fifo.claim(2)).messages
    await fifo.settle(again=((one, NOW + 2_000), (two, NOW + 1_000)))

    fifo.bench.clock.ms += 1_999
    blocked = await fifo.claim()
    fifo.bench.clock.ms += 1

    assert (blocked.messages, blocked.next_due_ms) == ((), NOW + 2_000)
    again = (await fifo.claim()).messages
    assert [message.body for message in again] == [b"1", b"2", b"3"]
    assert [message.attempts for message in again] == [1, 1, 0]


async def test_a_partial_failure_is_not_overtaken(fifo: Both) -> None:
    await fifo.send(b"1", b"2", b"3", b"4", group="a")
    one, two, three = (await fifo.claim(3)).messages
    await fifo.settle(done=(one, three), again=((two, NOW + 1_000),))
    assert await fifo.bodies() == []

    fifo.bench.clock.ms += 1_000
    assert await fifo.bodies() == [b"2", b"4"]


async def test_a_dead_message_lets_its_group_go_on(fifo: Both) -> None:
    await fifo.send(b"1", b"2", group="a")
    [one] = (await fifo.claim(1)).messages

    await fifo.owner.settle(Settlement(dead=(Dead(one.id, b"{}", fifo.bench.name("dead.fifo")),)), NOW)

    assert await fifo.bodies() == [b"2"]


async def test_a_dead_owners_group_comes_again_whole_and_first(fifo: Both) -> None:
    await fifo.send(b"1", b"2", b"3", group="a")
    await fifo.claim(2)
    await fifo.lists.kill("a")
    successor = fifo.lists.open("b")
    due_ms = await successor.enter(2, (), NOW)

    claim = await successor.claim(2, 10, max_bytes=LARGE, now_ms=NOW)

    assert due_ms == NOW
    assert [message.body for message in claim.messages] == [b"1", b"2", b"3"]
    assert {message.attempts for message in claim.messages} == {0}


async def test_a_beat_says_that_a_receiver_opened_a_group(fifo: Both) -> None:
    await fifo.send(b"1", b"2", group="a")
    [one] = await fifo.receive(1)
    assert (await fifo.claim()).next_due_ms == NOW + 30_000
    await fifo.bench.store.delete(fifo.name, [one.receipt])

    assert await fifo.owner.beat(1, NOW) == NOW
    assert await fifo.bodies() == [b"2"]


async def test_a_wait_on_a_fifo_queue_holds_nothing(fifo: Both) -> None:
    await fifo.send(b"1", group="a")

    assert await fifo.owner.take(1.0) is True

    assert len(await fifo.lists.source()) == 1
    assert [one.body for one in await fifo.receive()] == [b"1"]


async def test_everybody_who_waits_on_a_fifo_queue_hears_of_a_message(fifo: Both) -> None:
    taking = asyncio.ensure_future(fifo.owner.take(20.0))
    receiving = asyncio.ensure_future(fifo.bench.store.receive(fifo.name, Wanted(1, 30, wait_s=60.0)))
    await asyncio.wait({taking, receiving}, timeout=0.05)

    await fifo.send(b"1", group="a")

    assert await taking
    assert [one.body for one in await receiving] == [b"1"]


async def test_groups_take_turns(fifo: Both) -> None:
    for n in range(3):
        await fifo.send(b"a%d" % n, group="a")
        await fifo.send(b"b%d" % n, group="b")

    served: list[bytes] = []
    for _ in range(6):
        claim = await fifo.claim(1)
        served += [message.body for message in claim.messages]
        await fifo.settle(done=claim.messages)

    assert served == [b"a0", b"b0", b"a1", b"b1", b"a2", b"b2"]


async def test_a_fifo_queue_that_is_empty_leaves_only_its_numbers(fifo: Both) -> None:
    await fifo.send(b"1", group="a")
    await fifo.settle(done=(await fifo.claim()).messages)
    await fifo.owner.leave(NOW, forget=True)

    left = {name.decode() async for name in fifo.bench.client.scan_iter(match=f"*{fifo.name}*")}

    assert {name.rpartition(":")[2] for name in left} == {"sequence", "turns"}
