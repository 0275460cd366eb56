"""What every container of Hearth is: one fixed template, whose gaps a request fills.

Nothing in a request can add a privilege, a path of the host or a namespace: the request is built here, not filtered.
"""

from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from hearth_scheduler.ports import (
    LABEL_ENVIRONMENT,
    LABEL_EPOCH,
    LABEL_INSTANCE,
    LABEL_ROLE,
    LABEL_RUNTIME,
    ContainerRequest,
    Places,
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

    def config(self, request: ContainerRequest, network: str) -> dict[str, Any]:
        """The body of the engine's create call (Docker Engine API, ContainerCreate)."""
        return {
            "Image": request.image,
            "Entrypoint": list(request.command[:1]),  # replaces the image's own
            "Cmd": list(request.command[1:]),
            "Hostname": "hearth",
            "User": _USER,
            "Env": [f"{name}={value}" for name, value in request.variables.items()],
            "Labels": self.labels(request),
            "Healthcheck": {"Test": ["NONE"]},
            "HostConfig": self._host_config(request, network),
        }

    def _host_config(self, request: ContainerRequest, network: str) -> dict[str, Any]:
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
            "Mounts": self._mounts(request.places),
        }

    def _mounts(self, places: Places) -> list[dict[str, Any]]:
        """The init, the socket directory, code, layers and /tmp.

        Mounts, not binds: a missing source is an error instead of a new directory. Without mounting of ours /tmp is
        an anonymous volume: the engine creates it and deletes it with the container, whoever owns what is inside.
        """
        mode = self.bind_mode
        return [
            _bind(self.init, "/hearth/init", BindMode.LINK),
            _bind(places.sockets, "/run/hearth", BindMode.LINK),
            _bind(places.task, "/var/task", mode),
            _bind(places.opt, "/opt", mode),
            _writable(places.tmp, "/tmp") if mode is BindMode.MOUNT else {"Type": "volume", "Target": "/tmp"},
        ]


def _bind(source: Path, target: str, mode: BindMode) -> dict[str, Any]:
    """A read-only bind; what is mounted on the source later appears at the target only in mode MOUNT."""
    options = {"Propagation": mode.value}
    return {"Type": "bind", "Source": str(source), "Target": target, "ReadOnly": True, "BindOptions": options}


def _writable(source: Path, target: str) -> dict[str, Any]:
    return _bind(source, target, BindMode.MOUNT) | {"ReadOnly": False}


def _quota(cpus: float | None) -> dict[str, int]:
    if cpus is None:
        return {}
    return {"CpuPeriod": CPU_PERIOD_US, "CpuQuota": int(cpus * CPU_PERIOD_US)}
