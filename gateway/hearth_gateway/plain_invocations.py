"""Invocations in the fast lane: plain requests to Invoke, from the signature to the answer.

Rule: between the signature and the scheduler nothing waits, and no task is made, unless the body is so large that
hashing it would hold up the others.
"""

import asyncio
from typing import Any

from hearth.core.errors import HearthError
from hearth.core.invocation import Outcome
from hearth.ports import Scheduler
from hearth_gateway.auth.authentication import LARGE_BODY, Authenticator, Ticket, verify, verify_aside
from hearth_gateway.auth.gate import Gate
from hearth_gateway.auth.refusals import Refusals
from hearth_gateway.core.http_head import Head, LowerHeaders
from hearth_gateway.core.sigv4 import Signed
from hearth_gateway.core.tracing import REQUEST_ID_BYTES, request_id
from hearth_gateway.fast_lane import Done, Handler, answered, failed
from hearth_gateway.invoke import DRY_RUN, INVOKE_PREFIX, INVOKE_SUFFIX, Invoker, answer
from hearth_gateway.random_bytes import RandomBytes


class PlainInvocations:
    """Answers invocations that came in plainly."""

    def __init__(
        self, invoker: Invoker, scheduler: Scheduler, authenticator: Authenticator, gate: Gate, *, refusals: Refusals
    ) -> None:
        self._invoker = invoker
        self._scheduler = scheduler
        self._authenticator = authenticator
        self._gate = gate
        self._refusals = refusals
        self._random = RandomBytes()

    def handler(self, head: Head) -> Handler | None:
        """Who answers the request; None if it is no invocation, or something about it is special."""
        if head.headers.get(b"x-amz-invocation-type") == b"Event":
            return None  # it waits for the disk, not for the function
        is_invoke = head.target.startswith(INVOKE_PREFIX) and head.method == "POST"
        if not (is_invoke and head.path.endswith(INVOKE_SUFFIX)):
            return None
        return self._invoke if head.body_end - head.body_start < LARGE_BODY or self._is_known(head) else None

    def _is_known(self, head: Head) -> bool:
        """Whether somebody we know claims to send this: large bodies of strangers are not collected, but refused by the
        other lane before they are read."""
        path, _, query = head.target.partition("?")
        try:
            self._authenticator.examine(Signed(head.method, path, query, head.headers), "")
        except HearthError:
            return False
        return True

    def _invoke(self, head: Head, body: bytes, peer: str, done: Done) -> "asyncio.Future[Any] | None":
        """An invocation from the fast lane; errors are answers."""
        identity = request_id(self._random.take(REQUEST_ID_BYTES))
        path, _, query = head.target.partition("?")
        label = path[len(INVOKE_PREFIX) : -len(INVOKE_SUFFIX)]
        try:
            ticket = self._authenticator.examine(Signed(head.method, path, query, head.headers), peer).of_lambda()
            if ticket.is_slow(body):
                return asyncio.create_task(self._invoke_aside(head, body, ticket, done), name="large-invocation")
            body = verify(ticket, body)
            self._gate.permit_invocation(ticket.caller, label, query)
            headers = LowerHeaders(head.headers)
            invocation = self._invoker.prepare(label, query, headers, body=body, request_id=identity)
            if invocation is None:
                done(identity, answered(DRY_RUN))
                return None
            running = self._scheduler.submit(invocation)
        except Exception as error:  # the top of a request
            self._refusals.note(error, peer)
            done(identity, failed(error))
            return None

        def conclude(outcome: "asyncio.Future[Outcome]") -> None:
            if outcome.cancelled():
                return
            try:
                response = answered(answer(invocation, outcome.result()))
            except Exception as error:  # the top of a request
                response = failed(error)
            done(identity, response)

        running.add_done_callback(conclude)
        return running

    async def _invoke_aside(self, head: Head, body: bytes, ticket: Ticket, done: Done) -> None:
        """An invocation from the fast lane whose body takes so long to hash that others would wait for it."""
        identity = request_id(self._random.take(REQUEST_ID_BYTES))
        label = ticket.request.path[len(INVOKE_PREFIX) : -len(INVOKE_SUFFIX)]
        try:
            body = await verify_aside(ticket, body)
            query = ticket.request.query
            self._gate.permit_invocation(ticket.caller, label, query)
            headers = LowerHeaders(head.headers)
            response = answered(await self._invoker.invoke(label, query, headers, body=body, request_id=identity))
        except Exception as error:  # the top of a request
            self._refusals.note(error, ticket.caller.source_ip)
            response = failed(error)
        done(identity, response)
