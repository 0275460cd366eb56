"""Finds the function that a request addresses, or says in the service's words why there is none."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from hearth.core.errors import InvalidParameterValue
from hearth.core.function import LATEST, FunctionName
from hearth.core.records import FunctionRecord, VersionRecord
from hearth.registry import Registry
from hearth_gateway.core import names, versions
from hearth_gateway.core.endpoint import Endpoint
from hearth_gateway.core.names import FunctionReference


class Addressed(NamedTuple):
    """What a request addressed: a version, and the qualifier that led to it, if there was one."""

    record: FunctionRecord
    version: VersionRecord
    qualifier: str | None


class Addressing:
    """The registry as requests see it."""

    def __init__(self, registry: Registry, endpoint: Endpoint) -> None:
        self._registry = registry
        self._endpoint = endpoint

    def reference(self, parameters: Mapping[str, Any]) -> FunctionReference:
        """The function as addressed, the query's qualifier joined in."""
        endpoint = self._endpoint
        reference = names.parse_function_name(parameters["FunctionName"], endpoint.account)
        return names.qualified(reference, parameters.get("Qualifier"))

    def name(self, parameters: Mapping[str, Any]) -> FunctionName:
        """The bare name, for operations on all versions together."""
        return names.function_level(self.reference(parameters))

    def found(self, reference: FunctionReference, record: FunctionRecord | None) -> FunctionRecord:
        """The record, if it has what was addressed."""
        if record is None or record.find(reference.qualifier) is None:
            raise names.function_not_found(reference, self._endpoint.region, self._endpoint.account)
        return record

    def find(self, parameters: Mapping[str, Any]) -> Addressed:
        """The addressed version. An alias leads to its own one, whatever its weights."""
        reference = self.reference(parameters)
        record = self.found(reference, self._registry.find(reference.name))
        version = record.find(reference.qualifier)
        assert version is not None
        return Addressed(record, version, reference.qualifier)

    def find_whole(self, parameters: Mapping[str, Any]) -> FunctionRecord:
        """The addressed function, for operations on all versions together."""
        reference = self.reference(parameters)
        names.function_level(reference)
        return self.found(reference, self._registry.find(reference.name))

    @asynccontextmanager
    async def writing(self, parameters: Mapping[str, Any]) -> AsyncIterator[FunctionRecord]:
        """Be the only writer of the addressed function, for operations on all versions together."""
        reference = self.reference(parameters)
        names.function_level(reference)
        async with self._registry.writing(reference.name) as found:
            yield self.found(reference, found)

    @asynccontextmanager
    async def changing(self, parameters: Mapping[str, Any]) -> AsyncIterator[FunctionRecord]:
        """Be the only writer of the addressed function, if its `$LATEST` can be changed or published now."""
        reference = self.reference(parameters)
        if reference.qualifier not in (None, LATEST):
            raise InvalidParameterValue(names.NOT_WHOLE)
        async with self._registry.writing(reference.name) as found:
            record = self.found(reference, found)
            versions.check_revision(record.latest.revision_id, parameters.get("RevisionId"))
            versions.check_settled(record)
            yield record
