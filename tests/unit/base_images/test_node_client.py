"""Our transport for the Node.js runtime client, as a process of its own. AWS's part is tested in its image."""

from pathlib import Path
from shutil import which

import pytest
from tests.unit.base_images.conftest import Cell, Spawn
from tests.unit.base_images.peer import Frame, encode

NODE = which("node")
pytestmark = pytest.mark.skipif(NODE is None, reason="Node.js is not installed here; tests/docker covers it")
RUNTIME = Path(__file__).parents[3] / "base_images" / "nodejs" / "hearth_runtime"


@pytest.fixture
def cell(spawn: Spawn) -> Cell:
    assert NODE is not None
    return spawn([NODE, str(Path(__file__).parent / "node_harness.js"), str(RUNTIME)], {})


def test_a_stem_becomes_a_function_and_answers(cell: Cell) -> None:
    cell.client.become("echo", {})
    assert cell.client.invoke({"a": [1, "ü"]}) == {"a": [1, "ü"]}
    assert cell.client.invoke(None, "id-2") is None


def test_headers_that_are_empty_are_absent(cell: Cell) -> None:
    cell.client.become("echo", {})
    assert cell.client.invoke("headers", tenant="blue", arn="") == {
        "lambda-runtime-aws-request-id": "id-1",
        "lambda-runtime-deadline-ms": "4102444800000",
        "lambda-runtime-aws-tenant-id": "blue",
    }


def test_six_megabytes_pass_both_ways(cell: Cell) -> None:
    cell.client.become("echo", {})
    text = "ü" * 3_000_000
    assert cell.client.invoke(text) == text


def test_a_frame_in_small_pieces_is_one_event(cell: Cell) -> None:
    cell.client.become("echo", {})
    event = encode(b"I", ("id-1", "1", "", "", "", "", ""), b'"whole"')
    for byte in event:
        cell.client.peer.send_raw(bytes([byte]))
    assert cell.client.peer.expect(b"R").body == b'"whole"'


def test_after_a_lost_connection_the_client_says_its_answer_again(cell: Cell) -> None:
    cell.client.become("echo", {})
    cell.client.event("first")
    first = cell.client.peer.expect(b"R")
    cell.listener.close()
    cell.client.peer.close()
    cell.listener.open()
    cell.client.reconnect()
    assert cell.client.hello() == "ready"
    assert cell.client.peer.expect(b"R") == first
    cell.client.peer.expect(b"N")
    assert cell.client.invoke("second", "id-2") == "second"


def test_a_stem_that_was_not_specialised_reconnects_as_a_stem(cell: Cell) -> None:
    assert cell.client.hello() == "stem"
    cell.client.peer.close()
    cell.client.reconnect()
    cell.client.become("echo", {})
    assert cell.client.invoke(1) == 1


def test_an_answer_given_just_before_the_exit_arrives_whole(cell: Cell) -> None:
    cell.client.become("echo", {})
    cell.client.event("die")
    answer = cell.client.peer.expect(b"E")
    assert answer.meta == ("id-1", "Error")
    assert len(str(answer.json()["errorMessage"])) == 1_000_000
    assert cell.status() == 129


def test_a_failed_init_is_told_before_the_exit(cell: Cell) -> None:
    assert cell.client.hello() == "stem"
    cell.client.specialise("fail", {})
    frame = cell.client.peer.expect(b"F")
    assert frame.meta == ("Runtime.ImportModuleError",)
    assert frame.json()["errorType"] == "Runtime.ImportModuleError"
    assert cell.status() == 129


def streamed(cell: Cell, name: str, request_id: str = "id/1") -> tuple[list[Frame], bytes]:
    """All frames of a streamed response but its pieces, and these put together."""
    cell.client.event({"stream": name}, request_id)
    frames, body = [], bytearray()
    while (frame := cell.client.peer.receive()).kind not in (b"Z", b"E"):
        assert frame.kind == b"P" or len(frame.body) <= 65_536
        body += frame.body
        assert frame.meta[0] == request_id
        frames += [] if frame.kind == b"D" else [frame]
    return [*frames, frame], bytes(body)


def test_a_stream_arrives_in_the_pieces_it_was_written_in(cell: Cell) -> None:
    cell.client.become("echo", {})
    cell.client.event({"stream": "pieces"})
    peer = cell.client.peer
    assert peer.receive() == Frame(b"P", ("id-1", "application/octet-stream"), b"")
    assert [peer.receive() for _ in range(3)] == [Frame(b"D", ("id-1",), each) for each in (b"one", b"two", b"three")]
    assert peer.receive() == Frame(b"Z", ("id-1",), b"")
    peer.expect(b"N")
    assert cell.client.invoke("next", "id-2") == "next"


def test_a_large_piece_is_cut(cell: Cell) -> None:
    cell.client.become("echo", {})
    frames, body = streamed(cell, "large")
    assert [frame.kind for frame in frames] == [b"P", b"Z"]
    assert body == b"x" * 10_000_000
    cell.client.peer.expect(b"N")


def test_a_stream_that_fails_half_way_ends_with_the_error(cell: Cell) -> None:
    cell.client.become("echo", {})
    (_, end), body = streamed(cell, "fails")
    assert (body, end.meta, end.json()) == (b"half", ("id/1", "Own"), {"errorType": "Own", "errorMessage": "ü"})
    cell.client.peer.expect(b"N")


def test_a_stream_that_is_destroyed_is_told_to_be_half(cell: Cell) -> None:
    cell.client.become("echo", {})
    (_, end), body = streamed(cell, "destroyed")
    assert (body, end.meta) == (b"half", ("id/1", "Runtime.TruncatedResponse"))
    assert end.json()["errorType"] == "Runtime.TruncatedResponse"
    cell.client.peer.expect(b"N")


def test_a_process_that_ends_in_the_middle_of_a_frame_ends_the_frame_first(cell: Cell) -> None:
    cell.client.become("echo", {})
    (_, last), body = streamed(cell, "dies")
    assert (last.kind, last.json()["errorMessage"]) == (b"E", "dead")
    assert 0 < len(body) < 16_000_000
    assert cell.status() == 129


def test_a_stream_whose_scheduler_has_gone_is_written_to_its_end(cell: Cell) -> None:
    cell.client.become("echo", {})
    cell.client.event({"stream": "patient"})
    cell.client.peer.expect(b"P")
    cell.listener.close()
    cell.client.peer.close()
    cell.listener.open()
    cell.client.reconnect()
    assert cell.client.hello() == "ready"
    cell.client.peer.expect(b"N")
    assert cell.client.invoke("next", "id-2") == "next"


def test_a_reader_that_waits_makes_the_writer_wait(cell: Cell) -> None:
    cell.client.become("echo", {})
    _, body = streamed(cell, "patient")
    assert len(body) == 10_000_000
    cell.client.peer.expect(b"N")


def test_an_open_stream_keeps_the_process_alive_and_nothing_else_of_ours_does(cell: Cell) -> None:
    cell.client.become("echo", {})
    assert "PipeWrap" not in str(cell.client.invoke("alive"))
    _, body = streamed(cell, "alive")
    assert b"PipeWrap" in body
    cell.client.peer.expect(b"N")
    assert "PipeWrap" not in str(cell.client.invoke("alive", "id-3"))


def test_the_idle_connection_does_not_keep_the_event_loop_busy(cell: Cell) -> None:
    cell.client.become("echo", {})
    cell.client.event("end")
    assert cell.status() == 0
    assert cell.client.peer.expect(b"R").body == b"null"
