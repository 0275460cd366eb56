"""Receipt handles: which message, and which receive of it."""

import base64
import binascii

_SEPARATOR = "\t"


def receipt_of(message_id: str, receive_id: str) -> str:
    """A handle, opaque to its holder."""
    return base64.urlsafe_b64encode(f"{message_id}{_SEPARATOR}{receive_id}".encode()).decode()


def read_receipt(receipt: str) -> tuple[str, str] | None:
    """The ids of the message and of the receive; None if this is no handle of ours."""
    try:
        text = base64.b64decode(receipt.encode(), altchars=b"-_", validate=True).decode()
    except (binascii.Error, ValueError):
        return None
    message_id, separator, receive_id = text.partition(_SEPARATOR)
    return (message_id, receive_id) if separator and message_id and receive_id else None
