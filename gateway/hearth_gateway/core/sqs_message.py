"""What senders may say and receivers may ask for: bodies, attributes, batches, and their limits.

Source: SendMessage, SendMessageBatch and ReceiveMessage in the Amazon SQS API reference; "Amazon SQS message quotas"
and "Message metadata" in the developer guide; texts as the service's.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from hearth_gateway.core.parcel import Attribute
from hearth_gateway.core.sqs_attributes import MAX_MESSAGE_BYTES
from hearth_gateway.core.sqs_errors import SqsError, invalid, missing, out_of_range

MAX_ENTRIES = 10
MAX_ATTRIBUTES = 10
MAX_DELAY_S = 900
MAX_VISIBILITY_S = 43_200
MAX_WAIT_S = 20
MAX_RECEIVED = 10
TRACE_HEADER = "AWSTraceHeader"

_ENTRY_ID = re.compile(r"[A-Za-z0-9_-]{1,80}")
_ATTRIBUTE_NAME = re.compile(r"[A-Za-z0-9_.-]{1,256}")
_RESERVED_NAME = re.compile(r"(?:aws|amazon)\.", re.IGNORECASE)
_DATA_TYPE = re.compile(r"(?P<kind>String|Number|Binary)(?:\..+)?", re.DOTALL)
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?")
_TOKEN = re.compile(r"[A-Za-z0-9!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~]{1,128}")
_NOT_TEXT = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_MAX_TYPE_CHARACTERS = 256

_WRONG_QUEUE = "The request includes a parameter that is not valid for this queue type"


def ranged(members: Mapping[str, Any], name: str, least: int, most: int, *, default: int | None = None) -> int | None:
    """A number of the request within its range, or the default if it is not there."""
    value = members.get(name)
    if value is None:
        return default
    if not least <= value <= most:
        words = f"Must be between {least} and {most}" if least else f"Must be >= {least} and <= {most}"
        raise out_of_range(value, name, f"{words}, if provided.")
    return int(value)


def check_body(body: str) -> None:
    """Raise if a message cannot be this text."""
    if not body:
        raise missing("MessageBody")
    if _NOT_TEXT.search(body):
        raise SqsError(
            "InvalidMessageContents",
            "Invalid characters found. Valid unicode characters are #x9 | #xA | #xD | #x20 to #xD7FF | #xE000 to "
            "#xFFFD | #x10000 to #x10FFFF.",
        )


def read_attributes(given: Mapping[str, Mapping[str, Any]]) -> dict[str, Attribute]:
    """Message attributes as they were sent, once they obey the rules."""
    if len(given) > MAX_ATTRIBUTES:
        raise invalid(f"Number of message attributes [{len(given)}] exceeds the allowed maximum [{MAX_ATTRIBUTES}].")
    return {name: _attribute(name, value) for name, value in given.items()}


def read_trace_header(given: Mapping[str, Mapping[str, Any]]) -> str:
    """The one system attribute that senders may give, "" without it."""
    for name, value in given.items():
        if name != TRACE_HEADER:
            raise invalid(f"Message system attribute name '{name}' is invalid.")
        if value.get("DataType") != "String" or not value.get("StringValue"):
            raise invalid(f"Message system attribute '{name}' must be a String with a value.")
    return str(given[TRACE_HEADER]["StringValue"]) if given else ""


def _attribute(name: str, value: Mapping[str, Any]) -> Attribute:
    _check_name(name)
    data_type = str(value.get("DataType", ""))
    found = _DATA_TYPE.fullmatch(data_type)
    if not data_type:
        raise invalid(f"The message attribute '{name}' must contain non-empty message attribute type.")
    if found is None or len(data_type) > _MAX_TYPE_CHARACTERS:
        raise invalid(
            f"The message attribute '{name}' has an invalid message attribute type, the set of supported type prefixes "
            "is Binary, Number, and String."
        )
    if value.get("StringListValues") or value.get("BinaryListValues"):
        raise SqsError(
            "UnsupportedOperation", "Message attribute list values in SendMessage operation are not supported."
        )
    if found["kind"] == "Binary":
        return Attribute(data_type, bytes(_present(name, value, "BinaryValue")))
    return Attribute(data_type, _checked_text(name, found["kind"], str(_present(name, value, "StringValue"))))


def _present(name: str, value: Mapping[str, Any], member: str) -> Any:
    if not value.get(member):
        raise invalid(f"The message attribute '{name}' must contain non-empty message attribute value.")
    other = "StringValue" if member == "BinaryValue" else "BinaryValue"
    if value.get(other):
        raise invalid(f"Message attribute '{name}' has multiple values.")
    return value[member]


def _checked_text(name: str, kind: str, text: str) -> str:
    if kind == "Number" and not _NUMBER.fullmatch(text):
        raise invalid(f"Could not cast message attribute '{name}' value to number.")
    if _NOT_TEXT.search(text):
        raise invalid(f"Message attribute '{name}' has characters outside the allowed set.")
    return text


def _check_name(name: str) -> None:
    is_dotted = name.startswith(".") or name.endswith(".") or ".." in name
    if not _ATTRIBUTE_NAME.fullmatch(name) or is_dotted or _RESERVED_NAME.match(name):
        raise invalid(
            f"Message (user) attribute name '{name}' is invalid. It can contain alphanumeric characters, hyphens, "
            "underscores and single periods inside, up to 256, and must not begin with AWS. or Amazon."
        )


def size_of(body: str, attributes: Mapping[str, Attribute]) -> int:
    """How many bytes count towards the limit of a message: the body, and each attribute's name, type and value."""
    return len(body.encode()) + sum(
        len(name.encode())
        + len(one.data_type.encode())
        + len(one.value if isinstance(one.value, bytes) else one.value.encode())
        for name, one in attributes.items()
    )


def check_size(size: int, most: int) -> None:
    if size > most:
        raise invalid(f"One or more parameters are invalid. Reason: Message must be shorter than {most} bytes.")


def check_batch_size(total: int) -> None:
    """The messages of one batch together."""
    if total > MAX_MESSAGE_BYTES:
        raise SqsError(
            "BatchRequestTooLong",
            f"Batch requests cannot be longer than {MAX_MESSAGE_BYTES} bytes. You have sent {total} bytes.",
        )


def check_order(members: Mapping[str, Any], *, is_fifo: bool, dedups_by_content: bool) -> None:
    """Raise if the group or the deduplication id does not suit the queue. A standard queue may have groups (they are
    tenants there, without order)."""
    group, token = members.get("MessageGroupId"), members.get("MessageDeduplicationId")
    if is_fifo and not group:
        raise missing("MessageGroupId")
    if is_fifo and not token and not dedups_by_content:
        raise invalid(
            "The queue should either have ContentBasedDeduplication enabled or MessageDeduplicationId provided "
            "explicitly"
        )
    if not is_fifo and token:
        raise out_of_range(token, "MessageDeduplicationId", _WRONG_QUEUE)
    if is_fifo and members.get("DelaySeconds"):
        raise out_of_range(members["DelaySeconds"], "DelaySeconds", _WRONG_QUEUE)
    for name, value in (("MessageGroupId", group), ("MessageDeduplicationId", token)):
        if value and not _TOKEN.fullmatch(value):
            raise out_of_range(
                value, name, f"{name} can only include alphanumeric and punctuation characters. 1 to 128 in length"
            )


def check_entries(entries: Sequence[Mapping[str, Any]], operation: str) -> None:
    """Raise if a batch as a whole cannot be done."""
    if not entries:
        raise SqsError("EmptyBatchRequest", f"There should be at least one {operation}RequestEntry in the request.")
    if len(entries) > MAX_ENTRIES:
        raise SqsError(
            "TooManyEntriesInBatchRequest",
            f"Maximum number of entries per request are {MAX_ENTRIES}. You have sent {len(entries)}.",
        )
    seen: set[str] = set()
    for entry in entries:
        if not _ENTRY_ID.fullmatch(entry["Id"]):
            raise SqsError(
                "InvalidBatchEntryId",
                "A batch entry id can only contain alphanumeric characters, hyphens and underscores. It can be at most "
                "80 letters long.",
            )
        if entry["Id"] in seen:
            raise SqsError("BatchEntryIdsNotDistinct", f"Id {entry['Id']} repeated.")
        seen.add(entry["Id"])


def wanted_names(patterns: Iterable[str]) -> Callable[[str], bool]:
    """Whether a receiver wants the message attribute of a name: `All`, `.*`, a name, or `prefix.*`."""
    listed = tuple(patterns)
    everything = any(one in ("All", ".*") for one in listed)
    prefixes = tuple(one[:-2] for one in listed if one.endswith(".*"))
    exact = frozenset(listed)

    def is_wanted(name: str) -> bool:
        return everything or name in exact or (bool(prefixes) and name.startswith(prefixes))

    return is_wanted
