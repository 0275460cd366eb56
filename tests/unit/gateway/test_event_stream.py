"""Event-stream messages, read back by botocore's own parser, which checks every length and checksum."""

import json
from base64 import b64decode

from botocore.eventstream import EventStreamBuffer
from hypothesis import given
from hypothesis import strategies as st

from hearth_gateway.core import event_stream

_NAMES = st.text(st.characters(codec="ascii", min_codepoint=33), min_size=1, max_size=255)
_VALUES = st.text(max_size=1000)


def parsed(data: bytes, piece_bytes: int = 2**20) -> list[tuple[dict[str, str], bytes]]:
    buffer = EventStreamBuffer()
    found = []
    for start in range(0, len(data), piece_bytes):
        buffer.add_data(data[start : start + piece_bytes])
        found += [(message.headers, message.payload) for message in buffer]
    return found


@given(st.lists(st.tuples(st.dictionaries(_NAMES, _VALUES, max_size=4), st.binary(max_size=500))), st.integers(1, 99))
def test_messages_are_read_back_as_they_were_written(
    messages: list[tuple[dict[str, str], bytes]], piece_bytes: int
) -> None:
    wire = b"".join(event_stream.message(headers, payload) for headers, payload in messages)
    assert parsed(wire, piece_bytes) == messages


@given(st.binary(max_size=70_000))
def test_a_chunk_holds_the_bytes_of_the_response(piece: bytes) -> None:
    ((headers, payload),) = parsed(event_stream.payload_chunk(piece))
    assert headers == {
        ":message-type": "event",
        ":event-type": "PayloadChunk",
        ":content-type": "application/octet-stream",
    }
    assert payload == piece


def test_the_end_of_a_success_says_nothing() -> None:
    ((headers, payload),) = parsed(event_stream.invoke_complete())
    assert headers == {
        ":message-type": "event",
        ":event-type": "InvokeComplete",
        ":content-type": "application/json",
    }
    assert payload == b"{}"


def test_the_end_of_a_failure_says_what_failed_and_what_was_logged() -> None:
    end = event_stream.invoke_complete(error_code="Unhandled", error_details='{"a": "ü"}', log_tail=b"\xff log")
    ((_, payload),) = parsed(end)
    said = json.loads(payload)
    assert (said["ErrorCode"], said["ErrorDetails"]) == ("Unhandled", '{"a": "ü"}')
    assert b64decode(said["LogResult"]) == b"\xff log"


def test_a_wanted_log_that_is_empty_is_there() -> None:
    ((_, payload),) = parsed(event_stream.invoke_complete(log_tail=b""))
    assert json.loads(payload) == {"LogResult": ""}
