"""The load generator's process: `python -m tests.bench.load_process`, a `Load` as JSON on its standard input.

HTTP/1.1 over kept-alive connections on uvloop, parsed in C, so that it takes little of the cores that it shares with
what it measures. One connection has one request under way; a lost connection is an error, and is opened again.
"""

import asyncio
import json
import random
import sys
import time
from array import array
from collections import Counter, deque
from dataclasses import asdict
from typing import Any, cast

import httptools
import uvloop
from tests.bench.figures import percentile
from tests.bench.load import Latency, Load, LoadResult, Target
from tests.signing import signature

REQUEST_LIMIT_S = 30.0
_RECONNECT_S = 0.01
_WATCH_EVERY_S = 0.25


class Generator:
    """Counts requests out and answers in. State: owned by the event loop, changed by the connections' callbacks."""

    def __init__(self, load: Load) -> None:
        self.load = load
        self.latencies: dict[int, array[float]] = {}
        self.errors: Counter[str] = Counter()
        self.waiting: deque[float] = deque()
        self.idle: dict[Connection, None] = {}
        self.is_over = asyncio.Event()
        self.in_flight = 0
        self._sent = 0
        self._is_stopping = False
        self._started_at = time.perf_counter()
        self._ended_at = self._started_at

    def start(self) -> None:
        self._started_at = time.perf_counter()

    def may_send(self) -> bool:
        """Whether a further request belongs to this load. Asked once for each that is then sent."""
        if self._all_sent():
            self.end_if_done()
            return False
        self._sent += 1
        self.in_flight += 1
        return True

    def answered(self, status: int, latency_s: float) -> None:
        self.latencies.setdefault(status, array("d")).append(latency_s)
        self.in_flight -= 1
        self._ended_at = time.perf_counter()

    def failed(self, kind: str) -> None:
        self.errors[kind] += 1
        self.in_flight -= 1
        self._ended_at = time.perf_counter()

    def stop(self) -> None:
        self._is_stopping = True
        self.end_if_done()

    def _all_sent(self) -> bool:
        return self._is_stopping or (self.load.total is not None and self._sent >= self.load.total)

    def end_if_done(self) -> None:
        """In flight includes what waits for a connection."""
        if self.in_flight == 0 and self._all_sent():
            self.is_over.set()

    def result(self) -> LoadResult:
        by_status = {
            status: Latency(len(values), *(percentile(values, each) for each in (50, 95, 99, 100)))
            for status, values in sorted(self.latencies.items())
        }
        return LoadResult(max(self._ended_at - self._started_at, 0.0), by_status, dict(self.errors))


class Connection(asyncio.Protocol):
    """One client. Closed loop: the next request follows the answer. Otherwise it takes what waits, or is idle."""

    def __init__(self, generator: Generator, target: Target) -> None:
        self._generator = generator
        self._target = target
        self._transport: asyncio.Transport | None = None
        self._parser: Any = None
        self.sent_at: float | None = None

    async def connect(self) -> None:
        """Open, or open again, the connection."""
        while not self._generator.is_over.is_set():
            try:
                async with asyncio.timeout(REQUEST_LIMIT_S):
                    await asyncio.get_running_loop().create_connection(
                        lambda: self, self._target.host, self._target.port
                    )
                return
            except OSError as error:
                if not self._generator.may_send():
                    return
                self._generator.failed(type(error).__name__)
                await asyncio.sleep(_RECONNECT_S)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports have the methods, but not the type.
        self._transport = cast(asyncio.Transport, transport)
        self._parser = httptools.HttpResponseParser(self)

    def next(self) -> None:
        """Send what is due, if anything is. A client that was reopened while it paused may be asked twice."""
        generator = self._generator
        if self.sent_at is not None:
            return
        if generator.load.rate_per_s is None:
            if generator.may_send():
                self.send(time.perf_counter())
        elif generator.waiting:
            self.send(generator.waiting.popleft())
        else:
            generator.idle[self] = None
            generator.end_if_done()

    def send(self, due_at: float) -> None:
        if self._transport is None:
            # Lost while it paused, and about to be opened again.
            self._generator.failed("closed")
        else:
            self.sent_at = due_at
            self._transport.write(encoded(self._target, int(time.time()) if self._target.keys else 0))

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self.abort("HttpParserError")

    def on_message_complete(self) -> None:
        """Called by the parser."""
        if self.sent_at is None:
            return
        status = self._parser.get_status_code()
        self._generator.answered(status, time.perf_counter() - self.sent_at)
        self.sent_at = None
        if not self._parser.should_keep_alive():
            # connection_lost opens the next one.
            if self._transport is not None:
                self._transport.close()
        elif status == 429 and self._generator.load.pause_after_429_s:
            pause_s = self._generator.load.pause_after_429_s * random.uniform(1, 2)
            asyncio.get_running_loop().call_later(pause_s, self.next)
        else:
            self.next()

    def abort(self, kind: str) -> None:
        """Give the request up."""
        if self.sent_at is not None:
            self.sent_at = None
            self._generator.failed(kind)
        if self._transport is not None:
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if self.sent_at is not None:
            self.sent_at = None
            self._generator.failed(type(exc).__name__ if exc is not None else "closed")
        reopen.put_nowait(self)


reopen: "asyncio.Queue[Connection]" = asyncio.Queue()
"""Connections that were lost. Never more entries than connections, since each is lost once before it is opened."""


_encoded: dict[int, tuple[int, bytes]] = {}
"""The last form of each target by its identity, and the second it is of."""


def encoded(target: Target, second: int) -> bytes:
    """The request as it goes over the wire in this second."""
    known = _encoded.get(id(target))
    if known is None or known[0] != second:
        known = _encoded[id(target)] = (second, _encode(target))
    return known[1]


def _encode(target: Target) -> bytes:
    body = target.body.encode()
    host = f"{target.host}:{target.port}"
    lines = [f"{target.method} {target.path} HTTP/1.1", f"Host: {host}"]
    lines += [f"{name}: {value}" for name, value in target.headers]
    if target.keys is not None:
        signed = signature(target.keys, target.method, f"http://{host}{target.path}", body)
        lines += [f"{name}: {value}" for name, value in signed.items()]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


async def _reopen(generator: Generator) -> None:
    while True:
        connection = await reopen.get()
        await connection.connect()
        connection.next()


async def _arrivals(generator: Generator, rate_per_s: float) -> None:
    """Requests in step with the clock. The timer is coarser than the gaps, so several may be due at once."""
    period_s = 1 / rate_per_s
    due_at = time.perf_counter()
    while True:
        now = time.perf_counter()
        while due_at <= now:
            if not generator.may_send():
                return
            due_at += period_s
            generator.waiting.append(now)
            if generator.idle:
                generator.idle.popitem()[0].next()
        await asyncio.sleep(max(due_at - time.perf_counter(), 0))


async def _watch(connections: list[Connection]) -> None:
    """Ends requests that never end. One task for all, so that no request costs a timer."""
    while True:
        await asyncio.sleep(_WATCH_EVERY_S)
        oldest = time.perf_counter() - REQUEST_LIMIT_S
        for connection in connections:
            if connection.sent_at is not None and connection.sent_at < oldest:
                connection.abort("TimeoutError")


async def generate(load: Load) -> LoadResult:
    """Connect everyone first, then start together. The limit covers both."""
    generator = Generator(load)
    loop = asyncio.get_running_loop()
    ending = loop.call_later(load.limit_s, generator.stop)
    connections = [Connection(generator, load.targets[i % len(load.targets)]) for i in range(load.connections)]
    for connection in connections:
        await connection.connect()
    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(_reopen(generator), name="reopen"),
            group.create_task(_watch(connections), name="watch"),
        ]
        generator.start()
        for number, connection in enumerate(connections):
            loop.call_later(load.ramp_s * number / load.connections, connection.next)
        if load.rate_per_s is not None:
            tasks.append(group.create_task(_arrivals(generator, load.rate_per_s), name="arrivals"))
        await generator.is_over.wait()
        ending.cancel()
        for task in tasks:
            task.cancel()
    return generator.result()


def main() -> None:
    """Read a `Load`, run it, print a `LoadResult`."""
    wish = json.loads(sys.stdin.readline())
    targets = tuple(
        Target(**{**target, "headers": tuple(map(tuple, target["headers"]))}) for target in wish.pop("targets")
    )
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        result = runner.run(generate(Load(targets=targets, **wish)))
    print(json.dumps(asdict(result)))


if __name__ == "__main__":
    main()
