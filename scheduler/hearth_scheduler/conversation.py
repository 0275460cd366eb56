"""What an environment says, and what it means for the engine: both protocols, one conversation.

Rule 1: who is out of turn, or leaves, has left for good; the engine is told `broke`, once.
Rule 2: what a process said and wrote before its end counts; it is read before its end is believed.
"""

import asyncio
import contextlib
import socket
from typing import TYPE_CHECKING

from hearth_scheduler.core.effects import Verdict
from hearth_scheduler.core.runtime_talk import OutOfTurn, Turn
from hearth_scheduler.link import Ended, Link
from hearth_scheduler.member import FUNCTION_FILE, Member
from hearth_scheduler.reporter import Reporter
from hearth_scheduler.runtime_http import HttpRuntime
from hearth_scheduler.streams import Source
from hearth_scheduler.tasks import Tasks

if TYPE_CHECKING:
    from hearth_scheduler.engine import Engine
    from hearth_scheduler.environments import Environments

EXIT_GRACE_S = 1.0
"""How long a runtime may be without its connection before it counts as gone: the init reports an exit well within, even
on a busy machine, where the kernel takes its time to take a large process apart."""


class Conversation:
    """Implements `LinkEvents` for all environments."""

    def __init__(self, environments: "Environments", engine: "Engine", reporter: Reporter, tasks: Tasks) -> None:
        self._environments = environments
        self._engine = engine
        self._reporter = reporter
        self._tasks = tasks
        self._loop = asyncio.get_running_loop()

    def said_stem(self, link: Link) -> None:
        """See `LinkEvents`."""
        member = self._environments.members[link.environment_id]
        if member.greeting or (member.places.root / FUNCTION_FILE).exists():
            self._engine.broke(member, Verdict.DIED)  # it was being specialised when its scheduler died
            return
        member.greeting = "stem"
        self._environments.introduce(member)

    def said_ready(self, link: Link) -> None:
        """See `LinkEvents`. Only an adopted container says so first; any other has broken its connection itself."""
        member = self._environments.members[link.environment_id]
        if member.greeting:
            self._runtime_gone(member, unread=False)
            return
        member.greeting = "ready"
        self._environments.introduce(member)

    def asked_next(self, link: Link) -> None:
        """See `LinkEvents`."""
        member = self._environments.members[link.environment_id]
        try:
            self.next(member)
        except OutOfTurn:
            self._runtime_gone(member, unread=False)

    def next(self, member: Member) -> None:
        """The runtime asks for an event, by whichever protocol. A repeated question is the same question. Raises
        OutOfTurn."""
        asked_before = member.talk.turn is Turn.WAITING
        if not member.is_introduced and (member.is_alone or member.greeting == "ready"):
            self._asked_early(member)
            return
        if member.function is None:
            raise OutOfTurn("InvalidStateTransition", 403, "Nobody has said yet which function this is")
        member.talk.next()
        if not asked_before and not member.is_stopping:
            self._engine.asked_next(member)

    def _asked_early(self, member: Member) -> None:
        """Before the engine knows of it. One of an earlier run, started for one function, shows itself in this way."""
        member.has_asked_early = True
        if member.function is None and not member.greeting:
            member.greeting = "ready"
            self._environments.introduce(member)

    def catch_up(self, member: Member) -> None:
        """The engine knows of it now: what it has done before counts."""
        if member.exit_status is not None:
            self._engine.broke(member, Verdict.DIED)
        elif member.has_asked_early:
            self.next(member)

    def answered(self, link: Link, request_id: str, body: bytes, *, error_type: str | None, oversize: int) -> None:
        """See `LinkEvents`. An answer that nobody waits for is late news."""
        member = self._environments.members[link.environment_id]
        with contextlib.suppress(OutOfTurn):
            member.talk.answer(request_id, is_error=error_type is not None)
            self._engine.answers.answered(member, request_id, body, is_error=error_type is not None, oversize=oversize)

    def stream_began(self, link: Link, request_id: str, content_type: str) -> None:
        """See `LinkEvents`."""
        with contextlib.suppress(OutOfTurn):
            self.begin(self._environments.members[link.environment_id], request_id, content_type, link)

    def stream_piece(self, link: Link, request_id: str, piece: bytes) -> None:
        """See `LinkEvents`."""
        with contextlib.suppress(OutOfTurn):
            self.piece(self._environments.members[link.environment_id], request_id, piece)

    def stream_ended(self, link: Link, request_id: str, body: bytes, *, error_type: str | None) -> None:
        """See `LinkEvents`."""
        with contextlib.suppress(OutOfTurn):
            error = body if error_type is not None else None
            self.end(self._environments.members[link.environment_id], request_id, error)

    def begin(self, member: Member, request_id: str, content_type: str, source: Source) -> None:
        """A response in pieces begins, by whichever protocol. Raises OutOfTurn."""
        member.talk.begin(request_id)
        self._engine.answers.stream_began(member, request_id, content_type, source)

    def piece(self, member: Member, request_id: str, piece: bytes) -> None:
        """A piece of it. Raises OutOfTurn."""
        member.talk.piece(request_id)
        self._engine.answers.stream_piece(member, request_id, piece)

    def end(self, member: Member, request_id: str, error: bytes | None) -> None:
        """Its end; `error` is the function's, if it failed half-way. Raises OutOfTurn."""
        member.talk.end(request_id)
        self._engine.answers.stream_ended(member, request_id, error)

    def init_failed(self, link: Link, error_type: str, body: bytes) -> None:
        """See `LinkEvents`."""
        member = self._environments.members[link.environment_id]
        with contextlib.suppress(OutOfTurn):
            member.talk.init_error()
            member.init_error = (error_type, body)
            self._engine.broke(member, Verdict.INIT_FAILED)

    def exited(self, link: Link, ended: Ended) -> None:
        """See `LinkEvents`. What the runtime said and wrote before it ended is read first."""
        member = self._environments.members[link.environment_id]
        if member.exit_status is None and not member.is_stopping:
            member.exit_status = (ended.code, ended.signal)
            member.launch_failure = (ended.failed_step, ended.error_number) if ended.failed_step else None
            link.settle()
            link.drain_output()
            if member.is_alone and member.container is None:
                return  # its start has yet to be reported; see `catch_up`
            self._engine.broke(member, Verdict.DIED, event_unread=member.left_unread)

    def runtime_lost(self, link: Link, *, unread: bool) -> None:
        """See `LinkEvents`. Usually the exit is reported within the same millisecond. Without an event there is nobody
        to tell how it ended, and no time to lose: the next event must not come here."""
        member = self._environments.members[link.environment_id]
        if member.http is not None and member.http.has_spoken:
            return  # it has left this protocol for the other
        if member.function is None or member.talk.turn is Turn.WAITING:
            self._runtime_gone(member, unread=False)
            return
        member.left_unread = unread and member.talk.turn is Turn.RUNNING
        is_replaced = member.talk.turn is Turn.INIT and member.http is not None  # an exec wrapper may speak HTTP next
        if not member.is_stopping and member.grace is None and not is_replaced:
            member.grace = self._loop.call_later(EXIT_GRACE_S, self._connection_missed, member)

    def _connection_missed(self, member: Member) -> None:
        member.grace = None
        self._runtime_gone(member, unread=member.left_unread)

    def _runtime_gone(self, member: Member, *, unread: bool) -> None:
        """The runtime lives but has left the conversation: the function's doing, as good as an exit. Or the kernel has
        killed it for memory, and nobody has had the processor to say so."""
        if not member.is_stopping:
            member.exit_status = member.exit_status or (0, self._environments.presumed_signal(member))
            self._engine.broke(member, Verdict.DIED, event_unread=unread)

    def output(self, link: Link, data: bytes) -> None:
        """See `LinkEvents`."""
        self._reporter.output(self._environments.members[link.environment_id], data)

    def listening(self, link: Link, listener: socket.socket) -> None:
        """See `LinkEvents`."""
        member = self._environments.members[link.environment_id]
        if member.http is not None:
            member.http.close()
        member.http = HttpRuntime(listener, HttpConversation(self, member), self._tasks)
        if member.is_alone and member.function is not None and not member.specialised_at:
            member.specialised_at = self._engine.now  # the runtime begins at the same time
            self._reporter.init_started(member)
        self._environments.introduce(member)

    def http_answered(
        self, member: Member, request_id: str, body: bytes, *, error_type: str | None, oversize: int
    ) -> None:
        """The handler's answer over the Runtime API. Raises OutOfTurn. To an event of a run before: late news."""
        if member.is_alone and member.function is None:
            return
        member.talk.answer(request_id, is_error=error_type is not None)
        member.link.drain_output()
        self.finishing(member)
        self._engine.answers.answered(member, request_id, body, is_error=error_type is not None, oversize=oversize)

    def finishing(self, member: Member) -> None:
        """It has answered over the Runtime API, where the question for the next event is another request."""
        self._engine.finishing(member)

    def http_init_failed(self, member: Member, error_type: str, body: bytes) -> None:
        """The init's failure over the Runtime API. Raises OutOfTurn."""
        member.talk.init_error()
        member.link.drain_output()
        member.init_error = (error_type, body)
        self._engine.broke(member, Verdict.INIT_FAILED)


class HttpConversation:
    """Implements `RuntimeApi` for one environment."""

    def __init__(self, conversation: Conversation, member: Member) -> None:
        self._conversation = conversation
        self._member = member

    def next(self) -> None:
        """See `RuntimeApi`."""
        self._conversation.next(self._member)

    def answer(self, request_id: str, body: bytes, *, error_type: str | None, oversize: int) -> None:
        """See `RuntimeApi`."""
        self._conversation.http_answered(self._member, request_id, body, error_type=error_type, oversize=oversize)

    def begin(self, request_id: str, content_type: str, source: Source) -> None:
        """See `RuntimeApi`."""
        self._conversation.begin(self._member, request_id, content_type, source)

    def piece(self, request_id: str, piece: bytes) -> None:
        """See `RuntimeApi`."""
        self._conversation.piece(self._member, request_id, piece)

    def end(self, request_id: str, error: bytes | None) -> None:
        """See `RuntimeApi`."""
        self._member.link.drain_output()
        self._conversation.end(self._member, request_id, error)
        self._conversation.finishing(self._member)

    def init_error(self, error_type: str, body: bytes) -> None:
        """See `RuntimeApi`."""
        self._conversation.http_init_failed(self._member, error_type, body)
