"""The operations on messages: sending, receiving, deleting, hiding.

Rule 1: an answer to a sender is worth something: the message is on disk.
Rule 2: a batch is judged entry by entry, and what is good of it is sent in one step and in order.
Rule 3: who waits for messages is waited with, no longer: when the client has gone nothing is received for it, and what
was received while it went is given back.
Source: Amazon SQS API reference; texts as the service's.
"""

import asyncio
import hashlib
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, assert_never

from hearth_gateway.core.parcel import Attribute
from hearth_gateway.core.queue_batch import ENCODING_ATTRIBUTE, body_text
from hearth_gateway.core.sqs_attributes import number, unknown
from hearth_gateway.core.sqs_errors import SqsError, bad_handle, missing, query_code
from hearth_gateway.core.sqs_md5 import md5_of_attributes, md5_of_body
from hearth_gateway.core.sqs_message import (
    MAX_DELAY_S,
    MAX_RECEIVED,
    MAX_VISIBILITY_S,
    MAX_WAIT_S,
    TRACE_HEADER,
    check_batch_size,
    check_body,
    check_entries,
    check_order,
    check_size,
    ranged,
    read_attributes,
    read_trace_header,
    size_of,
    wanted_names,
)
from hearth_gateway.neighbours.calls import Members
from hearth_gateway.neighbours.sqs_calls import QueueDoor, SqsCall, SqsHandler
from hearth_gateway.queues.ports import Grip, Outgoing, Queue, QueueStore, Received, Sent, Wanted
from hearth_gateway.sources.ports import QueueUnavailable

LOOK_S = 1.0
"""How often it is looked whether a client that waits is still there."""
_ALL = "All"
_SYSTEM_NAMES = frozenset({
    *(_ALL, "SenderId", "SentTimestamp", "ApproximateReceiveCount", "ApproximateFirstReceiveTimestamp"),
    *("SequenceNumber", "MessageDeduplicationId", "MessageGroupId", TRACE_HEADER, "DeadLetterQueueSourceArn"),
})  # fmt: skip
# Older clients ask ReceiveMessage for attributes of queues as well, and get nothing for them.
_OF_QUEUES = frozenset({
    *("Policy", "VisibilityTimeout", "MaximumMessageSize", "MessageRetentionPeriod", "ApproximateNumberOfMessages"),
    *("ApproximateNumberOfMessagesNotVisible", "CreatedTimestamp", "LastModifiedTimestamp", "QueueArn", "FifoQueue"),
    *("ApproximateNumberOfMessagesDelayed", "DelaySeconds", "ReceiveMessageWaitTimeSeconds", "RedrivePolicy"),
    *("ContentBasedDeduplication", "KmsMasterKeyId", "KmsDataKeyReusePeriodSeconds", "DeduplicationScope"),
    *("FifoThroughputLimit", "RedriveAllowPolicy", "SqsManagedSseEnabled"),
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Letter:
    """A message to send, and what its sender is told to check it by."""

    outgoing: Outgoing
    digests: Mapping[str, str]

    def told(self, sent: Sent) -> dict[str, str]:
        """What the sender is answered."""
        sequence = {"SequenceNumber": sent.sequence} if sent.sequence else {}
        return {"MessageId": sent.id, **self.digests, **sequence}


class MessageOperations:
    """What is asked about messages."""

    def __init__(
        self, door: QueueDoor, store: QueueStore, new_id: Callable[[], str] = lambda: str(uuid.uuid4())
    ) -> None:
        self._door = door
        self._store = store
        self._new_id = new_id

    def handlers(self) -> dict[str, SqsHandler]:
        """The operations by name."""
        return {
            "ChangeMessageVisibility": self._change,
            "ChangeMessageVisibilityBatch": self._change_batch,
            "DeleteMessage": self._delete,
            "DeleteMessageBatch": self._delete_batch,
            "ReceiveMessage": self._receive,
            "SendMessage": self._send,
            "SendMessageBatch": self._send_batch,
        }

    # Sending

    async def _send(self, asked: SqsCall) -> Members:
        queue = await self._door.enter(asked, "SendMessage")
        letter = self._letter(queue, asked.call.parameters, asked.call.principal.user_id)
        return letter.told((await self._store.send(queue.name, [letter.outgoing]))[0])

    async def _send_batch(self, asked: SqsCall) -> Members:
        queue = await self._door.enter(asked, "SendMessage")
        entries = asked["Entries"]
        check_entries(entries, "SendMessageBatch")
        check_batch_size(sum(map(_size, entries)))
        failed: list[Mapping[str, Any]] = []
        letters: dict[str, _Letter] = {}
        for entry in entries:
            try:
                letters[entry["Id"]] = self._letter(queue, entry, asked.call.principal.user_id)
            except SqsError as error:
                failed.append(_failure(entry["Id"], error))
        sent = await self._store.send(queue.name, [one.outgoing for one in letters.values()]) if letters else ()
        told = [{"Id": one, **letter.told(of)} for (one, letter), of in zip(letters.items(), sent, strict=True)]
        return _results(told, failed)

    def _letter(self, queue: Queue, members: Mapping[str, Any], sender: str) -> _Letter:
        """The message that these members describe. Raises SqsError."""
        body = members.get("MessageBody", "")
        check_body(body)
        delay_s = ranged(members, "DelaySeconds", 0, MAX_DELAY_S)
        attributes = read_attributes(members.get("MessageAttributes", {}))
        check_size(size_of(body, attributes), number(queue.attributes, "MaximumMessageSize"))
        by_content = queue.attributes.get("ContentBasedDeduplication") == "true"
        check_order(members, is_fifo=queue.is_fifo, dedups_by_content=by_content)
        trace = read_trace_header(members.get("MessageSystemAttributes", {}))
        token = members.get("MessageDeduplicationId") or (_content_token(body) if queue.is_fifo else "")
        outgoing = Outgoing(
            self._new_id(),
            body.encode(),
            attributes,
            # Of a FIFO queue only the queue itself has a delay.
            None if delay_s is None or queue.is_fifo else delay_s * 1000,
            group_id=members.get("MessageGroupId", ""),
            deduplication_id=token,
            sender=sender,
            trace_header=trace,
        )
        return _Letter(outgoing, _digests(body, attributes, trace))

    # Receiving

    async def _receive(self, asked: SqsCall) -> Members:
        queue = await self._door.enter(asked, "ReceiveMessage")
        names = _system_names(asked)
        wanted = _wanted(asked.call.parameters, queue)
        messages = await self._waited(asked, queue.name, wanted)
        if messages and not asked.is_there():
            await self._store.change_visibility(queue.name, [(message.receipt, 0) for message in messages])
            return {}
        is_wanted = wanted_names(asked.get("MessageAttributeNames", ()))
        shown = [self._shown(message, names, is_wanted) for message in messages]
        return {"Messages": shown} if shown else {}

    async def _waited(self, asked: SqsCall, name: str, wanted: Wanted) -> Sequence[Received]:
        """What there is, or comes while the client waits."""
        if not wanted.wait_s:
            return await self._store.receive(name, wanted)
        async with asyncio.TaskGroup() as tasks:
            waiting = tasks.create_task(self._tried(name, wanted), name=f"receiver of {name}")
            while not waiting.done():
                await asyncio.wait({waiting}, timeout=LOOK_S)
                if not waiting.done() and not asked.is_there():
                    waiting.cancel()
                    await asyncio.wait({waiting})
        if waiting.cancelled():
            return ()
        result = waiting.result()
        if isinstance(result, QueueUnavailable):
            raise result
        return result

    async def _tried(self, name: str, wanted: Wanted) -> Sequence[Received] | QueueUnavailable:
        """An error as a value: out of a group of tasks it would come as a group of errors."""
        try:
            return await self._store.receive(name, wanted)
        except QueueUnavailable as error:
            return error

    def _shown(self, message: Received, names: frozenset[str], is_wanted: Callable[[str], bool]) -> dict[str, object]:
        text, is_binary = body_text(message.body)
        all_attributes = dict(message.head.attributes)
        if is_binary:
            all_attributes[ENCODING_ATTRIBUTE] = Attribute("String", "base64")
        attributes = {name: one for name, one in all_attributes.items() if is_wanted(name)}
        system = {name: value for name, value in self._system(message).items() if _ALL in names or name in names}
        shown = {
            "MessageId": message.id,
            "ReceiptHandle": message.receipt,
            "MD5OfBody": md5_of_body(text),
            "Body": text,
            "Attributes": system,
            "MD5OfMessageAttributes": md5_of_attributes(attributes),
            "MessageAttributes": {name: _shown_attribute(one) for name, one in attributes.items()},
        }
        return {name: value for name, value in shown.items() if value or name == "Body"}

    def _system(self, message: Received) -> dict[str, str]:
        """What the service itself knows of a message. A plain push has no time of its own: its first receipt is it."""
        head = message.head
        sent_ms = message.first_received_ms if head.sent_ms is None else head.sent_ms
        known = {
            "SenderId": head.sender or self._door.place.account,
            "SentTimestamp": str(sent_ms),
            "ApproximateReceiveCount": str(message.receive_count),
            "ApproximateFirstReceiveTimestamp": str(message.first_received_ms),
            "SequenceNumber": head.sequence,
            "MessageGroupId": head.group_id,
            "MessageDeduplicationId": head.deduplication_id,
            TRACE_HEADER: head.trace_header,
            "DeadLetterQueueSourceArn": head.death.source_arn if head.death else "",
        }
        return {name: value for name, value in known.items() if value}

    # Deleting and hiding

    async def _delete(self, asked: SqsCall) -> Members:
        queue = await self._door.enter(asked, "DeleteMessage")
        handle = asked["ReceiptHandle"]
        _raise(_of_deletion((await self._store.delete(queue.name, [handle]))[0], handle))
        return {}

    async def _delete_batch(self, asked: SqsCall) -> Members:
        queue = await self._door.enter(asked, "DeleteMessage")
        entries = asked["Entries"]
        check_entries(entries, "DeleteMessageBatch")
        grips = await self._store.delete(queue.name, [entry["ReceiptHandle"] for entry in entries])
        errors = [_of_deletion(grip, entry["ReceiptHandle"]) for grip, entry in zip(grips, entries, strict=True)]
        return _outcome(entries, errors)

    async def _change(self, asked: SqsCall) -> Members:
        queue = await self._door.enter(asked, "ChangeMessageVisibility")
        handle, seconds = asked["ReceiptHandle"], _visibility(asked.call.parameters)
        _raise(_of_change((await self._store.change_visibility(queue.name, [(handle, seconds)]))[0], handle))
        return {}

    async def _change_batch(self, asked: SqsCall) -> Members:
        queue = await self._door.enter(asked, "ChangeMessageVisibility")
        entries = asked["Entries"]
        check_entries(entries, "ChangeMessageVisibilityBatch")
        errors: dict[str, SqsError | None] = {}
        changes: dict[str, tuple[str, int]] = {}
        for entry in entries:
            try:
                changes[entry["Id"]] = (entry["ReceiptHandle"], _visibility(entry))
            except SqsError as error:
                errors[entry["Id"]] = error
        grips = await self._store.change_visibility(queue.name, list(changes.values())) if changes else ()
        for (one, (handle, _)), grip in zip(changes.items(), grips, strict=True):
            errors[one] = _of_change(grip, handle)
        return _outcome(entries, [errors[entry["Id"]] for entry in entries])


def _size(entry: Mapping[str, Any]) -> int:
    """An entry's size before its attributes are known to be good."""
    values = entry.get("MessageAttributes", {})
    body = len(entry.get("MessageBody", "").encode())
    return body + sum(
        len(name.encode())
        + len(value.get("DataType", "").encode())
        + len(value.get("StringValue", "").encode())
        + len(value.get("BinaryValue", b""))
        for name, value in values.items()
    )


def _content_token(body: str) -> str:
    return hashlib.sha256(body.encode()).hexdigest()


def _digests(body: str, attributes: Mapping[str, Attribute], trace: str) -> dict[str, str]:
    system = {TRACE_HEADER: Attribute("String", trace)} if trace else {}
    digests = {
        "MD5OfMessageBody": md5_of_body(body),
        "MD5OfMessageAttributes": md5_of_attributes(attributes),
        "MD5OfMessageSystemAttributes": md5_of_attributes(system),
    }
    return {name: digest for name, digest in digests.items() if digest is not None}


def _wanted(members: Mapping[str, Any], queue: Queue) -> Wanted:
    wait_s = ranged(members, "WaitTimeSeconds", 0, MAX_WAIT_S)
    return Wanted(
        limit=ranged(members, "MaxNumberOfMessages", 1, MAX_RECEIVED) or 1,
        visibility_s=ranged(members, "VisibilityTimeout", 0, MAX_VISIBILITY_S),
        wait_s=number(queue.attributes, "ReceiveMessageWaitTimeSeconds") if wait_s is None else wait_s,
        attempt_id=members.get("ReceiveRequestAttemptId", "") if queue.is_fifo else "",
    )


def _system_names(asked: SqsCall) -> frozenset[str]:
    names = frozenset((*asked.get("AttributeNames", ()), *asked.get("MessageSystemAttributeNames", ())))
    for name in names - _SYSTEM_NAMES - _OF_QUEUES:
        raise unknown(name)
    return names


def _shown_attribute(attribute: Attribute) -> dict[str, str | bytes]:
    member = "BinaryValue" if isinstance(attribute.value, bytes) else "StringValue"
    return {member: attribute.value, "DataType": attribute.data_type}


def _visibility(members: Mapping[str, Any]) -> int:
    seconds = ranged(members, "VisibilityTimeout", 0, MAX_VISIBILITY_S)
    if seconds is None:
        raise missing("VisibilityTimeout")
    return seconds


def _of_deletion(grip: Grip, handle: str) -> SqsError | None:
    """Deleting what is gone already is no error."""
    return bad_handle(handle) if grip is Grip.INVALID else None


def _of_change(grip: Grip, handle: str) -> SqsError | None:
    match grip:
        case Grip.HELD:
            return None
        case Grip.STALE:
            text = f"Value {handle} for parameter ReceiptHandle is invalid. Reason: Message does not exist or is not "
            return SqsError("MessageNotInflight", f"{text}available for visibility timeout change.")
        case Grip.INVALID:
            return bad_handle(handle)
        case _:
            assert_never(grip)


def _raise(error: SqsError | None) -> None:
    if error is not None:
        raise error


def _outcome(entries: Sequence[Mapping[str, Any]], errors: Sequence[SqsError | None]) -> Members:
    pairs = list(zip(entries, errors, strict=True))
    done = [{"Id": entry["Id"]} for entry, error in pairs if error is None]
    return _results(done, [_failure(entry["Id"], error) for entry, error in pairs if error is not None])


def _failure(entry_id: str, error: SqsError) -> Mapping[str, Any]:
    return {"Id": entry_id, "SenderFault": True, "Code": query_code(error.code), "Message": error.message}


def _results(successful: Iterable[Mapping[str, Any]], failed: Iterable[Mapping[str, Any]]) -> Members:
    """A batch's answer. A list without entries is left out, although the model requires it: the service does so, and
    Java's `hasFailed()` goes by that."""
    found = {"Successful": list(successful), "Failed": list(failed)}
    return {name: entries for name, entries in found.items() if entries}
