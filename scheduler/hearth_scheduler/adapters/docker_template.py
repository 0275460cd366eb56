"""What every container of Hearth is: one fixed template, whose gaps a request fills.

Nothing in a request can add a privilege, a path of the host or a namespace: the request is built here, not filtered.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path, PurePosixPath
from typing import Any

from hearth_scheduler.ports import (
    LABEL_ENVIRONMENT,
    LABEL_EPOCH,
    LABEL_INSTANCE,
    LABEL_ROLE,
    LABEL_RUNTIME,
    ContainerRequest,
    Launch,
)

ROLE = "environment"
CPU_PERIOD_US = 100_000
"""A shorter period makes short handlers far slower at small quotas: 5 ms of work at 7 % take 57 ms with 20 ms."""

_USER = "993:990"  # uid and gid: a uid alone would leave the root group
_PROCESSES = 1024  # AWS Lambda quotas: execution processes/threads
_FILES = 1024  # AWS Lambda quotas: file descriptors


class BindMode(Enum):
    """How the slots bring code and /tmp in; the value is the propagation of the binds."""

    MOUNT = "rslave"
    LINK = "rprivate"


@dataclass(frozen=True, slots=True)
class Template:
    """What all containers of one Hearth have in common."""

    instance: str
    init: Path
    bind_mode: BindMode

    def name(self, request: ContainerRequest) -> str:
        return f"hearth-{self.instance}-{request.environment_id}"

    def labels(self, request: ContainerRequest) -> dict[str, str]:
        return {
            LABEL_INSTANCE: self.instance,
            LABEL_EPOCH: request.epoch,
            LABEL_ENVIRONMENT: request.environment_id,
            LABEL_RUNTIME: request.runtime,
            LABEL_ROLE: ROLE,
        }

    def config(self, request: ContainerRequest, network: str, volumes: Iterable[str] = ()) -> dict[str, Any]:
        """The body of the engine's create call (Docker Engine API, ContainerCreate). `volumes` are what the image wants
        to be writable."""
        command = [*request.command, *_told(request.launch)]
        return {
            "Image": request.image,
            "Entrypoint": command[:1],  # replaces the image's own
            "Cmd": command[1:],
            "WorkingDir": "/",  # one that the image names and does not have would be made
            "Hostname": "hearth",
            "User": _USER,
            "Env": [f"{name}={value}" for name, value in request.variables.items()],
            "Labels": self.labels(request),
            "Healthcheck": {"Test": ["NONE"]},
            "HostConfig": self._host_config(request, network, volumes),
        }

    def _host_config(self, request: ContainerRequest, network: str, volumes: Iterable[str]) -> dict[str, Any]:
        """Hardening and limits. No seccomp option: that means the engine's default profile."""
        memory = request.memory_mib * 2**20
        return {
            "CapDrop": ["ALL"],
            "SecurityOpt": ["no-new-privileges:true"],
            "ReadonlyRootfs": True,
            "PidsLimit": _PROCESSES,
            "Ulimits": [{"Name": "nofile", "Soft": _FILES, "Hard": _FILES}],
            "Memory": memory,
            "MemorySwap": memory,  # memory and swap together: no swap
            **_quota(request.cpus),
            "LogConfig": {"Type": "none", "Config": {}},
            "RestartPolicy": {"Name": "no"},
            "NetworkMode": network,
            "Mounts": self._mounts(request, volumes),
        }

    def _mounts(self, request: ContainerRequest, volumes: Iterable[str]) -> list[dict[str, Any]]:
        """The init, the socket directory, code, layers and /tmp, and what an image declares a volume.

        Mounts, not binds: a missing source is an error instead of a new directory. Without mounting of ours /tmp is
        an anonymous volume: the engine creates it and deletes it with the container, whoever owns what is inside.
        """
        mode, places = self.bind_mode, request.places
        mounts = [
            _bind(self.init, "/hearth/init", BindMode.LINK),
            _bind(places.sockets, "/run/hearth", BindMode.LINK),
            _writable(places.tmp, "/tmp") if mode is BindMode.MOUNT else {"Type": "volume", "Target": "/tmp"},
        ]
        if request.launch is None or request.launch.has_code:
            mounts += [_bind(places.task, "/var/task", mode), _bind(places.opt, "/opt", mode)]
        taken = {mount["Target"] for mount in mounts}
        wanted = {str(PurePosixPath("/", volume)) for volume in volumes}
        return mounts + [_nothing(path) for path in sorted(wanted - taken)]


def completed(launch: Launch, image: Mapping[str, Any]) -> Launch:
    """The launch with what it leaves to the image. A list there replaces the image's own, and no other."""
    own_directory: str = image.get("WorkingDir") or "/"
    return Launch(
        tuple(image.get("Entrypoint") or ()) if launch.entry_point is None else launch.entry_point,
        tuple(image.get("Cmd") or ()) if launch.command is None else launch.command,
        own_directory if launch.directory is None else launch.directory,
        has_code=launch.has_code,
    )


def _told(launch: Launch | None) -> list[str]:
    """What the init is told: where, and what. An image without a command has an empty one, which cannot be executed:
    that is how the function's caller gets to know of it."""
    if launch is None:
        return []
    return ["-C", launch.directory or "/", *((*(launch.entry_point or ()), *(launch.command or ())) or ("",))]


def _bind(source: Path, target: str, mode: BindMode) -> dict[str, Any]:
    """A read-only bind; what is mounted on the source later appears at the target only in mode MOUNT."""
    options = {"Propagation": mode.value}
    return {"Type": "bind", "Source": str(source), "Target": target, "ReadOnly": True, "BindOptions": options}


def _nothing(target: str) -> dict[str, Any]:
    """An empty directory instead of a volume that the image declares. The engine would make one on the host's disk, of
    any size, that cannot be read-only; on Lambda there is none, and the directory is as read-only as all else."""
    return {"Type": "tmpfs", "Target": target, "ReadOnly": True, "TmpfsOptions": {"SizeBytes": 4096}}


def _writable(source: Path, target: str) -> dict[str, Any]:
    return _bind(source, target, BindMode.MOUNT) | {"ReadOnly": False}


def _quota(cpus: float | None) -> dict[str, int]:
    if cpus is None:
        return {}
    return {"CpuPeriod": CPU_PERIOD_US, "CpuQuota": int(cpus * CPU_PERIOD_US)}
