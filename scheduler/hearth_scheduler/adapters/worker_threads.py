"""Blocking calls, moved to a few threads of their own and undone when their caller is cancelled."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Result = TypeVar("Result")


class WorkerThreads:
    """A small fixed number of threads for one kind of call.

    Not the loop's default executor: a stalled engine there would stall name resolution and everything else. The
    queue before the threads needs no bound of its own: there is at most one call per environment and purpose.
    """

    def __init__(self, name: str, threads: int) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix=name)

    async def run(self, call: Callable[[], Result], *, undo: Callable[[Result], None] | None = None) -> Result:
        """The call's result. A thread cannot be interrupted: if the caller is cancelled meanwhile, the call ends
        first and `undo` takes its result back before the cancellation goes on. A second cancellation does not
        wait, but the undoing still happens."""
        job = self._pool.submit(call)
        try:
            return await asyncio.wrap_future(job)
        except asyncio.CancelledError:
            if undo is not None and not job.cancel():
                await asyncio.wait([asyncio.wrap_future(self._pool.submit(_undo, job, undo))])
            raise

    def close(self) -> None:
        """Accept no more calls and drop those that have not begun; does not wait for the others."""
        self._pool.shutdown(wait=False, cancel_futures=True)


def _undo(job: Future[Result], undo: Callable[[Result], None]) -> None:
    """Wait for the call (it has begun, so this cannot be a deadlock) and undo what it did, if it did."""
    if job.exception() is None:
        undo(job.result())
