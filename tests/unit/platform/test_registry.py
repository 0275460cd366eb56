"""The registry: durable before visible, one writer at a time, pages in order."""

import asyncio
from dataclasses import replace

import pytest

from hearth.core.attachments import UrlConfig
from hearth.core.errors import ServiceError
from hearth.core.function import LATEST, FunctionName
from hearth.core.records import Configuration, Deployment, FunctionRecord, Package, VersionRecord
from hearth.registry import Change, Configured, Forgotten, Limited, Registry
from hearth.testing import InMemoryStore
from hearth.wire import encode_record

URL = UrlConfig("u" * 32, "NONE", 0, 0)


def function(name: str = "hello", package: str = "aa") -> FunctionRecord:
    deployment = Deployment(Configuration("role", "python3.13", "app.handler"), Package(package, 1))
    return FunctionRecord(FunctionName(name), "us-east-1", "000000000000", VersionRecord(LATEST, deployment, "r1", 0))


def active(name: str = "hello", package: str = "aa") -> FunctionRecord:
    record = function(name, package)
    return replace(record, latest=record.latest.ready("r2"))


@pytest.fixture
def store() -> InMemoryStore:
    return InMemoryStore()


@pytest.fixture
def registry(store: InMemoryStore) -> Registry:
    return Registry(store)


@pytest.fixture
def changes(registry: Registry) -> list[Change]:
    told: list[Change] = []
    registry.on_change(told.append)
    return told


async def test_what_was_put_is_found_and_stored(registry: Registry, store: InMemoryStore) -> None:
    await registry.put(active())
    assert registry.find("hello") == active()
    assert store.records == {"hello": encode_record(active())}


async def test_a_write_that_failed_is_not_visible(registry: Registry, store: InMemoryStore) -> None:
    store.fail_next = True
    with pytest.raises(ServiceError):
        await registry.put(active())
    assert registry.find("hello") is None


async def test_what_a_failed_write_needs_is_kept_until_a_later_one_settles_it(
    registry: Registry, store: InMemoryStore
) -> None:
    store.fail_next = True
    with pytest.raises(ServiceError):
        await registry.put(active(package="aa"))
    assert registry.packages() == {"aa"}
    await registry.put(active(package="bb"))
    assert registry.packages() == {"bb"}


async def test_a_failed_removal_leaves_the_function(registry: Registry, store: InMemoryStore) -> None:
    await registry.put(active())
    store.fail_next = True
    with pytest.raises(ServiceError):
        await registry.remove(FunctionName("hello"))
    assert registry.find("hello") is not None


async def test_a_restart_finds_everything_again(registry: Registry, store: InMemoryStore) -> None:
    await registry.put(replace(active(), reserved=3, urls={LATEST: URL}))
    again = Registry(store)
    told: list[Change] = []
    again.on_change(told.append)
    await again.load()
    assert again.find("hello") == registry.find("hello")
    assert again.find_by_url(URL.url_id) == (registry.find("hello"), LATEST)
    assert told == [Limited(FunctionName("hello"), 3), Configured(active().version())]


async def test_a_record_that_cannot_be_read_does_not_hide_the_others(registry: Registry, store: InMemoryStore) -> None:
    store.records = {"bad": b"garbage", "hello": encode_record(active())}
    await registry.load()
    assert len(registry) == 1
    assert store.records["bad"] == b"garbage"


async def test_listeners_hear_of_what_runs_and_of_nothing_else(registry: Registry, changes: list[Change]) -> None:
    await registry.put(function())
    assert changes == []
    await registry.put(active())
    await registry.put(replace(active(), tags={"a": "b"}))
    assert changes == [Configured(active().version())]


async def test_listeners_hear_of_limits_and_of_the_end(registry: Registry, changes: list[Change]) -> None:
    await registry.put(function())
    await registry.put(replace(function(), reserved=0))
    await registry.put(replace(function(), reserved=None))
    await registry.remove(FunctionName("hello"))
    name = FunctionName("hello")
    assert changes == [Limited(name, 0), Limited(name, None), Forgotten(name)]


async def test_a_url_leads_to_its_function_until_it_is_removed(registry: Registry) -> None:
    await registry.put(replace(active(), urls={LATEST: URL}))
    assert registry.find_by_url(URL.url_id) == (registry.find("hello"), LATEST)
    await registry.put(active())
    assert registry.find_by_url(URL.url_id) is None
    await registry.put(replace(active(), urls={LATEST: URL}))
    await registry.remove(FunctionName("hello"))
    assert registry.find_by_url(URL.url_id) is None


async def test_pages_follow_each_other_in_order_of_name(registry: Registry) -> None:
    for name in ("d", "a", "c", "b", "e"):
        await registry.put(active(name))
    seen: list[str] = []
    after: str | None = ""
    while after is not None:
        page, after = registry.page(after, 2)
        seen += [record.name for record in page]
    assert seen == ["a", "b", "c", "d", "e"]


async def test_a_page_goes_on_although_the_last_name_is_gone(registry: Registry) -> None:
    for name in ("a", "b", "c"):
        await registry.put(active(name))
    _, after = registry.page("", 2)
    assert after == "b"
    await registry.remove(FunctionName("b"))
    page, after = registry.page(after, 2)
    assert [record.name for record in page] == ["c"]
    assert after is None


async def test_one_function_has_one_writer_at_a_time(registry: Registry) -> None:
    await registry.put(active())
    first_is_in, first_may_go = asyncio.Event(), asyncio.Event()

    async def first() -> None:
        async with registry.writing("hello"):
            first_is_in.set()
            await first_may_go.wait()
            await registry.put(replace(active(), reserved=1))

    async def second() -> int | None:
        async with registry.writing("hello") as record:
            assert record is not None
            return record.reserved

    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        group.create_task(first())
        await first_is_in.wait()
        late = group.create_task(second())
        first_may_go.set()
    assert late.result() == 1


async def test_writers_of_other_functions_do_not_wait(registry: Registry) -> None:
    async with asyncio.timeout(5), registry.writing("one"), registry.writing("two"):
        pass


async def test_the_reserved_concurrency_of_all_functions_is_one_sum(registry: Registry) -> None:
    await registry.put(replace(active("a"), reserved=3))
    await registry.put(replace(active("b"), reserved=4))
    await registry.put(active("c"))
    assert registry.reserved == 7
    await registry.put(replace(active("a"), reserved=None))
    await registry.remove(FunctionName("b"))
    assert registry.reserved == 0


async def test_a_package_is_released_by_the_last_function_that_needs_it(registry: Registry) -> None:
    await registry.put(active("a", "aa"))
    await registry.put(active("b", "aa"))
    await registry.put(active("b", "bb"))
    assert registry.released() == set()
    await registry.remove(FunctionName("a"))
    assert registry.released() == {"aa"}
    assert registry.released() == set()
    assert (registry.packages(), registry.needs("bb"), registry.needs("aa")) == ({"bb"}, True, False)


async def test_a_package_is_released_when_a_doubt_about_it_is_settled(registry: Registry, store: InMemoryStore) -> None:
    store.fail_next = True
    with pytest.raises(ServiceError):
        await registry.put(active(package="aa"))
    assert registry.needs("aa")
    await registry.put(active(package="bb"))
    assert registry.released() == {"aa"}
