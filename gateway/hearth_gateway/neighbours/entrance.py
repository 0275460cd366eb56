"""Requests to the services beside Lambda: whose they are is proved, then the service that is meant answers.

Rule 1: what is refused on the way is refused in the form of the service that was meant: a client of STS reads XML only.
Rule 2: a signature is for one service. It is not worth anything with another, whatever else a request says.
"""

import asyncio
from functools import partial

from aiohttp import web

from hearth.core.auth_errors import InvalidSignature
from hearth.core.errors import HearthError, UnknownOperation
from hearth.core.invocation import MAX_REQUEST_BYTES
from hearth_gateway.auth.authentication import Authenticator, Ticket, verify_aside
from hearth_gateway.auth.gate import Gate
from hearth_gateway.core.operations import ApiResponse
from hearth_gateway.core.sigv4 import Signed
from hearth_gateway.neighbours.calls import NeighbourRequest
from hearth_gateway.neighbours.neighbours import Neighbours
from hearth_gateway.neighbours.service_choice import FORM, LAMBDA, STS, choose_service
from hearth_gateway.request_body import read_body


class NeighbourEntrance:
    """The way to the neighbouring services."""

    def __init__(
        self, neighbours: Neighbours, authenticator: Authenticator, gate: Gate, stopping: asyncio.Event | None = None
    ) -> None:
        """`stopping` is set when nobody may be kept waiting any more."""
        self._neighbours = neighbours
        self._stopping = stopping or asyncio.Event()
        self._authenticator = authenticator
        self._gate = gate

    async def respond(self, request: web.BaseRequest, signed: Signed, identity: str) -> ApiResponse:
        """The answer to a request to `/`. Raises HearthError if it is meant for Lambda, which has nothing there."""
        try:
            ticket = self._authenticator.examine(signed, request.remote or "")
            body = await verify_aside(ticket, await read_body(request, MAX_REQUEST_BYTES, "/"))
            service = _meant(request, signed, body)
            if service == LAMBDA:
                raise UnknownOperation(f"{signed.method} / is no operation of this service.")
            _check_scope(ticket, service)
        except HearthError as error:
            return self._refused(request, signed, error, identity)
        asked = NeighbourRequest(
            signed.method,
            signed.query,
            request.headers,
            body,
            identity,
            source_ip=ticket.caller.source_ip,
            path=signed.path,
            surroundings=self._gate.surroundings(ticket.caller),
            is_there=lambda: request.transport is not None and not self._stopping.is_set(),
        )
        authorize = partial(self._gate.authorize, ticket.caller)
        return await self._neighbours.handle(service, asked, ticket.caller.principal, authorize)

    def _refused(self, request: web.BaseRequest, signed: Signed, error: HearthError, identity: str) -> ApiResponse:
        """Whom a request is meant for is told by its head here: its body is not believed, or not even read."""
        service = _meant(request, signed, b"")
        is_form = request.content_type == FORM
        if service == LAMBDA and not is_form:
            raise error
        return self._neighbours.refuse(STS if service == LAMBDA else service, error, identity, is_form=is_form)


def _meant(request: web.BaseRequest, signed: Signed, body: bytes) -> str:
    return choose_service(signed.method, signed.path, signed.query, headers=request.headers, body=body)


def _check_scope(ticket: Ticket, service: str) -> None:
    if ticket.proof is not None and ticket.caller.service != service:
        raise InvalidSignature(f"Credential should be scoped to correct service: '{service}'.")
