"""Roles and managed policies of IAM, as values.

Rule 1: a change makes a new value. Rule 2: documents are kept as the texts they came as, because tools compare what
they read with what they wrote; they are parsed where somebody is judged by them.
Source: the Role, Policy and PolicyVersion data types in the AWS Identity and Access Management API reference.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from hearth.core.identity import stable_id

MAX_POLICY_VERSIONS = 5
"""Versions of one managed policy that exist at once (IAM quotas)."""


@dataclass(frozen=True, slots=True)
class Role:
    """A role. `trust` is its trust policy, `inline` the texts of inline policies by name, `attached` the ARNs of
    managed ones; `created_ms` is epoch milliseconds. `path` begins and ends with a slash."""

    name: str
    path: str
    account: str
    trust: str
    created_ms: int
    description: str | None = None
    max_session_s: int = 3600
    tags: Mapping[str, str] = field(default_factory=dict)
    inline: Mapping[str, str] = field(default_factory=dict)
    attached: tuple[str, ...] = ()

    @property
    def arn(self) -> str:
        return role_arn(self.account, self.path, self.name)

    @property
    def role_id(self) -> str:
        """The unique id, the same that sessions of the role show as the first half of their `UserId`."""
        return stable_id("AROA", self.arn)

    def with_inline(self, name: str, document: str) -> "Role":
        return replace(self, inline={**self.inline, name: document})

    def without_inline(self, name: str) -> "Role":
        return replace(self, inline={key: text for key, text in self.inline.items() if key != name})

    def with_attached(self, policy_arn: str) -> "Role":
        return self if policy_arn in self.attached else replace(self, attached=(*self.attached, policy_arn))

    def without_attached(self, policy_arn: str) -> "Role":
        return replace(self, attached=tuple(arn for arn in self.attached if arn != policy_arn))


@dataclass(frozen=True, slots=True)
class PolicyVersion:
    """One version of a managed policy: `v1`, `v2`, ..."""

    version_id: str
    document: str
    created_ms: int


@dataclass(frozen=True, slots=True)
class ManagedPolicy:
    """A policy that stands by itself and is attached to roles. `versions` are in the order they were made; `latest`
    is the number of the newest one ever made, which is not used again after its deletion."""

    name: str
    path: str
    account: str
    versions: tuple[PolicyVersion, ...]
    default_version: str
    created_ms: int
    updated_ms: int
    description: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    latest: int = 1

    @property
    def arn(self) -> str:
        return f"arn:aws:iam::{self.account}:policy{self.path}{self.name}"

    @property
    def policy_id(self) -> str:
        return stable_id("ANPA", self.arn)

    @property
    def document(self) -> str:
        """The text that is in force."""
        return next(version.document for version in self.versions if version.version_id == self.default_version)

    def version(self, version_id: str) -> PolicyVersion | None:
        return next((version for version in self.versions if version.version_id == version_id), None)

    def with_version(self, document: str, now_ms: int, *, is_default: bool) -> "ManagedPolicy":
        """The policy with one version more."""
        made = PolicyVersion(f"v{self.latest + 1}", document, now_ms)
        return replace(
            self,
            versions=(*self.versions, made),
            default_version=made.version_id if is_default else self.default_version,
            updated_ms=now_ms,
            latest=self.latest + 1,
        )

    def without_version(self, version_id: str, now_ms: int) -> "ManagedPolicy":
        left = tuple(version for version in self.versions if version.version_id != version_id)
        return replace(self, versions=left, updated_ms=now_ms)


def role_arn(account: str, path: str, name: str) -> str:
    return f"arn:aws:iam::{account}:role{path}{name}"


def role_name(arn: str) -> str:
    """The name in a role's ARN, whatever its path."""
    return arn.rpartition("/")[2]
