"""Deliveries from the post to their end, in virtual time."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

import pytest
from tests.unit.gateway.sources.stage import in_virtual_time

from hearth.core.errors import ServiceError
from hearth_gateway.asynchronous.deliveries import PARALLEL_PER_TARGET, Deliveries, WebUrl
from hearth_gateway.asynchronous.ports import TargetRefused, TargetUnavailable
from hearth_gateway.asynchronous.posting import DurableCourier
from hearth_gateway.asynchronous.testing import InMemoryDeliveries, Memory, RecordingTarget
from hearth_gateway.core.addresses import ListAddress, QueueAddress
from hearth_gateway.core.async_event import AsyncEvent
from hearth_gateway.core.authorization import Place
from hearth_gateway.core.dead_letter import Letter
from hearth_gateway.core.parcel import Parcel
from hearth_gateway.sources.testing import LoopClock

PLACE = Place("us-east-1", "000000000000")
LIST = "arn:hearth:redis:us-east-1:000000000000:hearth/list/out"
DEAD = "arn:hearth:redis:us-east-1:000000000000:hearth/list/dead"
FIFO = "arn:aws:sqs:us-east-1:000000000000:out.fifo"
HOOK = "https://example.org/hook"
FUNCTION = "arn:aws:lambda:us-east-1:000000000000:function:hello:live"


class SlowTarget(RecordingTarget):
    """Takes ten seconds for each parcel."""

    def __init__(self) -> None:
        super().__init__()
        self.running = 0
        self.most = 0

    async def deliver(self, parcel: Parcel) -> None:
        self.running += 1
        self.most = max(self.most, self.running)
        await asyncio.sleep(10)
        self.running -= 1
        await super().deliver(parcel)


@dataclass
class Stage:
    memory: Memory
    courier: DurableCourier
    engine: Deliveries
    clock: LoopClock
    lists: RecordingTarget
    queues: RecordingTarget
    hooks: RecordingTarget

    def parcel(self, number: int = 1, target: str = LIST) -> Parcel:
        return Parcel(f"id-{number}", target, b"{}", self.clock.now_ms(), sender="arn:sender")

    async def done(self) -> None:
        """Until nothing is left to deliver."""
        while self.memory.parcels:
            await self.clock.pause(1)


@asynccontextmanager
async def stage(memory: Memory | None = None, hooks: RecordingTarget | None = None) -> AsyncIterator[Stage]:
    memory, clock = memory or Memory(), LoopClock()
    lists, queues, hooks = RecordingTarget(), RecordingTarget(), hooks or RecordingTarget()
    queue = InMemoryDeliveries(memory)
    courier = DurableCourier(queue, PLACE, new_trace=lambda: "Root=1-new;Parent=2;Sampled=0")
    targets: dict[type[object], RecordingTarget] = {ListAddress: lists, QueueAddress: queues, WebUrl: hooks}
    engine = Deliveries(queue, targets, courier, clock, drain_s=5.0)
    courier.ring_target = engine.ring
    async with engine:
        yield Stage(memory, courier, engine, clock, lists, queues, hooks)


@in_virtual_time
async def test_a_parcel_reaches_its_target_and_is_forgotten() -> None:
    async with stage() as on:
        parcel = on.parcel()
        await on.courier.post([parcel])
        await on.done()
        assert on.lists.delivered == [parcel]


@in_virtual_time
async def test_a_parcel_for_a_function_becomes_its_event_under_the_same_id() -> None:
    async with stage() as on:
        parcel = replace(on.parcel(7, FUNCTION), service="sns.amazonaws.com", dead_letter_arn=DEAD)
        await on.courier.post([parcel])
        event = on.memory.events["id-7"].item
        assert isinstance(event, AsyncEvent)
        assert (event.function, event.qualifier, event.invoked_arn) == ("hello", "live", FUNCTION)
        assert (event.sender, event.service, event.dead_letter_arn) == ("arn:sender", "sns.amazonaws.com", DEAD)
        assert event.trace_id.startswith("Root=1-new;Parent=2;Sampled=0;Lineage=1:")


@in_virtual_time
async def test_a_target_out_of_reach_is_tried_again_after_growing_waits() -> None:
    async with stage() as on:
        on.lists.failures = [TargetUnavailable("down")] * 4
        began = on.clock.now_ms()
        await on.courier.post([on.parcel()])
        await on.done()
        assert [one.attempts for one in on.lists.delivered] == [4]
        assert 15_000 <= on.clock.now_ms() - began < 17_000


@in_virtual_time
async def test_a_target_that_says_when_to_come_back_is_believed() -> None:
    async with stage() as on:
        on.hooks.failures = [TargetUnavailable("busy", retry_after_s=120)]
        began = on.clock.now_ms()
        await on.courier.post([on.parcel(1, HOOK)])
        await on.done()
        assert 120_000 <= on.clock.now_ms() - began < 122_000


@in_virtual_time
async def test_a_parcel_that_is_refused_goes_to_its_dead_letter_queue_with_the_reason() -> None:
    async with stage() as on:
        on.hooks.failures = [TargetRefused("400 Bad Request", "HTTP400")]
        await on.courier.post([replace(on.parcel(1, HOOK), dead_letter_arn=DEAD)])
        await on.done()
        letter = on.lists.delivered[0]
        assert (letter.target, letter.body) == (DEAD, b"{}")
        said = {name: one.value for name, one in letter.attributes.items()}
        assert said == {
            "ERROR_CODE": "HTTP400",
            "ERROR_MESSAGE": "400 Bad Request",
            "TARGET_ARN": HOOK,
            "SOURCE_ARN": "arn:sender",
        }
        assert on.memory.letters == {}


@in_virtual_time
async def test_without_a_dead_letter_queue_it_is_kept_in_the_box_of_its_target() -> None:
    async with stage() as on:
        on.hooks.failures = [TargetRefused("no")]
        await on.courier.post([on.parcel(1, HOOK)])
        await on.done()
        letter = on.memory.letters[f"target/{HOOK}", "id-1"]
        assert (letter.payload, letter.attempts, letter.error["errorMessage"]) == (b"{}", 1, "no")


@in_virtual_time
async def test_tries_end_with_their_number_or_with_the_parcels_age() -> None:
    async with stage() as on:
        on.lists.failures = [TargetUnavailable("down")] * 40
        await on.courier.post([replace(on.parcel(1), max_attempts=3), replace(on.parcel(2), max_age_s=20)])
        await on.done()
        assert on.memory.letters[f"target/{LIST}", "id-1"].attempts == 3
        assert on.memory.letters[f"target/{LIST}", "id-2"].attempts <= 5
        assert on.lists.delivered == []


@in_virtual_time
async def test_what_names_no_target_is_a_dead_letter_at_once() -> None:
    async with stage() as on:
        elsewhere = FUNCTION.replace("000000000000", "999999999999")
        await on.courier.post([on.parcel(1, "arn:nothing"), on.parcel(2, elsewhere)])
        await on.done()
        assert {identity for _, identity in on.memory.letters} == {"id-1", "id-2"}


@in_virtual_time
async def test_a_failing_target_does_not_hold_up_others() -> None:
    async with stage() as on:
        on.hooks.failures = [TargetUnavailable("down")] * 1_000
        await on.courier.post([on.parcel(number, HOOK) for number in range(20)])
        await asyncio.sleep(30)
        await on.courier.post([on.parcel(99)])
        await asyncio.sleep(1)
        assert [one.id for one in on.lists.delivered] == ["id-99"]
        on.hooks.failures = []
        await on.done()
        assert len(on.hooks.delivered) == 20


@in_virtual_time
async def test_a_failing_target_with_a_thousand_parcels_is_asked_seldom() -> None:
    async with stage() as on:
        on.hooks.failures = [TargetUnavailable("down")] * 100_000
        await on.courier.post([on.parcel(number, HOOK) for number in range(1_000)])
        await asyncio.sleep(600)
        assert 100_000 - len(on.hooks.failures) < 60


@in_virtual_time
async def test_a_fifo_queue_gets_one_after_another_and_a_failure_keeps_the_order() -> None:
    async with stage() as on:
        on.queues.failures = [TargetUnavailable("down"), TargetUnavailable("down")]
        for number in (3, 1, 2):
            await on.courier.post([on.parcel(number, FIFO)])
        await on.done()
        assert [(one.id, one.attempts) for one in on.queues.delivered] == [("id-3", 2), ("id-1", 0), ("id-2", 0)]


@in_virtual_time
async def test_a_target_gets_no_more_at_once_than_it_should() -> None:
    slow = SlowTarget()
    async with stage(hooks=slow) as on:
        await on.courier.post([on.parcel(number, HOOK) for number in range(50)])
        await on.done()
        assert (len(slow.delivered), slow.most) == (50, PARALLEL_PER_TARGET)


@in_virtual_time
async def test_a_target_that_never_answers_is_given_up_for_now() -> None:
    async with stage(hooks=_Silent()) as on:
        await on.courier.post([replace(on.parcel(1, HOOK), max_attempts=2)])
        await on.done()
        assert on.memory.letters[f"target/{HOOK}", "id-1"].error["errorType"] == "Timeout"


@in_virtual_time
async def test_a_delivery_that_breaks_is_tried_again() -> None:
    async with stage() as on:
        on.lists.failures = [RuntimeError("a bug")]
        await on.courier.post([on.parcel()])
        await on.done()
        assert len(on.lists.delivered) == 1


@in_virtual_time
async def test_what_was_under_way_at_a_crash_is_delivered_at_the_next_start() -> None:
    memory = Memory()
    async with stage(memory, hooks=_Silent()) as on:
        await on.courier.post([on.parcel(1, HOOK)])
        await asyncio.sleep(1)
    async with stage(memory) as again:
        await again.done()
        assert [one.id for one in again.hooks.delivered] == ["id-1"]


@in_virtual_time
async def test_a_store_that_is_away_for_a_while_loses_nothing() -> None:
    async with stage() as on:
        for number in range(5):
            await on.courier.post([on.parcel(number)])
        on.memory.is_down = True
        await asyncio.sleep(120)
        on.memory.is_down = False
        await on.done()
        assert {one.id for one in on.lists.delivered} == {f"id-{number}" for number in range(5)}


@in_virtual_time
async def test_after_an_outage_it_begins_with_one_then_two_then_four() -> None:
    memory, slow = Memory(), SlowTarget()
    async with stage(memory) as before:
        memory.is_down = True
        await asyncio.sleep(1)
        memory.is_down = False
        for number in range(20):
            memory.keep(before.parcel(number, HOOK))
    async with stage(memory, hooks=slow) as on:
        seen = []
        for _ in range(4):
            await asyncio.sleep(0.5)
            seen.append(slow.running)
            await asyncio.sleep(0.5)
        assert seen == [1, 2, 4, 8]
        await on.done()


class _Silent(RecordingTarget):
    async def deliver(self, parcel: Parcel) -> None:
        await asyncio.sleep(3_600)


async def test_a_dead_letter_that_the_store_cannot_take_is_an_error_and_no_letter() -> None:
    memory = Memory()
    courier = DurableCourier(InMemoryDeliveries(memory), PLACE, new_trace=str)
    letter = Letter(Parcel("id-1", HOOK, b"{}", 1_000), "HTTP400")
    memory.is_down = True
    with pytest.raises(ServiceError, match="Dead letters could not be stored"):
        await courier.bury([letter])
    memory.is_down = False
    await courier.bury([letter])
    await courier.bury([letter])
    assert list(memory.letters.values()) == [letter]
