"""Events, parcels, dead letters and statuses as bytes: a line of JSON, then the payload as it came."""

from base64 import b64decode, b64encode
from dataclasses import fields
from typing import Any, assert_never

import orjson
from pydantic import BaseModel, TypeAdapter, ValidationError

from hearth.core.function import FunctionName
from hearth_gateway.core.async_event import AsyncEvent
from hearth_gateway.core.dead_letter import Item, Letter, Unreadable
from hearth_gateway.core.invocation_status import InvocationStatus
from hearth_gateway.core.parcel import Attribute, Parcel


class Unintelligible(Exception):
    """A stored record makes no sense."""


class _EventHead(BaseModel):
    """An event without its payload. What newer versions added has defaults, so that older records can be read."""

    id: str
    function: str
    qualifier: str
    invoked_arn: str
    trace_id: str
    accepted_ms: int
    attempts: int = 0
    refusals: int = 0
    sender: str = ""
    service: str = ""
    dead_letter_arn: str | None = None
    last_attempt_ms: int = 0
    error_type: str = ""
    error_message: str = ""


class _Attribute(BaseModel):
    data_type: str
    value: str
    is_binary: bool = False


class _ParcelHead(BaseModel):
    """A parcel without its body."""

    id: str
    target: str
    accepted_ms: int
    sender: str = ""
    service: str = ""
    subject: str | None = None
    attributes: dict[str, _Attribute] = {}
    headers: dict[str, str] = {}
    group_id: str = ""
    deduplication_id: str = ""
    trace_id: str = ""
    dead_letter_arn: str | None = None
    max_age_s: int
    max_attempts: int
    attempts: int = 0


class _LetterHead(BaseModel):
    """A letter without its item, whose record follows."""

    kind: str
    id: str
    box: str = ""
    reason: str
    error: dict[str, Any] = {}
    attempts: int = 0
    first_ms: int = 0
    last_ms: int = 0


_EVENT_FIELDS = tuple(_EventHead.model_fields)
_PARCEL_FIELDS = tuple(name for name in _ParcelHead.model_fields if name != "attributes")
_STATUS = TypeAdapter(InvocationStatus)
assert set(_EVENT_FIELDS) | {"payload"} == {field.name for field in fields(AsyncEvent)}
assert {*_PARCEL_FIELDS, "attributes", "body"} == {field.name for field in fields(Parcel)}


def encode_event(event: AsyncEvent) -> bytes:
    return orjson.dumps({name: getattr(event, name) for name in _EVENT_FIELDS}) + b"\n" + event.payload


def decode_event(record: bytes) -> AsyncEvent:
    """Raises Unintelligible."""
    line, _, payload = record.partition(b"\n")
    values = _read(_EventHead, line).model_dump()
    return AsyncEvent(payload=payload, **{**values, "function": FunctionName(values["function"])})


def encode_parcel(parcel: Parcel) -> bytes:
    head = {name: getattr(parcel, name) for name in _PARCEL_FIELDS}
    head["headers"] = dict(parcel.headers)
    head["attributes"] = {name: _encoded(one) for name, one in parcel.attributes.items()}
    return orjson.dumps(head) + b"\n" + parcel.body


def decode_parcel(record: bytes) -> Parcel:
    """Raises Unintelligible."""
    line, _, body = record.partition(b"\n")
    head = _read(_ParcelHead, line)
    values = {name: getattr(head, name) for name in _PARCEL_FIELDS}
    attributes = {name: _decoded(one) for name, one in head.attributes.items()}
    return Parcel(body=body, attributes=attributes, **values)


def encode_letter(letter: Letter) -> bytes:
    head = {
        "kind": type(letter.item).__name__,
        "id": letter.id,
        "box": letter.box,
        "reason": letter.reason,
        "error": dict(letter.error),
        "attempts": letter.attempts,
        "first_ms": letter.first_ms,
        "last_ms": letter.last_ms,
    }
    return orjson.dumps(head) + b"\n" + _item_record(letter.item)


def decode_letter(record: bytes) -> Letter:
    """Raises Unintelligible."""
    line, _, rest = record.partition(b"\n")
    head = _read(_LetterHead, line)
    item: Item
    match head.kind:
        case "AsyncEvent":
            item = decode_event(rest)
        case "Parcel":
            item = decode_parcel(rest)
        case "Unreadable":
            item = Unreadable(head.id, head.box, rest)
        case kind:
            raise Unintelligible(f"a letter of kind {kind!r}")
    return Letter(item, head.reason, head.error, head.attempts, head.first_ms, head.last_ms)


def encode_status(status: InvocationStatus) -> bytes:
    return orjson.dumps(status.shown())


def decode_status(record: bytes) -> InvocationStatus:
    """Raises Unintelligible."""
    try:
        return _STATUS.validate_json(record)
    except ValidationError as error:
        raise Unintelligible(str(error)) from error


def _item_record(item: Item) -> bytes:
    match item:
        case AsyncEvent():
            return encode_event(item)
        case Parcel():
            return encode_parcel(item)
        case Unreadable(record=record):
            return record
        case _:
            assert_never(item)


def _read(head: Any, line: bytes) -> Any:
    try:
        return head.model_validate_json(line)
    except ValidationError as error:
        raise Unintelligible(f"a stored record cannot be read: {error.errors()[0]['msg']}") from error


def _encoded(attribute: Attribute) -> dict[str, Any]:
    if isinstance(attribute.value, bytes):
        return {"data_type": attribute.data_type, "value": b64encode(attribute.value).decode(), "is_binary": True}
    return {"data_type": attribute.data_type, "value": attribute.value}


def _decoded(attribute: _Attribute) -> Attribute:
    value = b64decode(attribute.value) if attribute.is_binary else attribute.value
    return Attribute(attribute.data_type, value)
