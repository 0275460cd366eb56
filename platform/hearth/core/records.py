"""What is known of a function: its versions, its state, and what belongs to all versions together.

Rule 1: a change makes a new record; whoever holds the old one is not disturbed.
Rule 2: a version's phase is one enum and one table. What invocations run during an update is the deployment
before it, so a function keeps answering while its new code is unpacked, and after an update that failed.
Rule 3: the revision id changes at every step, the silent ones included (Pending to Active, InProgress to
Successful): callers that guard a change with it read it after waiting.
Source: FunctionConfiguration in the AWS Lambda API reference; "Lambda function states" in the developer guide.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from functools import cached_property

from hearth.core.arns import function_arn
from hearth.core.attachments import (
    Alias,
    EventInvokeConfig,
    Policy,
    ProvisionedConcurrency,
    RuntimeManagement,
    UrlConfig,
)
from hearth.core.errors import ResourceConflict
from hearth.core.function import LATEST, FunctionName, FunctionVersion
from hearth.core.opt_trees import opt_name
from hearth.core.running import running_versions


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
class ContainerImage:
    """A container image as code. `uri` is what the caller wrote, `resolved` names exactly this image (repository and
    digest, or the engine's id of one that has none), `digest` is its lower-case hex SHA-256. Both are empty as long as
    nobody has looked which image is meant."""

    uri: str
    resolved: str
    digest: str


@dataclass(frozen=True, slots=True)
class ImageConfig:
    """`ImageConfig`: what replaces the image's own ENTRYPOINT, CMD and WORKDIR; None leaves them."""

    entry_point: tuple[str, ...] | None = None
    command: tuple[str, ...] | None = None
    working_directory: str | None = None


@dataclass(frozen=True, slots=True)
class LayerReference:
    """A layer version that a function uses: its ARN, and its package, which outlives the layer version."""

    arn: str
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
    layers: tuple[LayerReference, ...] = ()
    image_config: ImageConfig = field(default_factory=ImageConfig)

    dead_letter_arn: str | None = None
    kms_key_arn: str | None = None
    subnet_ids: tuple[str, ...] = ()
    security_group_ids: tuple[str, ...] = ()
    ipv6_for_dual_stack: bool = False


@dataclass(frozen=True, slots=True)
class Deployment:
    """What an execution environment is made from: a package, or an image; never both."""

    configuration: Configuration
    package: Package | None = None
    image: ContainerImage | None = None

    @property
    def packages(self) -> frozenset[str]:
        """The SHA-256 of the packages that must be unpacked to run this: the code's and the layers'."""
        return frozenset(self.layers if self.package is None else (self.package.sha256, *self.layers))

    @property
    def layers(self) -> tuple[str, ...]:
        """The SHA-256 of the layers' packages, in the order in which they are merged into /opt."""
        return tuple(layer.sha256 for layer in self.configuration.layers)

    @property
    def needed(self) -> frozenset[str]:
        """The packages, and the name of the tree that is merged of several layers."""
        merged = opt_name(self.layers)
        return self.packages if merged is None else self.packages | {merged}


# Not slotted: what is made of a version is made once and kept with it, however often its function changes.
@dataclass(frozen=True)
class VersionRecord:
    """One version: `$LATEST`, or a published one, which is the same, frozen.

    `deployment` is what the caller asked for last. `previous` is what ran before it, kept only in the phases
    UPDATING and UPDATE_FAILED. `reason` is kept in every phase but ACTIVE. `modified_ms` is epoch milliseconds.
    `description` is the one given at publication, None if none was: then the deployment's own stands.
    """

    version: str
    deployment: Deployment
    revision_id: str
    modified_ms: int
    phase: Phase = Phase.PENDING
    reason: Reason | None = CREATING
    previous: Deployment | None = None
    description: str | None = None

    @property
    def serving(self) -> Deployment | None:
        """What invocations run now; None before the first deployment is ready."""
        return self.deployment if self.phase is Phase.ACTIVE else self.previous

    @cached_property
    def packages(self) -> frozenset[str]:
        """The SHA-256 of every package this version still needs, and the names of its merged trees."""
        return self.deployment.needed | (frozenset() if self.previous is None else self.previous.needed)

    @cached_property
    def runs(self) -> dict[tuple[str, str, str], FunctionVersion]:
        """What invocations run now, by the region, account and name of the function: filled by `running_versions`."""
        return {}

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

    def ready(self, revision_id: str, image: ContainerImage | None = None) -> "VersionRecord":
        """The package is unpacked, or it is known which image is meant: what was asked for last is what runs."""
        phase = self._next(Step.READY)
        deployment = self.deployment if image is None else replace(self.deployment, image=image)
        return replace(self, deployment=deployment, phase=phase, revision_id=revision_id, reason=None, previous=None)

    def broken(self, reason: Reason, revision_id: str) -> "VersionRecord":
        """The package cannot be made ready; what ran before, if anything, goes on running."""
        return replace(self, phase=self._next(Step.BREAK), revision_id=revision_id, reason=reason)

    def _next(self, step: Step) -> Phase:
        phase = STEPS.get((self.phase, step))
        if phase is None:
            raise IllegalStep(f"{step} in {self}")
        return phase


# Not slotted: the versions that invocations ask for are made once and kept with the record.
@dataclass(frozen=True)
class FunctionRecord:
    """A function: its versions, and what belongs to all of them together.

    `versions` are the published ones by number, oldest first; `last_version` is the highest number ever given out.
    `reserved` is the reserved concurrency, None for none. What is kept per qualifier has `$LATEST` for the function
    addressed without one. `ceilings` are the most environments that published versions may have.
    """

    name: FunctionName
    region: str
    account: str
    latest: VersionRecord
    reserved: int | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    versions: Mapping[str, VersionRecord] = field(default_factory=dict)
    last_version: int = 0
    aliases: Mapping[str, Alias] = field(default_factory=dict)
    urls: Mapping[str, UrlConfig] = field(default_factory=dict)
    policies: Mapping[str, Policy] = field(default_factory=dict)
    event_invoke: Mapping[str, EventInvokeConfig] = field(default_factory=dict)
    provisioned: Mapping[str, ProvisionedConcurrency] = field(default_factory=dict)
    ceilings: Mapping[str, int] = field(default_factory=dict)
    runtime_management: Mapping[str, RuntimeManagement] = field(default_factory=dict)
    recursive_loop: str = "Terminate"

    @property
    def arn(self) -> str:
        """The unqualified ARN."""
        return function_arn(self.region, self.account, self.name)

    @cached_property
    def packages(self) -> frozenset[str]:
        """The SHA-256 of every package this function still needs, those of layers included, and merged trees."""
        return self.latest.packages.union(*(version.packages for version in self.versions.values()))

    @property
    def state(self) -> State:
        return STATES[self.latest.phase][0]

    @property
    def is_runnable(self) -> bool:
        """Whether `version()` answers: there is something to run, be it of before an update."""
        return self.latest.serving is not None

    def with_version(self, version: VersionRecord) -> "FunctionRecord":
        """The record with this in the place of the version of the same number."""
        if version.version == LATEST:
            return replace(self, latest=version)
        return replace(self, versions={**self.versions, version.version: version})

    def find(self, qualifier: str | None, chance: float = 1.0) -> VersionRecord | None:
        """The version that a qualifier leads to, None if it leads nowhere. Where an alias has weights `chance`, uniform
        in [0, 1), decides; without it the alias' own version is meant."""
        if qualifier is None or qualifier == LATEST:
            return self.latest
        alias = self.aliases.get(qualifier)
        number = qualifier if alias is None else alias.choose(chance)
        return self.latest if number == LATEST else self.versions.get(number)

    def version(self, number: str = LATEST) -> FunctionVersion:
        """What invocations of this version run now; the documented conflict while there is nothing yet. KeyError if
        there is no such version."""
        running = self.running.get(number)
        if running is None:
            head = self.latest if number == LATEST else self.versions[number]
            raise ResourceConflict(
                "The operation cannot be performed at this time. "
                f"The function is currently in the following state: {STATES[head.phase][0].value}"
            )
        return running

    @cached_property
    def running(self) -> Mapping[str, FunctionVersion]:
        """What invocations of each version run now, by number; versions with nothing to run are not in it."""
        return running_versions(self)
