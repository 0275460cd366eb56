"""Event buses from AWS's own clients: a rule's targets get what its pattern lets through, also across kill -9."""

import json
from collections.abc import Callable
from typing import Any

import boto3
import pytest
from botocore.config import Config
from tests.docker.house import House, eventually, unique
from tests.docker.witness import CLIENT, Witness

pytestmark = pytest.mark.docker

HANDLE = CLIENT + "import json\ndef handler(event, context):\n    tell(json.dumps(event))\n"


def client(hearth: House, service: str) -> Any:
    return boto3.client(
        service,
        endpoint_url=hearth.variables["AWS_ENDPOINT_URL"],
        aws_access_key_id=hearth.variables["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=hearth.variables["AWS_SECRET_ACCESS_KEY"],
        region_name=hearth.variables["AWS_REGION"],
        config=Config(retries={"total_max_attempts": 1}, proxies={}),
    )


@pytest.fixture
def events(hearth: House) -> Any:
    return client(hearth, "events")


@pytest.fixture
def queue(hearth: House) -> Callable[[], tuple[str, Callable[[], list[str]]]]:
    """Makes a queue: its ARN, and what takes the messages that are there now."""
    sqs = client(hearth, "sqs")

    def made() -> tuple[str, Callable[[], list[str]]]:
        url = sqs.create_queue(QueueName=unique("bus"))["QueueUrl"]
        arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        taken: list[str] = []

        def bodies() -> list[str]:
            found = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", [])
            for message in found:
                taken.append(message["Body"])
                sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
            return taken

        return arn, bodies

    return made


def telling(hearth: House, witness: Witness) -> str:
    """A function that tells the test its events, and lets rules invoke it; its ARN."""
    name = hearth.create("bus", HANDLE, variables={"WITNESS": witness.address})
    hearth.api.add_permission(
        FunctionName=name, StatementId="rules", Action="lambda:InvokeFunction", Principal="events.amazonaws.com"
    )
    return str(hearth.api.get_function_configuration(FunctionName=name)["FunctionArn"])


def put(events: Any, name: str, *targets: dict[str, Any], pattern: dict[str, Any], bus: str = "default") -> str:
    made = events.put_rule(Name=name, EventPattern=json.dumps(pattern), EventBusName=bus)
    assert not events.put_targets(Rule=name, Targets=list(targets), EventBusName=bus)["FailedEntryCount"]
    return str(made["RuleArn"])


def entry(source: str, bus: str = "default", **detail: Any) -> dict[str, Any]:
    return {"Source": source, "DetailType": "order", "Detail": json.dumps(detail), "EventBusName": bus}


def test_a_rule_sends_events_to_a_function_and_transformed_to_a_queue(
    hearth: House, witness: Witness, events: Any, queue: Any
) -> None:
    source, function, (arn, bodies) = unique("shop"), telling(hearth, witness), queue()
    transformer = {
        "InputPathsMap": {"id": "$.detail.id", "total": "$.detail.total"},
        "InputTemplate": '{"order": <id>, "said": "total of <total>", "rule": <aws.events.rule-name>}',
    }
    put(
        events,
        source,
        {"Id": "function", "Arn": function},
        {"Id": "queue", "Arn": arn, "InputTransformer": transformer},
        pattern={"source": [source], "detail": {"total": [{"numeric": [">", 10]}], "id": [{"prefix": "o-"}]}},
    )
    answer = events.put_events(Entries=[entry(source, id="o-1", total=11), entry(source, id="o-2", total=10)])
    assert answer["FailedEntryCount"] == 0
    eventually(lambda: witness.count() == 1, "the function was told")
    event = json.loads(witness.lines()[0])
    assert event["detail"] == {"id": "o-1", "total": 11}
    assert (event["id"], event["source"]) == (answer["Entries"][0]["EventId"], source)
    eventually(lambda: len(bodies()) == 1, "the queue has it")
    assert json.loads(bodies()[0]) == {"order": "o-1", "said": "total of 11", "rule": source}


def test_what_no_function_takes_is_dead_lettered(hearth: House, events: Any, queue: Any) -> None:
    source, (arn, bodies) = unique("shop"), queue()
    missing = f"arn:aws:lambda:{hearth.variables['AWS_REGION']}:000000000000:function:{unique('missing')}"
    name = hearth.create("closed", "def handler(event, context):\n    raise AssertionError('not for rules')\n")
    closed = hearth.api.get_function_configuration(FunctionName=name)["FunctionArn"]
    common = {"DeadLetterConfig": {"Arn": arn}, "RetryPolicy": {"MaximumRetryAttempts": 0}}
    targets = [{"Id": "missing", "Arn": missing, **common}, {"Id": "closed", "Arn": closed, **common}]
    put(events, source, *targets, pattern={"source": [source]})
    events.put_events(Entries=[entry(source, n=1)])
    eventually(lambda: len(bodies()) == 2, "the event is in the dead-letter queue, once for each target")
    assert [json.loads(body)["detail"] for body in bodies()] == [{"n": 1}, {"n": 1}]


def test_a_bus_forwards_to_another_and_survives_kill_9(
    hearth: House, witness: Witness, events: Any, queue: Any
) -> None:
    source, bus, (arn, bodies) = unique("shop"), unique("second"), queue()
    second = events.create_event_bus(Name=bus)["EventBusArn"]
    put(events, source, {"Id": "on", "Arn": second}, pattern={"source": [source]})
    put(events, source, {"Id": "queue", "Arn": arn, "InputPath": "$.detail.n"}, pattern={"account": ["000000000000"]},
        bus=bus)  # fmt: skip
    events.put_events(Entries=[entry(source, n=number) for number in range(10)])
    hearth.kill()
    hearth.up()
    again = client(hearth, "events")
    assert [rule["Name"] for rule in again.list_rules(EventBusName=bus)["Rules"]] == [source]
    again.put_events(Entries=[entry(source, n=10)])
    eventually(lambda: len(set(bodies())) == 11, "everything that was answered for arrives")
    assert set(bodies()) == {str(number) for number in range(11)}


def test_a_rule_fires_by_its_schedule(hearth: House, witness: Witness, events: Any) -> None:
    name = unique("minutely")
    arn = events.put_rule(Name=name, ScheduleExpression="rate(1 minute)")["RuleArn"]
    events.put_targets(Rule=name, Targets=[{"Id": "1", "Arn": telling(hearth, witness)}])
    eventually(lambda: witness.count() >= 1, "the schedule fired", 100)
    events.disable_rule(Name=name)
    event = json.loads(witness.lines()[0])
    assert (event["detail-type"], event["source"], event["resources"]) == ("Scheduled Event", "aws.events", [arn])


def test_the_aws_command_puts_events(hearth: House, events: Any, queue: Any) -> None:
    source, (arn, bodies) = unique("shop"), queue()
    put(events, source, {"Id": "1", "Arn": arn, "InputPath": "$.detail"}, pattern={"source": [source]})
    entries = json.dumps([entry(source, n=1)])
    said = hearth.command("events", "put-events", "--entries", entries, "--output", "json", program="aws")
    assert json.loads(said)["FailedEntryCount"] == 0
    eventually(lambda: bodies() == ['{"n":1}'], "the queue has it")
