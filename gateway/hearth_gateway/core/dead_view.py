"""Dead letters as they are looked at, whatever box they lie in.

A box is the default store's of a function or a target, a queue of Hearth's own, or a list of a named connection. What
lies in queues and lists is either an envelope that tells what its message died of, or the JSON of
docs/queue-protocol.md; anything else is a body of which nothing more is known.
"""

import binascii
import hashlib
from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import orjson

from hearth_gateway.core.dead_letter import Letter, Unreadable
from hearth_gateway.core.envelope import Envelope, Head, pack_envelope
from hearth_gateway.core.parcel import Attribute

_ID_LENGTH = 32
_UNKNOWN = "Unknown"


@dataclass(frozen=True, slots=True)
class Dead:
    """One dead letter. `source` is where it goes when it is sent again, "" if nobody knows; `revived` is the element of
    a list or queue that it then is, `sender` the ARN of what it came from, where that is something else. Times are
    epoch milliseconds, 0 where they are not known."""

    id: str
    payload: bytes
    source: str
    reason: str
    error: Mapping[str, Any] = field(default_factory=dict)
    attempts: int = 0
    first_ms: int = 0
    last_ms: int = 0
    element: bytes = b""
    revived: bytes = b""
    sender: str = ""

    def shown(self, *, is_whole: bool) -> dict[str, Any]:
        """As JSON shows it; the payload only where that was asked for."""
        brief = {
            "id": self.id,
            "source": self.source,
            "sender": self.sender,
            "reason": self.reason,
            "error": dict(self.error),
            "attempts": self.attempts,
            "first_ms": self.first_ms or None,
            "last_ms": self.last_ms or None,
            "bytes": len(self.payload),
        }
        if not is_whole:
            return brief
        try:
            return {**brief, "payload": self.payload.decode(), "encoding": "utf-8"}
        except UnicodeDecodeError:
            return {**brief, "payload": b64encode(self.payload).decode(), "encoding": "base64"}


def of_store(letter: Letter, source: str) -> Dead:
    """A letter of the default store. `source` is the ARN of the function or target."""
    return Dead(
        letter.id,
        letter.payload,
        "" if isinstance(letter.item, Unreadable) else source,
        letter.reason,
        letter.error,
        letter.attempts,
        letter.first_ms,
        letter.last_ms,
        sender=letter.sender,
    )


def of_element(element: bytes, envelope: Envelope) -> Dead:
    """What lies in a queue or list."""
    death = envelope.head.death
    if death is None:
        return _of_json(element, envelope)
    alive = replace(envelope, head=replace(envelope.head, death=None))
    return Dead(
        envelope.id or _digest(element),
        envelope.body,
        death.source_arn,
        str(death.error.get("errorType", "")) or _UNKNOWN,
        death.error,
        death.attempts,
        death.first_received_ms,
        death.last_failed_ms,
        element,
        pack_envelope(alive),
    )


def _of_json(element: bytes, envelope: Envelope) -> Dead:
    """The JSON record of a dead letter; a body of which nothing is known, if it is none."""
    unknown = Dead(envelope.id or _digest(element), envelope.body, "", _UNKNOWN, element=element, revived=envelope.body)
    try:
        told = orjson.loads(envelope.body)
        payload = told["payload"].encode() if told["encoding"] == "utf-8" else b64decode(told["payload"])
        error = dict(told["error"])
        return Dead(
            str(told["id"]),
            payload,
            str(told["source"]),
            str(error.get("errorType", "")) or _UNKNOWN,
            error,
            int(told["attempts"]),
            int(told["first_received"]),
            int(told["last_failed"]),
            element,
            _alive(told, payload),
        )
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError, AttributeError, binascii.Error):
        return unknown


def _alive(told: Mapping[str, Any], payload: bytes) -> bytes:
    """The message again: a plain body, unless it was sent with more."""
    if not any(told.get(name) for name in ("attributes", "group_id", "sent")):
        return payload
    attributes = {name: _attribute(one) for name, one in told.get("attributes", {}).items()}
    head = Head(sent_ms=told.get("sent"), attributes=attributes, group_id=str(told.get("group_id", "")))
    return pack_envelope(Envelope(str(told["id"]), payload, head))


def _attribute(shown: Mapping[str, Any]) -> Attribute:
    """An attribute of the JSON record, whose members are those of an event's `messageAttributes`."""
    kind = str(shown["dataType"])
    if "binaryValue" in shown:
        return Attribute(kind, b64decode(shown["binaryValue"]))
    return Attribute(kind, str(shown["stringValue"]))


def _digest(element: bytes) -> str:
    return hashlib.sha256(element).hexdigest()[:_ID_LENGTH]
