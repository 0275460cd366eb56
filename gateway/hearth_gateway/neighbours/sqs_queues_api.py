"""The operations on queues themselves: making, finding, changing and deleting them, their tags and permissions.

Rule 1: making a queue twice with the same attributes is making it once.
Rule 2: a Redis list that somebody uses is a queue that nobody made: its messages can be sent and received, but it has
no attributes and no tags until it is made.
Source: Amazon SQS API reference; texts as the service's.
"""

import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence

from hearth_gateway.core.paging import decode_marker, encode_marker
from hearth_gateway.core.sqs_attributes import (
    OBSERVED,
    admits,
    checked,
    differing,
    effective,
    is_fifo_asked,
    redrive_policy,
    unknown,
)
from hearth_gateway.core.sqs_errors import SqsError, invalid, no_queue, out_of_range
from hearth_gateway.core.sqs_message import ranged
from hearth_gateway.core.sqs_names import FIFO_SUFFIX, check_new_name
from hearth_gateway.core.sqs_policy import with_permission, without_permission
from hearth_gateway.neighbours.calls import Members
from hearth_gateway.neighbours.sqs_calls import QueueDoor, SqsCall, SqsHandler
from hearth_gateway.queues.ports import Counts, Queue, QueueBook, QueueStore

MAX_LISTED = 1_000
MAX_TAGS = 50
MAX_TAG_KEY, MAX_TAG_VALUE = 128, 256
_PAGE = 200
ALL = "All"
_NAMES = frozenset({
    *("Policy", "VisibilityTimeout", "MaximumMessageSize", "MessageRetentionPeriod", "DelaySeconds", "RedrivePolicy"),
    *("ReceiveMessageWaitTimeSeconds", "FifoQueue", "ContentBasedDeduplication", "KmsMasterKeyId"),
    *("KmsDataKeyReusePeriodSeconds", "DeduplicationScope", "FifoThroughputLimit", "RedriveAllowPolicy"),
    *("SqsManagedSseEnabled", ALL, *OBSERVED),
})  # fmt: skip


class QueueOperations:
    """What is asked about queues."""

    def __init__(self, door: QueueDoor, book: QueueBook, store: QueueStore, now_ms: Callable[[], int]) -> None:
        self._door = door
        self._book = book
        self._store = store
        self._now_ms = now_ms

    def handlers(self) -> dict[str, SqsHandler]:
        """The operations by name."""
        return {
            "AddPermission": self._add_permission,
            "CreateQueue": self._create,
            "DeleteQueue": self._delete,
            "GetQueueAttributes": self._attributes,
            "GetQueueUrl": self._url,
            "ListDeadLetterSourceQueues": self._dead_letter_sources,
            "ListQueueTags": self._tags,
            "ListQueues": self._list,
            "PurgeQueue": self._purge,
            "RemovePermission": self._remove_permission,
            "SetQueueAttributes": self._set_attributes,
            "TagQueue": self._tag,
            "UntagQueue": self._untag,
        }

    async def _create(self, asked: SqsCall) -> Members:
        name, given = asked["QueueName"], asked.get("Attributes", {})
        tags = _checked_tags(asked.get("tags", {}))
        is_fifo = is_fifo_asked(name, given)
        check_new_name(name, is_fifo=is_fifo)
        asked.call.allow("sqs:CreateQueue", self._door.arn(name))
        if tags:
            asked.call.allow("sqs:TagQueue", self._door.arn(name))
        settable = {key: value for key, value in given.items() if key != "FifoQueue"}
        wanted = {key: value for key, value in checked(settable, is_fifo=is_fifo).items() if value}
        await self._check_redrive(asked, name, wanted)
        now_ms = self._now_ms()
        queue = await self._book.create(Queue(name, wanted, tags, now_ms, now_ms))
        other = differing(queue.attributes, wanted, is_fifo=is_fifo)
        if other is not None:
            text = f"A queue already exists with the same name and a different value for attribute {other}"
            raise SqsError("QueueNameExists", text)
        return {"QueueUrl": self._door.url(asked, name)}

    async def _check_redrive(self, asked: SqsCall, name: str, attributes: Mapping[str, str]) -> None:
        """The dead-letter queue must be there, be of the same kind, and take this queue's messages. Messages are moved
        there by the platform itself, so whoever asks for that must be allowed to send there."""
        redrive = redrive_policy(attributes)
        if redrive is None:
            return
        target = self._door.name_of(redrive[0])
        shown = attributes["RedrivePolicy"]
        queue = await self._door.find_named(asked, "SendMessage", target) if target else None
        if target is None or queue is None:
            raise out_of_range(shown, "RedrivePolicy", "Dead letter target does not exist.")
        if target == name:
            raise out_of_range(shown, "RedrivePolicy", "Dead letter target must not be the queue itself.")
        if target.endswith(FIFO_SUFFIX) != name.endswith(FIFO_SUFFIX):
            raise out_of_range(shown, "RedrivePolicy", "Dead-letter queue must be same type of queue as the source.")
        if not admits(queue.attributes, self._door.arn(name)):
            raise out_of_range(shown, "RedrivePolicy", "Dead letter target does not allow this queue as a source.")

    async def _url(self, asked: SqsCall) -> Members:
        if asked.get("QueueOwnerAWSAccountId", self._door.place.account) != self._door.place.account:
            raise no_queue()
        queue = await self._door.enter_named(asked, "GetQueueUrl", asked["QueueName"])
        return {"QueueUrl": self._door.url(asked, queue.name)}

    async def _list(self, asked: SqsCall) -> Members:
        asked.call.allow("sqs:ListQueues", self._door.arn("*"))
        limit = ranged(asked.call.parameters, "MaxResults", 1, MAX_LISTED)
        prefix = asked.get("QueueNamePrefix", "")
        names = await self._book.names(prefix, _after(asked), (limit or MAX_LISTED) + 1)
        return self._page(asked, names, limit, "QueueUrls")

    async def _dead_letter_sources(self, asked: SqsCall) -> Members:
        queue = await self._door.enter(asked, "ListDeadLetterSourceQueues")
        limit = ranged(asked.call.parameters, "MaxResults", 1, MAX_LISTED)
        names = [name async for name in self.sources_of(queue.name, _after(asked))]
        return {"queueUrls": [], **self._page(asked, names, limit, "queueUrls")}

    async def sources_of(self, dead_letter_queue: str, after: str = "") -> AsyncIterator[str]:
        """The queues whose dead letters go to this one, in order."""
        arn = self._door.arn(dead_letter_queue)
        while names := await self._book.names("", after, _PAGE):
            for name in names:
                queue = await self._book.find(name)
                redrive = None if queue is None else redrive_policy(queue.attributes)
                if redrive is not None and redrive[0] == arn:
                    yield name
            after = names[-1]

    def _page(self, asked: SqsCall, names: Sequence[str], limit: int | None, member: str) -> Members:
        """One page of URLs. Who names no limit gets as many as there may be, and no token."""
        shown = names[: limit or MAX_LISTED]
        answer: dict[str, object] = {member: [self._door.url(asked, name) for name in shown]} if shown else {}
        if limit is not None and len(names) > limit:
            answer["NextToken"] = encode_marker(shown[-1])
        return answer

    async def _attributes(self, asked: SqsCall) -> Members:
        queue = await self._door.enter(asked, "GetQueueAttributes")
        names = frozenset(asked.get("AttributeNames", ()))
        for name in names - _NAMES:
            raise unknown(name)
        if not names:
            return {}
        counts = await self._store.counts(queue.name)
        everything = {**effective(queue.attributes, is_fifo=queue.is_fifo), **self._observed(queue, counts)}
        shown = {name: value for name, value in everything.items() if value and (ALL in names or name in names)}
        return {"Attributes": shown} if shown else {}

    def _observed(self, queue: Queue, counts: Counts) -> dict[str, str]:
        return {
            "ApproximateNumberOfMessages": str(counts.visible),
            "ApproximateNumberOfMessagesNotVisible": str(counts.in_flight),
            "ApproximateNumberOfMessagesDelayed": str(counts.delayed),
            "CreatedTimestamp": str(queue.created_ms // 1000),
            "LastModifiedTimestamp": str(queue.modified_ms // 1000),
            "QueueArn": self._door.arn(queue.name),
        }

    async def _set_attributes(self, asked: SqsCall) -> Members:
        queue = await self._door.enter(asked, "SetQueueAttributes")
        wanted = checked(asked["Attributes"], is_fifo=queue.is_fifo)
        await self._check_redrive(asked, queue.name, wanted)
        await self._store_attributes(queue.name, wanted)
        return {}

    async def _store_attributes(self, name: str, attributes: Mapping[str, str]) -> None:
        """An empty value takes an attribute back."""
        changes = {key: value or None for key, value in attributes.items()}
        if not await self._book.set_attributes(name, changes, self._now_ms()):
            raise no_queue()

    async def _delete(self, asked: SqsCall) -> Members:
        queue = await self._door.enter(asked, "DeleteQueue")
        if not await self._book.delete(queue.name):
            raise no_queue()
        return {}

    async def _purge(self, asked: SqsCall) -> Members:
        queue = await self._door.enter(asked, "PurgeQueue")
        await self._store.purge(queue.name)
        return {}

    # Permissions

    async def _add_permission(self, asked: SqsCall) -> Members:
        queue = await self._door.enter(asked, "AddPermission")
        policy = with_permission(
            queue.attributes.get("Policy", ""),
            self._door.arn(queue.name),
            asked["Label"],
            accounts=asked["AWSAccountIds"],
            actions=asked["Actions"],
        )
        await self._store_attributes(queue.name, {"Policy": policy})
        return {}

    async def _remove_permission(self, asked: SqsCall) -> Members:
        queue = await self._door.enter(asked, "RemovePermission")
        before = queue.attributes.get("Policy", "")
        policy = without_permission(before, self._door.arn(queue.name), asked["Label"])
        await self._store_attributes(queue.name, {"Policy": policy})
        return {}

    # Tags

    async def _tags(self, asked: SqsCall) -> Members:
        queue = await self._door.enter(asked, "ListQueueTags")
        return {"Tags": dict(queue.tags)} if queue.tags else {}

    async def _tag(self, asked: SqsCall) -> Members:
        queue = await self._door.enter(asked, "TagQueue")
        tags = _checked_tags({**queue.tags, **asked["Tags"]})
        await self._store_tags(queue.name, {key: tags[key] for key in asked["Tags"]})
        return {}

    async def _untag(self, asked: SqsCall) -> Members:
        queue = await self._door.enter(asked, "UntagQueue")
        await self._store_tags(queue.name, dict.fromkeys(asked["TagKeys"]))
        return {}

    async def _store_tags(self, name: str, tags: Mapping[str, str | None]) -> None:
        if not await self._book.set_tags(name, tags):
            raise no_queue()


def _after(asked: SqsCall) -> str:
    """The name that the token of the page before stands for."""
    try:
        return decode_marker(asked.get("NextToken", ""))
    except ValueError as error:
        raise invalid("Invalid or expired next token.") from error


def _checked_tags(tags: Mapping[str, str]) -> Mapping[str, str]:
    if len(tags) > MAX_TAGS:
        raise invalid(f"Too many tags added for queue. Maximum is {MAX_TAGS}.")
    for key, value in tags.items():
        if not 1 <= len(key) <= MAX_TAG_KEY or len(value) > MAX_TAG_VALUE or key.lower().startswith("aws:"):
            shown = json.dumps({key: value})
            raise invalid(f"Tag {shown} is invalid: keys have 1 to 128 characters and not the prefix aws:, values 256.")
    return tags
