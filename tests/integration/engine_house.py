"""An engine with everything around it, except Docker."""

import asyncio
import os
import shutil
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path
from textwrap import dedent

from tests.integration.process_containers import ProcessContainers

from hearth.core.function import FunctionName, FunctionVersion, ImageRun
from hearth.core.invocation import Invocation, Outcome
from hearth_scheduler.core.effects import Effect
from hearth_scheduler.core.fleet import Fleet
from hearth_scheduler.core.policy import Policy
from hearth_scheduler.core.stream_pace import StreamLimits
from hearth_scheduler.engine import Engine
from hearth_scheduler.environments import Environments
from hearth_scheduler.launches import Surroundings
from hearth_scheduler.member import Member
from hearth_scheduler.reporter import Reporter
from hearth_scheduler.testing import FakeLimits, FakeSlots

PATIENCE_S = 20.0
"""For anything that should happen at once; only a broken test ever waits this long."""
RUNTIME = "python3.13"
ECHO = "def handler(event, context): return event"


class Journal:
    """A `LogSink` that can be waited for."""

    def __init__(self) -> None:
        self.entries: list[tuple[str, str, bytes]] = []
        self._waiting: list[tuple[bytes, asyncio.Future[None]]] = []

    def append(self, group: str, stream: str, text: bytes, at_ms: int) -> None:
        self.entries.append((group, stream, text))
        whole = self.bytes
        for needle, found in self._waiting:
            if needle in whole and not found.done():
                found.set_result(None)

    @property
    def bytes(self) -> bytes:
        return b"".join(text for _, _, text in self.entries)

    @property
    def text(self) -> str:
        return self.bytes.decode()

    async def saw(self, needle: str) -> None:
        """Wait until the text stands in the log."""
        if needle.encode() not in self.bytes:
            found = asyncio.get_running_loop().create_future()
            self._waiting.append((needle.encode(), found))
            await asyncio.wait_for(found, PATIENCE_S)


class Codes:
    """Unpacked packages, by a name that stands for their hash."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def write(self, sha256: str, source: str) -> None:
        tree = self._folder / sha256
        tree.mkdir(parents=True)
        (tree / "app.py").write_text(dedent(source))

    def lose(self, sha256: str) -> None:
        shutil.rmtree(self._folder / sha256)

    def tree(self, code_sha256: str) -> str:
        tree = self._folder / code_sha256
        if not tree.is_dir():
            raise FileNotFoundError(tree)
        return str(tree)

    def opt(self, layers: Sequence[str]) -> str | None:
        return self.tree(layers[0]) if layers else None


class WatchedEngine(Engine):
    """Says when it has done something."""

    changed: asyncio.Event

    def _perform(self, effects: Iterable[Effect]) -> None:
        super()._perform(effects)
        self.changed.set()


class House:
    """The fakes outlive an engine, as Docker and the disk outlive the scheduler."""

    def __init__(self, folder: Path) -> None:
        self.containers = ProcessContainers()
        self.slots = FakeSlots(folder / "run")
        self.limits = FakeLimits()
        self.journal = Journal()
        self.codes = Codes(folder / "code")
        self.engine: WatchedEngine
        self.environments: Environments
        self._ids = (f"e{n}" for n in count(1))
        self._requests = (f"request-{n}" for n in count(1))
        self._codes = (f"code-{n}" for n in count(1))
        self._changed = asyncio.Event()
        self._folder = folder

    def build(
        self,
        policy: Policy | None = None,
        *,
        stems: int = 0,
        epoch: str = "1",
        streams: StreamLimits = StreamLimits(),  # noqa: B008 - immutable
        endpoints: Mapping[str, str] | None = None,
        wall: Callable[[], float] = time.time,
    ) -> WatchedEngine:
        """An engine; a second one over the same directories is what a restart makes."""
        fleet = Fleet(policy or Policy(), {RUNTIME: stems}, lambda: next(self._ids))
        reporter = Reporter(self.journal, "us-east-1", wall)
        around = Surroundings("us-east-1", epoch, {RUNTIME: "image"}, endpoints=endpoints or {})
        self.environments = Environments(self.containers, self.slots, self.limits, reporter=reporter, around=around)
        self.engine = WatchedEngine(fleet, self.environments, reporter, self.codes, stream_limits=streams)
        self.engine.changed = self._changed
        return self.engine

    def function(
        self,
        source: str = ECHO,
        *,
        name: str = "hello",
        revision: str = "1",
        timeout_s: int = 10,
        environment: Mapping[str, str] | None = None,
    ) -> FunctionVersion:
        """A function with that code, known to the engine."""
        code = next(self._codes)
        self.codes.write(code, source)
        function = FunctionVersion(
            name=FunctionName(name),
            version="$LATEST",
            revision=revision,
            arn=f"arn:aws:lambda:us-east-1:000000000000:function:{name}",
            runtime=RUNTIME,
            handler="app.handler",
            timeout_s=timeout_s,
            memory_mib=128,
            ephemeral_storage_mib=512,
            code_sha256=code,
            log_group=f"/aws/lambda/{name}",
            environment=environment or {},
        )
        self.engine.configure(function)
        return function

    def image_function(
        self, source: str = ECHO, *, name: str = "image", entry_point: str | None = None, timeout_s: int = 10
    ) -> FunctionVersion:
        """A function whose code is an image, that is to say a directory, known to the engine."""
        packed = self.function(source, name=name, timeout_s=timeout_s)
        directory = self.codes.tree(packed.code_sha256)
        image = ImageRun(directory, None if entry_point is None else (entry_point,))
        function = replace(packed, code_sha256="", runtime="", handler="", revision=directory, image=image)
        self.engine.configure(function)
        return function

    def invocation(
        self, function: FunctionVersion, payload: bytes = b'"event"', *, wants_log_tail: bool = False
    ) -> Invocation:
        return Invocation(
            request_id=next(self._requests),
            function=function,
            payload=payload,
            arrived_at=time.monotonic(),
            invoked_arn=function.arn,
            wants_log_tail=wants_log_tail,
        )

    async def invoke(
        self, function: FunctionVersion, payload: bytes = b'"event"', *, wants_log_tail: bool = False
    ) -> Outcome:
        invocation = self.invocation(function, payload, wants_log_tail=wants_log_tail)
        return await asyncio.wait_for(self.engine.invoke(invocation), PATIENCE_S)

    @property
    def members(self) -> list[Member]:
        return list(self.environments.members.values())

    @property
    def member(self) -> Member:
        (member,) = self.members
        return member

    async def until(self, is_so: Callable[[], bool]) -> None:
        """Wait until something that the engine does has made it so."""
        async with asyncio.timeout(PATIENCE_S):
            while not is_so():
                self._changed.clear()
                await self._changed.wait()

    async def until_empty(self) -> None:
        await self.until(lambda: not self.members and not self.engine.fleet.environments)

    async def crash(self) -> None:
        """The scheduler is gone from one moment to the next, as far as its environments can tell."""
        if self.engine._timer is not None:
            self.engine._timer.cancel()
        await self.environments.close()
        await self.engine._tasks.__aexit__()

    def gate(self, name: str = "gate") -> "Gate":
        return Gate(self._folder / name)


class Gate:
    """Where a handler waits until the test opens it: `wait_at(path)` in the function, `open()` in the test."""

    def __init__(self, path: Path) -> None:
        os.mkfifo(path)
        self.path = path
        self._handle = os.open(path, os.O_RDWR | os.O_NONBLOCK)

    def open(self) -> None:
        os.write(self._handle, b"x")

    def close(self) -> None:
        os.close(self._handle)
