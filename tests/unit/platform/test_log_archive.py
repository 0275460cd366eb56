"""Log groups: events found by time, stream and text, in pages that lose and repeat nothing."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hearth.core.errors import ResourceNotFound
from hearth.core.log_events import SILENCE_MS
from hearth.log_archive import LogArchive, Search
from hearth.logs import DAY_MS, FunctionLogs

HELLO = "/aws/lambda/hello"
SHARED = "/team/shared"
BUDGET = 2**20


class Clock:
    """Epoch seconds that pass when told."""

    def __init__(self) -> None:
        self.ms = 1_795_000_000_000

    def __call__(self) -> float:
        return self.ms / 1000


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def logs(tmp_path: Path, clock: Clock) -> AsyncIterator[FunctionLogs]:
    async with FunctionLogs(tmp_path / "logs", BUDGET, clock=clock) as opened:
        yield opened


@pytest.fixture
def archive(logs: FunctionLogs) -> LogArchive:
    return LogArchive(logs)


async def messages(archive: LogArchive, search: Search) -> list[str]:
    return [event.message for event in (await archive.search(search)).events]


async def test_output_makes_its_group_and_is_found_at_once(
    logs: FunctionLogs, archive: LogArchive, clock: Clock
) -> None:
    with pytest.raises(ResourceNotFound, match="The specified log group does not exist"):
        await archive.search(Search(HELLO))
    logs.append(HELLO, "s", b"one\ntwo\n", clock.ms)
    assert await messages(archive, Search(HELLO)) == ["one\n", "two\n"]
    assert [(group.name, group.created_ms) for group in archive.groups()] == [(HELLO, clock.ms)]


async def test_events_of_several_functions_in_one_group_are_in_the_order_of_time(
    logs: FunctionLogs, archive: LogArchive, clock: Clock
) -> None:
    for index, stream in enumerate("abab"):
        logs.append(SHARED, stream, f"{index}\n".encode(), clock.ms + index)
    assert await messages(archive, Search(SHARED)) == ["0\n", "1\n", "2\n", "3\n"]
    only = Search(SHARED, is_wanted=lambda event: event.stream == "b")
    assert await messages(archive, only) == ["1\n", "3\n"]


async def test_pages_lose_and_repeat_nothing_in_both_directions(
    logs: FunctionLogs, archive: LogArchive, clock: Clock
) -> None:
    for index in range(25):
        logs.append(HELLO, "s", f"{index}\n".encode(), clock.ms + index // 4)
    seen, after = list[str](), ""
    for _ in range(100):
        found = await archive.search(Search(HELLO, after_id=after, most=4))
        seen += [event.message for event in found.events]
        if not found.has_more:
            break
        after = found.events[-1].event_id
    assert seen == [f"{index}\n" for index in range(25)]
    newest = await archive.search(Search(HELLO, most=4, newest=True))
    assert [event.message for event in newest.events] == ["21\n", "22\n", "23\n", "24\n"]
    older = Search(HELLO, most=3, newest=True, before_id=newest.events[0].event_id)
    assert await messages(archive, older) == ["18\n", "19\n", "20\n"]


async def test_both_ends_of_a_time_are_included(logs: FunctionLogs, archive: LogArchive) -> None:
    for at_ms in (1, 2, 3, 4):
        logs.append(HELLO, "s", f"{at_ms}\n".encode(), at_ms)
    assert await messages(archive, Search(HELLO, since_ms=2, until_ms=3)) == ["2\n", "3\n"]


async def test_a_page_is_a_megabyte_at_most_but_never_empty(
    logs: FunctionLogs, archive: LogArchive, clock: Clock
) -> None:
    async with logs.settled():
        await logs.put(HELLO, [])
    for index in range(6):
        logs.append(HELLO, "s", b"x" * 2**16 + b"\n", clock.ms + index)
    found = await archive.search(Search(HELLO))
    assert 0 < sum(len(event.message) for event in found.events) <= BUDGET


async def test_what_was_put_is_found_at_its_own_time(logs: FunctionLogs, archive: LogArchive, clock: Clock) -> None:
    logs.append(HELLO, "s", b"now\n", clock.ms)
    assert await archive.create_stream(HELLO, "own")
    await archive.put(HELLO, [(clock.ms - 5, "own", "two\nlines", clock.ms), (clock.ms + 5, "own", "later", clock.ms)])
    assert await messages(archive, Search(HELLO)) == ["two\nlines", "now\n", "later"]
    assert not await archive.create_stream(HELLO, "own")
    assert not await archive.create_stream(HELLO, "s")
    assert [(stream.name, stream.first_ms, stream.last_ms) for stream in await archive.streams(HELLO)] == [
        ("own", clock.ms - 5, clock.ms + 5),
        ("s", clock.ms, clock.ms),
    ]


async def test_a_half_line_is_found_once_its_stream_is_silent(
    logs: FunctionLogs, archive: LogArchive, clock: Clock
) -> None:
    logs.append(HELLO, "s", b"working", clock.ms)
    assert await messages(archive, Search(HELLO)) == []
    clock.ms += SILENCE_MS + 1
    assert await messages(archive, Search(HELLO)) == ["working"]


async def test_old_events_are_hidden_at_once_and_removed_in_time(
    logs: FunctionLogs, archive: LogArchive, clock: Clock, tmp_path: Path
) -> None:
    logs.append(HELLO, "old", b"old\n", clock.ms)
    clock.ms += DAY_MS
    logs.append(HELLO, "new", b"new\n", clock.ms)
    assert len(await messages(archive, Search(HELLO))) == 2
    await archive.retain(HELLO, 1)
    clock.ms += 1
    assert await messages(archive, Search(HELLO)) == ["new\n"]
    assert [text for _, _, text in await logs.tail(HELLO, 1000)] == ["new\n"]
    assert [stream.name for stream in await archive.streams(HELLO)] == ["new"]
    clock.ms += DAY_MS
    logs.append(HELLO, "next", b"next\n", clock.ms)
    await logs.expire()
    content = b"".join(path.read_bytes() for path in (tmp_path / "logs" / "hello").glob("*.jsonl"))
    assert (b"old" in content, b"next" in content) == (False, True)
    await archive.retain(HELLO, None)
    assert archive.group(HELLO).retention_days is None


def files(directory: Path) -> list[str]:
    return [path.name for path in directory.iterdir()]


async def test_what_is_known_of_a_group_survives_a_restart(tmp_path: Path, clock: Clock) -> None:
    async with FunctionLogs(tmp_path, BUDGET, clock=clock) as logs:
        archive = LogArchive(logs)
        assert await archive.create(SHARED, {"a": "b"})
        assert not await archive.create(SHARED, {})
        await archive.retain(SHARED, 7)
        await archive.create_stream(SHARED, "made")
        logs.append(SHARED, "s", b"kept\n", clock.ms)
        before = archive.group(SHARED)
    async with FunctionLogs(tmp_path, BUDGET, clock=clock) as logs:
        archive = LogArchive(logs)
        assert archive.groups() == [before]
        assert logs.ring(SHARED).keeps_days == 7
        assert await messages(archive, Search(SHARED)) == ["kept\n"]
        assert (await archive.sizes([SHARED]))[SHARED] > 0
        await archive.delete(SHARED)
    async with FunctionLogs(tmp_path, BUDGET, clock=clock) as logs:
        assert LogArchive(logs).groups() == []
        assert files(tmp_path) == []


async def test_logs_from_before_groups_had_files_are_those_of_functions(tmp_path: Path, clock: Clock) -> None:
    (tmp_path / "hello").mkdir()
    (tmp_path / "hello" / "0000000001.jsonl").write_bytes(b'[5,"s","old\\n"]\n')
    async with FunctionLogs(tmp_path, BUDGET, clock=clock) as logs:
        archive = LogArchive(logs)
        assert [group.name for group in archive.groups()] == [HELLO]
        assert await messages(archive, Search(HELLO)) == ["old\n"]
        await archive.tag(HELLO, {"k": "v"})
    async with FunctionLogs(tmp_path, BUDGET, clock=clock) as logs:
        assert LogArchive(logs).group(HELLO).tags == {"k": "v"}


@pytest.mark.parametrize("name", [HELLO, SHARED, "hello", "/aws/lambda/with/slash", "x" * 512, "@" + "a" * 40])
async def test_every_group_has_a_directory_of_its_own(logs: FunctionLogs, tmp_path: Path, name: str) -> None:
    place = logs.groups.place(name)
    assert place.parent == tmp_path / "logs"
    others = {HELLO, SHARED, "hello", "/aws/lambda/with/slash"} - {name}
    assert place not in {logs.groups.place(other) for other in others}
    assert len(place.name) < 100
