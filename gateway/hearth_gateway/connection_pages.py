"""Named connections over HTTP.

| request | what |
|---|---|
| GET `/_hearth/connections` | all of them, without their secrets |
| PUT `/_hearth/connections/<name>` `{"url": ...}` | 201 for a new one, 200 for another URL of a known one |
| DELETE `/_hearth/connections/<name>` | 204; refused while something uses it |
| POST `/_hearth/connections/<name>/test` | asks the server what it is |

Rule: a URL goes in and never comes out; what is shown is masked.
"""

import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol
from urllib.parse import unquote

import orjson
from pydantic import BaseModel, ConfigDict, SecretStr, ValidationError

from hearth.connections import Connection, ConnectionBook
from hearth.core.connection_url import SqsService, parse_connection_url
from hearth.core.errors import InvalidRequestContent, UnknownOperation
from hearth_gateway.auth.authentication import Caller
from hearth_gateway.auth.gate import Gate
from hearth_gateway.core.authorization import Place
from hearth_gateway.core.durability import ServerFacts, durability_of, warnings_of
from hearth_gateway.core.operations import ApiResponse
from hearth_gateway.sources.ports import QueueUnavailable

PREFIX = "/_hearth/connections"
_JSON = {"Content-Type": "application/json"}


class Checks(Protocol):
    """Asks servers what they are. Both raise QueueUnavailable with the reason."""

    async def redis(self, name: str) -> ServerFacts: ...

    async def sqs(self, name: str) -> None: ...


class _NewConnection(BaseModel):
    """Body of a PUT. The URL is a secret from the first moment: no error shows it."""

    model_config = ConfigDict(extra="forbid", strict=True)

    url: SecretStr


class ConnectionPages:
    """The own page of connections."""

    def __init__(
        self,
        book: ConnectionBook,
        checks: Checks,
        gate: Gate,
        place: Place,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._book = book
        self._checks = checks
        self._gate = gate
        self._place = place
        self._clock = clock

    async def respond(
        self, method: str, path: str, query: Mapping[str, list[str]], *, body: bytes, caller: Caller
    ) -> ApiResponse:
        """See `OwnPage`."""
        match method, *path.removeprefix(PREFIX).strip("/").split("/"):
            case "GET", "":
                self._authorize(caller, "List", "*")
                return _json([self._shown(self._book.find(name)) for name in self._book])
            case "PUT", str(name) if name:
                self._authorize(caller, "Put", unquote(name))
                return await self._put(unquote(name), body)
            case "DELETE", str(name) if name:
                self._authorize(caller, "Delete", unquote(name))
                await self._book.remove(unquote(name))
                return ApiResponse(204)
            case "POST", str(name), "test" if name:
                self._authorize(caller, "Test", unquote(name))
                return _json(await self._test(self._book.find(unquote(name))))
            case _:
                raise UnknownOperation(f"{method} {path} is no operation of this service.")

    def _authorize(self, caller: Caller, verb: str, name: str) -> None:
        action = f"hearth:{verb}Connection{'s' if verb == 'List' else ''}"
        resource = f"arn:hearth:connection:{self._place.region}:{self._place.account}:{name}"
        self._gate.authorize(caller, action, resource, conditions={})

    async def _put(self, name: str, body: bytes) -> ApiResponse:
        try:
            wanted = _NewConnection.model_validate_json(body)
        except ValidationError as error:
            raise InvalidRequestContent(f"Could not read the connection: {error.errors()[0]['msg']}") from None
        connection, is_new = await self._book.add(name, wanted.url.get_secret_value(), self._clock())
        return _json(self._shown(connection), 201 if is_new else 200)

    def _shown(self, connection: Connection) -> dict[str, Any]:
        return {
            "name": connection.name,
            "url": connection.masked_url,
            "origin": connection.origin.value,
            "created_s": connection.created_s,
            "used_by": list(self._book.users_of(connection.name)),
        }

    async def _test(self, connection: Connection) -> dict[str, Any]:
        """What the server says; that it does not answer is an answer too."""
        shown = {"name": connection.name, "url": connection.masked_url}
        began = self._clock()
        try:
            found = await self._found(connection)
        except QueueUnavailable as error:
            return {**shown, "ok": False, "error": str(error)}
        return {**shown, "ok": True, "took_ms": round((self._clock() - began) * 1000, 1), **found}

    async def _found(self, connection: Connection) -> dict[str, Any]:
        if isinstance(parse_connection_url(connection.url), SqsService):
            await self._checks.sqs(connection.name)
            return {"kind": "sqs", "warnings": []}
        return _of_redis(await self._checks.redis(connection.name))


def _of_redis(facts: ServerFacts) -> dict[str, Any]:
    return {
        "kind": "redis",
        "version": facts.version,
        "role": facts.role,
        "appendonly": facts.appendonly,
        "appendfsync": facts.appendfsync,
        "durability": durability_of(facts).value,
        "warnings": list(warnings_of(facts)),
    }


def _json(value: object, status: int = 200) -> ApiResponse:
    return ApiResponse(status, orjson.dumps(value), _JSON)
