"""Reads the kernel's list of mounts. Source: proc_pid_mountinfo(5)."""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_OWN_TABLE = Path("/proc/self/mountinfo")
_FIELDS_BEFORE, _FIELDS_AFTER = 6, 3
_ESCAPE = re.compile(r"\\([0-7]{3})")


@dataclass(frozen=True, slots=True)
class MountPoint:
    """One line of the table: `root` is the part of the filesystem seen at `path`; `options` are the superblock's."""

    path: Path
    root: str
    kind: str
    options: frozenset[str]
    is_shared: bool


def parse_mounts(text: str) -> Iterator[MountPoint]:
    """Every mount of a mountinfo text, in the kernel's order. A line of unknown form is passed over."""
    for line in text.split("\n"):  # not splitlines: it knows more line ends than the kernel
        left, separator, right = line.partition(" - ")
        before, after = left.split(" "), right.split(" ")
        if separator and len(before) >= _FIELDS_BEFORE and len(after) >= _FIELDS_AFTER:
            yield MountPoint(
                path=Path(_plain(before[4])),
                root=_plain(before[3]),
                kind=after[0],
                options=frozenset(after[2].split(",")),
                is_shared=any(tag.startswith("shared:") for tag in before[6:]),
            )


def read_mounts() -> list[MountPoint]:
    """The mounts that this process sees."""
    return list(parse_mounts(os.fsdecode(_OWN_TABLE.read_bytes())))


def _plain(field: str) -> str:
    r"""Undo the kernel's escapes of blank, tab, newline and backslash: `\040` is a blank."""
    return _ESCAPE.sub(lambda found: chr(int(found[1], 8)), field)
