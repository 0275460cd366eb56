"""Work beside serving requests: its failures are its own, and it ends with its parent."""

import asyncio

from hearth_scheduler.tasks import Tasks


async def _fail() -> None:
    raise LookupError("a defect")


async def test_a_task_that_fails_takes_nothing_down_with_it() -> None:
    go, done = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        await go.wait()
        done.set()

    async with Tasks() as tasks:
        other = tasks.start(work(), "other")
        await asyncio.wait([tasks.start(_fail(), "fails")])
        await asyncio.wait([tasks.start(_fail(), "fails")])
        go.set()
        await other
        await tasks.start(asyncio.sleep(0), "still possible")

    assert done.is_set()
    assert tasks.failures == 2


async def test_leaving_ends_what_still_runs() -> None:
    never = asyncio.Event()

    async def work() -> None:
        await never.wait()

    async with Tasks() as tasks:
        waiting = tasks.start(work(), "waits")
        await asyncio.sleep(0)

    assert waiting.cancelled()


async def test_work_that_never_began_is_closed() -> None:
    async with Tasks() as tasks:
        tasks.start(_fail(), "never begins").cancel()

    assert tasks.failures == 0
