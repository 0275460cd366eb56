"""How busy the host's processors are, from /proc/stat (proc_stat(5))."""

from pathlib import Path

BUSY_SHARE = 0.9
STAT = Path("/proc/stat")
_IDLE, _IOWAIT = 3, 4


class Processors:
    """Compares each reading with the one before."""

    def __init__(self, stat: Path = STAT) -> None:
        self._stat = stat
        self._before = self._read()

    def are_busy(self) -> bool:
        """Whether at least nine tenths of the time since the last call were spent computing."""
        total_before, idle_before = self._before
        self._before = total, idle = self._read()
        passed = total - total_before
        return passed > 0 and (idle - idle_before) / passed <= 1 - BUSY_SHARE

    def _read(self) -> tuple[int, int]:
        """Jiffies since boot: all, and idle. Guest time is in user time already."""
        with self._stat.open() as file:
            jiffies = [int(field) for field in file.readline().split()[1:9]]
        return sum(jiffies), jiffies[_IDLE] + jiffies[_IOWAIT]
