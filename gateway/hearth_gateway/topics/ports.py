"""What topics offer to everybody who publishes: the notification service's own wire API, the courier, schedules."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from hearth_gateway.core.parcel import Attribute


@dataclass(frozen=True, slots=True)
class Publication:
    """One message for a topic. `id` is the message's id: the same id again makes the same deliveries, which the courier
    keeps once. `by_protocol` is what `MessageStructure=json` gives: other words for some protocols. Times are epoch
    milliseconds; FIFO topics need a group, and a deduplication id or content-based deduplication."""

    id: str
    message: str
    published_ms: int
    subject: str | None = None
    attributes: Mapping[str, Attribute] = field(default_factory=dict)
    by_protocol: Mapping[str, str] = field(default_factory=dict)
    group_id: str = ""
    deduplication_id: str = ""
    trace_id: str = ""


@dataclass(frozen=True, slots=True)
class Published:
    """What a publisher is told. The id is an earlier message's where a FIFO topic has seen the deduplication id."""

    message_id: str
    sequence_number: str | None = None


class Topics(Protocol):
    """Topics as publishers see them."""

    async def publish(self, name: str, publication: Publication) -> Published:
        """Hand the message to all matching subscriptions; every delivery is kept on disk when this returns.

        Raises TopicNotFound, a CallerError for what the topic cannot take (too long, no group), or ServiceError if the
        deliveries could not be kept, which trying again may change. Whether the publisher may is judged before.
        """
        ...
