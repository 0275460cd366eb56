"""Dead letters over HTTP. Names of boxes are percent-encoded, slashes included.

| request | what |
|---|---|
| GET `/_hearth/dead-letters` | the boxes and how many letters each has |
| GET `/_hearth/dead-letters/<box>[?after=…][&limit=…]` | letters without their payloads, the oldest first |
| GET `/_hearth/dead-letters/<box>/<id>` | one letter, whole |
| POST `/_hearth/dead-letters/<box>` `{"ids": […], "per_second": …}` | 202: a redrive has begun; without ids, of all |
| DELETE `/_hearth/dead-letters/<box>[?id=…]` | throws away all letters, or those of these ids |
| GET `/_hearth/redrives`, `/_hearth/redrives/<id>` | redrives, the newest first; one of them |
| DELETE `/_hearth/redrives/<id>` | cancels it: what was sent is sent |

Rule: letters hold what was sent to functions. Who may list, show, redrive or purge is judged by actions of Hearth's own
(`hearth:ShowDeadLetters`, …) on `arn:hearth:dead-letters:<region>:<account>:<box>`.
"""

from collections.abc import Callable, Mapping
from urllib.parse import unquote

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from hearth.core.auth_errors import NotAuthorized
from hearth.core.errors import InvalidRequestContent, ResourceNotFound, ServiceError, UnknownOperation
from hearth_gateway.auth.authentication import Caller
from hearth_gateway.auth.gate import Gate
from hearth_gateway.core.authorization import Place
from hearth_gateway.core.operations import ApiResponse
from hearth_gateway.core.redrive import Redrive
from hearth_gateway.dead_letters.ports import Boxes, BoxUnavailable
from hearth_gateway.dead_letters.redrives import Redrives, shown
from hearth_gateway.invocation_pages import number

PREFIX = "/_hearth/dead-letters"
REDRIVES = "/_hearth/redrives"
MAX_PAGE = 100
MAX_IDS = 10_000
_JSON = {"Content-Type": "application/json"}


class _Wanted(BaseModel):
    """Body of a POST."""

    model_config = ConfigDict(extra="forbid", strict=True)

    ids: list[str] | None = Field(default=None, min_length=1, max_length=MAX_IDS)
    per_second: int | None = Field(default=None, ge=1, le=100_000)


class DeadLetterPages:
    """The own pages of dead letters and of redrives."""

    def __init__(
        self, boxes: Boxes, redrives: Redrives, gate: Gate, place: Place, *, new_id: Callable[[], str]
    ) -> None:
        self._boxes = boxes
        self._redrives = redrives
        self._gate = gate
        self._place = place
        self._new_id = new_id

    async def respond(
        self, method: str, path: str, query: Mapping[str, list[str]], *, body: bytes, caller: Caller
    ) -> ApiResponse:
        """See `OwnPage`."""
        try:
            if path.startswith(REDRIVES):
                return await self._of_redrives(method, path, caller)
            return await self._of_boxes(method, path, query, body=body, caller=caller)
        except BoxUnavailable as error:
            raise ServiceError(f"The dead letters cannot be reached: {error}") from error

    async def _of_boxes(
        self, method: str, path: str, query: Mapping[str, list[str]], *, body: bytes, caller: Caller
    ) -> ApiResponse:
        match method, *map(unquote, path.removeprefix(PREFIX).strip("/").split("/")):
            case "GET", "":
                return await self._list_boxes(caller)
            case "GET", box:
                self._authorize(caller, "List", box)
                return await self._list(box, query)
            case "GET", box, identity:
                self._authorize(caller, "Show", box)
                return await self._show(box, identity)
            case "POST", box if box:
                self._authorize(caller, "Redrive", box)
                return await self._redrive(box, body)
            case "DELETE", box if box:
                self._authorize(caller, "Purge", box)
                return await self._purge(box, query.get("id", []))
            case _:
                raise UnknownOperation(f"{method} {path} is no operation of this service.")

    async def _list_boxes(self, caller: Caller) -> ApiResponse:
        """Those that the caller may look into."""
        found = []
        for name in await self._boxes.names():
            try:
                self._authorize(caller, "List", name)
            except NotAuthorized:
                continue
            try:
                found.append({"box": name, "count": await self._boxes.open(name).count()})
            except BoxUnavailable as error:
                found.append({"box": name, "count": None, "error": str(error)})
        return _json({"boxes": found})

    async def _list(self, box: str, query: Mapping[str, list[str]]) -> ApiResponse:
        after, limit = number(query, "after", 0, 10**9), number(query, "limit", MAX_PAGE, MAX_PAGE)
        letters = await self._boxes.open(box).page(after, limit)
        following = after + limit if limit and len(letters) == limit else None
        return _json({"letters": [one.shown(is_whole=False) for one in letters], "next": following})

    async def _show(self, box: str, identity: str) -> ApiResponse:
        letters = await self._boxes.open(box).find([identity])
        if not letters:
            raise ResourceNotFound(f"There is no dead letter {identity!r} in {box!r}.")
        return _json(letters[0].shown(is_whole=True))

    async def _redrive(self, box: str, body: bytes) -> ApiResponse:
        try:
            wanted = _Wanted.model_validate_json(body or b"{}")
        except ValidationError as error:
            raise InvalidRequestContent(f"Could not read the redrive: {error.errors()[0]['msg']}") from error
        ids = None if wanted.ids is None else list(dict.fromkeys(wanted.ids))
        redrive = await self._redrives.start(self._new_id(), box, ids=ids, per_second=wanted.per_second)
        return _json(_brief(redrive), 202)

    async def _purge(self, box: str, ids: list[str]) -> ApiResponse:
        opened = self._boxes.open(box)
        if not ids:
            return _json({"purged": await opened.purge()})
        return _json({"purged": await opened.remove(await opened.find(ids))})

    async def _of_redrives(self, method: str, path: str, caller: Caller) -> ApiResponse:
        identity = unquote(path.removeprefix(REDRIVES).strip("/"))
        match method, bool(identity):
            case "GET", False:
                self._authorize(caller, "List", "*")
                return _json({"redrives": [_brief(one) for one in self._redrives]})
            case "GET", True:
                redrive = self._redrives.find(identity)
                self._authorize(caller, "List", redrive.box)
                return _json(_brief(redrive))
            case "DELETE", True:
                self._authorize(caller, "Redrive", self._redrives.find(identity).box)
                return _json(_brief(await self._redrives.cancel(identity)))
            case _:
                raise UnknownOperation(f"{method} {path} is no operation of this service.")

    def _authorize(self, caller: Caller, verb: str, box: str) -> None:
        resource = f"arn:hearth:dead-letters:{self._place.region}:{self._place.account}:{box}"
        self._gate.authorize(caller, f"hearth:{verb}DeadLetters", resource, conditions={})


def _brief(redrive: Redrive) -> dict[str, object]:
    """Without the ids, of which there may be thousands."""
    told = shown(redrive)
    del told["ids"]
    return {**told, "left": redrive.left}


def _json(value: object, status: int = 200) -> ApiResponse:
    return ApiResponse(status, orjson.dumps(value), _JSON)
