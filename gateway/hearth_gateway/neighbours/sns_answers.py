"""What the operations of SNS share: the ARNs they are asked with, pages, policies, and how things are shown.

Source: data types and errors in the Amazon SNS API reference.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from hearth.core.policy import PolicyDocument, parse_policy
from hearth_gateway.core.authorization import resource_tags
from hearth_gateway.core.paging import Item, page_of
from hearth_gateway.core.topics import HTTP, HTTPS, PENDING, InvalidTopicParameter, Subscription, Topic, TopicNotFound
from hearth_gateway.neighbours.calls import Call, Members
from hearth_gateway.neighbours.query_protocol import Entries
from hearth_gateway.topics.book import TopicBook

PAGE = 100
_ARN_PARTS = 6
_PASSWORD = re.compile(r"(?P<before>^[a-z]+://[^/?#:@]*:)[^/?#]*@")
_DEFAULT_ACTIONS = (
    *("SNS:GetTopicAttributes", "SNS:SetTopicAttributes", "SNS:AddPermission", "SNS:RemovePermission"),
    *("SNS:DeleteTopic", "SNS:Subscribe", "SNS:ListSubscriptionsByTopic", "SNS:Publish"),
)


class Desk:
    """Finds what a request names, once the caller may do there what it asks."""

    def __init__(self, book: TopicBook, region: str, account: str) -> None:
        self.book = book
        self.region = region
        self.account = account

    def arn(self, name: str) -> str:
        return f"arn:aws:sns:{self.region}:{self.account}:{name}"

    def topic(self, call: Call, operation: str, member: str = "TopicArn", **conditions: str) -> Topic:
        """The topic that the request names. Who may not is told that, whether or not there is such a topic."""
        return self.topic_of(call, operation, call.get(member) or "", member=member, conditions=conditions)

    def topic_of(
        self,
        call: Call,
        operation: str,
        arn: str,
        *,
        member: str = "TopicArn",
        conditions: Mapping[str, str] | None = None,
    ) -> Topic:
        name = topic_name(arn, member)
        topic = self.book.find(name)
        tags = {} if topic is None else resource_tags(topic.tags)
        policy = None if topic is None else policy_of(topic)
        call.allow(f"sns:{operation}", self.arn(name), {**tags, **(conditions or {})}, policy=policy)
        if topic is None:
            raise TopicNotFound
        return topic

    def subscription(self, call: Call, operation: str) -> tuple[Topic, Subscription]:
        """The subscription that the request names, and its topic."""
        arn = call.get("SubscriptionArn") or ""
        _check_arn(arn, "SubscriptionArn")
        topic_arn, _, identity = arn.rpartition(":")
        topic = self.topic_of(call, operation, topic_arn, member="SubscriptionArn")
        found = self.book.subscription(f"{topic.arn}:{identity}")
        if found is None:
            raise TopicNotFound("Subscription")
        return topic, found


def topic_name(arn: str, member: str = "TopicArn") -> str:
    """The name in a topic's ARN; every region means this platform."""
    _check_arn(arn, member)
    partition, service, name = arn.split(":")[1], arn.split(":")[2], arn.split(":", 5)[5]
    if partition != "aws" or service != "sns" or ":" in name or not name:
        raise InvalidTopicParameter(member)
    return name


def _check_arn(arn: str, member: str) -> None:
    if not arn:
        raise InvalidTopicParameter(f"{member} Reason: no value for required parameter")
    parts = len(arn.split(":"))
    if parts < _ARN_PARTS or not arn.startswith("arn:"):
        raise InvalidTopicParameter(f"{member} Reason: An ARN must have at least {_ARN_PARTS} elements, not {parts}")


def policy_of(topic: Topic) -> PolicyDocument | None:
    """The topic's own policy, if somebody gave it one."""
    return None if topic.policy is None else parse_policy(topic.policy)


def default_policy(topic: Topic, account: str) -> dict[str, Any]:
    """What topics without a policy show: their owner may do everything."""
    statement = {
        "Sid": "__default_statement_ID",
        "Effect": "Allow",
        "Principal": {"AWS": "*"},
        "Action": list(_DEFAULT_ACTIONS),
        "Resource": topic.arn,
        "Condition": {"StringEquals": {"AWS:SourceOwner": account}},
    }
    return {"Version": "2008-10-17", "Id": "__default_policy_ID", "Statement": [statement]}


def topic_attributes(topic: Topic, account: str, subscriptions: Sequence[Subscription]) -> Entries:
    pending = sum(one.is_pending for one in subscriptions)
    shown = Entries(
        TopicArn=topic.arn,
        Owner=account,
        Policy=json.dumps(default_policy(topic, account), separators=(",", ":")),
        DisplayName="",
        SubscriptionsConfirmed=str(len(subscriptions) - pending),
        SubscriptionsPending=str(pending),
        SubscriptionsDeleted="0",
    )
    if topic.is_fifo:
        shown |= {"FifoTopic": "true", "ContentBasedDeduplication": "false", "FifoThroughputScope": "Topic"}
    shown |= topic.attributes
    return shown


def subscription_attributes(subscription: Subscription) -> Entries:
    shown = Entries(
        SubscriptionArn=subscription.arn,
        TopicArn=subscription.topic_arn,
        Protocol=subscription.protocol,
        Endpoint=_shown_endpoint(subscription),
        Owner=subscription.owner,
        ConfirmationWasAuthenticated=_flag(subscription.protocol not in (HTTP, HTTPS)),
        PendingConfirmation=_flag(subscription.is_pending),
        RawMessageDelivery="false",
    )
    if "FilterPolicy" in subscription.attributes:
        shown["FilterPolicyScope"] = "MessageAttributes"
    shown |= subscription.attributes
    return shown


def subscription_members(subscription: Subscription) -> Members:
    """A subscription in lists."""
    return {
        "SubscriptionArn": PENDING if subscription.is_pending else subscription.arn,
        "Owner": subscription.owner,
        "Protocol": subscription.protocol,
        "Endpoint": _shown_endpoint(subscription),
        "TopicArn": subscription.topic_arn,
    }


def _shown_endpoint(subscription: Subscription) -> str:
    """Without the password that a URL may have: the service shows asterisks there, and so its clients know it."""
    if subscription.protocol not in (HTTP, HTTPS):
        return subscription.endpoint
    return _PASSWORD.sub(r"\g<before>****@", subscription.endpoint, count=1)


def page(call: Call, name: str, found: Sequence[tuple[str, Item]], show: Callable[[Item], object]) -> Members:
    """One page of a list whose items are in the order of their keys."""
    try:
        items, following = page_of(found, call.get("NextToken"), PAGE)
    except ValueError as error:
        raise InvalidTopicParameter("NextToken") from error
    members: dict[str, Any] = {name: [show(item) for item in items]}
    return members if following is None else {**members, "NextToken": following}


def _flag(value: bool) -> str:
    return "true" if value else "false"
