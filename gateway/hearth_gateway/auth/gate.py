"""The gate in front of every operation: may this caller do that?

The administrator passes without a question; everybody else is judged by the policies of their own and of what they
want to reach (`core/authorization.py`). What is looked up here for the judgement, the caller never sees.
"""

import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, unquote

from hearth.core.arns import log_stream_arn
from hearth.core.auth_errors import NotAuthorized
from hearth.core.policy import Conditions, PolicyDocument
from hearth.core.records import FunctionRecord
from hearth.registry import Registry
from hearth_gateway.auth.authentication import Caller
from hearth_gateway.core import authorization
from hearth_gateway.core.authorization import Permission, Place
from hearth_gateway.core.operations import Route

Permit = Callable[[Mapping[str, Any]], None]
"""Takes the members of a request; raises NotAuthorized."""

FactsOfMapping = Callable[[str], tuple[str, Mapping[str, str]] | None]
"""The ARN of the function of an event source mapping and the mapping's tags, by its UUID; None if there is none."""


PolicyOfResource = Callable[[str], PolicyDocument | None]
"""The policy of what is no function, by its ARN; None if it has none."""


HasRole = Callable[[str], bool]
"""Whether there is a role of this ARN."""


def _every_role(arn: str) -> bool:
    return True


def _no_policy(arn: str) -> PolicyDocument | None:
    return None


def _of_no_mapping(uuid: str) -> tuple[str, Mapping[str, str]] | None:
    return None


class Gate:
    """Judges requests. `clock` gives epoch seconds."""

    def __init__(self, registry: Registry, place: Place, clock: Callable[[], float] = time.time) -> None:
        self._registry = registry
        self._place = place
        self._clock = clock
        self.facts_of_mapping: FactsOfMapping = _of_no_mapping
        self.policy_of_resource: PolicyOfResource = _no_policy
        self.has_role: HasRole = _every_role

    def permit(self, caller: Caller, route: Route, members: Mapping[str, Any]) -> None:
        """Refuse an operation that the caller may not do. Raises NotAuthorized."""
        if caller.principal.is_admin:
            return
        of_mapping = self._of_mapping(route)
        for permission in authorization.permissions(route.operation, route.labels, members, self._place):
            self._judge(caller, permission, of_mapping)
            if not of_mapping.keys().isdisjoint(permission.conditions):
                self._judge(caller, permission)  # a mapping that moves concerns the new function as well as the old

    def permit_invocation(self, caller: Caller, label: str, query: str) -> None:
        """Refuse an invocation that the caller may not make; `label` and `query` are raw."""
        if caller.principal.is_admin:
            return
        qualifiers = parse_qs(query).get("Qualifier") if query else None
        qualifier = qualifiers[0] if qualifiers else None
        self._judge(caller, authorization.invocation(unquote(label), qualifier, self._place))

    def authorize(
        self,
        caller: Caller,
        action: str,
        resource: str,
        *,
        conditions: Conditions,
        policy: PolicyDocument | None = None,
    ) -> None:
        """Refuse any action on any resource that the caller may not do. Raises NotAuthorized."""
        if caller.principal.is_admin:
            return

        def given() -> Conditions:
            return {**self.surroundings(caller), **conditions}

        try:
            authorization.authorize(caller.principal, action, resource, given, policy=policy)
        except NotAuthorized as error:
            raise self._explained(error, caller) from error

    def log_group_arn(self, group: str) -> str:
        """What one needs to be allowed to read for the events of a log group."""
        return log_stream_arn(*self._place, group)

    def permit_url(self, caller: Caller, record: FunctionRecord, qualifier: str, arn: str) -> None:
        """Refuse a request to a URL with AWS_IAM that the caller may not make."""
        conditions = {"lambda:FunctionUrlAuthType": "AWS_IAM", **authorization.resource_tags(record.tags)}
        policy = authorization.resource_policy(record, qualifier)
        self.authorize(caller, authorization.INVOKE_URL, arn, conditions=conditions, policy=policy)

    def _explained(self, error: NotAuthorized, caller: Caller) -> NotAuthorized:
        """Functions often name a role that nobody made: then a denial is no riddle."""
        role = caller.principal.role_arn
        if not role or self.has_role(role):
            return error
        return NotAuthorized(f"{error.message} (role {role} does not exist; create it with iam create-role)")

    def _judge(self, caller: Caller, permission: Permission, more: Conditions | None = None) -> None:
        function = permission.function
        record = None if function is None else self._registry.find(function.name)
        tags = authorization.resource_tags(record.tags) if record is not None else {}
        policy = (
            self.policy_of_resource(permission.resource)
            if function is None
            else authorization.resource_policy(record, function.qualifier)
        )
        conditions = {**tags, **permission.conditions, **(more or {})}
        self.authorize(caller, permission.action, permission.resource, conditions=conditions, policy=policy)

    def _of_mapping(self, route: Route) -> Conditions:
        uuid = route.labels.get("UUID")
        found = None if uuid is None else self.facts_of_mapping(uuid)
        if found is None:
            return {}
        function, tags = found
        return {"lambda:FunctionArn": function, **authorization.resource_tags(tags)}

    def surroundings(self, caller: Caller) -> Conditions:
        """What every request has. Nobody speaks TLS to us; a proxy in front of us may."""
        now_s = self._clock()
        return {
            "aws:SourceIp": caller.source_ip,
            "aws:CurrentTime": f"{datetime.fromtimestamp(now_s, UTC):%Y-%m-%dT%H:%M:%SZ}",
            "aws:EpochTime": str(int(now_s)),
            "aws:SecureTransport": "false",
            "aws:RequestedRegion": caller.region,
        }
