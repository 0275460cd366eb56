"""Calls webhooks: one POST per parcel.

Rule 1: the address that is connected to is the one that was looked at: names are resolved here, once, and what leads
inside is refused (`core/webhook.py`), unless everything may be reached.
Rule 2: no redirect is followed, no cookie kept, no proxy of the environment used, and no answer read beyond its head.
"""

import asyncio
import ipaddress
import socket
from collections.abc import Callable
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver
from yarl import URL

from hearth_gateway.asynchronous.ports import TargetRefused, TargetUnavailable
from hearth_gateway.core.addresses import WebhookAddress, parse_address
from hearth_gateway.core.parcel import Parcel
from hearth_gateway.core.webhook import DELIVERY_HEADER, SIGNATURE_HEADER, Webhook, is_inside, judge, signature

CONNECT_TIMEOUT_S = 5.0
ANSWER_TIMEOUT_S = 15.0
MAX_CONNECTIONS = 128

_INSIDE = "Inside"
_HEADERS = {"Content-Type": "application/json", "User-Agent": "Hearth"}


class _Inside(OSError):
    """The name leads to an address that nobody's webhook has."""


class _Outward(AbstractResolver):
    """Resolves names to addresses outside."""

    def __init__(self) -> None:
        self._resolver = ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = await self._resolver.resolve(host, port, family)
        outside = [one for one in found if not is_inside(one["host"])]
        if found and not outside:
            raise _Inside(f"{host} is this host, or link-local")
        return outside

    async def close(self) -> None:
        await self._resolver.close()


class WebhookTarget:
    """A `Target` for registered webhooks and for URLs. `find` gives a webhook by name, `now_s` epoch seconds;
    `reaches_inside`: every address may be called. `close` when done."""

    def __init__(
        self, find: Callable[[str], Webhook | None], now_s: Callable[[], float], *, reaches_inside: bool = False
    ) -> None:
        self._find = find
        self._now_s = now_s
        self._reaches_inside = reaches_inside
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Drop the connections."""
        if self._session is not None:
            await self._session.close()

    async def deliver(self, parcel: Parcel) -> None:
        """See `Target`."""
        webhook = self._webhook(parcel.target)
        if not self._reaches_inside and _is_literally_inside(webhook.url):
            raise TargetRefused("the webhook's address is this host, or link-local", _INSIDE)
        headers = {**_HEADERS, DELIVERY_HEADER: parcel.id, **parcel.headers}
        now_s = self._now_s()
        if webhook.secret:
            headers[SIGNATURE_HEADER] = signature(webhook.secret, parcel.body, int(now_s))
        status, answered = await self._post(webhook.url, parcel.body, headers)
        verdict = judge(status, answered, now_s)
        if verdict.never:
            raise TargetRefused(verdict.never, f"HTTP{status}")
        if verdict.again:
            raise TargetUnavailable(verdict.again, verdict.retry_after_s)

    def _webhook(self, target: str) -> Webhook:
        address = parse_address(target)
        if not isinstance(address, WebhookAddress):
            return Webhook("", target)
        found = self._find(address.name)
        if found is None:
            raise TargetRefused(f"there is no webhook named {address.name!r}", "InvalidTarget")
        return found

    async def _post(self, url: str, body: bytes, headers: dict[str, str]) -> tuple[int, Any]:
        """Status and headers of the answer. Errors do not name the URL: it may be a secret."""
        try:
            async with (
                asyncio.timeout(ANSWER_TIMEOUT_S),
                self._opened().post(url, data=body, headers=headers, allow_redirects=False) as response,
            ):
                return response.status, response.headers
        except TimeoutError as error:
            raise TargetUnavailable(f"it did not answer within {ANSWER_TIMEOUT_S:g} s") from error
        except aiohttp.ClientConnectorError as error:
            if isinstance(error.os_error, _Inside):
                raise TargetRefused("the webhook's name leads to this host, or is link-local", _INSIDE) from error
            raise TargetUnavailable(f"no connection: {error.os_error}") from error
        except aiohttp.InvalidURL as error:
            raise TargetRefused("the URL makes no sense", "InvalidTarget") from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise TargetUnavailable(f"the call broke: {type(error).__name__}") from error

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            resolver = None if self._reaches_inside else _Outward()
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=MAX_CONNECTIONS, resolver=resolver, use_dns_cache=False),
                # The deadline is around the whole call; aiohttp's own would be a second one.
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT_S),
                cookie_jar=aiohttp.DummyCookieJar(),
                trust_env=False,
                auto_decompress=False,
            )
        return self._session


def _is_literally_inside(url: str) -> bool:
    """Addresses in numbers are never resolved, so they are looked at here, in whatever way they are written."""
    try:
        host = URL(url).raw_host or ""  # the client's own reading: to it, other scripts' digits and dots are ASCII's
    except ValueError:
        return False  # it will not call that
    try:
        return is_inside(str(ipaddress.ip_address(host)))
    except ValueError:
        pass
    try:
        return is_inside(socket.inet_ntoa(socket.inet_aton(host)))  # 127.1, 0x7f000001, 2130706433
    except OSError:
        return False
