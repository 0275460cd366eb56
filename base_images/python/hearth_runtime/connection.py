"""The connection to the scheduler: blocking, and made anew whenever it breaks.

Rule 1: what may not have arrived is said again. The scheduler ignores an answer to an id it does not know, so saying
it twice is harmless and saying it too seldom is not.
Rule 2: patience ends. Without a scheduler for `orphan_s` seconds the process exits (the init would kill it anyway).
"""

import socket
import sys
import time

from hearth_runtime import frames

_RETRY_FIRST_S = 0.02
_RETRY_MAX_S = 0.5


class Connection:
    """Frames in, frames out. One thread."""

    def __init__(self, path: str, orphan_s: float, sock: socket.socket | None = None) -> None:
        self._path = path
        self._orphan_s = orphan_s
        self._socket = sock

    def fileno(self) -> int:
        """The descriptor, to be kept across an execve."""
        if self._socket is None:
            raise OSError("not connected")
        return self._socket.fileno()

    def ask(self, message: bytes, state: bytes) -> tuple[bytes, list[bytes], bytes]:
        """Send `message` (whole frames, in one write) and wait for the frame that answers it.

        On a new connection the greeting with `state` goes first. Waiting for the next event has no deadline: that
        is what a warm environment does all its life. A scheduler that dies meanwhile ends the wait by closing.
        """
        while True:
            try:
                if self._socket is None:
                    self._socket = self._connect()
                    message_out = frames.encode(frames.HELLO, (frames.VERSION, state)) + message
                else:
                    message_out = message
                if message_out:
                    self._socket.sendall(message_out)
                return self._receive(self._socket)
            except OSError:
                self._drop()

    def tell(self, message: bytes) -> None:
        """Send a last word that nothing answers. If nobody is there, nobody is told."""
        try:
            if self._socket is not None:
                self._socket.sendall(message)
        except OSError:
            self._drop()

    def _connect(self) -> socket.socket:
        give_up_at = time.monotonic() + self._orphan_s
        delay_s = _RETRY_FIRST_S
        while True:
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                sock.connect(self._path)
                return sock
            except OSError:
                sock.close()
            if time.monotonic() + delay_s > give_up_at:
                sys.exit(1)
            time.sleep(delay_s)
            delay_s = min(delay_s * 2, _RETRY_MAX_S)

    def _drop(self) -> None:
        # The handler shares our process: it may have closed the descriptor under us, and closing again is an error.
        sock, self._socket = self._socket, None
        if sock is not None:
            try:
                sock.close()
            except OSError:
                sock.detach()

    def _receive(self, sock: socket.socket) -> tuple[bytes, list[bytes], bytes]:
        """One frame. Mostly it is here whole with the first read."""
        data = sock.recv(65536)
        while len(data) < frames.HEADER.size:
            data += self._more(sock, frames.HEADER.size - len(data))
        kind, meta_length, body_length = frames.HEADER.unpack_from(data)
        start = frames.HEADER.size
        missing = start + meta_length + body_length - len(data)
        if missing > 0:
            data = self._read_exactly(sock, data, missing)
        meta = data[start : start + meta_length].split(b"\0")
        return kind, meta, data[start + meta_length :]

    def _read_exactly(self, sock: socket.socket, head: bytes, missing: int) -> bytes:
        """The rest of a large frame, straight into its place: a 6 MB event is copied once."""
        whole = bytearray(len(head) + missing)
        whole[: len(head)] = head
        view = memoryview(whole)[len(head) :]
        while len(view):
            count = sock.recv_into(view)
            if count == 0:
                raise ConnectionResetError("the scheduler is gone")
            view = view[count:]
        return bytes(whole)

    def _more(self, sock: socket.socket, at_most: int) -> bytes:
        data = sock.recv(at_most)
        if not data:
            raise ConnectionResetError("the scheduler is gone")
        return data
