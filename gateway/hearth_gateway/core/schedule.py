"""Schedules of EventBridge Scheduler as values: what they say, when they fire, and what they send.

Source: `CreateSchedule` and `Target` in the EventBridge Scheduler API reference; "Managing targets", "Adding context
attributes" and "Universal targets", user guide.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import tzinfo
from enum import Enum
from typing import Any, assert_never

import orjson

from hearth_gateway.core.addresses import (
    BusAddress,
    FunctionAddress,
    ListAddress,
    QueueAddress,
    StreamAddress,
    TopicAddress,
    WebhookAddress,
    parse_address,
    parse_target,
    served,
)
from hearth_gateway.core.bus_event import Place, event_of, time_text
from hearth_gateway.core.firing import ON_TIME_MS, Firing, MissedFirings, Timer
from hearth_gateway.core.parcel import DEFAULT_MAX_AGE_S, DEFAULT_RETRY_ATTEMPTS, Attribute, Parcel
from hearth_gateway.core.schedule_expression import Cron, Once, Rate, ScheduleExpression, parse_expression

DEFAULT_GROUP = "default"
MISSED_TAG = "hearth:missed-firings"
"""The tag of a schedule group that says what becomes of its schedules' missed firings, instead of the setting."""

UNIVERSAL = "arn:aws:scheduler:::aws-sdk:"
_ACTIONS = {
    FunctionAddress: "lambda:InvokeFunction",
    QueueAddress: "sqs:SendMessage",
    TopicAddress: "sns:Publish",
    BusAddress: "events:PutEvents",
    StreamAddress: "kinesis:PutRecord",
    ListAddress: "sqs:SendMessage",
    WebhookAddress: "events:InvokeApiDestination",
}
_OF_MESSAGES = {"MessageGroupId", "MessageDeduplicationId", "MessageAttributes"}
_UNIVERSAL_MEMBERS = {
    "lambda:invoke": {"FunctionName", "Qualifier", "Payload", "InvocationType", "LogType"},
    "sqs:sendMessage": {"QueueUrl", "MessageBody", *_OF_MESSAGES},
    "sns:publish": {"TopicArn", "Message", "Subject", *_OF_MESSAGES},
}
"""What the requests of universal targets may say here; anything else is refused rather than lost."""
_JSON_ONLY = (FunctionAddress, BusAddress)
"""Targets whose input must be JSON, as the service documents it."""


class InvalidTarget(ValueError):
    """The target cannot be used; the message says why."""


class ScheduleState(Enum):
    """The value is the word of the API."""

    ENABLED = "ENABLED"
    DISABLED = "DISABLED"


@dataclass(frozen=True, slots=True)
class ScheduleGroup:
    """Schedules with a name in common, and tags. Times are epoch milliseconds."""

    name: str
    created_ms: int
    modified_ms: int
    tags: Mapping[str, str] = field(default_factory=dict)
    client_token: str = ""

    @property
    def missed(self) -> MissedFirings | None:
        """The policy that the group's tag names, None where it names none."""
        word = self.tags.get(MISSED_TAG, "")
        return MissedFirings(word) if word in {policy.value for policy in MissedFirings} else None


@dataclass(frozen=True, slots=True)
class Schedule:
    """One schedule. `target` is the `Target` of the API, member for member.

    Times are epoch milliseconds. `since_ms` is when it became what it is: it fires for later times only. Rates count
    from `anchor_ms`. `window_min` is None for a window that is off. `is_by_maker`: it fires by the permission of who
    made it, because nobody made the role that its target names.
    """

    name: str
    group: str
    arn: str
    expression: str
    target: Mapping[str, Any]
    created_ms: int
    modified_ms: int
    since_ms: int
    anchor_ms: int
    zone: str = "UTC"
    state: ScheduleState = ScheduleState.ENABLED
    description: str | None = None
    start_ms: int | None = None
    end_ms: int | None = None
    window_min: int | None = None
    is_deleted_after_completion: bool = False
    is_by_maker: bool = False
    kms_key_arn: str | None = None
    client_token: str = ""

    @property
    def key(self) -> str:
        """What it is kept under: no group has a slash in its name."""
        return f"{self.group}/{self.name}"

    @property
    def max_age_s(self) -> int:
        return int(self._retry_policy.get("MaximumEventAgeInSeconds", DEFAULT_MAX_AGE_S))

    @property
    def max_retry_attempts(self) -> int:
        return int(self._retry_policy.get("MaximumRetryAttempts", DEFAULT_RETRY_ATTEMPTS))

    @property
    def dead_letter_arn(self) -> str | None:
        found = self.target.get("DeadLetterConfig", {}).get("Arn")
        return None if found is None else str(found)

    @property
    def _retry_policy(self) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self.target.get("RetryPolicy", {})
        return found


def timer_of(schedule: Schedule, zone: tzinfo, missed: MissedFirings | None) -> Timer:
    """The timer of a schedule that is enabled. Raises InvalidExpression. A single time knows no start and no end."""
    expression = parse_expression(schedule.expression)
    is_once = isinstance(expression, Once)
    return Timer(
        schedule.arn,
        expression,
        since_ms=schedule.since_ms - _grace_ms(expression),
        anchor_ms=schedule.anchor_ms,
        zone=zone,
        start_ms=None if is_once else schedule.start_ms,
        end_ms=None if is_once else schedule.end_ms,
        window_s=60 * (schedule.window_min or 0),
        missed=missed,
        max_age_s=schedule.max_age_s,
    )


def _grace_ms(expression: ScheduleExpression) -> int:
    """A rate fires at its anchor as well: such a schedule begins at once, or with its start date. A single time may
    have just passed when its schedule arrives."""
    match expression:
        case Rate():
            return 1
        case Once():
            return ON_TIME_MS
        case Cron():
            return 0
        case _:
            assert_never(expression)


# Targets


@dataclass(frozen=True, slots=True)
class _Delivery:
    """Where a firing goes and what it carries: `text` None is the default notification."""

    arn: str
    text: str | None
    group_id: str = ""
    deduplication_id: str = ""
    subject: str | None = None
    attributes: Mapping[str, Attribute] = field(default_factory=dict)


def check_target(target: Mapping[str, Any], place: Place) -> tuple[str, str]:
    """The action that the target stands for and the ARN of what it is done to. Raises InvalidTarget."""
    delivery = _delivery(target, place)
    address = parse_target(delivery.arn)
    action = None if address is None else _ACTIONS.get(type(address))
    if address is None or action is None:
        raise InvalidTarget(f"Provided Arn is not of a target that is available on this platform: {delivery.arn}")
    if isinstance(address, BusAddress) and "EventBridgeParameters" not in target:
        raise InvalidTarget("EventBridgeParameters must be provided for this target.")
    if isinstance(address, StreamAddress) and "KinesisParameters" not in target:
        raise InvalidTarget("KinesisParameters must be provided for this target.")
    if isinstance(address, QueueAddress) and address.is_fifo and not delivery.group_id:
        raise InvalidTarget("SqsParameters with a MessageGroupId must be provided for a FIFO queue.")
    if delivery.text is not None and isinstance(address, _JSON_ONLY):
        _parsed(_filled(delivery.text, "arn", Firing("0", 0, 0)), is_object=isinstance(address, BusAddress))
    return action, served(delivery.arn, place.region, place.account)


def parcel_of(schedule: Schedule, firing: Firing, place: Place) -> Parcel:
    """What a firing sends. The execution id is the firing's."""
    delivery = _delivery(schedule.target, place)
    return Parcel(
        id=firing.id,
        target=delivery.arn,
        body=_body(schedule, delivery, firing, place),
        accepted_ms=firing.fired_ms,
        sender=schedule.arn,
        subject=delivery.subject,
        attributes=delivery.attributes,
        group_id=delivery.group_id,
        deduplication_id=delivery.deduplication_id or (firing.id if delivery.group_id else ""),
        dead_letter_arn=schedule.dead_letter_arn,
        max_age_s=schedule.max_age_s,
        max_attempts=schedule.max_retry_attempts + 1,
    )


def _body(schedule: Schedule, delivery: _Delivery, firing: Firing, place: Place) -> bytes:
    text = None if delivery.text is None else _filled(delivery.text, schedule.arn, firing)
    if isinstance(parse_address(delivery.arn), BusAddress):
        said = schedule.target["EventBridgeParameters"]
        detail = {} if text is None else _parsed(text, is_object=True)
        return event_of(
            firing.id,
            place,
            firing.scheduled_ms,
            source=said["Source"],
            detail_type=said["DetailType"],
            detail=detail,
            resources=(schedule.arn,),
        ).text
    return _notification(schedule, firing, place) if text is None else text.encode()


def _notification(schedule: Schedule, firing: Firing, place: Place) -> bytes:
    """What a target gets that has no input. Its detail is the text `{}`, which is no mistake of ours."""
    return event_of(
        firing.id,
        place,
        firing.scheduled_ms,
        source="aws.scheduler",
        detail_type="Scheduled Event",
        detail="{}",
        resources=(schedule.arn,),
    ).text


def _filled(text: str, arn: str, firing: Firing) -> str:
    """The input with its context attributes. The attempt is the first one: later ones repeat what it sent."""
    if "<aws.scheduler." not in text:
        return text
    known = {
        "schedule-arn": arn,
        "scheduled-time": time_text(firing.scheduled_ms),
        "execution-id": firing.id,
        "attempt-number": "1",
    }
    for name, value in known.items():
        text = text.replace(f"<aws.scheduler.{name}>", value)
    return text


def _delivery(target: Mapping[str, Any], place: Place) -> _Delivery:
    arn = target["Arn"]
    if arn.startswith(UNIVERSAL):
        return _universal(arn.removeprefix(UNIVERSAL), target.get("Input"), place)
    group_id = target.get("SqsParameters", {}).get("MessageGroupId") or target.get("KinesisParameters", {}).get(
        "PartitionKey", ""
    )
    return _Delivery(arn, target.get("Input"), group_id)


def _universal(operation: str, text: str | None, place: Place) -> _Delivery:
    """A call of an operation as a target: its request is the input. Three operations are deliveries."""
    known = _UNIVERSAL_MEMBERS.get(operation)
    if known is None:
        raise InvalidTarget(f"The universal target {operation} is not available on this platform.")
    asked = _parsed(text or "{}", is_object=True)
    for name in sorted(asked.keys() - known):
        raise InvalidTarget(f"Invalid RequestJson provided. Reason: {name} is not available on this platform.")
    try:
        return _function_call(asked, place) if operation == "lambda:invoke" else _message(operation, asked, place)
    except (KeyError, AttributeError, TypeError) as error:
        raise InvalidTarget(
            f"Invalid RequestJson provided. Reason: {error} is missing or has the wrong type"
        ) from error


def _function_call(asked: Mapping[str, Any], place: Place) -> _Delivery:
    payload = asked.get("Payload")
    text = payload if payload is None or isinstance(payload, str) else orjson.dumps(payload).decode()
    return _Delivery(_function_arn(asked["FunctionName"], asked.get("Qualifier"), place), text)


def _message(operation: str, asked: Mapping[str, Any], place: Place) -> _Delivery:
    if operation == "sqs:sendMessage":
        queue = asked["QueueUrl"].rstrip("/").rpartition("/")[2]
        arn, text = f"arn:aws:sqs:{place.region}:{place.account}:{queue}", asked["MessageBody"]
    else:
        arn, text = asked["TopicArn"], asked["Message"]
    if not (isinstance(arn, str) and isinstance(text, str)):
        raise TypeError("a member")
    return _Delivery(
        arn,
        text,
        asked.get("MessageGroupId", ""),
        asked.get("MessageDeduplicationId", ""),
        asked.get("Subject"),
        {
            name: Attribute(given["DataType"], given["StringValue"])
            for name, given in asked.get("MessageAttributes", {}).items()
        },
    )


def _function_arn(named: str, qualifier: str | None, place: Place) -> str:
    arn = named if named.startswith("arn:") else f"arn:aws:lambda:{place.region}:{place.account}:function:{named}"
    return f"{arn}:{qualifier}" if qualifier else arn


def _parsed(text: str, *, is_object: bool) -> Any:
    try:
        found = orjson.loads(text)
        if is_object:
            orjson.dumps([found])  # what is nested too deeply for an event can be read, and never be written again
    except (orjson.JSONDecodeError, TypeError) as error:
        raise InvalidTarget("Invalid RequestJson provided. Reason: The input is not well-formed JSON.") from error
    if is_object and not isinstance(found, dict):
        raise InvalidTarget("Invalid RequestJson provided. Reason: The input must be a JSON object.")
    return found
