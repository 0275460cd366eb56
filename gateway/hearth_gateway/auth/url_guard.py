"""Who may use a function URL.

Rule 1: a URL with AWS_IAM takes signed requests of whom a policy, their own or the function's, allows it.
Rule 2: a URL with NONE is open. Where the operator wants it as on AWS, only if the function's policy says so as well.
Rule 3: whoever is refused is told nothing but that.
Source: "Control access to Lambda function URLs", AWS Lambda developer guide.
"""

from dataclasses import replace
from typing import NamedTuple

from hearth.core.auth_errors import MissingAuthenticationToken, NotAuthorized
from hearth.core.errors import AccessDenied
from hearth.core.identity import Principal
from hearth.core.records import FunctionRecord
from hearth_gateway.auth.authentication import Authenticator, verify_aside
from hearth_gateway.auth.gate import Gate
from hearth_gateway.core import authorization
from hearth_gateway.core.http_event import HttpRequest
from hearth_gateway.core.sigv4 import Signed

FORBIDDEN = (
    "Forbidden. For troubleshooting Function URL authorization issues, see: "
    "https://docs.aws.amazon.com/lambda/latest/dg/urls-auth.html"
)
AWS_IAM = "AWS_IAM"


class Admitted(NamedTuple):
    """A request that may go on, and who sent it; None where nobody was asked."""

    request: HttpRequest
    principal: Principal | None


class UrlGuard:
    """Stands in front of every function URL. `wants_statement`: a URL with NONE needs a public statement too."""

    def __init__(self, authenticator: Authenticator, gate: Gate, *, wants_statement: bool = False) -> None:
        self._authenticator = authenticator
        self._gate = gate
        self._wants_statement = wants_statement

    async def admit(
        self, request: HttpRequest, record: FunctionRecord, *, qualifier: str, arn: str, auth_type: str
    ) -> Admitted:
        """Let the request through, or raise AccessDenied or an AuthenticationError."""
        if auth_type == AWS_IAM:
            return await self._identify(request, record, qualifier, arn=arn)
        if self._wants_statement and not authorization.is_public_url(record, qualifier, arn, auth_type):
            raise AccessDenied(FORBIDDEN)
        return Admitted(request, None)

    async def _identify(self, request: HttpRequest, record: FunctionRecord, qualifier: str, *, arn: str) -> Admitted:
        try:
            ticket = self._authenticator.examine(_signed(request), request.source_ip).of_lambda()
            body = await verify_aside(ticket, request.body)
            self._gate.permit_url(ticket.caller, record, qualifier, arn)
        except (MissingAuthenticationToken, NotAuthorized) as error:
            raise AccessDenied(FORBIDDEN) from error
        return Admitted(replace(request, body=body), ticket.caller.principal)


def _signed(request: HttpRequest) -> Signed:
    """The request as it came by wire."""
    headers: dict[bytes, bytes] = {}
    for name, text in request.headers:
        key, value = name.lower().encode("utf-8", "surrogateescape"), text.encode("utf-8", "surrogateescape")
        headers[key] = headers[key] + b"," + value if key in headers else value
    return Signed(request.method, request.sent_path or request.path, request.query, headers)
