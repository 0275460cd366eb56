"""Processor time, which other users of the machine disturb far less than wall-clock time."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


@dataclass(slots=True)
class CpuTime:
    """What processes used, in seconds; filled at the end of the `with`."""

    user_s: float = 0.0
    system_s: float = 0.0

    @property
    def total_s(self) -> float:
        return self.user_s + self.system_s


@contextmanager
def used_by(pid: int) -> Iterator[CpuTime]:
    """The time one process, with its threads, uses while the `with` lasts."""
    spent = CpuTime()
    user, system = _times(pid)
    yield spent
    now_user, now_system = _times(pid)
    spent.user_s, spent.system_s = now_user - user, now_system - system


def _times(pid: int) -> tuple[float, float]:
    """proc_pid_stat(5): fields 14 and 15, counted after the name, which may contain anything."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) / _TICKS_PER_S, int(fields[12]) / _TICKS_PER_S
