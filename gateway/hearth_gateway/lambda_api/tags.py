"""Tags of functions.

Source: TagResource, UntagResource and ListTags in the AWS Lambda API reference.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

from hearth.core.errors import InvalidParameterValue, ResourceNotFound
from hearth.core.function import FunctionName
from hearth.core.records import FunctionRecord
from hearth.registry import Registry
from hearth_gateway.core import names
from hearth_gateway.core.configuration import checked_tags
from hearth_gateway.core.endpoint import Endpoint
from hearth_gateway.lambda_api.api import Answer, LambdaApi, Parameters

_FUNCTION_FIELD = 5
"""Where an ARN says what kind of resource it names: arn:aws:lambda:region:account:KIND:name."""


class TagOperations:
    """Handlers of the tag operations. Other resources than functions have no tags here yet."""

    def __init__(self, endpoint: Endpoint, registry: Registry) -> None:
        self._endpoint = endpoint
        self._registry = registry

    def register(self, api: LambdaApi) -> None:
        api.register("ListTags", self.list)
        api.register("TagResource", self.tag)
        api.register("UntagResource", self.untag)

    async def list(self, parameters: Parameters) -> Answer:
        name = self._name(parameters)
        return 200, {"Tags": dict(self._found(name, self._registry.find(name)).tags)}

    async def tag(self, parameters: Parameters) -> Answer:
        if not parameters["Tags"]:
            raise InvalidParameterValue("An error occurred and the request cannot be processed.")
        async with self._tagging(parameters) as record:
            tags = checked_tags({**record.tags, **parameters["Tags"]})
            await self._registry.put(replace(record, tags=tags))
        return 204, None

    async def untag(self, parameters: Parameters) -> Answer:
        async with self._tagging(parameters) as record:
            tags = {key: value for key, value in record.tags.items() if key not in parameters["TagKeys"]}
            await self._registry.put(replace(record, tags=tags))
        return 204, None

    @asynccontextmanager
    async def _tagging(self, parameters: Parameters) -> AsyncIterator[FunctionRecord]:
        name = self._name(parameters)
        async with self._registry.writing(name) as record:
            yield self._found(name, record)

    def _name(self, parameters: Parameters) -> FunctionName:
        arn: str = parameters["Resource"]
        if arn.split(":")[_FUNCTION_FIELD] != "function":
            raise ResourceNotFound("The resource you requested does not exist.")
        reference = names.parse_function_name(arn, self._endpoint.region, self._endpoint.account)
        if reference.qualifier is not None:
            raise InvalidParameterValue(
                "Tags on function aliases and versions are not supported. Please specify a function ARN."
            )
        return reference.name

    def _found(self, name: FunctionName, record: FunctionRecord | None) -> FunctionRecord:
        if record is None:
            raise ResourceNotFound(f"Function not found: {self._endpoint.arn(name)}")
        return record
