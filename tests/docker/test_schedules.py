"""Schedules as their users see them: made with boto3, they wake functions, also after a kill."""

import json
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import docker
import pytest
from tests.docker.house import ROLE, House, eventually, house, unique
from tests.docker.witness import CLIENT, Witness
from tests.docker.witness import witness as listening

pytestmark = pytest.mark.docker

TELL = CLIENT + "import json\ndef handler(event, context):\n    tell(json.dumps(event))\n"
OFF = {"Mode": "OFF"}


def aws(hearth: House, service: str) -> Any:
    """A client of another service on the same port."""
    return boto3.client(
        service,
        endpoint_url=hearth.variables["AWS_ENDPOINT_URL"],
        aws_access_key_id=hearth.variables["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=hearth.variables["AWS_SECRET_ACCESS_KEY"],
        region_name=hearth.variables["AWS_REGION"],
    )


def soon(seconds: float) -> tuple[str, float]:
    """An expression for a time so far from now, and that time."""
    at = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=seconds)
    return f"at({at:%Y-%m-%dT%H:%M:%S})", at.timestamp()


def target(hearth: House, function: str, **event: str) -> Mapping[str, Any]:
    arn = hearth.api.get_function_configuration(FunctionName=function)["FunctionArn"]
    return {"Arn": arn, "RoleArn": ROLE, "Input": json.dumps(event)}


def heard(witness: Witness, name: str) -> list[Mapping[str, str]]:
    """What the schedule of this name made its function say."""
    return [event for event in map(json.loads, witness.lines()) if event["name"] == name]


@pytest.fixture
def scheduler(hearth: House) -> Iterator[Any]:
    client = aws(hearth, "scheduler")
    yield client
    client.close()


def test_a_time_in_two_seconds_wakes_a_function_that_is_at_zero(
    hearth: House, witness: Witness, scheduler: Any
) -> None:
    function, name = hearth.create("tick", TELL, variables={"WITNESS": witness.address}), unique("once")
    expression, at = soon(3)
    event = target(hearth, function, name=name, time="<aws.scheduler.scheduled-time>")
    scheduler.create_schedule(
        Name=name, ScheduleExpression=expression, Target=event, FlexibleTimeWindow=OFF, ActionAfterCompletion="DELETE"
    )
    eventually(lambda: len(heard(witness, name)) == 1, "the function was woken")
    assert witness.heard()[-1][0] >= at
    assert heard(witness, name)[0]["time"] == f"{datetime.fromtimestamp(at, UTC):%Y-%m-%dT%H:%M:%SZ}"

    def names() -> list[str]:
        return [one["Name"] for one in scheduler.list_schedules(NamePrefix=name)["Schedules"]]

    eventually(lambda: names() == [], "the schedule deleted itself")


def test_a_queue_gets_the_input_and_the_command_shows_the_schedule(hearth: House, scheduler: Any) -> None:
    name, queues = unique("rate"), aws(hearth, "sqs")
    url = queues.create_queue(QueueName=name)["QueueUrl"]
    wanted = {"Arn": hearth.queue_arn(name), "RoleArn": ROLE, "Input": "plain text"}
    scheduler.create_schedule(
        Name=name, ScheduleExpression="rate(1 day)", Target=wanted, FlexibleTimeWindow=OFF, Description="daily"
    )
    found = queues.receive_message(QueueUrl=url, WaitTimeSeconds=20)["Messages"]
    assert [message["Body"] for message in found] == ["plain text"]
    shown = next(one for one in json.loads(hearth.command("schedules", "list", "--json")) if one["name"] == name)
    assert shown["next_ms"] - shown["last_ms"] == 86_400_000
    scheduler.delete_schedule(Name=name)


def test_what_was_due_while_the_daemon_was_dead_fires_once_and_what_had_fired_does_not_again(
    docker_engine: docker.DockerClient,
) -> None:
    with (
        house(docker_engine, {"STEM_CELLS": '{"python3.13": 1}'}) as subject,
        listening(subject.gateway()) as witness,
    ):
        function = subject.create("tick", TELL, variables={"WITNESS": witness.address})
        scheduler = aws(subject, "scheduler")

        def make(name: str, expression: str) -> None:
            event = target(subject, function, name=name)
            scheduler.create_schedule(Name=name, ScheduleExpression=expression, Target=event, FlexibleTimeWindow=OFF)

        make("before", "rate(1 hour)")
        eventually(lambda: len(heard(witness, "before")) == 1, "the rate has begun")
        expression, at = soon(6)
        make("during", expression)
        make("after", soon(120)[0])
        subject.kill()
        assert time.time() < at, "the daemon was not killed in time"
        eventually(lambda: time.time() > at + 1, "its time has passed")
        subject.up()
        eventually(lambda: len(heard(witness, "during")) == 1, "what was missed is made good")
        subject.kill()
        subject.up()
        probe, _ = soon(1)
        make("probe", probe)
        eventually(lambda: len(heard(witness, "probe")) == 1, "the timers run again")
        counts = {name: len(heard(witness, name)) for name in ("before", "during", "after")}
        assert counts == {"before": 1, "during": 1, "after": 0}
