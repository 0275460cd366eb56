"""The daemon's lifetime, whatever it serves: lock, log, signals, last words, exit code.

Rule 1: one daemon per data directory, by the lock that the kernel frees however the process ends.
Rule 2: the first SIGTERM or SIGINT asks, the second insists (cancels), the third ends the process on the spot.
Rule 3: whatever ends the daemon is said in `run/last-exit`, for `hearth up` to show.
"""

import asyncio
import os
import resource
import signal
import sys
from collections.abc import Callable, Coroutine
from enum import IntEnum
from typing import Any

import structlog
import uvloop

from hearth.config import Settings
from hearth_cli import background, journal
from hearth_cli.console import Failure
from hearth_cli.locations import DataDir, data_dir

_log = structlog.get_logger("hearth.daemon")


class Exit(IntEnum):
    """How the process ends."""

    OK = 0
    FAILED = 1
    USAGE = 2
    ALREADY_RUNNING = 3
    INSISTED = 4


class _Signals:
    """Counts the requests to stop and does what each one means. State: `_count`, changed here only."""

    def __init__(self, stop: asyncio.Event, work: "asyncio.Task[None]") -> None:
        self._stop = stop
        self._work = work
        self._count = 0

    def request(self, name: str) -> None:
        self._count += 1
        _log.info("asked to stop", signal=name, times=self._count)
        match self._count:
            case 1:
                self._stop.set()
            case 2:
                self._work.cancel()
            case _:
                os._exit(Exit.INSISTED)


Serve = Callable[[Settings, asyncio.Event], Coroutine[Any, Any, None]]
"""Serves until the event is set, then lets what is in flight finish."""


async def _serve_until_signalled(settings: Settings, serve: Serve) -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        work = group.create_task(serve(settings, stop), name="serve")
        signals = _Signals(stop, work)
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, signals.request, number.name)


def run(settings: Settings, serve: Serve) -> Exit:
    """Serve until told to stop. Logs and notes why it ended."""
    place = data_dir(settings)
    place.create()
    # Every environment needs a handful of descriptors, and the usual soft limit is 1,024.
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    # A terminal that closes is nothing to a daemon; SIGPIPE is ignored by Python already.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with background.locked(place.lock, str(os.getpid())), journal.logging_to(place.log):
            return _run_logged(settings, place, serve)
    except background.AlreadyLocked:
        print("Hearth is running already", file=sys.stderr)
        return Exit.ALREADY_RUNNING


def _run_logged(settings: Settings, place: DataDir, serve: Serve) -> Exit:
    _log.info("starting", pid=os.getpid(), instance=settings.instance, data_dir=str(place.root))
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_serve_until_signalled(settings, serve))
    except (Exception, asyncio.CancelledError, KeyboardInterrupt) as problem:
        # The top of the process: nobody above could tell the user.
        reasons = "; ".join(_reasons(problem))
        _log.error("ended by an error", reason=reasons, exc_info=problem)
        place.last_exit.write_text(reasons + "\n", encoding="utf-8")
        return Exit.FAILED
    _log.info("stopped")
    place.last_exit.write_text("it was asked to stop\n", encoding="utf-8")
    return Exit.OK


def _reasons(problem: BaseException) -> list[str]:
    """The errors inside task groups' errors, each in a line."""
    if isinstance(problem, BaseExceptionGroup):
        return [reason for each in problem.exceptions for reason in _reasons(each)]
    if isinstance(problem, Failure):
        return [str(problem)]
    return [f"{type(problem).__name__}: {problem}"]
