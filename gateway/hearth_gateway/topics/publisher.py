"""Publishes messages: what follows from them is handed to the courier in one step, or in a few if it is very much.

Rule 1: a publisher is told a message id once every delivery of the message is kept, and not before. One that is told of
a failure publishes again under the same id, which makes no second delivery of what still waits.
Rule 2: a FIFO topic's messages are handed over one after the other, in the order of their numbers.
"""

import asyncio
from collections import defaultdict
from collections.abc import Iterator, Sequence

import structlog

from hearth.core.errors import HearthError, ServiceError
from hearth_gateway.asynchronous.ports import Courier
from hearth_gateway.core.parcel import Parcel
from hearth_gateway.core.topic_messages import Message, Seal, delivery
from hearth_gateway.core.topic_publication import check_publication, claim_key, message_for, sequence_text
from hearth_gateway.core.topics import Topic
from hearth_gateway.topics.book import TopicBook
from hearth_gateway.topics.ports import Claim, Deduplication, Publication, Published

STEP_BYTES = 16 * 1024 * 1024
"""Of bodies that are kept in one step: a topic may have any number of subscriptions."""

log = structlog.get_logger(__name__)


class TopicPublisher:
    """The `Topics` of this installation."""

    def __init__(self, book: TopicBook, courier: Courier, deduplication: Deduplication, seal: Seal) -> None:
        self._book = book
        self._courier = courier
        self._deduplication = deduplication
        self._seal = seal
        self._turns: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def publish(self, name: str, publication: Publication) -> Published:
        """See `Topics.publish`."""
        (found,) = await self.publish_all(name, [publication])
        if isinstance(found, HearthError):
            raise found
        return found

    async def publish_all(self, name: str, publications: Sequence[Publication]) -> list[Published | HearthError]:
        """Publish each that the topic can take; what it cannot is answered by its error. Raises what concerns all."""
        topic = self._book.topic(name)
        refusals = [_refusal(topic, one) for one in publications]
        good = [one for one, refusal in zip(publications, refusals, strict=True) if refusal is None]
        if topic.is_fifo:
            async with self._turns[name]:
                answers = iter(await self._publish_in_order(topic, good))
        else:
            await self._post(topic, [message_for(one, topic, None) for one in good])
            answers = iter([Published(one.id) for one in good])
        return [next(answers) if refusal is None else refusal for refusal in refusals]

    async def _publish_in_order(self, topic: Topic, publications: Sequence[Publication]) -> list[Published]:
        claims: list[Claim] = []
        fresh: dict[str, Message] = {}
        for one in publications:
            key = claim_key(topic, one)
            claim = await self._deduplication.claim(topic.name, key, one.id)
            claims.append(claim)
            if claim.is_new:
                fresh.setdefault(key, message_for(one, topic, claim))
        await self._post(topic, list(fresh.values()))
        for key in fresh:
            try:
                await self._deduplication.finish(topic.name, key)
            except ServiceError as error:
                # The message is kept. Should it come again, it goes out again, under the same id.
                log.warning("a FIFO topic could not note a message", topic=topic.name, error=str(error))
        return [Published(claim.message_id, sequence_text(claim)) for claim in claims]

    async def _post(self, topic: Topic, messages: Sequence[Message]) -> None:
        step: list[Parcel] = []
        size = 0
        for parcel in (parcel for message in messages for parcel in self._deliveries(topic, message)):
            step.append(parcel)
            size += len(parcel.body)
            if size >= STEP_BYTES:
                await self._courier.post(step)
                step, size = [], 0
        if step:
            await self._courier.post(step)

    def _deliveries(self, topic: Topic, message: Message) -> Iterator[Parcel]:
        for one in self._book.subscriptions(topic.arn):
            text = message.for_protocol(one.protocol)
            if not one.is_pending and self._book.accepts(one, message.attributes or {}, text):
                yield delivery(topic, one, message, seal=self._seal)


def _refusal(topic: Topic, publication: Publication) -> HearthError | None:
    try:
        check_publication(topic, publication)
    except HearthError as error:
        return error
    return None
