"""What every book of queues promises: the one in memory and the one in Redis pass the same suite."""

from collections.abc import AsyncIterator

import pytest
from tests.contract.queue_bench import KINDS, NOW, Bench, bench_of, create, receive

from hearth_gateway.queues.ports import Queue


@pytest.fixture(params=KINDS)
async def bench(request: pytest.FixtureRequest) -> AsyncIterator[Bench]:
    async with bench_of(request) as one:
        yield one


@pytest.fixture
def jobs(bench: Bench) -> str:
    return bench.name("jobs")


async def test_a_queue_is_entered_once(bench: Bench, jobs: str) -> None:
    wanted = Queue(jobs, {"DelaySeconds": "1"}, {"team": "a"}, created_ms=NOW, modified_ms=NOW)

    assert await bench.book.create(wanted) == wanted
    assert await bench.book.create(Queue(jobs, {"DelaySeconds": "2"})) == wanted
    assert await bench.book.find(jobs) == wanted


async def test_attributes_and_tags_change_one_by_one(bench: Bench, jobs: str) -> None:
    await bench.book.create(Queue(jobs, {"DelaySeconds": "1", "Policy": "p"}, {"a": "1", "b": "2"}, NOW, NOW))

    assert await bench.book.set_attributes(jobs, {"Policy": None, "VisibilityTimeout": "7"}, NOW + 5)
    assert await bench.book.set_tags(jobs, {"a": None, "c": "3"})

    attributes = {"DelaySeconds": "1", "VisibilityTimeout": "7"}
    assert await bench.book.find(jobs) == Queue(jobs, attributes, {"b": "2", "c": "3"}, NOW, NOW + 5)
    assert not await bench.book.set_attributes(bench.name("none"), {"DelaySeconds": "1"}, NOW)
    assert await bench.book.find(bench.name("none")) is None


async def test_a_list_in_use_is_a_queue_that_nobody_created(bench: Bench, jobs: str) -> None:
    await bench.push(jobs, b"1")
    assert await bench.book.find(jobs) == Queue(jobs, is_created=False)

    await receive(bench, jobs)
    assert await bench.book.find(jobs) == Queue(jobs, is_created=False)


async def test_a_deleted_queue_is_gone_with_its_messages(bench: Bench, jobs: str) -> None:
    await create(bench, jobs)
    await bench.push(jobs, b"1")

    assert await bench.book.delete(jobs)
    assert not await bench.book.delete(jobs)

    assert await bench.book.find(jobs) is None
    assert await receive(bench, jobs) == []


async def test_queues_are_listed_by_prefix_in_order(bench: Bench) -> None:
    names = [bench.name(f"page-{n}") for n in range(5)]
    for name in [*reversed(names), bench.name("other")]:
        await create(bench, name)
    prefix = "page-"

    first = [one for one in await bench.book.names(prefix) if one in names]
    second = await bench.book.names(prefix, after=names[1], limit=2)

    assert first == names
    assert list(second) == names[2:4]
