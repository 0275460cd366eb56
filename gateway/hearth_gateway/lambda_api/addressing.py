"""Finds the function that a request addresses, or says in the service's words why there is none."""

from typing import Any

from hearth.core.errors import InvalidParameterValue
from hearth.core.function import LATEST, FunctionName
from hearth.core.records import FunctionRecord
from hearth.registry import Registry
from hearth_gateway.core import names
from hearth_gateway.core.answers import decode_marker, encode_marker
from hearth_gateway.core.endpoint import Endpoint
from hearth_gateway.core.names import FunctionReference

PAGE_LIMIT = 50
"""Items of one page, whatever `MaxItems` asks for."""


class Addressing:
    """The registry as requests see it."""

    def __init__(self, registry: Registry, endpoint: Endpoint) -> None:
        self._registry = registry
        self._endpoint = endpoint

    def reference(self, parameters: dict[str, Any]) -> FunctionReference:
        """The function as addressed, the query's qualifier joined in."""
        endpoint = self._endpoint
        reference = names.parse_function_name(parameters["FunctionName"], endpoint.region, endpoint.account)
        return names.qualified(reference, parameters.get("Qualifier"))

    def name(self, parameters: dict[str, Any]) -> FunctionName:
        """The bare name, for operations on all versions together."""
        return names.function_level(self.reference(parameters))

    def found(self, reference: FunctionReference, record: FunctionRecord | None) -> FunctionRecord:
        """The record, if it has what was addressed."""
        if record is None or reference.qualifier not in (None, LATEST):
            raise names.function_not_found(reference, self._endpoint.region, self._endpoint.account)
        return record

    def find(self, parameters: dict[str, Any]) -> tuple[FunctionRecord, str | None]:
        """The addressed function, and the qualifier it was addressed by."""
        reference = self.reference(parameters)
        return self.found(reference, self._registry.find(reference.name)), reference.qualifier

    def find_whole(self, parameters: dict[str, Any]) -> FunctionRecord:
        """The addressed function, for operations on all versions together."""
        reference = self.reference(parameters)
        names.function_level(reference)
        return self.found(reference, self._registry.find(reference.name))

    def page(self, parameters: dict[str, Any]) -> tuple[list[FunctionRecord], dict[str, str]]:
        """A page of functions in order of name, and the member that leads to the next, if there is one."""
        try:
            after = decode_marker(parameters.get("Marker", ""))
        except ValueError as error:
            raise InvalidParameterValue("Invalid Marker.") from error
        limit = min(parameters.get("MaxItems", PAGE_LIMIT), PAGE_LIMIT)
        records, more = self._registry.page(after, limit)
        return records, {} if more is None else {"NextMarker": encode_marker(more)}
