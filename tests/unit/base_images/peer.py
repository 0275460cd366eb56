"""The scheduler's end of docs/environment-protocol.md, small enough to test the other end with.

Every wait has a deadline.
"""

import json
import os
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from struct import Struct
from types import TracebackType
from typing import Self

PATIENCE_S = 20.0
"""For anything that should happen at once; only a broken test ever waits this long."""

_HEADER = Struct("!cII")
NEXT = b"N"


@dataclass(frozen=True, slots=True)
class Frame:
    kind: bytes
    meta: tuple[str, ...]
    body: bytes

    def json(self) -> dict[str, object]:
        value = json.loads(self.body)
        assert isinstance(value, dict)
        return value


def encode(kind: bytes, meta: tuple[str, ...] = (), body: bytes = b"") -> bytes:
    fields = "\0".join(meta).encode()
    return _HEADER.pack(kind, len(fields), len(body)) + fields + body


class Peer:
    """One accepted connection."""

    def __init__(self, sock: socket.socket) -> None:
        sock.settimeout(PATIENCE_S)
        self._socket = sock

    def receive(self) -> Frame:
        """The next frame; EOFError when the other side has gone."""
        kind, meta_length, body_length = _HEADER.unpack(self._exactly(_HEADER.size))
        meta = self._exactly(meta_length).decode()
        return Frame(kind, tuple(meta.split("\0")) if meta else (), self._exactly(body_length))

    def receive_with_descriptors(self, count: int) -> tuple[Frame, list[int]]:
        """The next frame, and the descriptors that ride on its first byte."""
        head, descriptors, _, _ = socket.recv_fds(self._socket, 1, count)
        kind, meta_length, body_length = _HEADER.unpack(head + self._exactly(_HEADER.size - 1))
        meta = self._exactly(meta_length).decode()
        return Frame(kind, tuple(meta.split("\0")), self._exactly(body_length)), descriptors

    def peek(self) -> bytes:
        """The kind of the next frame, left where it is."""
        return self._socket.recv(1, socket.MSG_PEEK)

    def expect(self, kind: bytes) -> Frame:
        frame = self.receive()
        assert frame.kind == kind, frame
        return frame

    def send(self, kind: bytes, meta: tuple[str, ...] = (), body: bytes = b"") -> None:
        self._socket.sendall(encode(kind, meta, body))

    def send_raw(self, data: bytes) -> None:
        self._socket.sendall(data)

    def receive_raw(self, at_most: int) -> bytes:
        """What one read brings."""
        return self._socket.recv(at_most)

    def is_closed_by_the_other_side(self) -> bool:
        """Wait for the end; false if something else comes."""
        try:
            return self._socket.recv(1) == b""
        except ConnectionResetError:
            return True

    def close(self) -> None:
        self._socket.close()

    def _exactly(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            more = self._socket.recv(count - len(data))
            if not more:
                raise EOFError(f"the other side has gone after {data!r}")
            data += more
        return data


class Listener:
    """The scheduler's socket in an environment's directory. May be closed and opened again, as a restart does."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "environment.sock"
        self._socket: socket.socket | None = None
        self.open()

    def open(self) -> None:
        self.path.unlink(missing_ok=True)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.bind(str(self.path))
        os.chmod(self.path, 0o666)
        self._socket.listen(8)
        self._socket.settimeout(PATIENCE_S)

    def accept(self) -> Peer:
        assert self._socket is not None
        return Peer(self._socket.accept()[0])

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


class Client:
    """A runtime client under test: its connection, spoken to as the scheduler does."""

    def __init__(self, accept: Callable[[], Peer]) -> None:
        self._accept = accept
        self.peer = accept()

    def hello(self) -> str:
        """The state the client says it is in."""
        frame = self.peer.expect(b"H")
        assert frame.meta[0] == "1"
        return frame.meta[1]

    def specialise(self, handler: str, environment: Mapping[str, str], *, anew: bool = False) -> None:
        body = json.dumps({"environment": dict(environment), "handler": handler}).encode()
        self.peer.send(b"S", ("1" if anew else "0",), body)

    def become(self, handler: str, environment: Mapping[str, str], *, anew: bool = False) -> None:
        """From the greeting to the first `N`."""
        assert self.hello() == "stem"
        self.specialise(handler, environment, anew=anew)
        self.peer.expect(NEXT)

    def event(self, event: object, request_id: str = "id-1", **meta: str) -> None:
        fields = ("deadline", "arn", "trace", "client_context", "cognito", "tenant")
        values = {"deadline": "4102444800000", "arn": "arn:aws:lambda:us-east-1:000000000000:function:f"} | meta
        body = json.dumps(event).encode()
        self.peer.send(b"I", (request_id, *(values.get(name, "") for name in fields)), body)

    def invoke(self, event: object, request_id: str = "id-1", **meta: str) -> object:
        """One event and its successful answer."""
        self.event(event, request_id, **meta)
        answer = self.peer.expect(b"R")
        assert answer.meta == (request_id,)
        self.peer.expect(NEXT)
        return json.loads(answer.body)

    def invoke_to_error(self, event: object, request_id: str = "id-1") -> tuple[str, dict[str, object]]:
        """One event that the handler fails: error type and error."""
        self.event(event, request_id)
        answer = self.peer.expect(b"E")
        assert answer.meta[0] == request_id
        self.peer.expect(NEXT)
        return answer.meta[1], answer.json()

    def reconnect(self) -> None:
        self.peer.close()
        self.peer = self._accept()
