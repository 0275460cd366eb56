"""Pages of a list in a stable order: `Marker` in, `NextMarker` out, the latter left out at the end.

Source: "Marker" and "MaxItems" of the list operations in the AWS Lambda API reference.
"""

from bisect import bisect_right
from collections.abc import Sequence

from hearth.core.errors import InvalidParameterValue
from hearth_gateway.core.paging import decode_marker, encode_marker
from hearth_gateway.lambda_api.api import Parameters

PAGE_LIMIT = 50
"""Items of one page, whatever `MaxItems` asks for."""


def page(
    keys: Sequence[str], parameters: Parameters, *, limit: int = PAGE_LIMIT
) -> tuple[Sequence[str], dict[str, str]]:
    """The keys of the page that a request asks for, and the member that leads to the next. `keys` are in order."""
    after, size = asked(parameters, limit=limit)
    start = bisect_right(keys, after) if after else 0
    found = keys[start : start + size]
    is_last = start + size >= len(keys)
    return found, next_marker(None if is_last else found[-1])


def asked(parameters: Parameters, *, limit: int = PAGE_LIMIT) -> tuple[str, int]:
    """What a request asks for: the key to go on after, "" at the start, and how many items at most."""
    try:
        after = decode_marker(parameters.get("Marker") or "")
    except ValueError as error:
        raise InvalidParameterValue("Invalid Marker.") from error
    return after, min(parameters.get("MaxItems") or limit, limit)


def next_marker(last: str | None) -> dict[str, str]:
    """The member that leads to the page behind this key; none at the end."""
    return {} if last is None else {"NextMarker": encode_marker(last)}
