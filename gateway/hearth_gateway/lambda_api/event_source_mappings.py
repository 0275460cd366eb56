"""The operations on event source mappings.

Shapes are checked before a handler is called; here are the rules that need more than the shape. Create, Update and
Delete answer 202 with the whole mapping in a transitional state; tools then ask until it is Enabled, Disabled or gone.
Source: CreateEventSourceMapping and its siblings in the AWS Lambda API reference.
"""

import uuid
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

from hearth.core.arns import event_source_mapping_arn
from hearth.core.errors import InvalidParameterValue, ResourceNotFound
from hearth.registry import Registry
from hearth_gateway.core.mapping import (
    UNRECOGNIZED,
    EventSourceMapping,
    SourceKind,
    StartingPosition,
    is_own_form,
    kind_of,
    parse_source,
)
from hearth_gateway.core.mapping_rules import DEFAULT_BATCH_SIZE, checked, refuse_foreign
from hearth_gateway.core.mapping_state import State
from hearth_gateway.core.names import FunctionReference, parse_function_name
from hearth_gateway.core.paging import decode_marker, encode_marker
from hearth_gateway.lambda_api.api import Answer, LambdaApi, Parameters
from hearth_gateway.lambda_api.tags import changed_tags
from hearth_gateway.sources.ports import NO_RECORDS
from hearth_gateway.sources.supervisor import EventSources

MAX_PAGE = 100
"""Mappings per page, whatever MaxItems asks for."""

_ECHOED = ("KMSKeyArn", "MetricsConfig", "LoggingConfig")
"""Stored and shown as sent."""

_PLAIN = {
    "MaximumBatchingWindowInSeconds": "window_s",
    "MaximumRetryAttempts": "retry_attempts",
    "MaximumRecordAgeInSeconds": "maximum_record_age_s",
    "ParallelizationFactor": "parallelization_factor",
    "BisectBatchOnFunctionError": "is_bisecting",
    "TumblingWindowInSeconds": "tumbling_window_s",
}
"""Members that are kept as they come."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where this Hearth is, and what its sources may connect to."""

    region: str
    account: str
    connections: Collection[str]


class EventSourceMappings:
    """The five operations, over the catalogue of sources."""

    def __init__(self, sources: EventSources, registry: Registry, place: Place, *, now_ms: Callable[[], int]) -> None:
        self._sources = sources
        self._registry = registry
        self._place = place
        self._now_ms = now_ms

    def register(self, api: LambdaApi) -> None:
        """Make these handlers the API's."""
        api.register("CreateEventSourceMapping", self.create)
        api.register("GetEventSourceMapping", self.get)
        api.register("ListEventSourceMappings", self.list_page)
        api.register("UpdateEventSourceMapping", self.update)
        api.register("DeleteEventSourceMapping", self.delete)

    def tags_of(self, arn: str) -> Mapping[str, str]:
        """See `Tagged`."""
        return self._by_arn(arn).tags

    async def retag(self, arn: str, *, added: Mapping[str, str], removed: frozenset[str]) -> None:
        """See `Tagged`. Tags set how a source is read, so they obey the same rules as at creation."""
        mapping = self._by_arn(arn)
        tags = changed_tags(mapping.tags, added, removed)
        checked(replace(mapping, tags=tags), self._place.connections)
        await self._sources.retag(mapping.uuid, tags)

    async def create(self, parameters: Parameters) -> Answer:
        if not parameters.get("EventSourceArn"):
            raise InvalidParameterValue(UNRECOGNIZED)
        refuse_foreign(kind_of(parse_source(parameters["EventSourceArn"])), parameters)
        wanted = checked(_changed(self._blank(parameters), parameters), self._place.connections)
        self._function(parameters["FunctionName"])
        return 202, self._shown(await self._sources.create(wanted))

    async def get(self, parameters: Parameters) -> Answer:
        return 200, self._shown(self._sources.find(parameters["UUID"]))

    async def list_page(self, parameters: Parameters) -> Answer:
        limit = min(parameters.get("MaxItems", MAX_PAGE), MAX_PAGE)
        accept = self._filter(parameters.get("EventSourceArn"), parameters.get("FunctionName"))
        page, after = self._sources.page(_marked(parameters.get("Marker", "")), limit, accept)
        answer: dict[str, Any] = {"EventSourceMappings": [self._shown(mapping) for mapping in page]}
        return 200, answer if after is None else {"NextMarker": encode_marker(after), **answer}

    async def update(self, parameters: Parameters) -> Answer:
        # An unknown mapping is the first thing to say, before anything about the parameters.
        refuse_foreign(self._sources.find(parameters["UUID"]).kind, parameters)
        target = self._function(parameters["FunctionName"]) if "FunctionName" in parameters else None

        def change(before: EventSourceMapping) -> EventSourceMapping:
            moved = before if target is None else _aimed(before, target, self._place)
            return checked(_changed(moved, parameters), self._place.connections)

        after = await self._sources.update(parameters["UUID"], change, parameters.get("Enabled"))
        return 202, self._shown(after)

    async def delete(self, parameters: Parameters) -> Answer:
        return 202, self._shown(await self._sources.delete(parameters["UUID"]))

    def _blank(self, parameters: Parameters) -> EventSourceMapping:
        """A new mapping with every default."""
        own_id = str(uuid.uuid4())
        reference = parse_function_name(parameters["FunctionName"], self._place.account)
        return EventSourceMapping(
            uuid=own_id,
            arn=event_source_mapping_arn(self._place.region, self._place.account, own_id),
            function_name=reference.name,
            qualifier=reference.qualifier or "",
            function_arn=reference.arn(self._place.region, self._place.account),
            source_arn=parameters["EventSourceArn"],
            enabled=parameters.get("Enabled", True),
            state=State.CREATING,
            last_modified_ms=self._now_ms(),
            batch_size=DEFAULT_BATCH_SIZE[kind_of(parse_source(parameters["EventSourceArn"]))],
            tags=changed_tags({}, parameters.get("Tags", {}), frozenset()),
        )

    def _by_arn(self, arn: str) -> EventSourceMapping:
        try:
            return self._sources.find(arn.rpartition(":")[2])
        except ResourceNotFound as error:
            raise ResourceNotFound(f"Event source mapping not found: {arn}") from error

    def _function(self, name: str) -> FunctionReference:
        """The function a mapping is for, which must exist now; it may go later."""
        reference = parse_function_name(name, self._place.account)
        record = self._registry.find(reference.name)
        if record is None or record.find(reference.qualifier) is None:
            raise InvalidParameterValue("Function does not exist")
        return reference

    def _filter(self, source_arn: str | None, function: str | None) -> Callable[[EventSourceMapping], bool]:
        """What a list asks for. A bare function name means all of its qualifiers."""
        reference = parse_function_name(function, self._place.account) if function else None

        def accept(mapping: EventSourceMapping) -> bool:
            if source_arn and mapping.source_arn != source_arn:
                return False
            if reference is None:
                return True
            return mapping.function_name == reference.name and reference.qualifier in (None, mapping.qualifier)

        return accept

    def _shown(self, mapping: EventSourceMapping) -> dict[str, Any]:
        """EventSourceMappingConfiguration: members that were never set are left out, as the service does."""
        is_stream = mapping.kind is SourceKind.STREAM
        shown: dict[str, Any] = {
            "UUID": mapping.uuid,
            "BatchSize": mapping.batch_size,
            "MaximumBatchingWindowInSeconds": mapping.window_s,
            "EventSourceArn": mapping.source_arn,
            "EventSourceMappingArn": mapping.arn,
            "FunctionArn": mapping.function_arn,
            "FunctionResponseTypes": list(mapping.response_types),
            "LastModified": mapping.last_modified_ms / 1000,
            "State": mapping.state.value,
            "StateTransitionReason": "User action" if is_stream else "USER_INITIATED",
            **(_of_stream(mapping) if is_stream else _of_others(mapping)),
            **mapping.echoed,
        }
        if mapping.filters:
            shown["FilterCriteria"] = {"Filters": [{"Pattern": pattern} for pattern in mapping.filters]}
        if mapping.maximum_concurrency is not None:
            shown["ScalingConfig"] = {"MaximumConcurrency": mapping.maximum_concurrency}
        result = self._sources.last_result(mapping.uuid)
        # The service leaves this out for queues; a queue that has something to say is worth the exception.
        if result != NO_RECORDS or is_stream or is_own_form(mapping.source_arn):
            shown["LastProcessingResult"] = result
        return shown


def _of_stream(mapping: EventSourceMapping) -> dict[str, Any]:
    """What is shown of a stream, with its defaults."""
    shown: dict[str, Any] = {
        "BisectBatchOnFunctionError": mapping.is_bisecting,
        "DestinationConfig": {"OnFailure": _destination(mapping)},
        "MaximumRecordAgeInSeconds": _or_endless(mapping.maximum_record_age_s),
        "MaximumRetryAttempts": _or_endless(mapping.retry_attempts),
        "ParallelizationFactor": mapping.parallelization_factor,
        "TumblingWindowInSeconds": mapping.tumbling_window_s,
    }
    if mapping.starting_position is not None:
        shown["StartingPosition"] = mapping.starting_position.value
    if mapping.starting_position_ms is not None:
        shown["StartingPositionTimestamp"] = mapping.starting_position_ms / 1000
    return shown


def _of_others(mapping: EventSourceMapping) -> dict[str, Any]:
    shown: dict[str, Any] = {}
    if mapping.retry_attempts is not None:
        shown["MaximumRetryAttempts"] = mapping.retry_attempts
    if mapping.maximum_record_age_s is not None:
        shown["MaximumRecordAgeInSeconds"] = mapping.maximum_record_age_s
    if mapping.on_failure is not None:
        shown["DestinationConfig"] = {"OnFailure": _destination(mapping)}
    return shown


def _destination(mapping: EventSourceMapping) -> dict[str, Any]:
    return {} if mapping.on_failure is None else {"Destination": mapping.on_failure}


def _or_endless(value: int | None) -> int:
    return -1 if value is None else value


def _aimed(mapping: EventSourceMapping, target: FunctionReference, place: Place) -> EventSourceMapping:
    return replace(
        mapping,
        function_name=target.name,
        qualifier=target.qualifier or "",
        function_arn=target.arn(place.region, place.account),
    )


def _changed(mapping: EventSourceMapping, parameters: Parameters) -> EventSourceMapping:
    """The mapping with the members that were sent; an empty structure or list takes the setting back."""
    found: dict[str, Any] = {field: parameters[name] for name, field in _PLAIN.items() if name in parameters}
    if "BatchSize" in parameters:
        found["batch_size"] = parameters["BatchSize"] or DEFAULT_BATCH_SIZE[mapping.kind]
    if "FunctionResponseTypes" in parameters:
        found["response_types"] = tuple(parameters["FunctionResponseTypes"])
    if "FilterCriteria" in parameters:
        filters = parameters["FilterCriteria"].get("Filters") or ()
        found["filters"] = tuple(one.get("Pattern", "") for one in filters)
    if "ScalingConfig" in parameters:
        found["maximum_concurrency"] = parameters["ScalingConfig"].get("MaximumConcurrency")
    if "DestinationConfig" in parameters:
        on_failure = parameters["DestinationConfig"].get("OnFailure", {})
        found["on_failure"] = on_failure.get("Destination") or None
    if "StartingPosition" in parameters:
        found["starting_position"] = StartingPosition(parameters["StartingPosition"])
    if "StartingPositionTimestamp" in parameters:
        found["starting_position_ms"] = int(parameters["StartingPositionTimestamp"] * 1000)
    echoed = {name: parameters[name] for name in _ECHOED if name in parameters}
    return replace(mapping, **found, echoed={**mapping.echoed, **echoed})


def _marked(marker: str) -> str:
    try:
        return decode_marker(marker)
    except ValueError as error:
        raise InvalidParameterValue("The pagination token is not valid.") from error
