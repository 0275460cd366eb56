"""Request ids and X-Ray trace headers, made from given random bytes.

Source: RFC 9562 section 5.4 (UUID version 4); "Tracing header" in the AWS X-Ray developer guide.
"""

import re

REQUEST_ID_BYTES = 16
TRACE_BYTES = 20

_VARIANT = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}
_ROOT = re.compile(r"1-[0-9a-f]{8}-[0-9a-f]{24}")
_PARENT = re.compile(r"[0-9a-f]{16}")


def request_id(random: bytes) -> str:
    """A UUID of version 4 from 16 random bytes. Every invocation needs one: this is a fifth of `uuid.uuid4()`."""
    digits = random.hex()
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{_VARIANT[digits[16]]}{digits[17:20]}-{digits[20:]}"


def trace_header(incoming: str, random: bytes, epoch_s: int) -> str:
    """The trace an invocation belongs to: the caller's, if its header is sound, or a new, unsampled one.

    Only the documented fields go on; 20 random bytes make the ids that are missing.
    """
    digits = random.hex()
    if not incoming:
        return f"Root=1-{epoch_s:08x}-{digits[:24]};Parent={digits[24:]};Sampled=0"
    fields = dict(part.strip().split("=", 1) for part in incoming.split(";") if "=" in part)
    root, parent = fields.get("Root", ""), fields.get("Parent", "")
    if not _ROOT.fullmatch(root):
        return trace_header("", random, epoch_s)
    if not _PARENT.fullmatch(parent):
        parent = digits[24:]
    return f"Root={root};Parent={parent};Sampled={'1' if fields.get('Sampled') == '1' else '0'}"
