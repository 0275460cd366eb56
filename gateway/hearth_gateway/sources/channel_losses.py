"""Messages of a channel that were given up: counted, said in the log, and sent to the mapping's destination, or kept as
dead letters if it has none.

Rule 1: what is given up stays in its buffer's count until the courier has it, so memory is bounded whatever is away.
What finds no place even here is counted and said, and that is all that is left of it.
Rule 2: messages that found no place are gathered while the courier is busy: one record of many, not many of one.
"""

import asyncio
import uuid
from collections import deque
from contextlib import suppress
from typing import NamedTuple

import structlog

from hearth.core.errors import HearthError
from hearth_gateway.asynchronous.ports import Courier
from hearth_gateway.core.back_off import back_off_s
from hearth_gateway.core.channel_batch import (
    Buffer,
    Condition,
    Entry,
    Lost,
    dead_letter,
    failure_record,
    parts_of,
)
from hearth_gateway.core.mapping import EventSourceMapping, SourceKind
from hearth_gateway.core.parcel import Parcel
from hearth_gateway.sources.ports import Surroundings
from hearth_gateway.sources.tally import Count

TELL_EVERY_S = 10.0
"""How often it is said that messages find no place, while that lasts."""
LONGEST_SLEEP_S = 20.0
MAX_REFUSED_MESSAGES = 10_000
MAX_REFUSED_BYTES = 8 * 2**20


class _Leaving(NamedTuple):
    """Something on its way to the destination that was set when it was given up; to the dead letters, if none was."""

    lost: Lost
    holder: Buffer
    target: str | None


class Losses:
    """What one source gives up."""

    def __init__(self, mapping: EventSourceMapping, around: Surroundings, courier: Courier) -> None:
        self.count = 0
        """Messages that were received and given up, since the source began."""
        self._mapping = mapping
        self._clock = around.clock
        self._tally = around.tally
        self._courier = courier
        self._refused = Buffer(MAX_REFUSED_MESSAGES, MAX_REFUSED_BYTES)
        self._leaving: deque[_Leaving] = deque()
        self._untold = 0
        self._told_at: float | None = None
        self._bell = asyncio.Event()
        self._sent = asyncio.Event()

    def reconfigure(self, mapping: EventSourceMapping) -> None:
        """Where what is given up from now on goes."""
        self._mapping = mapping

    def refuse(self, entry: Entry, condition: Condition) -> None:
        """A message that the source has no place for. It is sent or kept like others, if it can wait for that here."""
        self.count += 1
        self._untold += 1
        now = self._clock.monotonic()
        if self._told_at is None or now - self._told_at >= TELL_EVERY_S:
            self._tell()
        if condition is Condition.BUFFER_FULL:
            is_kept = self._refused.offer(entry)
        elif is_kept := self._refused.hold(entry):
            self._leaving.append(_Leaving(Lost((entry,), condition), self._refused, self._mapping.on_failure))
        if not is_kept:
            self._tally.add(SourceKind.CHANNEL, Count.DROPPED)
        self._bell.set()

    def give_up(self, lost: Lost, holder: Buffer) -> None:
        """Messages that `holder` counts until the courier has them."""
        self.count += len(lost.entries)
        self._log().error("messages given up", count=len(lost.entries), why=lost.condition.value, error=lost.error)
        target = self._mapping.on_failure
        self._leaving.extend(_Leaving(part, holder, target) for part in parts_of(lost))
        self._bell.set()

    def conclude(self, held: int) -> None:
        """Say what nobody will say any more. `held` is what the source still holds, which is 0 if all went well."""
        self._tell()
        left = held + self._refused.held
        if left:
            self._tally.add(SourceKind.CHANNEL, Count.DROPPED, left)
            self._log().error("messages are lost with the end of their source", count=left)

    async def send(self) -> None:
        """Hand everything to the courier, one record after the other, until cancelled."""
        failures = 0
        while True:
            await self._until_something_leaves()
            lost, holder, _ = self._leaving[0]
            try:
                await self._hand_over(self._leaving[0])
            except HearthError as error:
                self._log().warning("a record of lost messages is not sent yet", reason=error.message)
                await self._clock.pause(back_off_s(failures))
                failures += 1
                continue
            failures = 0
            self._leaving.popleft()
            holder.end(lost.entries)
            self._tally.add(SourceKind.CHANNEL, Count.GIVEN_UP, len(lost.entries))
            self._sent.set()

    async def all_sent(self, longest_s: float) -> None:
        """Wait until the courier has everything, at most so long."""
        with suppress(TimeoutError):
            async with asyncio.timeout(longest_s):
                while self._leaving or not self._refused.is_idle:
                    self._sent.clear()
                    await self._sent.wait()

    async def _until_something_leaves(self) -> None:
        while True:
            self._gather()
            if self._leaving:
                return
            with suppress(TimeoutError):
                async with asyncio.timeout(LONGEST_SLEEP_S):
                    await self._bell.wait()
            self._bell.clear()

    def _tell(self) -> None:
        if self._untold:
            self._log().error("messages find no place", count=self._untold)
            self._untold, self._told_at = 0, self._clock.monotonic()

    def _gather(self) -> None:
        entries, target = self._refused.take_all(), self._mapping.on_failure
        if entries:
            lost = Lost(entries, Condition.BUFFER_FULL)
            self._leaving.extend(_Leaving(part, self._refused, target) for part in parts_of(lost))

    async def _hand_over(self, leaving: _Leaving) -> None:
        """The same messages are the same parcel or letter, however often they are handed over."""
        lost, mapping, now_ms = leaving.lost, self._mapping, self._clock.now_ms()
        own_id = str(uuid.uuid5(uuid.UUID(mapping.uuid), f"{lost.condition.value}/{lost.entries[0].id}"))
        if leaving.target is None:
            await self._courier.bury([dead_letter(lost, mapping, own_id, now_ms)])
            return
        body = failure_record(
            lost, request_id=own_id, function_arn=mapping.function_arn, source_arn=mapping.source_arn, now_ms=now_ms
        )
        await self._courier.post([Parcel(own_id, leaving.target, body, now_ms, sender=mapping.arn)])

    def _log(self) -> structlog.stdlib.BoundLogger:
        logger: structlog.stdlib.BoundLogger = structlog.get_logger()
        return logger.bind(mapping=self._mapping.uuid, source=self._mapping.source_arn)
