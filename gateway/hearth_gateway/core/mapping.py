"""Event source mappings as values: what is polled for whom, and the rules their parameters obey.

Rule 1: a mapping names a Redis list, either `arn:aws:sqs:<region>:<account>:<name>` (the list `<name>` in Hearth's
own Redis) or `arn:hearth:redis:<region>:<account>:<connection>/list/<key>` (a named connection).
Rule 2: what is accepted is enforced; what cannot be enforced is refused.
Source: AWS Lambda API reference, CreateEventSourceMapping; texts as the service sends them.
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from hearth.core.errors import InvalidParameterValue
from hearth_gateway.core.mapping_state import State
from hearth_gateway.core.retry import RetryPolicy

OWN_CONNECTION = ""
"""The connection of `arn:aws:sqs:` sources: Hearth's own Redis."""

TAG_PRODUCER = "hearth:producer"
"""Mapping tag: `RPUSH` (default) or `LPUSH`, the command producers use; consumers take from the other end."""
TAG_MAX_RECEIVE_COUNT = "hearth:max-receive-count"
"""Mapping tag: how many failed attempts send a message to the dead-letter list."""
TAG_DEAD_LETTER_LIST = "hearth:dead-letter-list"
"""Mapping tag: the dead-letter list's key, on the same Redis; default `<key>:dead`."""

DEFAULT_BATCH_SIZE = 10
UNRECOGNIZED = "Unrecognized event source."
NO_QUEUE = (
    "Error occurred while ReceiveMessage. SQS Error Code: AWS.SimpleQueueService.NonExistentQueue. "
    "SQS Error Message: The specified queue does not exist."
)
NO_DESTINATION = "Unsupported DestinationConfig parameter for given event source mapping type."
NO_RETRIES = "Unsupported MaximumRetryAttempts parameter for given event source mapping type."
NO_WINDOW = "Maximum batch window in seconds must be greater than 0 if maximum batch size is greater than 10"
_RESERVED = "hearth:"
_QUEUE_NAME = re.compile(r"[A-Za-z0-9_.:-]{1,80}")


class Producer(Enum):
    """The command producers use. The consumer's end, the head, is the opposite one."""

    RPUSH = "RPUSH"
    LPUSH = "LPUSH"


@dataclass(frozen=True, slots=True)
class ListAddress:
    """A Redis list: the name of a connection (`OWN_CONNECTION` for Hearth's own) and the list's key."""

    connection: str
    key: str


@dataclass(frozen=True, slots=True)
class EventSourceMapping:
    """One mapping as it is stored. `enabled` is what the caller wants, `state` how far that has got.

    `function_arn` is echoed exactly as the caller qualified it. `echoed` holds members that are stored and shown
    but need no enforcement (KMSKeyArn, MetricsConfig, LoggingConfig).
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
    batch_size: int = DEFAULT_BATCH_SIZE
    window_s: int = 0
    response_types: tuple[str, ...] = ()
    maximum_concurrency: int | None = None
    retry_attempts: int | None = None
    on_failure: str | None = None
    tags: dict[str, str] = field(default_factory=dict)
    echoed: dict[str, Any] = field(default_factory=dict)

    @property
    def address(self) -> ListAddress:
        """The list that is polled."""
        return parse_source(self.source_arn)

    @property
    def producer(self) -> Producer:
        return Producer(self.tags.get(TAG_PRODUCER, Producer.RPUSH.value))

    @property
    def is_partial(self) -> bool:
        """Whether the handler's answer says which messages failed."""
        return "ReportBatchItemFailures" in self.response_types

    @property
    def dead_letter_key(self) -> str:
        """The list that takes what failed for good: destination, else tag, else `<key>:dead`."""
        if self.on_failure:
            return parse_source(self.on_failure).key
        return self.tags.get(TAG_DEAD_LETTER_LIST) or f"{self.address.key}:dead"

    def retry_policy(self, default_max_receive_count: int) -> RetryPolicy:
        """How often a message may fail. `MaximumRetryAttempts` counts repeats, and -1 means without end."""
        if self.retry_attempts is not None:
            return RetryPolicy(None if self.retry_attempts < 0 else self.retry_attempts + 1)
        tagged = self.tags.get(TAG_MAX_RECEIVE_COUNT)
        return RetryPolicy(int(tagged) if tagged else default_max_receive_count)


def parse_source(arn: str) -> ListAddress:
    """The list an ARN names. Raises InvalidParameterValue with the service's text for anything else."""
    parts = arn.split(":", 5)
    match parts:
        case ["arn", "aws", "sqs", _, _, name] if _QUEUE_NAME.fullmatch(name):
            return _permitted(ListAddress(OWN_CONNECTION, name))
        case ["arn", "hearth", "redis", _, _, resource]:
            connection, found, key = resource.partition("/list/")
            if found and connection and key:
                return _permitted(ListAddress(connection, key))
        case _:
            pass
    raise InvalidParameterValue(UNRECOGNIZED)


def _permitted(address: ListAddress) -> ListAddress:
    if address.key.startswith(_RESERVED):
        raise InvalidParameterValue(NO_QUEUE)
    if address.connection == OWN_CONNECTION and address.key.endswith(".fifo"):
        raise InvalidParameterValue("FIFO queues are not supported; name a standard queue.")
    return address


def is_own_form(arn: str) -> bool:
    """Whether the source is in Hearth's own ARN form, which takes stream-style retry parameters too."""
    return arn.startswith("arn:hearth:")


def checked(mapping: EventSourceMapping, connections: Collection[str]) -> EventSourceMapping:
    """The mapping itself, once every rule that goes beyond the operation's shape holds."""
    address = mapping.address
    if address.connection != OWN_CONNECTION and address.connection not in connections:
        raise InvalidParameterValue(NO_QUEUE)
    if mapping.batch_size > DEFAULT_BATCH_SIZE and mapping.window_s < 1:
        raise InvalidParameterValue(NO_WINDOW)
    _check_failure_handling(mapping)
    _check_tags(mapping.tags)
    if mapping.dead_letter_key == address.key or mapping.dead_letter_key.startswith(_RESERVED):
        raise InvalidParameterValue(NO_DESTINATION)
    return mapping


def _check_failure_handling(mapping: EventSourceMapping) -> None:
    if not is_own_form(mapping.source_arn):
        if mapping.on_failure is not None:
            raise InvalidParameterValue(NO_DESTINATION)
        if mapping.retry_attempts is not None:
            raise InvalidParameterValue(NO_RETRIES)
    # A message must leave the queue and enter the dead-letter list in one step: both live on one Redis.
    elif mapping.on_failure and _destination(mapping.on_failure).connection != mapping.address.connection:
        raise InvalidParameterValue(NO_DESTINATION)


def _destination(arn: str) -> ListAddress:
    try:
        return parse_source(arn)
    except InvalidParameterValue as error:
        raise InvalidParameterValue(NO_DESTINATION) from error


def _check_tags(tags: Mapping[str, str]) -> None:
    producer = tags.get(TAG_PRODUCER, Producer.RPUSH.value)
    if producer not in Producer.__members__:
        raise InvalidParameterValue(f"The tag {TAG_PRODUCER} must be RPUSH or LPUSH.")
    count = tags.get(TAG_MAX_RECEIVE_COUNT, "1")
    if not re.fullmatch(r"[1-9][0-9]{0,8}", count):
        raise InvalidParameterValue(f"The tag {TAG_MAX_RECEIVE_COUNT} must be a whole number of at least 1.")
