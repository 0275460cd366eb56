"""The rules of functions whose code is a container image, in the service's words.

Source: CreateFunction, UpdateFunctionCode, UpdateFunctionConfiguration and ImageConfig in the AWS Lambda API
reference.
"""

from collections.abc import Mapping
from typing import Any

from hearth.core import container_images
from hearth.core.errors import InvalidParameterValue
from hearth.core.records import ContainerImage, Deployment, ImageConfig

Parameters = Mapping[str, Any]
Members = dict[str, Any]

_OF_PACKAGES = ("Handler", "Runtime", "Layers")
_OTHER_CODE = ("ZipFile", "S3Bucket", "S3Key", "S3ObjectVersion")


def is_wanted(parameters: Parameters) -> bool:
    """Whether CreateFunction is to make a function from an image."""
    return bool(parameters.get("PackageType") == "Image")


def check_members(parameters: Parameters, *, is_image: bool) -> None:
    """Refuse what only the other type of package has."""
    if is_image and any(parameters.get(name) for name in _OF_PACKAGES):
        raise InvalidParameterValue(
            "Please don't provide handler or runtime or layer when the intended function PackageType is IMAGE."
        )
    if not is_image and parameters.get("ImageConfig"):
        raise InvalidParameterValue("Please don't provide ImageConfig when the intended function PackageType is ZIP.")


def check_code(code: Parameters, *, is_image: bool, doing: str = "updating") -> None:
    """Refuse code of the other type of package."""
    if is_image and (not code.get("ImageUri") or any(code.get(name) for name in _OTHER_CODE)):
        raise InvalidParameterValue(f"Please provide ImageUri when {doing} a function with packageType Image.")
    if not is_image and code.get("ImageUri"):
        raise InvalidParameterValue(f"Please don't provide ImageUri when {doing} a function with packageType Zip.")


def image_config(sent: Parameters) -> ImageConfig:
    """`ImageConfig` as it was sent: it replaces the one before as a whole, and what is empty means the image's own."""
    return ImageConfig(
        entry_point=tuple(sent.get("EntryPoint") or ()) or None,
        command=tuple(sent.get("Command") or ()) or None,
        working_directory=sent.get("WorkingDirectory") or None,
    )


def image_config_response(config: ImageConfig) -> Members:
    """`ImageConfigResponse`, if anything is set."""
    members = {
        "EntryPoint": None if config.entry_point is None else list(config.entry_point),
        "Command": None if config.command is None else list(config.command),
        "WorkingDirectory": config.working_directory,
    }
    found = {name: value for name, value in members.items() if value is not None}
    return {"ImageConfigResponse": {"ImageConfig": found}} if found else {}


def function_code(image: ContainerImage) -> Members:
    """`Code` of GetFunction; the resolved name is there once it is known."""
    members = {"RepositoryType": "ECR", "ImageUri": image.uri}
    return {**members, "ResolvedImageUri": container_images.shown(image)} if image.resolved else members


def of_package(deployment: Deployment) -> Members:
    """The members of a FunctionConfiguration that say what its code is; runtime and handler are a package's."""
    configuration, package = deployment.configuration, deployment.package
    if package is None:
        return {"PackageType": "Image", "CodeSize": 0, **image_config_response(configuration.image_config)}
    return {
        "PackageType": "Zip",
        "CodeSize": package.size,
        "Runtime": configuration.runtime,
        "Handler": configuration.handler,
    }
