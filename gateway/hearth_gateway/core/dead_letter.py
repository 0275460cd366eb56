"""Dead letters: what was given up, whole, with why, so that it can be looked at and sent again.

Rule 1: nothing accepted is ever just dropped. What ends without success and without a dead-letter queue or destination
of its own becomes a letter in the default store, in the box of the function or target it was for.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import assert_never

from hearth.core.function import FunctionName
from hearth_gateway.core.async_event import AsyncEvent
from hearth_gateway.core.mapping import EventSourceMapping
from hearth_gateway.core.parcel import Attribute, Parcel, derived_id

FUNCTION_BOX = "function/"
TARGET_BOX = "target/"
MAX_ERROR_TEXT = 1_024
"""Of an attribute ErrorMessage, as AWS cuts it."""


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A stored event or parcel whose bytes make no sense: kept as they are, in the box that it would be in."""

    id: str
    box: str
    record: bytes


Item = AsyncEvent | Parcel | Unreadable


@dataclass(frozen=True, slots=True)
class Letter:
    """What was given up. `error` has `errorType` and `errorMessage`; times are epoch milliseconds."""

    item: Item
    reason: str
    error: Mapping[str, object] = field(default_factory=dict)
    attempts: int = 0
    first_ms: int = 0
    last_ms: int = 0

    @property
    def id(self) -> str:
        return self.item.id

    @property
    def box(self) -> str:
        """Where it lies."""
        return box_of(self.item)

    @property
    def sender(self) -> str:
        """The ARN of what it came from: a topic, a rule, the source of a mapping. "" if nobody knows."""
        return "" if isinstance(self.item, Unreadable) else self.item.sender

    @property
    def payload(self) -> bytes:
        match self.item:
            case AsyncEvent(payload=payload):
                return payload
            case Parcel(body=body):
                return body
            case Unreadable(record=record):
                return record
            case _:
                assert_never(self.item)


def box_of(item: Item) -> str:
    """The box that an item's letter lies in: by function, or by target."""
    match item:
        case AsyncEvent(function=name):
            return FUNCTION_BOX + name
        case Unreadable(box=box):
            return box
        case Parcel(target=target):
            return TARGET_BOX + target
        case _:
            assert_never(item)


def unhandled(mapping: EventSourceMapping, identity: str, event: bytes, first_ms: int) -> AsyncEvent:
    """An event of a mapping that was given up, as an asynchronous invocation of its function: that is what it is when
    it is sent again. `first_ms` is when its first record came."""
    return AsyncEvent(
        id=identity,
        function=FunctionName(mapping.function_name),
        qualifier=mapping.qualifier,
        invoked_arn=mapping.function_arn,
        payload=event,
        trace_id="",
        accepted_ms=first_ms,
        sender=mapping.source_arn,
    )


def undelivered(item: AsyncEvent | Parcel, *, code: str, message: str, attempts: int, now_ms: int) -> Parcel | Letter:
    """What becomes of something that did not reach its target: a parcel for its dead-letter queue, or a letter.

    The attributes are those that EventBridge adds to what it dead-letters.
    """
    error = {"errorType": code, "errorMessage": message}
    if not item.dead_letter_arn:
        return Letter(item, code, error, attempts, item.accepted_ms, now_ms)
    target = item.invoked_arn if isinstance(item, AsyncEvent) else item.target
    added = {"ERROR_CODE": code, "ERROR_MESSAGE": message[:MAX_ERROR_TEXT], "TARGET_ARN": target}
    if item.sender:
        added["RULE_ARN" if item.service == "events.amazonaws.com" else "SOURCE_ARN"] = item.sender
    own = {} if isinstance(item, AsyncEvent) else item.attributes
    return Parcel(
        id=derived_id(item.id, "dead-letter"),
        target=item.dead_letter_arn,
        body=item.payload if isinstance(item, AsyncEvent) else item.body,
        accepted_ms=now_ms,
        attributes={**own, **{name: Attribute("String", value) for name, value in added.items() if value}},
        group_id="" if isinstance(item, AsyncEvent) else item.group_id,
        deduplication_id="" if isinstance(item, AsyncEvent) else item.deduplication_id,
        trace_id=item.trace_id,
    )
