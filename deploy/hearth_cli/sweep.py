"""Removes what a run of Hearth leaves behind: containers, networks, mounts, sockets, the files of the run.

Works on its own, whatever died before it. As a program (`python -m hearth_cli.sweep`) it clears up after test runs,
whose instance is `test-<pid>…` and whose scratch directory is `hearth-test-<pid>.…`.
Rule 1: containers and networks are found by our label, mounts by the kernel's list. Nothing is found by memory.
Rule 2: a directory is deleted only once nothing is mounted below it.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path

import docker
from docker.errors import APIError, NotFound
from docker.models.containers import Container
from docker.models.networks import Network

from hearth_cli import background
from hearth_cli.background import wait_until
from hearth_cli.console import Failure
from hearth_cli.locations import DataDir
from hearth_scheduler.adapters.mount_table import read_mounts
from hearth_scheduler.ports import LABEL_INSTANCE

_PARALLEL = 8
_KEPT = frozenset({"lock", "turn"})
"""Files of `run/` that stay, because locks on them may be held."""
_CONFLICT = 409
_REMOVAL_LIMIT_S = 30.0
_MISCOUNTED = "has active endpoints"
_TEST_INSTANCE = re.compile(r"test-(\d+)(?:-.*)?")
_TEST_SCRATCH = re.compile(r"hearth-test-(\d+)\..*")


def engine(timeout_s: int = 60) -> docker.DockerClient:
    """The Docker engine that Hearth uses. Failure: none answers."""
    try:
        return docker.from_env(version="auto", timeout=timeout_s)
    except docker.errors.DockerException as error:
        raise Failure(f"no Docker engine answers: {error}") from error


def containers(client: docker.DockerClient, belongs: Callable[[str], bool]) -> int:
    """Remove every container whose instance label `belongs`; how many there were."""
    found = [
        container
        for container in client.containers.list(all=True, filters={"label": LABEL_INSTANCE}, ignore_removed=True)
        if belongs(container.labels.get(LABEL_INSTANCE, ""))
    ]
    with ThreadPoolExecutor(_PARALLEL, thread_name_prefix="sweep") as pool:
        list(pool.map(_remove, found))
    return len(found)


def _remove(container: Container) -> None:
    try:
        # Without a CPU quota: the thousand processes of a fork bomb die too slowly under theirs. One that does not
        # run has none to lift; should lifting fail, removing says why.
        with suppress(APIError):
            container.update(cpu_quota=-1)
        container.remove(force=True, v=True)
    except NotFound:
        pass
    except APIError as error:
        # 409: somebody is removing it already.
        if error.status_code != _CONFLICT:
            raise Failure(f"the container {container.name} cannot be removed: {error.explanation}") from error
        if not wait_until(lambda: _is_gone(container), _REMOVAL_LIMIT_S):
            raise Failure(f"the container {container.name} is being removed for too long") from error


def _is_gone(container: Container) -> bool:
    try:
        container.reload()
    except NotFound:
        return True
    return False


def networks(client: docker.DockerClient, belongs: Callable[[str], bool], patience_s: float = 10.0) -> list[str]:
    """Remove every network whose instance label `belongs`; the names of those that the engine keeps for itself.

    An engine may still be taking the last container off a network, hence the patience. And Docker's count of endpoints
    can go wrong when many containers come and go at once: then no container is on the network and it cannot be removed
    either, until the engine's next start, which mends the count. Such a network costs nothing and is used again by the
    next Hearth of its name, so it is no reason to fail.
    """
    stuck = []
    for network in client.networks.list(filters={"label": LABEL_INSTANCE}):
        if not belongs((network.attrs.get("Labels") or {}).get(LABEL_INSTANCE, "")):
            continue
        refusals: list[APIError] = []
        if wait_until(partial(_is_removed, network, refusals), patience_s):
            continue
        if not _is_miscounted(network, refusals[-1]):
            reason = refusals[-1].explanation
            raise Failure(f"the network {network.name} cannot be removed: {reason}") from refusals[-1]
        stuck.append(str(network.name))
    return stuck


def _is_removed(network: Network, refusals: list[APIError]) -> bool:
    """Try to remove it; what the engine says against it is added to the refusals."""
    try:
        network.remove()
    except NotFound:
        return True
    except APIError as error:
        refusals.append(error)
        return False
    return True


def _is_miscounted(network: Network, refusal: APIError) -> bool:
    network.reload()
    return _MISCOUNTED in str(refusal.explanation) and not network.attrs.get("Containers")


def mounts_below(folder: Path) -> list[Path]:
    """Mount points at or below a folder, the topmost and deepest first: the order to unmount them in."""
    found = [mount.path for mount in read_mounts() if mount.path.is_relative_to(folder)]
    return sorted(reversed(found), key=lambda path: len(path.parts), reverse=True)


def unmount_all(folder: Path) -> int:
    """Detach every mount at or below a folder; how many there were. A busy one goes as soon as it is let go."""
    points = mounts_below(folder)
    for point in points:
        done = subprocess.run(["umount", "--lazy", str(point)], capture_output=True, text=True, check=False)
        if done.returncode != 0 and point in mounts_below(folder):
            raise Failure(f"cannot unmount {point}: {done.stderr.strip()}")
    return len(points)


def run_files(place: DataDir) -> None:
    """Delete the run's directories, sockets and files, but for the locks."""
    if place.run.is_dir():
        unmount_all(place.run)
        for path in place.run.iterdir():
            if path.name not in _KEPT:
                _delete(path)


def purge(place: DataDir) -> None:
    """Delete the whole data directory, if it is one."""
    if not place.root.exists():
        return
    if not place.marker.exists():
        raise Failure(f"{place.root} does not look like a data directory of Hearth; nothing was deleted")
    unmount_all(place.root)
    _delete(place.root)


def _delete(path: Path) -> None:
    try:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    except FileNotFoundError:
        pass
    except OSError as error:
        raise Failure(f"cannot delete {error.filename or path}: {error.strerror}") from error


# ---- after test runs ----


def test_runs(finished: Iterable[int] = ()) -> None:
    """Clear up after test runs that are over: those of dead processes, and those given. Daemons first."""
    over = set(finished)

    def is_over(found: re.Match[str] | None) -> bool:
        return found is not None and (int(found[1]) in over or not _lives(int(found[1])))

    folders = [each for each in Path(tempfile.gettempdir()).iterdir() if is_over(_TEST_SCRATCH.fullmatch(each.name))]
    for lock in (lock for folder in folders for lock in folder.glob("**/run/lock")):
        background.stop(DataDir(lock.parent.parent), grace_s=0)
    client = engine()
    try:
        containers(client, lambda instance: is_over(_TEST_INSTANCE.fullmatch(instance)))
        networks(client, lambda instance: is_over(_TEST_INSTANCE.fullmatch(instance)))
    finally:
        client.close()
    for folder in folders:
        unmount_all(folder)
        _delete(folder)


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def main() -> int:
    """The program: says nothing unless something cannot be removed."""
    parser = argparse.ArgumentParser(description="clear up after finished test runs")
    parser.add_argument("--finished", type=int, action="append", default=[], help="process id of a run that is over")
    try:
        test_runs(parser.parse_args().finished)
    except Failure as problem:
        print(f"hearth: {problem}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
