"""The lines Lambda itself writes into a function's log, and the error payloads it makes up for a function that cannot.

Rule 1: fields are separated by tabs, and tools parse them: `sam logs`, log subscriptions, dashboards.
Rule 2: every line is bytes and ends with a newline, so that lines and output are joined by concatenation.
Source: the AWS Lambda developer guide, "Viewing CloudWatch logs for Lambda" and "Understanding the log format".
"""

import json
import re
from datetime import UTC, date, datetime
from hashlib import sha256
from typing import NamedTuple

from hearth.core.invocation import MAX_RESPONSE_BYTES, FailureKind
from hearth.core.runtimes import RUNTIMES, runtime_version_arn, version_label

LOG_TAIL_BYTES = 4096
"""What `X-Amz-Log-Result` carries, before base64 (AWS Lambda API, Invoke)."""

# Lambda reports signals in the words of Go's syscall package (Linux).
_SIGNALS = {
    1: "hangup",
    2: "interrupt",
    3: "quit",
    4: "illegal instruction",
    5: "trace/breakpoint trap",
    6: "aborted",
    7: "bus error",
    8: "floating point exception",
    9: "killed",
    10: "user defined signal 1",
    11: "segmentation fault",
    12: "user defined signal 2",
    13: "broken pipe",
    14: "alarm clock",
    15: "terminated",
}

_ERROR_TYPE = re.compile(r"(Runtime|Function)\.[A-Z][a-zA-Z]+")


class Report(NamedTuple):
    """The figures of one REPORT line. `init_ms` is None when the environment was warm.

    `failure` is what the platform saw; a caught exception (`HANDLER`) is no failure of the platform's and gives the
    ordinary line. `error_type` is the runtime's own word for it, where it gave one (`Runtime.ImportModuleError`).
    """

    request_id: str
    duration_ms: float
    memory_mb: int
    max_memory_mb: int
    init_ms: float | None = None
    failure: FailureKind = FailureKind.HANDLER
    error_type: str = ""


def init_start_line(runtime: str, region: str, *, interpreter: str) -> bytes:
    """INIT_START: the first line of an environment. The last field is there only where another interpreter of the same
    family stands in for the function's own."""
    version = f"{version_label(runtime)}.v1"
    arn = runtime_version_arn(region, runtime, interpreter)
    known = RUNTIMES.get(runtime)
    standing_in = known is not None and known.interpreter != interpreter
    note = f"\tRunning On: {interpreter}" if standing_in else ""
    return f"INIT_START Runtime Version: {version}\tRuntime Version ARN: {arn}{note}\n".encode()


def init_report_line(init_ms: float, *, phase: str, failure: FailureKind, error_type: str = "") -> bytes:
    """INIT_REPORT: only for an init phase that failed or timed out. `phase` is `init` or `invoke`."""
    status = _status(failure, error_type)
    return f"INIT_REPORT Init Duration: {init_ms:.2f} ms\tPhase: {phase}\t{status}\n".encode()


def start_line(request_id: str, version: str) -> bytes:
    """START: before the function's own output."""
    return f"START RequestId: {request_id} Version: {version}\n".encode()


def end_line(request_id: str) -> bytes:
    """END: after the function's own output."""
    return f"END RequestId: {request_id}\n".encode()


def report_line(report: Report) -> bytes:
    """REPORT: ends with a tab, or, for a failure the platform saw, with its status instead."""
    init = "" if report.init_ms is None else f"Init Duration: {report.init_ms:.2f} ms\t"
    return (
        f"REPORT RequestId: {report.request_id}\tDuration: {report.duration_ms:.2f} ms\t"
        f"Billed Duration: {billed_ms(report.duration_ms, report.init_ms)} ms\t"
        f"Memory Size: {report.memory_mb} MB\tMax Memory Used: {report.max_memory_mb} MB\t"
        f"{init}{_status(report.failure, report.error_type)}\n"
    ).encode()


def billed_ms(duration_ms: float, init_ms: float | None) -> int:
    """Init and handler together, rounded up to a millisecond; at least one.

    Counted in hundredths, as printed, so that 100.10 + 0.90 is 101 and not, by binary fractions, 102.
    """
    hundredths = round(duration_ms * 100) + round((init_ms or 0.0) * 100)
    return max(1, -(-hundredths // 100))


def timed_out_line(request_id: str, timeout_s: float, at_ms: int) -> bytes:
    """Stands between the output and END of an invocation that was killed at its deadline. `at_ms`: epoch."""
    return f"{iso_time(at_ms)} {request_id} Task timed out after {timeout_s:.2f} seconds\n\n".encode()


def exit_lines(request_id: str, *, status: int, signal: int, is_out_of_memory: bool) -> bytes:
    """Stand between the output and END of an invocation whose runtime process ended."""
    kind = _exit_kind(is_out_of_memory)
    return f"RequestId: {request_id} Error: {exit_reason(status, signal)}\n{kind.value}\n".encode()


def exit_reason(status: int, signal: int) -> str:
    """How a runtime process ended, in Lambda's words. `signal` is 0 unless a signal ended it."""
    if signal:
        return f"Runtime exited with error: signal: {_SIGNALS.get(signal, f'signal {signal}')}"
    if status:
        return f"Runtime exited with error: exit status {status}"
    return "Runtime exited without providing a reason"


def timeout_payload(request_id: str, timeout_s: float) -> bytes:
    """The answer for an invocation that was killed at its deadline."""
    message = f"RequestId: {request_id} Error: Task timed out after {timeout_s:.2f} seconds"
    return error_payload(FailureKind.TIMEOUT.value, message)


def exit_payload(request_id: str, *, status: int, signal: int, is_out_of_memory: bool) -> bytes:
    """The answer for an invocation whose runtime process ended without giving one."""
    message = f"RequestId: {request_id} Error: {exit_reason(status, signal)}"
    return error_payload(_exit_kind(is_out_of_memory).value, message)


def launch_lines(request_id: str, kind: FailureKind, problem: str, image: "ImageStart | None") -> bytes:
    """Stand between START and END of an invocation whose runtime could not be begun. `image`: what was to be started,
    where that is the function's own affair."""
    said = "" if image is None else _image_line(image, problem)
    return f"{said}RequestId: {request_id} Error: {problem}\n{kind.value}\n".encode()


def launch_payload(request_id: str, kind: FailureKind, problem: str) -> bytes:
    """The answer for an invocation whose runtime could not be begun."""
    return error_payload(kind.value, f"RequestId: {request_id} Error: {problem}")


class ImageStart(NamedTuple):
    """What a container image is started with."""

    entry_point: tuple[str, ...]
    command: tuple[str, ...]
    directory: str


def _image_line(image: ImageStart, problem: str) -> str:
    entry_point, command = " ".join(image.entry_point), " ".join(image.command)
    return (
        f"IMAGE\tLaunch error: {problem}\tEntry Point: [{entry_point}]\tCmd: [{command}]\t"
        f"WorkingDir: [{image.directory}]\n"
    )


def response_too_large_payload(max_bytes: int = MAX_RESPONSE_BYTES) -> bytes:
    """The answer in place of a response over the limit."""
    message = f"Response payload size exceeded maximum allowed payload size ({max_bytes} bytes)."
    return error_payload(FailureKind.RESPONSE_TOO_LARGE.value, message)


def error_payload(error_type: str, message: str) -> bytes:
    """An error object of the platform's: these two members and no other."""
    body = {"errorType": error_type, "errorMessage": message}
    return json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode()


def clean_error_type(reported: str) -> str:
    """A runtime's own error type, if it has the documented form; anything could stand in that header."""
    if _ERROR_TYPE.fullmatch(reported):
        return reported
    return "Function.Unknown" if reported.startswith("Function.") else "Runtime.Unknown"


def stream_name(day: date, version: str, environment_id: str, *, function: str = "") -> str:
    """The log stream of one environment: `2026/11/21/[$LATEST]` and 32 hex digits. With a `function` its name stands
    in front of the version: that is how functions in a log group of their own choice, which may be several, are told
    apart (`is_stream_of`).

    An id that is 32 hex digits already (dashes aside) is kept, so that a stream is found by its environment.
    """
    digits = environment_id.replace("-", "").lower()
    if not re.fullmatch(r"[0-9a-f]{32}", digits):
        digits = sha256(environment_id.encode()).hexdigest()[:32]
    return f"{day:%Y/%m/%d}/{function}[{version}]{digits}"


def is_stream_of(stream: str, function: str) -> bool:
    """Whether a stream with a function's name in it has this one."""
    return stream.rpartition("/")[2].startswith(f"{function}[")


def iso_time(at_ms: int) -> str:
    """UTC with milliseconds and `Z`, as Lambda's own lines carry it. `at_ms`: epoch."""
    moment = datetime.fromtimestamp(at_ms // 1000, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{at_ms % 1000:03d}Z"


def _status(failure: FailureKind, error_type: str) -> str:
    if failure is FailureKind.HANDLER:
        return ""
    if failure is FailureKind.TIMEOUT:
        return "Status: timeout"
    return f"Status: error\tError Type: {error_type or failure.value}"


def _exit_kind(is_out_of_memory: bool) -> FailureKind:
    return FailureKind.OUT_OF_MEMORY if is_out_of_memory else FailureKind.EXIT
