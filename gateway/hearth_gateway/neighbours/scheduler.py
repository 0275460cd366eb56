"""EventBridge Scheduler: the operations on schedules, and the service as a whole.

Source: `CreateSchedule` and its kin in the EventBridge Scheduler API reference.
"""

from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from hearth_gateway.core.addresses import served
from hearth_gateway.core.schedule import DEFAULT_GROUP, InvalidTarget, Schedule, ScheduleState, check_target
from hearth_gateway.core.schedule_expression import InvalidExpression, Once, parse_expression
from hearth_gateway.neighbours import scheduler_answers as answers
from hearth_gateway.neighbours.calls import Call, Handler, Members
from hearth_gateway.neighbours.scheduler_groups import ScheduleGroupOperations
from hearth_gateway.neighbours.scheduler_protocol import SchedulerProtocol
from hearth_gateway.neighbours.scheduler_roles import ExecutionRoles
from hearth_gateway.schedules.book import ScheduleBook, changed
from hearth_gateway.schedules.zones import UnknownZone, zone_named

MAX_SCHEDULES = 1_000_000
EARLIEST_START_MS = 300_000
REMEMBERED_DELETIONS = 1_000


def scheduler_service(book: ScheduleBook, roles: ExecutionRoles, now_ms: Callable[[], int]) -> SchedulerProtocol:
    """The service, ready to be asked."""
    schedules, groups = ScheduleOperations(book, roles, now_ms), ScheduleGroupOperations(book, now_ms)
    return SchedulerProtocol({**schedules.handlers(), **groups.handlers()})


class ScheduleOperations:
    """Schedules. `_deleted` remembers the tokens of deletions, so that one whose answer was lost can be repeated."""

    def __init__(self, book: ScheduleBook, roles: ExecutionRoles, now_ms: Callable[[], int]) -> None:
        self._book = book
        self._roles = roles
        self._now_ms = now_ms
        self._deleted: OrderedDict[str, None] = OrderedDict()

    def handlers(self) -> Mapping[str, Handler]:
        return {
            "CreateSchedule": self._create,
            "GetSchedule": self._get,
            "UpdateSchedule": self._update,
            "DeleteSchedule": self._delete,
            "ListSchedules": self._list,
        }

    async def _create(self, call: Call) -> Members:
        group, name = call.get("GroupName", DEFAULT_GROUP), call["Name"]
        call.allow("scheduler:CreateSchedule", self._arn(group, name))
        async with self._book.changing:
            wanted = self._wanted(call)
            self._check_group(group)
            found = self._book.schedule(group, name)
            if found is not None and not _is_repeated(found, wanted):
                raise answers.conflict(f"Schedule {name} already exists.")
            if found is None:
                _check_start(wanted, self._now_ms())
                if len(self._book.schedules()) >= MAX_SCHEDULES:
                    raise answers.quota_exceeded("The number of schedules has reached its quota.")
                await self._book.put(wanted)
        return {"ScheduleArn": wanted.arn}

    async def _get(self, call: Call) -> Members:
        return answers.schedule_members(self._permitted(call, "GetSchedule"))

    async def _update(self, call: Call) -> Members:
        """What is not given is back at its default: that is how the service does it."""
        async with self._book.changing:
            before = self._permitted(call, "UpdateSchedule")
            wanted = self._wanted(call)
            if wanted.start_ms != before.start_ms:
                _check_start(wanted, self._now_ms())
            await self._book.put(changed(before, wanted, self._now_ms()))
        return {"ScheduleArn": wanted.arn}

    async def _delete(self, call: Call) -> Members:
        group, name = call.get("GroupName", DEFAULT_GROUP), call["Name"]
        attempt = f"{group}/{name} {call.get('ClientToken', '')}"
        async with self._book.changing:
            if self._book.schedule(group, name) is None and attempt in self._deleted:
                call.allow("scheduler:DeleteSchedule", self._arn(group, name))
                return {}
            await self._book.delete(self._permitted(call, "DeleteSchedule"))
        if call.get("ClientToken"):
            self._deleted[attempt] = None
            if len(self._deleted) > REMEMBERED_DELETIONS:
                self._deleted.popitem(last=False)
        return {}

    async def _list(self, call: Call) -> Members:
        group, prefix, state = call.get("GroupName"), call.get("NamePrefix", ""), call.get("State")
        call.allow("scheduler:ListSchedules", self._arn(group or "*", "*"))
        if group is not None:
            self._check_group(group)
        found = [
            schedule
            for schedule in self._book.schedules()
            if group in (None, schedule.group)
            and schedule.name.startswith(prefix)
            and state in (None, schedule.state.value)
        ]
        items, more = answers.page(call, found, _order)
        return {"Schedules": [answers.schedule_summary(schedule) for schedule in items], **more}

    # Reading requests

    def _permitted(self, call: Call, operation: str) -> Schedule:
        """The schedule, once the caller may do that to it. Who may not is told that, whether or not it is there."""
        group, name = call.get("GroupName", DEFAULT_GROUP), call["Name"]
        call.allow(f"scheduler:{operation}", self._arn(group, name))
        self._check_group(group)
        schedule = self._book.schedule(group, name)
        if schedule is None:
            raise answers.not_found(f"Schedule {name} does not exist.")
        return schedule

    def _check_group(self, name: str) -> None:
        if self._book.group(name) is None:
            raise answers.not_found(f"Schedule group {name} does not exist.")

    def _wanted(self, call: Call) -> Schedule:
        """The schedule that a request describes, as if it were made now."""
        group, name = call.get("GroupName", DEFAULT_GROUP), call["Name"]
        zone = call.get("ScheduleExpressionTimezone", "UTC")
        _check_times(call["ScheduleExpression"], zone)
        start_ms, end_ms = _ms(call.get("StartDate")), _ms(call.get("EndDate"))
        if start_ms is not None and end_ms is not None and end_ms < start_ms:
            raise answers.invalid("The StartDate must come before, or equal, the EndDate.")
        target = call["Target"]
        now_ms = self._now_ms()
        since_ms = now_ms - now_ms % 1000
        return Schedule(
            name,
            group,
            self._arn(group, name),
            call["ScheduleExpression"],
            target,
            created_ms=now_ms,
            modified_ms=now_ms,
            since_ms=since_ms,
            anchor_ms=since_ms if start_ms is None else start_ms,
            zone=zone,
            state=ScheduleState(call.get("State", "ENABLED")),
            description=call.get("Description"),
            start_ms=start_ms,
            end_ms=end_ms,
            window_min=_window(call["FlexibleTimeWindow"]),
            is_deleted_after_completion=call.get("ActionAfterCompletion") == "DELETE",
            is_by_maker=self._check_target(call, target),
            kms_key_arn=call.get("KmsKeyArn"),
            client_token=call.get("ClientToken", ""),
        )

    def _check_target(self, call: Call, target: Mapping[str, Any]) -> bool:
        try:
            action, resource = check_target(target, self._book.place)
        except InvalidTarget as error:
            raise answers.invalid(str(error)) from error
        is_by_maker = self._roles.permit(call, target["RoleArn"], action, resource)
        dead_letters = target.get("DeadLetterConfig", {}).get("Arn")
        if dead_letters:
            queue = served(dead_letters, self._book.place.region, self._book.place.account)
            self._roles.permit_dead_letters(call, target["RoleArn"], queue)
        return is_by_maker

    def _arn(self, group: str, name: str) -> str:
        place = self._book.place
        return f"arn:aws:scheduler:{place.region}:{place.account}:schedule/{group}/{name}"


def _order(schedule: Schedule) -> str:
    """Sorts as pairs of group and name do: no name has a space."""
    return f"{schedule.group} {schedule.name}"


def _is_repeated(found: Schedule, wanted: Schedule) -> bool:
    """Whether a request to create asks again for what it made, because its answer was lost."""
    return bool(wanted.client_token) and _timeless(found) == _timeless(wanted)


def _timeless(schedule: Schedule) -> Schedule:
    return replace(schedule, created_ms=0, modified_ms=0, since_ms=0, anchor_ms=0)


def _check_times(expression: str, zone: str) -> None:
    try:
        parse_expression(expression)
    except InvalidExpression as error:
        raise answers.invalid(f"Invalid Schedule Expression {expression}.") from error
    try:
        zone_named(zone)
    except UnknownZone as error:
        raise answers.invalid("The provided timezone is not supported.") from error


def _check_start(schedule: Schedule, now_ms: int) -> None:
    if schedule.start_ms is None or isinstance(parse_expression(schedule.expression), Once):
        return  # a single time has no start, whatever is said
    if schedule.start_ms < now_ms - EARLIEST_START_MS:
        raise answers.invalid("The StartDate you specify cannot be earlier than 5 minutes ago.")


def _ms(seconds: float | None) -> int | None:
    return None if seconds is None else int(seconds * 1000)


def _window(window: Mapping[str, Any]) -> int | None:
    minutes: int | None = window.get("MaximumWindowInMinutes")
    if window["Mode"] == "OFF":
        if minutes is not None:
            raise answers.invalid("MaximumWindowInMinutes must not be provided when FlexibleTimeWindow Mode is OFF.")
        return None
    if minutes is None:
        raise answers.invalid("MaximumWindowInMinutes must be provided when FlexibleTimeWindow Mode is FLEXIBLE.")
    return minutes
