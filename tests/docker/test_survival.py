"""What outlives what: Hearth is killed, started again and stopped, its Redis restarted, all under load."""

from collections.abc import Iterator
from typing import Any

import docker
import pytest
from tests.docker.house import House, eventually, house, unique
from tests.docker.traffic import call, stream
from tests.docker.witness import CLIENT
from tests.docker.witness import witness as listening

pytestmark = pytest.mark.docker

COUNTER = "count = 0\ndef handler(event, context):\n    global count\n    count += 1\n    return count\n"


@pytest.fixture(scope="module")
def mortal(docker_engine: docker.DockerClient) -> Iterator[House]:
    """A Hearth that may be killed and stopped by each of these tests, and is started again by the next."""
    with house(docker_engine, {"STEM_CELLS": '{"python3.13": 2}'}) as subject:
        yield subject


@pytest.fixture(autouse=True)
def running(mortal: House) -> None:
    mortal.up()


def test_everything_declared_survives_a_kill_under_load(mortal: House) -> None:
    name = mortal.create("kept", COUNTER, variables={"KEY": "value"}, timeout_s=9)
    path = mortal.url(name)
    mortal.api.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=7)
    mapping = mortal.map_queue(name, mortal.queue_arn(unique("q")), BatchSize=4)

    def declared() -> list[Any]:
        found = [
            mortal.api.get_function(FunctionName=name)["Configuration"],
            mortal.api.get_function_url_config(FunctionName=name),
            mortal.api.get_function_concurrency(FunctionName=name),
            mortal.api.get_event_source_mapping(UUID=mapping),
            mortal.api.get_function(FunctionName=name)["Concurrency"],
        ]
        return [{key: value for key, value in each.items() if key != "ResponseMetadata"} for each in found]

    before = declared()
    with stream(mortal, name, clients=6) as found:
        eventually(lambda: found.count() > 50, "calls are answered")
        mortal.kill()
        mortal.up()
        count = found.count()
        eventually(lambda: found.count() > count + 50, "calls are answered again")
    mortal.mapping_is(mapping, "Enabled")
    assert declared() == before
    assert mortal.http("GET", f"{path}/").status == 200
    # Until the new daemon listens nobody answers; whoever is answered is answered well.
    assert set(found.statuses()) <= {0, 200}


def test_a_warm_environment_is_adopted_with_its_memory(mortal: House) -> None:
    name = mortal.create("warm", COUNTER)
    assert [mortal.invoke(name).value for _ in range(3)] == [1, 2, 3]
    before = {each.id for each in mortal.containers()}
    mortal.kill()
    mortal.up()
    assert mortal.invoke(name).value == 4
    assert {each.id for each in mortal.containers()} & before
    assert "REPORT" in mortal.invoke(name).log
    assert "Init Duration" not in mortal.log(name).splitlines()[-1]


def test_containers_that_nobody_knows_are_removed(mortal: House) -> None:
    mortal.kill()
    labels = {"hearth.instance": mortal.instance, "hearth.role": "environment"}
    strays = [
        mortal.engine.containers.run(
            "hearth/python3.13:latest",
            ["/bin/sleep", "600"],
            entrypoint=[],
            detach=True,
            labels={**labels, **more},
            network_mode="none",
        )
        for more in ({"hearth.environment": "f" * 32, "hearth.epoch": "old", "hearth.runtime": "python3.13"}, {})
    ]
    mortal.up()
    gone = {each.id for each in strays}
    eventually(lambda: not gone & {each.id for each in mortal.containers()}, "the strays are gone", 20)


def test_an_old_version_is_not_adopted(mortal: House) -> None:
    name = mortal.create("old", COUNTER)
    mortal.invoke(name)
    mortal.replace_code(name, "def handler(event, context):\n    return 'new'\n")
    mortal.kill()
    mortal.up()
    assert mortal.invoke(name).value == "new"


def test_down_under_load_finishes_what_runs_and_leaves_nothing(mortal: House) -> None:
    name = mortal.create("ending", "import time\ndef handler(e, c):\n    time.sleep(0.3)\n    return 1\n")
    with stream(mortal, name, clients=4) as found:
        eventually(lambda: found.count() > 8, "calls are answered")
        mortal.command("down")
    assert mortal.leftovers() == []
    # Whoever was being served was served; whoever came later found nobody.
    assert set(found.statuses()) <= {0, 200}, [reply for reply in found.replies if reply.status not in (0, 200)][:3]


def test_kill_and_down_leave_nothing_either(mortal: House) -> None:
    name = mortal.create("killed", COUNTER)
    with stream(mortal, name, clients=4) as found:
        eventually(lambda: found.count() > 20, "calls are answered")
        mortal.kill()
    mortal.command("down")
    assert mortal.leftovers() == []


def test_functions_and_queues_outlive_a_down(mortal: House) -> None:
    name, queue = mortal.create("again", COUNTER), unique("queue")
    with mortal.redis() as store:
        store.rpush(queue, "kept")
    mortal.command("down")
    mortal.up()
    assert mortal.invoke(name).value == 1
    with mortal.redis() as store:
        assert store.lrange(queue, 0, -1) == ["kept"]


def test_a_restart_of_redis_stops_no_call_and_queues_go_on(mortal: House) -> None:
    with listening(mortal.gateway()) as witness:
        code = CLIENT + "def handler(event, context):\n    [tell(one['body']) for one in event['Records']]\n"
        fed = mortal.create("fed", code, variables={"WITNESS": witness.address})
        queue = unique("queue")
        mortal.map_queue(fed, mortal.queue_arn(queue))
        name = mortal.create("called", COUNTER)
        call(mortal, name)
        with stream(mortal, name, clients=4) as found:
            eventually(lambda: found.count() > 20, "calls are answered")
            with mortal.redis() as store:
                store.rpush(queue, "before")
            eventually(lambda: "before" in witness.lines(), "the first message is handled")
            mortal.containers("redis")[0].restart(timeout=10)
            count = found.count()
            eventually(lambda: found.count() > count + 20, "calls are still answered")
            with mortal.redis() as store:
                eventually(store.ping, "Redis answers")
                store.rpush(queue, "after")
            eventually(lambda: "after" in witness.lines(), "the second message is handled")
        assert found.statuses() == {200: len(found.replies)}
        assert not [reply for reply in found.replies if reply.is_error]
