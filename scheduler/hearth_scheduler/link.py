"""All connections of one environment: its init, its runtime, its output pipe, its Runtime API listener.

Rule 1: the directory that the listening socket lies in is the identity. Nothing else a caller says is believed beyond
which protocol it speaks, so a function that connects by itself can only disturb its own environment.
Rule 2: everything is bounded: connections that have not greeted, lengths, bytes read per turn of the loop.
Rule 3: output is read before an answer is believed: what was written before the answer is in the pipe by then.
"""

import asyncio
import contextlib
import fcntl
import os
import socket
import stat
import termios
from array import array
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple, Protocol

import orjson
import structlog

from hearth.core.invocation import MAX_RESPONSE_BYTES
from hearth_scheduler.core.frames import Frame, FrameParser, ProtocolError, encode
from hearth_scheduler.wire import Wire

SOCKET_NAME = "environment.sock"
MAX_UNGREETED = 8
GREETING_BYTES = 64 * 1024
OUTPUT_READ_BYTES = 64 * 1024
DRAIN_READS = 16
"""A background process that never stops printing must not hold up an answer: the pipe holds 256 KiB at most."""
SETTLE_READS = 64
"""A socket holds less than 256 KiB, so a few reads see everything a dead process has left."""

FROM_INIT = b"ix"
FROM_RUNTIME = b"HNREFPDZ"

log = structlog.get_logger(__name__)


class Ended(NamedTuple):
    """How a runtime process ended: its exit code, or the signal. If it never began: the step that failed (`exec`,
    `chdir`) and its error number."""

    code: int
    signal: int
    failed_step: str = ""
    error_number: int = 0


class LinkEvents(Protocol):
    """What a link reports. All synchronous, all on the loop."""

    def said_stem(self, link: "Link") -> None:
        """A generic runtime client is ready to be specialised."""

    def said_ready(self, link: "Link") -> None:
        """A specialised runtime client has come back after the connection was lost."""

    def asked_next(self, link: "Link") -> None: ...

    def answered(self, link: "Link", request_id: str, body: bytes, *, error_type: str | None, oversize: int) -> None:
        """A response (`error_type` None) or an error."""

    def stream_began(self, link: "Link", request_id: str, content_type: str) -> None:
        """A response begins that comes in pieces. The link can be paused and resumed."""

    def stream_piece(self, link: "Link", request_id: str, piece: bytes) -> None: ...

    def stream_ended(self, link: "Link", request_id: str, body: bytes, *, error_type: str | None) -> None:
        """The response is complete (`error_type` None), or has failed half-way with the error in `body`."""

    def init_failed(self, link: "Link", error_type: str, body: bytes) -> None: ...

    def exited(self, link: "Link", ended: "Ended") -> None:
        """The init saw the runtime process end."""

    def runtime_lost(self, link: "Link", *, unread: bool) -> None:
        """The runtime's connection ended; `unread`: it had not read its whole event."""

    def output(self, link: "Link", data: bytes) -> None: ...

    def listening(self, link: "Link", listener: socket.socket) -> None:
        """The environment's Runtime API listener has been handed over (again)."""


class Link:
    """One environment's connections. `open` before the container starts; `close` is final."""

    def __init__(self, environment_id: str, events: LinkEvents) -> None:
        self.environment_id = environment_id
        self._events = events
        self._loop = asyncio.get_running_loop()
        self._server: socket.socket | None = None
        self._ungreeted: dict[int, socket.socket] = {}
        self._init: Wire | None = None
        self._runtime: Wire | None = None
        self._listener: socket.socket | None = None
        self._output: int | None = None
        self._waiting_bytes = array("i", [0])

    # -- life ------------------------------------------------------------------------------------------------------

    def open(self, directory: Path) -> None:
        """Listen in the environment's own directory. An address of any length works: it is reached by descriptor."""
        handle = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        try:
            address = f"/proc/self/fd/{handle}/{SOCKET_NAME}"
            with contextlib.suppress(FileNotFoundError):
                os.unlink(address)
            server.bind(address)
            os.chmod(address, 0o777)  # the container's user is not ours; the directory is private to it
            server.listen(16)
        except OSError:
            server.close()
            raise
        finally:
            os.close(handle)
        self._server = server
        self._loop.add_reader(server.fileno(), self._accept)

    def close(self) -> None:
        """Close everything. Idempotent; no event is reported any more."""
        for sock in [self._server, *self._ungreeted.values()]:
            if sock is not None:
                self._loop.remove_reader(sock.fileno())
                sock.close()
        self._server = None
        self._ungreeted.clear()
        for wire in (self._init, self._runtime):
            if wire is not None:
                wire.close()
        self._close_listener()
        self._close_output()

    def _close_listener(self) -> None:
        if self._listener is not None:
            self._loop.remove_reader(self._listener.fileno())
            self._listener.close()
            self._listener = None

    def _close_output(self) -> None:
        if self._output is not None:
            self._loop.remove_reader(self._output)
            os.close(self._output)
            self._output = None

    # -- to the container ------------------------------------------------------------------------------------------

    def specialise(self, environment: Mapping[str, str], handler: str, *, anew: bool) -> None:
        """Make the stem cell a function's; `anew`: the interpreter must start again with this environment."""
        body = orjson.dumps({"environment": dict(environment), "handler": handler})
        self._to_runtime(encode(b"S", b"1" if anew else b"0", body))

    def invoke(self, meta: bytes, event: bytes) -> None:
        """Hand an event over. `meta` as the protocol says."""
        if self._runtime is not None:
            self._runtime.send(encode(b"I", meta) if not event else _head(meta, len(event)), event)

    def _to_runtime(self, data: bytes) -> None:
        if self._runtime is not None:
            self._runtime.send(data)

    def pause(self) -> None:
        """Take nothing more from the runtime for now."""
        if self._runtime is not None:
            self._runtime.pause()

    def resume(self) -> None:
        """Listen to the runtime again."""
        if self._runtime is not None:
            self._runtime.resume()

    @property
    def has_runtime(self) -> bool:
        """Whether a framed runtime client is connected."""
        return self._runtime is not None and self._runtime.is_open

    def settle(self) -> None:
        """Read everything that has arrived: a process that died may have left its last words, and the way its
        connection ended, unread by us. Bounded, because a child of it may live on and go on talking."""
        for wire in (self._runtime, self._init):
            reads = SETTLE_READS
            while wire is not None and reads and wire.poll():
                reads -= 1

    # -- from the container ----------------------------------------------------------------------------------------

    def drain_output(self) -> None:
        """Report everything the function has written up to now."""
        for _ in range(DRAIN_READS):
            if not (self._has_output() and self._read_output()):
                return

    def _has_output(self) -> bool:
        """Whether the pipe holds anything: asking costs a third of a read that finds nothing (tty_ioctl(4))."""
        if self._output is None:
            return False
        fcntl.ioctl(self._output, termios.FIONREAD, self._waiting_bytes)
        return self._waiting_bytes[0] > 0

    def _read_output(self) -> bool:
        if self._output is None:
            return False
        try:
            data = os.read(self._output, OUTPUT_READ_BYTES)
        except (BlockingIOError, InterruptedError):
            return False
        except OSError:
            data = b""
        if not data:
            self._close_output()
            return False
        self._events.output(self, data)
        return len(data) == OUTPUT_READ_BYTES

    def _accept(self) -> None:
        assert self._server is not None
        try:
            conn, _ = self._server.accept()
        except OSError:
            return
        conn.setblocking(False)
        if len(self._ungreeted) >= MAX_UNGREETED:
            self._drop(next(iter(self._ungreeted.values())))
        self._ungreeted[conn.fileno()] = conn
        self._loop.add_reader(conn.fileno(), self._greeted, conn)

    def _drop(self, conn: socket.socket) -> None:
        self._ungreeted.pop(conn.fileno(), None)
        self._loop.remove_reader(conn.fileno())
        conn.close()

    def _greeted(self, conn: socket.socket) -> None:
        """The first bytes of a connection: they say which protocol follows, and may carry the descriptors."""
        try:
            data, handles, _, _ = socket.recv_fds(conn, GREETING_BYTES, 4)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            self._drop(conn)
            return
        kind = data[:1]
        if kind == b"i" and len(handles) == 2:  # noqa: PLR2004 - the listener and the pipe
            self._leave_greeting(conn)
            self._take_init(conn, data, handles)
            return
        for handle in handles:
            os.close(handle)
        if kind == b"H":
            self._leave_greeting(conn)
            self._take_runtime(conn, data)
        else:
            self._drop(conn)

    def _leave_greeting(self, conn: socket.socket) -> None:
        del self._ungreeted[conn.fileno()]
        self._loop.remove_reader(conn.fileno())

    def _take_init(self, conn: socket.socket, data: bytes, handles: list[int]) -> None:
        if self._init is not None:
            self._init.close()
        self._take_listener(handles[0])
        self._take_output(handles[1])
        parser = FrameParser(FROM_INIT, 0)
        self._init = Wire(conn, lambda more: self._from_init(parser, more), lambda unread: None)
        self._from_init(parser, data)

    def _take_listener(self, handle: int) -> None:
        self._close_listener()
        listener = _tcp_listener(handle)
        if listener is not None:
            self._listener = listener
            self._events.listening(self, listener)

    def _take_output(self, handle: int) -> None:
        self._close_output()
        if stat.S_ISFIFO(os.fstat(handle).st_mode):
            os.set_blocking(handle, False)
            self._output = handle
            self._loop.add_reader(handle, self._read_output)
        else:
            os.close(handle)

    def _from_init(self, parser: FrameParser, data: bytes) -> None:
        try:
            for frame in parser.feed(data):
                if (ended := _exit_status(frame)) is not None:
                    self._events.exited(self, ended)
        except (ProtocolError, ValueError, IndexError) as error:
            self._refuse(self._init, error)

    def _take_runtime(self, conn: socket.socket, data: bytes) -> None:
        if self._runtime is not None:
            self._runtime.close()
        parser = FrameParser(FROM_RUNTIME, MAX_RESPONSE_BYTES)
        wire = Wire(
            conn,
            lambda more: self._from_runtime(parser, more),
            lambda unread: self._events.runtime_lost(self, unread=unread),
        )
        self._runtime = wire
        self._from_runtime(parser, data)

    def _from_runtime(self, parser: FrameParser, data: bytes) -> None:
        try:
            for frame in parser.feed(data):
                self._on_runtime_frame(frame)
        except ProtocolError as error:
            self._refuse(self._runtime, error)
            self._events.runtime_lost(self, unread=False)

    def _on_runtime_frame(self, frame: Frame) -> None:
        events = self._events
        match frame.kind:
            case b"N":
                events.asked_next(self)
            case b"R":
                self.drain_output()
                events.answered(self, frame.fields()[0], frame.body, error_type=None, oversize=frame.oversize)
            case b"E":
                self.drain_output()
                request_id, error_type = (*frame.fields(), "")[:2]
                events.answered(self, request_id, frame.body, error_type=error_type, oversize=frame.oversize)
            case b"F":
                self.drain_output()
                events.init_failed(self, frame.fields()[0], frame.body)
            case b"P" | b"D" | b"Z":
                self._on_stream_frame(frame)
            case _:
                said = (*frame.fields(), "")[1]
                (events.said_stem if said == "stem" else events.said_ready)(self)

    def _on_stream_frame(self, frame: Frame) -> None:
        if frame.oversize:
            raise ProtocolError(f"a piece of {frame.oversize} bytes")
        request_id, more = (*frame.fields(), "")[:2]
        match frame.kind:
            case b"P":
                self._events.stream_began(self, request_id, more)
            case b"D":
                self._events.stream_piece(self, request_id, frame.body)
            case _:
                self.drain_output()
                self._events.stream_ended(self, request_id, frame.body, error_type=more or None)

    def _refuse(self, wire: Wire | None, error: Exception) -> None:
        log.warning("environment does not speak the protocol", environment=self.environment_id, error=str(error))
        if wire is not None:
            wire.close()


def _head(meta: bytes, body_len: int) -> bytes:
    return b"I" + len(meta).to_bytes(4) + body_len.to_bytes(4) + meta


def _tcp_listener(handle: int) -> socket.socket | None:
    """The descriptor as a socket, if it is what it should be; otherwise it is closed: a function may pretend to be
    the init, and hand over anything."""
    if not stat.S_ISSOCK(os.fstat(handle).st_mode):
        os.close(handle)
        return None
    listener = socket.socket(fileno=handle)
    is_tcp = listener.family in (socket.AF_INET, socket.AF_INET6) and listener.type == socket.SOCK_STREAM
    if is_tcp and listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        listener.setblocking(False)
        return listener
    listener.close()
    return None


def _exit_status(frame: Frame) -> Ended | None:
    """What an `x` frame says, or a greeting that reports an exit; None while the runtime runs."""
    fields = frame.fields()
    if frame.kind == b"i":
        if len(fields) < 4 or fields[1] != "exited":  # noqa: PLR2004 - version, state, code, signal
            return None
        fields = fields[2:]
    failed_step, error_number = (*fields[2:], "", "0")[:2]
    return Ended(int(fields[0]), int(fields[1]), failed_step, int(error_number))
