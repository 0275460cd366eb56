"""EventBridge's operations on event buses, and on the tags of buses and rules.

Source: Amazon EventBridge API reference.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace

from hearth.core.errors import ResourceNotFound
from hearth_gateway.bus.catalogue import Catalogue
from hearth_gateway.core.bus_rule import DEFAULT_BUS, Bus, Rule, bus_arn, rule_arn
from hearth_gateway.neighbours.calls import Call, Conditions, Handler, Members
from hearth_gateway.neighbours.events_answers import (
    already_exists,
    bus_name,
    check_tags,
    invalid,
    limit_exceeded,
    page,
    refuse,
    resource_conditions,
    shown_tags,
    tag_conditions,
    tags_of,
    without_none,
)

MAX_BUSES = 100
_NOT_KEPT = ("EventSourceName", "KmsKeyIdentifier", "LogConfig", "DeadLetterConfig")
_BUS_MARK, _RULE_MARK = ":event-bus/", ":rule/"


class BusOperations:
    """The operations on buses and tags."""

    def __init__(self, catalogue: Catalogue, now_ms: Callable[[], int]) -> None:
        self._catalogue = catalogue
        self._now_ms = now_ms

    def handlers(self) -> Mapping[str, Handler]:
        return {
            "CreateEventBus": self._create,
            "DeleteEventBus": self._delete,
            "DescribeEventBus": self._describe,
            "ListEventBuses": self._list,
            "UpdateEventBus": self._update,
            "TagResource": self._tag,
            "UntagResource": self._untag,
            "ListTagsForResource": self._list_tags,
        }

    async def _create(self, call: Call) -> Members:
        name, tags = call["Name"], tags_of(call.get("Tags"))
        call.allow("events:CreateEventBus", self._arn(name), tag_conditions(tags))
        refuse(call, *_NOT_KEPT)
        if "/" in name:
            raise invalid("Event bus name must not contain '/'.")
        async with self._catalogue.changing:
            if self._catalogue.find_bus(name) is not None:
                raise already_exists(f"Event bus {name} already exists.")
            if len(self._catalogue.buses()) >= MAX_BUSES:
                raise limit_exceeded()
            now_ms = self._now_ms()
            await self._catalogue.put(Bus(name, now_ms, now_ms, call.get("Description"), tags=tags))
        return without_none({"EventBusArn": self._arn(name), "Description": call.get("Description")})

    async def _delete(self, call: Call) -> Members:
        name = call["Name"]
        self._allow(call, "DeleteEventBus", name)
        if name == DEFAULT_BUS:
            raise invalid("Cannot delete event bus default.")
        async with self._catalogue.changing:
            bus = self._catalogue.find_bus(name)
            if bus is not None:
                if self._catalogue.rules(name):
                    raise invalid(f"Event bus {name} can't be deleted since it has rules.")
                await self._catalogue.remove(bus)
        return {}

    async def _describe(self, call: Call) -> Members:
        name = bus_name(call.get("Name"))
        self._allow(call, "DescribeEventBus", name)
        return self._shown(self._catalogue.bus(name))

    async def _list(self, call: Call) -> Members:
        call.allow("events:ListEventBuses", "*")
        prefix = call.get("NamePrefix", "")
        found = [(bus.name, bus) for bus in self._catalogue.buses() if bus.name.startswith(prefix)]
        shown, following = page(call, found, self._shown)
        return {"EventBuses": shown, **following}

    async def _update(self, call: Call) -> Members:
        name = bus_name(call.get("Name"))
        self._allow(call, "UpdateEventBus", name)
        refuse(call, *_NOT_KEPT)
        async with self._catalogue.changing:
            bus = replace(self._catalogue.bus(name), description=call.get("Description"), modified_ms=self._now_ms())
            await self._catalogue.put(bus)
        return without_none({"Arn": self._arn(name), "Name": name, "Description": bus.description})

    def _shown(self, bus: Bus) -> Members:
        return without_none(
            {
                "Name": bus.name,
                "Arn": self._arn(bus.name),
                "Description": bus.description,
                "CreationTime": bus.created_ms / 1000,
                "LastModifiedTime": bus.modified_ms / 1000,
            }
        )

    # -- tags ------------------------------------------------------------------------------------------------------

    async def _tag(self, call: Call) -> Members:
        added = tags_of(call["Tags"])
        self._allow_tagging(call, "TagResource", tag_conditions(added))
        async with self._catalogue.changing:
            found = self._tagged(call["ResourceARN"])
            await self._retag(found, {**found.tags, **added})
        return {}

    async def _untag(self, call: Call) -> Members:
        gone = tuple(call["TagKeys"])
        self._allow_tagging(call, "UntagResource", {"aws:TagKeys": gone})
        async with self._catalogue.changing:
            found = self._tagged(call["ResourceARN"])
            await self._retag(found, {key: value for key, value in found.tags.items() if key not in gone})
        return {}

    async def _list_tags(self, call: Call) -> Members:
        self._allow_tagging(call, "ListTagsForResource", {})
        return {"Tags": shown_tags(self._tagged(call["ResourceARN"]).tags)}

    async def _retag(self, found: Bus | Rule, tags: Mapping[str, str]) -> None:
        check_tags(tags)
        await self._catalogue.put(replace(found, tags=tags))

    def _tagged(self, arn: str) -> Bus | Rule:
        """The bus or rule of an ARN. Raises ResourceNotFound."""
        bus, rule = _named(arn)
        return self._catalogue.bus(bus) if rule is None else self._catalogue.rule(bus, rule)

    def _allow_tagging(self, call: Call, operation: str, conditions: Conditions) -> None:
        """What is judged is the ARN that this platform has for it, whatever region the caller's ARN says."""
        bus, rule = _named(call["ResourceARN"])
        arn = self._arn(bus) if rule is None else rule_arn(self._catalogue.place, bus, rule)
        try:
            tags = self._tagged(call["ResourceARN"]).tags
        except ResourceNotFound:
            tags = {}
        call.allow(f"events:{operation}", arn, {**resource_conditions(tags), **conditions})

    def _allow(self, call: Call, operation: str, name: str) -> None:
        bus = self._catalogue.find_bus(name)
        call.allow(f"events:{operation}", self._arn(name), resource_conditions(bus.tags if bus else {}))

    def _arn(self, name: str) -> str:
        return bus_arn(self._catalogue.place, name)


def _named(arn: str) -> tuple[str, str | None]:
    """The bus and the rule that an ARN names; no rule where it names a bus."""
    if _BUS_MARK in arn:
        return arn.partition(_BUS_MARK)[2], None
    if _RULE_MARK in arn:
        bus, _, name = arn.partition(_RULE_MARK)[2].rpartition("/")
        return bus or DEFAULT_BUS, name
    raise invalid("Parameter ResourceARN is not valid. Reason: Provided Arn is not in correct format.")
