"""What every store of queues promises: the one in memory and the one in Redis pass the same suite."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from tests.contract.queue_bench import KINDS, LONG_S, NOW, Bench, bench_of, bodies, create, outgoing, receive, redrive

from hearth_gateway.core.envelope import Death
from hearth_gateway.core.parcel import Attribute
from hearth_gateway.queues.ports import Counts, Grip, Lying, Move, Outgoing, Wanted
from hearth_gateway.queues.testing import ARN_PREFIX


@pytest.fixture(params=KINDS)
async def bench(request: pytest.FixtureRequest) -> AsyncIterator[Bench]:
    async with bench_of(request) as one:
        yield one


@pytest.fixture
def jobs(bench: Bench) -> str:
    return bench.name("jobs")


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
    await create(bench, jobs, RedrivePolicy=redrive(dead))
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
    await create(bench, jobs, RedrivePolicy=redrive(dead, 1))
    await bench.push(jobs, b"\xc1hearth1\t\tno envelope\n")
    [first] = await receive(bench, jobs, visibility_s=0)
    await receive(bench, jobs)

    [message] = await receive(bench, dead)
    assert (message.id, message.body) == (first.id, b"\xc1hearth1\t\tno envelope\n")
    assert message.head.death is not None


async def test_a_dead_letter_is_as_old_as_its_death(bench: Bench, jobs: str) -> None:
    dead = bench.name("dead")
    await create(bench, jobs, RedrivePolicy=redrive(dead, 1), MessageRetentionPeriod="100")
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
