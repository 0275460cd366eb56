"""One batch of a list, from the claim to its settlement; and how its source is doing.

Rule 1: an outcome is settled, however long that takes; it is not forgotten because Redis is away.
Rule 2: what a destination elsewhere is to get is posted durably before the message leaves the list.
"""

import uuid
from asyncio import Event
from collections.abc import Callable, Sequence
from dataclasses import replace

import structlog

from hearth.core.errors import HearthError
from hearth.core.function import FunctionVersion
from hearth.core.invocation import Invocation, Outcome, PlatformFailed, Succeeded
from hearth.ports import Slot
from hearth_gateway.core import slow_start
from hearth_gateway.core.addresses import RESERVED, QueueAddress, parse_address
from hearth_gateway.core.back_off import short_back_off_s
from hearth_gateway.core.filtering import Filters
from hearth_gateway.core.mapping import EventSourceMapping
from hearth_gateway.core.parcel import Parcel, derived_id
from hearth_gateway.core.queue_batch import Batch, Message, Origin, Packing, pack
from hearth_gateway.core.queue_sifting import Sifted, sift
from hearth_gateway.core.retry import (
    EXPIRED_ERROR,
    TOO_LARGE_ERROR,
    Settlement,
    Terms,
    give_back,
    platform_pause_ms,
    refuse,
    settle,
)
from hearth_gateway.sources.ports import (
    CALL_FAILED,
    NO_PLATFORM,
    NO_RECORDS,
    NO_SOURCE,
    OK,
    Claim,
    ListQueue,
    QueueUnavailable,
    Redrive,
    Surroundings,
)
from hearth_gateway.sources.tally import Count

SETTLE_AFTER_STOP_S = 10.0
"""How long a stopping source goes on trying to settle; after that the messages are delivered again."""


class Condition:
    """How a source is doing: what it says of itself, and how much it dares."""

    def __init__(self, mapping: EventSourceMapping, around: Surroundings) -> None:
        self.last_result = NO_RECORDS
        self._mapping = mapping
        self._clock = around.clock
        self._platform_failures = 0
        self._calm_until_ms = 0
        self._pace = slow_start.slow(self._clock.now_ms())

    @property
    def platform_pause_ms(self) -> int:
        """How long messages rest that the platform could not run."""
        return platform_pause_ms(self._platform_failures)

    @property
    def calm_s(self) -> float:
        """How long to leave the platform alone yet."""
        return max(self._calm_until_ms - self._clock.now_ms(), 0) / 1000

    @property
    def limit(self) -> int | None:
        """How many batches may run at once after an outage; None if that is long past."""
        return self._pace.limit(self._clock.now_ms())

    @property
    def until_step_s(self) -> float | None:
        """How long until the limit grows by itself."""
        left_ms = self._pace.until_step_ms(self._clock.now_ms())
        return None if left_ms is None else left_ms / 1000

    def begin(self) -> None:
        """The source begins, perhaps on what has been waiting for long."""
        self._pace = slow_start.slow(self._clock.now_ms())

    def came_back(self, away_ms: int) -> None:
        """The source is there again."""
        self._pace = slow_start.came_back(self._pace, self._clock.now_ms(), away_ms)

    def take_note(self, outcome: Outcome) -> None:
        now_ms = self._clock.now_ms()
        if isinstance(outcome, PlatformFailed):
            self._platform_failures += 1
            self._calm_until_ms = now_ms + self.platform_pause_ms
            self._pace = slow_start.failed(self._pace, now_ms, slow_start.AWAY_MS)
            self.complain(NO_PLATFORM, outcome.reason)
            return
        self._platform_failures = 0
        if isinstance(outcome, Succeeded):
            self.last_result = OK
            self._pace = slow_start.succeeded(self._pace, now_ms)
        else:
            self.last_result = CALL_FAILED
            self._pace = slow_start.failed(self._pace, now_ms, slow_start.FAILING_MS)

    def complain(self, result: str, reason: str) -> None:
        self.last_result = result
        structlog.get_logger().warning(
            "event source in trouble", mapping=self._mapping.uuid, source=self._mapping.source_arn, reason=reason
        )


class Batches:
    """Runs claimed messages and settles them. `hear_of` is told when a message is due again."""

    def __init__(
        self,
        queue: ListQueue,
        around: Surroundings,
        condition: Condition,
        *,
        stopping: Event,
        hear_of: Callable[[int | None], None],
    ) -> None:
        self._queue = queue
        self._around = around
        self._clock = around.clock
        self._condition = condition
        self._stopping = stopping
        self._hear_of = hear_of

    async def run(self, slot: Slot, function: FunctionVersion, claim: Claim, mapping: EventSourceMapping) -> None:
        """Run what is wanted of the claimed messages as one event, and settle all of them."""
        terms = terms_of(mapping, claim.redrive, self._around)
        origin = Origin(mapping.source_arn, self._around.region, self._around.account, mapping.shape)
        sifted = self._sift(claim.messages, origin, mapping)
        packing = pack(sifted.wanted, origin)
        await self._set_apart(sifted, packing, terms, mapping)
        if packing.batch is None:
            slot.release()
            return
        outcome = await self._invoke(slot, function, packing.batch, mapping)
        self._condition.take_note(outcome)
        fates = settle(
            outcome,
            packing.batch.messages,
            terms,
            now_ms=self._clock.now_ms(),
            pause_ms=self._condition.platform_pause_ms,
        )
        await self._settle(fates, mapping, packing.batch.messages)

    def _sift(self, messages: Sequence[Message], origin: Origin, mapping: EventSourceMapping) -> Sifted:
        filters = Filters.of(mapping.filters, mapping.kind)
        return sift(messages, filters, origin, max_age_s=mapping.maximum_record_age_s, now_ms=self._clock.now_ms())

    async def _set_apart(self, sifted: Sifted, packing: Packing, terms: Terms, mapping: EventSourceMapping) -> None:
        """What is not in this event is done with, goes back for the next one, or is refused for good."""
        now_ms = self._clock.now_ms()
        expired = refuse(sifted.expired, terms, EXPIRED_ERROR, now_ms)
        too_large = refuse(packing.too_large, terms, TOO_LARGE_ERROR, now_ms)
        fates = Settlement(
            done=tuple(message.id for message in sifted.dropped),
            again=give_back(packing.left_over, now_ms).again,
            dead=expired.dead + too_large.dead,
        )
        if fates.ids:
            await self._settle(fates, mapping, (*sifted.expired, *packing.too_large), Count.FILTERED)

    async def _invoke(
        self, slot: Slot, function: FunctionVersion, batch: Batch, mapping: EventSourceMapping
    ) -> Outcome:
        invocation = Invocation(
            request_id=str(uuid.uuid4()),
            function=function,
            payload=batch.event,
            arrived_at=self._clock.monotonic(),
            invoked_arn=mapping.function_arn,
        )
        try:
            return await slot.invoke(invocation)
        except Exception as error:
            # The top of this batch's task: whatever broke, it was not the function, and no message may be lost.
            structlog.get_logger().exception("batch could not be run", function=function.name)
            return PlatformFailed(reason=f"{type(error).__name__}: {error}", was_started=True)

    async def _settle(
        self,
        fates: Settlement,
        mapping: EventSourceMapping,
        messages: Sequence[Message],
        done_is: Count = Count.HANDLED,
    ) -> None:
        """Until it is done. `done_is`: what messages that are done with are counted as."""
        failures, stopping_s = 0, 0.0
        while stopping_s < SETTLE_AFTER_STOP_S:
            try:
                await self._queue.settle(await self._posted(fates, mapping, messages), self._clock.now_ms())
            except (QueueUnavailable, HearthError) as error:
                self._condition.complain(NO_SOURCE, f"cannot settle yet: {error}")
                pause_s = short_back_off_s(failures)
                await self._clock.pause(pause_s)
                failures += 1
                stopping_s += pause_s if self._stopping.is_set() else 0.0
            else:
                self._around.tally.add(mapping.kind, done_is, len(fates.done))
                self._around.tally.add(mapping.kind, Count.GIVEN_UP, len(fates.dead))
                # A group may be open again, which no due time says.
                self._hear_of(self._clock.now_ms() if mapping.is_fifo else fates.next_due_ms)
                return
        self._condition.complain(NO_SOURCE, f"{len(fates.ids)} messages are not settled and will be delivered again")

    async def _posted(self, fates: Settlement, mapping: EventSourceMapping, messages: Sequence[Message]) -> Settlement:
        """The same fates, once the records of the dead are posted to where OnFailure says, if that is elsewhere."""
        if not fates.dead or not self._is_posted(mapping):
            return fates
        assert self._around.courier is not None  # see _is_posted
        heads = {message.id: message.head for message in messages}
        target = mapping.on_failure or ""
        await self._around.courier.post(
            [
                Parcel(
                    id=derived_id(f"{mapping.uuid}/{dead.id}", "on-failure"),
                    target=target,
                    body=dead.record,
                    accepted_ms=self._clock.now_ms(),
                    sender=mapping.arn,
                    group_id=heads[dead.id].group_id,
                    deduplication_id=dead.id,
                )
                for dead in fates.dead
            ]
        )
        return replace(fates, dead=tuple(replace(dead, list_key=None) for dead in fates.dead))

    def _is_posted(self, mapping: EventSourceMapping) -> bool:
        if self._around.courier is None:
            return False
        is_queue = mapping.on_failure is not None and isinstance(parse_address(mapping.on_failure), QueueAddress)
        return mapping.is_failure_posted or (is_queue and not self._around.owns_queues)


def terms_of(mapping: EventSourceMapping, redrive: Redrive | None, around: Surroundings) -> Terms:
    """What the mapping says about failure, and where it says nothing, its queue's RedrivePolicy."""
    policy = mapping.retry_policy(around.max_receive_count if redrive is None else redrive.max_receive_count)
    return Terms(policy, mapping.source_arn, mapping.is_partial, _dead_letter_queue(mapping, redrive, around))


def _dead_letter_queue(mapping: EventSourceMapping, redrive: Redrive | None, around: Surroundings) -> str:
    if redrive is None or mapping.names_dead_letters or not around.owns_queues:
        return ""
    address = parse_address(redrive.dead_letter_arn)
    if not isinstance(address, QueueAddress) or address.connection or address.name.startswith(RESERVED):
        return ""
    return address.name
