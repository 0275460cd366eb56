"""Every event source mapping of this Hearth: the catalogue, and one poller for each that is enabled.

Rule 1: a change is durable before it is visible, and visible before it is acted on.
Rule 2: one change at a time (`_changing`); they are rare, and duplicates must not slip past each other.
Rule 3: a poller that breaks is started again after 100 ms doubling to 30 s; a mapping never dies silently.
State: `_mappings`, `_uuids` and `_pollers` are changed here only, on one event loop.
"""

import asyncio
from bisect import bisect_right, insort
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from dataclasses import replace
from types import TracebackType
from typing import Any, Self

import structlog

from hearth.core.errors import HearthError, ResourceConflict, ResourceInUse, ResourceNotFound
from hearth.ports import MappingStore
from hearth_gateway.core.back_off import back_off_s
from hearth_gateway.core.mapping import EventSourceMapping, SourceKind, is_own_form
from hearth_gateway.core.mapping_state import News, State, Wish, after_news, after_wish
from hearth_gateway.sources.mapping_record import UnreadableRecord, decode_mapping, encode_mapping
from hearth_gateway.sources.ports import NO_RECORDS, Source, Sources, Surroundings

Change = Callable[[EventSourceMapping], EventSourceMapping]

STEADY_S = 30.0
"""A poller that ran this long before it broke is taken for new: its backoff begins again."""
NOT_FOUND = "The resource you requested does not exist."


class Poller:
    """One mapping's source, started again whenever it breaks, until stopped."""

    def __init__(self, mapping: EventSourceMapping, sources: Sources, around: Surroundings) -> None:
        self._mapping = mapping
        self._sources = sources
        self._around = around
        self._source: Source | None = None
        self._last_result = NO_RECORDS
        self._stopping = asyncio.Event()

    @property
    def last_result(self) -> str:
        """`LastProcessingResult`."""
        return self._source.last_result if self._source else self._last_result

    def reconfigure(self, mapping: EventSourceMapping) -> None:
        self._mapping = mapping
        if self._source:
            self._source.reconfigure(mapping)

    def wake(self) -> None:
        if self._source:
            self._source.wake()

    def stop(self) -> None:
        self._stopping.set()
        if self._source:
            self._source.stop()

    async def run(self) -> None:
        """Until stopped, and everything in flight is settled."""
        failures = 0
        while True:
            began = self._around.clock.monotonic()
            try:
                await self._run_source(is_successor=failures > 0)
                return
            except Exception as error:
                # The top of this poller: whatever broke must not end the mapping.
                self._last_result = f"PROBLEM: {error}"
                structlog.get_logger().exception("event source broke", mapping=self._mapping.uuid)
            if self._stopping.is_set():
                return
            failures = 0 if self._around.clock.monotonic() - began > STEADY_S else failures
            await self._back_off(failures)
            failures += 1

    async def _run_source(self, *, is_successor: bool) -> None:
        source = self._sources.open(self._mapping, is_successor=is_successor)
        try:
            self._source = source
            source.last_result = self._last_result
            if self._stopping.is_set():
                source.stop()
            await source.run()
        finally:
            self._last_result, self._source = source.last_result, None
            await source.close()

    async def _back_off(self, failures: int) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(back_off_s(failures)):
                await self._stopping.wait()


class EventSources:
    """The catalogue and its pollers; alive between `async with` and its end."""

    def __init__(self, store: MappingStore, sources: Sources, around: Surroundings, *, drain_s: float = 900.0) -> None:
        """`drain_s` is how long the end waits for batches in flight; a function runs 900 s at most."""
        self._store = store
        self._sources = sources
        self._around = around
        self._drain_s = drain_s
        self._mappings: dict[str, EventSourceMapping] = {}
        self._uuids: list[str] = []
        self._pollers: dict[str, Poller] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._group = asyncio.TaskGroup()
        self._changing = asyncio.Lock()

    async def __aenter__(self) -> Self:
        await self._load()
        await self._group.__aenter__()
        for mapping in list(self._mappings.values()):
            self._resume(mapping)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop every poller and wait until what is in flight is settled, at most `drain_s`."""
        for poller in self._pollers.values():
            poller.stop()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=self._drain_s if kind is None else 0)
        for task in self._tasks:
            task.cancel()
        await self._group.__aexit__(None, None, None)

    # Reading

    def find(self, uuid: str) -> EventSourceMapping:
        """The mapping of this UUID. Raises ResourceNotFound."""
        mapping = self._mappings.get(uuid)
        if mapping is None:
            raise ResourceNotFound(NOT_FOUND)
        return mapping

    def page(
        self, after: str, limit: int, accept: Callable[[EventSourceMapping], bool]
    ) -> tuple[list[EventSourceMapping], str | None]:
        """The next mappings in order of UUID that are accepted, and the UUID to go on after, None at the end."""
        found: list[EventSourceMapping] = []
        for uuid in self._uuids[bisect_right(self._uuids, after) :]:
            if not accept(self._mappings[uuid]):
                continue
            if len(found) == limit:
                return found, found[-1].uuid
            found.append(self._mappings[uuid])
        return found, None

    def every(self) -> list[EventSourceMapping]:
        """All mappings, in order of UUID."""
        return [self._mappings[uuid] for uuid in self._uuids]

    def last_result(self, uuid: str) -> str:
        """`LastProcessingResult` since this Hearth started."""
        poller = self._pollers.get(uuid)
        return poller.last_result if poller else NO_RECORDS

    def health(self) -> Mapping[str, Mapping[str, int]]:
        """What sources do, summed by kind. Of single mappings, `last_result` says how they are."""
        return self._around.tally.told((mapping, self.last_result(uuid)) for uuid, mapping in self._mappings.items())

    # Changing

    async def create(self, mapping: EventSourceMapping) -> EventSourceMapping:
        """Take in a new mapping, in state Creating. Raises ResourceConflict for a duplicate."""
        async with self._changing:
            self._refuse_duplicate(mapping)
            await self._put(mapping)
        self._resume(mapping)
        return mapping

    async def update(self, uuid: str, change: Change, enabled: bool | None) -> EventSourceMapping:
        """Change a mapping that is at rest. Raises ResourceNotFound, ResourceInUse, or what `change` raises."""
        async with self._changing:
            before = self.find(uuid)
            state = after_wish(before.state, _wish(enabled))
            if state is None:
                raise ResourceInUse("Cannot update the event source mapping because it is in use.")
            wanted = before.enabled if enabled is None else enabled
            after = self._dated(replace(change(before), state=state, enabled=wanted))
            if after.function_arn != before.function_arn:
                self._refuse_duplicate(after)
            await self._put(after)
        self._act_on(after)
        return after

    async def delete(self, uuid: str) -> EventSourceMapping:
        """Begin to delete a mapping that is at rest. Raises ResourceNotFound, ResourceInUse."""
        async with self._changing:
            before = self.find(uuid)
            state = after_wish(before.state, Wish.DELETE)
            if state is None:
                raise ResourceInUse("Cannot delete the event source mapping because it is in use.")
            after = self._dated(replace(before, state=state, enabled=False))
            await self._put(after)
        self._act_on(after)
        return after

    async def retag(self, uuid: str, tags: dict[str, str]) -> None:
        """Replace a mapping's tags, whatever its state; they are read from the next batch on."""
        async with self._changing:
            after = replace(self.find(uuid), tags=tags)
            await self._put(after)
        if uuid in self._pollers:
            self._pollers[uuid].reconfigure(after)

    def functions_changed(self) -> None:
        """Some function was created, changed or deleted: pollers that wait for one look again."""
        for poller in self._pollers.values():
            poller.wake()

    # Acting

    def _resume(self, mapping: EventSourceMapping) -> None:
        """Drive a new or loaded mapping on to where it should be."""
        match mapping.state:
            case State.DISABLED:
                return
            case State.DISABLING | State.DELETING:
                # Hearth ended half-way: what the previous run held on that list must still go back.
                self._begin(mapping).stop()
            case _ if mapping.enabled:
                self._begin(mapping)
            case _:
                self._spawn(self._announce(mapping.uuid, News.STOPPED), f"settle {mapping.uuid}")

    def _act_on(self, mapping: EventSourceMapping) -> None:
        """Do what the mapping's new state asks for."""
        poller = self._pollers.get(mapping.uuid)
        if mapping.state is State.ENABLING:
            self._begin(mapping)
        elif poller is None and mapping.state is State.DELETING and mapping.kind is SourceKind.STREAM:
            self._begin(mapping).stop()  # its consumer group is to go with it
        elif poller is None:
            self._spawn(self._announce(mapping.uuid, News.STOPPED), f"settle {mapping.uuid}")
        elif mapping.state is State.UPDATING:
            poller.reconfigure(mapping)
            self._spawn(self._announce(mapping.uuid, News.RUNNING), f"settle {mapping.uuid}")
        else:
            poller.reconfigure(mapping)  # a source that is deleted leaves nothing behind
            poller.stop()

    def _begin(self, mapping: EventSourceMapping) -> Poller:
        poller = Poller(mapping, self._sources, self._around)
        self._pollers[mapping.uuid] = poller
        self._spawn(self._poll(mapping.uuid, poller), f"poller {mapping.uuid}")
        return poller

    async def _poll(self, uuid: str, poller: Poller) -> None:
        await self._announce(uuid, News.RUNNING)
        await poller.run()
        del self._pollers[uuid]
        await self._announce(uuid, News.STOPPED)

    def _spawn(self, work: Coroutine[Any, Any, None], name: str) -> None:
        task = self._group.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _announce(self, uuid: str, news: News) -> None:
        """Bring news to the record; again and again if the store is away, because nobody else would."""
        failures = 0
        while True:
            try:
                async with self._changing:
                    await self._hear(uuid, news)
                return
            except HearthError as error:
                structlog.get_logger().warning("mapping not stored yet", mapping=uuid, reason=error.message)
            await self._around.clock.pause(back_off_s(failures))
            failures += 1

    async def _hear(self, uuid: str, news: News) -> None:
        before = self._mappings.get(uuid)
        if before is None:
            return
        state = after_news(before.state, news)
        if state is State.GONE:
            await self._store.delete(uuid)
            del self._mappings[uuid]
            del self._uuids[bisect_right(self._uuids, uuid) - 1]
        elif state is not before.state:
            await self._put(replace(before, state=state))

    # Keeping

    async def _load(self) -> None:
        for uuid, stored in (await self._store.load_all()).items():
            try:
                self._keep(decode_mapping(stored))
            except UnreadableRecord as error:
                structlog.get_logger().error("mapping record unreadable", mapping=uuid, error=str(error))

    async def _put(self, mapping: EventSourceMapping) -> None:
        await self._store.put(mapping.uuid, encode_mapping(mapping))
        self._keep(mapping)

    def _keep(self, mapping: EventSourceMapping) -> None:
        if mapping.uuid not in self._mappings:
            insort(self._uuids, mapping.uuid)
        self._mappings[mapping.uuid] = mapping

    def _dated(self, mapping: EventSourceMapping) -> EventSourceMapping:
        return replace(mapping, last_modified_ms=self._around.clock.now_ms())

    def _refuse_duplicate(self, mapping: EventSourceMapping) -> None:
        for other in self._mappings.values():
            same = (other.source_arn, other.function_arn) == (mapping.source_arn, mapping.function_arn)
            if same and other.uuid != mapping.uuid:
                raise ResourceConflict(_duplicate_text(mapping, other.uuid))


def _wish(enabled: bool | None) -> Wish:
    if enabled is None:
        return Wish.CHANGE
    return Wish.ENABLE if enabled else Wish.DISABLE


def _duplicate_text(mapping: EventSourceMapping, uuid: str) -> str:
    if is_own_form(mapping.source_arn) or mapping.kind is SourceKind.STREAM:
        return (
            f'The event source arn (" {mapping.source_arn} ") and function (" {mapping.function_name} ") provided '
            f"mapping already exists. Please update or delete the existing mapping with UUID {uuid}"
        )
    return (
        f'An event source mapping with SQS arn (" {mapping.source_arn} ") and function '
        f'(" {mapping.function_name} ") already exists. '
        f"Please update or delete the existing mapping with UUID {uuid}"
    )
