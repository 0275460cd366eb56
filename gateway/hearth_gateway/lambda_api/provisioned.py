"""The operations on provisioned concurrency, and those on scaling configurations, which no function here can have.

Source: PutProvisionedConcurrencyConfig, GetProvisionedConcurrencyConfig, ListProvisionedConcurrencyConfigs,
DeleteProvisionedConcurrencyConfig, PutFunctionScalingConfig and GetFunctionScalingConfig in the AWS Lambda API
reference.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

from hearth.core.attachments import ProvisionedConcurrency
from hearth.core.errors import InvalidParameterValue, ProvisionedConcurrencyConfigNotFound
from hearth.core.function import LATEST, FunctionName
from hearth.core.provisioning import ProvisionedState, shares, state_of
from hearth.core.records import FunctionRecord
from hearth.registry import Registry
from hearth_gateway.core import provisioned as rules
from hearth_gateway.core.endpoint import Endpoint
from hearth_gateway.core.names import FunctionReference
from hearth_gateway.lambda_api import paging
from hearth_gateway.lambda_api.addressing import Addressing
from hearth_gateway.lambda_api.api import Answer, LambdaApi, Parameters

_NOT_MANAGED = (
    "Function scaling configurations are supported on functions with a capacity provider only. "
    "Use PutProvisionedConcurrencyConfig to keep environments ready and PutFunctionConcurrency to limit them."
)


class Provisioning(Protocol):
    """What is asked of the scheduler."""

    def provisioned(self, name: FunctionName, version: str) -> ProvisionedState: ...


class ProvisionedConcurrencyOperations:
    """Handlers of these operations. `clock` gives epoch seconds. What is to be kept ready the scheduler learns from the
    registry, as it learns everything."""

    def __init__(
        self, endpoint: Endpoint, registry: Registry, scheduler: Provisioning, *, clock: Callable[[], float]
    ) -> None:
        self._endpoint = endpoint
        self._registry = registry
        self._scheduler = scheduler
        self._clock = clock
        self._addressing = Addressing(registry, endpoint)

    def register(self, api: LambdaApi) -> None:
        api.register("PutProvisionedConcurrencyConfig", self.put)
        api.register("GetProvisionedConcurrencyConfig", self.get)
        api.register("ListProvisionedConcurrencyConfigs", self.list)
        api.register("DeleteProvisionedConcurrencyConfig", self.delete)
        api.register("PutFunctionScalingConfig", self.put_scaling)
        api.register("GetFunctionScalingConfig", self.get_scaling)

    async def put(self, parameters: Parameters) -> Answer:
        """Answered before anything is there, as the service does."""
        reference = self._addressing.reference(parameters)
        qualifier = reference.qualifier or LATEST
        requested: int = parameters["ProvisionedConcurrentExecutions"]
        if qualifier == LATEST:
            raise InvalidParameterValue(rules.UNPUBLISHED)
        async with self._registry.reserving, self._registry.writing(reference.name) as found:
            record = self._addressing.found(reference, found)
            rules.check_qualifier(record, qualifier)
            own = record.provisioned.get(qualifier)
            free = self._unreserved() + (own.requested if own is not None and record.reserved is None else 0)
            rules.check_amount(record, qualifier, requested, free, minimum=self._endpoint.unreserved_minimum)
            config = ProvisionedConcurrency(requested, int(self._clock() * 1000))
            await self._registry.put(replace(record, provisioned={**record.provisioned, qualifier: config}))
        return 202, rules.shown(ProvisionedState(requested), config.modified_ms)

    async def get(self, parameters: Parameters) -> Answer:
        reference = self._qualified(parameters)
        record = self._addressing.found(reference, self._registry.find(reference.name))
        config = record.provisioned.get(reference.qualifier or LATEST)
        if config is None:
            raise ProvisionedConcurrencyConfigNotFound(rules.MISSING)
        return 200, rules.shown(self._state(record, reference.qualifier or LATEST), config.modified_ms)

    async def list(self, parameters: Parameters) -> Answer:
        record = self._addressing.find_whole(parameters)
        names, more = paging.page(sorted(record.provisioned), parameters)
        items = [rules.listed(record, name, self._state(record, name), self._endpoint) for name in names]
        return 200, {"ProvisionedConcurrencyConfigs": items, **more}

    async def delete(self, parameters: Parameters) -> Answer:
        """One that is not there is deleted already."""
        reference = self._qualified(parameters)
        async with self._registry.writing(reference.name) as found:
            record = self._addressing.found(reference, found)
            kept = {name: config for name, config in record.provisioned.items() if name != reference.qualifier}
            if len(kept) != len(record.provisioned):
                await self._registry.put(replace(record, provisioned=kept))
        return 204, None

    async def put_scaling(self, parameters: Parameters) -> Answer:
        """These belong to functions on managed instances, which there are none of."""
        self._addressing.find_whole({"FunctionName": parameters["FunctionName"]})
        raise InvalidParameterValue(_NOT_MANAGED)

    async def get_scaling(self, parameters: Parameters) -> Answer:
        """Nothing was asked for, and nothing applies."""
        record = self._addressing.find_whole({"FunctionName": parameters["FunctionName"]})
        qualifier = parameters["Qualifier"]
        if not qualifier.startswith(LATEST):
            self._addressing.found(FunctionReference(record.name, qualifier), record)
        return 200, {"FunctionArn": self._endpoint.arn(record.name, qualifier.removesuffix(".PUBLISHED"))}

    def _qualified(self, parameters: Parameters) -> FunctionReference:
        reference = self._addressing.reference(parameters)
        if reference.qualifier in (None, LATEST):
            raise InvalidParameterValue(rules.NO_VERSION)
        return reference

    def _state(self, record: FunctionRecord, qualifier: str) -> ProvisionedState:
        versions = shares(record, qualifier)
        states = {version: self._scheduler.provisioned(record.name, version) for version in versions}
        return state_of(record, qualifier, states)

    def _unreserved(self) -> int:
        return self._endpoint.account_concurrency - self._registry.reserved - self._registry.provisioned
