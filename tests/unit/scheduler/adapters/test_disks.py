"""Loop devices and disks where things go wrong; how they work is shown in the contract suite of the slots."""

import fcntl
import os
from pathlib import Path

import pytest

from hearth_scheduler.adapters import loop_device
from hearth_scheduler.adapters.scratch_disks import ScratchDisks, image_bytes

_MIB = 2**20


def test_a_disk_is_larger_than_what_must_be_free_in_it() -> None:
    for size_mib in (512, 513, 1024, 10_240):
        assert size_mib * _MIB < image_bytes(size_mib) < size_mib * 1.08 * _MIB


def test_a_host_without_loop_devices_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop_device, "_CONTROL", Path("/dev/none-such"))
    with pytest.raises(loop_device.NoLoopDevices, match="none-such"):
        loop_device.open_loop(0)


def test_a_device_that_somebody_else_took_is_not_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    control = tmp_path / "control"
    control.touch()
    taken = iter([None, None, 99])
    numbers = iter([3, 4, 5])
    monkeypatch.setattr(loop_device, "_CONTROL", control)
    monkeypatch.setattr(fcntl, "ioctl", lambda descriptor, request: next(numbers))
    monkeypatch.setattr(loop_device, "_bind", lambda path, file: next(taken))
    assert loop_device.open_loop(0) == (99, "/dev/loop5")


def test_when_every_device_is_taken_it_gives_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    control = tmp_path / "control"
    control.touch()
    monkeypatch.setattr(loop_device, "_CONTROL", control)
    monkeypatch.setattr(fcntl, "ioctl", lambda descriptor, request: 0)
    monkeypatch.setattr(loop_device, "_bind", lambda path, file: None)
    with pytest.raises(loop_device.NoLoopDevices, match="no loop device"):
        loop_device.open_loop(0)


def test_a_format_that_fails_leaves_no_template(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool = tmp_path / "bin" / "mkfs.ext4"
    tool.parent.mkdir()
    tool.write_text("#!/bin/sh\necho out of luck >&2\nexit 1\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tool.parent}:{os.environ['PATH']}")
    with pytest.raises(OSError, match="out of luck"):
        ScratchDisks(tmp_path / "disks").make(512)
    assert list((tmp_path / "disks").iterdir()) == []
