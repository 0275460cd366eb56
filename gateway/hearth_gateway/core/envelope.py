"""How a message that has more than a body lies in a Redis list.

A plain body is an element as it is; any producer may push one. An element that begins with `MAGIC` is an envelope:

    MAGIC id TAB sequence TAB group TAB sent-ms TAB json TAB death-json LF body

The first byte is one that no UTF-8 text has and that MessagePack never uses, so no plain producer writes it by chance;
what begins so but is no whole envelope is a plain body all the same. What the scripts in Redis need stands before the
JSON, so that they need not read any: they find the id, and say what a dead letter died of by filling the last field.
"""

import base64
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import orjson

from hearth_gateway.core.parcel import Attribute

MAGIC = b"\xc1hearth1\t"

_HEAD = re.compile(
    rb"\xc1hearth1\t(?P<id>[!-~]{1,200})\t(?P<sequence>[0-9]*)\t(?P<group>[^\t\n]*)\t(?P<sent>[0-9]*)"
    rb"\t(?P<rest>[^\t\n]*)\t(?P<death>[^\t\n]*)\n"
)
_ID = re.compile(r"[!-~]{1,200}")
_GROUP = re.compile(r"[^\x00-\x1f]*")


@dataclass(frozen=True, slots=True)
class Death:
    """Why a message is a dead letter. `source_arn` is the queue it died in; `error` has errorType and errorMessage.

    `attempts` counts what failed; times are epoch milliseconds.
    """

    source_arn: str
    error: Mapping[str, Any]
    attempts: int
    first_received_ms: int
    last_failed_ms: int


@dataclass(frozen=True, slots=True)
class Head:
    """What is known of a message beside its id and its body. A plain body has none of it.

    `sequence` is the number that a FIFO queue gave it, 20 digits; `sender` who sent it; `trace_header` is the system
    attribute AWSTraceHeader.
    """

    sent_ms: int | None = None
    attributes: Mapping[str, Attribute] = field(default_factory=dict)
    group_id: str = ""
    deduplication_id: str = ""
    sequence: str = ""
    sender: str = ""
    trace_header: str = ""
    death: Death | None = None


PLAIN = Head()


@dataclass(frozen=True, slots=True)
class Envelope:
    """A message as it lies in a list. `id` is None for a plain body, which gets one when it is first received."""

    id: str | None
    body: bytes
    head: Head = PLAIN


def fitting_id(own_id: str) -> str:
    """The id itself, if an envelope can hold it; else one that is made of it, always the same."""
    return own_id if _ID.fullmatch(own_id) else str(uuid.uuid5(uuid.NAMESPACE_OID, own_id))


def fitting_group(group_id: str) -> str:
    """The group itself, if an envelope can hold it; else one that is made of it, always the same."""
    return group_id if _GROUP.fullmatch(group_id) else quote(group_id)


def pack_envelope(envelope: Envelope) -> bytes:
    """The element for the list.

    Raises ValueError for what the line cannot hold: an id that is not of up to 200 printable characters of ASCII, a
    group with control characters.
    """
    if envelope.id is None:
        return envelope.body
    head = envelope.head
    if not (_ID.fullmatch(envelope.id) and _GROUP.fullmatch(head.group_id)):
        raise ValueError("an envelope cannot hold this id or group")
    fields = (
        envelope.id.encode(),
        head.sequence.encode(),
        head.group_id.encode(),
        b"" if head.sent_ms is None else b"%d" % head.sent_ms,
        _rest(head),
        b"" if head.death is None else pack_death(head.death),
    )
    return MAGIC + b"\t".join(fields) + b"\n" + envelope.body


def unpack_envelope(element: bytes) -> Envelope:
    """What lies in an element of a list. Never fails: what is no whole envelope is a plain body."""
    found = _HEAD.match(element)
    if found is None:
        return Envelope(None, element)
    try:
        head = _head(found)
        return Envelope(found["id"].decode(), element[found.end() :], head)
    except (ValueError, KeyError, TypeError, AttributeError):
        return Envelope(None, element)


def pack_death(death: Death) -> bytes:
    """The last field of an envelope's line."""
    return orjson.dumps(
        {
            "source": death.source_arn,
            "error": dict(death.error),
            "attempts": death.attempts,
            "first": death.first_received_ms,
            "last": death.last_failed_ms,
        }
    )


def _rest(head: Head) -> bytes:
    """Only what is there; orjson escapes every control character."""
    shown: dict[str, Any] = {}
    if head.attributes:
        shown["attributes"] = {name: _packed(one) for name, one in head.attributes.items()}
    named = {"deduplication": head.deduplication_id, "sender": head.sender, "trace": head.trace_header}
    shown |= {name: value for name, value in named.items() if value}
    return orjson.dumps(shown) if shown else b""


def _packed(attribute: Attribute) -> list[str]:
    if isinstance(attribute.value, bytes):
        return [attribute.data_type, "b", base64.b64encode(attribute.value).decode()]
    return [attribute.data_type, "s", attribute.value]


def _unpacked(packed: list[str]) -> Attribute:
    data_type, form, value = packed
    return Attribute(data_type, base64.b64decode(value, validate=True) if form == "b" else value)


def _head(found: re.Match[bytes]) -> Head:
    rest = orjson.loads(found["rest"] or b"{}")
    return Head(
        sent_ms=int(found["sent"]) if found["sent"] else None,
        attributes={name: _unpacked(one) for name, one in rest.get("attributes", {}).items()},
        group_id=found["group"].decode(),
        deduplication_id=rest.get("deduplication", ""),
        sequence=found["sequence"].decode(),
        sender=rest.get("sender", ""),
        trace_header=rest.get("trace", ""),
        death=_death(orjson.loads(found["death"])) if found["death"] else None,
    )


def _death(packed: dict[str, Any]) -> Death:
    return Death(
        source_arn=packed["source"],
        error=packed["error"],
        attempts=packed["attempts"],
        first_received_ms=packed["first"],
        last_failed_ms=packed["last"],
    )
