"""Random bytes for ids, from the system, fetched in advance: a system call per id would be felt on the hot path."""

from os import urandom

_POOL_BYTES = 8192


class RandomBytes:
    """A pool of the system's random bytes; none is given twice. For one event loop, and for ids, not for keys."""

    __slots__ = ("_at", "_pool")

    def __init__(self) -> None:
        self._pool = b""
        self._at = 0

    def chance(self) -> float:
        """A number from [0, 1), every one of its 2^32 values as likely as any other."""
        return int.from_bytes(self.take(4)) / 2**32

    def take(self, count: int) -> bytes:
        """Fresh random bytes, at most a pool's worth."""
        start, end = self._at, self._at + count
        if end > len(self._pool):
            self._pool = urandom(_POOL_BYTES)
            start, end = 0, count
        self._at = end
        return self._pool[start:end]
