"""A function version, as an execution environment sees it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, NewType

FunctionName = NewType("FunctionName", str)
"""The bare name, 1 to 64 characters of `[a-zA-Z0-9-_]`."""

LATEST = "$LATEST"

# 1 vCPU at 1,769 MB; the AWS Lambda developer guide, "Configure Lambda function memory".
MIB_PER_VCPU = 1769


class ImageRun(NamedTuple):
    """A container image that is a function's code: what Docker knows it by, and what replaces its own ENTRYPOINT, CMD
    and WORKDIR (None: nothing does)."""

    image: str
    entry_point: tuple[str, ...] | None = None
    command: tuple[str, ...] | None = None
    working_directory: str | None = None


@dataclass(frozen=True, slots=True)
class FunctionVersion:
    """Everything an execution environment needs to know to run one version of one function.

    `revision` changes with every change of code or configuration that a running environment cannot take up; an
    environment of another revision is stale: it finishes what it does and goes. `code_sha256` is the lower-case
    hex SHA-256 of the package and names its unpacked tree; it is empty where `image` is the code. `environment` holds
    the user's variables only. `layers` are the SHA-256 of the layers' packages, in the order in which they are merged
    into /opt. `role` is the ARN whose temporary credentials the environment gets. `log_level` exists in the JSON
    format only.
    """

    name: FunctionName
    version: str
    revision: str
    arn: str
    runtime: str
    handler: str
    timeout_s: int
    memory_mib: int
    ephemeral_storage_mib: int
    code_sha256: str
    log_group: str
    environment: Mapping[str, str] = field(default_factory=dict)
    role: str = ""
    layers: tuple[str, ...] = ()
    image: ImageRun | None = None
    log_format: str = "Text"
    log_level: str | None = None

    @property
    def key(self) -> tuple[FunctionName, str]:
        """What shares one pool of environments: the version, whatever its revision."""
        return (self.name, self.version)

    @property
    def cpus(self) -> float:
        """CPU share in proportion to memory, in vCPUs."""
        return self.memory_mib / MIB_PER_VCPU
