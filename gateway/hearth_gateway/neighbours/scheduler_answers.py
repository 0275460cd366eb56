"""What the operations of EventBridge Scheduler have in common: errors, pages, and schedules as members of answers.

Source: EventBridge Scheduler API reference.
"""

from collections.abc import Callable, Sequence
from typing import Any

from hearth_gateway.core.paging import Item, page_of
from hearth_gateway.core.parcel import DEFAULT_MAX_AGE_S, DEFAULT_RETRY_ATTEMPTS
from hearth_gateway.core.schedule import Schedule, ScheduleGroup
from hearth_gateway.neighbours.calls import Call, CallerError, Members

PAGE_SIZE = 100


def invalid(message: str) -> CallerError:
    return CallerError("ValidationException", message)


def conflict(message: str) -> CallerError:
    return CallerError("ConflictException", message, 409)


def not_found(message: str) -> CallerError:
    return CallerError("ResourceNotFoundException", message, 404)


def quota_exceeded(message: str) -> CallerError:
    return CallerError("ServiceQuotaExceededException", message, 402)


def page(call: Call, items: Sequence[Item], key: Callable[[Item], str]) -> tuple[Sequence[Item], Members]:
    """The items of the page that a request asks for, and the member that leads to the next. Keys are in order."""
    try:
        found = ((key(item), item) for item in items)
        shown, following = page_of(found, call.get("NextToken"), call.get("MaxResults", PAGE_SIZE))
    except ValueError as error:
        raise invalid("Invalid NextToken provided.") from error
    return shown, {} if following is None else {"NextToken": following}


def schedule_members(schedule: Schedule) -> Members:
    """`GetSchedule`'s answer. A retry policy is there also when none was given."""
    default = {"MaximumEventAgeInSeconds": DEFAULT_MAX_AGE_S, "MaximumRetryAttempts": DEFAULT_RETRY_ATTEMPTS}
    retry_policy = {**default, **schedule.target.get("RetryPolicy", {})}
    window: dict[str, Any] = {"Mode": "OFF"}
    if schedule.window_min is not None:
        window = {"Mode": "FLEXIBLE", "MaximumWindowInMinutes": schedule.window_min}
    members = {
        **_dated(schedule),
        "Arn": schedule.arn,
        "Name": schedule.name,
        "GroupName": schedule.group,
        "ScheduleExpression": schedule.expression,
        "ScheduleExpressionTimezone": schedule.zone,
        "State": schedule.state.value,
        "FlexibleTimeWindow": window,
        "ActionAfterCompletion": "DELETE" if schedule.is_deleted_after_completion else "NONE",
        "Target": {**schedule.target, "RetryPolicy": retry_policy},
        "Description": schedule.description,
        "KmsKeyArn": schedule.kms_key_arn,
        "StartDate": None if schedule.start_ms is None else schedule.start_ms / 1000,
        "EndDate": None if schedule.end_ms is None else schedule.end_ms / 1000,
    }
    return {name: value for name, value in members.items() if value is not None}


def schedule_summary(schedule: Schedule) -> Members:
    """An item of `ListSchedules`."""
    return {
        **_dated(schedule),
        "Arn": schedule.arn,
        "Name": schedule.name,
        "GroupName": schedule.group,
        "State": schedule.state.value,
        "Target": {"Arn": schedule.target["Arn"]},
    }


def group_members(group: ScheduleGroup, arn: str) -> Members:
    """`GetScheduleGroup`'s answer, and an item of `ListScheduleGroups`."""
    return {**_dated(group), "Arn": arn, "Name": group.name, "State": "ACTIVE"}


def _dated(one: Schedule | ScheduleGroup) -> Members:
    return {"CreationDate": one.created_ms / 1000, "LastModificationDate": one.modified_ms / 1000}
