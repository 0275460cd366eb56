"""Parcels: what is sent to a destination, whatever kind it is.

Records of asynchronous invocations, notifications of a topic, events of a bus, firings of schedules, webhooks, failure
records of streams: each is a body for a target. The courier keeps them durably and delivers them at least once.
"""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field

DEFAULT_MAX_AGE_S = 86_400
DEFAULT_RETRY_ATTEMPTS = 185
"""Both are what EventBridge does for a target that names no retry policy."""

_NAMESPACE = uuid.UUID("6f4f3b1e-6d1c-4f0e-9a53-6f3c7f1f2a10")


def derived_id(of: str, purpose: str) -> str:
    """The id of what follows from something: the same each time it is made, so that making it twice is harmless."""
    return str(uuid.uuid5(_NAMESPACE, f"{of}/{purpose}"))


@dataclass(frozen=True, slots=True)
class Attribute:
    """A message attribute: `data_type` is String, Number, Binary, or one of these with a suffix (`Number.int`)."""

    data_type: str
    value: str | bytes


@dataclass(frozen=True, slots=True)
class Parcel:
    """One thing to deliver to one target.

    `id`: the same id twice is one parcel, for as long as the first is not delivered; a queue's message and a function's
    request get it as their own id where they can. `target` is an ARN of `core/addresses.py` or an `https:`/`http:` URL.
    `attributes` go to queues and topics, `headers` to webhooks; `group_id` and `deduplication_id` to FIFO queues;
    `subject` to topics, and to a bucket as the object's key. `sender` is the ARN of what sends it (a topic, a rule, a
    bucket, a function) and `service` the service principal it acts as (`sns.amazonaws.com`), both for the target's
    resource policy: an empty service is Hearth itself, which needs no permission. `dead_letter_arn` is the queue that
    takes the body when the target cannot be reached within `max_age_s` seconds and `max_attempts` tries. Times are
    epoch milliseconds.
    """

    id: str
    target: str
    body: bytes
    accepted_ms: int
    sender: str = ""
    service: str = ""
    subject: str | None = None
    attributes: Mapping[str, Attribute] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    group_id: str = ""
    deduplication_id: str = ""
    trace_id: str = ""
    dead_letter_arn: str | None = None
    max_age_s: int = DEFAULT_MAX_AGE_S
    max_attempts: int = DEFAULT_RETRY_ATTEMPTS + 1
    attempts: int = 0
