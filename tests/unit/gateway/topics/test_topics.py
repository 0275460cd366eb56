"""Topics across restarts and failures, and the links in what they send."""

import json
from collections.abc import Sequence
from urllib.parse import urlsplit

import pytest

from hearth.core.errors import AccessDenied, HearthError, ServiceError, UnknownOperation
from hearth.testing import InMemoryStore
from hearth_gateway.asynchronous.testing import RecordingCourier
from hearth_gateway.core.http_event import HttpRequest
from hearth_gateway.core.parcel import Attribute, Parcel
from hearth_gateway.core.topic_messages import confirmation
from hearth_gateway.core.topics import Subscription, Topic, TopicNotFound
from hearth_gateway.topics.book import TopicBook
from hearth_gateway.topics.links import TopicLinks, confirmed
from hearth_gateway.topics.ports import Publication
from hearth_gateway.topics.publisher import STEP_BYTES, TopicPublisher
from hearth_gateway.topics.testing import InMemoryDeduplication, plain_seal

ARN = "arn:aws:sns:us-east-1:000000000000:t"
QUEUE = "arn:aws:sqs:us-east-1:000000000000:q"
TOPIC = Topic("t", ARN, 0)
FIFO = Topic("f.fifo", f"{ARN}.fifo", 0)
IN_FIFO = Subscription(f"{FIFO.arn}:1", FIFO.arn, "sqs", QUEUE, "0", 0)
IN_QUEUE = Subscription(f"{ARN}:1", ARN, "sqs", QUEUE, "0", 0, {"FilterPolicy": '{"a": ["b"]}'})
PENDING = Subscription(f"{ARN}:2", ARN, "http", "http://a.test/", "0", 0, token="secret")


async def opened(store: InMemoryStore) -> TopicBook:
    book = TopicBook(store)
    await book.load()
    return book


async def test_everything_is_there_after_a_restart() -> None:
    store = InMemoryStore()
    book = await opened(store)
    for record in (TOPIC, IN_QUEUE, PENDING):
        await book.put(record)
    store.records["topic:broken"] = b"{"
    again = await opened(store)
    assert again.topics() == [TOPIC]
    assert again.subscriptions() == [IN_QUEUE, PENDING]
    assert not again.accepts(IN_QUEUE, {"a": Attribute("String", "c")}, "")


async def test_a_change_that_is_not_stored_is_none() -> None:
    store = InMemoryStore()
    book = await opened(store)
    store.fail_next = True
    with pytest.raises(ServiceError):
        await book.put(TOPIC)
    with pytest.raises(TopicNotFound):
        book.topic("t")


async def test_a_deleted_topic_takes_its_subscriptions_along() -> None:
    store = InMemoryStore()
    book = await opened(store)
    await book.put(TOPIC)
    await book.put(IN_QUEUE)
    await book.remove(TOPIC)
    assert (store.records, book.subscriptions()) == ({}, [])


async def test_what_nobody_confirms_in_three_days_is_forgotten() -> None:
    book = await opened(InMemoryStore())
    await book.put(PENDING)
    await book.sweep(3 * 86_400_000)
    assert book.subscriptions() == [PENDING]
    await book.sweep(3 * 86_400_000 + 1)
    assert book.subscriptions() == []


async def test_publishing_again_under_the_same_id_makes_the_same_deliveries() -> None:
    book, courier = await opened(InMemoryStore()), RecordingCourier()
    await book.put(TOPIC)
    await book.put(Subscription(f"{ARN}:1", ARN, "sqs", QUEUE, "0", 0))
    publisher = TopicPublisher(book, courier, InMemoryDeduplication(lambda: 0), plain_seal())
    for _ in range(2):
        await publisher.publish("t", Publication("m", "hello", 0))
    assert len(courier.parcels) == 1


class CountingCourier(RecordingCourier):
    """Also knows how much it was given at once."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: list[int] = []

    async def post(self, parcels: Sequence[Parcel]) -> None:
        await super().post(parcels)
        self.sizes.append(sum(len(parcel.body) for parcel in parcels))


async def test_a_message_for_very_many_is_kept_in_steps_of_bounded_size() -> None:
    book, courier = await opened(InMemoryStore()), CountingCourier()
    await book.put(TOPIC)
    for number in range(150):
        await book.put(Subscription(f"{ARN}:{number}", ARN, "sqs", QUEUE, "0", 0))
    publisher = TopicPublisher(book, courier, InMemoryDeduplication(lambda: 0), plain_seal())
    await publisher.publish("t", Publication("m", "x" * 250_000, 0))
    assert len({parcel.id for parcel in courier.parcels}) == 150
    assert len(courier.sizes) > 1
    assert max(courier.sizes) < STEP_BYTES + 262_144


async def test_a_fifo_message_that_was_not_kept_is_neither_lost_nor_doubled_when_it_is_repeated() -> None:
    book, courier = await opened(InMemoryStore()), RecordingCourier()
    await book.put(FIFO)
    await book.put(IN_FIFO)
    publisher = TopicPublisher(book, courier, InMemoryDeduplication(lambda: 0), plain_seal())
    courier.is_down = True
    with pytest.raises(ServiceError):
        await publisher.publish("f.fifo", Publication("m1", "x", 0, group_id="g", deduplication_id="d"))
    courier.is_down = False
    for identity in ("m2", "m3"):
        told = await publisher.publish("f.fifo", Publication(identity, "x", 0, group_id="g", deduplication_id="d"))
        assert told.message_id == "m1"
        ids = [json.loads(parcel.body)["MessageId"] for parcel in courier.parcels]
        assert ids == (["m1"] if identity == "m2" else [])
        courier.parcels.clear()  # it is delivered


async def test_groups_share_deduplication_ids_only_where_the_topic_says_so() -> None:
    book, courier = await opened(InMemoryStore()), RecordingCourier()
    publisher = TopicPublisher(book, courier, InMemoryDeduplication(lambda: 0), plain_seal())
    for scope, expected in (("Topic", 1), ("MessageGroup", 2)):
        topic = Topic(f"{scope}.fifo", f"{ARN}-{scope}", 0, {"FifoThroughputScope": scope})
        await book.put(topic)
        told = {
            (
                await publisher.publish(topic.name, Publication(group, "x", 0, group_id=group, deduplication_id="d"))
            ).message_id
            for group in ("a", "b")
        }
        assert len(told) == expected


def asked(url: str, method: str = "GET") -> HttpRequest:
    parts = urlsplit(url)
    return HttpRequest(method, parts.path, parts.query, (), b"", "192.0.2.1")


async def test_the_link_of_a_confirmation_confirms_once() -> None:
    book = await opened(InMemoryStore())
    await book.put(TOPIC)
    await book.put(PENDING)
    links = TopicLinks(book, b"certificate", lambda: 0)
    body = json.loads(confirmation(TOPIC, PENDING, "id", 0, seal=plain_seal()).body)
    answer = await links.respond(asked(body["SubscribeURL"]), "r")
    assert PENDING.arn.encode() in answer.body
    assert not book.subscriptions(ARN)[0].is_pending
    with pytest.raises(HearthError):
        await links.respond(asked(body["SubscribeURL"]), "r")


async def test_a_token_that_is_too_old_or_of_another_confirms_nothing() -> None:
    book = await opened(InMemoryStore())
    await book.put(PENDING)
    for token, now_ms in (("secret", 3 * 86_400_000 + 1), ("other", 0), ("", 0)):
        with pytest.raises(HearthError):
            await confirmed(book, ARN, token, now_ms)
    assert (await confirmed(book, ARN, "secret", 3 * 86_400_000)).arn == PENDING.arn


async def test_the_link_of_a_notification_ends_the_subscription_unless_that_takes_a_signature() -> None:
    book = await opened(InMemoryStore())
    links = TopicLinks(book, b"certificate", lambda: 0)
    url = plain_seal().unsubscribe_url(PENDING.arn)
    await book.put(PENDING)
    await confirmed(book, ARN, "secret", 0, needs_signature_to_end=True)
    with pytest.raises(AccessDenied):
        await links.respond(asked(url), "r")
    await book.put(PENDING)
    for _ in range(2):
        assert (await links.respond(asked(url), "r")).status == 200
    assert book.subscriptions() == []


async def test_everybody_may_have_the_certificate_and_nothing_else_is_there() -> None:
    links = TopicLinks(await opened(InMemoryStore()), b"certificate", lambda: 0)
    assert (await links.respond(asked("/sns/certificate.pem"), "r")).body == b"certificate"
    with pytest.raises(UnknownOperation):
        await links.respond(asked("/sns/certificate.pem", "POST"), "r")
