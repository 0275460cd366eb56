"""A request of the engine that is executed long after the engine gave it up, or after the engine's death."""

import asyncio

from tests.unit.gateway.courier.test_deliveries import HOOK, LIST, stage
from tests.unit.gateway.sources.stage import in_virtual_time

from hearth_gateway.asynchronous.testing import Memory, RecordingTarget
from hearth_gateway.core.parcel import Parcel

LONG_S = 600.0


class SlowTarget(RecordingTarget):
    """Takes longer than any doubt lasts."""

    async def deliver(self, parcel: Parcel) -> None:
        await asyncio.sleep(45)
        await super().deliver(parcel)


def take_late(memory: Memory) -> None:
    """Nobody hears of it."""
    for kept in memory.parcels.values():
        kept.due_ms = None


async def posted(memory: Memory) -> None:
    async with stage(memory) as before:
        await before.courier.post([before.parcel()])
        memory.parcels["id-1"].due_ms = before.clock.now_ms() + 5_000


@in_virtual_time
async def test_what_a_dead_engine_takes_after_the_start_of_the_next_is_delivered() -> None:
    memory = Memory()
    await posted(memory)
    async with stage(memory) as on, asyncio.timeout(LONG_S):
        await asyncio.sleep(1)
        take_late(memory)
        await on.done()
        assert [one.id for one in on.lists.delivered] == ["id-1"]


@in_virtual_time
async def test_what_is_taken_late_after_an_outage_is_delivered() -> None:
    async with stage() as on, asyncio.timeout(LONG_S):
        await on.courier.post([on.parcel()])
        on.memory.parcels["id-1"].due_ms = on.clock.now_ms() + 15_000
        on.memory.is_down = True
        on.engine.ring(LIST)
        await asyncio.sleep(1)
        on.memory.is_down = False
        await asyncio.sleep(10)
        take_late(on.memory)
        await on.done()
        assert [one.id for one in on.lists.delivered] == ["id-1"]


@in_virtual_time
async def test_what_is_in_hand_is_not_taken_for_lost() -> None:
    async with stage(hooks=SlowTarget()) as on, asyncio.timeout(LONG_S):
        on.memory.loses_answers = True
        await on.courier.post([on.parcel(target=HOOK)])
        await asyncio.sleep(1)
        on.memory.loses_answers = False
        await on.done()
        assert [one.id for one in on.hooks.delivered] == ["id-1"]
