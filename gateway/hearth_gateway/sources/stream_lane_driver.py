"""Drives one lane: waits for a batch and a slot, runs the function, settles by the outcome. One batch at a time.

Rule 1: slot first; the batch is made when the slot is there, of everything that has come until then.
Rule 2: a failure record is with the courier, or a dead letter in the store, before its records are finished.
Rule 3: what is settled is durable before the lane's memory moves on.
"""

import asyncio
import uuid
from collections import deque
from collections.abc import Coroutine
from dataclasses import replace
from typing import Any

import structlog

from hearth.core.function import FunctionVersion
from hearth.core.invocation import Invocation, Outcome, PlatformFailed, Succeeded
from hearth.ports import Slot
from hearth_gateway.core.retry import platform_pause_ms
from hearth_gateway.core.stream_batch import final_event, pack
from hearth_gateway.core.stream_entry import Entry, EntryId
from hearth_gateway.core.stream_failure import Sending, dead_letters, failure_parcel
from hearth_gateway.core.stream_fate import Condition, Fate, Letter, judge, judge_close
from hearth_gateway.core.stream_lanes import Attempt, Close, Expire, Lane, Rest, Step
from hearth_gateway.core.stream_progress import StreamSettlement, mark_name
from hearth_gateway.core.stream_window import Window
from hearth_gateway.sources.ports import CALL_FAILED, NO_FUNCTION, NO_PLATFORM, OK
from hearth_gateway.sources.stream_reading import LONGEST_SLEEP_S, Reading
from hearth_gateway.sources.tally import Count

Place = tuple[Slot, FunctionVersion]


class LaneDriver:
    """One lane's work."""

    def __init__(self, reading: Reading, lane: Lane) -> None:
        self._reading = reading
        self._lane = lane
        self._bell = asyncio.Event()
        self._platform_failures = 0
        reading.lane_bells.append(self._bell)

    async def run(self) -> None:
        """Until it ends and what is in flight is settled."""
        while not self._reading.ending.is_set():
            step = self._next()
            match step:
                case Rest():
                    await self._rest(step)
                case Expire():
                    letter = Letter(step.entries, Condition.TOO_OLD, step.attempts)
                    fate = Fate(len(step.entries), window=self._window(), letter=letter)
                    await self._apply(fate, step.entries, self._sending())
                case Attempt() | Close():
                    await self._work()
            self._reading.feed_bell.set()

    def _next(self) -> Step:
        reading = self._reading
        return self._lane.next_step(reading.terms, reading.clock.now_ms(), is_caught_up=reading.is_caught_up)

    async def _rest(self, step: Rest) -> None:
        # A millisecond more than needed: waking early would find nothing due.
        until = step.until_ms
        seconds = LONGEST_SLEEP_S if until is None else (until - self._reading.clock.now_ms() + 1) / 1000
        await self._reading.rest(self._bell, seconds)

    async def _work(self) -> None:
        place = await self._unless_ending(self._place())
        if place is None:
            return
        slot, function = place
        try:
            # What has come while we waited goes along; what was to be done may have become something else.
            match self._next():
                case Attempt() as attempt:
                    await self._attempt(slot, function, attempt)
                case Close(window=window):
                    await self._close(slot, function, window)
                case _:
                    pass
        finally:
            slot.release()

    # A place

    async def _place(self) -> Place:
        """Wait for the function, then for a slot."""
        reading = self._reading
        while True:
            mapping = reading.mapping
            function = reading.around.functions.current(mapping.function_name, mapping.qualifier)
            if function is not None:
                return await reading.around.scheduler.reserve(function), function
            reading.last_result = NO_FUNCTION
            await reading.rest(self._bell)

    async def _unless_ending(self, waiting: Coroutine[Any, Any, Place]) -> Place | None:
        """The place, or None if it ends before there is one."""
        async with asyncio.TaskGroup() as tasks:
            place = tasks.create_task(waiting, name=f"place {self._lane.name}")
            end = tasks.create_task(self._reading.ending.wait(), name=f"end {self._lane.name}")
            try:
                await asyncio.wait({place, end}, return_when=asyncio.FIRST_COMPLETED)
            except asyncio.CancelledError:
                if place.done() and not place.cancelled() and place.exception() is None:
                    place.result()[0].release()
                raise
            end.cancel()
            if not place.done():
                place.cancel()
        return None if place.cancelled() else place.result()

    # Work

    async def _attempt(self, slot: Slot, function: FunctionVersion, attempt: Attempt) -> None:
        packed = pack(attempt.entries, self._reading.origin(function), attempt.window)
        sending = self._sending(function)
        if not packed.count:
            # Nothing is lost of a window whose state leaves no room: it has none that large.
            letter = Letter(attempt.entries[:1], Condition.TOO_LARGE, 0)
            await self._apply(Fate(1, window=self._window(), letter=letter), attempt.entries, sending)
            return
        attempt = replace(attempt, entries=attempt.entries[: packed.count])
        self._lane.running = packed.count
        self._reading.feed_bell.set()  # there is room for the next batch
        try:
            outcome = await self._invoke(slot, function, packed.event, sending.request_id)
            fate = judge(outcome, attempt, self._reading.terms, platform_pause_ms(self._platform_failures))
            # A window is kept from its first record that is done on.
            fate = fate if fate.done else replace(fate, window=self._window())
            await self._apply(fate, attempt.entries, sending)
        finally:
            self._lane.running = 0

    async def _close(self, slot: Slot, function: FunctionVersion, window: Window) -> None:
        event = final_event(window, self._reading.origin(function))
        sending = self._sending(function, window)
        outcome = await self._invoke(slot, function, event, sending.request_id)
        fate = judge_close(outcome, window, self._reading.terms, platform_pause_ms(self._platform_failures))
        await self._apply(fate, (), sending)

    async def _invoke(self, slot: Slot, function: FunctionVersion, event: bytes, request_id: str) -> Outcome:
        invocation = Invocation(
            request_id=request_id,
            function=function,
            payload=event,
            arrived_at=self._reading.clock.monotonic(),
            invoked_arn=self._reading.mapping.function_arn,
        )
        try:
            outcome = await slot.invoke(invocation)
        except Exception as error:
            # The top of this batch's work: whatever broke, it was not the function, and no record may be lost.
            structlog.get_logger().exception("batch could not be run", function=function.name)
            outcome = PlatformFailed(reason=f"{type(error).__name__}: {error}", was_started=True)
        self._take_note(outcome)
        return outcome

    def _take_note(self, outcome: Outcome) -> None:
        if isinstance(outcome, PlatformFailed):
            self._platform_failures += 1
            self._reading.complain(NO_PLATFORM, outcome.reason)
            return
        self._platform_failures = 0
        self._reading.last_result = OK if isinstance(outcome, Succeeded) else CALL_FAILED

    # Settling

    async def _apply(self, fate: Fate, entries: tuple[Entry, ...], sending: Sending) -> None:
        """Make it durable, then true here. Left undone if the source stops and cannot: then it comes again."""
        if fate.letter is not None and not await self._give_up(fate.letter, fate.window, sending):
            return
        settlement, ended = self._settlement(fate, entries)
        if settlement and not await self._reading.settle(settlement):
            return
        lane, now_ms = self._lane, self._reading.clock.now_ms()
        lane.advance(fate.done, now_ms)
        lane.marks = {first: mark for first, mark in lane.marks.items() if first not in ended} | dict(fate.marks)
        self._set_window(fate.window)
        lane.not_before_ms = now_ms + fate.pause_ms
        given_up = 0 if fate.letter is None else len(fate.letter.entries)
        self._reading.count(Count.GIVEN_UP, given_up)
        self._reading.count(Count.HANDLED, fate.done - given_up)

    def _settlement(self, fate: Fate, entries: tuple[Entry, ...]) -> tuple[StreamSettlement, frozenset[EntryId]]:
        """What is to be durable, and which marks are over."""
        lane = self._lane
        done = tuple(one.id for one in entries[: fate.done])
        ended = lane.ended_marks(entries[0].id, done) if entries and (done or fate.marks) else frozenset()
        keep = {mark_name(first, lane.name): mark.encode() for first, mark in fate.marks.items()}
        before = self._window()
        if fate.window is not None and fate.window != before:
            keep[fate.window.name] = fate.window.encode()
        forget = [mark_name(first, lane.name) for first in ended - fate.marks.keys()]
        if before is not None and fate.window is None:
            forget.append(before.name)
        return StreamSettlement(done, keep, tuple(forget)), ended

    def _window(self) -> Window | None:
        return self._lane.windows[0] if self._lane.windows else None

    def _set_window(self, window: Window | None) -> None:
        rest = list(self._lane.windows)[1:]
        self._lane.windows = deque(rest if window is None else [window, *rest])

    async def _give_up(self, letter: Letter, window: Window | None, sending: Sending) -> bool:
        """To the destination; to the dead letters, if there is none."""
        reading = self._reading
        ids = [str(one.id) for one in letter.entries]
        structlog.get_logger().warning(
            "records of a stream are given up",
            mapping=reading.mapping.uuid,
            condition=letter.condition.value,
            count=len(ids),
            first=ids[0] if ids else None,
            last=ids[-1] if ids else None,
            destination=reading.mapping.on_failure or "dead letters",
        )
        origin = reading.origin(None)
        if reading.mapping.on_failure is None:
            return await reading.bury(dead_letters(letter, reading.mapping, origin, sending, window=window))
        return await reading.post(failure_parcel(letter, reading.mapping, origin, sending))

    def _sending(self, function: FunctionVersion | None = None, window: Window | None = None) -> Sending:
        version = "" if function is None else function.version
        role = "" if function is None else function.role
        return Sending(str(uuid.uuid4()), version, self._reading.clock.now_ms(), window, role)
