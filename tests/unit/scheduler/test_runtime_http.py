"""The Runtime API over a real TCP connection, spoken to byte by byte."""

import asyncio
import json
import socket
from base64 import b64encode
from collections.abc import AsyncIterator, Callable
from contextlib import suppress

import pytest
from tests.unit.scheduler.simulation import function

from hearth.core.invocation import MAX_RESPONSE_BYTES, Invocation
from hearth_scheduler import runtime_http
from hearth_scheduler.core.runtime_talk import RuntimeTalk, Turn
from hearth_scheduler.runtime_http import MAX_CONNECTIONS, MAX_HEAD_BYTES, HttpRuntime
from hearth_scheduler.streams import Source
from hearth_scheduler.tasks import Tasks

PATIENCE_S = 20.0
NEXT = b"GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\nHost: 127.0.0.1:9001\r\n\r\n"
INVOCATION = Invocation(
    request_id="one",
    function=function(),
    payload=b'{"an": "event"}',
    arrived_at=0.0,
    invoked_arn="arn:aws:lambda:us-east-1:000000000000:function:hello",
    trace_id="Root=1-a-b;Sampled=1",
    client_context='{"custom":\r\n {}}',
)


class Api:
    """What the server reports, under the rules of the conversation. `on_next` is what the engine does then."""

    def __init__(self) -> None:
        self.talk = RuntimeTalk()
        self.answers: list[tuple[str, bytes, str | None, int]] = []
        self.init_errors: list[tuple[str, bytes]] = []
        self.fails = False
        self.streams: list[tuple[object, ...]] = []
        self.source: Source | None = None
        self.taken = 0

    def next(self) -> None:
        if self.fails:
            raise LookupError("a defect")
        self.talk.next()

    def answer(self, request_id: str, body: bytes, *, error_type: str | None, oversize: int) -> None:
        self.talk.answer(request_id)
        self.answers.append((request_id, body, error_type, oversize))

    def begin(self, request_id: str, content_type: str, source: Source) -> None:
        self.talk.begin(request_id)
        self.source = source
        self.streams.append(("begin", content_type))

    def piece(self, request_id: str, piece: bytes) -> None:
        self.talk.piece(request_id)
        self.streams.append(("piece", piece))
        self.taken += len(piece)

    def end(self, request_id: str, error: bytes | None) -> None:
        self.talk.end(request_id)
        self.streams.append(("end", error))

    def init_error(self, error_type: str, body: bytes) -> None:
        self.talk.init_error()
        self.init_errors.append((error_type, body))


class Client:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def ask(self, data: bytes) -> tuple[int, dict[str, str], bytes]:
        self.writer.write(data)
        return await self.reply()

    async def reply(self) -> tuple[int, dict[str, str], bytes]:
        async with asyncio.timeout(PATIENCE_S):
            head = await self.reader.readuntil(b"\r\n\r\n")
            first, *lines = head.decode().split("\r\n")[:-2]
            headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
            body = await self.reader.readexactly(int(headers.get("content-length", 0)))
        return int(first.split(" ")[1]), headers, body

    async def post(self, path: str, body: bytes, headers: str = "") -> tuple[int, dict[str, str], bytes]:
        head = f"POST /2018-06-01/runtime/{path} HTTP/1.1\r\n{headers}Content-Length: {len(body)}\r\n\r\n"
        return await self.ask(head.encode() + body)

    async def is_closed(self) -> bool:
        """Wait for the end; false if something else comes."""
        async with asyncio.timeout(PATIENCE_S):
            try:
                return await self.reader.read(1) == b""
            except ConnectionError:
                return True

    async def close(self) -> None:
        self.writer.close()
        with suppress(ConnectionError):
            await self.writer.wait_closed()


class Server:
    """The server under test and its clients."""

    def __init__(self, tasks: Tasks) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.setblocking(False)
        self.api = Api()
        self.http = HttpRuntime(self.listener, self.api, tasks)
        self.clients: list[Client] = []

    async def connect(self) -> Client:
        host, port = self.listener.getsockname()
        client = Client(*await asyncio.open_connection(host, port, limit=2**25))
        self.clients.append(client)
        return client

    def deliver(self, invocation: Invocation = INVOCATION) -> None:
        """What the engine does with an event."""
        self.api.talk.event(invocation.request_id)
        self.http.deliver(invocation, 1_700_000_003_000)

    async def until_asked(self, client: Client) -> None:
        """Send `next` and wait until the server knows."""
        client.writer.write(NEXT)
        await self.until(lambda: self.api.talk.turn is Turn.WAITING and self.http._asking is not None)

    async def until(self, is_so: Callable[[], bool]) -> None:
        """Let the loop run until something that needs no time has happened."""
        for _ in range(10_000):
            if is_so():
                return
            await asyncio.sleep(0)
        raise AssertionError("it never happened")


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    async with Tasks() as tasks:
        server = Server(tasks)
        yield server
        server.http.close()
        asyncio.get_running_loop().remove_reader(server.listener.fileno())
        server.listener.close()
        for client in server.clients:
            await client.close()


@pytest.fixture
async def client(server: Server) -> Client:
    return await server.connect()


async def _to_running(server: Server, client: Client) -> None:
    """The client has got its event."""
    await server.until_asked(client)
    server.deliver()
    await client.reply()


def _error(reply: tuple[int, dict[str, str], bytes]) -> tuple[int, str]:
    return reply[0], json.loads(reply[2])["errorType"]


async def test_next_is_answered_with_the_event_and_its_headers(server: Server, client: Client) -> None:
    await server.until_asked(client)

    server.deliver()
    status, headers, body = await client.reply()

    assert (status, body) == (200, INVOCATION.payload)
    assert headers == {
        "content-type": "application/json",
        "content-length": str(len(INVOCATION.payload)),
        "lambda-runtime-aws-request-id": "one",
        "lambda-runtime-deadline-ms": "1700000003000",
        "lambda-runtime-invoked-function-arn": INVOCATION.invoked_arn,
        "lambda-runtime-trace-id": "Root=1-a-b;Sampled=1",
        "lambda-runtime-client-context": '{"custom":   {}}',
    }


async def test_empty_headers_are_left_out(server: Server, client: Client) -> None:
    await server.until_asked(client)

    server.deliver(INVOCATION._replace(trace_id="", client_context=""))
    _, headers, _ = await client.reply()

    assert "lambda-runtime-trace-id" not in headers
    assert "lambda-runtime-client-context" not in headers


async def test_a_whole_conversation_on_one_connection(server: Server, client: Client) -> None:
    for number in range(3):
        await server.until_asked(client)
        server.deliver(INVOCATION._replace(request_id=str(number)))
        await client.reply()

        status, _, body = await client.post(f"invocation/{number}/response", b"[%d]" % number)

        assert (status, json.loads(body)) == (202, {"status": "OK"})
    assert server.api.answers == [(str(number), b"[%d]" % number, None, 0) for number in range(3)]


async def test_an_error_carries_its_type_whatever_the_case_of_its_header(server: Server, client: Client) -> None:
    await _to_running(server, client)

    status, _, _ = await client.post(
        "invocation/one/error", b'{"errorMessage": "no"}', "LAMBDA-runtime-FUNCTION-error-type: App.Broken\r\n"
    )

    assert status == 202
    assert server.api.answers == [("one", b'{"errorMessage": "no"}', "App.Broken", 0)]


async def test_an_error_without_a_type_is_an_error(server: Server, client: Client) -> None:
    await _to_running(server, client)

    await client.post("invocation/one/error", b"{}")

    assert server.api.answers == [("one", b"{}", "", 0)]


async def test_a_failed_init_is_reported_once(server: Server, client: Client) -> None:
    first = await client.post("init/error", b"{}", "Lambda-Runtime-Function-Error-Type: Runtime.Bad\r\n")
    second = await client.post("init/error", b"{}")
    after = await client.ask(NEXT)

    assert first[0] == 202
    assert server.api.init_errors == [("Runtime.Bad", b"{}")]
    assert _error(second) == _error(after) == (403, "InvalidStateTransition")


async def test_a_second_answer_is_refused(server: Server, client: Client) -> None:
    await _to_running(server, client)
    await client.post("invocation/one/response", b"1")

    assert _error(await client.post("invocation/one/response", b"2")) == (403, "InvalidStateTransition")
    assert len(server.api.answers) == 1


async def test_an_answer_to_an_unknown_event_is_refused(server: Server, client: Client) -> None:
    await _to_running(server, client)

    assert _error(await client.post("invocation/other/response", b"1")) == (400, "InvalidRequestID")


async def test_a_refused_next_does_not_get_the_next_event(server: Server, client: Client) -> None:
    await _to_running(server, client)
    other = await server.connect()

    assert _error(await other.ask(NEXT)) == (403, "InvalidStateTransition")
    await client.post("invocation/one/response", b"1")
    await server.until_asked(client)
    server.deliver()

    assert (await client.reply())[0] == 200


@pytest.mark.parametrize(
    "request_line",
    [b"GET /", b"GET /2018-06-01/runtime/invocation", b"PUT /2018-06-01/runtime/init/error", b"GET /2018-06-01"],
)
async def test_an_unknown_path_is_not_found(client: Client, request_line: bytes) -> None:
    assert (await client.ask(request_line + b" HTTP/1.1\r\n\r\n"))[0] == 404


async def test_ping_is_answered_with_pong(client: Client) -> None:
    status, _, body = await client.ask(b"GET /2018-06-01/ping HTTP/1.1\r\n\r\n")

    assert (status, body) == (200, b"pong")


async def test_a_chunked_answer_is_joined(server: Server, client: Client) -> None:
    await _to_running(server, client)

    status, _, _ = await client.ask(
        b"POST /2018-06-01/runtime/invocation/one/response HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
        b'3\r\n{"a\r\n4\r\n": 1\r\n1\r\n}\r\n0\r\n\r\n'
    )

    assert status == 202
    assert server.api.answers == [("one", b'{"a": 1}', None, 0)]


async def test_an_answer_that_fails_half_way_says_so_in_a_trailer(server: Server, client: Client) -> None:
    """As Go's client does: every answer is chunked, and announces trailers that mostly do not come."""
    await _to_running(server, client)

    await client.ask(
        b"POST /2018-06-01/runtime/invocation/one/response HTTP/1.1\r\nTransfer-Encoding: chunked\r\n"
        b"Trailer: Lambda-Runtime-Function-Error-Type, Lambda-Runtime-Function-Error-Body\r\n\r\n"
        b"4\r\nhalf\r\n0\r\nLambda-Runtime-Function-Error-Type: Go.Panic\r\n\r\n"
    )

    assert server.api.answers == [("one", b"half", "Go.Panic", 0)]


async def test_the_largest_answer_is_taken(server: Server, client: Client) -> None:
    await _to_running(server, client)

    status, _, _ = await client.post("invocation/one/response", b"x" * MAX_RESPONSE_BYTES)

    assert status == 202
    assert server.api.answers == [("one", b"x" * MAX_RESPONSE_BYTES, None, 0)]


async def test_a_larger_answer_is_refused_and_counted_and_the_talk_goes_on(server: Server, client: Client) -> None:
    await _to_running(server, client)

    refused = await client.post("invocation/one/response", b"x" * (MAX_RESPONSE_BYTES + 1))
    await server.until_asked(client)

    assert _error(refused) == (413, "RequestEntityTooLarge")
    assert json.loads(refused[2])["errorMessage"] == "Exceeded maximum allowed payload size (6291556 bytes)."
    assert server.api.answers == [("one", b"", None, MAX_RESPONSE_BYTES + 1)]


async def test_the_event_may_be_fetched_on_one_connection_and_answered_on_another(
    server: Server, client: Client
) -> None:
    await _to_running(server, client)
    other = await server.connect()

    assert (await other.post("invocation/one/response", b"1"))[0] == 202


async def test_an_event_whose_asker_has_gone_waits_for_the_next(server: Server, client: Client) -> None:
    await server.until_asked(client)
    await client.close()
    await server.until(lambda: server.http._asking is None)

    server.deliver()
    other = await server.connect()

    assert (await other.ask(NEXT))[2] == INVOCATION.payload


async def test_of_two_who_ask_the_last_one_is_answered(server: Server, client: Client) -> None:
    await server.until_asked(client)
    first = server.http._asking
    other = await server.connect()
    other.writer.write(NEXT)
    await server.until(lambda: server.http._asking is not first)

    server.deliver()

    assert (await other.reply())[2] == INVOCATION.payload


async def test_a_client_that_expects_to_be_told_to_continue_is_told(server: Server, client: Client) -> None:
    await _to_running(server, client)

    status, _, _ = await client.ask(
        b"POST /2018-06-01/runtime/invocation/one/response HTTP/1.1\r\n"
        b"Expect: 100-continue\r\nContent-Length: 1\r\n\r\n"
    )
    assert status == 100
    assert (await client.ask(b"1"))[0] == 202


async def test_a_client_that_wants_its_connection_closed_gets_that(client: Client) -> None:
    status, _, _ = await client.ask(b"GET /2018-06-01/ping HTTP/1.1\r\nConnection: close\r\n\r\n")

    assert status == 200
    assert await client.is_closed()


async def test_a_request_byte_by_byte_is_a_request(client: Client) -> None:
    for byte in b"GET /2018-06-01/ping HTTP/1.1\r\nHost: x\r\n\r\n":
        client.writer.write(bytes([byte]))
        await client.writer.drain()
        await asyncio.sleep(0)

    assert (await client.reply())[2] == b"pong"


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01",
        b"hello\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nnonsense\r\n",
        b"CONNECT x:1 HTTP/1.1\r\n\r\n",
    ],
)
async def test_garbage_ends_its_own_connection_and_no_other(server: Server, client: Client, garbage: bytes) -> None:
    other = await server.connect()

    client.writer.write(garbage)
    client.writer.write_eof()
    while not await client.is_closed():
        pass  # an answer may come before the end

    assert (await other.ask(b"GET /2018-06-01/ping HTTP/1.1\r\n\r\n"))[0] == 200


@pytest.mark.parametrize("start", [b"GET /", b"GET / HTTP/1.1\r\nX: ", b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 1000])
async def test_a_head_without_end_is_not_kept(client: Client, start: bytes) -> None:
    client.writer.write(start + b"x" * (2 * MAX_HEAD_BYTES))

    assert await client.is_closed()


async def test_trailers_without_end_are_not_kept(client: Client) -> None:
    head = b"POST /2018-06-01/runtime/init/error HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nX: "

    client.writer.write(head + b"x" * (2 * MAX_HEAD_BYTES))

    assert await client.is_closed()


async def test_a_defect_of_ours_is_an_internal_error_for_the_runtime(server: Server, client: Client) -> None:
    server.api.fails = True

    assert _error(await client.ask(NEXT)) == (500, "InternalServerError")


async def test_connections_are_bounded(server: Server) -> None:
    clients = [await server.connect() for _ in range(MAX_CONNECTIONS + 1)]

    assert await clients[-1].is_closed()
    assert (await clients[0].ask(b"GET /2018-06-01/ping HTTP/1.1\r\n\r\n"))[0] == 200


async def test_closing_ends_every_connection(server: Server, client: Client) -> None:
    await server.until_asked(client)

    server.http.close()

    assert await client.is_closed()


# -- streams ----------------------------------------------------------------------------------------------------------

STREAM = (
    b"POST /2018-06-01/runtime/invocation/one/response HTTP/1.1\r\n"
    b"Lambda-Runtime-Function-Response-Mode: streaming\r\nTransfer-Encoding: chunked\r\n"
)
TRAILERS = b"Lambda-Runtime-Function-Error-Type: Own\r\nLambda-Runtime-Function-Error-Body: %b\r\n\r\n"


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


async def test_a_stream_is_handed_on_as_it_comes(server: Server, client: Client) -> None:
    await _to_running(server, client)
    client.writer.write(STREAM + b"Content-Type: text/plain\r\n\r\n" + chunk(b"first"))
    await server.until(lambda: len(server.api.streams) == 2)
    assert server.api.streams == [("begin", "text/plain"), ("piece", b"first")]

    status, _, body = await client.ask(chunk(b"second") + b"0\r\n\r\n")

    assert (status, json.loads(body)) == (202, {"status": "OK"})
    assert server.api.streams[2:] == [("piece", b"second"), ("end", None)]
    await server.until_asked(client)


async def test_a_stream_without_a_content_type_is_bytes(server: Server, client: Client) -> None:
    await _to_running(server, client)
    await client.ask(STREAM + b"\r\n0\r\n\r\n")
    assert server.api.streams == [("begin", "application/octet-stream"), ("end", None)]


async def test_a_stream_that_fails_half_way_says_so_in_its_trailers(server: Server, client: Client) -> None:
    await _to_running(server, client)
    error = b'{"errorMessage":"no"}'
    status, _, _ = await client.ask(STREAM + b"\r\n" + chunk(b"half") + b"0\r\n" + TRAILERS % b64encode(error))

    assert status == 202
    assert server.api.streams[1:] == [("piece", b"half"), ("end", error)]


async def test_trailers_without_a_readable_body_are_an_error_all_the_same(server: Server, client: Client) -> None:
    await _to_running(server, client)
    await client.ask(STREAM + b"\r\n0\r\n" + TRAILERS % b"!")

    assert server.api.streams[1:] == [("end", b'{"errorType":"Own","errorMessage":""}')]


async def test_empty_trailers_are_no_error(server: Server, client: Client) -> None:
    """Go's client announces them always, and sends them empty after a success."""
    await _to_running(server, client)
    await client.ask(STREAM + b"\r\n0\r\nLambda-Runtime-Function-Error-Type: \r\n\r\n")

    assert server.api.streams[1:] == [("end", None)]


async def test_the_error_of_a_response_that_does_not_stream_is_in_its_trailers_too(
    server: Server, client: Client
) -> None:
    await _to_running(server, client)
    head = b"POST /2018-06-01/runtime/invocation/one/response HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
    await client.ask(head + chunk(b"half") + b"0\r\n" + TRAILERS % b64encode(b"{}"))

    assert server.api.answers == [("one", b"{}", "Own", 0)]


async def test_an_unknown_response_mode_is_refused_and_the_event_is_still_open(server: Server, client: Client) -> None:
    await _to_running(server, client)
    refused = await client.post(
        "invocation/one/response", b"1", "Lambda-Runtime-Function-Response-Mode: telepathic\r\n"
    )

    assert _error(refused) == (400, "InvalidFunctionResponseMode")
    assert (await client.post("invocation/one/error", b"{}"))[0] == 202


async def test_a_stream_for_another_event_is_refused_at_its_end(server: Server, client: Client) -> None:
    await _to_running(server, client)
    other = STREAM.replace(b"/one/", b"/two/")
    refused = await client.ask(other + b"\r\n" + chunk(b"x" * 70_000) + b"0\r\n\r\n")

    assert _error(refused) == (400, "InvalidRequestID")
    assert server.api.streams == []


async def test_an_error_on_another_connection_ends_a_stream(server: Server, client: Client) -> None:
    await _to_running(server, client)
    client.writer.write(STREAM + b"\r\n" + chunk(b"half"))
    await server.until(lambda: len(server.api.streams) == 2)
    server.api.talk.answer("one", is_error=True)

    refused = await client.ask(chunk(b"more") + b"0\r\n\r\n")

    assert _error(refused) == (403, "InvalidStateTransition")
    assert len(server.api.streams) == 2


async def test_a_connection_lost_in_a_stream_cuts_the_response_off(
    server: Server, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runtime_http, "TRUNCATION_GRACE_S", 0)
    await _to_running(server, client)
    client.writer.write(STREAM + b"\r\n" + chunk(b"half"))
    await server.until(lambda: len(server.api.streams) == 2)
    await client.close()

    await server.until(lambda: len(server.api.streams) == 3)
    what, error = server.api.streams[2]
    assert (what, json.loads(str(error, "utf-8"))["errorType"]) == ("end", "Runtime.TruncatedResponse")  # type: ignore[call-overload]  # it is bytes


async def test_a_stream_that_nobody_takes_is_not_read(server: Server, client: Client) -> None:
    await _to_running(server, client)
    client.writer.write(STREAM + b"\r\n" + chunk(b"first"))
    await server.until(lambda: len(server.api.streams) == 2)
    assert server.api.source is not None
    server.api.source.pause()
    server.api.source.pause()
    piece = chunk(bytes(60_000))
    for _ in range(1000):
        client.writer.write(piece)
        await asyncio.sleep(0)
    assert len(server.api.streams) == 2
    transport = client.writer.transport
    assert transport.get_write_buffer_size() > 0

    server.api.source.resume()
    server.api.source.resume()

    assert (await client.ask(b"0\r\n\r\n"))[0] == 202
    assert server.api.taken == 60_000_005
