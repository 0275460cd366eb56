"""Message move tasks at work, in virtual time: paces, restarts, and stores that go away."""

import asyncio
from collections.abc import Sequence

import pytest
from tests.unit.gateway.sources.stage import in_virtual_time

from hearth.core.errors import ServiceError
from hearth.testing import InMemoryStore
from hearth_gateway.core.envelope import Death, Envelope, Head, pack_envelope
from hearth_gateway.core.sqs_move import (
    MoveStatus,
    MoveTask,
    decode_task,
    encode_task,
    id_in_handle,
    pause_s,
    step_size,
    task_handle,
)
from hearth_gateway.neighbours.sqs_moves import MoveTasks
from hearth_gateway.queues.ports import Counts, Move
from hearth_gateway.queues.testing import MemoryQueueStore
from hearth_gateway.sources.ports import QueueUnavailable
from hearth_gateway.sources.testing import LoopClock

PREFIX = "arn:aws:sqs:r:a:"


def dead(number: int, source: str = "jobs") -> bytes:
    death = Death(f"{PREFIX}{source}", {}, 3, 1, 1)
    return pack_envelope(Envelope(f"id-{number}", b"%d" % number, Head(sent_ms=1, death=death)))


def task(to_move: int, *, per_second: int | None = None, identity: str = "t-1", started_ms: int = 0) -> MoveTask:
    return MoveTask(identity, "dead", None, per_second, to_move, started_ms)


def name_of(arn: str) -> str | None:
    return arn.removeprefix(PREFIX)


class Flaky(MemoryQueueStore):
    """Refuses some moves: before they happen, or after."""

    failures = 0

    async def move(self, name: str, moves: Sequence[Move]) -> int:
        if self.failures:
            self.failures -= 1
            if self.failures % 2:
                await super().move(name, moves)
            raise QueueUnavailable("away on purpose")
        return await super().move(name, moves)


async def over(tasks: MoveTasks, identity: str = "t-1") -> MoveTask:
    while (found := tasks.find(identity)) is None or found.status.is_active:  # noqa: ASYNC110  # virtual time
        await asyncio.sleep(0.01)
    return found


@in_virtual_time
async def test_a_task_keeps_to_its_pace() -> None:
    clock = LoopClock()
    store = MemoryQueueStore(clock)
    store.push("dead", *map(dead, range(100)))
    async with MoveTasks(InMemoryStore(), store, clock, name_of) as tasks:
        began = clock.monotonic()
        await tasks.start(task(100, per_second=20))
        ended = await over(tasks)
    assert (ended.status, ended.moved) == (MoveStatus.COMPLETED, 100)
    assert 4.5 <= clock.monotonic() - began <= 6


@in_virtual_time
async def test_a_task_goes_on_where_the_run_before_left_it() -> None:
    clock, kept = LoopClock(), InMemoryStore()
    store = MemoryQueueStore(clock)
    store.push("dead", *map(dead, range(50)))
    async with MoveTasks(kept, store, clock, name_of) as tasks:
        await tasks.start(task(50, per_second=10))
        await asyncio.sleep(2)
    assert decode_task(kept.records["t-1"]).status is MoveStatus.RUNNING
    assert 0 < (await store.counts("dead")).visible < 50
    async with MoveTasks(kept, store, clock, name_of) as tasks:
        assert (await over(tasks)).moved == 50
    assert (await store.counts("dead"), (await store.counts("jobs")).visible) == (Counts(), 50)


@in_virtual_time
async def test_nothing_is_lost_or_doubled_when_the_queues_go_away() -> None:
    clock = LoopClock()
    store = Flaky(clock)
    store.push("dead", *map(dead, range(30)))
    store.failures = 7
    async with MoveTasks(InMemoryStore(), store, clock, name_of) as tasks:
        await tasks.start(task(30, per_second=50))
        await over(tasks)
    assert sorted(int(one.envelope.body) for one in await store.peek("jobs")) == list(range(30))


@in_virtual_time
async def test_what_dies_again_is_not_carried_round() -> None:
    clock = LoopClock()
    store = MemoryQueueStore(clock)
    store.push("dead", *(dead(number, "dead") for number in range(5)))
    async with MoveTasks(InMemoryStore(), store, clock, name_of) as tasks:
        await tasks.start(task(5))
        assert (await over(tasks)).moved == 5


@in_virtual_time
async def test_a_task_that_could_not_be_kept_is_none() -> None:
    clock, kept = LoopClock(), InMemoryStore()
    async with MoveTasks(kept, MemoryQueueStore(clock), clock, name_of) as tasks:
        kept.fail_next = True
        with pytest.raises(ServiceError):
            await tasks.start(task(1))
        assert tasks.of("dead") == []
        await tasks.start(task(1))


@in_virtual_time
async def test_only_the_newest_ten_are_remembered() -> None:
    clock, kept = LoopClock(), InMemoryStore()
    kept.records["broken"] = b"{}"
    async with MoveTasks(kept, MemoryQueueStore(clock), clock, name_of) as tasks:
        for number in range(12):
            await tasks.start(task(1, identity=f"t-{number}", started_ms=number))
            await over(tasks, f"t-{number}")
        assert [one.id for one in tasks.of("dead")] == [f"t-{number}" for number in range(11, 1, -1)]
    assert len(kept.records) == 11


def test_records_handles_and_paces() -> None:
    one = task(5, per_second=7).with_moved(2)
    assert decode_task(encode_task(one)) == one
    with pytest.raises(ValueError, match="no record"):
        decode_task(b'{"status": "RUNNING"}')
    assert id_in_handle(task_handle(one, "arn")) == ("t-1", "arn")
    assert id_in_handle("e30=") is None
    assert (step_size(None, 100), step_size(5, 100), step_size(500, 100), step_size(5000, 100)) == (100, 1, 50, 100)
    assert (pause_s(None, 100), pause_s(50, 5)) == (0.0, 0.1)
