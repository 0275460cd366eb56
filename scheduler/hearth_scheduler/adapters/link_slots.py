"""Places by hard links: for hosts where Hearth may not mount (no root, an old kernel, gVisor).

The container sees the place read-only, so the shared files are safe from it. /tmp is an anonymous volume of the
engine (see `docker_containers`): without root we could not delete what uid 993 leaves in a directory of ours. It has no
size limit.
"""

import shutil
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path

from hearth.tree_links import link_tree
from hearth_scheduler.adapters import environment_places
from hearth_scheduler.adapters.worker_threads import WorkerThreads
from hearth_scheduler.ports import Places


class LinkSlots:
    """`Slots` without privileges. Attaching takes about 15 µs per file, so seconds for a huge package."""

    tmp_problem = "/tmp has no size limit: it is a volume of the engine"

    def __init__(self, run: Path) -> None:
        self._environments = environment_places.environments_directory(run.resolve())
        self._attaching = WorkerThreads("hearth-link", 2)
        self._working = WorkerThreads("hearth-places", 2)

    def __repr__(self) -> str:
        return f"LinkSlots({self._environments})"

    def places(self, environment_id: str) -> Places:
        return environment_places.lay_out(self._environments, environment_id)

    async def prepare(self, environment_id: str) -> Places:
        return await self._working.run(partial(_prepare, self.places(environment_id)), undo=_release)

    async def attach(self, places: Places, *, code: Path | None, tmp_mib: int, opt: Path | None = None) -> None:
        """`tmp_mib` cannot be honoured here; `tmp_problem` says so.

        A cancelled attach goes on to its end first: releasing must not race with a thread that still links.
        """
        trees = {place: tree for place, tree in ((places.task, code), (places.opt, opt)) if tree is not None}
        await self._attaching.run(partial(_link_all, trees), undo=lambda _: None)

    async def release(self, environment_id: str) -> None:
        await self._working.run(partial(_release, self.places(environment_id)))

    async def leftovers(self) -> list[str]:
        return await self._working.run(lambda: sorted(environment_places.environment_ids(self._environments)))

    def close(self) -> None:
        """Let go of the threads; places of living environments stay, for the next run to adopt."""
        self._attaching.close()
        self._working.close()

    async def destroy(self) -> None:
        """Release everything, for `hearth down`."""
        for environment_id in await self.leftovers():
            await self.release(environment_id)


def _prepare(places: Places) -> Places:
    places.root.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    places.root.mkdir(mode=0o700)  # outside the try: one that exists already is not ours to delete
    try:
        environment_places.make_directories(places)
    except OSError:
        _release(places)
        raise
    return places


def _release(places: Places) -> None:
    with suppress(FileNotFoundError):
        shutil.rmtree(places.root)


def _link_all(trees: Mapping[Path, Path]) -> None:
    for place, tree in trees.items():
        link_tree(tree, place)
