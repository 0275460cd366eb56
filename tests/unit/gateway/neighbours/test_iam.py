"""IAM through AWS's own client."""

import asyncio
import json
from typing import Any

import pytest
from tests.unit.gateway.neighbours.house import ACCOUNT, House

TRUST: dict[str, Any] = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}],
}
INVOKE: dict[str, Any] = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": "lambda:InvokeFunction", "Resource": "*"}],
}
BASIC = "arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole"


async def create_role(opened: House, name: str = "worker", **more: object) -> dict[str, Any]:
    answer = await opened.client("iam")(
        "create_role", RoleName=name, AssumeRolePolicyDocument=json.dumps(TRUST), **more
    )
    role: dict[str, Any] = answer["Role"]
    return role


async def test_a_role_reads_back_as_it_was_created(opened: House) -> None:
    tags = [{"Key": "team", "Value": "a / b"}]
    created = await create_role(
        opened, Path="/service-role/", Description="für <alle> & jeden", MaxSessionDuration=7200, Tags=tags
    )
    assert created["Arn"] == f"arn:aws:iam::{ACCOUNT}:role/service-role/worker"
    assert created["RoleId"].startswith("AROA")
    found = (await opened.client("iam")("get_role", RoleName="worker"))["Role"]
    assert found == created
    assert (found["Path"], found["Description"], found["MaxSessionDuration"]) == (
        "/service-role/",
        "für <alle> & jeden",
        7200,
    )
    assert (found["Tags"], found["AssumeRolePolicyDocument"]) == (tags, TRUST)
    assert found["CreateDate"].timestamp() * 1000 == opened.now_ms
    assert (await opened.client("iam")("list_roles", PathPrefix="/service-role/"))["Roles"][0]["Arn"] == found["Arn"]
    assert (await opened.client("iam")("list_roles", PathPrefix="/other/"))["Roles"] == []


async def test_names_differ_in_more_than_case(opened: House) -> None:
    await create_role(opened)
    iam = opened.client("iam")
    error = await iam.error("create_role", RoleName="Worker", AssumeRolePolicyDocument=json.dumps(TRUST))
    assert error.response["Error"] == {
        "Type": "Sender", "Code": "EntityAlreadyExists", "Message": "Role with name Worker already exists."
    }  # fmt: skip
    assert error.response["ResponseMetadata"]["HTTPStatusCode"] == 409
    assert isinstance(error, iam.raw.exceptions.EntityAlreadyExistsException)


async def test_inline_policies_come_and_go(opened: House) -> None:
    await create_role(opened)
    iam = opened.client("iam")
    await iam("put_role_policy", RoleName="worker", PolicyName="b", PolicyDocument=json.dumps(INVOKE))
    await iam("put_role_policy", RoleName="worker", PolicyName="a", PolicyDocument=json.dumps(INVOKE))
    assert (await iam("list_role_policies", RoleName="worker"))["PolicyNames"] == ["a", "b"]
    found = await iam("get_role_policy", RoleName="worker", PolicyName="a")
    assert (found["RoleName"], found["PolicyName"], found["PolicyDocument"]) == ("worker", "a", INVOKE)
    assert await iam.code("delete_role", RoleName="worker") == ("DeleteConflict", 409)
    for name in ("a", "b"):
        await iam("delete_role_policy", RoleName="worker", PolicyName=name)
    assert await iam.code("get_role_policy", RoleName="worker", PolicyName="a") == ("NoSuchEntity", 404)
    await iam("delete_role", RoleName="worker")
    assert await iam.code("get_role", RoleName="worker") == ("NoSuchEntity", 404)


async def test_policies_of_aws_are_attached_by_their_arns(opened: House) -> None:
    await create_role(opened)
    iam = opened.client("iam")
    await iam("attach_role_policy", RoleName="worker", PolicyArn=BASIC)
    await iam("attach_role_policy", RoleName="worker", PolicyArn=BASIC)
    attached = (await iam("list_attached_role_policies", RoleName="worker"))["AttachedPolicies"]
    assert attached == [{"PolicyName": "AWSLambdaBasicExecutionRole", "PolicyArn": BASIC}]
    assert await iam.code("delete_role", RoleName="worker") == ("DeleteConflict", 409)
    found = (await iam("list_entities_for_policy", PolicyArn=BASIC))["PolicyRoles"]
    assert [role["RoleName"] for role in found] == ["worker"]
    assert (await iam("get_policy", PolicyArn=BASIC))["Policy"]["AttachmentCount"] == 1
    await iam("detach_role_policy", RoleName="worker", PolicyArn=BASIC)
    assert await iam.code("detach_role_policy", RoleName="worker", PolicyArn=BASIC) == ("NoSuchEntity", 404)
    unknown = "arn:aws:iam::aws:policy/NoSuchPolicy"
    assert await iam.code("attach_role_policy", RoleName="worker", PolicyArn=unknown) == ("NoSuchEntity", 404)
    assert (await iam("list_instance_profiles_for_role", RoleName="worker"))["InstanceProfiles"] == []


async def test_a_policy_of_ones_own_has_versions(opened: House) -> None:
    iam = opened.client("iam")
    made = (await iam("create_policy", PolicyName="p", Path="/team/", PolicyDocument=json.dumps(INVOKE)))["Policy"]
    arn = made["Arn"]
    assert arn == f"arn:aws:iam::{ACCOUNT}:policy/team/p"
    second = json.dumps(INVOKE | {"Id": "second"})
    answer = await iam("create_policy_version", PolicyArn=arn, PolicyDocument=second, SetAsDefault=True)
    assert answer["PolicyVersion"]["VersionId"] == "v2"
    versions = (await iam("list_policy_versions", PolicyArn=arn))["Versions"]
    assert [(version["VersionId"], version["IsDefaultVersion"]) for version in versions] == [
        ("v2", True),
        ("v1", False),
    ]
    assert (await iam("get_policy_version", PolicyArn=arn, VersionId="v2"))["PolicyVersion"]["Document"][
        "Id"
    ] == "second"
    assert await iam.code("delete_policy_version", PolicyArn=arn, VersionId="v2") == ("DeleteConflict", 409)
    assert await iam.code("delete_policy", PolicyArn=arn) == ("DeleteConflict", 409)
    await iam("set_default_policy_version", PolicyArn=arn, VersionId="v1")
    await iam("delete_policy_version", PolicyArn=arn, VersionId="v2")
    assert (await iam("get_policy", PolicyArn=arn))["Policy"]["DefaultVersionId"] == "v1"
    await create_role(opened)
    await iam("attach_role_policy", RoleName="worker", PolicyArn=arn)
    assert (await iam("list_policies", Scope="Local", OnlyAttached=True))["Policies"][0]["AttachmentCount"] == 1
    assert await iam.code("delete_policy", PolicyArn=arn) == ("DeleteConflict", 409)
    await iam("detach_role_policy", RoleName="worker", PolicyArn=arn)
    await iam("delete_policy", PolicyArn=arn)
    assert await iam.code("get_policy", PolicyArn=arn) == ("NoSuchEntity", 404)


async def test_policies_of_aws_cannot_be_changed(opened: House) -> None:
    iam = opened.client("iam")
    assert await iam.code("delete_policy", PolicyArn=BASIC) == ("AccessDenied", 403)
    assert (await iam("get_policy_version", PolicyArn=BASIC, VersionId="v1"))["PolicyVersion"]["Document"]["Statement"]


async def test_lists_have_pages(opened: House) -> None:
    for number in range(5):
        await create_role(opened, f"role-{number}")
    iam = opened.client("iam")
    pages = await _pages(iam.raw, "list_roles", 2)
    assert [[role["RoleName"] for role in page["Roles"]] for page in pages] == [
        ["role-0", "role-1"], ["role-2", "role-3"], ["role-4"]
    ]  # fmt: skip
    policies = [policy for page in await _pages(iam.raw, "list_policies", 7) for policy in page["Policies"]]
    assert len(policies) == len({policy["Arn"] for policy in policies}) > 20
    assert await iam.code("list_roles", Marker="§") == ("InvalidInput", 400)


async def _pages(client: Any, operation: str, size: int) -> list[dict[str, Any]]:
    paginator = client.get_paginator(operation)
    return await asyncio.to_thread(lambda: list(paginator.paginate(PaginationConfig={"PageSize": size})))


async def test_tags_are_merged_and_removed_without_regard_to_case(opened: House) -> None:
    await create_role(opened, Tags=[{"Key": "Team", "Value": "a"}])
    iam = opened.client("iam")
    await iam("tag_role", RoleName="worker", Tags=[{"Key": "team", "Value": "b"}, {"Key": "stage", "Value": ""}])
    assert (await iam("list_role_tags", RoleName="worker"))["Tags"] == [
        {"Key": "Team", "Value": "b"}, {"Key": "stage", "Value": ""}
    ]  # fmt: skip
    await iam("untag_role", RoleName="worker", TagKeys=["TEAM"])
    assert [tag["Key"] for tag in (await iam("list_role_tags", RoleName="worker"))["Tags"]] == ["stage"]


@pytest.mark.parametrize(
    ("document", "code"),
    [
        ("{", "MalformedPolicyDocument"),
        ('{"Version":"2012-10-17"}', "MalformedPolicyDocument"),
        (json.dumps(INVOKE), "MalformedPolicyDocument"),
        (json.dumps(TRUST | {"Statement": TRUST["Statement"] * 100}), "LimitExceeded"),
    ],
)
async def test_a_trust_policy_that_is_none_is_refused(opened: House, document: str, code: str) -> None:
    iam = opened.client("iam")
    found = await iam.code("create_role", RoleName="worker", AssumeRolePolicyDocument=document)
    assert (found[0], await iam.code("get_role", RoleName="worker")) == (code, ("NoSuchEntity", 404))


async def test_a_permission_policy_with_a_principal_is_refused(opened: House) -> None:
    await create_role(opened)
    found = await opened.client("iam").code(
        "put_role_policy", RoleName="worker", PolicyName="p", PolicyDocument=json.dumps(TRUST)
    )
    assert found == ("MalformedPolicyDocument", 400)


async def test_broken_constraints_are_told_in_the_services_words(opened: House) -> None:
    iam = opened.client("iam")
    error = await iam.error("create_role", RoleName="no spaces", AssumeRolePolicyDocument=json.dumps(TRUST))
    assert error.response["Error"]["Code"] == "ValidationError"
    assert error.response["Error"]["Message"].startswith(
        "1 validation error detected: Value 'no spaces' at 'roleName' failed to satisfy constraint: "
    )


async def test_an_update_changes_what_is_given_and_nothing_else(opened: House) -> None:
    await create_role(opened, Description="old", MaxSessionDuration=7200)
    iam = opened.client("iam")
    await iam("update_role", RoleName="worker", Description="new")
    trust = TRUST | {"Id": "changed"}
    await iam("update_assume_role_policy", RoleName="worker", PolicyDocument=json.dumps(trust))
    role = (await iam("get_role", RoleName="worker"))["Role"]
    assert (role["Description"], role["MaxSessionDuration"], role["AssumeRolePolicyDocument"]) == ("new", 7200, trust)


async def test_a_limited_key_manages_only_what_its_policy_names(opened: House) -> None:
    policy = {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Action": "iam:*", "Resource": f"arn:aws:iam::{ACCOUNT}:role/team/*"},
            {"Effect": "Deny", "Action": "iam:AttachRolePolicy", "Resource": "*",
             "Condition": {"StringNotEquals": {"iam:PolicyARN": BASIC}}},
        ],
    }  # fmt: skip
    await create_role(opened, "admins")
    key = await opened.add_user("dev", json.dumps(policy))
    iam = opened.client("iam", key)
    await iam("create_role", RoleName="mine", Path="/team/", AssumeRolePolicyDocument=json.dumps(TRUST))
    await iam("attach_role_policy", RoleName="mine", PolicyArn=BASIC)
    admin = "arn:aws:iam::aws:policy/AdministratorAccess"
    assert await iam.code("attach_role_policy", RoleName="mine", PolicyArn=admin) == ("AccessDenied", 403)
    assert await iam.code("delete_role", RoleName="admins") == ("AccessDenied", 403)
    # Whether there is such a role is nothing for them either.
    assert await iam.code("delete_role", RoleName="nobody") == ("AccessDenied", 403)
    assert (await iam.error("get_role", RoleName="admins")).response["Error"]["Message"] == (
        f"User: arn:aws:iam::{ACCOUNT}:user/dev is not authorized to perform: iam:GetRole on resource: "
        f"arn:aws:iam::{ACCOUNT}:role/admins because no identity-based policy allows the iam:GetRole action"
    )


async def test_users_see_themselves(opened: House) -> None:
    key = await opened.add_user("dev", json.dumps(INVOKE).replace("lambda:InvokeFunction", "iam:GetUser"))
    iam = opened.client("iam", key)
    found = (await iam("get_user"))["User"]
    assert (found["UserName"], found["Arn"]) == ("dev", f"arn:aws:iam::{ACCOUNT}:user/dev")
    assert (await iam("get_user", UserName="dev"))["User"] == found
    assert await iam.code("get_user", UserName="other") == ("NoSuchEntity", 404)
    assert (await opened.client("iam")("get_user"))["User"]["Arn"] == f"arn:aws:iam::{ACCOUNT}:root"


async def test_an_operation_that_is_not_here_is_said_to_be_none(opened: House) -> None:
    assert await opened.client("iam").code("list_groups") == ("InvalidAction", 400)


async def test_a_boundary_that_would_not_be_kept_is_refused(opened: House) -> None:
    found = await opened.client("iam").code(
        "create_role", RoleName="r", AssumeRolePolicyDocument=json.dumps(TRUST), PermissionsBoundary=BASIC
    )
    assert found == ("InvalidInput", 400)
