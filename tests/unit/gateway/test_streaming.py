"""Responses that come in pieces, over a real socket: InvokeWithResponseStream, and function URLs that stream."""

import asyncio
import json
from base64 import b64decode
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import aiohttp
import pytest
from tests.unit.gateway.served import URL_ID, Served, record, serving
from tests.unit.gateway.test_event_stream import parsed

from hearth.core.attachments import Cors, UrlConfig
from hearth.core.invocation import (
    FailureKind,
    FunctionFailed,
    Invocation,
    Ledger,
    Outcome,
    PlatformFailed,
    ResponseStream,
    Succeeded,
    Throttled,
    ThrottleReason,
)
from hearth_gateway.core import http_prelude
from hearth_gateway.streaming import ENOUGH_BYTES, RunningResponse
from hearth_gateway.testing import FakeScheduler

PATIENCE_S = 20.0
STREAM = "/2021-11-15/functions/hello/response-streaming-invocations"
DONE = Succeeded(b"", Ledger())
BROKEN = FunctionFailed(FailureKind.HANDLER, b'{"errorType":"Own"}', Ledger())
PRELUDE = b'{"statusCode":201,"headers":{"X-Own":"1"},"cookies":["a=1","b=2"]}' + bytes(8)

Script = Callable[[Invocation], Awaitable[Outcome]]


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    async with serving(tmp_path) as running:
        await set_mode(running, "RESPONSE_STREAM")
        yield running


async def set_mode(served: Served, mode: str, cors: Cors | None = None) -> None:
    found = served.registry.find("web")
    assert found is not None
    url = UrlConfig(URL_ID, "NONE", 0, 0, cors=cors, invoke_mode=mode)
    await served.put(replace(found, urls={"$LATEST": url}))


def begun(
    invocation: Invocation, content_type: str = "text/plain", go_on: Callable[[], None] = lambda: None
) -> ResponseStream:
    stream = invocation.stream
    assert stream is not None
    stream.begin(content_type, go_on)
    return stream


def streams(*pieces: bytes, outcome: Outcome = DONE, content_type: str = "text/plain") -> Script:
    """A function that writes these pieces, lets the loop turn after each, and ends like that."""

    async def run(invocation: Invocation) -> Outcome:
        stream = begun(invocation, content_type)
        for piece in pieces:
            stream.write(piece)
            await asyncio.sleep(0)
        return outcome

    return run


def collects(payload: bytes, content_type: str) -> Script:
    """A function that streams, and is not given anything to stream to."""

    async def run(invocation: Invocation) -> Outcome:
        assert invocation.stream is None
        return Succeeded(payload, Ledger(), content_type=content_type)

    return run


# -- InvokeWithResponseStream -----------------------------------------------------------------------------------------


async def events(served: Served, headers: dict[str, str] | None = None) -> list[tuple[str, bytes]]:
    async with served.client.post(served.url(STREAM), data=b"1", headers=headers) as response:
        assert response.status == 200
        assert response.headers["Content-Type"] == "application/vnd.amazon.eventstream"
        assert response.headers["X-Amz-Executed-Version"] == "$LATEST"
        messages = parsed(await response.read())
    return [(said[":event-type"], payload) for said, payload in messages]


async def test_pieces_are_chunks_and_then_it_is_complete(served: Served) -> None:
    served.scheduler.script("hello", streams(b"one", b"", b"two"))
    assert await events(served) == [("PayloadChunk", b"one"), ("PayloadChunk", b"two"), ("InvokeComplete", b"{}")]


async def test_a_piece_is_sent_before_the_next_one_is_made(served: Served) -> None:
    may_go_on = asyncio.Event()

    async def run(invocation: Invocation) -> Outcome:
        stream = begun(invocation)
        stream.write(b"first")
        await may_go_on.wait()
        return DONE

    served.scheduler.script("hello", run)
    async with asyncio.timeout(PATIENCE_S), served.client.post(served.url(STREAM), data=b"1") as response:
        first = await response.content.readany()
        assert parsed(first)[0][1] == b"first"
        may_go_on.set()
        assert parsed(await response.read())[0][1] == b"{}"


async def test_a_function_that_does_not_stream_is_one_chunk(served: Served) -> None:
    assert await events(served) == [("PayloadChunk", b"1"), ("InvokeComplete", b"{}")]


@pytest.mark.parametrize("pieces", [[], [b"half"]])
async def test_a_failure_is_told_at_the_end(served: Served, pieces: list[bytes]) -> None:
    served.scheduler.script("hello", streams(*pieces, outcome=BROKEN))
    *chunks, (kind, payload) = await events(served)
    assert chunks == [("PayloadChunk", each) for each in pieces]
    assert kind == "InvokeComplete"
    assert json.loads(payload) == {"ErrorCode": "Unhandled", "ErrorDetails": '{"errorType":"Own"}'}


async def test_a_failure_of_a_function_that_does_not_stream_is_told_at_the_end(served: Served) -> None:
    served.scheduler.answer_next("hello", BROKEN)
    ((kind, payload),) = await events(served)
    assert (kind, json.loads(payload)["ErrorCode"]) == ("InvokeComplete", "Unhandled")


async def test_the_end_of_the_log_comes_for_those_who_want_it(served: Served) -> None:
    served.scheduler.script("hello", streams(b"x", outcome=DONE._replace(log_tail=b"what it said")))
    _, (_, payload) = await events(served, {"X-Amz-Log-Type": "Tail"})
    assert b64decode(json.loads(payload)["LogResult"]) == b"what it said"
    assert (await events(served))[1] == ("InvokeComplete", b"{}")


async def test_a_platform_that_fails_half_way_says_so_at_the_end(served: Served) -> None:
    served.scheduler.script("hello", streams(b"half", outcome=PlatformFailed("lost it", was_started=True)))
    _, (_, payload) = await events(served)
    assert json.loads(payload) == {"ErrorCode": "ServiceException", "ErrorDetails": "lost it"}


@pytest.mark.parametrize(
    ("outcome", "status", "code"),
    [
        (Throttled(ThrottleReason.RESERVED), 429, "TooManyRequestsException"),
        (PlatformFailed("no room", was_started=False), 500, "ServiceException"),
    ],
)
async def test_what_fails_before_the_first_byte_is_an_ordinary_error(
    served: Served, outcome: Outcome, status: int, code: str
) -> None:
    served.scheduler.answer_next("hello", outcome)
    async with served.client.post(served.url(STREAM), data=b"1") as response:
        assert (response.status, response.headers["x-amzn-ErrorType"]) == (status, code)


async def test_a_missing_function_is_an_ordinary_error(served: Served) -> None:
    async with served.client.post(served.url(STREAM.replace("hello", "nobody")), data=b"1") as response:
        assert (response.status, response.headers["x-amzn-ErrorType"]) == (404, "ResourceNotFoundException")


async def test_a_dry_run_runs_nothing(served: Served) -> None:
    headers = {"X-Amz-Invocation-Type": "DryRun"}
    async with served.client.post(served.url(STREAM), data=b"1", headers=headers) as response:
        assert (response.status, await response.read()) == (204, b"")
    assert served.scheduler.invocations == []


async def test_a_stream_cannot_be_asked_for_without_waiting(served: Served) -> None:
    headers = {"X-Amz-Invocation-Type": "Event"}
    async with served.client.post(served.url(STREAM), data=b"1", headers=headers) as response:
        assert (response.status, response.headers["x-amzn-ErrorType"]) == (400, "ValidationException")


async def test_a_caller_that_goes_is_not_waited_for(served: Served) -> None:
    gone = asyncio.Event()

    async def run(invocation: Invocation) -> Outcome:
        stream = begun(invocation)
        try:
            while True:
                stream.write(bytes(1000))
                await asyncio.sleep(0)
        finally:
            gone.set()

    served.scheduler.script("hello", run)
    async with asyncio.timeout(PATIENCE_S):
        response = await served.client.post(served.url(STREAM), data=b"1")
        await response.content.readany()
        response.close()
        await gone.wait()


# -- function URLs ----------------------------------------------------------------------------------------------------


async def test_a_prelude_is_status_headers_and_cookies(served: Served) -> None:
    data = PRELUDE + b"body"
    served.scheduler.script("web", streams(*(bytes([byte]) for byte in data), content_type=http_prelude.CONTENT_TYPE))
    async with served.client.get(served.url("/fn/web/")) as response:
        assert (response.status, await response.read()) == (201, b"body")
        assert response.headers["X-Own"] == "1"
        assert response.headers.getall("Set-Cookie") == ["a=1", "b=2"]
        assert response.headers["Transfer-Encoding"] == "chunked"
        assert response.headers["x-amzn-RequestId"] == served.scheduler.invocations[0].request_id
        assert response.headers["X-Amzn-Trace-Id"]


async def test_without_a_prelude_it_is_a_success_of_the_given_type(served: Served) -> None:
    served.scheduler.script("web", streams(b"plain ", b"text"))
    async with served.client.get(served.url("/fn/web/")) as response:
        assert (response.status, await response.read()) == (200, b"plain text")
        assert response.headers["Content-Type"] == "text/plain"


async def test_a_host_name_leads_there_as_well(served: Served) -> None:
    served.scheduler.script("web", streams(b"text"))
    headers = {"Host": f"{URL_ID}.lambda-url.us-east-1.localhost"}
    async with served.client.get(served.url("/"), headers=headers) as response:
        assert await response.text() == "text"


async def test_what_a_function_returns_that_does_not_stream_is_sent_as_it_is(served: Served) -> None:
    served.scheduler.answer_next("web", Succeeded(b'{"statusCode":404}', Ledger()))
    async with served.client.get(served.url("/fn/web/")) as response:
        assert (response.status, await response.read()) == (200, b'{"statusCode":404}')
        assert response.headers["Content-Type"] == "application/json"


@pytest.mark.parametrize(
    ("pieces", "content_type", "outcome"),
    [
        ([], "text/plain", BROKEN),
        ([], http_prelude.CONTENT_TYPE, BROKEN),
        ([b'{"statusCode":200}'], http_prelude.CONTENT_TYPE, BROKEN),
        ([b'{"statusCode":200}'], http_prelude.CONTENT_TYPE, DONE),
        ([b"nonsense" + bytes(8)], http_prelude.CONTENT_TYPE, DONE),
    ],
)
async def test_what_cannot_be_made_a_response_is_a_bad_gateway(
    served: Served, pieces: list[bytes], content_type: str, outcome: Outcome
) -> None:
    served.scheduler.script("web", streams(*pieces, content_type=content_type, outcome=outcome))
    async with served.client.get(served.url("/fn/web/")) as response:
        assert (response.status, await response.read()) == (502, b"Internal Server Error")


async def test_a_throttle_is_an_ordinary_answer(served: Served) -> None:
    served.scheduler.answer_next("web", Throttled(ThrottleReason.RESERVED))
    async with served.client.get(served.url("/fn/web/")) as response:
        assert (response.status, response.headers["x-amzn-ErrorType"]) == (429, "TooManyRequestsException")


async def test_a_function_that_fails_half_way_breaks_the_connection_after_what_it_wrote(served: Served) -> None:
    large = b"x" * 200_000
    served.scheduler.script("web", streams(large, b"half", outcome=BROKEN))
    reader, writer = await asyncio.open_connection("127.0.0.1", served.server.port)
    writer.write(b"GET /fn/web/ HTTP/1.1\r\nHost: x\r\n\r\n")
    async with asyncio.timeout(PATIENCE_S):
        answer = await reader.read()
    assert answer.endswith(large + b"\r\n4\r\nhalf\r\n")
    writer.close()


async def test_a_broken_connection_is_an_error_for_an_ordinary_client(served: Served) -> None:
    served.scheduler.script("web", streams(b"half", outcome=BROKEN))
    async with served.client.get(served.url("/fn/web/")) as response:
        assert response.status == 200
        with pytest.raises(aiohttp.ClientPayloadError):
            await response.read()


@pytest.mark.parametrize(("method", "prelude"), [("HEAD", PRELUDE), ("GET", b'{"statusCode":204}' + bytes(8))])
async def test_where_no_body_may_be_there_is_none(served: Served, method: str, prelude: bytes) -> None:
    script = streams(prelude, b"body", content_type=http_prelude.CONTENT_TYPE)
    served.scheduler.script("web", script)
    async with served.client.request(method, served.url("/fn/web/")) as response:
        assert await response.read() == b""
    served.scheduler.script("web", streams(b"next"))
    async with served.client.get(served.url("/fn/web/")) as response:
        assert await response.read() == b"next"


async def test_the_configured_origins_are_told_with_the_stream(served: Served) -> None:
    await set_mode(served, "RESPONSE_STREAM", Cors(allow_origins=("https://a.example",), allow_methods=("GET",)))
    served.scheduler.script("web", streams(b"text"))
    headers = {"Origin": "https://a.example"}
    async with served.client.get(served.url("/fn/web/"), headers=headers) as response:
        assert response.headers["Access-Control-Allow-Origin"] == "https://a.example"
    preflight = {**headers, "Access-Control-Request-Method": "GET"}
    async with served.client.options(served.url("/fn/web/"), headers=preflight) as response:
        assert (response.status, response.headers["Access-Control-Allow-Methods"]) == (200, "GET")
    assert len(served.scheduler.invocations) == 1


async def test_a_mode_that_changes_holds_for_open_connections(served: Served) -> None:
    """The first two requests go the way of plain requests, on one connection; the third must leave it."""
    await set_mode(served, "BUFFERED")
    served.scheduler.script("web", streams_or_returns)
    for mode, expected in (("BUFFERED", b"returned"), ("BUFFERED", b"returned"), ("RESPONSE_STREAM", b"streamed")):
        await set_mode(served, mode)
        async with served.client.post(served.url("/fn/web/"), data=b"body") as response:
            assert await response.read() == expected
    assert json.loads(served.scheduler.invocations[2].payload)["isBase64Encoded"] is True


async def streams_or_returns(invocation: Invocation) -> Outcome:
    if invocation.stream is None:
        return Succeeded(b'"returned"', Ledger())
    begun(invocation).write(b"streamed")
    return DONE


@pytest.mark.parametrize(
    ("payload", "content_type", "status", "body", "shown_type"),
    [
        (PRELUDE + b"body", http_prelude.CONTENT_TYPE, 201, b"body", "application/octet-stream"),
        (b'{"statusCode":418,"body":"tea"}', "text/plain", 418, b"tea", "application/json"),
        (b"not JSON", "text/plain", 200, b"not JSON", "text/plain"),
        (b"text", "text/plain\r\nX-Evil: 1", 200, b"text", "application/octet-stream"),
        (b"no end", http_prelude.CONTENT_TYPE, 502, b"Internal Server Error", "application/json"),
    ],
)
async def test_a_buffered_url_takes_what_a_streaming_function_wrote(
    served: Served, payload: bytes, content_type: str, status: int, body: bytes, shown_type: str
) -> None:
    await set_mode(served, "BUFFERED")
    served.scheduler.script("web", collects(payload, content_type))
    async with served.client.get(served.url("/fn/web/")) as response:
        assert (response.status, await response.read()) == (status, body)
        assert response.headers["Content-Type"] == shown_type
        assert "X-Evil" not in response.headers


async def test_a_plain_invocation_gets_what_a_streaming_function_wrote(served: Served) -> None:
    served.scheduler.script("hello", collects(b"all of it", "text/plain"))
    target = served.url("/2015-03-31/functions/hello/invocations")
    async with served.client.post(target, data=b"1") as response:
        assert (await response.read(), response.headers["Content-Type"]) == (b"all of it", "text/plain")


# -- back-pressure ----------------------------------------------------------------------------------------------------


async def test_a_reader_that_stops_is_enough_and_one_that_goes_on_is_not() -> None:
    resumed: list[bool] = []
    written = asyncio.Event()

    async def run(invocation: Invocation) -> Outcome:
        stream = begun(invocation, go_on=lambda: resumed.append(True))
        while stream.write(bytes(1000)):
            pass
        written.set()
        return DONE

    scheduler = FakeScheduler()
    scheduler.script("hello", run)
    running = RunningResponse(scheduler, invocation("hello"))
    assert await running.begun()
    await written.wait()

    pieces = running.pieces()
    assert not resumed
    taken = [await anext(pieces)]
    while not resumed:
        taken.append(await anext(pieces))
    taken += [piece async for piece in pieces]

    assert ENOUGH_BYTES <= sum(map(len, taken)) <= ENOUGH_BYTES + 1000
    assert resumed == [True]


def invocation(name: str) -> Invocation:

    return Invocation("one", record(name).version(), b"1", 0.0, "arn")
