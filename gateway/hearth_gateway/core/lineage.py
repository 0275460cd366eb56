"""How often a chain of invocations came back to the same function, as the trace header tells.

A function that invokes another passes its trace header on: AWS SDKs do so by themselves wherever they find
`_X_AMZN_TRACE_ID`. The header's field `Lineage=1:<function>:<count>|<function>:<count>` counts, for the functions that
the chain met last, how often it called each.
Source: "Use Lambda recursive loop detection to prevent infinite loops", AWS Lambda developer guide (the limit of 16).
"""

import re
import zlib

MAX_INVOCATIONS = 16
"""A chain may invoke the same function about this often."""
MAX_FUNCTIONS = 8
"""How many functions a chain remembers: the header must not grow without bound."""

_FIELD = re.compile(
    r"(?:^|;)\s*Lineage=1:([0-9a-f]{8}:[0-9]{1,3}(?:\|[0-9a-f]{8}:[0-9]{1,3}){0,7})\s*(?:;|$)", re.ASCII
)


def extended(header: str, arn: str) -> tuple[str, int]:
    """The lineage once this function is invoked with this header, and how often it has been in the chain by then.

    A header that has none of ours starts a chain.
    """
    name = f"{zlib.crc32(arn.encode()):08x}"
    match = _FIELD.search(header)
    known = [entry.split(":") for entry in match[1].split("|")] if match else []
    count = 1 + next((int(times) for function, times in known if function == name), 0)
    others = [f"{function}:{times}" for function, times in known if function != name]
    return "1:" + "|".join([f"{name}:{count}", *others][:MAX_FUNCTIONS]), count


def times(header: str, arn: str) -> int:
    """How often the function is in the chain of this header."""
    return extended(header, arn)[1] - 1
