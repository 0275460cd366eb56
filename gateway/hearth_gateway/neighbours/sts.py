"""STS: who am I, and let me be somebody else for a while.

Source: AWS Security Token Service API reference.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Protocol

from hearth.core.identity import PrincipalKind, SessionCredentials
from hearth.core.policy_document import MalformedPolicy, parse_policy
from hearth.core.roles import Role, role_name
from hearth.core.trust import may_assume
from hearth.roles import RoleStore
from hearth_gateway.neighbours.calls import Call, CallerError, Handler, Members, denied
from hearth_gateway.neighbours.query_protocol import QueryService
from hearth_gateway.neighbours.service_choice import STS

VERSION = "2011-06-15"

SESSION_S = 3600
CHAINED_SESSION_MAX_S = 3600
"""A role assumed by a role lives no longer, whatever the role allows."""
TOKEN_S = 43_200
ROOT_TOKEN_MAX_S = 3600
MAX_SESSION_POLICY = 2048
"""Characters of a session policy; the packed size is shown as per cent of it."""


class Sessions(Protocol):
    """Makes temporary credentials."""

    def issue_session(
        self, subject: str, session_name: str, now_s: float, lifetime_s: float, *, policy: str = ""
    ) -> SessionCredentials:
        """To act in a role, by its ARN, or as the owner of a long-term key, by its id. `policy` narrows it."""
        ...


class StsOperations:
    """The operations of STS that are here."""

    def __init__(self, account: str, roles: RoleStore, sessions: Sessions, clock: Callable[[], float]) -> None:
        self._account = account
        self._roles = roles
        self._sessions = sessions
        self._clock = clock

    def service(self) -> QueryService:
        handlers: Mapping[str, Handler] = {
            "GetCallerIdentity": self._get_caller_identity,
            "AssumeRole": self._assume_role,
            "GetSessionToken": self._get_session_token,
            "GetAccessKeyInfo": self._get_access_key_info,
        }
        return QueryService(STS, VERSION, handlers)

    async def _get_caller_identity(self, call: Call) -> Members:
        """Needs no permission: whoever can sign may know who they are."""
        principal = call.principal
        return {"Arn": principal.arn, "UserId": principal.user_id, "Account": principal.account}

    async def _assume_role(self, call: Call) -> Members:
        arn, name = call["RoleArn"], call["RoleSessionName"]
        role = self._assumable(call, arn)
        lifetime_s = _lifetime(call, role)
        policy = _session_policy(call)
        issued = self._sessions.issue_session(role.arn, name, self._clock(), lifetime_s, policy=policy)
        return {
            "Credentials": _credentials(issued),
            "AssumedRoleUser": {
                "AssumedRoleId": f"{role.role_id}:{name}",
                "Arn": f"arn:aws:sts::{role.account}:assumed-role/{role.name}/{name}",
            },
            "PackedPolicySize": len(policy) * 100 // MAX_SESSION_POLICY,
            **({"SourceIdentity": call["SourceIdentity"]} if call.get("SourceIdentity") else {}),
        }

    def _assumable(self, call: Call, arn: str) -> Role:
        """The role, if the caller may be it. Whether it exists is not told to those who may not."""
        conditions = {**call.conditions, "sts:RoleSessionName": call["RoleSessionName"]}
        if call.get("ExternalId"):
            conditions["sts:ExternalId"] = call["ExternalId"]
        role = self._roles.role(role_name(arn))
        if role is None or role.arn != arn or not may_assume(call.principal, role.trust, arn, conditions):
            raise denied(f"User: {call.principal.arn} is not authorized to perform: sts:AssumeRole on resource: {arn}")
        return role

    async def _get_session_token(self, call: Call) -> Members:
        principal = call.principal
        if principal.access_key_id.startswith("ASIA") or principal.kind is PrincipalKind.ASSUMED_ROLE:
            raise denied("Cannot call GetSessionToken with session credentials")
        lifetime_s = float(call.get("DurationSeconds", TOKEN_S))
        if principal.kind is PrincipalKind.ROOT:
            lifetime_s = min(lifetime_s, ROOT_TOKEN_MAX_S)
        issued = self._sessions.issue_session(principal.access_key_id, principal.name, self._clock(), lifetime_s)
        return {"Credentials": _credentials(issued)}

    async def _get_access_key_info(self, call: Call) -> Members:
        call.allow("sts:GetAccessKeyInfo", "*")
        return {"Account": self._account}


def _lifetime(call: Call, role: Role) -> float:
    lifetime_s = int(call.get("DurationSeconds", min(SESSION_S, role.max_session_s)))
    is_chained = call.principal.kind is PrincipalKind.ASSUMED_ROLE
    if is_chained and lifetime_s > CHAINED_SESSION_MAX_S:
        message = "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining"
        raise CallerError("ValidationError", message)
    if lifetime_s > role.max_session_s:
        message = "The requested DurationSeconds exceeds the MaxSessionDuration set for this role."
        raise CallerError("ValidationError", message)
    return float(lifetime_s)


def _session_policy(call: Call) -> str:
    """The policy that narrows the session, "" for none."""
    if call.get("PolicyArns"):
        raise CallerError("ValidationError", "PolicyArns is not available on this platform; give the text as Policy.")
    text: str = call.get("Policy", "")
    if not text:
        return ""
    if len(text) > MAX_SESSION_POLICY:
        raise CallerError("PackedPolicyTooLarge", f"The policy has more than {MAX_SESSION_POLICY} characters.")
    try:
        statements = parse_policy(text).statements
    except MalformedPolicy as error:
        raise CallerError("MalformedPolicyDocument", str(error)) from error
    if any(statement.parties is not None for statement in statements):
        raise CallerError("MalformedPolicyDocument", "Policy document should not specify a principal.")
    return text


def _credentials(issued: SessionCredentials) -> Members:
    return {
        "AccessKeyId": issued.access_key_id,
        "SecretAccessKey": issued.secret_access_key,
        "SessionToken": issued.session_token,
        "Expiration": datetime.fromtimestamp(issued.expires_s, UTC),
    }
