"""Brings environments into the world and takes them out of it again: containers, places, limits, connections.

Rule 1: one owner. A member exists here from the order to start it until its container and places are gone.
Rule 2: death is seen at once: PID 1 is held by a pidfd, the runtime by its connection; Docker is only asked to tidy up.
Rule 3: whose fault a death was follows from who died. PID 1 cannot be killed from inside its namespace: if it died
unordered, the outside did it, and the function is not to blame. If PID 1 lives and the runtime does not, it is.
"""

import asyncio
import contextlib
import os
from collections.abc import Coroutine
from pathlib import Path
from typing import TYPE_CHECKING

import orjson
import structlog

from hearth.core.function import FunctionVersion
from hearth.core.invocation import Invocation
from hearth.ports import CodeTrees
from hearth_scheduler.conversation import Conversation
from hearth_scheduler.core import variables
from hearth_scheduler.core.effects import Verdict
from hearth_scheduler.core.runtime_talk import RuntimeTalk
from hearth_scheduler.launches import STEM_CONTAINER_MIB, Surroundings, function_request, stem_request
from hearth_scheduler.link import Link
from hearth_scheduler.member import FUNCTION_FILE, Member
from hearth_scheduler.ports import Container, ContainerError, Containers, ImageMissing, Limits, Slots
from hearth_scheduler.reporter import Reporter
from hearth_scheduler.tasks import Tasks

if TYPE_CHECKING:
    from hearth_scheduler.engine import Engine

SAMPLE_S = 0.1
LARGEST_MIB = 10_240  # memory of the largest function there can be
CHANGE_S = 5.0
"""How long a removal waits for work under way on the same places, which takes milliseconds."""
SIGKILL = 9

log = structlog.get_logger(__name__)


class Environments:
    """Everything runs on the engine's loop; long work is a task of the engine's group."""

    def __init__(
        self, containers: Containers, slots: Slots, limits: Limits, *, reporter: Reporter, around: Surroundings
    ) -> None:
        self.members: dict[str, Member] = {}
        self._containers = containers
        self._slots = slots
        self._limits = limits
        self._reporter = reporter
        self._around = around
        self._engine: Engine
        self._tasks: Tasks
        self._conversation: Conversation
        self._loop: asyncio.AbstractEventLoop

    def attach(self, engine: "Engine", tasks: Tasks) -> None:
        """Say whom to report to, and who is the parent of all work."""
        self._engine = engine
        self._tasks = tasks
        self._loop = asyncio.get_running_loop()
        self._conversation = Conversation(self, engine, self._reporter, tasks)

    # -- start -----------------------------------------------------------------------------------------------------

    def start(self, environment_id: str, runtime: str) -> None:
        """Start a stem cell; the engine hears `connected`, `start_failed` or `died`."""
        member = self._new_member(environment_id, runtime)
        member.starting = self._tasks.start(self._start(member), f"start-{environment_id}")

    def _new_member(self, environment_id: str, runtime: str) -> Member:
        link = Link(environment_id, self._conversation)
        places = self._slots.places(environment_id)
        member = Member(environment_id, runtime, places, link, began_at=self._engine.now)
        self.members[environment_id] = member
        return member

    def start_for(
        self, environment_id: str, function: FunctionVersion, codes: CodeTrees, *, is_provisioned: bool = False
    ) -> None:
        """Start an environment of this function alone. The engine hears the same, and `asked_next` after its init."""
        member = self._new_member(environment_id, self._around.interpreter(function))
        member.function = function
        member.is_alone = True
        member.is_provisioned = is_provisioned
        member.stream = self._reporter.new_stream(function, environment_id)
        member.starting = self._tasks.start(self._start(member, codes), f"start-{environment_id}")

    async def _start(self, member: Member, codes: CodeTrees | None = None) -> None:
        try:
            member.places = await self._slots.prepare(member.id)
            member.link.open(member.places.sockets)
            if member.function is None or codes is None:
                request = stem_request(member, self._around)
            else:
                await self._furnish(member, member.function, codes)
                request = function_request(member, member.function, self._around)
            member.container = await self._containers.start(request)
        except (ContainerError, OSError) as error:
            await self._start_failed(member, error)
            return
        member.starting = None
        self._watch(member)
        self.introduce(member)

    async def _start_failed(self, member: Member, error: Exception) -> None:
        try:
            await self._tidy(member)
        except (ContainerError, OSError) as worse:
            log.warning("could not tidy up after a failed start", environment=member.id, error=str(worse))
            self._engine.broke(member, Verdict.NO_ENVIRONMENT)  # its removal is tried until it succeeds
        else:
            self._engine.start_failed(member.id, str(error), is_final=isinstance(error, ImageMissing))

    def _watch(self, member: Member) -> None:
        if member.watch():
            self._loop.add_reader(member.pidfd, self._container_died, member)
        else:
            self._engine.broke(member, Verdict.DIED)

    def introduce(self, member: Member) -> None:
        """The container, its init and its client are all known: tell the engine what there is now. Without the init
        nobody would read the function's output, nor hear of its exit."""
        is_new = member.is_alone and member.function is not None
        is_complete = member.container is not None and member.http is not None and (is_new or member.greeting)
        if not is_complete or member.is_stopping or member.is_introduced:
            return
        member.is_introduced = True
        if is_new:
            self._engine.connected(member)
            self._conversation.catch_up(member)
        elif member.greeting == "stem":
            self._engine.connected(member)
        else:
            self._adopt_function(member)

    # -- specialise ------------------------------------------------------------------------------------------------

    def specialise(
        self, environment_id: str, function: FunctionVersion, codes: CodeTrees, *, is_provisioned: bool = False
    ) -> None:
        """Make a stem cell the function's environment. The engine hears `asked_next` when its init is over."""
        member = self.members[environment_id]
        member.function = function
        member.is_provisioned = is_provisioned
        member.specialised_at = self._engine.now
        member.stream = self._reporter.new_stream(function, environment_id)
        self._reporter.init_started(member)
        self._change(member, self._specialise(member, function, codes), "specialise")

    def _change(self, member: Member, work: Coroutine[object, object, None], what: str) -> None:
        task = self._tasks.start(work, f"{what}-{member.id}")
        member.changing.add(task)
        task.add_done_callback(member.changing.discard)

    async def _specialise(self, member: Member, function: FunctionVersion, codes: CodeTrees) -> None:
        assert member.container is not None
        try:
            await self._furnish(member, function, codes)
            # No CPU quota during init: at 128 MB an import of boto3 would take ten seconds.
            await self._limits.apply(member.container, memory_mib=function.memory_mib, cpus=None)
        except (OSError, ContainerError) as error:
            self._engine.last_error = str(error)
            self._engine.broke(member, Verdict.NO_ENVIRONMENT)
            return
        anew = variables.needs_new_interpreter(function.environment)
        member.link.specialise(self._around.variables(member, function), function.handler, anew=anew)

    async def _furnish(self, member: Member, function: FunctionVersion, codes: CodeTrees) -> None:
        """Bring in its code, its layers and its /tmp; an image has its own code."""
        code = None if function.image is not None else Path(codes.tree(function.code_sha256))
        self._remember(member, function)
        opt = codes.opt(function.layers)
        layers = None if opt is None else Path(opt)
        await self._slots.attach(member.places, code=code, opt=layers, tmp_mib=function.ephemeral_storage_mib)

    def _remember(self, member: Member, function: FunctionVersion) -> None:
        """Write down whose environment this becomes, before it holds any code: after a restart it must never pass for
        a stem cell again. And since when, because its credentials run out, restart or not."""
        said = {"name": function.name, "version": function.version, "revision": function.revision}
        more = {"stream": member.stream, "alone": member.is_alone, "provisioned": member.is_provisioned}
        given = {"since_s": self._reporter.wall(), "endpoints": self._around.endpoints}
        (member.places.root / FUNCTION_FILE).write_bytes(orjson.dumps({**said, **more, **given}))

    def initialised(self, member: Member) -> None:
        """The init phase is over: the CPU share applies from here on."""
        function, container = member.function, member.container
        if function is not None and container is not None:
            self._change(member, self._limit(member, container, function), "limit")

    async def _limit(self, member: Member, container: Container, function: FunctionVersion) -> None:
        try:
            await self._limits.apply(container, memory_mib=function.memory_mib, cpus=function.cpus)
        except (OSError, ContainerError) as error:
            if not member.is_stopping:  # otherwise there is nothing left to limit
                log.warning("could not set the CPU share", environment=member.id, error=str(error))

    # -- talk ------------------------------------------------------------------------------------------------------

    def deliver(self, member: Member, invocation: Invocation, deadline_ms: int) -> None:
        """Hand the event to the runtime, which is waiting for it. If it is gone, its death is on its way to us."""
        if member.http is not None and member.http.has_spoken:
            member.http.deliver(invocation, deadline_ms)
            return
        context = invocation.client_context.replace("\0", "")  # the caller's; it would shift the fields after it
        meta = f"{invocation.request_id}\0{deadline_ms}\0{invocation.invoked_arn}\0{invocation.trace_id}\0{context}\0\0"
        member.link.invoke(meta.encode(), invocation.payload)

    def sample(self, member: Member, now: float, *, force: bool = False) -> None:
        """Read how much memory the environment uses, not more often than makes sense."""
        if member.container is not None and (force or now - member.sampled_at > SAMPLE_S):
            member.sampled_at = now
            member.peak_bytes = max(member.peak_bytes, self._limits.memory_used_bytes(member.container))

    def was_out_of_memory(self, member: Member) -> bool:
        """Whether the kernel killed the runtime for memory: signal 9, and the cgroup counted it."""
        return member.exit_status is not None and member.exit_status[1] == SIGKILL == self.presumed_signal(member)

    def presumed_signal(self, member: Member) -> int:
        """What ended a runtime whose end has not been reported: SIGKILL if the kernel counted a kill, else nothing."""
        return SIGKILL if member.container is not None and self._limits.oom_kills(member.container) else 0

    def _container_died(self, member: Member) -> None:
        """PID 1 is gone."""
        self._loop.remove_reader(member.pidfd)
        if not member.is_stopping:
            member.link.settle()
            member.link.drain_output()
            self._engine.broke(member, Verdict.DIED, event_unread=member.left_unread)

    # -- stop ------------------------------------------------------------------------------------------------------

    def stop(self, environment_id: str) -> None:
        """Kill at once; remove what remains. The engine hears `died` when everything is gone."""
        member = self.members.get(environment_id)
        if member is None:
            self._loop.call_soon(self._engine.died, environment_id)
            return
        member.is_stopping = True
        if member.grace is not None:
            member.grace.cancel()
        member.kill()
        if member.removing is None or member.removing.done():
            member.removing = self._tasks.start(self._remove(member), f"remove-{environment_id}")

    async def _remove(self, member: Member) -> None:
        """If this fails, the fleet orders it anew after a while."""
        if member.starting is not None:
            member.starting.cancel()
            await asyncio.wait([member.starting])  # its deadline is the adapter's: a start leaves nothing behind
        if member.changing:
            await asyncio.wait(member.changing, timeout=CHANGE_S)
        try:
            await self._tidy(member)
        except (ContainerError, OSError) as error:
            log.warning("could not remove a container", environment=member.id, error=str(error))
            return
        self._engine.died(member.id)

    async def _tidy(self, member: Member) -> None:
        """Leave nothing of the member behind. Idempotent."""
        member.link.drain_output()
        if member.container is not None:
            self._disconnect(member, but_watch=True)  # a second attempt must be able to kill it
            await self._let_die(member.container, member.function.memory_mib if member.function else STEM_CONTAINER_MIB)
            await self._containers.remove(member.container.id)
            self._limits.forget(member.container)
        self._disconnect(member)
        await self._slots.release(member.id)
        self.members.pop(member.id, None)

    async def _let_die(self, container: Container, memory_mib: int) -> None:
        """Lift the CPU quota. Dying takes CPU time too: the thousand processes of a fork bomb, killed at 7 % of a CPU,
        take minutes, and the engine gives up removing them."""
        with contextlib.suppress(ContainerError, OSError):
            await self._limits.apply(container, memory_mib=memory_mib, cpus=None)

    def _disconnect(self, member: Member, *, but_watch: bool = False) -> None:
        if member.http is not None:
            member.http.close()
        member.link.close()
        if member.pidfd >= 0 and not but_watch:
            self._loop.remove_reader(member.pidfd)
            os.close(member.pidfd)
            member.pidfd = -1

    # -- after a restart -------------------------------------------------------------------------------------------

    async def recover(self) -> None:
        """Adopt what an earlier run left healthy; remove the rest, before any event is taken."""
        found = await self._containers.list()
        kept: set[str] = set()
        async with asyncio.TaskGroup() as group:
            for container in found:
                if self._try_to_adopt(container):
                    kept.add(container.environment_id)
                else:
                    group.create_task(self._discard(container), name=f"discard-{container.environment_id}")
        for environment_id in set(await self._slots.leftovers()) - kept:
            await self._release(environment_id)
        log.info("recovered", adopted=len(kept), removed=len(found) - len(kept))

    def _try_to_adopt(self, container: Container) -> bool:
        """It runs and its directory is there: listen, and let it show itself within the start timeout."""
        if not container.pid or not self._has_places(container):
            return False
        member = self._new_member(container.environment_id, container.runtime)
        member.container = container
        try:
            member.link.open(member.places.sockets)
        except OSError:
            member.link.close()
            del self.members[member.id]
            return False
        has_function = (member.places.root / FUNCTION_FILE).exists()
        function = self._remembered(member) if has_function else None
        # How long it may be busy with what its last scheduler gave it.
        working_s = float(function.timeout_s) if function is not None else 0.0
        self._engine.adopt(member, function, working_s=working_s if has_function else None)
        self._watch(member)
        return True

    def _has_places(self, container: Container) -> bool:
        try:
            return self._slots.places(container.environment_id).sockets.is_dir()
        except ValueError:  # a label that is no id: not a container of ours, whatever else its labels say
            return False

    def _adopt_function(self, member: Member) -> None:
        function = self._remembered(member)
        if function is None:
            self._engine.broke(member, Verdict.DIED)
            return
        member.function = function
        member.talk = RuntimeTalk()
        member.is_cold = False
        self._engine.adopted(member, function)
        self._conversation.catch_up(member)

    def _remembered(self, member: Member) -> FunctionVersion | None:
        """The function this container was specialised for, if its revision is still the current one, its interpreter
        still what runs it (a nearer one may have been installed), and AWS still where it was told."""
        try:
            said = orjson.loads((member.places.root / FUNCTION_FILE).read_bytes())
            member.stream = str(said["stream"])
            member.is_alone = bool(said.get("alone"))
            member.is_provisioned = bool(said.get("provisioned"))
            member.age_s = max(0.0, self._reporter.wall() - said["since_s"])
            if said["endpoints"] != self._around.endpoints:
                return None
            pool = self._engine.fleet.pools[said["name"], said["version"]]
            is_same = pool.current.revision == said["revision"]
            return pool.current if is_same and member.runtime == self._around.interpreter(pool.current) else None
        except (OSError, ValueError, KeyError, TypeError):
            return None

    async def _discard(self, container: Container) -> None:
        await self._let_die(container, LARGEST_MIB)
        try:
            await self._containers.remove(container.id)
            self._limits.forget(container)
            await self._slots.release(container.environment_id)
        except ValueError:
            pass  # a label that is no id: it has no places
        except (ContainerError, OSError) as error:
            log.warning("could not remove a leftover", container=container.id, error=str(error))

    async def _release(self, environment_id: str) -> None:
        try:
            await self._slots.release(environment_id)
        except OSError as error:
            log.warning("could not remove the places of a leftover", environment=environment_id, error=str(error))

    async def compare(self) -> None:
        """Mend the differences between Docker, the places on disk, and the ledger. What came into being while Docker
        was answering is not judged."""
        known = [(member, member.container.id) for member in self.members.values() if member.container is not None]
        found = await self._containers.list()
        for container in found:
            if container.environment_id not in self.members:
                await self._discard(container)
        running = {container.id for container in found}
        for member, container_id in known:
            if container_id not in running and not member.is_stopping:
                self._engine.broke(member, Verdict.DIED)
        for environment_id in await self._slots.leftovers():
            if environment_id not in self.members:
                await self._release(environment_id)

    async def close(self) -> None:
        """The engine is done: nothing may remain open, and no stranger."""
        for member in self.members.values():
            member.is_stopping = True
            self._disconnect(member)
        with contextlib.suppress(ContainerError, OSError):
            await self.compare()
