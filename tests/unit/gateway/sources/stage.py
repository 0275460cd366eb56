"""A stage for sources: virtual time, a scheduler that follows a script, and a list in memory."""

import asyncio
import functools
import selectors
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any, ParamSpec

import orjson

from hearth.core.function import FunctionName, FunctionVersion
from hearth.core.invocation import (
    FailureKind,
    FunctionFailed,
    Invocation,
    Ledger,
    Outcome,
    PlatformFailed,
    Succeeded,
)
from hearth.core.provisioning import ProvisionedState
from hearth.ports import Slot
from hearth_gateway.asynchronous.testing import RecordingCourier
from hearth_gateway.core.mapping import EventSourceMapping
from hearth_gateway.core.mapping_state import State
from hearth_gateway.sources.list_source import ListSource
from hearth_gateway.sources.ports import Surroundings
from hearth_gateway.sources.testing import FakeList, FakeListQueue, LoopClock

ARN = "arn:aws:sqs:us-east-1:000000000000:jobs"
_P = ParamSpec("_P")


class _Skipper(selectors.SelectSelector):
    """Where a loop would sleep, its time moves on instead."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1_000_000.0

    def select(self, timeout: float | None = None) -> Any:
        ready = super().select(0)
        if not ready:
            if timeout is None:
                raise RuntimeError("the scenario waits for something that can never happen")
            self.now += max(timeout, 0.0)
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose waits take no time."""

    def __init__(self) -> None:
        self._skipper = _Skipper()
        super().__init__(self._skipper)

    def time(self) -> float:
        return self._skipper.now


def in_virtual_time(scenario: Callable[_P, Awaitable[None]]) -> Callable[_P, None]:
    """Run an async test on a virtual loop; two virtual days are its limit."""

    @functools.wraps(scenario)
    def test(*args: _P.args, **kwargs: _P.kwargs) -> None:
        async def bounded() -> None:
            async with asyncio.timeout(172_800):
                await scenario(*args, **kwargs)

        with asyncio.Runner(loop_factory=VirtualLoop) as runner:
            runner.run(bounded())

    return test


def function(name: str = "worker") -> FunctionVersion:
    return FunctionVersion(
        name=FunctionName(name),
        version="$LATEST",
        revision="1",
        arn=f"arn:aws:lambda:us-east-1:000000000000:function:{name}",
        runtime="python3.13",
        handler="app.handler",
        timeout_s=3,
        memory_mib=128,
        ephemeral_storage_mib=512,
        code_sha256="0" * 64,
        log_group=f"/aws/lambda/{name}",
    )


def mapping(**changes: Any) -> EventSourceMapping:
    values: dict[str, Any] = {
        "uuid": "11111111-1111-4111-8111-111111111111",
        "arn": "arn:aws:lambda:us-east-1:000000000000:event-source-mapping:1",
        "function_name": "worker",
        "qualifier": "",
        "function_arn": "arn:aws:lambda:us-east-1:000000000000:function:worker",
        "source_arn": ARN,
        "enabled": True,
        "state": State.CREATING,
        "last_modified_ms": 0,
    }
    return EventSourceMapping(**{**values, **changes})


def good(payload: bytes = b"null") -> Outcome:
    return Succeeded(payload, Ledger())


def bad(payload: bytes = b'{"errorMessage":"boom","errorType":"ValueError"}') -> Outcome:
    return FunctionFailed(FailureKind.HANDLER, payload, Ledger())


def lost() -> Outcome:
    return PlatformFailed("the engine is away", was_started=False)


def bodies(invocation: Invocation) -> list[str]:
    return [record["body"] for record in orjson.loads(invocation.payload)["Records"]]


class ScriptedSlot:
    def __init__(self, scheduler: "ScriptedScheduler") -> None:
        self._scheduler = scheduler
        self._is_open = True

    async def invoke(self, invocation: Invocation) -> Outcome:
        if not self._is_open:
            raise RuntimeError("this slot was used or released")
        try:
            self._scheduler.seen.append(invocation)
            return await self._scheduler.script(invocation)
        finally:
            self.release()

    def release(self) -> None:
        if self._is_open:
            self._is_open = False
            self._scheduler.give_back()


class ScriptedScheduler:
    """A `Scheduler` of `places` slots whose functions do what the script says."""

    def __init__(self, places: int = 5) -> None:
        self.places = places
        self.held = 0
        self.most_held = 0
        self.seen: list[Invocation] = []
        self.answer: Callable[[Invocation], Outcome] = lambda invocation: good()
        self.gate = asyncio.Event()
        self.gate.set()
        self._waiting: list[asyncio.Future[None]] = []

    async def script(self, invocation: Invocation) -> Outcome:
        await asyncio.sleep(0)
        await self.gate.wait()
        return self.answer(invocation)

    async def invoke(self, invocation: Invocation) -> Outcome:
        raise AssertionError("a source reserves a slot first")

    def submit(self, invocation: Invocation) -> asyncio.Future[Outcome]:
        return asyncio.create_task(self.invoke(invocation), name="scripted-invocation")

    async def reserve(self, function: FunctionVersion) -> Slot:
        while self.held >= self.places:
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(waiter)
            await waiter
        self.held += 1
        self.most_held = max(self.most_held, self.held)
        return ScriptedSlot(self)

    def give_back(self) -> None:
        self.held -= 1
        self.admit()

    def admit(self) -> None:
        for waiter in self._waiting:
            if not waiter.done():
                waiter.set_result(None)
        self._waiting.clear()

    def configure(self, function: FunctionVersion) -> None: ...

    def withdraw(self, name: FunctionName, version: str) -> None: ...

    def forget(self, name: FunctionName) -> None: ...

    def limit(self, name: FunctionName, reserved: int | None) -> None: ...

    def provision(self, name: FunctionName, version: str, count: int, most: int | None = None) -> None: ...

    def provisioned(self, name: FunctionName, version: str) -> ProvisionedState:
        return ProvisionedState()

    @contextmanager
    def held_up(self) -> Iterator[None]:
        """No handler returns inside."""
        self.gate.clear()
        try:
            yield
        finally:
            self.gate.set()


class NamedFunctions:
    """A `Functions` over a dictionary."""

    def __init__(self, *names: str) -> None:
        self.known = {name: function(name) for name in names}

    def current(self, name: str, qualifier: str) -> FunctionVersion | None:
        return self.known.get(name)


@dataclass
class Stage:
    """One source with everything around it. To be made inside a running loop."""

    mapping: EventSourceMapping = field(default_factory=mapping)
    scheduler: ScriptedScheduler = field(default_factory=ScriptedScheduler)
    functions: NamedFunctions = field(default_factory=lambda: NamedFunctions("worker"))
    jobs: FakeList = field(default_factory=FakeList)
    courier: RecordingCourier = field(default_factory=RecordingCourier)

    def __post_init__(self) -> None:
        self.around = Surroundings(
            scheduler=self.scheduler,
            functions=self.functions,
            clock=LoopClock(),
            region="us-east-1",
            account="000000000000",
            max_receive_count=3,
            courier=self.courier,
        )
        self.queue = FakeListQueue(self.jobs, f"run-1/{self.mapping.uuid}")
        self.source = ListSource(self.mapping, self.queue, self.around)

    @asynccontextmanager
    async def playing(self) -> AsyncIterator[asyncio.Task[None]]:
        """The source runs inside, and is stopped and awaited at the end."""
        task = asyncio.create_task(self.source.run(), name="source")
        try:
            yield task
        finally:
            self.source.stop()
            await task

    async def until(self, condition: Callable[[], bool]) -> None:
        """Let virtual time pass until the condition holds."""
        while not condition():  # noqa: ASYNC110  # virtual time: this is what lets it pass
            await asyncio.sleep(0.02)

    @property
    def is_empty(self) -> bool:
        """Nothing is left anywhere but in the dead-letter list."""
        return not self.jobs.source and not self.jobs.messages and not any(o.taken for o in self.jobs.owners.values())

    def all_bodies(self) -> list[str]:
        return [body for invocation in self.scheduler.seen for body in bodies(invocation)]
