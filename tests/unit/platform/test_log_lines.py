"""The lines Lambda writes into a log, byte for byte."""

import json
import math
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hearth.core import log_lines as ll
from hearth.core.invocation import FailureKind

ID = "8f0b1f5e-3d3c-4b60-9f6a-2f7f8a6a6f01"

durations = st.floats(min_value=0.0, max_value=900_000.0)


def test_start_and_end_lines_name_the_request() -> None:
    assert ll.start_line(ID, "$LATEST") == f"START RequestId: {ID} Version: $LATEST\n".encode()
    assert ll.end_line(ID) == f"END RequestId: {ID}\n".encode()


def test_a_warm_report_ends_with_a_tab_and_a_newline() -> None:
    line = ll.report_line(ll.Report(ID, 1.234, 128, 36))
    assert (
        line
        == (
            f"REPORT RequestId: {ID}\tDuration: 1.23 ms\tBilled Duration: 2 ms\t"
            "Memory Size: 128 MB\tMax Memory Used: 36 MB\t\n"
        ).encode()
    )


def test_a_cold_report_bills_the_init_too() -> None:
    line = ll.report_line(ll.Report(ID, 1.23, 128, 36, init_ms=105.3))
    assert line.endswith(b"\tMax Memory Used: 36 MB\tInit Duration: 105.30 ms\t\n")
    assert b"\tBilled Duration: 107 ms\t" in line


@pytest.mark.parametrize(
    ("failure", "error_type", "ending"),
    [
        (FailureKind.TIMEOUT, "", b"\tStatus: timeout\n"),
        (FailureKind.EXIT, "", b"\tStatus: error\tError Type: Runtime.ExitError\n"),
        (FailureKind.OUT_OF_MEMORY, "", b"\tStatus: error\tError Type: Runtime.OutOfMemory\n"),
        (
            FailureKind.INIT,
            "Runtime.ImportModuleError",
            b"\tStatus: error\tError Type: Runtime.ImportModuleError\n",
        ),
    ],
)
def test_a_failure_stands_where_the_tab_was(failure: FailureKind, error_type: str, ending: bytes) -> None:
    line = ll.report_line(ll.Report(ID, 3000, 128, 36, 10.0, failure, error_type))
    assert line.endswith(b"\tInit Duration: 10.00 ms" + ending)


def test_a_caught_exception_gives_an_ordinary_report() -> None:
    assert ll.report_line(ll.Report(ID, 1, 128, 36, failure=FailureKind.HANDLER)).endswith(b" MB\t\n")


@given(durations, durations)
def test_the_bill_covers_what_is_printed_and_less_than_one_millisecond_more(run: float, init: float) -> None:
    printed = float(f"{run:.2f}") + float(f"{init:.2f}")
    billed = ll.billed_ms(run, init)
    assert billed >= printed - 0.02
    assert billed <= math.ceil(printed + 0.02) or billed == 1


def test_binary_fractions_do_not_add_a_millisecond() -> None:
    assert ll.billed_ms(100.1, 0.9) == 101
    assert ll.billed_ms(544.9, 900_000.0) == 900_545


def test_the_timeout_line_has_the_time_and_two_decimals() -> None:
    line = ll.timed_out_line(ID, 3, 1_795_253_405_568)
    assert line == f"2026-11-21T09:30:05.568Z {ID} Task timed out after 3.00 seconds\n\n".encode()


@pytest.mark.parametrize(
    ("status", "signal", "text"),
    [
        (0, 0, "Runtime exited without providing a reason"),
        (127, 0, "Runtime exited with error: exit status 127"),
        (0, 9, "Runtime exited with error: signal: killed"),
        (0, 40, "Runtime exited with error: signal: signal 40"),
    ],
)
def test_the_end_of_a_process_is_said_in_lambdas_words(status: int, signal: int, text: str) -> None:
    lines = ll.exit_lines(ID, status=status, signal=signal, is_out_of_memory=False)
    assert lines == f"RequestId: {ID} Error: {text}\nRuntime.ExitError\n".encode()
    payload = json.loads(ll.exit_payload(ID, status=status, signal=signal, is_out_of_memory=False))
    assert payload == {"errorType": "Runtime.ExitError", "errorMessage": f"RequestId: {ID} Error: {text}"}


def test_out_of_memory_has_its_own_type() -> None:
    payload = json.loads(ll.exit_payload(ID, status=0, signal=9, is_out_of_memory=True))
    assert payload["errorType"] == "Runtime.OutOfMemory"


def test_the_platforms_payloads_have_two_members() -> None:
    assert json.loads(ll.timeout_payload(ID, 1)) == {
        "errorType": "Sandbox.Timedout",
        "errorMessage": f"RequestId: {ID} Error: Task timed out after 1.00 seconds",
    }
    assert json.loads(ll.response_too_large_payload()) == {
        "errorType": "Function.ResponseSizeTooLarge",
        "errorMessage": "Response payload size exceeded maximum allowed payload size (6291556 bytes).",
    }


def test_an_error_type_of_another_form_is_unknown() -> None:
    assert ll.clean_error_type("Runtime.ImportModuleError") == "Runtime.ImportModuleError"
    assert ll.clean_error_type("Function.<oops>") == "Function.Unknown"
    assert ll.clean_error_type("evil\r\nheader") == "Runtime.Unknown"


def test_the_stream_keeps_the_environments_id() -> None:
    name = ll.stream_name(date(2026, 11, 21), "$LATEST", "0123456789abcdef0123456789abcdef")
    assert name == "2026/11/21/[$LATEST]0123456789abcdef0123456789abcdef"


def test_functions_in_a_group_of_their_choice_are_told_apart_by_their_streams() -> None:
    name = ll.stream_name(date(2026, 11, 21), "7", "0123456789abcdef0123456789abcdef", function="hello")
    assert name == "2026/11/21/hello[7]0123456789abcdef0123456789abcdef"
    assert ll.is_stream_of(name, "hello")
    assert not ll.is_stream_of(name, "hell")
    assert not ll.is_stream_of(name, "ello")


@given(st.text(max_size=64))
def test_any_environment_id_gives_32_hex_digits(environment_id: str) -> None:
    digits = ll.stream_name(date(2026, 1, 2), "7", environment_id).removeprefix("2026/01/02/[7]")
    assert len(digits) == 32
    assert set(digits) <= set("0123456789abcdef")


def test_an_interpreter_that_stands_in_for_another_is_named() -> None:
    line = ll.init_start_line("nodejs18.x", "us-east-1", interpreter="nodejs22.x").decode()
    assert line.startswith("INIT_START Runtime Version: nodejs:18.v1\t")
    assert line.endswith("\tRunning On: nodejs22.x\n")
    assert "Running On" not in ll.init_start_line("go1.x", "us-east-1", interpreter="provided").decode()


def test_init_lines_name_the_runtime_and_the_phase() -> None:
    line = ll.init_start_line("python3.13", "us-east-1", interpreter="python3.13").decode()
    version, _, arn = line.removeprefix("INIT_START Runtime Version: ").partition("\tRuntime Version ARN: ")
    assert version == "python:3.13.v1"
    assert arn.startswith("arn:aws:lambda:us-east-1::runtime:")
    node = ll.init_start_line("nodejs20.x", "us-east-1", interpreter="nodejs20.x")
    assert node.startswith(b"INIT_START Runtime Version: nodejs:20.v1\t")
    report = ll.init_report_line(10009.09, phase="init", failure=FailureKind.TIMEOUT)
    assert report == b"INIT_REPORT Init Duration: 10009.09 ms\tPhase: init\tStatus: timeout\n"


def test_an_image_that_could_not_be_started_is_told_with_what_was_tried() -> None:
    image = ll.ImageStart(("/run", "-x"), ("app.handler",), "/srv")
    lines = ll.launch_lines("id", FailureKind.INVALID_ENTRYPOINT, "fork/exec /run: no such file", image)

    assert lines.decode() == (
        "IMAGE\tLaunch error: fork/exec /run: no such file\tEntry Point: [/run -x]\tCmd: [app.handler]\t"
        "WorkingDir: [/srv]\n"
        "RequestId: id Error: fork/exec /run: no such file\nRuntime.InvalidEntrypoint\n"
    )


def test_a_runtime_that_could_not_be_started_is_told_without_an_image() -> None:
    lines = ll.launch_lines("id", FailureKind.INVALID_WORKING_DIR, "chdir /srv: no such file", None)

    assert lines == b"RequestId: id Error: chdir /srv: no such file\nRuntime.InvalidWorkingDir\n"
    assert ll.launch_payload("id", FailureKind.INVALID_WORKING_DIR, "chdir /srv: no such file") == (
        b'{"errorType":"Runtime.InvalidWorkingDir","errorMessage":"RequestId: id Error: chdir /srv: no such file"}'
    )
