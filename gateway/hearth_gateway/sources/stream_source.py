"""One mapping's stream source: a feed and its lanes, made anew whenever the number of lanes changes.

See docs/stream-protocol.md for who has a record in which state.
"""

import asyncio

from hearth_gateway.asynchronous.ports import Courier
from hearth_gateway.core.mapping import EventSourceMapping
from hearth_gateway.core.mapping_state import State
from hearth_gateway.core.stream_lanes import Lanes
from hearth_gateway.core.stream_progress import Start
from hearth_gateway.sources.ports import Surroundings
from hearth_gateway.sources.stream_feed import StreamFeed
from hearth_gateway.sources.stream_lane_driver import LaneDriver
from hearth_gateway.sources.stream_ports import StreamReader, Streams
from hearth_gateway.sources.stream_reading import Reading


class StreamSource:
    """Feeds one function from one stream until told to stop. See `Source`."""

    def __init__(
        self, mapping: EventSourceMapping, reader: StreamReader, around: Surroundings, courier: Courier
    ) -> None:
        self._reading = Reading(mapping, reader, around, courier)
        self._start = Start.of(mapping)
        self._lanes = Lanes(self._reading.shape)

    def __repr__(self) -> str:
        mapping = self._reading.mapping
        return f"StreamSource({mapping.source_arn} -> {mapping.function_name}, {self._lanes.lanes})"

    @property
    def last_result(self) -> str:
        return self._reading.last_result

    @last_result.setter
    def last_result(self, result: str) -> None:
        self._reading.last_result = result

    async def run(self) -> None:
        """Until stopped, and what is in flight is settled. Of a mapping that is deleted nothing is left behind."""
        while not self._reading.is_stopping:
            await self._run_lanes()
        if self._reading.mapping.state is State.DELETING:
            await self._reading.forget()

    async def _run_lanes(self) -> None:
        """Work in one shape until it ends."""
        reading = self._reading
        reading.ending.clear()
        reading.lane_bells.clear()
        self._lanes = Lanes(reading.shape)
        drivers = [LaneDriver(reading, lane) for lane in self._lanes.lanes]
        async with asyncio.TaskGroup() as tasks:
            feed = StreamFeed(reading, self._lanes, self._start, tasks)
            tasks.create_task(feed.run(), name=f"feed {reading.mapping.uuid}")
            for lane, driver in zip(self._lanes.lanes, drivers, strict=True):
                tasks.create_task(driver.run(), name=f"lane {lane.index} of {reading.mapping.uuid}")

    def reconfigure(self, mapping: EventSourceMapping) -> None:
        """Use these settings from the next batch on. Other lanes begin once the batches in flight are settled."""
        self._reading.reconfigure(mapping)
        if self._reading.shape != self._lanes.shape:
            self._reading.end()
        self._reading.ring()

    def wake(self) -> None:
        """Look again: a function may have come or changed."""
        self._reading.ring()

    def stop(self) -> None:
        """Read nothing more; `run` returns once the batches in flight are settled."""
        self._reading.is_stopping = True
        self._reading.end()

    async def close(self) -> None:
        await self._reading.reader.close()


class StreamSources:
    """Opens stream sources."""

    def __init__(self, streams: Streams, around: Surroundings, courier: Courier) -> None:
        self._streams = streams
        self._around = around
        self._courier = courier

    def open(self, mapping: EventSourceMapping) -> StreamSource:
        """Raises QueueUnavailable for a connection that is not configured (any more)."""
        return StreamSource(mapping, self._streams.open(mapping), self._around, self._courier)
