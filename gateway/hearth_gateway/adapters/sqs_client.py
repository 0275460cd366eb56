"""The client of any other SQS: AWS's own, ElasticMQ, another Hearth.

Rule 1: the wire is botocore's: its model serialises, parses and signs. The transport is ours, because botocore's
blocks.
Rule 2: requests go to the endpoint that was named, whatever host a queue's URL tells: behind a port mapping or a proxy
that host is often one that only the server itself can reach.
Rule 3: every wait has a deadline, and every failure leaves here as QueueUnavailable. Nothing is repeated here: who
asks knows whether it may be.
Source: AWS JSON 1.0 protocol, Smithy 2.0; Amazon SQS API reference.
"""

import asyncio
import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import botocore.awsrequest
import botocore.credentials
import botocore.loaders
import botocore.model
import botocore.parsers
import botocore.serialize
import botocore.session
from botocore.auth import SigV4Auth
from botocore.exceptions import BotoCoreError
from yarl import URL

from hearth_gateway.core.parcel import Attribute
from hearth_gateway.core.sqs_event import SqsMessage
from hearth_gateway.core.sqs_message import MAX_ENTRIES, TRACE_HEADER
from hearth_gateway.sources.ports import Clock, QueueUnavailable
from hearth_gateway.sources.sqs_ports import SqsLetter, SqsRefused

CONNECT_TIMEOUT_S = 5.0
ANSWER_TIMEOUT_S = 10.0
"""Beyond what a receive waits anyway."""
LOOK_AGAIN_S = 60.0
"""How long it is believed that the environment has no credentials."""
MAX_CONNECTIONS = 64
_FIRST_SERVER_ERROR, _FIRST_ERROR = 500, 300
_THROTTLES = frozenset({"RequestThrottled", "ThrottlingException", "Throttling", "OverLimit", "KmsThrottled"})
_LOST = frozenset({"MessageNotInflight", "ReceiptHandleIsInvalid", "InvalidParameterValue"})


@dataclass(frozen=True, slots=True)
class SqsPlace:
    """Which SQS, and as whom. Without keys: those of the environment that Hearth runs in."""

    endpoint: str
    region: str
    access_key_id: str = ""
    secret_access_key: str = field(default="", repr=False)


class SqsClient:
    """The `SqsApi` of one endpoint. `close` when done."""

    def __init__(self, place: SqsPlace, clock: Clock) -> None:
        self._place = place
        self._clock = clock
        self._session: aiohttp.ClientSession | None = None
        self._is_closed = False
        self._urls: dict[str, str] = {}
        self._credentials: Any = None
        self._look_again = 0.0

    def __repr__(self) -> str:
        return f"SqsClient({self._place.endpoint})"

    async def close(self) -> None:
        """Drop the connections, for good: requests under way end as unavailable."""
        self._is_closed = True
        if self._session is not None:
            await self._session.close()

    async def receive(self, queue: str, limit: int, *, wait_s: int, visibility_s: int) -> Sequence[SqsMessage]:
        """See `SqsApi`."""
        answer = await self._of_queue(
            "ReceiveMessage",
            queue,
            {
                "MaxNumberOfMessages": limit,
                "WaitTimeSeconds": wait_s,
                "VisibilityTimeout": visibility_s,
                # Servers from before the second name know the first, and the other way round.
                "AttributeNames": ["All"],
                "MessageSystemAttributeNames": ["All"],
                "MessageAttributeNames": ["All"],
            },
            wait_s=wait_s,
        )
        received = self._clock.monotonic()
        return [_message(one, received) for one in answer.get("Messages", ())]

    async def delete(self, queue: str, receipts: Sequence[str]) -> Sequence[str]:
        """See `SqsApi`."""
        again: list[str] = []
        for start in range(0, len(receipts), MAX_ENTRIES):
            some = receipts[start : start + MAX_ENTRIES]
            entries = [{"Id": str(number), "ReceiptHandle": one} for number, one in enumerate(some)]
            answer = await self._of_queue("DeleteMessageBatch", queue, {"Entries": entries})
            again += [some[int(one["Id"])] for one in answer.get("Failed", ()) if not one.get("SenderFault")]
        return again

    async def change_visibility(self, queue: str, changes: Mapping[str, int]) -> Sequence[str]:
        """See `SqsApi`."""
        lost: list[str] = []
        receipts = list(changes)
        for start in range(0, len(receipts), MAX_ENTRIES):
            some = receipts[start : start + MAX_ENTRIES]
            entries = [
                {"Id": str(number), "ReceiptHandle": one, "VisibilityTimeout": changes[one]}
                for number, one in enumerate(some)
            ]
            answer = await self._of_queue("ChangeMessageVisibilityBatch", queue, {"Entries": entries})
            lost += [some[int(one["Id"])] for one in answer.get("Failed", ()) if _is_lost(one)]
        return lost

    async def visibility_s(self, queue: str) -> int:
        """See `SqsApi`."""
        answer = await self._of_queue("GetQueueAttributes", queue, {"AttributeNames": ["VisibilityTimeout"]})
        return int(answer.get("Attributes", {}).get("VisibilityTimeout", "30"))

    async def send(self, queue: str, letter: SqsLetter) -> str:
        """See `SqsApi`."""
        members = {
            "MessageBody": letter.body,
            "MessageAttributes": {name: _value(one) for name, one in letter.attributes.items()},
            "MessageSystemAttributes": _trace(letter.trace_header),
            "MessageGroupId": letter.group_id,
            "MessageDeduplicationId": letter.deduplication_id,
        }
        answer = await self._of_queue("SendMessage", queue, {name: value for name, value in members.items() if value})
        return str(answer["MessageId"])

    # The wire

    async def _of_queue(
        self, operation: str, queue: str, members: Mapping[str, Any], *, wait_s: float = 0.0
    ) -> Mapping[str, Any]:
        """Ask about one queue, whose URL is asked for first, and again after it was not there."""
        if queue not in self._urls:
            self._urls[queue] = str((await self._ask("GetQueueUrl", {"QueueName": queue}))["QueueUrl"])
        try:
            return await self._ask(operation, {"QueueUrl": self._urls[queue], **members}, wait_s=wait_s)
        except SqsRefused:
            self._urls.pop(queue, None)
            raise

    async def _ask(self, operation: str, members: Mapping[str, Any], *, wait_s: float = 0.0) -> Mapping[str, Any]:
        model = (await asyncio.to_thread(_service)).operation_model(operation)
        request = _serializer().serialize_to_request(members, model)
        headers = await self._signed(request["headers"], request["body"])
        try:
            async with asyncio.timeout(wait_s + CONNECT_TIMEOUT_S + ANSWER_TIMEOUT_S):
                status, told, body = await self._post(headers, request["body"])
        except (aiohttp.ClientError, OSError, ValueError) as error:  # TimeoutError is an OSError
            raise QueueUnavailable(f"{self._place.endpoint}: {error or type(error).__name__}") from error
        return _parsed(model, status, told, body)

    async def _post(self, headers: Mapping[str, str], body: bytes) -> tuple[int, Mapping[str, str], bytes]:
        if self._is_closed:
            raise QueueUnavailable(f"the connection to {self._place.endpoint} was given up")
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=MAX_CONNECTIONS),
                timeout=aiohttp.ClientTimeout(total=None, connect=CONNECT_TIMEOUT_S),
            )
        url = URL(self._url(), encoded=True)
        async with self._session.post(url, data=body, headers=headers, allow_redirects=False) as response:
            return response.status, response.headers, await response.read()

    def _url(self) -> str:
        return f"{self._place.endpoint.rstrip('/')}/"

    async def _signed(self, headers: Mapping[str, str], body: bytes) -> dict[str, str]:
        request = botocore.awsrequest.AWSRequest("POST", self._url(), headers=dict(headers), data=body)
        credentials = await self._own_credentials()
        if credentials is not None:
            SigV4Auth(credentials, "sqs", self._place.region).add_auth(request)
        return dict(request.headers.items())

    async def _own_credentials(self) -> Any:
        """None where there are none: then the request goes out unsigned, which some servers take."""
        if self._place.access_key_id:
            return botocore.credentials.Credentials(self._place.access_key_id, self._place.secret_access_key)
        now = self._clock.monotonic()
        try:
            if self._credentials is None and now >= self._look_again:
                # Looking for them reads files and may ask the machine's metadata service, for seconds.
                self._look_again = now + LOOK_AGAIN_S
                self._credentials = await asyncio.to_thread(botocore.session.get_session().get_credentials)
            return self._credentials and await asyncio.to_thread(self._credentials.get_frozen_credentials)
        except BotoCoreError as error:
            raise QueueUnavailable(f"no credentials for {self._place.endpoint}: {error}") from error


@functools.cache
def _service() -> Any:
    """Read once; the file is large."""
    return botocore.model.ServiceModel(botocore.loaders.Loader().load_service_model("sqs", "service-2"), "sqs")


@functools.cache
def _serializer() -> Any:
    return botocore.serialize.create_serializer("json", include_validation=False)


def _parsed(model: Any, status: int, headers: Mapping[str, str], body: bytes) -> Mapping[str, Any]:
    parser = botocore.parsers.create_parser("json")
    try:
        answer: Mapping[str, Any] = parser.parse(
            {"status_code": status, "headers": headers, "body": body}, model.output_shape
        )
    except (BotoCoreError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise QueueUnavailable(f"an answer that is none of SQS, with status {status}") from error
    if status >= _FIRST_ERROR:
        error_of = answer.get("Error", {})
        code = str(error_of.get("QueryErrorCode") or error_of.get("Code") or status)
        is_final = status < _FIRST_SERVER_ERROR and code not in _THROTTLES
        raise SqsRefused(code, str(error_of.get("Message", "")), is_final=is_final)
    return answer


def _message(told: Mapping[str, Any], received: float) -> SqsMessage:
    return SqsMessage(
        id=told["MessageId"],
        receipt=told["ReceiptHandle"],
        body=told.get("Body", ""),
        received=received,
        system=told.get("Attributes", {}),
        attributes={name: _attribute(value) for name, value in told.get("MessageAttributes", {}).items()},
    )


def _attribute(value: Mapping[str, Any]) -> Attribute:
    return Attribute(
        value["DataType"], value["BinaryValue"] if "BinaryValue" in value else value.get("StringValue", "")
    )


def _value(attribute: Attribute) -> dict[str, Any]:
    member = "BinaryValue" if isinstance(attribute.value, bytes) else "StringValue"
    return {member: attribute.value, "DataType": attribute.data_type}


def _trace(header: str) -> dict[str, Any]:
    return {TRACE_HEADER: {"DataType": "String", "StringValue": header}} if header else {}


def _is_lost(failure: Mapping[str, Any]) -> bool:
    return bool(failure.get("SenderFault")) or str(failure.get("Code", "")).rpartition(".")[2] in _LOST
