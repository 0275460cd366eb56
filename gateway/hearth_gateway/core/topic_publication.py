"""What can be published to a topic, and what it becomes.

Source: Publish in the Amazon SNS API reference; "Amazon SNS message attributes" and "FIFO topics", developer guide.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

import orjson

from hearth_gateway.core.parcel import Attribute
from hearth_gateway.core.topic_messages import Message
from hearth_gateway.core.topics import InvalidMessageAttribute, InvalidTopicParameter, Topic

MAX_SUBJECT = 100
_FIFO_ID = re.compile(r"[A-Za-z0-9!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~]{1,128}")
_ATTRIBUTE_NAME = re.compile(r"(?!(?:aws|amazon)\.)[A-Za-z0-9_\-.]{1,256}(?<!\.)", re.IGNORECASE)
_ATTRIBUTE_TYPE = re.compile(r"(?:String|Number|Binary)(?:\..+)?")


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


@dataclass(frozen=True, slots=True)
class Claim:
    """A deduplication id and whose it is. `is_new`: nobody has finished with it, so the message has to go out."""

    message_id: str
    sequence: int
    is_new: bool


def check_publication(topic: Topic, publication: Publication) -> None:
    """Raise unless the topic can take this."""
    if not publication.message:
        raise InvalidTopicParameter("Empty message")
    if _size(publication) > topic.max_message_bytes:
        raise InvalidTopicParameter("Message too long")
    subject = publication.subject
    if subject is not None and (not 0 < len(subject) <= MAX_SUBJECT or not subject.isprintable()):
        raise InvalidTopicParameter("Subject")
    for name, attribute in publication.attributes.items():
        _check_attribute(name, attribute)
    _check_order(topic, publication)


def message_for(publication: Publication, topic: Topic, claim: Claim | None) -> Message:
    """The message that goes out, under the id of its claim."""
    return Message(
        id=publication.id if claim is None else claim.message_id,
        text=publication.message,
        published_ms=publication.published_ms,
        subject=publication.subject,
        attributes=publication.attributes,
        by_protocol=publication.by_protocol,
        group_id=publication.group_id,
        deduplication_id=deduplication_id(topic, publication) if topic.is_fifo else "",
        sequence_number="" if claim is None else sequence_text(claim),
        trace_id=publication.trace_id,
    )


def sequence_text(claim: Claim) -> str:
    """20 digits, as AWS writes them."""
    return f"{10**19 + claim.sequence}"


def deduplication_id(topic: Topic, publication: Publication) -> str:
    """The id given, or the hash of the message."""
    if publication.deduplication_id or not topic.deduplicates_content:
        return publication.deduplication_id
    return hashlib.sha256(publication.message.encode()).hexdigest()


def claim_key(topic: Topic, publication: Publication) -> str:
    """What must not come twice within the interval."""
    scope = publication.group_id if topic.deduplicates_by_group else ""
    return hashlib.sha256(f"{scope}\0{deduplication_id(topic, publication)}".encode()).hexdigest()


def structured(message: str) -> tuple[str, Mapping[str, str]]:
    """The default and the words for single protocols of a message with `MessageStructure=json`."""
    try:
        found = orjson.loads(message)
    except orjson.JSONDecodeError as error:
        raise InvalidTopicParameter("Message Structure - JSON message body failed to parse") from error
    if not isinstance(found, dict) or not isinstance(found.get("default"), str):
        raise InvalidTopicParameter("Message Structure - No default entry in JSON message body")
    return found["default"], {name: text for name, text in found.items() if isinstance(text, str) and name != "default"}


def _size(publication: Publication) -> int:
    texts = [publication.message, *publication.by_protocol.values()]
    attributes = (
        len(name.encode())
        + len(each.data_type.encode())
        + len(each.value if isinstance(each.value, bytes) else each.value.encode())
        for name, each in publication.attributes.items()
    )
    return max(len(text.encode()) for text in texts) + sum(attributes)


def _check_attribute(name: str, attribute: Attribute) -> None:
    if not _ATTRIBUTE_NAME.fullmatch(name) or ".." in name or name.startswith("."):
        raise InvalidMessageAttribute(f"The message attribute name '{name}' is invalid")
    if not _ATTRIBUTE_TYPE.fullmatch(attribute.data_type):
        reason = (
            "has an invalid message attribute type, the set of supported type prefixes is Binary, Number, and String"
        )
        raise InvalidMessageAttribute(f"The message attribute '{name}' {reason}.")
    if not attribute.value:
        raise InvalidMessageAttribute(
            f"The message attribute '{name}' must contain non-empty message attribute value for message attribute "
            f"type '{attribute.data_type}'."
        )
    is_binary = attribute.data_type.partition(".")[0] == "Binary"
    if is_binary != isinstance(attribute.value, bytes):
        raise InvalidMessageAttribute(f"The message attribute '{name}' has a value that is not of its type.")
    if attribute.data_type.partition(".")[0] == "Number" and not _is_number(attribute.value):
        raise InvalidMessageAttribute(f"Could not cast message attribute '{name}' value to number.")


def _is_number(value: str | bytes) -> bool:
    try:
        float(value)
    except ValueError:
        return False
    return True


def _check_order(topic: Topic, publication: Publication) -> None:
    if not topic.is_fifo:
        if publication.deduplication_id:
            reason = "The request includes MessageDeduplicationId parameter that is not valid for this topic type"
            raise InvalidTopicParameter(f"MessageDeduplicationId Reason: {reason}")
        return
    if not _FIFO_ID.fullmatch(publication.group_id):
        raise InvalidTopicParameter("The MessageGroupId parameter is required for FIFO topics")
    found = deduplication_id(topic, publication)
    if not found:
        ways = "either have ContentBasedDeduplication enabled or MessageDeduplicationId provided explicitly"
        raise InvalidTopicParameter(f"The topic should {ways}")
    if not _FIFO_ID.fullmatch(found):
        raise InvalidTopicParameter("MessageDeduplicationId")
