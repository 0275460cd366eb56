"""Hooks over HTTP, for who may.

| request | what |
|---|---|
| GET `/_hearth/hooks` | all of them, without their secrets |
| POST `/_hearth/hooks` | a new one; the secret that is made for it is in this answer and in none after it |
| GET, DELETE `/_hearth/hooks/<name>` | one; away with it |
| POST `/_hearth/hooks/<name>/rotate` | a new secret; the one before is good for `keep_s` more |

Rule: who points a hook at something needs the right to fill or invoke that.
"""

import base64
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from typing import Annotated, Any, Literal, TypeVar
from urllib.parse import unquote

import orjson
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError

from hearth.core.errors import InvalidParameterValue, InvalidRequestContent, UnknownOperation
from hearth_gateway.auth.authentication import Caller
from hearth_gateway.auth.gate import Gate
from hearth_gateway.core.addresses import (
    FunctionAddress,
    ListAddress,
    QueueAddress,
    StreamAddress,
    TopicAddress,
    parse_address,
    served,
)
from hearth_gateway.core.authorization import Place
from hearth_gateway.core.hook_signatures import STANDARD_PREFIX, Scheme, Style
from hearth_gateway.core.hooks import Hook, check_secret, checked
from hearth_gateway.core.operations import ApiResponse
from hearth_gateway.core.s3_events import S3Filter
from hearth_gateway.hooks.book import HookBook, Kept

PREFIX = "/_hearth/hooks"
KEEP_S = 86_400
MAX_KEEP_S = 30 * 86_400
SECRET_BYTES = 32
_JSON = {"Content-Type": "application/json"}
_FILLS = {QueueAddress: "sqs:SendMessage", ListAddress: "sqs:SendMessage", TopicAddress: "sns:Publish"}

Body = TypeVar("Body", bound=BaseModel)
_Secret = Annotated[SecretStr | None, Field(default=None)]


class _NewHook(BaseModel):
    """Body of a request for a hook. Without a secret one is made."""

    model_config = ConfigDict(extra="forbid")

    name: str
    style: Style
    target: str
    secret: _Secret
    header: str = Scheme().header
    algorithm: Literal["sha256", "sha1", "sha512"] = "sha256"
    encoding: Literal["hex", "base64"] = "hex"
    prefix: str = ""
    timestamp_header: str = ""
    delivery_header: str = ""
    buckets: list[str] = []
    key_prefix: str = ""
    key_suffix: str = ""
    events: list[str] = []


class _Rotation(BaseModel):
    model_config = ConfigDict(extra="forbid")

    secret: _Secret
    keep_s: int = Field(default=KEEP_S, ge=0, le=MAX_KEEP_S)


class HookPages:
    """The own page of hooks. `clock` gives epoch seconds, `base_url` is where others reach this Hearth."""

    def __init__(
        self, book: HookBook, gate: Gate, place: Place, base_url: str, *, clock: Callable[[], float] = time.time
    ) -> None:
        self._book = book
        self._gate = gate
        self._place = place
        self._base_url = base_url
        self._clock = clock

    async def respond(
        self, method: str, path: str, query: Mapping[str, list[str]], *, body: bytes, caller: Caller
    ) -> ApiResponse:
        """See `OwnPage`."""
        match method, *map(unquote, path.removeprefix(PREFIX).strip("/").split("/")):
            case "GET", "":
                self._authorize(caller, "ListHooks", "*")
                return _json([self._shown(hook) for hook in self._book.hooks()])
            case "POST", "":
                return await self._create(body, caller)
            case "GET", str(name):
                self._authorize(caller, "GetHook", name)
                return _json(self._shown(self._book.get(name).hook))
            case "DELETE", str(name):
                self._authorize(caller, "DeleteHook", name)
                await self._book.remove(name)
                return ApiResponse(204)
            case "POST", str(name), "rotate":
                self._authorize(caller, "RotateHook", name)
                return await self._rotate(name, body)
            case _:
                raise UnknownOperation(f"{method} {path} is no operation of this service.")

    def _authorize(self, caller: Caller, action: str, name: str) -> None:
        resource = f"arn:hearth:hook:{self._place.region}:{self._place.account}:{name}"
        self._gate.authorize(caller, f"hearth:{action}", resource, conditions={})

    async def _create(self, body: bytes, caller: Caller) -> ApiResponse:
        wanted = _read(_NewHook, body)
        self._authorize(caller, "CreateHook", wanted.name)
        hook = checked(
            Hook(
                wanted.name,
                wanted.style,
                wanted.target,
                int(self._clock()),
                Scheme(wanted.header, wanted.algorithm, wanted.encoding, wanted.prefix, wanted.timestamp_header),
                wanted.delivery_header,
                S3Filter(tuple(wanted.buckets), wanted.key_prefix, wanted.key_suffix, tuple(wanted.events)),
            )
        )
        self._authorize_target(caller, hook.target)
        if hook.style is Style.NONE:
            if wanted.secret is not None:
                raise InvalidParameterValue("A hook of the style none has no secret.")
            await self._book.create(Kept(hook))
            return _json(self._shown(hook), 201)
        secret, told = _given(hook.style, wanted.secret)
        await self._book.create(Kept(hook, secret))
        return _json({**self._shown(hook), **told}, 201)

    def _authorize_target(self, caller: Caller, target: str) -> None:
        address = parse_address(target)
        match address:
            case FunctionAddress():
                action = "lambda:InvokeFunction"
            case StreamAddress():
                action = "kinesis:PutRecord"
            case _:
                action = _FILLS[type(address)]  # `checked` lets no other kind through
        self._gate.authorize(caller, action, served(target, *self._place), conditions={})

    async def _rotate(self, name: str, body: bytes) -> ApiResponse:
        wanted = _read(_Rotation, body or b"{}")
        async with self._book.changing:
            kept = self._book.get(name)
            secret, told = _given(kept.hook.style, wanted.secret)
            until_s = int(self._clock()) + wanted.keep_s
            await self._book.put(replace(kept, secret=secret, before=kept.secret, before_until_s=until_s))
        return _json({**self._shown(kept.hook), **told, "before_until_s": until_s})

    def _shown(self, hook: Hook) -> dict[str, Any]:
        """A hook without its secrets; what its style does not use is left out."""
        shown: dict[str, Any] = {
            "name": hook.name,
            "style": hook.style.value,
            "target": hook.target,
            "url": self._base_url + hook.path,
            "created_s": hook.created_s,
        }
        if hook.style is Style.GENERIC:
            shown["scheme"] = asdict(hook.scheme)
        if hook.delivery_header:
            shown["delivery_header"] = hook.delivery_header
        if hook.is_for_objects:
            shown["wanted"] = asdict(hook.wanted)
        return shown


def new_secret(style: Style) -> str:
    """A fresh secret, in the form that the style's senders expect."""
    drawn = secrets.token_bytes(SECRET_BYTES)
    if style is Style.STANDARD:
        return STANDARD_PREFIX + base64.b64encode(drawn).decode()
    return drawn.hex()


def _given(style: Style, given: SecretStr | None) -> tuple[str, dict[str, str]]:
    """The secret, and what of it is told: one that was given is known to who gave it."""
    secret = new_secret(style) if given is None else given.get_secret_value()
    check_secret(style, secret)
    return secret, {"secret": secret} if given is None else {}


def _read(model: type[Body], body: bytes) -> Body:
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_input=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise InvalidRequestContent(f"Could not read the request: {where}: {first['msg']}") from None


def _json(value: object, status: int = 200) -> ApiResponse:
    return ApiResponse(status, orjson.dumps(value), _JSON)
