"""SNS's Publish and PublishBatch.

Source: Amazon SNS API reference; the texts of errors are the service's.
"""

import base64
import binascii
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from hearth.core.errors import Fault, HearthError
from hearth_gateway.core.parcel import Attribute, derived_id
from hearth_gateway.core.topic_publication import Publication, Published, structured
from hearth_gateway.core.topics import InvalidMessageAttribute, InvalidTopicParameter
from hearth_gateway.neighbours.calls import Call, CallerError, Handler, Members
from hearth_gateway.neighbours.sns_answers import Desk
from hearth_gateway.topics.publisher import TopicPublisher

MAX_BATCH = 10
MAX_BATCH_BYTES = 1_048_576
"""Of all messages of a batch together: as large as the largest message that a topic may take."""
_ENTRY_ID = re.compile(r"[A-Za-z0-9_-]{1,80}", re.ASCII)


class PublishOperations:
    """The operations that publish. A client that repeats its request by itself repeats the message, under its id."""

    def __init__(self, desk: Desk, publisher: TopicPublisher, now_ms: Callable[[], int]) -> None:
        self._desk = desk
        self._publisher = publisher
        self._now_ms = now_ms

    def handlers(self) -> Mapping[str, Handler]:
        return {"Publish": self._publish, "PublishBatch": self._publish_batch}

    async def _publish(self, call: Call) -> Members:
        if call.get("PhoneNumber"):
            raise InvalidTopicParameter("PhoneNumber Reason: text messages are not available on this platform")
        member = next((one for one in ("TopicArn", "TargetArn") if call.get(one)), "TopicArn or TargetArn")
        topic = self._desk.topic(call, "Publish", member)
        return _published(await self._publisher.publish(topic.name, self._publication(call.parameters, _attempt(call))))

    async def _publish_batch(self, call: Call) -> Members:
        topic = self._desk.topic(call, "Publish")
        entries = call["PublishBatchRequestEntries"]
        _check_batch(entries)
        read = [self._read(entry, _attempt(call)) for entry in entries]
        good = [one for one in read if isinstance(one, Publication)]
        answers = iter(await self._publisher.publish_all(topic.name, good))
        found = [next(answers) if isinstance(one, Publication) else one for one in read]
        successful = [
            {"Id": entry["Id"], **_published(answer)}
            for entry, answer in zip(entries, found, strict=True)
            if isinstance(answer, Published)
        ]
        failed = [
            _failure(entry["Id"], answer)
            for entry, answer in zip(entries, found, strict=True)
            if isinstance(answer, HearthError)
        ]
        return {"Successful": successful, "Failed": failed}

    def _read(self, entry: Mapping[str, Any], attempt_of: str) -> Publication | HearthError:
        try:
            return self._publication(entry, attempt_of)
        except HearthError as error:
            return error

    def _publication(self, given: Mapping[str, Any], attempt_of: str) -> Publication:
        message: str = given["Message"]
        by_protocol: Mapping[str, str] = {}
        structure = given.get("MessageStructure")
        if structure:
            if structure != "json":
                raise InvalidTopicParameter("MessageStructure")
            message, by_protocol = structured(message)
        return Publication(
            derived_id(attempt_of, given.get("Id", "")),
            message,
            self._now_ms(),
            subject=given.get("Subject"),
            attributes=_attributes(given.get("MessageAttributes", {})),
            by_protocol=by_protocol,
            group_id=given.get("MessageGroupId", ""),
            deduplication_id=given.get("MessageDeduplicationId", ""),
        )


def _attempt(call: Call) -> str:
    return f"{call.principal.arn} {call.attempt_of}"


def _published(answer: Published) -> dict[str, str]:
    sequence = {} if answer.sequence_number is None else {"SequenceNumber": answer.sequence_number}
    return {"MessageId": answer.message_id, **sequence}


def _failure(identity: str, error: HearthError) -> Members:
    is_sender = error.fault is Fault.CALLER
    return {"Id": identity, "Code": error.code, "Message": error.message, "SenderFault": is_sender}


def _check_batch(entries: Sequence[Mapping[str, Any]]) -> None:
    ids = [entry["Id"] for entry in entries]
    if not entries:
        raise CallerError("EmptyBatchRequest", "The batch request doesn't contain any entries.")
    if len(entries) > MAX_BATCH:
        message = f"The batch request contains more entries than permissible: at most {MAX_BATCH}, not {len(entries)}."
        raise CallerError("TooManyEntriesInBatchRequest", message)
    if not all(map(_ENTRY_ID.fullmatch, ids)):
        raise CallerError(
            "InvalidBatchEntryId", "The Id of a batch entry in a batch request doesn't abide by the rules."
        )
    if len(set(ids)) < len(ids):
        raise CallerError("BatchEntryIdsNotDistinct", "Two or more batch entries in the request have the same Id.")
    if sum(len(entry["Message"].encode()) for entry in entries) > MAX_BATCH_BYTES:
        raise CallerError(
            "BatchRequestTooLong", "The length of all the batch messages put together is more than the limit."
        )


def _attributes(given: Mapping[str, Mapping[str, str]]) -> dict[str, Attribute]:
    return {name: Attribute(value["DataType"], _value(name, value)) for name, value in given.items()}


def _value(name: str, given: Mapping[str, str]) -> str | bytes:
    if "BinaryValue" not in given:
        return given.get("StringValue", "")
    try:
        return base64.b64decode(given["BinaryValue"], validate=True)
    except binascii.Error as error:
        raise InvalidMessageAttribute(f"The message attribute '{name}' is not base64.") from error
