"""The evaluation of policies: who is allowed, and what wins."""

import json
from typing import Any

import pytest
from tests.unit.platform.policy.judged import (
    ACCOUNT,
    ARN,
    BOB,
    INVOKE,
    ROLE_ARN,
    WORKER,
    allow,
    decision,
    deny,
    is_allowed,
    policy,
)

from hearth.core.identity import ANONYMOUS, PrincipalKind, in_session, root, service, user
from hearth.core.identity import Session as IdentitySession
from hearth.core.policy import Decision, MalformedPolicy, RequestContext, decide, parse_policy

OTHER = "111111111111"


def test_what_nothing_allows_is_denied() -> None:
    assert decision() is Decision.DENY_IMPLICIT
    assert decision(allow(Action="lambda:GetFunction")) is Decision.DENY_IMPLICIT


def test_an_explicit_denial_beats_every_permission() -> None:
    assert decision(allow(), deny(Action=INVOKE)) is Decision.DENY_EXPLICIT
    assert decision(deny(Action=INVOKE), allow()) is Decision.DENY_EXPLICIT
    everybody = {"Principal": "*", "Action": "*", "Resource": "*"}
    assert decision(allow(), resource=[{"Effect": "Deny", **everybody}]) is Decision.DENY_EXPLICIT
    assert decision(deny(), resource=[{"Effect": "Allow", **everybody}]) is Decision.DENY_EXPLICIT


@pytest.mark.parametrize(
    ("pattern", "matches"),
    [
        ("*", True),
        ("lambda:*", True),
        ("LAMBDA:invokefunction", True),
        ("lambda:Invoke*", True),
        ("lambda:Invoke????????", True),
        ("lambda:Invoke???????", False),
        ("lambda:InvokeFunctionUrl", False),
        ("lambda", False),
        ("s3:*", False),
        ("*Function", True),
        ("l*:I*n", True),
    ],
)
def test_actions_have_wildcards_and_no_case(pattern: str, matches: bool) -> None:
    assert is_allowed(allow(Action=pattern)) is matches
    assert is_allowed(allow(NotAction=pattern)) is not matches


@pytest.mark.parametrize(
    ("pattern", "matches"),
    [
        ("*", True),
        (ARN, True),
        (ARN[:-1] + "?", True),
        (ARN.upper(), False),
        ("arn:aws:lambda:*:*:function:orders", True),
        ("arn:aws:lambda:*:*:function:or*", True),
        ("arn:aws:lambda", True),
        ("arn:aws:lambda:us-east-1:*", True),
        ("arn:aws:*:orders", False),
        ("arn:aws:lambda:*:function:orders", False),
        (f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:orders:*", False),
        ("orders", False),
        ("arn:aws:s3:::*", False),
    ],
)
def test_resources_are_compared_field_by_field(pattern: str, matches: bool) -> None:
    assert is_allowed(allow(Resource=pattern)) is matches
    assert is_allowed(allow(NotResource=pattern)) is not matches


def test_a_star_in_the_last_field_covers_qualifiers() -> None:
    assert is_allowed(allow(Resource=ARN + "*"), arn=ARN + ":prod")
    assert not is_allowed(allow(Resource=ARN), arn=ARN + ":prod")


def test_any_pattern_of_a_list_will_do() -> None:
    assert is_allowed(allow(Action=["s3:*", INVOKE], Resource=["arn:aws:s3:::b", ARN]))
    assert not is_allowed(allow(NotAction=["s3:*", INVOKE]))


def test_variables_are_the_callers_own() -> None:
    statement = allow(Resource="arn:aws:lambda:*:*:function:${aws:username}-*")
    assert is_allowed(statement, arn=ARN.replace("orders", "bob-orders"))
    assert not is_allowed(statement, arn=ARN.replace("orders", "eve-orders"))
    assert not is_allowed(statement, principal=WORKER, arn=ARN.replace("orders", "bob-orders"))


def test_a_name_with_wildcards_widens_nothing() -> None:
    star = user(ACCOUNT, "*", ())
    assert not is_allowed(allow(Resource="arn:aws:lambda:*:*:function:${aws:username}"), principal=star)
    assert is_allowed(allow(Resource="arn:aws:lambda:*:*:function:${*}"), arn=ARN.replace("orders", "*"))
    assert not is_allowed(allow(Resource="arn:aws:lambda:*:*:function:${*}"))


def test_a_variable_may_have_a_default() -> None:
    statement = allow(Resource="arn:aws:lambda:*:*:function:${aws:PrincipalTag/team, 'orders'}")
    assert is_allowed(statement)
    assert not is_allowed(allow(NotResource="${aws:PrincipalTag/team}"))


def test_old_policies_have_no_variables() -> None:
    old = policy(allow(Resource="${aws:username}"), version="2008-10-17")
    assert decide((old,), None, RequestContext(INVOKE, "bob", BOB)) is Decision.DENY_IMPLICIT
    assert decide((old,), None, RequestContext(INVOKE, "${aws:username}", BOB)) is Decision.ALLOW


def grant(principal: object, effect: str = "Allow", **more: Any) -> list[dict[str, Any]]:
    return [{"Effect": effect, "Principal": principal, "Action": INVOKE, "Resource": ARN, **more}]


@pytest.mark.parametrize(
    "principal", ["*", {"AWS": "*"}, {"AWS": BOB.arn}, {"AWS": [ROLE_ARN, BOB.arn]}, {"Service": "x", "AWS": BOB.arn}]
)
def test_within_the_account_the_policy_of_the_resource_suffices(principal: object) -> None:
    assert is_allowed(resource=grant(principal))


@pytest.mark.parametrize(
    "principal",
    [
        {"AWS": BOB.arn[:-1] + "*"},
        {"AWS": ROLE_ARN},
        {"AWS": OTHER},
        {"Service": BOB.arn},
        {"Federated": BOB.arn},
        {"CanonicalUser": BOB.arn},
    ],
)
def test_whoever_is_not_named_is_not_allowed(principal: object) -> None:
    assert not is_allowed(resource=grant(principal))


def test_naming_the_account_leaves_its_users_to_their_own_policies() -> None:
    for name in (ACCOUNT, f"arn:aws:iam::{ACCOUNT}:root"):
        assert not is_allowed(resource=grant({"AWS": name}))
        assert decision(allow(), resource=grant({"AWS": name}, "Deny")) is Decision.DENY_EXPLICIT


def test_a_role_is_named_by_its_arn_and_a_session_by_its_own() -> None:
    assert is_allowed(resource=grant({"AWS": ROLE_ARN}), principal=WORKER)
    assert is_allowed(resource=grant({"AWS": WORKER.arn}), principal=WORKER)
    assert WORKER.arn == f"arn:aws:sts::{ACCOUNT}:assumed-role/worker/job"


def test_everybody_but_somebody_is_named_by_exclusion() -> None:
    spared = {"Effect": "Deny", "NotPrincipal": {"AWS": BOB.arn}, "Action": "*", "Resource": "*"}
    assert is_allowed(allow(), resource=[spared])
    assert decision(allow(), resource=[spared], principal=WORKER) is Decision.DENY_EXPLICIT


def test_across_accounts_it_takes_both() -> None:
    stranger = user(OTHER, "bob", ())
    for named in ({"AWS": stranger.arn}, {"AWS": OTHER}):
        assert not is_allowed(principal=stranger, resource=grant(named))
        assert is_allowed(allow(), principal=stranger, resource=grant(named))
    assert not is_allowed(allow(), principal=stranger)


def test_services_are_allowed_by_the_resource_only() -> None:
    s3 = service("s3.amazonaws.com")
    conditions = {"ArnLike": {"AWS:SourceArn": "arn:aws:s3:::bucket"}, "StringEquals": {"AWS:SourceAccount": ACCOUNT}}
    granted = grant({"Service": "s3.amazonaws.com"}, Condition=conditions)
    source = {"aws__SourceArn": "arn:aws:s3:::bucket", "aws__SourceAccount": ACCOUNT}

    assert is_allowed(principal=s3, resource=granted, **source)
    assert not is_allowed(principal=s3, resource=granted, **{**source, "aws__SourceArn": "arn:aws:s3:::other"})
    assert not is_allowed(principal=s3, resource=granted, aws__SourceArn="arn:aws:s3:::bucket")
    assert not is_allowed(principal=service("sns.amazonaws.com"), resource=granted, **source)
    assert not is_allowed(allow(), principal=s3)
    assert not is_allowed(principal=s3, resource=grant({"AWS": "s3.amazonaws.com"}))


def test_strangers_are_allowed_by_a_public_statement_only() -> None:
    assert is_allowed(principal=ANONYMOUS, resource=grant("*"))
    assert not is_allowed(principal=ANONYMOUS, resource=grant({"AWS": ACCOUNT}))
    assert not is_allowed(allow(), principal=ANONYMOUS)


def test_the_root_needs_no_policy_but_hears_a_denial() -> None:
    assert is_allowed(principal=root(ACCOUNT))
    assert not is_allowed(principal=root(ACCOUNT), resource=grant("*", "Deny"))
    assert root(ACCOUNT).is_admin


def test_a_session_policy_narrows_and_never_widens() -> None:
    text = json.dumps({"Version": "2012-10-17", "Statement": allow(Action=INVOKE)})
    narrowed = in_session(WORKER, IdentitySession(ROLE_ARN, "job", 0, text, "ASIA", "s"))

    assert is_allowed(allow(), principal=narrowed)
    assert not is_allowed(allow(), principal=narrowed, action="lambda:GetFunction")
    assert not is_allowed(principal=narrowed)
    assert not in_session(root(ACCOUNT), IdentitySession("AKIA", "s", 0, text, "ASIA", "s")).is_admin
    broken = in_session(WORKER, IdentitySession(ROLE_ARN, "job", 0, "{", "ASIA", "s"))
    assert not is_allowed(allow(), principal=broken)


def test_a_statement_without_a_resource_is_about_what_it_is_attached_to() -> None:
    trust = {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
    context = RequestContext("sts:AssumeRole", ROLE_ARN, service("lambda.amazonaws.com"))
    assert decide((), policy(trust), context) is Decision.ALLOW


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        "[" * 100_000,
        "{}",
        '{"Statement": []}',
        '{"Version": "2020-01-01", "Statement": {"Effect": "Allow", "Action": "*", "Resource": "*"}}',
        '{"Statement": {"Effect": "Permit", "Action": "*", "Resource": "*"}}',
        '{"Statement": {"Action": "*", "Resource": "*"}}',
        '{"Statement": {"Effect": "Allow", "Resource": "*"}}',
        '{"Statement": {"Effect": "Allow", "Action": "*"}}',
        '{"Statement": {"Effect": "Allow", "Action": [], "Resource": "*"}}',
        '{"Statement": {"Effect": "Allow", "Action": 1, "Resource": "*"}}',
        '{"Statement": {"Effect": "Allow", "Action": "*", "NotAction": "*", "Resource": "*"}}',
        '{"Statement": {"Effect": "Allow", "Action": "*", "Resource": "*", "Principal": "everyone"}}',
        '{"Statement": {"Effect": "Allow", "Action": "*", "Resource": "*", "Principal": {}}}',
        '{"Statement": {"Effect": "Allow", "Action": "*", "Resource": "*", "Condition": []}}',
        '{"Statement": {"Effect": "Allow", "Action": "*", "Resource": "*", "Condition": {"Bool": "x"}}}',
        '{"Statement": {"Effect": "Allow", "Action": "*", "Resource": "*", "Condition": {"Bool": {"k": {}}}}}',
        '{"Statement": {"Effect": "Allow", "Effect": "Deny", "Action": "*", "Resource": "*"}}',
        '{"Statement": {"Effect": "Allow", "Action": "*", "Resource": "*", "Extra": 1}}',
        f'{{"Statement": {{"Effect": "Allow", "Action": "*", "Resource": "*", "Sid": {"1" * 5000}}}}}',
        " " * 200_000,
    ],
)
def test_what_is_no_policy_is_refused(text: str) -> None:
    with pytest.raises(MalformedPolicy):
        parse_policy(text)


def test_what_the_principal_is_can_be_asked_for() -> None:
    assert is_allowed(allow(Condition={"StringEquals": {"aws:PrincipalType": "User", "aws:username": "bob"}}))
    assert is_allowed(allow(Condition={"ArnLike": {"aws:PrincipalArn": ROLE_ARN}}), principal=WORKER)
    assert WORKER.kind is PrincipalKind.ASSUMED_ROLE
