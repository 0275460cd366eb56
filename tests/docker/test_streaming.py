"""Responses while they are produced, from a Node.js function to an AWS client or a browser."""

import asyncio
import http.client
import json
import socket
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from typing import Any

import aiohttp
import pytest
from tests.docker.house import NODE, PATIENCE_S, House, eventually
from tests.signing import signature

pytestmark = pytest.mark.docker
MEBIBYTE = 2**20

GATE = """
const net = require("net");
// Tells the test how far it is, and goes on when the test says so.
const stand = (line) => new Promise((resolve, reject) => {
    const [host, port] = process.env.GATE.split(":");
    const socket = net.connect(Number(port), host, () => socket.write(line + "\\n"));
    socket.once("data", () => { socket.destroy(); resolve(); });
    socket.once("error", reject);
});
"""


class Gate:
    """Where functions stand until the test lets them pass."""

    def __init__(self, server: socket.socket) -> None:
        self._server = server
        self.address = "{}:{}".format(*server.getsockname())

    def pass_one(self, expected: str) -> None:
        conn, _ = self._server.accept()
        with conn, conn.makefile("rb") as lines:
            assert lines.readline() == f"{expected}\n".encode()
            conn.sendall(b"!")


@contextmanager
def gate_of(hearth: House) -> Iterator[Gate]:
    with socket.create_server((hearth.gateway(), 0)) as server:
        server.settimeout(PATIENCE_S)
        yield Gate(server)


@pytest.fixture
def gate(hearth: House) -> Iterator[Gate]:
    with gate_of(hearth) as gate:
        yield gate


def streaming(hearth: House, body: str, *, memory_mb: int = 512, **variables: str) -> str:
    code = f"{GATE}\nexports.handler = awslambda.streamifyResponse(async (event, stream, context) => {{{body}}});"
    return hearth.create("stream", code, runtime=NODE, memory_mb=memory_mb, variables=variables)


def events(hearth: House, name: str, **more: Any) -> Iterator[dict[str, Any]]:
    answer = hearth.api.invoke_with_response_stream(FunctionName=name, Payload=b"{}", **more)
    assert answer["StatusCode"] == 200
    assert answer["ExecutedVersion"] == "$LATEST"
    try:
        yield from answer["EventStream"]
    finally:
        answer["EventStream"].close()


def whole(hearth: House, name: str, **more: Any) -> tuple[bytes, dict[str, Any]]:
    """Everything that was streamed, and how it ended."""
    *pieces, end = events(hearth, name, **more)
    return b"".join(piece["PayloadChunk"]["Payload"] for piece in pieces), end["InvokeComplete"]


def test_each_piece_is_there_before_the_next_is_made(hearth: House, gate: Gate) -> None:
    name = streaming(
        hearth,
        """
        for (const piece of ["one", "two", "three"]) {
            stream.write(piece);
            await stand(piece);
        }
        stream.end();
        """,
        GATE=gate.address,
    )
    stream = events(hearth, name)
    for piece in ("one", "two", "three"):
        assert next(stream) == {"PayloadChunk": {"Payload": piece.encode()}}
        gate.pass_one(piece)  # it waits there: nothing further can have been written
    assert list(stream) == [{"InvokeComplete": {}}]


def test_fifty_megabytes_arrive_intact(hearth: House) -> None:
    """In pieces of every size, each of them waiting for the one before it, as a pipeline does."""
    name = streaming(
        hearth,
        """
        const { createHash } = require("crypto");
        const { pipeline } = require("stream/promises");
        const hash = createHash("sha256");
        function* pieces() {
            for (let total = 0, n = 1; total < 50 * 2 ** 20; total += n % 200_000, n += 7919) {
                const piece = Buffer.alloc(n % 200_000, n % 251);
                hash.update(piece);
                yield piece;
            }
        }
        await pipeline(pieces, stream);
        console.log("digest", hash.digest("hex"));
        """,
    )
    body, end = whole(hearth, name, LogType="Tail")
    assert len(body) >= 50 * MEBIBYTE
    assert f"digest {sha256(body).hexdigest()}" in b64decode(end["LogResult"]).decode().replace("\t", " ")


def test_a_slow_reader_makes_the_function_wait(hearth: House, gate: Gate) -> None:
    name = streaming(
        hearth,
        """
        let written = 0;
        while (written < 1000 && stream.write(Buffer.alloc(65536))) written += 1;
        await stand("full");
        stream.end(String(written));
        """,
        GATE=gate.address,
    )
    # Nobody reads this connection.
    path = f"/2021-11-15/functions/{name}/response-streaming-invocations"
    idle = http.client.HTTPConnection("127.0.0.1", hearth.port, timeout=PATIENCE_S)
    headers = signature(hearth.variables, "POST", f"http://127.0.0.1:{hearth.port}{path}", b"{}")
    idle.request("POST", path, b"{}", headers)
    gate.pass_one("full")
    idle.close()
    eventually(lambda: "REPORT" in hearth.log(name), "the function has run to its end")


def test_a_function_that_does_not_stream_is_one_chunk(hearth: House) -> None:
    name = hearth.create("plain", "exports.handler = async (event) => event;", runtime=NODE)
    assert whole(hearth, name) == (b"{}", {})


def test_a_failure_half_way_has_a_code_and_details(hearth: House) -> None:
    name = streaming(hearth, 'stream.write("half"); throw new TypeError("broke half-way");')
    body, end = whole(hearth, name, LogType="Tail")
    assert (body, end["ErrorCode"]) == (b"half", "Unhandled")
    details = json.loads(end["ErrorDetails"])
    assert (details["errorType"], details["errorMessage"]) == ("TypeError", "broke half-way")
    assert "broke half-way" in b64decode(end["LogResult"]).decode()
    again, _ = whole(hearth, name)
    assert again == b"half"


def test_a_process_that_dies_half_way_has_a_code_as_well(hearth: House) -> None:
    name = streaming(hearth, 'stream.write("half", () => setTimeout(() => { throw new Error("uncaught"); }));')
    body, end = whole(hearth, name)
    assert (body, end["ErrorCode"]) == (b"half", "Unhandled")
    assert json.loads(end["ErrorDetails"])["errorMessage"] == "uncaught"


def test_the_time_limit_covers_the_stream(hearth: House) -> None:
    code = 'exports.handler = awslambda.streamifyResponse(async (event, stream) => { stream.write("half"); });'
    name = hearth.create("endless", code, runtime=NODE, timeout_s=1)
    body, end = whole(hearth, name)
    assert (body, end["ErrorCode"]) == (b"half", "Unhandled")
    assert json.loads(end["ErrorDetails"])["errorType"] == "Sandbox.Timedout"


def test_a_plain_invocation_gets_all_of_a_stream(hearth: House) -> None:
    name = streaming(hearth, 'stream.setContentType("text/plain"); stream.write("one "); stream.end("two");')
    answer = hearth.api.invoke(FunctionName=name, Payload=b"{}")
    assert (answer["Payload"].read(), answer["ResponseMetadata"]["HTTPHeaders"]["content-type"]) == (
        b"one two",
        "text/plain",
    )


PAGE = """
const page = awslambda.HttpResponseStream.from(stream, {
    statusCode: 207, headers: { "Content-Type": "text/event-stream", "X-Own": "1" }, cookies: ["a=1", "b=2"],
});
page.write("one");
await stand("one");
page.end("two");
"""


async def test_a_url_streams_a_page_with_its_prelude(hearth: House, gate: Gate) -> None:
    name = await asyncio.to_thread(streaming, hearth, PAGE, GATE=gate.address)
    await asyncio.to_thread(
        hearth.api.create_function_url_config, FunctionName=name, AuthType="NONE", InvokeMode="RESPONSE_STREAM"
    )
    async with aiohttp.ClientSession() as client, client.get(f"http://127.0.0.1:{hearth.port}/fn/{name}/") as page:
        assert (page.status, page.headers["Content-Type"], page.headers["X-Own"]) == (207, "text/event-stream", "1")
        assert page.headers.getall("Set-Cookie") == ["a=1", "b=2"]
        assert await page.content.readany() == b"one"
        await asyncio.to_thread(gate.pass_one, "one")
        assert await page.read() == b"two"


def test_a_buffered_url_gives_the_same_page_in_one(hearth: House) -> None:
    name = streaming(hearth, PAGE.replace('await stand("one");', ""))
    page = hearth.http("GET", hearth.url(name) + "/")
    assert (page.status, page.body, page.cookies) == (207, b"onetwo", ["a=1", "b=2"])
    assert page.headers["x-own"] == "1"


async def test_a_generator_in_python_streams_a_page(hearth: House, gate: Gate) -> None:
    code = """
import os, socket
def handler(event, context):
    yield {"statusCode": 207, "headers": {"Content-Type": "text/event-stream"}}
    yield "one"
    host, port = os.environ["GATE"].split(":")
    with socket.create_connection((host, int(port))) as gate:
        gate.sendall(b"one\\n")
        gate.recv(1)
    yield b"two"
"""
    name = await asyncio.to_thread(hearth.create, "generator", code, variables={"GATE": gate.address})
    await asyncio.to_thread(
        hearth.api.create_function_url_config, FunctionName=name, AuthType="NONE", InvokeMode="RESPONSE_STREAM"
    )
    async with aiohttp.ClientSession() as client, client.get(f"http://127.0.0.1:{hearth.port}/fn/{name}/") as page:
        assert (page.status, page.headers["Content-Type"]) == (207, "text/event-stream")
        assert await page.content.readany() == b"one"
        await asyncio.to_thread(gate.pass_one, "one")
        assert await page.read() == b"two"
