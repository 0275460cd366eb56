"""A scheduler for tests: does what it is told, at once, and remembers what it was asked."""

import asyncio
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable

from hearth.core.function import FunctionName, FunctionVersion
from hearth.core.invocation import Invocation, Ledger, Outcome, Succeeded, Throttled
from hearth.core.provisioning import ProvisionedState

Script = Callable[[Invocation], Outcome] | Callable[[Invocation], Awaitable[Outcome]]


def echo(invocation: Invocation) -> Outcome:
    """A function that returns its event."""
    return Succeeded(invocation.payload, Ledger(), log_tail=b"")


class FakeScheduler:
    """A `Scheduler` without environments. Functions answer as scripted; those without a script return their event.

    `places` is how many reservations may be held at once, per function; None is no limit.
    """

    def __init__(self, places: int | None = None) -> None:
        self.invocations: list[Invocation] = []
        self.configured: dict[FunctionName, FunctionVersion] = {}
        self.limits: dict[FunctionName, int | None] = {}
        self.forgotten: list[FunctionName] = []
        self.states: dict[tuple[FunctionName, str], ProvisionedState] = {}
        self.withdrawn: list[tuple[FunctionName, str]] = []
        self._scripts: dict[str, Script] = {}
        self._next: dict[str, deque[Outcome]] = defaultdict(deque)
        self._places = places
        self._held: dict[FunctionName, int] = defaultdict(int)
        self._waiting: dict[FunctionName, deque[asyncio.Future[None]]] = defaultdict(deque)

    def script(self, name: str, script: Script) -> None:
        """Let this function answer every invocation so; the script may be a coroutine function that waits."""
        self._scripts[name] = script

    def answer_next(self, name: str, *outcomes: Outcome) -> None:
        """Let the next invocations of this function end like this, one each, before its script goes on."""
        self._next[name].extend(outcomes)

    async def invoke(self, invocation: Invocation) -> Outcome:
        self.invocations.append(invocation)
        name = invocation.function.name
        if self._next[name]:
            return self._next[name].popleft()
        outcome = self._scripts.get(name, echo)(invocation)
        return outcome if isinstance(outcome, Outcome) else await outcome

    def submit(self, invocation: Invocation) -> asyncio.Future[Outcome]:
        return asyncio.create_task(self.invoke(invocation), name="fake-invocation")

    async def reserve(self, function: FunctionVersion) -> "FakeSlot":
        name = function.name
        while self._places is not None and self._held[name] >= self._places:
            turn = asyncio.get_running_loop().create_future()
            self._waiting[name].append(turn)
            try:
                await turn
            finally:
                if turn in self._waiting[name]:
                    self._waiting[name].remove(turn)
        self._held[name] += 1
        return FakeSlot(self, name)

    def give_back(self, name: FunctionName) -> None:
        """A slot is free again; the first who waits is woken."""
        self._held[name] -= 1
        while self._waiting[name]:
            turn = self._waiting[name].popleft()
            if not turn.done():
                turn.set_result(None)
                return

    def configure(self, function: FunctionVersion) -> None:
        self.configured[function.name] = function

    def withdraw(self, name: FunctionName, version: str) -> None:
        self.withdrawn.append((name, version))

    def forget(self, name: FunctionName) -> None:
        self.forgotten.append(name)

    def limit(self, name: FunctionName, reserved: int | None) -> None:
        self.limits[name] = reserved

    def provision(self, name: FunctionName, version: str, count: int, most: int | None = None) -> None:
        self.states[name, version] = ProvisionedState(count, count, count)

    def provisioned(self, name: FunctionName, version: str) -> ProvisionedState:
        return self.states.get((name, version), ProvisionedState())


class FakeSlot:
    """A place of the fake scheduler."""

    def __init__(self, scheduler: FakeScheduler, name: FunctionName) -> None:
        self._scheduler = scheduler
        self._name = name
        self._is_held = True

    async def invoke(self, invocation: Invocation) -> Outcome:
        if not self._is_held:
            raise RuntimeError(f"the place of {self._name} is used or released already")
        self._is_held = False
        try:
            outcome = await self._scheduler.invoke(invocation)
        finally:
            self._scheduler.give_back(self._name)
        if isinstance(outcome, Throttled):
            raise AssertionError("a reserved place is never throttled: the script is wrong")
        return outcome

    def release(self) -> None:
        if self._is_held:
            self._is_held = False
            self._scheduler.give_back(self._name)
