"""Pages of a list in the order of its keys, and the marker that leads from one to the next.

A marker is the key of the last item shown, so a list may change between two pages and nothing that stays is left out.
AWS calls it Marker, NextMarker or NextToken; to callers it is opaque.
"""

import base64
from collections.abc import Iterable
from typing import TypeVar

Item = TypeVar("Item")  # Python 3.11 has no type parameter syntax


def encode_marker(key: str) -> str:
    """A page's end as an opaque marker."""
    return base64.urlsafe_b64encode(key.encode()).decode()


def decode_marker(marker: str) -> str:
    """The key that a marker stands for; ValueError if it is none of ours."""
    return base64.b64decode(marker.encode("ascii"), altchars=b"-_", validate=True).decode()


def page_of(found: Iterable[tuple[str, Item]], marker: str | None, most: int) -> tuple[list[Item], str | None]:
    """At most so many items behind the marker (none: from the start), and the marker of the next page; None at the end.
    `found` is in the order of its keys. ValueError if the marker is none of ours."""
    after = decode_marker(marker or "")
    left = [(key, item) for key, item in found if key > after]
    shown = left[:most]
    following = encode_marker(shown[-1][0]) if len(left) > most else None
    return [item for _, item in shown], following
