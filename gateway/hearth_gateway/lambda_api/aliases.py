"""The operations on aliases.

Source: CreateAlias, GetAlias, ListAliases, UpdateAlias and DeleteAlias in the AWS Lambda API reference.
"""

from collections.abc import Callable

from hearth.core.errors import ResourceConflict, ResourceNotFound
from hearth.registry import Registry
from hearth_gateway.core import aliases, answers, versions
from hearth_gateway.core.endpoint import Endpoint
from hearth_gateway.lambda_api import paging
from hearth_gateway.lambda_api.addressing import Addressing
from hearth_gateway.lambda_api.api import Answer, LambdaApi, Parameters


class AliasOperations:
    """Handlers of the alias operations. `new_id` gives UUIDs."""

    def __init__(self, endpoint: Endpoint, registry: Registry, *, new_id: Callable[[], str]) -> None:
        self._registry = registry
        self._addressing = Addressing(registry, endpoint)
        self._new_id = new_id

    def register(self, api: LambdaApi) -> None:
        api.register("CreateAlias", self.create)
        api.register("GetAlias", self.get)
        api.register("ListAliases", self.list)
        api.register("UpdateAlias", self.update)
        api.register("DeleteAlias", self.delete)

    async def create(self, parameters: Parameters) -> Answer:
        name: str = parameters["Name"]
        async with self._addressing.writing(parameters) as record:
            if name in record.aliases:
                raise ResourceConflict(f"Alias already exists: {record.arn}:{name}")
            alias = aliases.new_alias(record, parameters, self._new_id())
            await self._registry.put(aliases.with_alias(record, alias))
        return 201, answers.alias(record, alias)

    async def get(self, parameters: Parameters) -> Answer:
        record = self._addressing.find_whole(parameters)
        alias = record.aliases.get(parameters["Name"])
        if alias is None:
            raise ResourceNotFound(f"Cannot find alias arn: {record.arn}:{parameters['Name']}")
        return 200, answers.alias(record, alias)

    async def list(self, parameters: Parameters) -> Answer:
        record = self._addressing.find_whole(parameters)
        version = parameters.get("FunctionVersion")
        names = sorted(alias.name for alias in record.aliases.values() if version is None or version in alias.versions)
        page, more = paging.page(names, parameters)
        return 200, {"Aliases": [answers.alias(record, record.aliases[name]) for name in page], **more}

    async def update(self, parameters: Parameters) -> Answer:
        async with self._addressing.writing(parameters) as record:
            alias = record.aliases.get(parameters["Name"])
            if alias is None:
                raise ResourceNotFound(f"Alias not found: {record.arn}:{parameters['Name']}")
            versions.check_revision(alias.revision_id, parameters.get("RevisionId"))
            alias = aliases.changed_alias(record, alias, parameters, self._new_id())
            await self._registry.put(aliases.with_alias(record, alias))
        return 200, answers.alias(record, alias)

    async def delete(self, parameters: Parameters) -> Answer:
        """An alias that is not there is deleted already, as the service has it."""
        async with self._addressing.writing(parameters) as record:
            if parameters["Name"] in record.aliases:
                await self._registry.put(aliases.without_alias(record, parameters["Name"]))
        return 204, None
