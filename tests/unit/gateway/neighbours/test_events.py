"""EventBridge as AWS's own client sees it: buses, rules, targets, events, tags, and who may do what."""

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pytest
from tests.unit.gateway.bus.stage import FUNCTION, QUEUE, START_MS, Stage
from tests.unit.gateway.neighbours.house import Client, House, house

from hearth_gateway.neighbours.events import events_service

ACCOUNT = "000000000000"
PREFIX = f"arn:aws:events:us-east-1:{ACCOUNT}"
PATTERN = '{"source": ["shop"]}'
ENTRY = {"Source": "shop", "DetailType": "order", "Detail": '{"state": "paid"}'}


@dataclass
class World:
    """The service, what it stands on, and a client of it that may do everything."""

    stage: Stage
    opened: House

    @property
    def events(self) -> Client:
        return self.opened.client("events")

    async def user(self, *statements: tuple[str, str]) -> Client:
        """The client of somebody who may do these actions with these resources."""
        allowed = [{"Effect": "Allow", "Action": action, "Resource": resource} for action, resource in statements]
        policy = json.dumps({"Version": "2012-10-17", "Statement": allowed})
        return self.opened.client("events", await self.opened.add_user("dev", policy))


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    stage = Stage()
    service = events_service(stage.catalogue, stage.buses, lambda: stage.now_ms)
    async with house(tmp_path, {"events": service}) as opened:
        yield World(stage, opened)


async def rule(events: Client, name: str = "paid", *targets: dict[str, Any], **more: Any) -> None:
    await events("put_rule", Name=name, EventPattern=PATTERN, **more)
    if targets:
        bus = {"EventBusName": more["EventBusName"]} if "EventBusName" in more else {}
        await events("put_targets", Rule=name, Targets=list(targets), **bus)


# -- buses -------------------------------------------------------------------------------------------------------


async def test_the_default_bus_is_always_there_and_others_come_and_go(world: World) -> None:
    events = world.events
    assert [bus["Name"] for bus in (await events("list_event_buses"))["EventBuses"]] == ["default"]
    made = await events("create_event_bus", Name="shop", Description="orders", Tags=[{"Key": "a", "Value": "b"}])
    assert made["EventBusArn"] == f"{PREFIX}:event-bus/shop"
    found = await events("describe_event_bus", Name=made["EventBusArn"])
    assert (found["Name"], found["Description"]) == ("shop", "orders")
    assert found["CreationTime"].timestamp() == START_MS / 1000
    await events("update_event_bus", Name="shop", Description="all orders")
    assert (await events("describe_event_bus", Name="shop"))["Description"] == "all orders"
    assert [bus["Name"] for bus in (await events("list_event_buses", NamePrefix="s"))["EventBuses"]] == ["shop"]
    assert await events.code("create_event_bus", Name="shop") == ("ResourceAlreadyExistsException", 400)
    for _ in range(2):
        await events("delete_event_bus", Name="shop")
    assert await events.code("describe_event_bus", Name="shop") == ("ResourceNotFoundException", 400)


async def test_what_a_bus_cannot_be_is_refused(world: World) -> None:
    events = world.events
    assert await events.code("create_event_bus", Name="a/b") == ("ValidationException", 400)
    assert await events.code("create_event_bus", Name="a b") == ("ValidationException", 400)
    assert await events.code("create_event_bus", Name="a", KmsKeyIdentifier="k") == ("UnsupportedOperation", 400)
    assert await events.code("delete_event_bus", Name="default") == ("ValidationException", 400)
    await events("create_event_bus", Name="shop")
    await rule(events, EventBusName="shop")
    assert await events.code("delete_event_bus", Name="shop") == ("ValidationException", 400)


@pytest.mark.parametrize(
    ("operation", "parameters"),
    [
        ("create_archive", {"ArchiveName": "a", "EventSourceArn": f"{PREFIX}:event-bus/default"}),
        ("list_replays", {}),
        ("list_api_destinations", {}),
        ("put_permission", {"StatementId": "s", "Action": "events:PutEvents", "Principal": "*"}),
    ],
)
async def test_what_is_not_here_says_so(world: World, operation: str, parameters: dict[str, Any]) -> None:
    assert await world.events.code(operation, **parameters) == ("UnsupportedOperation", 400)


# -- rules -------------------------------------------------------------------------------------------------------


async def test_a_rule_is_described_as_it_was_put(world: World) -> None:
    events = world.events
    put = await events("put_rule", Name="paid", EventPattern=PATTERN, Description="d", State="DISABLED")
    assert put["RuleArn"] == f"{PREFIX}:rule/paid"
    found = await events("describe_rule", Name="paid")
    del found["ResponseMetadata"]
    assert found == {
        "Name": "paid",
        "Arn": f"{PREFIX}:rule/paid",
        "EventPattern": PATTERN,
        "State": "DISABLED",
        "Description": "d",
        "EventBusName": "default",
        "CreatedBy": ACCOUNT,
    }
    await events("put_rule", Name="paid", ScheduleExpression="rate(5 minutes)")
    found = await events("describe_rule", Name="paid")
    assert found["ScheduleExpression"] == "rate(5 minutes)"
    assert found["State"] == "ENABLED"
    assert "EventPattern" not in found
    assert "Description" not in found


async def test_rules_of_a_bus_have_its_name_in_their_arn(world: World) -> None:
    await world.events("create_event_bus", Name="shop")
    put = await world.events("put_rule", Name="paid", EventPattern=PATTERN, EventBusName=f"{PREFIX}:event-bus/shop")
    assert put["RuleArn"] == f"{PREFIX}:rule/shop/paid"
    assert (await world.events("describe_rule", Name="paid", EventBusName="shop"))["EventBusName"] == "shop"
    assert await world.events.code("describe_rule", Name="paid") == ("ResourceNotFoundException", 400)


@pytest.mark.parametrize(
    ("parameters", "code", "message"),
    [
        ({}, "ValidationException", "Parameter(s) EventPattern or ScheduleExpression must be specified."),
        ({"EventPattern": "{"}, "InvalidEventPatternException", "Event pattern is not valid. Reason: "),
        ({"EventPattern": '{"a": "x"}'}, "InvalidEventPatternException", "Event pattern is not valid. Reason: "),
        ({"ScheduleExpression": "rate(1 hours)"}, "ValidationException", "Parameter ScheduleExpression is not valid."),
        (
            {"ScheduleExpression": "rate(1 hour)", "EventBusName": "shop"},
            "ValidationException",
            "ScheduleExpression is supported only on the default event bus.",
        ),
        ({"EventPattern": PATTERN, "EventBusName": "no"}, "ResourceNotFoundException", "Event bus no does not exist."),
        ({"EventPattern": PATTERN, "State": "ON"}, "ValidationException", "1 validation error detected"),
    ],
)
async def test_what_is_no_rule_is_refused(world: World, parameters: dict[str, Any], code: str, message: str) -> None:
    await world.events("create_event_bus", Name="shop")
    error = await world.events.error("put_rule", Name="paid", **parameters)
    assert error.response["Error"]["Code"] == code
    assert error.response["Error"]["Message"].startswith(message)


async def test_a_rule_is_switched_off_and_on(world: World) -> None:
    events = world.events
    await rule(events, "paid", {"Id": "1", "Arn": FUNCTION})
    await events("disable_rule", Name="paid")
    await events("put_events", Entries=[ENTRY])
    assert world.stage.sent == []
    await events("enable_rule", Name="paid")
    await events("put_events", Entries=[ENTRY])
    assert len(world.stage.sent) == 1
    assert await events.code("enable_rule", Name="nobody") == ("ResourceNotFoundException", 400)


async def test_a_schedule_counts_from_when_it_was_put_or_the_rule_was_enabled(world: World) -> None:
    async def counted_from() -> int:
        return world.stage.catalogue.rule("default", "nightly").enabled_ms

    events, stage = world.events, world.stage
    await events("put_rule", Name="nightly", ScheduleExpression="rate(1 day)")
    stage.now_ms += 1000
    await events("put_rule", Name="nightly", ScheduleExpression="rate(1 day)", Description="d")
    assert await counted_from() == START_MS
    await events("put_rule", Name="nightly", ScheduleExpression="rate(2 days)")
    assert await counted_from() == START_MS + 1000
    await events("disable_rule", Name="nightly")
    stage.now_ms += 1000
    await events("enable_rule", Name="nightly")
    assert await counted_from() == START_MS + 2000


async def test_a_rule_goes_after_its_targets(world: World) -> None:
    events = world.events
    await rule(events, "paid", {"Id": "1", "Arn": FUNCTION})
    assert await events.code("delete_rule", Name="paid") == ("ValidationException", 400)
    await events("remove_targets", Rule="paid", Ids=["1"])
    for _ in range(2):
        await events("delete_rule", Name="paid")
    assert (await events("list_rules"))["Rules"] == []
    assert await events.code("delete_rule", Name="paid", EventBusName="no") == ("ResourceNotFoundException", 400)


async def test_rules_are_listed_by_prefix_and_in_pages(world: World) -> None:
    events = world.events
    for name in ("b1", "a1", "a3", "a2"):
        await rule(events, name)
    names, asked = [], {"NamePrefix": "a", "Limit": 2}
    while True:
        found = await events("list_rules", **asked)
        names.append([one["Name"] for one in found["Rules"]])
        if "NextToken" not in found:
            break
        asked["NextToken"] = found["NextToken"]
    assert names == [["a1", "a2"], ["a3"]]
    assert await events.code("list_rules", NextToken="?") == ("ValidationException", 400)


# -- targets -----------------------------------------------------------------------------------------------------

TARGETS: list[dict[str, Any]] = [
    {"Id": "f", "Arn": FUNCTION, "Input": '{"a": 1}'},
    {
        "Id": "q",
        "Arn": QUEUE + ".fifo",
        "SqsParameters": {"MessageGroupId": "g"},
        "InputPath": "$.detail",
        "RetryPolicy": {"MaximumRetryAttempts": 2, "MaximumEventAgeInSeconds": 60},
        "DeadLetterConfig": {"Arn": QUEUE},
    },
    {
        "Id": "s",
        "Arn": f"arn:aws:kinesis:us-east-1:{ACCOUNT}:stream/s",
        "KinesisParameters": {"PartitionKeyPath": "$.detail.customer"},
        "InputTransformer": {"InputPathsMap": {"c": "$.detail.customer"}, "InputTemplate": '{"c": <c>}'},
        "RoleArn": f"arn:aws:iam::{ACCOUNT}:role/r",
    },
    {"Id": "l", "Arn": f"arn:hearth:redis:us-east-1:{ACCOUNT}:hearth/list/orders"},
    {"Id": "w", "Arn": f"arn:hearth:webhook:us-east-1:{ACCOUNT}:hook"},
]


async def test_targets_are_listed_as_they_were_put_and_replaced_by_id(world: World) -> None:
    events = world.events
    await rule(events, "paid", *TARGETS)
    listed = (await events("list_targets_by_rule", Rule="paid"))["Targets"]
    assert listed == sorted(TARGETS, key=lambda target: target["Id"])
    await events("put_targets", Rule="paid", Targets=[{"Id": "f", "Arn": FUNCTION}])
    listed = (await events("list_targets_by_rule", Rule="paid", Limit=1))["Targets"]
    assert listed == [{"Id": "f", "Arn": FUNCTION}]
    assert (await events("list_rule_names_by_target", TargetArn=FUNCTION))["RuleNames"] == ["paid"]
    assert (await events("list_rule_names_by_target", TargetArn="arn:x"))["RuleNames"] == []


async def test_removing_a_target_that_is_not_there_is_a_failure_of_that_entry(world: World) -> None:
    events = world.events
    await rule(events, "paid", {"Id": "1", "Arn": FUNCTION})
    removed = await events("remove_targets", Rule="paid", Ids=["1", "2"])
    assert removed["FailedEntryCount"] == 1
    assert removed["FailedEntries"][0]["TargetId"] == "2"
    assert removed["FailedEntries"][0]["ErrorCode"] == "ResourceNotFoundException"
    assert (await events("list_targets_by_rule", Rule="paid"))["Targets"] == []


@pytest.mark.parametrize(
    ("target", "code"),
    [
        ({"Arn": "arn:aws:ec2:us-east-1:000000000000:instance/i"}, "ValidationException"),
        ({"Arn": "nonsense"}, "ValidationException"),
        ({"Arn": f"arn:aws:kinesis:us-east-1:{ACCOUNT}:stream/hearth:functions"}, "ValidationException"),
        ({"Arn": f"arn:hearth:redis:us-east-1:{ACCOUNT}:hearth/channel/c"}, "ValidationException"),
        ({"Arn": "arn:aws:s3:::bucket"}, "ValidationException"),
        ({"Arn": FUNCTION, "Input": "{"}, "ValidationException"),
        ({"Arn": FUNCTION, "Input": "{}", "InputPath": "$"}, "ValidationException"),
        ({"Arn": FUNCTION, "InputTransformer": {"InputTemplate": "<x>"}}, "ValidationException"),
        ({"Arn": FUNCTION, "SqsParameters": {"MessageGroupId": "g"}}, "ValidationException"),
        ({"Arn": FUNCTION, "KinesisParameters": {"PartitionKeyPath": "$.x"}}, "ValidationException"),
        ({"Arn": QUEUE + ".fifo"}, "ValidationException"),
        ({"Arn": FUNCTION, "DeadLetterConfig": {"Arn": FUNCTION}}, "ValidationException"),
        ({"Arn": FUNCTION, "EcsParameters": {"TaskDefinitionArn": "x"}}, "ValidationException"),
        ({"Arn": FUNCTION, "RetryPolicy": {"MaximumRetryAttempts": 186}}, "ValidationException"),
    ],
)
async def test_what_is_no_target_is_refused(world: World, target: dict[str, Any], code: str) -> None:
    await rule(world.events)
    put = {"Rule": "paid", "Targets": [{"Id": "1", **target}]}
    assert await world.events.code("put_targets", **put) == (code, 400)
    assert (await world.events("list_targets_by_rule", Rule="paid"))["Targets"] == []


async def test_a_rule_has_no_more_targets_than_the_quota(world: World) -> None:
    targets = [{"Id": str(place), "Arn": FUNCTION} for place in range(6)]
    await rule(world.events, "paid", *targets[:5])
    assert await world.events.code("put_targets", Rule="paid", Targets=targets[5:]) == ("LimitExceededException", 400)
    assert await world.events.code("put_targets", Rule="no", Targets=targets[:1]) == ("ResourceNotFoundException", 400)


# -- events ------------------------------------------------------------------------------------------------------


async def test_events_reach_the_targets_of_the_rules_they_match(world: World) -> None:
    events = world.events
    await events("create_event_bus", Name="shop")
    await rule(events, "paid", {"Id": "1", "Arn": FUNCTION})
    await rule(events, "paid", {"Id": "1", "Arn": QUEUE, "InputPath": "$.detail"}, EventBusName="shop")
    put = await events(
        "put_events",
        Entries=[
            {**ENTRY, "Resources": ["r"], "Time": 1_700_000_000},
            {**ENTRY, "EventBusName": f"{PREFIX}:event-bus/shop"},
            {**ENTRY, "Source": "other"},
        ],
    )
    assert put["FailedEntryCount"] == 0
    ids = [entry["EventId"] for entry in put["Entries"]]
    assert len(set(ids)) == 3
    (to_function, event), (to_queue, detail) = world.stage.sent
    assert (to_function, to_queue, detail) == (FUNCTION, QUEUE, b'{"state":"paid"}')
    assert orjson.loads(event) == {
        "version": "0",
        "id": ids[0],
        "detail-type": "order",
        "source": "shop",
        "account": ACCOUNT,
        "time": "2023-11-14T22:13:20Z",
        "region": "us-east-1",
        "resources": ["r"],
        "detail": {"state": "paid"},
    }


async def test_wrong_entries_fail_by_themselves(world: World) -> None:
    await rule(world.events, "paid", {"Id": "1", "Arn": FUNCTION})
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"Source": ""}, "InvalidArgument"),
        ({"DetailType": ""}, "InvalidArgument"),
        ({"Detail": ""}, "InvalidArgument"),
        ({"Detail": "{"}, "MalformedDetail"),
        ({"Detail": "[1]"}, "MalformedDetail"),
        ({"Detail": '{"a":' * 300 + "1" + "}" * 300}, "MalformedDetail"),
        ({"Source": "aws.ec2"}, "NotAuthorizedForSourceException"),
        ({"EventBusName": "nobody"}, "ResourceNotFoundException"),
    ]
    put = await world.events("put_events", Entries=[{**ENTRY, **change} for change, _ in wrong] + [ENTRY])
    assert put["FailedEntryCount"] == len(wrong)
    assert [entry.get("ErrorCode") for entry in put["Entries"]] == [*(code for _, code in wrong), None]
    assert len(world.stage.sent) == 1


async def test_a_time_beyond_what_can_be_written_fails_its_entry(world: World) -> None:
    events = world.events

    def later(params: dict[str, Any], **_: Any) -> None:
        params["body"] = params["body"].replace(b"1700000000", b"1e18")

    events.raw.meta.events.register("before-call.events.PutEvents", later)
    put = await events("put_events", Entries=[{**ENTRY, "Time": 1_700_000_000}])
    assert put["Entries"][0]["ErrorCode"] == "InvalidArgument"


async def test_a_request_has_ten_entries_and_a_megabyte_at_most(world: World) -> None:
    events = world.events
    assert await events.code("put_events", Entries=[]) == ("ValidationException", 400)
    assert await events.code("put_events", Entries=[ENTRY] * 11) == ("ValidationException", 400)
    detail = json.dumps({"a": "x" * (2**20 - 9 - len("shoporder"))})
    assert (await events("put_events", Entries=[{**ENTRY, "Detail": detail}]))["FailedEntryCount"] == 0
    error = await events.error("put_events", Entries=[{**ENTRY, "Detail": detail + " "}])
    assert error.response["Error"]["Message"] == "Total size of the entries in the request is over the limit."


async def test_what_follows_from_an_event_belongs_to_its_trace(world: World) -> None:
    await rule(world.events, "paid", {"Id": "1", "Arn": FUNCTION})
    await world.events("put_events", Entries=[{**ENTRY, "TraceHeader": "Root=1-a-b"}])
    assert [parcel.trace_id for parcel in world.stage.courier.parcels] == ["Root=1-a-b"]


async def test_nothing_is_answered_that_was_not_kept(world: World) -> None:
    await rule(world.events, "paid", {"Id": "1", "Arn": FUNCTION})
    world.stage.courier.is_down = True
    assert (await world.events.code("put_events", Entries=[ENTRY]))[1] == 500


async def test_a_client_that_tries_again_sends_the_same_event_and_another_request_another(world: World) -> None:
    events = world.events
    await rule(events, "paid", {"Id": "1", "Arn": FUNCTION})

    def same_request(request: Any, **_: Any) -> None:
        request.headers["amz-sdk-invocation-id"] = "7c9d4c1e"

    events.raw.meta.events.register("before-send.events.PutEvents", same_request)
    for _ in range(2):
        await events("put_events", Entries=[ENTRY, ENTRY])
    assert len(world.stage.sent) == 2
    await events("put_events", Entries=[{**ENTRY, "Detail": "{}"}])
    assert len(world.stage.sent) == 3
    other = world.opened.client("events")
    await other("put_events", Entries=[ENTRY])
    assert len(world.stage.sent) == 4


async def test_a_pattern_is_tried_against_an_event(world: World) -> None:
    async def tried(pattern: str, event: object) -> bool:
        found = await world.events("test_event_pattern", EventPattern=pattern, Event=json.dumps(event))
        return bool(found["Result"])

    assert await tried(PATTERN, {"source": "shop"})
    assert not await tried(PATTERN, {"source": "other"})
    wrong = {"EventPattern": "{}", "Event": "{}"}
    assert await world.events.code("test_event_pattern", **wrong) == ("InvalidEventPatternException", 400)
    wrong = {"EventPattern": PATTERN, "Event": "["}
    assert await world.events.code("test_event_pattern", **wrong) == ("ValidationException", 400)


# -- tags --------------------------------------------------------------------------------------------------------


async def test_buses_and_rules_have_tags(world: World) -> None:
    events = world.events
    await events("create_event_bus", Name="shop", Tags=[{"Key": "a", "Value": "1"}])
    await rule(events, EventBusName="shop")
    for arn in (f"{PREFIX}:event-bus/shop", f"{PREFIX}:rule/shop/paid"):
        await events("tag_resource", ResourceARN=arn, Tags=[{"Key": "a", "Value": "2"}, {"Key": "b", "Value": "3"}])
        await events("untag_resource", ResourceARN=arn, TagKeys=["b", "c"])
        assert (await events("list_tags_for_resource", ResourceARN=arn))["Tags"] == [{"Key": "a", "Value": "2"}]
    assert (await events.code("list_tags_for_resource", ResourceARN=f"{PREFIX}:rule/no"))[0] == (
        "ResourceNotFoundException"
    )
    assert (await events.code("list_tags_for_resource", ResourceARN="arn:x"))[0] == "ValidationException"


async def test_putting_a_rule_again_keeps_its_tags_and_targets(world: World) -> None:
    events = world.events
    await rule(events, "paid", {"Id": "1", "Arn": FUNCTION}, Tags=[{"Key": "a", "Value": "1"}])
    await rule(events, "paid", Tags=[{"Key": "b", "Value": "2"}])
    assert len((await events("list_targets_by_rule", Rule="paid"))["Targets"]) == 1
    tags = await events("list_tags_for_resource", ResourceARN=f"{PREFIX}:rule/paid")
    assert tags["Tags"] == [{"Key": "a", "Value": "1"}]


# -- permissions -------------------------------------------------------------------------------------------------


DENIED = ("AccessDeniedException", 400)


async def test_who_may_put_events_on_one_bus_may_not_on_another(world: World) -> None:
    await world.events("create_event_bus", Name="shop")
    dev = await world.user(("events:PutEvents", f"{PREFIX}:event-bus/shop"))
    assert (await dev("put_events", Entries=[{**ENTRY, "EventBusName": "shop"}]))["FailedEntryCount"] == 0
    mixed = [{**ENTRY, "EventBusName": "shop"}, ENTRY]
    assert await dev.code("put_events", Entries=mixed) == DENIED
    elsewhere = f"arn:aws:events:eu-west-1:{ACCOUNT}:event-bus/default"
    assert await dev.code("put_events", Entries=[{**ENTRY, "EventBusName": elsewhere}]) == DENIED


async def test_a_policy_can_ask_for_the_source_of_events(world: World) -> None:
    statement = {
        "Effect": "Allow",
        "Action": "events:PutEvents",
        "Resource": "*",
        "Condition": {"StringEquals": {"events:source": "shop"}},
    }
    key = await world.opened.add_user("dev", json.dumps({"Version": "2012-10-17", "Statement": [statement]}))
    dev = world.opened.client("events", key)
    assert (await dev("put_events", Entries=[ENTRY]))["FailedEntryCount"] == 0
    assert await dev.code("put_events", Entries=[{**ENTRY, "Source": "bank"}]) == DENIED


async def test_a_target_takes_the_right_to_fill_it_and_to_give_its_role(world: World) -> None:
    await rule(world.events)
    own = f"{PREFIX}:rule/paid"
    dev = await world.user(("events:PutTargets", own), ("sqs:SendMessage", QUEUE))

    async def put(**target: Any) -> Any:
        return await dev("put_targets", Rule="paid", Targets=[{"Id": "1", **target}])

    await put(Arn=FUNCTION)
    await put(Arn=QUEUE, DeadLetterConfig={"Arn": QUEUE})
    refused: list[dict[str, Any]] = [
        {"Arn": QUEUE + "2"},
        {"Arn": "arn:aws:sqs:eu-west-1:000000000000:jobs2"},
        {"Arn": FUNCTION, "DeadLetterConfig": {"Arn": QUEUE + "2"}},
        {"Arn": FUNCTION, "RoleArn": f"arn:aws:iam::{ACCOUNT}:role/r"},
        {"Arn": f"arn:aws:kinesis:us-east-1:{ACCOUNT}:stream/s"},
        {"Arn": f"arn:hearth:redis:us-east-1:{ACCOUNT}:hearth/list/l"},
        {"Arn": f"arn:hearth:webhook:us-east-1:{ACCOUNT}:w"},
        {"Arn": f"arn:aws:sns:us-east-1:{ACCOUNT}:t"},
        {"Arn": f"{PREFIX}:event-bus/default"},
    ]
    for target in refused:
        assert await dev.code("put_targets", Rule="paid", Targets=[{"Id": "1", **target}]) == DENIED


@pytest.mark.parametrize(
    ("operation", "parameters"),
    [
        ("create_event_bus", {"Name": "b"}),
        ("delete_event_bus", {"Name": "b"}),
        ("describe_event_bus", {}),
        ("list_event_buses", {}),
        ("update_event_bus", {"Name": "b"}),
        ("put_rule", {"Name": "r", "EventPattern": PATTERN}),
        ("describe_rule", {"Name": "r"}),
        ("list_rules", {}),
        ("enable_rule", {"Name": "r"}),
        ("disable_rule", {"Name": "r"}),
        ("delete_rule", {"Name": "r"}),
        ("put_targets", {"Rule": "r", "Targets": [{"Id": "1", "Arn": FUNCTION}]}),
        ("remove_targets", {"Rule": "r", "Ids": ["1"]}),
        ("list_targets_by_rule", {"Rule": "r"}),
        ("list_rule_names_by_target", {"TargetArn": FUNCTION}),
        ("put_events", {"Entries": [ENTRY]}),
        ("test_event_pattern", {"EventPattern": PATTERN, "Event": "{}"}),
        ("tag_resource", {"ResourceARN": f"{PREFIX}:rule/r", "Tags": [{"Key": "a", "Value": "b"}]}),
        ("untag_resource", {"ResourceARN": f"{PREFIX}:rule/r", "TagKeys": ["a"]}),
        ("list_tags_for_resource", {"ResourceARN": f"{PREFIX}:rule/r"}),
    ],
)
async def test_every_operation_asks_whether_it_may(world: World, operation: str, parameters: dict[str, Any]) -> None:
    dev = await world.user(("sqs:*", "*"))
    assert await dev.code(operation, **parameters) == DENIED


async def test_a_queue_that_is_denied_is_denied_by_every_arn_it_has(world: World) -> None:
    await rule(world.events)
    allow = {"Effect": "Allow", "Action": "*", "Resource": "*"}
    deny = {"Effect": "Deny", "Action": "sqs:*", "Resource": QUEUE}
    key = await world.opened.add_user("dev", json.dumps({"Version": "2012-10-17", "Statement": [allow, deny]}))
    dev = world.opened.client("events", key)
    elsewhere = QUEUE.replace("us-east-1", "eu-west-1")
    for target in ({"Arn": elsewhere}, {"Arn": FUNCTION, "DeadLetterConfig": {"Arn": elsewhere}}):
        assert await dev.code("put_targets", Rule="paid", Targets=[{"Id": "1", **target}]) == DENIED


async def test_an_arn_of_another_region_is_judged_as_the_rule_it_is_here(world: World) -> None:
    await rule(world.events)
    dev = await world.user(("events:TagResource", f"arn:aws:events:eu-west-1:{ACCOUNT}:rule/paid"))
    elsewhere = f"arn:aws:events:eu-west-1:{ACCOUNT}:rule/paid"
    tags = [{"Key": "a", "Value": "b"}]
    assert await dev.code("tag_resource", ResourceARN=elsewhere, Tags=tags) == DENIED
