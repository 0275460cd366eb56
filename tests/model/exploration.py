"""Looks at every state that a protocol can reach.

A protocol is a first state and its steps. Two things are asked: does every state keep the promise (safety), and is
there from every state a way to the end (nothing is ever stuck, whatever has happened before)? The answer is a proof
for the bounds that were given, or the shortest story of how it goes wrong.
"""

from collections import deque
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

S = TypeVar("S", bound=Hashable)
Step = tuple[str, S]
"""What happens, in words, and the state after it."""


@dataclass(frozen=True, slots=True)
class Flaw:
    """What is wrong, and the shortest way there."""

    problem: str
    story: tuple[str, ...]

    def __str__(self) -> str:
        return "\n".join((self.problem, *(f"  {number}. {deed}" for number, deed in enumerate(self.story, 1))))


@dataclass(frozen=True, slots=True)
class Finding:
    """How many states and steps were looked at, and the first flaw, if any."""

    states: int
    steps: int
    flaw: Flaw | None


class TooManyStates(Exception):
    """The bounds are too wide to look at everything."""


class Exploration(Generic[S]):
    """One search. `broken_promise` says what is wrong with a state, None if nothing is; `is_over` is the wanted end."""

    def __init__(
        self,
        first: S,
        steps: Callable[[S], Iterable[Step[S]]],
        broken_promise: Callable[[S], str | None],
        is_over: Callable[[S], bool],
        *,
        most: int = 3_000_000,
    ) -> None:
        self._steps = steps
        self._broken_promise = broken_promise
        self._is_over = is_over
        self._most = most
        self._numbers: dict[S, int] = {first: 0}
        self._came_from: list[tuple[int, str]] = [(-1, "")]
        self._sources: list[list[int]] = [[]]
        self._ends: list[int] = []
        self._count = 0

    def run(self) -> Finding:
        """Look at everything, nearest first."""
        waiting = deque(self._numbers)
        while waiting:
            state = waiting.popleft()
            here = self._numbers[state]
            problem = self._broken_promise(state)
            if problem is not None:
                return self._finding(Flaw(problem, self._story(here)))
            if self._is_over(state):
                self._ends.append(here)
            for deed, following in self._steps(state):
                self._count += 1
                there = self._numbers.get(following)
                if there is None:
                    there = self._meet(following, here, deed)
                    waiting.append(following)
                self._sources[there].append(here)
        return self._finding(self._stuck())

    def _meet(self, state: S, here: int, deed: str) -> int:
        number = len(self._numbers)
        if number >= self._most:
            raise TooManyStates(f"more than {self._most} states")
        self._numbers[state] = number
        self._came_from.append((here, deed))
        self._sources.append([])
        return number

    def _stuck(self) -> Flaw | None:
        """The nearest state from which no way leads to the end."""
        saved = bytearray(len(self._numbers))
        waiting = deque(self._ends)
        for end in self._ends:
            saved[end] = 1
        while waiting:
            for before in self._sources[waiting.popleft()]:
                if not saved[before]:
                    saved[before] = 1
                    waiting.append(before)
        lost = saved.find(0)
        return None if lost < 0 else Flaw("there is no way on to the end", self._story(lost))

    def _story(self, number: int) -> tuple[str, ...]:
        deeds = []
        while number > 0:
            number, deed = self._came_from[number]
            deeds.append(deed)
        return tuple(reversed(deeds))

    def _finding(self, flaw: Flaw | None) -> Finding:
        return Finding(len(self._numbers), self._count, flaw)
