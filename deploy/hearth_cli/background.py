"""The daemon as seen from outside: whether it runs, starting it, stopping it.

Rule 1: the lock on `run/lock` is the truth. A pid in a file means nothing unless the lock is held.
Rule 2: a signal goes through a pidfd that was opened while the lock was held, so it never meets a stranger.
"""

import fcntl
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from hearth.config import Settings
from hearth_cli.configuration import config_file
from hearth_cli.console import Failure
from hearth_cli.locations import DataDir, data_dir

TURN_LIMIT_S = 120.0
GRACE_S = 40.0
"""How long the daemon may take to let invocations finish; then it is asked again, then killed."""
_SECOND_GRACE_S = 5.0
_DEATH_LIMIT_S = 10.0
_LOOK_EVERY_S = 0.02


class AlreadyLocked(Exception):
    """Another process holds the lock."""


@contextmanager
def locked(path: Path, content: str = "") -> Iterator[IO[str]]:
    """Hold the exclusive lock on a file, which says `content` meanwhile. Raises AlreadyLocked at once."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with path.open("a+", encoding="ascii") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise AlreadyLocked(str(path)) from error
        file.truncate(0)
        file.write(content)
        file.flush()
        yield file


@contextmanager
def turn(place: DataDir) -> Iterator[None]:
    """One `up` or `down` at a time; the next one waits for its turn."""
    until = time.monotonic() + TURN_LIMIT_S
    while True:
        try:
            with locked(place.turn, str(os.getpid())):
                yield
                return
        except AlreadyLocked:
            if time.monotonic() > until:
                raise Failure("another `hearth up` or `hearth down` is still at work") from None
            time.sleep(_LOOK_EVERY_S)


def running_pid(place: DataDir) -> int | None:
    """The daemon's process id, or None if none runs. 0: it runs but has not said its id yet."""
    if not is_locked(place.lock):
        return None
    text = place.lock.read_text(encoding="ascii").strip()
    return int(text) if text.isdigit() else 0


def is_locked(path: Path) -> bool:
    """Whether some process holds the lock. A shared lock for an instant: askers do not disturb each other."""
    try:
        file = path.open("r", encoding="ascii")
    except FileNotFoundError:
        return False
    except PermissionError as error:
        raise Failure(f"cannot read {path}: are you the user who runs Hearth?") from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def spawn(settings: Settings) -> "subprocess.Popen[bytes]":
    """Start the daemon in a session of its own, with no terminal and nothing of ours but its log files."""
    place = data_dir(settings)
    place.last_exit.unlink(missing_ok=True)
    with place.output.open("wb") as output:
        return subprocess.Popen(
            [sys.executable, "-m", "hearth_cli.daemon"],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd="/",
            env=daemon_environment(settings, os.environ),
            start_new_session=True,
        )


def daemon_environment(settings: Settings, environment: Mapping[str, str]) -> dict[str, str]:
    """The daemon has another working directory: what was relative to ours is given to it as absolute."""
    variables = dict(environment)
    variables["HEARTH_DATA_DIR"] = str(data_dir(settings).root)
    found = config_file()
    if found is not None:
        variables["HEARTH_CONFIG"] = str(found.resolve())
    return variables


def why_it_ended(place: DataDir) -> str:
    """The daemon's own words about its end, or the last it wrote."""
    for path in (place.last_exit, place.output):
        with suppress(OSError):
            text = path.read_text(encoding="utf-8", errors="replace").strip()
            if text:
                return "\n".join(text.splitlines()[-5:])
    return "it was killed"


def stop(place: DataDir, *, grace_s: float = GRACE_S) -> bool:
    """End the daemon: ask, ask again, kill. False if none ran. Returns when its lock is free and it is gone."""
    until = time.monotonic() + _DEATH_LIMIT_S
    while (pid := running_pid(place)) == 0 and time.monotonic() < until:
        time.sleep(_LOOK_EVERY_S)
    if pid is None:
        return False
    if pid == 0:
        raise Failure(f"{place.lock} is held by a process that is not Hearth's daemon")
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        _escalate(place, handle, grace_s)
    finally:
        os.close(handle)
    return True


def _escalate(place: DataDir, handle: int, grace_s: float) -> None:
    steps = (
        (signal.SIGTERM, grace_s),
        (signal.SIGTERM, _SECOND_GRACE_S),
        (signal.SIGKILL, _DEATH_LIMIT_S),
    )
    for number, wait_s in steps:
        if _is_over(place, handle):
            return
        try:
            signal.pidfd_send_signal(handle, number)
        except ProcessLookupError:
            pass
        except PermissionError as error:
            raise Failure("the daemon belongs to another user; stop it as that user") from error
        if wait_until(lambda: _is_over(place, handle), wait_s):
            return
    raise Failure("the daemon does not die, not even by SIGKILL; is a disk hanging?")


def _is_over(place: DataDir, handle: int) -> bool:
    """Whether the lock is free and the process gone, which frees it a little earlier than it ends."""
    if is_locked(place.lock):
        return False
    ended, _, _ = select.select([handle], [], [], 0)
    return bool(ended)


def wait_until(condition: Callable[[], bool], limit_s: float) -> bool:
    """Look again and again, up to a limit; whether it came true."""
    until = time.monotonic() + limit_s
    while not condition():
        if time.monotonic() > until:
            return False
        time.sleep(_LOOK_EVERY_S)
    return True
