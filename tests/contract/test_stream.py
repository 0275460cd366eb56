"""What every `StreamReader` promises: the one in memory and the one on Redis pass the same suite."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, cast

import pytest
from redis.asyncio import Redis
from tests.unit.gateway.streams.stream_stage import mapping

from hearth_gateway.adapters.redis_connections import RedisConnections
from hearth_gateway.adapters.redis_stream import RedisStreamReader, RedisStreams, load_scripts
from hearth_gateway.core.stream_entry import BEGINNING, EntryId
from hearth_gateway.core.stream_lanes import Page
from hearth_gateway.core.stream_progress import StreamSettlement
from hearth_gateway.sources.ports import QueueUnavailable, StaleSession
from hearth_gateway.sources.stream_ports import GroupLost, StreamReader
from hearth_gateway.sources.stream_testing import FakeStream, FakeStreamReader

LARGE = 6_000_000
MOST_PENDING = 5


class Bench(Protocol):
    """One stream and a way to do to it what others do."""

    def open(self, group: str = "g") -> StreamReader: ...

    async def add(self, own_id: EntryId, fields: Mapping[bytes, bytes]) -> None: ...

    async def trim(self, keep: int) -> None: ...

    async def delete(self) -> None: ...

    async def destroy_group(self, group: str = "g") -> None: ...

    async def hand_to_another(self, group: str = "g") -> None:
        """All that is pending becomes another consumer's."""
        ...

    async def groups(self) -> set[str]: ...


class FakeBench:
    def __init__(self) -> None:
        self.shared = FakeStream()

    def open(self, group: str = "g") -> StreamReader:
        return FakeStreamReader(self.shared, group, most_pending=MOST_PENDING)

    async def add(self, own_id: EntryId, fields: Mapping[bytes, bytes]) -> None:
        self.shared.add(fields, own_id)

    async def trim(self, keep: int) -> None:
        self.shared.trim(keep)

    async def delete(self) -> None:
        self.shared.delete()

    async def destroy_group(self, group: str = "g") -> None:
        del self.shared.groups[group]

    async def hand_to_another(self, group: str = "g") -> None:
        pending = self.shared.groups[group].pending
        pending.update(dict.fromkeys(pending, "another"))

    async def groups(self) -> set[str]:
        return set(self.shared.groups)


@dataclass
class RedisBench:
    url: str
    client: Redis
    key: str = field(default_factory=lambda: f"events-{uuid.uuid4().hex}")
    readers: list[StreamReader] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.connections = RedisConnections.fixed(self.url)

    def open(self, group: str = "g") -> StreamReader:
        reader = RedisStreamReader(
            self.connections.connection(), self.mapping(group), load_scripts(), run="run", most_pending=MOST_PENDING
        )
        self.readers.append(reader)
        return reader

    def mapping(self, group: str) -> Any:
        return mapping(uuid=group, source_arn=f"arn:hearth:redis:us-east-1:000000000000:hearth/stream/{self.key}")

    async def add(self, own_id: EntryId, fields: Mapping[bytes, bytes]) -> None:
        await self.client.xadd(self.key, cast(Any, dict(fields)), id=str(own_id))

    async def trim(self, keep: int) -> None:
        await self.client.xtrim(self.key, maxlen=keep, approximate=False)

    async def delete(self) -> None:
        await self.client.delete(self.key)

    async def destroy_group(self, group: str = "g") -> None:
        await self.client.xgroup_destroy(self.key, group)

    async def hand_to_another(self, group: str = "g") -> None:
        await self.client.xautoclaim(self.key, group, "another", 0)

    async def groups(self) -> set[str]:
        return {one["name"].decode() for one in await self.client.xinfo_groups(self.key)}

    async def close(self) -> None:
        for reader in self.readers:
            await reader.close()
        await self.connections.__aexit__(None, None, None)
        await self.client.aclose()


@pytest.fixture(params=["fake", pytest.param("redis", marks=pytest.mark.redis)])
async def bench(request: pytest.FixtureRequest) -> AsyncIterator[Bench]:
    if request.param == "fake":
        yield FakeBench()
        return
    url = request.getfixturevalue("redis_url")
    real = RedisBench(url, Redis.from_url(url))
    yield real
    await real.close()


def at(number: int) -> EntryId:
    return EntryId(1_700_000_000_000 + number, 0)


async def filled(bench: Bench, count: int = 3) -> None:
    for number in range(count):
        await bench.add(at(number), {b"data": b"%d" % number})


async def begun(bench: Bench, session: int = 1, *, group: str = "g", after: EntryId = BEGINNING) -> StreamReader:
    reader = bench.open(group)
    await reader.enter(session)
    await reader.begin(session, after, is_new_stream=False)
    return reader


def numbers(page: Page) -> list[int]:
    return [one.id.ms - at(0).ms for one in page.entries]


async def test_nothing_is_known_of_a_new_mapping(bench: Bench) -> None:
    reader = bench.open()

    before = await reader.enter(1)
    await filled(bench)
    after = await reader.enter(2)

    assert (before.has_group, before.last, before.read, before.unfinished) == (False, None, None, None)
    assert (after.has_group, after.last, after.read, dict(after.kept)) == (False, at(2), None, {})


async def test_entries_are_read_once_oldest_first_and_byte_for_byte(bench: Bench) -> None:
    fields = {b"": b"\x00\xff\r\n", "zwölf".encode(): b"", b"x": b"y" * 1000}
    await bench.add(at(0), fields)
    await filled_from(bench, 1, 3)
    reader = await begun(bench)

    first = await reader.read(1, 10, LARGE)
    second = await reader.read(1, 10, LARGE)

    assert numbers(first.page) == [0, 1, 2]
    assert dict(first.page.entries[0].fields) == fields
    assert (first.page.through, first.page.is_last, first.is_held_back) == (at(2), True, False)
    assert (second.page.entries, second.page.is_last) == ((), True)


async def filled_from(bench: Bench, first: int, end: int) -> None:
    for number in range(first, end):
        await bench.add(at(number), {b"data": b"%d" % number})


async def test_a_read_begins_where_the_mapping_does(bench: Bench) -> None:
    await filled(bench)
    reader = await begun(bench, after=at(1))

    assert numbers((await reader.read(1, 10, LARGE)).page) == [2]


async def test_a_read_is_bounded_by_entries_and_by_bytes_but_gives_at_least_one(bench: Bench) -> None:
    for number in range(5):
        await bench.add(at(number), {b"data": b"x" * 1_000})
    reader = await begun(bench)

    first = (await reader.read(1, 2, LARGE)).page
    second = (await reader.read(1, 10, 1)).page

    assert (numbers(first), first.is_last) == ([0, 1], False)
    assert (numbers(second), second.is_last) == ([2], False)


async def test_a_read_is_held_back_while_too_much_is_pending(bench: Bench) -> None:
    await filled(bench, 8)
    reader = await begun(bench)

    first = await reader.read(1, 10, LARGE)
    second = await reader.read(1, 10, LARGE)
    await reader.settle(1, StreamSettlement(done=(at(0), at(1))))
    third = await reader.read(1, 10, LARGE)

    assert numbers(first.page) == [0, 1, 2, 3, 4]
    assert (second.page.entries, second.page.is_last, second.is_held_back) == ((), False, True)
    assert numbers(third.page) == [5, 6]


async def test_what_is_not_finished_is_pending_in_order(bench: Bench) -> None:
    await filled(bench, 5)
    reader = await begun(bench)
    await reader.read(1, 10, LARGE)
    await reader.settle(1, StreamSettlement(done=(at(1),)))

    whole = await reader.pending(1, BEGINNING, 10, LARGE)
    part = await reader.pending(1, at(0), 2, LARGE)
    small = await reader.pending(1, BEGINNING, 10, 1)

    assert (numbers(whole), whole.is_last, whole.through) == ([0, 2, 3, 4], True, at(4))
    assert (numbers(part), part.is_last, part.through) == ([2, 3], False, at(3))
    assert (numbers(small), small.is_last) == ([0], False)


async def test_pending_entries_that_were_trimmed_are_told(bench: Bench) -> None:
    await filled(bench, 4)
    reader = await begun(bench)
    await reader.read(1, 10, LARGE)
    await bench.trim(2)

    page = await reader.pending(1, BEGINNING, 10, LARGE)
    await reader.settle(1, StreamSettlement(done=page.gone))

    assert (numbers(page), page.gone) == ([2, 3], (at(0), at(1)))
    assert (await reader.pending(1, BEGINNING, 10, LARGE)).gone == ()


async def test_what_others_hold_is_taken_over(bench: Bench) -> None:
    await filled(bench, 3)
    reader = await begun(bench)
    await reader.read(1, 10, LARGE)
    await bench.hand_to_another()
    await bench.trim(2)
    hidden = await reader.pending(1, BEGINNING, 10, LARGE)

    facts = await reader.enter(2)
    gone = await reader.adopt(2)

    assert hidden.entries == ()
    assert (facts.foreign, gone) == (3, 1)
    assert numbers(await reader.pending(2, BEGINNING, 10, LARGE)) == [1, 2]


async def test_how_far_it_came_is_known_to_the_next_session(bench: Bench) -> None:
    await filled(bench, 3)
    reader = await begun(bench)
    await reader.read(1, 10, LARGE)
    await reader.settle(1, StreamSettlement(done=(at(0),), keep={"mark:x": b"\x00 1", "window:y": b"{}"}))

    facts = await bench.open().enter(2)

    assert (facts.has_group, facts.read, facts.unfinished) == (True, at(2), at(1))
    assert dict(facts.kept) == {"mark:x": b"\x00 1", "window:y": b"{}"}


async def test_when_all_is_finished_nothing_is_unfinished_and_facts_can_be_forgotten(bench: Bench) -> None:
    await filled(bench, 2)
    reader = await begun(bench)
    await reader.read(1, 10, LARGE)
    await reader.settle(1, StreamSettlement(done=(at(0),), keep={"mark:x": b"1", "mark:y": b"2"}))
    await reader.settle(1, StreamSettlement(done=(at(0), at(1)), forget=("mark:x", "mark:never")))

    facts = await reader.enter(2)

    assert (facts.read, facts.unfinished, dict(facts.kept)) == (at(1), None, {"mark:y": b"2"})


async def test_a_new_session_fences_off_the_one_before(bench: Bench) -> None:
    await filled(bench, 3)
    old = await begun(bench)
    await old.read(1, 2, LARGE)
    new = bench.open()
    await new.enter(2)

    for refused in (
        old.read(1, 10, LARGE),
        old.pending(1, BEGINNING, 10, LARGE),
        old.adopt(1),
        old.begin(1, BEGINNING, is_new_stream=False),
    ):
        with pytest.raises(StaleSession):
            await refused


async def test_handled_is_handled_even_if_a_stale_session_says_so_but_its_facts_are_not_kept(bench: Bench) -> None:
    await filled(bench, 2)
    old = await begun(bench)
    await old.read(1, 2, LARGE)
    new = bench.open()
    await new.enter(2)

    with pytest.raises(StaleSession):
        await old.settle(1, StreamSettlement(done=(at(0),), keep={"mark:x": b"1"}))

    assert numbers(await new.pending(2, BEGINNING, 10, LARGE)) == [1]
    assert dict((await new.enter(3)).kept) == {}


async def test_a_group_or_a_stream_that_is_gone_is_told(bench: Bench) -> None:
    await filled(bench)
    reader = await begun(bench)
    await bench.destroy_group()
    for refused in (reader.read(1, 10, LARGE), reader.pending(1, BEGINNING, 10, LARGE)):
        with pytest.raises(GroupLost):
            await refused

    await bench.delete()
    with pytest.raises(GroupLost):
        await reader.read(1, 10, LARGE)
    await reader.settle(1, StreamSettlement(done=(at(0),)))


async def test_a_lost_group_is_made_again_and_later_losses_begin_there(bench: Bench) -> None:
    await filled(bench, 4)
    reader = await begun(bench)
    await reader.read(1, 3, LARGE)
    await reader.settle(1, StreamSettlement(done=(at(0),)))
    await bench.destroy_group()
    lost = await reader.enter(2)
    await reader.begin(2, at(0), is_new_stream=False)
    again = await reader.enter(3)

    assert (lost.has_group, lost.read, lost.unfinished) == (False, at(2), at(1))
    assert (again.has_group, again.read, again.unfinished) == (True, at(0), None)
    assert numbers((await reader.read(3, 10, LARGE)).page) == [1, 2, 3]


async def test_of_another_stream_everything_is_forgotten(bench: Bench) -> None:
    await filled(bench, 2)
    reader = await begun(bench)
    await reader.read(1, 10, LARGE)
    await reader.settle(1, StreamSettlement(keep={"mark:x": b"1"}))
    await bench.delete()
    await bench.add(EntryId(5, 5), {b"data": b"new"})
    facts = await reader.enter(2)
    await reader.begin(2, BEGINNING, is_new_stream=True)

    assert (facts.has_group, facts.last, facts.read) == (False, EntryId(5, 5), at(1))
    assert [one.id for one in (await reader.read(2, 10, LARGE)).page.entries] == [EntryId(5, 5)]
    assert dict((await reader.enter(3)).kept) == {}


async def test_beginning_twice_changes_nothing(bench: Bench) -> None:
    await filled(bench, 2)
    reader = await begun(bench)
    await reader.read(1, 1, LARGE)
    await reader.begin(1, BEGINNING, is_new_stream=False)

    assert numbers((await reader.read(1, 10, LARGE)).page) == [1]
    assert (await reader.enter(2)).unfinished == at(0)


async def test_where_to_begin_is_kept_before_there_is_a_stream(bench: Bench) -> None:
    reader = await begun(bench, after=at(0))

    facts = await reader.enter(2)

    assert (facts.has_group, facts.last, facts.read) == (False, None, at(0))


async def test_a_wait_ends_with_the_next_entry_and_takes_nothing(bench: Bench) -> None:
    reader = await begun(bench)
    async with asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(reader.wait(BEGINNING, 60), name="waiting")
        await asyncio.sleep(0)
        await bench.add(at(0), {b"data": b"0"})
        await waiting
    await reader.wait(BEGINNING, 60)
    await reader.wait(at(0), 0.01)
    await reader.enter(2)
    await reader.begin(2, BEGINNING, is_new_stream=False)

    assert numbers((await reader.read(2, 10, LARGE)).page) == [0]


async def test_a_wait_that_is_cut_off_can_be_repeated(bench: Bench) -> None:
    await filled(bench, 1)
    reader = await begun(bench)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await reader.wait(at(0), 60)
    await bench.add(at(1), {b"data": b"1"})

    await reader.wait(at(0), 60)


async def test_each_group_has_its_own_place(bench: Bench) -> None:
    await filled(bench, 2)
    one, other = await begun(bench, group="one"), await begun(bench, group="other")

    assert numbers((await one.read(1, 10, LARGE)).page) == [0, 1]
    assert numbers((await other.read(1, 10, LARGE)).page) == [0, 1]


async def test_nothing_is_left_of_what_is_forgotten(bench: Bench) -> None:
    await filled(bench, 2)
    one, other = await begun(bench, group="one"), await begun(bench, group="other")
    await one.read(1, 10, LARGE)

    await one.forget()
    await one.forget()

    assert await bench.groups() == {"other"}
    facts = await one.enter(2)
    assert (facts.has_group, facts.read) == (False, None)
    await other.close()


async def test_many_are_finished_in_one_step(bench: Bench) -> None:
    await filled(bench, 5)
    reader = await begun(bench)
    await reader.read(1, 10, LARGE)
    many = (*(EntryId(1, number) for number in range(9_000)), at(0), at(4))

    await reader.settle(1, StreamSettlement(done=many))

    assert numbers(await reader.pending(1, BEGINNING, 10, LARGE)) == [1, 2, 3]


@pytest.mark.redis
class TestRedisItself:
    @pytest.fixture
    async def real(self, redis_url: str) -> AsyncIterator[RedisBench]:
        bench = RedisBench(redis_url, Redis.from_url(redis_url))
        yield bench
        await bench.close()

    async def test_a_key_of_another_type_is_no_stream(self, real: RedisBench) -> None:
        await cast(Any, real.client.rpush(real.key, "body"))

        with pytest.raises(QueueUnavailable, match="WRONGTYPE"):
            await real.open().enter(1)

    async def test_large_entries_are_not_read_by_the_dozen(self, real: RedisBench) -> None:
        for number in range(50):
            await real.add(at(number), {b"data": b"x" * 100_000})
        reader = RedisStreamReader(real.connections.connection(), real.mapping("g"), load_scripts(), run="run")
        real.readers.append(reader)
        await reader.enter(1)
        await reader.begin(1, BEGINNING, is_new_stream=False)

        assert len((await reader.read(1, 1000, 1_000_000)).page.entries) == 10

    async def test_sessions_of_another_run_are_others(self, real: RedisBench) -> None:
        await filled(real)
        old = await begun(real)
        new = RedisStreams(real.connections, run="next").open(real.mapping("g"))
        real.readers.append(new)
        await new.enter(1)

        with pytest.raises(StaleSession):
            await old.read(1, 1, LARGE)
