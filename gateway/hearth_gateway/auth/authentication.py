"""Who sent a request: found out before anything in it is believed or done.

Rule 1: in two steps. `examine` looks at the head alone, so that strangers are turned away before their bodies are
read; `verify` proves it with the body. Nobody may act on a ticket that is not verified.
Rule 2: the caller's rights are those of the moment of the request, not of the moment of signing.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from ipaddress import ip_address
from typing import NamedTuple, Protocol, assert_never

from hearth.core.auth_errors import (
    SIGNATURE_MISMATCH,
    ExpiredToken,
    InvalidSignature,
    NotAuthorized,
    UnrecognizedClient,
)
from hearth.core.errors import HearthError
from hearth.core.identity import Credential, Identities, Principal, Refusal
from hearth_gateway.core import sigv4, sigv4_chunks
from hearth_gateway.core.sigv4 import Claim, Signed
from hearth_gateway.core.web_pages import is_of_page

LARGE_BODY = 2**18
"""Bytes of body from which hashing is left to a thread, so that invocations are not held up."""

LAMBDA = "lambda"

_NOT_FOR_PAGES = (
    "With auth=none nothing is done for web pages, nor under a name of the public name system: use localhost, an "
    "address, or auth=iam."
)


class Caller(NamedTuple):
    """Who makes a request, of which service and region, and from where."""

    principal: Principal
    service: str
    region: str
    source_ip: str


@dataclass(frozen=True, slots=True, repr=False)
class Proof:
    """What is still to be shown: that the request was signed with this secret. `payload` is what its head says about
    the body."""

    claim: Claim
    secret: str
    payload: str | None


class Ticket(NamedTuple):
    """A request and who claims to have sent it. Without a proof there is nothing to be shown."""

    request: Signed
    caller: Caller
    proof: Proof | None

    def of_lambda(self) -> "Ticket":
        """The ticket, if it is for the Lambda API: a signature for another service must not work here."""
        if self.proof is not None and self.caller.service != LAMBDA:
            raise InvalidSignature(f"Credential should be scoped to correct service: '{LAMBDA}'.")
        return self

    def is_slow(self, body: bytes) -> bool:
        """Whether the body is too large to be hashed on the event loop."""
        return self.proof is not None and len(body) >= LARGE_BODY


class Authenticator(Protocol):
    """Finds out who sent a request."""

    def examine(self, request: Signed, source_ip: str) -> Ticket:
        """Who claims to have sent the request. Raises an AuthenticationError."""
        ...


class SignatureAuthenticator:
    """Believes signatures only. `clock` gives epoch seconds."""

    def __init__(self, identities: Identities, clock: Callable[[], float] = time.time) -> None:
        self._identities = identities
        self._clock = clock

    def examine(self, request: Signed, source_ip: str) -> Ticket:
        claim = sigv4.read_claim(request)
        now_s = self._clock()
        credential = self._credential(claim, now_s)
        sigv4.check_time(claim, now_s)
        payload = sigv4.declared_payload(claim, request)
        if payload is not None:
            _check_declaration(payload, claim, source_ip)
        caller = Caller(credential.principal, claim.scope.service, claim.scope.region, source_ip)
        return Ticket(request, caller, Proof(claim, credential.secret, payload))

    def _credential(self, claim: Claim, now_s: float) -> Credential:
        found = self._identities.secret_of(claim.access_key_id, claim.session_token, now_s)
        match found:
            case Credential():
                return found
            case Refusal.UNKNOWN:
                raise UnrecognizedClient
            case Refusal.EXPIRED:
                raise ExpiredToken
            case _:
                assert_never(found)


class TrustingAuthenticator:
    """Takes everybody for the same principal: for a Hearth that only this machine can reach. Web pages that somebody
    looks at on this machine are not everybody."""

    def __init__(self, principal: Principal, region: str) -> None:
        self._principal = principal
        self._region = region

    def examine(self, request: Signed, source_ip: str) -> Ticket:
        if is_of_page(request.headers):
            raise NotAuthorized(_NOT_FOR_PAGES)
        service, region = LAMBDA, self._region
        if sigv4.is_signed(request):
            try:
                scope = sigv4.read_claim(request).scope
                service, region = scope.service, scope.region
            except HearthError:
                pass  # credentials are ignored, however strange they are
        return Ticket(request, Caller(self._principal, service, region, source_ip), None)


def verify(ticket: Ticket, body: bytes) -> bytes:
    """Prove the ticket; gives the body, without the chunks it may have come in. Raises an AuthenticationError."""
    proof = ticket.proof
    if proof is None:
        return body
    payload = proof.payload
    if payload is None:
        payload = sha256(body).hexdigest()
    elif not _is_a_way(payload) and payload.lower() != sha256(body).hexdigest():
        raise InvalidSignature(SIGNATURE_MISMATCH)
    sigv4.check_signature(proof.claim, ticket.request, proof.secret, payload)
    if payload.startswith(sigv4.STREAMING_PREFIX):
        key = sigv4.signing_key(proof.secret, proof.claim.scope)
        return sigv4_chunks.unchunked(body, payload, proof.claim, key)
    return body


async def verify_aside(ticket: Ticket, body: bytes) -> bytes:
    """`verify`, in a thread where the body is large."""
    if ticket.is_slow(body):
        return await asyncio.to_thread(verify, ticket, body)
    return verify(ticket, body)


_STREAMING = frozenset({sigv4_chunks.SIGNED, sigv4_chunks.SIGNED_WITH_TRAILER, sigv4_chunks.UNSIGNED_WITH_TRAILER})
_UNSIGNED = frozenset({sigv4.UNSIGNED_PAYLOAD, sigv4_chunks.UNSIGNED_WITH_TRAILER})


def _is_a_way(payload: str) -> bool:
    """Whether the head names a way to do without a hash of the body."""
    return payload == sigv4.UNSIGNED_PAYLOAD or payload in _STREAMING


def _check_declaration(payload: str, claim: Claim, source_ip: str) -> None:
    """A body that nobody vouches for is taken with a presigned request, which has none to speak of, or from this
    machine, where nobody is on the way (a proxy that ends TLS is such a sender)."""
    if payload in _UNSIGNED and claim.lifetime_s is None and not is_here(source_ip):
        raise InvalidSignature("The body must be signed: UNSIGNED-PAYLOAD is for connections with TLS.")
    if payload.startswith(sigv4.STREAMING_PREFIX) and payload not in _STREAMING:
        raise InvalidSignature(f"{payload} is not supported.")


def is_here(source_ip: str) -> bool:
    """Whether a request comes from this machine."""
    try:
        return ip_address(source_ip).is_loopback
    except ValueError:
        return False
