"""A streamed response on its way from the environment's connection to its caller.

Rule 1: nothing is kept for a caller that takes pieces. When it has enough for now, the environment's connection is not
read; the kernel's buffer fills, and the function's own writes have to wait.
Rule 2: a caller that has gone is not waited for: the function goes on, its pieces are thrown away.
Rule 3: a caller that wants the response in one piece gets it collected, under the limit of any other response.
"""

import asyncio
from collections.abc import Callable
from typing import Protocol

from hearth.core.invocation import MAX_RESPONSE_BYTES, ResponseStream
from hearth_scheduler.core.stream_pace import Pace

SHORTEST_PAUSE_S = 0.01
"""Shorter waits are saved up: a timer for every piece would cost more than the piece."""


class Source(Protocol):
    """The connection that the pieces come from. Both methods are idempotent."""

    def pause(self) -> None: ...

    def resume(self) -> None: ...


class Relay:
    """Hands pieces on as they come. `close` when the response has ended, or nobody wants the rest of it."""

    def __init__(self, sink: ResponseStream, source: Source, pace: Pace, clock: Callable[[], float]) -> None:
        self._sink = sink
        self._source = source
        self._pace = pace
        self._clock = clock
        self._is_open = True
        self._is_full = False
        self._waiting: asyncio.TimerHandle | None = None

    def begin(self, content_type: str) -> None:
        """The response begins."""
        self._sink.begin(content_type, self._go_on)

    def take(self, piece: bytes) -> bool:
        """Hand a piece on; False if it is more than a response may be, and nothing was handed on."""
        if not self._is_open:
            return True
        delay_s = self._pace.take(len(piece), self._clock())
        if self._pace.is_too_much:
            return False
        self._is_full = not self._sink.write(piece)
        if delay_s >= SHORTEST_PAUSE_S and self._waiting is None:
            self._waiting = asyncio.get_running_loop().call_later(delay_s, self._waited)
        if self._is_full or self._waiting is not None:
            self._source.pause()
        return True

    def _go_on(self) -> None:
        self._is_full = False
        self._resume()

    def _waited(self) -> None:
        self._waiting = None
        self._resume()

    def _resume(self) -> None:
        if self._is_open and not self._is_full and self._waiting is None:
            self._source.resume()

    def close(self) -> None:
        """Nothing is handed on any more; what still comes is read and dropped. Idempotent."""
        if self._is_open:
            self._is_open = False
            if self._waiting is not None:
                self._waiting.cancel()
                self._waiting = None
            self._source.resume()


class Collected:
    """Puts the pieces together. `oversize` counts all bytes of a response that is too large, and is 0 for any other."""

    def __init__(self, content_type: str) -> None:
        self.content_type = content_type
        self.body = bytearray()
        self.oversize = 0

    def take(self, piece: bytes) -> bool:
        """Keep a piece, if there is still a point in it."""
        if self.oversize or len(self.body) + len(piece) > MAX_RESPONSE_BYTES:
            self.oversize += len(self.body) + len(piece)
            self.body.clear()
        else:
            self.body += piece
        return True

    def close(self) -> None:
        """Nothing to stop: see `Relay.close`."""


Streamed = Relay | Collected
