"""SNS, asked by botocore's own client."""

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.unit.gateway.neighbours.house import ACCOUNT, REGION, START_MS, Client, House, house

from hearth.testing import InMemoryStore
from hearth_gateway.asynchronous.testing import RecordingCourier
from hearth_gateway.core.parcel import Attribute, Parcel
from hearth_gateway.neighbours.sns import sns_service
from hearth_gateway.neighbours.sns_answers import Desk
from hearth_gateway.topics.book import TopicBook
from hearth_gateway.topics.publisher import TopicPublisher
from hearth_gateway.topics.testing import InMemoryDeduplication, plain_seal

TOPIC = f"arn:aws:sns:{REGION}:{ACCOUNT}:orders"
FUNCTION = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:pack"
QUEUE = f"arn:aws:sqs:{REGION}:{ACCOUNT}:parcels"


@dataclass
class Post:
    """SNS and where its parcels go."""

    house: House
    sns: Client
    courier: RecordingCourier
    book: TopicBook

    @property
    def parcels(self) -> list[Parcel]:
        return self.courier.parcels

    def bodies(self) -> list[Any]:
        return [json.loads(parcel.body) for parcel in self.parcels]


@pytest.fixture
async def post(tmp_path: Path) -> AsyncIterator[Post]:
    courier, seal, book = RecordingCourier(), plain_seal(), TopicBook(InMemoryStore())
    publisher = TopicPublisher(book, courier, InMemoryDeduplication(lambda: START_MS), seal)
    service = sns_service(Desk(book, REGION, ACCOUNT), publisher, courier, seal, now_ms=lambda: START_MS)
    async with house(tmp_path, {"sns": service}) as opened:
        yield Post(opened, opened.client("sns"), courier, book)


@pytest.fixture
async def topic(post: Post) -> str:
    arn: str = (await post.sns("create_topic", Name="orders"))["TopicArn"]
    return arn


async def test_a_topic_is_made_once_shown_changed_and_deleted(post: Post) -> None:
    made = await post.sns("create_topic", Name="orders", Attributes={"DisplayName": "Orders"})
    assert made["TopicArn"] == TOPIC
    assert (await post.sns("create_topic", Name="orders"))["TopicArn"] == TOPIC
    await post.sns("set_topic_attributes", TopicArn=TOPIC, AttributeName="SignatureVersion", AttributeValue="2")
    shown = (await post.sns("get_topic_attributes", TopicArn=TOPIC))["Attributes"]
    assert (shown["DisplayName"], shown["SignatureVersion"], shown["Owner"]) == ("Orders", "2", ACCOUNT)
    assert (await post.sns("list_topics"))["Topics"] == [{"TopicArn": TOPIC}]
    for _ in range(2):
        await post.sns("delete_topic", TopicArn=TOPIC)
    assert await post.sns.code("get_topic_attributes", TopicArn=TOPIC) == ("NotFound", 404)


async def test_an_attribute_that_asks_for_nothing_changes_nothing(post: Post, topic: str) -> None:
    for name, value in (("SQSSuccessFeedbackSampleRate", "0"), ("KmsMasterKeyId", ""), ("DisplayName", "")):
        await post.sns("set_topic_attributes", TopicArn=topic, AttributeName=name, AttributeValue=value)
    rate = {"AttributeName": "SQSSuccessFeedbackSampleRate", "AttributeValue": "100"}
    assert await post.sns.code("set_topic_attributes", TopicArn=topic, **rate) == ("InvalidParameter", 400)
    assert post.book.topic("orders").attributes == {}


async def test_topics_with_different_attributes_are_not_the_same(post: Post, topic: str) -> None:
    del topic
    error = await post.sns.error("create_topic", Name="orders", Attributes={"DisplayName": "x"})
    assert "already exists with different attributes" in str(error)


@pytest.mark.parametrize(
    ("name", "attributes"),
    [
        ("a b", {}),
        ("a.fifo", {}),
        ("a", {"FifoTopic": "true"}),
        ("a", {"KmsMasterKeyId": "alias/x"}),
        ("a", {"TracingConfig": "Active"}),
        ("a", {"MaximumMessageSize": "10"}),
        ("a", {"Nonsense": "1"}),
        ("a", {"Policy": "{"}),
        ("a", {"ContentBasedDeduplication": "true"}),
    ],
)
async def test_what_a_topic_cannot_be_is_refused(post: Post, name: str, attributes: dict[str, str]) -> None:
    assert await post.sns.code("create_topic", Name=name, Attributes=attributes) == ("InvalidParameter", 400)


async def test_lists_come_in_pages_of_a_hundred(post: Post) -> None:
    for number in range(101):
        await post.sns("create_topic", Name=f"t{number:03}")
    first = await post.sns("list_topics")
    rest = await post.sns("list_topics", NextToken=first["NextToken"])
    assert (len(first["Topics"]), len(rest["Topics"]), "NextToken" in rest) == (100, 1, False)


async def test_tags_are_kept_and_taken_away(post: Post, topic: str) -> None:
    await post.sns("tag_resource", ResourceArn=topic, Tags=[{"Key": "a", "Value": "1"}, {"Key": "b", "Value": "2"}])
    await post.sns("untag_resource", ResourceArn=topic, TagKeys=["a"])
    assert (await post.sns("list_tags_for_resource", ResourceArn=topic))["Tags"] == [{"Key": "b", "Value": "2"}]
    missing = f"{TOPIC}-not"
    assert await post.sns.code("list_tags_for_resource", ResourceArn=missing) == ("ResourceNotFound", 404)


async def test_a_function_gets_one_record_of_the_documented_shape(post: Post, topic: str) -> None:
    made = await post.sns("subscribe", TopicArn=topic, Protocol="lambda", Endpoint=FUNCTION)
    answer = await post.sns(
        "publish",
        TopicArn=topic,
        Message="hello",
        MessageAttributes={
            "k": {"DataType": "String", "StringValue": "v"},
            "b": {"DataType": "Binary", "BinaryValue": b"\0"},
        },
    )
    (parcel,) = post.parcels
    (record,) = json.loads(parcel.body)["Records"]
    assert (parcel.target, parcel.sender, parcel.service) == (FUNCTION, topic, "sns.amazonaws.com")
    assert record["EventSource"] == "aws:sns"
    assert record["EventVersion"] == "1.0"
    assert record["EventSubscriptionArn"] == made["SubscriptionArn"]
    sns = record["Sns"]
    assert {name: sns[name] for name in ("Type", "MessageId", "TopicArn", "Subject", "Message", "Timestamp")} == {
        "Type": "Notification",
        "MessageId": answer["MessageId"],
        "TopicArn": topic,
        "Subject": None,
        "Message": "hello",
        "Timestamp": "2026-11-18T11:06:40.000Z",
    }
    assert sns["MessageAttributes"] == {"k": {"Type": "String", "Value": "v"}, "b": {"Type": "Binary", "Value": "AA=="}}
    assert {"SignatureVersion", "Signature", "SigningCertUrl", "UnsubscribeUrl"} <= sns.keys()


async def test_a_queue_gets_the_envelope_or_the_message_itself(post: Post, topic: str) -> None:
    plain = await post.sns("subscribe", TopicArn=topic, Protocol="sqs", Endpoint=QUEUE)
    await post.sns(
        "subscribe", TopicArn=topic, Protocol="sqs", Endpoint=f"{QUEUE}-raw", Attributes={"RawMessageDelivery": "true"}
    )
    attributes = {"n": {"DataType": "Number", "StringValue": "1"}}
    await post.sns("publish", TopicArn=topic, Message="hello", Subject="Greeting", MessageAttributes=attributes)
    envelope, raw = post.parcels
    body = json.loads(envelope.body)
    assert (body["Message"], body["Subject"]) == ("hello", "Greeting")
    assert body["MessageAttributes"] == {"n": {"Type": "Number", "Value": "1"}}
    assert plain["SubscriptionArn"] in body["UnsubscribeURL"].replace("%3A", ":")
    assert body["Signature"].startswith("1:Message\nhello\nMessageId\n")
    assert envelope.attributes == {}
    assert (raw.body, raw.attributes) == (b"hello", {"n": Attribute("Number", "1")})


async def test_an_http_endpoint_gets_nothing_until_it_has_confirmed(post: Post, topic: str) -> None:
    made = await post.sns("subscribe", TopicArn=topic, Protocol="https", Endpoint="https://example.test/sns")
    assert made["SubscriptionArn"] == "pending confirmation"
    await post.sns("publish", TopicArn=topic, Message="early")
    (question,) = post.parcels
    body = json.loads(question.body)
    assert question.headers["x-amz-sns-message-type"] == body["Type"] == "SubscriptionConfirmation"
    assert question.target == "https://example.test/sns"
    listed = (await post.sns("list_subscriptions_by_topic", TopicArn=topic))["Subscriptions"]
    assert listed[0]["SubscriptionArn"] == "PendingConfirmation"
    assert await post.sns.code("confirm_subscription", TopicArn=topic, Token="wrong") == ("InvalidParameter", 400)
    confirmed = await post.sns("confirm_subscription", TopicArn=topic, Token=body["Token"])
    await post.sns("publish", TopicArn=topic, Message="now")
    notification = post.parcels[-1]
    assert json.loads(notification.body)["Message"] == "now"
    assert notification.headers["x-amz-sns-subscription-arn"] == confirmed["SubscriptionArn"]
    assert notification.headers["Content-Type"] == "text/plain; charset=UTF-8"


async def test_raw_http_is_the_message_alone_and_says_so(post: Post, topic: str) -> None:
    policy = json.dumps(
        {"healthyRetryPolicy": {"numRetries": 3}, "requestPolicy": {"headerContentType": "application/json"}}
    )
    attributes = {"RawMessageDelivery": "true", "DeliveryPolicy": policy}
    await post.sns("subscribe", TopicArn=topic, Protocol="http", Endpoint="http://a.test/", Attributes=attributes)
    await post.sns("confirm_subscription", TopicArn=topic, Token=post.bodies()[0]["Token"])
    await post.sns("publish", TopicArn=topic, Message="{}")
    raw = post.parcels[-1]
    assert (raw.body, raw.headers["x-amz-sns-rawdelivery"], raw.max_attempts) == (b"{}", "true", 4)
    assert raw.headers["Content-Type"] == "application/json"


async def test_a_filter_lets_only_its_messages_through(post: Post, topic: str) -> None:
    for scope, endpoint in (("MessageAttributes", QUEUE), ("MessageBody", f"{QUEUE}-body")):
        attributes = {"FilterPolicy": '{"kind": ["new"]}', "FilterPolicyScope": scope}
        await post.sns("subscribe", TopicArn=topic, Protocol="sqs", Endpoint=endpoint, Attributes=attributes)

    async def reached(message: str, kind: str) -> list[str]:
        before = len(post.parcels)
        given = {"kind": {"DataType": "String", "StringValue": kind}}
        await post.sns("publish", TopicArn=topic, Message=message, MessageAttributes=given)
        return [parcel.target for parcel in post.parcels[before:]]

    assert await reached('{"kind": "old"}', "new") == [QUEUE]
    assert await reached('{"kind": "new"}', "old") == [f"{QUEUE}-body"]
    assert await reached("no json", "old") == []


async def test_subscriptions_are_shown_changed_and_ended(post: Post, topic: str) -> None:
    made = await post.sns("subscribe", TopicArn=topic, Protocol="sqs", Endpoint=QUEUE)
    arn = made["SubscriptionArn"]
    assert (await post.sns("subscribe", TopicArn=topic, Protocol="sqs", Endpoint=QUEUE))["SubscriptionArn"] == arn
    dead = json.dumps({"deadLetterTargetArn": f"{QUEUE}-dead"})
    changes = {"FilterPolicy": '{"a": [1]}', "RedrivePolicy": dead, "RawMessageDelivery": "true"}
    for name, value in changes.items():
        await post.sns("set_subscription_attributes", SubscriptionArn=arn, AttributeName=name, AttributeValue=value)
    shown = (await post.sns("get_subscription_attributes", SubscriptionArn=arn))["Attributes"]
    assert {name: shown[name] for name in changes} == changes
    assert (shown["FilterPolicyScope"], shown["PendingConfirmation"]) == ("MessageAttributes", "false")
    number = {"a": {"DataType": "Number", "StringValue": "1"}}
    await post.sns("publish", TopicArn=topic, Message="x", MessageAttributes=number)
    assert post.parcels[0].dead_letter_arn == f"{QUEUE}-dead"
    for _ in range(2):
        await post.sns("unsubscribe", SubscriptionArn=arn)
    assert (await post.sns("list_subscriptions"))["Subscriptions"] == []
    assert await post.sns.code("get_subscription_attributes", SubscriptionArn=arn) == ("NotFound", 404)


@pytest.mark.parametrize(
    ("protocol", "endpoint", "attributes"),
    [
        ("email", "a@example.test", {}),
        ("lambda", QUEUE, {}),
        ("sqs", FUNCTION, {}),
        ("sqs", f"{QUEUE}.fifo", {}),
        ("https", "http://example.test", {}),
        ("sqs", f"{QUEUE.rpartition(':')[0]}:hearth:functions", {}),
        ("lambda", FUNCTION, {"RawMessageDelivery": "true"}),
        ("sqs", QUEUE, {"FilterPolicy": '{"a": "b"}'}),
        ("sqs", QUEUE, {"FilterPolicy": '{"a": {"b": ["c"]}}'}),
        ("sqs", QUEUE, {"FilterPolicyScope": "Everything"}),
        ("sqs", QUEUE, {"RedrivePolicy": '{"deadLetterTargetArn": "x"}'}),
        ("sqs", QUEUE, {"DeliveryPolicy": '{"healthyRetryPolicy": {"numRetries": 3}}'}),
        ("http", "http://a.test", {"DeliveryPolicy": '{"healthyRetryPolicy": {"minDelayTarget": 3}}'}),
        ("http", "http://a.test", {"DeliveryPolicy": '{"healthyRetryPolicy": {"numRetries": 101}}'}),
        ("http", "http://a.test", {"DeliveryPolicy": "[]"}),
        ("http", "http://a.test", {"DeliveryPolicy": "[" * 100_000}),
        ("sqs", QUEUE, {"Nonsense": "1"}),
    ],
)
async def test_what_a_subscription_cannot_be_is_refused(
    post: Post, topic: str, protocol: str, endpoint: str, attributes: dict[str, str]
) -> None:
    code = await post.sns.code("subscribe", TopicArn=topic, Protocol=protocol, Endpoint=endpoint, Attributes=attributes)
    assert code == ("InvalidParameter", 400)
    assert post.book.subscriptions() == []


@pytest.mark.parametrize(
    "given",
    [
        {"Message": ""},
        {"Message": "x" * 262_145},
        {"Message": "x", "Subject": "y" * 101},
        {"Message": "x", "Subject": "two\nlines"},
        {"Message": "x", "MessageStructure": "json"},
        {"Message": '{"sqs": "x"}', "MessageStructure": "json"},
        {"Message": "x", "MessageStructure": "xml"},
        {"Message": "x", "MessageDeduplicationId": "1"},
    ],
)
async def test_what_cannot_be_published_is_refused(post: Post, topic: str, given: dict[str, Any]) -> None:
    assert await post.sns.code("publish", TopicArn=topic, **given) == ("InvalidParameter", 400)


@pytest.mark.parametrize(
    "attribute",
    [
        {"a": {"DataType": "Number", "StringValue": "one"}},
        {"a": {"DataType": "Text", "StringValue": "one"}},
        {"a": {"DataType": "String", "StringValue": ""}},
        {"a": {"DataType": "Binary", "StringValue": "one"}},
        {"aws.a": {"DataType": "String", "StringValue": "one"}},
    ],
)
async def test_what_cannot_be_an_attribute_is_an_invalid_value(post: Post, topic: str, attribute: Any) -> None:
    code = await post.sns.code("publish", TopicArn=topic, Message="x", MessageAttributes=attribute)
    assert code == ("ParameterValueInvalid", 400)


async def test_a_message_can_have_other_words_for_a_protocol(post: Post, topic: str) -> None:
    for protocol, endpoint in (("lambda", FUNCTION), ("sqs", QUEUE)):
        await post.sns("subscribe", TopicArn=topic, Protocol=protocol, Endpoint=endpoint)
    message = json.dumps({"default": "for all", "sqs": "for queues"})
    await post.sns("publish", TargetArn=topic, Message=message, MessageStructure="json")
    function, queue = post.bodies()
    assert (function["Records"][0]["Sns"]["Message"], queue["Message"]) == ("for all", "for queues")


async def test_a_message_that_is_not_kept_is_not_acknowledged(post: Post, topic: str) -> None:
    await post.sns("subscribe", TopicArn=topic, Protocol="sqs", Endpoint=QUEUE)
    post.courier.is_down = True
    code, status = await post.sns.code("publish", TopicArn=topic, Message="x")
    assert (code, status, post.parcels) == ("InternalError", 500, [])


async def test_a_batch_says_of_each_message_what_became_of_it(post: Post, topic: str) -> None:
    await post.sns("subscribe", TopicArn=topic, Protocol="sqs", Endpoint=QUEUE)
    entries = [{"Id": "a", "Message": "1"}, {"Id": "b", "Message": ""}, {"Id": "c", "Message": "3"}]
    answer = await post.sns("publish_batch", TopicArn=topic, PublishBatchRequestEntries=entries)
    assert [one["Id"] for one in answer["Successful"]] == ["a", "c"]
    assert [(one["Id"], one["Code"], one["SenderFault"]) for one in answer["Failed"]] == [
        ("b", "InvalidParameter", True)
    ]
    assert [body["Message"] for body in post.bodies()] == ["1", "3"]


@pytest.mark.parametrize(
    ("entries", "code"),
    [
        ([], "EmptyBatchRequest"),
        ([{"Id": str(number), "Message": "x"} for number in range(11)], "TooManyEntriesInBatchRequest"),
        ([{"Id": "a", "Message": "x"}] * 2, "BatchEntryIdsNotDistinct"),
        ([{"Id": "a b", "Message": "x"}], "InvalidBatchEntryId"),
    ],
)
async def test_a_batch_that_is_none_is_refused(post: Post, topic: str, entries: list[Any], code: str) -> None:
    found, _ = await post.sns.code("publish_batch", TopicArn=topic, PublishBatchRequestEntries=entries)
    assert found == code


async def test_a_fifo_topic_numbers_its_messages_and_takes_each_once(post: Post) -> None:
    attributes = {"FifoTopic": "true", "ContentBasedDeduplication": "true"}
    made = await post.sns("create_topic", Name="orders.fifo", Attributes=attributes)
    arn = made["TopicArn"]
    assert await post.sns.code("publish", TopicArn=arn, Message="x") == ("InvalidParameter", 400)
    await post.sns("subscribe", TopicArn=arn, Protocol="sqs", Endpoint=f"{QUEUE}.fifo")
    assert await post.sns.code("subscribe", TopicArn=arn, Protocol="lambda", Endpoint=FUNCTION) == (
        "InvalidParameter",
        400,
    )
    first = await post.sns("publish", TopicArn=arn, Message="a", MessageGroupId="g")
    again = await post.sns("publish", TopicArn=arn, Message="a", MessageGroupId="g")
    second = await post.sns("publish", TopicArn=arn, Message="b", MessageGroupId="g")
    assert first["MessageId"] == again["MessageId"] != second["MessageId"]
    assert first["SequenceNumber"] == again["SequenceNumber"] < second["SequenceNumber"]
    assert [(parcel.group_id, json.loads(parcel.body)["Message"]) for parcel in post.parcels] == [
        ("g", "a"),
        ("g", "b"),
    ]
    assert all(parcel.deduplication_id for parcel in post.parcels)


async def test_permissions_are_statements_of_the_topics_policy(post: Post, topic: str) -> None:
    await post.sns("add_permission", TopicArn=topic, Label="l", AWSAccountId=[ACCOUNT], ActionName=["Publish"])
    taken = await post.sns.code(
        "add_permission", TopicArn=topic, Label="l", AWSAccountId=[ACCOUNT], ActionName=["Publish"]
    )
    assert taken == ("InvalidParameter", 400)
    policy = json.loads((await post.sns("get_topic_attributes", TopicArn=topic))["Attributes"]["Policy"])
    assert [one["Sid"] for one in policy["Statement"]] == ["__default_statement_ID", "l"]
    await post.sns("remove_permission", TopicArn=topic, Label="l")
    assert await post.sns.code("remove_permission", TopicArn=topic, Label="l") == ("InvalidParameter", 400)


async def test_who_may_not_is_told_so_in_the_words_of_the_service(post: Post, topic: str) -> None:
    statement = {"Effect": "Allow", "Action": ["sns:Subscribe", "sns:Publish"], "Resource": f"{TOPIC}"}
    key = await post.house.add_user("bob", json.dumps({"Version": "2012-10-17", "Statement": [statement]}))
    bob = post.house.client("sns", key)
    await bob("publish", TopicArn=topic, Message="x")
    assert await bob.code("delete_topic", TopicArn=topic) == ("AuthorizationError", 403)
    assert await bob.code("publish", TopicArn=f"{topic}-other", Message="x") == ("AuthorizationError", 403)
    # Filling somebody's queue by way of a topic takes the right to fill the queue.
    assert await bob.code("subscribe", TopicArn=topic, Protocol="sqs", Endpoint=QUEUE) == ("AuthorizationError", 403)


async def test_the_password_in_an_endpoint_is_not_shown(post: Post, topic: str) -> None:
    secret, shown = "https://me:s3cr3t@example.test/p?a=b@c", "https://me:****@example.test/p?a=b@c"
    for endpoint in (secret, "https://example.test:443/p@q", "https://me@example.test/"):
        await post.sns("subscribe", TopicArn=topic, Protocol="https", Endpoint=endpoint)
    listed = [one["Endpoint"] for one in (await post.sns("list_subscriptions"))["Subscriptions"]]
    assert sorted(listed) == sorted([shown, "https://example.test:443/p@q", "https://me@example.test/"])
    assert post.courier.parcels[0].target == secret


async def test_what_a_queue_is_called_in_other_regions_leads_around_no_policy(post: Post, topic: str) -> None:
    statements = [
        {"Effect": "Allow", "Action": ["sns:*", "sqs:SendMessage"], "Resource": "*"},
        {"Effect": "Deny", "Action": "sqs:SendMessage", "Resource": QUEUE},
    ]
    key = await post.house.add_user("bob", json.dumps({"Version": "2012-10-17", "Statement": statements}))
    bob = post.house.client("sns", key)
    for name in (QUEUE, ":".join([*QUEUE.split(":")[:3], "eu-west-1", *QUEUE.split(":")[4:]])):
        refused = await bob.code("subscribe", TopicArn=topic, Protocol="sqs", Endpoint=name)
        assert refused == ("AuthorizationError", 403)
        redrive = {"RedrivePolicy": json.dumps({"deadLetterTargetArn": name})}
        refused = await bob.code("subscribe", TopicArn=topic, Protocol="sqs", Endpoint=f"{QUEUE}-2", Attributes=redrive)
        assert refused == ("AuthorizationError", 403)


async def test_a_topics_own_policy_lets_others_in(post: Post, topic: str) -> None:
    bob = post.house.client("sns", await post.house.add_user("bob"))
    assert await bob.code("publish", TopicArn=topic, Message="x") == ("AuthorizationError", 403)
    statement = {
        "Effect": "Allow",
        "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:user/bob"},
        "Action": "SNS:Publish",
        "Resource": topic,
    }
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    await post.sns("set_topic_attributes", TopicArn=topic, AttributeName="Policy", AttributeValue=policy)
    await bob("publish", TopicArn=topic, Message="x")


async def test_an_arn_that_is_none_is_an_invalid_parameter(post: Post) -> None:
    error = await post.sns.error("publish", TopicArn="nonsense", Message="x")
    assert "An ARN must have at least 6 elements, not 1" in str(error)
    assert await post.sns.code("publish", Message="x") == ("InvalidParameter", 400)
    assert await post.sns.code("publish", PhoneNumber="+15550100", Message="x") == ("InvalidParameter", 400)
