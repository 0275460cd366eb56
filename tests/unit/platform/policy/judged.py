"""Short forms for policies and requests."""

import json
from typing import Any

from hearth.core.identity import Principal, assumed_role, user
from hearth.core.policy import Decision, PolicyDocument, RequestContext, decide, parse_policy

ACCOUNT = "000000000000"
ARN = f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:orders"
INVOKE = "lambda:InvokeFunction"
BOB = user(ACCOUNT, "bob", ())
ROLE_ARN = f"arn:aws:iam::{ACCOUNT}:role/team/worker"
WORKER = assumed_role(ROLE_ARN, "job", ())


def policy(*statements: dict[str, Any], version: str = "2012-10-17") -> PolicyDocument:
    return parse_policy(json.dumps({"Version": version, "Statement": list(statements)}))


def allow(**members: Any) -> dict[str, Any]:
    """A permission; of everything unless told otherwise."""
    return _statement("Allow", members)


def deny(**members: Any) -> dict[str, Any]:
    return _statement("Deny", members)


def _statement(effect: str, members: dict[str, Any]) -> dict[str, Any]:
    given = dict(members)
    if not {"Action", "NotAction"} & given.keys():
        given["Action"] = "*"
    if not {"Resource", "NotResource"} & given.keys():
        given["Resource"] = "*"
    return {"Effect": effect, **given}


def decision(
    *identity: dict[str, Any],
    resource: list[dict[str, Any]] | None = None,
    principal: Principal = BOB,
    action: str = INVOKE,
    arn: str = ARN,
    **conditions: str | tuple[str, ...],
) -> Decision:
    """What these statements say about a request. Condition keys have `__` for their colon."""
    given = {key.replace("__", ":"): value for key, value in conditions.items()}
    context = RequestContext(action, arn, principal, given)
    policies = (policy(*identity),) if identity else ()
    return decide(policies, policy(*resource) if resource else None, context)


def is_allowed(*identity: dict[str, Any], **more: Any) -> bool:
    return decision(*identity, **more) is Decision.ALLOW
