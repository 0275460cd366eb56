"""Event source mappings as values: what is polled for whom. The rules their parameters obey are in `mapping_rules`.

Source: AWS Lambda API reference, CreateEventSourceMapping; texts as the service sends them.
"""

from dataclasses import dataclass, field
from enum import Enum
from typing import Any, assert_never

from hearth.core.errors import InvalidParameterValue
from hearth_gateway.core.addresses import (
    OWN_CONNECTION,
    RESERVED,
    ChannelAddress,
    ListAddress,
    QueueAddress,
    SourceAddress,
    StreamAddress,
    parse_address,
)
from hearth_gateway.core.mapping_state import State
from hearth_gateway.core.queue_batch import SQS_SHAPE
from hearth_gateway.core.retry import RetryPolicy

TAG_PRODUCER = "hearth:producer"
"""Mapping tag: `RPUSH` (default) or `LPUSH`, the command producers use; consumers take from the other end."""
TAG_MAX_RECEIVE_COUNT = "hearth:max-receive-count"
"""Mapping tag: how many failed attempts send a message to the dead-letter list."""
TAG_SHAPE = "hearth:shape"
"""Mapping tag: `sqs` (default), a list's messages are records of a queue, or `s3`, records of an object store."""
TAG_DEAD_LETTER_LIST = "hearth:dead-letter-list"
"""Mapping tag: the dead-letter list's key, on the same Redis; default `<key>:dead`."""

UNRECOGNIZED = "Unrecognized event source."
NO_QUEUE = (
    "Error occurred while ReceiveMessage. SQS Error Code: AWS.SimpleQueueService.NonExistentQueue. "
    "SQS Error Message: The specified queue does not exist."
)


class Producer(Enum):
    """The command producers use. The consumer's end, the head, is the opposite one."""

    RPUSH = "RPUSH"
    LPUSH = "LPUSH"


class SourceKind(Enum):
    """What a mapping reads. Each kind has parameters of its own."""

    QUEUE = "queue"
    LIST = "list"
    STREAM = "stream"
    CHANNEL = "channel"


class StartingPosition(Enum):
    """Where a new mapping begins to read a stream."""

    TRIM_HORIZON = "TRIM_HORIZON"
    LATEST = "LATEST"
    AT_TIMESTAMP = "AT_TIMESTAMP"


@dataclass(frozen=True, slots=True)
class EventSourceMapping:
    """One mapping as it is stored. `enabled` is what the caller wants, `state` how far that has got.

    `function_arn` is echoed exactly as the caller qualified it. `echoed` holds members that are stored and shown
    but need no enforcement (KMSKeyArn, MetricsConfig, LoggingConfig). `filters` are FilterCriteria's patterns, as sent.
    Retry attempts, record ages and the like are None where they were not set; -1 means without end.
    """

    uuid: str
    arn: str
    function_name: str
    qualifier: str
    function_arn: str
    source_arn: str
    enabled: bool
    state: State
    last_modified_ms: int
    batch_size: int = 10
    window_s: int = 0
    response_types: tuple[str, ...] = ()
    filters: tuple[str, ...] = ()
    maximum_concurrency: int | None = None
    retry_attempts: int | None = None
    maximum_record_age_s: int | None = None
    on_failure: str | None = None
    starting_position: StartingPosition | None = None
    starting_position_ms: int | None = None
    parallelization_factor: int = 1
    is_bisecting: bool = False
    tumbling_window_s: int = 0
    tags: dict[str, str] = field(default_factory=dict)
    echoed: dict[str, Any] = field(default_factory=dict)

    @property
    def source(self) -> SourceAddress:
        """What is polled."""
        return parse_source(self.source_arn)

    @property
    def kind(self) -> SourceKind:
        return kind_of(self.source)

    @property
    def address(self) -> ListAddress:
        """The list that is polled: of a list or of a queue of Hearth's own, which is a list underneath."""
        match self.source:
            case ListAddress() as found:
                return found
            case QueueAddress(name=name, connection=connection):
                return ListAddress(connection or OWN_CONNECTION, name)
            case other:
                raise TypeError(f"{other!r} is no list")

    @property
    def producer(self) -> Producer:
        return Producer(self.tags.get(TAG_PRODUCER, Producer.RPUSH.value))

    @property
    def shape(self) -> str:
        return self.tags.get(TAG_SHAPE, SQS_SHAPE)

    @property
    def is_partial(self) -> bool:
        """Whether the handler's answer says which messages failed."""
        return "ReportBatchItemFailures" in self.response_types

    @property
    def is_fifo(self) -> bool:
        """Whether the list keeps order by groups, which its name says."""
        return self.address.key.endswith(".fifo")

    @property
    def failure_key(self) -> str | None:
        """The list of the same Redis that OnFailure names; None if it names something else, or nothing."""
        destination = parse_address(self.on_failure) if self.on_failure else None
        own = self.address.connection
        match destination:
            case ListAddress(connection=connection, key=key) if connection == own:
                return key
            case QueueAddress(name=name, connection="") if own == OWN_CONNECTION:
                return name
            case _:
                return None

    @property
    def dead_letter_key(self) -> str:
        """The list of the same Redis that takes what failed for good: destination, else tag, else `<key>:dead`."""
        return self.failure_key or self.tags.get(TAG_DEAD_LETTER_LIST) or f"{self.address.key}:dead"

    @property
    def is_failure_posted(self) -> bool:
        """Whether OnFailure names something beyond this Redis, which a parcel is posted to."""
        return self.on_failure is not None and self.failure_key is None

    @property
    def names_dead_letters(self) -> bool:
        """Whether the mapping itself says where they go. If not, its queue's RedrivePolicy does, where it has one."""
        return self.on_failure is not None or TAG_DEAD_LETTER_LIST in self.tags

    def retry_policy(self, default_max_receive_count: int) -> RetryPolicy:
        """How often a message may fail. `MaximumRetryAttempts` counts repeats, and -1 means without end."""
        if self.retry_attempts is not None:
            return RetryPolicy(None if self.retry_attempts < 0 else self.retry_attempts + 1)
        tagged = self.tags.get(TAG_MAX_RECEIVE_COUNT)
        return RetryPolicy(int(tagged) if tagged else default_max_receive_count)


def parse_source(arn: str) -> SourceAddress:
    """What an event source's ARN names. Raises InvalidParameterValue with the service's text for anything else."""
    found = parse_address(arn)
    match found:
        case ListAddress(key=name) | StreamAddress(key=name) | QueueAddress(name=name) | ChannelAddress(name=name):
            if name.startswith(RESERVED):
                raise InvalidParameterValue(NO_QUEUE)
            return found
        case _:
            raise InvalidParameterValue(UNRECOGNIZED)


def kind_of(source: SourceAddress) -> SourceKind:
    """The kind of a source."""
    match source:
        case QueueAddress():
            return SourceKind.QUEUE
        case ListAddress():
            return SourceKind.LIST
        case StreamAddress():
            return SourceKind.STREAM
        case ChannelAddress():
            return SourceKind.CHANNEL
        case _:
            assert_never(source)


def is_own_form(arn: str) -> bool:
    """Whether the source is in Hearth's own ARN form."""
    return arn.startswith("arn:hearth:")
