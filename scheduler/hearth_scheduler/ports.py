"""What the scheduler asks of the world below it: containers, places on disk, limits. Fakes live in `testing.py`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

LABEL_INSTANCE = "hearth.instance"
"""Whose container it is. Nothing without this label, set to our instance, is ever touched."""
LABEL_EPOCH = "hearth.epoch"
"""Which run of the scheduler made it."""
LABEL_ENVIRONMENT = "hearth.environment"
LABEL_RUNTIME = "hearth.runtime"
LABEL_ROLE = "hearth.role"
"""`environment`, or `redis` for Hearth's own store."""


@dataclass(frozen=True, slots=True)
class Places:
    """The host directories of one environment; the container sees them as its own (see docs/environment-protocol.md).

    `sockets` → /run/hearth (read-only), `task` → /var/task, `opt` → /opt (read-only, propagating), `tmp` → /tmp.
    """

    root: Path
    sockets: Path
    task: Path
    opt: Path
    tmp: Path


@dataclass(frozen=True, slots=True)
class Launch:
    """What a container runs that is started for one function. What is None is taken from the image. `has_code`: code
    and layers are brought in; otherwise the image's own /var/task and /opt are seen."""

    entry_point: tuple[str, ...] | None
    command: tuple[str, ...] | None
    directory: str | None
    has_code: bool


@dataclass(frozen=True, slots=True)
class ContainerRequest:
    """Everything that varies between our containers; the rest (hardening) is the adapter's fixed template. With a
    `launch`, `command` is only the init, which is told the rest by its arguments."""

    environment_id: str
    image: str
    command: tuple[str, ...]
    places: Places
    epoch: str
    runtime: str
    memory_mib: int
    cpus: float | None
    variables: Mapping[str, str] = field(default_factory=dict)
    launch: Launch | None = None


@dataclass(frozen=True, slots=True)
class Container:
    """A started container. `pid` is its PID 1 as the host sees it; 0 when it does not run. `launch` is what was asked
    for, completed from the image."""

    id: str
    environment_id: str
    pid: int
    runtime: str = ""
    epoch: str = ""
    launch: Launch | None = None


class Credentials(Protocol):
    """Temporary credentials for functions."""

    def issue(self, role_arn: str, function_name: str) -> Mapping[str, str]:
        """The variables in which SDKs look for credentials. They are the role's, the session has the function's name,
        and they outlast the environment that gets them. Pure arithmetic: on the path of a cold start."""
        ...


class ContainerError(Exception):
    """The engine refused or failed; the message is its own words."""


class ImageMissing(ContainerError):
    """There is no such image on this host, and trying again will not bring it."""


class Containers(Protocol):
    """The container engine. Calls may take long; none is on the path of a warm invocation."""

    async def start(self, request: ContainerRequest) -> Container:
        """Create and start; a failed or cancelled start leaves nothing behind. Raises ContainerError."""
        ...

    async def remove(self, container_id: str) -> None:
        """Kill and remove. Idempotent: a container that is gone already is success."""
        ...

    async def list(self) -> list[Container]:
        """All containers of this instance with role `environment`, whatever their state."""
        ...


class Slots(Protocol):
    """The places on disk of every environment."""

    async def prepare(self, environment_id: str) -> Places:
        """Make the (empty) places of a new environment, ready to be given to a container. Off the hot path."""
        ...

    async def attach(self, places: Places, *, code: Path | None, tmp_mib: int, opt: Path | None = None) -> None:
        """Make the code tree and the layers' (read-only, nosuid, nodev) and a /tmp of that size appear inside a running
        container, or in one that has yet to start. Without code there is only /tmp. On the path of a cold start: aims
        at a millisecond."""
        ...

    async def release(self, environment_id: str) -> None:
        """Unmount and delete the environment's places. Idempotent; succeeds whatever state they are in."""
        ...

    async def leftovers(self) -> list[str]:
        """Ids of all environments that have places on disk, from this or any earlier run."""
        ...

    def places(self, environment_id: str) -> Places:
        """Where that environment's places are (pure path arithmetic)."""
        ...


class Limits(Protocol):
    """Resource limits and readings of running containers, by the host pid of their PID 1. Cheap and synchronous."""

    async def apply(self, container: Container, *, memory_mib: int, cpus: float | None) -> None:
        """Set memory (no swap) and CPU quota; `cpus=None` lifts the quota."""
        ...

    def oom_kills(self, container: Container) -> int:
        """How often the kernel's out-of-memory killer struck in this container; 0 if unknown."""
        ...

    def memory_used_bytes(self, container: Container) -> int:
        """The highest of current anonymous + shared memory and what was read before; page cache is not counted."""
        ...

    def forget(self, container: Container) -> None:
        """Drop what is held open for this container."""
        ...
