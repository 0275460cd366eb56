"""Puts the Lambda API together: every operation but Invoke and the event source mappings."""

import time
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from hearth.layers import LayerBook
from hearth.packages import CodePackages
from hearth.ports import ContainerImages
from hearth.registry import Registry
from hearth_gateway.core.endpoint import Endpoint
from hearth_gateway.lambda_api.aliases import AliasOperations
from hearth_gateway.lambda_api.api import LambdaApi
from hearth_gateway.lambda_api.code_signing import CodeSigning
from hearth_gateway.lambda_api.code_sources import CodeSources, Objects
from hearth_gateway.lambda_api.concurrency import ConcurrencyOperations
from hearth_gateway.lambda_api.deployer import Deployer
from hearth_gateway.lambda_api.durable_executions import DurableExecutions
from hearth_gateway.lambda_api.event_invoke_configs import EventInvokeConfigs
from hearth_gateway.lambda_api.function_settings import FunctionSettings
from hearth_gateway.lambda_api.function_urls import FunctionUrlOperations
from hearth_gateway.lambda_api.functions import FunctionOperations
from hearth_gateway.lambda_api.images import FunctionCode
from hearth_gateway.lambda_api.layers import AttachedLayers, LayerOperations
from hearth_gateway.lambda_api.policies import PolicyOperations
from hearth_gateway.lambda_api.tags import TagOperations
from hearth_gateway.lambda_api.versions import VersionOperations


def _new_id() -> str:
    return str(uuid.uuid4())


class ControlPlane:
    """The API, and the deployer that works behind it."""

    def __init__(self, api: LambdaApi, deployer: Deployer, tags: TagOperations) -> None:
        self.api = api
        self.deployer = deployer
        self.tags = tags


@asynccontextmanager
async def control_plane(
    endpoint: Endpoint,
    registry: Registry,
    packages: CodePackages,
    *,
    layers: LayerBook,
    objects: Objects,
    images: ContainerImages,
    clock: Callable[[], float] = time.time,
    new_id: Callable[[], str] = _new_id,
) -> AsyncIterator[ControlPlane]:
    """The control plane over a loaded registry, loaded layers and opened packages; unfinished deployments are taken up.
    `objects` is the S3 and `images` the container engine that code may come from."""
    api = LambdaApi()
    packages.ask_in_use(layers.packages)
    sources = CodeSources(packages, objects)
    async with Deployer(registry, packages, images, new_id) as deployer:
        FunctionOperations(
            endpoint,
            registry,
            packages,
            code=FunctionCode(packages, sources, images),
            layers=AttachedLayers(endpoint, layers, packages),
            deployer=deployer,
            clock=clock,
            new_id=new_id,
        ).register(api)
        LayerOperations(
            endpoint, layers, packages, sources=sources, collect=deployer.collect, clock=clock, new_id=new_id
        ).register(api)
        VersionOperations(endpoint, registry, clock=clock, new_id=new_id).register(api)
        AliasOperations(endpoint, registry, new_id=new_id).register(api)
        FunctionUrlOperations(endpoint, registry, clock=clock, new_id=new_id).register(api)
        ConcurrencyOperations(endpoint, registry, packages).register(api)
        tags = TagOperations(endpoint, registry)
        tags.register(api)
        PolicyOperations(endpoint, registry, new_id=new_id).register(api)
        EventInvokeConfigs(endpoint, registry, clock=clock).register(api)
        FunctionSettings(endpoint, registry).register(api)
        CodeSigning(endpoint, registry).register(api)
        DurableExecutions(endpoint, registry).register(api)
        await deployer.resume()
        yield ControlPlane(api, deployer, tags)
