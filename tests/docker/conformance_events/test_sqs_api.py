"""Every operation of the SQS API by boto3, its answers held against the model, its errors against the documentation.

Source: Amazon SQS API reference; the names, codes and statuses of errors as the service model of AWS SDKs has them.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import botocore.session
import pytest
from tests.docker.conformance_events import exchanges
from tests.docker.conformance_events.exchanges import Exchanges, Refusal, incomplete, mistyped, plain, refused
from tests.docker.house import House, eventually, unique

pytestmark = pytest.mark.docker

MODEL = botocore.session.get_session().get_service_model("sqs")
NOT_HERE: tuple[str, ...] = ()
BINARY = {"DataType": "Binary.png", "BinaryValue": b"\x00\xff"}
NAMED = {"a": {"DataType": "String", "StringValue": "ä"}, "n": {"DataType": "Number.int", "StringValue": "-1e3"}}
TRACE = {"AWSTraceHeader": {"DataType": "String", "StringValue": "Root=1-00000000-000000000000000000000000"}}


@dataclass
class Stage:
    """A Hearth, and a client whose exchanges are listened to."""

    hearth: House
    api: Any

    def queue(self, stem: str = "conform", **attributes: str) -> str:
        """The URL of a new queue."""
        if stem.endswith(".fifo"):
            name, attributes = f"{unique('conform')}.fifo", {"FifoQueue": "true", **attributes}
        else:
            name = unique(stem)
        return str(self.api.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"])

    def arn(self, url: str) -> str:
        return self.hearth.queue_arn(url.rpartition("/")[2])

    def letter(self, url: str) -> str:
        """The handle of a message that was sent to the queue and received."""
        self.api.send_message(QueueUrl=url, MessageBody="one")
        return str(self.api.receive_message(QueueUrl=url, WaitTimeSeconds=5)["Messages"][0]["ReceiptHandle"])

    @property
    def nowhere(self) -> str:
        """The URL of a queue that is not there."""
        return f"{self.hearth.variables['AWS_ENDPOINT_URL']}/000000000000/there-is-no-such-queue"


@pytest.fixture(scope="module")
def stage(hearth: House) -> Stage:
    return Stage(hearth, None)


@pytest.fixture
def exchange(stage: Stage) -> Iterator[Exchanges]:
    yield from exchanges.heard(stage, "sqs")


Drive = Callable[[Stage], Any]


def _permissions(on: Stage) -> None:
    url = on.queue()
    on.api.add_permission(QueueUrl=url, Label="a", AWSAccountIds=["111122223333"], Actions=["SendMessage"])
    policy = on.api.get_queue_attributes(QueueUrl=url, AttributeNames=["Policy"])["Attributes"]["Policy"]
    assert json.loads(policy)["Statement"][0]["Sid"] == "a"
    on.api.remove_permission(QueueUrl=url, Label="a")
    assert "Attributes" not in on.api.get_queue_attributes(QueueUrl=url, AttributeNames=["Policy"])


def _moves(on: Stage) -> None:
    dead = on.queue("dead")
    redrive = json.dumps({"deadLetterTargetArn": on.arn(dead), "maxReceiveCount": 1})
    source = on.queue(RedrivePolicy=redrive)
    for number in range(3):
        on.api.send_message(QueueUrl=dead, MessageBody=str(number))
    began = on.api.start_message_move_task(
        SourceArn=on.arn(dead), DestinationArn=on.arn(source), MaxNumberOfMessagesPerSecond=1
    )
    listed = on.api.list_message_move_tasks(SourceArn=on.arn(dead), MaxResults=10)["Results"]
    assert listed[0]["TaskHandle"] == began["TaskHandle"]
    assert listed[0]["ApproximateNumberOfMessagesToMove"] == 3
    on.api.cancel_message_move_task(TaskHandle=began["TaskHandle"])
    sources = on.api.list_dead_letter_source_queues(QueueUrl=dead, MaxResults=10)
    assert sources["queueUrls"] == [source]


def _hiding(on: Stage) -> None:
    url = on.queue()
    handle = on.letter(url)
    on.api.change_message_visibility(QueueUrl=url, ReceiptHandle=handle, VisibilityTimeout=60)
    answer = on.api.change_message_visibility_batch(
        QueueUrl=url,
        Entries=[
            {"Id": "a", "ReceiptHandle": handle, "VisibilityTimeout": 0},
            {"Id": "b", "ReceiptHandle": "no handle", "VisibilityTimeout": 0},
            {"Id": "c", "ReceiptHandle": handle, "VisibilityTimeout": 43_201},
        ],
    )
    assert [one["Id"] for one in answer["Successful"]] == ["a"]
    failed = {one["Id"]: (one["Code"], one["SenderFault"]) for one in answer["Failed"]}
    assert failed == {"b": ("ReceiptHandleIsInvalid", True), "c": ("InvalidParameterValue", True)}


def _sending(on: Stage) -> None:
    url = on.queue()
    sent = on.api.send_message(
        QueueUrl=url, MessageBody="one", DelaySeconds=0, MessageAttributes=NAMED, MessageSystemAttributes=TRACE
    )
    assert {"MD5OfMessageBody", "MD5OfMessageAttributes", "MD5OfMessageSystemAttributes"} < sent.keys()
    batch = on.api.send_message_batch(
        QueueUrl=url,
        Entries=[
            {"Id": "a", "MessageBody": "two", "MessageAttributes": {"b": BINARY}},
            {"Id": "b", "MessageBody": "\u0001"},
            {"Id": "c", "MessageBody": "three", "DelaySeconds": 901},
        ],
    )
    failed = {one["Id"]: one["Code"] for one in batch["Failed"]}
    assert failed == {"b": "InvalidMessageContents", "c": "InvalidParameterValue"}
    received = on.api.receive_message(
        QueueUrl=url,
        AttributeNames=["All"],
        MessageSystemAttributeNames=["All"],
        MessageAttributeNames=["All"],
        MaxNumberOfMessages=10,
        VisibilityTimeout=60,
        WaitTimeSeconds=5,
        ReceiveRequestAttemptId="ignored-here",
    )["Messages"]
    assert received[0]["MessageAttributes"] == NAMED
    assert received[0]["Attributes"]["AWSTraceHeader"] == TRACE["AWSTraceHeader"]["StringValue"]
    assert received[1]["MessageAttributes"]["b"] == BINARY
    on.api.delete_message(QueueUrl=url, ReceiptHandle=received[0]["ReceiptHandle"])
    entries = [{"Id": "a", "ReceiptHandle": received[1]["ReceiptHandle"]}, {"Id": "b", "ReceiptHandle": "none"}]
    gone = on.api.delete_message_batch(QueueUrl=url, Entries=entries)
    assert [one["Id"] for one in gone["Successful"]] == ["a"]
    assert gone["Failed"][0]["Code"] == "ReceiptHandleIsInvalid"
    again = on.api.delete_message_batch(QueueUrl=url, Entries=entries[:1])
    assert ("Successful" in again, "Failed" in again) == (True, False)
    on.api.purge_queue(QueueUrl=url)


def _ordered(on: Stage) -> None:
    url = on.queue("a.fifo")
    sent = on.api.send_message(QueueUrl=url, MessageBody="a", MessageGroupId="g", MessageDeduplicationId="d")
    again = on.api.send_message(QueueUrl=url, MessageBody="a", MessageGroupId="g", MessageDeduplicationId="d")
    assert (sent["MessageId"], sent["SequenceNumber"]) == (again["MessageId"], again["SequenceNumber"])
    message = on.api.receive_message(QueueUrl=url, AttributeNames=["All"], ReceiveRequestAttemptId="attempt")[
        "Messages"
    ]
    assert message[0]["Attributes"]["MessageGroupId"] == "g"


def _queues(on: Stage) -> None:
    stem = unique("page")
    created = [
        on.api.create_queue(QueueName=f"{stem}-{number}", Attributes={"DelaySeconds": "1"}, tags={"a": "b"})["QueueUrl"]
        for number in range(3)
    ]
    assert on.api.list_queues(QueueNamePrefix=stem)["QueueUrls"] == created
    first = on.api.list_queues(QueueNamePrefix=stem, MaxResults=2)
    rest = on.api.list_queues(QueueNamePrefix=stem, MaxResults=2, NextToken=first["NextToken"])
    assert (first["QueueUrls"] + rest["QueueUrls"], "NextToken" in rest) == (created, False)
    url = on.api.get_queue_url(QueueName=f"{stem}-0", QueueOwnerAWSAccountId="000000000000")["QueueUrl"]
    assert url == created[0]
    on.api.set_queue_attributes(QueueUrl=url, Attributes={"DelaySeconds": "0", "VisibilityTimeout": "7"})
    shown = on.api.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    assert (shown["VisibilityTimeout"], shown["DelaySeconds"], shown["QueueArn"]) == ("7", "0", on.arn(url))
    on.api.tag_queue(QueueUrl=url, Tags={"c": ""})
    on.api.untag_queue(QueueUrl=url, TagKeys=["a"])
    assert on.api.list_queue_tags(QueueUrl=url)["Tags"] == {"c": ""}
    on.api.delete_queue(QueueUrl=url)
    eventually(lambda: url not in on.api.list_queues().get("QueueUrls", ()), "the queue is gone", 5)


SERVED: dict[Drive, tuple[str, ...]] = {
    _permissions: ("AddPermission", "RemovePermission"),
    _moves: (
        *("StartMessageMoveTask", "ListMessageMoveTasks", "CancelMessageMoveTask"),
        "ListDeadLetterSourceQueues",
    ),
    _hiding: ("ChangeMessageVisibility", "ChangeMessageVisibilityBatch"),
    _sending: (
        "SendMessage",
        "SendMessageBatch",
        "ReceiveMessage",
        "DeleteMessage",
        "DeleteMessageBatch",
        "PurgeQueue",
    ),
    _ordered: ("SendMessage", "ReceiveMessage"),
    _queues: (
        *("CreateQueue", "ListQueues", "GetQueueUrl", "SetQueueAttributes", "GetQueueAttributes", "TagQueue"),
        *("UntagQueue", "ListQueueTags", "DeleteQueue"),
    ),
}
OPERATIONS = sorted({name for names in SERVED.values() for name in names})


def _entry(**more: Any) -> dict[str, Any]:
    return {"Id": "a", "MessageBody": "x", **more}


def _to(**members: Any) -> Drive:
    """Members beside the URL of a fresh queue."""
    return lambda on: {"QueueUrl": on.queue(), **members}


def _to_fifo(**members: Any) -> Drive:
    return lambda on: {"QueueUrl": on.queue("a.fifo"), **members}


def _new(stem: str = "new", **attributes: str) -> Drive:
    return lambda on: {"QueueName": unique(stem), "Attributes": attributes}


def _taken(on: Stage) -> dict[str, Any]:
    name = on.queue().rpartition("/")[2]
    return {"QueueName": name, "Attributes": {"DelaySeconds": "3"}}


def _dead_letters_of(kind: str) -> Drive:
    def members(on: Stage) -> dict[str, Any]:
        policy = json.dumps({"deadLetterTargetArn": on.arn(on.queue(kind)), "maxReceiveCount": 1})
        return {"QueueUrl": on.queue(), "Attributes": {"RedrivePolicy": policy}}

    return members


def _freed(on: Stage) -> dict[str, Any]:
    """A message that nobody holds any more."""
    url = on.queue()
    handle = on.letter(url)
    on.api.change_message_visibility(QueueUrl=url, ReceiptHandle=handle, VisibilityTimeout=0)
    return {"QueueUrl": url, "ReceiptHandle": handle, "VisibilityTimeout": 10}


def _ended_move(on: Stage) -> dict[str, Any]:
    dead = on.queue("dead")
    redrive = json.dumps({"deadLetterTargetArn": on.arn(dead), "maxReceiveCount": 1})
    on.queue(RedrivePolicy=redrive)
    handle = on.api.start_message_move_task(SourceArn=on.arn(dead))["TaskHandle"]
    listed = on.api.list_message_move_tasks
    eventually(lambda: bool(listed(SourceArn=on.arn(dead))["Results"][0]["Status"] == "COMPLETED"), "it is done", 10)
    return {"TaskHandle": handle}


_VALUE, _NAME, _ATTRIBUTE = "InvalidParameterValue", "InvalidAttributeName", "InvalidAttributeValue"
_CONTENTS, _HANDLE, _ADDRESS = "InvalidMessageContents", "ReceiptHandleIsInvalid", "InvalidAddress"
_PREFIX = "AWS.SimpleQueueService."
_GONE = (f"{_PREFIX}NonExistentQueue", "QueueDoesNotExist")
REFUSALS = [
    Refusal("CreateQueue", "a name with a dot", lambda on: {"QueueName": "a.b"}, _VALUE),
    Refusal("CreateQueue", "a name that is too long", lambda on: {"QueueName": "a" * 81}, _VALUE),
    Refusal("CreateQueue", "FIFO without its suffix", _new(FifoQueue="true"), _VALUE),
    Refusal("CreateQueue", "an attribute there is not", _new(Colour="red"), _NAME, _NAME),
    Refusal("CreateQueue", "FIFO's attribute", _new(ContentBasedDeduplication="true"), _NAME, _NAME),
    Refusal("CreateQueue", "a delay that is too long", _new(DelaySeconds="901"), _ATTRIBUTE, _ATTRIBUTE),
    Refusal("CreateQueue", "a number that is none", _new(VisibilityTimeout="soon"), _ATTRIBUTE, _ATTRIBUTE),
    Refusal("CreateQueue", "a queue that is otherwise", _taken, "QueueAlreadyExists", "QueueNameExists"),
    Refusal(
        "CreateQueue", "51 tags", lambda on: {"QueueName": "t", "tags": dict.fromkeys(map(str, range(51)), "")}, _VALUE
    ),
    Refusal("SetQueueAttributes", "no JSON", _to(Attributes={"RedrivePolicy": "{"}), _ATTRIBUTE, _ATTRIBUTE),
    Refusal("SetQueueAttributes", "dead letters of another kind", _dead_letters_of("a.fifo"), _VALUE),
    Refusal("SetQueueAttributes", "what is only shown", _to(Attributes={"QueueArn": "a"}), _NAME, _NAME),
    Refusal("GetQueueAttributes", "an attribute there is not", _to(AttributeNames=["Colour"]), _NAME, _NAME),
    Refusal("GetQueueUrl", "no such queue", lambda on: {"QueueName": "there-is-no-such-queue"}, *_GONE),
    Refusal(
        "GetQueueUrl", "another account", lambda on: {"QueueName": "a", "QueueOwnerAWSAccountId": "1" * 12}, *_GONE
    ),
    Refusal("ListQueues", "too many", lambda on: {"MaxResults": 1001}, _VALUE),
    Refusal("ListQueues", "a token that is none", lambda on: {"NextToken": "?", "MaxResults": 1}, _VALUE),
    Refusal("TagQueue", "a reserved key", _to(Tags={"aws:a": "b"}), _VALUE),
    Refusal(
        "AddPermission", "an action there is not", _to(Label="a", AWSAccountIds=["1" * 12], Actions=["Fly"]), _VALUE
    ),
    Refusal(
        *("AddPermission", "eight actions", _to(Label="a", AWSAccountIds=["1" * 12], Actions=["SendMessage"] * 8)),
        *("OverLimit", "OverLimit", 403),
    ),
    Refusal("RemovePermission", "a label there is not", _to(Label="a"), _VALUE),
    Refusal("SendMessage", "an empty body", _to(MessageBody=""), "MissingParameter"),
    Refusal("SendMessage", "a control character", _to(MessageBody="\u0001"), _CONTENTS, _CONTENTS),
    Refusal("SendMessage", "more than 1 MiB", _to(MessageBody="x" * (2**20 + 1)), _VALUE),
    Refusal("SendMessage", "a delay that is too long", _to(MessageBody="x", DelaySeconds=901), _VALUE),
    Refusal("SendMessage", "no type", _to(MessageBody="x", MessageAttributes={"a": {"DataType": "Text"}}), _VALUE),
    Refusal(
        *("SendMessage", "eleven attributes"),
        _to(
            MessageBody="x", MessageAttributes={f"a{n}": {"DataType": "String", "StringValue": "v"} for n in range(11)}
        ),
        _VALUE,
    ),
    Refusal("SendMessage", "a deduplication id without FIFO", _to(MessageBody="x", MessageDeduplicationId="d"), _VALUE),
    Refusal("SendMessage", "FIFO without a group", _to_fifo(MessageBody="x"), "MissingParameter"),
    Refusal("SendMessage", "FIFO without deduplication", _to_fifo(MessageBody="x", MessageGroupId="g"), _VALUE),
    Refusal(
        *("SendMessage", "FIFO with a delay"),
        _to_fifo(MessageBody="x", MessageGroupId="g", MessageDeduplicationId="d", DelaySeconds=1),
        _VALUE,
    ),
    Refusal("SendMessageBatch", "no entries", _to(Entries=[]), f"{_PREFIX}EmptyBatchRequest", "EmptyBatchRequest"),
    Refusal(
        *("SendMessageBatch", "eleven entries", _to(Entries=[_entry(Id=str(n)) for n in range(11)])),
        *(f"{_PREFIX}TooManyEntriesInBatchRequest", "TooManyEntriesInBatchRequest"),
    ),
    Refusal(
        *("SendMessageBatch", "an id twice", _to(Entries=[_entry(), _entry()])),
        *(f"{_PREFIX}BatchEntryIdsNotDistinct", "BatchEntryIdsNotDistinct"),
    ),
    Refusal(
        *("SendMessageBatch", "an id that is none", _to(Entries=[_entry(Id="a b")])),
        *(f"{_PREFIX}InvalidBatchEntryId", "InvalidBatchEntryId"),
    ),
    Refusal(
        *("SendMessageBatch", "too long", _to(Entries=[_entry(Id=n, MessageBody="x" * 2**19) for n in "abc"])),
        *(f"{_PREFIX}BatchRequestTooLong", "BatchRequestTooLong"),
    ),
    Refusal("ReceiveMessage", "eleven messages", _to(MaxNumberOfMessages=11), _VALUE),
    Refusal("ReceiveMessage", "no messages", _to(MaxNumberOfMessages=0), _VALUE),
    Refusal("ReceiveMessage", "a wait that is too long", _to(WaitTimeSeconds=21), _VALUE),
    Refusal("ReceiveMessage", "hidden for too long", _to(VisibilityTimeout=43_201), _VALUE),
    Refusal("ReceiveMessage", "an attribute there is not", _to(AttributeNames=["Colour"]), _NAME, _NAME),
    Refusal("DeleteMessage", "a bad handle", _to(ReceiptHandle="x"), _HANDLE, _HANDLE, 404),
    Refusal(
        *("ChangeMessageVisibility", "a bad handle", _to(ReceiptHandle="x", VisibilityTimeout=1)),
        *(_HANDLE, _HANDLE, 404),
    ),
    Refusal("ChangeMessageVisibility", "too long", _to(ReceiptHandle="x", VisibilityTimeout=43_201), _VALUE),
    Refusal(
        *("ChangeMessageVisibility", "a message that nobody holds", _freed),
        *(f"{_PREFIX}MessageNotInflight", "MessageNotInflight"),
    ),
    Refusal(
        *("StartMessageMoveTask", "a queue that is not there", lambda on: {"SourceArn": on.arn(on.nowhere)}),
        *("ResourceNotFoundException", "ResourceNotFoundException", 404),
    ),
    Refusal("StartMessageMoveTask", "no dead letters", lambda on: {"SourceArn": on.arn(on.queue())}, _VALUE),
    Refusal("CancelMessageMoveTask", "a handle that is none", lambda on: {"TaskHandle": "x"}, _VALUE),
    Refusal(
        *("CancelMessageMoveTask", "a task that is over", _ended_move),
        *(f"{_PREFIX}UnsupportedOperation", "UnsupportedOperation"),
    ),
    Refusal("DeleteQueue", "no queue in the URL", lambda on: {"QueueUrl": "http://x/y"}, _ADDRESS, _ADDRESS, 404),
]
KNOWN = {"Entries": [], "Tags": {"a": "b"}, "Attributes": {}}
WITH_URL = [name for name in MODEL.operation_names if "QueueUrl" in MODEL.operation_model(name).input_shape.members]


def test_no_operation_of_the_model_is_forgotten() -> None:
    assert sorted((*OPERATIONS, *NOT_HERE)) == sorted(MODEL.operation_names)


@pytest.mark.parametrize("drive", SERVED, ids=lambda drive: drive.__name__)
def test_operations_answer_as_the_model_says(stage: Stage, exchange: Exchanges, drive: Drive) -> None:
    drive(stage)
    assert set(SERVED[drive]) <= exchange.succeeded


@pytest.mark.parametrize("refusal", REFUSALS, ids=str)
def test_what_is_wrong_is_refused_by_its_name(stage: Stage, exchange: Exchanges, refusal: Refusal) -> None:
    refusal.check(stage.api, stage)


@pytest.mark.parametrize("operation", WITH_URL)
def test_a_queue_that_is_not_there_is_said_not_to_exist(stage: Stage, exchange: Exchanges, operation: str) -> None:
    members = plain(MODEL.operation_model(operation).input_shape, KNOWN)
    error = refused(stage.api, operation, {**members, "QueueUrl": stage.nowhere})
    assert (error.response["Error"]["Code"], exchanges.status_of(error)) == (_GONE[0], 400)
    assert type(error).__name__ == _GONE[1]


@pytest.mark.parametrize("operation", OPERATIONS)
def test_what_is_missing_or_of_another_type_is_refused(stage: Stage, exchange: Exchanges, operation: str) -> None:
    shape = MODEL.operation_model(operation).input_shape
    whole = plain(shape, KNOWN)
    for name, body in incomplete(shape, whole):
        error = refused(stage.api, operation, {}, body)
        assert (name, error.response["Error"]["Code"]) == (name, "MissingParameter")
        assert name in error.response["Error"]["Message"]
    for name, body in mistyped(shape, whole):
        error = refused(stage.api, operation, {}, body)
        assert (name, error.response["Error"]["Code"]) == (name, "MalformedInput")


def test_what_is_no_operation_is_refused_by_name(stage: Stage, exchange: Exchanges) -> None:
    def rename(params: dict[str, Any], **_: Any) -> None:
        params["headers"]["X-Amz-Target"] = "AmazonSQS.FlyAway"

    stage.api.meta.events.register("before-call.sqs.ListQueues", rename)
    error = refused(stage.api, "ListQueues", {}).response["Error"]
    assert (error["Code"], "FlyAway" in error["Message"]) == ("InvalidAction", True)
