"""STS through AWS's own client: who am I, and whose place may I take."""

import json
from typing import Any

import pytest
from tests.unit.gateway.neighbours.house import ACCOUNT, House

DEV = f"arn:aws:iam::{ACCOUNT}:user/dev"
ROOT = f"arn:aws:iam::{ACCOUNT}:root"


def statement(effect: object = "Allow", action: object = "sts:AssumeRole", **more: object) -> dict[str, object]:
    return {"Effect": effect, "Action": action, **more}


def policy(*statements: dict[str, object]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": statements})


ASSUME_ANY = policy(statement(Resource="*"))
SEE_ROLES = policy(statement(action="iam:GetRole", Resource="*"))


async def create_role(opened: House, trusted: object, **more: object) -> str:
    trust = policy(statement(Principal=trusted, **more))
    answer = await opened.client("iam")("create_role", RoleName="worker", AssumeRolePolicyDocument=trust)
    arn: str = answer["Role"]["Arn"]
    return arn


async def assume(opened: House, key: str, arn: str, **more: object) -> dict[str, Any]:
    return await opened.client("sts", key)("assume_role", RoleArn=arn, RoleSessionName="me", **more)


async def may_assume(opened: House, key: str, arn: str, **more: object) -> bool:
    sts = opened.client("sts", key)
    try:
        await sts("assume_role", RoleArn=arn, RoleSessionName="me", **more)
    except sts.raw.exceptions.ClientError as error:
        assert error.response["Error"]["Code"] == "AccessDenied"
        return False
    return True


async def test_everybody_may_ask_who_they_are(opened: House) -> None:
    found = await opened.client("sts")("get_caller_identity")
    assert (found["Account"], found["Arn"], found["UserId"]) == (ACCOUNT, ROOT, ACCOUNT)
    found = await opened.client("sts", await opened.add_user("dev"))("get_caller_identity")
    assert (found["Arn"], found["UserId"][:4]) == (DEV, "AIDA")


async def test_an_assumed_role_is_who_it_says_and_does_what_its_role_may(opened: House) -> None:
    arn = await create_role(opened, {"AWS": DEV})
    key = await opened.add_user("dev")
    answer = await assume(opened, key, arn, DurationSeconds=900)
    credentials = answer["Credentials"]
    assert credentials["AccessKeyId"].startswith("ASIA")
    assert credentials["Expiration"].timestamp() == opened.now_ms // 1000 + 900
    identity = await opened.assumed("sts", credentials)("get_caller_identity")
    assert identity["Arn"] == answer["AssumedRoleUser"]["Arn"] == f"arn:aws:sts::{ACCOUNT}:assumed-role/worker/me"
    role = (await opened.client("iam")("get_role", RoleName="worker"))["Role"]
    assert identity["UserId"] == answer["AssumedRoleUser"]["AssumedRoleId"] == f"{role['RoleId']}:me"
    iam = opened.assumed("iam", credentials)
    assert await iam.code("get_role", RoleName="worker") == ("AccessDenied", 403)
    await opened.client("iam")("put_role_policy", RoleName="worker", PolicyName="p", PolicyDocument=SEE_ROLES)
    assert (await iam("get_role", RoleName="worker"))["Role"]["Arn"] == arn


async def test_a_session_policy_narrows_and_never_widens(opened: House) -> None:
    arn = await create_role(opened, {"AWS": DEV})
    admin = opened.client("iam")
    await admin("put_role_policy", RoleName="worker", PolicyName="p", PolicyDocument=SEE_ROLES)
    nothing = policy(statement(action="lambda:*", Resource="*"))
    key = await opened.add_user("dev")
    narrow = (await assume(opened, key, arn, Policy=nothing))["Credentials"]
    assert await opened.assumed("iam", narrow).code("get_role", RoleName="worker") == ("AccessDenied", 403)
    wide = (await assume(opened, key, arn, Policy=policy(statement(action="*", Resource="*"))))["Credentials"]
    iam = opened.assumed("iam", wide)
    await iam("get_role", RoleName="worker")
    assert await iam.code("delete_role", RoleName="worker") == ("AccessDenied", 403)
    for broken in ("{", policy(statement(Principal="*", Resource="*"))):
        sts = opened.client("sts", key)
        found = await sts.code("assume_role", RoleArn=arn, RoleSessionName="me", Policy=broken)
        assert found == ("MalformedPolicyDocument", 400)


async def test_a_role_trusts_whom_its_policy_names(opened: House) -> None:
    arn = await create_role(opened, {"AWS": DEV})
    assert await may_assume(opened, await opened.add_user("dev"), arn)
    assert not await may_assume(opened, await opened.add_user("other", ASSUME_ANY), arn)
    assert not await may_assume(opened, "AKIAADMIN", arn)


async def test_a_role_that_trusts_the_account_leaves_it_to_its_users_policies(opened: House) -> None:
    arn = await create_role(opened, {"AWS": ROOT})
    assert not await may_assume(opened, await opened.add_user("dev"), arn)
    assert await may_assume(opened, await opened.add_user("other", ASSUME_ANY), arn)
    assert await may_assume(opened, "AKIAADMIN", arn)
    denied = policy(statement("Deny", Resource="*"), statement(Resource="*"))
    assert not await may_assume(opened, await opened.add_user("third", denied), arn)


async def test_a_role_for_functions_is_for_functions_only(opened: House) -> None:
    arn = await create_role(opened, {"Service": "lambda.amazonaws.com"})
    assert not await may_assume(opened, "AKIAADMIN", arn)
    assert not await may_assume(opened, await opened.add_user("dev", ASSUME_ANY), arn)


async def test_an_external_id_must_be_known(opened: House) -> None:
    arn = await create_role(opened, {"AWS": DEV}, Condition={"StringEquals": {"sts:ExternalId": "42"}})
    key = await opened.add_user("dev")
    assert not await may_assume(opened, key, arn)
    assert not await may_assume(opened, key, arn, ExternalId="43")
    assert await may_assume(opened, key, arn, ExternalId="42")


async def test_a_role_that_is_not_there_cannot_be_told_from_one_that_is(opened: House) -> None:
    arn = await create_role(opened, {"Service": "lambda.amazonaws.com"})
    sts = opened.client("sts", await opened.add_user("dev", ASSUME_ANY))
    for role in (arn, arn.replace("worker", "nobody"), arn.replace("role/", "role/path/")):
        error = await sts.error("assume_role", RoleArn=role, RoleSessionName="me")
        assert error.response["Error"]["Message"] == (
            f"User: {DEV} is not authorized to perform: sts:AssumeRole on resource: {role}"
        )


@pytest.mark.parametrize(("seconds", "is_legal"), [(899, False), (900, True), (3600, True), (3601, False)])
async def test_a_session_is_no_longer_than_its_role_allows(opened: House, seconds: int, is_legal: bool) -> None:
    arn = await create_role(opened, {"AWS": DEV})
    sts = opened.client("sts", await opened.add_user("dev"))
    asked = {"RoleArn": arn, "RoleSessionName": "me", "DurationSeconds": seconds}
    if is_legal:
        assert await sts("assume_role", **asked)
    else:
        assert await sts.code("assume_role", **asked) == ("ValidationError", 400)


async def test_a_role_of_a_role_lasts_an_hour_at_most(opened: House) -> None:
    arn = await create_role(opened, {"AWS": ROOT})
    iam = opened.client("iam")
    await iam("update_role", RoleName="worker", MaxSessionDuration=43_200)
    await iam("put_role_policy", RoleName="worker", PolicyName="p", PolicyDocument=ASSUME_ANY)
    credentials = (await assume(opened, "AKIAADMIN", arn, DurationSeconds=43_200))["Credentials"]
    again = opened.assumed("sts", credentials)
    asked = {"RoleArn": arn, "RoleSessionName": "again"}
    assert await again.code("assume_role", DurationSeconds=3601, **asked) == ("ValidationError", 400)
    found = (await again("assume_role", **asked))["Credentials"]
    assert (await opened.assumed("sts", found)("get_caller_identity"))["Arn"].endswith("/again")


async def test_a_session_token_is_for_long_term_keys(opened: House) -> None:
    arn = await create_role(opened, {"AWS": DEV})
    key = await opened.add_user("dev")
    assert (await opened.client("sts", key)("get_session_token"))["Credentials"]["SessionToken"]
    credentials = (await assume(opened, key, arn))["Credentials"]
    assert await opened.assumed("sts", credentials).code("get_session_token") == ("AccessDenied", 403)


async def test_a_denial_says_so_when_the_role_was_never_made(opened: House) -> None:
    arn = f"arn:aws:iam::{ACCOUNT}:role/nobody"
    made = opened.keys.issue_session(arn, "fn", opened.now_ms / 1000, 900)
    credentials = {
        "AccessKeyId": made.access_key_id, "SecretAccessKey": made.secret_access_key, "SessionToken": made.session_token
    }  # fmt: skip
    assert (await opened.assumed("sts", credentials)("get_caller_identity"))["Arn"].endswith("assumed-role/nobody/fn")
    error = await opened.assumed("iam", credentials).error("get_role", RoleName="x")
    assert error.response["Error"]["Message"].endswith(f"(role {arn} does not exist; create it with iam create-role)")
