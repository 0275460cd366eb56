"""Whether a request comes from a web page, which acts for whoever looks at it and not for whoever runs this machine.

Every page in a browser may send requests to addresses of the machine it is looked at on, loopback included. Where
signatures are asked for that is harmless; where nobody needs to sign, only this keeps strangers out.

Rule 1: a browser says where a request comes from, in `Origin` or `Sec-Fetch-Site`; programs do not.
Rule 2: a page of another origin can send an `Authorization` only to those who let it (a function URL with CORS may).
Rule 3: a page whose own name was made to mean this machine (DNS rebinding) is told by that name: it is one of the
public name system, and nobody calls a Hearth on loopback by such a one, function URLs apart.
Source: Fetch standard, "CORS protocol"; W3C Fetch Metadata Request Headers; RFC 6761, section 6.3.
"""

from collections.abc import Mapping
from ipaddress import ip_address

_LOCAL_ENDINGS = (".localhost", ".internal")
_FUNCTION_URL = ".lambda-url."


def is_of_page(headers: Mapping[bytes, bytes]) -> bool:
    """Whether a page may be behind the request. Header names are lower-case."""
    host = headers.get(b"host", b"").decode("latin-1").strip().lower()
    is_address = host.startswith("[")  # of IPv6, hence nobody's name
    if not is_address and not is_local_name(host.partition(":")[0]):
        return True
    origin = headers.get(b"origin", b"").decode("latin-1").strip().lower()
    if origin and origin.partition("://")[2] == host:
        return True  # a function's own page, at the one port
    is_browsers = bool(origin) or headers.get(b"sec-fetch-site", b"none").strip().lower() != b"none"
    return is_browsers and b"authorization" not in headers


def is_local_name(name: str) -> bool:
    """Whether the name cannot be one that a stranger gave this machine: an address, a name without dots, or one that
    only means something here."""
    bare = name.rstrip(".")
    if "." not in bare or bare.endswith(_LOCAL_ENDINGS) or _FUNCTION_URL in bare:
        return True
    try:
        ip_address(bare)
    except ValueError:
        return False
    return True
