"""EventBridge's operations on rules.

Rule: PutRule replaces everything but a rule's targets and tags: what is left out is gone.
Source: Amazon EventBridge API reference.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace

from hearth_gateway.bus.catalogue import Catalogue
from hearth_gateway.core.bus_rule import DEFAULT_BUS, Rule, RuleState, rule_arn
from hearth_gateway.core.event_pattern import InvalidPattern, compile_pattern
from hearth_gateway.core.schedule_expression import InvalidExpression, parse_rule_expression
from hearth_gateway.neighbours.calls import Call, Handler, Members
from hearth_gateway.neighbours.events_answers import (
    bus_name,
    invalid,
    invalid_pattern,
    limit_exceeded,
    page,
    pass_role,
    resource_conditions,
    tag_conditions,
    tags_of,
    without_none,
)

MAX_RULES = 300
"""Of one bus; the service's own quota."""


class RuleOperations:
    """The operations on rules."""

    def __init__(self, catalogue: Catalogue, now_ms: Callable[[], int]) -> None:
        self._catalogue = catalogue
        self._now_ms = now_ms

    def handlers(self) -> Mapping[str, Handler]:
        return {
            "PutRule": self._put,
            "DescribeRule": self._describe,
            "ListRules": self._list,
            "EnableRule": self._enable,
            "DisableRule": self._disable,
            "DeleteRule": self._delete,
            "ListRuleNamesByTarget": self._names_by_target,
        }

    async def _put(self, call: Call) -> Members:
        bus, name, tags = bus_name(call.get("EventBusName")), call["Name"], tags_of(call.get("Tags"))
        arn = self._allow(call, "PutRule", bus, name)
        if tags:
            call.allow("events:TagResource", arn, tag_conditions(tags))
        pass_role(call, call.get("RoleArn"))
        pattern, schedule = call.get("EventPattern") or None, call.get("ScheduleExpression") or None
        _check(pattern, schedule, bus)
        async with self._catalogue.changing:
            self._catalogue.bus(bus)
            before = self._catalogue.find_rule(bus, name)
            if before is None and len(self._catalogue.ready_rules(bus)) >= MAX_RULES:
                raise limit_exceeded()
            await self._catalogue.put(self._changed(call, before or Rule(name, bus, self._now_ms(), tags=tags)))
        return {"RuleArn": arn}

    def _changed(self, call: Call, before: Rule) -> Rule:
        state = RuleState(call.get("State", RuleState.ENABLED.value))
        schedule = call.get("ScheduleExpression") or None
        fresh = replace(
            before,
            state=state,
            pattern=call.get("EventPattern") or None,
            schedule=schedule,
            description=call.get("Description"),
            role_arn=call.get("RoleArn"),
        )
        if schedule != before.schedule or not before.is_enabled:
            return replace(fresh, enabled_ms=self._now_ms())
        return fresh

    async def _describe(self, call: Call) -> Members:
        bus, name = self._asked(call, "DescribeRule")
        return {**self._shown(self._catalogue.rule(bus, name)), "CreatedBy": self._catalogue.place.account}

    async def _list(self, call: Call) -> Members:
        call.allow("events:ListRules", "*")
        bus, prefix = bus_name(call.get("EventBusName")), call.get("NamePrefix", "")
        self._catalogue.bus(bus)
        found = [(rule.name, rule) for rule in self._catalogue.rules(bus) if rule.name.startswith(prefix)]
        shown, following = page(call, found, self._shown)
        return {"Rules": shown, **following}

    async def _enable(self, call: Call) -> Members:
        return await self._switch(call, "EnableRule", RuleState.ENABLED)

    async def _disable(self, call: Call) -> Members:
        return await self._switch(call, "DisableRule", RuleState.DISABLED)

    async def _switch(self, call: Call, operation: str, state: RuleState) -> Members:
        bus, name = self._asked(call, operation)
        async with self._catalogue.changing:
            rule = self._catalogue.rule(bus, name)
            if rule.state is not state:
                enabled_ms = rule.enabled_ms if rule.is_enabled else self._now_ms()
                await self._catalogue.put(replace(rule, state=state, enabled_ms=enabled_ms))
        return {}

    async def _delete(self, call: Call) -> Members:
        bus, name = self._asked(call, "DeleteRule")
        async with self._catalogue.changing:
            self._catalogue.bus(bus)
            rule = self._catalogue.find_rule(bus, name)
            if rule is not None:
                if rule.targets:
                    raise invalid("Rule can't be deleted since it has targets.")
                await self._catalogue.remove(rule)
        return {}

    async def _names_by_target(self, call: Call) -> Members:
        call.allow("events:ListRuleNamesByTarget", "*")
        bus, wanted = bus_name(call.get("EventBusName")), call["TargetArn"]
        self._catalogue.bus(bus)
        found = [
            (rule.name, rule.name)
            for rule in self._catalogue.rules(bus)
            if any(target.arn == wanted for target in rule.targets)
        ]
        names, following = page(call, found, str)
        return {"RuleNames": names, **following}

    def _shown(self, rule: Rule) -> Members:
        return without_none(
            {
                "Name": rule.name,
                "Arn": rule_arn(self._catalogue.place, rule.bus, rule.name),
                "EventPattern": rule.pattern,
                "ScheduleExpression": rule.schedule,
                "State": rule.state.value,
                "Description": rule.description,
                "RoleArn": rule.role_arn,
                "EventBusName": rule.bus,
            }
        )

    def _asked(self, call: Call, operation: str) -> tuple[str, str]:
        """The bus and the name of the rule in a request, which is allowed."""
        bus, name = bus_name(call.get("EventBusName")), call["Name"]
        self._allow(call, operation, bus, name)
        return bus, name

    def _allow(self, call: Call, operation: str, bus: str, name: str) -> str:
        return allow_rule(self._catalogue, call, operation, bus=bus, name=name)


def allow_rule(catalogue: Catalogue, call: Call, operation: str, *, bus: str, name: str) -> str:
    """Refuse who may not do this with the rule; gives its ARN."""
    arn = rule_arn(catalogue.place, bus, name)
    rule = catalogue.find_rule(bus, name)
    call.allow(f"events:{operation}", arn, resource_conditions(rule.tags if rule else {}))
    return arn


def _check(pattern: str | None, schedule: str | None, bus: str) -> None:
    if pattern is None and schedule is None:
        raise invalid("Parameter(s) EventPattern or ScheduleExpression must be specified.")
    if schedule is not None and bus != DEFAULT_BUS:
        raise invalid("ScheduleExpression is supported only on the default event bus.")
    try:
        if pattern is not None:
            compile_pattern(pattern)
        if schedule is not None:
            parse_rule_expression(schedule)
    except InvalidPattern as error:
        raise invalid_pattern(error) from error
    except InvalidExpression as error:
        raise invalid("Parameter ScheduleExpression is not valid.") from error
