"""A stage for stream sources: virtual time, a scheduler that follows a script, a stream in memory, a courier."""

import asyncio
import base64
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import orjson
from tests.unit.gateway.sources.stage import NamedFunctions, ScriptedScheduler
from tests.unit.gateway.sources.stage import mapping as queue_mapping

from hearth.core.invocation import Invocation
from hearth_gateway.asynchronous.testing import RecordingCourier
from hearth_gateway.core.mapping import EventSourceMapping, StartingPosition
from hearth_gateway.core.stream_entry import EntryId
from hearth_gateway.sources.ports import Surroundings
from hearth_gateway.sources.stream_source import StreamSource
from hearth_gateway.sources.stream_testing import FakeStream, FakeStreamReader
from hearth_gateway.sources.testing import LoopClock

ARN = "arn:hearth:redis:us-east-1:000000000000:hearth/stream/events"
KINESIS = "arn:aws:kinesis:us-east-1:000000000000:stream/events"
DESTINATION = "arn:hearth:redis:us-east-1:000000000000:hearth/list/failures"


def mapping(**changes: Any) -> EventSourceMapping:
    values: dict[str, Any] = {
        "source_arn": ARN,
        "batch_size": 10,
        "starting_position": StartingPosition.TRIM_HORIZON,
    }
    return queue_mapping(**{**values, **changes})


def datas(invocation: Invocation) -> list[str]:
    """What an invocation's records carry."""
    records = orjson.loads(invocation.payload)["Records"]
    return [base64.b64decode(record["kinesis"]["data"]).decode() for record in records]


def sequence_numbers(invocation: Invocation) -> list[str]:
    return [record["kinesis"]["sequenceNumber"] for record in orjson.loads(invocation.payload)["Records"]]


@dataclass
class StreamStage:
    """One source with everything around it. To be made inside a running loop."""

    mapping: EventSourceMapping = field(default_factory=mapping)
    scheduler: ScriptedScheduler = field(default_factory=ScriptedScheduler)
    functions: NamedFunctions = field(default_factory=lambda: NamedFunctions("worker"))
    stream: FakeStream = field(default_factory=FakeStream)
    courier: RecordingCourier = field(default_factory=RecordingCourier)
    most_pending: int = 100_000

    def __post_init__(self) -> None:
        self.clock = LoopClock()
        self.around = Surroundings(
            scheduler=self.scheduler,
            functions=self.functions,
            clock=self.clock,
            region="us-east-1",
            account="000000000000",
            max_receive_count=3,
        )
        self.source = self.another()
        self._serial = 0

    def another(self) -> StreamSource:
        """A source as the next run of Hearth would open it: it knows nothing."""
        reader = FakeStreamReader(self.stream, self.mapping.uuid, most_pending=self.most_pending)
        self.source = StreamSource(self.mapping, reader, self.around, self.courier)
        return self.source

    def add(self, *values: str, key: str | None = None, at_ms: int | None = None) -> list[EntryId]:
        """What a producer does, now or at a time."""
        ids = []
        for value in values:
            self._serial += 1
            fields = {b"data": value.encode()} | ({b"partitionKey": key.encode()} if key is not None else {})
            moment = self.clock.now_ms() if at_ms is None else at_ms
            ids.append(self.stream.add(fields, EntryId(moment, self._serial)))
        return ids

    @asynccontextmanager
    async def playing(self) -> AsyncIterator[asyncio.Task[None]]:
        """The source runs inside, and is stopped and awaited at the end."""
        task = asyncio.create_task(self.source.run(), name="source")
        try:
            yield task
        finally:
            self.source.stop()
            await task

    @asynccontextmanager
    async def until_killed(self) -> AsyncIterator[None]:
        """The source runs inside, and is gone at the end, as after kill -9."""
        task = asyncio.create_task(self.source.run(), name="source")
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait({task})

    async def until(self, condition: Callable[[], bool]) -> None:
        """Let virtual time pass until the condition holds."""
        while not condition():  # noqa: ASYNC110  # virtual time: this is what lets it pass
            await asyncio.sleep(0.02)

    @property
    def is_settled(self) -> bool:
        """Everything was read, and nothing is pending."""
        group = self.stream.groups.get(self.mapping.uuid)
        newest = self.stream.newest
        return group is not None and newest is not None and not group.pending and group.delivered >= newest

    @property
    def pending(self) -> dict[EntryId, str]:
        """What was read and is not finished, and who holds it."""
        group = self.stream.groups.get(self.mapping.uuid)
        return {} if group is None else group.pending

    @property
    def kept(self) -> dict[str, bytes]:
        state = self.stream.states.get(self.mapping.uuid)
        return {} if state is None else state.kept

    def seen(self) -> list[list[str]]:
        """What every invocation was given."""
        return [datas(invocation) for invocation in self.scheduler.seen]

    def letters(self) -> list[Any]:
        return [orjson.loads(parcel.body) for parcel in self.courier.parcels]
