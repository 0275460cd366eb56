"""What is attached to a function beside its versions: aliases, URLs, policies and settings.

Most of it exists once per qualifier: `$LATEST` for the function as a whole, a version's number, or an alias. What is
attached is never part of a published version.
Source: AliasConfiguration, FunctionUrlConfig, FunctionEventInvokeConfig, PutProvisionedConcurrencyConfig,
PutRuntimeManagementConfig and "Resource-based policies" in the AWS Lambda documentation.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field


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
    """The URL of a function or alias. `url_id` is the first label of its host name; times are epoch microseconds."""

    url_id: str
    auth_type: str
    created_us: int
    modified_us: int
    invoke_mode: str = "BUFFERED"
    cors: Cors | None = None


@dataclass(frozen=True, slots=True)
class Alias:
    """A name for a version. `weights` gives at most one further version its share of the invocations, 0 to 1."""

    name: str
    version: str
    revision_id: str
    description: str = ""
    weights: Mapping[str, float] = field(default_factory=dict)

    def choose(self, chance: float) -> str:
        """The version of one invocation; `chance` is uniform in [0, 1)."""
        for version, weight in self.weights.items():
            if chance < weight:
                return version
        return self.version

    @property
    def versions(self) -> frozenset[str]:
        """Every version that the alias may lead to."""
        return frozenset((self.version, *self.weights))


@dataclass(frozen=True, slots=True)
class Policy:
    """A resource-based policy: a JSON document in the IAM policy language, and the revision that guards changes."""

    document: str
    revision_id: str


@dataclass(frozen=True, slots=True)
class EventInvokeConfig:
    """How asynchronous invocations are retried and where their records go. None: never set, the default applies."""

    modified_ms: int
    max_retry_attempts: int | None = None
    max_event_age_s: int | None = None
    on_success: str | None = None
    on_failure: str | None = None


@dataclass(frozen=True, slots=True)
class ProvisionedConcurrency:
    """How many environments of a version are kept ready. What is there of them the scheduler knows."""

    requested: int
    modified_ms: int


@dataclass(frozen=True, slots=True)
class RuntimeManagement:
    """`UpdateRuntimeOn`, and the runtime version that Manual names. Kept and shown."""

    update_on: str = "Auto"
    runtime_version_arn: str | None = None
