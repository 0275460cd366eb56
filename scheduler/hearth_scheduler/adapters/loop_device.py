"""Loop devices: a file as a block device. Source: loop(4), <linux/loop.h>."""

import errno
import fcntl
import os
import struct
from pathlib import Path

_CONTROL = Path("/dev/loop-control")
_CTL_GET_FREE = 0x4C82
_CONFIGURE = 0x4C0A
_AUTOCLEAR = 4  # LO_FLAGS_AUTOCLEAR
_BLOCK_BYTES = 4096
_NAME = b"hearth"
_ATTEMPTS = 64

# struct loop_config: descriptor, block size, struct loop_info64, reserved.
_CONFIG = struct.Struct("=II QQQQQ IIII 64s 64s 32s QQ 64s")


class NoLoopDevices(OSError):
    """This host offers no loop devices (no /dev/loop-control, or no access to it)."""


def open_loop(file: int) -> tuple[int, str]:
    """Bind a free loop device to the file and return its descriptor and its path.

    The device frees itself when its last user (a mount, a descriptor) is gone, so no crash can leave one behind.
    Asking for a free number and taking it are two steps: others may come between, hence the attempts.
    """
    control = _open_control()
    try:
        for _ in range(_ATTEMPTS):
            path = f"/dev/loop{fcntl.ioctl(control, _CTL_GET_FREE)}"
            device = _bind(path, file)
            if device is not None:
                return device, path
    finally:
        os.close(control)
    raise NoLoopDevices(errno.EBUSY, "no loop device could be had")


def _open_control() -> int:
    try:
        return os.open(_CONTROL, os.O_RDWR | os.O_CLOEXEC)
    except OSError as problem:
        raise NoLoopDevices(problem.errno, str(problem)) from problem


def _bind(path: str, file: int) -> int | None:
    """The device's descriptor, or None if somebody else was faster."""
    try:
        device = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError as problem:
        raise NoLoopDevices(errno.ENOENT, f"{path} does not exist") from problem
    try:
        fcntl.ioctl(device, _CONFIGURE, _config(file))
    except OSError as problem:
        os.close(device)
        if problem.errno == errno.EBUSY:
            return None
        raise
    return device


def _config(file: int) -> bytes:
    zeros = (0,) * 8
    return _CONFIG.pack(file, _BLOCK_BYTES, *zeros, _AUTOCLEAR, _NAME, b"", b"", 0, 0, b"")
