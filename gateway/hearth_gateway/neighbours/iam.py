"""IAM, as far as functions and those who deploy them need it: roles, managed policies, and who the caller is.

Source: AWS Identity and Access Management API reference.
"""

from collections.abc import Callable

from hearth.core.identity import PrincipalKind
from hearth.roles import RoleStore
from hearth_gateway.neighbours import iam_answers as answers
from hearth_gateway.neighbours.calls import Call, CallerError, Members
from hearth_gateway.neighbours.iam_policies import PolicyOperations
from hearth_gateway.neighbours.iam_roles import RoleOperations
from hearth_gateway.neighbours.query_protocol import QueryService
from hearth_gateway.neighbours.service_choice import IAM

VERSION = "2010-05-08"


def iam_service(account: str, roles: RoleStore, now_ms: Callable[[], int]) -> QueryService:
    """All of IAM that is here."""
    handlers = {
        **RoleOperations(account, roles, now_ms).handlers(),
        **PolicyOperations(account, roles, now_ms).handlers(),
        "GetUser": _get_user,
        "ListAccountAliases": _list_account_aliases,
    }
    return QueryService(IAM, VERSION, handlers)


async def _get_user(call: Call) -> Members:
    """The caller: users are the owners of access keys, and nobody else's are shown. When a key was made is not told."""
    principal, name = call.principal, call.get("UserName")
    if principal.kind is PrincipalKind.ASSUMED_ROLE and name is None:
        raise CallerError("ValidationError", "Must specify userName when calling with non-User credentials")
    call.allow("iam:GetUser", principal.arn if name in (None, principal.name) else f"{_users(call)}/{name}")
    if name not in (None, principal.name) or principal.kind is PrincipalKind.ASSUMED_ROLE:
        raise answers.no_such_entity(f"The user with name {name} cannot be found.")
    user = {
        "Path": "/",
        "UserName": principal.name or "root",
        "UserId": principal.user_id,
        "Arn": principal.arn,
        "CreateDate": answers.moment(0),
    }
    return {"User": user}


def _users(call: Call) -> str:
    return f"arn:aws:iam::{call.principal.account}:user"


async def _list_account_aliases(call: Call) -> Members:
    call.allow("iam:ListAccountAliases", "*")
    return {"AccountAliases": [], "IsTruncated": False}
