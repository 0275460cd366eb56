"""The rules of event source mappings: which parameters each kind of source has, and what they may say.

Rule: what is accepted is enforced; what cannot be enforced is refused.
Source: "Event source mapping parameters" of each source in the AWS Lambda developer guide; texts as the service's.
"""

import re
from collections.abc import Collection, Mapping
from typing import Any

from hearth.core.errors import InvalidParameterValue
from hearth_gateway.core.addresses import (
    OWN_CONNECTION,
    RESERVED,
    ListAddress,
    QueueAddress,
    SourceAddress,
    parse_target,
)
from hearth_gateway.core.filtering import Filters
from hearth_gateway.core.mapping import (
    NO_QUEUE,
    TAG_MAX_RECEIVE_COUNT,
    TAG_PRODUCER,
    TAG_SHAPE,
    EventSourceMapping,
    Producer,
    SourceKind,
    StartingPosition,
)
from hearth_gateway.core.queue_batch import SHAPES, SQS_SHAPE

NO_WINDOW = "Maximum batch window in seconds must be greater than 0 if maximum batch size is greater than 10"
FIFO_BATCH = 10
MAX_UNWINDOWED_BATCH = 10

DEFAULT_BATCH_SIZE = {SourceKind.QUEUE: 10, SourceKind.LIST: 10, SourceKind.STREAM: 100, SourceKind.CHANNEL: 10}

_QUEUES = frozenset({SourceKind.QUEUE, SourceKind.LIST})
_STREAMS = frozenset({SourceKind.STREAM})
_OURS = frozenset({SourceKind.LIST, SourceKind.STREAM, SourceKind.CHANNEL})
_NOBODY: frozenset[SourceKind] = frozenset()

# Who has a parameter, and the values that ask for nothing, which everybody may send.
_PARAMETERS: Mapping[str, tuple[frozenset[SourceKind], tuple[Any, ...]]] = {
    "AmazonManagedKafkaEventSourceConfig": (_NOBODY, ()),
    "BisectBatchOnFunctionError": (_STREAMS, (False,)),
    "DestinationConfig": (_OURS, ({}, {"OnFailure": {}})),
    "DocumentDBEventSourceConfig": (_NOBODY, ()),
    "FunctionResponseTypes": (_QUEUES | _STREAMS, ([],)),
    "MaximumRecordAgeInSeconds": (_OURS, (-1,)),
    "MaximumRetryAttempts": (_OURS, ()),
    "ParallelizationFactor": (_STREAMS, (1,)),
    "ProvisionedPollerConfig": (_NOBODY, ({},)),
    "Queues": (_NOBODY, ()),
    "ScalingConfig": (_QUEUES | {SourceKind.CHANNEL}, ({},)),
    "SelfManagedEventSource": (_NOBODY, ()),
    "SelfManagedKafkaEventSourceConfig": (_NOBODY, ()),
    "SourceAccessConfigurations": (_NOBODY, ([],)),
    "StartingPosition": (_STREAMS, ()),
    "StartingPositionTimestamp": (_STREAMS, ()),
    "Topics": (_NOBODY, ()),
    "TumblingWindowInSeconds": (_STREAMS, (0,)),
}


def refuse_foreign(kind: SourceKind, parameters: Mapping[str, Any]) -> None:
    """Parameters of other kinds of sources are not taken in silence. Raises InvalidParameterValue."""
    for name, (kinds, neutral) in _PARAMETERS.items():
        if name in parameters and kind not in kinds and parameters[name] not in neutral:
            raise InvalidParameterValue(unsupported(name))


def unsupported(parameter: str) -> str:
    """The service's words for a parameter that this source does not have."""
    return f"Unsupported {parameter} parameter for given event source mapping type."


def checked(mapping: EventSourceMapping, connections: Collection[str]) -> EventSourceMapping:
    """The mapping itself, once every rule that goes beyond the operation's shape holds. `connections` are the names
    of those that are configured."""
    source = mapping.source
    if _connection(source) not in {OWN_CONNECTION, *connections}:
        raise InvalidParameterValue(NO_QUEUE)
    _check_batching(mapping, source)
    _check_position(mapping)
    Filters.of(mapping.filters, mapping.kind)  # raises what is wrong with them
    _check_tags(mapping.tags)
    if mapping.kind in _QUEUES:
        _check_dead_letters(mapping)
    if mapping.on_failure and parse_target(mapping.on_failure) is None:
        raise InvalidParameterValue(unsupported("DestinationConfig"))
    return mapping


def _connection(source: SourceAddress) -> str:
    return source.connection


def _check_batching(mapping: EventSourceMapping, source: SourceAddress) -> None:
    is_fifo = (isinstance(source, QueueAddress) and source.is_fifo) or (
        isinstance(source, ListAddress) and mapping.is_fifo
    )
    if is_fifo and mapping.batch_size > FIFO_BATCH:
        raise InvalidParameterValue(f"Batch size must be between 1 and {FIFO_BATCH} for FIFO queues.")
    if is_fifo and mapping.window_s:
        raise InvalidParameterValue("Batching window is not supported for FIFO queues")
    if mapping.kind in _QUEUES and mapping.batch_size > MAX_UNWINDOWED_BATCH and mapping.window_s < 1:
        raise InvalidParameterValue(NO_WINDOW)


def _check_position(mapping: EventSourceMapping) -> None:
    if mapping.kind is not SourceKind.STREAM:
        return
    if mapping.starting_position is None:
        raise InvalidParameterValue("1 validation error detected: Starting position is required for streams.")
    is_timed = mapping.starting_position is StartingPosition.AT_TIMESTAMP
    if is_timed and mapping.starting_position_ms is None:
        raise InvalidParameterValue("StartingPositionTimestamp is required for StartingPosition AT_TIMESTAMP.")
    if not is_timed and mapping.starting_position_ms is not None:
        raise InvalidParameterValue("StartingPositionTimestamp is only valid with StartingPosition AT_TIMESTAMP.")
    if mapping.tumbling_window_s and mapping.window_s > mapping.tumbling_window_s:
        raise InvalidParameterValue("The batching window must not be longer than the tumbling window.")


def _check_dead_letters(mapping: EventSourceMapping) -> None:
    if mapping.dead_letter_key == mapping.address.key or mapping.dead_letter_key.startswith(RESERVED):
        raise InvalidParameterValue(unsupported("DestinationConfig"))


def _check_tags(tags: Mapping[str, str]) -> None:
    if tags.get(TAG_SHAPE, SQS_SHAPE) not in SHAPES:
        raise InvalidParameterValue(f"The tag {TAG_SHAPE} must be {' or '.join(SHAPES)}.")
    producer = tags.get(TAG_PRODUCER, Producer.RPUSH.value)
    if producer not in Producer.__members__:
        raise InvalidParameterValue(f"The tag {TAG_PRODUCER} must be RPUSH or LPUSH.")
    count = tags.get(TAG_MAX_RECEIVE_COUNT, "1")
    if not re.fullmatch(r"[1-9][0-9]{0,8}", count):
        raise InvalidParameterValue(f"The tag {TAG_MAX_RECEIVE_COUNT} must be a whole number of at least 1.")
