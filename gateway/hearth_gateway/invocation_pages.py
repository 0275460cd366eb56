"""Asynchronous invocations over HTTP.

| request | what |
|---|---|
| GET `/_hearth/invocations?function=<name>[&state=…][&after=…][&limit=…]` | a page: what goes on, then what ended |
| GET `/_hearth/invocations/<id>` | one: its state, attempts, times, last error, and where its records went |
| DELETE `/_hearth/invocations/<id>` | cancels it; 409 if it runs or is over |

Rule: whoever may see the function (lambda:GetFunction) may see its invocations, and whoever may invoke it may cancel
them. No payload is shown.
"""

from collections.abc import Mapping
from urllib.parse import unquote

import orjson

from hearth.core.errors import InvalidParameterValue, UnknownOperation
from hearth.core.function import FunctionName
from hearth_gateway.asynchronous.dispatcher import AsyncInvocations
from hearth_gateway.auth.authentication import Caller
from hearth_gateway.auth.gate import Gate
from hearth_gateway.core.authorization import INVOKE, Place
from hearth_gateway.core.invocation_status import InvocationStatus, State
from hearth_gateway.core.names import parse_function_name
from hearth_gateway.core.operations import ApiResponse

PREFIX = "/_hearth/invocations"
SEE = "lambda:GetFunction"
MAX_PAGE = 100
_LONGEST_NUMBER = 12
_JSON = {"Content-Type": "application/json"}


class InvocationPages:
    """The own page of asynchronous invocations."""

    def __init__(self, invocations: AsyncInvocations, gate: Gate, place: Place) -> None:
        self._invocations = invocations
        self._gate = gate
        self._place = place

    async def respond(
        self, method: str, path: str, query: Mapping[str, list[str]], *, body: bytes, caller: Caller
    ) -> ApiResponse:
        """See `OwnPage`."""
        identity = unquote(path.removeprefix(PREFIX).strip("/"))
        match method, bool(identity):
            case "GET", False:
                return await self._list(query, caller)
            case "GET", True:
                status = await self._invocations.find(identity)
                self._authorize(caller, SEE, status.function)
                return _json(self._shown(status))
            case "DELETE", True:
                status = await self._invocations.find(identity)
                self._authorize(caller, INVOKE, status.function)
                await self._invocations.cancel(status)
                return ApiResponse(204)
            case _:
                raise UnknownOperation(f"{method} {path} is no operation of this service.")

    async def _list(self, query: Mapping[str, list[str]], caller: Caller) -> ApiResponse:
        named = query.get("function", [""])[0]
        if not named:
            raise InvalidParameterValue("Say whose invocations: function=<name>.")
        function = parse_function_name(named, self._place.account).name
        self._authorize(caller, SEE, function)
        found, following = await self._invocations.page(
            FunctionName(function),
            _state(query.get("state", [""])[0]),
            after=number(query, "after", 0, 10**_LONGEST_NUMBER),
            limit=number(query, "limit", MAX_PAGE, MAX_PAGE),
        )
        return _json({"invocations": [self._shown(one) for one in found], "next": following})

    def _shown(self, status: InvocationStatus) -> dict[str, object]:
        return {**status.shown(), "function_arn": self._arn(status.function)}

    def _arn(self, function: str) -> str:
        return self._place.arn(f"function:{function}")

    def _authorize(self, caller: Caller, action: str, function: str) -> None:
        self._gate.authorize(caller, action, self._arn(function), conditions={})


def number(query: Mapping[str, list[str]], name: str, default: int, most: int) -> int:
    """A whole number of the query, at least 0 and at most `most`."""
    text = query.get(name, [str(default)])[0]
    if not (text.isascii() and text.isdigit() and len(text) <= _LONGEST_NUMBER):
        raise InvalidParameterValue(f"{text!r} is no number for {name}.")
    return min(int(text), most)


def _state(text: str) -> State | None:
    if not text:
        return None
    try:
        return State(text)
    except ValueError as error:
        raise InvalidParameterValue(f"{text!r} is no state: {', '.join(one.value for one in State)}.") from error


def _json(value: object) -> ApiResponse:
    return ApiResponse(200, orjson.dumps(value), _JSON)
