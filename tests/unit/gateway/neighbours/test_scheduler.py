"""EventBridge Scheduler through AWS's own client: what is made is shown, fires, changes and goes."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.unit.gateway.neighbours.house import ACCOUNT, REGION, START_MS, Client, House, house

from hearth.core.roles import Role
from hearth.roles import RoleStore
from hearth.testing import InMemoryStore
from hearth_gateway.asynchronous.testing import RecordingCourier
from hearth_gateway.core.bus_event import Place
from hearth_gateway.core.firing import MissedFirings
from hearth_gateway.core.parcel import Attribute, Parcel
from hearth_gateway.neighbours.calls import Members
from hearth_gateway.neighbours.scheduler import scheduler_service
from hearth_gateway.neighbours.scheduler_roles import ExecutionRoles
from hearth_gateway.schedules.book import ScheduleBook
from hearth_gateway.schedules.testing import InMemoryMarks, InMemorySchedules
from hearth_gateway.schedules.timers import TimerEngine

FUNCTION = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:tick"
QUEUE = f"arn:aws:sqs:{REGION}:{ACCOUNT}:jobs"
DEAD = f"arn:aws:sqs:{REGION}:{ACCOUNT}:dead"
STEM = f"arn:aws:scheduler:{REGION}:{ACCOUNT}:schedule"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/timer"
OFF = {"Mode": "OFF"}
TRUST = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": {
            "Effect": "Allow",
            "Principal": {"Service": "scheduler.amazonaws.com"},
            "Action": "sts:AssumeRole",
        },
    }
)


def policy(*actions: str, resource: str = "*") -> str:
    statement = {"Effect": "Allow", "Action": list(actions), "Resource": resource}
    return json.dumps({"Version": "2012-10-17", "Statement": statement})


def target(arn: str = FUNCTION, **more: object) -> Members:
    return {"Arn": arn, "RoleArn": ROLE, **more}


def asked(name: str = "one", expression: str = "rate(5 minutes)", **more: object) -> dict[str, Any]:
    given = {"Name": name, "ScheduleExpression": expression, "FlexibleTimeWindow": OFF, "Target": target(), **more}
    return {key: value for key, value in given.items() if value is not None}


class TurnedClock:
    """The house's time, and pauses that end when it is turned."""

    def __init__(self) -> None:
        self.now = START_MS

    def now_ms(self) -> int:
        return self.now

    def monotonic(self) -> float:
        return self.now / 1000

    async def pause(self, seconds: float) -> None:
        await asyncio.sleep(0)


@dataclass
class Stage:
    """The service over stores in memory."""

    opened: House
    courier: RecordingCourier
    timers: TimerEngine
    book: ScheduleBook
    clock: TurnedClock
    seen: int = 0

    @property
    def api(self) -> Client:
        return self.opened.client("scheduler")

    async def advance(self, **span: float) -> list[Parcel]:
        """Let time pass; gives what was sent since the last time."""
        self.clock.now += int(timedelta(**span).total_seconds() * 1000)
        self.timers._bell.set()
        for _ in range(10):
            await asyncio.sleep(0)
        before, self.seen = self.seen, len(self.courier.parcels)
        return self.courier.parcels[before:]

    async def names(self, **chosen: object) -> list[str]:
        return [one["Name"] for one in (await self.api("list_schedules", **chosen))["Schedules"]]


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    roles, courier, clock = RoleStore(InMemoryStore()), RecordingCourier(), TurnedClock()
    execution = ExecutionRoles(roles, ACCOUNT)
    async with TimerEngine(InMemoryMarks(), courier, clock, MissedFirings.LATEST) as timers:
        book = ScheduleBook(InMemorySchedules(), timers, Place(REGION, ACCOUNT), execution.refusal)
        await book.load(clock.now_ms())
        service = scheduler_service(book, execution, clock.now_ms)
        async with house(tmp_path, {"scheduler": service}) as opened:
            opened.roles = roles
            yield Stage(opened, courier, timers, book, clock)


async def test_a_schedule_is_shown_as_it_was_made(stage: Stage) -> None:
    start = datetime.fromtimestamp(START_MS / 1000, UTC)
    given = asked(
        expression="cron(0 9 ? * MON-FRI *)",
        ScheduleExpressionTimezone="Europe/Berlin",
        Description="office hours",
        StartDate=start,
        EndDate=start + timedelta(days=30),
        FlexibleTimeWindow={"Mode": "FLEXIBLE", "MaximumWindowInMinutes": 15},
        State="DISABLED",
        ActionAfterCompletion="DELETE",
        Target=target(Input='{"a": 1}', RetryPolicy={"MaximumRetryAttempts": 3}, DeadLetterConfig={"Arn": DEAD}),
    )
    assert (await stage.api("create_schedule", **given))["ScheduleArn"] == f"{STEM}/default/one"
    found = await stage.api("get_schedule", Name="one")
    retry_policy = {"MaximumRetryAttempts": 3, "MaximumEventAgeInSeconds": 86400}
    assert {name: found[name] for name in given if name != "Target"} == {
        name: given[name] for name in given if name != "Target"
    }
    assert found["Target"] == {**given["Target"], "RetryPolicy": retry_policy}
    assert (found["GroupName"], found["Arn"]) == ("default", f"{STEM}/default/one")
    assert found["CreationDate"] == found["LastModificationDate"] == start


async def test_what_was_not_said_has_its_default(stage: Stage) -> None:
    await stage.api("create_schedule", **asked())
    found = await stage.api("get_schedule", Name="one", GroupName="default")
    assert found["State"] == "ENABLED"
    assert found["ScheduleExpressionTimezone"] == "UTC"
    assert found["ActionAfterCompletion"] == "NONE"
    assert found["Target"]["RetryPolicy"] == {"MaximumEventAgeInSeconds": 86400, "MaximumRetryAttempts": 185}
    assert "StartDate" not in found
    assert "Description" not in found


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"ScheduleExpression": "cron(0 9 * * *)"}, "Invalid Schedule Expression cron(0 9 * * *)."),
        ({"ScheduleExpressionTimezone": "Europe/Atlantis"}, "The provided timezone is not supported."),
        ({"FlexibleTimeWindow": {"Mode": "FLEXIBLE"}}, "MaximumWindowInMinutes must be provided"),
        ({"FlexibleTimeWindow": {"Mode": "OFF", "MaximumWindowInMinutes": 5}}, "must not be provided"),
        ({"FlexibleTimeWindow": {"Mode": "SOON"}}, "Member must satisfy enum value set"),
        ({"Name": "with space"}, "Member must satisfy regular expression pattern"),
        ({"Target": None}, "Value null at 'target' failed to satisfy constraint: Member must not be null"),
        ({"Target": target(Input="no json")}, "not well-formed JSON"),
        (
            {"Target": target("arn:aws:states:us-east-1:000000000000:stateMachine:x")},
            "not of a target that is available",
        ),
        ({"Target": target("arn:aws:scheduler:::aws-sdk:ec2:stopInstances", Input="{}")}, "is not available"),
        ({"Target": target("arn:aws:scheduler:::aws-sdk:sqs:sendMessage", Input="{}")}, "Invalid RequestJson"),
        (
            {"Target": target("arn:aws:scheduler:::aws-sdk:sns:publish", Input='{"TopicArn": "a", "Message": {}}')},
            "has the wrong type",
        ),
        (
            {"Target": target("arn:aws:scheduler:::aws-sdk:sqs:sendMessage", Input='{"DelaySeconds": 5}')},
            "DelaySeconds is not available",
        ),
        ({"Target": target(f"{QUEUE}.fifo")}, "MessageGroupId"),
        ({"Target": target(f"arn:aws:sqs:{REGION}:{ACCOUNT}:hearth:functions")}, "not of a target"),
        ({"Target": target(f"arn:aws:events:{REGION}:{ACCOUNT}:event-bus/default")}, "EventBridgeParameters"),
        (
            {
                "Target": target(
                    f"arn:aws:events:{REGION}:{ACCOUNT}:event-bus/default",
                    Input='{"a":' * 300 + "1" + "}" * 300,
                    EventBridgeParameters={"DetailType": "Nightly", "Source": "my.app"},
                )
            },
            "not well-formed JSON",
        ),
        ({"Target": target(f"arn:aws:kinesis:{REGION}:{ACCOUNT}:stream/s")}, "KinesisParameters"),
        ({"StartDate": START_MS / 1000 - 301}, "cannot be earlier than 5 minutes ago"),
        ({"StartDate": START_MS / 1000 + 60, "EndDate": START_MS / 1000}, "StartDate must come before"),
    ],
)
async def test_what_is_wrong_is_said(stage: Stage, wrong: dict[str, Any], message: str) -> None:
    error = await stage.api.error("create_schedule", **asked(**wrong) if "Name" not in wrong else {**asked(), **wrong})
    assert error.response["Error"]["Code"] == "ValidationException"
    assert error.response["ResponseMetadata"]["HTTPStatusCode"] == 400
    assert message in error.response["Error"]["Message"]
    assert await stage.names() == []


async def test_names_are_unique_in_their_group_and_a_repeated_request_makes_nothing(stage: Stage) -> None:
    await stage.api("create_schedule_group", Name="other")
    first = await stage.api("create_schedule", **asked(ClientToken="t1"))
    await stage.api("create_schedule", **asked(GroupName="other"))
    assert await stage.api.code("create_schedule", **asked()) == ("ConflictException", 409)
    assert (await stage.api("create_schedule", **asked(ClientToken="t1")))["ScheduleArn"] == first["ScheduleArn"]
    different = asked(ClientToken="t1", Description="another")
    assert await stage.api.code("create_schedule", **different) == ("ConflictException", 409)


async def test_what_is_not_there_is_not_found(stage: Stage) -> None:
    missing = ("ResourceNotFoundException", 404)
    assert await stage.api.code("get_schedule", Name="one") == missing
    assert await stage.api.code("delete_schedule", Name="one") == missing
    assert await stage.api.code("update_schedule", **asked()) == missing
    assert await stage.api.code("create_schedule", **asked(GroupName="none")) == missing
    assert await stage.api.code("list_schedules", GroupName="none") == missing
    assert await stage.api.code("delete_schedule_group", Name="none") == missing
    arn = f"arn:aws:scheduler:{REGION}:{ACCOUNT}:schedule-group/none"
    assert await stage.api.code("tag_resource", ResourceArn=arn, Tags=[]) == missing


async def test_an_update_replaces_everything(stage: Stage) -> None:
    await stage.api("create_schedule", **asked(Description="old", State="DISABLED"))
    stage.clock.now += 60_000
    await stage.api("update_schedule", **asked(expression="rate(1 hour)"))
    found = await stage.api("get_schedule", Name="one")
    assert found["ScheduleExpression"] == "rate(1 hour)"
    assert found["State"] == "ENABLED"
    assert "Description" not in found
    assert found["LastModificationDate"] - found["CreationDate"] == timedelta(minutes=1)


async def test_a_deletion_whose_answer_was_lost_can_be_repeated(stage: Stage) -> None:
    await stage.api("create_schedule", **asked())
    await stage.api("delete_schedule", Name="one", ClientToken="t1")
    await stage.api("delete_schedule", Name="one", ClientToken="t1")
    assert await stage.api.code("delete_schedule", Name="one", ClientToken="t2") == ("ResourceNotFoundException", 404)


async def test_lists_are_chosen_by_group_prefix_and_state_and_come_in_pages(stage: Stage) -> None:
    await stage.api("create_schedule_group", Name="nightly")
    for name in ("a-1", "a-2", "b-1"):
        await stage.api("create_schedule", **asked(name))
    await stage.api("create_schedule", **asked("a-1", GroupName="nightly", State="DISABLED"))
    assert await stage.names() == ["a-1", "a-2", "b-1", "a-1"]
    assert await stage.names(GroupName="nightly") == ["a-1"]
    assert await stage.names(NamePrefix="a-") == ["a-1", "a-2", "a-1"]
    assert await stage.names(State="DISABLED") == ["a-1"]
    pages = stage.api.raw.get_paginator("list_schedules").paginate(PaginationConfig={"PageSize": 1})
    found = await asyncio.to_thread(lambda: [one["Arn"] for page in pages for one in page["Schedules"]])
    assert [arn.removeprefix(f"{STEM}/") for arn in found] == [
        "default/a-1",
        "default/a-2",
        "default/b-1",
        "nightly/a-1",
    ]
    assert await stage.api.code("list_schedules", NextToken="???") == ("ValidationException", 400)


# Groups and tags


async def test_groups_come_and_go_with_their_schedules(stage: Stage) -> None:
    arn = (await stage.api("create_schedule_group", Name="nightly"))["ScheduleGroupArn"]
    await stage.api("create_schedule", **asked(expression="cron(* * * * ? *)", GroupName="nightly"))
    groups = (await stage.api("list_schedule_groups"))["ScheduleGroups"]
    assert [(group["Name"], group["State"]) for group in groups] == [("default", "ACTIVE"), ("nightly", "ACTIVE")]
    assert (await stage.api("get_schedule_group", Name="nightly"))["Arn"] == arn
    assert await stage.api.code("create_schedule_group", Name="nightly") == ("ConflictException", 409)
    await stage.api("delete_schedule_group", Name="nightly")
    assert await stage.names() == []
    assert await stage.advance(minutes=10) == []
    assert await stage.api.code("delete_schedule_group", Name="default") == ("ValidationException", 400)


async def test_groups_have_tags(stage: Stage) -> None:
    made = await stage.api("create_schedule_group", Name="nightly", Tags=[{"Key": "team", "Value": "a"}])
    arn = made["ScheduleGroupArn"]
    more = [{"Key": "cost", "Value": "1"}, {"Key": "team", "Value": "b"}]
    await stage.api("tag_resource", ResourceArn=arn, Tags=more)
    await stage.api("untag_resource", ResourceArn=arn, TagKeys=["cost", "none"])
    assert (await stage.api("list_tags_for_resource", ResourceArn=arn))["Tags"] == [{"Key": "team", "Value": "b"}]
    wrong = [{"Key": "hearth:missed-firings", "Value": "some"}]
    assert await stage.api.code("tag_resource", ResourceArn=arn, Tags=wrong) == ("ValidationException", 400)


async def test_a_groups_tag_says_what_becomes_of_missed_firings(stage: Stage) -> None:
    made = await stage.api("create_schedule_group", Name="nightly")
    await stage.api("create_schedule", **asked("latest"))
    await stage.api("create_schedule", **asked("all", GroupName="nightly"))
    tags = [{"Key": "hearth:missed-firings", "Value": "all"}]
    await stage.api("tag_resource", ResourceArn=made["ScheduleGroupArn"], Tags=tags)
    await stage.advance(seconds=1)  # both fire for their beginning
    sent = [parcel.sender for parcel in await stage.advance(minutes=16)]
    assert sorted(sent) == [f"{STEM}/default/latest", *[f"{STEM}/nightly/all"] * 3]


# Firing


async def test_a_rate_begins_at_once_and_goes_on_from_there(stage: Stage) -> None:
    await stage.api("create_schedule", **asked(Target=target(Input='{"n": 1}')))
    first = await stage.advance(seconds=1)
    assert [(parcel.target, parcel.body) for parcel in first] == [(FUNCTION, b'{"n": 1}')]
    assert await stage.advance(minutes=4) == []
    assert len(await stage.advance(minutes=1)) == 1


async def test_an_update_that_leaves_the_times_alone_does_not_begin_again(stage: Stage) -> None:
    await stage.api("create_schedule", **asked())
    await stage.advance(seconds=1)
    await stage.advance(minutes=3)
    await stage.api("update_schedule", **asked(Target=target(Input='{"new": true}')))
    sent = await stage.advance(minutes=2)
    assert [parcel.body for parcel in sent] == [b'{"new": true}']
    assert sent[0].accepted_ms == START_MS + 301_000


async def test_a_disabled_schedule_is_silent_and_misses_nothing_that_was_not_to_be(stage: Stage) -> None:
    await stage.api("create_schedule", **asked(expression="cron(0 * * * ? *)", State="DISABLED"))
    assert await stage.advance(hours=5) == []
    await stage.api("update_schedule", **asked(expression="cron(0 * * * ? *)"))
    assert await stage.advance(seconds=1) == []
    assert len(await stage.advance(hours=1)) == 1


async def test_a_schedule_that_is_complete_can_delete_itself(stage: Stage) -> None:
    at = datetime.fromtimestamp(START_MS / 1000 + 60, UTC)
    once = f"at({at:%Y-%m-%dT%H:%M:%S})"
    await stage.api("create_schedule", **asked("stays", once))
    await stage.api("create_schedule", **asked("goes", once, ActionAfterCompletion="DELETE"))
    assert await stage.names() == ["goes", "stays"]
    assert len(await stage.advance(seconds=61)) == 2
    assert await stage.names() == ["stays"]
    assert await stage.advance(days=1) == []


async def test_without_input_a_target_gets_the_default_notification(stage: Stage) -> None:
    await stage.api("create_schedule", **asked())
    (sent,) = await stage.advance(seconds=1)
    assert json.loads(sent.body) == {
        "version": "0",
        "id": sent.id,
        "detail-type": "Scheduled Event",
        "source": "aws.scheduler",
        "account": ACCOUNT,
        "time": f"{datetime.fromtimestamp(START_MS / 1000, UTC):%Y-%m-%dT%H:%M:%SZ}",
        "region": REGION,
        "resources": [f"{STEM}/default/one"],
        "detail": "{}",
    }


async def test_context_attributes_are_filled_in(stage: Stage) -> None:
    words = ("schedule-arn", "scheduled-time", "execution-id", "attempt-number", "nothing")
    text = json.dumps([f"<aws.scheduler.{word}>" for word in words])
    await stage.api("create_schedule", **asked(Target=target(Input=text)))
    (sent,) = await stage.advance(seconds=1)
    time = f"{datetime.fromtimestamp(START_MS / 1000, UTC):%Y-%m-%dT%H:%M:%SZ}"
    assert json.loads(sent.body) == [f"{STEM}/default/one", time, sent.id, "1", "<aws.scheduler.nothing>"]


async def test_a_parcel_carries_the_retry_policy_and_the_dead_letter_queue(stage: Stage) -> None:
    retries = {"MaximumRetryAttempts": 3, "MaximumEventAgeInSeconds": 120}
    wanted = target(QUEUE, Input="plain text", RetryPolicy=retries, DeadLetterConfig={"Arn": DEAD})
    await stage.api("create_schedule", **asked(Target=wanted))
    (sent,) = await stage.advance(seconds=1)
    assert (sent.max_attempts, sent.max_age_s, sent.dead_letter_arn) == (4, 120, DEAD)
    assert (sent.target, sent.body, sent.sender) == (QUEUE, b"plain text", f"{STEM}/default/one")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (
            target(f"{QUEUE}.fifo", Input="x", SqsParameters={"MessageGroupId": "g"}),
            {"target": f"{QUEUE}.fifo", "group_id": "g"},
        ),
        (
            target(f"arn:aws:kinesis:{REGION}:{ACCOUNT}:stream/s", Input="x", KinesisParameters={"PartitionKey": "p"}),
            {"group_id": "p"},
        ),
        (
            target(
                "arn:aws:scheduler:::aws-sdk:sqs:sendMessage",
                Input=json.dumps(
                    {
                        "QueueUrl": f"http://127.0.0.1:9400/{ACCOUNT}/jobs",
                        "MessageBody": "hi",
                        "MessageAttributes": {"a": {"DataType": "Number", "StringValue": "1"}},
                    }
                ),
            ),
            {"target": QUEUE, "body": b"hi", "attributes": {"a": Attribute("Number", "1")}},
        ),
        (
            target(
                "arn:aws:scheduler:::aws-sdk:lambda:invoke",
                Input=json.dumps({"FunctionName": "tick", "InvocationType": "Event", "Payload": '{"a": 1}'}),
            ),
            {"target": FUNCTION, "body": b'{"a": 1}'},
        ),
        (
            target(
                "arn:aws:scheduler:::aws-sdk:sns:publish",
                Input=json.dumps({"TopicArn": f"arn:aws:sns:{REGION}:{ACCOUNT}:t", "Message": "m", "Subject": "s"}),
            ),
            {"target": f"arn:aws:sns:{REGION}:{ACCOUNT}:t", "body": b"m", "subject": "s"},
        ),
    ],
)
async def test_targets_of_every_kind_get_what_they_understand(
    stage: Stage, given: Members, expected: dict[str, object]
) -> None:
    await stage.api("create_schedule", **asked(Target=given))
    (sent,) = await stage.advance(seconds=1)
    assert {name: getattr(sent, name) for name in expected} == expected


async def test_a_bus_gets_an_event_with_the_input_as_its_detail(stage: Stage) -> None:
    bus = f"arn:aws:events:{REGION}:{ACCOUNT}:event-bus/default"
    said = {"DetailType": "Nightly", "Source": "my.app"}
    await stage.api("create_schedule", **asked(Target=target(bus, Input='{"a": 1}', EventBridgeParameters=said)))
    (sent,) = await stage.advance(seconds=1)
    event = json.loads(sent.body)
    assert (event["source"], event["detail-type"], event["detail"]) == ("my.app", "Nightly", {"a": 1})
    assert event["resources"] == [f"{STEM}/default/one"]


# Permissions


async def test_who_may_not_is_refused_whether_or_not_it_is_there(stage: Stage) -> None:
    key = await stage.opened.add_user("reader", policy("scheduler:GetSchedule", resource=f"{STEM}/default/mine-*"))
    reader = stage.opened.client("scheduler", key)
    assert (await reader.code("get_schedule", Name="mine-1"))[0] == "ResourceNotFoundException"
    assert (await reader.code("get_schedule", Name="one"))[1] == 403
    assert (await reader.code("list_schedules"))[1] == 403


async def test_a_schedule_of_a_role_that_nobody_made_needs_its_makers_permission(stage: Stage) -> None:
    may_make = policy("scheduler:CreateSchedule", "iam:PassRole")
    maker = await stage.opened.add_user("maker", may_make)
    assert (await stage.opened.client("scheduler", maker).code("create_schedule", **asked()))[1] == 403
    invoker = await stage.opened.add_user("invoker", may_make, policy("lambda:InvokeFunction", resource=FUNCTION))
    await stage.opened.client("scheduler", invoker)("create_schedule", **asked())
    assert len(await stage.advance(seconds=1)) == 1


async def test_what_a_target_is_called_in_other_regions_leads_around_no_policy(stage: Stage) -> None:
    allowed = policy("scheduler:CreateSchedule", "iam:PassRole", "sqs:SendMessage")
    denied = (
        allowed.replace('"Allow"', '"Deny"').replace("scheduler:CreateSchedule", "x:y").replace("iam:PassRole", "x:z")
    )
    key = await stage.opened.add_user("maker", allowed, denied.replace('"*"', f'"{QUEUE}"'))
    maker = stage.opened.client("scheduler", key)
    for name in (QUEUE, QUEUE.replace(REGION, "eu-west-1"), QUEUE.replace(ACCOUNT, "111122223333")):
        assert (await maker.code("create_schedule", **asked(Target=target(name))))[1] == 403
    await maker("create_schedule", **asked(Target=target(f"{QUEUE}-2")))


async def test_a_dead_letter_queue_is_one_that_the_role_or_the_maker_may_fill(stage: Stage) -> None:
    may_make = policy("scheduler:CreateSchedule", "iam:PassRole", "lambda:InvokeFunction")
    wanted = asked(Target=target(DeadLetterConfig={"Arn": DEAD}))
    key = await stage.opened.add_user("maker", may_make)
    assert (await stage.opened.client("scheduler", key).code("create_schedule", **wanted))[1] == 403
    role = Role("timer", "/", ACCOUNT, TRUST, START_MS)
    await stage.opened.roles.put(role)
    assert (await stage.opened.client("scheduler", key).code("create_schedule", **wanted))[1] == 403
    await stage.opened.roles.put(role.with_inline("send", policy("sqs:SendMessage", resource=DEAD)))
    await stage.opened.client("scheduler", key)("create_schedule", **wanted)


async def test_passing_a_role_needs_permission(stage: Stage) -> None:
    key = await stage.opened.add_user("maker", policy("scheduler:*", "lambda:*"))
    assert (await stage.opened.client("scheduler", key).code("create_schedule", **asked()))[1] == 403


async def test_a_role_must_trust_the_service(stage: Stage) -> None:
    await stage.opened.roles.put(Role("timer", "/", ACCOUNT, TRUST.replace("scheduler", "lambda"), START_MS))
    error = await stage.api.error("create_schedule", **asked())
    assert "must allow AWS EventBridge Scheduler to assume the role" in error.response["Error"]["Message"]


async def test_a_role_is_asked_at_every_firing_and_what_it_may_not_send_is_dead_lettered(stage: Stage) -> None:
    role = Role("timer", "/", ACCOUNT, TRUST, START_MS)
    await stage.opened.roles.put(role)
    wanted = asked(Target=target(Input='{"n": 1}', DeadLetterConfig={"Arn": DEAD}))
    await stage.api("create_schedule", **wanted)
    (dead,) = await stage.advance(seconds=1)
    assert (dead.target, dead.body) == (DEAD, b'{"n": 1}')
    assert dead.attributes["ERROR_CODE"] == Attribute("String", "NO_PERMISSIONS")
    await stage.opened.roles.put(role.with_inline("invoke", policy("lambda:InvokeFunction", resource=FUNCTION)))
    (sent,) = await stage.advance(minutes=5)
    assert sent.target == FUNCTION
