"""What the control plane does for one function does not grow with the number of functions."""

from collections.abc import Iterator

import pytest
from tests.unit.gateway.lambda_api.harness import OTHER_CODE, Harness

from hearth.core.records import FunctionRecord
from hearth.registry import Registry


async def test_no_operation_walks_through_all_functions(api: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    await api.created("other", Publish=True)

    def walked(registry: Registry) -> Iterator[FunctionRecord]:
        raise AssertionError("somebody walks through all functions")

    monkeypatch.setattr(Registry, "__iter__", walked)
    with pytest.raises(AssertionError):
        list(api.registry)
    await api.created(Publish=True)
    await api.call("UpdateFunctionCode", FunctionName="hello", ZipFile=OTHER_CODE, Publish=True)
    await api.plane.deployer.idle()
    await api.call("CreateAlias", FunctionName="hello", Name="live", FunctionVersion="2")
    await api.call("PutFunctionConcurrency", FunctionName="hello", ReservedConcurrentExecutions=5)
    await api.call("DeleteFunction", FunctionName="hello", Qualifier="1")
    for operation in ("ListFunctions", "GetAccountSettings"):
        await api.call(operation)
    await api.call("ListFunctions", FunctionVersion="ALL")
    await api.call("ListVersionsByFunction", FunctionName="hello")
    await api.call("DeleteFunction", FunctionName="hello")
    assert (await api.call("GetAccountSettings"))["AccountUsage"]["FunctionCount"] == 1


async def test_a_page_of_functions_asks_the_registry_for_a_page(api: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a", "b", "c", "d"):
        await api.created(name)
    given: list[int] = []
    page = Registry.page

    def counted(registry: Registry, after: str, limit: int) -> tuple[list[FunctionRecord], str | None]:
        records, more = page(registry, after, limit)
        given.append(len(records))
        return records, more

    monkeypatch.setattr(Registry, "page", counted)
    await api.call("ListFunctions", MaxItems=2)
    assert given == [2]
    given.clear()
    await api.call("ListFunctions", MaxItems=2, FunctionVersion="ALL")
    assert sum(given) == 3  # one more, to know whether there is another page


async def test_a_deployment_that_releases_nothing_collects_nothing(
    api: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    collected: list[None] = []
    collect = api.plane.deployer.collect

    async def counted() -> None:
        collected.append(None)
        await collect()

    monkeypatch.setattr(api.plane.deployer, "collect", counted)
    await api.created()
    await api.call("UpdateFunctionConfiguration", FunctionName="hello", Timeout=9)
    await api.plane.deployer.idle()
    assert not collected
    await api.call("UpdateFunctionCode", FunctionName="hello", ZipFile=OTHER_CODE)
    await api.plane.deployer.idle()
    assert len(collected) == 1
    assert api.packages.total_bytes == len(OTHER_CODE)
