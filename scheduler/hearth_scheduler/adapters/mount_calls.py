"""The few mount system calls that the standard library lacks, as functions on file descriptors.

A mount made with the descriptor-based API (Linux 5.2; `mount_setattr` 5.12) is complete, flags included, before
it becomes visible anywhere. That matters twice: propagation copies the flags a mount has *when it is attached*,
so read-only must be set before; and a mount that is only a descriptor vanishes with the process that holds it.
Sources: open_tree(2), move_mount(2), mount_setattr(2), fsopen(2), umount2(2).
"""

import ctypes
import os
from collections.abc import Mapping
from enum import IntFlag
from functools import cache
from pathlib import Path

# The numbers are the same on every architecture Hearth runs on: they were assigned after the tables were unified.
_OPEN_TREE, _MOVE_MOUNT, _FSOPEN, _FSCONFIG, _FSMOUNT, _MOUNT_SETATTR = 428, 429, 430, 431, 432, 442

_AT_FDCWD = -100
_AT_EMPTY_PATH = 0x1000
_OPEN_TREE_CLONE = 1
_CLOEXEC = 1  # FSOPEN_CLOEXEC and FSMOUNT_CLOEXEC
_MOVE_MOUNT_F_EMPTY_PATH = 4
_FSCONFIG_SET_FLAG, _FSCONFIG_SET_STRING, _FSCONFIG_CMD_CREATE = 0, 1, 6

_MS_BIND, _MS_PRIVATE, _MS_SHARED = 1 << 12, 1 << 18, 1 << 20
_MNT_DETACH = 2


class Attribute(IntFlag):
    """Mount attributes, MOUNT_ATTR_* of <linux/mount.h>."""

    READ_ONLY = 1
    NOSUID = 2
    NODEV = 4


class _MountAttr(ctypes.Structure):
    """`struct mount_attr` of mount_setattr(2)."""

    _fields_ = (
        ("attr_set", ctypes.c_uint64),
        ("attr_clr", ctypes.c_uint64),
        ("propagation", ctypes.c_uint64),
        ("userns_fd", ctypes.c_uint64),
    )


@cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _checked(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), what)
    return result


def _system_call(number: int, what: str, *arguments: object) -> int:
    """syscall(2) reads every argument as a long; ctypes would pass an int of half that width."""
    wide = [ctypes.c_long(value) if isinstance(value, int) else value for value in arguments]
    return _checked(_libc().syscall(ctypes.c_long(number), *wide), what)


def clone_tree(path: Path, attributes: Attribute) -> int:
    """A detached bind mount of `path` with these attributes; the caller owns the descriptor.

    Its propagation is private: on hosts where `/` is shared the copy would otherwise stay a peer of the original.
    """
    flags = _OPEN_TREE_CLONE | os.O_CLOEXEC
    tree = _system_call(_OPEN_TREE, f"open_tree {path}", _AT_FDCWD, os.fsencode(path), flags)
    try:
        wanted = _MountAttr(attr_set=attributes, propagation=_MS_PRIVATE)
        size = ctypes.c_size_t(ctypes.sizeof(wanted))
        _system_call(_MOUNT_SETATTR, "mount_setattr", tree, b"", _AT_EMPTY_PATH, ctypes.byref(wanted), size)
    except OSError:
        os.close(tree)
        raise
    return tree


def new_filesystem(kind: str, options: Mapping[str, str | None], attributes: Attribute) -> int:
    """A detached mount of a filesystem; `None` marks an option without a value. The caller owns the descriptor."""
    context = _system_call(_FSOPEN, f"fsopen {kind}", kind.encode(), _CLOEXEC)
    try:
        for name, value in options.items():
            _set_option(context, name, value)
        _system_call(_FSCONFIG, f"create {kind}", context, _FSCONFIG_CMD_CREATE, None, None, 0)
        return _system_call(_FSMOUNT, f"fsmount {kind}", context, _CLOEXEC, int(attributes))
    finally:
        os.close(context)


def _set_option(context: int, name: str, value: str | None) -> None:
    command = _FSCONFIG_SET_FLAG if value is None else _FSCONFIG_SET_STRING
    text = None if value is None else value.encode()
    _system_call(_FSCONFIG, f"option {name}", context, command, name.encode(), text, 0)


def attach(mount: int, target: Path) -> None:
    """Make a detached mount visible at `target`. The descriptor stays the caller's to close."""
    arguments = (mount, b"", _AT_FDCWD, os.fsencode(target), _MOVE_MOUNT_F_EMPTY_PATH)
    _system_call(_MOVE_MOUNT, f"move_mount {target}", *arguments)


def make_shared(directory: Path) -> None:
    """Make `directory` a mount point of its own, in a peer group of its own.

    First private, then shared: where the parent is shared the new mount is born into the parent's group, and
    everything attached below would appear in every other mount namespace of the host.
    """
    path = os.fsencode(directory)
    _mount(path, path, _MS_BIND)
    _mount(None, path, _MS_PRIVATE)
    _mount(None, path, _MS_SHARED)


def _mount(source: bytes | None, target: bytes, flags: int) -> None:
    result = _libc().mount(source, target, None, ctypes.c_ulong(flags), None)
    _checked(result, f"mount {os.fsdecode(target)}")


def detach(target: Path) -> None:
    """Unmount the topmost mount at `target` even if something still uses it; OSError EINVAL if there is none."""
    _checked(_libc().umount2(os.fsencode(target), _MNT_DETACH), f"umount {target}")
