"""One connection: what arrives, what is sent, and how it ended."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator

import pytest

from hearth_scheduler.wire import Wire

PATIENCE_S = 20.0


class Ends:
    """A wire on one end, a blocking socket of the test's on the other."""

    def __init__(self) -> None:
        ours, self.peer = socket.socketpair()
        self.peer.settimeout(PATIENCE_S)
        self.sock = ours
        self.received = bytearray()
        self.lost: list[bool] = []
        self.changed = asyncio.Event()
        self.wire = Wire(ours, self._on_bytes, self._on_lost)

    def _on_bytes(self, data: bytes) -> None:
        self.received += data
        self.changed.set()

    def _on_lost(self, unread: bool) -> None:
        self.lost.append(unread)
        self.changed.set()

    async def until_lost(self) -> bool:
        while not self.lost:
            self.changed.clear()
            await asyncio.wait_for(self.changed.wait(), PATIENCE_S)
        return self.lost[0]

    async def until_received(self, count: int) -> bytes:
        while len(self.received) < count:
            self.changed.clear()
            await asyncio.wait_for(self.changed.wait(), PATIENCE_S)
        return bytes(self.received)

    async def read_all(self, count: int) -> bytes:
        """Let the peer read that many bytes, beside the loop."""
        return await asyncio.to_thread(self._read, count)

    def _read(self, count: int) -> bytes:
        data = bytearray()
        while len(data) < count:
            more = self.peer.recv(count - len(data))
            assert more, "the wire closed"
            data += more
        return bytes(data)


@pytest.fixture
async def ends() -> AsyncIterator[Ends]:
    ends = Ends()
    yield ends
    ends.wire.close()
    ends.peer.close()


async def test_what_the_peer_sends_arrives(ends: Ends) -> None:
    ends.peer.sendall(b"hello")

    assert await ends.until_received(5) == b"hello"


async def test_a_small_head_and_body_are_one_write(ends: Ends) -> None:
    ends.wire.send(b"head ", b"body")

    assert ends.peer.recv(100) == b"head body"


@pytest.mark.parametrize("size", [0, 1, 65_535, 65_536, 200_000, 6_000_000])
async def test_a_body_of_any_size_arrives_whole(ends: Ends, size: int) -> None:
    body = os.urandom(size)

    ends.wire.send(b"head", body)

    assert await ends.read_all(4 + size) == b"head" + body


async def test_what_does_not_fit_is_kept_in_order(ends: Ends) -> None:
    ends.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    pieces = [bytes([number]) * 10_000 for number in range(30)]

    for piece in pieces:
        ends.wire.send(piece[:10], piece[10:])

    assert await ends.read_all(300_000) == b"".join(pieces)
    ends.wire.send(b"after")
    assert await ends.read_all(5) == b"after"


async def test_a_peer_that_had_read_everything_has_left_nothing_unread(ends: Ends) -> None:
    ends.wire.send(b"event")
    ends.peer.recv(100)
    ends.peer.close()

    assert await ends.until_lost() is False


async def test_a_peer_that_was_sent_nothing_has_left_nothing_unread(ends: Ends) -> None:
    ends.peer.close()

    assert await ends.until_lost() is False


async def test_a_peer_that_dies_with_unread_bytes_is_told_apart(ends: Ends) -> None:
    ends.wire.send(b"event")
    ends.peer.close()

    assert await ends.until_lost() is True


async def test_a_peer_that_had_read_only_a_part_has_left_the_rest_unread(ends: Ends) -> None:
    ends.wire.send(b"event")
    ends.peer.recv(2)
    ends.peer.close()

    assert await ends.until_lost() is True


async def test_what_was_still_kept_here_counts_as_unread(ends: Ends) -> None:
    ends.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    ends.wire.send(b"head", b"x" * 1_000_000)
    ends.peer.close()

    assert await ends.until_lost() is True


async def test_sending_to_a_peer_that_is_gone_already_counts_as_unread(ends: Ends) -> None:
    ends.peer.close()
    ends.wire.send(b"event")

    assert await ends.until_lost() is True


async def test_last_words_arrive_before_the_loss(ends: Ends) -> None:
    ends.wire.send(b"event")
    ends.peer.sendall(b"last words")
    ends.peer.close()

    # uvloop calls a reader no more than once after an error (libuv stops polling then); whoever needs to know asks.
    while ends.wire.poll():
        pass

    assert ends.lost == [True]
    assert ends.received == b"last words"


async def test_the_loss_is_reported_once(ends: Ends) -> None:
    ends.peer.close()
    await ends.until_lost()

    assert ends.wire.poll() is False
    ends.wire.send(b"late", b"news")

    assert ends.lost == [False]
    assert not ends.wire.is_open


async def test_closing_from_our_side_calls_nothing(ends: Ends) -> None:
    ends.peer.sendall(b"too late")

    ends.wire.close()
    ends.wire.close()

    assert ends.wire.poll() is False
    assert not ends.received and not ends.lost


async def test_polling_reads_now_and_says_whether_there_was_something(ends: Ends) -> None:
    assert ends.wire.poll() is False
    ends.peer.sendall(b"now")

    assert ends.wire.poll() is True
    assert ends.received == b"now"


async def test_closing_within_a_callback_is_allowed() -> None:
    ours, peer = socket.socketpair()
    seen: list[bytes] = []

    def close(data: bytes) -> None:
        seen.append(data)
        wire.close()

    wire = Wire(ours, close, lambda unread: seen.append(b"lost"))
    peer.sendall(b"bye")

    wire.poll()

    assert seen == [b"bye"]
    peer.close()
