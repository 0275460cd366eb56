"""The headers of an Invoke request, checked, and the one that tells where its time went.

Source: "Invoke" in the AWS Lambda API reference; W3C Server Timing for the last.
"""

import binascii
import json
import re
from base64 import b64decode
from collections.abc import Mapping
from enum import Enum

from hearth.core.errors import InvalidRequestContent, ValidationError
from hearth.core.invocation import Ledger

MAX_IDEMPOTENCY_KEY = 255
MAX_CLIENT_CONTEXT = 3583
"""Characters of base64 (AWS Lambda API, `X-Amz-Client-Context`)."""


class InvocationType(Enum):
    """How the caller wants to be answered."""

    REQUEST_RESPONSE = "RequestResponse"
    EVENT = "Event"
    DRY_RUN = "DryRun"


_TYPES = {kind.value: kind for kind in InvocationType} | {"": InvocationType.REQUEST_RESPONSE}
_LOG_TYPES = {"": False, "None": False, "Tail": True}
_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


def invocation_type(header: str) -> InvocationType:
    """`X-Amz-Invocation-Type`; RequestResponse where none is given."""
    kind = _TYPES.get(header)
    if kind is None:
        raise _not_in_enum(header, "invocationType", "[Event, RequestResponse, DryRun]")
    return kind


def check_streaming_type(header: str) -> None:
    """`X-Amz-Invocation-Type` of InvokeWithResponseStream, which nobody can invoke without waiting for the answer."""
    if header not in ("", InvocationType.REQUEST_RESPONSE.value, InvocationType.DRY_RUN.value):
        raise _not_in_enum(header, "invocationType", "[RequestResponse, DryRun]")


def wants_log_tail(header: str) -> bool:
    """`X-Amz-Log-Type`: whether the end of the log comes with the answer."""
    wanted = _LOG_TYPES.get(header)
    if wanted is None:
        raise _not_in_enum(header, "logType", "[None, Tail]")
    return wanted


def check_request_id(header: str) -> None:
    """`x-amzn-RequestId`, which has to be a UUID where it is sent (InvalidRequestContentException, AWS Lambda API). The
    invocation gets an id of its own all the same: two with one id could not be told apart."""
    if header and not _UUID.fullmatch(header):
        raise InvalidRequestContent(f"The x-amzn-RequestId header is not a valid UUID: '{header}'")


def idempotency_key(headers: Mapping[str, str]) -> str:
    """The key under which an event is accepted once a day, "" if it has none. This is Hearth's own: Lambda has no such
    header."""
    key = headers.get("X-Hearth-Idempotency-Key") or headers.get("Idempotency-Key", "")
    if len(key) > MAX_IDEMPOTENCY_KEY:
        raise InvalidRequestContent(f"The idempotency key must be at most {MAX_IDEMPOTENCY_KEY} characters long.")
    return key


def client_context(header: str) -> str:
    """`X-Amz-Client-Context`, decoded: the JSON text that the runtime hands to the handler."""
    if len(header) > MAX_CLIENT_CONTEXT:
        raise InvalidRequestContent(f"Client context must be at most {MAX_CLIENT_CONTEXT} bytes long.")
    try:
        text = b64decode(header, validate=True).decode()
        if isinstance(json.loads(text), dict):
            return _one_line(text)
    except (binascii.Error, ValueError, RecursionError):
        pass
    raise InvalidRequestContent("Client context must be a valid Base64-encoded JSON object.")


def server_timing(ledger: Ledger) -> str:
    """The ledger as a `Server-Timing` header, in milliseconds."""
    return (
        f"queue;dur={ledger.queue_s * 1e3:.3f}, start;dur={ledger.start_s * 1e3:.3f}, "
        f"init;dur={ledger.init_s * 1e3:.3f}, handler;dur={ledger.handler_s * 1e3:.3f}, "
        f"overhead;dur={ledger.overhead_s * 1e3:.3f}"
    )


def _one_line(text: str) -> str:
    """JSON has line breaks only between its tokens, and the runtime gets the context in a header."""
    return text.replace("\r", " ").replace("\n", " ")


def _not_in_enum(value: str, member: str, allowed: str) -> ValidationError:
    return ValidationError(
        f"1 validation error detected: Value '{value}' at '{member}' failed to satisfy constraint: "
        f"Member must satisfy enum value set: {allowed}"
    )
