"""The messages of another SQS that are in our hands: kept invisible there until their fate is settled.

Rule 1: a message in hand belongs to nobody else. Its visibility is short, so that it is there again soon after we die,
and renewed for as long as we live.
Rule 2: a settlement is repeated until that SQS has heard it; deleting and hiding twice changes nothing.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence

from hearth_gateway.core.back_off import short_back_off_s
from hearth_gateway.core.sqs_event import SqsMessage
from hearth_gateway.sources.ports import Clock, QueueUnavailable
from hearth_gateway.sources.sqs_ports import SqsApi

HELD_S = 60
"""How long a message in hand is invisible if nobody renews it."""
KEEP_S = 20.0
"""How often it is renewed."""
SETTLE_AFTER_STOP_S = 10.0
"""How long a stopping source goes on trying to settle; after that the messages are delivered again."""
OWN_VISIBILITY_S = 60.0
"""How long the queue's own VisibilityTimeout is believed once it was asked for."""
_DEFAULT_VISIBILITY_S = 30

Complain = Callable[[str], None]


class SqsHands:
    """One source's hands. `api` gives the SQS of the moment, or raises QueueUnavailable."""

    def __init__(self, queue: str, api: Callable[[], SqsApi], clock: Clock, complain: Complain) -> None:
        self._queue = queue
        self._api = api
        self._clock = clock
        self._complain = complain
        self._held: set[str] = set()
        self._own_visibility = (0.0, _DEFAULT_VISIBILITY_S)

    def hold(self, messages: Iterable[SqsMessage]) -> None:
        """They are in our hands from now on."""
        self._held.update(message.receipt for message in messages)

    async def keep(self) -> None:
        """Renew what is held, for ever."""
        while True:
            await self._clock.pause(KEEP_S)
            held = {receipt: HELD_S for receipt in self._held}
            if not held:
                continue
            try:
                lost = await self._api().change_visibility(self._queue, held)
            except QueueUnavailable as error:
                self._complain(f"messages in hand are not renewed: {error}")
                continue
            if lost:
                # Somebody may get them a second time. Ours are run and deleted all the same.
                self._held.difference_update(lost)
                self._complain(f"{len(lost)} messages in hand are not held any more")

    async def own_visibility_s(self) -> int:
        """The queue's own VisibilityTimeout, as it was not long ago."""
        asked, seconds = self._own_visibility
        if self._clock.monotonic() - asked > OWN_VISIBILITY_S or not asked:
            try:
                seconds = await self._api().visibility_s(self._queue)
            except QueueUnavailable as error:
                self._complain(f"the queue does not tell its visibility timeout: {error}")
            self._own_visibility = (self._clock.monotonic(), seconds)
        return seconds

    async def settle(
        self, done: Sequence[SqsMessage], resting: Mapping[str, int], is_stopping: Callable[[], bool]
    ) -> None:
        """Delete what is done, hide the others (by receipt) for so many seconds. They are not in our hands after it."""
        receipts, hidden = [message.receipt for message in done], dict(resting)
        self._held.difference_update(hidden)  # or a renewal would hide them for longer
        failures, stopping_s = 0, 0.0
        while (receipts or hidden) and stopping_s < SETTLE_AFTER_STOP_S:
            try:
                if hidden:
                    await self._api().change_visibility(self._queue, hidden)
                    hidden = {}
                left = list(await self._api().delete(self._queue, receipts)) if receipts else []
                self._held.difference_update(frozenset(receipts) - frozenset(left))
                receipts = left
            except QueueUnavailable as error:
                self._complain(f"cannot settle yet: {error}")
            if receipts or hidden:
                pause_s = short_back_off_s(failures)
                await self._clock.pause(pause_s)
                failures += 1
                stopping_s += pause_s if is_stopping() else 0.0
        self._held.difference_update(receipts)
