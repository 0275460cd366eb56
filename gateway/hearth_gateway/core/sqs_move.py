"""Message move tasks as values: what is carried from a dead-letter queue, where to, how fast, and how far that is.

Rule: a task carries what was in the queue when it began. What dies again meanwhile is not carried round and round.
Source: StartMessageMoveTask and ListMessageMoveTasks in the Amazon SQS API reference.
"""

import base64
import binascii
import json
from dataclasses import asdict, dataclass, replace
from enum import Enum
from typing import Any

MAX_PER_SECOND = 500
MAX_LISTED = 10
UNKNOWN_SOURCE = "CouldNotDetermineMessageSource"


class MoveStatus(Enum):
    """How far a task is. CANCELLING is over as soon as the step under way is."""

    RUNNING = "RUNNING"
    COMPLETED = "COMPLETED"
    CANCELLING = "CANCELLING"
    CANCELLED = "CANCELLED"
    FAILED = "FAILED"

    @property
    def is_active(self) -> bool:
        return self in (MoveStatus.RUNNING, MoveStatus.CANCELLING)


@dataclass(frozen=True, slots=True)
class MoveTask:
    """One task. `source` and `destination` are names of queues; without a destination each message goes back to the
    queue it came from. `to_move` is how many there were when it began; times are epoch milliseconds."""

    id: str
    source: str
    destination: str | None
    per_second: int | None
    to_move: int
    started_ms: int
    moved: int = 0
    status: MoveStatus = MoveStatus.RUNNING
    failure: str = ""

    @property
    def left(self) -> int:
        """How many are still to be carried."""
        return max(self.to_move - self.moved, 0)

    def with_moved(self, count: int) -> "MoveTask":
        """So many more were carried."""
        return replace(self, moved=self.moved + count)

    def ended(self, status: MoveStatus, failure: str = "") -> "MoveTask":
        """It is over."""
        return replace(self, status=status, failure=failure)


def step_size(per_second: int | None, largest: int) -> int:
    """How many messages one step carries: a tenth of a second's worth, so that the pace is even."""
    return largest if per_second is None else max(1, min(largest, per_second // 10))


def pause_s(per_second: int | None, carried: int) -> float:
    """How long to rest after a step of so many, in seconds."""
    return carried / per_second if per_second else 0.0


def encode_task(task: MoveTask) -> bytes:
    """The record that is kept."""
    return json.dumps({**asdict(task), "status": task.status.value}).encode()


def decode_task(record: bytes) -> MoveTask:
    """A kept record. Raises ValueError."""
    try:
        fields: dict[str, Any] = json.loads(record)
        return MoveTask(**{**fields, "status": MoveStatus(fields["status"])})
    except (TypeError, KeyError) as error:
        raise ValueError(f"no record of a move task: {error}") from error


def task_handle(task: MoveTask, source_arn: str) -> str:
    """What a task is cancelled by."""
    return base64.b64encode(json.dumps({"taskId": task.id, "sourceArn": source_arn}).encode()).decode()


def id_in_handle(handle: str) -> tuple[str, str] | None:
    """The task's id and its source's ARN; None if it is no handle."""
    try:
        told = json.loads(base64.b64decode(handle, validate=True))
        return str(told["taskId"]), str(told["sourceArn"])
    except (binascii.Error, ValueError, KeyError, TypeError, RecursionError):
        return None
