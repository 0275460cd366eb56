"""The transport that AWS's runtime client finds in place of its native one: the same three functions, on our socket.

An answer is not sent when it is given but with the `next` that follows it: one write, one wake-up of the scheduler.
It is kept until an event has arrived after it, since only then is it certain to have been read.
"""

import json
import sys
from contextlib import suppress

from hearth_runtime import frames
from hearth_runtime.connection import Connection
from hearth_runtime.streaming import STREAMED, Marshal, marshal

# What `I` carries, in order; names as in the Runtime API (2018-06-01), which is what AWS's client looks up.
_HEADERS = (
    "Lambda-Runtime-Aws-Request-Id",
    "Lambda-Runtime-Deadline-Ms",
    "Lambda-Runtime-Invoked-Function-Arn",
    "Lambda-Runtime-Trace-Id",
    "Lambda-Runtime-Client-Context",
    "Lambda-Runtime-Cognito-Identity",
    "Lambda-Runtime-Aws-Tenant-Id",
)


class SocketTransport:
    """Stands in for the module `runtime_client` that awslambdaric is built around."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._answer = b""
        self._request_id = b""

    def next(self) -> tuple[bytes, dict[str, str | int]]:
        """Send the last answer and wait for the next event."""
        _flush_output()
        kind, meta, body = self._connection.ask(self._answer + frames.NEXT_FRAME, b"ready")
        self._answer = b""
        if kind != frames.INVOKE:
            raise RuntimeError(f"the scheduler said {kind!r} instead of an event")
        self._request_id = meta[0]
        return body, _headers(meta)

    def streaming(self, plainly: Marshal) -> Marshal:
        """AWS's way to make bytes of a response, and ours for one that is streamed."""
        return lambda response: marshal(response, plainly, self._connection, self._request_id)

    def post_invocation_result(
        self, invoke_id: str, data: bytes, content_type: str, invocation_id: str | None = None
    ) -> None:
        """The handler's answer, or the end of a streamed one. The content type of JSON is the caller's business."""
        if content_type == STREAMED:
            _flush_output()
            self._connection.tell(frames.encode(frames.END, (invoke_id.encode(),)))
        else:
            self._answer = frames.encode(frames.RESPONSE, (invoke_id.encode(),), data)

    def post_error(self, invoke_id: str, data: str, xray_fault: str, invocation_id: str | None = None) -> None:
        """The handler's error, as awslambdaric spells it."""
        self._answer = frames.encode(
            frames.ERROR, (invoke_id.encode(), _error_type(data).encode()), data.encode("utf-8", "surrogatepass")
        )

    def post_init_error(self, error: dict[str, object], error_type: str | None = None) -> None:
        """Init failed; the process exits next."""
        _flush_output()
        kind = error_type or str(error.get("errorType", ""))
        body = json.dumps(error, ensure_ascii=False).encode("utf-8", "surrogatepass")
        self._connection.tell(frames.encode(frames.INIT_FAILED, (kind.encode(),), body))


def _headers(meta: list[bytes]) -> dict[str, str | int]:
    """As awslambdaric wants them: absent where empty, and the deadline a number (it is subtracted from)."""
    headers: dict[str, str | int] = {
        name: value.decode("utf-8", "replace") for name, value in zip(_HEADERS, meta, strict=False) if value
    }
    headers["Lambda-Runtime-Deadline-Ms"] = int(headers.get("Lambda-Runtime-Deadline-Ms", 0))
    headers["Content-Type"] = "application/json"
    return headers


def _error_type(data: str) -> str:
    try:
        return str(json.loads(data).get("errorType", ""))
    except (ValueError, AttributeError):
        return ""


def _flush_output() -> None:
    """What the handler wrote must be in the pipe before the answer is: that is how output finds its invocation."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, AttributeError):  # the handler closed or replaced it: its loss
            stream.flush()
