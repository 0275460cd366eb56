"""IAM's operations on managed policies: attaching them, and making customer managed ones with their versions.

AWS's own policies can be read and attached, and not changed.
Source: AWS Identity and Access Management API reference; the texts of errors are the service's.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace

from hearth.core.aws_policies import AWS_POLICIES
from hearth.core.roles import MAX_POLICY_VERSIONS, ManagedPolicy, PolicyVersion, Role, role_arn
from hearth.roles import RoleStore
from hearth_gateway.neighbours import iam_answers as answers
from hearth_gateway.neighbours.calls import Call, CallerError, Handler, Members


class PolicyOperations:
    """The operations on managed policies."""

    def __init__(self, account: str, roles: RoleStore, now_ms: Callable[[], int]) -> None:
        self._account = account
        self._roles = roles
        self._now_ms = now_ms

    def handlers(self) -> Mapping[str, Handler]:
        return {
            "AttachRolePolicy": self._attach,
            "DetachRolePolicy": self._detach,
            "ListAttachedRolePolicies": self._list_attached,
            "CreatePolicy": self._create,
            "GetPolicy": self._get,
            "DeletePolicy": self._delete,
            "ListPolicies": self._list,
            "ListEntitiesForPolicy": self._list_entities,
            "CreatePolicyVersion": self._create_version,
            "GetPolicyVersion": self._get_version,
            "DeletePolicyVersion": self._delete_version,
            "ListPolicyVersions": self._list_versions,
            "SetDefaultPolicyVersion": self._set_default_version,
            "TagPolicy": self._tag,
            "UntagPolicy": self._untag,
            "ListPolicyTags": self._list_tags,
        }

    # -- attaching -------------------------------------------------------------------------------------------------

    async def _attach(self, call: Call) -> Members:
        arn = call["PolicyArn"]
        async with self._roles.changing:
            role = self._role(call, "AttachRolePolicy")
            if self._roles.policy(arn) is None:
                raise answers.no_such_entity(f"Policy {arn} does not exist or is not attachable.")
            attached = role.with_attached(arn)
            if len(attached.attached) > answers.MAX_ATTACHED:
                raise answers.limit_exceeded(f"Cannot exceed quota for PoliciesPerRole: {answers.MAX_ATTACHED}")
            await self._roles.put(attached)
        return {}

    async def _detach(self, call: Call) -> Members:
        arn = call["PolicyArn"]
        async with self._roles.changing:
            role = self._role(call, "DetachRolePolicy")
            if arn not in role.attached:
                raise answers.no_such_entity(f"Policy {arn} was not found.")
            await self._roles.put(role.without_attached(arn))
        return {}

    async def _list_attached(self, call: Call) -> Members:
        role, prefix = self._role(call, "ListAttachedRolePolicies"), call.get("PathPrefix", "/")
        found = [policy for arn in role.attached if (policy := self._roles.policy(arn)) is not None]
        keyed = sorted((policy.arn, policy) for policy in found if policy.path.startswith(prefix))
        return answers.page(
            call, "AttachedPolicies", keyed, lambda policy: {"PolicyName": policy.name, "PolicyArn": policy.arn}
        )

    async def _list_entities(self, call: Call) -> Members:
        policy = self._permitted(call, "ListEntitiesForPolicy")
        wanted = call.get("EntityFilter", "Role") in ("Role", "LocalManagedPolicy", "AWSManagedPolicy")
        holders = self._roles.holders(policy.arn) if wanted else []
        prefix = call.get("PathPrefix", "/")
        keyed = [(role.name, role) for role in holders if role.path.startswith(prefix)]
        shown = answers.page(call, "PolicyRoles", keyed, lambda role: {"RoleName": role.name, "RoleId": role.role_id})
        return {**shown, "PolicyGroups": [], "PolicyUsers": []}

    # -- policies --------------------------------------------------------------------------------------------------

    async def _create(self, call: Call) -> Members:
        name, now_ms = call["PolicyName"], self._now_ms()
        version = PolicyVersion("v1", call["PolicyDocument"], now_ms)
        policy = ManagedPolicy(
            name,
            call.get("Path", "/"),
            self._account,
            (version,),
            "v1",
            now_ms,
            now_ms,
            description=call.get("Description"),
            tags=answers.tags_given(call, {}),
        )
        call.allow("iam:CreatePolicy", policy.arn, answers.tag_conditions(call))
        answers.check_permissions(version.document, answers.MAX_MANAGED_POLICY, "PolicySize")
        async with self._roles.changing:
            if any(other.name.lower() == name.lower() for other in self._roles.policies()):
                raise answers.already_exists(f"A policy called {name} already exists. Duplicate names are not allowed.")
            await self._roles.put(policy)
        return {"Policy": answers.policy_members(policy, 0)}

    async def _get(self, call: Call) -> Members:
        policy = self._permitted(call, "GetPolicy")
        return {"Policy": answers.policy_members(policy, len(self._roles.holders(policy.arn)))}

    async def _delete(self, call: Call) -> Members:
        async with self._roles.changing:
            policy = self._changeable(call, "DeletePolicy")
            if self._roles.holders(policy.arn):
                raise answers.delete_conflict("Cannot delete a policy attached to entities.")
            if len(policy.versions) > 1:
                raise answers.delete_conflict(
                    "This policy has more than one version. Before you delete a policy, you must delete the policy's "
                    "versions. The default version is deleted with the policy."
                )
            await self._roles.remove(policy)
        return {}

    async def _list(self, call: Call) -> Members:
        prefix, scope = call.get("PathPrefix", "/"), call.get("Scope", "All")
        call.allow("iam:ListPolicies", "*")
        found = [
            *(self._roles.policies() if scope != "AWS" else ()),
            *(AWS_POLICIES.values() if scope != "Local" else ()),
        ]
        counts = {policy.arn: len(self._roles.holders(policy.arn)) for policy in found}
        keyed = sorted(
            (policy.arn, policy)
            for policy in found
            if policy.path.startswith(prefix) and (counts[policy.arn] or not call.get("OnlyAttached", False))
        )
        return answers.page(
            call, "Policies", keyed, lambda policy: answers.policy_members(policy, counts[policy.arn], in_list=True)
        )

    # -- versions --------------------------------------------------------------------------------------------------

    async def _create_version(self, call: Call) -> Members:
        document = call["PolicyDocument"]
        async with self._roles.changing:
            policy = self._changeable(call, "CreatePolicyVersion")
            answers.check_permissions(document, answers.MAX_MANAGED_POLICY, "PolicySize")
            if len(policy.versions) >= MAX_POLICY_VERSIONS:
                raise answers.limit_exceeded(
                    f"A managed policy can have up to {MAX_POLICY_VERSIONS} versions. Before you create a new version, "
                    "you must delete an existing version."
                )
            policy = policy.with_version(document, self._now_ms(), is_default=call.get("SetAsDefault", False))
            await self._roles.put(policy)
        return {"PolicyVersion": answers.version_members(policy, policy.versions[-1], in_list=True)}

    async def _get_version(self, call: Call) -> Members:
        policy = self._permitted(call, "GetPolicyVersion")
        return {"PolicyVersion": answers.version_members(policy, _version(policy, call["VersionId"]))}

    async def _delete_version(self, call: Call) -> Members:
        async with self._roles.changing:
            policy = self._changeable(call, "DeletePolicyVersion")
            version = _version(policy, call["VersionId"])
            if version.version_id == policy.default_version:
                raise answers.delete_conflict("Cannot delete the default version of a policy.")
            await self._roles.put(policy.without_version(version.version_id, self._now_ms()))
        return {}

    async def _list_versions(self, call: Call) -> Members:
        policy = self._permitted(call, "ListPolicyVersions")
        newest_first = [(f"{index:03}", version) for index, version in enumerate(reversed(policy.versions))]
        return answers.page(
            call, "Versions", newest_first, lambda version: answers.version_members(policy, version, in_list=True)
        )

    async def _set_default_version(self, call: Call) -> Members:
        async with self._roles.changing:
            policy = self._changeable(call, "SetDefaultPolicyVersion")
            version = _version(policy, call["VersionId"])
            await self._roles.put(replace(policy, default_version=version.version_id, updated_ms=self._now_ms()))
        return {}

    # -- tags ------------------------------------------------------------------------------------------------------

    async def _tag(self, call: Call) -> Members:
        async with self._roles.changing:
            policy = self._changeable(call, "TagPolicy")
            await self._roles.put(replace(policy, tags=answers.tags_given(call, policy.tags)))
        return {}

    async def _untag(self, call: Call) -> Members:
        gone = {key.lower() for key in call["TagKeys"]}
        async with self._roles.changing:
            policy = self._changeable(call, "UntagPolicy")
            left = {key: value for key, value in policy.tags.items() if key.lower() not in gone}
            await self._roles.put(replace(policy, tags=left))
        return {}

    async def _list_tags(self, call: Call) -> Members:
        policy = self._permitted(call, "ListPolicyTags")
        found = [(key, {"Key": key, "Value": policy.tags[key]}) for key in sorted(policy.tags)]
        return answers.page(call, "Tags", found, lambda tag: tag)

    # -- what a request names --------------------------------------------------------------------------------------

    def _permitted(self, call: Call, operation: str) -> ManagedPolicy:
        """The policy that the request names, once the caller may do that to it."""
        arn = call["PolicyArn"]
        policy = self._roles.policy(arn)
        tags = {} if policy is None else {f"aws:ResourceTag/{key}": value for key, value in policy.tags.items()}
        call.allow(f"iam:{operation}", arn, {**tags, **answers.tag_conditions(call)})
        if policy is None:
            raise answers.no_such_entity(f"Policy {arn} was not found.")
        return policy

    def _changeable(self, call: Call, operation: str) -> ManagedPolicy:
        policy = self._permitted(call, operation)
        if policy.arn in AWS_POLICIES:
            raise CallerError("AccessDenied", "AWS managed policies cannot be changed.", 403)
        return policy

    def _role(self, call: Call, operation: str) -> Role:
        """The role that the request names, once the caller may do that to it."""
        name = call["RoleName"]
        role = self._roles.role(name)
        arn = role_arn(self._account, "/", name) if role is None else role.arn
        policy = {"iam:PolicyARN": call["PolicyArn"]} if call.get("PolicyArn") else {}
        call.allow(f"iam:{operation}", arn, policy)
        if role is None:
            raise answers.no_such_entity(f"The role with name {name} cannot be found.")
        return role


def _version(policy: ManagedPolicy, version_id: str) -> PolicyVersion:
    version = policy.version(version_id)
    if version is None:
        raise answers.no_such_entity(f"Policy {policy.arn} version {version_id} does not exist or is not attachable.")
    return version
