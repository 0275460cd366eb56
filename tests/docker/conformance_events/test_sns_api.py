"""Every operation of the SNS API by boto3, its answers held against the model, its errors against the documentation.

Source: Amazon Simple Notification Service API reference.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import botocore.session
import pytest
from tests.docker.conformance_events import exchanges
from tests.docker.conformance_events.exchanges import Exchanges, Refusal, plain, refused
from tests.docker.house import House, unique

pytestmark = pytest.mark.docker

MODEL = botocore.session.get_session().get_service_model("sns")
NOT_HERE = (
    *("CheckIfPhoneNumberIsOptedOut", "CreatePlatformApplication", "CreatePlatformEndpoint"),
    *("CreateSMSSandboxPhoneNumber", "DeleteEndpoint", "DeletePlatformApplication", "DeleteSMSSandboxPhoneNumber"),
    *("GetDataProtectionPolicy", "GetEndpointAttributes", "GetPlatformApplicationAttributes", "GetSMSAttributes"),
    *("GetSMSSandboxAccountStatus", "ListEndpointsByPlatformApplication", "ListOriginationNumbers"),
    *("ListPhoneNumbersOptedOut", "ListPlatformApplications", "ListSMSSandboxPhoneNumbers", "OptInPhoneNumber"),
    *("PutDataProtectionPolicy", "SetEndpointAttributes", "SetPlatformApplicationAttributes", "SetSMSAttributes"),
    "VerifySMSSandboxPhoneNumber",
)
STEM = "arn:aws:sns:us-east-1:000000000000:"
NOWHERE = f"{STEM}nobody-made-this"
QUEUE = "arn:aws:sqs:us-east-1:000000000000:nobody-made-this"
FUNCTION = "arn:aws:lambda:us-east-1:000000000000:function:nobody-made-this"
TOKEN_URL = "http://127.0.0.1:9/there-is-nobody"


@dataclass
class Stage:
    """A Hearth, and a client whose exchanges are listened to."""

    hearth: House
    api: Any

    def topic(self, stem: str = "topic", **attributes: str) -> str:
        """The ARN of a new topic."""
        name, dot, kind = unique(stem.removesuffix(".fifo")), *stem.partition(".")[1:]
        if kind:
            attributes = {"FifoTopic": "true", **attributes}
        return str(self.api.create_topic(Name=f"{name}{dot}{kind}", Attributes=attributes)["TopicArn"])

    def subscription(self, topic: str = "") -> str:
        """The ARN of a new subscription."""
        arn = topic or self.topic()
        return str(self.api.subscribe(TopicArn=arn, Protocol="sqs", Endpoint=QUEUE)["SubscriptionArn"])


@pytest.fixture(scope="module")
def stage(hearth: House) -> Stage:
    return Stage(hearth, None)


@pytest.fixture
def exchange(stage: Stage) -> Iterator[Exchanges]:
    yield from exchanges.heard(stage, "sns")


Drive = Callable[[Stage], Any]


def _topics(on: Stage) -> None:
    arn = on.topic(DisplayName="shown", SignatureVersion="2")
    name = arn.rpartition(":")[2]
    assert on.api.create_topic(Name=name, Attributes={"DisplayName": "shown"})["TopicArn"] == arn
    on.api.set_topic_attributes(TopicArn=arn, AttributeName="DisplayName", AttributeValue="other")
    shown = on.api.get_topic_attributes(TopicArn=arn)["Attributes"]
    assert (shown["TopicArn"], shown["DisplayName"], shown["Owner"]) == (arn, "other", "0" * 12)
    assert json.loads(shown["Policy"])["Statement"][0]["Resource"] == arn
    on.api.add_permission(TopicArn=arn, Label="a", AWSAccountId=["111122223333"], ActionName=["Publish"])
    policy = json.loads(on.api.get_topic_attributes(TopicArn=arn)["Attributes"]["Policy"])
    assert [one["Sid"] for one in policy["Statement"]] == ["__default_statement_ID", "a"]
    on.api.remove_permission(TopicArn=arn, Label="a")
    on.api.delete_topic(TopicArn=arn)
    on.api.delete_topic(TopicArn=arn)


def _pages(on: Stage) -> None:
    created = {on.topic("page") for _ in range(101)}
    found: set[str] = set()
    token: dict[str, str] = {}
    while True:
        page = on.api.list_topics(**token)
        found |= {one["TopicArn"] for one in page["Topics"]}
        if "NextToken" not in page:
            break
        assert len(page["Topics"]) == 100
        token = {"NextToken": page["NextToken"]}
    assert created <= found
    assert token
    for arn in created:
        on.api.delete_topic(TopicArn=arn)


def _tags(on: Stage) -> None:
    arn = on.topic()
    on.api.tag_resource(ResourceArn=arn, Tags=[{"Key": "a", "Value": "b"}, {"Key": "c", "Value": ""}])
    on.api.untag_resource(ResourceArn=arn, TagKeys=["a", "z"])
    assert on.api.list_tags_for_resource(ResourceArn=arn)["Tags"] == [{"Key": "c", "Value": ""}]


def _subscriptions(on: Stage) -> None:
    topic = on.topic()
    attributes = {
        "RawMessageDelivery": "true",
        "FilterPolicy": '{"a": ["b"]}',
        "FilterPolicyScope": "MessageBody",
        "RedrivePolicy": json.dumps({"deadLetterTargetArn": QUEUE}),
    }
    wanted = {"TopicArn": topic, "Protocol": "sqs", "Endpoint": QUEUE}
    arn = on.api.subscribe(**wanted, Attributes=attributes, ReturnSubscriptionArn=True)["SubscriptionArn"]
    assert on.api.subscribe(**wanted)["SubscriptionArn"] == arn
    on.api.subscribe(TopicArn=topic, Protocol="lambda", Endpoint=FUNCTION)
    pending = on.api.subscribe(TopicArn=topic, Protocol="http", Endpoint=TOKEN_URL)["SubscriptionArn"]
    assert pending == "pending confirmation"
    listed = on.api.list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"]
    assert [one["Protocol"] for one in listed] == ["sqs", "lambda", "http"]
    assert listed[2]["SubscriptionArn"] == "PendingConfirmation"
    every = [one for page in on.api.get_paginator("list_subscriptions").paginate() for one in page["Subscriptions"]]
    assert listed[0] in every
    on.api.set_subscription_attributes(SubscriptionArn=arn, AttributeName="RawMessageDelivery", AttributeValue="false")
    shown = on.api.get_subscription_attributes(SubscriptionArn=arn)["Attributes"]
    assert {name: shown[name] for name in attributes} == {**attributes, "RawMessageDelivery": "false"}
    assert (shown["PendingConfirmation"], shown["Endpoint"], shown["TopicArn"]) == ("false", QUEUE, topic)
    on.api.unsubscribe(SubscriptionArn=arn)
    on.api.unsubscribe(SubscriptionArn=arn)


def _publications(on: Stage) -> None:
    topic = on.topic()
    attributes = {
        "a": {"DataType": "String.Array", "StringValue": '["b"]'},
        "b": {"DataType": "Binary", "BinaryValue": b"\x00\xff"},
        "n": {"DataType": "Number", "StringValue": "1"},
    }
    first = on.api.publish(
        TopicArn=topic,
        Message=json.dumps({"default": "d", "sqs": "s"}),
        MessageStructure="json",
        Subject="s",
        MessageAttributes=attributes,
    )
    assert first["MessageId"] != on.api.publish(TargetArn=topic, Message="ä\r\n<&>")["MessageId"]
    entries = [{"Id": "a", "Message": "m"}, {"Id": "b", "Message": ""}, {"Id": "c", "Message": "x" * 2**18 + "x"}]
    batch = on.api.publish_batch(TopicArn=topic, PublishBatchRequestEntries=entries)
    assert [one["Id"] for one in batch["Successful"]] == ["a"]
    assert [(one["Id"], one["Code"], one["SenderFault"]) for one in batch["Failed"]] == [
        ("b", "InvalidParameter", True),
        ("c", "InvalidParameter", True),
    ]
    ordered = on.topic("topic.fifo", ContentBasedDeduplication="true")
    sent = on.api.publish(TopicArn=ordered, Message="m", MessageGroupId="g")
    again = on.api.publish(TopicArn=ordered, Message="m", MessageGroupId="g", MessageDeduplicationId="")
    assert (sent["MessageId"], sent["SequenceNumber"]) == (again["MessageId"], again["SequenceNumber"])


SERVED: dict[Drive, tuple[str, ...]] = {
    _topics: (
        *("CreateTopic", "DeleteTopic", "GetTopicAttributes", "SetTopicAttributes", "AddPermission"),
        "RemovePermission",
    ),
    _pages: ("ListTopics",),
    _tags: ("TagResource", "UntagResource", "ListTagsForResource"),
    _subscriptions: (
        *("Subscribe", "Unsubscribe", "ListSubscriptions", "ListSubscriptionsByTopic"),
        *("GetSubscriptionAttributes", "SetSubscriptionAttributes"),
    ),
    _publications: ("Publish", "PublishBatch"),
}
REFUSED_ONLY = ("ConfirmSubscription",)
"""Its success needs an endpoint that hears the token: `tests/docker/test_topics.py` has one."""
OPERATIONS = sorted({*REFUSED_ONLY, *(name for names in SERVED.values() for name in names)})


def _new(**attributes: str) -> Drive:
    return lambda on: {"Name": unique("never"), "Attributes": attributes}


def _named(name: str, **attributes: str) -> Drive:
    return lambda on: {"Name": name, "Attributes": attributes}


def _to(**members: Any) -> Drive:
    """Members beside a fresh topic."""
    return lambda on: {"TopicArn": on.topic(), "Message": "m", **members}


def _to_fifo(**members: Any) -> Drive:
    return lambda on: {"TopicArn": on.topic("topic.fifo"), "Message": "m", **members}


def _batch(*entries: dict[str, Any]) -> Drive:
    return _to(PublishBatchRequestEntries=[{"Id": "a", "Message": "m", **one} for one in entries])


def _set(name: str, value: str) -> Drive:
    """Members of both operations that set one attribute, on a fresh subscription of a fresh topic."""

    def members(on: Stage) -> dict[str, Any]:
        topic = on.topic()
        return {
            "TopicArn": topic,
            "SubscriptionArn": on.subscription(topic),
            "AttributeName": name,
            "AttributeValue": value,
        }

    return members


def _subscribing(protocol: str, endpoint: str, **attributes: str) -> Drive:
    return _to(Protocol=protocol, Endpoint=endpoint, Attributes=attributes)


def _otherwise(on: Stage) -> dict[str, Any]:
    """A subscription that is there with other attributes."""
    topic = on.topic()
    on.subscription(topic)
    attributes = {"RawMessageDelivery": "true"}
    return {"TopicArn": topic, "Protocol": "sqs", "Endpoint": QUEUE, "Attributes": attributes}


def _taken(on: Stage) -> dict[str, Any]:
    return {"Name": on.topic().rpartition(":")[2], "Attributes": {"DisplayName": "other"}}


_BAD = ("InvalidParameter", "InvalidParameterException")
_GONE = ("NotFound", "NotFoundException", 404)
REFUSALS = [
    Refusal("CreateTopic", "a name with a space", _named("a b"), *_BAD),
    Refusal("CreateTopic", "an empty name", _named(""), *_BAD),
    Refusal("CreateTopic", "a name that is too long", _named("x" * 257), *_BAD),
    Refusal("CreateTopic", "FIFO without its suffix", _new(FifoTopic="true"), *_BAD),
    Refusal("CreateTopic", "the suffix without FIFO", _named("a.fifo"), *_BAD),
    Refusal("CreateTopic", "an attribute there is not", _new(Colour="red"), *_BAD),
    Refusal("CreateTopic", "FIFO's attribute", _new(ContentBasedDeduplication="true"), *_BAD),
    Refusal("CreateTopic", "a topic that is otherwise", _taken, *_BAD),
    Refusal(
        *("CreateTopic", "51 tags"),
        lambda on: {"Name": "never", "Tags": [{"Key": str(number), "Value": ""} for number in range(51)]},
        *("TagLimitExceeded", "TagLimitExceededException"),
    ),
    Refusal("SetTopicAttributes", "an attribute there is not", _set("Colour", "red"), *_BAD),
    Refusal("SetTopicAttributes", "a policy that is none", _set("Policy", "{"), *_BAD),
    Refusal("SetTopicAttributes", "too long a name", _set("DisplayName", "x" * 101), *_BAD),
    Refusal("SetTopicAttributes", "a version there is not", _set("SignatureVersion", "3"), *_BAD),
    Refusal(
        "AddPermission", "an action there is not", _to(Label="a", AWSAccountId=["1" * 12], ActionName=["Fly"]), *_BAD
    ),
    Refusal("RemovePermission", "a label there is not", _to(Label="a"), *_BAD),
    Refusal("Subscribe", "a protocol there is not", _subscribing("pigeon", "x"), *_BAD),
    Refusal("Subscribe", "an address of another protocol", _subscribing("https", "http://a"), *_BAD),
    Refusal("Subscribe", "a queue that is none", _subscribing("sqs", "queue"), *_BAD),
    Refusal("Subscribe", "a function that is none", _subscribing("lambda", QUEUE), *_BAD),
    Refusal("Subscribe", "no endpoint", _to(Protocol="sqs"), *_BAD),
    Refusal("Subscribe", "a FIFO queue", _subscribing("sqs", f"{QUEUE}.fifo"), *_BAD),
    Refusal("Subscribe", "a function to FIFO", _to_fifo(Protocol="lambda", Endpoint=FUNCTION), *_BAD),
    Refusal("Subscribe", "raw to a function", _subscribing("lambda", FUNCTION, RawMessageDelivery="true"), *_BAD),
    Refusal("Subscribe", "a filter that is none", _subscribing("sqs", QUEUE, FilterPolicy='{"a": "b"}'), *_BAD),
    Refusal("Subscribe", "an attribute there is not", _subscribing("sqs", QUEUE, Colour="red"), *_BAD),
    Refusal("Subscribe", "one that is otherwise", _otherwise, *_BAD),
    Refusal("SetSubscriptionAttributes", "an attribute there is not", _set("Colour", "red"), *_BAD),
    Refusal("SetSubscriptionAttributes", "a scope there is not", _set("FilterPolicyScope", "All"), *_BAD),
    Refusal("SetSubscriptionAttributes", "no flag", _set("RawMessageDelivery", "yes"), *_BAD),
    Refusal("SetSubscriptionAttributes", "dead letters nowhere", _set("RedrivePolicy", "{}x"), *_BAD),
    Refusal("ConfirmSubscription", "a token that is none", _to(Token="x"), *_BAD),
    Refusal("ListTopics", "a token that is none", lambda on: {"NextToken": "?"}, *_BAD),
    Refusal("Publish", "no topic", lambda on: {"Message": "m"}, *_BAD),
    Refusal("Publish", "an ARN that is none", lambda on: {"TopicArn": "topic", "Message": "m"}, *_BAD),
    Refusal("Publish", "a phone number", lambda on: {"PhoneNumber": "+15550100", "Message": "m"}, *_BAD),
    Refusal("Publish", "an empty message", _to(Message=""), *_BAD),
    Refusal("Publish", "more than 256 KiB", _to(Message="x" * (2**18 + 1)), *_BAD),
    Refusal("Publish", "a subject that is too long", _to(Subject="x" * 101), *_BAD),
    Refusal("Publish", "a subject of two lines", _to(Subject="a\nb"), *_BAD),
    Refusal("Publish", "a structure without default", _to(Message='{"sqs": "a"}', MessageStructure="json"), *_BAD),
    Refusal("Publish", "a structure that is no JSON", _to(MessageStructure="json"), *_BAD),
    Refusal("Publish", "FIFO without a group", _to_fifo(MessageDeduplicationId="d"), *_BAD),
    Refusal("Publish", "FIFO without deduplication", _to_fifo(MessageGroupId="g"), *_BAD),
    Refusal("Publish", "a deduplication id without FIFO", _to(MessageDeduplicationId="d"), *_BAD),
    Refusal(
        *("Publish", "an attribute without a value", _to(MessageAttributes={"a": {"DataType": "String"}})),
        *("ParameterValueInvalid", "InvalidParameterValueException"),
    ),
    Refusal(
        *("Publish", "an attribute of no type", _to(MessageAttributes={"a": {"DataType": "Text", "StringValue": "b"}})),
        *("ParameterValueInvalid", "InvalidParameterValueException"),
    ),
    Refusal("PublishBatch", "no entries", _batch(), "EmptyBatchRequest", "EmptyBatchRequestException"),
    Refusal(
        *("PublishBatch", "eleven entries", _batch(*({"Id": str(number)} for number in range(11)))),
        *("TooManyEntriesInBatchRequest", "TooManyEntriesInBatchRequestException"),
    ),
    Refusal(
        *("PublishBatch", "an id twice", _batch({}, {})),
        *("BatchEntryIdsNotDistinct", "BatchEntryIdsNotDistinctException"),
    ),
    Refusal(
        *("PublishBatch", "an id that is none", _batch({"Id": "a b"})),
        *("InvalidBatchEntryId", "InvalidBatchEntryIdException"),
    ),
    Refusal(
        *("PublishBatch", "too long", _batch(*({"Id": one, "Message": "x" * 2**18} for one in "abcde"))),
        *("BatchRequestTooLong", "BatchRequestTooLongException"),
    ),
    *(
        Refusal(operation, "no such topic", lambda on: {**PLAIN, "TopicArn": NOWHERE}, *_GONE)
        for operation in (
            *("GetTopicAttributes", "SetTopicAttributes", "AddPermission", "RemovePermission", "Subscribe", "Publish"),
            *("PublishBatch", "ListSubscriptionsByTopic", "ConfirmSubscription"),
        )
    ),
    *(
        Refusal(operation, "no such subscription", lambda on: {**PLAIN, "SubscriptionArn": f"{on.topic()}:x"}, *_GONE)
        for operation in ("GetSubscriptionAttributes", "SetSubscriptionAttributes")
    ),
    *(
        Refusal(
            *(operation, "no such topic", lambda on: {**PLAIN, "ResourceArn": NOWHERE}),
            *("ResourceNotFound", "ResourceNotFoundException", 404),
        )
        for operation in ("TagResource", "UntagResource", "ListTagsForResource")
    ),
]
PLAIN: dict[str, Any] = {
    **{"Label": "a", "AWSAccountId": ["1" * 12], "ActionName": ["Publish"], "Protocol": "sqs", "Endpoint": QUEUE},
    **{"Message": "m", "AttributeName": "DisplayName", "Token": "x", "Tags": [{"Key": "a", "Value": "b"}]},
    **{"TagKeys": ["a"], "PublishBatchRequestEntries": [{"Id": "a", "Message": "m"}]},
}


def test_no_operation_of_the_model_is_forgotten() -> None:
    assert sorted((*OPERATIONS, *NOT_HERE)) == sorted(MODEL.operation_names)


@pytest.mark.parametrize("drive", SERVED, ids=lambda drive: drive.__name__)
def test_operations_answer_as_the_model_says(stage: Stage, exchange: Exchanges, drive: Drive) -> None:
    drive(stage)
    assert set(SERVED[drive]) <= exchange.succeeded


@pytest.mark.parametrize("refusal", REFUSALS, ids=str)
def test_what_is_wrong_is_refused_by_its_name(stage: Stage, exchange: Exchanges, refusal: Refusal) -> None:
    refusal.check(stage.api, stage)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_what_is_missing_is_said(stage: Stage, exchange: Exchanges, operation: str) -> None:
    shape = MODEL.operation_model(operation).input_shape
    whole = plain(shape, PLAIN)
    for name in shape.required_members:
        error = refused(stage.api, operation, {key: value for key, value in whole.items() if key != name})
        assert (name, error.response["Error"]["Code"], exchanges.status_of(error)) == (name, "ValidationError", 400)
        assert f"'{name[0].lower()}{name[1:]}'" in error.response["Error"]["Message"]


@pytest.mark.parametrize("operation", NOT_HERE)
def test_what_is_not_here_is_refused_by_name(stage: Stage, exchange: Exchanges, operation: str) -> None:
    error = refused(stage.api, operation, {})
    assert (error.response["Error"]["Code"], exchanges.status_of(error)) == ("InvalidAction", 400)
    assert operation in error.response["Error"]["Message"]
