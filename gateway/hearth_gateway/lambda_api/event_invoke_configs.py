"""How asynchronous invocations of a function, version or alias are retried, and where their records go.

Source: PutFunctionEventInvokeConfig and its siblings in the AWS Lambda API reference.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from hearth.core.attachments import EventInvokeConfig
from hearth.core.errors import InvalidParameterValue, ResourceNotFound
from hearth.core.function import LATEST
from hearth.core.records import FunctionRecord
from hearth.registry import Registry
from hearth_gateway.asynchronous.destinations import Destinations
from hearth_gateway.core.endpoint import Endpoint
from hearth_gateway.core.names import FunctionReference
from hearth_gateway.lambda_api.addressing import Addressing
from hearth_gateway.lambda_api.api import Answer, LambdaApi, Parameters
from hearth_gateway.lambda_api.paging import page

_MEMBERS = ("MaximumRetryAttempts", "MaximumEventAgeInSeconds", "DestinationConfig")


class EventInvokeConfigs:
    """Handlers of the five operations. `clock` gives epoch seconds."""

    def __init__(self, endpoint: Endpoint, registry: Registry, *, clock: Callable[[], float]) -> None:
        self._endpoint = endpoint
        self._registry = registry
        self._addressing = Addressing(registry, endpoint)
        self._destinations = Destinations(registry)
        self._clock = clock

    def register(self, api: LambdaApi) -> None:
        api.register("PutFunctionEventInvokeConfig", self.put)
        api.register("UpdateFunctionEventInvokeConfig", self.update)
        api.register("GetFunctionEventInvokeConfig", self.get)
        api.register("ListFunctionEventInvokeConfigs", self.list_page)
        api.register("DeleteFunctionEventInvokeConfig", self.delete)

    async def put(self, parameters: Parameters) -> Answer:
        if not any(member in parameters for member in _MEMBERS):
            raise InvalidParameterValue("You must specify at least one of error handling or destination setting.")
        return await self._write(parameters, lambda _: EventInvokeConfig(0))

    async def update(self, parameters: Parameters) -> Answer:
        reference = self._addressing.reference(parameters)
        return await self._write(parameters, lambda record: self._config(reference, record))

    async def get(self, parameters: Parameters) -> Answer:
        reference = self._addressing.reference(parameters)
        config = self._config(reference, self._registry.find(reference.name))
        return 200, self._shown(reference, config)

    async def list_page(self, parameters: Parameters) -> Answer:
        reference = self._addressing.reference(parameters)
        record = self._registry.find(reference.name)
        if record is None:
            raise ResourceNotFound("The function doesn't exist.")
        qualifiers, more = page(sorted(record.event_invoke), parameters)
        configs = [
            self._shown(FunctionReference(record.name, qualifier), record.event_invoke[qualifier])
            for qualifier in qualifiers
        ]
        return 200, {"FunctionEventInvokeConfigs": configs, **more}

    async def delete(self, parameters: Parameters) -> Answer:
        reference = self._addressing.reference(parameters)
        async with self._registry.writing(reference.name) as record:
            self._config(reference, record)
            assert record is not None
            others = {key: known for key, known in record.event_invoke.items() if key != _key(reference)}
            await self._registry.put(replace(record, event_invoke=others))
        return 204, None

    async def _write(self, parameters: Parameters, before: Callable[[FunctionRecord], EventInvokeConfig]) -> Answer:
        reference = self._addressing.reference(parameters)
        async with self._registry.writing(reference.name) as record:
            if record is None or record.find(reference.qualifier) is None:
                raise ResourceNotFound("The function doesn't exist.")
            config = self._changed(record, before(record), parameters)
            configs = {**record.event_invoke, _key(reference): config}
            await self._registry.put(replace(record, event_invoke=configs))
        return 200, self._shown(reference, config)

    def _changed(self, record: FunctionRecord, before: EventInvokeConfig, parameters: Parameters) -> EventInvokeConfig:
        changes: dict[str, Any] = {"modified_ms": int(self._clock() * 1000)}
        if "MaximumRetryAttempts" in parameters:
            changes["max_retry_attempts"] = parameters["MaximumRetryAttempts"]
        if "MaximumEventAgeInSeconds" in parameters:
            changes["max_event_age_s"] = parameters["MaximumEventAgeInSeconds"]
        sent = parameters.get("DestinationConfig", {})
        for member, field in (("OnSuccess", "on_success"), ("OnFailure", "on_failure")):
            if member not in sent:
                continue
            destination = sent[member].get("Destination") or None
            if destination is not None:
                self._destinations.check(destination, record.name, is_success=member == "OnSuccess")
            changes[field] = destination
        return replace(before, **changes)

    def _config(self, reference: FunctionReference, record: FunctionRecord | None) -> EventInvokeConfig:
        config = None if record is None else record.event_invoke.get(_key(reference))
        if config is None:
            arn = self._endpoint.arn(reference.name, _key(reference))
            raise ResourceNotFound(f"The function {arn} doesn't have an EventInvokeConfig")
        return config

    def _shown(self, reference: FunctionReference, config: EventInvokeConfig) -> dict[str, Any]:
        """The configuration as the service shows it: under a qualified ARN always, what was never set left out."""
        shown = {
            "LastModified": config.modified_ms / 1000,
            "FunctionArn": self._endpoint.arn(reference.name, _key(reference)),
            "MaximumRetryAttempts": config.max_retry_attempts,
            "MaximumEventAgeInSeconds": config.max_event_age_s,
            "DestinationConfig": {
                "OnSuccess": {} if config.on_success is None else {"Destination": config.on_success},
                "OnFailure": {} if config.on_failure is None else {"Destination": config.on_failure},
            },
        }
        return {name: value for name, value in shown.items() if value is not None}


def _key(reference: FunctionReference) -> str:
    return reference.qualifier or LATEST
