"""A function version, as an execution environment sees it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NewType

FunctionName = NewType("FunctionName", str)
"""The bare name, 1 to 64 characters of `[a-zA-Z0-9-_]`."""

LATEST = "$LATEST"

# 1 vCPU at 1,769 MB; the AWS Lambda developer guide, "Configure Lambda function memory".
MIB_PER_VCPU = 1769


@dataclass(frozen=True, slots=True)
class FunctionVersion:
    """Everything an execution environment needs to know to run one version of one function.

    `revision` changes with every change of code or configuration that a running environment cannot take up; an
    environment of another revision is stale: it finishes what it does and goes. `code_sha256` is the lower-case
    hex SHA-256 of the package and names its unpacked tree. `environment` holds the user's variables only.
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

    @property
    def key(self) -> tuple[FunctionName, str]:
        """What shares one pool of environments: the version, whatever its revision."""
        return (self.name, self.version)

    @property
    def cpus(self) -> float:
        """CPU share in proportion to memory, in vCPUs."""
        return self.memory_mib / MIB_PER_VCPU
