"""Roles and managed policies: durable, looked up at every request, and worth nothing to strangers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hearth.core.aws_policies import AWS_POLICIES
from hearth.core.errors import ServiceError
from hearth.core.identity import assumed_role
from hearth.core.policy import Decision, RequestContext, decide
from hearth.core.policy_document import parse_policy
from hearth.core.roles import ManagedPolicy, PolicyVersion, Role
from hearth.role_wire import decode, encode
from hearth.roles import RoleStore
from hearth.testing import InMemoryStore
from hearth.wire import StoredRecordError

ACCOUNT = "000000000000"
TRUST = '{"Version":"2012-10-17","Statement":[]}'
INVOKE = (
    '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"lambda:InvokeFunction",'
    '"Resource":"arn:aws:lambda:*:*:function:one"}]}'
)
BASIC = "arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole"
ROLE = Role("worker", "/", ACCOUNT, TRUST, 1)


def decision(store: RoleStore, role: str, action: str, resource: str) -> Decision:
    principal = assumed_role(role, "session", store.policies_of(role))
    return decide(principal.policies, None, RequestContext(action, resource, principal))


async def saved(store: RoleStore, *records: Role | ManagedPolicy) -> None:
    async with store.changing:
        for record in records:
            await store.put(record)


async def test_a_role_may_do_what_its_inline_and_attached_policies_say() -> None:
    store = RoleStore(InMemoryStore())
    await saved(store, ROLE.with_inline("invoke", INVOKE).with_attached(BASIC))
    one = "arn:aws:lambda:us-east-1:000000000000:function:one"
    assert decision(store, ROLE.arn, "lambda:InvokeFunction", one) is Decision.ALLOW
    assert decision(store, ROLE.arn, "lambda:InvokeFunction", f"{one}-more") is Decision.DENY_IMPLICIT
    assert (
        decision(store, ROLE.arn, "logs:PutLogEvents", "arn:aws:logs:us-east-1:000000000000:log-group:x")
        is Decision.ALLOW
    )


async def test_a_change_is_effective_at_once() -> None:
    store = RoleStore(InMemoryStore())
    await saved(store, ROLE.with_inline("invoke", INVOKE))
    assert store.policies_of(ROLE.arn)
    await saved(store, ROLE)
    assert store.policies_of(ROLE.arn) == ()


async def test_a_new_default_version_of_a_policy_reaches_the_roles_that_have_it() -> None:
    store = RoleStore(InMemoryStore())
    policy = ManagedPolicy("p", "/", ACCOUNT, (PolicyVersion("v1", TRUST.replace("[]", INVOKE[37:-1]), 1),), "v1", 1, 1)
    await saved(store, policy, ROLE.with_attached(policy.arn))
    before = store.policies_of(ROLE.arn)
    await saved(store, policy.with_version(INVOKE.replace("Allow", "Deny"), 2, is_default=True))
    assert store.policies_of(ROLE.arn) not in (before, ())


async def test_a_role_that_nobody_made_may_do_nothing() -> None:
    store = RoleStore(InMemoryStore())
    await saved(store, ROLE.with_inline("invoke", INVOKE))
    assert store.policies_of("arn:aws:iam::000000000000:role/other") == ()
    assert not store.exists("arn:aws:iam::000000000000:role/another/path/worker")
    assert store.policies_of("arn:aws:iam::000000000000:role/another/path/worker") == ()
    assert store.policies_of(ROLE.arn.replace(ACCOUNT, "111111111111")) == ()


async def test_a_policy_that_cannot_be_read_takes_the_others_with_it() -> None:
    store = RoleStore(InMemoryStore())
    await saved(store, ROLE.with_inline("invoke", INVOKE).with_inline("broken", "{"))
    assert store.policies_of(ROLE.arn) == ()


async def test_roles_and_policies_survive_a_restart() -> None:
    records = InMemoryStore()
    policy = ManagedPolicy("p", "/team/", ACCOUNT, (PolicyVersion("v1", INVOKE, 1),), "v1", 1, 1, tags={"a": "b"})
    role = ROLE.with_inline("invoke", INVOKE).with_attached(policy.arn)
    await saved(RoleStore(records), role, policy)
    again = RoleStore(records)
    await again.load()
    assert (again.role("worker"), again.policy(policy.arn)) == (role, policy)
    async with again.changing:
        await again.remove(role)
        await again.remove(policy)
    assert records.records == {}
    assert (again.roles(), again.policies(), again.policies_of(role.arn)) == ([], [], ())


async def test_a_write_that_fails_changes_nothing() -> None:
    records = InMemoryStore()
    store = RoleStore(records)
    records.fail_next = True
    with pytest.raises(ServiceError):
        await saved(store, ROLE)
    assert store.role("worker") is None


async def test_an_unreadable_record_is_left_alone() -> None:
    records = InMemoryStore()
    records.records["role:x"] = b"{}"
    await saved(RoleStore(records), ROLE)
    store = RoleStore(records)
    await store.load()
    assert [role.name for role in store.roles()] == ["worker"]
    assert records.records["role:x"] == b"{}"


@given(st.binary(max_size=60))
def test_foreign_bytes_are_an_error_of_ours(stored: bytes) -> None:
    with pytest.raises(StoredRecordError):
        decode(stored)


def test_unknown_members_are_ignored_and_newer_schemas_refused() -> None:
    assert decode(encode(ROLE).replace(b'"path"', b'"later":1,"path"')) == ROLE
    with pytest.raises(StoredRecordError):
        decode(encode(ROLE).replace(b'"schema_version":1', b'"schema_version":2'))


def test_version_numbers_are_not_used_twice() -> None:
    policy = ManagedPolicy("p", "/", ACCOUNT, (PolicyVersion("v1", INVOKE, 1),), "v1", 1, 1)
    policy = policy.with_version(INVOKE, 2, is_default=True).with_version(INVOKE, 3, is_default=False)
    assert (policy.default_version, policy.latest) == ("v2", 3)
    policy = policy.without_version("v3", 4).with_version(INVOKE, 5, is_default=False)
    assert [version.version_id for version in policy.versions] == ["v1", "v2", "v4"]


@pytest.mark.parametrize("arn", AWS_POLICIES)
def test_every_policy_of_aws_is_well_formed_and_under_its_own_arn(arn: str) -> None:
    policy = AWS_POLICIES[arn]
    assert parse_policy(policy.document).statements
    assert (policy.arn, arn.startswith("arn:aws:iam::aws:policy/")) == (arn, True)


def test_power_users_do_not_manage_identities() -> None:
    policies = (parse_policy(AWS_POLICIES["arn:aws:iam::aws:policy/PowerUserAccess"].document),)
    principal = assumed_role(ROLE.arn, "s", policies)

    def may(action: str) -> bool:
        return decide(policies, None, RequestContext(action, "*", principal)) is Decision.ALLOW

    assert [may("lambda:DeleteFunction"), may("iam:ListRoles"), may("iam:CreateRole")] == [True, True, False]
