"""SQS from end to end: AWS's own clients outside and inside functions, mappings, dead letters on their way back, and
another SQS, which here is this Hearth itself at the other end of its wire."""

import json
import time
from typing import Any

import boto3
import docker
import pytest
from botocore.config import Config
from tests.docker.house import NODE, House, eventually, house, unique
from tests.docker.witness import CLIENT, Witness

pytestmark = pytest.mark.docker

TELL = CLIENT + (
    "import json\n"
    "def handler(event, context):\n"
    "    for one in event['Records']:\n"
    "        seen = {'body': one['body'], 'attributes': one['messageAttributes'], 'arn': one['eventSourceARN']}\n"
    "        tell(json.dumps(seen))\n"
)
SEND = """
import boto3
def handler(event, context):
    sqs = boto3.client("sqs")
    url = sqs.get_queue_url(QueueName=event["queue"])["QueueUrl"]
    named = {"who": {"DataType": "String", "StringValue": "python"}}
    return sqs.send_message(QueueUrl=url, MessageBody=event["body"], MessageAttributes=named)["MessageId"]
"""
JAVASCRIPT = """
const sqs = require("@aws-sdk/client-sqs");
exports.handler = async (event) => {
    const client = new sqs.SQSClient({ maxAttempts: 1 });
    const send = (operation, parameters) => client.send(new sqs[`${operation}Command`](parameters));
    const { QueueUrl } = await send("CreateQueue", { QueueName: event.queue, Attributes: { VisibilityTimeout: "5" } });
    const MessageAttributes = { who: { DataType: "Binary", BinaryValue: new Uint8Array([0, 255]) } };
    await send("SendMessage", { QueueUrl, MessageBody: "one", MessageAttributes });
    const batch = await send("SendMessageBatch", {
        QueueUrl,
        Entries: [{ Id: "a", MessageBody: "two" }, { Id: "b", MessageBody: "\\u0001" }],
    });
    const received = await send("ReceiveMessage", {
        QueueUrl, MaxNumberOfMessages: 10, WaitTimeSeconds: 1, MessageAttributeNames: ["All"], AttributeNames: ["All"],
    });
    for (const { ReceiptHandle } of received.Messages) await send("DeleteMessage", { QueueUrl, ReceiptHandle });
    let error;
    try { await send("GetQueueUrl", { QueueName: "there-is-no-such-queue" }); } catch (one) { error = one; }
    return {
        bodies: received.Messages.map((one) => one.Body),
        binary: Array.from(received.Messages[0].MessageAttributes.who.BinaryValue),
        failed: batch.Failed.map((one) => one.Code),
        error: [error.name, error instanceof sqs.QueueDoesNotExist],
    };
};
"""


def client(hearth: House, service: str = "sqs") -> Any:
    return boto3.client(
        service,
        endpoint_url=hearth.variables["AWS_ENDPOINT_URL"],
        aws_access_key_id=hearth.variables["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=hearth.variables["AWS_SECRET_ACCESS_KEY"],
        region_name=hearth.variables["AWS_REGION"],
        config=Config(retries={"total_max_attempts": 1}, proxies={}),
    )


@pytest.fixture
def sqs(hearth: House) -> Any:
    return client(hearth)


def counts(sqs: Any, url: str) -> tuple[int, int, int]:
    """Visible, in flight, delayed."""
    names = ["", "NotVisible", "Delayed"]
    asked = [f"ApproximateNumberOfMessages{name}" for name in names]
    told = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=asked)["Attributes"]
    visible, hidden, delayed = (int(told[name]) for name in asked)
    return visible, hidden, delayed


def allow_sqs(hearth: House, *functions: str) -> None:
    """Let these functions use every queue, as their role."""
    iam = client(hearth, "iam")
    role = unique("sqs")
    trust = {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
    arn = iam.create_role(
        RoleName=role, AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [trust]})
    )["Role"]["Arn"]
    may = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "sqs:*", "Resource": "*"}]}
    iam.put_role_policy(RoleName=role, PolicyName="sqs", PolicyDocument=json.dumps(may))
    for name in functions:
        hearth.api.update_function_configuration(FunctionName=name, Role=arn)
        hearth.settled(name)


def told(witness: Witness) -> list[dict[str, Any]]:
    return [json.loads(line) for line in witness.lines()]


def test_a_function_sends_and_another_one_gets_it(hearth: House, sqs: Any, witness: Witness) -> None:
    queue = unique("chain")
    url = sqs.create_queue(QueueName=queue)["QueueUrl"]
    sender = hearth.create("sender", SEND)
    allow_sqs(hearth, sender)
    hearth.map_queue(hearth.create("teller", TELL, variables={"WITNESS": witness.address}), hearth.queue_arn(queue))
    hearth.invoke(sender, {"queue": queue, "body": "from a function"})
    with hearth.redis() as store:
        store.rpush(queue, "plainly pushed")
    eventually(lambda: len(told(witness)) == 2, "both messages are handled")
    by_body = {one["body"]: one for one in told(witness)}
    assert by_body["from a function"]["attributes"]["who"]["stringValue"] == "python"
    assert by_body["plainly pushed"]["attributes"] == {}
    eventually(lambda: counts(sqs, url) == (0, 0, 0), "nothing is left")


def test_the_client_for_javascript_reads_what_is_answered(hearth: House) -> None:
    name = hearth.create("javascript", JAVASCRIPT, runtime=NODE, memory_mb=256)
    allow_sqs(hearth, name)
    answer = hearth.invoke(name, {"queue": unique("js")})
    assert answer.value == {
        "bodies": ["one", "two"],
        "binary": [0, 255],
        "failed": ["InvalidMessageContents"],
        "error": ["QueueDoesNotExist", True],
    }


def test_the_command_line_tool_finds_queues_and_messages(hearth: House) -> None:
    queue = unique("cli")

    def aws(*arguments: str) -> Any:
        endpoint = ("--endpoint-url", hearth.variables["AWS_ENDPOINT_URL"], "--output", "json")
        text = hearth.command("sqs", *arguments, *endpoint, program="aws")
        return json.loads(text) if text.strip() else None

    url = aws("create-queue", "--queue-name", queue, "--tags", "team=a")["QueueUrl"]
    aws("send-message", "--queue-url", url, "--message-body", "hello")
    (message,) = aws("receive-message", "--queue-url", url, "--wait-time-seconds", "5")["Messages"]
    assert message["Body"] == "hello"
    (shown,) = json.loads(hearth.command("queues", "list", "--prefix", queue, "--json"))
    assert (shown["visible"], shown["in_flight"], shown["delayed"]) == (0, 1, 0)
    hearth.command("queues", "purge", queue, "--yes")
    assert "ApproximateNumberOfMessages" in hearth.command("queues", "show", queue)
    aws("delete-queue", "--queue-url", url)
    assert json.loads(hearth.command("queues", "list", "--prefix", queue, "--json")) == []


def test_another_sqs_feeds_a_function_and_takes_what_is_sent_there(hearth: House, sqs: Any, witness: Witness) -> None:
    connection, queue = unique("other"), unique("far")
    key, secret = hearth.variables["AWS_ACCESS_KEY_ID"], hearth.variables["AWS_SECRET_ACCESS_KEY"]
    address = f"sqs+http://{key}:{secret}@127.0.0.1:{hearth.port}/{hearth.variables['AWS_REGION']}"
    hearth.command("connections", "add", connection, "-", stdin=address.encode())
    url = sqs.create_queue(QueueName=queue, Attributes={"VisibilityTimeout": "2"})["QueueUrl"]
    arn = f"arn:hearth:sqs:{hearth.variables['AWS_REGION']}:000000000000:{connection}/{queue}"
    name = hearth.create("teller", TELL, variables={"WITNESS": witness.address})
    mapping = hearth.map_queue(name, arn, BatchSize=5)
    entries = [{"Id": str(n), "MessageBody": str(n)} for n in range(10)]
    for _ in range(10):
        sqs.send_message_batch(QueueUrl=url, Entries=entries)
    eventually(lambda: len(told(witness)) == 100, "all messages are handled")
    assert {one["arn"] for one in told(witness)} == {arn}
    eventually(lambda: counts(sqs, url) == (0, 0, 0), "all messages are deleted there")
    hearth.api.delete_event_source_mapping(UUID=mapping)


def test_dead_letters_find_their_way_back_across_a_kill(docker_engine: docker.DockerClient) -> None:
    with house(docker_engine, {"STEM_CELLS": "{}"}) as subject:
        sqs = client(subject)
        dead = sqs.create_queue(QueueName="dead")["QueueUrl"]
        policy = json.dumps({"deadLetterTargetArn": subject.queue_arn("dead"), "maxReceiveCount": 1})
        url = sqs.create_queue(QueueName="jobs", Attributes={"RedrivePolicy": policy, "VisibilityTimeout": "0"})[
            "QueueUrl"
        ]
        bodies = {f"m{number}" for number in range(60)}
        for body in bodies:
            sqs.send_message(QueueUrl=url, MessageBody=body)
        while sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
            pass
        eventually(lambda: counts(sqs, dead) == (60, 0, 0), "all are dead letters")
        sqs.start_message_move_task(SourceArn=subject.queue_arn("dead"), MaxNumberOfMessagesPerSecond=20)
        time.sleep(1)
        subject.kill()
        subject.up()
        sqs = client(subject)

        def state() -> str:
            (task,) = sqs.list_message_move_tasks(SourceArn=subject.queue_arn("dead"))["Results"]
            return str(task["Status"])

        eventually(lambda: state() == "COMPLETED", "the task is over")
        assert counts(sqs, dead) == (0, 0, 0)
        back: set[str] = set()
        while found := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, VisibilityTimeout=60).get("Messages"):
            back |= {message["Body"] for message in found}
        assert back == bodies
