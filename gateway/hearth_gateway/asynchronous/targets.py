"""Delivery to the topics of this Hearth, and to buckets."""

from typing import Protocol

from hearth.core.errors import Fault, HearthError
from hearth_gateway.asynchronous.ports import TargetRefused, TargetUnavailable
from hearth_gateway.core.addresses import BucketAddress, TopicAddress, parse_address
from hearth_gateway.core.parcel import Parcel
from hearth_gateway.topics.ports import Publication, Topics


class Buckets(Protocol):
    """Buckets of the configured S3."""

    async def store(self, bucket: str, key: str, body: bytes) -> None:
        """Write an object. Raises HearthError: the caller's for what S3 refuses."""
        ...


class TopicTarget:
    """Publishes bodies as messages."""

    def __init__(self, topics: Topics) -> None:
        self._topics = topics

    async def deliver(self, parcel: Parcel) -> None:
        """See `Target`."""
        address = parse_address(parcel.target)
        if not isinstance(address, TopicAddress):
            raise TargetRefused(f"{parcel.target} is no topic", "InvalidTarget")
        publication = Publication(
            parcel.id,
            parcel.body.decode(errors="replace"),
            parcel.accepted_ms,
            subject=parcel.subject,
            attributes=parcel.attributes,
            group_id=parcel.group_id,
            deduplication_id=parcel.deduplication_id,
            trace_id=parcel.trace_id,
        )
        try:
            await self._topics.publish(address.name, publication)
        except HearthError as error:
            raise failure(error) from error


class BucketTarget:
    """Writes bodies as objects; the parcel's subject is the key."""

    def __init__(self, buckets: Buckets) -> None:
        self._buckets = buckets

    async def deliver(self, parcel: Parcel) -> None:
        """See `Target`."""
        address = parse_address(parcel.target)
        if not isinstance(address, BucketAddress):
            raise TargetRefused(f"{parcel.target} is no bucket", "InvalidTarget")
        try:
            await self._buckets.store(address.name, parcel.subject or parcel.id, parcel.body)
        except HearthError as error:
            raise failure(error) from error


def failure(error: HearthError) -> TargetRefused | TargetUnavailable:
    """What the platform could not do may work later; what the sender did wrong will not."""
    if error.fault in (Fault.PLATFORM, Fault.CAPACITY) or error.retryable:
        return TargetUnavailable(error.message)
    return TargetRefused(error.message, error.code)
