"""Resource-based policies: who else may use a function.

A function, each of its versions and each of its aliases has a policy of its own. AddPermission and its siblings work on
single statements, PutResourcePolicy and its siblings on whole documents; both see the same policies.
Source: AddPermission, GetPolicy, RemovePermission, PutResourcePolicy, GetResourcePolicy and DeleteResourcePolicy in the
AWS Lambda API reference.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import NamedTuple

from hearth.core.attachments import Policy
from hearth.core.errors import InvalidParameterValue, ResourceNotFound
from hearth.core.function import LATEST
from hearth.core.records import FunctionRecord
from hearth.registry import Registry
from hearth_gateway.core import names, resource_policy
from hearth_gateway.core.endpoint import Endpoint
from hearth_gateway.core.names import FunctionReference
from hearth_gateway.lambda_api.addressing import Addressing
from hearth_gateway.lambda_api.api import Answer, LambdaApi, Parameters

_NO_POLICY = "The resource you requested does not exist."


class _Held(NamedTuple):
    """A policy as it is now, and where it belongs."""

    record: FunctionRecord
    qualifier: str
    policy: Policy | None


class PolicyOperations:
    """Handlers of the policy operations. `new_id` gives UUIDs."""

    def __init__(self, endpoint: Endpoint, registry: Registry, *, new_id: Callable[[], str]) -> None:
        self._endpoint = endpoint
        self._registry = registry
        self._addressing = Addressing(registry, endpoint)
        self._new_id = new_id

    def register(self, api: LambdaApi) -> None:
        api.register("AddPermission", self.add)
        api.register("GetPolicy", self.get)
        api.register("RemovePermission", self.remove)
        api.register("PutResourcePolicy", self.put_whole)
        api.register("GetResourcePolicy", self.get_whole)
        api.register("DeleteResourcePolicy", self.delete_whole)

    async def add(self, parameters: Parameters) -> Answer:
        reference = self._reference(parameters)
        async with self._changing(reference) as held:
            resource_policy.check_revision(held.policy, parameters.get("RevisionId"))
            statement = resource_policy.statement_of(parameters, self._arn(held))
            await self._put(held, resource_policy.added(held.policy, statement, self._new_id()))
        return 201, {"Statement": resource_policy.as_text(statement)}

    async def get(self, parameters: Parameters) -> Answer:
        held = self._held(self._reference(parameters))
        return 200, _shown(_existing(held, _NO_POLICY))

    async def remove(self, parameters: Parameters) -> Answer:
        async with self._changing(self._reference(parameters)) as held:
            policy = _existing(held, "No policy is associated with the given resource.")
            resource_policy.check_revision(policy, parameters.get("RevisionId"))
            await self._put(held, resource_policy.removed(policy, parameters["StatementId"], self._new_id()))
        return 204, None

    async def put_whole(self, parameters: Parameters) -> Answer:
        async with self._changing(self._by_arn(parameters)) as held:
            resource_policy.check_revision(held.policy, parameters.get("RevisionId"), operation="GetResourcePolicy")
            policy = resource_policy.replaced(parameters["Policy"], self._new_id())
            await self._put(held, policy)
        return 200, _shown(policy)

    async def get_whole(self, parameters: Parameters) -> Answer:
        return 200, _shown(_existing(self._held(self._by_arn(parameters)), _NO_POLICY))

    async def delete_whole(self, parameters: Parameters) -> Answer:
        async with self._changing(self._by_arn(parameters)) as held:
            policy = _existing(held, _NO_POLICY)
            resource_policy.check_revision(policy, parameters.get("RevisionId"), operation="GetResourcePolicy")
            await self._put(held, None)
        return 204, None

    def _reference(self, parameters: Parameters) -> FunctionReference:
        reference = self._addressing.reference(parameters)
        if reference.qualifier == LATEST:
            raise InvalidParameterValue("We currently do not support adding policies for $LATEST.")
        return reference

    def _by_arn(self, parameters: Parameters) -> FunctionReference:
        arn: str = parameters["ResourceArn"]
        if ":runtime/" in arn:
            raise ResourceNotFound(_NO_POLICY)  # there are no customer-managed runtimes to have one
        reference = names.parse_function_name(arn, self._endpoint.account)
        if reference.qualifier == LATEST:
            raise InvalidParameterValue("We currently do not support adding policies for $LATEST.")
        return reference

    def _held(self, reference: FunctionReference, found: FunctionRecord | None = None) -> _Held:
        record = found or self._registry.find(reference.name)
        if record is None or record.find(reference.qualifier) is None:
            raise names.function_not_found(reference, self._endpoint.region, self._endpoint.account)
        qualifier = reference.qualifier or LATEST
        return _Held(record, qualifier, record.policies.get(qualifier))

    @asynccontextmanager
    async def _changing(self, reference: FunctionReference) -> AsyncIterator[_Held]:
        async with self._registry.writing(reference.name) as found:
            yield self._held(reference, found)

    async def _put(self, held: _Held, policy: Policy | None) -> None:
        others = {qualifier: known for qualifier, known in held.record.policies.items() if qualifier != held.qualifier}
        policies = others if policy is None else {**others, held.qualifier: policy}
        await self._registry.put(replace(held.record, policies=policies))

    def _arn(self, held: _Held) -> str:
        return self._endpoint.arn(held.record.name, None if held.qualifier == LATEST else held.qualifier)


def _existing(held: _Held, missing: str) -> Policy:
    if held.policy is None:
        raise ResourceNotFound(missing)
    return held.policy


def _shown(policy: Policy) -> dict[str, str]:
    return {"Policy": policy.document, "RevisionId": policy.revision_id}
