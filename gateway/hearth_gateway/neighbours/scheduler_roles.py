"""Whose permission a schedule fires with: its role's, or, where nobody made that role, that of who made the schedule.

Many name a role that does not exist, because on one's own machine nothing asked for it before. Such a schedule may do
what its maker may do. A role that exists must trust the service, and is asked at every firing, as on AWS.
Source: "Setting up the execution role", EventBridge Scheduler user guide.
"""

from hearth.core.auth_errors import NotAuthorized
from hearth.core.identity import Principal, PrincipalKind, service
from hearth.core.roles import role_name
from hearth.core.trust import may_assume
from hearth.roles import RoleStore
from hearth_gateway.core import authorization
from hearth_gateway.neighbours.calls import Call, CallerError

PRINCIPAL = "scheduler.amazonaws.com"
SEND = "sqs:SendMessage"
UNTRUSTED = "The execution role you provide must allow AWS EventBridge Scheduler to assume the role."


class ExecutionRoles:
    """The roles that schedules name."""

    def __init__(self, roles: RoleStore, account: str) -> None:
        self._roles = roles
        self._account = account

    def permit(self, call: Call, role_arn: str, action: str, resource: str) -> bool:
        """Whether a schedule made by this call fires by its maker's permission instead of the role's. Raises
        AccessDenied, or CallerError for a role that does not trust the service."""
        call.allow("iam:PassRole", role_arn, {"iam:PassedToService": PRINCIPAL})
        role = self._roles.role(role_name(role_arn))
        if role is None or role.arn != role_arn:
            call.allow(action, resource)
            return True
        if not may_assume(service(PRINCIPAL), role.trust, role_arn, {"aws:SourceAccount": self._account}):
            raise CallerError("ValidationException", UNTRUSTED)
        return False

    def permit_dead_letters(self, call: Call, role_arn: str, queue: str) -> None:
        """Raise AccessDenied unless the role, or who makes the schedule, may fill this queue."""
        if self.refusal(role_arn, SEND, queue):
            call.allow(SEND, queue)

    def refusal(self, role_arn: str, action: str, resource: str) -> str:
        """Why the role may not do this now; "" if it may."""
        name = role_name(role_arn)
        arn = f"arn:aws:sts::{self._account}:assumed-role/{name}/scheduler"
        policies = self._roles.policies_of(role_arn)
        principal = Principal(arn, self._account, "", PrincipalKind.ASSUMED_ROLE, policies, role_arn=role_arn)
        try:
            authorization.authorize(principal, action, resource, {"aws:SourceAccount": self._account})
        except NotAuthorized as error:
            return error.message
        return ""
