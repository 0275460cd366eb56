"""Function output: in memory at once, on disk soon, bounded everywhere."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

import pytest

from hearth.log_ring import Entry
from hearth.logs import FOLLOWER_BYTES, PENDING_BYTES_PER_GROUP, FunctionLogs
from hearth.ports import LogReader, LogSink

F = "/aws/lambda/hello"
G = "/team/other"
BUDGET = 16 * 2**20


@pytest.fixture
async def logs(tmp_path: Path) -> AsyncIterator[FunctionLogs]:
    async with FunctionLogs(tmp_path / "logs", BUDGET) as opened:
        yield opened


def text_of(entries: list[Entry]) -> str:
    return "".join(text for _, _, text in entries)


def test_function_logs_are_a_sink_and_a_reader(tmp_path: Path) -> None:
    logs = FunctionLogs(tmp_path, BUDGET)
    sink: LogSink = logs
    reader: LogReader = logs
    assert {id(sink), id(reader)} == {id(logs)}


async def test_what_was_appended_is_in_the_tail_at_once(logs: FunctionLogs) -> None:
    logs.append(F, "s1", b"one\n", 1)
    logs.append(F, "s2", b"two\n", 2)
    assert await logs.tail(F, 1000) == [(1, "s1", "one\n"), (2, "s2", "two\n")]
    assert await logs.tail(G, 1000) == []


async def test_output_survives_a_restart(tmp_path: Path) -> None:
    async with FunctionLogs(tmp_path, BUDGET) as logs:
        logs.append(F, "s", b"kept\n", 1)
    async with FunctionLogs(tmp_path, BUDGET) as logs:
        assert text_of(await logs.tail(F, 1000)) == "kept\n"
        assert [group.name for group in logs.groups.all()] == [F]


async def test_the_writer_writes_without_being_asked(logs: FunctionLogs, tmp_path: Path) -> None:
    logs.append(F, "s", b"asked for\n", 1)
    async with asyncio.timeout(10), aclosing(logs.follow(F, 1000)) as following:
        assert await anext(following) == (1, "s", "asked for\n")
        logs.append(F, "s", b"written behind\n", 2)
        assert await anext(following) == (2, "s", "written behind\n")
    assert list((tmp_path / "logs" / "hello").iterdir())


async def test_a_flood_costs_no_more_than_the_bound_and_says_what_is_missing(logs: FunctionLogs) -> None:
    piece = b"x" * 2**16
    count = 100 * 2**20 // len(piece)
    for index in range(count):
        logs.append(F, "s", piece, index)
    logs.append(F, "s", b"REPORT\n", count)
    logs.append(G, "s", b"quiet neighbour\n", 1)
    assert logs._pending[F].bytes <= PENDING_BYTES_PER_GROUP
    text = text_of(await logs.tail(F, BUDGET))
    missing = int(text.partition("[hearth] ")[2].partition(" ")[0])
    assert missing + text.count("x") == count * len(piece)
    assert text.endswith("REPORT\n")
    assert text_of(await logs.tail(G, 1000)) == "quiet neighbour\n"


async def test_output_byte_by_byte_is_bounded_too(logs: FunctionLogs) -> None:
    for index in range(PENDING_BYTES_PER_GROUP // 100):
        logs.append(F, "s", b".", index)
    assert logs._pending[F].bytes <= PENDING_BYTES_PER_GROUP
    assert "bytes of output are missing here" in text_of(await logs.tail(F, BUDGET))


async def test_a_disk_that_takes_nothing_costs_output_and_nothing_else(tmp_path: Path) -> None:
    in_the_way = tmp_path / "hello"
    in_the_way.write_text("not a directory")
    async with FunctionLogs(tmp_path, BUDGET) as logs:
        logs.append(F, "s", b"lost\n", 1)
        logs.append(G, "s", b"fine\n", 1)
        assert text_of(await logs.tail(G, 1000)) == "fine\n"
        in_the_way.unlink()
        logs.append(F, "s", b"back\n", 2)
        text = text_of(await logs.tail(F, 1000))
    assert text == "\n[hearth] 5 bytes of output are missing here: the disk did not take it\nback\n"


async def test_following_begins_where_the_tail_ends(logs: FunctionLogs) -> None:
    logs.append(F, "s", b"old\n", 1)
    async with aclosing(logs.follow(F, 1000)) as following:
        assert (await anext(following))[2] == "old\n"
        logs.append(F, "s", b"new\n", 2)
        assert (await anext(following))[2] == "new\n"


async def test_a_slow_follower_is_told_what_it_missed(logs: FunctionLogs) -> None:
    async with aclosing(logs.follow(F, 1000)) as following:
        logs.append(F, "s", b"first\n", 0)
        assert (await anext(following))[2] == "first\n"
        for index in range(3 * FOLLOWER_BYTES // 2**17):
            logs.append(F, "s", b"x" * 2**17, index)
        await logs.tail(F, 1)
        received = ""
        while "[hearth]" not in received:
            received += (await anext(following))[2]
    missing = int(received.partition("[hearth] ")[2].partition(" ")[0])
    assert missing + received.count("x") == 3 * FOLLOWER_BYTES
    assert received.count("x") <= FOLLOWER_BYTES + 2**17


async def test_deleting_a_group_deletes_its_output_and_ends_its_followers(logs: FunctionLogs) -> None:
    logs.append(F, "s", b"old\n", 1)
    async with aclosing(logs.follow(F, 1000)) as following:
        assert (await anext(following))[2] == "old\n"
        async with logs.settled():
            await logs.delete(F)
        assert [entry async for entry in following] == []
    assert logs.groups.all() == []
    logs.append(F, "s", b"of the next one\n", 2)
    assert text_of(await logs.tail(F, 1000)) == "of the next one\n"


async def test_readers_of_output_see_line_breaks_where_a_record_has_carriage_returns(logs: FunctionLogs) -> None:
    logs.append(F, "s", b"boom\rtraceback\n", 1)
    async with aclosing(logs.follow(F, 1000)) as following:
        assert (await anext(following))[2] == "boom\ntraceback\n"
        logs.append(F, "s", b"again\rtraceback\n", 1)
        assert (await anext(following))[2] == "again\ntraceback\n"


async def test_a_follower_that_goes_leaves_nothing_behind(logs: FunctionLogs) -> None:
    logs.append(F, "s", b"old\n", 1)
    async with aclosing(logs.follow(F, 1000)) as following:
        await anext(following)
    assert not logs._followers


async def test_stopping_ends_the_followers(tmp_path: Path) -> None:
    async with FunctionLogs(tmp_path, BUDGET) as logs:
        following = logs.follow(F, 1000)
        logs.append(F, "s", b"last words\n", 1)
        assert (await anext(following))[2] == "last words\n"
    assert [entry async for entry in following] == []
