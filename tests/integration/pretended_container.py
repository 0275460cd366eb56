"""The inside of a container, as ordinary processes of the host: an init and a runtime client that speak
docs/environment-protocol.md. Run by `process_containers.py`; standard library only, so that it starts at once.

    pretended_container.py <directory of environment.sock> <code directory> [<entry point>]

With an entry point it is a container that was started for one function: its runtime asks the Runtime API. One that is a
path must exist.

The function's `app.py` finds `connection` (the socket), its `path` and the `port` of the Runtime API among its
globals, so that a test's function can misbehave in every way that a real one can.
"""

import contextlib
import ctypes
import errno
import http.client
import json
import os
import runpy
import select
import signal
import socket
import struct
import sys
import time
from typing import Any

HEADER = struct.Struct("!cII")
PR_SET_PDEATHSIG = 1
NOT_FOUND = 127
PATIENCE_S = 60.0
"""Nothing of a test lives longer without its scheduler."""


def encode(kind: bytes, meta: tuple[str, ...] = (), body: bytes = b"") -> bytes:
    fields = "\0".join(meta).encode()
    return HEADER.pack(kind, len(fields), len(body)) + fields + body


def answer(request_id: str, body: bytes) -> bytes:
    return encode(b"R", (request_id,), body)


FOR_APPS: dict[str, Any] = {
    "NEXT": encode(b"N"),
    "GREETING": encode(b"i", ("1", "running", "0", "0")),
    "answer": answer,
    "encode": encode,
}


def connect(path: str) -> socket.socket:
    give_up_at = time.monotonic() + PATIENCE_S
    while True:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.connect(path)
        except OSError:
            sock.close()
            if time.monotonic() > give_up_at:
                sys.exit(1)
            time.sleep(0.005)
        else:
            return sock


def receive(sock: socket.socket) -> tuple[bytes, list[str], bytes]:
    kind, meta_length, body_length = HEADER.unpack(exactly(sock, HEADER.size))
    meta = exactly(sock, meta_length).decode().split("\0")
    return kind, meta, exactly(sock, body_length)


def exactly(sock: socket.socket, count: int) -> bytes:
    data = bytearray()
    while len(data) < count:
        more = sock.recv(count - len(data))
        if not more:
            raise ConnectionResetError("the scheduler is gone")
        data += more
    return bytes(data)


def supervise(path: str, child: int, handles: list[int]) -> None:
    """What PID 1 does: hand over the descriptors, report the runtime's end, stay."""
    pidfd = os.pidfd_open(child)
    state: tuple[str, ...] | None = None
    while True:
        scheduler = connect(path)
        greeting = encode(b"i", ("1", *(state or ("running", "0", "0"))))
        socket.send_fds(scheduler, [greeting], handles)
        while True:
            watched = [scheduler.fileno()] if state else [scheduler.fileno(), pidfd]
            ready, _, _ = select.select(watched, [], [])
            if pidfd in ready:
                state = ("exited", *how_it_ended(child))
                with contextlib.suppress(OSError):  # otherwise the next greeting says it
                    scheduler.sendall(encode(b"x", state[1:]))
            if scheduler.fileno() in ready and has_gone(scheduler):
                break
        scheduler.close()


def has_gone(scheduler: socket.socket) -> bool:
    try:
        return not scheduler.recv(4096)
    except OSError:
        return True


def how_it_ended(child: int) -> tuple[str, ...]:
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return ("0", str(os.WTERMSIG(status)))
    if os.WEXITSTATUS(status) == NOT_FOUND:
        return (str(NOT_FOUND), "0", "exec", str(errno.ENOENT))
    return (str(os.WEXITSTATUS(status)), "0")


def become_a_function(path: str, task: str, port: int) -> None:
    """A stem cell: wait to be told which function it is, load it, serve it."""
    connection, body = wait_to_be_specialised(path)
    specification = json.loads(body)
    os.environ.update(specification["environment"])
    os.chdir(task)
    module, _, name = specification["handler"].partition(".")
    try:
        app = runpy.run_path(f"{module}.py", {**FOR_APPS, "connection": connection, "path": path, "port": port})
        handler = app[name]
    except Exception as error:
        sys.stdout.flush()
        kind = type(error).__name__
        text = json.dumps({"errorMessage": str(error), "errorType": kind}).encode()
        connection.sendall(encode(b"F", (f"Runtime.{kind}",), text))
        sys.exit(1)
    serve(path, connection, handler)


def wait_to_be_specialised(path: str) -> tuple[socket.socket, bytes]:
    while True:
        connection = connect(path)
        try:
            connection.sendall(encode(b"H", ("1", "stem")))
            return connection, receive(connection)[2]
        except OSError:
            connection.close()


def serve(path: str, connection: socket.socket, handler: Any) -> None:
    said, greeting = b"", b""
    while True:
        sys.stdout.flush()
        try:
            connection.sendall(greeting + said + encode(b"N"))
            _, meta, body = receive(connection)
        except OSError:
            connection.close()
            connection, greeting = connect(path), encode(b"H", ("1", "ready"))
            continue
        greeting = b""
        said = respond(handler, meta, body)


def respond(handler: Any, meta: list[str], body: bytes) -> bytes:
    try:
        result = handler(json.loads(body or b"null"), meta)
    except Exception as error:
        kind = type(error).__name__
        text = json.dumps({"errorMessage": str(error), "errorType": kind}).encode()
        return encode(b"E", (meta[0], kind), text)
    return answer(meta[0], json.dumps(result).encode())


def ask_the_runtime_api(path: str, task: str, port: int) -> None:
    """Any other runtime: HTTP, and an `app.py` that says with `REPEATS` whether it asks again after an error."""
    os.chdir(task)
    app = runpy.run_path("app.py", {"path": path, "port": port})
    while True:
        connection = http.client.HTTPConnection("127.0.0.1", port)
        try:
            request_id, event = call(connection, "GET", "invocation/next")
            meta = [request_id]
            try:
                body = json.dumps(app["handler"](json.loads(event), meta)).encode()
                what = "response"
            except Exception as error:
                what, body = "error", json.dumps({"errorMessage": str(error)}).encode()
            sys.stdout.flush()
            call(connection, "POST", f"invocation/{request_id}/{what}", body)
        except (OSError, http.client.HTTPException):
            if not app.get("REPEATS"):
                sys.exit(1)
            time.sleep(0.005)
        finally:
            connection.close()


def call(connection: Any, method: str, path: str, body: bytes = b"") -> tuple[str, bytes]:
    connection.request(method, f"/2018-06-01/runtime/{path}", body)
    response = connection.getresponse()
    answer = response.read()
    if response.status >= 400:
        raise http.client.HTTPException(answer)
    return response.headers.get("Lambda-Runtime-Aws-Request-Id", ""), answer


def main() -> None:
    path, task = f"{sys.argv[1]}/environment.sock", sys.argv[2]
    entry_point = sys.argv[3] if len(sys.argv) > 3 else None
    listener = socket.create_server(("127.0.0.1", 0))
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)  # as at the end of a PID namespace
        os.dup2(writer, 1)
        os.dup2(writer, 2)
        os.close(reader)
        port = listener.getsockname()[1]
        listener.close()
        if entry_point is None:
            become_a_function(path, task, port)
        elif entry_point.startswith("/") and not os.path.exists(entry_point):
            os._exit(NOT_FOUND)
        else:
            ask_the_runtime_api(path, task, port)
    os.close(writer)
    supervise(path, child, [listener.fileno(), reader])


main()
