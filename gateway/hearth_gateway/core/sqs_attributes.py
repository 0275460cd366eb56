"""The attributes of queues: what may be set, to what, and what they are if nobody set them.

Rule 1: what is accepted is enforced. Encryption keys and FIFO throughput limits are the exception that tools insist
on: they are kept and shown, and change nothing here, where the store is the operator's own.
Rule 2: values are kept as the strings they were sent as, once they are valid: tools compare them letter by letter.
Source: CreateQueue, SetQueueAttributes and GetQueueAttributes in the Amazon SQS API reference.
"""

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from hearth_gateway.core.sqs_errors import SqsError
from hearth_gateway.core.sqs_names import FIFO_SUFFIX
from hearth_gateway.core.sqs_policy import check_policy

MAX_MESSAGE_BYTES = 1_048_576
MAX_RECEIVE_COUNT = 1_000
MAX_SOURCE_QUEUES = 10

DEFAULTS = {
    "VisibilityTimeout": "30",
    "MaximumMessageSize": str(MAX_MESSAGE_BYTES),
    "MessageRetentionPeriod": "345600",
    "DelaySeconds": "0",
    "ReceiveMessageWaitTimeSeconds": "0",
    "SqsManagedSseEnabled": "true",
}
_FIFO_DEFAULTS = {
    "ContentBasedDeduplication": "false",
    "DeduplicationScope": "queue",
    "FifoThroughputLimit": "perQueue",
}
_FIFO_ONLY = frozenset(_FIFO_DEFAULTS)

OBSERVED = (
    "ApproximateNumberOfMessages",
    "ApproximateNumberOfMessagesNotVisible",
    "ApproximateNumberOfMessagesDelayed",
    "CreatedTimestamp",
    "LastModifiedTimestamp",
    "QueueArn",
)
"""What is shown and cannot be set."""

_REMOVABLE = frozenset({"Policy", "RedrivePolicy", "RedriveAllowPolicy", "KmsMasterKeyId"})
"""An empty value takes these away."""


def bad_value(name: str, reason: str = "") -> SqsError:
    """The service's words for an attribute's value that will not do."""
    return SqsError(
        "InvalidAttributeValue", f"Invalid value for the parameter {name}.{f' Reason: {reason}' if reason else ''}"
    )


def unknown(name: str) -> SqsError:
    """An attribute that queues do not have."""
    return SqsError("InvalidAttributeName", f"Unknown Attribute {name}.")


def checked(attributes: Mapping[str, str], *, is_fifo: bool) -> dict[str, str]:
    """The attributes themselves, once each may have its value. Raises SqsError."""
    for name, value in attributes.items():
        check = _CHECKS.get(name)
        if check is None or (name in _FIFO_ONLY and not is_fifo):
            raise unknown(name)
        if value or name not in _REMOVABLE:
            check(name, value)
    return dict(attributes)


def is_fifo_asked(name: str, attributes: Mapping[str, str]) -> bool:
    """Whether CreateQueue is asked for a FIFO queue. Raises SqsError for a value that is no boolean."""
    wanted = attributes.get("FifoQueue", "false")
    _boolean("FifoQueue", wanted)
    if "FifoQueue" in attributes and wanted == "false" and not name.endswith(FIFO_SUFFIX):
        raise unknown("FifoQueue")  # the service takes it as true, or not at all
    return wanted == "true"


def merged(before: Mapping[str, str], changes: Mapping[str, str]) -> dict[str, str]:
    """Attributes as they are after a change; an empty value takes one away."""
    both = {**before, **changes}
    return {name: value for name, value in both.items() if value or name not in _REMOVABLE}


def effective(attributes: Mapping[str, str], *, is_fifo: bool) -> dict[str, str]:
    """The attributes with what holds where nobody said otherwise."""
    defaults = {**DEFAULTS, **({"FifoQueue": "true", **_FIFO_DEFAULTS} if is_fifo else {})}
    shown = {**defaults, **attributes}
    if shown.get("KmsMasterKeyId"):
        shown = {"KmsDataKeyReusePeriodSeconds": "300", **shown, "SqsManagedSseEnabled": "false"}
    return shown


def differing(before: Mapping[str, str], wanted: Mapping[str, str], *, is_fifo: bool) -> str | None:
    """The first attribute that a second CreateQueue wants otherwise; None if it is the same queue."""
    there = effective(before, is_fifo=is_fifo)
    return next(
        (name for name, value in wanted.items() if _comparable(there.get(name, "")) != _comparable(value)), None
    )


def number(attributes: Mapping[str, str], name: str) -> int:
    """An attribute that is a number, or its default."""
    return int(attributes.get(name) or DEFAULTS[name])


def redrive_policy(attributes: Mapping[str, str]) -> tuple[str, int] | None:
    """The ARN of the dead-letter queue and how often a message may be received before it goes there."""
    document = _read(attributes.get("RedrivePolicy", ""))
    if not document:
        return None
    return str(document["deadLetterTargetArn"]), int(document.get("maxReceiveCount", 10))


def admits(attributes: Mapping[str, str], source_arn: str) -> bool:
    """Whether a dead-letter queue with these attributes takes the dead letters of a queue."""
    document = _read(attributes.get("RedriveAllowPolicy", "")) or {}
    match document.get("redrivePermission", "allowAll"):
        case "denyAll":
            return False
        case "byQueue":
            return source_arn in document.get("sourceQueueArns", ())
        case _:
            return True


def _comparable(value: str) -> object:
    """Documents are the same however they are written."""
    return _read(value) or value


def _read(text: str) -> dict[str, Any] | None:
    if not text.lstrip().startswith("{"):
        return None
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None


def _between(least: int, most: int) -> Callable[[str, str], None]:
    def check(name: str, value: str) -> None:
        if not re.fullmatch(r"[0-9]{1,9}", value) or not least <= int(value) <= most:
            raise bad_value(name)

    return check


def _one_of(*allowed: str) -> Callable[[str, str], None]:
    def check(name: str, value: str) -> None:
        if value not in allowed:
            raise bad_value(name)

    return check


_boolean = _one_of("true", "false")


def _redrive(name: str, value: str) -> None:
    document = _read(value)
    if document is None:
        raise bad_value(name, "Redrive policy is not a valid JSON map.")
    target = document.get("deadLetterTargetArn")
    if not isinstance(target, str) or not target:
        raise bad_value(name, "Redrive policy does not contain mandatory attribute: deadLetterTargetArn.")
    count = document.get("maxReceiveCount")
    if count is None:
        raise bad_value(name, "Redrive policy does not contain mandatory attribute: maxReceiveCount.")
    is_number = re.fullmatch(r"[0-9]{1,5}", str(count)) is not None and not isinstance(count, bool)
    if not is_number or not 1 <= int(count) <= MAX_RECEIVE_COUNT:
        raise bad_value(
            name, f"Invalid value for maxReceiveCount: {count}, valid values are from 1 to 1000 both inclusive."
        )
    _only(name, document, "deadLetterTargetArn", "maxReceiveCount")


def _redrive_allow(name: str, value: str) -> None:
    document = _read(value)
    if document is None:
        raise bad_value(name, "Redrive allow policy is not a valid JSON map.")
    permission = document.get("redrivePermission")
    sources = document.get("sourceQueueArns")
    if permission not in ("allowAll", "denyAll", "byQueue"):
        raise bad_value(name, "redrivePermission must be one of allowAll, denyAll, byQueue.")
    is_listed = isinstance(sources, list) and all(isinstance(one, str) for one in sources)
    if (permission == "byQueue") != (sources is not None) or (sources is not None and not is_listed):
        raise bad_value(name, "sourceQueueArns is for byQueue, and byQueue needs it.")
    if sources is not None and not 1 <= len(sources) <= MAX_SOURCE_QUEUES:
        raise bad_value(name, f"sourceQueueArns must name 1 to {MAX_SOURCE_QUEUES} queues.")
    _only(name, document, "redrivePermission", "sourceQueueArns")


def _only(name: str, document: Mapping[str, Any], *known: str) -> None:
    for key in document:
        if key not in known:
            raise bad_value(name, f"It has an unknown member: {key}.")


def _policy(name: str, value: str) -> None:
    problem = check_policy(value)
    if problem:
        raise bad_value(name, problem)


def _anything(name: str, value: str) -> None:
    """Kept and shown."""


_CHECKS: Mapping[str, Callable[[str, str], None]] = {
    "VisibilityTimeout": _between(0, 43_200),
    "MaximumMessageSize": _between(1_024, MAX_MESSAGE_BYTES),
    "MessageRetentionPeriod": _between(60, 1_209_600),
    "DelaySeconds": _between(0, 900),
    "ReceiveMessageWaitTimeSeconds": _between(0, 20),
    "KmsDataKeyReusePeriodSeconds": _between(60, 86_400),
    "KmsMasterKeyId": _anything,
    "SqsManagedSseEnabled": _boolean,
    "ContentBasedDeduplication": _boolean,
    "DeduplicationScope": _one_of("queue", "messageGroup"),
    "FifoThroughputLimit": _one_of("perQueue", "perMessageGroupId"),
    "Policy": _policy,
    "RedrivePolicy": _redrive,
    "RedriveAllowPolicy": _redrive_allow,
}
"""FifoQueue is not among them: it is said once, when the queue is made."""
