"""One connected stream socket: reads when there is something, writes at once when it can.

Not an asyncio transport, for two reasons. A scheduler must know *how* a connection ended: Linux reports ECONNRESET
instead of an orderly end when the peer died with unread bytes in its queue (unix(7), tcp(7)), and that tells whether an
event was read. And the hot path is two system calls long: a callback, a `recv`; a `send`.
"""

import asyncio
import socket
from collections.abc import Callable

READ_BYTES = 64 * 1024
"""More in one read costs more than it saves: from 128 KiB on, the C library maps fresh memory for every call."""
JOIN_BYTES = 64 * 1024
"""Up to here one copy is cheaper than a scattered write."""


class Wire:
    """`on_bytes(data)` for what arrives; `on_lost(unread)` once, when the peer is gone. `unread`: bytes that were sent
    had not been read by then. Closing from our side calls neither."""

    def __init__(self, sock: socket.socket, on_bytes: Callable[[bytes], None], on_lost: Callable[[bool], None]) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._fd = sock.fileno()
        self._on_bytes = on_bytes
        self._on_lost = on_lost
        self._loop = asyncio.get_running_loop()
        self._backlog = bytearray()
        self._send_failed = False
        self._is_open = True
        self._is_paused = False
        self._loop.add_reader(self._fd, self.poll)

    @property
    def is_open(self) -> bool:
        return self._is_open

    def poll(self) -> bool:
        """Read what is there now; whether there was something. Called by the loop, and by whoever must know now how
        things stand: libuv, and so uvloop, stops looking after an error, so of last words and a reset behind them the
        loop reports only the words. An exit is always settled by asking, and a timeout ends the rest."""
        if not self._is_open:
            return False
        try:
            data = self._sock.recv(READ_BYTES)
        except (BlockingIOError, InterruptedError):
            return False
        except OSError:
            self._lose(unread=True)
            return False
        if data:
            self._on_bytes(data)
        else:
            self._lose(unread=self._send_failed or bool(self._backlog))
        return bool(data)

    def pause(self) -> None:
        """Read no more: the peer's writes will have to wait. Idempotent."""
        if self._is_open and not self._is_paused:
            self._is_paused = True
            self._loop.remove_reader(self._fd)

    def resume(self) -> None:
        """Read on. Idempotent."""
        if self._is_open and self._is_paused:
            self._is_paused = False
            self._loop.add_reader(self._fd, self.poll)

    def send(self, head: bytes, body: bytes = b"") -> None:
        """Send without waiting; what the socket does not take now is kept and sent when it can be."""
        if not self._is_open:
            return
        data = head + body if len(body) < JOIN_BYTES else head
        rest = b"" if len(body) < JOIN_BYTES else body
        if self._backlog:
            self._backlog += data
            self._backlog += rest
            return
        try:
            sent = self._sock.sendmsg([data, rest]) if rest else self._sock.send(data)
        except (BlockingIOError, InterruptedError):
            sent = 0
        except OSError:
            self._send_failed = True  # the reader finds the end, after whatever the peer said last
            return
        if sent < len(data) + len(rest):
            self._keep(data, rest, sent)

    def _keep(self, data: bytes, rest: bytes, sent: int) -> None:
        self._backlog += memoryview(data)[sent:]
        self._backlog += memoryview(rest)[max(0, sent - len(data)) :]
        self._loop.add_writer(self._fd, self._flush)

    def _flush(self) -> None:
        try:
            sent = self._sock.send(self._backlog)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            self._send_failed = True
            self._loop.remove_writer(self._fd)
            return
        del self._backlog[:sent]
        if not self._backlog:
            self._loop.remove_writer(self._fd)

    def _lose(self, *, unread: bool) -> None:
        self.close()
        self._on_lost(unread)

    def close(self) -> None:
        """Close; nothing is called any more. Idempotent."""
        if self._is_open:
            self._is_open = False
            self._loop.remove_reader(self._fd)
            self._loop.remove_writer(self._fd)
            self._sock.close()
