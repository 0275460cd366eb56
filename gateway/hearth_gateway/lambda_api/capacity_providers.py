"""Capacity providers: kept and shown, so that tools that describe fleets of instances carry on.

The one Docker host is all the capacity there is, so a provider here is a name with settings, Active from its creation;
functions cannot be placed on one.
Source: CreateCapacityProvider and its siblings in the AWS Lambda API reference.
"""

from collections.abc import Callable
from typing import Any

import orjson
import structlog

from hearth.core.errors import ResourceConflict, ResourceNotFound
from hearth.ports import FunctionStore
from hearth_gateway.core.answers import configuration_date
from hearth_gateway.core.endpoint import Endpoint
from hearth_gateway.lambda_api.api import Answer, LambdaApi, Parameters
from hearth_gateway.lambda_api.paging import page

_SETTINGS = (
    "VpcConfig",
    "PermissionsConfig",
    "InstanceRequirements",
    "CapacityProviderScalingConfig",
    "KmsKeyArn",
    "PropagateTags",
    "TelemetryConfig",
)

Provider = dict[str, Any]


class CapacityProviders:
    """Handlers of the capacity provider operations, and the providers. `clock` gives epoch seconds.

    Rule: the store is written before memory. State: `_providers`, by name; changed by `load`, `_put` and `delete`.
    """

    def __init__(self, endpoint: Endpoint, store: FunctionStore, *, clock: Callable[[], float]) -> None:
        self._endpoint = endpoint
        self._store = store
        self._clock = clock
        self._providers: dict[str, Provider] = {}

    async def load(self) -> None:
        """Take in what the store has. To be called once, before the first request."""
        for name, stored in (await self._store.load_all()).items():
            try:
                self._providers[name] = orjson.loads(stored)
            except orjson.JSONDecodeError as error:
                structlog.get_logger().error("capacity provider unreadable", name=name, error=str(error))

    def register(self, api: LambdaApi) -> None:
        api.register("CreateCapacityProvider", self.create)
        api.register("GetCapacityProvider", self.get)
        api.register("ListCapacityProviders", self.list_page)
        api.register("UpdateCapacityProvider", self.update)
        api.register("DeleteCapacityProvider", self.delete)
        api.register("ListFunctionVersionsByCapacityProvider", self.list_versions)

    async def create(self, parameters: Parameters) -> Answer:
        name = _name(parameters)
        if name in self._providers:
            raise ResourceConflict(f"Capacity provider already exists: {self._arn(name)}")
        provider = {
            "CapacityProviderArn": self._arn(name),
            "State": "Active",
            **{member: parameters[member] for member in _SETTINGS if member in parameters},
        }
        return 202, {"CapacityProvider": await self._put(name, provider)}

    async def get(self, parameters: Parameters) -> Answer:
        return 200, {"CapacityProvider": self._found(_name(parameters))}

    async def list_page(self, parameters: Parameters) -> Answer:
        state = parameters.get("State")
        names = sorted(name for name, known in self._providers.items() if state in (None, known["State"]))
        found, more = page(names, parameters)
        return 200, {"CapacityProviders": [self._providers[name] for name in found], **more}

    async def update(self, parameters: Parameters) -> Answer:
        name = _name(parameters)
        sent = {member: parameters[member] for member in _SETTINGS if member in parameters}
        return 202, {"CapacityProvider": await self._put(name, {**self._found(name), **sent})}

    async def delete(self, parameters: Parameters) -> Answer:
        name = _name(parameters)
        provider = self._found(name)
        await self._store.delete(name)
        self._providers.pop(name, None)
        return 202, {"CapacityProvider": {**provider, "State": "Deleting"}}

    async def list_versions(self, parameters: Parameters) -> Answer:
        provider = self._found(_name(parameters))
        return 200, {"CapacityProviderArn": provider["CapacityProviderArn"], "FunctionVersions": []}

    async def _put(self, name: str, provider: Provider) -> Provider:
        dated = {**provider, "LastModified": configuration_date(int(self._clock() * 1000))}
        await self._store.put(name, orjson.dumps(dated))
        self._providers[name] = dated
        return dated

    def _found(self, name: str) -> Provider:
        provider = self._providers.get(name)
        if provider is None:
            raise ResourceNotFound(f"Capacity provider not found: {self._arn(name)}")
        return provider

    def _arn(self, name: str) -> str:
        return f"arn:aws:lambda:{self._endpoint.region}:{self._endpoint.account}:capacity-provider:{name}"


def _name(parameters: Parameters) -> str:
    """The bare name; the operations take an ARN as well."""
    given: str = parameters["CapacityProviderName"]
    return given.rpartition(":")[2]
