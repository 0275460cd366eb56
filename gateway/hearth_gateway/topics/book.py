"""The topics and subscriptions of this installation: in memory, every change durable first.

Rule 1: the store is written before memory. Rule 2: one writer at a time (`changing`); publishers never wait.
State: `_topics` and `_subscriptions` are changed by `load`, `put` and `remove` only; `_filters` follows them.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Protocol

import structlog

from hearth.core.errors import HearthError
from hearth.wire import StoredRecordError
from hearth_gateway.core.filter_policy import FilterPolicy
from hearth_gateway.core.parcel import Attribute
from hearth_gateway.core.topics import (
    TOKEN_LIFETIME_S,
    InvalidTopicParameter,
    Subscription,
    Topic,
    TopicNotFound,
    filter_of,
)
from hearth_gateway.topics.wire import decode, encode


class Records(Protocol):
    """The durable home of topics and subscriptions, by key. The same promises as `hearth.ports.FunctionStore`."""

    async def load_all(self) -> dict[str, bytes]: ...

    async def put(self, key: str, record: bytes, /) -> None: ...

    async def delete(self, key: str, /) -> None: ...


class TopicBook:
    """Every topic and every subscription."""

    def __init__(self, store: Records) -> None:
        self._store = store
        self._topics: dict[str, Topic] = {}
        self._subscriptions: dict[str, dict[str, Subscription]] = {}
        self._filters: dict[str, FilterPolicy] = {}
        self.changing = asyncio.Lock()
        """To be held from reading what a change depends on until it is made."""

    async def load(self) -> None:
        """Take in what the store has. A record that cannot be read is reported and left where it is."""
        for key, stored in (await self._store.load_all()).items():
            try:
                self._take(decode(stored))
            except (StoredRecordError, InvalidTopicParameter) as error:
                structlog.get_logger().error("topic record unreadable", key=key, error=str(error))

    def topic(self, name: str) -> Topic:
        """Raises TopicNotFound."""
        found = self._topics.get(name)
        if found is None:
            raise TopicNotFound
        return found

    def find(self, name: str) -> Topic | None:
        return self._topics.get(name)

    def topics(self) -> list[Topic]:
        """Every topic in order of name."""
        return sorted(self._topics.values(), key=lambda topic: topic.name)

    def subscription(self, arn: str) -> Subscription | None:
        topic_arn = arn.rpartition(":")[0]
        return self._subscriptions.get(topic_arn, {}).get(arn)

    def subscriptions(self, topic_arn: str | None = None) -> Sequence[Subscription]:
        """The subscriptions of a topic, or all of them, oldest first."""
        if topic_arn is not None:
            return tuple(self._subscriptions.get(topic_arn, {}).values())
        every = (one for each in self._subscriptions.values() for one in each.values())
        return sorted(every, key=lambda one: (one.created_ms, one.arn))

    def accepts(self, subscription: Subscription, attributes: Mapping[str, Attribute], text: str) -> bool:
        """Whether the subscription's filter lets the message through."""
        policy = self._filters.get(subscription.arn)
        return policy is None or policy.accepts(attributes, text)

    async def put(self, record: Topic | Subscription) -> None:
        """Make this the record of its ARN, durably. With `changing` held."""
        await self._store.put(_key(record), encode(record))
        self._take(record)

    async def remove(self, record: Topic | Subscription) -> None:
        """Forget it, durably, and a topic's subscriptions with it. With `changing` held."""
        if isinstance(record, Topic):
            # The topic goes last: what is interrupted can be asked for again.
            for one in self.subscriptions(record.arn):
                await self.remove(one)
        await self._store.delete(_key(record))
        match record:
            case Topic():
                self._topics.pop(record.name, None)
                self._subscriptions.pop(record.arn, None)
            case Subscription():
                self._subscriptions.get(record.topic_arn, {}).pop(record.arn, None)
                self._filters.pop(record.arn, None)

    async def sweep(self, now_ms: int) -> None:
        """Forget the subscriptions that nobody confirmed in time."""
        async with self.changing:
            for one in self.subscriptions():
                if one.is_pending and now_ms - one.created_ms > TOKEN_LIFETIME_S * 1000:
                    try:
                        await self.remove(one)
                    except HearthError as error:
                        structlog.get_logger().warning("a subscription is not swept yet", error=str(error))
                        return

    def _take(self, record: Topic | Subscription) -> None:
        match record:
            case Topic():
                self._topics[record.name] = record
            case Subscription():
                policy = filter_of(record.attributes)
                self._filters.pop(record.arn, None)
                if policy is not None:
                    self._filters[record.arn] = policy
                self._subscriptions.setdefault(record.topic_arn, {})[record.arn] = record


def _key(record: Topic | Subscription) -> str:
    return f"topic:{record.name}" if isinstance(record, Topic) else f"subscription:{record.arn}"
