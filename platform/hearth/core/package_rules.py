"""What a deployment package may hold, decided from its table of contents alone.

Rule 1: nothing may lie or point outside the package, whatever links lead through.
Rule 2: sizes are bounded as declared here; the reader of the zip bounds them again as they turn out to be.
Rule 3: permissions are kept, made readable. The service runs code as another user than the one who packed it, and so
do we; a package made on Windows, or by a library that writes 0600, must still be readable. So every file is readable
by all, and executable by all where its owner may execute it; set-id, sticky and foreign write bits are dropped.
Source: "Lambda quotas" and "Working with .zip file archives" in the AWS Lambda developer guide; APPNOTE.TXT 6.3 for
the meaning of the fields.
"""

import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum

from hearth.core.errors import InvalidParameterValue, RequestTooLarge

MAX_ZIPPED_BYTES = 52_428_800
MAX_UNZIPPED_BYTES = 262_144_000
MAX_ENTRIES = 100_000
"""Ours: the largest dependency trees that fit into 250 MB have some 60,000 files."""

MAX_NAME_BYTES = 255
MAX_PATH_BYTES = 3_072
"""Leaves room, within Linux's 4,096, for the directory in which the package is unpacked."""
MAX_LINK_BYTES = 4_095
MAX_LINK_HOPS = 40

STORED, DEFLATED = 0, 8
_METHODS = frozenset({STORED, DEFLATED})
_ENCRYPTED = 0x1 | 0x40 | 0x2000

_READ_ALL = 0o444
_EXECUTE_ALL = 0o111
_KEPT_BITS = 0o755
_DEFAULT_MODE = 0o644

BAD_ZIP = "Could not unzip uploaded file. Please check your file, then try to upload again."


class EntryKind(Enum):
    FILE = "file"
    DIRECTORY = "directory"
    LINK = "link"


@dataclass(frozen=True, slots=True)
class Entry:
    """A line of the table of contents, as it is in the zip. `mode` is 0 where the zip has no Unix modes."""

    name: str
    mode: int
    size: int
    flags: int = 0
    method: int = DEFLATED


@dataclass(frozen=True, slots=True)
class Planned:
    """An entry as it will be unpacked: its place by components, and the permissions it gets."""

    parts: tuple[str, ...]
    kind: EntryKind
    mode: int
    size: int


def bad_zip(detail: str = "") -> InvalidParameterValue:
    """The service's one text for every unreadable package, and what exactly was wrong with it."""
    return InvalidParameterValue(f"{BAD_ZIP} {detail}" if detail else BAD_ZIP)


def check_zipped_size(size: int) -> None:
    """Refuse a package that is too large for a direct upload."""
    if size > MAX_ZIPPED_BYTES:
        raise RequestTooLarge(f"Zipped size must be smaller than {MAX_ZIPPED_BYTES} bytes")


def too_large_unzipped() -> InvalidParameterValue:
    return InvalidParameterValue(f"Unzipped size must be smaller than {MAX_UNZIPPED_BYTES} bytes")


def too_many_entries() -> InvalidParameterValue:
    return bad_zip(f"The package has more than {MAX_ENTRIES} entries.")


def plan(entries: Iterable[Entry]) -> list[Planned | None]:
    """What becomes of each entry, None for the package's own top directory; raises if the package is refused.

    Of two files with one name the later wins, as with any unzip; a name that is both a file and a directory is an
    error.
    """
    listed = list(entries)
    if len(listed) > MAX_ENTRIES:
        raise too_many_entries()
    if sum(entry.size for entry in listed) > MAX_UNZIPPED_BYTES:
        raise too_large_unzipped()
    planned = [_planned(entry) for entry in listed]
    _check_tree(item for item in planned if item is not None)
    return planned


def check_links(targets: Mapping[tuple[str, ...], str]) -> None:
    """Refuse links that lead outside, be it through other links. `targets` are all links of the package."""
    for place, target in targets.items():
        if not target or len(target.encode(errors="surrogateescape")) > MAX_LINK_BYTES or "\0" in target:
            raise bad_zip(f"The link {_shown(place)} has no usable target.")
        if not _stays_inside(place, targets):
            raise bad_zip(f"The link {_shown(place)} leads out of the package.")


def _planned(entry: Entry) -> Planned | None:
    if entry.flags & _ENCRYPTED:
        raise bad_zip(f"The entry {entry.name!r} is encrypted.")
    if entry.method not in _METHODS:
        raise bad_zip(f"The entry {entry.name!r} is compressed by an unsupported method ({entry.method}).")
    parts = _parts(entry.name)
    kind = _kind(entry)
    if not parts:
        if kind is not EntryKind.DIRECTORY:
            raise bad_zip(f"The entry {entry.name!r} has no name.")
        return None
    if kind is EntryKind.LINK and entry.size > MAX_LINK_BYTES:
        raise bad_zip(f"The link {entry.name!r} has no usable target.")
    return Planned(parts, kind, _mode(entry, kind), entry.size)


def _parts(name: str) -> tuple[str, ...]:
    """A name's components. Empty ones and single dots are meaningless; two dots and absolute names are refused."""
    if name.startswith("/"):
        raise bad_zip(f"The entry {name!r} has an absolute path.")
    parts = tuple(part for part in name.split("/") if part not in ("", "."))
    if ".." in parts:
        raise bad_zip(f"The entry {name!r} leads out of the package.")
    sizes = [len(part.encode(errors="surrogateescape")) for part in parts]
    if "\0" in name or any(size > MAX_NAME_BYTES for size in sizes) or sum(sizes) + len(sizes) > MAX_PATH_BYTES:
        raise bad_zip("The package has an entry whose name is too long or holds a NUL.")
    return parts


def _kind(entry: Entry) -> EntryKind:
    if entry.name.endswith("/"):
        return EntryKind.DIRECTORY
    match stat.S_IFMT(entry.mode):
        case 0 | stat.S_IFREG:
            return EntryKind.FILE
        case stat.S_IFDIR:
            return EntryKind.DIRECTORY
        case stat.S_IFLNK:
            return EntryKind.LINK
        case _:
            raise bad_zip(f"The entry {entry.name!r} is neither a file, a directory nor a link.")


def _mode(entry: Entry, kind: EntryKind) -> int:
    if kind is EntryKind.DIRECTORY:
        return 0o755
    if entry.mode == 0:
        return _DEFAULT_MODE
    executable = _EXECUTE_ALL if entry.mode & stat.S_IXUSR else 0
    return (stat.S_IMODE(entry.mode) & _KEPT_BITS) | _READ_ALL | executable


def _check_tree(planned: Iterable[Planned]) -> None:
    """No name may be two kinds of thing, and nothing may lie beneath something that is not a directory."""
    kinds: dict[tuple[str, ...], EntryKind] = {}
    for item in planned:
        for depth in range(1, len(item.parts)):
            _claim(kinds, item.parts[:depth], EntryKind.DIRECTORY)
        _claim(kinds, item.parts, item.kind)


def _claim(kinds: dict[tuple[str, ...], EntryKind], place: tuple[str, ...], kind: EntryKind) -> None:
    if kinds.setdefault(place, kind) is not kind:
        raise bad_zip(f"The entry {_shown(place)} is {kind.value} and {kinds[place].value} at once.")


def _stays_inside(place: tuple[str, ...], targets: Mapping[tuple[str, ...], str]) -> bool:
    """Follow a link as the kernel would, inside the package only; a loop counts as leading out."""
    here = list(place[:-1])
    ahead = _steps(targets[place])
    hops = 0
    while ahead:
        step = ahead.pop()
        if step == "..":
            if not here:
                return False
            here.pop()
            continue
        here.append(step)
        if tuple(here) in targets:
            hops += 1
            target = targets[tuple(here)]
            here.pop()
            if hops > MAX_LINK_HOPS or target.startswith("/"):
                return False
            ahead.extend(_steps(target))
    return not targets[place].startswith("/")


def _steps(target: str) -> list[str]:
    """The components of a link's target, the first one last."""
    return [part for part in reversed(target.split("/")) if part not in ("", ".")]


def _shown(place: tuple[str, ...]) -> str:
    return repr("/".join(place))
