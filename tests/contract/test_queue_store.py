"""What every store of queues promises: the one in memory and the one in Redis pass the same suite."""

import asyncio
from collections.abc import AsyncIterator, Sequence

import orjson
import pytest
from tests.contract.queue_bench import NOW, Bench, MemoryBench, outgoing, redis_bench

from hearth_gateway.core.envelope import Death, unpack_envelope
from hearth_gateway.core.parcel import Attribute
from hearth_gateway.queues.ports import (
    Counts,
    Grip,
    Lying,
    Move,
    Outgoing,
    Queue,
    Received,
    Wanted,
)
from hearth_gateway.queues.testing import ARN_PREFIX

LONG_S = 600.0


@pytest.fixture(params=["memory", pytest.param("redis", marks=pytest.mark.redis)])
async def bench(request: pytest.FixtureRequest) -> AsyncIterator[Bench]:
    if request.param == "memory":
        yield MemoryBench()
        return
    async with redis_bench(request.getfixturevalue("redis_url")) as real:
        yield real


@pytest.fixture
def jobs(bench: Bench) -> str:
    return bench.name("jobs")


@pytest.fixture
def fifo(bench: Bench) -> str:
    return bench.name("jobs.fifo")


async def receive(bench: Bench, name: str, limit: int = 10, *, visibility_s: int | None = 30) -> list[Received]:
    return list(await bench.store.receive(name, Wanted(limit, visibility_s)))


def bodies(messages: Sequence[Received]) -> list[bytes]:
    return [message.body for message in messages]


async def create(bench: Bench, name: str, **attributes: str) -> None:
    await bench.book.create(Queue(name, attributes=attributes, created_ms=NOW, modified_ms=NOW))


def redrive(bench: Bench, dead: str, most: int = 2) -> str:
    return orjson.dumps({"deadLetterTargetArn": f"{ARN_PREFIX}{dead}", "maxReceiveCount": most}).decode()


# Sending and receiving


async def test_a_message_arrives_with_everything_that_was_sent(bench: Bench, jobs: str) -> None:
    attributes = {"n": Attribute("Number.int", "7"), "b": Attribute("Binary", b"\x00\xff")}
    sent = Outgoing("id-1", b"\xffbody\n", attributes, sender="me", trace_header="Root=1", group_id="tenant")
    await bench.store.send(jobs, [sent])

    [message] = await receive(bench, jobs)

    assert (message.id, message.body, message.receive_count, message.first_received_ms) == (
        "id-1",
        b"\xffbody\n",
        1,
        NOW,
    )
    head = message.head
    assert (head.sent_ms, head.attributes, head.sender) == (NOW, attributes, "me")
    assert (head.trace_header, head.group_id, head.sequence) == ("Root=1", "tenant", "")


async def test_pushed_bodies_and_sent_messages_mix_on_one_queue(bench: Bench, jobs: str) -> None:
    await bench.push(jobs, b"plain 1")
    await bench.store.send(jobs, [outgoing(b"sent 2")])
    await bench.push(jobs, b"\xc1hearth1\tlooks like one", b"")

    messages = await receive(bench, jobs)

    assert bodies(messages) == [b"plain 1", b"sent 2", b"\xc1hearth1\tlooks like one", b""]
    assert len({message.id for message in messages}) == 4
    assert messages[0].head.sent_ms is None


async def test_an_id_that_does_not_fit_is_another_but_always_the_same(bench: Bench, fifo: str) -> None:
    message = outgoing(b"1", "an id\nof two lines", group="a\tgroup")

    [first], [second] = await bench.store.send(fifo, [message]), await bench.store.send(fifo, [message])

    received = await receive(bench, fifo)
    assert bodies(received) == [b"1", b"1"]
    assert first.id == second.id == received[0].id
    assert {one.head.group_id for one in received} == {"a%09group"}


async def test_a_receiver_gets_no_more_than_it_asks_for(bench: Bench, jobs: str) -> None:
    await bench.push(jobs, b"1", b"2", b"3")

    assert bodies(await receive(bench, jobs, 2)) == [b"1", b"2"]
    assert bodies(await receive(bench, jobs, 2)) == [b"3"]


async def test_a_message_in_hands_is_hidden_until_its_timeout_and_then_counted_again(bench: Bench, jobs: str) -> None:
    await bench.push(jobs, b"1")
    [first] = await receive(bench, jobs, visibility_s=30)
    bench.clock.ms += 29_999
    assert await receive(bench, jobs) == []

    bench.clock.ms += 1
    [second] = await receive(bench, jobs)

    assert (second.id, second.receive_count, second.first_received_ms) == (first.id, 2, NOW)
    assert second.receipt != first.receipt


async def test_the_queues_own_visibility_timeout_is_the_default(bench: Bench, jobs: str) -> None:
    await create(bench, jobs, VisibilityTimeout="5")
    await bench.push(jobs, b"1")
    await receive(bench, jobs, visibility_s=None)

    bench.clock.ms += 4_999
    assert await receive(bench, jobs) == []
    bench.clock.ms += 1
    assert len(await receive(bench, jobs)) == 1


async def test_what_is_visible_again_comes_before_what_is_new(bench: Bench, jobs: str) -> None:
    await bench.push(jobs, b"old")
    await receive(bench, jobs, visibility_s=0)
    await bench.push(jobs, b"new")

    assert bodies(await receive(bench, jobs, 1)) == [b"old"]


async def test_a_receiver_that_waits_gets_what_comes(bench: Bench, jobs: str) -> None:
    waiting = asyncio.ensure_future(bench.store.receive(jobs, Wanted(1, 30, wait_s=LONG_S)))
    await asyncio.sleep(0)
    await bench.push(jobs, b"1")

    assert bodies(await waiting) == [b"1"]


async def test_many_receivers_wait_and_each_message_goes_to_one(bench: Bench, jobs: str) -> None:
    wanted = Wanted(1, 30, wait_s=LONG_S)
    waiting = [asyncio.ensure_future(bench.store.receive(jobs, wanted)) for _ in range(5)]
    await asyncio.sleep(0)
    for n in range(5):
        await bench.push(jobs, b"%d" % n)

    received = [one.body for messages in await asyncio.gather(*waiting) for one in messages]

    assert sorted(received) == [b"0", b"1", b"2", b"3", b"4"]


async def test_a_wait_that_is_given_up_takes_nothing(bench: Bench, jobs: str) -> None:
    waiting = asyncio.ensure_future(bench.store.receive(jobs, Wanted(1, 30, wait_s=LONG_S)))
    await asyncio.wait({waiting}, timeout=0.05)
    waiting.cancel()
    await asyncio.wait({waiting})
    await bench.push(jobs, b"1")

    assert bodies(await receive(bench, jobs)) == [b"1"]


async def test_a_wait_ends_empty_handed_after_its_time(bench: Bench, jobs: str) -> None:
    assert list(await bench.store.receive(jobs, Wanted(1, 30, wait_s=0.01))) == []


async def test_a_waiting_receiver_gets_what_another_gives_back(bench: Bench, jobs: str) -> None:
    await bench.push(jobs, b"1")
    [held] = await receive(bench, jobs)
    waiting = asyncio.ensure_future(bench.store.receive(jobs, Wanted(1, 30, wait_s=LONG_S)))
    await asyncio.wait({waiting}, timeout=0.05)

    await bench.store.change_visibility(jobs, [(held.receipt, 0)])

    assert bodies(await waiting) == [b"1"]


# Receipts


async def test_a_deleted_message_is_gone(bench: Bench, jobs: str) -> None:
    await bench.push(jobs, b"1")
    [message] = await receive(bench, jobs)

    assert await bench.store.delete(jobs, [message.receipt]) == [Grip.HELD]
    bench.clock.ms += 60_000
    assert await receive(bench, jobs) == []
    assert await bench.store.delete(jobs, [message.receipt]) == [Grip.STALE]


async def test_the_latest_receipt_deletes_even_when_the_message_is_visible_again(bench: Bench, jobs: str) -> None:
    await bench.push(jobs, b"1")
    [message] = await receive(bench, jobs)
    bench.clock.ms += 60_000

    assert await bench.store.delete(jobs, [message.receipt]) == [Grip.HELD]
    assert await receive(bench, jobs) == []


async def test_a_stale_receipt_does_not_delete_what_somebody_else_holds(bench: Bench, jobs: str) -> None:
    await bench.push(jobs, b"1")
    [early] = await receive(bench, jobs)
    bench.clock.ms += 30_000
    [late] = await receive(bench, jobs)

    assert await bench.store.delete(jobs, [early.receipt]) == [Grip.STALE]
    assert await bench.store.change_visibility(jobs, [(early.receipt, 0)]) == [Grip.STALE]
    assert await bench.store.delete(jobs, ["no handle", late.receipt]) == [Grip.INVALID, Grip.HELD]


async def test_a_receipt_of_one_queue_is_nothing_in_another(bench: Bench, jobs: str) -> None:
    await bench.push(jobs, b"1")
    [message] = await receive(bench, jobs)

    assert await bench.store.delete(bench.name("other"), [message.receipt]) == [Grip.STALE]


async def test_visibility_is_changed_from_now_on(bench: Bench, jobs: str) -> None:
    await bench.push(jobs, b"1", b"2")
    one, two = await receive(bench, jobs)
    bench.clock.ms += 10_000

    assert await bench.store.change_visibility(jobs, [(one.receipt, 100), (two.receipt, 0)]) == [Grip.HELD] * 2

    assert bodies(await receive(bench, jobs)) == [b"2"]
    bench.clock.ms += 99_999
    assert one.id not in {message.id for message in await receive(bench, jobs)}
    bench.clock.ms += 1
    assert one.id in {message.id for message in await receive(bench, jobs)}


async def test_visibility_of_what_is_visible_cannot_be_changed(bench: Bench, jobs: str) -> None:
    await bench.push(jobs, b"1")
    [message] = await receive(bench, jobs)
    bench.clock.ms += 30_000

    assert await bench.store.change_visibility(jobs, [(message.receipt, 10)]) == [Grip.STALE]


# Delays, age, counts


async def test_a_delayed_message_comes_when_its_delay_is_over(bench: Bench, jobs: str) -> None:
    await bench.store.send(jobs, [outgoing(b"later", delay_ms=5_000), outgoing(b"now")])

    assert bodies(await receive(bench, jobs)) == [b"now"]
    assert await bench.store.counts(jobs) == Counts(0, 1, 1)
    bench.clock.ms += 5_000
    [message] = await receive(bench, jobs)
    assert (message.body, message.receive_count, message.first_received_ms) == (b"later", 1, NOW + 5_000)
    assert message.head.sent_ms == NOW


async def test_the_queues_own_delay_holds_for_messages_without_one(bench: Bench, jobs: str) -> None:
    await create(bench, jobs, DelaySeconds="3")
    await bench.store.send(jobs, [outgoing(b"later"), outgoing(b"now", delay_ms=0)])

    assert bodies(await receive(bench, jobs)) == [b"now"]
    bench.clock.ms += 3_000
    assert bodies(await receive(bench, jobs)) == [b"later"]


async def test_counts_say_where_messages_are(bench: Bench, jobs: str) -> None:
    await bench.push(jobs, b"1", b"2", b"3")
    await bench.store.send(jobs, [outgoing(b"4", delay_ms=1_000)])
    await receive(bench, jobs, 1)

    assert await bench.store.counts(jobs) == Counts(2, 1, 1)
    bench.clock.ms += 60_000
    assert await bench.store.counts(jobs) == Counts(4, 0, 0)
    assert await bench.store.counts(bench.name("none")) == Counts()


async def test_a_created_queue_forgets_what_is_too_old(bench: Bench, jobs: str) -> None:
    await create(bench, jobs, MessageRetentionPeriod="60")
    await bench.store.send(jobs, [outgoing(b"1"), outgoing(b"2"), outgoing(b"3", delay_ms=1_000)])
    await receive(bench, jobs, 1)
    bench.clock.ms += 60_000
    await bench.store.send(jobs, [outgoing(b"4")])
    bench.clock.ms += 1

    assert bodies(await receive(bench, jobs)) == [b"4"]
    assert await bench.store.counts(jobs) == Counts(0, 1, 0)


async def test_a_list_that_nobody_created_keeps_everything(bench: Bench, jobs: str) -> None:
    await bench.store.send(jobs, [outgoing(b"1")])
    bench.clock.ms += 10 * 365 * 86_400_000

    assert bodies(await receive(bench, jobs)) == [b"1"]


async def test_purging_takes_every_message(bench: Bench, jobs: str) -> None:
    await bench.push(jobs, b"1", b"2")
    [held] = await receive(bench, jobs, 1)
    await bench.store.send(jobs, [outgoing(b"3", delay_ms=1_000)])

    await bench.store.purge(jobs)

    bench.clock.ms += 60_000
    assert await receive(bench, jobs) == []
    assert await bench.store.delete(jobs, [held.receipt]) == [Grip.STALE]
    assert await bench.store.counts(jobs) == Counts()


# Dead letters


async def test_a_message_received_too_often_goes_to_the_dead_letter_queue(bench: Bench, jobs: str) -> None:
    dead = bench.name("dead")
    await create(bench, jobs, RedrivePolicy=redrive(bench, dead))
    sent = Outgoing("id-1", b"body", {"k": Attribute("String", "v")}, sender="me")
    await bench.store.send(jobs, [sent])
    for _ in range(2):
        assert len(await receive(bench, jobs, visibility_s=0)) == 1
        bench.clock.ms += 1

    assert await receive(bench, jobs) == []

    assert await bench.store.counts(jobs) == Counts()
    [message] = await receive(bench, dead)
    assert (message.id, message.body, message.receive_count) == ("id-1", b"body", 1)
    assert message.head.attributes == sent.attributes
    death = message.head.death
    assert isinstance(death, Death)
    assert (death.source_arn, death.attempts) == (f"{ARN_PREFIX}{jobs}", 2)
    assert (death.first_received_ms, death.last_failed_ms) == (NOW, NOW + 2)
    assert death.error["errorType"] == "Hearth.ReceivedTooOften"


async def test_a_pushed_body_is_a_dead_letter_whole(bench: Bench, jobs: str) -> None:
    dead = bench.name("dead")
    await create(bench, jobs, RedrivePolicy=redrive(bench, dead, 1))
    await bench.push(jobs, b"\xc1hearth1\t\tno envelope\n")
    [first] = await receive(bench, jobs, visibility_s=0)
    await receive(bench, jobs)

    [message] = await receive(bench, dead)
    assert (message.id, message.body) == (first.id, b"\xc1hearth1\t\tno envelope\n")
    assert message.head.death is not None


async def test_a_dead_letter_is_as_old_as_its_death(bench: Bench, jobs: str) -> None:
    dead = bench.name("dead")
    await create(bench, jobs, RedrivePolicy=redrive(bench, dead, 1), MessageRetentionPeriod="100")
    await create(bench, dead, MessageRetentionPeriod="60")
    await bench.store.send(jobs, [outgoing(b"1")])
    await receive(bench, jobs, visibility_s=0)
    bench.clock.ms += 90_000
    await receive(bench, jobs)

    bench.clock.ms += 60_000
    assert len(await bench.store.peek(dead)) == 1
    assert len(await receive(bench, dead)) == 1


# Looking and moving


async def test_peeking_shows_every_message_and_touches_none(bench: Bench, jobs: str) -> None:
    await bench.push(jobs, b"1", b"2")
    [held] = await receive(bench, jobs, 1)
    await bench.store.send(jobs, [outgoing(b"3", "id-3"), outgoing(b"4", "id-4", delay_ms=1_000)])

    seen = {one.envelope.body: one for one in await bench.store.peek(jobs)}

    assert {body: one.lying for body, one in seen.items()} == {
        b"1": Lying.IN_FLIGHT,
        b"2": Lying.VISIBLE,
        b"3": Lying.VISIBLE,
        b"4": Lying.DELAYED,
    }
    assert (seen[b"1"].envelope.id, seen[b"1"].receive_count) == (held.id, 1)
    assert (seen[b"3"].envelope.id, seen[b"2"].envelope.id) == ("id-3", None)
    assert await bench.store.counts(jobs) == Counts(2, 1, 1)


async def test_peeking_goes_on_where_it_is_told(bench: Bench, jobs: str) -> None:
    await bench.push(jobs, *(b"%d" % n for n in range(6)))
    await receive(bench, jobs, 2)

    pages = [await bench.store.peek(jobs, start, 2) for start in (0, 2, 4, 6)]

    shown = [one.envelope.body for page in pages for one in page]
    assert [len(page) for page in pages] == [2, 2, 2, 0]
    assert shown[:4] == [b"2", b"3", b"4", b"5"]
    assert set(shown[4:]) == {b"0", b"1"}


async def test_a_move_takes_a_message_to_another_queue(bench: Bench, jobs: str) -> None:
    other = bench.name("other")
    await bench.store.send(jobs, [outgoing(b"1", "id-1"), outgoing(b"2", "id-2")])
    await bench.push(jobs, b"3")
    one, two, three = await bench.store.peek(jobs)

    moves = [Move(one, other, b"moved"), Move(three, None)]
    assert await bench.store.move(jobs, moves) == 2
    assert await bench.store.move(jobs, moves) == 0

    assert bodies(await receive(bench, jobs)) == [b"2"]
    assert bodies(await receive(bench, other)) == [b"moved"]
    assert two.envelope.id == "id-2"


async def test_a_message_in_hands_is_not_moved(bench: Bench, jobs: str) -> None:
    await bench.push(jobs, b"1", b"2")
    await receive(bench, jobs, 1, visibility_s=30)
    shown = {one.envelope.body: one for one in await bench.store.peek(jobs)}

    assert await bench.store.move(jobs, [Move(shown[b"1"], None), Move(shown[b"2"], None)]) == 1

    bench.clock.ms += 30_000
    [visible] = await bench.store.peek(jobs)
    assert await bench.store.move(jobs, [Move(visible, None)]) == 1
    assert await bench.store.counts(jobs) == Counts()


# FIFO


async def test_a_fifo_queue_numbers_its_messages(bench: Bench, fifo: str) -> None:
    sent = await bench.store.send(fifo, [outgoing(b"1", group="a"), outgoing(b"2", group="b")])
    more = await bench.store.send(fifo, [outgoing(b"3", group="a")])

    numbers = [one.sequence for one in [*sent, *more]]
    assert numbers == sorted(set(numbers))
    assert {len(number) for number in numbers} == {20}
    received = await receive(bench, fifo)
    assert {one.body: one.head.sequence for one in received} == dict(zip([b"1", b"2", b"3"], numbers, strict=True))


async def test_a_group_is_received_in_order(bench: Bench, fifo: str) -> None:
    for n in range(6):
        await bench.store.send(fifo, [outgoing(b"%d" % n, group="ab"[n % 2])])

    received = await receive(bench, fifo)

    assert [one.body for one in received if one.head.group_id == "a"] == [b"0", b"2", b"4"]
    assert [one.body for one in received if one.head.group_id == "b"] == [b"1", b"3", b"5"]


async def test_a_group_with_a_message_in_hands_is_blocked_and_others_are_not(bench: Bench, fifo: str) -> None:
    for body, group in ((b"a1", "a"), (b"a2", "a"), (b"b1", "b")):
        await bench.store.send(fifo, [outgoing(body, group=group)])
    [held] = await receive(bench, fifo, 1)
    assert held.body == b"a1"

    assert bodies(await receive(bench, fifo)) == [b"b1"]
    assert await receive(bench, fifo) == []
    await bench.store.delete(fifo, [held.receipt])

    assert bodies(await receive(bench, fifo)) == [b"a2"]


async def test_what_was_not_deleted_comes_first_in_its_group(bench: Bench, fifo: str) -> None:
    await bench.store.send(fifo, [outgoing(b"%d" % n, group="a") for n in range(4)])
    one, two, three = await receive(bench, fifo, 3)
    await bench.store.delete(fifo, [two.receipt])
    assert await receive(bench, fifo) == []

    bench.clock.ms += 30_000
    again = await receive(bench, fifo)

    assert bodies(again) == [b"0", b"2", b"3"]
    assert [message.receive_count for message in again] == [2, 2, 1]
    assert (again[0].id, again[1].id) == (one.id, three.id)


async def test_a_message_given_back_opens_its_group_at_once(bench: Bench, fifo: str) -> None:
    await bench.store.send(fifo, [outgoing(b"1", group="a"), outgoing(b"2", group="a")])
    [held] = await receive(bench, fifo, 1)

    await bench.store.change_visibility(fifo, [(held.receipt, 0)])

    assert bodies(await receive(bench, fifo)) == [b"1", b"2"]


async def test_an_expired_receipt_of_a_fifo_queue_deletes_nothing(bench: Bench, fifo: str) -> None:
    await bench.store.send(fifo, [outgoing(b"1", group="a")])
    [held] = await receive(bench, fifo)
    bench.clock.ms += 30_000

    assert await bench.store.delete(fifo, [held.receipt]) == [Grip.STALE]
    assert bodies(await receive(bench, fifo)) == [b"1"]


async def test_a_duplicate_is_the_first_message_for_five_minutes(bench: Bench, fifo: str) -> None:
    [first] = await bench.store.send(fifo, [outgoing(b"1", "id-1", group="a", dedup="d")])
    bench.clock.ms += 299_999
    [second] = await bench.store.send(fifo, [outgoing(b"2", "id-2", group="b", dedup="d")])
    bench.clock.ms += 1
    [third] = await bench.store.send(fifo, [outgoing(b"3", "id-3", group="a", dedup="d")])

    assert (second.id, second.sequence, second.is_duplicate) == ("id-1", first.sequence, True)
    assert (third.id, third.is_duplicate) == ("id-3", False)
    assert sorted(bodies(await receive(bench, fifo))) == [b"1", b"3"]


async def test_a_duplicate_of_a_deleted_message_is_one_all_the_same(bench: Bench, fifo: str) -> None:
    await bench.store.send(fifo, [outgoing(b"1", group="a", dedup="d")])
    [message] = await receive(bench, fifo)
    await bench.store.delete(fifo, [message.receipt])

    [sent] = await bench.store.send(fifo, [outgoing(b"1", group="a", dedup="d")])

    assert sent.is_duplicate
    assert await receive(bench, fifo) == []


async def test_deduplication_may_be_a_groups_own_business(bench: Bench, fifo: str) -> None:
    await create(bench, fifo, FifoQueue="true", DeduplicationScope="messageGroup")

    sent = await bench.store.send(fifo, [outgoing(b"1", group=group, dedup="d") for group in "aba"])

    assert [one.is_duplicate for one in sent] == [False, False, True]


async def test_a_delay_of_a_fifo_queue_keeps_the_order(bench: Bench, fifo: str) -> None:
    await create(bench, fifo, FifoQueue="true", DelaySeconds="10")
    await bench.store.send(fifo, [outgoing(b"1", group="a")])
    bench.clock.ms += 5_000
    await bench.store.send(fifo, [outgoing(b"2", group="a")])
    assert await receive(bench, fifo) == []
    assert await bench.store.counts(fifo) == Counts(0, 0, 2)

    bench.clock.ms += 5_000
    [one] = await receive(bench, fifo)
    await bench.store.delete(fifo, [one.receipt])
    assert (one.body, await receive(bench, fifo)) == (b"1", [])
    bench.clock.ms += 5_000
    assert bodies(await receive(bench, fifo)) == [b"2"]


async def test_plain_pushes_on_a_fifo_queue_are_one_group(bench: Bench, fifo: str) -> None:
    await bench.push(fifo, b"1", b"2")
    await bench.store.send(fifo, [outgoing(b"3", group="a")])
    [one] = await receive(bench, fifo, 1)
    assert one.body == b"1"

    assert bodies(await receive(bench, fifo)) == [b"3"]


async def test_a_dead_letter_of_a_fifo_queue_keeps_its_group_and_lets_the_next_pass(bench: Bench, fifo: str) -> None:
    dead = bench.name("dead.fifo")
    await create(bench, fifo, FifoQueue="true", RedrivePolicy=redrive(bench, dead, 1))
    await bench.store.send(fifo, [outgoing(b"1", group="a"), outgoing(b"2", group="a")])
    await receive(bench, fifo, 1, visibility_s=0)
    bench.clock.ms += 1

    assert bodies(await receive(bench, fifo, 1)) == [b"2"]

    [message] = await receive(bench, dead)
    assert (message.body, message.head.group_id) == (b"1", "a")


async def test_counts_of_a_fifo_queue(bench: Bench, fifo: str) -> None:
    await bench.store.send(fifo, [outgoing(b"%d" % n, group="ab"[n % 2]) for n in range(6)])
    await receive(bench, fifo, 2)

    assert await bench.store.counts(fifo) == Counts(4, 2, 0)
    await bench.store.purge(fifo)
    assert await bench.store.counts(fifo) == Counts()
    await bench.store.send(fifo, [outgoing(b"new", group="a")])
    assert bodies(await receive(bench, fifo)) == [b"new"]


async def test_the_same_attempt_gets_the_same_messages(bench: Bench, fifo: str) -> None:
    await bench.store.send(fifo, [outgoing(b"%d" % n, group="a") for n in range(3)])
    wanted = Wanted(2, 30, attempt_id="attempt-1")
    first = await bench.store.receive(fifo, wanted)
    bench.clock.ms += 10_000

    again = await bench.store.receive(fifo, wanted)

    assert [(one.id, one.receipt, one.receive_count) for one in again] == [
        (one.id, one.receipt, one.receive_count) for one in first
    ]
    bench.clock.ms += 29_999
    assert await receive(bench, fifo) == []
    await bench.store.delete(fifo, [one.receipt for one in first])
    assert bodies(await bench.store.receive(fifo, wanted)) == [b"2"]


async def test_a_fifo_queue_with_many_blocked_groups_still_serves_the_free_ones(bench: Bench, fifo: str) -> None:
    await bench.store.send(fifo, [outgoing(b"x", group="a") for _ in range(300)])
    await receive(bench, fifo, 1)
    await bench.store.send(fifo, [outgoing(b"y", group="b")])

    assert bodies(await receive(bench, fifo)) == [b"y"]


async def test_a_waiting_receiver_of_a_fifo_queue_gets_what_comes(bench: Bench, fifo: str) -> None:
    waiting = asyncio.ensure_future(bench.store.receive(fifo, Wanted(1, 30, wait_s=LONG_S)))
    await asyncio.wait({waiting}, timeout=0.05)
    await bench.store.send(fifo, [outgoing(b"1", group="a")])

    assert bodies(await waiting) == [b"1"]


# The book


async def test_a_queue_is_entered_once(bench: Bench, jobs: str) -> None:
    wanted = Queue(jobs, {"DelaySeconds": "1"}, {"team": "a"}, created_ms=NOW, modified_ms=NOW)

    assert await bench.book.create(wanted) == wanted
    assert await bench.book.create(Queue(jobs, {"DelaySeconds": "2"})) == wanted
    assert await bench.book.find(jobs) == wanted


async def test_attributes_and_tags_change_one_by_one(bench: Bench, jobs: str) -> None:
    await bench.book.create(Queue(jobs, {"DelaySeconds": "1", "Policy": "p"}, {"a": "1", "b": "2"}, NOW, NOW))

    assert await bench.book.set_attributes(jobs, {"Policy": None, "VisibilityTimeout": "7"}, NOW + 5)
    assert await bench.book.set_tags(jobs, {"a": None, "c": "3"})

    attributes = {"DelaySeconds": "1", "VisibilityTimeout": "7"}
    assert await bench.book.find(jobs) == Queue(jobs, attributes, {"b": "2", "c": "3"}, NOW, NOW + 5)
    assert not await bench.book.set_attributes(bench.name("none"), {"DelaySeconds": "1"}, NOW)
    assert await bench.book.find(bench.name("none")) is None


async def test_a_list_in_use_is_a_queue_that_nobody_created(bench: Bench, jobs: str) -> None:
    await bench.push(jobs, b"1")
    assert await bench.book.find(jobs) == Queue(jobs, is_created=False)

    await receive(bench, jobs)
    assert await bench.book.find(jobs) == Queue(jobs, is_created=False)


async def test_a_deleted_queue_is_gone_with_its_messages(bench: Bench, jobs: str) -> None:
    await create(bench, jobs)
    await bench.push(jobs, b"1")

    assert await bench.book.delete(jobs)
    assert not await bench.book.delete(jobs)

    assert await bench.book.find(jobs) is None
    assert await receive(bench, jobs) == []


async def test_queues_are_listed_by_prefix_in_order(bench: Bench) -> None:
    names = [bench.name(f"page-{n}") for n in range(5)]
    for name in [*reversed(names), bench.name("other")]:
        await create(bench, name)
    prefix = "page-"

    first = [one for one in await bench.book.names(prefix) if one in names]
    second = await bench.book.names(prefix, after=names[1], limit=2)

    assert first == names
    assert list(second) == names[2:4]


def test_elements_of_envelopes_say_who_they_are() -> None:
    assert unpack_envelope(b"\xc1hearth1\tx\t\t\t\t\t\nbody").id == "x"
