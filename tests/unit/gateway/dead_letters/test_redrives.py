"""Redrives in virtual time, over boxes in memory."""

import asyncio
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
from tests.unit.gateway.sources.stage import in_virtual_time

from hearth.core.errors import ResourceConflict, ResourceNotFound
from hearth_gateway.core.dead_view import Dead
from hearth_gateway.core.redrive import RedriveState
from hearth_gateway.dead_letters.ports import Box, BoxUnavailable
from hearth_gateway.dead_letters.redrives import Redrives
from hearth_gateway.sources.testing import LoopClock


@dataclass
class ListedBox:
    """A box that is a list. `fails` calls to `revive` fail; while `comes_back`, what is sent again dies again."""

    letters: list[Dead] = field(default_factory=list)
    sent: list[str] = field(default_factory=list)
    fails: int = 0
    comes_back: bool = False

    async def count(self) -> int:
        return len(self.letters)

    async def page(self, after: int, limit: int, until_ms: int | None = None) -> Sequence[Dead]:
        return [one for one in self.letters if until_ms is None or one.last_ms <= until_ms][after : after + limit]

    async def find(self, ids: Collection[str]) -> Sequence[Dead]:
        return [one for one in self.letters if one.id in ids]

    async def revive(self, letters: Sequence[Dead], now_ms: int) -> int:
        if self.fails:
            self.fails -= 1
            raise BoxUnavailable("down")
        back = [one for one in letters if one.source and one in self.letters]
        for one in back:
            self.letters.remove(one)
            self.sent.append(one.id)
            if self.comes_back:
                self.letters.append(letter(one.id, at_ms=now_ms + 1))
        return len(back)

    async def remove(self, letters: Sequence[Dead]) -> int:
        return 0

    async def purge(self) -> int:
        return 0


class OneBox:
    """The only box is called `box`."""

    def __init__(self, box: ListedBox) -> None:
        self.box = box

    async def names(self) -> Sequence[str]:
        return ["box"]

    def open(self, name: str) -> Box:
        if name != "box":
            raise ResourceNotFound(name)
        return self.box


class Kept:
    """Records of redrives that outlive the process."""

    def __init__(self) -> None:
        self.records: dict[str, bytes] = {}

    async def load_all(self) -> dict[str, bytes]:
        return dict(self.records)

    async def put(self, redrive_id: str, record: bytes, /) -> None:
        self.records[redrive_id] = record

    async def delete(self, redrive_id: str, /) -> None:
        self.records.pop(redrive_id, None)


def letter(identity: str, *, source: str = "arn:x", at_ms: int = 1) -> Dead:
    return Dead(identity, b"{}", source, "x", last_ms=at_ms)


def box_of(count: int) -> ListedBox:
    return ListedBox([letter(f"id-{number}") for number in range(count)])


@asynccontextmanager
async def redrives(box: ListedBox, kept: Kept | None = None) -> AsyncIterator[Redrives]:
    async with Redrives(kept or Kept(), OneBox(box), LoopClock()) as found:
        yield found


async def over(found: Redrives, identity: str = "r") -> RedriveState:
    clock = LoopClock()
    while found.find(identity).state.is_active:
        await clock.pause(0.1)
    return found.find(identity).state


@in_virtual_time
async def test_all_letters_go_back_once_each() -> None:
    box = box_of(250)
    async with redrives(box) as found:
        await found.start("r", "box")
        assert await over(found) is RedriveState.COMPLETED
        assert sorted(box.sent) == sorted(f"id-{number}" for number in range(250))
        assert (found.find("r").moved, found.find("r").passed, found.find("r").left) == (250, 0, 0)


@in_virtual_time
async def test_named_letters_go_back_and_those_that_are_gone_are_passed_over() -> None:
    box = box_of(5)
    async with redrives(box) as found:
        await found.start("r", "box", ids=["id-3", "nobody", "id-1"])
        await over(found)
        assert (sorted(box.sent), found.find("r").moved, found.find("r").passed) == (["id-1", "id-3"], 2, 1)


@in_virtual_time
async def test_a_letter_whose_way_back_nobody_knows_stays_and_holds_up_nobody() -> None:
    box = ListedBox([letter("lost", source=""), *box_of(3).letters])
    async with redrives(box) as found:
        await found.start("r", "box", per_second=10)
        await over(found)
        assert ([one.id for one in box.letters], len(box.sent), found.find("r").passed) == (["lost"], 3, 1)


@in_virtual_time
async def test_what_dies_again_is_not_carried_round_and_round() -> None:
    box = box_of(20)
    box.comes_back = True
    async with redrives(box) as found:
        await found.start("r", "box")
        await over(found)
        assert len(box.sent) == 20


@in_virtual_time
async def test_a_rate_is_kept() -> None:
    box, clock = box_of(100), LoopClock()
    async with redrives(box) as found:
        began = clock.now_ms()
        await found.start("r", "box", per_second=20)
        await over(found)
        assert 4_500 <= clock.now_ms() - began <= 5_500


@in_virtual_time
async def test_a_cancelled_redrive_stops_and_what_was_sent_is_sent() -> None:
    box = box_of(100)
    async with redrives(box) as found:
        await found.start("r", "box", per_second=10)
        await asyncio.sleep(2)
        await found.cancel("r")
        assert await over(found) is RedriveState.CANCELLED
        assert 10 <= len(box.sent) <= 30
        with pytest.raises(ResourceConflict):
            await found.cancel("r")


@in_virtual_time
async def test_a_redrive_that_was_under_way_at_a_crash_goes_on_at_the_next_start() -> None:
    box, kept = box_of(100), Kept()
    async with redrives(box, kept) as found:
        await found.start("r", "box", per_second=10)
        await asyncio.sleep(2)
    async with redrives(box, kept) as again:
        assert await over(again) is RedriveState.COMPLETED
        assert (box.letters, len(box.sent)) == ([], 100)


@in_virtual_time
async def test_a_box_that_is_away_for_a_while_is_waited_for() -> None:
    box = box_of(3)
    box.fails = 4
    async with redrives(box) as found:
        await found.start("r", "box")
        await over(found)
        assert len(box.sent) == 3


@in_virtual_time
async def test_a_box_has_one_redrive_at_a_time() -> None:
    async with redrives(box_of(100)) as found:
        await found.start("r", "box", per_second=10)
        with pytest.raises(ResourceConflict, match="under way"):
            await found.start("s", "box")
        with pytest.raises(ResourceNotFound):
            await found.start("t", "elsewhere")
        assert [one.id for one in found] == ["r"]


@in_virtual_time
async def test_a_record_that_cannot_be_read_is_no_redrive() -> None:
    kept = Kept()
    kept.records["x"] = b"junk"
    async with redrives(box_of(1), kept) as found:
        assert list(found) == []
