"""Settings of a function that no environment sees: recursion, and when its runtime is updated.

Runtime versions here are images that change only when they are rebuilt, so every `UpdateRuntimeOn` is kept and shown.
Source: PutFunctionRecursionConfig, GetFunctionRecursionConfig, PutRuntimeManagementConfig and
GetRuntimeManagementConfig in the AWS Lambda API reference.
"""

from dataclasses import replace

from hearth.core.attachments import RuntimeManagement
from hearth.core.errors import InvalidParameterValue
from hearth.core.function import LATEST
from hearth.core.records import FunctionRecord
from hearth.registry import Registry
from hearth_gateway.core import names
from hearth_gateway.core.endpoint import Endpoint
from hearth_gateway.core.names import FunctionReference
from hearth_gateway.lambda_api.addressing import Addressing
from hearth_gateway.lambda_api.api import Answer, LambdaApi, Parameters

_MANUAL = "Manual"


class FunctionSettings:
    """Handlers of the recursion and runtime management operations."""

    def __init__(self, endpoint: Endpoint, registry: Registry) -> None:
        self._endpoint = endpoint
        self._registry = registry
        self._addressing = Addressing(registry, endpoint)

    def register(self, api: LambdaApi) -> None:
        api.register("PutFunctionRecursionConfig", self.put_recursion)
        api.register("GetFunctionRecursionConfig", self.get_recursion)
        api.register("PutRuntimeManagementConfig", self.put_runtime_management)
        api.register("GetRuntimeManagementConfig", self.get_runtime_management)

    async def put_recursion(self, parameters: Parameters) -> Answer:
        reference = self._addressing.reference(parameters)
        names.function_level(reference)
        async with self._registry.writing(reference.name) as found:
            record = self._found(reference, found)
            await self._registry.put(replace(record, recursive_loop=parameters["RecursiveLoop"]))
        return 200, {"RecursiveLoop": parameters["RecursiveLoop"]}

    async def get_recursion(self, parameters: Parameters) -> Answer:
        return 200, {"RecursiveLoop": self._addressing.find_whole(parameters).recursive_loop}

    async def put_runtime_management(self, parameters: Parameters) -> Answer:
        reference = self._addressing.reference(parameters)
        wanted = _runtime_management(parameters)
        async with self._registry.writing(reference.name) as found:
            record = self._found(reference, found)
            qualifier = reference.qualifier or LATEST
            settings = {**record.runtime_management, qualifier: wanted}
            await self._registry.put(replace(record, runtime_management=settings))
        return 200, self._shown(record, qualifier, wanted)

    async def get_runtime_management(self, parameters: Parameters) -> Answer:
        reference = self._addressing.reference(parameters)
        record = self._found(reference, self._registry.find(reference.name))
        qualifier = reference.qualifier or LATEST
        return 200, self._shown(record, qualifier, record.runtime_management.get(qualifier, RuntimeManagement()))

    def _found(self, reference: FunctionReference, record: FunctionRecord | None) -> FunctionRecord:
        if record is None or record.find(reference.qualifier) is None:
            raise names.function_not_found(reference, self._endpoint.region, self._endpoint.account)
        return record

    def _shown(self, record: FunctionRecord, qualifier: str, settings: RuntimeManagement) -> dict[str, str]:
        shown = {"UpdateRuntimeOn": settings.update_on, "FunctionArn": self._endpoint.arn(record.name, qualifier)}
        if settings.runtime_version_arn is not None:
            shown["RuntimeVersionArn"] = settings.runtime_version_arn
        return shown


def _runtime_management(parameters: Parameters) -> RuntimeManagement:
    """The setting as sent: a runtime version belongs to Manual, and to Manual alone."""
    update_on, arn = parameters["UpdateRuntimeOn"], parameters.get("RuntimeVersionArn")
    if update_on == _MANUAL and not arn:
        raise InvalidParameterValue("RuntimeVersionArn must be set when UpdateRuntimeOn is Manual.")
    if update_on != _MANUAL and arn:
        raise InvalidParameterValue("RuntimeVersionArn can only be set when UpdateRuntimeOn is Manual.")
    return RuntimeManagement(update_on, arn)
