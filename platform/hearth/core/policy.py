"""Whether a request is allowed: the evaluation of IAM policies.

Rule 1: what nothing allows is denied; an explicit denial beats every permission.
Rule 2: within the account the policies of the caller or of the resource suffice; across accounts it takes both.
Rule 3: services and strangers are allowed by the resource's policy only.
Rule 4: in doubt a denial applies and a permission does not.
Source: "Policy evaluation logic", "Cross-account resource access" and "AWS JSON policy elements: Principal",
AWS IAM user guide.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum

from hearth.core.conditions import Values, holds
from hearth.core.identity import Principal, PrincipalKind
from hearth.core.policy_document import (
    Effect,
    MalformedPolicy,
    Parties,
    PolicyDocument,
    Statement,
    parse_policy,
    policy_of,
)
from hearth.core.policy_variables import Variables, matches_action, matches_resource

__all__ = [
    "Conditions",
    "Decision",
    "MalformedPolicy",
    "PolicyDocument",
    "RequestContext",
    "decide",
    "parse_policy",
    "policy_of",
]


Conditions = Mapping[str, str | tuple[str, ...]]
"""Values of condition keys."""


class Decision(Enum):
    """What the policies say about a request."""

    ALLOW = "allow"
    DENY_EXPLICIT = "explicit-deny"
    DENY_IMPLICIT = "implicit-deny"


@dataclass(frozen=True, slots=True)
class RequestContext:
    """A request, as policies see it. `conditions` are values of condition keys, or what gives them if a policy asks;
    those that follow from the principal are there without being named."""

    action: str
    resource: str
    principal: Principal
    conditions: Conditions | Callable[[], Conditions] = field(default_factory=dict)

    @property
    def account(self) -> str:
        """The resource's account; the caller's own where the resource has none in its ARN."""
        parts = self.resource.split(":", 5)
        owner = parts[4] if len(parts) > 5 else ""  # noqa: PLR2004 - the fields of an ARN
        return owner or self.principal.account

    def values(self) -> Values:
        """Every condition key's values, by lower-case name. Tags may differ in case only: then the key has both values,
        so that none of them hides the other."""
        given = self.conditions() if callable(self.conditions) else self.conditions
        found: dict[str, tuple[str, ...]] = {}
        for key, value in given.items():
            name = key.lower()
            found[name] = (*found.get(name, ()), *((value,) if isinstance(value, str) else value))
        return {**_of_principal(self.principal), **found}


class _Facts:
    """The values of a request's condition keys, gathered when the first policy asks for one: most never do."""

    __slots__ = ("_context", "_values")

    def __init__(self, context: RequestContext) -> None:
        self._context = context
        self._values: Values | None = None

    def values(self) -> Values:
        if self._values is None:
            self._values = self._context.values()
        return self._values


def decide(
    identity_policies: Iterable[PolicyDocument], resource_policy: PolicyDocument | None, context: RequestContext
) -> Decision:
    """Whether these policies allow the request."""
    facts = _Facts(context)
    resource_policies = () if resource_policy is None else (resource_policy,)
    boundary = context.principal.boundary
    of_identity = _verdict(identity_policies, context, facts)
    of_resource = _verdict(resource_policies, context, facts)
    of_boundary = Decision.ALLOW if boundary is None else _verdict((boundary,), context, facts)
    if Decision.DENY_EXPLICIT in (of_identity, of_resource, of_boundary):
        return Decision.DENY_EXPLICIT
    is_allowed = of_boundary is Decision.ALLOW and _suffices(
        context, by_identity=of_identity is Decision.ALLOW, by_resource=of_resource is Decision.ALLOW
    )
    return Decision.ALLOW if is_allowed else Decision.DENY_IMPLICIT


def _suffices(context: RequestContext, *, by_identity: bool, by_resource: bool) -> bool:
    kind = context.principal.kind
    if kind in (PrincipalKind.SERVICE, PrincipalKind.ANONYMOUS):
        return by_resource
    by_identity = by_identity or kind is PrincipalKind.ROOT
    if context.principal.account == context.account:
        return by_identity or by_resource
    return by_identity and by_resource


def _verdict(policies: Iterable[PolicyDocument], context: RequestContext, facts: _Facts) -> Decision:
    verdict = Decision.DENY_IMPLICIT
    for policy in policies:
        variables = facts.values if policy.has_variables else None
        for statement in policy.statements:
            if not _applies(statement, context, facts, variables):
                continue
            if statement.effect is Effect.DENY:
                return Decision.DENY_EXPLICIT
            verdict = Decision.ALLOW
    return verdict


def _applies(statement: Statement, context: RequestContext, facts: _Facts, variables: Variables) -> bool:
    is_denial = statement.effect is Effect.DENY
    return (
        matches_action(statement.actions, context.action)
        and (statement.resources is None or matches_resource(statement.resources, context.resource, variables))
        and (statement.parties is None or _concerns(statement.parties, context, is_denial=is_denial))
        and all(holds(each, facts.values(), variables, if_unknown=is_denial) for each in statement.conditions)
    )


def _concerns(parties: Parties, context: RequestContext, *, is_denial: bool) -> bool:
    account_counts = is_denial or parties.is_negated
    is_named = any(_is_named(kind, name, context, account_counts=account_counts) for kind, name in parties.names)
    return is_named is not parties.is_negated


def _is_named(kind: str, name: str, context: RequestContext, *, account_counts: bool) -> bool:
    """Whether a `Principal` entry means the caller.

    Naming an account permits its root, and leaves the rest to the account's own policies; so for others of the same
    account it is no permission, while across accounts it is the resource's half of one. Denials mean everybody in it.
    """
    principal = context.principal
    is_service = principal.kind is PrincipalKind.SERVICE
    if kind == "AWS" and name == "*":
        return True
    if is_service or kind != "AWS":
        return is_service and kind == "Service" and principal.arn == name
    if name in (principal.arn, principal.role_arn):
        return True
    if name not in (principal.account, f"arn:aws:iam::{principal.account}:root") or not principal.account:
        return False
    is_elsewhere = principal.account != context.account
    return account_counts or is_elsewhere or principal.kind is PrincipalKind.ROOT


def _of_principal(principal: Principal) -> dict[str, tuple[str, ...]]:
    values: dict[str, tuple[str, ...]] = {"aws:principaltype": (principal.kind.value,)}
    if principal.kind in (PrincipalKind.SERVICE, PrincipalKind.ANONYMOUS):
        if principal.kind is PrincipalKind.SERVICE:
            values["aws:principalservicename"] = (principal.arn,)
        return values
    values["aws:principalarn"] = (principal.role_arn or principal.arn,)
    values["aws:principalaccount"] = (principal.account,)
    values["aws:userid"] = (principal.user_id,)
    if principal.kind is PrincipalKind.USER:
        values["aws:username"] = (principal.name,)
    return values
