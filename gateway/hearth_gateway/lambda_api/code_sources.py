"""Where the zip of a function or layer comes from: the request itself, or an object in S3.

Source: FunctionCode and LayerVersionContentInput in the AWS Lambda API reference.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from hearth.core.errors import InvalidParameterValue
from hearth.core.package_rules import MAX_UNZIPPED_BYTES
from hearth.packages import CodePackages, Content

_S3_MEMBERS = ("S3Bucket", "S3Key", "S3ObjectVersion")


class ObjectName(NamedTuple):
    """An object in S3; no version means the current one."""

    bucket: str
    key: str
    version: str | None = None


class Objects(Protocol):
    """S3, as far as code comes from it."""

    async def fetch(self, name: ObjectName, target: Path, *, max_bytes: int) -> None:
        """Write the object into the existing empty file. Raises HearthError in the service's words, also for an
        object that is larger."""
        ...


class NoObjects:
    """The `Objects` of a platform that was given no S3."""

    async def fetch(self, name: ObjectName, target: Path, *, max_bytes: int) -> None:
        raise InvalidParameterValue("Code in S3 is not available: no S3 endpoint is configured.")


class CodeSources:
    """Gets the zip that a request describes."""

    def __init__(self, packages: CodePackages, objects: Objects) -> None:
        self._packages = packages
        self._objects = objects

    @asynccontextmanager
    async def zipped(self, code: Mapping[str, Any], *, of: str = "function code") -> AsyncIterator[Content]:
        """The zip of `Code` of CreateFunction, of UpdateFunctionCode itself, or of `Content` of PublishLayerVersion;
        to be used within the context."""
        if "ImageUri" in code:
            raise InvalidParameterValue("Please don't provide ImageUri when updating a function with packageType Zip.")
        content: bytes | None = code.get("ZipFile")
        named = [member for member in _S3_MEMBERS if code.get(member)]
        if content is not None:
            if named:
                raise InvalidParameterValue(f"Please do not provide {named[0]} when providing a ZipFile.")
            yield content
            return
        if not named:
            raise InvalidParameterValue(f"Please provide a source for {of}.")
        if not (code.get("S3Bucket") and code.get("S3Key")):
            raise InvalidParameterValue("S3Bucket and S3Key must be provided together.")
        name = ObjectName(code["S3Bucket"], code["S3Key"], code.get("S3ObjectVersion"))
        with self._packages.incoming() as file:
            # No zip that is larger than this can be smaller unpacked.
            await self._objects.fetch(name, file, max_bytes=MAX_UNZIPPED_BYTES)
            yield file
