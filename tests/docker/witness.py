"""What functions tell the test directly, past Hearth: a small server on the host, reached from the function network.

Logs lose their last moments when the daemon is killed, and answers go to whoever asked; a test that must know what
handlers really did needs a channel of its own.
"""

import socketserver
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

CLIENT = """
import os, socket, threading

_lock = threading.Lock()
_channel = None

def _connect():
    host, port = os.environ["WITNESS"].rsplit(":", 1)
    channel = socket.create_connection((host, int(port)), timeout=10)
    channel.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return channel, channel.makefile("rb")

def tell(line):
    # Returns once the test has it.
    global _channel
    with _lock:
        if _channel is None:
            _channel = _connect()
        _channel[0].sendall(line.encode() + b"\\n")
        assert _channel[1].readline() == b"ok\\n"
"""
"""Python source of `tell(line)`, to be put before a handler. Its function needs the variable WITNESS."""


WHO = """
def environment():
    # The directory on the host that is this environment's own.
    with open("/proc/self/mountinfo") as mounts:
        return next(line.split()[3].split("/")[-2] for line in mounts if line.split()[4] == "/run/hearth")
"""
"""Python source of `environment()`, the id that the container's label carries."""


@dataclass(slots=True)
class Witness:
    """The lines heard so far, with the epoch second each was heard at. Lines of one function stay in order."""

    address: str = ""
    _heard: list[tuple[float, str]] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def hear(self, line: str) -> None:
        with self._lock:
            self._heard.append((time.time(), line))

    def heard(self) -> list[tuple[float, str]]:
        with self._lock:
            return list(self._heard)

    def lines(self) -> list[str]:
        return [line for _, line in self.heard()]

    def count(self) -> int:
        return len(self._heard)


@contextmanager
def witness(host: str) -> Iterator[Witness]:
    """A witness that functions reach at that address of the host."""
    found = Witness()

    class Ear(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            try:
                for line in self.rfile:
                    found.hear(line.decode().rstrip("\n"))
                    self.wfile.write(b"ok\n")
            except OSError:
                pass  # its container was killed

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True
        request_queue_size = 256

    with Server((host, 0), Ear) as server:
        found.address = f"{host}:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, name="witness")
        thread.start()
        try:
            yield found
        finally:
            server.shutdown()
            thread.join(10)
