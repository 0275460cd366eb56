"""Many requests at once, from threads: what each was answered, and when it was sent."""

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.docker.house import House, Page

PAUSE_S = 0.01
"""Between an unwelcome answer and the next try, so that a refusal is not a busy loop."""


@dataclass(frozen=True, slots=True)
class Reply:
    """One request's fate. `status` is 0 where the connection failed; times are of the monotonic clock."""

    sent_at: float
    answered_at: float
    status: int
    body: Any
    page: Page | None = None

    @property
    def is_error(self) -> bool:
        return self.status != 200 or (self.page is not None and "x-amz-function-error" in self.page.headers)


def call(house: House, function: str, event: object = None) -> Reply:
    """One Invoke by plain HTTP."""
    sent_at = time.monotonic()
    try:
        page = house.http(
            "POST", f"/2015-03-31/functions/{function}/invocations", body=json.dumps(event).encode(), is_signed=True
        )
    except OSError as error:
        return Reply(sent_at, time.monotonic(), 0, repr(error))
    return Reply(sent_at, time.monotonic(), page.status, json.loads(page.body or b"null"), page)


def burst(house: House, function: str, count: int) -> list[Reply]:
    """That many requests, all at the same time."""
    gate = threading.Barrier(count)

    def one(_: int) -> Reply:
        gate.wait(30)
        return call(house, function)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(one, range(count)))


@dataclass(slots=True)
class Stream:
    """Requests that go on and on."""

    replies: list[Reply] = field(default_factory=list)
    ended: threading.Event = field(default_factory=threading.Event)

    def count(self, accept: Callable[[Reply], bool] = lambda reply: not reply.is_error) -> int:
        return sum(map(accept, list(self.replies)))

    def statuses(self) -> "Counter[int]":
        return Counter(reply.status for reply in list(self.replies))


@contextmanager
def stream(house: House, function: str, *, clients: int) -> Iterator[Stream]:
    """That many clients, each with one request after the other while the `with` lasts."""
    found = Stream()

    def client(_: int) -> None:
        while not found.ended.is_set():
            reply = call(house, function)
            found.replies.append(reply)
            if reply.is_error:
                found.ended.wait(PAUSE_S)

    with ThreadPoolExecutor(clients) as pool:
        running = [pool.submit(client, number) for number in range(clients)]
        try:
            yield found
        finally:
            found.ended.set()
    for each in running:
        each.result()
