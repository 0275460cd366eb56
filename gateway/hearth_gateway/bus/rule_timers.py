"""Rules with a schedule: each enabled one has a timer, which sends `Scheduled Event` to the rule's targets.

Source: "Creating a rule that runs on a schedule", Amazon EventBridge user guide.
"""

from collections.abc import Sequence
from functools import partial

import structlog

from hearth_gateway.core.bus_event import Place, event_of
from hearth_gateway.core.bus_rule import ReadyRule, parcels
from hearth_gateway.core.firing import Firing, Timer
from hearth_gateway.core.parcel import Parcel
from hearth_gateway.core.schedule_expression import InvalidExpression, parse_rule_expression
from hearth_gateway.schedules.ports import Timers, TimersUnavailable


class RuleTimers:
    """Keeps the timers in step with the rules."""

    def __init__(self, timers: Timers, place: Place) -> None:
        self._timers = timers
        self._place = place

    async def follow(self, arn: str, rule: ReadyRule | None) -> None:
        """See `catalogue.Follower`."""
        schedule = rule.rule.schedule if rule is not None and rule.rule.is_enabled else None
        if rule is None or schedule is None:
            await self._remove(arn)
            return
        try:
            expression = parse_rule_expression(schedule)
        except InvalidExpression as error:  # it was checked when the rule was made
            structlog.get_logger().error("schedule of a rule unreadable", rule=arn, error=str(error))
            return
        since_ms = rule.rule.enabled_ms
        self._timers.put(Timer(arn, expression, since_ms=since_ms, anchor_ms=since_ms), partial(self._fired, rule))

    async def _remove(self, arn: str) -> None:
        try:
            await self._timers.remove(arn)
        except TimersUnavailable as error:
            # It fires no more; what stays behind is a mark, which is older than a rule that comes back.
            structlog.get_logger().warning("the mark of a timer stays", rule=arn, error=str(error))

    def _fired(self, rule: ReadyRule, firing: Firing) -> Sequence[Parcel]:
        event = event_of(
            firing.id,
            self._place,
            firing.scheduled_ms,
            source="aws.events",
            detail_type="Scheduled Event",
            detail={},
            resources=[rule.arn],
        )
        return tuple(parcels(rule, event, firing.fired_ms, was_forwarded=False))
