"""AWS's Python runtime client on our transport, as a process of its own."""

import json
import os
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.base_images.conftest import Cell
from tests.unit.base_images.peer import Frame

from hearth_runtime import frames

ECHO = "def handler(event, context):\n    return event\n"


def test_a_stem_becomes_a_function_and_answers(python_cell: Cell) -> None:
    python_cell.become("app.handler", ECHO)
    assert python_cell.client.invoke({"a": [1, "ü"]}) == {"a": [1, "ü"]}
    assert python_cell.client.invoke(None, "id-2") is None


def test_the_context_says_what_lambda_says(python_cell: Cell) -> None:
    code = """
def handler(event, context):
    import os
    return {
        "name": context.function_name, "version": context.function_version, "memory": context.memory_limit_in_mb,
        "arn": context.invoked_function_arn, "id": context.aws_request_id, "group": context.log_group_name,
        "stream": context.log_stream_name, "custom": context.client_context.custom,
        "identity": context.identity.cognito_identity_id, "tenant": context.tenant_id,
        "trace": os.environ["_X_AMZN_TRACE_ID"], "cwd": os.getcwd(), "left": context.get_remaining_time_in_millis(),
    }
"""
    python_cell.become(
        "app.handler",
        code,
        AWS_LAMBDA_FUNCTION_NAME="hello",
        AWS_LAMBDA_FUNCTION_VERSION="$LATEST",
        AWS_LAMBDA_FUNCTION_MEMORY_SIZE="128",
        AWS_LAMBDA_LOG_GROUP_NAME="/aws/lambda/hello",
        AWS_LAMBDA_LOG_STREAM_NAME="s",
    )
    answer = python_cell.client.invoke(
        {},
        deadline=str(int(time.time() * 1000) + 3_600_000),
        trace="Root=1-5e1b4151-5ac6c58f5b6dbd1f5b6dbd1f",
        client_context='{"custom": {"k": "v"}}',
        cognito='{"cognitoIdentityId": "me", "cognitoIdentityPoolId": "pool"}',
        tenant="blue",
    )
    assert isinstance(answer, dict)
    assert 0 < answer.pop("left") <= 3_600_000
    assert answer == {
        "name": "hello",
        "version": "$LATEST",
        "memory": "128",
        "arn": "arn:aws:lambda:us-east-1:000000000000:function:f",
        "id": "id-1",
        "group": "/aws/lambda/hello",
        "stream": "s",
        "custom": {"k": "v"},
        "identity": "me",
        "tenant": "blue",
        "trace": "Root=1-5e1b4151-5ac6c58f5b6dbd1f5b6dbd1f",
        "cwd": str(python_cell.task),
    }


def test_an_exception_is_an_error_and_the_next_event_is_handled(python_cell: Cell) -> None:
    python_cell.become("app.handler", "def handler(event, context):\n    return 1 / event\n")
    kind, error = python_cell.client.invoke_to_error(0)
    assert kind == "ZeroDivisionError"
    assert error["errorMessage"] == "division by zero"
    assert error["requestId"] == "id-1"
    assert "app.py" in str(error["stackTrace"])
    assert "hearth" not in str(error["stackTrace"])
    assert python_cell.client.invoke(1, "id-2") == 1.0


def test_what_cannot_be_json_is_a_marshal_error(python_cell: Cell) -> None:
    python_cell.become("app.handler", "def handler(event, context):\n    return {1, 2}\n")
    kind, error = python_cell.client.invoke_to_error({})
    assert kind == error["errorType"] == "Runtime.MarshalError"


def test_an_event_that_is_not_json_is_an_unmarshal_error(python_cell: Cell) -> None:
    python_cell.become("app.handler", ECHO)
    python_cell.client.peer.send(b"I", ("id-1", "1", "", "", "", "", ""), b"{")
    assert python_cell.client.peer.expect(b"E").meta == ("id-1", "Runtime.UnmarshalError")


@pytest.mark.parametrize(
    ("handler", "code", "kind", "message"),
    [
        ("nowhere.handler", ECHO, "Runtime.ImportModuleError", "Unable to import module 'nowhere': No module named"),
        ("app.handler", "import nothing_like_it", "Runtime.ImportModuleError", "Unable to import module 'app': No mod"),
        ("app.absent", ECHO, "Runtime.HandlerNotFound", "Handler 'absent' missing on module 'app'"),
        ("app.handler", "def handler(:", "Runtime.UserCodeSyntaxError", "Syntax error in module 'app'"),
        ("app", ECHO, "Runtime.MalformedHandlerName", "Bad handler 'app'"),
        ("app.handler", "raise ValueError('at import')", "ValueError", "at import"),
    ],
)
def test_a_function_that_cannot_be_loaded_says_why_and_exits(
    python_cell: Cell, handler: str, code: str, kind: str, message: str
) -> None:
    told, error = python_cell.fail_to_become(handler, code)
    assert told == error["errorType"] == kind
    assert str(error["errorMessage"]).startswith(message)
    assert error["requestId"] == ""
    assert python_cell.status() == 1


def test_a_handler_in_a_package_is_found_by_slashes_and_by_dots(python_cell: Cell) -> None:
    python_cell.become("src/app.handler", {"src/app.py": ECHO})
    assert python_cell.client.invoke(5) == 5


def test_the_answer_and_the_readiness_for_the_next_event_come_in_one_write(python_cell: Cell) -> None:
    python_cell.become("app.handler", ECHO)
    python_cell.client.event(7)
    expected = frames.encode(b"R", (b"id-1",), b"7") + frames.NEXT_FRAME
    assert python_cell.client.peer.receive_raw(1000) == expected


def test_six_megabytes_pass_both_ways(python_cell: Cell) -> None:
    python_cell.become("app.handler", ECHO)
    text = "x" * 6_000_000
    assert python_cell.client.invoke(text) == text


def test_output_and_log_lines_are_in_the_pipe(python_cell: Cell) -> None:
    code = """
import logging, sys
logging.getLogger().setLevel(logging.INFO)
def handler(event, context):
    print("printed")
    sys.stdout.buffer.write(b"raw")
    logging.info("logged")
"""
    python_cell.become("app.handler", code)
    python_cell.client.invoke({})
    python_cell.process.terminate()
    output = python_cell.output()
    assert output.startswith("printed\nraw")
    assert "\tid-1\tlogged\n" in output
    assert "[INFO]\t20" in output


def test_log_format_json_is_heeded_although_the_client_was_loaded_before(python_cell: Cell) -> None:
    code = "import logging\ndef handler(event, context):\n    logging.warning('%s!', 'hey')\n"
    python_cell.become("app.handler", code, AWS_LAMBDA_LOG_FORMAT="JSON")
    python_cell.client.invoke({})
    python_cell.process.terminate()
    line = json.loads(python_cell.output())
    assert (line["level"], line["message"], line["requestId"]) == ("WARNING", "hey!", "id-1")


def test_after_a_lost_connection_the_client_says_its_answer_again(python_cell: Cell) -> None:
    python_cell.become("app.handler", ECHO)
    python_cell.client.event("first")
    first = python_cell.client.peer.expect(b"R")
    python_cell.listener.close()
    python_cell.client.peer.close()
    python_cell.listener.open()
    python_cell.client.reconnect()
    assert python_cell.client.hello() == "ready"
    assert python_cell.client.peer.expect(b"R") == first
    python_cell.client.peer.expect(b"N")
    assert python_cell.client.invoke("second", "id-2") == "second"


def test_an_answer_that_did_arrive_is_not_said_again_once_an_event_followed(python_cell: Cell) -> None:
    python_cell.become("app.handler", ECHO)
    python_cell.client.invoke("first")
    python_cell.client.event("second", "id-2")
    assert python_cell.client.peer.expect(b"R").meta == ("id-2",)
    python_cell.client.peer.close()
    python_cell.client.reconnect()
    assert python_cell.client.hello() == "ready"
    assert python_cell.client.peer.expect(b"R").meta == ("id-2",)


def test_a_stem_that_was_not_specialised_reconnects_as_a_stem(python_cell: Cell) -> None:
    assert python_cell.client.hello() == "stem"
    python_cell.client.peer.close()
    python_cell.client.reconnect()
    python_cell.become("app.handler", ECHO)
    assert python_cell.client.invoke(1) == 1


def test_a_handler_that_closes_every_descriptor_only_costs_a_reconnection(python_cell: Cell) -> None:
    python_cell.become("app.handler", "import os\ndef handler(e, c):\n    os.closerange(3, 100)\n    return e\n")
    python_cell.client.event("x")
    python_cell.client.reconnect()
    assert python_cell.client.hello() == "ready"
    assert python_cell.client.peer.expect(b"R").body == b'"x"'


def test_a_new_interpreter_keeps_the_connection_and_sees_the_environment(python_cell: Cell) -> None:
    code = """
import os, sys
def handler(event, context):
    return [sys.flags.hash_randomization, os.environ["MINE"], sorted(n for n in os.environ if "HEARTH" in n)]
"""
    python_cell.become("app.handler", code, anew=True, PYTHONHASHSEED="0", MINE="yes")
    assert python_cell.client.invoke({}) == [0, "yes", []]


def test_a_wrapper_script_starts_the_runtime(python_cell: Cell) -> None:
    wrapper = python_cell.task / "wrap"
    wrapper.write_text('#!/bin/sh\nexport WRAPPED=1\nexec "$@"\n')
    wrapper.chmod(0o755)
    code = "import os\ndef handler(event, context):\n    return os.environ['WRAPPED']\n"
    python_cell.become("app.handler", code, anew=True, AWS_LAMBDA_EXEC_WRAPPER=str(wrapper))
    assert python_cell.client.invoke({}) == "1"


def test_a_wrapper_script_that_is_missing_is_told_on_the_output(python_cell: Cell) -> None:
    python_cell.client.hello()
    environment = {**python_cell.environment, "AWS_LAMBDA_EXEC_WRAPPER": "/opt/none"}
    python_cell.client.specialise("app.handler", environment, anew=True)
    assert python_cell.output() == "/opt/none: does not exist\n"
    assert python_cell.status() == 127


def test_the_time_zone_of_the_function_counts(python_cell: Cell) -> None:
    code = "import time\ndef handler(event, context):\n    return time.localtime(0).tm_hour\n"
    python_cell.become("app.handler", code, TZ="XXX-5")
    assert python_cell.client.invoke({}) == 5


def test_exit_in_the_handler_ends_the_process_with_its_status(python_cell: Cell) -> None:
    python_cell.become("app.handler", "import sys\ndef handler(event, context):\n    sys.exit(3)\n")
    python_cell.client.event({})
    assert python_cell.client.peer.is_closed_by_the_other_side()
    assert python_cell.status() == 3


def test_none_of_our_variables_reach_the_function(python_cell: Cell) -> None:
    code = "import os\ndef handler(event, context):\n    return [n for n in os.environ if 'HEARTH' in n]\n"
    python_cell.become("app.handler", code)
    assert python_cell.client.invoke({}) == []


@given(
    st.sampled_from([b"R", b"E", b"H"]),
    st.lists(st.binary(max_size=20).map(lambda field: field.replace(b"\0", b"")), min_size=1, max_size=5),
    st.binary(max_size=50),
)
def test_a_frame_comes_apart_as_it_was_put_together(kind: bytes, meta: list[bytes], body: bytes) -> None:
    frame = frames.encode(kind, tuple(meta), body)
    told_kind, meta_length, body_length = frames.HEADER.unpack_from(frame)
    start = frames.HEADER.size
    assert told_kind == kind
    assert frame[start : start + meta_length].split(b"\0") == meta
    assert frame[start + meta_length :] == body
    assert len(body) == body_length


# -- streams ----------------------------------------------------------------------------------------------------------


def streamed(cell: Cell, event: object = None) -> tuple[Frame, bytes, Frame]:
    """The beginning of a streamed response, its pieces together, and its end."""
    cell.client.event(event)
    begin, body = cell.client.peer.expect(b"P"), b""
    while (frame := cell.client.peer.receive()).kind == b"D":
        assert frame.meta == ("id-1",) and len(frame.body) <= 65_536
        body += frame.body
    return begin, body, frame


def test_what_a_generator_yields_is_sent_piece_by_piece(python_cell: Cell) -> None:
    code = """
import os, socket
def handler(event, context):
    yield "first ü"
    with open(event) as gate: gate.read()
    yield b"second"
"""
    gate = python_cell.task.parent / "gate"
    os.mkfifo(gate)
    python_cell.become("app.handler", code)
    peer = python_cell.client.peer
    python_cell.client.event(str(gate))
    assert peer.expect(b"P").meta == ("id-1", "application/octet-stream")
    assert peer.expect(b"D").body == "first ü".encode()
    gate.write_text("")
    assert peer.expect(b"D").body == b"second"
    assert peer.expect(b"Z").meta == ("id-1",)
    peer.expect(b"N")


def test_a_dict_that_is_yielded_first_is_the_prelude(python_cell: Cell) -> None:
    python_cell.become("app.handler", 'def handler(event, context):\n    yield {"statusCode": 201}\n    yield "body"\n')
    begin, body, end = streamed(python_cell)
    assert begin.meta == ("id-1", "application/vnd.awslambda.http-integration-response")
    assert body == b'{"statusCode": 201}' + bytes(8) + b"body"
    assert end.kind == b"Z"


def test_a_generator_that_yields_nothing_is_an_empty_response(python_cell: Cell) -> None:
    python_cell.become("app.handler", "def handler(event, context):\n    yield from ()\n")
    assert streamed(python_cell)[1:] == (b"", Frame(b"Z", ("id-1",), b""))


def test_a_large_piece_is_cut(python_cell: Cell) -> None:
    python_cell.become("app.handler", 'def handler(event, context):\n    yield bytearray(b"x" * 10_000_000)\n')
    assert streamed(python_cell)[1] == b"x" * 10_000_000


@pytest.mark.parametrize(("broken", "kind"), [("raise KeyError('k')", "KeyError"), ("yield 7", "TypeError")])
def test_a_generator_that_fails_has_its_error_sent_after_its_pieces(python_cell: Cell, broken: str, kind: str) -> None:
    python_cell.become("app.handler", f"def handler(event, context):\n    yield 'half'\n    {broken}\n")
    _, body, end = streamed(python_cell)
    assert (body, end.kind, end.meta, end.json()["errorType"]) == (b"half", b"E", ("id-1", kind), kind)
    python_cell.client.peer.expect(b"N")


def test_a_generator_that_fails_at_once_is_an_ordinary_error(python_cell: Cell) -> None:
    python_cell.become("app.handler", "def handler(event, context):\n    raise KeyError('k')\n    yield\n")
    assert python_cell.client.invoke_to_error(None)[0] == "KeyError"


def test_a_generator_whose_scheduler_has_gone_runs_to_its_end(python_cell: Cell) -> None:
    code = 'def handler(event, context):\n    if event: yield from ["x" * 1_000_000] * 20\n    yield "end"\n'
    python_cell.become("app.handler", code)
    python_cell.client.event(1)
    python_cell.client.peer.expect(b"P")
    python_cell.listener.close()
    python_cell.client.peer.close()
    python_cell.listener.open()
    python_cell.client.reconnect()
    assert python_cell.client.hello() == "ready"
    python_cell.client.peer.expect(b"N")
    assert streamed(python_cell)[1] == b"end"
