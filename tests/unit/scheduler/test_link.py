"""All connections of one environment, spoken to over real sockets and a real pipe."""

import asyncio
import json
import os
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path

import pytest

from hearth.core.invocation import MAX_RESPONSE_BYTES
from hearth_scheduler.core.frames import encode
from hearth_scheduler.link import DRAIN_READS, MAX_UNGREETED, OUTPUT_READ_BYTES, SOCKET_NAME, Ended, Link

PATIENCE_S = 20.0
HELLO = encode(b"H", b"1\0stem")
READY = encode(b"H", b"1\0ready")
RUNNING = encode(b"i", b"1\0running\x000\x000")


class Events:
    """Everything the link reports, in order."""

    def __init__(self) -> None:
        self.seen: list[tuple[object, ...]] = []
        self.listeners: list[socket.socket] = []
        self._changed = asyncio.Event()

    def _note(self, *what: object) -> None:
        self.seen.append(what)
        self._changed.set()

    def said_stem(self, link: Link) -> None:
        self._note("stem")

    def said_ready(self, link: Link) -> None:
        self._note("ready")

    def asked_next(self, link: Link) -> None:
        self._note("next")

    def answered(self, link: Link, request_id: str, body: bytes, *, error_type: str | None, oversize: int) -> None:
        self._note("answer", request_id, body, error_type, oversize)

    def stream_began(self, link: Link, request_id: str, content_type: str) -> None:
        self._note("began", request_id, content_type)

    def stream_piece(self, link: Link, request_id: str, piece: bytes) -> None:
        self._note("piece", request_id, piece)

    def stream_ended(self, link: Link, request_id: str, body: bytes, *, error_type: str | None) -> None:
        self._note("ended", request_id, body, error_type)

    def init_failed(self, link: Link, error_type: str, body: bytes) -> None:
        self._note("init failed", error_type, body)

    def exited(self, link: Link, ended: Ended) -> None:
        self._note("exited", *ended)

    def runtime_lost(self, link: Link, *, unread: bool) -> None:
        self._note("lost", unread)

    def output(self, link: Link, data: bytes) -> None:
        self._note("output", data)

    def listening(self, link: Link, listener: socket.socket) -> None:
        self.listeners.append(listener)
        self._note("listening")

    async def until(self, is_so: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not is_so():
                self._changed.clear()
                await self._changed.wait()

    async def until_seen(self, *expected: tuple[object, ...]) -> None:
        await self.until(lambda: len(self.seen) >= len(expected))
        assert self.seen == list(expected)


class House:
    """A link that is open, and what a container would hold."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.events = Events()
        self.link = Link("e1", self.events)
        self.link.open(directory)
        self.tcp = socket.create_server(("127.0.0.1", 0))
        self.reader, self.writer = os.pipe()
        self._sockets: list[socket.socket] = [self.tcp]

    def connect(self) -> socket.socket:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.settimeout(PATIENCE_S)
        self._sockets.append(sock)
        sock.connect(str(self.directory / SOCKET_NAME))
        return sock

    async def runtime(self, greeting: bytes = HELLO) -> socket.socket:
        """A runtime client that has been heard."""
        before = len(self.events.seen)
        sock = self.connect()
        sock.sendall(greeting)
        await self.events.until(lambda: len(self.events.seen) > before)
        return sock

    async def init(self, *handles: int, greeting: bytes = RUNNING) -> socket.socket:
        """An init that hands its descriptors over."""
        sock = self.connect()
        socket.send_fds(sock, [greeting], list(handles or (self.tcp.fileno(), self.reader)))
        return sock

    async def until_closed(self, sock: socket.socket) -> None:
        """Wait until the link has closed a connection."""
        sock.setblocking(False)
        try:
            data = await asyncio.wait_for(asyncio.get_running_loop().sock_recv(sock, 1), PATIENCE_S)
        except ConnectionResetError:
            data = b""
        assert data == b""

    def close(self) -> None:
        self.link.close()
        for sock in self._sockets:
            sock.close()
        for handle in (self.reader, self.writer):
            os.close(handle)


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    """After each test no descriptor may be left."""
    handles = os.listdir("/proc/self/fd")
    house = House(tmp_path)
    yield house
    house.close()
    assert os.listdir("/proc/self/fd") == handles


# -- greetings --------------------------------------------------------------------------------------------------------


async def test_a_stem_cell_says_so(house: House) -> None:
    await house.runtime()

    await house.events.until_seen(("stem",))
    assert house.link.has_runtime


async def test_a_runtime_that_comes_back_says_so_and_goes_on(house: House) -> None:
    sock = house.connect()
    sock.sendall(READY + encode(b"R", b"old", b"1") + encode(b"N"))

    await house.events.until_seen(("ready",), ("answer", "old", b"1", None, 0), ("next",))


async def test_a_greeting_in_pieces_is_a_greeting(house: House) -> None:
    sock = house.connect()
    sock.sendall(HELLO[:1])
    await asyncio.sleep(0)  # so that it is read alone
    for byte in HELLO[1:]:
        sock.sendall(bytes([byte]))

    await house.events.until_seen(("stem",))


async def test_an_init_hands_over_its_listener_and_its_output(house: House) -> None:
    await house.init()
    await house.events.until_seen(("listening",))
    os.write(house.writer, b"hello")

    await house.events.until_seen(("listening",), ("output", b"hello"))
    assert house.events.listeners[0].getsockname() == house.tcp.getsockname()


async def test_an_init_may_report_an_exit_that_nobody_heard_of(house: House) -> None:
    await house.init(greeting=encode(b"i", b"1\0exited\x003\x000"))

    await house.events.until_seen(("listening",), ("exited", 3, 0, "", 0))


async def test_an_init_says_why_a_runtime_never_began(house: House) -> None:
    await house.init(greeting=encode(b"i", b"1\0exited\x00127\x000\0exec\x002"))

    await house.events.until_seen(("listening",), ("exited", 127, 0, "exec", 2))


@pytest.mark.parametrize("greeting", [b"\0", b"x", b"GET / HTTP/1.1\r\n\r\n", encode(b"N"), encode(b"R", b"id")])
async def test_who_does_not_greet_is_dropped(house: House, greeting: bytes) -> None:
    sock = house.connect()
    sock.sendall(greeting)

    await house.until_closed(sock)
    assert house.events.seen == []


async def test_who_leaves_without_a_word_is_forgotten(house: House) -> None:
    house.connect().close()
    await house.runtime()

    assert house.link._ungreeted == {}


@pytest.mark.parametrize("count", [0, 1, 3])
async def test_an_init_with_the_wrong_number_of_descriptors_is_dropped(house: House, count: int) -> None:
    sock = house.connect()
    socket.send_fds(sock, [RUNNING], [house.reader] * count)

    await house.until_closed(sock)
    assert house.events.seen == []


async def test_descriptors_that_are_something_else_are_closed_and_harm_nothing(house: House, tmp_path: Path) -> None:
    null, folder = os.open("/dev/null", os.O_RDONLY), os.open(tmp_path, os.O_RDONLY)
    connected = await house.runtime()
    for handles in ((null, folder), (house.reader, house.tcp.fileno()), (connected.fileno(), connected.fileno())):
        await house.init(*handles)
    os.close(null)
    os.close(folder)

    await house.init()

    await house.events.until_seen(("stem",), ("listening",))


async def test_descriptors_that_come_later_are_not_taken(house: House) -> None:
    sock = await house.runtime()

    socket.send_fds(sock, [encode(b"N")], [house.reader, house.tcp.fileno()])

    await house.events.until_seen(("stem",), ("next",))


async def test_too_many_who_have_not_greeted_push_out_the_oldest(house: House) -> None:
    silent = [house.connect() for _ in range(MAX_UNGREETED + 1)]

    await house.until_closed(silent[0])
    silent[-1].sendall(HELLO)
    await house.events.until_seen(("stem",))
    assert len(house.link._ungreeted) == MAX_UNGREETED - 1


# -- conversation -----------------------------------------------------------------------------------------------------


async def test_a_stem_cell_is_told_what_to_become(house: House) -> None:
    sock = await house.runtime()

    house.link.specialise({"COLOUR": "rot \u2764"}, "app.handler", anew=True)

    data = sock.recv(65536)
    assert data[:9] == encode(b"S", b"1", b"x" * (len(data) - 10))[:9]
    assert json.loads(data[10:]) == {"environment": {"COLOUR": "rot \u2764"}, "handler": "app.handler"}


@pytest.mark.parametrize("event", [b"", b"{}", b"x" * 100_000])
async def test_an_event_is_one_frame(house: House, event: bytes) -> None:
    sock = await house.runtime()

    house.link.invoke(b"id\0meta", event)

    expected = encode(b"I", b"id\0meta", event)
    received = b""
    while len(received) < len(expected):
        received += sock.recv(65536)
    assert received == expected


async def test_an_error_and_a_failed_init_carry_their_types(house: House) -> None:
    sock = await house.runtime()

    sock.sendall(encode(b"E", b"id\0App.Broken", b"{}") + encode(b"E", b"id", b"{}"))
    sock.sendall(encode(b"F", b"Runtime.Bad", b"!"))

    await house.events.until_seen(
        ("stem",),
        ("answer", "id", b"{}", "App.Broken", 0),
        ("answer", "id", b"{}", "", 0),
        ("init failed", "Runtime.Bad", b"!"),
    )


async def test_nonsense_from_a_runtime_ends_its_connection_as_a_loss(house: House) -> None:
    sock = await house.runtime()
    sock.sendall(b"nonsense, and more of it")

    await house.events.until_seen(("stem",), ("lost", False))
    await house.until_closed(sock)
    assert not house.link.has_runtime


@pytest.mark.parametrize("nonsense", [b"nonsense, and more of it", encode(b"x", b"one\0two"), encode(b"x", b"1")])
async def test_nonsense_from_an_init_ends_its_connection(house: House, nonsense: bytes) -> None:
    sock = await house.init()
    sock.sendall(nonsense)

    await house.until_closed(sock)
    assert house.events.seen == [("listening",)]


async def test_an_exit_is_reported_with_its_code_or_signal(house: House) -> None:
    sock = await house.init()
    sock.sendall(encode(b"x", b"0\x009"))

    await house.events.until_seen(("listening",), ("exited", 0, 9, "", 0))


# -- connections that are replaced ------------------------------------------------------------------------------------


async def test_a_new_runtime_connection_replaces_the_old_one_without_a_loss(house: House) -> None:
    old = await house.runtime()

    new = await house.runtime(READY)
    house.link.invoke(b"id", b"event")

    await house.until_closed(old)
    assert new.recv(100) == encode(b"I", b"id", b"event")
    assert house.events.seen == [("stem",), ("ready",)]


async def test_a_new_init_replaces_the_listener_and_the_output(house: House) -> None:
    old = await house.init()
    await house.events.until_seen(("listening",))

    await house.init()
    await house.until_closed(old)
    await house.events.until_seen(("listening",), ("listening",))
    os.write(house.writer, b"hello")

    await house.events.until_seen(("listening",), ("listening",), ("output", b"hello"))
    assert house.events.listeners[0].fileno() == -1


async def test_a_lost_runtime_says_whether_it_had_read_its_event(house: House) -> None:
    first = await house.runtime()
    house.link.invoke(b"id", b"event")
    first.close()
    await house.events.until_seen(("stem",), ("lost", True))

    second = await house.runtime(READY)
    house.link.invoke(b"id", b"event")
    second.recv(100)
    second.close()

    await house.events.until_seen(("stem",), ("lost", True), ("ready",), ("lost", False))


# -- output -----------------------------------------------------------------------------------------------------------


async def test_what_was_written_before_an_answer_is_reported_before_it(house: House) -> None:
    await house.init()
    await house.events.until_seen(("listening",))
    sock = await house.runtime()
    for number in range(50):
        os.write(house.writer, b"line %d" % number)
        sock.sendall(encode(b"R", b"id", b"%d" % number))
        house.link.settle()

    kinds = [what[0] for what in house.events.seen[2:]]
    assert kinds == ["output", "answer"] * 50


async def test_what_was_written_before_a_failed_init_is_reported_before_it(house: House) -> None:
    await house.init()
    await house.events.until_seen(("listening",))
    sock = await house.runtime()
    os.write(house.writer, b"Traceback")
    sock.sendall(encode(b"F", b"Bad", b"{}"))

    house.link.settle()

    assert house.events.seen[2:] == [("output", b"Traceback"), ("init failed", "Bad", b"{}")]


async def test_draining_is_bounded_however_much_is_printed(house: House) -> None:
    await house.init()
    await house.events.until_seen(("listening",))
    os.set_blocking(house.writer, False)
    chunk = b"x" * OUTPUT_READ_BYTES
    house.events.output = lambda link, data: _print_more()  # type: ignore[method-assign]  # a process that never stops
    reads = 0

    def _print_more() -> None:
        nonlocal reads
        reads += 1
        os.write(house.writer, chunk)

    _print_more()
    house.link.drain_output()

    assert reads == 1 + DRAIN_READS


async def test_output_that_has_ended_is_let_go(house: House) -> None:
    reader, writer = os.pipe()
    await house.init(house.tcp.fileno(), reader)
    await house.events.until_seen(("listening",))
    os.close(reader)
    os.write(writer, b"the end")
    os.close(writer)

    await house.events.until_seen(("listening",), ("output", b"the end"))
    house.link._read_output()

    assert house.link._output is None


async def test_settling_reads_everything_up_to_the_way_it_ended(house: House) -> None:
    sock = await house.runtime()
    house.link.invoke(b"id", b"event")
    sock.sendall(encode(b"R", b"id", b"x" * 100_000))
    sock.close()

    house.link.settle()

    assert house.events.seen[1:] == [("answer", "id", b"x" * 100_000, None, 0), ("lost", True)]


# -- life -------------------------------------------------------------------------------------------------------------


async def test_after_closing_nothing_is_reported_and_nobody_can_connect(house: House) -> None:
    await house.init()
    await house.events.until_seen(("listening",))
    sock = await house.runtime()
    sock.sendall(encode(b"N"))
    os.write(house.writer, b"too late")

    house.link.close()
    house.link.close()
    house.link.settle()
    house.link.drain_output()
    house.link.invoke(b"id", b"event")

    assert house.events.seen == [("listening",), ("stem",)]
    with pytest.raises(ConnectionRefusedError):
        house.connect()


async def test_opening_again_over_a_socket_of_an_earlier_run_works(house: House) -> None:
    house.link.close()
    house.link = Link("e1", house.events)
    house.link.open(house.directory)

    await house.runtime()

    assert house.events.seen == [("stem",)]


async def test_a_directory_with_a_long_name_is_no_obstacle(tmp_path: Path) -> None:
    deep = tmp_path / ("x" * 200)
    deep.mkdir()
    link = Link("e1", Events())

    link.open(deep)

    assert (deep / SOCKET_NAME).is_socket()
    link.close()


async def test_a_directory_that_is_not_there_is_an_error_that_leaves_nothing(tmp_path: Path) -> None:
    handles = os.listdir("/proc/self/fd")
    with pytest.raises(FileNotFoundError):
        Link("e1", Events()).open(tmp_path / "nowhere")

    assert os.listdir("/proc/self/fd") == handles


# -- streams ----------------------------------------------------------------------------------------------------------


async def test_a_stream_is_reported_piece_by_piece(house: House) -> None:
    sock = await house.runtime()
    sock.sendall(encode(b"P", b"one\0text/plain") + encode(b"D", b"one", b"half") + encode(b"D", b"one", b""))
    sock.sendall(encode(b"Z", b"one") + encode(b"Z", b"two\0Own", b"{}"))

    await house.events.until_seen(
        ("stem",),
        ("began", "one", "text/plain"),
        ("piece", "one", b"half"),
        ("piece", "one", b""),
        ("ended", "one", b"", None),
        ("ended", "two", b"{}", "Own"),
    )


async def test_a_stream_without_a_content_type_has_none(house: House) -> None:
    sock = await house.runtime()
    sock.sendall(encode(b"P", b"one"))

    await house.events.until_seen(("stem",), ("began", "one", ""))


async def test_output_before_the_end_of_a_stream_comes_before_it(house: House) -> None:
    await house.init()
    sock = await house.runtime()
    os.write(house.writer, b"said")
    sock.sendall(encode(b"Z", b"one"))

    await house.events.until(lambda: ("ended", "one", b"", None) in house.events.seen)
    assert house.events.seen[-2:] == [("output", b"said"), ("ended", "one", b"", None)]


async def test_a_piece_larger_than_any_response_ends_the_connection(house: House) -> None:
    sock = await house.runtime()
    data = encode(b"D", b"one", bytes(MAX_RESPONSE_BYTES + 1))
    with suppress(ConnectionError):
        await asyncio.to_thread(sock.sendall, data)

    await house.events.until_seen(("stem",), ("lost", False))


async def test_a_paused_link_takes_nothing_until_it_is_resumed(house: House) -> None:
    sock = await house.runtime()
    house.link.pause()
    house.link.pause()
    sock.setblocking(False)
    piece, sent = encode(b"D", b"one", bytes(60_000)), 0
    with suppress(BlockingIOError):
        for _ in range(1000):
            sent += sock.send(piece)
            await asyncio.sleep(0)  # the link's chance to read
    assert house.events.seen == [("stem",)]

    house.link.resume()
    house.link.resume()

    await house.events.until(lambda: len(house.events.seen) > sent // len(piece))


async def test_what_a_paused_runtime_said_before_it_ended_is_read(house: House) -> None:
    sock = await house.runtime()
    house.link.pause()
    sock.sendall(encode(b"D", b"one", b"last words"))
    sock.close()

    house.link.settle()

    assert house.events.seen == [("stem",), ("piece", "one", b"last words"), ("lost", False)]


async def test_a_link_without_a_runtime_can_be_paused_and_resumed(house: House) -> None:
    house.link.pause()
    house.link.resume()

    assert not house.link.has_runtime
