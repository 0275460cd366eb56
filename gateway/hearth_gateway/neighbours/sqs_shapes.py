"""The request shapes of SQS, and the check that a request has what its operation cannot do without.

Ranges are not in the model: the operations know them. Source: the service model of Amazon SQS.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from hearth_gateway.core.sqs_errors import missing
from hearth_gateway.core.validation import ListOf, MapOf, Shape, Structure
from hearth_gateway.lambda_api.service_model import load_inputs

SQS_VERSION = "2012-11-05"

OPERATIONS = (
    "AddPermission",
    "CancelMessageMoveTask",
    "ChangeMessageVisibility",
    "ChangeMessageVisibilityBatch",
    "CreateQueue",
    "DeleteMessage",
    "DeleteMessageBatch",
    "DeleteQueue",
    "GetQueueAttributes",
    "GetQueueUrl",
    "ListDeadLetterSourceQueues",
    "ListMessageMoveTasks",
    "ListQueueTags",
    "ListQueues",
    "PurgeQueue",
    "ReceiveMessage",
    "RemovePermission",
    "SendMessage",
    "SendMessageBatch",
    "SetQueueAttributes",
    "StartMessageMoveTask",
    "TagQueue",
    "UntagQueue",
)


def load_shapes() -> Mapping[str, Structure]:
    """The input of every operation."""
    return load_inputs(OPERATIONS, "sqs", SQS_VERSION)


def check_required(shape: Structure, members: Mapping[str, Any], *, needs_url: bool) -> None:
    """Raise for the first member that is required and missing, however deep. `needs_url` is False where the request's
    path may name the queue."""
    for path in _missing(shape, members, ""):
        if needs_url or path != "QueueUrl":
            raise missing(path)


def _missing(shape: Shape, value: Any, path: str) -> Iterator[str]:
    match shape:
        case Structure():
            prefix = f"{path}." if path else ""
            yield from (f"{prefix}{name}" for name in shape.required if name not in value)
            for name, member in shape.members.items():
                if name in value:
                    yield from _missing(member.shape, value[name], f"{prefix}{name}")
        case ListOf():
            for number, item in enumerate(value, 1):
                yield from _missing(shape.member, item, f"{path}.{number}")
        case MapOf():
            for key, item in value.items():
                yield from _missing(shape.value, item, f"{path}.{key}")
        case _:
            return
