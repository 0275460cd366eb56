"""EventBridge's operations on the targets of rules.

Rule 1: what a target says is kept to or refused: parameters of services that are not here are refused.
Rule 2: functions are asked by their own policies when an event is delivered. Everything else is filled by Hearth
itself, so whoever names it as a target must be allowed to do that.
Source: PutTargets and Target in the Amazon EventBridge API reference.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from hearth_gateway.bus.catalogue import Catalogue
from hearth_gateway.core.addresses import (
    Address,
    BucketAddress,
    BusAddress,
    ChannelAddress,
    FunctionAddress,
    ListAddress,
    QueueAddress,
    StreamAddress,
    TopicAddress,
    WebhookAddress,
    parse_address,
    parse_target,
)
from hearth_gateway.core.bus_rule import Rule, Target, ready_target
from hearth_gateway.core.input_transformer import InvalidInput
from hearth_gateway.neighbours.calls import Call, Handler, Members
from hearth_gateway.neighbours.events_answers import (
    bus_name,
    invalid,
    limit_exceeded,
    page,
    pass_role,
    without_none,
)
from hearth_gateway.neighbours.events_rules_api import allow_rule

MAX_TARGETS = 5
"""Of one rule; the service's own quota."""
MAX_ENTRIES = 10
"""Of one request."""

_FOREIGN = frozenset(
    {
        "RunCommandParameters",
        "EcsParameters",
        "BatchParameters",
        "HttpParameters",
        "RedshiftDataParameters",
        "SageMakerPipelineParameters",
        "AppSyncParameters",
    }
)

_ACTIONS: Mapping[type[Address], str | None] = {
    BucketAddress: None,
    BusAddress: "events:PutEvents",
    ChannelAddress: None,
    FunctionAddress: "",
    ListAddress: "sqs:SendMessage",
    QueueAddress: "sqs:SendMessage",
    StreamAddress: "kinesis:PutRecord",
    TopicAddress: "sns:Publish",
    WebhookAddress: "events:InvokeApiDestination",
}
"""What whoever names a target must be allowed to do with it: "" is nothing, None is no target."""


class TargetOperations:
    """The operations on targets."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue

    def handlers(self) -> Mapping[str, Handler]:
        return {"PutTargets": self._put, "RemoveTargets": self._remove, "ListTargetsByRule": self._list}

    async def _put(self, call: Call) -> Members:
        bus, name = self._asked(call, "PutTargets")
        given = call["Targets"]
        if len(given) > MAX_ENTRIES:
            raise invalid(f"Value at 'targets' failed to satisfy constraint: at most {MAX_ENTRIES} entries per request")
        targets = {one["Id"]: self._read(call, one) for one in given}
        async with self._catalogue.changing:
            rule = self._catalogue.rule(bus, name)
            after = {**{one.id: one for one in rule.targets}, **targets}
            if len(after) > MAX_TARGETS:
                raise limit_exceeded()
            await self._catalogue.put(replace(rule, targets=tuple(after.values())))
        return {"FailedEntryCount": 0, "FailedEntries": []}

    async def _remove(self, call: Call) -> Members:
        bus, name = self._asked(call, "RemoveTargets")
        gone = set(call["Ids"])
        async with self._catalogue.changing:
            rule = self._catalogue.rule(bus, name)
            failed = list(_failures(rule, gone))
            kept = tuple(one for one in rule.targets if one.id not in gone)
            if len(kept) < len(rule.targets):
                await self._catalogue.put(replace(rule, targets=kept))
        return {"FailedEntryCount": len(failed), "FailedEntries": failed}

    async def _list(self, call: Call) -> Members:
        bus, name = self._asked(call, "ListTargetsByRule")
        found = [(target.id, target) for target in self._catalogue.rule(bus, name).targets]
        shown, following = page(call, found, _shown)
        return {"Targets": shown, **following}

    def _asked(self, call: Call, operation: str) -> tuple[str, str]:
        bus, name = bus_name(call.get("EventBusName")), call["Rule"]
        allow_rule(self._catalogue, call, operation, bus=bus, name=name)
        return bus, name

    def _read(self, call: Call, given: Mapping[str, Any]) -> Target:
        """A target that was sent, checked. Raises an error of the caller's."""
        foreign = _FOREIGN & given.keys()
        if foreign:
            raise invalid(f"Parameter {sorted(foreign)[0]} is not available on this platform.")
        target = _target(given)
        _check(target)
        address = parse_target(target.arn)
        action = None if address is None else _ACTIONS[type(address)]
        if action is None:
            raise invalid(f"Parameter {target.arn} is not valid. Reason: Provided Arn is not in correct format.")
        if action:
            call.allow(action, self._served(target.arn))
        if target.dead_letter_arn is not None:
            call.allow("sqs:SendMessage", self._served(target.dead_letter_arn))
        pass_role(call, target.role_arn)
        return target

    def _served(self, arn: str) -> str:
        """The ARN of what is served for this one: every region and account means this platform."""
        partition, service, resource = arn.split(":", 5)[1], arn.split(":", 5)[2], arn.split(":", 5)[5]
        place = self._catalogue.place
        return f"arn:{partition}:{service}:{place.region}:{place.account}:{resource}"


def _target(given: Mapping[str, Any]) -> Target:
    transformer: Mapping[str, Any] = given.get("InputTransformer", {})
    retries: Mapping[str, int] = given.get("RetryPolicy", {})
    return Target(
        given["Id"],
        given["Arn"],
        role_arn=given.get("RoleArn"),
        input=given.get("Input"),
        input_path=given.get("InputPath"),
        input_template=transformer.get("InputTemplate"),
        input_paths=transformer.get("InputPathsMap", {}),
        group_id=given.get("SqsParameters", {}).get("MessageGroupId"),
        partition_key_path=given.get("KinesisParameters", {}).get("PartitionKeyPath"),
        max_age_s=retries.get("MaximumEventAgeInSeconds"),
        retry_attempts=retries.get("MaximumRetryAttempts"),
        dead_letter_arn=given.get("DeadLetterConfig", {}).get("Arn"),
    )


def _check(target: Target) -> None:
    try:
        ready_target(target)
    except InvalidInput as error:
        raise invalid(f"{error} for target {target.id}.") from error
    address = parse_address(target.arn)
    is_fifo = isinstance(address, QueueAddress) and address.is_fifo
    if is_fifo and not target.group_id:
        raise invalid(f"Parameter(s) SqsParameters must be specified for target: {target.id}.")
    if target.group_id and not isinstance(address, QueueAddress):
        raise invalid(f"Parameter(s) SqsParameters not valid for target: {target.id}.")
    if target.partition_key_path and not isinstance(address, StreamAddress):
        raise invalid(f"Parameter(s) KinesisParameters not valid for target: {target.id}.")
    if target.dead_letter_arn and not isinstance(parse_target(target.dead_letter_arn), QueueAddress | ListAddress):
        raise invalid(
            f"Parameter {target.dead_letter_arn} is not valid. Reason: the dead-letter queue must be a queue."
        )


def _failures(rule: Rule, gone: set[str]) -> Iterator[Members]:
    for target_id in sorted(gone - {target.id for target in rule.targets}):
        yield {
            "TargetId": target_id,
            "ErrorCode": "ResourceNotFoundException",
            "ErrorMessage": f"Rule '{rule.name}' does not have target with Id '{target_id}' on EventBus '{rule.bus}'.",
        }


def _shown(target: Target) -> Members:
    retries = without_none(
        {"MaximumRetryAttempts": target.retry_attempts, "MaximumEventAgeInSeconds": target.max_age_s}
    )
    return without_none(
        {
            "Id": target.id,
            "Arn": target.arn,
            "RoleArn": target.role_arn,
            "Input": target.input,
            "InputPath": target.input_path,
            "InputTransformer": _shown_transformer(target),
            "SqsParameters": target.group_id and {"MessageGroupId": target.group_id},
            "KinesisParameters": target.partition_key_path and {"PartitionKeyPath": target.partition_key_path},
            "RetryPolicy": retries or None,
            "DeadLetterConfig": target.dead_letter_arn and {"Arn": target.dead_letter_arn},
        }
    )


def _shown_transformer(target: Target) -> Members | None:
    if target.input_template is None:
        return None
    paths = {"InputPathsMap": dict(target.input_paths)} if target.input_paths else {}
    return {**paths, "InputTemplate": target.input_template}
