"""Function URLs over a real socket, by host name and by path."""

import json
from collections.abc import AsyncIterator
from io import BytesIO
from pathlib import Path
from typing import Any

import orjson
import pytest
from tests.unit.gateway.served import URL_ID, Served, serving

from hearth.core.attachments import Cors
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

HOST = {"Host": f"{URL_ID}.lambda-url.localhost:9400"}


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    async with serving(tmp_path) as running:
        yield running


def returns(served: Served, value: object) -> None:
    served.scheduler.answer_next("web", Succeeded(orjson.dumps(value), Ledger()))


def event(served: Served) -> Any:
    return json.loads(served.scheduler.invocations[-1].payload)


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [
        ("/fn/web", "/", ""),
        ("/fn/web/", "/", ""),
        ("/fn/web/a%2Fb/c%20d/?x=1&x=2", "/a%2Fb/c%20d/", "x=1&x=2"),
        ("/fn/web//double/../dots", "//double/../dots", ""),
        ("/fn/web?q=%2F", "/", "q=%2F"),
    ],
)
async def test_by_path_the_rest_is_the_functions(served: Served, target: str, path: str, query: str) -> None:
    async with served.client.get(served.url(target)) as response:
        assert response.status == 200
    assert (event(served)["rawPath"], event(served)["rawQueryString"]) == (path, query)
    assert event(served)["requestContext"]["apiId"] == URL_ID


async def test_by_host_every_path_is_the_functions(served: Served) -> None:
    target = "/2015-03-31/functions/hello/invocations?a=1"
    async with served.client.post(served.url(target), headers=HOST, data=b"\x00\xff") as response:
        assert response.status == 200
        assert response.headers["x-amzn-RequestId"] == event(served)["requestContext"]["requestId"]
        assert response.headers["X-Amzn-Trace-Id"] == event(served)["headers"]["x-amzn-trace-id"]
        assert response.headers["Server-Timing"].startswith("queue;dur=")
    assert served.scheduler.invocations[0].function.name == "web"
    assert event(served)["rawPath"] == "/2015-03-31/functions/hello/invocations"
    assert (event(served)["body"], event(served)["isBase64Encoded"]) == ("AP8=", True)


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND"])
async def test_any_method_reaches_the_function(served: Served, method: str) -> None:
    async with served.client.request(method, served.url("/fn/web/")) as response:
        assert response.status == 200
    assert event(served)["requestContext"]["http"]["method"] == method


async def test_a_compressed_body_arrives_as_it_was_sent(served: Served) -> None:
    headers = {"Content-Encoding": "gzip", "Content-Type": "text/plain"}
    async with served.client.post(served.url("/fn/web/"), data=b"\x1f\x8b\xff", headers=headers) as response:
        assert response.status == 200
    assert event(served)["body"] == "H4v/"


async def test_a_described_response_is_sent_as_described(served: Served) -> None:
    returns(
        served,
        {
            "statusCode": 418,
            "headers": {"Content-Type": "text/plain", "X-Own": "é"},
            "cookies": ["a=1; Path=/", "b=2"],
            "body": "dGVh",
            "isBase64Encoded": True,
        },
    )
    async with served.client.get(served.url("/fn/web/")) as response:
        assert (response.status, await response.read()) == (418, b"tea")
        assert (response.headers["Content-Type"], response.headers["X-Own"]) == ("text/plain", "é")
        assert response.headers.getall("Set-Cookie") == ["a=1; Path=/", "b=2"]


async def test_a_bare_string_is_sent_bare(served: Served) -> None:
    returns(served, "hello")
    async with served.client.get(served.url("/fn/web/")) as response:
        assert (response.status, await response.read()) == (200, b"hello")
        assert response.headers["Content-Type"] == "application/json"


@pytest.mark.parametrize(
    "outcome",
    [
        Succeeded(b'{"statusCode":"x"}', Ledger()),
        Succeeded(b"not json", Ledger()),
        FunctionFailed(FailureKind.HANDLER, b'{"errorMessage":"secret"}', Ledger()),
    ],
)
async def test_the_functions_error_is_a_bad_gateway(served: Served, outcome: Succeeded | FunctionFailed) -> None:
    served.scheduler.answer_next("web", outcome)
    async with served.client.get(served.url("/fn/web/")) as response:
        assert (response.status, await response.read()) == (502, b"Internal Server Error")


async def test_a_throttle_and_a_platform_failure_are_told_apart(served: Served) -> None:
    served.scheduler.answer_next(
        "web", Throttled(ThrottleReason.ACCOUNT, 2), PlatformFailed("secret", was_started=False)
    )
    async with served.client.get(served.url("/fn/web/")) as response:
        assert (response.status, response.headers["Retry-After"]) == (429, "2")
    async with served.client.get(served.url("/fn/web/")) as response:
        assert (response.status, response.headers["x-amzn-ErrorType"]) == (500, "ServiceException")
        assert "secret" not in await response.text()


async def test_by_path_what_is_missing_is_said_but_not_which_functions_there_are(served: Served) -> None:
    texts = set()
    for name in ("hello", "nobody"):
        async with served.client.get(served.url(f"/fn/{name}/")) as response:
            assert (response.status, response.headers["x-amzn-ErrorType"]) == (404, "ResourceNotFoundException")
            texts.add((await response.text()).replace(name, "f"))
    [text] = texts
    assert "has no URL, or does not exist. CreateFunctionUrlConfig gives it one" in text


async def test_by_host_what_is_missing_is_forbidden(served: Served) -> None:
    host = {"Host": f"{'x' * 32}.lambda-url.localhost"}
    async with served.client.get(served.url("/"), headers=host) as response:
        assert (response.status, response.headers["x-amzn-ErrorType"]) == (403, "AccessDeniedException")
        assert json.loads(await response.read())["Message"].startswith("Forbidden. For troubleshooting")


async def test_a_body_that_outgrows_the_event_is_too_large(served: Served) -> None:
    body = BytesIO(b"\xff" * (MAX_REQUEST_BYTES * 4 // 5))
    async with served.client.post(served.url("/fn/web/"), data=body) as response:
        assert (response.status, response.headers["x-amzn-ErrorType"]) == (413, "RequestEntityTooLargeException")


async def test_a_preflight_never_reaches_the_function_and_errors_keep_the_headers(served: Served) -> None:
    await served.configure_url("web", Cors(allow_origins=("*",), allow_methods=("GET",)))
    headers = {"Origin": "https://a.example", "Access-Control-Request-Method": "GET"}
    async with served.client.options(served.url("/fn/web/"), headers=headers) as response:
        assert (response.status, response.headers["Access-Control-Allow-Methods"]) == (200, "GET")
    assert served.scheduler.invocations == []
    served.scheduler.answer_next("web", Throttled(ThrottleReason.ACCOUNT))
    async with served.client.get(served.url("/fn/web/"), headers=headers) as response:
        assert (response.status, response.headers["Access-Control-Allow-Origin"]) == (429, "*")
