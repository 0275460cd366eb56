"""The webhooks that were registered: by name, with what their calls are signed with.

Rule: an address and a secret are stored sealed. The secret is never shown; of the address only where it goes.
State: `_webhooks` is changed by `load`, `add` and `remove` only.
"""

import asyncio
from collections.abc import Iterator
from typing import Protocol
from urllib.parse import urlsplit

import orjson
import structlog
from pydantic import BaseModel, ValidationError

from hearth.core.errors import InvalidParameterValue, ResourceConflict, ResourceNotFound
from hearth.sealing import BrokenSeal, Sealer
from hearth_gateway.core.webhook import MAX_URL, Webhook, is_name

MAX_WEBHOOKS = 1_000
_SEAL = "webhook "
"""What a webhook is sealed under begins so: the sealing key seals other things too."""


class WebhookStore(Protocol):
    """The durable home of webhooks, by name. Raises ServiceError."""

    async def load_all(self) -> dict[str, bytes]: ...

    async def put(self, name: str, record: bytes, /) -> None: ...

    async def delete(self, name: str, /) -> None: ...


class _Record(BaseModel):
    """A webhook as it is stored; `sealed` is hexadecimal, of a JSON list: URL and secret."""

    sealed: str
    created_s: int


class WebhookBook:
    """Every webhook by name."""

    def __init__(self, store: WebhookStore, sealer: Sealer) -> None:
        self._store = store
        self._sealer = sealer
        self._webhooks: dict[str, Webhook] = {}
        self._changing = asyncio.Lock()

    def __iter__(self) -> Iterator[Webhook]:
        return iter(sorted(self._webhooks.values(), key=lambda webhook: webhook.name))

    async def load(self) -> None:
        """Take in what the store has. What cannot be opened is reported, and is no webhook."""
        for name, stored in (await self._store.load_all()).items():
            try:
                self._webhooks[name] = self._opened(name, stored)
            except (ValidationError, ValueError, BrokenSeal) as error:
                structlog.get_logger().error("webhook unreadable", webhook=name, error=type(error).__name__)

    def find(self, name: str) -> Webhook | None:
        """The webhook of this name."""
        return self._webhooks.get(name)

    async def add(self, webhook: Webhook) -> bool:
        """Register it, durably, in the place of one of the same name. Gives whether there was none."""
        _check(webhook)
        async with self._changing:
            is_new = webhook.name not in self._webhooks
            if is_new and len(self._webhooks) >= MAX_WEBHOOKS:
                raise ResourceConflict(f"There are {MAX_WEBHOOKS} webhooks already. Remove one first.")
            sealed = self._sealer.seal(_SEAL + webhook.name, orjson.dumps([webhook.url, webhook.secret]).decode())
            record = _Record(sealed=sealed.hex(), created_s=webhook.created_s)
            await self._store.put(webhook.name, record.model_dump_json().encode())
            self._webhooks[webhook.name] = webhook
        return is_new

    async def remove(self, name: str) -> None:
        """Forget it. What is on its way there becomes dead letters. Raises ResourceNotFound."""
        async with self._changing:
            if name not in self._webhooks:
                raise ResourceNotFound(f"There is no webhook named {name!r}.")
            await self._store.delete(name)
            del self._webhooks[name]

    def _opened(self, name: str, stored: bytes) -> Webhook:
        record = _Record.model_validate_json(stored)
        url, secret = orjson.loads(self._sealer.open(_SEAL + name, bytes.fromhex(record.sealed)))
        return Webhook(name, url, secret, record.created_s)


def _check(webhook: Webhook) -> None:
    if not is_name(webhook.name):
        raise InvalidParameterValue(
            "The name of a webhook has 1 to 64 letters, digits, '.', '_' and '-', and begins with a letter or digit."
        )
    try:
        parts = urlsplit(webhook.url)
        is_sound = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        is_sound = False
    if not is_sound or len(webhook.url) > MAX_URL or not webhook.url.isprintable():
        raise InvalidParameterValue(f"A webhook's URL is http(s)://host/…, of at most {MAX_URL} characters.")
