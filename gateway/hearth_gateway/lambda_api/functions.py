"""The operations on functions themselves: create, read, update, delete.

Order of every write: the package on disk, then the record in the store, then the answer; unpacking follows behind.
Source: CreateFunction, GetFunction, ListFunctions, UpdateFunctionCode, UpdateFunctionConfiguration, DeleteFunction in
the AWS Lambda API reference.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

from hearth.core.errors import InvalidParameterValue, PreconditionFailed, ResourceConflict
from hearth.core.function import LATEST
from hearth.core.records import (
    Configuration,
    Deployment,
    FunctionRecord,
    Package,
    Phase,
    VersionRecord,
)
from hearth.packages import CodePackages
from hearth.registry import Registry
from hearth_gateway.core import answers, configuration
from hearth_gateway.core.endpoint import Endpoint
from hearth_gateway.lambda_api.addressing import Addressing
from hearth_gateway.lambda_api.api import Answer, LambdaApi, Parameters
from hearth_gateway.lambda_api.deployer import Deployer


class FunctionOperations:
    """Handlers of the function operations. `clock` gives epoch seconds, `new_id` UUIDs."""

    def __init__(
        self,
        endpoint: Endpoint,
        registry: Registry,
        packages: CodePackages,
        *,
        deployer: Deployer,
        clock: Callable[[], float],
        new_id: Callable[[], str],
    ) -> None:
        self._endpoint = endpoint
        self._registry = registry
        self._packages = packages
        self._deployer = deployer
        self._addressing = Addressing(registry, endpoint)
        self._clock = clock
        self._new_id = new_id

    def register(self, api: LambdaApi) -> None:
        api.register("CreateFunction", self.create)
        api.register("GetFunction", self.get)
        api.register("GetFunctionConfiguration", self.get_configuration)
        api.register("ListFunctions", self.list)
        api.register("ListVersionsByFunction", self.list_versions)
        api.register("UpdateFunctionCode", self.update_code)
        api.register("UpdateFunctionConfiguration", self.update_configuration)
        api.register("DeleteFunction", self.delete)

    async def create(self, parameters: Parameters) -> Answer:
        name = self._addressing.name(parameters)
        wanted = configuration.new_configuration(parameters, self._endpoint)
        configuration.refuse_publishing(parameters)
        content = configuration.zip_of(parameters["Code"])
        tags = configuration.checked_tags(parameters.get("Tags", {}))
        async with self._registry.writing(name) as existing:
            if existing is not None:
                raise ResourceConflict(f"Function already exist: {name}")
            async with self._packages.added(content) as package:
                record = FunctionRecord(
                    name=name,
                    region=self._endpoint.region,
                    account=self._endpoint.account,
                    latest=self._first_version(wanted, package),
                    tags=tags,
                )
                await self._registry.put(record)
        self._deployer.settle(record, record.latest)
        return 201, answers.function_configuration(record, self._endpoint)

    async def get(self, parameters: Parameters) -> Answer:
        record, qualifier = self._addressing.find(parameters)
        package = record.latest.deployment.package
        assert package is not None
        host = parameters.host or f"localhost:{self._endpoint.port}"
        location = f"http://{host}{self._packages.signed_path(package.sha256, self._clock())}"
        answer = {
            "Configuration": answers.function_configuration(record, self._endpoint, qualifier),
            "Code": answers.function_code(location),
        }
        if record.tags:
            answer["Tags"] = dict(record.tags)
        if record.reserved is not None and qualifier is None:
            answer["Concurrency"] = {"ReservedConcurrentExecutions": record.reserved}
        return 200, answer

    async def get_configuration(self, parameters: Parameters) -> Answer:
        record, qualifier = self._addressing.find(parameters)
        return 200, answers.function_configuration(record, self._endpoint, qualifier)

    async def list(self, parameters: Parameters) -> Answer:
        records, more = self._addressing.page(parameters)
        qualifier = LATEST if parameters.get("FunctionVersion") == "ALL" else None
        return 200, {"Functions": [answers.listed_configuration(record, qualifier) for record in records], **more}

    async def list_versions(self, parameters: Parameters) -> Answer:
        record = self._addressing.find_whole(parameters)
        return 200, {"Versions": [answers.listed_configuration(record, LATEST)]}

    async def update_code(self, parameters: Parameters) -> Answer:
        configuration.refuse_publishing(parameters)
        configuration.check_architecture(parameters, self._endpoint)
        content = configuration.zip_of(parameters)
        if parameters.get("DryRun"):
            return await self._dry_run(parameters, content)
        async with self._changing(parameters) as current, self._packages.added(content) as package:
            record = self._changed(current, replace(current.latest.deployment, package=package))
            await self._registry.put(record)
        self._deployer.settle(record, record.latest)
        return 200, answers.function_configuration(record, self._endpoint)

    async def update_configuration(self, parameters: Parameters) -> Answer:
        async with self._changing(parameters) as current:
            deployment = current.latest.deployment
            changed = configuration.changed_configuration(deployment.configuration, parameters, self._endpoint)
            record = self._changed(current, replace(deployment, configuration=changed))
            await self._registry.put(record)
        self._deployer.settle(record, record.latest)
        return 200, answers.function_configuration(record, self._endpoint)

    async def delete(self, parameters: Parameters) -> Answer:
        reference = self._addressing.reference(parameters)
        async with self._registry.writing(reference.name) as record:
            if record is not None and reference.qualifier == LATEST:
                raise InvalidParameterValue("$LATEST version cannot be deleted without deleting the function.")
            self._addressing.found(reference, record)
            await self._registry.remove(reference.name)
        await self._deployer.collect()
        return 204, None

    async def _dry_run(self, parameters: Parameters, content: bytes) -> Answer:
        """What the answer would be, with nothing changed."""
        async with self._changing(parameters) as record:
            package = await self._packages.check(content)
            return 200, answers.function_configuration(
                self._changed(record, replace(record.latest.deployment, package=package)), self._endpoint
            )

    @asynccontextmanager
    async def _changing(self, parameters: Parameters) -> AsyncIterator[FunctionRecord]:
        """Be the only writer of the addressed function, if it can be changed now."""
        reference = self._addressing.reference(parameters)
        async with self._registry.writing(reference.name) as found:
            record = self._addressing.found(reference, found)
            _check_revision(record, parameters.get("RevisionId"))
            _check_settled(record)
            yield record

    def _first_version(self, wanted: Configuration, package: Package) -> VersionRecord:
        return VersionRecord(LATEST, Deployment(wanted, package), self._new_id(), self._now_ms())

    def _changed(self, record: FunctionRecord, deployment: Deployment) -> FunctionRecord:
        return replace(record, latest=record.latest.changed(deployment, self._new_id(), self._now_ms()))

    def _now_ms(self) -> int:
        return int(self._clock() * 1000)


def _check_revision(record: FunctionRecord, revision_id: str | None) -> None:
    if revision_id and revision_id != record.latest.revision_id:
        raise PreconditionFailed(
            "The Revision Id provided does not match the latest Revision Id. "
            "Call the GetFunction/GetAlias API to retrieve the latest Revision Id"
        )


def _check_settled(record: FunctionRecord) -> None:
    prefix = "The operation cannot be performed at this time."
    if record.latest.phase is Phase.PENDING:
        raise ResourceConflict(f"{prefix} The function is currently in the following state: Pending")
    if record.latest.phase is Phase.UPDATING:
        raise ResourceConflict(f"{prefix} An update is in progress for resource: {record.arn}")
