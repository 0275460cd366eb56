"""The fast lane over a real socket: what it serves, and what it hands over."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import pytest
from tests.unit.gateway.served import Served, record, serving

from hearth.core.invocation import Invocation, Ledger, Outcome, Succeeded

PATIENCE_S = 20.0
TARGET = b"/2015-03-31/functions/f/invocations"


def request(body: bytes = b"{}", *more: bytes, target: bytes = TARGET) -> bytes:
    head = [b"POST " + target + b" HTTP/1.1", b"Host: h", b"Content-Length: %d" % len(body), *more]
    return b"\r\n".join(head) + b"\r\n\r\n" + body


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    async with serving(tmp_path) as running:
        await running.put(record("f"))
        yield running


class Client:
    """One connection, and the answers that come on it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def answer(self) -> tuple[int, dict[str, str], bytes]:
        async with asyncio.timeout(PATIENCE_S):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            headers = dict(line.lower().split(": ", 1) for line in head[1:] if line)
            body = await self.reader.readexactly(int(headers.get("content-length", 0)))
        return int(head[0].split(" ")[1]), headers, body

    async def end(self) -> bytes:
        async with asyncio.timeout(PATIENCE_S):
            return await self.reader.read()


@pytest.fixture
async def client(served: Served) -> AsyncIterator[Client]:
    reader, writer = await asyncio.open_connection("127.0.0.1", served.server.port)
    yield Client(reader, writer)
    writer.close()


async def test_one_invocation_after_another_on_one_connection(client: Client) -> None:
    for number in range(3):
        client.writer.write(request(b"%d" % number))
        status, headers, body = await client.answer()
        assert (status, body) == (200, b"%d" % number)
        assert headers["x-amz-executed-version"] == "$latest"
        assert len(headers["x-amzn-requestid"]) == 36
        assert "date" in headers


async def test_a_request_that_arrives_byte_by_byte(client: Client) -> None:
    for byte in request(b'{"a": 1}'):
        client.writer.write(bytes([byte]))
        await client.writer.drain()

    assert (await client.answer())[2] == b'{"a": 1}'


async def test_pipelined_requests_are_answered_in_order(client: Client) -> None:
    client.writer.write(request(b"1") + request(b"2") + request(b"3"))

    assert [(await client.answer())[2] for _ in range(3)] == [b"1", b"2", b"3"]


async def test_another_request_on_the_same_connection_goes_to_the_full_implementation(client: Client) -> None:
    client.writer.write(request(b"1") + b"GET /health HTTP/1.1\r\nHost: h\r\n\r\n")

    assert (await client.answer())[2] == b"1"
    status, headers, body = await client.answer()
    assert (status, headers["content-type"]) == (200, "application/json")
    assert body == b'{"status":"ok"}'


async def test_an_invocation_after_the_hand_over_is_served_as_well(client: Client) -> None:
    client.writer.write(b"GET /health HTTP/1.1\r\nHost: h\r\n\r\n")
    await client.answer()

    client.writer.write(request(b"2"))

    assert (await client.answer())[2] == b"2"


@pytest.mark.parametrize(
    "unusual",
    [
        b"POST " + TARGET + b" HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        b"POST " + TARGET + b" HTTP/1.0\r\nContent-Length: 2\r\n\r\n{}",
        request(b"{}", b"Connection: Keep-Alive, close"),
    ],
)
async def test_an_unusual_invocation_gets_the_same_answer(client: Client, unusual: bytes) -> None:
    client.writer.write(unusual)

    status, _, body = await client.answer()

    assert (status, body) == (200, b"{}")


async def test_errors_have_their_documented_form(client: Client) -> None:
    client.writer.write(request(b"{not json"))
    status, headers, _ = await client.answer()
    assert (status, headers["x-amzn-errortype"]) == (400, "invalidrequestcontentexception")

    client.writer.write(request(target=TARGET.replace(b"/f/", b"/none/")))
    status, headers, _ = await client.answer()
    assert (status, headers["x-amzn-errortype"]) == (404, "resourcenotfoundexception")


async def test_a_body_over_the_limit_is_refused(client: Client) -> None:
    client.writer.write(b"POST " + TARGET + b" HTTP/1.1\r\nHost: h\r\nContent-Length: 6291457\r\n\r\n")

    assert (await client.answer())[0] == 413


async def test_a_function_url_keeps_its_paths_to_itself(served: Served, client: Client) -> None:
    client.writer.write(request(b"{}").replace(b"Host: h", b"Host: none.lambda-url.localhost"))

    assert (await client.answer())[0] == 403
    assert served.scheduler.invocations == []


async def test_a_client_that_asks_for_it_is_left_after_the_answer(client: Client) -> None:
    client.writer.write(request(b"1", b"Connection: close"))

    status, headers, _ = await client.answer()

    assert (status, headers["connection"]) == (200, "close")
    assert await client.end() == b""


async def test_a_client_that_goes_while_it_waits_cancels_its_wait(served: Served, client: Client) -> None:
    started, cancelled = asyncio.Event(), asyncio.Event()

    async def wait(invocation: Invocation) -> Outcome:
        started.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise
        return Succeeded(b"never", Ledger())

    served.scheduler.script("f", wait)
    client.writer.write(request())
    async with asyncio.timeout(PATIENCE_S):
        await started.wait()
        client.writer.close()
        await cancelled.wait()


async def test_junk_gets_an_answer_and_the_connection_ends(client: Client) -> None:
    client.writer.write(b"\x00\x01\x02 what?\r\n\r\n")

    assert b" 400 Bad Request" in await client.end()


async def test_what_is_no_http_is_refused_and_not_written_about(
    client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    client.writer.write(b"GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n")
    assert (await client.end()).split()[1] == b"400"
    assert not caplog.records


@pytest.mark.parametrize(
    "sent",
    [
        b"POST " + TARGET + b" HTTP/1.1\r\nHost: h\r\n",
        b"GET / HTTP/1.0\r\nHost: h\r\n",
        b"GET /health HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET / HTTP/1.1\r\n",
    ],
)
async def test_half_a_request_does_not_hold_a_connection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> None:
    for limit in ("hearth_gateway.fast_lane.IDLE_S", "hearth_gateway.fast_lane.SWEEP_S"):
        monkeypatch.setattr(limit, 0.05)
    monkeypatch.setattr("hearth_gateway.server.ANSWERED_S", 0.05)
    async with serving(tmp_path) as served, asyncio.timeout(PATIENCE_S):
        reader, writer = await asyncio.open_connection("127.0.0.1", served.server.port)
        writer.write(sent)
        with suppress(ConnectionResetError):
            await reader.read()
        writer.close()


async def test_whoever_never_reads_its_answer_does_not_hold_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for limit in ("hearth_gateway.fast_lane.IDLE_S", "hearth_gateway.fast_lane.SWEEP_S"):
        monkeypatch.setattr(limit, 0.05)
    async with serving(tmp_path) as served, asyncio.timeout(PATIENCE_S):
        await served.put(record("f"))
        lane = served.server._lane
        assert lane is not None
        with socket.create_connection(("127.0.0.1", served.server.port)) as silent:
            silent.setblocking(False)
            loop = asyncio.get_running_loop()
            await loop.sock_sendall(silent, request(b'"' + b"x" * 6_000_000 + b'"'))
            while not served.scheduler.invocations or lane.connections:  # noqa: ASYNC110 - nothing announces it
                await asyncio.sleep(0)


async def test_a_slow_answer_is_waited_for_on_a_connection_that_was_handed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for limit in ("hearth_gateway.fast_lane.IDLE_S", "hearth_gateway.fast_lane.SWEEP_S"):
        monkeypatch.setattr(limit, 0.01)
    async with serving(tmp_path) as served, asyncio.timeout(PATIENCE_S):
        await served.put(record("f"))
        lane = served.server._lane
        assert lane is not None
        sweeps: asyncio.Queue[float] = asyncio.Queue()
        monkeypatch.setattr(lane, "_abort_silent", _then(lane._abort_silent, sweeps.put_nowait))
        hold, scheduler = asyncio.Event(), served.scheduler
        monkeypatch.setattr(scheduler, "invoke", _after(hold, scheduler.invoke))
        reader, writer = await asyncio.open_connection("127.0.0.1", served.server.port)
        writer.write(request(b"1", b"Connection: Keep-Alive, keep-alive"))
        for _ in range(5):
            await sweeps.get()
        hold.set()
        assert (await reader.readline()).split()[1] == b"200"
        writer.close()


def _then(first: Callable[[float], None], second: Callable[[float], None]) -> Callable[[float], None]:
    def both(now: float) -> None:
        first(now)
        second(now)

    return both


def _after(
    event: asyncio.Event, invoke: Callable[[Invocation], Awaitable[Outcome]]
) -> Callable[[Invocation], Awaitable[Outcome]]:
    async def wait(invocation: Invocation) -> Outcome:
        await event.wait()
        return await invoke(invocation)

    return wait
