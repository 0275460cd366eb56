"""Where a function's code comes from: the zip of a package, or a container image.

The rest of the API need not know which: it gets a source, and makes a deployment from it.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from hearth.core.errors import InvalidParameterValue
from hearth.core.records import ContainerImage, Deployment
from hearth.packages import CodePackages, Content
from hearth.ports import ContainerImages, ImageUnusable
from hearth_gateway.core import image_settings
from hearth_gateway.lambda_api.code_sources import CodeSources

Source = Content | ContainerImage


class FunctionCode:
    """Gets the code that a request describes, and keeps it."""

    def __init__(self, packages: CodePackages, sources: CodeSources, images: ContainerImages) -> None:
        self._packages = packages
        self._sources = sources
        self._images = images

    @asynccontextmanager
    async def given(self, code: Mapping[str, Any], *, is_image: bool, doing: str) -> AsyncIterator[Source]:
        """What `Code` of CreateFunction or the members of UpdateFunctionCode (`doing`: creating, updating) describe; to
        be used within the context."""
        image_settings.check_code(code, is_image=is_image, doing=doing)
        if is_image:
            yield await self._image(code["ImageUri"])
        else:
            async with self._sources.zipped(code) as content:
                yield content

    async def _image(self, uri: str) -> ContainerImage:
        try:
            return await self._images.find(uri)
        except ImageUnusable as error:
            raise InvalidParameterValue(error.reason.text) from error

    @asynccontextmanager
    async def kept(self, deployment: Deployment, source: Source) -> AsyncIterator[Deployment]:
        """The deployment with this code, which nobody collects within the context."""
        if isinstance(source, ContainerImage):
            yield replace(deployment, image=source)
        else:
            async with self._packages.added(source) as package:
                yield replace(deployment, package=package)

    async def checked(self, deployment: Deployment, source: Source) -> Deployment:
        """The deployment as it would be with this code, of which nothing is kept."""
        if isinstance(source, ContainerImage):
            return replace(deployment, image=source)
        return replace(deployment, package=await self._packages.check(source))
