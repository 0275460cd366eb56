"""Blocking calls, moved to a few threads of their own and undone when their caller is cancelled."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Generic, TypeVar

Result = TypeVar("Result")


class WorkerThreads:
    """A small fixed number of threads for one kind of call.

    Not the loop's default executor: a stalled engine there would stall name resolution and everything else. The
    queue before the threads needs no bound of its own: there is at most one call per environment and purpose.
    """

    def __init__(self, name: str, threads: int) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix=name)

    async def run(self, call: Callable[[], Result], *, undo: Callable[[Result], None] | None = None) -> Result:
        """The call's result.

        A thread cannot be interrupted. With `undo`, a cancelled caller waits until the call has ended and `undo`
        has taken its result back; only then the cancellation goes on. A second cancellation does not wait, but the
        undoing still happens. A call that has not begun is dropped.
        """
        job = _Job(call, undo)
        future = self._pool.submit(job.run)
        try:
            return await asyncio.wrap_future(future)
        except asyncio.CancelledError:
            if undo is not None and not future.cancel():
                await asyncio.wait([_ended(job, future)])
            raise

    def close(self) -> None:
        """Accept no more calls and drop those that have not begun; does not wait for the others."""
        self._pool.shutdown(wait=False, cancel_futures=True)


class _Job(Generic[Result]):
    """A call on its way in a thread. The lock decides which side undoes it: exactly one does."""

    def __init__(self, call: Callable[[], Result], undo: Callable[[Result], None] | None) -> None:
        self._call = call
        self._undo = undo
        self._lock = threading.Lock()
        self._is_abandoned = False
        self._is_over = False

    def run(self) -> Result:
        """In the thread: call, and if nobody wants the result any more, undo."""
        result = self._call()
        with self._lock:
            self._is_over = True
        if self._is_abandoned:
            self.undo(result)
        return result

    def abandon(self) -> bool:
        """On the loop: nobody wants the result. True if the thread will see it, False if it is too late for that."""
        with self._lock:
            self._is_abandoned = not self._is_over
            return self._is_abandoned

    def undo(self, result: Result) -> None:
        if self._undo is not None:
            self._undo(result)


def _ended(job: _Job[Result], future: Future[Result]) -> asyncio.Future[Any]:
    """A future that is done when the abandoned job is over and undone.

    Too late to abandon means that the thread has just left: its result is undone in another, one of the loop's own
    because the pool may be closed.
    """
    if job.abandon():
        return asyncio.wrap_future(future)
    return asyncio.get_running_loop().run_in_executor(None, lambda: job.undo(future.result()))
