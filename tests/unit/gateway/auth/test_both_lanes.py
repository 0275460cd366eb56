"""A real server that believes signatures only, by the fast lane and by the other one."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest
from tests.unit.gateway.auth.signing import NOW_S, signed
from tests.unit.gateway.served import ACCOUNT, ADMIN, URL_ID, Served, access_keys, record, serving

from hearth.access_keys import AccessKey, AccessKeys
from hearth.core.attachments import Policy, UrlConfig
from hearth.core.policy import parse_policy
from hearth_gateway.auth.authentication import LARGE_BODY, SignatureAuthenticator
from hearth_gateway.core.sigv4 import Signed

INVOKE = "/2015-03-31/functions/hello/invocations"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/worker"
PATIENCE_S = 20.0


class House(NamedTuple):
    served: Served
    keys: AccessKeys
    lane: str

    async def send(self, request: Signed, body: bytes = b"") -> tuple[int, dict[str, str], bytes]:
        """Send a request exactly as it was signed, and give the answer."""
        lines = [f"{request.method} {request.path}{'?' * bool(request.query)}{request.query} HTTP/1.1".encode()]
        headers = {**request.headers, b"content-length": b"%d" % len(body)}
        lines += [name + b": " + value for name, value in headers.items()]
        lines.append(b"Connection: close" if self.lane == "fast" else b"Connection: Close, close")
        reader, writer = await asyncio.open_connection("127.0.0.1", self.served.server.port)
        writer.write(b"\r\n".join(lines) + b"\r\n\r\n" + body)
        async with asyncio.timeout(PATIENCE_S):
            answer = await reader.read()
        writer.close()
        head, _, content = answer.partition(b"\r\n\r\n")
        status, *fields = head.decode("latin-1").split("\r\n")
        return int(status.split(" ")[1]), dict(line.lower().split(": ", 1) for line in fields), content

    async def call(
        self,
        method: str,
        target: str,
        body: bytes = b"",
        key: AccessKey = ADMIN,
        *,
        token: str | None = None,
        base: str = "http://127.0.0.1",
    ) -> tuple[int, dict[str, str], bytes]:
        """Send a request, signed with this key."""
        request = signed(
            method, target, body, key=key.access_key_id, secret=key.secret_access_key, token=token, base=base
        )
        return await self.send(request, body)

    async def key(self, *statements: dict[str, object]) -> AccessKey:
        """A key of a user who may do this."""
        policies = [json.dumps({"Version": "2012-10-17", "Statement": list(statements)})] if statements else []
        return await self.keys.create("bob", policies, NOW_S)


@pytest.fixture(params=["fast", "other"])
async def house(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[House]:
    keys = access_keys()
    async with serving(tmp_path, authenticator=SignatureAuthenticator(keys, lambda: NOW_S), keys=keys) as served:
        yield House(served, keys, request.param)


def allow(action: str, resource: str, **more: object) -> dict[str, object]:
    return {"Effect": "Allow", "Action": action, "Resource": resource, **more}


def arn(name: str) -> str:
    return f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:{name}"


async def test_the_administrator_invokes(house: House) -> None:
    assert (await house.call("POST", INVOKE, b"[1]"))[::2] == (200, b"[1]")


@pytest.mark.parametrize("target", [INVOKE, "/2015-03-31/functions/", "/nonsense", "/_hearth/keys", "/_hearth/logs/x"])
async def test_nobody_is_nobody(house: House, target: str) -> None:
    status, headers, body = await house.send(Signed("POST", target, "", {b"host": b"h"}), b"{}")

    assert (status, headers["x-amzn-errortype"]) == (403, "missingauthenticationtokenexception")
    assert json.loads(body) == {"message": "Missing Authentication Token"}
    assert house.served.scheduler.invocations == []
    assert house.served.api.calls == []


async def test_the_health_is_for_everybody(house: House) -> None:
    assert (await house.send(Signed("GET", "/health", "", {b"host": b"h"})))[0] == 200


async def test_refusals_are_counted_for_who_runs_it(house: House) -> None:
    nobody = Signed("POST", INVOKE, "", {b"host": b"h"})
    await house.send(nobody, b"{}")
    await house.send(nobody, b"{}")
    await house.call("POST", INVOKE, b"{}", await house.key())

    health = json.loads((await house.send(Signed("GET", "/health", "", {b"host": b"h"})))[2])

    assert health["refused"] == {"MissingAuthenticationTokenException": 2, "AccessDeniedException": 1}


async def test_a_changed_body_reaches_nobody(house: House) -> None:
    request = signed("POST", INVOKE, b"[1]", key=ADMIN.access_key_id, secret=ADMIN.secret_access_key, base="http://h")
    status, headers, _ = await house.send(request, b"[2]")

    assert (status, headers["x-amzn-errortype"]) == (403, "invalidsignatureexception")
    assert house.served.scheduler.invocations == []


async def test_a_large_body_is_proven_as_well(house: House) -> None:
    body = b'"' + b"x" * LARGE_BODY + b'"'
    assert (await house.call("POST", INVOKE, body))[::2] == (200, body)

    request = signed("POST", INVOKE, body, key=ADMIN.access_key_id, secret=ADMIN.secret_access_key, base="http://h")
    assert (await house.send(request, body.replace(b"x", b"y")))[0] == 403
    assert len(house.served.scheduler.invocations) == 1


async def test_an_old_request_is_no_request(house: House) -> None:
    secret, key = ADMIN.secret_access_key, ADMIN.access_key_id
    request = signed("POST", INVOKE, b"{}", key=key, secret=secret, now_s=NOW_S - 301, base="http://h")

    status, _, body = await house.send(request, b"{}")

    assert status == 403
    assert b"Signature expired: " in body


async def test_a_signature_for_another_service_does_not_invoke(house: House) -> None:
    secret, key = ADMIN.secret_access_key, ADMIN.access_key_id
    request = signed("POST", INVOKE, b"{}", key=key, secret=secret, service="sts", base="http://h")

    assert b"correct service" in (await house.send(request, b"{}"))[2]
    assert house.served.scheduler.invocations == []


async def test_a_presigned_invocation_needs_no_header(house: House) -> None:
    secret, key = ADMIN.secret_access_key, ADMIN.access_key_id
    request = signed("POST", INVOKE, key=key, secret=secret, expires_s=900, base="http://h")

    assert (await house.send(request))[::2] == (200, b"{}")


async def test_a_limited_key_may_do_what_its_policy_says(house: House) -> None:
    key = await house.key(allow("lambda:InvokeFunction", arn("hel*")))

    assert (await house.call("POST", INVOKE, b"{}", key))[0] == 200
    status, headers, body = await house.call("POST", INVOKE.replace("hello", "other"), b"{}", key)

    assert (status, headers["x-amzn-errortype"]) == (403, "accessdeniedexception")
    assert json.loads(body)["Message"] == (
        f"User: arn:aws:iam::{ACCOUNT}:user/bob is not authorized to perform: lambda:InvokeFunction on resource: "
        f"{arn('other')} because no identity-based policy allows the lambda:InvokeFunction action"
    )


async def test_whoever_may_not_ask_does_not_learn_what_exists(house: House) -> None:
    key = await house.key(allow("lambda:InvokeFunction", arn("mine")))

    existing = await house.call("POST", INVOKE, b"{}", key)
    missing = await house.call("POST", INVOKE.replace("hello", "hexxo"), b"{}", key)

    assert existing[0] == missing[0] == 403
    assert existing[2].replace(b"hello", b"hexxo") == missing[2]
    assert house.served.scheduler.invocations == []


async def test_other_operations_are_judged_as_well(house: House) -> None:
    key = await house.key(allow("lambda:Get*", arn("hello")))

    assert (await house.call("GET", "/2015-03-31/functions/hello", key=key))[0] == 200
    assert (await house.call("DELETE", "/2015-03-31/functions/hello", key=key))[0] == 403
    assert (await house.call("GET", "/2015-03-31/functions", key=key))[0] == 403


async def test_a_revoked_key_is_worth_nothing_at_once(house: House) -> None:
    key = await house.key(allow("*", "*"))
    assert (await house.call("POST", INVOKE, b"{}", key))[0] == 200

    await house.keys.revoke(key.access_key_id)

    status, headers, _ = await house.call("POST", INVOKE, b"{}", key)
    assert (status, headers["x-amzn-errortype"]) == (403, "unrecognizedclientexception")


async def test_a_session_acts_in_its_role_until_it_is_over(house: House) -> None:
    policy = parse_policy(json.dumps({"Version": "2012-10-17", "Statement": allow("lambda:*", arn("hello"))}))
    house.keys.role_policies = {ROLE: (policy,)}.get
    now = house.keys.issue_session(ROLE, "job", NOW_S, 900)
    over = house.keys.issue_session(ROLE, "job", NOW_S - 901, 900)

    key = AccessKey(now.access_key_id, now.secret_access_key)
    assert (await house.call("POST", INVOKE, b"{}", key, token=now.session_token))[0] == 200
    assert (await house.call("POST", INVOKE, b"{}", key, token=over.session_token))[0] == 403
    assert (await house.call("POST", INVOKE, b"{}", key))[0] == 403
    key = AccessKey(over.access_key_id, over.secret_access_key)
    status, headers, _ = await house.call("POST", INVOKE, b"{}", key, token=over.session_token)
    assert (status, headers["x-amzn-errortype"]) == (403, "expiredtokenexception")


async def test_the_policy_of_a_function_lets_a_user_in(house: House) -> None:
    key = await house.key()
    statement = {
        "Effect": "Allow",
        "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:user/bob"},
        "Action": "lambda:InvokeFunction",
        "Resource": arn("hello"),
    }
    assert (await house.call("POST", INVOKE, b"{}", key))[0] == 403

    document = json.dumps({"Version": "2012-10-17", "Id": "default", "Statement": [statement]})
    await house.served.put(replace(record("hello"), policies={"$LATEST": Policy(document, "r")}))

    assert (await house.call("POST", INVOKE, b"{}", key))[0] == 200


async def test_keys_are_made_and_revoked_by_the_administrator(house: House) -> None:
    wanted = json.dumps({"user": "eve", "policies": []}).encode()
    status, _, body = await house.call("POST", "/_hearth/keys", wanted)
    made = json.loads(body)
    assert (status, made["user"], len(made["secret_access_key"])) == (201, "eve", 40)
    assert b"secret" not in (await house.call("GET", "/_hearth/keys"))[2]

    eve = AccessKey(made["access_key_id"], made["secret_access_key"])
    assert (await house.call("GET", "/_hearth/keys", key=eve))[0] == 403

    assert (await house.call("DELETE", f"/_hearth/keys/{eve.access_key_id}"))[0] == 204
    assert (await house.call("DELETE", f"/_hearth/keys/{eve.access_key_id}"))[0] == 404
    assert list(house.keys) == []


async def test_the_administrators_key_is_replaced_at_once(house: House) -> None:
    guest = await house.key(allow("*", "*"))
    assert (await house.call("POST", "/_hearth/keys/administrator", key=guest))[0] == 403

    fresh = json.loads((await house.call("POST", "/_hearth/keys/administrator"))[2])

    assert (await house.call("POST", INVOKE, b"{}"))[0] == 403
    admin = AccessKey(fresh["access_key_id"], fresh["secret_access_key"])
    assert (await house.call("POST", INVOKE, b"{}", admin))[0] == 200


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b'{"user": "a b"}', b'{"user": "a", "policies": ["{}"]}'])
async def test_a_key_that_cannot_be_made_is_not_made(house: House, body: bytes) -> None:
    assert (await house.call("POST", "/_hearth/keys", body))[0] == 400
    assert list(house.keys) == []


async def test_logs_are_for_who_may_read_them(house: House) -> None:
    group = f"arn:aws:logs:us-east-1:{ACCOUNT}:log-group:/aws/lambda/hello:*"
    reader = await house.key(allow("logs:FilterLogEvents", group))

    assert (await house.call("GET", "/_hearth/logs/hello?bytes=10"))[0] == 200
    assert (await house.call("GET", "/_hearth/logs/hello?bytes=10", key=reader))[0] == 200
    assert (await house.call("GET", "/_hearth/logs/web", key=reader))[0] == 403
    assert (await house.call("GET", "/_hearth/logs/none", key=reader))[0] == 403


async def with_iam_url(house: House, mode: str = "BUFFERED") -> str:
    url = UrlConfig(URL_ID, "AWS_IAM", 0, 0, invoke_mode=mode)
    await house.served.put(replace(record("web"), urls={"$LATEST": url}))
    return f"http://{URL_ID}.lambda-url.localhost:{house.served.server.port}"


async def test_a_url_with_iam_is_for_who_may(house: House) -> None:
    base = await with_iam_url(house)
    key = await house.key(allow("lambda:InvokeFunctionUrl", arn("web")))
    stranger = await house.key(allow("lambda:InvokeFunction", "*"))

    assert (await house.call("GET", "/a//b%20c/?x=1", key=stranger, base=base))[0] == 403
    assert (await house.call("GET", "/fn/web/path", key=stranger))[0] == 403
    assert house.served.scheduler.invocations == []
    assert (await house.call("GET", "/fn/web/path", key=key))[0] == 200
    assert (await house.call("GET", "/a//b%20c/?x=1", key=key, base=base))[0] == 200
    event = json.loads(house.served.scheduler.invocations[-1].payload)
    assert event["rawPath"] == "/a//b%20c/"
    assert event["requestContext"]["accountId"] == ACCOUNT
    identity = event["requestContext"]["authorizer"]["iam"]
    assert identity.pop("userId") == identity.pop("callerId")
    assert identity == {
        "accessKey": key.access_key_id,
        "accountId": ACCOUNT,
        "cognitoIdentity": None,
        "principalOrgId": None,
        "userArn": f"arn:aws:iam::{ACCOUNT}:user/bob",
    }


async def test_a_streaming_url_with_iam_is_for_who_may(house: House) -> None:
    base = await with_iam_url(house, "RESPONSE_STREAM")
    key = await house.key(allow("lambda:InvokeFunctionUrl", arn("web")))
    stranger = await house.key(allow("lambda:InvokeFunction", "*"))

    assert (await house.call("GET", "/", key=stranger, base=base))[0] == 403
    assert house.served.scheduler.invocations == []
    assert (await house.call("GET", "/", key=key, base=base))[0] == 200


async def test_a_response_stream_is_for_who_may_invoke(house: House) -> None:
    key = await house.key(allow("lambda:InvokeFunction", arn("hello")))
    path = "/2021-11-15/functions/{}/response-streaming-invocations"

    assert (await house.call("POST", path.format("web"), b"1", key=key))[0] == 403
    assert house.served.scheduler.invocations == []
    assert (await house.call("POST", path.format("hello"), b"1", key=key))[0] == 200


async def test_a_url_with_iam_refuses_nobody_and_forgers(house: House) -> None:
    base = await with_iam_url(house)
    host = base.removeprefix("http://").encode()

    status, _, body = await house.send(Signed("GET", "/", "", {b"host": host}))
    assert status == 403
    assert json.loads(body)["Message"].startswith("Forbidden. For troubleshooting Function URL authorization issues")

    forged = replace(ADMIN, secret_access_key="wrong")
    assert (await house.call("GET", "/", key=forged, base=base))[0] == 403
    assert house.served.scheduler.invocations == []


async def test_a_url_with_none_asks_nobody(house: House) -> None:
    host = f"{URL_ID}.lambda-url.localhost".encode()

    assert (await house.send(Signed("GET", "/", "", {b"host": host})))[0] == 200
    event = json.loads(house.served.scheduler.invocations[-1].payload)
    assert event["requestContext"]["accountId"] == "anonymous"
    assert "authorizer" not in event["requestContext"]


async def test_where_it_is_required_a_url_with_none_needs_a_public_statement(tmp_path: Path) -> None:
    statement = {
        "Effect": "Allow",
        "Principal": "*",
        "Action": "lambda:InvokeFunctionUrl",
        "Resource": arn("web"),
        "Condition": {"StringEquals": {"lambda:FunctionUrlAuthType": "NONE"}},
    }
    document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    keys = access_keys()
    async with serving(tmp_path, keys=keys, wants_statement=True) as served:
        house = House(served, keys, "fast")
        request = Signed("GET", "/", "", {b"host": f"{URL_ID}.lambda-url.localhost".encode()})
        assert (await house.send(request))[0] == 403

        await served.put(replace(record("web", url=True), policies={"$LATEST": Policy(document, "r")}))

        assert (await house.send(request))[0] == 200


async def test_a_large_body_of_a_stranger_is_not_waited_for(house: House) -> None:
    """The answer comes although the body never does."""
    plain = b"Connection: keep-alive" if house.lane == "fast" else b"Connection: Close, close"
    lines = [f"POST {INVOKE} HTTP/1.1".encode(), b"Host: h", b"Content-Length: %d" % LARGE_BODY, plain]
    reader, writer = await asyncio.open_connection("127.0.0.1", house.served.server.port)
    writer.write(b"\r\n".join(lines) + b"\r\n\r\n")
    async with asyncio.timeout(PATIENCE_S):
        assert (await reader.readline()).split()[1] == b"403"
    writer.close()
