"""What a container image must be to be a function's code, and by which name exactly one image is meant.

Rule 1: a tag is a pointer that moves. What a function runs is named by content: by the digest of a registry, or, for an
image that was never in one, by the engine's own id.
Rule 2: what cannot run here is refused when it is deployed, in words that say what to do, and not at an invocation.
Source: "Create a Lambda function using a container image" in the AWS Lambda developer guide; the image format's own
words for platforms (OCI image specification, "Image configuration").
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hearth.core.records import ContainerImage, Reason

MAX_IMAGE_BYTES = 10 * 2**30
"""Uncompressed, all layers together (AWS Lambda quotas)."""

ARCHITECTURES: Mapping[str, str] = {"amd64": "x86_64", "arm64": "arm64"}
"""Lambda's names of what images call their architecture."""

_DEFAULT_REGISTRY = ("docker.io/library/", "docker.io/")


@dataclass(frozen=True, slots=True)
class FoundImage:
    """What the engine says about an image that it has. `id` is `sha256:` and 64 hex digits; `digests` are names of the
    form `repository@sha256:…` by which registries know it; `size` is bytes of all layers."""

    id: str
    digests: Sequence[str]
    system: str
    architecture: str
    size: int


def repository(uri: str) -> str:
    """A reference without tag and digest, as the engine writes it: without the registry that is meant anyway."""
    name = uri.partition("@")[0]
    head, slash, last = name.rpartition("/")
    name = head + slash + last.partition(":")[0]
    for prefix in _DEFAULT_REGISTRY:
        name = name.removeprefix(prefix)
    return name


def tag(uri: str) -> str:
    """The tag that a reference without a digest means."""
    return uri.rpartition("/")[2].partition(":")[2] or "latest"


def resolved(uri: str, found: FoundImage) -> ContainerImage:
    """The image by content (rule 1)."""
    names = (name for name in found.digests if repository(name) == repository(uri))
    exact = next(names, found.id)
    return ContainerImage(uri, exact, exact.rpartition(":")[2])


def shown(image: ContainerImage) -> str:
    """`ResolvedImageUri`: repository and digest, also of an image that no registry knows."""
    return f"{repository(image.uri)}@sha256:{image.digest}"


def problem(uri: str, found: FoundImage, architecture: str) -> Reason | None:
    """Why the image cannot be a function's code here; None if it can. `architecture` is the platform's, in Lambda's
    words."""
    theirs = ARCHITECTURES.get(found.architecture, found.architecture)
    if found.system != "linux" or theirs != architecture:
        text = f"Source image {uri} is for {found.system}/{theirs}. This platform runs linux/{architecture}."
        return Reason("InvalidImage", text)
    if found.size > MAX_IMAGE_BYTES:
        text = f"Source image {uri} has {found.size} bytes uncompressed. The limit is {MAX_IMAGE_BYTES} bytes."
        return Reason("InvalidImage", text)
    return None


def missing(uri: str, why: str = "") -> Reason:
    """There is no such image, as far as can be seen."""
    said = f": {why}" if why else "."
    return Reason("ImageAccessDenied", f"Source image {uri} is not on this host and cannot be pulled{said}")


def deleted(image: ContainerImage) -> Reason:
    """The image was here, and cannot be had from anywhere any more."""
    text = f"The image {image.resolved} of the function has been deleted. Update the function's code to use another."
    return Reason("ImageDeleted", text)
