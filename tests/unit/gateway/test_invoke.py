"""Invoke over a real socket: statuses, headers and bodies as callers of AWS know them."""

import asyncio
import json
import re
from base64 import b64decode, b64encode
from collections.abc import AsyncIterator
from io import BytesIO
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from tests.unit.gateway.served import Served, serving

from hearth.core.invocation import (
    MAX_REQUEST_BYTES,
    FailureKind,
    FunctionFailed,
    Ledger,
    PlatformFailed,
    Succeeded,
    Throttled,
    ThrottleReason,
)

INVOKE = "/2015-03-31/functions/hello/invocations"
ARN = "arn:aws:lambda:us-east-1:000000000000:function:hello"
UUID4 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    async with serving(tmp_path) as running:
        yield running


async def post(
    served: Served, target: str = INVOKE, body: bytes = b"{}", **headers: str
) -> tuple[int, dict[str, str], bytes]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    async with served.client.post(served.url(target), data=BytesIO(body), headers=named) as response:
        return response.status, dict(response.headers), await response.read()


async def test_the_payload_reaches_the_handler_byte_for_byte(served: Served) -> None:
    body = b' {"a" : 1.0, "\xc3\xa9":[ ]}\n'
    status, headers, answer = await post(served, body=body)
    invocation = served.scheduler.invocations[0]
    assert (status, answer, invocation.payload) == (200, body, body)
    assert headers["Content-Type"] == "application/json"
    assert headers["X-Amz-Executed-Version"] == "$LATEST"
    assert "X-Amz-Function-Error" not in headers
    assert "X-Amz-Log-Result" not in headers
    assert headers["x-amzn-RequestId"] == invocation.request_id
    assert UUID4.fullmatch(invocation.request_id)
    assert invocation.invoked_arn == ARN


async def test_an_empty_body_is_an_empty_object(served: Served) -> None:
    assert (await post(served, body=b""))[2] == b"{}"


async def test_a_failed_function_is_a_success_of_the_platform(served: Served) -> None:
    error = b'{"errorType":"ValueError","errorMessage":"boom"}'
    served.scheduler.answer_next("hello", FunctionFailed(FailureKind.HANDLER, error, Ledger()))
    status, headers, answer = await post(served)
    assert (status, headers["X-Amz-Function-Error"], answer) == (200, "Unhandled", error)


async def test_a_throttle_says_why_and_when_to_come_back(served: Served) -> None:
    served.scheduler.answer_next("hello", Throttled(ThrottleReason.RESERVED, 3))
    status, headers, answer = await post(served)
    assert (status, headers["x-amzn-ErrorType"], headers["Retry-After"]) == (429, "TooManyRequestsException", "3")
    assert json.loads(answer) == {
        "Reason": "ReservedFunctionConcurrentInvocationLimitExceeded",
        "Type": "User",
        "message": "Rate Exceeded.",
    }
    assert UUID4.fullmatch(headers["x-amzn-RequestId"])


async def test_the_platforms_failure_is_its_own(served: Served) -> None:
    served.scheduler.answer_next("hello", PlatformFailed("the environment was lost", was_started=True))
    status, headers, answer = await post(served)
    assert (status, headers["x-amzn-ErrorType"]) == (500, "ServiceException")
    assert json.loads(answer) == {"Type": "Service", "Message": "the environment was lost"}


async def test_the_tail_is_the_last_4096_bytes(served: Served) -> None:
    log = b"0123456789" * 1000
    served.scheduler.answer_next("hello", Succeeded(b"null", Ledger(), log_tail=log))
    _, headers, _ = await post(served, X_Amz_Log_Type="Tail")
    assert b64decode(headers["X-Amz-Log-Result"]) == log[-4096:]
    assert served.scheduler.invocations[0].wants_log_tail


async def test_the_ledger_is_shown_in_milliseconds(served: Served) -> None:
    served.scheduler.answer_next("hello", Succeeded(b"1", Ledger(0.001, 0.002, 0.003, 0.004, 0.0005)))
    _, headers, _ = await post(served)
    assert headers["Server-Timing"] == (
        "queue;dur=1.000, start;dur=2.000, init;dur=3.000, handler;dur=4.000, overhead;dur=0.500"
    )


async def test_a_dry_run_runs_nothing(served: Served) -> None:
    status, headers, answer = await post(served, X_Amz_Invocation_Type="DryRun")
    assert (status, answer, served.scheduler.invocations) == (204, b"", [])
    assert "X-Amz-Executed-Version" not in headers


@pytest.mark.parametrize("body", [b"{", b"\xff", b'"\xed\xa0\x80"', b"NaN", b"{} {}"])
async def test_what_is_not_json_in_utf8_is_refused(served: Served, body: bytes) -> None:
    status, headers, answer = await post(served, body=body)
    assert (status, headers["x-amzn-ErrorType"]) == (400, "InvalidRequestContentException")
    text = json.loads(answer)["message"]
    assert text.startswith("Could not parse request body into json: Could not parse payload into json: ")
    assert served.scheduler.invocations == []


async def test_six_megabytes_are_taken_and_one_byte_more_is_refused(served: Served) -> None:
    fits = b'"' + b"x" * (MAX_REQUEST_BYTES - 2) + b'"'
    assert (await post(served, body=fits))[0] == 200
    status, headers, answer = await post(served, body=fits + b" ")
    assert (status, headers["x-amzn-ErrorType"]) == (413, "RequestEntityTooLargeException")
    assert json.loads(answer)["Message"] == (
        "Request must be smaller than 6291456 bytes for the InvokeFunction operation"
    )


async def test_a_body_of_unknown_length_is_bounded_too(tmp_path: Path) -> None:
    async def endless() -> AsyncIterator[bytes]:
        for _ in range(2 * MAX_REQUEST_BYTES // 2**16):
            yield b"x" * 2**16

    # Nobody reads the rest of the body, and stopping would wait for it.
    async with serving(tmp_path, grace_s=0.05) as served:
        response = await served.client.post(served.url(INVOKE), data=endless())
        assert response.status == 413
        response.close()


@pytest.mark.parametrize(
    "address",
    [
        "hello",
        "hello:$LATEST",
        "hello%3A%24LATEST",
        "function:hello",
        "000000000000:function:hello",
        "arn%3Aaws%3Alambda%3Aus-east-1%3A000000000000%3Afunction%3Ahello",
        "arn:aws:lambda:us-east-1:000000000000:function:hello",
        "hello/invocations?Qualifier=$LATEST#",
    ],
)
async def test_every_form_of_the_name_reaches_the_function(served: Served, address: str) -> None:
    path, hash_sign, _ = address.partition("#")
    target = f"/2015-03-31/functions/{path}" if hash_sign else f"/2015-03-31/functions/{path}/invocations"
    status, _, _ = await post(served, target)
    assert status == 200
    assert served.scheduler.invocations[0].invoked_arn.removesuffix(":$LATEST") == ARN


@pytest.mark.parametrize(
    ("target", "arn"),
    [
        ("nobody/invocations", "arn:aws:lambda:us-east-1:000000000000:function:nobody"),
        ("hello/invocations?Qualifier=prod", f"{ARN}:prod"),
        ("hello:3/invocations/", f"{ARN}:3"),
    ],
)
async def test_what_does_not_exist_is_named_as_it_was_addressed(served: Served, target: str, arn: str) -> None:
    status, headers, answer = await post(served, f"/2015-03-31/functions/{target}")
    assert (status, headers["x-amzn-ErrorType"]) == (404, "ResourceNotFoundException")
    assert json.loads(answer) == {"Type": "User", "Message": f"Function not found: {arn}"}


async def test_a_function_that_is_not_ready_is_a_conflict(served: Served) -> None:
    status, headers, answer = await post(served, "/2015-03-31/functions/unready/invocations")
    assert (status, headers["x-amzn-ErrorType"]) == (409, "ResourceConflictException")
    assert json.loads(answer)["message"].endswith("The function is currently in the following state: Pending")


async def test_the_client_context_arrives_decoded(served: Served) -> None:
    context = '{"custom":{"a":"é"},\n"env":{}}'
    await post(served, X_Amz_Client_Context=b64encode(context.encode()).decode())
    assert json.loads(served.scheduler.invocations[0].client_context) == json.loads(context)
    assert "\n" not in served.scheduler.invocations[0].client_context


@pytest.mark.parametrize("context", ["%%%", b64encode(b"[1]").decode(), b64encode(b"\xff").decode(), "A" * 3584])
async def test_a_bad_client_context_is_refused(served: Served, context: str) -> None:
    status, headers, _ = await post(served, X_Amz_Client_Context=context)
    assert (status, headers["x-amzn-ErrorType"]) == (400, "InvalidRequestContentException")


@pytest.mark.parametrize(
    ("header", "value", "code"),
    [
        ("X_Amz_Invocation_Type", "event", "ValidationException"),
        ("X_Amz_Log_Type", "All", "ValidationException"),
        ("X_Amz_Tenant_Id", "blue", "InvalidParameterValueException"),
        ("x_amzn_RequestId", "7", "InvalidRequestContentException"),
    ],
)
async def test_a_header_that_cannot_be_served_is_refused(served: Served, header: str, value: str, code: str) -> None:
    status, headers, _ = await post(served, INVOKE, b"{}", **{header: value})
    assert (status, headers["x-amzn-ErrorType"]) == (400, code)
    assert served.scheduler.invocations == []


async def test_an_event_whose_request_id_is_none_is_refused(served: Served) -> None:
    status, headers, _ = await post(served, X_Amz_Invocation_Type="Event", x_amzn_RequestId="7")
    assert (status, headers["x-amzn-ErrorType"]) == (400, "InvalidRequestContentException")


async def test_an_invocation_keeps_an_id_of_its_own_whatever_the_caller_calls_it(served: Served) -> None:
    given = "7A3D2B1C-0e4f-4c1a-9b8d-111122223333"
    status, headers, _ = await post(served, x_amzn_RequestId=given)
    assert status == 200
    assert headers["x-amzn-RequestId"] == served.scheduler.invocations[0].request_id != given


async def test_the_callers_trace_goes_on(served: Served) -> None:
    root = "Root=1-5759e988-bd862e3fe1be46a994272793"
    _, headers, _ = await post(served, X_Amzn_Trace_Id=f"{root};Parent=53995c3f42cd8ad8;Sampled=1;Evil=1")
    assert re.fullmatch(
        rf"{root};Parent=53995c3f42cd8ad8;Sampled=1;Lineage=1:[0-9a-f]{{8}}:1", headers["X-Amzn-Trace-Id"]
    )
    assert served.scheduler.invocations[0].trace_id == headers["X-Amzn-Trace-Id"]


async def test_a_trace_is_begun_where_there_is_none(served: Served) -> None:
    _, headers, _ = await post(served, X_Amzn_Trace_Id="nonsense")
    pattern = r"Root=1-[0-9a-f]{8}-[0-9a-f]{24};Parent=[0-9a-f]{16};Sampled=0;Lineage=1:[0-9a-f]{8}:1"
    assert re.fullmatch(pattern, headers["X-Amzn-Trace-Id"])


def lambda_client(served: Served) -> Any:
    return boto3.client(
        "lambda",
        endpoint_url=served.base,
        region_name="us-east-1",
        aws_access_key_id="x",
        aws_secret_access_key="x",
        config=Config(retries={"total_max_attempts": 1}),
    )


async def test_boto3_understands_every_answer(served: Served) -> None:
    client = lambda_client(served)

    async def invoke(**parameters: Any) -> Any:
        return await asyncio.to_thread(client.invoke, **parameters)

    context = b64encode(b'{"custom":{}}').decode()
    served.scheduler.answer_next("hello", Succeeded(b'"hi"', Ledger(), log_tail=b"END\n"))
    answer = await invoke(FunctionName=f"{ARN}:$LATEST", Payload=b"[1]", LogType="Tail", ClientContext=context)
    assert (answer["StatusCode"], answer["ExecutedVersion"]) == (200, "$LATEST")
    assert b64decode(answer["LogResult"]) == b"END\n"
    assert "FunctionError" not in answer
    assert answer["Payload"].read() == b'"hi"'

    served.scheduler.answer_next("hello", FunctionFailed(FailureKind.TIMEOUT, b'{"errorType":"x"}', Ledger()))
    assert (await invoke(FunctionName="hello"))["FunctionError"] == "Unhandled"
    assert (await invoke(FunctionName="hello", InvocationType="DryRun"))["StatusCode"] == 204

    served.scheduler.answer_next("hello", Throttled(ThrottleReason.ACCOUNT))
    with pytest.raises(ClientError) as throttled:
        await invoke(FunctionName="hello")
    assert throttled.value.response["Error"]["Code"] == "TooManyRequestsException"
    with pytest.raises(ClientError) as missing:
        await invoke(FunctionName="nobody")
    assert missing.value.response["Error"]["Code"] == "ResourceNotFoundException"
    assert missing.value.response["ResponseMetadata"]["HTTPStatusCode"] == 404
    client.close()


async def test_a_chain_that_came_back_too_often_is_ended(served: Served) -> None:
    trace = "Root=1-65000000-000000000000000000000000"
    for _ in range(16):
        await post(served, X_Amzn_Trace_Id=trace)
        trace = served.scheduler.invocations[-1].trace_id
    status, headers, body = await post(served, X_Amzn_Trace_Id=trace)
    assert (status, headers["x-amzn-ErrorType"]) == (400, "RecursiveInvocationException")
    assert b"PutFunctionRecursionConfig" in body
    assert len(served.scheduler.invocations) == 16


async def test_an_event_is_answered_once_it_is_kept(served: Served) -> None:
    status, headers, body = await post(
        served, f"{INVOKE}?Qualifier=%24LATEST", b'{"n":1}', X_Amz_Invocation_Type="Event"
    )
    assert (status, body) == (202, b"")
    assert "X-Amz-Executed-Version" not in headers
    event = served.events.accepted[0]
    assert (event.id, event.payload) == (headers["x-amzn-RequestId"], b'{"n":1}')
    assert (event.function, event.qualifier, event.invoked_arn) == ("hello", "$LATEST", f"{ARN}:$LATEST")
    assert served.scheduler.invocations == []


@pytest.mark.parametrize(
    ("target", "body", "status"),
    [(INVOKE, b" " * (2**20 + 1), 413), (INVOKE, b"nonsense", 400), (INVOKE.replace("hello", "nobody"), b"{}", 404)],
)
async def test_an_event_that_is_refused_is_not_kept(served: Served, target: str, body: bytes, status: int) -> None:
    found, _, _ = await post(served, target, body, X_Amz_Invocation_Type="Event")
    assert (found, served.events.accepted) == (status, [])


@pytest.mark.parametrize("slash", ["", "/"])
async def test_the_old_way_of_invoking_asynchronously_still_works(served: Served, slash: str) -> None:
    target = f"/2014-11-13/functions/hello/invoke-async{slash}"
    status, _, _ = await post(served, target, b'{"n":1}')
    assert (status, served.events.accepted[0].payload) == (202, b'{"n":1}')
    status, _, _ = await post(served, target, b'"' + b"x" * 2**18 + b'"')
    assert (status, len(served.events.accepted)) == (413, 1)


async def test_an_event_with_a_key_that_was_used_is_known_by_its_first_id(served: Served) -> None:
    ids = []
    for key in ("a", "a", "b"):
        status, headers, _ = await post(served, X_Amz_Invocation_Type="Event", X_Hearth_Idempotency_Key=key)
        assert status == 202
        ids.append(headers["x-amzn-RequestId"])
    assert ids[0] == ids[1] != ids[2]
    assert [event.id for event in served.events.accepted] == [ids[0], ids[2]]
    status, headers, _ = await post(served, X_Amz_Invocation_Type="Event", X_Hearth_Idempotency_Key="x" * 256)
    assert (status, headers["x-amzn-ErrorType"]) == (400, "InvalidRequestContentException")


async def test_an_event_in_a_loop_is_accepted_to_be_given_up_when_its_turn_comes(served: Served) -> None:
    trace = "Root=1-65000000-000000000000000000000000"
    for _ in range(17):
        status, headers, _ = await post(served, X_Amz_Invocation_Type="Event", X_Amzn_Trace_Id=trace)
        assert status == 202
        trace = headers["X-Amzn-Trace-Id"]
    assert served.events.accepted[-1].trace_id.endswith(":17")
