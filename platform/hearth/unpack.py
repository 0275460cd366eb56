"""Reads deployment packages. Everything here blocks and belongs in a worker thread.

What may be unpacked is decided in `hearth.core.package_rules`; here it is read, measured once more, and written.
"""

import ctypes
import os
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from hearth.core import package_rules as rules
from hearth.core.errors import InvalidParameterValue
from hearth.core.package_rules import Entry, EntryKind, Planned

_CHUNK = 2**18
_TABLE_ENTRY = b"PK\x01\x02"
_UNIX_ATTRIBUTES = 16
"""The Unix mode is the upper half of the external attributes, whatever system the zip says it comes from."""


@dataclass(frozen=True, slots=True)
class Contents:
    """A package that was found to be good: what to unpack, and where every link leads."""

    files: list[tuple[zipfile.ZipInfo, Planned]]
    directories: list[Planned]
    links: dict[tuple[str, ...], str]


def inspect(package: IO[bytes]) -> None:
    """Read the whole package without writing anything; raises if it is refused or damaged."""
    # Counted before it is parsed: a table of contents of 50 MB would take a gigabyte of memory as objects.
    if _count(package, _TABLE_ENTRY) > rules.MAX_ENTRIES:
        raise rules.too_many_entries()
    with _opened(package) as archive:
        budget = _Budget()
        for info, _ in _contents(archive).files:
            for _ in _pieces(archive, info, budget):
                pass


def extract(package: IO[bytes], target: Path) -> None:
    """Unpack into the new directory `target` and have it on disk before returning."""
    with _opened(package) as archive:
        contents = _contents(archive)
        target.mkdir(mode=0o755)
        target.chmod(0o755)
        for planned in contents.directories:
            _directory(target, planned.parts)
        budget = _Budget()
        for info, planned in contents.files:
            _directory(target, planned.parts[:-1])
            _write(target.joinpath(*planned.parts), planned.mode, _pieces(archive, info, budget))
        # Last, so that nothing was ever written through a link.
        for place, link in contents.links.items():
            _directory(target, place[:-1])
            target.joinpath(*place).symlink_to(link)
    sync(target)


def unzipped_bytes(package: IO[bytes]) -> int:
    """What a package that was found to be good holds, in bytes of file content."""
    with _opened(package) as archive:
        return sum(info.file_size for info in archive.infolist())


def sync(directory: Path) -> None:
    """Have everything beneath this directory's file system on disk.

    One call for the file system, as a tree may hold tens of thousands of files and a call for each takes minutes.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        if libc.syncfs(descriptor) != 0:
            raise OSError(ctypes.get_errno(), "syncfs", str(directory))
    finally:
        os.close(descriptor)


def _count(package: IO[bytes], needle: bytes) -> int:
    """How often `needle` occurs; in pieces, as the interpreter lock is held while one is searched."""
    package.seek(0)
    found, end = 0, b""
    while piece := package.read(_CHUNK):
        window = end + piece
        found += window.count(needle)
        end = window[1 - len(needle) :]  # too short to hold the needle, so that nothing is counted twice
    return found


class _Budget:
    """Counts the bytes that really come out of a package: what it declares may be a lie."""

    def __init__(self) -> None:
        self._left = rules.MAX_UNZIPPED_BYTES

    def take(self, count: int) -> None:
        self._left -= count
        if self._left < 0:
            raise rules.too_large_unzipped()


@contextmanager
def _opened(package: IO[bytes]) -> Iterator[zipfile.ZipFile]:
    """The archive; whatever is wrong with it is the caller's fault, in the service's words."""
    try:
        with zipfile.ZipFile(package) as archive:
            yield archive
    except InvalidParameterValue:
        raise
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, ValueError, RuntimeError) as error:
        raise rules.bad_zip() from error


def _contents(archive: zipfile.ZipFile) -> Contents:
    infos = archive.infolist()
    planned = rules.plan(_entry(info) for info in infos)
    # Of two entries with one name the later wins, in the place of the earlier.
    found = {item.parts: (info, item) for info, item in zip(infos, planned, strict=True) if item is not None}
    links = {
        place: archive.read(info).decode(errors="surrogateescape")
        for place, (info, item) in found.items()
        if item.kind is EntryKind.LINK
    }
    rules.check_links(links)
    files = [(info, item) for info, item in found.values() if item.kind is EntryKind.FILE]
    directories = [item for _, item in found.values() if item.kind is EntryKind.DIRECTORY]
    return Contents(files, directories, links)


def _entry(info: zipfile.ZipInfo) -> Entry:
    return Entry(
        name=info.orig_filename,
        mode=info.external_attr >> _UNIX_ATTRIBUTES,
        size=info.file_size,
        flags=info.flag_bits,
        method=info.compress_type,
    )


def _pieces(archive: zipfile.ZipFile, info: zipfile.ZipInfo, budget: _Budget) -> Iterator[bytes]:
    """A file's content in pieces of bounded size; its checksum is verified with the last one."""
    with archive.open(info) as content:
        while piece := content.read(_CHUNK):
            budget.take(len(piece))
            yield piece


def _directory(target: Path, parts: tuple[str, ...]) -> None:
    """Make a directory and those above it, all open to read, whatever this process's umask."""
    place = target
    for part in parts:
        place = place / part
        try:
            place.mkdir(mode=0o755)
            place.chmod(0o755)
        except FileExistsError:
            continue


def _write(place: Path, mode: int, pieces: Iterator[bytes]) -> None:
    """Write a new file. Never through anything that exists: the directory is ours and links come last."""
    with open(place, "xb", opener=_without_links) as file:
        os.fchmod(file.fileno(), mode)
        for piece in pieces:
            file.write(piece)


def _without_links(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW, 0o600)
