"""The parent of everything the scheduler does beside serving a request.

Rule 1: what fails in one task is that task's failure. A `TaskGroup` alone would take all of them down with it, and the
containers of every function with them; here a defect is logged and counted, and the deadline of whatever the task was
for mends the rest.
Rule 2: leaving ends all tasks. Whoever leaves has waited for those that matter before, with a deadline.
"""

import asyncio
from collections.abc import Coroutine
from typing import Self

import structlog

log = structlog.get_logger(__name__)


class Tasks:
    """Use as an async context manager. `failures` counts the tasks that ended by a defect."""

    def __init__(self) -> None:
        self.failures = 0
        self._group = asyncio.TaskGroup()
        self._running: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        await self._group.__aenter__()
        return self

    async def __aexit__(self, *exc: object) -> None:
        for task in self._running:
            task.cancel()
        await self._group.__aexit__(None, None, None)

    def start(self, work: Coroutine[object, object, None], name: str) -> asyncio.Task[None]:
        """Do this beside everything else."""
        task = self._group.create_task(self._contain(work, name), name=name)
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        task.add_done_callback(lambda _: work.close())  # it never began if the task was cancelled before its first step
        return task

    async def _contain(self, work: Coroutine[object, object, None], name: str) -> None:
        try:
            await work
        except Exception:  # the top of a task
            self.failures += 1
            log.exception("a task failed", task=name)
