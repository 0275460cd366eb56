"""SNS's operations on topics: making, changing and listing them, their tags and their policies.

Every operation that changes something reads, decides and writes with the book's lock held.
Source: Amazon SNS API reference; the texts of errors are the service's.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from hearth_gateway.core import topics
from hearth_gateway.core.topics import InvalidTopicParameter, Topic
from hearth_gateway.neighbours import sns_answers as answers
from hearth_gateway.neighbours.calls import Call, CallerError, Handler, Members
from hearth_gateway.neighbours.iam_answers import tag_conditions, tag_list
from hearth_gateway.neighbours.sns_answers import Desk

MAX_TAGS = 50
_ACCOUNT = re.compile(r"\d{12}", re.ASCII)
_PERMITTED = frozenset(
    {
        *("Publish", "Subscribe", "Receive", "GetTopicAttributes", "SetTopicAttributes", "AddPermission"),
        *("RemovePermission", "DeleteTopic", "ListSubscriptionsByTopic"),
    }
)


class TopicOperations:
    """The operations on topics."""

    def __init__(self, desk: Desk, now_ms: Callable[[], int]) -> None:
        self._desk = desk
        self._book = desk.book
        self._now_ms = now_ms

    def handlers(self) -> Mapping[str, Handler]:
        return {
            "CreateTopic": self._create,
            "DeleteTopic": self._delete,
            "ListTopics": self._list,
            "GetTopicAttributes": self._get_attributes,
            "SetTopicAttributes": self._set_attributes,
            "TagResource": self._tag,
            "UntagResource": self._untag,
            "ListTagsForResource": self._list_tags,
            "AddPermission": self._add_permission,
            "RemovePermission": self._remove_permission,
        }

    async def _create(self, call: Call) -> Members:
        name = call["Name"]
        call.allow("sns:CreateTopic", self._desk.arn(name), tag_conditions(call))
        topics.check_name(name)
        if call.get("DataProtectionPolicy"):
            raise InvalidTopicParameter("DataProtectionPolicy Reason: is not available on this platform")
        attributes = topics.topic_attributes(name, call.get("Attributes", {}))
        tags = _tags_given(call, {})
        async with self._book.changing:
            known = self._book.find(name)
            if known is None:
                await self._book.put(Topic(name, self._desk.arn(name), self._now_ms(), attributes, tags))
            elif any(known.attributes.get(key) != value for key, value in attributes.items()):
                raise InvalidTopicParameter("Attributes Reason: Topic already exists with different attributes")
            elif call.get("Tags") and dict(known.tags) != tags:
                raise InvalidTopicParameter("Tags Reason: Topic already exists with different tags")
        return {"TopicArn": self._desk.arn(name)}

    async def _delete(self, call: Call) -> Members:
        """One that is not there is deleted as well."""
        async with self._book.changing:
            try:
                await self._book.remove(self._desk.topic(call, "DeleteTopic"))
            except topics.TopicNotFound:
                return {}
        return {}

    async def _list(self, call: Call) -> Members:
        call.allow("sns:ListTopics", "*")
        found = [(topic.name, topic) for topic in self._book.topics()]
        return answers.page(call, "Topics", found, lambda topic: {"TopicArn": topic.arn})

    async def _get_attributes(self, call: Call) -> Members:
        topic = self._desk.topic(call, "GetTopicAttributes")
        subscriptions = self._book.subscriptions(topic.arn)
        return {"Attributes": answers.topic_attributes(topic, self._desk.account, subscriptions)}

    async def _set_attributes(self, call: Call) -> Members:
        async with self._book.changing:
            topic = self._desk.topic(call, "SetTopicAttributes")
            attributes = topics.with_topic_attribute(
                topic.attributes, call["AttributeName"], call.get("AttributeValue", ""), is_fifo=topic.is_fifo
            )
            await self._book.put(replace(topic, attributes=attributes))
        return {}

    async def _tag(self, call: Call) -> Members:
        async with self._book.changing:
            topic = self._tagged(call, "TagResource")
            await self._book.put(replace(topic, tags=_tags_given(call, topic.tags)))
        return {}

    async def _untag(self, call: Call) -> Members:
        gone = frozenset(call["TagKeys"])
        async with self._book.changing:
            topic = self._tagged(call, "UntagResource")
            await self._book.put(replace(topic, tags={key: topic.tags[key] for key in topic.tags if key not in gone}))
        return {}

    async def _list_tags(self, call: Call) -> Members:
        return {"Tags": tag_list(self._tagged(call, "ListTagsForResource").tags)}

    def _tagged(self, call: Call, operation: str) -> Topic:
        """These operations have a name of their own for what is not there."""
        try:
            return self._desk.topic(call, operation, "ResourceArn")
        except topics.TopicNotFound as error:
            raise CallerError("ResourceNotFound", "Resource does not exist", 404) from error

    async def _add_permission(self, call: Call) -> Members:
        label, actions, accounts = call["Label"], call["ActionName"], call["AWSAccountId"]
        if unknown := [one for one in actions if one not in _PERMITTED and one != "*"]:
            raise InvalidTopicParameter(f"Policy statement action out of service scope! {unknown[0]}")
        if not all(map(_ACCOUNT.fullmatch, accounts)):
            raise InvalidTopicParameter("AWSAccountId")
        async with self._book.changing:
            topic = self._desk.topic(call, "AddPermission")
            policy = _policy(topic, self._desk.account)
            if any(statement.get("Sid") == label for statement in policy["Statement"]):
                raise InvalidTopicParameter("Statement already exists")
            policy["Statement"].append(
                {
                    "Sid": label,
                    "Effect": "Allow",
                    "Principal": {"AWS": [f"arn:aws:iam::{account}:root" for account in accounts]},
                    "Action": [f"SNS:{action}" for action in actions],
                    "Resource": topic.arn,
                }
            )
            await self._put_policy(topic, policy)
        return {}

    async def _remove_permission(self, call: Call) -> Members:
        async with self._book.changing:
            topic = self._desk.topic(call, "RemovePermission")
            policy = _policy(topic, self._desk.account)
            left = [statement for statement in policy["Statement"] if statement.get("Sid") != call["Label"]]
            if len(left) == len(policy["Statement"]):
                raise InvalidTopicParameter("Statement does not exist")
            await self._put_policy(topic, {**policy, "Statement": left} if left else None)
        return {}

    async def _put_policy(self, topic: Topic, policy: Mapping[str, Any] | None) -> None:
        text = "" if policy is None else json.dumps(policy, separators=(",", ":"))
        attributes = topics.with_topic_attribute(topic.attributes, "Policy", text, is_fifo=topic.is_fifo)
        await self._book.put(replace(topic, attributes=attributes))


def _policy(topic: Topic, account: str) -> dict[str, Any]:
    """The topic's policy, to be changed; statements are a list in it."""
    policy = answers.default_policy(topic, account) if topic.policy is None else json.loads(topic.policy)
    statements = policy["Statement"]
    return {**policy, "Statement": list(statements) if isinstance(statements, list) else [statements]}


def _tags_given(call: Call, before: Mapping[str, str]) -> dict[str, str]:
    tags = {**before, **{tag["Key"]: tag["Value"] for tag in call.get("Tags", ())}}
    if any(key.lower().startswith("aws:") for key in tags):
        raise InvalidTopicParameter("Tag keys beginning with aws: are reserved")
    if len(tags) > MAX_TAGS:
        raise CallerError("TagLimitExceeded", f"Could not complete request: tag quota of {MAX_TAGS} per resource")
    return tags
