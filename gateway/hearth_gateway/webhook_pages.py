"""Webhooks that Hearth calls, over HTTP.

| request | what |
|---|---|
| GET `/_hearth/webhooks` | all of them, without their secrets |
| PUT `/_hearth/webhooks/<name>` `{"url": …, "secret": …}` | 201 for a new one, 200 for a known one that changes |
| DELETE `/_hearth/webhooks/<name>` | 204; what is on its way there becomes dead letters |
"""

import time
from collections.abc import Callable, Mapping
from urllib.parse import unquote

import orjson
from pydantic import BaseModel, ConfigDict, SecretStr, ValidationError

from hearth.core.errors import InvalidRequestContent, UnknownOperation
from hearth_gateway.asynchronous.webhook_book import WebhookBook
from hearth_gateway.auth.authentication import Caller
from hearth_gateway.auth.gate import Gate
from hearth_gateway.core.authorization import Place
from hearth_gateway.core.operations import ApiResponse
from hearth_gateway.core.webhook import Webhook, shown_url

PREFIX = "/_hearth/webhooks"
_JSON = {"Content-Type": "application/json"}


class _NewWebhook(BaseModel):
    """Body of a PUT. Both are secrets from the first moment: no error shows them."""

    model_config = ConfigDict(extra="forbid", strict=True)

    url: SecretStr
    secret: SecretStr = SecretStr("")


class WebhookPages:
    """The own page of webhooks. `clock` gives epoch seconds."""

    def __init__(self, book: WebhookBook, gate: Gate, place: Place, *, clock: Callable[[], float] = time.time) -> None:
        self._book = book
        self._gate = gate
        self._place = place
        self._clock = clock

    async def respond(
        self, method: str, path: str, query: Mapping[str, list[str]], *, body: bytes, caller: Caller
    ) -> ApiResponse:
        """See `OwnPage`."""
        name = unquote(path.removeprefix(PREFIX).strip("/"))
        match method, bool(name):
            case "GET", False:
                self._authorize(caller, "hearth:ListWebhooks", "*")
                return _json([self._shown(webhook) for webhook in self._book])
            case "PUT", True:
                self._authorize(caller, "hearth:PutWebhook", name)
                return await self._put(name, body)
            case "DELETE", True:
                self._authorize(caller, "hearth:DeleteWebhook", name)
                await self._book.remove(name)
                return ApiResponse(204)
            case _:
                raise UnknownOperation(f"{method} {path} is no operation of this service.")

    async def _put(self, name: str, body: bytes) -> ApiResponse:
        try:
            wanted = _NewWebhook.model_validate_json(body)
        except ValidationError as error:
            raise InvalidRequestContent(f"Could not read the webhook: {error.errors()[0]['msg']}") from None
        webhook = Webhook(name, wanted.url.get_secret_value(), wanted.secret.get_secret_value(), int(self._clock()))
        is_new = await self._book.add(webhook)
        return _json(self._shown(webhook), 201 if is_new else 200)

    def _shown(self, webhook: Webhook) -> dict[str, object]:
        return {
            "name": webhook.name,
            "arn": self._arn(webhook.name),
            "url": shown_url(webhook.url),
            "is_signed": bool(webhook.secret),
            "created_s": webhook.created_s,
        }

    def _arn(self, name: str) -> str:
        return f"arn:hearth:webhook:{self._place.region}:{self._place.account}:{name}"

    def _authorize(self, caller: Caller, action: str, name: str) -> None:
        self._gate.authorize(caller, action, self._arn(name), conditions={})


def _json(value: object, status: int = 200) -> ApiResponse:
    return ApiResponse(status, orjson.dumps(value), _JSON)
