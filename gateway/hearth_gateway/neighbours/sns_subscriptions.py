"""SNS's operations on subscriptions.

Rule 1: functions and queues are subscribed at once; an HTTP endpoint gets messages once it has repeated the token that
it is sent.
Rule 2: who subscribes a queue, or names one for dead letters, needs the right to fill it. Functions decide by their own
policy, when a message comes.
Source: Amazon SNS API reference; the texts of errors are the service's.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from hearth_gateway.asynchronous.ports import Courier
from hearth_gateway.core import topics
from hearth_gateway.core.addresses import served
from hearth_gateway.core.topic_messages import Seal, confirmation
from hearth_gateway.core.topics import HTTP, HTTPS, SQS, InvalidTopicParameter, Subscription, Topic
from hearth_gateway.neighbours import sns_answers as answers
from hearth_gateway.neighbours.calls import Call, Handler, Members
from hearth_gateway.neighbours.sns_answers import Desk
from hearth_gateway.topics.links import confirmed


class SubscriptionOperations:
    """The operations on subscriptions. `new_id` gives a fresh UUID, `new_token` a secret."""

    def __init__(
        self,
        desk: Desk,
        courier: Courier,
        seal: Seal,
        now_ms: Callable[[], int],
        *,
        new_id: Callable[[], str],
        new_token: Callable[[], str],
    ) -> None:
        self._desk = desk
        self._book = desk.book
        self._courier = courier
        self._seal = seal
        self._now_ms = now_ms
        self._new_id = new_id
        self._new_token = new_token

    def handlers(self) -> Mapping[str, Handler]:
        return {
            "Subscribe": self._subscribe,
            "ConfirmSubscription": self._confirm,
            "Unsubscribe": self._unsubscribe,
            "ListSubscriptions": self._list,
            "ListSubscriptionsByTopic": self._list_by_topic,
            "GetSubscriptionAttributes": self._get_attributes,
            "SetSubscriptionAttributes": self._set_attributes,
        }

    async def _subscribe(self, call: Call) -> Members:
        protocol, endpoint = call["Protocol"], call.get("Endpoint", "")
        await self._book.sweep(self._now_ms())
        async with self._book.changing:
            conditions = {"sns:Protocol": protocol, "sns:Endpoint": endpoint}
            topic = self._desk.topic_of(call, "Subscribe", call["TopicArn"], conditions=conditions)
            topics.check_endpoint(topic, protocol, endpoint)
            attributes = topics.subscription_attributes(call.get("Attributes", {}), protocol)
            self._check_queues(call, protocol, endpoint, attributes)
            found = self._known(topic, protocol, endpoint)
            if found is None:
                found = self._new(call, topic, attributes)
                await self._book.put(found)
            elif call.get("Attributes") and dict(found.attributes) != attributes:
                raise InvalidTopicParameter("Attributes Reason: Subscription already exists with different attributes")
        if found.is_pending:
            # The endpoint is asked again each time that somebody subscribes it.
            question = confirmation(topic, found, self._new_id(), self._now_ms(), seal=self._seal)
            await self._courier.post([question])
        is_secret = found.is_pending and not call.get("ReturnSubscriptionArn")
        return {"SubscriptionArn": "pending confirmation" if is_secret else found.arn}

    def _known(self, topic: Topic, protocol: str, endpoint: str) -> Subscription | None:
        each = self._book.subscriptions(topic.arn)
        return next((one for one in each if (one.protocol, one.endpoint) == (protocol, endpoint)), None)

    def _new(self, call: Call, topic: Topic, attributes: Mapping[str, str]) -> Subscription:
        protocol = call["Protocol"]
        return Subscription(
            f"{topic.arn}:{self._new_id()}",
            topic.arn,
            protocol,
            call["Endpoint"],
            call.principal.account,
            self._now_ms(),
            attributes,
            token=self._new_token() if protocol in (HTTP, HTTPS) else "",
        )

    async def _confirm(self, call: Call) -> Members:
        topic = self._desk.topic(call, "ConfirmSubscription")
        needs_signature = call.get("AuthenticateOnUnsubscribe", "").lower() == "true"
        found = await confirmed(
            self._book, topic.arn, call["Token"], self._now_ms(), needs_signature_to_end=needs_signature
        )
        return {"SubscriptionArn": found.arn}

    async def _unsubscribe(self, call: Call) -> Members:
        """One that is not there is ended as well."""
        async with self._book.changing:
            try:
                _, found = self._desk.subscription(call, "Unsubscribe")
            except topics.TopicNotFound:
                return {}
            await self._book.remove(found)
        return {}

    async def _list(self, call: Call) -> Members:
        call.allow("sns:ListSubscriptions", "*")
        return self._page(call, self._book.subscriptions())

    async def _list_by_topic(self, call: Call) -> Members:
        topic = self._desk.topic(call, "ListSubscriptionsByTopic")
        return self._page(call, self._book.subscriptions(topic.arn))

    def _page(self, call: Call, found: Sequence[Subscription]) -> Members:
        keyed = sorted((f"{one.created_ms:015} {one.arn}", one) for one in found)
        return answers.page(call, "Subscriptions", keyed, answers.subscription_members)

    async def _get_attributes(self, call: Call) -> Members:
        _, found = self._desk.subscription(call, "GetSubscriptionAttributes")
        return {"Attributes": answers.subscription_attributes(found)}

    async def _set_attributes(self, call: Call) -> Members:
        async with self._book.changing:
            _, found = self._desk.subscription(call, "SetSubscriptionAttributes")
            name, value = call["AttributeName"], call.get("AttributeValue", "")
            attributes = topics.with_subscription_attribute(found.attributes, name, value, protocol=found.protocol)
            topics.filter_of(attributes)
            changed = replace(found, attributes=attributes)
            if name == "RedrivePolicy" and changed.dead_letter_arn is not None:
                self._allow_sending(call, changed.dead_letter_arn)
            await self._book.put(changed)
        return {}

    def _check_queues(self, call: Call, protocol: str, endpoint: str, attributes: Mapping[str, str]) -> None:
        dead_letter = Subscription("", "", protocol, endpoint, "", 0, attributes).dead_letter_arn
        for queue in ((endpoint,) if protocol == SQS else ()) + ((dead_letter,) if dead_letter else ()):
            self._allow_sending(call, queue)

    def _allow_sending(self, call: Call, queue: str) -> None:
        call.allow("sqs:SendMessage", served(queue, self._desk.region, self._desk.account))
