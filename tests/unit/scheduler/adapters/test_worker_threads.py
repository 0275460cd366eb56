"""Cancelling a caller whose thread cannot be interrupted."""

import asyncio
import threading
from collections.abc import AsyncIterator

import pytest

from hearth_scheduler.adapters.worker_threads import WorkerThreads


class Call:
    """A blocking call that tells when it has begun and ends when it is let go; it remembers being undone."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.let_go = threading.Event()
        self.undoing = threading.Event()
        self.undone: list[str] = []
        self._loop = asyncio.get_running_loop()

    def __call__(self) -> str:
        self._loop.call_soon_threadsafe(self.begun.set)
        assert self.let_go.wait(10)
        return "result"

    def undo(self, result: str) -> None:
        self.undone.append(result)
        self.undoing.set()


@pytest.fixture
async def threads() -> AsyncIterator[WorkerThreads]:
    workers = WorkerThreads("test", 1)
    yield workers
    workers.close()


async def test_the_result_of_a_call_comes_back(threads: WorkerThreads) -> None:
    assert await threads.run(lambda: 7) == 7


async def test_the_error_of_a_call_comes_back_and_nothing_is_undone(threads: WorkerThreads) -> None:
    def fail() -> str:
        raise OSError("refused")

    undone: list[str] = []
    with pytest.raises(OSError, match="refused"):
        await threads.run(fail, undo=undone.append)
    assert undone == []


async def test_a_finished_call_is_not_undone(threads: WorkerThreads) -> None:
    call = Call()
    call.let_go.set()
    assert await threads.run(call, undo=call.undo) == "result"
    assert call.undone == []


async def test_a_cancelled_caller_waits_until_its_call_is_undone(threads: WorkerThreads) -> None:
    call = Call()
    running = asyncio.ensure_future(threads.run(call, undo=call.undo))
    await call.begun.wait()

    running.cancel()
    asyncio.get_running_loop().call_soon(call.let_go.set)
    with pytest.raises(asyncio.CancelledError):
        await running

    assert call.undone == ["result"]


async def test_a_caller_cancelled_twice_does_not_wait_but_the_call_is_undone(threads: WorkerThreads) -> None:
    call = Call()
    running = asyncio.ensure_future(threads.run(call, undo=call.undo))
    await call.begun.wait()

    running.cancel()
    await asyncio.sleep(0)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    threads.close()
    call.let_go.set()

    assert await asyncio.to_thread(call.undoing.wait, 10)
    assert call.undone == ["result"]


async def test_a_call_that_ended_just_before_the_cancellation_is_undone(threads: WorkerThreads) -> None:
    """The thread is done but the loop has not heard of it yet."""
    call = Call()
    running = asyncio.ensure_future(threads.run(call, undo=call.undo))
    await call.begun.wait()
    call.let_go.set()
    threads._pool.submit(lambda: None).result()  # blocks the loop on purpose until the only thread is past the call

    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running

    assert call.undone == ["result"]


async def test_a_call_that_has_not_begun_is_dropped(threads: WorkerThreads) -> None:
    first, second = Call(), Call()
    ahead = asyncio.ensure_future(threads.run(first))
    await first.begun.wait()
    behind = asyncio.ensure_future(threads.run(second, undo=second.undo))
    await asyncio.sleep(0)

    behind.cancel()
    with pytest.raises(asyncio.CancelledError):
        await behind
    first.let_go.set()
    await ahead

    assert not second.begun.is_set()
    assert second.undone == []


async def test_a_call_that_fails_after_its_caller_was_cancelled_is_not_undone(threads: WorkerThreads) -> None:
    call = Call()

    def fail() -> str:
        call()
        raise OSError("refused")

    running = asyncio.ensure_future(threads.run(fail, undo=call.undo))
    await call.begun.wait()
    running.cancel()
    asyncio.get_running_loop().call_soon(call.let_go.set)
    with pytest.raises(asyncio.CancelledError):
        await running
    assert call.undone == []
