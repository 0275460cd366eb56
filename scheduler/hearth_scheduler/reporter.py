"""Writes each function's log: platform lines and output, in the order of AWS Lambda's own log (START, output, END,
REPORT), and turns endings into outcomes."""

import os
import time
from collections.abc import Callable
from datetime import UTC, datetime

from hearth.core import log_lines
from hearth.core.arns import log_group
from hearth.core.function import FunctionVersion
from hearth.core.invocation import (
    MAX_RESPONSE_BYTES,
    FailureKind,
    FunctionFailed,
    Outcome,
    PlatformFailed,
    Succeeded,
    Throttled,
    ThrottleReason,
)
from hearth.ports import LogSink
from hearth_scheduler.calls import Call
from hearth_scheduler.core.effects import Verdict
from hearth_scheduler.member import Member
from hearth_scheduler.streams import Relay, Streamed

MIB = 2**20
_PLATFORM_WORDS = {
    Verdict.DIED: "the execution environment was lost while it handled the event",
    Verdict.SHUTDOWN: "Hearth is shutting down",
}


class Reporter:
    """`wall` gives epoch seconds."""

    def __init__(self, logs: LogSink, region: str, wall: Callable[[], float] = time.time) -> None:
        self.wall = wall
        self._logs = logs
        self._region = region

    def new_stream(self, function: FunctionVersion, environment_id: str) -> str:
        """The name of an environment's log stream, dated today."""
        today = datetime.fromtimestamp(self.wall(), UTC).date()
        named = "" if function.log_group == log_group(function.name) else function.name
        return log_lines.stream_name(today, function.version, environment_id, function=named)

    def _write(self, member: Member, text: bytes, call: Call | None) -> None:
        if member.function is not None:
            self._logs.append(member.function.log_group, member.stream, text, int(self.wall() * 1000))
            if call is not None and call.tail is not None:
                call.log(text.replace(b"\r\n", b"\n").replace(b"\r", b"\n") if b"\r" in text else text)

    def output(self, member: Member, data: bytes) -> None:
        """What the function printed. Runtime clients write the line breaks inside one record as carriage returns; the
        log keeps them so, that a record stays one event."""
        member.is_mid_line = not data.endswith(b"\n")
        self._write(member, data, member.call)

    def _say(self, member: Member, lines: bytes, call: Call | None) -> None:
        """A line of the platform's own begins on a line of its own, however the output before it ended."""
        if member.is_mid_line:
            member.is_mid_line = False
            lines = b"\n" + lines
        self._write(member, lines, call)

    def init_started(self, member: Member) -> None:
        """A cold start begins. Nothing is known of the runtime that an image brings."""
        if member.function is not None and member.function.image is not None:
            return
        runtime = member.runtime if member.function is None else member.function.runtime
        self._say(member, log_lines.init_start_line(runtime, self._region, interpreter=member.runtime), None)

    def started(self, member: Member, call: Call) -> None:
        """The event is handed over."""
        version = call.invocation.function.version
        self._say(member, log_lines.start_line(call.invocation.request_id, version), call)

    def finished(
        self,
        member: Member,
        call: Call,
        now: float,
        *,
        failure: FailureKind = FailureKind.HANDLER,
        error_type: str = "",
    ) -> None:
        """END and REPORT; `failure`: how the platform ended it, if it did."""
        function = member.function or call.invocation.function
        duration_s = now - call.dispatched_at if call.dispatched_at else 0.0
        report = log_lines.Report(
            request_id=call.invocation.request_id,
            duration_ms=min(duration_s, float(function.timeout_s)) * 1000,
            memory_mb=function.memory_mib,
            max_memory_mb=min(function.memory_mib, max(1, -(-member.peak_bytes // MIB))),
            init_ms=call.init_s * 1000 if call.init_s else None,
            failure=failure,
            error_type=error_type,
        )
        lines = log_lines.end_line(call.invocation.request_id) + log_lines.report_line(report)
        self._say(member, lines, call)

    # -- outcomes --------------------------------------------------------------------------------------------------

    def answer(self, call: Call, body: bytes, *, is_error: bool, oversize: int) -> Outcome:
        """The handler's own answer."""
        if oversize or len(body) > MAX_RESPONSE_BYTES:
            return self.too_large(call, MAX_RESPONSE_BYTES)
        if is_error:
            return FunctionFailed(FailureKind.HANDLER, body, call.ledger)
        return Succeeded(body, call.ledger)

    def streamed(self, call: Call, response: Streamed, error: bytes | None) -> Outcome:
        """The end of a response that came in pieces."""
        if error is not None:
            return FunctionFailed(FailureKind.HANDLER, error, call.ledger)
        if isinstance(response, Relay):
            return Succeeded(b"", call.ledger)
        if response.oversize:
            return self.too_large(call, MAX_RESPONSE_BYTES)
        return Succeeded(bytes(response.body), call.ledger, content_type=response.content_type)

    def too_large(self, call: Call, max_bytes: int) -> Outcome:
        """The response is larger than may be."""
        payload = log_lines.response_too_large_payload(max_bytes)
        return FunctionFailed(FailureKind.RESPONSE_TOO_LARGE, payload, call.ledger)

    def with_tail(self, outcome: Outcome, call: Call) -> Outcome:
        """The outcome with the end of the invocation's log."""
        if isinstance(outcome, Succeeded | FunctionFailed) and call.tail is not None:
            return outcome._replace(log_tail=call.last_log)
        return outcome

    def concluded(self, call: Call, verdict: Verdict, member: Member | None, *, oom: bool, error: str) -> Outcome:
        """The end of a request that its handler did not answer, written into the log as well."""
        match verdict:
            case Verdict.TIMED_OUT | Verdict.INIT_TIMED_OUT:
                outcome = self._timed_out(call, member)
            case Verdict.INIT_FAILED if member is not None and member.init_error is not None:
                outcome = self._init_failed(call, member, member.init_error)
            case Verdict.DIED if member is not None and member.exit_status is not None:
                outcome = self._exited(call, member, member.exit_status, oom=oom)
            case Verdict.NO_MEMORY:
                outcome = Throttled(ThrottleReason.ACCOUNT)
            case Verdict.NO_ENVIRONMENT | Verdict.INIT_FAILED:
                words = f"no execution environment could be made ready in time: {error or 'all are starting'}"
                outcome = PlatformFailed(words, was_started=False, ledger=call.ledger)
            case Verdict.DELETED:
                words = f"Function not found: {call.invocation.invoked_arn}"
                outcome = PlatformFailed(words, was_started=False, ledger=call.ledger, is_gone=True)
            case Verdict.DIED | Verdict.SHUTDOWN:
                started = bool(call.dispatched_at)
                outcome = PlatformFailed(_PLATFORM_WORDS[verdict], was_started=started, ledger=call.ledger)
        return self.with_tail(outcome, call)

    def _timed_out(self, call: Call, member: Member | None) -> Outcome:
        request_id, seconds = call.invocation.request_id, float(call.invocation.function.timeout_s)
        if member is not None:
            if not call.dispatched_at:  # it was the init that took too long
                self.started(member, call)
            line = log_lines.timed_out_line(request_id, seconds, int(self.wall() * 1000))
            self._say(member, line, call)
            self.finished(member, call, call.dispatched_at + seconds, failure=FailureKind.TIMEOUT)
        return FunctionFailed(FailureKind.TIMEOUT, log_lines.timeout_payload(request_id, seconds), call.ledger)

    def _exited(self, call: Call, member: Member, ended: tuple[int, int], *, oom: bool) -> Outcome:
        if member.launch_failure is not None:
            return self._not_launched(call, member, *member.launch_failure)
        kind = FailureKind.OUT_OF_MEMORY if oom else FailureKind.EXIT
        request_id, (status, signal) = call.invocation.request_id, ended
        if not call.dispatched_at:
            self.started(member, call)
        lines = log_lines.exit_lines(request_id, status=status, signal=signal, is_out_of_memory=oom)
        self._say(member, lines, call)
        self.finished(member, call, call.answered_at, failure=kind)
        payload = log_lines.exit_payload(request_id, status=status, signal=signal, is_out_of_memory=oom)
        return FunctionFailed(kind, payload, call.ledger)

    def _not_launched(self, call: Call, member: Member, step: str, error_number: int) -> Outcome:
        """Its runtime could not be begun: there is no such program, or no such directory."""
        launch = None if member.container is None else member.container.launch
        entry_point, command = (launch.entry_point or (), launch.command or ()) if launch else ((), ())
        image = log_lines.ImageStart(entry_point, command, (launch.directory if launch else None) or "/")
        is_exec = step == "exec"
        kind = FailureKind.INVALID_ENTRYPOINT if is_exec else FailureKind.INVALID_WORKING_DIR
        what = f"fork/exec {' '.join((*entry_point, *command)[:1])}" if is_exec else f"chdir {image.directory}"
        problem = f"{what}: {os.strerror(error_number).lower()}"
        request_id = call.invocation.request_id
        self.started(member, call)
        is_image = member.function is not None and member.function.image is not None
        self._say(member, log_lines.launch_lines(request_id, kind, problem, image if is_image else None), call)
        self.finished(member, call, call.answered_at, failure=kind)
        return FunctionFailed(kind, log_lines.launch_payload(request_id, kind, problem), call.ledger)

    def _init_failed(self, call: Call, member: Member, error: tuple[str, bytes]) -> Outcome:
        error_type, body = error
        self.started(member, call)
        self.finished(member, call, call.answered_at, failure=FailureKind.INIT, error_type=error_type)
        return FunctionFailed(FailureKind.INIT, body, call.ledger)
