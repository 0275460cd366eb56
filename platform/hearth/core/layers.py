"""Layers: packages that functions share, in numbered versions that never change.

Rule 1: numbers count up from 1 and are never given out twice, not even after all versions are gone.
Rule 2: a deleted version is gone for those who look for it; functions that use it have its package in their own
records and keep it.
Rule 3: what a version says it is compatible with is for those who search: a function that uses it anyway is not
refused, as on AWS ("Used for filtering with ListLayers and ListLayerVersions").
Source: PublishLayerVersion, ListLayers and DeleteLayerVersion in the AWS Lambda API reference.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from hearth.core.attachments import Policy
from hearth.core.records import Package


@dataclass(frozen=True, slots=True)
class LayerContent:
    """What is published: a package and what is said about it. None means that it was never said and is not shown."""

    package: Package
    created_ms: int
    description: str = ""
    license_info: str | None = None
    runtimes: tuple[str, ...] | None = None
    architectures: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class LayerVersion:
    """One version. `policy` decides which other accounts may use it."""

    number: int
    content: LayerContent
    policy: Policy | None = None

    def suits(self, runtime: str | None, architecture: str | None) -> bool:
        """Whether it says that it is made for these; None asks for nothing."""
        content = self.content
        return (runtime is None or runtime in (content.runtimes or ())) and (
            architecture is None or architecture in (content.architectures or ())
        )


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer: its versions by number, oldest first, and the highest number ever given out."""

    name: str
    region: str
    account: str
    versions: Mapping[int, LayerVersion] = field(default_factory=dict)
    last_version: int = 0

    @property
    def arn(self) -> str:
        return f"arn:aws:lambda:{self.region}:{self.account}:layer:{self.name}"

    def version_arn(self, number: int) -> str:
        return f"{self.arn}:{number}"

    @property
    def packages(self) -> frozenset[str]:
        """The SHA-256 of every package that a version holds."""
        return frozenset(version.content.package.sha256 for version in self.versions.values())

    def published(self, content: LayerContent) -> tuple["Layer", LayerVersion]:
        """The layer with one version more, and that version."""
        version = LayerVersion(self.last_version + 1, content)
        return replace(self.with_version(version), last_version=version.number), version

    def with_version(self, version: LayerVersion) -> "Layer":
        """The layer with this in the place of the version of the same number."""
        return replace(self, versions={**self.versions, version.number: version})

    def without(self, number: int) -> "Layer":
        """The layer after a deletion."""
        return replace(self, versions={known: v for known, v in self.versions.items() if known != number})

    def matching(self, runtime: str | None, architecture: str | None) -> Iterator[LayerVersion]:
        """The versions that suit, newest first."""
        newest_first = (self.versions[number] for number in sorted(self.versions, reverse=True))
        return (version for version in newest_first if version.suits(runtime, architecture))
