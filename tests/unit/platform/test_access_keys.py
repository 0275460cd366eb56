"""Access keys: durable, limited, revocable; and sessions that need no table."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hearth.access_keys import MAX_POLICY_LENGTH, AccessKey, AccessKeys
from hearth.core.errors import InvalidParameterValue, ResourceNotFound, ServiceError
from hearth.core.identity import (
    Credential,
    Principal,
    PrincipalKind,
    Refusal,
    SessionIssuer,
    UnknownToken,
    stable_id,
)
from hearth.core.policy import parse_policy
from hearth.testing import InMemoryStore

ACCOUNT = "000000000000"
ADMIN = AccessKey("AKIAADMIN", "admin-secret")
ROLE = f"arn:aws:iam::{ACCOUNT}:role/team/worker"
MASTER_KEY = bytes(range(32))
NOW_S = 1_795_225_000.0
EVERYTHING = json.dumps({"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "*", "Resource": "*"}})


def access_keys(store: InMemoryStore | None = None, master_key: bytes = MASTER_KEY) -> AccessKeys:
    return AccessKeys(store or InMemoryStore(), ACCOUNT, ADMIN, SessionIssuer(master_key))


def principal(keys: AccessKeys, access_key_id: str, token: str = "", now_s: float = NOW_S) -> Principal | Refusal:
    found = keys.secret_of(access_key_id, token, now_s)
    return found.principal if isinstance(found, Credential) else found


async def test_the_installations_key_is_the_administrators() -> None:
    keys = access_keys()
    found = keys.secret_of("AKIAADMIN", "", NOW_S)
    assert isinstance(found, Credential)
    assert (found.secret, found.principal.is_admin) == ("admin-secret", True)
    assert found.principal.arn == f"arn:aws:iam::{ACCOUNT}:root"


async def test_a_key_is_a_user_with_policies_and_outlives_a_restart() -> None:
    store = InMemoryStore()
    made = await access_keys(store).create("bob", [EVERYTHING], NOW_S)

    again = access_keys(store)
    await again.load()

    found = again.secret_of(made.access_key_id, "", NOW_S)
    assert isinstance(found, Credential)
    assert found.secret == made.secret_access_key
    assert (found.principal.arn, found.principal.name) == (f"arn:aws:iam::{ACCOUNT}:user/bob", "bob")
    assert found.principal.policies == (parse_policy(EVERYTHING),)
    assert not found.principal.is_admin
    assert (made.access_key_id[:4], len(made.access_key_id)) == ("AKIA", 20)
    assert "secret" not in repr(made).replace("secret_access_key", "")
    assert made.secret_access_key not in repr(made)


async def test_a_revoked_key_stays_revoked() -> None:
    store = InMemoryStore()
    keys = access_keys(store)
    made = await keys.create("bob", [], NOW_S)

    await keys.revoke(made.access_key_id)

    assert keys.secret_of(made.access_key_id, "", NOW_S) is Refusal.UNKNOWN
    assert store.records == {}
    with pytest.raises(ResourceNotFound):
        await keys.revoke(made.access_key_id)


async def test_the_installations_key_cannot_be_revoked() -> None:
    with pytest.raises(ResourceNotFound):
        await access_keys().revoke("AKIAADMIN")


async def test_a_write_that_fails_changes_nothing() -> None:
    store = InMemoryStore()
    keys = access_keys(store)
    store.fail_next = True
    with pytest.raises(ServiceError):
        await keys.create("bob", [], NOW_S)
    assert list(keys) == []
    made = await keys.create("bob", [], NOW_S)
    store.fail_next = True
    with pytest.raises(ServiceError):
        await keys.revoke(made.access_key_id)
    assert isinstance(keys.secret_of(made.access_key_id, "", NOW_S), Credential)


async def test_a_record_that_cannot_be_read_opens_nothing() -> None:
    store = InMemoryStore()
    store.records = {
        "AKIA1": b"{",
        "AKIA2": b"[]",
        "AKIA3": b'{"policies": ["{}"], "access_key_id": "AKIA3", "secret_access_key": "s", "user": "u"}',
        "AKIA4": b'{"policies": null}',
    }
    keys = access_keys(store)
    await keys.load()
    assert len(keys) == 1


@pytest.mark.parametrize(
    ("user", "policies"),
    [
        ("", []),
        ("a b", []),
        ("x" * 65, []),
        ("a/b", []),
        ("*", []),
        ("bob", ["{"]),
        ("bob", [EVERYTHING] * 11),
        ("bob", [EVERYTHING + " " * MAX_POLICY_LENGTH]),
        ("bob", ['{"Statement": {"Effect": "Allow", "Action": "*", "Resource": "*", "Principal": "*"}}']),
    ],
)
async def test_keys_that_make_no_sense_are_not_made(user: str, policies: list[str]) -> None:
    keys = access_keys()
    with pytest.raises(InvalidParameterValue):
        await keys.create(user, policies, NOW_S)
    assert list(keys) == []


def roles(arn: str) -> Any:
    return (parse_policy(EVERYTHING),) if arn == ROLE else None


async def test_a_session_is_its_role_for_as_long_as_it_lasts() -> None:
    keys = access_keys()
    keys.role_policies = roles
    issued = keys.issue_session(ROLE, "job-7", NOW_S, 900)

    found = keys.secret_of(issued.access_key_id, issued.session_token, NOW_S + 899)

    assert isinstance(found, Credential)
    assert found.secret == issued.secret_access_key
    assert found.principal.arn == f"arn:aws:sts::{ACCOUNT}:assumed-role/worker/job-7"
    assert found.principal.kind is PrincipalKind.ASSUMED_ROLE
    assert found.principal.user_id == f"{stable_id('AROA', ROLE)}:job-7"
    assert found.principal.policies == roles(ROLE)
    assert (issued.access_key_id[:4], len(issued.access_key_id)) == ("ASIA", 20)
    assert principal(keys, issued.access_key_id, issued.session_token, NOW_S + 900) is Refusal.EXPIRED


async def test_a_session_outlives_a_restart_and_not_another_installation() -> None:
    issued = access_keys().issue_session(ROLE, "job", NOW_S, 900)
    again, elsewhere = access_keys(), access_keys(master_key=bytes(32))
    again.role_policies = elsewhere.role_policies = roles

    assert isinstance(principal(again, issued.access_key_id, issued.session_token), Principal)
    assert principal(elsewhere, issued.access_key_id, issued.session_token) is Refusal.UNKNOWN


async def test_a_session_ends_with_its_role() -> None:
    keys = access_keys()
    issued = keys.issue_session(ROLE, "job", NOW_S, 900)
    assert principal(keys, issued.access_key_id, issued.session_token) is Refusal.UNKNOWN


async def test_a_session_of_a_key_is_its_owner_and_ends_with_the_key() -> None:
    keys = access_keys()
    made = await keys.create("bob", [EVERYTHING], NOW_S)
    issued = keys.issue_session(made.access_key_id, "s", NOW_S, 900)

    found = principal(keys, issued.access_key_id, issued.session_token)
    assert isinstance(found, Principal)
    assert found.arn == f"arn:aws:iam::{ACCOUNT}:user/bob"

    await keys.revoke(made.access_key_id)
    assert principal(keys, issued.access_key_id, issued.session_token) is Refusal.UNKNOWN


async def test_a_token_belongs_to_one_key() -> None:
    keys = access_keys()
    keys.role_policies = roles
    one, two = (keys.issue_session(ROLE, name, NOW_S, 900) for name in ("one", "two"))

    assert principal(keys, one.access_key_id, two.session_token) is Refusal.UNKNOWN
    assert principal(keys, "AKIAADMIN", one.session_token) is Refusal.UNKNOWN
    assert principal(keys, one.access_key_id) is Refusal.UNKNOWN
    assert len({one.access_key_id, two.access_key_id, one.secret_access_key, two.secret_access_key}) == 4
    assert one.secret_access_key not in repr(one)


@given(st.data())
def test_a_forged_token_is_unknown(data: st.DataObject) -> None:
    issuer = SessionIssuer(MASTER_KEY)
    token = issuer.issue_session(ROLE, "job", NOW_S, 900).session_token
    position = data.draw(st.integers(0, len(token) - 1))
    other = data.draw(st.sampled_from("ABCabc019+/=-é"))
    forged = data.draw(
        st.sampled_from([token[:position] + other + token[position + 1 :], token[:position], token + other])
    )
    if forged != token:
        with pytest.raises(UnknownToken):
            issuer.read(forged)


@given(st.text(max_size=64))
def test_no_text_is_a_token_by_chance(text: str) -> None:
    with pytest.raises(UnknownToken):
        SessionIssuer(MASTER_KEY).read(text)


async def test_the_administrator_gets_a_new_key_and_the_old_one_is_dead() -> None:
    kept: list[AccessKey] = []

    async def keep(key: AccessKey) -> None:
        kept.append(key)

    keys = AccessKeys(InMemoryStore(), ACCOUNT, ADMIN, SessionIssuer(MASTER_KEY), keep_admin=keep)
    session = keys.issue_session(ADMIN.access_key_id, "s", NOW_S, 900)

    fresh = await keys.rotate(NOW_S)

    assert kept == [fresh]
    found = principal(keys, fresh.access_key_id)
    assert isinstance(found, Principal)
    assert found.is_admin
    assert principal(keys, "AKIAADMIN") is Refusal.UNKNOWN
    assert principal(keys, session.access_key_id, session.session_token) is Refusal.UNKNOWN


async def test_a_key_that_cannot_be_kept_changes_nothing() -> None:
    async def fail(key: AccessKey) -> None:
        raise ServiceError("no room")

    keys = AccessKeys(InMemoryStore(), ACCOUNT, ADMIN, SessionIssuer(MASTER_KEY), keep_admin=fail)

    with pytest.raises(ServiceError):
        await keys.rotate(NOW_S)

    assert isinstance(principal(keys, "AKIAADMIN"), Principal)
