"""Asynchronous invocations from acceptance to their end, in virtual time."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import pytest
from tests.unit.gateway.served import record
from tests.unit.gateway.sources.stage import in_virtual_time

from hearth.core.attachments import EventInvokeConfig, Policy
from hearth.core.errors import ResourceConflict, ResourceNotFound, ServiceError
from hearth.core.function import FunctionName
from hearth.core.invocation import FailureKind, FunctionFailed, Invocation, Ledger, Outcome, PlatformFailed, Succeeded
from hearth.core.records import FunctionRecord
from hearth.registry import Registry
from hearth.testing import InMemoryStore
from hearth_gateway.asynchronous.dispatcher import AsyncInvocations, House
from hearth_gateway.asynchronous.posting import DurableCourier
from hearth_gateway.asynchronous.testing import InMemoryDeliveries, InMemoryEvents, Memory
from hearth_gateway.core.async_event import AsyncEvent
from hearth_gateway.core.authorization import Place
from hearth_gateway.core.invocation_status import State
from hearth_gateway.core.parcel import Parcel
from hearth_gateway.sources.testing import LoopClock
from hearth_gateway.testing import FakeScheduler

PLACE = Place("us-east-1", "000000000000")
QUEUE = "arn:aws:sqs:us-east-1:000000000000:failed"
HELLO = "arn:aws:lambda:us-east-1:000000000000:function:hello"
TOPIC = "arn:aws:sns:us-east-1:000000000000:news"
BOOM = FunctionFailed(FailureKind.HANDLER, b'{"errorMessage":"boom"}', Ledger())


def from_topic(identity: str) -> Parcel:
    return Parcel(identity, HELLO, b'{"n":1}', 1_000_000_000, sender=TOPIC, service="sns.amazonaws.com")


@dataclass
class Stage:
    events: AsyncInvocations
    queue: Memory
    courier: DurableCourier
    registry: Registry
    scheduler: FakeScheduler
    clock: LoopClock

    async def accept(self, number: int = 1, name: str = "hello") -> AsyncEvent:
        event = AsyncEvent(f"id-{number}", FunctionName(name), "", "arn:f", b"{}", "", self.clock.now_ms())
        await self.events.accept(event)
        return event

    async def ended(self) -> None:
        """Until no event is left."""
        while self.queue.events:
            await self.clock.pause(1)

    def left(self, target: str = QUEUE) -> list[Any]:
        """The bodies that left for a target."""
        parcels = [kept.item for kept in self.queue.parcels.values() if isinstance(kept.item, Parcel)]
        return [json.loads(parcel.body) for parcel in parcels if parcel.target == target]

    def change(self, **fields: Any) -> FunctionRecord:
        found = self.registry.find("hello")
        assert found is not None
        return replace(found, **fields)


@asynccontextmanager
async def stage(
    queue: InMemoryEvents | None = None, places: int | None = None, *, is_open: bool = False
) -> AsyncIterator[Stage]:
    registry, scheduler, clock = Registry(InMemoryStore()), FakeScheduler(places), LoopClock()
    for name in ("hello", "other"):
        await registry.put(record(name))
    queue = queue or InMemoryEvents()
    courier = DurableCourier(InMemoryDeliveries(queue.memory), PLACE, new_trace=lambda: "Root=1-new")
    events = AsyncInvocations(
        queue,
        registry,
        scheduler,
        clock,
        courier=courier,
        chance=lambda: 0.5,
        rules=House(is_open=is_open),
        drain_s=5.0,
    )
    courier.ring_function = events.ring
    registry.on_change(lambda _: events.functions_changed())
    async with events:
        yield Stage(events, queue.memory, courier, registry, scheduler, clock)


@in_virtual_time
async def test_an_event_runs_once_under_its_own_request_id() -> None:
    async with stage() as on:
        event = await on.accept()
        await on.ended()
        assert [one.request_id for one in on.scheduler.invocations] == [event.id]


@in_virtual_time
async def test_a_failing_function_is_run_three_times_within_three_minutes() -> None:
    async with stage() as on:
        on.scheduler.script("hello", lambda _: BOOM)
        began = on.clock.now_ms()
        await on.accept()
        await on.ended()
        assert [one.request_id for one in on.scheduler.invocations] == ["id-1"] * 3
        assert 180_000 <= on.clock.now_ms() - began < 185_000


@in_virtual_time
async def test_the_functions_own_settings_count() -> None:
    async with stage() as on:
        config = EventInvokeConfig(0, max_retry_attempts=0, on_failure=QUEUE)
        await on.registry.put(on.change(event_invoke={"$LATEST": config}))
        on.scheduler.script("hello", lambda _: BOOM)
        await on.accept()
        await on.ended()
        assert len(on.scheduler.invocations) == 1
        letter = on.left()[0]
        assert letter["requestContext"]["condition"] == "RetriesExhausted"


@in_virtual_time
async def test_a_record_can_be_another_functions_event() -> None:
    async with stage() as on:
        target = "arn:aws:lambda:us-east-1:000000000000:function:other"
        await on.registry.put(on.change(event_invoke={"$LATEST": EventInvokeConfig(0, on_success=target)}))
        await on.accept()
        await on.ended()
        first, second = on.scheduler.invocations
        assert (first.function.name, second.function.name) == ("hello", "other")
        assert json.loads(second.payload)["requestContext"]["requestId"] == first.request_id
        assert second.request_id != first.request_id


@in_virtual_time
async def test_the_platforms_failures_are_not_attempts() -> None:
    async with stage() as on:
        on.scheduler.answer_next("hello", *[PlatformFailed("lost", was_started=True)] * 6)
        await on.accept()
        await on.ended()
        assert len(on.scheduler.invocations) == 7


@in_virtual_time
async def test_no_more_run_at_once_than_there_are_places() -> None:
    running, most = 0, 0

    async def slow(_: Invocation) -> Outcome:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(10)
        running -= 1
        return BOOM

    async with stage(places=2) as on:
        await on.registry.put(on.change(event_invoke={"$LATEST": EventInvokeConfig(0, max_retry_attempts=0)}))
        on.scheduler.script("hello", slow)
        for number in range(9):
            await on.accept(number)
        await on.ended()
        assert (len(on.scheduler.invocations), most) == (9, 2)


@in_virtual_time
async def test_what_was_running_at_a_crash_runs_again_at_the_next_start() -> None:
    queue = InMemoryEvents()
    async with stage(queue) as on:
        on.scheduler.script("hello", lambda _: asyncio.sleep(3_600, BOOM))
        await on.accept()
        await asyncio.sleep(1)
        assert len(on.scheduler.invocations) == 1
    async with stage(queue) as again:
        await again.ended()
        assert [one.request_id for one in again.scheduler.invocations] == ["id-1"]


@in_virtual_time
async def test_a_stopped_function_gives_its_events_up_at_once() -> None:
    async with stage() as on:
        config = EventInvokeConfig(0, on_failure=QUEUE)
        await on.registry.put(on.change(reserved=0, event_invoke={"$LATEST": config}))
        await on.accept()
        await on.ended()
        assert on.scheduler.invocations == []
        letter = on.left()[0]
        assert letter["requestContext"]["condition"] == "ZeroReservedConcurrency"


@in_virtual_time
async def test_events_of_a_deleted_function_are_kept_as_dead_letters() -> None:
    async with stage() as on:
        on.scheduler.answer_next("hello", BOOM)
        await on.accept()
        await asyncio.sleep(1)
        async with on.registry.writing("hello"):
            await on.registry.remove(FunctionName("hello"))
        await on.ended()
        assert len(on.scheduler.invocations) == 1
        letter = on.queue.letters["function/hello", "id-1"]
        assert (letter.reason, letter.payload) == ("FunctionNotFound", b"{}")


@in_virtual_time
async def test_a_service_that_has_no_permission_is_refused_and_told_how_to_get_it() -> None:
    async with stage() as on:
        await on.courier.post([from_topic("id-7"), replace(from_topic("id-8"), dead_letter_arn=QUEUE)])
        await on.ended()
        assert on.scheduler.invocations == []
        letter = on.queue.letters["function/hello", "id-7"]
        assert letter.reason == "NotPermitted"
        assert "add-permission --function-name hello" in str(letter.error["errorMessage"])
        assert "--principal sns.amazonaws.com" in str(letter.error["errorMessage"])
        assert on.left() == [{"n": 1}]
        assert on.events.health() == {"NotPermitted": 2}


@in_virtual_time
async def test_a_service_that_has_permission_is_served_and_an_open_house_asks_nobody() -> None:
    statement = {
        "Sid": "s",
        "Effect": "Allow",
        "Principal": {"Service": "sns.amazonaws.com"},
        "Action": "lambda:InvokeFunction",
        "Resource": "arn:aws:lambda:us-east-1:000000000000:function:hello",
        "Condition": {"ArnLike": {"AWS:SourceArn": TOPIC}},
    }
    document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    async with stage() as on:
        await on.registry.put(on.change(policies={"$LATEST": Policy(document, "r")}))
        await on.courier.post([from_topic("id-7")])
        await on.ended()
        assert [one.request_id for one in on.scheduler.invocations] == ["id-7"]
    async with stage(is_open=True) as on:
        await on.courier.post([from_topic("id-8")])
        await on.ended()
        assert [one.request_id for one in on.scheduler.invocations] == ["id-8"]


@in_virtual_time
async def test_a_parcel_for_a_function_that_is_not_there_is_a_dead_letter() -> None:
    async with stage() as on:
        await on.courier.post([replace(from_topic("id-7"), target=HELLO.replace("hello", "nobody"))])
        await on.ended()
        assert on.queue.letters["function/nobody", "id-7"].reason == "FunctionNotFound"


@in_virtual_time
async def test_one_that_waits_can_be_cancelled_and_one_that_runs_cannot() -> None:
    async with stage(places=1) as on:
        on.scheduler.script("hello", lambda _: asyncio.sleep(300, Succeeded(b"1", Ledger())))
        await on.accept(1)
        await asyncio.sleep(1)
        await on.accept(2)
        with pytest.raises(ResourceConflict, match="running"):
            await on.events.cancel(await on.events.find("id-1"))
        await on.events.cancel(await on.events.find("id-2"))
        with pytest.raises(ResourceConflict, match="over"):
            await on.events.cancel(await on.events.find("id-2"))
        await on.ended()
        assert [one.request_id for one in on.scheduler.invocations] == ["id-1"]
        assert [(await on.events.find(f"id-{n}")).state for n in (1, 2)] == [State.SUCCEEDED, State.CANCELLED]
        with pytest.raises(ResourceNotFound):
            await on.events.find("id-9")


@in_virtual_time
async def test_what_was_given_up_with_nowhere_to_go_is_kept() -> None:
    async with stage() as on:
        on.scheduler.script("hello", lambda _: BOOM)
        await on.accept()
        await on.ended()
        letter = on.queue.letters["function/hello", "id-1"]
        assert (letter.attempts, letter.error["errorMessage"]) == (3, "boom")
        assert (await on.events.find("id-1")).condition == "RetriesExhausted"


@in_virtual_time
async def test_a_queue_that_is_away_for_a_while_loses_nothing() -> None:
    async with stage() as on:

        async def cut_off(_: Invocation) -> Outcome:
            on.queue.is_down = True
            asyncio.get_running_loop().call_later(300, setattr, on.queue, "is_down", False)
            return BOOM

        on.scheduler.script("hello", cut_off)
        await on.accept()
        await asyncio.sleep(10)
        with pytest.raises(ServiceError):
            await on.accept(2)
        await on.ended()
        assert len(on.scheduler.invocations) == 3


@in_virtual_time
async def test_an_event_taken_with_its_answer_lost_runs_all_the_same() -> None:
    async with stage() as on:
        on.queue.loses_answers = True
        event = await on.accept()
        await asyncio.sleep(10)
        on.queue.loses_answers = False
        await on.ended()
        assert [one.request_id for one in on.scheduler.invocations] == [event.id]


@in_virtual_time
async def test_an_event_in_hand_is_not_run_again_because_the_queue_was_away() -> None:
    async with stage() as on:
        on.scheduler.script("hello", lambda _: asyncio.sleep(300, Succeeded(b"1", Ledger())))
        await on.accept(1)
        await asyncio.sleep(1)
        on.queue.loses_answers = True
        await on.accept(2)
        await asyncio.sleep(60)
        on.queue.loses_answers = False
        await on.ended()
        assert sorted(one.request_id for one in on.scheduler.invocations) == ["id-1", "id-2"]
