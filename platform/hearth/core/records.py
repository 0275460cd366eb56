"""What is known of a function: its versions, its state, and what belongs to all versions together.

Rule 1: a change makes a new record; whoever holds the old one is not disturbed.
Rule 2: a version's phase is one enum and one table. What invocations run during an update is the deployment
before it, so a function keeps answering while its new code is unpacked, and after an update that failed.
Rule 3: the revision id changes at every step, the silent ones included (Pending to Active, InProgress to
Successful): callers that guard a change with it read it after waiting.
Source: FunctionConfiguration in the AWS Lambda API reference; "Lambda function states" in the developer guide.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from functools import cached_property

from hearth.core.arns import function_arn, log_group
from hearth.core.errors import ResourceConflict
from hearth.core.function import LATEST, FunctionName, FunctionVersion


class Phase(Enum):
    """Where a version is between being asked for and being runnable."""

    PENDING = "pending"
    ACTIVE = "active"
    FAILED = "failed"
    UPDATING = "updating"
    UPDATE_FAILED = "update-failed"


class Step(Enum):
    """What moves a version from one phase to the next."""

    CHANGE = "change"  # a caller gave it new code or configuration
    READY = "ready"  # its package is unpacked and may be run
    BREAK = "break"  # its package cannot be made ready


STEPS: Mapping[tuple[Phase, Step], Phase] = {
    (Phase.PENDING, Step.READY): Phase.ACTIVE,
    (Phase.PENDING, Step.BREAK): Phase.FAILED,
    (Phase.FAILED, Step.CHANGE): Phase.PENDING,
    (Phase.ACTIVE, Step.CHANGE): Phase.UPDATING,
    (Phase.UPDATING, Step.READY): Phase.ACTIVE,
    (Phase.UPDATING, Step.BREAK): Phase.UPDATE_FAILED,
    (Phase.UPDATE_FAILED, Step.CHANGE): Phase.UPDATING,
}
"""Every legal step. A change while PENDING or UPDATING is the documented conflict, not a step."""


class State(Enum):
    """`State` of a FunctionConfiguration, as far as this platform uses it."""

    PENDING = "Pending"
    ACTIVE = "Active"
    FAILED = "Failed"


class UpdateStatus(Enum):
    """`LastUpdateStatus` of a FunctionConfiguration."""

    IN_PROGRESS = "InProgress"
    SUCCESSFUL = "Successful"
    FAILED = "Failed"


STATES: Mapping[Phase, tuple[State, UpdateStatus | None]] = {
    Phase.PENDING: (State.PENDING, None),
    Phase.ACTIVE: (State.ACTIVE, UpdateStatus.SUCCESSFUL),
    Phase.FAILED: (State.FAILED, UpdateStatus.FAILED),
    Phase.UPDATING: (State.ACTIVE, UpdateStatus.IN_PROGRESS),
    Phase.UPDATE_FAILED: (State.ACTIVE, UpdateStatus.FAILED),
}
"""What a caller is told of each phase."""

SETTLING = frozenset({Phase.PENDING, Phase.UPDATING})
"""Phases that end by themselves, once the package is ready or proves to be broken."""


class IllegalStep(RuntimeError):
    """A step that the table does not have: an error of the platform, never of a caller."""


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a version is not (yet) what its caller wanted; both texts are shown to callers.

    `code` is one of the API's StateReasonCode values.
    """

    code: str
    text: str


CREATING = Reason("Creating", "The function is being created.")


@dataclass(frozen=True, slots=True)
class Package:
    """A deployment package: `sha256` is lower-case hex and names it on disk, `size` is bytes of the zip."""

    sha256: str
    size: int


@dataclass(frozen=True, slots=True)
class Logging:
    """`LoggingConfig`. The levels exist only in the JSON format; no group means the default one."""

    format: str = "Text"
    application_level: str | None = None
    system_level: str | None = None
    group: str | None = None


@dataclass(frozen=True, slots=True)
class Configuration:
    """Everything a caller can configure about a version; the defaults are the documented ones.

    `environment` is None when never set, which is told apart from set and empty. The last group is kept and shown
    as the caller sent it, because tools compare what they read with what they wrote.
    """

    role: str
    runtime: str
    handler: str
    description: str = ""
    timeout_s: int = 3
    memory_mib: int = 128
    ephemeral_storage_mib: int = 512
    environment: Mapping[str, str] | None = None
    architecture: str = "x86_64"
    tracing_mode: str = "PassThrough"
    logging: Logging = field(default_factory=Logging)
    snap_start: str = "None"

    dead_letter_arn: str | None = None
    kms_key_arn: str | None = None
    subnet_ids: tuple[str, ...] = ()
    security_group_ids: tuple[str, ...] = ()
    ipv6_for_dual_stack: bool = False


@dataclass(frozen=True, slots=True)
class Deployment:
    """What an execution environment is made from."""

    configuration: Configuration
    package: Package


@dataclass(frozen=True, slots=True)
class VersionRecord:
    """One version: `$LATEST` today; numbered ones are the same, frozen.

    `deployment` is what the caller asked for last. `previous` is what ran before it, kept only in the phases
    UPDATING and UPDATE_FAILED. `reason` is kept in every phase but ACTIVE. `modified_ms` is epoch milliseconds.
    """

    version: str
    deployment: Deployment
    revision_id: str
    modified_ms: int
    phase: Phase = Phase.PENDING
    reason: Reason | None = CREATING
    previous: Deployment | None = None

    @property
    def serving(self) -> Deployment | None:
        """What invocations run now; None before the first deployment is ready."""
        return self.deployment if self.phase is Phase.ACTIVE else self.previous

    @property
    def packages(self) -> frozenset[str]:
        """The SHA-256 of every package this version still needs."""
        needed = (self.deployment, self.previous)
        return frozenset(deployment.package.sha256 for deployment in needed if deployment is not None)

    def changed(self, deployment: Deployment, revision_id: str, now_ms: int) -> "VersionRecord":
        """A caller gave the version new code or configuration."""
        return VersionRecord(
            version=self.version,
            deployment=deployment,
            revision_id=revision_id,
            modified_ms=now_ms,
            phase=self._next(Step.CHANGE),
            previous=self.serving,
        )

    def ready(self, revision_id: str) -> "VersionRecord":
        """The package is unpacked: what was asked for last is what runs."""
        phase = self._next(Step.READY)
        return replace(self, phase=phase, revision_id=revision_id, reason=None, previous=None)

    def broken(self, reason: Reason, revision_id: str) -> "VersionRecord":
        """The package cannot be made ready; what ran before, if anything, goes on running."""
        return replace(self, phase=self._next(Step.BREAK), revision_id=revision_id, reason=reason)

    def _next(self, step: Step) -> Phase:
        phase = STEPS.get((self.phase, step))
        if phase is None:
            raise IllegalStep(f"{step} in {self}")
        return phase


@dataclass(frozen=True, slots=True)
class Cors:
    """`Cors` of a function URL. None means that the member was never sent and is not shown."""

    allow_credentials: bool | None = None
    allow_headers: tuple[str, ...] | None = None
    allow_methods: tuple[str, ...] | None = None
    allow_origins: tuple[str, ...] | None = None
    expose_headers: tuple[str, ...] | None = None
    max_age_s: int | None = None


@dataclass(frozen=True, slots=True)
class UrlConfig:
    """The URL of a function. `url_id` is the first label of its host name; times are epoch microseconds."""

    url_id: str
    auth_type: str
    created_us: int
    modified_us: int
    invoke_mode: str = "BUFFERED"
    cors: Cors | None = None


# Not slotted: the version that every invocation asks for is made once and kept with the record.
@dataclass(frozen=True)
class FunctionRecord:
    """A function: its head version and what belongs to all versions together.

    Numbered versions and aliases will stand beside `latest`. `reserved` is the reserved concurrency, None for none.
    """

    name: FunctionName
    region: str
    account: str
    latest: VersionRecord
    reserved: int | None = None
    url: UrlConfig | None = None
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def arn(self) -> str:
        """The unqualified ARN."""
        return function_arn(self.region, self.account, self.name)

    @property
    def packages(self) -> frozenset[str]:
        """The SHA-256 of every package this function still needs."""
        return self.latest.packages

    @property
    def state(self) -> State:
        return STATES[self.latest.phase][0]

    @property
    def is_runnable(self) -> bool:
        """Whether `version()` answers: there is something to run, be it of before an update."""
        return self.latest.serving is not None

    def version(self) -> FunctionVersion:
        """What invocations of `$LATEST` run now; the documented conflict while there is nothing yet."""
        if self._running is None:
            raise ResourceConflict(
                "The operation cannot be performed at this time. "
                f"The function is currently in the following state: {self.state.value}"
            )
        return self._running

    @cached_property
    def _running(self) -> FunctionVersion | None:
        serving = self.latest.serving
        return None if serving is None else _function_version(self, serving)


def _function_version(record: FunctionRecord, deployment: Deployment) -> FunctionVersion:
    configuration = deployment.configuration
    parts = FunctionVersion(
        name=record.name,
        version=LATEST,
        revision="",
        arn=record.arn,
        runtime=configuration.runtime,
        handler=configuration.handler,
        timeout_s=configuration.timeout_s,
        memory_mib=configuration.memory_mib,
        ephemeral_storage_mib=configuration.ephemeral_storage_mib,
        code_sha256=deployment.package.sha256,
        log_group=configuration.logging.group or log_group(record.name),
        environment=dict(configuration.environment or {}),
    )
    return replace(parts, revision=_revision(parts))


def _revision(parts: FunctionVersion) -> str:
    """A digest of everything an environment is made from.

    Being a digest it survives a restart, so that running environments can be adopted, and a new description or tag
    does not throw away warm ones.
    """
    values = (
        parts.arn,
        parts.version,
        parts.runtime,
        parts.handler,
        parts.timeout_s,
        parts.memory_mib,
        parts.ephemeral_storage_mib,
        parts.code_sha256,
        parts.log_group,
        sorted(parts.environment.items()),
    )
    return hashlib.sha256(json.dumps(values).encode()).hexdigest()[:32]
