"""What topics offer to everybody who publishes: the notification service's own wire API, the courier, schedules."""

from typing import Protocol

from hearth_gateway.core.topic_publication import Claim, Publication, Published

__all__ = ["Claim", "Deduplication", "Publication", "Published", "Topics"]


class Topics(Protocol):
    """Topics as publishers see them."""

    async def publish(self, name: str, publication: Publication) -> Published:
        """Hand the message to all matching subscriptions; every delivery is kept on disk when this returns.

        Raises TopicNotFound, a CallerError for what the topic cannot take (too long, no group), or ServiceError if the
        deliveries could not be kept, which trying again may change. Whether the publisher may is judged before.
        """
        ...


class Deduplication(Protocol):
    """What FIFO topics remember of the last five minutes, in two steps, so that a publisher that was not answered can
    repeat its message and finds it neither lost nor doubled. Raises ServiceError."""

    async def claim(self, topic: str, key: str, message_id: str) -> Claim:
        """The claim on this key: this message's, or of the earlier one that has it."""
        ...

    async def finish(self, topic: str, key: str) -> None:
        """The message of this key is with the courier."""
        ...
