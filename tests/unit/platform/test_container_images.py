"""Which image a name means, and what may be a function's code."""

import pytest

from hearth.core.container_images import MAX_IMAGE_BYTES, FoundImage, problem, repository, resolved, shown, tag

ID = "sha256:" + "a" * 64
DIGEST = "sha256:" + "b" * 64
ECR = "000000000000.dkr.ecr.us-east-1.amazonaws.com/team/app"


def found(*digests: str, architecture: str = "amd64", system: str = "linux", size: int = 1) -> FoundImage:
    return FoundImage(ID, digests, system, architecture, size)


@pytest.mark.parametrize(
    ("uri", "name", "version"),
    [
        ("app", "app", "latest"),
        ("app:1", "app", "1"),
        (f"{ECR}:v1.2", ECR, "v1.2"),
        (f"{ECR}@{DIGEST}", ECR, "latest"),
        (f"{ECR}:v1@{DIGEST}", ECR, "v1"),
        ("localhost:5000/app", "localhost:5000/app", "latest"),
        ("localhost:5000/app:2", "localhost:5000/app", "2"),
        ("docker.io/library/debian:trixie", "debian", "trixie"),
        ("docker.io/team/app", "team/app", "latest"),
    ],
)
def test_a_reference_is_a_repository_and_a_tag(uri: str, name: str, version: str) -> None:
    assert repository(uri) == name
    assert tag(uri.partition("@")[0]) == version


def test_an_image_of_a_registry_is_meant_by_its_digest_there() -> None:
    image = resolved(f"{ECR}:latest", found(f"elsewhere/app@sha256:{'c' * 64}", f"{ECR}@{DIGEST}"))

    assert image.resolved == f"{ECR}@{DIGEST}"
    assert image.digest == "b" * 64
    assert shown(image) == f"{ECR}@{DIGEST}"


def test_an_image_that_no_registry_knows_is_meant_by_its_id() -> None:
    image = resolved("app:1", found(f"elsewhere/app@{DIGEST}"))

    assert image.resolved == ID
    assert image.digest == "a" * 64
    assert shown(image) == f"app@{ID}"


def test_an_image_for_another_processor_or_system_is_refused_with_the_way_out() -> None:
    foreign = problem("app", found(architecture="arm64"), "x86_64")
    windows = problem("app", found(system="windows"), "x86_64")

    assert foreign is not None and foreign.code == "InvalidImage"
    assert foreign.text == "Source image app is for linux/arm64. This platform runs linux/x86_64."
    assert windows is not None and "windows/x86_64" in windows.text


def test_an_image_may_be_as_large_as_the_limit_and_no_larger() -> None:
    assert problem("app", found(size=MAX_IMAGE_BYTES), "x86_64") is None
    larger = problem("app", found(size=MAX_IMAGE_BYTES + 1), "x86_64")
    assert larger is not None and larger.code == "InvalidImage"
