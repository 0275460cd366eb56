"""The digests by which clients of SQS check that what they sent is what arrived.

Source: "Calculating the MD5 message digest for message attributes", Amazon SQS developer guide.
"""

import hashlib
from collections.abc import Mapping

from hearth_gateway.core.parcel import Attribute

_TEXT, _BINARY = b"\x01", b"\x02"


def md5_of_body(text: str) -> str:
    """Hexadecimal."""
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def md5_of_attributes(attributes: Mapping[str, Attribute]) -> str | None:
    """Hexadecimal, over name, type and value of every attribute in the order of their names; None without any."""
    if not attributes:
        return None
    digest = hashlib.md5(usedforsecurity=False)
    for name in sorted(attributes):
        attribute = attributes[name]
        value = attribute.value
        digest.update(_counted(name.encode()))
        digest.update(_counted(attribute.data_type.encode()))
        digest.update(_BINARY + _counted(value) if isinstance(value, bytes) else _TEXT + _counted(value.encode()))
    return digest.hexdigest()


def _counted(piece: bytes) -> bytes:
    """A piece behind its length, four bytes with the largest first."""
    return len(piece).to_bytes(4, "big") + piece
