"""Webhooks that Hearth calls: what one is, how a call is signed, where none may go, and what an answer means.

Rule 1: this host itself and link-local addresses are nobody's webhook. What listens there trusts whoever is inside: a
database without a password, or a cloud's metadata service with its credentials.
Rule 2: a signature covers the time, so that a call that was overheard is worth nothing an hour later.
Source: OWASP, "Server-Side Request Forgery Prevention Cheat Sheet"; RFC 9110, sections 10.2.3 (Retry-After) and 15.
"""

import hashlib
import hmac
import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

MAX_URL = 2_048
SIGNATURE_HEADER = "X-Hearth-Signature"
DELIVERY_HEADER = "X-Hearth-Delivery"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_METADATA = frozenset(map(ipaddress.ip_address, ("fd00:ec2::254", "fd20:ce::254", "100.100.100.200")))
"""Metadata services of clouds that are not link-local: Amazon's and Google's by IPv6, Alibaba's."""
_TRANSLATED = (ipaddress.ip_network("64:ff9b::/96"), ipaddress.ip_network("::/96"))
"""IPv6 addresses that end in one of IPv4: RFC 6052, and RFC 4291, section 2.5.5.1."""
_SUCCESS = range(200, 300)
_REDIRECTS = range(300, 400)
_SERVER_ERRORS = 500
_LATER = frozenset({408, 423, 425, 429})
"""Answers below 500 that may be others tomorrow: timeout, locked, too early, too many requests."""


@dataclass(frozen=True, slots=True)
class Webhook:
    """One that was registered. Without a secret its calls are not signed. `created_s` is epoch seconds."""

    name: str
    url: str = field(repr=False)
    secret: str = field(default="", repr=False)
    created_s: int = 0


@dataclass(frozen=True, slots=True)
class Verdict:
    """What an answer means: delivered if both are empty; `again` may help after `retry_after_s`, `never` will not."""

    again: str = ""
    never: str = ""
    retry_after_s: float | None = None


def shown_url(url: str) -> str:
    """Where a URL goes, without what may be a secret: credentials, path and query."""
    try:
        parts = urlsplit(url)
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return "…"
    return f"{parts.scheme}://{parts.hostname}{port}/…"


def shown_target(target: str) -> str:
    """A target's address for logs: an ARN as it is, of a URL only where it goes."""
    return shown_url(target) if target.startswith(("https://", "http://")) else target


def is_name(text: str) -> bool:
    """Whether a webhook can be called that."""
    return _NAME.fullmatch(text) is not None


def signature(secret: str, body: bytes, now_s: int) -> str:
    """`t=<epoch seconds>,v1=<hexadecimal HMAC-SHA256 of "<t>.<body>">`."""
    digest = hmac.new(secret.encode(), f"{now_s}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={now_s},v1={digest}"


def is_inside(address: str) -> bool:
    """Whether an IP address is this host, link-local, or no host's at all. Private networks are what self-hosted
    services live in: they are not inside."""
    found = _unwrapped(address)
    return (
        found.is_loopback
        or found.is_link_local
        or found.is_unspecified
        or found.is_multicast
        or found in _METADATA
        or _is_broadcast(found)
    )


def _unwrapped(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """The address that is meant: IPv6 has many ways to wrap one of IPv4."""
    found = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(found, ipaddress.IPv4Address):
        return found
    wrapped = found.ipv4_mapped or found.sixtofour or (found.teredo[1] if found.teredo else None)
    is_translated = any(found in network for network in _TRANSLATED) and int(found) > 1
    return wrapped or (ipaddress.IPv4Address(int(found) & 0xFFFFFFFF) if is_translated else found)


def _is_broadcast(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    return address == ipaddress.IPv4Address("255.255.255.255") or address in ipaddress.ip_network("0.0.0.0/8")


def judge(status: int, headers: Mapping[str, str], now_s: float) -> Verdict:
    """What becomes of a call that was answered so."""
    if status in _SUCCESS:
        return Verdict()
    if status in _REDIRECTS:
        return Verdict(never=f"it answered {status}: redirects are not followed")
    if status in _LATER or status >= _SERVER_ERRORS:
        return Verdict(
            again=f"it answered {status}", retry_after_s=retry_after_s(headers.get("Retry-After", ""), now_s)
        )
    return Verdict(never=f"it answered {status}")


def retry_after_s(header: str, now_s: float) -> float | None:
    """Seconds until the time that a `Retry-After` names, as seconds or as a date; None for what is neither."""
    text = header.strip()
    if text.isascii() and text.isdigit() and len(text) < 10:  # noqa: PLR2004 - beyond that it is no wait
        return float(text)
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, moment.timestamp() - now_s)
