"""How many containers run a function: never more than its cap, as many as needed below it, none when it is idle."""

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import docker
import pytest
from botocore.exceptions import ClientError
from tests.docker.house import House, eventually, house, package
from tests.docker.traffic import Reply, burst, stream
from tests.docker.witness import CLIENT, WHO, Witness
from tests.docker.witness import witness as listening

pytestmark = pytest.mark.docker

CAP = 5
SAMPLE_EVERY_S = 0.05
LOOKS = 20

# Each call says where it runs before and after its work.
WORK = (
    CLIENT
    + WHO
    + """
import time

def handler(event, context):
    here = environment()
    tell("in " + here)
    time.sleep(0.1)
    tell("out " + here)
    return here
"""
)


@pytest.fixture(scope="module")
def restless(docker_engine: docker.DockerClient) -> Iterator[House]:
    """A Hearth whose environments may idle for two seconds only."""
    with house(docker_engine, {"IDLE_TIMEOUT_S": "2", "STEM_CELLS": '{"python3.13": 2}'}) as subject:
        yield subject


@pytest.fixture
def witness(restless: House) -> Iterator[Witness]:
    """Hears what functions of the restless Hearth tell."""
    with listening(restless.gateway()) as found:
        yield found


@dataclass(slots=True)
class Samples:
    """Which containers the engine showed, and how many calls the daemon said were in flight, time after time."""

    containers: list[frozenset[str]] = field(default_factory=list)
    in_flight: list[int] = field(default_factory=list)


@contextmanager
def watching(subject: House) -> Iterator[Samples]:
    """Look at the engine and at the daemon again and again while the `with` lasts."""
    found, ended = Samples(), threading.Event()

    def look() -> None:
        while not ended.wait(SAMPLE_EVERY_S):
            found.containers.append(frozenset(alive(subject)))
            found.in_flight.append(int(subject.health()["in_flight"]))

    watcher = threading.Thread(target=look, name="watcher")
    watcher.start()
    try:
        yield found
    finally:
        ended.set()
        watcher.join(30)


def alive(subject: House) -> set[str]:
    # The plain list: the client's containers.list() inspects each one, which is slow beside a heavy load.
    filters = {"label": [f"hearth.instance={subject.instance}", "hearth.role=environment"]}
    return {each["Labels"]["hearth.environment"] for each in subject.engine.api.containers(all=True, filters=filters)}


def places(witness: Witness) -> set[str]:
    """Every environment that ran the function."""
    return {line.split()[1] for line in witness.lines()}


def most_at_once(lines: list[str]) -> int:
    """How many calls the handlers themselves say ran at the same time."""
    running = most = 0
    for line in lines:
        running += 1 if line.startswith("in ") else -1
        most = max(most, running)
    return most


def assert_throttled(reply: Reply) -> None:
    assert reply.status == 429, reply
    assert reply.body["Reason"] == "ReservedFunctionConcurrentInvocationLimitExceeded"
    assert reply.body["Type"] == "User"
    assert reply.body["message"] == "Rate Exceeded."
    assert reply.page is not None
    assert reply.page.headers["x-amzn-errortype"] == "TooManyRequestsException"
    assert int(reply.page.headers["retry-after"]) >= 1


def test_a_cap_is_exact_under_200_clients_and_nothing_is_left_when_idle(restless: House, witness: Witness) -> None:
    name = restless.create("capped", WORK, variables={"WITNESS": witness.address})
    restless.api.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=CAP)

    with watching(restless) as samples:
        first = burst(restless, name, 200)
        with stream(restless, name, clients=50) as later:
            eventually(lambda: later.count() >= 100, "100 calls are answered", 30)
            eventually(lambda: len(samples.containers) >= LOOKS, "we have looked often enough", 30)

    for reply in [*first, *later.replies]:
        if reply.status != 200:
            assert_throttled(reply)
    assert sum(reply.status == 200 for reply in first) >= CAP
    # A busy machine may not need all five; it must never have more.
    assert 1 <= most_at_once(witness.lines()) <= CAP
    ran = places(witness)
    shown = max(len(sample & ran) for sample in samples.containers)
    print(f"{len(samples.containers)} looks; most containers at once: {shown}; answers: {later.statuses()}", flush=True)
    assert 1 <= shown <= CAP
    assert max(samples.in_flight) <= CAP

    eventually(lambda: not alive(restless) & ran, "its containers are gone", 20)


def test_from_zero_every_one_of_many_is_served(restless: House, witness: Witness) -> None:
    name = restless.create("fresh", WORK, variables={"WITNESS": witness.address})
    replies = burst(restless, name, 30)
    assert [reply.status for reply in replies] == [200] * 30
    print(f"30 calls at once ran in {len(places(witness))} environments", flush=True)


def test_many_functions_start_at_once(restless: House) -> None:
    names = [restless.create("many", f"def handler(e, c):\n    return {number}\n") for number in range(12)]
    gate = threading.Barrier(len(names))
    found: dict[int, object] = {}

    def one(number: int) -> None:
        gate.wait(30)
        found[number] = restless.invoke(names[number]).value

    threads = [threading.Thread(target=one, args=(number,)) for number in range(len(names))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert found == {number: number for number in range(len(names))}


def test_one_client_after_another_gets_the_same_environment(restless: House, witness: Witness) -> None:
    name = restless.create("reused", WORK, variables={"WITNESS": witness.address})
    for _ in range(10):
        restless.invoke(name)
    assert len(places(witness)) == 1


def test_new_code_under_load_fails_no_request_and_ends_the_old_one(restless: House) -> None:
    def version(number: int) -> str:
        return f"import time\ndef handler(event, context):\n    time.sleep(0.02)\n    return {number}\n"

    name = restless.create("redeployed", version(0))
    with stream(restless, name, clients=8) as found:
        for number in (1, 2, 3):
            before = found.count()
            eventually(lambda: found.count() > before + 20, "calls go on", 30)  # noqa: B023  # waits here and now
            restless.api.update_function_code(FunctionName=name, ZipFile=package({"app.py": version(number)}))
            restless.settled(name)
            asked = len(found.replies)
            assert restless.invoke(name).value == number
            eventually(lambda: len(found.replies) > asked + 30, "calls are answered after it", 30)  # noqa: B023
            newest = max(reply.answered_at for reply in found.replies[:asked]) if asked else 0.0
            late = [reply.body for reply in list(found.replies) if reply.sent_at > newest]
            assert set(late) == {number}
    assert found.statuses() == {200: len(found.replies)}, found.statuses()
    assert not [reply for reply in found.replies if reply.is_error]


def test_new_settings_under_load_fail_no_request(restless: House) -> None:
    name = restless.create("resettled", "import os\ndef handler(e, c):\n    return os.environ.get('STEP')\n")
    with stream(restless, name, clients=6) as found:
        for step in ("1", "2"):
            restless.api.update_function_configuration(
                FunctionName=name, Environment={"Variables": {"STEP": step}}, MemorySize=128 + 64 * int(step)
            )
            restless.settled(name)
            assert restless.invoke(name).value == step
    assert found.statuses() == {200: len(found.replies)}


def test_deleting_under_load_answers_everyone_and_leaves_nothing(restless: House, witness: Witness) -> None:
    name = restless.create("doomed", WORK, variables={"WITNESS": witness.address})
    with stream(restless, name, clients=8) as found:
        eventually(lambda: found.count() > 20, "calls are answered", 30)
        restless.api.delete_function(FunctionName=name)
        eventually(lambda: found.count(lambda reply: reply.status == 404) > 8, "calls are refused", 30)
    print(f"answers: {found.statuses()}", flush=True)
    odd = [each for each in found.replies if each.status not in (200, 404)]
    assert not odd, odd[:3]
    eventually(lambda: not alive(restless) & places(witness), "its containers are gone", 20)
    with pytest.raises(ClientError):
        restless.api.get_function(FunctionName=name)


def test_an_account_limit_is_a_limit_of_all_functions_together(docker_engine: docker.DockerClient) -> None:
    settings = {"ACCOUNT_CONCURRENCY": "4", "UNRESERVED_MINIMUM": "1", "STEM_CELLS": '{"python3.13": 4}'}
    with house(docker_engine, settings) as subject, listening(subject.gateway()) as witness:
        names = [subject.create("share", WORK, variables={"WITNESS": witness.address}) for _ in range(2)]
        with stream(subject, names[0], clients=6) as one, stream(subject, names[1], clients=6) as other:
            eventually(lambda: one.count() + other.count() > 40, "calls are answered", 30)
        assert most_at_once(witness.lines()) <= 4
        refused = [reply for reply in [*one.replies, *other.replies] if reply.status == 429]
        assert {reply.body["Reason"] for reply in refused} == {"ConcurrentInvocationLimitExceeded"}
        assert one.count() > 0
        assert other.count() > 0
        assert re.fullmatch(r"[1-9]\d*", refused[0].page.headers["retry-after"] if refused[0].page else "")
