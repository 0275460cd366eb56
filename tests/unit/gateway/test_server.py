"""The one port over a real socket: who answers what, what is never shown, and how it stops."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import pytest
from tests.unit.gateway.served import Served, serving

from hearth.core.function import FunctionName
from hearth.core.invocation import Invocation, Ledger, Outcome, Succeeded
from hearth.core.records import Logging
from hearth_gateway.own_pages import health_for
from hearth_gateway.server import MAX_UPLOAD_BYTES

HELLO_LOG = "/aws/lambda/hello"
CREATE = "/2015-03-31/functions/"


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    async with serving(tmp_path) as running:
        yield running


async def raw(served: Served, request: bytes) -> bytes:
    """Bytes out, bytes in, until the server closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", served.server.port)
    writer.write(request)
    answer = await reader.read()
    writer.close()
    return answer


async def test_other_operations_get_their_labels_query_and_body(served: Served) -> None:
    target = "/2017-03-31/tags/arn%3Aaws%3Alambda%3Aus-east-1%3A000000000000%3Afunction%3Ahello"
    async with served.client.delete(served.url(f"{target}?tagKeys=a&tagKeys=b%20c"), data=b"body") as response:
        assert response.status == 200
        assert response.headers["x-amzn-RequestId"]
    route, query, body = served.api.calls[0]
    assert route.operation == "UntagResource"
    assert route.labels == {"Resource": "arn:aws:lambda:us-east-1:000000000000:function:hello"}
    assert (dict(query), body) == ({"tagKeys": ["a", "b c"]}, b"body")


async def test_an_error_has_its_name_in_the_header_and_its_text_in_the_body(served: Served) -> None:
    async with served.client.post(served.url(CREATE), data=b"refuse") as response:
        assert (response.status, response.headers["x-amzn-ErrorType"]) == (400, "InvalidParameterValueException")
        assert await response.json() == {"Type": "User", "message": "refused"}


async def test_what_is_unexpected_shows_nothing_of_the_inside(served: Served) -> None:
    async with served.client.post(served.url(CREATE), data=b"break") as response:
        assert (response.status, response.headers["x-amzn-ErrorType"]) == (500, "ServiceException")
        assert "secret" not in await response.text()
        assert response.headers["x-amzn-RequestId"]


@pytest.mark.parametrize("target", ["/", "/nonsense", "/2015-03-31/functions/a/b/c", "/_hearth/nothing", "/%2F"])
async def test_an_unknown_path_is_an_unknown_operation(served: Served, target: str) -> None:
    async with served.client.get(served.url(target)) as response:
        assert (response.status, response.headers["x-amzn-ErrorType"]) == (404, "UnknownOperationException")


async def test_an_upload_that_says_it_is_too_large_is_refused_unread(served: Served) -> None:
    head = f"POST {CREATE} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {MAX_UPLOAD_BYTES + 1}\r\n\r\n"
    reader, writer = await asyncio.open_connection("127.0.0.1", served.server.port)
    writer.write(head.encode())
    answer = await reader.readuntil(b"operation")
    writer.close()
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert answer.endswith(b"Request must be smaller than 70167211 bytes for the CreateFunction operation")


async def test_an_upload_beyond_six_megabytes_is_read(served: Served) -> None:
    body = b"x" * 8_000_000
    async with served.client.post(served.url(CREATE), data=BytesIO(body)) as response:
        assert response.status == 200
    assert served.api.calls[0][2] == body


async def test_a_client_that_asks_before_it_sends_is_told_to_go_on(served: Served) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", served.server.port)
    head = b"POST /2015-03-31/functions/hello/invocations HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n"
    writer.write(head + b"Connection: close\r\nContent-Length: 3\r\n\r\n")
    assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    writer.write(b"[1]")
    answer = await reader.read()
    writer.close()
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert answer.endswith(b"\r\n\r\n[1]")


async def test_a_whole_url_as_target_is_taken_for_its_path(served: Served) -> None:
    answer = await raw(served, b"GET http://proxied/health HTTP/1.1\r\nHost: proxied\r\nConnection: close\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200 ")


async def test_health_is_what_the_platform_says(served: Served) -> None:
    served.health["functions"] = 3
    async with served.client.get(served.url("/health")) as response:
        assert await response.json() == {"status": "ok", "functions": 3}


@pytest.mark.parametrize("source_ip", ["127.0.0.1", "::1"])
def test_the_last_error_is_told_on_this_machine(source_ip: str) -> None:
    assert health_for({"status": "ok", "last_error": "e"}, source_ip) == {"status": "ok", "last_error": "e"}


@pytest.mark.parametrize("source_ip", ["172.17.0.2", "2001:db8::1", ""])
def test_nobody_else_is_told_the_last_error(source_ip: str) -> None:
    assert health_for({"status": "ok", "last_error": "e"}, source_ip) == {"status": "ok"}


async def test_a_signed_link_downloads_the_package(served: Served) -> None:
    served.package.path.write_bytes(b"PK zip")
    link = f"/_hearth/code/{'a' * 64}?expires=99&signature="
    async with served.client.get(served.url(f"{link}good")) as response:
        assert (response.status, await response.read()) == (200, b"PK zip")
        assert response.headers["Content-Type"] == "application/zip"
    async with served.client.get(served.url(f"{link}forged")) as response:
        assert (response.status, response.headers["x-amzn-ErrorType"]) == (403, "AccessDeniedException")


async def test_logs_are_lines_of_json(served: Served) -> None:
    served.logs.append(HELLO_LOG, "s", b"one\n", 1)
    served.logs.append(HELLO_LOG, "s", b"two\n", 2)
    async with served.client.get(served.url("/_hearth/logs/hello?bytes=1000")) as response:
        lines = [json.loads(line) async for line in response.content]
    assert lines == [[1, "s", "one\n"], [2, "s", "two\n"]]


@pytest.mark.parametrize(("target", "status"), [("nobody", 404), ("hello?bytes=-1", 400), ("hello?bytes=x", 400)])
async def test_logs_that_cannot_be_shown_are_an_error(served: Served, target: str, status: int) -> None:
    async with served.client.get(served.url(f"/_hearth/logs/{target}")) as response:
        assert response.status == status


async def test_of_a_shared_group_each_function_shows_its_own_lines(served: Served) -> None:
    found = served.registry.find("hello")
    assert found is not None
    configuration = replace(found.latest.deployment.configuration, logging=Logging(group="/shared"))
    deployment = replace(found.latest.deployment, configuration=configuration)
    await served.put(replace(found, latest=replace(found.latest, deployment=deployment)))
    served.logs.append("/shared", "2026/11/21/hello[$LATEST]0", b"mine\n", 1)
    served.logs.append("/shared", "2026/11/21/hello-other[$LATEST]0", b"not mine\n", 2)
    async with served.client.get(served.url("/_hearth/logs/hello")) as response:
        assert [json.loads(line)[2] async for line in response.content] == ["mine\n"]


async def test_following_ends_with_the_function(served: Served) -> None:
    served.logs.append(HELLO_LOG, "s", b"last\n", 1)
    async with asyncio.timeout(20), served.client.get(served.url("/_hearth/logs/hello?follow=1")) as response:
        assert json.loads(await response.content.readline()) == [1, "s", "last\n"]
        async with served.registry.writing("hello"):
            await served.registry.remove(FunctionName("hello"))
        assert await response.content.read() == b""


async def test_logs_are_followed_until_the_reader_goes(served: Served) -> None:
    served.logs.append(HELLO_LOG, "s", b"old\n", 1)
    async with asyncio.timeout(20):
        async with served.client.get(served.url("/_hearth/logs/hello?follow=1")) as response:
            assert json.loads(await response.content.readline()) == [1, "s", "old\n"]
            served.logs.append(HELLO_LOG, "s", b"new\n", 2)
            assert json.loads(await response.content.readline()) == [2, "s", "new\n"]
            response.close()
        while served.logs._followers:
            await served.logs.tail(HELLO_LOG, 1)


async def test_stopping_ends_a_follower_at_once(tmp_path: Path) -> None:
    async with asyncio.timeout(20), serving(tmp_path, grace_s=1000) as served:
        served.logs.append(HELLO_LOG, "s", b"old\n", 1)
        response = await served.client.get(served.url("/_hearth/logs/hello?follow=1"))
        await response.content.readline()
        await served.server.__aexit__()
        assert await response.content.read() == b""
        response.close()


async def test_stopping_lets_an_invocation_finish(tmp_path: Path) -> None:
    async with asyncio.timeout(20), serving(tmp_path) as served:
        is_running, may_end = asyncio.Event(), asyncio.Event()

        async def wait(invocation: Invocation) -> Outcome:
            is_running.set()
            await may_end.wait()
            return Succeeded(b'"done"', Ledger())

        served.scheduler.script("hello", wait)
        target = served.url("/2015-03-31/functions/hello/invocations")
        async with asyncio.TaskGroup() as tasks:
            call = tasks.create_task(_body(served, str(target)))
            await is_running.wait()
            stop = tasks.create_task(served.server.__aexit__())
            with pytest.raises(OSError, match="Connect"):
                while True:  # accepting ends within a few turns of the loop
                    _, writer = await asyncio.open_connection("127.0.0.1", served.server.port)
                    writer.close()
            assert not stop.done()
            may_end.set()
        assert call.result() == b'"done"'


async def test_an_invocation_over_the_grace_is_cut_off(tmp_path: Path) -> None:
    async with asyncio.timeout(20), serving(tmp_path, grace_s=0.05) as served:
        is_running = asyncio.Event()

        async def hang(invocation: Invocation) -> Outcome:
            is_running.set()
            await asyncio.Event().wait()
            raise AssertionError("unreachable")

        served.scheduler.script("hello", hang)
        target = served.url("/2015-03-31/functions/hello/invocations")
        async with asyncio.TaskGroup() as tasks:
            call = tasks.create_task(_failure(served, str(target)))
            await is_running.wait()
            await served.server.__aexit__()
        assert "ServerDisconnected" in call.result()


async def _body(served: Served, target: str) -> bytes:
    async with served.client.post(target, data=b"{}") as response:
        return await response.read()


async def _failure(served: Served, target: str) -> str:
    try:
        return (await _body(served, target)).decode()
    except Exception as error:
        return repr(error)


async def test_a_caller_that_goes_in_the_middle_of_its_body_harms_nobody(served: Served) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", served.server.port)
    writer.write(b"POST /2015-03-31/functions/hello/invocations HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n\r\n{")
    await writer.drain()
    writer.close()
    await writer.wait_closed()
    async with served.client.get(served.url("/health")) as response:
        assert response.status == 200
    assert served.scheduler.invocations == []
