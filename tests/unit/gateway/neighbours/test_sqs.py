"""SQS as botocore's own client sees it, over queues in memory."""

import asyncio
import base64
import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.unit.gateway.neighbours.house import ACCOUNT, REGION, START_MS, Client, House, house

from hearth.testing import InMemoryStore
from hearth_gateway.core.authorization import Place
from hearth_gateway.core.envelope import Death, Envelope, Head, pack_envelope
from hearth_gateway.neighbours.sqs_composition import sqs_service
from hearth_gateway.queues.testing import MemoryQueueBook, MemoryQueueStore


class Hands:
    """A clock whose hands a test moves; pauses are moments of the loop's own."""

    def __init__(self) -> None:
        self.ms = START_MS

    def now_ms(self) -> int:
        return self.ms

    def monotonic(self) -> float:
        return self.ms / 1000

    async def pause(self, seconds: float) -> None:
        self.ms += int(seconds * 1000)
        await asyncio.sleep(0)


@dataclass
class Sqs:
    """The service, what lies under it, and the administrator's client."""

    house: House
    store: MemoryQueueStore
    book: MemoryQueueBook
    tasks: InMemoryStore
    clock: Hands
    client: Client

    async def __call__(self, operation: str, /, **parameters: object) -> dict[str, Any]:
        return await self.client(operation, **parameters)

    async def create(self, name: str, **attributes: str) -> str:
        answer = await self.client("create_queue", QueueName=name, Attributes=attributes)
        return str(answer["QueueUrl"])

    async def code(self, operation: str, /, **parameters: object) -> str:
        return (await self.client.code(operation, **parameters))[0]


@pytest.fixture
async def sqs(tmp_path: Path) -> AsyncIterator[Sqs]:
    clock, book, tasks = Hands(), MemoryQueueBook(), InMemoryStore()
    store = MemoryQueueStore(clock, book, arn_prefix=arn(""))
    place = Place(REGION, ACCOUNT)
    async with (
        sqs_service(place, book, store, tasks, clock=clock) as service,
        house(tmp_path, {"sqs": service}) as opened,
    ):
        yield Sqs(opened, store, book, tasks, clock, opened.client("sqs"))


def arn(name: str) -> str:
    return f"arn:aws:sqs:{REGION}:{ACCOUNT}:{name}"


# Queues


async def test_a_queue_is_found_under_the_host_the_client_used(sqs: Sqs) -> None:
    url = await sqs.create("jobs")
    assert url == f"http://127.0.0.1:{sqs.house.port}/{ACCOUNT}/jobs"
    assert (await sqs("get_queue_url", QueueName="jobs"))["QueueUrl"] == url


async def test_a_queue_that_is_not_there_is_the_error_that_programs_expect(sqs: Sqs) -> None:
    error = await sqs.client.error("get_queue_url", QueueName="none")
    assert isinstance(error, sqs.client.raw.exceptions.QueueDoesNotExist)
    assert error.response["Error"]["Code"] == "AWS.SimpleQueueService.NonExistentQueue"
    assert error.response["ResponseMetadata"]["HTTPStatusCode"] == 400


async def test_making_a_queue_twice_is_making_it_once(sqs: Sqs) -> None:
    first = await sqs.create("jobs", VisibilityTimeout="60")
    assert await sqs.create("jobs", VisibilityTimeout="60", DelaySeconds="0") == first
    assert await sqs.create("jobs") == first
    error = await sqs.client.error("create_queue", QueueName="jobs", Attributes={"VisibilityTimeout": "61"})
    assert isinstance(error, sqs.client.raw.exceptions.QueueNameExists)
    assert error.response["Error"]["Code"] == "QueueAlreadyExists"
    assert "VisibilityTimeout" in error.response["Error"]["Message"]


@pytest.mark.parametrize("name", ["", "a b", "a.b", "x" * 81, "jobs.fifo", "ü"])
async def test_names_are_those_of_aws(sqs: Sqs, name: str) -> None:
    assert await sqs.code("create_queue", QueueName=name) == "InvalidParameterValue"


async def test_a_fifo_queue_ends_in_its_suffix(sqs: Sqs) -> None:
    assert await sqs.code("create_queue", QueueName="jobs", Attributes={"FifoQueue": "true"}) == "InvalidParameterValue"
    url = await sqs.create("jobs.fifo", FifoQueue="true", ContentBasedDeduplication="true")
    shown = (await sqs("get_queue_attributes", QueueUrl=url, AttributeNames=["All"]))["Attributes"]
    assert (shown["FifoQueue"], shown["ContentBasedDeduplication"]) == ("true", "true")
    assert shown["DeduplicationScope"] == "queue"


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [
        ("VisibilityTimeout", "43201", "InvalidAttributeValue"),
        ("VisibilityTimeout", "x", "InvalidAttributeValue"),
        ("DelaySeconds", "901", "InvalidAttributeValue"),
        ("MessageRetentionPeriod", "59", "InvalidAttributeValue"),
        ("MaximumMessageSize", "1048577", "InvalidAttributeValue"),
        ("ReceiveMessageWaitTimeSeconds", "21", "InvalidAttributeValue"),
        ("ContentBasedDeduplication", "true", "InvalidAttributeName"),
        ("QueueArn", "x", "InvalidAttributeName"),
        ("Nonsense", "x", "InvalidAttributeName"),
        ("RedrivePolicy", "{}", "InvalidAttributeValue"),
        ("RedrivePolicy", '{"a":' * 100_000, "InvalidAttributeValue"),
        ("Policy", "[" * 100_000, "InvalidAttributeValue"),
        ("RedrivePolicy", '{"deadLetterTargetArn":"a","maxReceiveCount":1001}', "InvalidAttributeValue"),
        ("RedrivePolicy", '{"deadLetterTargetArn":"arn:aws:sqs:x","maxReceiveCount":1}', "InvalidParameterValue"),
        ("RedriveAllowPolicy", '{"redrivePermission":"byQueue"}', "InvalidAttributeValue"),
        ("Policy", '{"Statement":[{"Effect":"Deny","Principal":"*","Action":"*"}]}', "InvalidAttributeValue"),
        ("Policy", "[]", "InvalidAttributeValue"),
    ],
)
async def test_attributes_have_the_limits_of_aws(sqs: Sqs, name: str, value: str, code: str) -> None:
    assert await sqs.code("create_queue", QueueName="q", Attributes={name: value}) == code
    url = await sqs.create("jobs")
    assert await sqs.code("set_queue_attributes", QueueUrl=url, Attributes={name: value}) == code


async def test_attributes_are_shown_with_their_defaults_and_counts(sqs: Sqs) -> None:
    url = await sqs.create("jobs")
    await sqs("send_message", QueueUrl=url, MessageBody="a")
    await sqs("send_message", QueueUrl=url, MessageBody="b")
    await sqs("send_message", QueueUrl=url, MessageBody="later", DelaySeconds=60)
    await sqs("receive_message", QueueUrl=url)
    shown = (await sqs("get_queue_attributes", QueueUrl=url, AttributeNames=["All"]))["Attributes"]
    assert shown == {
        "VisibilityTimeout": "30",
        "MaximumMessageSize": "1048576",
        "MessageRetentionPeriod": "345600",
        "DelaySeconds": "0",
        "ReceiveMessageWaitTimeSeconds": "0",
        "SqsManagedSseEnabled": "true",
        "ApproximateNumberOfMessages": "1",
        "ApproximateNumberOfMessagesNotVisible": "1",
        "ApproximateNumberOfMessagesDelayed": "1",
        "CreatedTimestamp": str(START_MS // 1000),
        "LastModifiedTimestamp": str(START_MS // 1000),
        "QueueArn": arn("jobs"),
    }
    some = await sqs("get_queue_attributes", QueueUrl=url, AttributeNames=["QueueArn"])
    assert some["Attributes"] == {"QueueArn": arn("jobs")}
    assert "Attributes" not in await sqs("get_queue_attributes", QueueUrl=url)
    assert await sqs.code("get_queue_attributes", QueueUrl=url, AttributeNames=["No"]) == "InvalidAttributeName"


async def test_an_empty_value_takes_an_attribute_back(sqs: Sqs) -> None:
    await sqs.create("dead")
    redrive = f'{{"deadLetterTargetArn":"{arn("dead")}","maxReceiveCount":3}}'
    url = await sqs.create("jobs", RedrivePolicy=redrive)
    shown = await sqs("get_queue_attributes", QueueUrl=url, AttributeNames=["RedrivePolicy"])
    assert shown["Attributes"] == {"RedrivePolicy": redrive}
    await sqs("set_queue_attributes", QueueUrl=url, Attributes={"RedrivePolicy": ""})
    assert "Attributes" not in await sqs("get_queue_attributes", QueueUrl=url, AttributeNames=["RedrivePolicy"])


async def test_a_dead_letter_queue_is_of_the_same_kind_and_may_refuse(sqs: Sqs) -> None:
    await sqs.create("dead")
    await sqs.create("closed", RedriveAllowPolicy='{"redrivePermission":"denyAll"}')
    by_queue = f'{{"redrivePermission":"byQueue","sourceQueueArns":["{arn("jobs")}"]}}'
    await sqs.create("choosy", RedriveAllowPolicy=by_queue)

    async def tried(name: str, target: str, **more: str) -> str:
        policy = f'{{"deadLetterTargetArn":"{arn(target)}","maxReceiveCount":"3"}}'
        return await sqs.code("create_queue", QueueName=name, Attributes={"RedrivePolicy": policy, **more})

    assert await tried("jobs.fifo", "dead", FifoQueue="true") == "InvalidParameterValue"
    assert await tried("jobs", "closed") == "InvalidParameterValue"
    assert await tried("others", "choosy") == "InvalidParameterValue"
    policy = f'{{"deadLetterTargetArn":"{arn("choosy")}","maxReceiveCount":"3"}}'
    await sqs.create("jobs", RedrivePolicy=policy)
    sources = await sqs(
        "list_dead_letter_source_queues", QueueUrl=(await sqs("get_queue_url", QueueName="choosy"))["QueueUrl"]
    )
    assert [url.rpartition("/")[2] for url in sources["queueUrls"]] == ["jobs"]


async def test_queues_are_listed_by_prefix_and_in_pages(sqs: Sqs) -> None:
    for name in ("a1", "a2", "a3", "b1"):
        await sqs.create(name)

    def names(answer: dict[str, Any]) -> list[str]:
        return [url.rpartition("/")[2] for url in answer.get("QueueUrls", ())]

    assert names(await sqs("list_queues")) == ["a1", "a2", "a3", "b1"]
    first = await sqs("list_queues", QueueNamePrefix="a", MaxResults=2)
    assert names(first) == ["a1", "a2"]
    last = await sqs("list_queues", QueueNamePrefix="a", MaxResults=2, NextToken=first["NextToken"])
    assert names(last) == ["a3"]
    assert "NextToken" not in last
    assert names(await sqs("list_queues", QueueNamePrefix="zz")) == []
    assert await sqs.code("list_queues", MaxResults=0) == "InvalidParameterValue"
    assert await sqs.code("list_queues", NextToken="?") == "InvalidParameterValue"


async def test_tags_come_and_go(sqs: Sqs) -> None:
    url = (await sqs("create_queue", QueueName="jobs", tags={"team": "a"}))["QueueUrl"]
    await sqs("tag_queue", QueueUrl=url, Tags={"stage": "prod"})
    assert (await sqs("list_queue_tags", QueueUrl=url))["Tags"] == {"team": "a", "stage": "prod"}
    await sqs("untag_queue", QueueUrl=url, TagKeys=["team", "none"])
    assert (await sqs("list_queue_tags", QueueUrl=url))["Tags"] == {"stage": "prod"}
    assert await sqs.code("tag_queue", QueueUrl=url, Tags={"aws:x": "y"}) == "InvalidParameterValue"


async def test_permissions_are_statements_of_the_policy(sqs: Sqs) -> None:
    url = await sqs.create("jobs")
    granted = {"AWSAccountIds": ["111122223333"], "Actions": ["SendMessage"]}
    await sqs("add_permission", QueueUrl=url, Label="one", **granted)
    shown = (await sqs("get_queue_attributes", QueueUrl=url, AttributeNames=["Policy"]))["Attributes"]["Policy"]
    assert "SQS:SendMessage" in shown
    assert await sqs.code("add_permission", QueueUrl=url, Label="one", **granted) == "InvalidParameterValue"
    await sqs("remove_permission", QueueUrl=url, Label="one")
    assert "Attributes" not in await sqs("get_queue_attributes", QueueUrl=url, AttributeNames=["Policy"])
    assert await sqs.code("remove_permission", QueueUrl=url, Label="one") == "InvalidParameterValue"


async def test_a_deleted_queue_is_gone_with_its_messages(sqs: Sqs) -> None:
    url = await sqs.create("jobs")
    await sqs("send_message", QueueUrl=url, MessageBody="a")
    await sqs("delete_queue", QueueUrl=url)
    assert await sqs.code("receive_message", QueueUrl=url) == "AWS.SimpleQueueService.NonExistentQueue"
    assert await sqs.code("delete_queue", QueueUrl=url) == "AWS.SimpleQueueService.NonExistentQueue"
    assert await sqs.create("jobs") == url
    assert "Messages" not in await sqs("receive_message", QueueUrl=url)


async def test_a_list_that_nobody_made_a_queue_can_be_used_as_one(sqs: Sqs) -> None:
    sqs.store.push("plain:list", b"hello", b"\xff\x00")
    url = (await sqs("get_queue_url", QueueName="plain:list"))["QueueUrl"]
    answer = await sqs("receive_message", QueueUrl=url, MaxNumberOfMessages=10, MessageAttributeNames=["All"])
    text, binary = answer["Messages"]
    assert text["Body"] == "hello"
    assert (binary["Body"], binary["MessageAttributes"]["hearth.encoding"]["StringValue"]) == ("/wA=", "base64")
    assert await sqs.code("tag_queue", QueueUrl=url, Tags={"a": "b"}) == "AWS.SimpleQueueService.NonExistentQueue"


async def test_the_platforms_own_keys_are_no_queues(sqs: Sqs) -> None:
    sqs.store.push("hearth:functions", b"precious")
    url = f"http://127.0.0.1:{sqs.house.port}/{ACCOUNT}/hearth:functions"
    assert await sqs.code("purge_queue", QueueUrl=url) == "InvalidAddress"
    assert await sqs.code("delete_queue", QueueUrl=url) == "InvalidAddress"
    named = await sqs.code("get_queue_url", QueueName="hearth:functions")
    assert named == "AWS.SimpleQueueService.NonExistentQueue"
    moving = await sqs.code("start_message_move_task", SourceArn=arn("hearth:functions"))
    assert moving == "ResourceNotFoundException"
    assert (await sqs.store.counts("hearth:functions")).visible == 1


async def test_an_address_that_is_no_queues_is_said_to_be_none(sqs: Sqs) -> None:
    assert await sqs.code("receive_message", QueueUrl="jobs") == "InvalidAddress"
    other = f"http://127.0.0.1:{sqs.house.port}/111122223333/jobs"
    assert await sqs.code("receive_message", QueueUrl=other) == "AWS.SimpleQueueService.NonExistentQueue"
    assert await sqs.code("send_message", QueueUrl=await sqs.create("q")) == "MissingParameter"


# Messages


async def test_a_message_arrives_with_everything_its_sender_said(sqs: Sqs) -> None:
    url = await sqs.create("jobs")
    attributes = {
        "text": {"DataType": "String", "StringValue": "ä"},
        "count": {"DataType": "Number.int", "StringValue": "7"},
        "bytes": {"DataType": "Binary", "BinaryValue": b"\x00\xff"},
    }
    trace = {"AWSTraceHeader": {"DataType": "String", "StringValue": "Root=1-5759e988-bd862e3fe1be46a994272793"}}
    sent = await sqs(
        "send_message",
        QueueUrl=url,
        MessageBody='{"n": 1}',
        MessageAttributes=attributes,
        MessageSystemAttributes=trace,
    )
    # botocore compares the digests of body and attributes itself.
    assert sent["MD5OfMessageBody"] == hashlib.md5(b'{"n": 1}', usedforsecurity=False).hexdigest()
    assert "SequenceNumber" not in sent
    asked = {"MessageSystemAttributeNames": ["All"], "MessageAttributeNames": ["All"]}
    (message,) = (await sqs("receive_message", QueueUrl=url, **asked))["Messages"]
    assert message["MessageId"] == sent["MessageId"]
    assert message["Body"] == '{"n": 1}'
    assert message["MessageAttributes"] == attributes
    assert message["MD5OfMessageAttributes"] == sent["MD5OfMessageAttributes"]
    assert message["Attributes"] == {
        "SenderId": ACCOUNT,
        "SentTimestamp": str(START_MS),
        "ApproximateReceiveCount": "1",
        "ApproximateFirstReceiveTimestamp": str(START_MS),
        "AWSTraceHeader": trace["AWSTraceHeader"]["StringValue"],
    }


async def test_a_receiver_gets_the_attributes_it_asks_for(sqs: Sqs) -> None:
    url = await sqs.create("jobs", VisibilityTimeout="0")
    named = {name: {"DataType": "String", "StringValue": name} for name in ("foo.a", "foo.b", "bar")}
    await sqs("send_message", QueueUrl=url, MessageBody="x", MessageAttributes=named)

    async def seen(*names: str) -> list[str]:
        (message,) = (await sqs("receive_message", QueueUrl=url, MessageAttributeNames=list(names)))["Messages"]
        assert "Attributes" not in message
        return sorted(message.get("MessageAttributes", {}))

    assert await seen() == []
    assert await seen("foo.*") == ["foo.a", "foo.b"]
    assert await seen("bar", "none") == ["bar"]
    assert await seen(".*") == await seen("All") == ["bar", "foo.a", "foo.b"]
    (message,) = (await sqs("receive_message", QueueUrl=url, AttributeNames=["ApproximateReceiveCount"]))["Messages"]
    assert message["Attributes"] == {"ApproximateReceiveCount": "6"}
    assert await sqs.code("receive_message", QueueUrl=url, AttributeNames=["No"]) == "InvalidAttributeName"


@pytest.mark.parametrize(
    ("parameters", "code"),
    [
        ({"MessageBody": ""}, "MissingParameter"),
        ({"MessageBody": "\x01"}, "InvalidMessageContents"),
        ({"MessageBody": "x" * 1_048_577}, "InvalidParameterValue"),
        ({"MessageBody": "x", "DelaySeconds": 901}, "InvalidParameterValue"),
        ({"MessageBody": "x", "DelaySeconds": -1}, "InvalidParameterValue"),
        ({"MessageBody": "x", "MessageDeduplicationId": "d"}, "InvalidParameterValue"),
        ({"MessageBody": "x", "MessageAttributes": {"a": {"DataType": "String"}}}, "InvalidParameterValue"),
        ({"MessageBody": "x", "MessageAttributes": {"a": {"StringValue": "b"}}}, "MissingParameter"),
        (
            {"MessageBody": "x", "MessageAttributes": {"a": {"DataType": "Other", "StringValue": "b"}}},
            "InvalidParameterValue",
        ),
        (
            {"MessageBody": "x", "MessageAttributes": {"a": {"DataType": "Number", "StringValue": "b"}}},
            "InvalidParameterValue",
        ),
        (
            {"MessageBody": "x", "MessageAttributes": {"AWS.a": {"DataType": "String", "StringValue": "b"}}},
            "InvalidParameterValue",
        ),
        (
            {
                "MessageBody": "x",
                "MessageAttributes": {f"a{n}": {"DataType": "String", "StringValue": "b"} for n in range(11)},
            },
            "InvalidParameterValue",
        ),
        (
            {"MessageBody": "x", "MessageSystemAttributes": {"Other": {"DataType": "String", "StringValue": "b"}}},
            "InvalidParameterValue",
        ),
    ],
)
async def test_what_cannot_be_sent_is_refused(sqs: Sqs, parameters: dict[str, Any], code: str) -> None:
    url = await sqs.create("jobs")
    assert await sqs.code("send_message", QueueUrl=url, **parameters) == code
    assert "Messages" not in await sqs("receive_message", QueueUrl=url)


async def test_a_queue_may_have_a_smaller_limit(sqs: Sqs) -> None:
    url = await sqs.create("jobs", MaximumMessageSize="1024")
    await sqs("send_message", QueueUrl=url, MessageBody="x" * 1024)
    one_more = {"a": {"DataType": "String", "StringValue": "b"}}
    tried = {"QueueUrl": url, "MessageBody": "x" * 1017, "MessageAttributes": one_more}
    assert await sqs.code("send_message", **tried) == "InvalidParameterValue"


async def test_a_batch_is_judged_entry_by_entry(sqs: Sqs) -> None:
    url = await sqs.create("jobs")
    entries = [
        {"Id": "a", "MessageBody": "one"},
        {"Id": "b", "MessageBody": "\x01"},
        {"Id": "c", "MessageBody": "two", "DelaySeconds": 901},
        {"Id": "d", "MessageBody": "three"},
    ]
    answer = await sqs("send_message_batch", QueueUrl=url, Entries=entries)
    assert [one["Id"] for one in answer["Successful"]] == ["a", "d"]
    assert {one["Id"]: one["Code"] for one in answer["Failed"]} == {
        "b": "InvalidMessageContents",
        "c": "InvalidParameterValue",
    }
    received = (await sqs("receive_message", QueueUrl=url, MaxNumberOfMessages=10))["Messages"]
    assert [one["Body"] for one in received] == ["one", "three"]


async def test_a_batch_answers_no_list_without_entries(sqs: Sqs) -> None:
    url = await sqs.create("jobs")
    good, bad = {"Id": "a", "MessageBody": "one"}, {"Id": "b", "MessageBody": "\x01"}
    for entry, there, missing in ((good, "Successful", "Failed"), (bad, "Failed", "Successful")):
        answer = await sqs("send_message_batch", QueueUrl=url, Entries=[entry])
        assert (there in answer, missing in answer) == (True, False)


@pytest.mark.parametrize(
    ("entries", "code"),
    [
        ([], "AWS.SimpleQueueService.EmptyBatchRequest"),
        (
            [{"Id": str(n), "MessageBody": "x"} for n in range(11)],
            "AWS.SimpleQueueService.TooManyEntriesInBatchRequest",
        ),
        ([{"Id": "a", "MessageBody": "x"}] * 2, "AWS.SimpleQueueService.BatchEntryIdsNotDistinct"),
        ([{"Id": "a b", "MessageBody": "x"}], "AWS.SimpleQueueService.InvalidBatchEntryId"),
        (
            [{"Id": str(n), "MessageBody": "x" * 600_000} for n in range(2)],
            "AWS.SimpleQueueService.BatchRequestTooLong",
        ),
    ],
)
async def test_a_batch_as_a_whole_has_limits(sqs: Sqs, entries: list[Any], code: str) -> None:
    assert await sqs.code("send_message_batch", QueueUrl=await sqs.create("jobs"), Entries=entries) == code


async def test_messages_are_deleted_by_the_handle_of_their_receive(sqs: Sqs) -> None:
    url = await sqs.create("jobs")
    await sqs("send_message", QueueUrl=url, MessageBody="a")
    (message,) = (await sqs("receive_message", QueueUrl=url))["Messages"]
    await sqs("delete_message", QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    await sqs("delete_message", QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    sqs.clock.ms += 60_000
    assert "Messages" not in await sqs("receive_message", QueueUrl=url)
    error = await sqs.client.error("delete_message", QueueUrl=url, ReceiptHandle="nonsense")
    assert isinstance(error, sqs.client.raw.exceptions.ReceiptHandleIsInvalid)


async def test_batches_of_handles_are_judged_one_by_one(sqs: Sqs) -> None:
    url = await sqs.create("jobs")
    await sqs("send_message_batch", QueueUrl=url, Entries=[{"Id": str(n), "MessageBody": "x"} for n in range(2)])
    one, two = (await sqs("receive_message", QueueUrl=url, MaxNumberOfMessages=2))["Messages"]
    entries = [
        {"Id": "good", "ReceiptHandle": one["ReceiptHandle"], "VisibilityTimeout": 0},
        {"Id": "bad", "ReceiptHandle": "nonsense", "VisibilityTimeout": 0},
        {"Id": "long", "ReceiptHandle": two["ReceiptHandle"], "VisibilityTimeout": 43201},
    ]
    changed = await sqs("change_message_visibility_batch", QueueUrl=url, Entries=entries)
    assert [done["Id"] for done in changed["Successful"]] == ["good"]
    assert {failed["Id"]: failed["Code"] for failed in changed["Failed"]} == {
        "bad": "ReceiptHandleIsInvalid",
        "long": "InvalidParameterValue",
    }
    handles = [{"Id": name, "ReceiptHandle": handle} for name, handle in (("a", two["ReceiptHandle"]), ("b", "no"))]
    deleted = await sqs("delete_message_batch", QueueUrl=url, Entries=handles)
    assert ([done["Id"] for done in deleted["Successful"]], [bad["Id"] for bad in deleted["Failed"]]) == (["a"], ["b"])
    (again,) = (await sqs("receive_message", QueueUrl=url, MaxNumberOfMessages=10))["Messages"]
    assert again["MessageId"] == one["MessageId"]


async def test_a_message_that_is_not_held_cannot_be_hidden(sqs: Sqs) -> None:
    url = await sqs.create("jobs", VisibilityTimeout="10")
    await sqs("send_message", QueueUrl=url, MessageBody="a")
    (message,) = (await sqs("receive_message", QueueUrl=url))["Messages"]
    sqs.clock.ms += 11_000
    held = {"QueueUrl": url, "ReceiptHandle": message["ReceiptHandle"], "VisibilityTimeout": 5}
    error = await sqs.client.error("change_message_visibility", **held)
    assert isinstance(error, sqs.client.raw.exceptions.MessageNotInflight)


@pytest.mark.parametrize(
    "parameters",
    [{"MaxNumberOfMessages": 0}, {"MaxNumberOfMessages": 11}, {"WaitTimeSeconds": 21}, {"VisibilityTimeout": 43201}],
)
async def test_receiving_has_the_limits_of_aws(sqs: Sqs, parameters: dict[str, int]) -> None:
    assert await sqs.code("receive_message", QueueUrl=await sqs.create("jobs"), **parameters) == "InvalidParameterValue"


async def test_purging_leaves_nothing(sqs: Sqs) -> None:
    url = await sqs.create("jobs")
    await sqs("send_message", QueueUrl=url, MessageBody="a")
    await sqs("purge_queue", QueueUrl=url)
    assert "Messages" not in await sqs("receive_message", QueueUrl=url)


async def test_who_waits_gets_what_comes_meanwhile(sqs: Sqs) -> None:
    url = await sqs.create("jobs")
    waiting = asyncio.create_task(sqs("receive_message", QueueUrl=url, WaitTimeSeconds=20))
    sender = sqs.house.client("sqs")
    await asyncio.sleep(0)
    await sender("send_message", QueueUrl=url, MessageBody="a")
    assert (await waiting)["Messages"][0]["Body"] == "a"


# FIFO


async def test_a_fifo_queue_wants_a_group_and_a_token(sqs: Sqs) -> None:
    url = await sqs.create("jobs.fifo", FifoQueue="true")
    assert await sqs.code("send_message", QueueUrl=url, MessageBody="a") == "MissingParameter"
    grouped = {"QueueUrl": url, "MessageBody": "a", "MessageGroupId": "g"}
    assert await sqs.code("send_message", **grouped) == "InvalidParameterValue"
    delayed = {**grouped, "MessageDeduplicationId": "d", "DelaySeconds": 5}
    assert await sqs.code("send_message", **delayed) == "InvalidParameterValue"
    spaced = {**grouped, "MessageGroupId": "a b", "MessageDeduplicationId": "d"}
    assert await sqs.code("send_message", **spaced) == "InvalidParameterValue"


async def test_the_same_content_is_one_message_where_that_is_asked_for(sqs: Sqs) -> None:
    url = await sqs.create("jobs.fifo", FifoQueue="true", ContentBasedDeduplication="true")
    first = await sqs("send_message", QueueUrl=url, MessageBody="a", MessageGroupId="g")
    second = await sqs("send_message", QueueUrl=url, MessageBody="a", MessageGroupId="g")
    assert (first["MessageId"], first["SequenceNumber"]) == (second["MessageId"], second["SequenceNumber"])
    asked = {"QueueUrl": url, "MaxNumberOfMessages": 10, "AttributeNames": ["All"]}
    (message,) = (await sqs("receive_message", **asked))["Messages"]
    assert message["Attributes"]["MessageGroupId"] == "g"
    assert message["Attributes"]["MessageDeduplicationId"] == hashlib.sha256(b"a").hexdigest()
    assert message["Attributes"]["SequenceNumber"] == first["SequenceNumber"]


# Who may


async def test_everybody_may_do_what_their_policies_or_the_queues_own_allow(sqs: Sqs) -> None:
    sending = f'{{"Effect":"Allow","Action":"sqs:SendMessage","Resource":"{arn("jobs")}"}}'
    allowed = f'{{"Version":"2012-10-17","Statement":[{sending}]}}'
    sender = sqs.house.client("sqs", await sqs.house.add_user("sender", allowed))
    url = await sqs.create("jobs")
    await sender("send_message", QueueUrl=url, MessageBody="a")
    await sender("send_message_batch", QueueUrl=url, Entries=[{"Id": "a", "MessageBody": "b"}])
    assert (await sender.code("receive_message", QueueUrl=url))[0] == "AccessDenied"
    assert (await sender.code("get_queue_url", QueueName="none"))[0] == "AccessDenied"
    policy = (
        f'{{"Version":"2012-10-17","Statement":[{{"Effect":"Allow","Principal":{{"AWS":"arn:aws:iam::{ACCOUNT}:user/'
        f'sender"}},"Action":"SQS:ReceiveMessage","Resource":"{arn("jobs")}"}}]}}'
    )
    await sqs("set_queue_attributes", QueueUrl=url, Attributes={"Policy": policy})
    assert (await sender("receive_message", QueueUrl=url))["Messages"]


async def test_who_names_a_dead_letter_queue_needs_the_right_to_fill_it(sqs: Sqs) -> None:
    await sqs.create("dead")
    making = f'{{"Effect":"Allow","Action":"sqs:*","Resource":"{arn("mine")}*"}}'
    allowed = f'{{"Version":"2012-10-17","Statement":[{making}]}}'
    maker = sqs.house.client("sqs", await sqs.house.add_user("maker", allowed))
    url = (await maker("create_queue", QueueName="mine"))["QueueUrl"]
    await maker("create_queue", QueueName="mine-dead")
    policy = f'{{"deadLetterTargetArn":"{arn("dead")}","maxReceiveCount":1}}'
    attributes = {"RedrivePolicy": policy}
    assert (await maker.code("set_queue_attributes", QueueUrl=url, Attributes=attributes))[0] == "AccessDenied"
    assert (await maker.code("create_queue", QueueName="mine-2", Attributes=attributes))[0] == "AccessDenied"
    own = {"RedrivePolicy": policy.replace(":dead", ":mine-dead")}
    await maker("set_queue_attributes", QueueUrl=url, Attributes=own)


# Move tasks


def dead(body: str, source: str) -> bytes:
    death = Death(arn(source), {"errorType": "E", "errorMessage": "m"}, 3, START_MS, START_MS)
    return pack_envelope(Envelope(f"id-{body}", body.encode(), Head(sent_ms=START_MS, death=death)))


async def finished(sqs: Sqs, source: str) -> dict[str, Any]:
    for _ in range(200):
        (task,) = (await sqs("list_message_move_tasks", SourceArn=arn(source)))["Results"]
        if task["Status"] not in ("RUNNING", "CANCELLING"):
            return dict(task)
    raise AssertionError("the task does not end")


async def test_dead_letters_go_back_to_where_they_came_from(sqs: Sqs) -> None:
    await sqs.create("dead")
    redrive = f'{{"deadLetterTargetArn":"{arn("dead")}","maxReceiveCount":1}}'
    one, two = await sqs.create("one", RedrivePolicy=redrive), await sqs.create("two", RedrivePolicy=redrive)
    sqs.store.push("dead", dead("a", "one"), dead("b", "two"), dead("c", "one"))
    await sqs("start_message_move_task", SourceArn=arn("dead"), MaxNumberOfMessagesPerSecond=10)
    task = await finished(sqs, "dead")
    assert (task["Status"], task["ApproximateNumberOfMessagesMoved"]) == ("COMPLETED", 3)
    assert "TaskHandle" not in task
    received = (await sqs("receive_message", QueueUrl=one, MaxNumberOfMessages=10, AttributeNames=["All"]))["Messages"]
    assert [message["Body"] for message in received] == ["a", "c"]
    assert "DeadLetterQueueSourceArn" not in received[0]["Attributes"]
    assert (await sqs("receive_message", QueueUrl=two))["Messages"][0]["Body"] == "b"


async def test_dead_letters_go_to_another_queue_if_that_is_asked_for(sqs: Sqs) -> None:
    sqs.store.push("jobs:dead", dead("a", "jobs"))
    url = await sqs.create("elsewhere")
    await sqs("start_message_move_task", SourceArn=arn("jobs:dead"), DestinationArn=arn("elsewhere"))
    assert (await finished(sqs, "jobs:dead"))["DestinationArn"] == arn("elsewhere")
    assert (await sqs("receive_message", QueueUrl=url))["Messages"][0]["Body"] == "a"


async def test_a_message_whose_way_back_nobody_knows_stays_and_says_so(sqs: Sqs) -> None:
    url = await sqs.create("dead")
    await sqs.create("jobs", RedrivePolicy=f'{{"deadLetterTargetArn":"{arn("dead")}","maxReceiveCount":1}}')
    await sqs("send_message", QueueUrl=url, MessageBody="by hand")
    await sqs("start_message_move_task", SourceArn=arn("dead"))
    task = await finished(sqs, "dead")
    assert (task["Status"], task["FailureReason"]) == ("FAILED", "CouldNotDetermineMessageSource")
    assert (await sqs("receive_message", QueueUrl=url))["Messages"][0]["Body"] == "by hand"


async def test_only_dead_letters_are_moved(sqs: Sqs) -> None:
    await sqs.create("jobs")
    await sqs.create("x.fifo", FifoQueue="true")
    assert await sqs.code("start_message_move_task", SourceArn=arn("jobs")) == "InvalidParameterValue"
    assert await sqs.code("start_message_move_task", SourceArn=arn("none")) == "ResourceNotFoundException"
    sqs.store.push("jobs", dead("a", "one"))
    to_fifo = {"SourceArn": arn("jobs"), "DestinationArn": arn("x.fifo")}
    assert await sqs.code("start_message_move_task", **to_fifo) == "InvalidParameterValue"
    nested = base64.b64encode(b"[" * 100_000).decode()
    for handle in ("nonsense", nested):
        assert await sqs.code("cancel_message_move_task", TaskHandle=handle) == "InvalidParameterValue"


@pytest.mark.parametrize("clock", ["held"])
async def test_a_task_can_be_cancelled_and_there_is_one_at_a_time(
    sqs: Sqs, clock: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = asyncio.Event()

    async def pause(seconds: float) -> None:
        await held.wait()

    monkeypatch.setattr(sqs.clock, "pause", pause)
    sqs.store.push("jobs:dead", *(dead(str(n), "jobs") for n in range(3)))
    started = await sqs("start_message_move_task", SourceArn=arn("jobs:dead"), MaxNumberOfMessagesPerSecond=1)
    again = await sqs.code("start_message_move_task", SourceArn=arn("jobs:dead"))
    assert again == "AWS.SimpleQueueService.UnsupportedOperation"
    (task,) = (await sqs("list_message_move_tasks", SourceArn=arn("jobs:dead")))["Results"]
    assert (task["Status"], task["TaskHandle"]) == ("RUNNING", started["TaskHandle"])
    cancelled = await sqs("cancel_message_move_task", TaskHandle=started["TaskHandle"])
    assert cancelled["ApproximateNumberOfMessagesMoved"] == 1
    held.set()
    assert (await finished(sqs, "jobs:dead"))["Status"] == "CANCELLED"
    assert (await sqs.store.counts("jobs:dead")).visible == 2
