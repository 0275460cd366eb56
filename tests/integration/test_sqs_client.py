"""The client of any other SQS against real servers: Hearth's own endpoint, and one that somebody else wrote."""

import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.unit.gateway.neighbours.house import ACCOUNT, ADMIN, REGION, house

from hearth.connections import ConnectionBook
from hearth.sealing import Sealer
from hearth.testing import InMemoryStore
from hearth_gateway.adapters.other_sqs import OtherSqs
from hearth_gateway.adapters.sqs_client import SqsClient, SqsPlace
from hearth_gateway.asynchronous.ports import TargetRefused, TargetUnavailable
from hearth_gateway.core.addresses import QueueAddress
from hearth_gateway.core.authorization import Place
from hearth_gateway.core.parcel import Attribute, Parcel
from hearth_gateway.neighbours.sqs_composition import sqs_service
from hearth_gateway.neighbours.sqs_target import QueueTarget
from hearth_gateway.queues.testing import MemoryQueueBook, MemoryQueueStore
from hearth_gateway.sources.ports import QueueUnavailable, SystemClock
from hearth_gateway.sources.sqs_ports import SqsLetter, SqsRefused

CLOCK = SystemClock()


@asynccontextmanager
async def _hearth(folder: Path) -> AsyncIterator[str]:
    """Hearth's SQS over queues in memory; where it listens."""
    book = MemoryQueueBook()
    store = MemoryQueueStore(CLOCK, book)
    async with (
        sqs_service(Place(REGION, ACCOUNT), book, store, InMemoryStore(), clock=CLOCK) as service,
        house(folder, {"sqs": service}) as opened,
    ):
        yield f"http://127.0.0.1:{opened.port}"


@pytest.fixture(scope="module")
def moto() -> Iterator[str]:
    """Where moto's server listens."""
    code = (
        "import sys; from moto.server import ThreadedMotoServer; "
        "server = ThreadedMotoServer('127.0.0.1', port=0, verbose=False); server.start(); "
        "print(server.get_host_and_port()[1], flush=True); sys.stdin.read(); server.stop()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        process.kill()


@pytest.fixture(params=["hearth", "moto"])
async def endpoint(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[str]:
    if request.param == "moto":
        yield request.getfixturevalue("moto")
        return
    async with _hearth(tmp_path) as address:
        yield address


@pytest.fixture
async def client(endpoint: str) -> AsyncIterator[SqsClient]:
    made = SqsClient(SqsPlace(endpoint, REGION, ADMIN, "secret"), CLOCK)
    yield made
    await made.close()


async def create(client: SqsClient, name: str, **attributes: str) -> None:
    await client._ask("CreateQueue", {"QueueName": name, "Attributes": attributes})


async def test_what_is_sent_is_received_with_all_it_has(client: SqsClient) -> None:
    await create(client, "everything")
    attributes = {"t": Attribute("String", "ä"), "n": Attribute("Number", "7"), "b": Attribute("Binary", b"\x00\xff")}
    identity = await client.send("everything", SqsLetter("hällo", attributes))
    (message,) = await client.receive("everything", 10, wait_s=1, visibility_s=30)
    assert (message.id, message.body, message.receive_count) == (identity, "hällo", 1)
    assert message.attributes == attributes
    assert "SentTimestamp" in message.system


async def test_what_is_deleted_is_gone_and_what_is_hidden_comes_back(client: SqsClient) -> None:
    await create(client, "fates")
    for text in ("a", "b"):
        await client.send("fates", SqsLetter(text))
    received = list(await client.receive("fates", 10, wait_s=1, visibility_s=60))
    received += await client.receive("fates", 10, wait_s=0, visibility_s=60) if len(received) < 2 else ()
    by_body = {message.body: message for message in received}
    assert await client.delete("fates", [by_body["a"].receipt]) == []
    assert await client.change_visibility("fates", {by_body["b"].receipt: 0}) == []
    (again,) = await client.receive("fates", 10, wait_s=2, visibility_s=60)
    assert (again.body, again.receive_count) == ("b", 2)


async def test_more_than_ten_are_deleted_in_batches(client: SqsClient) -> None:
    await create(client, "many")
    for number in range(12):
        await client.send("many", SqsLetter(str(number)))
    received: list[Any] = []
    while len(received) < 12:
        received += await client.receive("many", 10, wait_s=1, visibility_s=60)
    assert await client.delete("many", [message.receipt for message in received]) == []
    assert list(await client.receive("many", 10, wait_s=0, visibility_s=0)) == []


async def test_the_queue_tells_its_visibility_timeout(client: SqsClient) -> None:
    await create(client, "told", VisibilityTimeout="77")
    assert await client.visibility_s("told") == 77


async def test_a_queue_that_is_not_there_is_a_refusal_for_good(client: SqsClient) -> None:
    with pytest.raises(SqsRefused) as refused:
        await client.receive("none", 1, wait_s=0, visibility_s=1)
    assert refused.value.is_final
    assert refused.value.code in ("QueueDoesNotExist", "AWS.SimpleQueueService.NonExistentQueue")


async def test_a_fifo_queue_gets_group_and_token(client: SqsClient) -> None:
    await create(client, "order.fifo", FifoQueue="true")
    letter = SqsLetter("a", group_id="g", deduplication_id="d")
    await client.send("order.fifo", letter)
    await client.send("order.fifo", letter)
    (message,) = await client.receive("order.fifo", 10, wait_s=1, visibility_s=30)
    assert message.system["MessageGroupId"] == "g"


async def test_parcels_reach_queues_of_another_sqs(client: SqsClient) -> None:
    await create(client, "parcels")
    target = QueueTarget(MemoryQueueStore(CLOCK), lambda address: client if address.connection else None)
    arn = f"arn:hearth:sqs:{REGION}:{ACCOUNT}:other/"
    await target.deliver(Parcel("p-1", f"{arn}parcels", b"\xff", 0, attributes={"a": Attribute("String", "b")}))
    (message,) = await client.receive("parcels", 10, wait_s=1, visibility_s=30)
    assert (message.body, message.attributes["hearth.encoding"].value) == ("/w==", "base64")
    with pytest.raises(TargetRefused):
        await target.deliver(Parcel("p-2", f"{arn}none", b"x", 0))


async def test_parcels_for_queues_of_our_own_keep_their_attributes() -> None:
    store = MemoryQueueStore(CLOCK)
    target = QueueTarget(store, lambda address: None)
    parcel = Parcel(
        "p-1", f"arn:aws:sqs:{REGION}:{ACCOUNT}:own.fifo", b"x", 0, attributes={"a": Attribute("String", "b")}
    )
    await target.deliver(parcel)
    await target.deliver(parcel)
    (peeked,) = await store.peek("own.fifo")
    assert (peeked.envelope.id, peeked.envelope.body) == ("p-1", b"x")
    assert peeked.envelope.head.attributes == {"a": Attribute("String", "b")}


async def test_nobody_at_the_other_end_is_no_refusal() -> None:
    client = SqsClient(SqsPlace("http://127.0.0.1:1", REGION, "k", "s"), CLOCK)
    try:
        with pytest.raises(QueueUnavailable) as away:
            await client.visibility_s("q")
        assert not isinstance(away.value, SqsRefused)
        target = QueueTarget(MemoryQueueStore(CLOCK), lambda address: client)
        with pytest.raises(TargetUnavailable):
            await target.deliver(Parcel("p", f"arn:aws:sqs:{REGION}:{ACCOUNT}:q", b"x", 0))
    finally:
        await client.close()


async def test_a_connection_is_whatever_its_url_is_today(tmp_path: Path) -> None:
    async with _hearth(tmp_path) as address:
        book = ConnectionBook(InMemoryStore(), Sealer(b"k" * 32), {})
        other = OtherSqs(book, None, REGION, CLOCK)
        queue = QueueAddress("q", "far")
        assert other.find(QueueAddress("q")) is None
        with pytest.raises(QueueUnavailable):
            other.find(queue)
        await book.add("far", f"sqs+http://{ADMIN}:secret@127.0.0.1:1/{REGION}", 0.0)
        before = other.find(queue)
        assert before is not None
        await book.add("far", address.replace("http://", f"sqs+http://{ADMIN}:secret@") + f"/{REGION}", 0.0)
        after = other.find(queue)
        assert after is not None and after is not before
        await create(after, "q")
        assert await after.visibility_s("q") == 30
        await other.close()


async def test_the_endpoint_of_the_configuration_is_what_aws_arns_mean(monkeypatch: pytest.MonkeyPatch) -> None:
    other = OtherSqs(ConnectionBook(InMemoryStore(), Sealer(b"k" * 32), {}), "http://127.0.0.1:1", REGION, CLOCK)
    assert other.is_other(QueueAddress("q"))
    assert other.find(QueueAddress("q")) is not None
    await other.close()
