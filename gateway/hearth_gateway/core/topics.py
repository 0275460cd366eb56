"""Topics and their subscriptions as values, and what their attributes may say.

Rule 1: an attribute that would change something here but cannot is refused, not stored: what is shown is true.
Rule 2: everything a subscription says about delivery is checked when it is said, not when a message comes.
Source: CreateTopic, SetTopicAttributes, Subscribe and SetSubscriptionAttributes in the Amazon SNS API reference;
"Message delivery retries" in the developer guide.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from hearth.core.errors import Fault, HearthError
from hearth.core.policy_document import MalformedPolicy, parse_policy
from hearth_gateway.core.addresses import FunctionAddress, QueueAddress, parse_target
from hearth_gateway.core.event_pattern import InvalidPattern
from hearth_gateway.core.filter_policy import FilterPolicy, Scope

LAMBDA, SQS, HTTP, HTTPS = "lambda", "sqs", "http", "https"
PROTOCOLS = (LAMBDA, SQS, HTTP, HTTPS)
PENDING = "PendingConfirmation"

DEFAULT_MESSAGE_BYTES = 262_144
LEAST_MESSAGE_BYTES, MOST_MESSAGE_BYTES = 1_024, 1_048_576
TOKEN_LIFETIME_S = 3 * 86_400
"""How long a subscription can be confirmed."""
MOST_RETRIES = 100
MAX_DISPLAY_NAME = 100

ATTEMPTS_INSIDE, AGE_INSIDE_S = 100_015, 23 * 86_400
"""How often, and for how long, functions and queues are tried."""
ATTEMPTS_OUTSIDE, AGE_OUTSIDE_S = 186, 86_400
"""The same for HTTP without a delivery policy. AWS gives up after 3 retries, within a minute."""

_NAME = re.compile(r"[A-Za-z0-9_-]{1,256}", re.ASCII)
_FLAGS = ("true", "false")


class InvalidTopicParameter(HearthError):
    """What SNS calls a parameter that it does not take."""

    code, status, fault = "InvalidParameter", 400, Fault.CALLER

    def __init__(self, detail: str) -> None:
        super().__init__(f"Invalid parameter: {detail}")


class InvalidMessageAttribute(HearthError):
    """What SNS calls a message attribute that it does not take."""

    code, status, fault = "ParameterValueInvalid", 400, Fault.CALLER


class TopicNotFound(HearthError):
    """There is no such topic, or no such subscription."""

    code, status, fault = "NotFound", 404, Fault.CALLER

    def __init__(self, what: str = "Topic") -> None:
        super().__init__(f"{what} does not exist")


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic. `attributes` are those that were set, as texts; `created_ms` is epoch milliseconds."""

    name: str
    arn: str
    created_ms: int
    attributes: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_fifo(self) -> bool:
        return self.name.endswith(".fifo")

    @property
    def deduplicates_content(self) -> bool:
        return self.attributes.get("ContentBasedDeduplication") == "true"

    @property
    def deduplicates_by_group(self) -> bool:
        return self.attributes.get("FifoThroughputScope") == "MessageGroup"

    @property
    def max_message_bytes(self) -> int:
        return int(self.attributes.get("MaximumMessageSize", DEFAULT_MESSAGE_BYTES))

    @property
    def signature_version(self) -> str:
        return self.attributes.get("SignatureVersion", "1")

    @property
    def policy(self) -> str | None:
        """The topic's own policy, a document."""
        return self.attributes.get("Policy")


@dataclass(frozen=True, slots=True)
class Subscription:
    """One endpoint's wish for a topic's messages. With a `token` it is not confirmed yet. Times are epoch ms."""

    arn: str
    topic_arn: str
    protocol: str
    endpoint: str
    owner: str
    created_ms: int
    attributes: Mapping[str, str] = field(default_factory=dict)
    token: str = ""
    needs_signature_to_end: bool = False

    @property
    def is_pending(self) -> bool:
        return bool(self.token)

    @property
    def is_raw(self) -> bool:
        return self.attributes.get("RawMessageDelivery") == "true"

    @property
    def dead_letter_arn(self) -> str | None:
        policy = self.attributes.get("RedrivePolicy")
        return None if policy is None else str(json.loads(policy)["deadLetterTargetArn"])

    @property
    def max_attempts(self) -> int:
        """How often a delivery is tried."""
        if self.protocol in (LAMBDA, SQS):
            return ATTEMPTS_INSIDE
        retries = retries_of(self.attributes.get("DeliveryPolicy"))
        return ATTEMPTS_OUTSIDE if retries is None else retries + 1

    @property
    def max_age_s(self) -> int:
        return AGE_INSIDE_S if self.protocol in (LAMBDA, SQS) else AGE_OUTSIDE_S

    @property
    def content_type(self) -> str:
        """Of deliveries by HTTP."""
        policy = json.loads(self.attributes.get("DeliveryPolicy", "{}"))
        return str(policy.get("requestPolicy", {}).get("headerContentType", "text/plain; charset=UTF-8"))


def check_name(name: str) -> None:
    """Raise unless a topic may have this name."""
    if not _NAME.fullmatch(name.removesuffix(".fifo")):
        raise InvalidTopicParameter("Topic Name")


def topic_attributes(name: str, given: Mapping[str, str]) -> dict[str, str]:
    """The attributes of a new topic. `FifoTopic` has to agree with the name."""
    is_fifo = given.get("FifoTopic", "false").lower() == "true"
    if name.endswith(".fifo") != is_fifo:
        why = "Fifo Topic names must end with .fifo" if is_fifo else "Topic Name"
        raise InvalidTopicParameter(why)
    kept: dict[str, str] = {}
    for attribute, value in given.items():
        if attribute != "FifoTopic":
            kept = with_topic_attribute(kept, attribute, value, is_fifo=is_fifo)
    return kept


def with_topic_attribute(before: Mapping[str, str], name: str, value: str, *, is_fifo: bool) -> dict[str, str]:
    """Attributes with one more set; an empty value takes it away."""
    check = _TOPIC_ATTRIBUTES.get(name)
    if check is None and name not in _FIFO_ATTRIBUTES:
        if not _is_known_elsewhere(name) or not _says_nothing(name, value):
            raise InvalidTopicParameter(_not_here(name))
        return dict(before)
    if name in _FIFO_ATTRIBUTES:
        _check_fifo(name, value, is_fifo=is_fifo)
    elif check is not None and value:
        check(value)
    left = {key: kept for key, kept in before.items() if key != name}
    return {**left, name: value} if value else left


def _check_fifo(name: str, value: str, *, is_fifo: bool) -> None:
    if not is_fifo:
        raise InvalidTopicParameter(f"Attributes Reason: {name} is for FIFO topics only")
    if value not in _FIFO_ATTRIBUTES[name]:
        raise InvalidTopicParameter(f"Attributes Reason: {name} must be one of {', '.join(_FIFO_ATTRIBUTES[name])}")


def _check_display_name(value: str) -> None:
    if len(value) > MAX_DISPLAY_NAME:
        raise InvalidTopicParameter(f"DisplayName Reason: must be at most {MAX_DISPLAY_NAME} characters long")


def _check_policy(value: str) -> None:
    try:
        parse_policy(value)
    except MalformedPolicy as error:
        raise InvalidTopicParameter(f"Policy Error: {error}") from error


def _check_signature_version(value: str) -> None:
    if value not in ("1", "2"):
        raise InvalidTopicParameter("SignatureVersion")


def _check_tracing(value: str) -> None:
    if value != "PassThrough":
        raise InvalidTopicParameter("TracingConfig Reason: only PassThrough is available on this platform")


def _check_size(value: str) -> None:
    is_number = value.isascii() and value.isdigit()
    if not is_number or not LEAST_MESSAGE_BYTES <= int(value) <= MOST_MESSAGE_BYTES:
        bounds = f"between {LEAST_MESSAGE_BYTES} and {MOST_MESSAGE_BYTES}"
        raise InvalidTopicParameter(f"MaximumMessageSize Reason: must be {bounds}")


_TOPIC_ATTRIBUTES: Mapping[str, Callable[[str], None]] = {
    "DisplayName": _check_display_name,
    "Policy": _check_policy,
    "SignatureVersion": _check_signature_version,
    "TracingConfig": _check_tracing,
    "MaximumMessageSize": _check_size,
}
_FIFO_ATTRIBUTES: Mapping[str, tuple[str, ...]] = {
    "ContentBasedDeduplication": _FLAGS,
    "FifoThroughputScope": ("Topic", "MessageGroup"),
}
_ELSEWHERE = re.compile(
    r"KmsMasterKeyId|ArchivePolicy|DeliveryPolicy|DataProtectionPolicy"
    r"|(?:HTTP|Firehose|Lambda|Application|SQS)(?:SuccessFeedbackRoleArn|SuccessFeedbackSampleRate|FailureFeedbackRoleArn)"
)


def _is_known_elsewhere(name: str) -> bool:
    """Whether AWS knows the attribute: then setting it to nothing changes nothing."""
    return _ELSEWHERE.fullmatch(name) is not None


def _says_nothing(name: str, value: str) -> bool:
    """Whether the value asks for nothing: Terraform sets every sample rate, to none of a hundred messages."""
    return not value or (name.endswith("SampleRate") and value == "0")


def _not_here(name: str) -> str:
    return (
        f"AttributeName Reason: {name} is not available on this platform"
        if _is_known_elsewhere(name)
        else "AttributeName"
    )


# Subscriptions


def check_endpoint(topic: Topic, protocol: str, endpoint: str) -> None:
    """Raise unless this endpoint can have this topic's messages by this protocol."""
    if protocol not in PROTOCOLS:
        raise InvalidTopicParameter(f"Does not support this protocol string: {protocol}")
    if topic.is_fifo and protocol != SQS:
        raise InvalidTopicParameter("Endpoint Reason: Please use SQS queue for FIFO topics")
    if protocol in (HTTP, HTTPS):
        if not re.fullmatch(rf"{protocol}://[^\s/?#]+\S*", endpoint):
            raise InvalidTopicParameter("Endpoint must match the specified protocol")
        return
    address = parse_target(endpoint)
    if protocol == LAMBDA and not isinstance(address, FunctionAddress):
        raise InvalidTopicParameter("Lambda endpoint ARN")
    if protocol == SQS and not isinstance(address, QueueAddress):
        raise InvalidTopicParameter("SQS endpoint ARN")
    if isinstance(address, QueueAddress) and address.is_fifo and not topic.is_fifo:
        reason = "FIFO SQS Queues can not be subscribed to standard SNS topics"
        raise InvalidTopicParameter(f"Invalid parameter: Endpoint Reason: {reason}")


def with_subscription_attribute(before: Mapping[str, str], name: str, value: str, *, protocol: str) -> dict[str, str]:
    """A subscription's attributes with one more set; an empty value takes it away."""
    check = _SUBSCRIPTION_ATTRIBUTES.get(name)
    if check is None:
        raise InvalidTopicParameter("AttributeName")
    if value and value != "{}":
        check(value, protocol)
    left = {key: kept for key, kept in before.items() if key != name}
    return {**left, name: value} if value and value != "{}" else left


def subscription_attributes(given: Mapping[str, str], protocol: str) -> dict[str, str]:
    """The attributes of a new subscription."""
    kept: dict[str, str] = {}
    for name, value in given.items():
        kept = with_subscription_attribute(kept, name, value, protocol=protocol)
    filter_of(kept)
    return kept


def retries_of(policy: str | None) -> int | None:
    """How many retries a delivery policy gives; None if it does not say."""
    if policy is None:
        return None
    found = json.loads(policy).get("healthyRetryPolicy", {}).get("numRetries")
    return None if found is None else int(found)


def _check_anything(value: str, protocol: str) -> None:
    """A filter is checked with its scope, when both are known."""
    del value, protocol


def filter_of(attributes: Mapping[str, str]) -> FilterPolicy | None:
    """The filter that a subscription's attributes describe. Raises InvalidTopicParameter."""
    policy = attributes.get("FilterPolicy")
    if policy is None:
        return None
    try:
        return FilterPolicy.of(policy, Scope(attributes.get("FilterPolicyScope", Scope.ATTRIBUTES.value)))
    except InvalidPattern as error:
        raise InvalidTopicParameter(f"FilterPolicy: {error}") from error


def _check_scope(value: str, protocol: str) -> None:
    del protocol
    if value not in ("MessageAttributes", "MessageBody"):
        reason = f"Invalid value [{value}]. Please use either MessageBody or MessageAttributes"
        raise InvalidTopicParameter(f"FilterPolicyScope: {reason}")


def _check_raw(value: str, protocol: str) -> None:
    if value not in _FLAGS:
        raise InvalidTopicParameter(f"RawMessageDelivery: Invalid value [{value}]. Must be true or false.")
    if protocol == LAMBDA and value == "true":
        raise InvalidTopicParameter("Delivery protocol [lambda] does not support raw message delivery.")


def _check_redrive(value: str, protocol: str) -> None:
    del protocol
    policy = _json(value, "RedrivePolicy")
    target = policy.get("deadLetterTargetArn") if isinstance(policy, dict) else None
    if not isinstance(target, str) or not isinstance(parse_target(target), QueueAddress):
        raise InvalidTopicParameter("RedrivePolicy: deadLetterTargetArn is an invalid arn")


def _check_delivery(value: str, protocol: str) -> None:
    """What the courier can do: a number of retries, and the content type. The pauses between retries are its own."""
    if protocol not in (HTTP, HTTPS):
        raise InvalidTopicParameter(f"DeliveryPolicy: not supported for protocol {protocol}")
    policy = _json(value, "DeliveryPolicy")
    parts = {"healthyRetryPolicy": {"numRetries"}, "requestPolicy": {"headerContentType"}}
    for part, members in policy.items() if isinstance(policy, dict) else ():
        if not isinstance(members, dict) or part not in parts or not parts[part] >= members.keys():
            known = "healthyRetryPolicy.numRetries and requestPolicy.headerContentType"
            raise InvalidTopicParameter(f"DeliveryPolicy: only {known} are available on this platform")
    retries = policy.get("healthyRetryPolicy", {}).get("numRetries", 0) if isinstance(policy, dict) else None
    if not isinstance(retries, int) or not 0 <= retries <= MOST_RETRIES:
        raise InvalidTopicParameter(f"DeliveryPolicy: numRetries must be a number from 0 to {MOST_RETRIES}")


def _json(text: str, name: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidTopicParameter(f"{name}: failed to parse JSON. {error}") from error


_SUBSCRIPTION_ATTRIBUTES: Mapping[str, Callable[[str, str], None]] = {
    "FilterPolicy": _check_anything,
    "FilterPolicyScope": _check_scope,
    "RawMessageDelivery": _check_raw,
    "RedrivePolicy": _check_redrive,
    "DeliveryPolicy": _check_delivery,
}
