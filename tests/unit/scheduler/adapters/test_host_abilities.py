"""Choosing what the host allows, with the reason in words."""

import os
from pathlib import Path

import pytest

from hearth_scheduler.adapters import mount_calls
from hearth_scheduler.adapters.cgroup_limits import CgroupLimits
from hearth_scheduler.adapters.docker_template import BindMode
from hearth_scheduler.adapters.host_abilities import choose_limits, choose_slots
from hearth_scheduler.adapters.link_slots import LinkSlots
from hearth_scheduler.adapters.mount_slots import MountSlots
from hearth_scheduler.adapters.update_limits import DockerUpdateLimits

_LOCAL = {"SecurityOptions": ["name=seccomp,profile=default"], "OperatingSystem": "Debian"}


@pytest.fixture
def no_mounting(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(mount_calls, "make_shared", refuse)


def test_linking_is_chosen_when_configured(tmp_path: Path) -> None:
    choice = choose_slots(tmp_path, "link", _LOCAL)
    assert isinstance(choice.slots, LinkSlots)
    assert choice.bind_mode is BindMode.LINK
    assert "as configured" in choice.why


@pytest.mark.parametrize(
    ("info", "reason"),
    [
        ({"SecurityOptions": ["name=rootless"]}, "rootless"),
        ({"OperatingSystem": "Docker Desktop"}, "virtual machine"),
        ({"DefaultRuntime": "runsc"}, "gVisor"),
    ],
)
def test_an_engine_that_would_not_see_our_mounts_gets_links(
    tmp_path: Path, info: dict[str, object], reason: str
) -> None:
    choice = choose_slots(tmp_path, "auto", info)
    assert choice.bind_mode is BindMode.LINK
    assert reason in choice.why


@pytest.mark.usefixtures("no_mounting")
def test_a_host_where_mounting_fails_gets_links(tmp_path: Path) -> None:
    choice = choose_slots(tmp_path, "auto", _LOCAL)
    assert choice.bind_mode is BindMode.LINK
    assert "Operation not permitted" in choice.why


@pytest.mark.usefixtures("no_mounting")
def test_mounting_that_was_demanded_but_fails_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(PermissionError):
        choose_slots(tmp_path, "mount", _LOCAL)


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
async def test_root_on_a_plain_host_mounts(tmp_path: Path) -> None:
    choice = choose_slots(tmp_path, "auto", _LOCAL)
    assert isinstance(choice.slots, MountSlots)
    assert choice.bind_mode is BindMode.MOUNT
    assert choice.why.startswith("mounts")
    await choice.slots.destroy()
    choice.slots.close()


def test_limits_that_cannot_be_written_go_through_the_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    choice = choose_limits()
    assert isinstance(choice.limits, DockerUpdateLimits)
    assert "engine updates" in choice.why
    choice.limits.close()


def test_limits_that_can_be_written_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: True)
    assert isinstance(choose_limits().limits, CgroupLimits)
