"""Where the places of environments lie below the run directory. Shared by every kind of slots.

`<run>/env/<environment id>/` holds `sock`, `task`, `opt`, `tmp`. The names are short because the path of a unix
socket must fit into 108 bytes (unix(7)).
"""

import re
from collections.abc import Iterator
from pathlib import Path

from hearth_scheduler.ports import Places

_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")


def environments_directory(run: Path) -> Path:
    return run / "env"


def lay_out(environments: Path, environment_id: str) -> Places:
    """Pure path arithmetic. ValueError for an id that could lead elsewhere."""
    if not _ID.fullmatch(environment_id):
        raise ValueError(f"not an environment id: {environment_id!r}")
    root = environments / environment_id
    return Places(root, root / "sock", root / "task", root / "opt", root / "tmp")


def make_directories(places: Places) -> None:
    """Create the empty places below an existing root.

    `task` and `opt` hold an empty `lib`: glibc remembers for a
    process's whole life that a directory of LD_LIBRARY_PATH was missing, and a stem cell looks before the code is
    there. `tmp` is open to the container's user.
    """
    for directory in (places.sockets, places.task, places.opt, places.task / "lib", places.opt / "lib", places.tmp):
        directory.mkdir()
        directory.chmod(0o755)  # whatever the umask
    places.tmp.chmod(0o1777)


def environment_ids(environments: Path) -> Iterator[str]:
    """The ids of all environments that have places, in no particular order."""
    if environments.is_dir():
        yield from (entry.name for entry in environments.iterdir() if _ID.fullmatch(entry.name))
