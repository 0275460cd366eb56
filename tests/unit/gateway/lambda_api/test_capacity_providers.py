"""Capacity providers: kept and shown."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.unit.gateway.lambda_api.harness import ENDPOINT, Harness

from hearth.core.errors import ResourceConflict, ResourceNotFound
from hearth.testing import InMemoryStore
from hearth_gateway.lambda_api.capacity_providers import CapacityProviders

ARN = "arn:aws:lambda:us-east-1:000000000000:capacity-provider:fleet"
SETTINGS: dict[str, Any] = {
    "VpcConfig": {"SubnetIds": ["subnet-1"], "SecurityGroupIds": ["sg-1"]},
    "PermissionsConfig": {"CapacityProviderOperatorRoleArn": "arn:aws:iam::000000000000:role/operator"},
}


@pytest.fixture
def store() -> InMemoryStore:
    return InMemoryStore()


@pytest.fixture
async def api(tmp_path: Path, store: InMemoryStore) -> AsyncIterator[Harness]:
    harness = Harness(tmp_path)
    async with harness.running():
        CapacityProviders(ENDPOINT, store, clock=lambda: harness.now_s).register(harness.plane.api)
        yield harness


async def test_a_provider_is_active_at_once_and_survives_a_restart(api: Harness, store: InMemoryStore) -> None:
    created = await api.call("CreateCapacityProvider", CapacityProviderName="fleet", **SETTINGS)
    assert created["status"] == 202
    expected = {
        "CapacityProviderArn": ARN,
        "State": "Active",
        **SETTINGS,
        "LastModified": "2026-11-21T01:36:40.250+0000",
    }
    assert created["CapacityProvider"] == expected
    again = CapacityProviders(ENDPOINT, store, clock=lambda: 0.0)
    await again.load()
    _, answer = await again.list_page({})  # type: ignore[arg-type]
    assert answer == {"CapacityProviders": [expected]}


async def test_names_are_taken_once_and_arns_are_names(api: Harness) -> None:
    await api.call("CreateCapacityProvider", CapacityProviderName="fleet", **SETTINGS)
    with pytest.raises(ResourceConflict):
        await api.call("CreateCapacityProvider", CapacityProviderName=ARN, **SETTINGS)
    found = await api.call("GetCapacityProvider", CapacityProviderName=ARN)
    assert found["CapacityProvider"]["CapacityProviderArn"] == ARN
    versions = await api.call("ListFunctionVersionsByCapacityProvider", CapacityProviderName="fleet")
    assert versions["FunctionVersions"] == []


async def test_a_deleted_provider_is_gone(api: Harness) -> None:
    await api.call("CreateCapacityProvider", CapacityProviderName="fleet", **SETTINGS)
    deleted = await api.call("DeleteCapacityProvider", CapacityProviderName="fleet")
    assert deleted["CapacityProvider"]["State"] == "Deleting"
    with pytest.raises(ResourceNotFound):
        await api.call("GetCapacityProvider", CapacityProviderName="fleet")


async def test_lists_have_pages(api: Harness) -> None:
    for number in range(3):
        await api.call("CreateCapacityProvider", CapacityProviderName=f"fleet-{number}", **SETTINGS)
    first = await api.call("ListCapacityProviders", MaxItems=2)
    rest = await api.call("ListCapacityProviders", MaxItems=2, Marker=first["NextMarker"])
    names = [one["CapacityProviderArn"][-1] for one in first["CapacityProviders"] + rest["CapacityProviders"]]
    assert names == ["0", "1", "2"]
    assert "NextMarker" not in rest
