"""Random histories of a stream source: whatever breaks, every record is handled or accounted for, and keys keep order.

What breaks: Hearth (all memory is gone), the connection (answers are lost, or nothing gets through), the consumer
group, the function (throws, lists records, hangs with its machine), the stream (is trimmed); and somebody changes the
number of lanes.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.gateway.sources.stage import bad, good, in_virtual_time, lost
from tests.unit.gateway.streams.stream_stage import DESTINATION, StreamStage, mapping, sequence_numbers

from hearth.core.invocation import Invocation, Outcome

KEYS = "ABCD"
Deed = tuple[Any, ...]

deeds = st.one_of(
    st.tuples(st.just("add"), st.text(KEYS, min_size=1, max_size=8)),
    st.tuples(st.just("add"), st.text(KEYS, min_size=1, max_size=20)),
    st.tuples(st.just("wait"), st.sampled_from([0.0, 0.001, 0.05, 2.0, 100.0])),
    st.just(("crash_and_begin",)),
    st.just(("restart",)),
    st.just(("destroy_group",)),
    st.tuples(st.just("trim"), st.integers(0, 6)),
    st.tuples(st.just("fault"), st.sampled_from(["enter", "read", "pending", "settle", "wait"]), st.booleans()),
    st.tuples(st.just("down"), st.sampled_from([0.05, 20.0])),
    st.tuples(st.just("lanes"), st.integers(1, 3)),
)
verdicts = st.one_of(st.just("good"), st.just("bad"), st.just("lost"), st.tuples(st.just("list"), st.integers(0, 3)))
configurations = st.fixed_dictionaries(
    {
        "batch_size": st.integers(1, 4),
        "parallelization_factor": st.integers(1, 3),
        "is_bisecting": st.booleans(),
        "retry_attempts": st.sampled_from([None, -1, 0, 1, 3]),
    }
)


@dataclass
class History:
    """A stage on which deeds are done, and a record of what became of everything."""

    stage: StreamStage
    verdicts: list[Any]
    handled: list[str] = field(default_factory=list)
    trimmed: set[str] = field(default_factory=set)
    key_of: dict[str, str] = field(default_factory=dict)
    task: asyncio.Task[None] | None = None

    def answer(self, invocation: Invocation) -> Outcome:
        numbers = sequence_numbers(invocation)
        verdict = self.verdicts.pop() if self.verdicts else "good"
        match verdict:
            case "bad":
                return bad()
            case "lost":
                return lost()
            case ("list", int(index)) if index < len(numbers):
                self.handled += numbers[:index]
                return good(orjson.dumps({"batchItemFailures": [{"itemIdentifier": numbers[index]}]}))
            case _:
                self.handled += numbers
                return good()

    def begin(self) -> None:
        self.task = asyncio.create_task(self.stage.another().run(), name="source")

    async def crash(self) -> None:
        if self.task is not None:
            self.task.cancel()
            await asyncio.wait({self.task})

    async def do(self, deed: Deed) -> None:
        name, *arguments = deed
        await getattr(self, name)(*arguments)

    async def add(self, keys: str) -> None:
        for key in keys:
            (own_id,) = self.stage.add("x", key=key)
            self.key_of[own_id.sequence_number] = key

    async def wait(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def crash_and_begin(self) -> None:
        await self.crash()
        self.begin()

    async def restart(self) -> None:
        self.stage.source.stop()
        assert self.task is not None
        await self.task
        self.begin()

    async def destroy_group(self) -> None:
        self.stage.stream.groups.clear()

    async def trim(self, keep: int) -> None:
        stream = self.stage.stream
        before = set(stream.entries)
        stream.trim(keep)
        self.trimmed |= {one.sequence_number for one in before - set(stream.entries)}

    async def fault(self, transition: str, applied: bool) -> None:
        self.stage.stream.fail(transition, applied=applied)

    async def down(self, seconds: float) -> None:
        self.stage.stream.is_down = True
        await asyncio.sleep(seconds)
        self.stage.stream.is_down = False

    async def lanes(self, factor: int) -> None:
        self.stage.mapping = replace(self.stage.mapping, parallelization_factor=factor)
        self.stage.source.reconfigure(self.stage.mapping)

    async def finish(self) -> None:
        """Nothing breaks any more but what the function still has to say."""
        self.stage.stream.faults.clear()
        (last,) = self.stage.add("x", key="A")
        self.key_of[last.sequence_number] = "A"
        async with asyncio.timeout(7_200):
            await self.stage.until(lambda: self.stage.is_settled)
        self.stage.source.stop()
        assert self.task is not None
        await self.task

    @property
    def given_up(self) -> set[str]:
        letters = self.stage.letters()
        records = [record for letter in letters for record in letter["payload"]["Records"]]
        return {record["kinesis"]["sequenceNumber"] for record in records}


def check(history: History) -> None:
    accounted = set(history.handled) | history.given_up | history.trimmed
    assert set(history.key_of) <= accounted
    firsts = list(dict.fromkeys(history.handled))
    for key in KEYS:
        mine = [number for number in firsts if history.key_of[number] == key]
        assert mine == sorted(mine)
    assert not any(name.startswith("mark:") for name in history.stage.kept)


@settings(max_examples=100, deadline=None)
@given(
    configuration=configurations,
    planned=st.lists(deeds, min_size=5, max_size=30),
    script=st.lists(verdicts, min_size=3, max_size=25),
)
def test_whatever_breaks_every_record_is_accounted_for_and_keys_keep_their_order(
    configuration: dict[str, Any], planned: list[Deed], script: list[Any]
) -> None:
    run(lambda: _history(configuration, script), planned)


def _history(configuration: dict[str, Any], script: list[Any]) -> History:
    settings_ = {"response_types": ("ReportBatchItemFailures",), "on_failure": DESTINATION, **configuration}
    stage = StreamStage(mapping(**settings_))
    history = History(stage, list(script))
    stage.scheduler.answer = history.answer
    return history


@in_virtual_time
async def run(make: Callable[[], History], planned: list[Deed]) -> None:
    history = make()
    history.begin()
    for deed in planned:
        await history.do(deed)
    await history.finish()
    check(history)
