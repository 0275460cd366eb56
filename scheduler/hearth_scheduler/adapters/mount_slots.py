"""Places by mounting: code and /tmp appear inside running containers by mount propagation.

The directory of all environments is a shared mount. A container binds its places as slaves; what is mounted on
them later appears in the container, at once and whatever its size. Needs root and Linux 5.12.

Rule 1: a mount is complete, read-only included, before it is attached (see `mount_calls`).
Rule 2: nothing is deleted below a place before the place is known to be unmounted.
"""

import errno
import os
import shutil
import threading
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path

from hearth_scheduler.adapters import environment_places, mount_calls
from hearth_scheduler.adapters.mount_calls import Attribute
from hearth_scheduler.adapters.mount_table import read_mounts
from hearth_scheduler.adapters.scratch_disks import ScratchDisks
from hearth_scheduler.adapters.worker_threads import WorkerThreads
from hearth_scheduler.ports import Places

_READ_ONLY = Attribute.READ_ONLY | Attribute.NOSUID | Attribute.NODEV
_SPARE_DISKS = 8


class MountSlots:
    """`Slots` for a host where we may mount.

    Every environment gets a disk of the usual size when it is prepared, so that attaching makes nothing; one of
    another size is made when asked for. All methods are called on one event loop; the work happens in threads,
    because unmounting a full disk writes it out and any mount call may wait for the kernel's mount lock.
    """

    def __init__(self, run: Path, *, usual_tmp_mib: int = 512) -> None:
        self._run = run.resolve()
        self._environments = environment_places.environments_directory(self._run)
        self._usual_tmp_mib = usual_tmp_mib
        self._disks = ScratchDisks(self._run / "disks")
        # Attaching is on the path of a cold start: it never queues behind the slow calls.
        self._attaching = WorkerThreads("hearth-attach", 2)
        self._working = WorkerThreads("hearth-places", 4)
        # From here on: state that the threads share. Each environment's lock orders the calls about it.
        self._setup = threading.Lock()
        self._is_set_up = False
        self._disk_problem = ""
        self._locks: dict[str, threading.Lock] = {}
        self._ready: dict[str, int] = {}
        self._spare: deque[int] = deque()

    def __repr__(self) -> str:
        return f"MountSlots({self._environments}, ready={len(self._ready)}, spare={len(self._spare)})"

    @property
    def tmp_problem(self) -> str:
        """Why /tmp has no size limit on this host; empty if it has one. Known after `probe` or `prepare`."""
        return self._disk_problem

    def probe(self) -> None:
        """Raise OSError if this host cannot mount as we need. Blocking; for the start of the process."""
        self._set_up()
        tree = mount_calls.clone_tree(self._environments, _READ_ONLY)
        os.close(tree)

    def places(self, environment_id: str) -> Places:
        return environment_places.lay_out(self._environments, environment_id)

    async def prepare(self, environment_id: str) -> Places:
        places = self.places(environment_id)
        undo = partial(self._release, places)
        return await self._working.run(partial(self._prepare, places), undo=lambda _: undo())

    async def attach(self, places: Places, *, code: Path | None, tmp_mib: int, opt: Path | None = None) -> None:
        trees = {place: tree for place, tree in ((places.task, code), (places.opt, opt)) if tree is not None}
        await self._attaching.run(partial(self._attach, places, trees, tmp_mib))

    async def release(self, environment_id: str) -> None:
        await self._working.run(partial(self._release, self.places(environment_id)))

    async def leftovers(self) -> list[str]:
        return await self._working.run(lambda: sorted(environment_places.environment_ids(self._environments)))

    def close(self) -> None:
        """Let go of what this process holds. Places of living environments stay, for the next run to adopt."""
        self._attaching.close()
        self._working.close()
        for disk in (*self._ready.values(), *self._spare):
            os.close(disk)
        self._ready.clear()
        self._spare.clear()

    async def destroy(self) -> None:
        """Release everything and take the shared mount away, for `hearth down`. The slots can be used again."""
        for environment_id in await self.leftovers():
            await self.release(environment_id)
        await self._working.run(self._tear_down)

    # Everything below runs in threads.

    def _set_up(self) -> None:
        """Once per process, idempotent on the host: the shared mount, and whether disks can be had."""
        with self._setup:
            if self._is_set_up:
                return
            self._environments.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not _is_shared_mount(self._environments):
                mount_calls.make_shared(self._environments)
            try:
                self._disks.probe()
            except OSError as problem:
                self._disk_problem = f"/tmp has no size limit: {problem}"
            self._is_set_up = True

    def _tear_down(self) -> None:
        with self._setup:
            self._is_set_up = False
            while self._spare:
                os.close(self._spare.pop())
            _unmount(self._environments)
            with suppress(FileNotFoundError):
                self._environments.rmdir()
            self._disks.destroy()

    def _prepare(self, places: Places) -> Places:
        self._set_up()
        with self._lock(places):
            places.root.mkdir(mode=0o700)  # outside the try: one that exists already is not ours to delete
            try:
                environment_places.make_directories(places)
                if not self._disk_problem:
                    self._ready[places.root.name] = self._take_spare(self._usual_tmp_mib)
            except OSError:
                shutil.rmtree(places.root, ignore_errors=True)
                raise
        return places

    def _attach(self, places: Places, trees: Mapping[Path, Path], tmp_mib: int) -> None:
        with self._lock(places):
            for place, tree in trees.items():
                _attach_and_close(mount_calls.clone_tree(tree, _READ_ONLY), place)
            if not self._disk_problem:
                _attach_and_close(self._disk_for(places, tmp_mib), places.tmp)

    def _disk_for(self, places: Places, tmp_mib: int) -> int:
        ready = self._ready.pop(places.root.name, None)
        if ready is not None and tmp_mib == self._usual_tmp_mib:
            return ready
        if ready is not None:
            self._keep(ready)
        return self._take_spare(tmp_mib)

    def _take_spare(self, tmp_mib: int) -> int:
        if tmp_mib == self._usual_tmp_mib:
            try:
                return self._spare.pop()
            except IndexError:
                pass
        return self._disks.make(tmp_mib)

    def _keep(self, disk: int) -> None:
        """Nothing was ever attached to it, so it is as good as new."""
        if len(self._spare) < _SPARE_DISKS:
            self._spare.append(disk)
        else:
            os.close(disk)

    def _release(self, places: Places) -> None:
        with self._lock(places):
            ready = self._ready.pop(places.root.name, None)
            if ready is not None:
                self._keep(ready)
            for place in (places.task, places.opt, places.tmp):
                _unmount(place)
            _delete(places.root)
        self._locks.pop(places.root.name, None)

    def _lock(self, places: Places) -> threading.Lock:
        return self._locks.setdefault(places.root.name, threading.Lock())


def _is_shared_mount(directory: Path) -> bool:
    """Only the topmost mount counts. One that is not shared is a crash between two steps: it is mounted over."""
    here = [mount for mount in read_mounts() if mount.path == directory]
    return bool(here) and here[-1].is_shared


def _attach_and_close(mount: int, place: Path) -> None:
    try:
        mount_calls.attach(mount, place)
    finally:
        os.close(mount)


def _unmount(place: Path) -> None:
    """Unmount whatever is at the place, however many layers; nothing there is fine."""
    try:
        while True:
            mount_calls.detach(place)
    except OSError as problem:
        if problem.errno not in (errno.EINVAL, errno.ENOENT):
            raise


def _delete(root: Path) -> None:
    with suppress(FileNotFoundError):
        shutil.rmtree(root)
