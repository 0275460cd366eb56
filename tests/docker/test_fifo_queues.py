"""Queues with order, filters and a redrive policy, from end to end: sent by AWS's own client, handled by functions,
while Hearth is killed in between."""

import json
from typing import Any

import boto3
import docker
import pytest
from botocore.config import Config
from tests.docker.house import House, eventually, house, unique
from tests.docker.witness import CLIENT, Witness
from tests.docker.witness import witness as listening

pytestmark = pytest.mark.docker

GROUPS = ("a", "b", "c", "d")
EACH = 40

IN_ORDER = CLIENT + (
    "import time\n"
    "def handler(event, context):\n"
    "    time.sleep(0.02)\n"
    "    records = event['Records']\n"
    "    for n, one in enumerate(records):\n"
    "        tries = int(one['attributes']['ApproximateReceiveCount'])\n"
    "        group, number = one['attributes']['MessageGroupId'], one['body']\n"
    "        if int(number) % 13 == 5 and tries == 1:\n"
    "            rest = [{'itemIdentifier': each['messageId']} for each in records[n:]]\n"
    "            return {'batchItemFailures': rest}\n"
    "        tell(group + ' ' + number)\n"
)
REFUSE = CLIENT + (
    "def handler(event, context):\n"
    "    for one in event['Records']:\n"
    "        tell(one['body'])\n"
    "        if one['messageAttributes'].get('poison'):\n"
    "            raise ValueError('poison')\n"
)


def sqs_of(hearth: House) -> Any:
    return boto3.client(
        "sqs",
        endpoint_url=hearth.variables["AWS_ENDPOINT_URL"],
        aws_access_key_id=hearth.variables["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=hearth.variables["AWS_SECRET_ACCESS_KEY"],
        region_name=hearth.variables["AWS_REGION"],
        config=Config(retries={"total_max_attempts": 1}, proxies={}),
    )


def send_all(sqs: Any, url: str) -> None:
    """Every group's numbers, the groups interleaved."""
    for start in range(0, EACH, 2):
        entries = [
            {
                "Id": f"{group}{n}",
                "MessageBody": str(n),
                "MessageGroupId": group,
                "MessageDeduplicationId": f"{group}{n}",
            }
            for n in range(start, start + 2)
            for group in GROUPS
        ]
        assert not sqs.send_message_batch(QueueUrl=url, Entries=entries).get("Failed")


def firsts(witness: Witness) -> dict[str, list[int]]:
    """Of each group, the numbers in the order in which each was first handled."""
    seen: dict[str, list[int]] = {group: [] for group in GROUPS}
    for line in witness.lines():
        group, number = line.split()
        if int(number) not in seen[group]:
            seen[group].append(int(number))
    return seen


def test_groups_keep_their_order_through_failures_and_a_kill(docker_engine: docker.DockerClient) -> None:
    with house(docker_engine) as subject, listening(subject.gateway()) as witness:
        sqs, queue = sqs_of(subject), f"{unique('orders')}.fifo"
        url = sqs.create_queue(QueueName=queue, Attributes={"FifoQueue": "true"})["QueueUrl"]
        send_all(sqs, url)
        send_all(sqs, url)  # all of them are duplicates
        name = subject.create("orders", IN_ORDER, variables={"WITNESS": witness.address})
        arn = subject.queue_arn(queue)
        subject.map_queue(name, arn, FunctionResponseTypes=["ReportBatchItemFailures"])
        eventually(lambda: witness.count() > EACH, "some are handled")
        subject.kill()
        subject.up()

        def is_empty() -> bool:
            told = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
            return {told["ApproximateNumberOfMessages"], told["ApproximateNumberOfMessagesNotVisible"]} == {"0"}

        eventually(is_empty, "nothing is in the queue any more", 90)
        assert firsts(witness) == {group: list(range(EACH)) for group in GROUPS}
        print(f"{witness.count() - len(GROUPS) * EACH} repetitions", flush=True)
        with subject.redis() as store:
            assert store.llen(f"{queue}:dead") == 0


def test_a_redrive_policy_takes_poison_whole_and_filters_drop_the_rest(hearth: House, witness: Witness) -> None:
    sqs, queue, graves = sqs_of(hearth), unique("jobs"), unique("graves")
    dead_url = sqs.create_queue(QueueName=graves)["QueueUrl"]
    policy = json.dumps({"deadLetterTargetArn": hearth.queue_arn(graves), "maxReceiveCount": 2})
    url = sqs.create_queue(QueueName=queue, Attributes={"RedrivePolicy": policy})["QueueUrl"]
    name = hearth.create("refuse", REFUSE, variables={"WITNESS": witness.address})
    wanted = {"Filters": [{"Pattern": json.dumps({"body": {"kind": ["wanted"]}})}]}
    hearth.map_queue(name, hearth.queue_arn(queue), FilterCriteria=wanted, BatchSize=1)

    good, other = json.dumps({"kind": "wanted", "n": 1}), json.dumps({"kind": "other"})
    poison = json.dumps({"kind": "wanted", "n": 2})
    sqs.send_message(QueueUrl=url, MessageBody=other)
    attributes = {"poison": {"DataType": "String", "StringValue": "yes"}}
    sent = sqs.send_message(QueueUrl=url, MessageBody=poison, MessageAttributes=attributes)["MessageId"]
    with hearth.redis() as store:
        store.rpush(queue, good)

    received: list[dict[str, Any]] = []

    def arrives() -> bool:
        wants = {"WaitTimeSeconds": 1, "AttributeNames": ["All"], "MessageAttributeNames": ["All"]}
        received.extend(sqs.receive_message(QueueUrl=dead_url, **wants).get("Messages", []))
        return bool(received)

    eventually(arrives, "the dead letter arrives", 30)
    assert (received[0]["MessageId"], received[0]["Body"]) == (sent, poison)
    assert received[0]["MessageAttributes"]["poison"]["StringValue"] == "yes"
    assert received[0]["Attributes"]["DeadLetterQueueSourceArn"] == hearth.queue_arn(queue)
    eventually(lambda: sorted(witness.lines()) == sorted([good, poison, poison]), "only the wanted ones are run")
