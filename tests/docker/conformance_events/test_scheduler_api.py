"""Every operation of the EventBridge Scheduler API by boto3, its answers held against the model, its errors against
the documentation.

Source: EventBridge Scheduler API reference.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import botocore.session
import pytest
from tests.docker.conformance_events import exchanges
from tests.docker.conformance_events.exchanges import (
    Exchanges,
    Refusal,
    excessive,
    incomplete,
    mistyped,
    plain,
    refused,
)
from tests.docker.house import ROLE, House, unique

pytestmark = pytest.mark.docker

MODEL = botocore.session.get_session().get_service_model("scheduler")
NOT_HERE: tuple[str, ...] = ()
STEM = "arn:aws:scheduler:us-east-1:000000000000:"
QUEUE = "arn:aws:sqs:us-east-1:000000000000:nobody-made-this"
TARGET = {"Arn": QUEUE, "RoleArn": ROLE}
OFF = {"Mode": "OFF"}
SENSIBLE: dict[str, Any] = {"ScheduleExpression": "rate(7 days)", "Target": TARGET, "FlexibleTimeWindow": OFF}


@dataclass
class Stage:
    """A Hearth, and a client whose exchanges are listened to."""

    hearth: House
    api: Any

    def group(self) -> str:
        name = unique("group")
        self.api.create_schedule_group(Name=name)
        return name

    def schedule(self, **more: Any) -> str:
        name = unique("schedule")
        self.api.create_schedule(**{"Name": name, **SENSIBLE, **more})
        return name


@pytest.fixture(scope="module")
def stage(hearth: House) -> Stage:
    return Stage(hearth, None)


@pytest.fixture
def exchange(stage: Stage) -> Iterator[Exchanges]:
    yield from exchanges.heard(stage, "scheduler")


Drive = Callable[[Stage], Any]


def _schedules(on: Stage) -> None:
    group, start = on.group(), datetime.now(UTC).replace(microsecond=0) + timedelta(days=1)
    target = {
        "Arn": f"{QUEUE}.fifo",
        "RoleArn": ROLE,
        "Input": '{"at": "<aws.scheduler.scheduled-time>"}',
        "DeadLetterConfig": {"Arn": QUEUE},
        "RetryPolicy": {"MaximumEventAgeInSeconds": 60, "MaximumRetryAttempts": 0},
        "SqsParameters": {"MessageGroupId": "g"},
    }
    wanted = {
        "GroupName": group,
        "ScheduleExpression": "cron(0 12 ? * MON-FRI *)",
        "ScheduleExpressionTimezone": "Europe/Zurich",
        "StartDate": start,
        "EndDate": start + timedelta(days=9),
        "Description": "d",
        "State": "DISABLED",
        "Target": target,
        "FlexibleTimeWindow": {"Mode": "FLEXIBLE", "MaximumWindowInMinutes": 15},
        "ActionAfterCompletion": "DELETE",
    }
    made = on.api.create_schedule(Name="a", ClientToken="token", **wanted)
    assert on.api.create_schedule(Name="a", ClientToken="token", **wanted)["ScheduleArn"] == made["ScheduleArn"]
    assert made["ScheduleArn"] == f"{STEM}schedule/{group}/a"
    shown = on.api.get_schedule(Name="a", GroupName=group)
    assert {name: shown[name] for name in wanted} == wanted
    on.api.update_schedule(Name="a", GroupName=group, ClientToken="other", **SENSIBLE)
    shown = on.api.get_schedule(Name="a", GroupName=group)
    assert (shown["State"], shown["ScheduleExpressionTimezone"], "Description" in shown) == ("ENABLED", "UTC", False)
    for name in "bc":
        on.api.create_schedule(Name=name, GroupName=group, **{**SENSIBLE, "ScheduleExpression": "rate(1 hours)"})
    first = on.api.list_schedules(GroupName=group, MaxResults=2)
    rest = on.api.list_schedules(GroupName=group, MaxResults=2, NextToken=first["NextToken"])
    assert [one["Name"] for one in first["Schedules"] + rest["Schedules"]] == ["a", "b", "c"]
    assert "NextToken" not in rest
    assert [one["Name"] for one in on.api.list_schedules(NamePrefix="a", GroupName=group, State="ENABLED")["Schedules"]]
    on.api.delete_schedule(Name="a", GroupName=group, ClientToken="once")
    on.api.delete_schedule(Name="a", GroupName=group, ClientToken="once")


def _groups(on: Stage) -> None:
    stem = unique("page")
    for number in range(3):
        made = on.api.create_schedule_group(Name=f"{stem}-{number}", ClientToken="t", Tags=[{"Key": "a", "Value": "b"}])
    arn = made["ScheduleGroupArn"]
    assert arn == f"{STEM}schedule-group/{stem}-2"
    shown = on.api.get_schedule_group(Name=f"{stem}-2")
    assert (shown["Arn"], shown["State"]) == (arn, "ACTIVE")
    first = on.api.list_schedule_groups(NamePrefix=stem, MaxResults=2)
    rest = on.api.list_schedule_groups(NamePrefix=stem, MaxResults=2, NextToken=first["NextToken"])
    assert [one["Name"] for one in first["ScheduleGroups"] + rest["ScheduleGroups"]] == [
        f"{stem}-{n}" for n in range(3)
    ]
    on.api.tag_resource(ResourceArn=arn, Tags=[{"Key": "c", "Value": "d"}])
    on.api.untag_resource(ResourceArn=arn, TagKeys=["a", "z"])
    assert on.api.list_tags_for_resource(ResourceArn=arn)["Tags"] == [{"Key": "c", "Value": "d"}]
    on.api.delete_schedule_group(Name=f"{stem}-2", ClientToken="t")


SERVED: dict[Drive, tuple[str, ...]] = {
    _schedules: ("CreateSchedule", "GetSchedule", "UpdateSchedule", "DeleteSchedule", "ListSchedules"),
    _groups: (
        *("CreateScheduleGroup", "GetScheduleGroup", "DeleteScheduleGroup", "ListScheduleGroups"),
        *("TagResource", "UntagResource", "ListTagsForResource"),
    ),
}
OPERATIONS = sorted({name for names in SERVED.values() for name in names})


def _new(**more: Any) -> Drive:
    return lambda on: {"Name": "never", **SENSIBLE, **more}


def _to(**target: Any) -> Drive:
    return _new(Target={**TARGET, **target})


def _nobodys(**more: Any) -> Drive:
    """Members of every operation on a schedule or group, which is not there."""
    return lambda on: {"Name": "nobody-made-this", **SENSIBLE, **more}


def _with(given: Any) -> Drive:
    return lambda on: given


def _named(name: str) -> Drive:
    return lambda on: {"Name": name, **SENSIBLE}


def _at(arn: str) -> Drive:
    """Members of every operation on tags."""
    return lambda on: {"ResourceArn": arn, "Tags": [{"Key": "a", "Value": "b"}], "TagKeys": ["a"]}


_INVALID = "ValidationException"
_GONE = ("ResourceNotFoundException", "ResourceNotFoundException", 404)
_CONFLICT = ("ConflictException", "ConflictException", 409)
REFUSALS = [
    Refusal("CreateSchedule", "a name that is taken", lambda on: {"Name": on.schedule(), **SENSIBLE}, *_CONFLICT),
    Refusal("CreateSchedule", "no such group", _new(GroupName="nobody-made-this"), *_GONE),
    *(
        Refusal("CreateSchedule", f"the schedule {text}", _new(ScheduleExpression=text), _INVALID, _INVALID)
        for text in (
            *("rate(0 minutes)", "rate(5)", "every 5 minutes", "cron(0 12 * * * *)", "cron(61 * * * ? *)"),
            *("at(2030-13-01T00:00:00)", "at(soon)"),
        )
    ),
    Refusal("CreateSchedule", "a zone there is not", _new(ScheduleExpressionTimezone="Mars/Base"), _INVALID, _INVALID),
    Refusal(
        *("CreateSchedule", "an end before the start"),
        _new(StartDate=time.time() + 9e4, EndDate=time.time() + 8e4),
        *(_INVALID, _INVALID),
    ),
    Refusal("CreateSchedule", "a start in the past", _new(StartDate=time.time() - 9e4), _INVALID, _INVALID),
    Refusal(
        *("CreateSchedule", "no window with minutes"),
        _new(FlexibleTimeWindow={**OFF, "MaximumWindowInMinutes": 5}),
        *(_INVALID, _INVALID),
    ),
    Refusal(
        *("CreateSchedule", "a window without minutes", _new(FlexibleTimeWindow={"Mode": "FLEXIBLE"})),
        *(_INVALID, _INVALID),
    ),
    Refusal(
        *("CreateSchedule", "a window that is too long"),
        _new(FlexibleTimeWindow={"Mode": "FLEXIBLE", "MaximumWindowInMinutes": 1441}),
        *(_INVALID, _INVALID),
    ),
    Refusal("CreateSchedule", "a state there is not", _new(State="ASLEEP"), _INVALID, _INVALID),
    Refusal("CreateSchedule", "an ARN that is none", _to(Arn="queue"), _INVALID, _INVALID),
    Refusal("CreateSchedule", "a task", _to(Arn="arn:aws:ecs:us-east-1:000000000000:cluster/a"), _INVALID, _INVALID),
    Refusal("CreateSchedule", "a role that is none", _to(RoleArn="role"), _INVALID, _INVALID),
    Refusal("CreateSchedule", "FIFO without a group", _to(Arn=f"{QUEUE}.fifo"), _INVALID, _INVALID),
    Refusal(
        *("CreateSchedule", "an input that is no JSON"),
        _to(Arn="arn:aws:lambda:us-east-1:000000000000:function:f", Input="{"),
        *(_INVALID, _INVALID),
    ),
    Refusal("CreateSchedule", "too many retries", _to(RetryPolicy={"MaximumRetryAttempts": 186}), _INVALID, _INVALID),
    Refusal(
        *("CreateSchedule", "too short an age", _to(RetryPolicy={"MaximumEventAgeInSeconds": 59})),
        *(_INVALID, _INVALID),
    ),
    Refusal("CreateScheduleGroup", "a name that is taken", lambda on: {"Name": on.group()}, *_CONFLICT),
    Refusal("CreateScheduleGroup", "the default group", lambda on: {"Name": "default"}, *_CONFLICT),
    Refusal("DeleteScheduleGroup", "the default group", lambda on: {"Name": "default"}, _INVALID, _INVALID),
    Refusal("ListSchedules", "no such group", lambda on: {"GroupName": "nobody-made-this"}, *_GONE),
    *(
        Refusal(operation, "no such one", _nobodys(), *_GONE)
        for operation in (
            *("GetSchedule", "UpdateSchedule", "DeleteSchedule", "GetScheduleGroup", "DeleteScheduleGroup"),
        )
    ),
    *(
        Refusal(operation, "no such group", _nobodys(GroupName="nobody"), *_GONE)
        for operation in ("GetSchedule", "UpdateSchedule", "DeleteSchedule")
    ),
    *(
        Refusal(operation, f"a name {why}", _named(name), _INVALID, _INVALID)
        for operation in OPERATIONS
        if "Name" in MODEL.operation_model(operation).input_shape.members
        for why, name in {"with a space": "a b", "that is too long": "x" * 65}.items()
    ),
    *(
        Refusal(operation, why, _at(arn), *error)
        for operation in ("TagResource", "UntagResource", "ListTagsForResource")
        for why, arn, error in (
            ("no such group", f"{STEM}schedule-group/nobody", _GONE),
            ("a schedule", f"{STEM}schedule/default/a", (_INVALID, _INVALID, 400)),
            ("an ARN that is none", "group", (_INVALID, _INVALID, 400)),
        )
    ),
    Refusal(
        *("TagResource", "51 tags"),
        lambda on: {
            "ResourceArn": f"{STEM}schedule-group/{on.group()}",
            "Tags": [{"Key": str(number), "Value": "v"} for number in range(51)],
        },
        *(_INVALID, _INVALID),
    ),
    *(
        Refusal(operation, why, _with(given), _INVALID, _INVALID)
        for operation in ("ListSchedules", "ListScheduleGroups")
        for why, given in {
            "a token that is none": {"NextToken": "?"},
            "too many": {"MaxResults": 101},
            "none": {"MaxResults": 0},
            "a prefix that is none": {"NamePrefix": "a b"},
        }.items()
    ),
]
KNOWN = {**SENSIBLE, "Name": "never", "ResourceArn": f"{STEM}schedule-group/default", "Tags": []}


def test_no_operation_of_the_model_is_forgotten() -> None:
    assert sorted((*OPERATIONS, *NOT_HERE)) == sorted(MODEL.operation_names)


@pytest.mark.parametrize("drive", SERVED, ids=lambda drive: drive.__name__)
def test_operations_answer_as_the_model_says(stage: Stage, exchange: Exchanges, drive: Drive) -> None:
    drive(stage)
    assert set(SERVED[drive]) <= exchange.succeeded


@pytest.mark.parametrize("refusal", REFUSALS, ids=str)
def test_what_is_wrong_is_refused_by_its_name(stage: Stage, exchange: Exchanges, refusal: Refusal) -> None:
    refusal.check(stage.api, stage)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_what_breaks_the_shape_is_refused(stage: Stage, exchange: Exchanges, operation: str) -> None:
    shape = MODEL.operation_model(operation).input_shape
    whole = plain(shape, KNOWN)
    inside = {name: one for name, one in whole.items() if name in exchanges.in_body(shape)}
    for wrong, expected in (
        *((one, _INVALID) for one in (*incomplete(shape, inside), *excessive(shape, inside))),
        *((one, "SerializationException") for one in mistyped(shape, inside)),
    ):
        name, body = wrong
        error = refused(stage.api, operation, whole, body)
        assert (name, error.response["Error"]["Code"], exchanges.status_of(error)) == (name, expected, 400)
