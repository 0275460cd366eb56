"""The conversation with one runtime: what it may say when. Source: AWS Lambda Runtime API 2018-06-01.

    INIT --next--> WAITING --event--> RUNNING --answer--> ANSWERED --next--> WAITING
                                      RUNNING --begin--> STREAMING --end or error--> ANSWERED
    INIT --init error--> FAILED

The same rules hold for Hearth's own framed clients and for any client that speaks HTTP.
"""

from dataclasses import dataclass
from enum import Enum


class Turn(Enum):
    INIT = "init"
    WAITING = "waiting"
    RUNNING = "running"
    STREAMING = "streaming"
    ANSWERED = "answered"
    FAILED = "failed"


class OutOfTurn(Exception):
    """`error_type` is the Runtime API's own: InvalidRequestID (400) or InvalidStateTransition (403)."""

    def __init__(self, error_type: str, status: int, message: str) -> None:
        super().__init__(message)
        self.error_type = error_type
        self.status = status


def _out_of_turn(what: str, turn: Turn) -> OutOfTurn:
    return OutOfTurn("InvalidStateTransition", 403, f"Transition from {turn.value} is not allowed: {what}")


@dataclass(slots=True)
class RuntimeTalk:
    """Where the conversation stands. A refused message changes nothing."""

    turn: Turn = Turn.INIT
    request_id: str = ""

    def next(self) -> None:
        """The runtime asks for an event. Asking twice is the same as asking once (a client may repeat a request)."""
        if self.turn in (Turn.RUNNING, Turn.STREAMING, Turn.FAILED):
            raise _out_of_turn("next", self.turn)
        self.turn = Turn.WAITING

    def event(self, request_id: str) -> None:
        """An event is handed to the runtime."""
        if self.turn is not Turn.WAITING:
            raise _out_of_turn("event", self.turn)
        self.turn = Turn.RUNNING
        self.request_id = request_id

    def answer(self, request_id: str, *, is_error: bool = False) -> None:
        """A response or an error for the event in flight. An error may also come half-way through a stream."""
        self._check(request_id)
        if self.turn is not Turn.RUNNING and not (is_error and self.turn is Turn.STREAMING):
            raise _out_of_turn("response", self.turn)
        self.turn = Turn.ANSWERED

    def begin(self, request_id: str) -> None:
        """A response begins that comes in pieces."""
        self._check(request_id)
        if self.turn is not Turn.RUNNING:
            raise _out_of_turn("response", self.turn)
        self.turn = Turn.STREAMING

    def piece(self, request_id: str) -> None:
        """A piece of the response that has begun."""
        self._check(request_id)
        if self.turn is not Turn.STREAMING:
            raise _out_of_turn("piece of a response", self.turn)

    def end(self, request_id: str) -> None:
        """The response that came in pieces is complete, or has failed."""
        self.piece(request_id)
        self.turn = Turn.ANSWERED

    def _check(self, request_id: str) -> None:
        if request_id != self.request_id:
            raise OutOfTurn("InvalidRequestID", 400, "Invalid request ID")

    def init_error(self) -> None:
        """Init has failed; only once, and only during init."""
        if self.turn is not Turn.INIT:
            raise _out_of_turn("init/error", self.turn)
        self.turn = Turn.FAILED
