"""Messages of an event stream, the form of InvokeWithResponseStream's answer.

    total length (u32) | length of the headers (u32) | CRC-32 of these 8 bytes
    headers: each name length (u8), name, type (u8; 7 is text), value length (u16), value
    payload
    CRC-32 of all bytes before

Integers are big-endian. Source: "Event stream encoding" in the Amazon Transcribe developer guide, which is where AWS
describes it; the events are those of InvokeWithResponseStreamResponseEvent in the AWS Lambda API reference.
"""

import json
from base64 import b64encode
from collections.abc import Mapping
from struct import Struct
from zlib import crc32

CONTENT_TYPE = "application/vnd.amazon.eventstream"

_LENGTHS = Struct(">II")
_CRC = Struct(">I")
_VALUE = Struct(">BH")
_TEXT = 7
_AROUND = _LENGTHS.size + 2 * _CRC.size  # everything but headers and payload


def message(headers: Mapping[str, str], payload: bytes) -> bytes:
    """One message; headers are text."""
    return _framed(b"".join(_header(name, value) for name, value in headers.items()), payload)


def payload_chunk(piece: bytes) -> bytes:
    """A piece of the function's response."""
    return _framed(_CHUNK, piece)


def invoke_complete(*, error_code: str = "", error_details: str = "", log_tail: bytes | None = None) -> bytes:
    """The last message: whether the function succeeded, and the end of its log for a caller that wants it."""
    members = {"ErrorCode": error_code, "ErrorDetails": error_details}
    said = {name: value for name, value in members.items() if value}
    if log_tail is not None:
        said["LogResult"] = b64encode(log_tail).decode()
    return _framed(_COMPLETE, json.dumps(said, separators=(",", ":")).encode())


def _framed(headers: bytes, payload: bytes) -> bytes:
    lengths = _LENGTHS.pack(_AROUND + len(headers) + len(payload), len(headers))
    head = lengths + _CRC.pack(crc32(lengths)) + headers
    return b"".join((head, payload, _CRC.pack(crc32(payload, crc32(head)))))


def _header(name: str, value: str) -> bytes:
    label, text = name.encode(), value.encode()
    return bytes([len(label)]) + label + _VALUE.pack(_TEXT, len(text)) + text


def _event(kind: str, content_type: str) -> bytes:
    headers = {":message-type": "event", ":event-type": kind, ":content-type": content_type}
    return b"".join(_header(name, value) for name, value in headers.items())


_CHUNK = _event("PayloadChunk", "application/octet-stream")
_COMPLETE = _event("InvokeComplete", "application/json")
