"""Environments that are started for one function, and ask the Runtime API for events: with real processes and sockets,
and without Docker."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.integration.engine_house import PATIENCE_S, RUNTIME, House

from hearth.core.invocation import FailureKind, FunctionFailed, PlatformFailed, Succeeded
from hearth_scheduler.core.environment import Phase
from hearth_scheduler.core.policy import Policy
from hearth_scheduler.ports import ImageMissing

WHO = """
    import os
    def handler(event, context):
        print("at work")
        return os.getpid()
"""
FAITHFUL = f"    REPEATS = True{WHO}"


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    """After each test no container, no directory and no member may be left."""
    house = House(tmp_path)
    async with house.build(Policy(init_timeout_s=10)):
        yield house
    assert house.containers.running == []
    assert await house.slots.leftovers() == []
    assert house.members == []
    assert house.engine.counters["defects"] == 0
    assert house.engine._tasks.failures == 0


@pytest.fixture
async def mortal(tmp_path: Path) -> AsyncIterator[House]:
    """A house whose scheduler the test kills."""
    house = House(tmp_path)
    yield house
    for container in house.containers.running:
        await house.containers.remove(container.id)


def _is_idle(house: House) -> bool:
    return [e.phase for e in house.engine.fleet.environments.values()] == [Phase.IDLE]


async def test_an_image_runs_in_containers_of_its_own_and_stays_warm(house: House) -> None:
    function = house.image_function(WHO)

    first = await house.invoke(function)
    second = await house.invoke(function)

    assert isinstance(first, Succeeded) and isinstance(second, Succeeded)
    assert first.payload == second.payload
    (request,) = house.containers.started
    assert request.launch is not None
    assert request.image == function.image.image if function.image else False
    assert request.variables["AWS_LAMBDA_FUNCTION_NAME"] == "image"
    assert "HEARTH_STEM" not in request.variables
    assert "at work" in house.journal.text


async def test_its_start_and_its_init_are_told_apart(house: House) -> None:
    answer = await house.invoke(house.image_function(WHO))

    assert isinstance(answer, Succeeded)
    assert answer.ledger.init_s > 0
    assert answer.ledger.start_s > 0
    await house.journal.saw("Init Duration")
    assert "INIT_START" not in house.journal.text


async def test_a_package_on_a_runtime_without_stem_cells_has_its_code_before_it_begins(house: House) -> None:
    house.engine.fleet.starts.interpreter_of = lambda runtime: None
    function = house.function(WHO)

    answer = await house.invoke(function)

    assert isinstance(answer, Succeeded)
    (request,) = house.containers.started
    assert request.launch is not None and request.launch.has_code
    assert request.runtime == RUNTIME
    assert "INIT_START" in house.journal.text


async def test_several_requests_start_several_containers(house: House) -> None:
    gate = house.gate()
    function = house.image_function(
        f"def handler(event, context):\n    return open({str(gate.path)!r}, 'rb', 0).read(1) != b''"
    )
    calls = [asyncio.ensure_future(house.invoke(function)) for _ in range(3)]

    await house.until(lambda: sum(e.phase is Phase.BUSY for e in house.engine.fleet.environments.values()) == 3)
    for _ in calls:
        gate.open()
    answers = await asyncio.gather(*calls)
    gate.close()

    assert [answer.payload for answer in answers if isinstance(answer, Succeeded)] == [b"true"] * 3
    assert len(house.containers.started) == 3


async def test_an_error_of_the_handler_reaches_the_caller(house: House) -> None:
    answer = await house.invoke(house.image_function("def handler(event, context): raise ValueError('no')"))

    assert isinstance(answer, FunctionFailed)
    assert json.loads(answer.payload) == {"errorMessage": "no"}


async def test_a_runtime_that_exits_is_replaced(house: House) -> None:
    function = house.image_function("import os\ndef handler(event, context):\n    os._exit(3) if event else None")

    answer = await house.invoke(function, b"1")
    after = await house.invoke(function, b"0")

    assert isinstance(answer, FunctionFailed) and answer.kind is FailureKind.EXIT
    assert isinstance(after, Succeeded)
    assert len(house.containers.started) == 2


async def test_an_entry_point_that_is_not_there_is_the_functions_own_error(house: House) -> None:
    function = house.image_function(WHO, entry_point="/no/such")

    answer = await house.invoke(function)

    assert isinstance(answer, FunctionFailed) and answer.kind is FailureKind.INVALID_ENTRYPOINT
    error = json.loads(answer.payload)
    assert error["errorType"] == "Runtime.InvalidEntrypoint"
    assert error["errorMessage"].endswith("no such file or directory")
    assert "Runtime.InvalidEntrypoint" in house.journal.text


async def test_a_runtime_that_never_asks_for_an_event_times_out(tmp_path: Path) -> None:
    house = House(tmp_path)
    async with house.build(Policy(init_timeout_s=0.3)):
        function = house.image_function("import time\ntime.sleep(60)", timeout_s=1)
        answer = await house.invoke(function)
        assert isinstance(answer, FunctionFailed) and answer.kind is FailureKind.TIMEOUT
    assert house.containers.running == []


@pytest.mark.parametrize(
    ("source", "kind"),
    [(WHO, None), ("import os\nos._exit(4)", FailureKind.EXIT)],
    ids=["asks for an event", "exits"],
)
async def test_what_a_runtime_does_before_its_start_is_reported_counts(
    house: House, source: str, kind: FailureKind | None
) -> None:
    house.containers.returning.clear()
    call = asyncio.ensure_future(house.invoke(house.image_function(source)))
    await house.until(lambda: bool(house.members))
    member = house.member
    async with asyncio.timeout(PATIENCE_S):
        while not (member.has_asked_early or member.exit_status):  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0)
    house.containers.returning.set()

    answer = await call

    assert getattr(answer, "kind", None) is kind


async def test_an_image_that_is_gone_is_told_at_once(house: House) -> None:
    house.containers.failures.append(ImageMissing("the image is not on this host any more"))
    began = time.monotonic()

    answer = await house.invoke(house.image_function(WHO))

    assert isinstance(answer, PlatformFailed)
    assert "not on this host" in answer.reason
    assert time.monotonic() - began < house.engine.fleet.policy.start_timeout_s


async def test_a_start_that_fails_for_another_reason_is_tried_again(house: House) -> None:
    house.containers.failures.append("the engine is in a bad mood")

    assert isinstance(await house.invoke(house.image_function(WHO)), Succeeded)


async def test_a_new_image_takes_over_while_the_old_one_is_being_started(house: House) -> None:
    house.containers.gate.clear()
    call = asyncio.ensure_future(house.invoke(house.image_function("def handler(event, context): return 'old'")))
    await house.until(lambda: bool(house.containers.started))
    newer = house.image_function("def handler(event, context): return 'new'")
    house.containers.gate.set()

    answer = await call

    assert isinstance(answer, Succeeded) and answer.payload == b'"new"'
    assert newer.image is not None
    assert house.containers.started[-1].image == newer.image.image


async def test_a_runtime_that_asks_again_outlives_its_scheduler(mortal: House) -> None:
    await mortal.build().__aenter__()
    function = mortal.image_function(FAITHFUL)
    before = await mortal.invoke(function)
    await mortal.crash()

    engine = mortal.build(epoch="2")
    engine.configure(function)
    async with engine:
        await mortal.until(lambda: _is_idle(mortal))
        after = await mortal.invoke(function)

    assert isinstance(before, Succeeded) and isinstance(after, Succeeded)
    assert before.payload == after.payload
    assert len(mortal.containers.started) == 1
    assert mortal.containers.running == []


async def test_a_runtime_that_gives_up_without_its_scheduler_is_replaced(mortal: House) -> None:
    await mortal.build().__aenter__()
    function = mortal.image_function(WHO)
    await mortal.invoke(function)
    await mortal.until(lambda: _is_idle(mortal))
    await mortal.crash()

    engine = mortal.build(epoch="2")
    engine.configure(function)
    async with engine:
        await mortal.until_empty()
        assert isinstance(await mortal.invoke(function), Succeeded)

    assert len(mortal.containers.started) == 2
    assert await mortal.slots.leftovers() == []


async def test_an_answer_to_an_event_of_the_scheduler_before_is_late_news(mortal: House) -> None:
    await mortal.build().__aenter__()
    gate = mortal.gate()
    wait = f"len(open({str(gate.path)!r}, 'rb', 0).read(1))"
    function = mortal.image_function(f"REPEATS = True\ndef handler(event, context): return event and {wait}")
    await mortal.invoke(function, b"0")
    call = asyncio.ensure_future(mortal.invoke(function, b"1"))
    await mortal.until(lambda: any(e.phase is Phase.BUSY for e in mortal.engine.fleet.environments.values()))
    await mortal.crash()
    call.cancel()

    engine = mortal.build(epoch="2")
    engine.configure(function)
    async with engine:
        gate.open()
        await mortal.until(lambda: _is_idle(mortal))
        after = await mortal.invoke(function, b"0")
    gate.close()

    assert isinstance(after, Succeeded)
    assert engine.counters["warm"] == 1
    assert len(mortal.containers.started) == 1
