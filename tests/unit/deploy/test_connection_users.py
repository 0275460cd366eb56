"""Who uses a connection: what keeps `hearth connections remove` from pulling the ground away."""

import uuid
from dataclasses import replace
from typing import Any

import pytest
from tests.unit.gateway.sources.stage import NamedFunctions, ScriptedScheduler, in_virtual_time, mapping

from hearth.core.attachments import EventInvokeConfig
from hearth.core.function import LATEST, FunctionName
from hearth.core.records import Configuration, Deployment, FunctionRecord, Package, VersionRecord
from hearth.registry import Registry
from hearth.testing import InMemoryStore
from hearth_cli.connections_house import ConnectionUsers
from hearth_gateway.core.mapping_state import State
from hearth_gateway.sources.mapping_record import encode_mapping
from hearth_gateway.sources.opening import OpenSources
from hearth_gateway.sources.ports import Surroundings
from hearth_gateway.sources.supervisor import EventSources
from hearth_gateway.sources.testing import FakeQueues, LoopClock

OURS = "arn:hearth:redis:us-east-1:000000000000:orders/list/x"
OTHERS = "arn:hearth:redis:us-east-1:000000000000:others/list/x"
OWN = "arn:hearth:redis:us-east-1:000000000000:hearth/list/x"
OTHER_SQS = "arn:hearth:sqs:us-east-1:000000000000:orders/x"


async def users(registry: Registry, *mappings: dict[str, Any]) -> list[str]:
    store = InMemoryStore()
    for changes in mappings:
        one = mapping(uuid=str(uuid.uuid4()), state=State.DISABLED, enabled=False, **changes)
        await store.put(one.uuid, encode_mapping(one))
    around = Surroundings(
        ScriptedScheduler(), NamedFunctions(), LoopClock(), "us-east-1", "000000000000", max_receive_count=1
    )
    opening = OpenSources(around, FakeQueues("run-1", ""))
    async with EventSources(store, opening, around) as sources:
        return list(ConnectionUsers(sources, registry)("orders"))


def function(name: str, **more: Any) -> FunctionRecord:
    configuration = Configuration(
        "role", "python3.13", "app.handler", dead_letter_arn=more.pop("dead_letter_arn", None)
    )
    version = VersionRecord(LATEST, Deployment(configuration, Package("aa", 1)), "r1", 0)
    return replace(FunctionRecord(FunctionName(name), "us-east-1", "000000000000", version), **more)


@in_virtual_time
async def test_a_mapping_uses_the_connection_of_its_source_and_of_its_destination() -> None:
    found = await users(
        Registry(InMemoryStore()),
        {"source_arn": OURS},
        {"source_arn": OTHER_SQS},
        {"source_arn": OWN, "on_failure": OURS},
        {"source_arn": OTHERS, "on_failure": OWN},
    )
    assert len(found) == 3
    assert all(one.startswith("the event source mapping ") for one in found)


@pytest.mark.parametrize(
    "more",
    [
        {"dead_letter_arn": OURS},
        {"event_invoke": {"": EventInvokeConfig(0, on_success=OURS)}},
        {"event_invoke": {"live": EventInvokeConfig(0, on_failure=OURS)}},
    ],
)
def test_a_function_uses_the_connections_of_its_destinations(more: dict[str, Any]) -> None:
    @in_virtual_time
    async def scenario() -> None:
        registry = Registry(InMemoryStore())
        await registry.put(function("uses", **more))
        await registry.put(function("does-not"))
        assert await users(registry) == ["the function uses"]

    scenario()
