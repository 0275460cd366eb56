"""What every store promises of FIFO queues: the one in memory and the one in Redis pass the same suite."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from tests.contract.queue_bench import KINDS, LONG_S, Bench, bench_of, bodies, create, outgoing, receive, redrive

from hearth_gateway.queues.ports import Counts, Grip, Wanted


@pytest.fixture(params=KINDS)
async def bench(request: pytest.FixtureRequest) -> AsyncIterator[Bench]:
    async with bench_of(request) as one:
        yield one


@pytest.fixture
def fifo(bench: Bench) -> str:
    return bench.name("jobs.fifo")


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
    await create(bench, fifo, FifoQueue="true", RedrivePolicy=redrive(dead, 1))
    await bench.store.send(fifo, [outgoing(b"1", group="a"), outgoing(b"2", group="a")])
    await receive(bench, fifo, 1, visibility_s=0)
    bench.clock.ms += 1

    assert bodies(await receive(bench, fifo, 1)) == [b"2"]

    [message] = await receive(bench, dead)
    assert (message.body, message.head.group_id) == (b"1", "a")


async def test_a_message_that_is_dead_makes_room_for_the_next_of_its_group(bench: Bench, fifo: str) -> None:
    dead = bench.name("dead.fifo")
    await create(bench, dead)
    await create(bench, fifo, RedrivePolicy=redrive(dead, 1))
    await bench.store.send(fifo, [outgoing(b"%d" % n, group="a") for n in range(4)])
    [first] = await receive(bench, fifo, 1)
    await bench.store.change_visibility(fifo, [(first.receipt, 0)])

    assert bodies(await receive(bench, fifo, 2)) == [b"1", b"2"]


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


async def test_an_id_that_does_not_fit_is_another_but_always_the_same(bench: Bench, fifo: str) -> None:
    message = outgoing(b"1", "an id\nof two lines", group="a\tgroup")

    [first], [second] = await bench.store.send(fifo, [message]), await bench.store.send(fifo, [message])

    received = await receive(bench, fifo)
    assert bodies(received) == [b"1", b"1"]
    assert first.id == second.id == received[0].id
    assert {one.head.group_id for one in received} == {"a%09group"}
