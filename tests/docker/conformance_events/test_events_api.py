"""Every operation of the EventBridge API by boto3, its answers held against the model, its errors against the
documentation.

Source: Amazon EventBridge API reference.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
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

MODEL = botocore.session.get_session().get_service_model("events")
NOT_HERE = (
    *("ActivateEventSource", "CancelReplay", "CreateApiDestination", "CreateArchive", "CreateConnection"),
    *("CreateEndpoint", "CreatePartnerEventSource", "DeactivateEventSource", "DeauthorizeConnection"),
    *("DeleteApiDestination", "DeleteArchive", "DeleteConnection", "DeleteEndpoint", "DeletePartnerEventSource"),
    *("DescribeApiDestination", "DescribeArchive", "DescribeConnection", "DescribeEndpoint", "DescribeEventSource"),
    *("DescribePartnerEventSource", "DescribeReplay", "ListApiDestinations", "ListArchives", "ListConnections"),
    *("ListEndpoints", "ListEventSources", "ListPartnerEventSourceAccounts", "ListPartnerEventSources", "ListReplays"),
    *("PutPartnerEvents", "PutPermission", "RemovePermission", "StartReplay", "UpdateApiDestination", "UpdateArchive"),
    *("UpdateConnection", "UpdateEndpoint"),
)
PATTERN = json.dumps({"source": ["nobody.says.this"]})
QUEUE = "arn:aws:sqs:us-east-1:000000000000:nobody-made-this"
STREAM = "arn:aws:kinesis:us-east-1:000000000000:stream/nobody-made-this"


@dataclass
class Stage:
    """A Hearth, and a client whose exchanges are listened to."""

    hearth: House
    api: Any

    def bus(self) -> str:
        name = unique("bus")
        self.api.create_event_bus(Name=name)
        return name

    def rule(self, bus: str = "default", **more: Any) -> str:
        name = unique("rule")
        self.api.put_rule(**{"Name": name, "EventBusName": bus, "EventPattern": PATTERN, **more})
        return name

    def aimed(self, bus: str = "default") -> str:
        """A rule with a target."""
        name = self.rule(bus)
        self.api.put_targets(Rule=name, EventBusName=bus, Targets=[{"Id": "a", "Arn": QUEUE}])
        return name

    def arn(self, what: str) -> str:
        return f"arn:aws:events:us-east-1:000000000000:{what}"


@pytest.fixture(scope="module")
def stage(hearth: House) -> Stage:
    return Stage(hearth, None)


@pytest.fixture
def exchange(stage: Stage) -> Iterator[Exchanges]:
    yield from exchanges.heard(stage, "events")


Drive = Callable[[Stage], Any]


def _buses(on: Stage) -> None:
    stem = unique("page")
    for number in range(3):
        on.api.create_event_bus(Name=f"{stem}-{number}", Description="d", Tags=[{"Key": "a", "Value": "b"}])
    first = on.api.list_event_buses(NamePrefix=stem, Limit=2)
    rest = on.api.list_event_buses(NamePrefix=stem, Limit=2, NextToken=first["NextToken"])
    assert [one["Name"] for one in first["EventBuses"] + rest["EventBuses"]] == [f"{stem}-{n}" for n in range(3)]
    assert "NextToken" not in rest
    on.api.update_event_bus(Name=f"{stem}-0", Description="other")
    shown = on.api.describe_event_bus(Name=on.arn(f"event-bus/{stem}-0"))
    assert (shown["Description"], shown["Arn"]) == ("other", on.arn(f"event-bus/{stem}-0"))
    assert isinstance(shown["CreationTime"], datetime)
    on.api.delete_event_bus(Name=f"{stem}-0")
    on.api.delete_event_bus(Name=f"{stem}-0")
    assert on.api.describe_event_bus()["Name"] == "default"


def _rules(on: Stage) -> None:
    bus, names = on.bus(), []
    for _ in range(3):
        names.append(on.rule(bus, Description="d", RoleArn=ROLE, State="DISABLED"))
    names.sort()
    first = on.api.list_rules(EventBusName=bus, NamePrefix="rule", Limit=2)
    rest = on.api.list_rules(EventBusName=bus, Limit=2, NextToken=first["NextToken"])
    assert [one["Name"] for one in first["Rules"] + rest["Rules"]] == names
    on.api.enable_rule(Name=names[0], EventBusName=bus)
    shown = on.api.describe_rule(Name=names[0], EventBusName=on.arn(f"event-bus/{bus}"))
    assert (shown["State"], shown["EventPattern"], shown["CreatedBy"]) == ("ENABLED", PATTERN, "0" * 12)
    assert shown["Arn"] == on.arn(f"rule/{bus}/{names[0]}")
    on.api.disable_rule(Name=names[0], EventBusName=bus)
    on.api.delete_rule(Name=names[0], EventBusName=bus, Force=True)
    on.api.delete_rule(Name=names[0], EventBusName=bus)
    timed = unique("timed")
    made = on.api.put_rule(Name=timed, ScheduleExpression="rate(7 days)", Tags=[{"Key": "a", "Value": "b"}])
    assert made["RuleArn"] == on.arn(f"rule/{timed}")
    on.api.put_rule(Name=timed, ScheduleExpression="cron(0 12 ? * MON-FRI *)", State="DISABLED")
    assert on.api.describe_rule(Name=timed)["ScheduleExpression"] == "cron(0 12 ? * MON-FRI *)"


def _targets(on: Stage) -> None:
    name = on.rule()
    targets = [
        {
            "Id": "a",
            "Arn": QUEUE,
            "RoleArn": ROLE,
            "Input": '{"a": 1}',
            "RetryPolicy": {"MaximumRetryAttempts": 0, "MaximumEventAgeInSeconds": 60},
            "DeadLetterConfig": {"Arn": QUEUE},
        },
        {"Id": "b", "Arn": STREAM, "KinesisParameters": {"PartitionKeyPath": "$.detail.id"}},
        {"Id": "c", "Arn": f"{QUEUE}.fifo", "InputPath": "$.detail", "SqsParameters": {"MessageGroupId": "g"}},
        {"Id": "d", "Arn": QUEUE, "InputTransformer": {"InputPathsMap": {"i": "$.id"}, "InputTemplate": '{"id": <i>}'}},
    ]
    answer = on.api.put_targets(Rule=name, EventBusName="default", Targets=targets)
    assert (answer["FailedEntryCount"], answer["FailedEntries"]) == (0, [])
    first = on.api.list_targets_by_rule(Rule=name, EventBusName="default", Limit=3)
    rest = on.api.list_targets_by_rule(Rule=name, Limit=3, NextToken=first["NextToken"])
    assert first["Targets"] + rest["Targets"] == targets
    named = on.api.list_rule_names_by_target(TargetArn=STREAM, EventBusName="default", Limit=100)["RuleNames"]
    assert name in named
    gone = on.api.remove_targets(Rule=name, EventBusName="default", Ids=["a", "z"], Force=True)
    assert gone["FailedEntryCount"] == 1
    assert (gone["FailedEntries"][0]["TargetId"], gone["FailedEntries"][0]["ErrorCode"]) == (
        "z",
        "ResourceNotFoundException",
    )


def _tags(on: Stage) -> None:
    for arn in (on.arn(f"event-bus/{on.bus()}"), on.arn(f"rule/{on.rule()}")):
        on.api.tag_resource(ResourceARN=arn, Tags=[{"Key": "a", "Value": "b"}, {"Key": "c", "Value": ""}])
        on.api.untag_resource(ResourceARN=arn, TagKeys=["a", "z"])
        assert on.api.list_tags_for_resource(ResourceARN=arn)["Tags"] == [{"Key": "c", "Value": ""}]


def _events(on: Stage) -> None:
    good = {"Source": "a.b", "DetailType": "t", "Detail": "{}"}
    entries = [
        {
            **good,
            "Time": 1,
            "Resources": ["r"],
            "EventBusName": on.arn(f"event-bus/{on.bus()}"),
            "TraceHeader": "Root=1",
        },
        {**good, "Source": "aws.s3"},
        {**good, "Detail": "no JSON"},
        {**good, "EventBusName": "nobody-made-this"},
        {"Source": "a.b", "Detail": "{}"},
    ]
    answer = on.api.put_events(Entries=entries)
    assert answer["FailedEntryCount"] == 4
    assert [one.get("ErrorCode") for one in answer["Entries"]] == [
        *(None, "NotAuthorizedForSourceException", "MalformedDetail", "ResourceNotFoundException", "InvalidArgument"),
    ]
    event = {"id": "i", "source": "a.b", "detail": {"n": 5}}
    pattern = {"source": [{"prefix": "a."}], "detail": {"n": [{"numeric": [">", 4]}]}}
    assert on.api.test_event_pattern(Event=json.dumps(event), EventPattern=json.dumps(pattern))["Result"] is True


SERVED: dict[Drive, tuple[str, ...]] = {
    _buses: ("CreateEventBus", "DeleteEventBus", "DescribeEventBus", "ListEventBuses", "UpdateEventBus"),
    _rules: ("PutRule", "DescribeRule", "ListRules", "EnableRule", "DisableRule", "DeleteRule"),
    _targets: ("PutTargets", "RemoveTargets", "ListTargetsByRule", "ListRuleNamesByTarget"),
    _tags: ("TagResource", "UntagResource", "ListTagsForResource"),
    _events: ("PutEvents", "TestEventPattern"),
}
OPERATIONS = sorted({name for names in SERVED.values() for name in names})


def _to(*targets: dict[str, Any], **more: Any) -> Drive:
    """PutTargets on a fresh rule."""
    return lambda on: {"Rule": on.rule(), "Targets": [{"Id": "a", "Arn": QUEUE, **one} for one in targets], **more}


def _rule(**more: Any) -> Drive:
    return lambda on: {"Name": "never", **more}


def _at(arn: str) -> Drive:
    """Members of every operation on tags."""
    return lambda on: {"ResourceARN": on.arn(arn), "Tags": [{"Key": "a", "Value": "b"}], "TagKeys": ["a"]}


def _nobodys(member: str) -> Drive:
    """Members of every operation on a rule, which is not there."""
    return lambda on: {member: "nobody-made-this", "Ids": ["a"], "Targets": [{"Id": "a", "Arn": QUEUE}]}


def _ruled_bus(on: Stage) -> dict[str, Any]:
    name = on.bus()
    on.rule(name)
    return {"Name": name}


_INVALID, _GONE, _PATTERN = "ValidationException", "ResourceNotFoundException", "InvalidEventPatternException"
_LIMIT, _EXISTS = "LimitExceededException", "ResourceAlreadyExistsException"
REFUSALS = [
    Refusal("CreateEventBus", "a name that is taken", lambda on: {"Name": on.bus()}, _EXISTS, _EXISTS),
    Refusal("CreateEventBus", "the default bus", lambda on: {"Name": "default"}, _EXISTS, _EXISTS),
    Refusal("CreateEventBus", "a slash", lambda on: {"Name": "a/b"}, _INVALID),
    Refusal("CreateEventBus", "a key", lambda on: {"Name": "k", "KmsKeyIdentifier": "alias/a"}, "UnsupportedOperation"),
    Refusal("DeleteEventBus", "the default bus", lambda on: {"Name": "default"}, _INVALID),
    Refusal("DeleteEventBus", "a bus with rules", _ruled_bus, _INVALID),
    Refusal("DescribeEventBus", "no such bus", lambda on: {"Name": "nobody-made-this"}, _GONE, _GONE),
    Refusal("UpdateEventBus", "no such bus", lambda on: {"Name": "nobody-made-this"}, _GONE, _GONE),
    Refusal("ListEventBuses", "a token that is none", lambda on: {"NextToken": "?"}, _INVALID),
    Refusal("PutRule", "neither pattern nor schedule", _rule(), _INVALID),
    Refusal("PutRule", "no such bus", _rule(EventPattern=PATTERN, EventBusName="nobody-made-this"), _GONE, _GONE),
    Refusal("PutRule", "a pattern that is no JSON", _rule(EventPattern="{"), _PATTERN, _PATTERN),
    Refusal("PutRule", "a pattern without lists", _rule(EventPattern='{"a": "b"}'), _PATTERN, _PATTERN),
    Refusal("PutRule", "an operator there is not", _rule(EventPattern='{"a": [{"like": "b"}]}'), _PATTERN, _PATTERN),
    Refusal("PutRule", "a schedule that is none", _rule(ScheduleExpression="rate(1 minutes)"), _INVALID),
    Refusal("PutRule", "no minutes", _rule(ScheduleExpression="rate(0 minutes)"), _INVALID),
    Refusal("PutRule", "a single time", _rule(ScheduleExpression="at(2030-01-01T00:00:00)"), _INVALID),
    Refusal(
        *("PutRule", "a schedule on another bus"),
        lambda on: {"Name": "never", "ScheduleExpression": "rate(1 day)", "EventBusName": on.bus()},
        _INVALID,
    ),
    Refusal("PutRule", "a state there is not", _rule(EventPattern=PATTERN, State="ASLEEP"), _INVALID),
    Refusal("PutTargets", "six targets", _to(*({"Id": str(number)} for number in range(6))), _LIMIT, _LIMIT),
    Refusal("PutTargets", "eleven entries", _to(*({"Id": str(number)} for number in range(11))), _INVALID),
    Refusal("PutTargets", "an ARN that is none", _to({"Arn": "queue"}), _INVALID),
    Refusal("PutTargets", "two inputs", _to({"Input": "{}", "InputPath": "$.detail"}), _INVALID),
    Refusal("PutTargets", "an input that is no JSON", _to({"Input": "{"}), _INVALID),
    Refusal("PutTargets", "a path that is none", _to({"InputPath": "detail"}), _INVALID),
    Refusal("PutTargets", "a FIFO queue without a group", _to({"Arn": f"{QUEUE}.fifo"}), _INVALID),
    Refusal("PutTargets", "a key for a queue", _to({"KinesisParameters": {"PartitionKeyPath": "$.id"}}), _INVALID),
    Refusal("PutTargets", "dead letters to a stream", _to({"DeadLetterConfig": {"Arn": STREAM}}), _INVALID),
    Refusal("PutTargets", "too many retries", _to({"RetryPolicy": {"MaximumRetryAttempts": 186}}), _INVALID),
    Refusal("PutTargets", "a task", _to({"EcsParameters": {"TaskDefinitionArn": "a"}}), _INVALID),
    Refusal("DeleteRule", "a rule with targets", lambda on: {"Name": on.aimed()}, _INVALID),
    Refusal("DeleteRule", "no such bus", lambda on: {"Name": "a", "EventBusName": "nobody-made-this"}, _GONE, _GONE),
    Refusal("ListRules", "no such bus", lambda on: {"EventBusName": "nobody-made-this"}, _GONE, _GONE),
    Refusal("ListRuleNamesByTarget", "no such bus", lambda on: {"TargetArn": "a", "EventBusName": "no"}, _GONE, _GONE),
    Refusal("PutEvents", "more than 1 MiB", lambda on: {"Entries": [{"Detail": "x" * 2**20, "Source": "a"}]}, _INVALID),
    Refusal("TestEventPattern", "an event that is none", lambda on: {"Event": "[]", "EventPattern": PATTERN}, _INVALID),
    Refusal("TestEventPattern", "no pattern", lambda on: {"Event": "{}", "EventPattern": "[]"}, _PATTERN, _PATTERN),
    Refusal("TagResource", "an ARN that is none", lambda on: {"ResourceARN": "bus", "Tags": []}, _INVALID),
    Refusal(
        *("TagResource", "51 tags"),
        lambda on: {
            "ResourceARN": on.arn(f"event-bus/{on.bus()}"),
            "Tags": [{"Key": str(number), "Value": ""} for number in range(51)],
        },
        _INVALID,
    ),
    *(
        Refusal(operation, f"no such {what}", _at(arn), _GONE, _GONE)
        for operation in ("TagResource", "UntagResource", "ListTagsForResource")
        for what, arn in {"bus": "event-bus/nobody", "rule": "rule/nobody", "rule on a bus": "rule/nobody/a"}.items()
    ),
    *(
        Refusal(operation, "no such rule", _nobodys(member), _GONE, _GONE)
        for member, operations in {
            "Name": ("DescribeRule", "EnableRule", "DisableRule"),
            "Rule": ("ListTargetsByRule", "RemoveTargets", "PutTargets"),
        }.items()
        for operation in operations
    ),
]
KNOWN = {"ResourceARN": "arn:aws:events:us-east-1:000000000000:event-bus/default", "Tags": [], "TargetArn": "x"}


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
    for wrong, expected in (
        *((one, _INVALID) for one in (*incomplete(shape, whole), *excessive(shape, whole))),
        *((one, "SerializationException") for one in mistyped(shape, whole)),
    ):
        name, body = wrong
        error = refused(stage.api, operation, {}, body)
        assert (name, error.response["Error"]["Code"], exchanges.status_of(error)) == (name, expected, 400)


@pytest.mark.parametrize("operation", NOT_HERE)
def test_what_is_not_here_is_refused_by_name(stage: Stage, exchange: Exchanges, operation: str) -> None:
    error = refused(stage.api, operation, {}, {})
    assert (error.response["Error"]["Code"], exchanges.status_of(error)) == ("UnsupportedOperation", 400)
    assert operation in error.response["Error"]["Message"]
