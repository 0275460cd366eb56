"""The catalogue of mappings: states that move on, pollers that follow, restarts that resume."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from tests.unit.gateway.sources.stage import (
    ARN,
    NamedFunctions,
    ScriptedScheduler,
    in_virtual_time,
    mapping,
)

from hearth.core.errors import ResourceConflict, ResourceInUse, ResourceNotFound
from hearth.testing import InMemoryStore
from hearth_gateway.core.mapping import EventSourceMapping
from hearth_gateway.core.mapping_state import State
from hearth_gateway.sources.mapping_record import decode_mapping, encode_mapping
from hearth_gateway.sources.opening import OpenSources
from hearth_gateway.sources.ports import ListQueue, QueueUnavailable, Surroundings
from hearth_gateway.sources.supervisor import EventSources
from hearth_gateway.sources.testing import FakeQueues, LoopClock


class BreakableQueues(FakeQueues):
    """Fails to open as often as told."""

    def __init__(self, run: str = "run-1", previous_run: str = "") -> None:
        super().__init__(run, previous_run)
        self.failures: list[Exception] = []

    def open(self, mapping: EventSourceMapping) -> ListQueue:
        if self.failures:
            raise self.failures.pop()
        return super().open(mapping)


@dataclass
class House:
    store: InMemoryStore = field(default_factory=InMemoryStore)
    queues: BreakableQueues = field(default_factory=BreakableQueues)
    scheduler: ScriptedScheduler = field(default_factory=ScriptedScheduler)

    @asynccontextmanager
    async def open(self, **options: Any) -> AsyncIterator[EventSources]:
        around = Surroundings(
            scheduler=self.scheduler,
            functions=NamedFunctions("worker"),
            clock=LoopClock(),
            region="us-east-1",
            account="000000000000",
            max_receive_count=3,
        )
        async with EventSources(self.store, OpenSources(around, self.queues), around, **options) as sources:
            yield sources

    def stored(self, uuid: str) -> EventSourceMapping:
        return decode_mapping(self.store.records[uuid])


async def reach(sources: EventSources, uuid: str, state: State) -> None:
    await until(lambda: sources.find(uuid).state is state)


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110  # virtual time: this is what lets it pass
        await asyncio.sleep(0.02)


def gone(sources: EventSources, uuid: str) -> bool:
    try:
        sources.find(uuid)
    except ResourceNotFound:
        return True
    return False


def same(before: EventSourceMapping) -> EventSourceMapping:
    return before


@in_virtual_time
async def test_a_new_mapping_is_creating_then_enabled_and_works() -> None:
    house = House()
    wanted = mapping()
    async with house.open() as sources:
        assert (await sources.create(wanted)).state is State.CREATING
        await reach(sources, wanted.uuid, State.ENABLED)
        house.queues.list_of(ARN).push(b"1")
        await until(lambda: len(house.scheduler.seen) == 1)
        assert house.stored(wanted.uuid).state is State.ENABLED
        await until(lambda: sources.last_result(wanted.uuid) == "OK")


@in_virtual_time
async def test_a_mapping_created_disabled_never_polls() -> None:
    house = House()
    wanted = mapping(enabled=False)
    house.queues.list_of(ARN).push(b"1")
    async with house.open() as sources:
        await sources.create(wanted)
        await reach(sources, wanted.uuid, State.DISABLED)
        await asyncio.sleep(60)

    assert house.scheduler.seen == []


@in_virtual_time
async def test_disabling_lasts_until_the_batch_in_flight_is_done_and_refuses_wishes_meanwhile() -> None:
    house = House()
    wanted = mapping(batch_size=1)
    house.queues.list_of(ARN).push(b"1")
    async with house.open() as sources:
        with house.scheduler.held_up():
            await sources.create(wanted)
            await until(lambda: len(house.scheduler.seen) == 1)
            after = await sources.update(wanted.uuid, same, enabled=False)
            await asyncio.sleep(60)
            assert (after.state, sources.find(wanted.uuid).state) == (State.DISABLING, State.DISABLING)
            with pytest.raises(ResourceInUse):
                await sources.update(wanted.uuid, same, enabled=True)
            with pytest.raises(ResourceInUse):
                await sources.delete(wanted.uuid)
        await reach(sources, wanted.uuid, State.DISABLED)
        house.queues.list_of(ARN).push(b"2")
        await asyncio.sleep(60)
        assert len(house.scheduler.seen) == 1
        assert (await sources.update(wanted.uuid, same, enabled=True)).state is State.ENABLING
        await reach(sources, wanted.uuid, State.ENABLED)
        await until(lambda: len(house.scheduler.seen) == 2)


@in_virtual_time
async def test_an_update_is_used_without_a_break() -> None:
    house = House()
    wanted = mapping(batch_size=1)
    async with house.open() as sources:
        await sources.create(wanted)
        await reach(sources, wanted.uuid, State.ENABLED)
        after = await sources.update(wanted.uuid, lambda before: replace(before, batch_size=3), enabled=None)
        assert (after.state, after.batch_size) == (State.UPDATING, 3)
        await reach(sources, wanted.uuid, State.ENABLED)
        assert house.stored(wanted.uuid).batch_size == 3


@pytest.mark.parametrize("enabled", [True, False])
def test_a_deleted_mapping_is_deleting_then_gone(enabled: bool) -> None:
    @in_virtual_time
    async def scenario() -> None:
        house = House()
        wanted = mapping(enabled=enabled)
        async with house.open() as sources:
            await sources.create(wanted)
            await reach(sources, wanted.uuid, State.ENABLED if enabled else State.DISABLED)
            assert (await sources.delete(wanted.uuid)).state is State.DELETING
            await until(lambda: gone(sources, wanted.uuid))
        assert house.store.records == {}

    scenario()


@in_virtual_time
async def test_a_duplicate_is_a_conflict_that_names_the_first() -> None:
    house = House()
    async with house.open() as sources:
        await sources.create(mapping())
        with pytest.raises(ResourceConflict) as conflict:
            await sources.create(mapping(uuid="22222222-2222-4222-8222-222222222222"))

    assert conflict.value.message == (
        f'An event source mapping with SQS arn (" {ARN} ") and function (" worker ") already exists. '
        "Please update or delete the existing mapping with UUID 11111111-1111-4111-8111-111111111111"
    )


@in_virtual_time
async def test_a_restart_goes_on_polling_and_leaves_the_state_alone() -> None:
    house = House()
    wanted = mapping()
    async with house.open() as sources:
        await sources.create(wanted)
        await reach(sources, wanted.uuid, State.ENABLED)
    house.queues.list_of(ARN).push(b"1")

    async with house.open() as sources:
        assert sources.find(wanted.uuid).state is State.ENABLED
        await until(lambda: len(house.scheduler.seen) == 1)


@pytest.mark.parametrize(
    ("left", "enabled", "becomes"),
    [
        (State.CREATING, True, State.ENABLED),
        (State.CREATING, False, State.DISABLED),
        (State.ENABLING, True, State.ENABLED),
        (State.UPDATING, True, State.ENABLED),
        (State.UPDATING, False, State.DISABLED),
        (State.DISABLING, False, State.DISABLED),
        (State.DELETING, False, State.GONE),
    ],
)
def test_a_transition_cut_off_by_a_crash_is_finished(left: State, enabled: bool, becomes: State) -> None:
    @in_virtual_time
    async def scenario() -> None:
        house = House()
        wanted = mapping(state=left, enabled=enabled)
        house.store.records[wanted.uuid] = encode_mapping(wanted)
        async with house.open() as sources:
            if becomes is State.GONE:
                await until(lambda: gone(sources, wanted.uuid))
            else:
                await reach(sources, wanted.uuid, becomes)

    scenario()


@in_virtual_time
async def test_deleting_across_a_crash_still_puts_back_what_the_dead_run_held() -> None:
    house = House(queues=BreakableQueues(run="run-2", previous_run="run-1"))
    shared = house.queues.list_of(ARN)
    wanted = mapping(state=State.DELETING, enabled=False)
    house.store.records[wanted.uuid] = encode_mapping(wanted)
    dead = FakeQueues(run="run-1")
    dead.lists = house.queues.lists
    before = dead.open(wanted)
    shared.push(b"1", b"2")
    await before.enter(1, (), 0)
    await before.gather(1, 2, 100)

    async with house.open() as sources:
        await until(lambda: gone(sources, wanted.uuid))

    assert list(shared.source) == [b"1", b"2"]


@in_virtual_time
async def test_a_source_that_breaks_is_started_again() -> None:
    house = House()
    house.queues.failures = [QueueUnavailable("no such connection"), RuntimeError("a bug")]
    wanted = mapping()
    house.queues.list_of(ARN).push(b"1")
    async with house.open() as sources:
        await sources.create(wanted)
        await until(lambda: sources.last_result(wanted.uuid) == "PROBLEM: a bug")
        await until(lambda: len(house.scheduler.seen) == 1)


@in_virtual_time
async def test_news_waits_for_a_store_that_is_away() -> None:
    house = House()
    wanted = mapping()
    async with house.open() as sources:
        await sources.create(wanted)
        house.store.fail_next = True
        await reach(sources, wanted.uuid, State.ENABLED)


@in_virtual_time
async def test_the_end_waits_for_batches_in_flight_but_not_for_ever() -> None:
    house = House()
    wanted = mapping()
    house.queues.list_of(ARN).push(b"1")
    with house.scheduler.held_up():
        began = asyncio.get_running_loop().time()
        async with house.open(drain_s=30.0) as sources:
            await sources.create(wanted)
            await until(lambda: len(house.scheduler.seen) == 1)
        assert 30.0 <= asyncio.get_running_loop().time() - began < 60.0

    assert len(house.queues.list_of(ARN).messages) == 1


@in_virtual_time
async def test_an_unreadable_record_is_left_alone_and_harms_nobody() -> None:
    house = House()
    house.store.records["x"] = b"not a mapping"
    async with house.open() as sources:
        await sources.create(mapping())
        assert gone(sources, "x")

    assert house.store.records["x"] == b"not a mapping"


@in_virtual_time
async def test_pages_follow_the_uuid_and_end() -> None:
    house = House()
    uuids = [f"{n:08}-1111-4111-8111-111111111111" for n in (3, 1, 4, 2, 5)]
    async with house.open() as sources:
        for n, uuid in enumerate(uuids):
            await sources.create(mapping(uuid=uuid, enabled=False, source_arn=f"{ARN}-{n}"))
        first, after = sources.page("", 2, lambda one: True)
        second, _ = sources.page(after or "", 2, lambda one: True)
        last, end = sources.page(second[-1].uuid, 2, lambda one: True)

    assert [one.uuid for one in (*first, *second, *last)] == sorted(uuids)
    assert end is None


def test_a_record_survives_the_store() -> None:
    full = mapping(
        tags={"hearth:producer": "LPUSH"},
        echoed={"LoggingConfig": {"SystemLogLevel": "INFO"}},
        response_types=("ReportBatchItemFailures",),
        maximum_concurrency=7,
    )

    assert decode_mapping(encode_mapping(full)) == full
