"""A topic's message as its subscribers receive it: functions, queues and HTTP endpoints each in their own form.

Rule 1: one delivery per message and subscription, with an id that follows from both: publishing the same message again
makes the same deliveries.
Rule 2: raw delivery is the message and nothing else; everybody else gets the envelope, signed.
Rule 3: the signature is over the message, not over the subscription, so one does for all.
Source: "Amazon SNS message and JSON formats" and "Verifying the signatures of Amazon SNS messages", developer guide;
"Using Lambda with Amazon SNS", AWS Lambda developer guide.
"""

import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import orjson

from hearth_gateway.core.addresses import QueueAddress, parse_address
from hearth_gateway.core.parcel import Attribute, Parcel, derived_id
from hearth_gateway.core.topics import LAMBDA, SQS, Subscription, Topic

SERVICE = "sns.amazonaws.com"
CONFIRMATION_AGE_S = 3_600
"""How long a request to confirm is tried."""
_SIGNED = {
    True: ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"),
    False: ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"),
}
"""The members of notifications, and of confirmations, that are signed."""


@dataclass(frozen=True, slots=True)
class Message:
    """A message with everything its deliveries have in common. `published_ms` is epoch milliseconds."""

    id: str
    text: str
    published_ms: int
    subject: str | None = None
    attributes: Mapping[str, Attribute] | None = None
    by_protocol: Mapping[str, str] | None = None
    group_id: str = ""
    deduplication_id: str = ""
    sequence_number: str = ""
    trace_id: str = ""

    def for_protocol(self, protocol: str) -> str:
        return (self.by_protocol or {}).get(protocol, self.text)


@dataclass(frozen=True, slots=True)
class Seal:
    """How messages are signed. `sign` takes the words that are signed and the signature version."""

    sign: Callable[[str, str], str]
    certificate_url: str
    base_url: str

    def confirm_url(self, topic_arn: str, token: str) -> str:
        return f"{self.base_url}/sns/confirm?TopicArn={quote(topic_arn, safe='')}&Token={token}"

    def unsubscribe_url(self, subscription_arn: str) -> str:
        return f"{self.base_url}/sns/unsubscribe?SubscriptionArn={quote(subscription_arn, safe='')}"


def timestamp(epoch_ms: int) -> str:
    """`2026-11-21T10:00:00.000Z`."""
    moment = datetime.fromtimestamp(epoch_ms // 1000, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{epoch_ms % 1000:03d}Z"


def delivery(topic: Topic, subscription: Subscription, message: Message, *, seal: Seal) -> Parcel:
    """The message on its way to one subscriber."""
    text = message.for_protocol(subscription.protocol)
    body, headers, attributes = _content(topic, subscription, message, text, seal=seal)
    is_queue = subscription.protocol == SQS
    is_ordered = is_queue and (topic.is_fifo or _is_fifo_queue(subscription.endpoint))
    return Parcel(
        id=derived_id(message.id, subscription.arn),
        target=subscription.endpoint,
        body=body,
        accepted_ms=message.published_ms,
        sender=topic.arn,
        service=SERVICE,
        attributes=attributes,
        headers=headers,
        group_id=message.group_id if is_queue else "",
        deduplication_id=message.deduplication_id if is_ordered else "",
        trace_id=message.trace_id,
        dead_letter_arn=subscription.dead_letter_arn,
        max_age_s=subscription.max_age_s,
        max_attempts=subscription.max_attempts,
    )


def confirmation(topic: Topic, subscription: Subscription, message_id: str, now_ms: int, *, seal: Seal) -> Parcel:
    """The question to an HTTP endpoint whether it wants the topic's messages."""
    lines = ("You have chosen to subscribe to the topic", "To confirm the subscription, visit the SubscribeURL")
    content = {
        "Type": "SubscriptionConfirmation",
        "MessageId": message_id,
        "Token": subscription.token,
        "TopicArn": topic.arn,
        "Message": f"{lines[0]} {topic.arn}.\n{lines[1]} included in this message.",
        "SubscribeURL": seal.confirm_url(topic.arn, subscription.token),
        "Timestamp": timestamp(now_ms),
    }
    return Parcel(
        id=message_id,
        target=subscription.endpoint,
        body=orjson.dumps(_signed(topic, content, seal)),
        accepted_ms=now_ms,
        sender=topic.arn,
        service=SERVICE,
        headers=_headers(topic, subscription, content["Type"], message_id),
        max_age_s=CONFIRMATION_AGE_S,
        max_attempts=subscription.max_attempts,
    )


def words_to_sign(content: Mapping[str, str]) -> str:
    """Names and values of the members that are signed, each on a line, in the order of their names."""
    return "".join(
        f"{name}\n{content[name]}\n" for name in _SIGNED[content["Type"] == "Notification"] if name in content
    )


def _content(
    topic: Topic, subscription: Subscription, message: Message, text: str, *, seal: Seal
) -> tuple[bytes, dict[str, str], Mapping[str, Attribute]]:
    """Body, headers and attributes of a delivery."""
    if subscription.protocol == LAMBDA:
        return _function_event(topic, subscription, message, text, seal=seal), {}, {}
    headers = {} if subscription.protocol == SQS else _headers(topic, subscription, "Notification", message.id)
    if subscription.is_raw:
        raw = {"x-amz-sns-rawdelivery": "true"} if headers else {}
        return text.encode(), {**headers, **raw}, (message.attributes or {}) if subscription.protocol == SQS else {}
    return orjson.dumps(_envelope(topic, subscription, message, text, seal=seal)), headers, {}


def _envelope(topic: Topic, subscription: Subscription, message: Message, text: str, *, seal: Seal) -> dict[str, Any]:
    content = {"Type": "Notification", "MessageId": message.id}
    if message.sequence_number:
        content["SequenceNumber"] = message.sequence_number
    content["TopicArn"] = topic.arn
    if message.subject is not None:
        content["Subject"] = message.subject
    content |= {"Message": text, "Timestamp": timestamp(message.published_ms)}
    envelope: dict[str, Any] = _signed(topic, content, seal)
    envelope["UnsubscribeURL"] = seal.unsubscribe_url(subscription.arn)
    if message.attributes:
        envelope["MessageAttributes"] = attributes_shown(message.attributes)
    return envelope


def _function_event(topic: Topic, subscription: Subscription, message: Message, text: str, *, seal: Seal) -> bytes:
    """The same members, spelled in the way of the event: `SigningCertUrl`, and what is missing is null."""
    envelope = _envelope(topic, subscription, message, text, seal=seal)
    record = {name.replace("URL", "Url"): value for name, value in envelope.items()}
    record = {**record, "Subject": message.subject, "MessageAttributes": envelope.get("MessageAttributes", {})}
    return orjson.dumps(
        {
            "Records": [
                {
                    "EventSource": "aws:sns",
                    "EventVersion": "1.0",
                    "EventSubscriptionArn": subscription.arn,
                    "Sns": record,
                }
            ]
        }
    )


def attributes_shown(attributes: Mapping[str, Attribute]) -> dict[str, dict[str, str]]:
    """Message attributes as JSON; binary values in base64."""
    return {
        name: {
            "Type": each.data_type,
            "Value": base64.b64encode(each.value).decode() if isinstance(each.value, bytes) else each.value,
        }
        for name, each in attributes.items()
    }


def _signed(topic: Topic, content: Mapping[str, str], seal: Seal) -> dict[str, str]:
    version = topic.signature_version
    return {
        **content,
        "SignatureVersion": version,
        "Signature": seal.sign(words_to_sign(content), version),
        "SigningCertURL": seal.certificate_url,
    }


def _headers(topic: Topic, subscription: Subscription, kind: str, message_id: str) -> dict[str, str]:
    confirmed = {} if subscription.is_pending else {"x-amz-sns-subscription-arn": subscription.arn}
    return {
        "Content-Type": subscription.content_type,
        "User-Agent": "Amazon Simple Notification Service Agent",
        "x-amz-sns-message-type": kind,
        "x-amz-sns-message-id": message_id,
        "x-amz-sns-topic-arn": topic.arn,
        **confirmed,
    }


def _is_fifo_queue(endpoint: str) -> bool:
    address = parse_address(endpoint)
    return isinstance(address, QueueAddress) and address.is_fifo
