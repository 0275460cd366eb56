"""The neighbouring services on the one port of the real server: signatures are proved, and each is for one service."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import botocore.session
import pytest
from botocore.config import Config
from tests.unit.gateway.served import ACCOUNT, ADMIN, REGION, Served, access_keys, serving

from hearth_gateway.auth.authentication import SignatureAuthenticator


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    keys = access_keys()
    async with asyncio.timeout(60), serving(tmp_path, authenticator=SignatureAuthenticator(keys), keys=keys) as opened:
        yield opened


async def call(
    served: Served, service: str, operation: str, *, secret: str = ADMIN.secret_access_key, **asked: object
) -> Mapping[str, Any]:
    """An operation through AWS's own client; an error is its code and status."""
    session = botocore.session.Session()
    session.set_credentials(ADMIN.access_key_id, secret)
    config = Config(retries={"total_max_attempts": 1}, inject_host_prefix=False)
    client = session.create_client(service, region_name=REGION, endpoint_url=served.base, config=config)
    try:
        answer: Mapping[str, Any] = await asyncio.to_thread(getattr(client, operation), **asked)
    except client.exceptions.ClientError as error:
        found = error.response
        return {"code": found["Error"]["Code"], "status": found["ResponseMetadata"]["HTTPStatusCode"]}
    return answer


TRUST = json.dumps({
    "Version": "2012-10-17",
    "Statement": {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"},
})  # fmt: skip


async def test_every_neighbour_answers_on_the_one_port(served: Served) -> None:
    assert (await call(served, "sts", "get_caller_identity"))["Arn"] == f"arn:aws:iam::{ACCOUNT}:root"
    await call(served, "iam", "create_role", RoleName="r", AssumeRolePolicyDocument=TRUST)
    assert (await call(served, "iam", "get_role", RoleName="r"))["Role"]["Arn"] == f"arn:aws:iam::{ACCOUNT}:role/r"
    served.logs.append("/aws/lambda/hello", "s", b"said\n", 5)
    found = await call(served, "logs", "filter_log_events", logGroupName="/aws/lambda/hello")
    assert [event["message"] for event in found["events"]] == ["said\n"]


@pytest.mark.parametrize(
    ("service", "operation", "expected"),
    [
        ("sts", "get_caller_identity", {"code": "SignatureDoesNotMatch", "status": 403}),
        ("iam", "list_roles", {"code": "SignatureDoesNotMatch", "status": 403}),
        ("logs", "describe_log_groups", {"code": "InvalidSignatureException", "status": 400}),
    ],
)
async def test_a_wrong_signature_is_refused_in_the_services_own_form(
    served: Served, service: str, operation: str, expected: Mapping[str, Any]
) -> None:
    assert await call(served, service, operation, secret="wrong") == expected


async def test_the_signature_decides_whom_a_request_is_for_whatever_else_it_says(served: Served) -> None:
    session = botocore.session.Session()
    session.set_credentials(ADMIN.access_key_id, ADMIN.secret_access_key)
    config = Config(retries={"total_max_attempts": 1})
    client = session.create_client("sts", region_name=REGION, endpoint_url=served.base, config=config)

    def mislead(request: Any, **_: object) -> None:
        request.headers["X-Amz-Target"] = "Logs_20140328.DescribeLogGroups"

    client.meta.events.register("before-sign.sts", mislead)
    assert (await asyncio.to_thread(client.get_caller_identity))["Account"] == ACCOUNT


@pytest.mark.parametrize(
    ("headers", "body", "code"),
    [
        ({"X-Amz-Target": "Logs_20140328.DescribeLogGroups"}, b"{}", b'"MissingAuthenticationTokenException"'),
        ({"Content-Type": "application/x-www-form-urlencoded"}, b"Action=ListRoles&Version=2010-05-08",
         b"<Code>MissingAuthenticationToken</Code>"),
        ({}, b"", b"Missing Authentication Token"),
    ],
)  # fmt: skip
async def test_without_a_signature_nothing_is_done(
    served: Served, headers: Mapping[str, str], body: bytes, code: bytes
) -> None:
    async with served.client.post(served.url("/"), headers=headers, data=body) as response:
        assert code in await response.read()
        assert response.status in (400, 403)


async def test_the_root_is_no_place_of_lambdas(tmp_path: Path) -> None:
    async with serving(tmp_path) as trusting, trusting.client.post(trusting.url("/")) as response:
        assert (response.status, response.headers["x-amzn-ErrorType"]) == (404, "UnknownOperationException")


async def test_where_everybody_is_trusted_services_are_told_apart_without_signatures(tmp_path: Path) -> None:
    async with serving(tmp_path) as trusting:
        form = {"Action": "GetCallerIdentity", "Version": "2011-06-15"}
        async with trusting.client.post(trusting.url("/"), data=form) as response:
            assert b"<Account>000000000000</Account>" in await response.read()
        target = {"X-Amz-Target": "Logs_20140328.DescribeLogGroups"}
        async with trusting.client.post(trusting.url("/"), headers=target, data=b"{}") as response:
            assert json.loads(await response.read()) == {"logGroups": []}


@pytest.mark.parametrize(
    ("condition", "is_admitted"),
    [
        ({"Bool": {"aws:SecureTransport": "false"}}, False),
        ({"DateGreaterThan": {"aws:CurrentTime": "2020-01-01T00:00:00Z"}}, False),
        ({"StringEquals": {"aws:RequestedRegion": REGION}}, False),
        ({"StringEquals": {"aws:RequestedRegion": "elsewhere-1"}}, True),
    ],
)
async def test_a_trust_policy_may_deny_by_what_every_request_has(
    served: Served, condition: Mapping[str, Any], is_admitted: bool
) -> None:
    trusted = {"Effect": "Allow", "Principal": "*", "Action": "sts:AssumeRole"}
    statements = [trusted, {**trusted, "Effect": "Deny", "Condition": condition}]
    trust = json.dumps({"Version": "2012-10-17", "Statement": statements})
    role = (await call(served, "iam", "create_role", RoleName="r", AssumeRolePolicyDocument=trust))["Role"]["Arn"]

    answer = await call(served, "sts", "assume_role", RoleArn=role, RoleSessionName="me")

    assert ("Credentials" in answer) is is_admitted
    assert is_admitted or answer == {"code": "AccessDenied", "status": 403}
