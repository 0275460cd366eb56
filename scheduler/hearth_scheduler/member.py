"""What the engine holds of one environment beyond what the fleet decides by: its connections, container, output."""

import asyncio
import os
import signal
from dataclasses import dataclass, field

from hearth.core.function import FunctionVersion
from hearth_scheduler.calls import Call
from hearth_scheduler.core.runtime_talk import RuntimeTalk
from hearth_scheduler.link import Link
from hearth_scheduler.ports import Container, Places
from hearth_scheduler.runtime_http import HttpRuntime

FUNCTION_FILE = "function.json"
"""Beside an environment's places, out of its sight: whose it is."""


@dataclass(slots=True, eq=False)
class Member:
    """One environment, as the engine sees it. Only the engine changes it.

    `greeting` is what its runtime client said (`stem`, `ready`, or nothing yet). `began_at`, `specialised_at` and
    `ready_at` are monotonic seconds, 0 while they have not happened. `is_cold`: no invocation has run here yet.
    `is_mid_line`: the last output did not end its line.
    `is_provisioned`: it was initialised ahead of any request. `age_s`: how long an adopted one had been its function's.
    `is_introduced`: the engine knows of it; `has_asked_early`: it asked for an event before that.
    `is_alone`: it was started for one function, and its runtime asks the Runtime API. `launch_failure`: what its
    runtime was to be, and the step (`exec`, `chdir`) and error number that kept it from beginning.
    `changing` is work on its places and limits, which its removal waits for.
    """

    id: str
    runtime: str
    places: Places
    link: Link
    began_at: float
    function: FunctionVersion | None = None
    container: Container | None = None
    pidfd: int = -1
    http: HttpRuntime | None = None
    talk: RuntimeTalk = field(default_factory=RuntimeTalk)
    greeting: str = ""
    is_introduced: bool = False
    has_asked_early: bool = False
    is_alone: bool = False
    launch_failure: tuple[str, int] | None = None
    stream: str = ""
    call: Call | None = None
    specialised_at: float = 0.0
    ready_at: float = 0.0
    is_cold: bool = True
    is_provisioned: bool = False
    age_s: float = 0.0
    is_mid_line: bool = False
    is_stopping: bool = False
    left_unread: bool = False
    exit_status: tuple[int, int] | None = None
    init_error: tuple[str, bytes] | None = None
    peak_bytes: int = 0
    sampled_at: float = 0.0
    grace: asyncio.TimerHandle | None = None
    starting: asyncio.Task[None] | None = None
    removing: asyncio.Task[None] | None = None
    changing: set[asyncio.Task[None]] = field(default_factory=set)

    @property
    def init_s(self) -> float:
        return max(0.0, self.ready_at - self.specialised_at) if self.specialised_at else 0.0

    def watch(self) -> bool:
        """Hold the container's PID 1 by a descriptor, which cannot come to mean another process. False if it is
        gone already."""
        assert self.container is not None
        try:
            self.pidfd = os.pidfd_open(self.container.pid)
        except OSError:
            return False
        return True

    def kill(self) -> bool:
        """Kill PID 1, and with it everything in its namespace, now. False where that is not allowed to us."""
        if self.pidfd < 0:
            return False
        try:
            signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)
        except ProcessLookupError:
            return True
        except PermissionError:
            return False
        return True

    def __repr__(self) -> str:
        whose = "/".join(self.function.key) if self.function else "stem"
        return f"<Member {self.id} {self.runtime} {whose} {self.talk.turn.value}>"
