"""The operations on provisioned concurrency and on scaling configurations: how many environments of a version there
are to be, at least and at most.

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
from hearth.core.records import STATES, FunctionRecord
from hearth.registry import Registry
from hearth_gateway.core import provisioned as rules
from hearth_gateway.core.endpoint import Endpoint
from hearth_gateway.core.names import FunctionReference
from hearth_gateway.lambda_api import paging
from hearth_gateway.lambda_api.addressing import Addressing
from hearth_gateway.lambda_api.api import Answer, LambdaApi, Parameters


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
            record = self._with(self._addressing.found(reference, found), qualifier, requested)
            rules.check_ceilings(record)
            await self._registry.put(record)
        return 202, rules.shown(ProvisionedState(requested), record.provisioned[qualifier].modified_ms)

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
            if reference.qualifier is not None and reference.qualifier in record.provisioned:
                await self._registry.put(_without(record, reference.qualifier))
        return 204, None

    async def put_scaling(self, parameters: Parameters) -> Answer:
        """The configuration replaces the one before: a number that is left out counts no more."""
        reference, version = self._addressing.reference(parameters), parameters["Qualifier"]
        wanted = parameters.get("FunctionScalingConfig", {})
        least: int = wanted.get("MinExecutionEnvironments", 0)
        async with self._registry.reserving, self._registry.writing(reference.name) as found:
            record = self._addressing.found(reference, found)
            record = self._with(record, version, least) if least else _without(record, version)
            record = rules.with_ceiling(record, version, wanted.get("MaxExecutionEnvironments"))
            rules.check_ceilings(record)
            await self._registry.put(record)
        return 202, {"FunctionState": STATES[record.versions[version].phase][0].value}

    async def get_scaling(self, parameters: Parameters) -> Answer:
        """What was asked for, and what there is of it."""
        record, found, _ = self._addressing.find(parameters)
        ready = self._scheduler.provisioned(record.name, found.version).available
        arn = self._endpoint.arn(record.name, found.version)
        return 200, {"FunctionArn": arn, **rules.scaling(record, found.version, ready)}

    def _with(self, record: FunctionRecord, qualifier: str, requested: int) -> FunctionRecord:
        """The record with so much provisioned, if it can be had."""
        rules.check_qualifier(record, qualifier)
        own = record.provisioned.get(qualifier)
        free = self._unreserved() + (own.requested if own is not None and record.reserved is None else 0)
        rules.check_amount(record, qualifier, requested, free, minimum=self._endpoint.unreserved_minimum)
        config = ProvisionedConcurrency(requested, int(self._clock() * 1000))
        return replace(record, provisioned={**record.provisioned, qualifier: config})

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


def _without(record: FunctionRecord, qualifier: str) -> FunctionRecord:
    """The record with nothing provisioned for this qualifier."""
    kept = {name: config for name, config in record.provisioned.items() if name != qualifier}
    return replace(record, provisioned=kept)
