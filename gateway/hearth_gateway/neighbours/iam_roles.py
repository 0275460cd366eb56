"""IAM's operations on roles: making, changing and listing them, and the policies that are in them.

Every operation that changes something reads, decides and writes with the store's lock held.
Source: AWS Identity and Access Management API reference; the texts of errors are the service's.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import quote

from hearth.core.roles import Role, role_arn
from hearth.roles import RoleStore
from hearth_gateway.neighbours import iam_answers as answers
from hearth_gateway.neighbours.calls import Call, CallerError, Handler, Members


class RoleOperations:
    """The operations on roles and their inline policies."""

    def __init__(self, account: str, roles: RoleStore, now_ms: Callable[[], int]) -> None:
        self._account = account
        self._roles = roles
        self._now_ms = now_ms

    def handlers(self) -> Mapping[str, Handler]:
        return {
            "CreateRole": self._create,
            "GetRole": self._get,
            "DeleteRole": self._delete,
            "ListRoles": self._list,
            "UpdateRole": self._update,
            "UpdateRoleDescription": self._update_description,
            "UpdateAssumeRolePolicy": self._update_trust,
            "PutRolePolicy": self._put_policy,
            "GetRolePolicy": self._get_policy,
            "DeleteRolePolicy": self._delete_policy,
            "ListRolePolicies": self._list_policies,
            "ListInstanceProfilesForRole": self._list_instance_profiles,
            "TagRole": self._tag,
            "UntagRole": self._untag,
            "ListRoleTags": self._list_tags,
        }

    async def _create(self, call: Call) -> Members:
        name, path = call["RoleName"], call.get("Path", "/")
        call.allow("iam:CreateRole", role_arn(self._account, path, name), answers.tag_conditions(call))
        if call.get("PermissionsBoundary"):
            raise CallerError("InvalidInput", "Permissions boundaries are not available on this platform.")
        answers.check_trust(call["AssumeRolePolicyDocument"])
        role = Role(
            name,
            path,
            self._account,
            call["AssumeRolePolicyDocument"],
            self._now_ms(),
            description=call.get("Description"),
            max_session_s=call.get("MaxSessionDuration", 3600),
            tags=answers.tags_given(call, {}),
        )
        async with self._roles.changing:
            if any(other.name.lower() == name.lower() for other in self._roles.roles()):
                raise answers.already_exists(f"Role with name {name} already exists.")
            await self._roles.put(role)
        return {"Role": answers.role_members(role)}

    async def _get(self, call: Call) -> Members:
        return {"Role": answers.role_members(self._permitted(call, "GetRole"))}

    async def _delete(self, call: Call) -> Members:
        async with self._roles.changing:
            role = self._permitted(call, "DeleteRole")
            if role.attached:
                raise answers.delete_conflict("Cannot delete entity, must detach all policies first.")
            if role.inline:
                raise answers.delete_conflict("Cannot delete entity, must delete policies first.")
            await self._roles.remove(role)
        return {}

    async def _list(self, call: Call) -> Members:
        prefix = call.get("PathPrefix", "/")
        call.allow("iam:ListRoles", f"arn:aws:iam::{self._account}:role{prefix}")
        found = [(role.name, role) for role in self._roles.roles() if role.path.startswith(prefix)]
        return answers.page(call, "Roles", found, lambda role: answers.role_members(role, in_list=True))

    async def _update(self, call: Call) -> Members:
        given = {"description": call.get("Description"), "max_session_s": call.get("MaxSessionDuration")}
        await self._change(call, "UpdateRole", {name: value for name, value in given.items() if value is not None})
        return {}

    async def _update_description(self, call: Call) -> Members:
        role = await self._change(call, "UpdateRoleDescription", {"description": call["Description"]})
        return {"Role": answers.role_members(role)}

    async def _update_trust(self, call: Call) -> Members:
        answers.check_trust(call["PolicyDocument"])
        await self._change(call, "UpdateAssumeRolePolicy", {"trust": call["PolicyDocument"]})
        return {}

    async def _change(self, call: Call, operation: str, changes: Mapping[str, Any]) -> Role:
        async with self._roles.changing:
            role = replace(self._permitted(call, operation), **changes)
            await self._roles.put(role)
        return role

    async def _put_policy(self, call: Call) -> Members:
        document = call["PolicyDocument"]
        async with self._roles.changing:
            role = self._permitted(call, "PutRolePolicy")
            answers.check_permissions(document, answers.MAX_INLINE_POLICIES, "InlinePolicySizePerRole")
            role = role.with_inline(call["PolicyName"], document)
            if sum(len("".join(text.split())) for text in role.inline.values()) > answers.MAX_INLINE_POLICIES:
                size = answers.MAX_INLINE_POLICIES
                raise answers.limit_exceeded(f"Maximum policy size of {size} bytes exceeded for role {role.name}")
            await self._roles.put(role)
        return {}

    async def _get_policy(self, call: Call) -> Members:
        role = self._permitted(call, "GetRolePolicy")
        document = _inline(role, call["PolicyName"])
        return {
            "RoleName": role.name,
            "PolicyName": call["PolicyName"],
            "PolicyDocument": quote(document, safe=""),
        }

    async def _delete_policy(self, call: Call) -> Members:
        async with self._roles.changing:
            role = self._permitted(call, "DeleteRolePolicy")
            _inline(role, call["PolicyName"])
            await self._roles.put(role.without_inline(call["PolicyName"]))
        return {}

    async def _list_policies(self, call: Call) -> Members:
        role = self._permitted(call, "ListRolePolicies")
        return answers.page(call, "PolicyNames", [(name, name) for name in sorted(role.inline)], str)

    async def _list_instance_profiles(self, call: Call) -> Members:
        """There are no instances here, hence none of their profiles; tools look before they delete a role."""
        self._permitted(call, "ListInstanceProfilesForRole")
        return {"InstanceProfiles": [], "IsTruncated": False}

    async def _tag(self, call: Call) -> Members:
        async with self._roles.changing:
            role = self._permitted(call, "TagRole")
            await self._roles.put(replace(role, tags=answers.tags_given(call, role.tags)))
        return {}

    async def _untag(self, call: Call) -> Members:
        gone = {key.lower() for key in call["TagKeys"]}
        async with self._roles.changing:
            role = self._permitted(call, "UntagRole")
            left = {key: value for key, value in role.tags.items() if key.lower() not in gone}
            await self._roles.put(replace(role, tags=left))
        return {}

    async def _list_tags(self, call: Call) -> Members:
        role = self._permitted(call, "ListRoleTags")
        found = [(key, {"Key": key, "Value": role.tags[key]}) for key in sorted(role.tags)]
        return answers.page(call, "Tags", found, lambda tag: tag)

    def _permitted(self, call: Call, operation: str) -> Role:
        """The role that the request names, once the caller may do that to it. Who may not is told that, whether or
        not there is such a role."""
        name = call["RoleName"]
        role = self._roles.role(name)
        arn = role_arn(self._account, "/", name) if role is None else role.arn
        tags = {} if role is None else {f"aws:ResourceTag/{key}": value for key, value in role.tags.items()}
        call.allow(f"iam:{operation}", arn, {**tags, **answers.tag_conditions(call)})
        if role is None:
            raise answers.no_such_entity(f"The role with name {name} cannot be found.")
        return role


def _inline(role: Role, name: str) -> str:
    document = role.inline.get(name)
    if document is None:
        raise answers.no_such_entity(f"The role policy with name {name} cannot be found.")
    return document
