"""SQS for clients from before it spoke JSON: forms in, XML out."""

import asyncio
import base64
import xml.etree.ElementTree as xml
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hearth.core.auth_errors import UnrecognizedClient
from hearth.core.identity import ANONYMOUS
from hearth.testing import InMemoryStore
from hearth_gateway.core.authorization import Place
from hearth_gateway.core.operations import ApiResponse
from hearth_gateway.core.parcel import Attribute
from hearth_gateway.core.sqs_errors import SqsError
from hearth_gateway.core.sqs_md5 import md5_of_attributes
from hearth_gateway.neighbours import sqs_messages_api
from hearth_gateway.neighbours.calls import NeighbourRequest
from hearth_gateway.neighbours.neighbours import Neighbours
from hearth_gateway.neighbours.sqs import SqsService
from hearth_gateway.neighbours.sqs_composition import sqs_service
from hearth_gateway.neighbours.sqs_query import read
from hearth_gateway.neighbours.sqs_shapes import OPERATIONS, load_shapes
from hearth_gateway.queues.ports import Counts, Outgoing
from hearth_gateway.queues.testing import MemoryQueueBook, MemoryQueueStore
from hearth_gateway.sources.ports import SystemClock

NAMESPACE = "{http://queue.amazonaws.com/doc/2012-11-05/}"
FORM = "application/x-www-form-urlencoded"
JOBS = "/000000000000/jobs"


class Old:
    """A client that sends forms, and may go away while it waits."""

    def __init__(self, service: SqsService, store: MemoryQueueStore) -> None:
        self.store = store
        self.is_there = True
        self.service = service

    async def __call__(self, action: str, path: str = "/", **fields: str) -> xml.Element:
        answer = await self.raw({"Action": action, "Version": "2012-11-05", **fields}, path)
        assert answer.headers["Content-Type"] == "text/xml"
        return xml.fromstring(answer.body)

    async def raw(self, fields: dict[str, str], path: str = "/") -> ApiResponse:
        headers = {"Content-Type": FORM, "Host": "sqs.example:9400", "X-Amz-Target": ""}
        body = urlencode(fields).encode()
        request = NeighbourRequest("POST", "", headers, body, "id-1", path=path, is_there=lambda: self.is_there)
        return await self.service.handle(request, ANONYMOUS, lambda *_, **__: None)


@asynccontextmanager
async def opened() -> AsyncIterator[Old]:
    clock, book = SystemClock(), MemoryQueueBook()
    store = MemoryQueueStore(clock, book)
    place = Place("us-east-1", "000000000000")
    async with sqs_service(place, book, store, InMemoryStore(), clock=clock) as service:
        yield Old(service, store)


@pytest.fixture
async def old() -> AsyncIterator[Old]:
    async with opened() as client:
        await client("CreateQueue", QueueName="jobs")
        yield client


def texts(answer: xml.Element, path: str) -> list[str]:
    return [str(found.text) for found in answer.iterfind("/".join(NAMESPACE + step for step in path.split("/")))]


async def test_attributes_and_tags_are_numbered_pairs(old: Old) -> None:
    named = {"Attribute.1.Name": "VisibilityTimeout", "Attribute.1.Value": "7", "Tag.1.Key": "a", "Tag.1.Value": "b"}
    made = await old("CreateQueue", QueueName="other", **named)
    assert texts(made, "CreateQueueResult/QueueUrl") == ["http://sqs.example:9400/000000000000/other"]
    shown = await old("GetQueueAttributes", "/000000000000/other", **{"AttributeName.1": "VisibilityTimeout"})
    assert texts(shown, "GetQueueAttributesResult/Attribute/Name") == ["VisibilityTimeout"]
    assert texts(shown, "GetQueueAttributesResult/Attribute/Value") == ["7"]
    tags = await old("ListQueueTags", "/000000000000/other")
    assert (texts(tags, "ListQueueTagsResult/Tag/Key"), texts(tags, "ListQueueTagsResult/Tag/Value")) == (["a"], ["b"])


async def test_a_message_goes_to_the_path_of_its_queue_and_comes_back_whole(old: Old) -> None:
    fields = {
        "MessageAttribute.1.Name": "b",
        "MessageAttribute.1.Value.DataType": "Binary",
        "MessageAttribute.1.Value.BinaryValue": base64.b64encode(b"\x00").decode(),
    }
    await old("SendMessage", JOBS, MessageBody="<&>\r\n", **fields)
    asked = {"AttributeName.1": "All", "MessageAttributeName.1": "All"}
    received = await old("ReceiveMessage", JOBS, **asked)
    assert texts(received, "ReceiveMessageResult/Message/Body") == ["<&>\r\n"]
    assert texts(received, "ReceiveMessageResult/Message/MessageAttribute/Value/BinaryValue") == ["AA=="]
    assert "ApproximateReceiveCount" in texts(received, "ReceiveMessageResult/Message/Attribute/Name")
    (handle,) = texts(received, "ReceiveMessageResult/Message/ReceiptHandle")
    await old("DeleteMessage", JOBS, ReceiptHandle=handle)
    assert await old.store.counts("jobs") == Counts()


async def test_a_batch_tells_what_went_and_what_did_not(old: Old) -> None:
    entry = "SendMessageBatchRequestEntry"
    fields = {
        f"{entry}.1.Id": "a",
        f"{entry}.1.MessageBody": "x",
        f"{entry}.2.Id": "b",
        f"{entry}.2.MessageBody": "\x01",
    }
    answer = await old("SendMessageBatch", JOBS, **fields)
    assert texts(answer, "SendMessageBatchResult/SendMessageBatchResultEntry/Id") == ["a"]
    assert texts(answer, "SendMessageBatchResult/BatchResultErrorEntry/Code") == ["InvalidMessageContents"]


@pytest.mark.parametrize(
    ("fields", "path", "code", "status"),
    [
        ({"Action": "GetQueueUrl", "QueueName": "none"}, "/", "AWS.SimpleQueueService.NonExistentQueue", 400),
        ({"Action": "Nonsense"}, "/", "InvalidAction", 400),
        ({}, "/", "MissingParameter", 400),
        ({"Action": "SendMessage"}, JOBS, "MissingParameter", 400),
        ({"Action": "ReceiveMessage"}, "/", "InvalidAddress", 404),
        ({"Action": "ReceiveMessage", "MaxNumberOfMessages": "x"}, JOBS, "MalformedInput", 400),
        ({"Action": "ReceiveMessage", "MaxNumberOfMessages.1": "1"}, JOBS, "MalformedInput", 400),
    ],
)
async def test_errors_have_their_older_names(
    old: Old, fields: dict[str, str], path: str, code: str, status: int
) -> None:
    answer = await old.raw(fields, path)
    found = xml.fromstring(answer.body)
    assert (texts(found, "Error/Code"), texts(found, "Error/Type"), answer.status) == ([code], ["Sender"], status)


names = st.lists(
    st.sampled_from(["Attribute", "Name", "Value", "1", "2", "x", "Tag", "Key", "QueueUrl", "", "MessageBody"]),
    max_size=12,
)


@given(st.dictionaries(names.map(".".join), st.text(max_size=5), max_size=12), st.sampled_from(OPERATIONS))
def test_whatever_the_fields_are_they_are_members_or_a_refusal(fields: dict[str, str], operation: str) -> None:
    try:
        assert isinstance(read(load_shapes()[operation], fields), dict)
    except SqsError as error:
        assert error.code == "MalformedInput"


def test_the_digest_of_attributes_is_that_of_aws() -> None:
    # Worked by hand: 00000001 'a' 00000006 'String' 01 00000001 'b'.
    attributes = {"a": Attribute("String", "b")}
    assert md5_of_attributes(attributes) == "bef8bf215374a0a228d67533b1a488be"
    assert md5_of_attributes({}) is None


# Waiting


async def test_nobody_receives_for_a_client_that_went_away_while_it_waited(
    old: Old, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqs_messages_api, "LOOK_S", 0.01)
    waiting = asyncio.create_task(old("ReceiveMessage", JOBS, WaitTimeSeconds="20"), name="waiting client")
    await asyncio.sleep(0)
    old.is_there = False
    assert texts(await waiting, "ReceiveMessageResult/Message/Body") == []
    await old.store.send("jobs", [Outgoing("m-1", b"x")])
    assert await old.store.counts("jobs") == Counts(visible=1)


async def test_what_was_received_while_the_client_went_is_given_back(old: Old) -> None:
    await old.store.send("jobs", [Outgoing("m-1", b"x")])
    old.is_there = False
    answer = await old("ReceiveMessage", JOBS)
    assert texts(answer, "ReceiveMessageResult/Message/Body") == []
    assert await old.store.counts("jobs") == Counts(visible=1)


def test_a_refusal_on_the_way_is_in_the_protocol_of_who_asked() -> None:
    async def refusals() -> tuple[Any, Any]:
        async with opened() as client:
            spoken = Neighbours({"sqs": client.service})
            error = UnrecognizedClient()
            return spoken.refuse("sqs", error, "id-1"), spoken.refuse("sqs", error, "id-1", is_form=True)

    json_answer, form_answer = asyncio.run(refusals())
    assert json_answer.headers["x-amzn-query-error"] == "InvalidClientTokenId;Sender"
    assert texts(xml.fromstring(form_answer.body), "Error/Code") == ["InvalidClientTokenId"]
