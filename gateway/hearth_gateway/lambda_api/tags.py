"""Tags of functions, and of whatever else registers itself as taggable.

Source: TagResource, UntagResource and ListTags in the AWS Lambda API reference.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Protocol

from hearth.core.errors import InvalidParameterValue, ResourceNotFound
from hearth.core.function import FunctionName
from hearth.core.records import FunctionRecord
from hearth.registry import Registry
from hearth_gateway.core import names
from hearth_gateway.core.configuration import checked_tags
from hearth_gateway.core.endpoint import Endpoint
from hearth_gateway.lambda_api.api import Answer, LambdaApi, Parameters

_KIND_FIELD = 5
"""Where an ARN says what kind of resource it names: arn:aws:lambda:region:account:KIND:name."""


class Tagged(Protocol):
    """Resources of one kind that carry tags."""

    def tags_of(self, arn: str) -> Mapping[str, str]:
        """The tags of the resource. Raises HearthError if there is none."""
        ...

    async def retag(self, arn: str, *, added: Mapping[str, str], removed: frozenset[str]) -> None:
        """Change the resource's tags, durably. Raises HearthError if there is no such resource."""
        ...


class TagOperations:
    """Handlers of the tag operations, told apart by the kind of resource that the ARN names."""

    def __init__(self, endpoint: Endpoint, registry: Registry) -> None:
        self._kinds: dict[str, Tagged] = {"function": _Functions(endpoint, registry)}

    def register(self, api: LambdaApi) -> None:
        api.register("ListTags", self.list)
        api.register("TagResource", self.tag)
        api.register("UntagResource", self.untag)

    def add_kind(self, kind: str, resources: Tagged) -> None:
        """Let resources of one more kind be tagged; `kind` is the word in their ARNs."""
        self._kinds[kind] = resources

    async def list(self, parameters: Parameters) -> Answer:
        return 200, {"Tags": dict(self._kind(parameters).tags_of(parameters["Resource"]))}

    async def tag(self, parameters: Parameters) -> Answer:
        if not parameters["Tags"]:
            raise InvalidParameterValue("An error occurred and the request cannot be processed.")
        kind = self._kind(parameters)
        await kind.retag(parameters["Resource"], added=parameters["Tags"], removed=frozenset())
        return 204, None

    async def untag(self, parameters: Parameters) -> Answer:
        kind = self._kind(parameters)
        await kind.retag(parameters["Resource"], added={}, removed=frozenset(parameters["TagKeys"]))
        return 204, None

    def _kind(self, parameters: Parameters) -> Tagged:
        arn: str = parameters["Resource"]
        kind = self._kinds.get(arn.split(":")[_KIND_FIELD])
        if kind is None:
            raise ResourceNotFound("The resource you requested does not exist.")
        return kind


class _Functions:
    """Functions, which are tagged as a whole."""

    def __init__(self, endpoint: Endpoint, registry: Registry) -> None:
        self._endpoint = endpoint
        self._registry = registry

    def tags_of(self, arn: str) -> Mapping[str, str]:
        name = self._name(arn)
        return self._found(name, self._registry.find(name)).tags

    async def retag(self, arn: str, *, added: Mapping[str, str], removed: frozenset[str]) -> None:
        name = self._name(arn)
        async with self._registry.writing(name) as found:
            record = self._found(name, found)
            await self._registry.put(replace(record, tags=changed_tags(record.tags, added, removed)))

    def _name(self, arn: str) -> FunctionName:
        reference = names.parse_function_name(arn, self._endpoint.account)
        if reference.qualifier is not None:
            raise InvalidParameterValue(
                "Tags on function aliases and versions are not supported. Please specify a function ARN."
            )
        return reference.name

    def _found(self, name: FunctionName, record: FunctionRecord | None) -> FunctionRecord:
        if record is None:
            raise ResourceNotFound(f"Function not found: {self._endpoint.arn(name)}")
        return record


def changed_tags(tags: Mapping[str, str], added: Mapping[str, str], removed: frozenset[str]) -> dict[str, str]:
    """The tags after a change, if there are not too many."""
    kept = {key: value for key, value in tags.items() if key not in removed}
    return dict(checked_tags({**kept, **added}))
