"""What several layers give together at /opt: their trees in one, later layers over earlier ones.

`<root>/<name>/` is a tree of hard links to the layers' own files, made once per combination; names are those of
`hearth.core.opt_trees`. A tree appears by a rename, whole or not at all; names that begin with a dot are unfinished
or discarded and are swept at the start. `open` and `make` block and belong in a worker thread.
State: the directory is the truth; `_names` mirrors it. One call at a time changes it.
"""

import secrets
import shutil
from collections.abc import Container, Sequence
from pathlib import Path

from hearth import unpack
from hearth.tree_links import link_tree


class MergedTrees:
    """The merged trees below one directory, which is on the file system of the packages."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._names: set[str] = set()

    def open(self) -> None:
        """Sweep what a crash left half done."""
        self._root.mkdir(mode=0o755, parents=True, exist_ok=True)
        self._root.chmod(0o755)
        for unfinished in self._root.glob(".*"):
            shutil.rmtree(unfinished, ignore_errors=True)
        self._names = {path.name for path in self._root.iterdir()}

    def find(self, name: str) -> Path | None:
        """The tree of this name, if it was made."""
        return self._root / name if name in self._names else None

    def make(self, name: str, layers: Sequence[Path]) -> None:
        """Merge these trees into one of this name."""
        unfinished = self._root / f".merging-{secrets.token_hex(8)}"
        try:
            unfinished.mkdir(mode=0o755)
            unfinished.chmod(0o755)
            for tree in layers:
                link_tree(tree, unfinished)
            unpack.sync(unfinished)
            unfinished.rename(self._root / name)
            self._names.add(name)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)

    def forget_all_but(self, needed: Container[str]) -> list[Path]:
        """The trees that nobody needs, which the caller is to delete: they are not found any more."""
        garbage = [name for name in self._names if name not in needed]
        self._names.difference_update(garbage)
        return [self._root / name for name in garbage]
