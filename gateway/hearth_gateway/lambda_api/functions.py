"""The operations on functions themselves: create, read, update, delete.

Order of every write: the package on disk, then the record in the store, then the answer; unpacking follows behind.
Source: CreateFunction, GetFunction, ListFunctions, UpdateFunctionCode, UpdateFunctionConfiguration, DeleteFunction in
the AWS Lambda API reference.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from hearth.core.errors import ResourceConflict
from hearth.core.function import LATEST, FunctionName
from hearth.core.records import Deployment, FunctionRecord, VersionRecord
from hearth.packages import CodePackages
from hearth.registry import Registry
from hearth_gateway.core import answers, configuration, image_settings, versions
from hearth_gateway.core.endpoint import Endpoint
from hearth_gateway.lambda_api import paging
from hearth_gateway.lambda_api.addressing import Addressing
from hearth_gateway.lambda_api.api import Answer, LambdaApi, Parameters
from hearth_gateway.lambda_api.deployer import Deployer
from hearth_gateway.lambda_api.images import FunctionCode, Source
from hearth_gateway.lambda_api.layers import AttachedLayers


class FunctionOperations:
    """Handlers of the function operations. `clock` gives epoch seconds, `new_id` UUIDs."""

    def __init__(
        self,
        endpoint: Endpoint,
        registry: Registry,
        packages: CodePackages,
        *,
        code: FunctionCode,
        layers: AttachedLayers,
        deployer: Deployer,
        clock: Callable[[], float],
        new_id: Callable[[], str],
    ) -> None:
        self._endpoint = endpoint
        self._registry = registry
        self._packages = packages
        self._code = code
        self._layers = layers
        self._deployer = deployer
        self._addressing = Addressing(registry, endpoint)
        self._clock = clock
        self._new_id = new_id

    def register(self, api: LambdaApi) -> None:
        api.register("CreateFunction", self.create)
        api.register("GetFunction", self.get)
        api.register("GetFunctionConfiguration", self.get_configuration)
        api.register("ListFunctions", self.list)
        api.register("UpdateFunctionCode", self.update_code)
        api.register("UpdateFunctionConfiguration", self.update_configuration)
        api.register("DeleteFunction", self.delete)

    async def create(self, parameters: Parameters) -> Answer:
        name = self._addressing.name(parameters)
        wanted = configuration.new_configuration(parameters, self._endpoint)
        tags = configuration.checked_tags(parameters.get("Tags", {}))
        is_image = image_settings.is_wanted(parameters)
        given = self._code.given(parameters["Code"], is_image=is_image, doing="creating")
        async with given as source, self._registry.writing(name) as existing:
            if existing is not None:
                raise ResourceConflict(f"Function already exist: {name}")
            with self._layers.attached(wanted, parameters) as configured:
                async with self._code.kept(Deployment(configured), source) as deployment:
                    await self._layers.check_size(deployment)
                    record = self._new(name, deployment, tags)
                    record, version = self._published(record, parameters)
                    await self._registry.put(record)
        self._deployer.settle(record, record.latest, *record.versions.values())
        return 201, answers.function_configuration(record, version, self._endpoint)

    async def get(self, parameters: Parameters) -> Answer:
        record, version, qualifier = self._addressing.find(parameters)
        answer = {
            "Configuration": answers.function_configuration(record, version, self._endpoint, qualifier),
            "Code": self._code_of(version, parameters.host),
        }
        if record.tags:
            answer["Tags"] = dict(record.tags)
        if record.reserved is not None and qualifier is None:
            answer["Concurrency"] = {"ReservedConcurrentExecutions": record.reserved}
        return 200, answer

    def _code_of(self, version: VersionRecord, host: str) -> Mapping[str, Any]:
        image, package = version.deployment.image, version.deployment.package
        if image is not None:
            return image_settings.function_code(image)
        assert package is not None
        path = self._packages.signed_path(package.sha256, self._clock())
        return answers.function_code(f"http://{host or f'localhost:{self._endpoint.port}'}{path}")

    async def get_configuration(self, parameters: Parameters) -> Answer:
        record, version, qualifier = self._addressing.find(parameters)
        return 200, answers.function_configuration(record, version, self._endpoint, qualifier)

    async def list(self, parameters: Parameters) -> Answer:
        after, size = paging.asked(parameters)
        if parameters.get("FunctionVersion") == "ALL":
            return 200, self._list_all(after, size)
        records, more = self._registry.page(after, size)
        listed = [answers.listed_configuration(record, record.latest) for record in records]
        return 200, {"Functions": listed, **paging.next_marker(more)}

    def _list_all(self, after: str, size: int) -> dict[str, Any]:
        """Every version is an item of its own; a page may end between two of one function."""
        name, _, number = after.partition(":")
        found = versions.of_page(self._registry.find(name), number, size + 1) if number else []
        while len(found) <= size:
            records, _ = self._registry.page(name, 1)
            if not records:
                break
            found += versions.of_page(records[0], "", size + 1 - len(found))
            name = records[0].name
        shown = found[:size]
        last = None if len(found) <= size else f"{shown[-1][0].name}:{shown[-1][1].version}"
        listed = [answers.listed_configuration(record, version, version.version) for record, version in shown]
        return {"Functions": listed, **paging.next_marker(last)}

    async def update_code(self, parameters: Parameters) -> Answer:
        configuration.refuse_unavailable(parameters)
        configuration.check_architecture(parameters, self._endpoint)
        before, _, _ = self._addressing.find(parameters)
        is_image = before.latest.deployment.image is not None
        async with self._code.given(parameters, is_image=is_image, doing="updating") as source:
            if parameters.get("DryRun"):
                return await self._dry_run(parameters, source)
            record, version = await self._with_code(parameters, source)
        self._deployer.settle(record, record.latest, version)
        qualifier = version.version if parameters.get("Publish") else None
        return 200, answers.function_configuration(record, version, self._endpoint, qualifier)

    async def _with_code(self, parameters: Parameters, source: Source) -> tuple[FunctionRecord, VersionRecord]:
        async with (
            self._addressing.changing(parameters) as current,
            self._code.kept(current.latest.deployment, source) as deployment,
        ):
            await self._layers.check_size(deployment)
            record, version = self._published(self._changed(current, deployment), parameters)
            await self._registry.put(record)
        return record, version

    async def update_configuration(self, parameters: Parameters) -> Answer:
        async with self._addressing.changing(parameters) as current:
            deployment = current.latest.deployment
            changed = configuration.changed_configuration(deployment.configuration, parameters, self._endpoint)
            with self._layers.attached(changed, parameters) as configured:
                wanted = replace(deployment, configuration=configured)
                await self._layers.check_size(wanted)
                record = self._changed(current, wanted)
                await self._registry.put(record)
        self._deployer.settle(record, record.latest)
        return 200, answers.function_configuration(record, record.latest, self._endpoint)

    async def delete(self, parameters: Parameters) -> Answer:
        reference = self._addressing.reference(parameters)
        async with self._registry.writing(reference.name) as found:
            record = self._addressing.found(reference, found)
            if reference.qualifier is None:
                await self._registry.remove(record.name)
            else:
                await self._registry.put(versions.without_version(record, reference.qualifier))
        await self._deployer.collect_released()
        return 204, None

    async def _dry_run(self, parameters: Parameters, source: Source) -> Answer:
        """What the answer would be, with nothing changed."""
        async with self._addressing.changing(parameters) as current:
            record = self._changed(current, await self._code.checked(current.latest.deployment, source))
            return 200, answers.function_configuration(record, record.latest, self._endpoint)

    def _published(self, record: FunctionRecord, parameters: Parameters) -> tuple[FunctionRecord, VersionRecord]:
        """The record and what the caller is told of: `$LATEST`, or the version that was asked for along with it."""
        if not parameters.get("Publish"):
            return record, record.latest
        return versions.published(record, description=None, revision_id=self._new_id(), now_ms=self._now_ms())

    def _new(self, name: FunctionName, deployment: Deployment, tags: Mapping[str, str]) -> FunctionRecord:
        latest = VersionRecord(LATEST, deployment, self._new_id(), self._now_ms())
        region, account = self._endpoint.region, self._endpoint.account
        return FunctionRecord(name=name, region=region, account=account, latest=latest, tags=tags)

    def _changed(self, record: FunctionRecord, deployment: Deployment) -> FunctionRecord:
        return replace(record, latest=record.latest.changed(deployment, self._new_id(), self._now_ms()))

    def _now_ms(self) -> int:
        return int(self._clock() * 1000)
