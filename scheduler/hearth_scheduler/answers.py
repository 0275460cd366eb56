"""What handlers answer, in one piece or in many, on its way to their callers."""

from collections import Counter
from collections.abc import Callable

from hearth.core.invocation import Outcome
from hearth_scheduler.calls import Call
from hearth_scheduler.core.stream_pace import Pace, StreamLimits
from hearth_scheduler.member import Member
from hearth_scheduler.reporter import Reporter
from hearth_scheduler.streams import Collected, Relay, Source


class Answers:
    """Part of the engine: what it hears from a handler before the handler's environment asks for its next event."""

    def __init__(
        self, reporter: Reporter, limits: StreamLimits, counters: Counter[str], clock: Callable[[], float]
    ) -> None:
        self._reporter = reporter
        self._limits = limits
        self._counters = counters
        self._clock = clock

    def answered(self, member: Member, request_id: str, body: bytes, *, is_error: bool, oversize: int) -> None:
        """The handler's answer goes to the caller at once, unless the caller waits for the log."""
        call = self._call(member, request_id)
        if call is not None:
            self._settle(call, self._reporter.answer(call, body, is_error=is_error, oversize=oversize))

    def _call(self, member: Member, request_id: str) -> Call | None:
        """What the environment speaks of, if it is not old news."""
        call = member.call
        if call is None or call.invocation.request_id != request_id:
            self._counters["late-answers"] += 1
            return None
        return call

    def _settle(self, call: Call, outcome: Outcome) -> None:
        call.closed(self._clock())
        call.outcome = outcome
        if call.streamed is not None:
            call.streamed.close()
        if call.tail is None:
            call.resolve(outcome)

    def stream_began(self, member: Member, request_id: str, content_type: str, source: Source) -> None:
        """The handler begins to answer in pieces, read from `source`."""
        call = self._call(member, request_id)
        if call is None:
            return
        self._counters["streams"] += 1
        sink = call.invocation.stream
        if sink is None:
            call.streamed = Collected(content_type)
            return
        call.streamed = Relay(sink, source, Pace(self._limits), self._clock)
        if call.answer.cancelled():
            call.streamed.close()
        else:
            call.streamed.begin(content_type)

    def stream_piece(self, member: Member, request_id: str, piece: bytes) -> None:
        """A piece of the answer. One too many ends it for the caller; the function does not notice."""
        call = self._call(member, request_id)
        if call is not None and call.streamed is not None and not call.streamed.take(piece):
            self._settle(call, self._reporter.too_large(call, self._limits.max_bytes))

    def stream_ended(self, member: Member, request_id: str, error: bytes | None) -> None:
        """The answer is complete, or the function has failed with the error."""
        call = self._call(member, request_id)
        if call is not None and call.streamed is not None and call.outcome is None:
            self._settle(call, self._reporter.streamed(call, call.streamed, error))
