"""Responses that come in pieces: an engine with real processes and real sockets, and a function that streams."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
from tests.integration.engine_house import PATIENCE_S, Gate, House

from hearth.core.function import FunctionVersion
from hearth.core.invocation import FailureKind, FunctionFailed, Outcome, Succeeded
from hearth_scheduler.core.policy import Policy
from hearth_scheduler.core.runtime_talk import Turn
from hearth_scheduler.core.stream_pace import StreamLimits

MEBIBYTE = 2**20
TYPE = "text/plain"
STREAM = f"""
def begin(context): connection.sendall(encode(b"P", (context[0], "{TYPE}")))
def piece(context, data): connection.sendall(encode(b"D", (context[0],), data))
def end(context, *error_type, body=b""): connection.sendall(encode(b"Z", (context[0], *error_type), body))
"""
"""What a function's own helpers look like. The answer that the pretended client gives afterwards is late news."""


class Sink:
    """A caller that takes pieces. `is_full`: it has enough, whatever comes."""

    def __init__(self) -> None:
        self.content_type = ""
        self.pieces: list[bytes] = []
        self.is_full = False
        self._go_on: Callable[[], None] | None = None
        self._news = asyncio.Event()

    def begin(self, content_type: str, go_on: Callable[[], None]) -> None:
        self.content_type, self._go_on = content_type, go_on

    def write(self, piece: bytes) -> bool:
        self.pieces.append(piece)
        self._news.set()
        return not self.is_full

    @property
    def body(self) -> bytes:
        return b"".join(self.pieces)

    def go_on(self) -> None:
        self.is_full = False
        assert self._go_on is not None
        self._go_on()

    async def has(self, count: int) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while len(self.pieces) < count:
                self._news.clear()
                await self._news.wait()


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    house = House(tmp_path)
    async with house.build(Policy(init_timeout_s=10), streams=StreamLimits(max_bytes=20 * MEBIBYTE)):
        yield house
    assert house.members == []
    assert house.engine.counters["defects"] == 0
    assert house.engine._tasks.failures == 0


@pytest.fixture
def gate(house: House) -> Iterator[Gate]:
    gate = house.gate()
    yield gate
    gate.close()


def submit(
    house: House, function: FunctionVersion, sink: Sink | None, *, wants_log_tail: bool = False
) -> asyncio.Future[Outcome]:
    invocation = house.invocation(function, wants_log_tail=wants_log_tail)
    return house.engine.submit(invocation._replace(stream=sink))


async def ended(outcome: asyncio.Future[Outcome]) -> Outcome:
    return await asyncio.wait_for(outcome, PATIENCE_S)


async def test_a_piece_is_there_before_the_next_one_is_made(house: House, gate: Gate) -> None:
    function = house.function(
        STREAM
        + f"""
def handler(event, context):
    begin(context)
    piece(context, b"first")
    open({str(gate.path)!r}, "rb").read(1)
    piece(context, b"second")
    end(context)
"""
    )
    sink = Sink()
    outcome = submit(house, function, sink)

    await sink.has(1)
    assert (sink.content_type, sink.pieces) == (TYPE, [b"first"])
    assert not outcome.done()
    gate.open()

    result = await ended(outcome)
    assert isinstance(result, Succeeded) and result.payload == b""
    assert sink.pieces == [b"first", b"second"]
    assert house.engine.counters["streams"] == 1
    assert isinstance(await house.invoke(house.function(name="other")), Succeeded)


async def test_a_function_that_does_not_stream_never_touches_the_sink(house: House) -> None:
    sink = Sink()
    result = await ended(submit(house, house.function(), sink))

    assert isinstance(result, Succeeded) and result.payload == b'"event"'
    assert (sink.content_type, sink.pieces) == ("", [])


async def test_a_caller_that_has_enough_makes_the_function_wait(house: House) -> None:
    """The function writes until it is really stuck: with nobody to stop it, it would write all of it."""
    function = house.function(
        STREAM
        + """
import select
def handler(event, context):
    begin(context)
    connection.setblocking(False)
    rest = encode(b"D", (context[0],), b"x" * 65536) * 200
    while rest and select.select([], [connection], [], 0.3)[1]:
        rest = rest[connection.send(rest):]
    print(len(rest), "bytes cannot be written", flush=True)
    connection.setblocking(True)
    connection.sendall(rest)
    piece(context, b"the end")
    end(context)
"""
    )
    sink = Sink()
    sink.is_full = True
    outcome = submit(house, function, sink)

    await house.journal.saw("bytes cannot be written")
    assert 0 < len(sink.body) <= MEBIBYTE
    assert not outcome.done()
    sink.go_on()

    assert isinstance(await ended(outcome), Succeeded)
    assert set(sink.pieces[:-1]) == {b"x" * 65536} and sink.pieces[-1] == b"the end"


async def test_a_caller_that_goes_is_not_waited_for(house: House) -> None:
    """It was full when it went: the function would wait for ever."""
    function = house.function(
        STREAM
        + """
def handler(event, context):
    begin(context)
    for _ in range(100): piece(context, b"x" * 65536)
    end(context)
    print("written to its end", flush=True)
"""
    )
    sink = Sink()
    sink.is_full = True
    outcome = submit(house, function, sink)
    await sink.has(1)
    taken = len(sink.pieces)

    outcome.cancel()

    await house.journal.saw("written to its end")
    assert len(sink.pieces) < taken + 100
    await house.until(lambda: house.member.call is None)
    assert isinstance(await house.invoke(house.function(name="other")), Succeeded)


async def test_without_a_taker_the_pieces_are_collected(house: House) -> None:
    function = house.function(
        STREAM
        + """
def handler(event, context):
    begin(context)
    for part in (b"one ", b"two ", b"three"): piece(context, part)
    end(context)
"""
    )
    result = await house.invoke(function)

    assert isinstance(result, Succeeded)
    assert (result.payload, result.content_type) == (b"one two three", TYPE)


async def test_what_is_collected_has_the_limit_of_any_response(house: House) -> None:
    function = house.function(
        STREAM
        + """
def handler(event, context):
    begin(context)
    for _ in range(7): piece(context, bytes(2 ** 20))
    end(context)
"""
    )
    result = await house.invoke(function)

    assert isinstance(result, FunctionFailed)
    assert result.kind is FailureKind.RESPONSE_TOO_LARGE
    assert b"(6291556 bytes)" in result.payload


async def test_a_stream_over_its_limit_is_cut_off_and_the_function_goes_on(house: House) -> None:
    function = house.function(
        STREAM
        + """
def handler(event, context):
    begin(context)
    for _ in range(30): piece(context, bytes(2 ** 20))
    end(context)
"""
    )
    sink = Sink()
    result = await ended(submit(house, function, sink))

    assert isinstance(result, FunctionFailed)
    assert result.kind is FailureKind.RESPONSE_TOO_LARGE
    assert b"(20971520 bytes)" in result.payload
    assert len(sink.body) == 20 * MEBIBYTE
    await house.until(lambda: house.member.call is None)
    again = await ended(submit(house, function, Sink()))
    assert isinstance(again, FunctionFailed)
    assert len(house.containers.started) == 1


@pytest.mark.parametrize("has_sink", [True, False])
async def test_a_function_that_fails_half_way_says_with_what(house: House, has_sink: bool) -> None:
    function = house.function(
        STREAM
        + """
def handler(event, context):
    begin(context)
    piece(context, b"half")
    end(context, "Own", body=b'{"errorType":"Own"}')
"""
    )
    sink = Sink() if has_sink else None
    result = await ended(submit(house, function, sink))

    assert isinstance(result, FunctionFailed)
    assert (result.kind, result.payload) == (FailureKind.HANDLER, b'{"errorType":"Own"}')
    assert sink is None or sink.pieces == [b"half"]


async def test_an_error_in_place_of_the_end_is_an_error_half_way(house: House) -> None:
    """What an exception does that nobody caught: the client knows of no stream any more."""
    function = house.function(
        STREAM
        + """
def handler(event, context):
    begin(context)
    piece(context, b"half")
    raise ValueError("nobody caught it")
"""
    )
    sink = Sink()
    result = await ended(submit(house, function, sink))

    assert isinstance(result, FunctionFailed)
    assert json.loads(result.payload)["errorMessage"] == "nobody caught it"
    assert sink.pieces == [b"half"]


async def test_a_process_that_ends_half_way_has_said_what_it_said(house: House) -> None:
    function = house.function(
        STREAM
        + """
def handler(event, context):
    begin(context)
    for _ in range(3): piece(context, b"x" * 1000)
    os._exit(7)
import os
"""
    )
    sink = Sink()
    result = await ended(submit(house, function, sink))

    assert isinstance(result, FunctionFailed) and result.kind is FailureKind.EXIT
    assert b"exit status 7" in result.payload
    assert sink.body == b"x" * 3000


async def test_a_timeout_covers_the_stream(house: House) -> None:
    function = house.function(
        STREAM
        + """
def handler(event, context):
    begin(context)
    piece(context, b"half")
    import time
    time.sleep(60)
""",
        timeout_s=1,
    )
    sink = Sink()
    result = await ended(submit(house, function, sink))

    assert isinstance(result, FunctionFailed) and result.kind is FailureKind.TIMEOUT
    assert sink.pieces == [b"half"]
    await house.until_empty()


async def test_the_log_of_a_stream_is_there_with_its_outcome(house: House) -> None:
    function = house.function(
        STREAM
        + """
def handler(event, context):
    print("said while streaming", flush=True)
    begin(context)
    piece(context, b"x")
    end(context)
"""
    )
    result = await ended(submit(house, function, Sink(), wants_log_tail=True))

    assert isinstance(result, Succeeded)
    assert b"said while streaming" in result.log_tail
    assert b"REPORT RequestId" in result.log_tail


async def test_a_client_that_asks_for_more_before_the_end_has_left(house: House) -> None:
    function = house.function(
        STREAM
        + """
def handler(event, context):
    begin(context)
    connection.sendall(NEXT)
"""
    )
    result = await ended(submit(house, function, Sink()))

    assert isinstance(result, FunctionFailed) and result.kind is FailureKind.EXIT


async def test_pieces_of_a_request_that_nobody_knows_are_ignored(house: House) -> None:
    function = house.function(
        STREAM
        + """
def handler(event, context):
    begin(["another request"])
    piece(["another request"], b"of whom?")
    end(["another request"])
    return "fine"
"""
    )
    sink = Sink()
    result = await ended(submit(house, function, sink))

    assert isinstance(result, Succeeded) and result.payload == b'"fine"'
    assert sink.pieces == []


async def test_a_stream_outlives_its_scheduler_and_its_environment_serves_again(tmp_path: Path) -> None:
    """The caller is gone with the first scheduler; the function's writes must not fail nor wait because of it."""
    house = House(tmp_path)
    gate = house.gate()
    await house.build(Policy()).__aenter__()
    function = house.function(
        STREAM
        + f"""
def handler(event, context):
    if event == "again": return event
    begin(context)
    piece(context, b"half")
    open({str(gate.path)!r}, "rb").read(1)
    try:
        for _ in range(100): piece(context, b"x" * 65536)
        end(context)
    except OSError:
        pass  # the scheduler is gone: what our own clients do as well
"""
    )
    sink = Sink()
    outcome = submit(house, function, sink)
    await sink.has(1)
    await house.crash()
    outcome.cancel()

    engine = house.build(Policy(), epoch="2")
    engine.configure(function)
    async with engine:
        gate.open()
        await house.until(lambda: bool(engine.fleet.environments) and house.member.talk.turn is Turn.WAITING)
        result = await house.invoke(function, b'"again"')
        assert isinstance(result, Succeeded) and result.payload == b'"again"'
        assert len(house.containers.started) == 1
    gate.close()


# -- over the Runtime API ---------------------------------------------------------------------------------------------

HTTP = """
import os, socket
from base64 import b64encode
def http():
    api = socket.create_connection(("127.0.0.1", port))
    return api, api.makefile("rb")
def reply(lines):
    head = {}
    lines.readline()
    while (line := lines.readline().strip()):
        name, _, value = line.decode().partition(": ")
        head[name.lower()] = value
    return head, lines.read(int(head.get("content-length", 0)))
def next_event():
    api, lines = http()
    api.sendall(b"GET /2018-06-01/runtime/invocation/next HTTP/1.1\\r\\n\\r\\n")
    head, _ = reply(lines)
    api.sendall(
        b"POST /2018-06-01/runtime/invocation/%s/response HTTP/1.1\\r\\nTransfer-Encoding: chunked\\r\\n"
        b"Lambda-Runtime-Function-Response-Mode: streaming\\r\\nContent-Type: text/plain\\r\\n\\r\\n"
        % head["lambda-runtime-aws-request-id"].encode()
    )
    return api, lines
def chunk(data): return b"%x\\r\\n%s\\r\\n" % (len(data), data)
"""
"""A runtime of its own, which leaves our protocol for AWS's before its init is over."""


async def test_a_runtime_of_its_own_streams(house: House, gate: Gate) -> None:
    function = house.function(
        HTTP
        + f"""
while True:
    api, lines = next_event()
    api.sendall(chunk(b"first"))
    open({str(gate.path)!r}, "rb").read(1)
    api.sendall(chunk(b"second") + b"0\\r\\n\\r\\n")
    assert reply(lines)[1] == b'{{"status":"OK"}}'
"""
    )
    for _ in range(2):
        sink = Sink()
        outcome = submit(house, function, sink)
        await sink.has(1)
        assert (sink.content_type, sink.pieces) == (TYPE, [b"first"])
        gate.open()
        assert isinstance(await ended(outcome), Succeeded)
        assert sink.pieces == [b"first", b"second"]
        await house.until(lambda: house.member.call is None)
    assert len(house.containers.started) == 1


async def test_a_runtime_of_its_own_says_in_trailers_that_it_failed(house: House) -> None:
    function = house.function(
        HTTP
        + """
while True:
    api, lines = next_event()
    error = b64encode(b'{"errorType":"Own"}')
    api.sendall(chunk(b"half") + b"0\\r\\nLambda-Runtime-Function-Error-Type: Own\\r\\n")
    api.sendall(b"Lambda-Runtime-Function-Error-Body: " + error + b"\\r\\n\\r\\n")
    reply(lines)
"""
    )
    sink = Sink()
    result = await ended(submit(house, function, sink))

    assert isinstance(result, FunctionFailed)
    assert (result.kind, result.payload) == (FailureKind.HANDLER, b'{"errorType":"Own"}')
    assert sink.pieces == [b"half"]


@pytest.mark.parametrize(
    ("last", "kind", "error_type"),
    [
        ("api.close(); lines.close()", FailureKind.HANDLER, "TruncatedResponse"),
        ("os._exit(3)", FailureKind.EXIT, "ExitError"),
    ],
)
async def test_a_response_that_breaks_off_is_told_from_a_death(
    house: House, last: str, kind: FailureKind, error_type: str
) -> None:
    function = house.function(
        HTTP
        + f"""
while True:
    api, lines = next_event()
    api.sendall(chunk(b"half"))
    {last}
"""
    )
    sink = Sink()
    result = await ended(submit(house, function, sink))

    assert isinstance(result, FunctionFailed)
    assert (result.kind, json.loads(result.payload)["errorType"]) == (kind, f"Runtime.{error_type}")


async def test_a_caller_that_has_enough_makes_a_runtime_of_its_own_wait(house: House) -> None:
    function = house.function(
        HTTP
        + """
import select
while True:
    api, lines = next_event()
    api.setblocking(False)
    rest = chunk(b"x" * 65536) * 280
    while rest and select.select([], [api], [], 0.3)[1]:
        rest = rest[api.send(rest):]
    print(len(rest), "bytes cannot be written", flush=True)
    api.setblocking(True)
    api.sendall(rest + chunk(b"the end") + b"0\\r\\n\\r\\n")
    reply(lines)
"""
    )
    sink = Sink()
    sink.is_full = True
    outcome = submit(house, function, sink)

    await house.journal.saw("bytes cannot be written")
    assert "\n0 bytes cannot be written" not in house.journal.text
    assert 0 < len(sink.body) <= MEBIBYTE
    sink.go_on()

    assert isinstance(await ended(outcome), Succeeded)
    assert sink.body.endswith(b"the end")
