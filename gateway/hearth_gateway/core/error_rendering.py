"""An error as callers see it: status, headers and body members.

SDKs take the error's name from the header and its members from the body by exact name, so both are always there.
Source: the errors section of each operation in the AWS Lambda API reference.
"""

from collections.abc import Mapping
from typing import NamedTuple

from hearth.core.errors import HearthError, TooManyRequests


class RenderedError(NamedTuple):
    """An error on its way to the wire; the body is JSON members."""

    status: int
    headers: Mapping[str, str]
    body: Mapping[str, str]


def render(error: HearthError) -> RenderedError:
    """The wire form of an error of ours."""
    headers = {"Content-Type": "application/json", "x-amzn-ErrorType": error.code}
    if isinstance(error, TooManyRequests):
        headers["Retry-After"] = str(error.retry_after_s)
    return RenderedError(error.status, headers, error.body())
