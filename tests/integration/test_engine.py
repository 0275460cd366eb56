"""The engine end to end, with real processes, sockets, exits and signals, and without Docker."""

import asyncio
import json
import os
import select
import signal
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from tests.integration.engine_house import PATIENCE_S, RUNTIME, Gate, House

from hearth.core.errors import ServiceError
from hearth.core.invocation import (
    MAX_RESPONSE_BYTES,
    FailureKind,
    FunctionFailed,
    Invocation,
    PlatformFailed,
    Succeeded,
    Throttled,
    ThrottleReason,
)
from hearth_scheduler import conversation
from hearth_scheduler import engine as engine_module
from hearth_scheduler.core.effects import Effect
from hearth_scheduler.core.environment import Phase
from hearth_scheduler.core.policy import Policy
from hearth_scheduler.member import Member

WAIT_AT_GATE = """
    def handler(event, context):
        print("waiting", event, flush=True)
        open(event, "rb", buffering=0).read(1)
        return "went through"
"""


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    """After each test: no container, no directory, no descriptor and no task may be left."""
    handles = _open_handles()
    house = House(tmp_path)
    async with house.build(Policy(init_timeout_s=10)):
        yield house
        # This very task is that of the test.
    assert house.containers.running == []
    assert await house.slots.leftovers() == []
    assert house.members == []
    assert _open_handles() == handles
    assert house.engine.counters["defects"] == 0
    assert house.engine._tasks.failures == 0


@pytest.fixture
def gate(house: House) -> Iterator[Gate]:
    gate = house.gate()
    yield gate
    gate.close()


def _open_handles() -> set[str]:
    """Every descriptor of this process, with what it is. libuv keeps one of /dev/null in reserve."""
    found = {fd: _target(fd) for fd in os.listdir("/proc/self/fd")}
    return {f"{fd}:{target}" for fd, target in found.items() if target not in ("", "/dev/null")}


def _target(fd: str) -> str:
    try:
        return os.readlink(f"/proc/self/fd/{fd}").split(":")[0]
    except OSError:
        return ""


# -- warm and cold ----------------------------------------------------------------------------------------------------


async def test_the_first_call_starts_a_container_and_the_second_uses_it(house: House) -> None:
    function = house.function()

    first = await house.invoke(function, b'{"a": 1}')
    second = await house.invoke(function, b"[2]")

    assert isinstance(first, Succeeded) and isinstance(second, Succeeded)
    assert (first.payload, second.payload) == (b'{"a": 1}', b"[2]")
    assert len(house.containers.started) == 1
    assert house.engine.counters["cold"] == house.engine.counters["warm"] == 1


async def test_only_the_cold_call_has_start_and_init_in_its_ledger(house: House) -> None:
    function = house.function()

    cold = await house.invoke(function)
    warm = await house.invoke(function)

    assert isinstance(cold, Succeeded) and isinstance(warm, Succeeded)
    assert cold.ledger.start_s > 0 and cold.ledger.init_s > 0 and cold.ledger.handler_s > 0
    assert warm.ledger.start_s == warm.ledger.init_s == 0 and warm.ledger.handler_s > 0


async def test_an_environment_sees_the_functions_variables_and_what_the_event_came_with(house: House) -> None:
    source = """
        import os
        def handler(event, context):
            return [os.environ["COLOUR"], os.environ["AWS_LAMBDA_FUNCTION_NAME"], os.environ["_HANDLER"], *context]
    """
    function = house.function(source, environment={"COLOUR": "red"})
    invocation = house.invocation(function)

    before_ms = time.time() * 1000
    outcome = await house.engine.invoke(invocation)

    assert isinstance(outcome, Succeeded)
    colour, name, handler, request_id, deadline_ms, arn, *_ = json.loads(outcome.payload)
    assert (colour, name, handler) == ("red", "hello", "app.handler")
    assert (request_id, arn) == (invocation.request_id, function.arn)
    assert before_ms + 10_000 <= int(deadline_ms) + 1 <= time.time() * 1000 + 10_001


async def test_the_code_and_the_limits_are_those_of_the_function(house: House) -> None:
    function = house.function()

    await house.invoke(function)
    await asyncio.gather(*house.member.changing)

    assert house.member.container is not None
    reading = house.limits.reading(house.member.container)
    assert (reading.memory_mib, reading.cpus) == (128, function.cpus)
    assert house.slots.attached[house.member.id] == (Path(house.codes.tree(function.code_sha256)), 512)


async def test_concurrent_calls_run_in_environments_of_their_own(house: House, gate: Gate) -> None:
    function = house.function(WAIT_AT_GATE)
    event = json.dumps(str(gate.path)).encode()

    calls = [asyncio.create_task(house.invoke(function, event)) for _ in range(2)]
    await house.until(lambda: house.engine.counters["cold"] == 2)
    gate.open()
    gate.open()

    outcomes = [await call for call in calls]
    assert [o.payload for o in outcomes if isinstance(o, Succeeded)] == [b'"went through"'] * 2
    assert len(house.containers.started) == 2


async def test_a_large_event_and_a_large_answer_arrive_whole(house: House) -> None:
    function = house.function()
    event = json.dumps("x" * 6_000_000).encode()

    outcome = await house.invoke(function, event)

    assert isinstance(outcome, Succeeded)
    assert outcome.payload == event


async def test_a_runtime_that_speaks_http_is_served_as_well(house: House) -> None:
    source = """
        import http.client
        connection.close()
        api = http.client.HTTPConnection("127.0.0.1", port)
        while True:
            api.request("GET", "/2018-06-01/runtime/invocation/next")
            response = api.getresponse()
            event, request_id = response.read(), response.headers["Lambda-Runtime-Aws-Request-Id"]
            print("handling", request_id, flush=True)
            api.request("POST", f"/2018-06-01/runtime/invocation/{request_id}/response", event)
            assert api.getresponse().read() == b'{"status":"OK"}'
    """
    function = house.function(source)

    for number in (1, 2, 3):
        outcome = await house.invoke(function, str(number).encode())
        assert isinstance(outcome, Succeeded) and outcome.payload == str(number).encode()
        await house.journal.saw(f"REPORT RequestId: request-{number}")  # it has asked for its next event

    assert len(house.containers.started) == 1


# -- the function fails -----------------------------------------------------------------------------------------------


async def test_an_exception_is_the_functions_failure_and_its_environment_stays(house: House) -> None:
    function = house.function("def handler(event, context): raise ValueError('no')")

    first = await house.invoke(function)
    second = await house.invoke(function)

    assert isinstance(first, FunctionFailed) and isinstance(second, FunctionFailed)
    assert first.kind is FailureKind.HANDLER
    assert json.loads(first.payload) == {"errorMessage": "no", "errorType": "ValueError"}
    assert len(house.containers.started) == 1


async def test_a_failed_init_gives_the_runtimes_own_words(house: House) -> None:
    function = house.function("import no_such_module")

    outcome = await house.invoke(function)

    assert isinstance(outcome, FunctionFailed)
    assert outcome.kind is FailureKind.INIT
    assert json.loads(outcome.payload)["errorType"] == "ModuleNotFoundError"
    await house.until_empty()


async def test_an_exit_during_init_is_the_functions_failure(house: House) -> None:
    function = house.function("import os; print('leaving', flush=True); os._exit(3)")

    outcome = await house.invoke(function)

    assert isinstance(outcome, FunctionFailed)
    assert outcome.kind is FailureKind.EXIT
    assert "exit status 3" in json.loads(outcome.payload)["errorMessage"]
    assert "leaving\n" in house.journal.text


async def test_a_call_past_its_timeout_is_killed_in_time_and_the_next_one_works(house: House) -> None:
    function = house.function("import time\ndef handler(event, context): time.sleep(event)", timeout_s=1)
    await house.invoke(function, b"0")
    process = house.member.container

    began = time.monotonic()
    outcome = await house.invoke(function, b"60")
    took_s = time.monotonic() - began
    after = await house.invoke(function, b"0")

    assert isinstance(outcome, FunctionFailed)
    assert outcome.kind is FailureKind.TIMEOUT
    assert "Task timed out after 1.00 seconds" in json.loads(outcome.payload)["errorMessage"]
    assert took_s >= 1
    assert isinstance(after, Succeeded)
    assert process is not None and house.member.container != process
    assert "Task timed out after 1.00 seconds\n\nEND RequestId: request-2\n" in house.journal.text


async def test_an_init_past_its_time_is_a_timeout(tmp_path: Path) -> None:
    house = House(tmp_path)
    async with house.build(Policy(init_timeout_s=0.1)):
        function = house.function("import time; time.sleep(60)", timeout_s=1)

        outcome = await house.invoke(function)

        assert isinstance(outcome, FunctionFailed)
        assert outcome.kind is FailureKind.TIMEOUT
    assert house.containers.running == []


async def test_an_exit_code_is_reported_and_the_next_call_works(house: House) -> None:
    function = house.function("import os\ndef handler(event, context): os._exit(7) if event else None")

    outcome = await house.invoke(function, b"1")
    after = await house.invoke(function, b"0")

    assert isinstance(outcome, FunctionFailed)
    assert outcome.kind is FailureKind.EXIT
    payload = json.loads(outcome.payload)
    assert payload["errorType"] == "Runtime.ExitError"
    assert payload["errorMessage"] == "RequestId: request-1 Error: Runtime exited with error: exit status 7"
    assert isinstance(after, Succeeded)


async def test_a_function_that_kills_itself_is_told_by_its_signal(house: House) -> None:
    function = house.function("import os\ndef handler(event, context): os.kill(os.getpid(), 11)")

    outcome = await house.invoke(function)

    assert isinstance(outcome, FunctionFailed)
    assert outcome.kind is FailureKind.EXIT
    assert "signal: segmentation fault" in json.loads(outcome.payload)["errorMessage"]


async def test_a_kill_that_the_kernel_counted_is_out_of_memory(house: House) -> None:
    source = """
        import os, signal
        def handler(event, context):
            if event: os.kill(os.getpid(), signal.SIGKILL)
    """
    function = house.function(source)
    await house.invoke(function, b"0")
    assert house.member.container is not None
    house.limits.reading(house.member.container).oom_kills = 1

    outcome = await house.invoke(function, b"1")

    assert isinstance(outcome, FunctionFailed)
    assert outcome.kind is FailureKind.OUT_OF_MEMORY
    assert json.loads(outcome.payload)["errorType"] == "Runtime.OutOfMemory"
    assert "Memory Size: 128 MB\tMax Memory Used: 128 MB\t" in house.journal.text


async def test_the_same_kill_without_the_kernels_count_is_an_exit(house: House) -> None:
    function = house.function("import os\ndef handler(event, context): os.kill(os.getpid(), 9)")

    outcome = await house.invoke(function)

    assert isinstance(outcome, FunctionFailed)
    assert outcome.kind is FailureKind.EXIT


@pytest.mark.parametrize(("kills", "kind"), [(0, FailureKind.EXIT), (1, FailureKind.OUT_OF_MEMORY)])
async def test_a_runtime_that_is_gone_without_a_report_was_killed_if_the_kernel_counted_it(
    house: House, monkeypatch: pytest.MonkeyPatch, kills: int, kind: FailureKind
) -> None:
    monkeypatch.setattr(conversation, "EXIT_GRACE_S", 0.05)
    source = """
        import os, signal
        def handler(event, context):
            if event:
                os.closerange(3, 256)
                signal.pause()
    """
    function = house.function(source)
    await house.invoke(function, b"0")
    assert house.member.container is not None
    house.limits.reading(house.member.container).oom_kills = kills

    outcome = await house.invoke(function, b"1")

    assert isinstance(outcome, FunctionFailed)
    assert outcome.kind is kind


async def test_a_response_over_the_limit_is_refused_and_the_environment_stays(house: House) -> None:
    function = house.function("def handler(event, context): return 'x' * event")

    outcome = await house.invoke(function, str(MAX_RESPONSE_BYTES).encode())
    after = await house.invoke(function, b"1")

    assert isinstance(outcome, FunctionFailed)
    assert outcome.kind is FailureKind.RESPONSE_TOO_LARGE
    assert isinstance(after, Succeeded)
    assert len(house.containers.started) == 1


async def test_a_function_that_hangs_up_has_left_and_the_next_call_works(house: House) -> None:
    source = """
        import time
        def handler(event, context):
            if event:
                connection.close()
                time.sleep(60)
    """
    function = house.function(source)

    outcome = await house.invoke(function, b"1")
    after = await house.invoke(function, b"0")

    assert isinstance(outcome, FunctionFailed)
    assert outcome.kind is FailureKind.EXIT
    assert isinstance(after, Succeeded)


async def test_a_function_that_talks_nonsense_has_left(house: House) -> None:
    source = """
        import time
        def handler(event, context):
            connection.sendall(b"GET / HTTP/1.1")
            time.sleep(60)
    """
    outcome = await house.invoke(house.function(source))

    assert isinstance(outcome, FunctionFailed)
    assert outcome.kind is FailureKind.EXIT


async def test_a_function_that_asks_for_events_without_answering_has_left(house: House) -> None:
    source = """
        import time
        def handler(event, context):
            connection.sendall(NEXT)
            time.sleep(60)
    """
    outcome = await house.invoke(house.function(source))

    assert isinstance(outcome, FunctionFailed)
    assert outcome.kind is FailureKind.EXIT


async def test_asking_twice_is_asking_once(house: House) -> None:
    function = house.function()
    await house.invoke(function)

    house.environments._conversation.asked_next(house.member.link)

    assert isinstance(await house.invoke(function), Succeeded)
    assert len(house.containers.started) == 1


async def test_a_function_that_pretends_to_be_its_own_init_harms_only_itself(house: House) -> None:
    source = """
        import os, socket
        def handler(event, context):
            for handles in ([0, 0], [os.open("/dev/null", 0), os.open("/", 0)], [connection.fileno()] * 2):
                other = socket.socket(socket.AF_UNIX)
                other.connect(path)
                socket.send_fds(other, [GREETING], handles)
            return "done"
    """
    impostor, honest = house.function(source, name="impostor"), house.function(name="honest")

    outcome = await house.invoke(impostor)
    other = await house.invoke(honest)

    assert isinstance(outcome, Succeeded)
    assert isinstance(other, Succeeded)


# -- the platform fails -----------------------------------------------------------------------------------------------


async def test_a_container_killed_from_outside_is_the_platforms_failure(house: House, gate: Gate) -> None:
    function = house.function(WAIT_AT_GATE)
    call = asyncio.create_task(house.invoke(function, json.dumps(str(gate.path)).encode()))
    await house.journal.saw("waiting")

    assert house.member.container is not None
    os.kill(house.member.container.pid, signal.SIGKILL)
    outcome = await call

    assert isinstance(outcome, PlatformFailed)
    assert outcome.was_started


async def test_a_container_killed_while_idle_is_replaced_and_nobody_notices(house: House) -> None:
    function = house.function("import os\ndef handler(event, context): return os.getpid()")
    before = await house.invoke(function)
    assert house.member.container is not None and isinstance(before, Succeeded)

    _kill_all(house.member.container.pid, int(before.payload))
    outcomes = await asyncio.gather(*(house.invoke(function) for _ in range(3)))

    assert all(isinstance(outcome, Succeeded) for outcome in outcomes)


def _kill_all(init: int, runtime: int) -> None:
    """As at the end of a PID namespace: when PID 1 has ended, all others have. The engine has had no turn by then."""
    pidfd = os.pidfd_open(runtime)
    os.kill(init, signal.SIGKILL)
    assert select.select([pidfd], [], [], PATIENCE_S)[0]
    os.close(pidfd)


async def test_an_event_that_was_not_read_goes_to_another_environment(house: House, tmp_path: Path) -> None:
    source = f"""
        import os, select
        def handler(event, context):
            return "handled"
        try:
            os.mkdir("{tmp_path}/deaf")
        except FileExistsError:
            pass
        else:
            connection.sendall(NEXT)
            select.select([connection], [], [])
            os._exit(1)
    """
    outcome = await house.invoke(house.function(source))

    assert isinstance(outcome, Succeeded)
    assert outcome.payload == b'"handled"'
    assert len(house.containers.started) == 2


async def test_an_event_that_nobody_ever_reads_does_not_go_round_for_ever(house: House) -> None:
    source = """
        import os, select
        connection.sendall(NEXT)
        select.select([connection], [], [])
        os._exit(1)
    """
    outcome = await house.invoke(house.function(source))

    assert isinstance(outcome, FunctionFailed)
    assert outcome.kind is FailureKind.EXIT
    assert len(house.containers.started) == 3


async def test_words_of_a_process_that_died_right_after_them_still_count(house: House) -> None:
    source = """
        import os
        def handler(event, context):
            connection.sendall(answer(context[0], b'"last words"'))
            os._exit(1)
    """
    function = house.function(source)

    outcome = await house.invoke(function, wants_log_tail=True)

    assert isinstance(outcome, Succeeded)
    assert outcome.payload == b'"last words"'
    assert b"END RequestId: request-1\nREPORT RequestId: request-1\t" in outcome.log_tail


async def test_a_stem_cell_that_has_lost_its_connection_is_replaced(tmp_path: Path) -> None:
    house = House(tmp_path)
    async with house.build(stems=1):
        await house.until(lambda: house.engine.fleet.stock.counts()[RUNTIME] == (1, 0))
        first = house.member.id
        runtime = house.member.link._runtime
        assert runtime is not None

        runtime._lose(unread=False)

        await house.until(lambda: house.engine.fleet.stock.counts()[RUNTIME] == (1, 0) and house.member.id != first)
        assert isinstance(await house.invoke(house.function()), Succeeded)


async def test_a_failed_start_is_tried_again(house: House) -> None:
    house.containers.failures = ["no space left on device"]

    outcome = await house.invoke(house.function())

    assert isinstance(outcome, Succeeded)
    assert house.engine.counters["start-failures"] == 1
    assert house.engine.last_error == "no space left on device"


async def test_a_caller_is_told_why_no_environment_could_be_made(tmp_path: Path) -> None:
    house = House(tmp_path)
    house.containers.failures = ["no space left on device"] * 100
    async with house.build(Policy(start_timeout_s=0.3)):
        outcome = await house.invoke(house.function())

        assert isinstance(outcome, PlatformFailed)
        assert not outcome.was_started
        assert "no space left on device" in outcome.reason


async def test_a_package_that_is_gone_is_the_platforms_failure(house: House) -> None:
    function = house.function()
    house.codes.lose(function.code_sha256)

    outcome = await house.invoke(function)

    assert isinstance(outcome, PlatformFailed)
    assert not outcome.was_started
    await house.until_empty()


async def test_a_container_that_is_hard_to_remove_is_removed_by_the_next_attempt(tmp_path: Path) -> None:
    house = House(tmp_path)
    async with house.build():
        await house.invoke(house.function())
        house.containers.stubborn = 1
        house.engine.forget(house.function().name)
        assert house.member.removing is not None
        await asyncio.wait([house.member.removing])
        assert len(house.containers.running) == 1
        house.engine.fleet.environments[house.member.id].deadline = 0.0
        house.engine._tick()  # as STUCK_S later
        await house.until_empty()

    assert house.containers.running == []


# -- logs -------------------------------------------------------------------------------------------------------------


async def test_a_log_has_every_line_in_its_place(house: House) -> None:
    source = """
        import sys
        print("loading")
        def handler(event, context):
            print("out", event)
            sys.stderr.write("err\\n")
            print("several\\rlines")
            return event
    """
    function = house.function(source)

    await house.invoke(function, b"1")
    await house.invoke(function, b"2")
    await house.until(lambda: house.journal.text.count("REPORT") == 2)

    kinds = [line.split(" ")[0] for line in house.journal.text.splitlines()]
    once = ["START", "err", "out", "several", "lines", "END", "REPORT"]
    assert kinds == ["INIT_START", "loading", *once, *once]


async def test_a_log_tail_holds_the_whole_invocation_and_its_report(house: House) -> None:
    function = house.function("print('loading')\ndef handler(event, context): print('working')")
    await house.invoke(function)

    outcome = await house.invoke(function, wants_log_tail=True)

    assert isinstance(outcome, Succeeded)
    lines = outcome.log_tail.decode().splitlines()
    assert lines[:3] == ["START RequestId: request-2 Version: $LATEST", "working", "END RequestId: request-2"]
    assert lines[3].startswith("REPORT RequestId: request-2\t")
    assert len(lines) == 4


async def test_a_log_tail_is_the_end_of_a_long_log(house: House) -> None:
    function = house.function("def handler(event, context): print('x' * 1_000_000)")

    outcome = await house.invoke(function, wants_log_tail=True)

    assert isinstance(outcome, Succeeded)
    assert len(outcome.log_tail) == 4096
    assert outcome.log_tail.startswith(b"x") and b"REPORT" in outcome.log_tail


async def test_output_is_attributed_to_its_invocation_without_a_gap(house: House) -> None:
    function = house.function("def handler(event, context): print('say', event)")
    await house.invoke(function, b"0")

    for number in range(1, 50):
        outcome = await house.invoke(function, str(number).encode(), wants_log_tail=True)
        assert isinstance(outcome, Succeeded)
        assert outcome.log_tail.decode().splitlines()[1] == f"say {number}"


async def test_a_child_that_prints_without_end_does_not_hold_up_an_answer(house: House) -> None:
    source = """
        import os
        def handler(event, context):
            if event and os.fork() == 0:
                connection.close()
                while True:
                    os.write(1, b"spam" * 1000)
            return event
    """
    function = house.function(source)

    outcomes = [await house.invoke(function, payload) for payload in (b"1", b"0", b"0")]

    assert all(isinstance(outcome, Succeeded) for outcome in outcomes)


# -- callers ----------------------------------------------------------------------------------------------------------


async def test_a_caller_that_goes_does_not_stop_the_handler(house: House, gate: Gate) -> None:
    function = house.function(WAIT_AT_GATE)
    call = asyncio.create_task(house.invoke(function, json.dumps(str(gate.path)).encode()))
    await house.journal.saw("waiting")

    call.cancel()
    await asyncio.wait([call])
    gate.open()
    await house.journal.saw("REPORT RequestId: request-1")

    assert house.engine._calls == {}
    assert house.engine.fleet.requests == {}
    assert house.engine.fleet.environments[house.member.id].phase is Phase.IDLE


async def test_a_caller_that_goes_before_there_is_an_environment_is_forgotten(house: House) -> None:
    house.containers.gate.clear()
    call = asyncio.create_task(house.invoke(house.function()))
    await house.until(lambda: len(house.containers.started) == 1)

    call.cancel()
    await asyncio.wait([call])

    assert house.engine._calls == {}
    assert house.engine.fleet.requests == {}


async def test_a_request_id_that_is_in_use_is_refused(house: House, gate: Gate) -> None:
    function = house.function(WAIT_AT_GATE)
    invocation = house.invocation(function, json.dumps(str(gate.path)).encode())
    call = asyncio.create_task(house.engine.invoke(invocation))
    await house.journal.saw("waiting")

    with pytest.raises(ValueError, match="under way"):
        await house.engine.invoke(invocation)

    gate.open()
    assert isinstance(await call, Succeeded)


# -- caps and slots ---------------------------------------------------------------------------------------------------


async def test_at_the_reserved_concurrency_a_call_is_throttled_at_once(house: House, gate: Gate) -> None:
    function = house.function(WAIT_AT_GATE)
    house.engine.limit(function.name, 1)
    call = asyncio.create_task(house.invoke(function, json.dumps(str(gate.path)).encode()))
    await house.journal.saw("waiting")

    assert await house.invoke(function) == Throttled(ThrottleReason.RESERVED)

    gate.open()
    assert isinstance(await call, Succeeded)


async def test_a_slot_waits_for_a_place_holds_it_and_gives_it_back(house: House, gate: Gate) -> None:
    function = house.function(WAIT_AT_GATE)
    house.engine.limit(function.name, 1)
    call = asyncio.create_task(house.invoke(function, json.dumps(str(gate.path)).encode()))
    await house.journal.saw("waiting")
    waiting = asyncio.create_task(house.engine.reserve(function))
    await house.until(lambda: bool(house.engine._grants))
    assert not waiting.done()

    gate.open()
    await call
    slot = await asyncio.wait_for(waiting, PATIENCE_S)
    assert await house.invoke(function) == Throttled(ThrottleReason.RESERVED)
    gate.open()
    used = await slot.invoke(house.invocation(function, json.dumps(str(gate.path)).encode()))

    assert isinstance(used, Succeeded)
    with pytest.raises(RuntimeError):
        await slot.invoke(house.invocation(function))


async def test_a_slot_that_was_released_lets_the_next_one_in(house: House) -> None:
    function = house.function()
    house.engine.limit(function.name, 1)
    slot = await house.engine.reserve(function)
    waiting = asyncio.create_task(house.engine.reserve(function))
    await house.until(lambda: bool(house.engine._grants))

    slot.release()
    slot.release()

    (await asyncio.wait_for(waiting, PATIENCE_S)).release()
    assert house.engine.fleet.caps.in_flight == 0


async def test_giving_up_a_wait_for_a_slot_gives_up_the_place(house: House) -> None:
    function = house.function()
    house.engine.limit(function.name, 1)
    slot = await house.engine.reserve(function)
    waiting = asyncio.create_task(house.engine.reserve(function))
    await house.until(lambda: bool(house.engine._grants))

    waiting.cancel()
    slot.release()  # grants what is being cancelled
    await asyncio.wait([waiting])

    assert waiting.cancelled()
    assert house.engine.fleet.caps.in_flight == 0


# -- functions change -------------------------------------------------------------------------------------------------


async def test_after_a_redeploy_the_old_code_finishes_what_it_does_and_the_new_code_answers(
    house: House, gate: Gate
) -> None:
    old = house.function(WAIT_AT_GATE)
    call = asyncio.create_task(house.invoke(old, json.dumps(str(gate.path)).encode()))
    await house.journal.saw("waiting")

    new = house.function("def handler(event, context): return 'new'", revision="2")
    fresh = await house.invoke(new)
    gate.open()
    finished = await call

    assert isinstance(fresh, Succeeded) and fresh.payload == b'"new"'
    assert isinstance(finished, Succeeded) and finished.payload == b'"went through"'
    await house.until(lambda: len(house.members) == 1)


async def test_a_deleted_functions_environments_go(house: House) -> None:
    function = house.function()
    await house.invoke(function)

    house.engine.forget(function.name)

    await house.until_empty()
    assert house.containers.running == []


async def test_environments_go_when_nobody_has_called_for_the_idle_time(tmp_path: Path) -> None:
    house = House(tmp_path)
    async with house.build(Policy(idle_timeout_s=0.05)):
        await house.invoke(house.function())

        await house.until_empty()

        assert house.containers.running == []


async def test_stem_cells_are_kept_ready_and_refilled(tmp_path: Path) -> None:
    house = House(tmp_path)
    async with house.build(stems=2):
        await house.until(lambda: house.engine.fleet.stock.counts()[RUNTIME] == (2, 0))

        outcome = await house.invoke(house.function())

        assert isinstance(outcome, Succeeded)
        assert outcome.ledger.start_s < outcome.ledger.init_s + 1
        await house.until(lambda: house.engine.fleet.stock.counts()[RUNTIME] == (2, 0))
    assert house.containers.running == []


# -- the end ----------------------------------------------------------------------------------------------------------


async def test_a_shutdown_answers_everybody(tmp_path: Path) -> None:
    house = House(tmp_path)
    async with house.build():
        function, other = house.function(WAIT_AT_GATE), house.function(name="other")
        house.engine.limit(function.name, 1)
        gate = house.gate()
        running = asyncio.create_task(house.invoke(function, json.dumps(str(gate.path)).encode()))
        await house.journal.saw("waiting")
        reserving = asyncio.create_task(house.engine.reserve(function))
        house.containers.gate.clear()
        waiting = asyncio.create_task(house.invoke(other))
        await house.until(lambda: bool(house.engine._grants) and len(house.containers.started) == 2)
        gate.close()

    started, waited = await running, await waiting
    assert isinstance(started, PlatformFailed) and started.was_started
    assert isinstance(waited, PlatformFailed) and not waited.was_started
    with pytest.raises(ServiceError):
        await reserving
    assert isinstance(await house.engine.invoke(house.invocation(other)), PlatformFailed)
    assert house.containers.running == []
    assert await house.slots.leftovers() == []


async def test_a_shutdown_during_a_start_leaves_no_task(tmp_path: Path) -> None:
    house = House(tmp_path)
    house.containers.gate.clear()

    async def live() -> None:
        async with house.build():
            call = asyncio.create_task(house.invoke(house.function()))
            await house.until(lambda: len(house.containers.started) == 1)
            call.cancel()

    await asyncio.wait_for(live(), PATIENCE_S)

    assert house.containers.running == []
    assert {task.get_name() for task in asyncio.all_tasks()} <= {asyncio.current_task().get_name()}  # type: ignore[union-attr]  # there is one


# -- our own defects --------------------------------------------------------------------------------------------------


async def test_a_defect_in_one_effect_costs_only_that_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    house = House(tmp_path)
    async with house.build():
        broken, sound = house.function(name="broken"), house.function(name="sound")
        await asyncio.gather(house.invoke(broken), house.invoke(sound))
        deliver = house.environments.deliver

        def fail(member: Member, invocation: Invocation, deadline_ms: int) -> None:
            if invocation.function.name == "broken":
                raise LookupError("a defect")
            deliver(member, invocation, deadline_ms)

        monkeypatch.setattr(house.environments, "deliver", fail)
        lost, answered = await asyncio.gather(house.invoke(broken), house.invoke(sound))
        monkeypatch.undo()

        assert isinstance(lost, PlatformFailed)
        assert isinstance(answered, Succeeded)
        assert isinstance(await house.invoke(broken), Succeeded)
        assert house.engine.counters["defects"] == 1
    assert house.containers.running == []


async def test_a_caller_is_answered_even_if_its_ending_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    house = House(tmp_path)
    async with house.build():
        function = house.function("import os\ndef handler(event, context): os._exit(1)")

        def fail(*anything: object, **more: object) -> None:
            raise LookupError("a defect")

        monkeypatch.setattr(house.engine._reporter, "concluded", fail)
        outcome = await house.invoke(function)

        assert isinstance(outcome, PlatformFailed)
        assert outcome.was_started
        await house.until_empty()
    assert house.containers.running == []


async def test_a_tick_that_fails_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_module, "MEND_S", 0.0)
    house = House(tmp_path)
    async with house.build(Policy(idle_timeout_s=0.05)):
        tick, failures = house.engine.fleet.tick, [LookupError("a defect")]

        def fail_once(now: float) -> list[Effect]:
            if failures:
                raise failures.pop()
            return tick(now)

        await house.invoke(house.function())
        monkeypatch.setattr(house.engine.fleet, "tick", fail_once)

        await house.until_empty()
        assert not failures
