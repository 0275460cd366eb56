"""The fake scheduler keeps the promises of the port."""

import asyncio

import pytest
from tests.unit.gateway.served import record

from hearth.core.invocation import Invocation, Ledger, Outcome, PlatformFailed, Succeeded
from hearth.ports import Scheduler
from hearth_gateway.testing import FakeScheduler

FUNCTION = record("hello").version()
EVENT = Invocation("id", FUNCTION, b"[1]", 0.0, FUNCTION.arn)


async def test_scripts_answer_and_single_answers_come_first() -> None:
    fake = FakeScheduler()
    scheduler: Scheduler = fake

    async def script(invocation: Invocation) -> Outcome:
        return Succeeded(b"scripted", Ledger())

    assert await scheduler.invoke(EVENT) == Succeeded(b"[1]", Ledger())
    fake.script("hello", script)
    lost = PlatformFailed("lost", was_started=True)
    fake.answer_next("hello", lost)
    assert await scheduler.invoke(EVENT) == lost
    assert await scheduler.invoke(EVENT) == Succeeded(b"scripted", Ledger())


async def test_a_place_is_waited_for_in_order_and_used_once() -> None:
    fake = FakeScheduler(places=1)
    first = await fake.reserve(FUNCTION)
    async with asyncio.TaskGroup() as tasks:
        gone = tasks.create_task(fake.reserve(FUNCTION))
        waiting = tasks.create_task(fake.reserve(FUNCTION))
        await asyncio.sleep(0)
        gone.cancel()
        await asyncio.sleep(0)
        assert not waiting.done()
        first.release()
        second = await waiting
    assert await second.invoke(EVENT) == Succeeded(b"[1]", Ledger())
    with pytest.raises(RuntimeError):
        await second.invoke(EVENT)
    second.release()
    (await fake.reserve(FUNCTION)).release()
