"""Hearth's own few paths: its health, packages by signed link, logs, and access keys.

Rule 1: `/health` and the signed links are for everybody who has them; everything else is for who may.
Rule 2: access keys are the administrator's alone. A secret is in one answer, once.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from typing import Any, Protocol
from urllib.parse import parse_qs, unquote

import orjson
from aiohttp import web
from pydantic import BaseModel, ConfigDict, ValidationError

from hearth.access_keys import AccessKey, AccessKeys
from hearth.core.arns import log_group
from hearth.core.auth_errors import NotAuthorized
from hearth.core.errors import InvalidParameterValue, InvalidRequestContent, ResourceNotFound, UnknownOperation
from hearth.core.function import FunctionName
from hearth.core.log_lines import is_stream_of
from hearth.core.records import FunctionRecord
from hearth.ports import LogReader
from hearth.registry import Registry
from hearth_gateway.auth.authentication import Caller, is_here
from hearth_gateway.auth.gate import Gate
from hearth_gateway.core.operations import ApiResponse

HEALTH = "/health"
CODE_PREFIX = "/_hearth/code/"
LOGS_PREFIX = "/_hearth/logs/"
KEYS = "/_hearth/keys"
ADMINISTRATOR = "administrator"

LOG_BYTES = 65_536
"""What `/_hearth/logs/<name>` shows if not told otherwise."""

_JSON = {"Content-Type": "application/json"}
_LINES = {"Content-Type": "application/x-ndjson"}
# How often a silent stream looks whether its reader is still there.
_READER_CHECK_S = 1.0

OWN_PREFIX = "/_hearth/"


class OwnPage(Protocol):
    """Some of Hearth's own paths: those that begin with a prefix it is registered under. JSON both ways."""

    async def respond(
        self, method: str, path: str, query: Mapping[str, list[str]], *, body: bytes, caller: Caller
    ) -> ApiResponse:
        """Answer a request whose signature is verified; what the caller may do is the page's to judge (with
        `Gate.authorize`). Raises HearthError."""
        ...


Head = Callable[[Mapping[str, str]], Mapping[str, str]]
"""Adds to headers what every answer carries."""


class _NewKey(BaseModel):
    """Body of a request for a key. Policies are JSON documents, as text."""

    model_config = ConfigDict(extra="forbid", strict=True)

    user: str
    policies: list[str] = []


class LogPages:
    """A function's newest output, and what comes after it."""

    def __init__(self, registry: Registry, logs: LogReader, gate: Gate, stopping: asyncio.Event) -> None:
        self._registry = registry
        self._logs = logs
        self._gate = gate
        self._stopping = stopping

    async def show(self, request: web.BaseRequest, caller: Caller, *, name: str, head: Head) -> web.StreamResponse:
        """One line of JSON per piece of output."""
        record = self._registry.find(name)
        group = log_group(FunctionName(name)) if record is None else _log_group(record)
        self._gate.authorize(caller, "logs:FilterLogEvents", self._gate.log_group_arn(group), conditions={})
        if record is None:
            raise ResourceNotFound(f"Function not found: {name}")
        query = parse_qs(request.raw_path.partition("?")[2])
        max_bytes = _whole_number(query.get("bytes", [str(LOG_BYTES)])[0])
        response = web.StreamResponse(headers=head(_LINES))
        if query.get("follow", ["0"])[0] in ("0", "false"):
            entries = await self._logs.tail(group, max_bytes)
            await response.prepare(request)
            for entry in entries:
                if _is_of(record, group, entry):
                    await response.write(_line(entry))
            return response
        async with aclosing(self._logs.follow(group, max_bytes)) as following:
            await response.prepare(request)
            own = (entry async for entry in following if _is_of(record, group, entry))
            await self._follow(request, response, own, name=name)
        return response

    async def _follow(
        self,
        request: web.BaseRequest,
        response: web.StreamResponse,
        following: AsyncGenerator[tuple[int, str, str], None],
        *,
        name: str,
    ) -> None:
        """Pass entries on until there are no more, the function or the reader is gone, or we stop.

        A reader that goes is noticed when something is written to it, and a silent function never writes: hence
        the look at the connection.
        """
        async with asyncio.TaskGroup() as tasks:
            pump = tasks.create_task(_pump(response, following), name="follow-logs")
            stop = tasks.create_task(self._stopping.wait(), name="follow-logs-stop")
            while not (pump.done() or stop.done() or request.transport is None or self._registry.find(name) is None):
                await asyncio.wait((pump, stop), timeout=_READER_CHECK_S, return_when=asyncio.FIRST_COMPLETED)
            pump.cancel()
            stop.cancel()


def _log_group(record: FunctionRecord) -> str:
    """Where the function writes now."""
    return record.latest.deployment.configuration.logging.group or log_group(record.name)


def _is_of(record: FunctionRecord, group: str, entry: tuple[int, str, str]) -> bool:
    """Whether an entry of the group is this function's: a group that was named may be shared."""
    return group == log_group(record.name) or is_stream_of(entry[1], record.name)


class KeyPages:
    """Access keys over HTTP: GET lists them, POST makes one, DELETE of `/_hearth/keys/<id>` revokes it, and POST to
    `/_hearth/keys/administrator` gives the administrator a new one."""

    def __init__(self, keys: AccessKeys, clock: Callable[[], float] = time.time) -> None:
        self._keys = keys
        self._clock = clock

    async def respond(self, method: str, path: str, body: bytes, caller: Caller) -> ApiResponse:
        """Answer a request to `/_hearth/keys` or below."""
        if not caller.principal.is_admin:
            raise NotAuthorized(f"User: {caller.principal.arn} is not authorized to administer access keys")
        access_key_id = unquote(path.removeprefix(KEYS).lstrip("/"))
        match method, bool(access_key_id):
            case "GET", False:
                return _json([_shown(key) for key in self._keys])
            case "POST", False:
                return await self._create(body)
            case "POST", True if access_key_id == ADMINISTRATOR:
                return _with_secret(await self._keys.rotate(self._clock()))
            case "DELETE", True:
                await self._keys.revoke(access_key_id)
                return ApiResponse(204)
            case _:
                raise UnknownOperation(f"{method} {path} is no operation of this service.")

    async def _create(self, body: bytes) -> ApiResponse:
        try:
            wanted = _NewKey.model_validate_json(body)
        except ValidationError as error:
            raise InvalidRequestContent(f"Could not read the request for a key: {error.errors()[0]['msg']}") from error
        return _with_secret(await self._keys.create(wanted.user, wanted.policies, self._clock()))


def health_for(health: Mapping[str, object], source_ip: str) -> Mapping[str, object]:
    """What `/health` tells whoever asks, functions included. The last error is in words that may name anything on this
    machine: it is for those who are here."""
    return health if is_here(source_ip) else {name: value for name, value in health.items() if name != "last_error"}


def is_own(path: str) -> bool:
    """Whether the path is one of ours."""
    return path.startswith(OWN_PREFIX) or path == HEALTH


def _shown(key: AccessKey) -> dict[str, Any]:
    """A key without its secret."""
    return {
        "access_key_id": key.access_key_id,
        "user": key.user,
        "created_s": key.created_s,
        "policies": [orjson.loads(policy) for policy in key.policies],
    }


def _with_secret(key: AccessKey) -> ApiResponse:
    return _json({**_shown(key), "secret_access_key": key.secret_access_key}, 201)


def _json(value: object, status: int = 200) -> ApiResponse:
    return ApiResponse(status, orjson.dumps(value), _JSON)


async def _pump(response: web.StreamResponse, following: AsyncGenerator[tuple[int, str, str], None]) -> None:
    try:
        async for entry in following:
            await response.write(_line(entry))
    except ConnectionError:
        return  # the reader is gone


def _line(entry: tuple[int, str, str]) -> bytes:
    return orjson.dumps(entry) + b"\n"


def _whole_number(text: str) -> int:
    if text.isascii() and text.isdigit() and len(text) <= len(str(2**40)):
        return int(text)
    raise InvalidParameterValue(f"{text!r} is not a number of bytes.")
