"""How many stem cells of each runtime to keep, and how many container starts may be under way.

Rule 1: a demand (requests that wait for an environment) is served before the floor is refilled.
Rule 2: at most `parallel_starts` container starts are under way in all; when nobody waits `REFILL_STARTS` of them, and
on a busy host one: refilling must not take the processors from the invocations, and yet must come to an end.
Rule 3: the stock follows demand: what was taken in the last `MEMORY_S` seconds is kept ready, up to the ceiling.
Rule 4: after a failed start the next one waits 0.1 s, doubling to 5 s, so that a broken engine is not hammered.
Rule 5: starts for one function alone share the governor (rules 1 and 2), but are no stock; that one of them fails says
nothing about the others, so its pool alone waits (`backoff`).
"""

from collections import deque
from dataclasses import dataclass, field

MEMORY_S = 30.0
REFILL_STARTS = 2
FIRST_BACKOFF_S = 0.1
LAST_BACKOFF_S = 5.0


def backoff(before_s: float) -> float:
    """How long to wait after one more failed start."""
    return min(max(before_s * 2, FIRST_BACKOFF_S), LAST_BACKOFF_S)


@dataclass(slots=True)
class Shelf:
    """The stem cells of one runtime. `ready` is ordered; the newest is taken first: its pages are warmest."""

    floor: int
    ready: dict[str, None] = field(default_factory=dict)
    starting: set[str] = field(default_factory=set)
    taken: deque[float] = field(default_factory=deque)


class Stock:
    """All shelves. Owned and changed by the fleet alone."""

    def __init__(self, floors: dict[str, int], *, ceiling: int, parallel_starts: int) -> None:
        self._ceiling = ceiling
        self._parallel_starts = parallel_starts
        self._shelves = {runtime: Shelf(floor) for runtime, floor in floors.items()}
        self._backoff_s = 0.0
        self._direct: set[str] = set()
        self.paused_until = 0.0

    def shelf(self, runtime: str) -> Shelf:
        """The runtime's shelf; a runtime that was never configured gets one without a floor."""
        return self._shelves.setdefault(runtime, Shelf(0))

    @property
    def starting(self) -> int:
        """All starts under way."""
        return len(self._direct) + sum(len(shelf.starting) for shelf in self._shelves.values())

    def counts(self) -> dict[str, tuple[int, int]]:
        """Per runtime: (ready, starting)."""
        return {name: (len(s.ready), len(s.starting)) for name, s in self._shelves.items()}

    def has_ready(self, runtime: str) -> bool:
        return bool(self.shelf(runtime).ready)

    def take(self, runtime: str, now: float) -> str:
        """Take the newest ready cell. KeyError when there is none."""
        shelf = self.shelf(runtime)
        environment_id, _ = shelf.ready.popitem()
        shelf.taken.append(now)
        return environment_id

    def begin(self, runtime: str, environment_id: str) -> None:
        self.shelf(runtime).starting.add(environment_id)

    def arrived(self, runtime: str, environment_id: str) -> None:
        shelf = self.shelf(runtime)
        shelf.starting.discard(environment_id)
        shelf.ready[environment_id] = None
        self._backoff_s = 0.0

    def lost(self, runtime: str, environment_id: str, now: float) -> None:
        """A cell is gone. If it had not even arrived, its start has failed."""
        shelf = self._shelves.get(runtime)
        if shelf is None:
            return
        shelf.ready.pop(environment_id, None)
        if environment_id in shelf.starting:
            shelf.starting.discard(environment_id)
            self._backoff_s = backoff(self._backoff_s)
            self.paused_until = now + self._backoff_s

    def left_start(self, runtime: str, environment_id: str) -> None:
        """The cell turned out to belong to a function already (adoption): no failure, and no stock."""
        if runtime in self._shelves:
            self._shelves[runtime].starting.discard(environment_id)

    def begin_direct(self, environment_id: str) -> None:
        """A start for one function alone is under way."""
        self._direct.add(environment_id)

    def end_direct(self, environment_id: str) -> None:
        """It is over, however it ended."""
        self._direct.discard(environment_id)

    def starts(self, demand: dict[str, int], now: float, *, host_is_busy: bool = False) -> list[str]:
        """What to start, one entry a container, as far as the governor allows now. A demand for what has no shelf is
        one for direct starts, and counts none that is under way."""
        if now < self.paused_until:
            return []
        room = self._parallel_starts - self.starting
        wanted: list[str] = []
        for runtime, waiting in demand.items():
            shelf = self._shelves.get(runtime)
            missing = waiting if shelf is None else waiting - len(shelf.ready) - len(shelf.starting)
            wanted += [runtime] * max(0, min(missing, room - len(wanted)))
        if wanted or any(demand.values()):
            return wanted
        room = min(room, (1 if host_is_busy else REFILL_STARTS) - self.starting)
        return self._refill(room, now)

    def _refill(self, room: int, now: float) -> list[str]:
        wanted: list[str] = []
        for runtime, shelf in self._shelves.items():
            missing = self.target(shelf, now) - len(shelf.ready) - len(shelf.starting)
            wanted += [runtime] * max(0, min(missing, room - len(wanted)))
        return wanted

    def surplus(self, now: float) -> list[str]:
        """The cells to stop, oldest first, because demand has gone."""
        extra: list[str] = []
        for shelf in self._shelves.values():
            extra += list(shelf.ready)[: max(0, len(shelf.ready) - self.target(shelf, now))]
        return extra

    def target(self, shelf: Shelf, now: float) -> int:
        """How many cells to keep ready: the floor, or what the last seconds took, up to the ceiling."""
        while shelf.taken and shelf.taken[0] < now - MEMORY_S:
            shelf.taken.popleft()
        if shelf.floor == 0:
            return 0
        return max(shelf.floor, min(len(shelf.taken), self._ceiling))
