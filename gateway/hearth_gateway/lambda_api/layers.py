"""Layers: publishing, finding and sharing them, and giving them to functions.

Source: PublishLayerVersion, GetLayerVersion, GetLayerVersionByArn, ListLayers, ListLayerVersions, DeleteLayerVersion,
AddLayerVersionPermission, GetLayerVersionPolicy and RemoveLayerVersionPermission in the AWS Lambda API reference.
"""

import base64
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from hearth.core.attachments import Policy
from hearth.core.errors import InvalidParameterValue, ResourceNotFound
from hearth.core.layers import Layer, LayerContent, LayerVersion
from hearth.core.package_rules import MAX_UNZIPPED_BYTES, too_large_unzipped
from hearth.core.policy_document import PolicyDocument
from hearth.core.records import Configuration, Deployment, LayerReference, Package
from hearth.layers import LayerBook
from hearth.packages import CodePackages
from hearth_gateway.core import layer_names, resource_policy
from hearth_gateway.core.answers import configuration_date
from hearth_gateway.core.authorization import readable
from hearth_gateway.core.endpoint import Endpoint
from hearth_gateway.lambda_api.api import Answer, LambdaApi, Parameters
from hearth_gateway.lambda_api.code_sources import CodeSources
from hearth_gateway.lambda_api.paging import page

_NUMBER_DIGITS = 12
_POLICY_READER = "GetLayerPolicy"
"""What the service calls GetLayerVersionPolicy when a revision does not match."""

Members = dict[str, Any]


class LayerOperations:
    """Handlers of the layer operations. `clock` gives epoch seconds, `new_id` UUIDs; `collect` deletes packages that
    nobody needs any more."""

    def __init__(
        self,
        endpoint: Endpoint,
        layers: LayerBook,
        packages: CodePackages,
        *,
        sources: CodeSources,
        collect: Callable[[], Awaitable[None]],
        clock: Callable[[], float],
        new_id: Callable[[], str],
    ) -> None:
        self._endpoint = endpoint
        self._layers = layers
        self._packages = packages
        self._sources = sources
        self._collect = collect
        self._clock = clock
        self._new_id = new_id

    def register(self, api: LambdaApi) -> None:
        api.register("PublishLayerVersion", self.publish)
        api.register("GetLayerVersion", self.get)
        api.register("GetLayerVersionByArn", self.get_by_arn)
        api.register("ListLayers", self.list)
        api.register("ListLayerVersions", self.list_versions)
        api.register("DeleteLayerVersion", self.delete)
        api.register("AddLayerVersionPermission", self.add_permission)
        api.register("GetLayerVersionPolicy", self.get_policy)
        api.register("RemoveLayerVersionPermission", self.remove_permission)

    async def publish(self, parameters: Parameters) -> Answer:
        """Content that was published before gets a new number like any other."""
        name = layer_names.layer_name(parameters["LayerName"], self._endpoint)
        sent = self._sources.zipped(parameters["Content"], of="layer content")
        async with sent as content, self._packages.added(content) as package, self._layers.changing:
            known = self._layers.find(name) or Layer(name, self._endpoint.region, self._endpoint.account)
            layer, version = known.published(self._content(parameters, package))
            await self._layers.put(layer)
        return 201, self._in_full(parameters, layer, version)

    async def get(self, parameters: Parameters) -> Answer:
        layer, version = self._found(parameters)
        return 200, self._in_full(parameters, layer, version)

    async def get_by_arn(self, parameters: Parameters) -> Answer:
        name = layer_names.layer_version(parameters["Arn"], self._endpoint)
        found = None if name is None else self._find(*name)
        if found is None:
            raise layer_names.not_found()
        return 200, self._in_full(parameters, *found)

    async def list(self, parameters: Parameters) -> Answer:
        """The layers with a version that suits, each with the newest of those."""
        newest: dict[str, LayerVersion] = {}
        for name in self._layers.names:
            version = next(self._matching(name, parameters), None)
            if version is not None:
                newest[name] = version
        names, more = page(list(newest), parameters)
        return 200, {"Layers": [self._listed(name, newest[name]) for name in names], **more}

    async def list_versions(self, parameters: Parameters) -> Answer:
        """The newest first; none of a layer that does not exist."""
        name = layer_names.layer_name(parameters["LayerName"], self._endpoint)
        layer = self._layers.find(name)
        # Keys in ascending order, as pages want them: what is missing up to the largest number there can be.
        versions = {f"{10**_NUMBER_DIGITS - v.number:0{_NUMBER_DIGITS}}": v for v in self._matching(name, parameters)}
        keys, more = page(list(versions), parameters)
        shown = [] if layer is None else [_described(layer, versions[key]) for key in keys]
        return 200, {"LayerVersions": shown, **more}

    async def delete(self, parameters: Parameters) -> Answer:
        """Success also where there is nothing to delete."""
        name, number = self._name(parameters)
        async with self._layers.changing:
            layer = self._layers.find(name)
            if layer is not None and number in layer.versions:
                await self._layers.put(layer.without(number))
        await self._collect()
        return 204, None

    async def add_permission(self, parameters: Parameters) -> Answer:
        async with self._layers.changing:
            layer, version = self._found_with_policy(parameters)
            resource_policy.check_revision(version.policy, parameters.get("RevisionId"), operation=_POLICY_READER)
            statement = resource_policy.statement_of(parameters, layer.version_arn(version.number))
            policy = resource_policy.added(version.policy, statement, self._new_id())
            await self._layers.put(layer.with_version(replace(version, policy=policy)))
        return 201, {"Statement": resource_policy.as_text(statement), "RevisionId": policy.revision_id}

    async def get_policy(self, parameters: Parameters) -> Answer:
        _, version = self._found_with_policy(parameters)
        policy = _policy_of(version)
        return 200, {"Policy": policy.document, "RevisionId": policy.revision_id}

    async def remove_permission(self, parameters: Parameters) -> Answer:
        async with self._layers.changing:
            layer, version = self._found_with_policy(parameters)
            policy = _policy_of(version)
            resource_policy.check_revision(policy, parameters.get("RevisionId"), operation=_POLICY_READER)
            left = resource_policy.removed(policy, parameters["StatementId"], self._new_id())
            await self._layers.put(layer.with_version(replace(version, policy=left)))
        return 204, None

    def _content(self, parameters: Parameters, package: Package) -> LayerContent:
        runtimes, architectures = parameters.get("CompatibleRuntimes"), parameters.get("CompatibleArchitectures")
        return LayerContent(
            package=package,
            created_ms=int(self._clock() * 1000),
            description=parameters.get("Description", ""),
            license_info=parameters.get("LicenseInfo"),
            runtimes=None if runtimes is None else tuple(runtimes),
            architectures=None if architectures is None else tuple(architectures),
        )

    def _name(self, parameters: Parameters) -> tuple[str, int]:
        layer_names.check_number(parameters["VersionNumber"])
        return layer_names.layer_name(parameters["LayerName"], self._endpoint), parameters["VersionNumber"]

    def _find(self, name: str, number: int) -> tuple[Layer, LayerVersion] | None:
        layer = self._layers.find(name)
        version = None if layer is None else layer.versions.get(number)
        return None if layer is None or version is None else (layer, version)

    def _found(self, parameters: Parameters) -> tuple[Layer, LayerVersion]:
        found = self._find(*self._name(parameters))
        if found is None:
            raise layer_names.not_found()
        return found

    def _found_with_policy(self, parameters: Parameters) -> tuple[Layer, LayerVersion]:
        """The operations on policies name the version that is missing."""
        name, number = self._name(parameters)
        found = self._find(name, number)
        if found is None:
            missing = Layer(name, self._endpoint.region, self._endpoint.account).version_arn(number)
            raise ResourceNotFound(f"Layer version {missing} does not exist.")
        return found

    def _matching(self, name: str, parameters: Parameters) -> Iterator[LayerVersion]:
        layer = self._layers.find(name)
        if layer is None:
            return iter(())
        return layer.matching(parameters.get("CompatibleRuntime"), parameters.get("CompatibleArchitecture"))

    def _listed(self, name: str, newest: LayerVersion) -> Members:
        layer = self._layers.find(name)
        assert layer is not None
        return {"LayerName": name, "LayerArn": layer.arn, "LatestMatchingVersion": _described(layer, newest)}

    def _in_full(self, parameters: Parameters, layer: Layer, version: LayerVersion) -> Members:
        package = version.content.package
        host = parameters.host or f"localhost:{self._endpoint.port}"
        location = f"http://{host}{self._packages.signed_path(package.sha256, self._clock())}"
        digest = base64.b64encode(bytes.fromhex(package.sha256)).decode()
        content = {"Location": location, "CodeSha256": digest, "CodeSize": package.size}
        return {"Content": content, "LayerArn": layer.arn, **_described(layer, version)}


class AttachedLayers:
    """The layers that functions ask for."""

    def __init__(self, endpoint: Endpoint, layers: LayerBook, packages: CodePackages) -> None:
        self._endpoint = endpoint
        self._layers = layers
        self._packages = packages

    @contextmanager
    def attached(self, wanted: Configuration, parameters: Parameters) -> Iterator[Configuration]:
        """The configuration with the layers that the request names, if it names any. Their packages are safe from
        collection inside the context, and after it if a record names them."""
        references = wanted.layers
        if "Layers" in parameters:
            names = layer_names.referenced(parameters["Layers"], self._endpoint)
            references = tuple(map(self._reference, names, parameters["Layers"]))
        with self._packages.pinned(*(layer.sha256 for layer in references)):
            yield replace(wanted, layers=references)

    async def check_size(self, deployment: Deployment) -> None:
        """Refuse what is too large together. Code without layers was measured when it was stored."""
        if deployment.layers:
            sizes = [await self._packages.unzipped_bytes(sha256) for sha256 in _each(deployment)]
            if sum(sizes) > MAX_UNZIPPED_BYTES:
                raise too_large_unzipped()

    def _reference(self, name: layer_names.LayerVersionName, arn: str) -> LayerReference:
        layer = self._layers.find(name.layer)
        version = None if layer is None else layer.versions.get(name.number)
        if layer is None or version is None:
            raise InvalidParameterValue(f"Layer version {arn} does not exist.")
        package = version.content.package
        return LayerReference(layer.version_arn(name.number), package.sha256, package.size)


def policy_of_version(layers: LayerBook, arn: str) -> PolicyDocument | None:
    """The policy of the layer version with this ARN; None for whatever else the ARN names."""
    match arn.split(":"):
        case [_, _, "lambda", _, _, "layer", name, number] if number.isdecimal():
            version = layers.find_version(name, int(number))
        case _:
            return None
    return None if version is None or version.policy is None else readable(version.policy.document)


def _each(deployment: Deployment) -> Sequence[str]:
    """Every package as often as it is unpacked."""
    return deployment.layers if deployment.package is None else (deployment.package.sha256, *deployment.layers)


def _policy_of(version: LayerVersion) -> Policy:
    if version.policy is None:
        raise ResourceNotFound("No policy is associated with the given resource.")
    return version.policy


def _described(layer: Layer, version: LayerVersion) -> Members:
    """A version as lists show it."""
    content = version.content
    optional = {
        "CompatibleRuntimes": None if content.runtimes is None else list(content.runtimes),
        "CompatibleArchitectures": None if content.architectures is None else list(content.architectures),
        "LicenseInfo": content.license_info,
    }
    return {
        "LayerVersionArn": layer.version_arn(version.number),
        "Version": version.number,
        "Description": content.description,
        "CreatedDate": configuration_date(content.created_ms),
        **{name: value for name, value in optional.items() if value is not None},
    }
