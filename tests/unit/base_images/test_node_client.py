"""Our transport for the Node.js runtime client, as a process of its own. AWS's part is tested in its image."""

from pathlib import Path
from shutil import which

import pytest
from tests.unit.base_images.conftest import Cell, Spawn
from tests.unit.base_images.peer import encode

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


def test_the_idle_connection_does_not_keep_the_event_loop_busy(cell: Cell) -> None:
    cell.client.become("echo", {})
    cell.client.event("end")
    assert cell.status() == 0
    assert cell.client.peer.expect(b"R").body == b"null"
