"""Roles and policies as IAM shows them, its pages, and its words for what goes wrong.

Documents travel percent-encoded in answers (RFC 3986), as clients expect them.
Source: the data types and errors in the AWS Identity and Access Management API reference.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from hearth.core.policy_document import MalformedPolicy, PolicyDocument, parse_policy
from hearth.core.roles import ManagedPolicy, PolicyVersion, Role
from hearth_gateway.core.paging import Item, page_of
from hearth_gateway.neighbours.calls import Call, CallerError, Members

PAGE = 100
MAX_TAGS = 50
MAX_TRUST_POLICY = 8192
MAX_INLINE_POLICIES = 10_240
MAX_MANAGED_POLICY = 6144
MAX_ATTACHED = 20
"""Characters of documents (white space does not count) and policies per role: IAM quotas, raised to their maxima."""


def no_such_entity(message: str) -> CallerError:
    return CallerError("NoSuchEntity", message, 404)


def already_exists(message: str) -> CallerError:
    return CallerError("EntityAlreadyExists", message, 409)


def delete_conflict(message: str) -> CallerError:
    return CallerError("DeleteConflict", message, 409)


def limit_exceeded(message: str) -> CallerError:
    return CallerError("LimitExceeded", message, 409)


def moment(epoch_ms: int) -> datetime:
    return datetime.fromtimestamp(epoch_ms // 1000, UTC)


def role_members(role: Role, *, in_list: bool = False) -> Members:
    """A Role. Lists leave out what takes a call of its own to read."""
    members: dict[str, Any] = {
        "Path": role.path,
        "RoleName": role.name,
        "RoleId": role.role_id,
        "Arn": role.arn,
        "CreateDate": moment(role.created_ms),
        "AssumeRolePolicyDocument": quote(role.trust, safe=""),
        "MaxSessionDuration": role.max_session_s,
    }
    if role.description is not None:
        members["Description"] = role.description
    if role.tags and not in_list:
        members["Tags"] = tag_list(role.tags)
    if not in_list:
        members["RoleLastUsed"] = {}
    return members


def policy_members(policy: ManagedPolicy, attachments: int, *, in_list: bool = False) -> Members:
    """A Policy. Lists leave out its description and tags."""
    members: dict[str, Any] = {
        "PolicyName": policy.name,
        "PolicyId": policy.policy_id,
        "Arn": policy.arn,
        "Path": policy.path,
        "DefaultVersionId": policy.default_version,
        "AttachmentCount": attachments,
        "PermissionsBoundaryUsageCount": 0,
        "IsAttachable": True,
        "CreateDate": moment(policy.created_ms),
        "UpdateDate": moment(policy.updated_ms),
    }
    if policy.description is not None and not in_list:
        members["Description"] = policy.description
    if policy.tags and not in_list:
        members["Tags"] = tag_list(policy.tags)
    return members


def version_members(policy: ManagedPolicy, version: PolicyVersion, *, in_list: bool = False) -> Members:
    """A PolicyVersion; lists leave out the document."""
    return {
        **({} if in_list else {"Document": quote(version.document, safe="")}),
        "VersionId": version.version_id,
        "IsDefaultVersion": version.version_id == policy.default_version,
        "CreateDate": moment(version.created_ms),
    }


def tag_list(tags: Mapping[str, str]) -> list[Members]:
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def tags_given(call: Call, before: Mapping[str, str]) -> dict[str, str]:
    """The tags with those of the request added. Keys that differ in case only are the same."""
    tags = dict(before)
    known = {key.lower(): key for key in tags}
    for tag in call.get("Tags", ()):
        key = known.setdefault(tag["Key"].lower(), tag["Key"])
        if key.lower().startswith("aws:"):
            raise CallerError("InvalidInput", "Tag keys beginning with aws: are reserved.")
        tags[key] = tag["Value"]
    if len(tags) > MAX_TAGS:
        raise limit_exceeded(f"The number of tags has reached the maximum limit of {MAX_TAGS}.")
    return tags


def tag_conditions(call: Call) -> dict[str, str | tuple[str, ...]]:
    """The condition keys of the tags in a request."""
    given = {tag["Key"]: tag["Value"] for tag in call.get("Tags", ())}
    keys = tuple(given) or tuple(call.get("TagKeys", ()))
    found: dict[str, str | tuple[str, ...]] = {f"aws:RequestTag/{key}": value for key, value in given.items()}
    return {**found, "aws:TagKeys": keys} if keys else found


def page(call: Call, name: str, found: Sequence[tuple[str, Item]], show: Callable[[Item], object]) -> Members:
    """One page of a list whose items are in the order of their keys."""
    try:
        items, following = page_of(found, call.get("Marker"), call.get("MaxItems", PAGE))
    except ValueError as error:
        raise CallerError("InvalidInput", "The marker is none of this list.") from error
    members: dict[str, Any] = {name: [show(item) for item in items], "IsTruncated": following is not None}
    return members if following is None else {**members, "Marker": following}


def checked_document(text: str, most: int, what: str) -> PolicyDocument:
    """The document, which must be a policy of a legal size."""
    size = len("".join(text.split()))
    if size > most:
        raise limit_exceeded(f"Cannot exceed quota for {what}: {most}")
    try:
        return parse_policy(text)
    except MalformedPolicy as error:
        raise CallerError("MalformedPolicyDocument", str(error)) from error


def check_permissions(text: str, most: int, what: str) -> None:
    """A document that says what its holder may do: resources, and no principal."""
    document = checked_document(text, most, what)
    if any(statement.parties is not None for statement in document.statements):
        raise CallerError("MalformedPolicyDocument", "Policy document should not specify a principal.")
    if any(statement.resources is None for statement in document.statements):
        raise CallerError("MalformedPolicyDocument", "Policy statement must contain resources.")


def check_trust(text: str) -> None:
    """A document that says who may be a role: principals, and no resource."""
    document = checked_document(text, MAX_TRUST_POLICY, "ACLSizePerRole")
    if any(statement.resources is not None for statement in document.statements):
        raise CallerError("MalformedPolicyDocument", "Has prohibited field Resource")
    if any(statement.parties is None for statement in document.statements):
        raise CallerError("MalformedPolicyDocument", "Missing required field Principal")
