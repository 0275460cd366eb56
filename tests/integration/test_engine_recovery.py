"""What a scheduler that died without a word left behind, and what the next one makes of it."""

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.integration.engine_house import RUNTIME, House

from hearth.core.invocation import Succeeded, Throttled, ThrottleReason
from hearth_scheduler.core.environment import Phase
from hearth_scheduler.core.policy import Policy
from hearth_scheduler.member import FUNCTION_FILE
from hearth_scheduler.ports import ContainerRequest


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    house = House(tmp_path)
    yield house
    for container in house.containers.running:
        await house.containers.remove(container.id)


def _is_idle(house: House) -> bool:
    return [e.phase for e in house.engine.fleet.environments.values()] == [Phase.IDLE]


async def test_a_warm_environment_outlives_its_scheduler_and_is_used_again(house: House) -> None:
    await house.build().__aenter__()
    function = house.function("import os\ndef handler(event, context): return os.getpid()")
    before = await house.invoke(function)
    await house.crash()

    engine = house.build(epoch="2")
    engine.configure(function)
    async with engine:
        await house.until(lambda: _is_idle(house))
        after = await house.invoke(function)

        assert isinstance(before, Succeeded) and isinstance(after, Succeeded)
        assert before.payload == after.payload
        assert engine.counters["warm"] == 1
        assert len(house.containers.started) == 1
    assert house.containers.running == []
    assert await house.slots.leftovers() == []


async def test_an_environment_of_an_interpreter_that_no_longer_runs_the_function_is_not_adopted(house: House) -> None:
    await house.build().__aenter__()
    function = house.function()
    await house.invoke(function)
    await house.crash()

    engine = house.build(epoch="2")
    house.environments._around = replace(house.environments._around, interpreters={RUNTIME: "python3.14"})
    engine.configure(function)
    async with engine:
        await house.until(lambda: not house.containers.running)
        assert engine.counters["warm"] == 0


async def test_limits_known_before_the_start_start_nothing_and_hold_after_it(house: House) -> None:
    engine = house.build(stems=1)
    function = house.function()
    engine.configure(function)
    engine.limit(function.name, 0)
    assert engine.fleet.environments == {}
    async with engine:
        assert await house.invoke(function) == Throttled(ThrottleReason.RESERVED)


async def test_the_logs_of_an_adopted_environment_go_on_in_the_same_stream(house: House) -> None:
    await house.build().__aenter__()
    function = house.function("def handler(event, context): print('here')")
    await house.invoke(function)
    await house.crash()

    engine = house.build(epoch="2")
    engine.configure(function)
    async with engine:
        await house.until(lambda: _is_idle(house))
        await house.invoke(function)

    assert house.journal.text.count("here") == 2
    assert len({stream for _, stream, _ in house.journal.entries}) == 1


async def test_an_environment_that_is_at_work_is_adopted_when_it_has_finished(house: House) -> None:
    await house.build().__aenter__()
    function = house.function("def handler(event, context): open(event, 'rb', buffering=0).read(1) if event else None")
    gate = house.gate()
    await house.invoke(function, b"null")
    call = asyncio.create_task(house.invoke(function, json.dumps(str(gate.path)).encode()))
    await house.journal.saw("START RequestId: request-2")
    await house.crash()
    call.cancel()

    engine = house.build(epoch="2")
    engine.configure(function)
    async with engine:
        gate.open()
        await house.until(lambda: _is_idle(house))
        after = await house.invoke(function, b"null")

        assert isinstance(after, Succeeded)
        assert len(house.containers.started) == 1
    gate.close()


async def test_an_environment_of_a_revision_that_is_gone_is_removed(house: House) -> None:
    await house.build().__aenter__()
    await house.invoke(house.function())
    await house.crash()

    engine = house.build(epoch="2")
    function = house.function("def handler(event, context): return 'new'", revision="2")
    async with engine:
        await house.until_empty()
        outcome = await house.invoke(function)

        assert isinstance(outcome, Succeeded)
        assert outcome.payload == b'"new"'


async def test_an_environment_of_a_function_that_is_gone_is_removed(house: House) -> None:
    await house.build().__aenter__()
    await house.invoke(house.function())
    await house.crash()

    async with house.build(epoch="2"):
        await house.until_empty()

        assert house.containers.running == []
        assert await house.slots.leftovers() == []


async def test_a_stem_cell_outlives_its_scheduler(house: House) -> None:
    await house.build(stems=1).__aenter__()
    await house.until(lambda: house.engine.fleet.stock.counts()[RUNTIME] == (1, 0))
    await house.crash()

    async with house.build(stems=1, epoch="2"):
        await house.until(lambda: house.engine.fleet.stock.counts()[RUNTIME] == (1, 0))

        assert isinstance(await house.invoke(house.function()), Succeeded)
        assert house.members[0].container is not None
        assert house.members[0].container.epoch == "1"


async def test_a_stem_cell_that_was_about_to_become_a_function_is_removed(house: House) -> None:
    await house.build(stems=1).__aenter__()
    await house.until(lambda: house.engine.fleet.stock.counts()[RUNTIME] == (1, 0))
    half_way = house.member
    await house.crash()
    (half_way.places.root / FUNCTION_FILE).write_bytes(b'{"name": "hello"')

    async with house.build(epoch="2"):
        await house.until_empty()

        assert house.containers.running == []


async def test_a_container_that_died_meanwhile_is_removed(house: House) -> None:
    await house.build().__aenter__()
    function = house.function()
    await house.invoke(function)
    assert house.member.container is not None
    pid = house.member.container.pid
    await house.crash()
    os.kill(pid, signal.SIGKILL)

    engine = house.build(epoch="2")
    engine.configure(function)
    async with engine:
        await house.until_empty()

        assert isinstance(await house.invoke(function), Succeeded)


async def test_a_container_without_its_places_is_removed(house: House) -> None:
    await house.build(stems=1).__aenter__()
    await house.until(lambda: house.engine.fleet.stock.counts()[RUNTIME] == (1, 0))
    await house.slots.release(house.member.id)
    await house.crash()

    async with house.build(epoch="2"):
        assert house.containers.running == []


async def test_places_without_a_container_are_removed(house: House) -> None:
    await house.slots.prepare("leftover")

    async with house.build():
        assert await house.slots.leftovers() == []


async def test_the_sweep_removes_strangers_and_keeps_what_is_ours(house: House) -> None:
    async with house.build():
        function = house.function()
        await house.invoke(function)
        await _start_stranger(house)

        await house.environments.compare()

        assert [c.environment_id for c in house.containers.running] == [house.member.id]
        assert await house.slots.leftovers() == [house.member.id]
        assert isinstance(await house.invoke(function), Succeeded)


async def test_the_sweep_notices_a_container_that_is_gone(house: House) -> None:
    async with house.build():
        await house.invoke(house.function())
        listing = house.containers.list

        async def see_nothing() -> object:
            return []

        house.containers.list = see_nothing  # type: ignore[method-assign,assignment]
        await house.environments.compare()
        house.containers.list = listing  # type: ignore[method-assign]

        await house.until_empty()


async def test_the_sweep_does_not_judge_what_started_while_docker_was_answering(house: House) -> None:
    async with house.build():
        await house.invoke(house.function())
        listing = house.containers.list

        async def answer_late() -> object:
            found = await listing()
            outcome = await house.invoke(house.function(name="other"))
            assert isinstance(outcome, Succeeded)
            return found

        house.containers.list = answer_late  # type: ignore[method-assign,assignment]
        await house.environments.compare()
        house.containers.list = listing  # type: ignore[method-assign]

        assert [member.is_stopping for member in house.members] == [False, False]


async def test_a_start_without_an_engine_to_ask_leaves_nothing_open(house: House) -> None:
    handles = os.listdir("/proc/self/fd")

    async def fail() -> object:
        raise OSError("no engine")

    house.containers.list = fail  # type: ignore[method-assign,assignment]
    with pytest.raises(OSError, match="no engine"):
        async with house.build():
            raise AssertionError("never gets here")

    assert os.listdir("/proc/self/fd") == handles


async def _start_stranger(house: House) -> None:
    places = await house.slots.prepare("stranger")
    await house.containers.start(
        ContainerRequest("stranger", "image", (), places, "0", RUNTIME, memory_mib=128, cpus=None)
    )


INITIALISED = (
    "import os\ndef handler(event, context): return [os.environ['AWS_LAMBDA_INITIALIZATION_TYPE'], os.getpid()]"
)


async def test_provisioned_environments_are_kept_over_a_restart_and_none_is_started_in_their_stead(
    house: House,
) -> None:
    await house.build().__aenter__()
    function = house.function(INITIALISED)
    house.engine.provision(function.name, function.version, 2)
    await house.until(lambda: house.engine.provisioned(function.name, function.version).available == 2)
    await house.crash()

    engine = house.build(epoch="2")
    engine.configure(function)
    engine.provision(function.name, function.version, 2)
    async with engine:
        await house.until(lambda: engine.provisioned(function.name, function.version).available == 2)
        answer = await house.invoke(function)

        assert isinstance(answer, Succeeded)
        assert json.loads(answer.payload)[0] == "provisioned-concurrency"
        assert len(house.containers.started) == 2


async def test_an_environment_whose_credentials_would_run_out_is_not_used_after_a_restart(house: House) -> None:
    policy = Policy(environment_lifetime_s=3600)
    await house.build(policy, wall=lambda: 1_000_000.0).__aenter__()
    function = house.function("import os\ndef handler(event, context): return os.getpid()")
    before = await house.invoke(function)
    await house.crash()

    engine = house.build(policy, epoch="2", wall=lambda: 1_000_000.0 + 3601)
    engine.configure(function)
    async with engine:
        await house.until(lambda: engine.counters["stop-aged"] == 1)
        after = await house.invoke(function)

    assert isinstance(before, Succeeded) and isinstance(after, Succeeded)
    assert before.payload != after.payload


async def test_an_environment_that_was_told_another_address_of_aws_is_not_adopted(house: House) -> None:
    await house.build(endpoints={"AWS_ENDPOINT_URL": "http://one"}).__aenter__()
    function = house.function("import os\ndef handler(event, context): return os.environ['AWS_ENDPOINT_URL']")
    before = await house.invoke(function)
    await house.crash()

    engine = house.build(epoch="2", endpoints={"AWS_ENDPOINT_URL": "http://another"})
    engine.configure(function)
    async with engine:
        after = await house.invoke(function)

    assert isinstance(before, Succeeded) and isinstance(after, Succeeded)
    assert (before.payload, after.payload) == (b'"http://one"', b'"http://another"')
