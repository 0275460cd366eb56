"""What ARNs name: everything events come from, and everything they can be sent to.

| ARN | what |
|---|---|
| `arn:aws:lambda:<region>:<account>:function:<name>[:<qualifier>]` | a function |
| `arn:aws:sqs:<region>:<account>:<name>` | a queue: Hearth's own, or of the SQS that the configuration names |
| `arn:hearth:sqs:<region>:<account>:<connection>/<name>` | a queue of a named SQS connection |
| `arn:hearth:redis:<region>:<account>:<connection>/list/<key>` | a Redis list; `hearth` is Hearth's own Redis |
| `arn:hearth:redis:<region>:<account>:<connection>/stream/<key>` | a Redis stream |
| `arn:aws:kinesis:<region>:<account>:stream/<name>` | the Redis stream `<name>` in Hearth's own Redis |
| `arn:hearth:redis:<region>:<account>:<connection>/channel/<name>` | a Redis channel; `pattern/`, `shard-channel/` |
| `arn:aws:sns:<region>:<account>:<name>` | a topic |
| `arn:aws:events:<region>:<account>:event-bus/<name>` | an event bus |
| `arn:aws:s3:::<bucket>` | a bucket |
| `arn:hearth:webhook:<region>:<account>:<name>` | a webhook to call, by the name it was registered under |
"""

import re
from dataclasses import dataclass
from enum import Enum

OWN_CONNECTION = ""
"""The connection to Hearth's own Redis. Its name in ARNs of our own form is `OWN_NAME`."""
OWN_NAME = "hearth"
RESERVED = "hearth:"
"""Keys that begin so are the platform's own: neither sources nor targets."""


class ChannelKind(Enum):
    """How messages are published. The value is the word in the ARN."""

    CHANNEL = "channel"
    PATTERN = "pattern"
    SHARD = "shard-channel"


@dataclass(frozen=True, slots=True)
class FunctionAddress:
    """A function, by its ARN, qualified or not."""

    arn: str


@dataclass(frozen=True, slots=True)
class QueueAddress:
    """A queue of an SQS. Without a connection it is the one that `arn:aws:sqs:` means here."""

    name: str
    connection: str = ""

    @property
    def is_fifo(self) -> bool:
        return self.name.endswith(".fifo")


@dataclass(frozen=True, slots=True)
class ListAddress:
    """A Redis list: the name of a connection (`OWN_CONNECTION` for Hearth's own) and the list's key."""

    connection: str
    key: str


@dataclass(frozen=True, slots=True)
class StreamAddress:
    """A Redis stream."""

    connection: str
    key: str


@dataclass(frozen=True, slots=True)
class ChannelAddress:
    """Redis channels: one, all of a glob, or a sharded one."""

    connection: str
    kind: ChannelKind
    name: str


@dataclass(frozen=True, slots=True)
class TopicAddress:
    """A topic of Hearth's own."""

    name: str


@dataclass(frozen=True, slots=True)
class BusAddress:
    """An event bus of Hearth's own."""

    name: str


@dataclass(frozen=True, slots=True)
class BucketAddress:
    """A bucket of the configured S3."""

    name: str


@dataclass(frozen=True, slots=True)
class WebhookAddress:
    """A webhook that Hearth calls."""

    name: str


SourceAddress = QueueAddress | ListAddress | StreamAddress | ChannelAddress
Address = SourceAddress | FunctionAddress | TopicAddress | BusAddress | BucketAddress | WebhookAddress

_QUEUE_NAME = re.compile(r"[A-Za-z0-9_.:-]{1,80}")
_REDIS = re.compile(r"(?P<connection>[^/]+)/(?P<kind>list|stream|channel|pattern|shard-channel)/(?P<key>.+)", re.DOTALL)


def parse_address(arn: str) -> Address | None:
    """What the ARN names; None if it is of no form that is known here."""
    match arn.split(":", 5):
        case ["arn", "aws", "lambda", _, _, resource] if resource.startswith("function:"):
            return FunctionAddress(arn)
        case ["arn", "aws", service, _, _, resource]:
            return _of_aws(service, resource)
        case ["arn", "hearth", service, _, _, resource]:
            return _of_ours(service, resource)
        case _:
            return None


def parse_target(arn: str) -> Address | None:
    """What the ARN names; None also for what nothing may be sent to, the platform's own keys."""
    match parse_address(arn):
        case ListAddress(key=name) | StreamAddress(key=name) | QueueAddress(name=name) if name.startswith(RESERVED):
            return None
        case found:
            return found


def served(arn: str, region: str, account: str) -> str:
    """The ARN of what is served for this one: every region and every account mean this platform. It is this one that
    policies are asked about, or another spelling of it would lead around them."""
    match arn.split(":", 5):
        case ["arn", "aws", "s3", _, _, _]:
            return arn
        case ["arn", partition, service, _, _, resource]:
            return f"arn:{partition}:{service}:{region}:{account}:{resource}"
        case _:
            return arn


def _of_aws(service: str, resource: str) -> Address | None:
    match service:
        case "sqs" if _QUEUE_NAME.fullmatch(resource):
            return QueueAddress(resource)
        case "kinesis" if resource.startswith("stream/") and resource != "stream/":
            return StreamAddress(OWN_CONNECTION, resource.removeprefix("stream/"))
        case "sns" if resource:
            return TopicAddress(resource)
        case "events" if resource.startswith("event-bus/") and resource != "event-bus/":
            return BusAddress(resource.removeprefix("event-bus/"))
        case "s3" if resource:
            return BucketAddress(resource)
        case _:
            return None


def _of_ours(service: str, resource: str) -> Address | None:
    match service:
        case "redis":
            return _of_redis(resource)
        case "sqs":
            connection, _, name = resource.partition("/")
            return QueueAddress(name, connection) if connection and _QUEUE_NAME.fullmatch(name) else None
        case "webhook" if resource:
            return WebhookAddress(resource)
        case _:
            return None


def _of_redis(resource: str) -> Address | None:
    found = _REDIS.fullmatch(resource)
    if found is None:
        return None
    connection = OWN_CONNECTION if found["connection"] == OWN_NAME else found["connection"]
    match found["kind"]:
        case "list":
            return ListAddress(connection, found["key"])
        case "stream":
            return StreamAddress(connection, found["key"])
        case kind:
            return ChannelAddress(connection, ChannelKind(kind), found["key"])
