"""Whether a caller may act in a role: the role's trust policy must let them, and their own policies too.

Source: "How to use trust policies with IAM roles" and "Policy evaluation logic", AWS IAM user guide.
"""

from collections.abc import Mapping

from hearth.core.identity import Principal, PrincipalKind
from hearth.core.policy import Decision, RequestContext, decide
from hearth.core.policy_document import MalformedPolicy, parse_policy

_EVERYTHING = parse_policy('{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}')
# No account has this name: seen from here every caller comes from elsewhere.
_ELSEWHERE = "arn:aws:iam::elsewhere:role/"


def may_assume(
    principal: Principal, trust_policy: str, role_arn: str, conditions: Mapping[str, str | tuple[str, ...]]
) -> bool:
    """Whether this principal may assume this role.

    A trust policy that names the caller suffices; one that names the caller's account leaves it to the caller's own
    policies; one that names neither denies it, whatever those policies say. The last is asked as if the role were in
    another account, because there the resource's policy must agree in any case.
    """
    action = "sts:AssumeRole"
    try:
        trust = parse_policy(trust_policy)
    except MalformedPolicy:  # of another time: a role that nobody may be
        return False
    abroad = RequestContext(action, _ELSEWHERE, principal, conditions)
    if decide((_EVERYTHING,), trust, abroad) is not Decision.ALLOW:
        return False
    if principal.kind is PrincipalKind.ROOT:
        return principal.is_admin
    here = RequestContext(action, role_arn, principal, conditions)
    return decide(principal.policies, trust, here) is Decision.ALLOW
