"""A queue of another SQS as an event source, in virtual time, over queues that count receives as SQS does."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import orjson
from tests.unit.gateway.sources.stage import (
    NamedFunctions,
    ScriptedScheduler,
    bad,
    bodies,
    good,
    in_virtual_time,
    lost,
    mapping,
)

from hearth.core.invocation import Invocation
from hearth_gateway.core.parcel import Attribute
from hearth_gateway.queues.ports import Counts, Outgoing
from hearth_gateway.sources.ports import CALL_FAILED, NO_FUNCTION, NO_PLATFORM, NO_SOURCE, OK, Surroundings
from hearth_gateway.sources.sqs_ports import SqsLetter
from hearth_gateway.sources.sqs_source import SqsSource
from hearth_gateway.sources.sqs_testing import MemorySqs
from hearth_gateway.sources.testing import LoopClock

ARN = "arn:hearth:sqs:us-east-1:000000000000:other/jobs"
REDRIVE = '{"deadLetterTargetArn":"arn:aws:sqs:r:a:dead","maxReceiveCount":1}'


class Play:
    """One source on another SQS. To be made inside a running loop."""

    def __init__(self, *, places: int = 5, queue: str = "jobs", **changes: Any) -> None:
        self.clock = LoopClock()
        self.sqs = MemorySqs(self.clock)
        self.scheduler = ScriptedScheduler(places)
        self.functions = NamedFunctions("worker")
        self.around = Surroundings(
            self.scheduler, self.functions, self.clock, "us-east-1", "000000000000", max_receive_count=3
        )
        source_arn = f"arn:hearth:sqs:us-east-1:000000000000:other/{queue}"
        self.source = SqsSource(mapping(source_arn=source_arn, **changes), lambda: self.sqs, self.around)

    async def open(self, **attributes: str) -> None:
        await self.sqs.create("dead")
        await self.sqs.create("jobs", **attributes)

    async def send(self, *texts: str, queue: str = "jobs", **more: Any) -> None:
        for text in texts:
            await self.sqs.send(queue, SqsLetter(text, **more))

    @asynccontextmanager
    async def playing(self) -> AsyncIterator[asyncio.Task[None]]:
        task = asyncio.create_task(self.source.run(), name="source")
        try:
            yield task
        finally:
            self.source.stop()
            await task

    async def until(self, condition: Callable[[], bool]) -> None:
        while not condition():  # noqa: ASYNC110  # virtual time: this is what lets it pass
            await asyncio.sleep(0.02)

    async def until_counts(self, condition: Callable[[Counts], bool], queue: str = "jobs") -> None:
        while not condition(await self.sqs.store.counts(queue)):  # noqa: ASYNC110  # as above
            await asyncio.sleep(0.02)

    async def until_empty(self, queue: str = "jobs") -> None:
        await self.until_counts(lambda counts: counts == Counts(), queue)

    def all_bodies(self) -> list[str]:
        return [body for invocation in self.scheduler.seen for body in bodies(invocation)]


@in_virtual_time
async def test_messages_reach_the_function_as_that_sqs_has_them_and_are_deleted() -> None:
    play = Play()
    await play.open()
    await play.send("hello", attributes={"n": Attribute("Number", "7"), "b": Attribute("Binary", b"\x00")})
    async with play.playing():
        await play.until_empty()
    (record,) = orjson.loads(play.scheduler.seen[0].payload)["Records"]
    assert (record["body"], record["eventSource"], record["eventSourceARN"]) == ("hello", "aws:sqs", ARN)
    assert record["attributes"]["ApproximateReceiveCount"] == "1"
    assert record["messageAttributes"] == {
        "n": {"stringValue": "7", "stringListValues": [], "binaryListValues": [], "dataType": "Number"},
        "b": {"binaryValue": "AA==", "stringListValues": [], "binaryListValues": [], "dataType": "Binary"},
    }
    assert play.source.last_result == OK


@in_virtual_time
async def test_a_backlog_is_worked_off_in_batches() -> None:
    play = Play(batch_size=10)
    await play.open()
    await play.send(*map(str, range(95)))
    async with play.playing():
        await play.until_empty()
    assert sorted(play.all_bodies(), key=int) == [str(n) for n in range(95)]
    assert len(play.scheduler.seen) == 10


@in_virtual_time
async def test_an_idle_queue_holds_no_place() -> None:
    play = Play(places=1)
    await play.open()
    async with play.playing():
        for _ in range(20):
            await asyncio.sleep(1)
            assert play.scheduler.held == 0
        assert play.sqs.waits >= 4


@in_virtual_time
async def test_a_full_house_costs_no_receive_however_long_it_lasts() -> None:
    play = Play(places=1)
    await play.open(RedrivePolicy=REDRIVE, VisibilityTimeout="30")
    other = await play.scheduler.reserve(play.functions.known["worker"])
    await play.send("good")
    async with play.playing():
        await asyncio.sleep(3_600)
        assert (await play.sqs.store.counts("jobs")).in_flight == 1
        other.release()
        await play.until_empty()
    assert play.all_bodies() == ["good"]
    assert await play.sqs.store.counts("dead") == Counts()


@in_virtual_time
async def test_what_the_platform_failed_is_run_again_in_hand() -> None:
    play = Play()
    await play.open(RedrivePolicy=REDRIVE)
    answers = iter([lost()] * 8)
    play.scheduler.answer = lambda invocation: next(answers, good())
    await play.send("good")
    async with play.playing():
        await play.until(lambda: play.source.last_result == NO_PLATFORM)
        await play.until_empty()
    assert play.all_bodies() == ["good"] * 9
    assert await play.sqs.store.counts("dead") == Counts()


@in_virtual_time
async def test_a_slow_handler_keeps_its_messages() -> None:
    play = Play()
    await play.open(VisibilityTimeout="30")
    await play.send("slow")
    async with play.playing():
        with play.scheduler.held_up():
            await play.until(lambda: bool(play.scheduler.seen))
            await asyncio.sleep(890)
        await play.until_empty()
    assert play.all_bodies() == ["slow"]
    assert play.sqs.renewals > 30


@in_virtual_time
async def test_what_the_function_failed_rests_for_the_queues_own_visibility_timeout() -> None:
    play = Play()
    await play.open(VisibilityTimeout="100")
    times: list[float] = []

    def answer(invocation: Invocation) -> Any:
        times.append(play.clock.monotonic())
        return bad() if len(times) == 1 else good()

    play.scheduler.answer = answer
    await play.send("a")
    async with play.playing():
        await play.until(lambda: play.source.last_result == CALL_FAILED)
        await play.until_empty()
    assert 99 <= times[1] - times[0] <= 106


@in_virtual_time
async def test_the_queues_own_policy_says_when_a_message_is_dead() -> None:
    play = Play()
    policy = REDRIVE.replace(":1}", ":3}")
    await play.open(VisibilityTimeout="1", RedrivePolicy=policy)
    play.scheduler.answer = lambda invocation: bad()
    await play.send("poison")
    async with play.playing():
        await play.until_counts(lambda counts: counts.visible == 1, "dead")
    assert play.all_bodies() == ["poison"] * 3


@in_virtual_time
async def test_only_the_messages_that_the_handler_lists_come_again() -> None:
    play = Play(response_types=("ReportBatchItemFailures",))
    await play.open(VisibilityTimeout="0")

    def answer(invocation: Invocation) -> Any:
        listed = [
            {"itemIdentifier": record["messageId"]}
            for record in orjson.loads(invocation.payload)["Records"]
            if record["body"] == "b" and len(play.scheduler.seen) == 1
        ]
        return good(orjson.dumps({"batchItemFailures": listed}))

    play.scheduler.answer = answer
    await play.send("a", "b", "c")
    async with play.playing():
        await play.until_empty()
    assert play.all_bodies() == ["a", "b", "c", "b"]


@in_virtual_time
async def test_what_does_not_pass_the_filter_is_deleted() -> None:
    play = Play(filters=('{"body":{"kind":["yes"]}}',))
    await play.open()
    await play.send('{"kind":"yes"}', '{"kind":"no"}', "plain")
    async with play.playing():
        await play.until_empty()
    assert play.all_bodies() == ['{"kind":"yes"}']


@in_virtual_time
async def test_a_window_gathers_more_than_one_receive_can_give() -> None:
    play = Play(batch_size=25, window_s=10)
    await play.open()
    await play.send(*map(str, range(30)))
    async with play.playing():
        await play.until_empty()
    assert [len(bodies(one)) for one in play.scheduler.seen] == [25, 5]


@in_virtual_time
async def test_never_more_batches_than_maximum_concurrency() -> None:
    play = Play(places=50, maximum_concurrency=2, batch_size=1)
    await play.open()
    await play.send(*map(str, range(20)))
    async with play.playing():
        with play.scheduler.held_up():
            await asyncio.sleep(120)
            assert len(play.scheduler.seen) == 2
        await play.until_empty()


@in_virtual_time
async def test_without_its_function_nothing_is_received() -> None:
    play = Play()
    await play.open(RedrivePolicy=REDRIVE)
    known = play.functions.known.pop("worker")
    await play.send("a")
    async with play.playing():
        await play.until(lambda: play.source.last_result == NO_FUNCTION)
        await asyncio.sleep(600)
        assert (await play.sqs.store.counts("jobs")).visible == 1
        play.functions.known["worker"] = known
        play.source.wake()
        await play.until_empty()


@in_virtual_time
async def test_an_sqs_that_goes_away_is_come_back_to() -> None:
    play = Play()
    await play.open()
    async with play.playing():
        play.sqs.is_away = True
        await play.until(lambda: play.source.last_result == NO_SOURCE)
        await asyncio.sleep(300)
        play.sqs.is_away = False
        await play.send("a")
        await play.until_empty()
    assert play.all_bodies() == ["a"]


@in_virtual_time
async def test_an_outcome_is_not_forgotten_because_the_sqs_is_away() -> None:
    play = Play()
    await play.open()
    await play.send("a")
    async with play.playing():
        with play.scheduler.held_up():
            await play.until(lambda: bool(play.scheduler.seen))
            play.sqs.is_away = True
        await asyncio.sleep(20)
        play.sqs.is_away = False
        await play.until_empty()
    assert play.all_bodies() == ["a"]


@in_virtual_time
async def test_a_queue_that_is_not_there_is_waited_for() -> None:
    play = Play()
    async with play.playing():
        await play.until(lambda: play.source.last_result == NO_SOURCE)
        await play.open()
        await play.send("a")
        await play.until_empty()
    assert play.all_bodies() == ["a"]


@in_virtual_time
async def test_a_stop_lets_what_is_in_hand_finish_and_takes_nothing_more() -> None:
    play = Play(batch_size=1)
    await play.open()
    await play.send("a")
    async with play.playing():
        with play.scheduler.held_up():
            await play.until(lambda: bool(play.scheduler.seen))
            await play.send("b")
            play.source.stop()
            await asyncio.sleep(5)
    assert play.all_bodies() == ["a"]
    assert await play.sqs.store.counts("jobs") == Counts(visible=1)


@in_virtual_time
async def test_a_stop_gives_back_what_finds_no_place() -> None:
    play = Play(places=0)
    await play.open()
    await play.send("a")
    async with play.playing():
        await play.until_counts(lambda counts: counts.in_flight == 1)
    assert await play.sqs.store.counts("jobs") == Counts(visible=1)


@in_virtual_time
async def test_a_group_of_a_fifo_queue_stays_in_order_when_it_fails() -> None:
    play = Play(queue="jobs.fifo", batch_size=1)
    await play.sqs.create("jobs.fifo", VisibilityTimeout="5")
    for text in ("a1", "a2", "b1", "a3", "b2"):
        await play.send(text, queue="jobs.fifo", group_id=text[0], deduplication_id=text)
    fails = iter(range(3))
    play.scheduler.answer = lambda one: bad() if bodies(one) == ["a1"] and next(fails, None) is not None else good()
    async with play.playing():
        await play.until_empty("jobs.fifo")
    seen = play.all_bodies()
    assert [body for body in seen if body[0] == "a"] == ["a1"] * 4 + ["a2", "a3"]
    assert [body for body in seen if body[0] == "b"] == ["b1", "b2"]


@in_virtual_time
async def test_new_settings_are_used_from_the_next_batch_on() -> None:
    play = Play(batch_size=1)
    await play.open()
    async with play.playing():
        await play.send("a")
        await play.until_empty()
        play.source.reconfigure(mapping(source_arn=ARN, batch_size=10))
        await asyncio.sleep(6)
        # At once, as SQS has them: two sends would be received one by one.
        await play.sqs.store.send("jobs", [Outgoing(text, text.encode()) for text in ("b", "c")])
        await play.until_empty()
    assert [bodies(one) for one in play.scheduler.seen] == [["a"], ["b", "c"]]
