"""The operations on event source mappings, through the API's own entrance, wire form included."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import chain
from typing import Any
from urllib.parse import quote

import orjson
import pytest
from tests.unit.gateway.lambda_api.harness import ENDPOINT
from tests.unit.gateway.sources.stage import NamedFunctions, ScriptedScheduler, in_virtual_time

from hearth.core.errors import HearthError
from hearth.core.function import FunctionName
from hearth.core.records import Configuration, Deployment, FunctionRecord, Package, VersionRecord
from hearth.registry import Registry
from hearth.testing import InMemoryStore
from hearth_gateway.core.operations import route
from hearth_gateway.lambda_api.api import LambdaApi
from hearth_gateway.lambda_api.event_source_mappings import EventSourceMappings, Place
from hearth_gateway.lambda_api.tags import TagOperations
from hearth_gateway.sources.opening import OpenSources
from hearth_gateway.sources.ports import Surroundings
from hearth_gateway.sources.supervisor import EventSources
from hearth_gateway.sources.testing import FakeQueues, LoopClock

PATH = "/2015-03-31/event-source-mappings/"
ARN = "arn:aws:sqs:us-east-1:000000000000:jobs"
OWN = "arn:hearth:redis:us-east-1:000000000000:shop/list/orders:new"
WORKER = "arn:aws:lambda:us-east-1:000000000000:function:worker"


@dataclass
class Client:
    api: LambdaApi
    sources: EventSources

    async def send(self, method: str, path: str, query: str = "", **members: Any) -> tuple[int, dict[str, Any]]:
        found = route(method, path, query)
        assert found is not None
        pairs = dict(pair.split("=", 1) for pair in query.split("&") if pair)
        body = orjson.dumps(members) if members else b""
        answer = await self.api.handle(
            found, {key: [value] for key, value in pairs.items()}, {}, body, permit=lambda _: None
        )
        return answer.status, orjson.loads(answer.body or b"{}")

    async def create(self, **members: Any) -> dict[str, Any]:
        status, answer = await self.send("POST", PATH, **{"EventSourceArn": ARN, "FunctionName": "worker", **members})
        assert status == 202
        return answer

    async def refusal(self, method: str, path: str, **members: Any) -> tuple[str, int, str]:
        with pytest.raises(HearthError) as error:
            await self.send(method, path, **members)
        return error.value.code, error.value.status, error.value.message

    async def at_rest(self, uuid: str) -> dict[str, Any]:
        while True:
            _, answer = await self.send("GET", PATH + uuid)
            if answer["State"] in ("Enabled", "Disabled"):
                return answer
            await LoopClock().pause(0.02)


def record(name: str) -> FunctionRecord:
    deployment = Deployment(Configuration("role", "python3.13", "app.handler"), Package("0" * 64, 1))
    latest = VersionRecord("$LATEST", deployment, "r", 0).ready("r2")
    return FunctionRecord(FunctionName(name), "us-east-1", "000000000000", latest)


@asynccontextmanager
async def client() -> AsyncIterator[Client]:
    registry = Registry(InMemoryStore())
    for name in ("worker", "other"):
        await registry.put(record(name))
    around = Surroundings(
        scheduler=ScriptedScheduler(),
        functions=NamedFunctions("worker"),
        clock=LoopClock(),
        region="us-east-1",
        account="000000000000",
        max_receive_count=3,
    )
    api = LambdaApi()
    async with EventSources(InMemoryStore(), OpenSources(around, FakeQueues()), around) as sources:
        place = Place("us-east-1", "000000000000", {"shop"})
        mappings = EventSourceMappings(sources, registry, place, now_ms=lambda: 1_763_999_999_123)
        mappings.register(api)
        tags = TagOperations(ENDPOINT, registry)
        tags.register(api)
        tags.add_kind("event-source-mapping", mappings)
        yield Client(api, sources)


@in_virtual_time
async def test_create_answers_as_the_service_does() -> None:
    async with client() as aws:
        answer = await aws.create()

    uuid = answer.pop("UUID")
    assert answer == {
        "BatchSize": 10,
        "MaximumBatchingWindowInSeconds": 0,
        "EventSourceArn": ARN,
        "EventSourceMappingArn": f"arn:aws:lambda:us-east-1:000000000000:event-source-mapping:{uuid}",
        "FunctionArn": WORKER,
        "FunctionResponseTypes": [],
        "LastModified": 1763999999.123,
        "State": "Creating",
        "StateTransitionReason": "USER_INITIATED",
    }


@in_virtual_time
async def test_a_mapping_is_waited_for_changed_and_deleted_as_tools_do_it() -> None:
    async with client() as aws:
        uuid = (await aws.create(FunctionName=f"{WORKER}:$LATEST"))["UUID"]
        enabled = await aws.at_rest(uuid)
        assert (enabled["State"], enabled["FunctionArn"]) == ("Enabled", f"{WORKER}:$LATEST")

        status, updating = await aws.send(
            "PUT", PATH + uuid, BatchSize=100, MaximumBatchingWindowInSeconds=1, ScalingConfig={"MaximumConcurrency": 2}
        )
        assert (status, updating["State"], updating["BatchSize"]) == (202, "Updating", 100)
        assert (await aws.at_rest(uuid))["ScalingConfig"] == {"MaximumConcurrency": 2}

        _, disabling = await aws.send("PUT", PATH + uuid, Enabled=False, ScalingConfig={})
        assert disabling["State"] == "Disabling"
        assert "ScalingConfig" not in await aws.at_rest(uuid)

        status, deleting = await aws.send("DELETE", PATH + uuid)
        assert (status, deleting["State"]) == (202, "Deleting")
        await LoopClock().pause(1)
        gone = ("ResourceNotFoundException", 404, "The resource you requested does not exist.")
        assert await aws.refusal("GET", PATH + uuid) == gone
        assert await aws.refusal("PUT", PATH + uuid, BatchSize=1) == gone
        assert await aws.refusal("DELETE", PATH + uuid) == gone


@in_virtual_time
async def test_changes_during_a_transition_are_refused() -> None:
    async with client() as aws:
        uuid = (await aws.create())["UUID"]

        assert (await aws.refusal("PUT", PATH + uuid, BatchSize=1))[:2] == ("ResourceInUseException", 400)
        assert (await aws.refusal("DELETE", PATH + uuid))[:2] == ("ResourceInUseException", 400)


_NO_QUEUE = (
    "Error occurred while ReceiveMessage. SQS Error Code: AWS.SimpleQueueService.NonExistentQueue. "
    "SQS Error Message: The specified queue does not exist."
)
_NO_DESTINATION = "Unsupported DestinationConfig parameter for given event source mapping type."
_TO_LIST = {"OnFailure": {"Destination": "arn:hearth:redis:us-east-1:000000000000:shop/list/failed"}}
_TO_ITSELF = {"OnFailure": {"Destination": OWN}}


@pytest.mark.parametrize(
    ("members", "text"),
    [
        ({"EventSourceArn": None}, "Unrecognized event source."),
        ({"EventSourceArn": "arn:aws:dynamodb:us-east-1:000000000000:table/t/stream/s"}, "Unrecognized event source."),
        ({"EventSourceArn": "arn:hearth:redis:us-east-1:000000000000:shop"}, "Unrecognized event source."),
        ({"EventSourceArn": OWN.replace("shop", "unknown")}, _NO_QUEUE),
        ({"EventSourceArn": OWN.replace("orders:new", "hearth:functions")}, _NO_QUEUE),
        ({"FunctionName": "missing"}, "Function does not exist"),
        ({"FunctionName": "worker:7"}, "Function does not exist"),
        (
            {"BatchSize": 11},
            "Maximum batch window in seconds must be greater than 0 if maximum batch size is greater than 10",
        ),
        ({"DestinationConfig": _TO_LIST}, _NO_DESTINATION),
        ({"EventSourceArn": OWN, "DestinationConfig": _TO_ITSELF}, _NO_DESTINATION),
        ({"EventSourceArn": OWN, "Tags": {"hearth:dead-letter-list": "orders:new"}}, _NO_DESTINATION),
        (
            {"MaximumRetryAttempts": 3},
            "Unsupported MaximumRetryAttempts parameter for given event source mapping type.",
        ),
        ({"StartingPosition": "LATEST"}, "Unsupported StartingPosition parameter for given event source mapping type."),
        ({"Tags": {"hearth:producer": "SADD"}}, "The tag hearth:producer must be RPUSH or LPUSH."),
        (
            {"Tags": {"hearth:max-receive-count": "0"}},
            "The tag hearth:max-receive-count must be a whole number of at least 1.",
        ),
        (
            {"TumblingWindowInSeconds": 5},
            "Unsupported TumblingWindowInSeconds parameter for given event source mapping type.",
        ),
    ],
)
def test_what_cannot_be_enforced_is_refused(members: dict[str, Any], text: str) -> None:
    @in_virtual_time
    async def scenario() -> None:
        async with client() as aws:
            sent = {"EventSourceArn": ARN, "FunctionName": "worker", **members}
            assert await aws.refusal("POST", PATH, **sent) == ("InvalidParameterValueException", 400, text)
            assert aws.sources.page("", 100, lambda one: True) == ([], None)

    scenario()


@pytest.mark.parametrize("members", [{"BatchSize": 10_001}, {"ScalingConfig": {"MaximumConcurrency": 1}}])
def test_ranges_are_the_models(members: dict[str, Any]) -> None:
    @in_virtual_time
    async def scenario() -> None:
        async with client() as aws:
            sent = {"EventSourceArn": ARN, "FunctionName": "worker", **members}
            assert (await aws.refusal("POST", PATH, **sent))[0] == "ValidationException"

    scenario()


@in_virtual_time
async def test_a_list_of_our_own_form_takes_retries_and_a_destination() -> None:
    async with client() as aws:
        answer = await aws.create(
            EventSourceArn=OWN,
            MaximumRetryAttempts=0,
            DestinationConfig=_TO_LIST,
            StartingPosition=None,
            BisectBatchOnFunctionError=False,
            KMSKeyArn="arn:aws:kms:us-east-1:000000000000:key/1",
        )
        mapping = aws.sources.find(answer["UUID"])

    assert answer["MaximumRetryAttempts"] == 0
    assert answer["DestinationConfig"] == _TO_LIST
    assert answer["KMSKeyArn"] == "arn:aws:kms:us-east-1:000000000000:key/1"
    assert answer["LastProcessingResult"] == "No records processed"
    assert (mapping.dead_letter_key, mapping.retry_policy(5).max_receive_count) == ("failed", 1)


@in_virtual_time
async def test_lists_are_paged_and_filtered() -> None:
    async with client() as aws:
        for n in range(5):
            await aws.create(EventSourceArn=f"{ARN}{n}", Enabled=False)
        await aws.create(FunctionName="other", Enabled=False)

        async def pages(query: str) -> list[list[str]]:
            found: list[list[str]] = []
            marker = ""
            while True:
                _, answer = await aws.send("GET", PATH, f"{query}{marker}")
                found.append([one["EventSourceArn"] for one in answer["EventSourceMappings"]])
                if "NextMarker" not in answer:
                    return found
                marker = f"&Marker={answer['NextMarker']}"

        assert [len(page) for page in await pages("MaxItems=4")] == [4, 2]
        assert sorted(chain.from_iterable(await pages("MaxItems=1&FunctionName=worker"))) == [
            f"{ARN}{n}" for n in range(5)
        ]
        assert await pages(f"EventSourceArn={ARN}3") == [[f"{ARN}3"]]
        assert await pages(f"FunctionName=other&EventSourceArn={ARN}3") == [[]]


@in_virtual_time
async def test_a_mapping_is_tagged_by_its_arn() -> None:
    async with client() as aws:
        mapping = await aws.create(Tags={"team": "a"})
        path = "/2017-03-31/tags/" + quote(mapping["EventSourceMappingArn"], safe="")
        await aws.send("POST", path, Tags={"stage": "live"})
        await aws.send("DELETE", path, "tagKeys=team")
        assert await aws.send("GET", path) == (200, {"Tags": {"stage": "live"}})
        code, _, text = await aws.refusal("POST", path, Tags={"hearth:producer": "SADD"})
        assert (code, "must be RPUSH or LPUSH" in text) == ("InvalidParameterValueException", True)
        code, _, text = await aws.refusal("GET", path[:-4] + "0000")
        assert (code, text[:36]) == ("ResourceNotFoundException", "Event source mapping not found: arn:")
