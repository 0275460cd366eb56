"""Buses, rules and targets as values, and what a rule sends for an event.

Rule 1: a rule sends one parcel for each target; its id follows from the event's, the rule's and the target's, so that
an event that is put again while its parcels still wait makes no second ones.
Rule 2: an event that a rule forwarded to a bus is not forwarded to a third one, so that no circle of buses can keep it
going. Source: "Sending and receiving events between event buses", Amazon EventBridge user guide.
Rule 3: what a rule is stored as is what its caller said; what is compiled from that is made when it is loaded.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum

from hearth_gateway.core.addresses import BusAddress, FunctionAddress, parse_address
from hearth_gateway.core.bus_event import BusEvent, Place, time_text
from hearth_gateway.core.event_pattern import Pattern, compile_pattern
from hearth_gateway.core.input_transformer import (
    Circumstances,
    Input,
    InputTooLarge,
    InvalidInput,
    read_input,
    render,
)
from hearth_gateway.core.json_path import MISSING, InvalidPath, JsonPath, read_path
from hearth_gateway.core.parcel import DEFAULT_MAX_AGE_S, DEFAULT_RETRY_ATTEMPTS, Attribute, Parcel, derived_id

DEFAULT_BUS = "default"
SERVICE = "events.amazonaws.com"
MAX_PARTITION_KEY_CHARACTERS = 256


class RuleState(Enum):
    """Whether a rule is looked at. There are no events of CloudTrail's here, so its third state says no more."""

    ENABLED = "ENABLED"
    DISABLED = "DISABLED"
    WITH_TRAIL = "ENABLED_WITH_ALL_CLOUDTRAIL_MANAGEMENT_EVENTS"


@dataclass(frozen=True, slots=True)
class Target:
    """Where a rule sends events, as it was said. `input_paths` and `input_template` are InputTransformer's; None of
    `max_age_s` and `retry_attempts` is the usual one."""

    id: str
    arn: str
    role_arn: str | None = None
    input: str | None = None
    input_path: str | None = None
    input_template: str | None = None
    input_paths: Mapping[str, str] = field(default_factory=dict)
    group_id: str | None = None
    partition_key_path: str | None = None
    max_age_s: int | None = None
    retry_attempts: int | None = None
    dead_letter_arn: str | None = None


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule of a bus. `enabled_ms` (epoch milliseconds) is when it was last enabled or got its schedule, which fires
    for later times; rates count from there."""

    name: str
    bus: str
    enabled_ms: int
    state: RuleState = RuleState.ENABLED
    pattern: str | None = None
    schedule: str | None = None
    description: str | None = None
    role_arn: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    targets: tuple[Target, ...] = ()

    @property
    def is_enabled(self) -> bool:
        return self.state is not RuleState.DISABLED


@dataclass(frozen=True, slots=True)
class Bus:
    """A bus. Times are epoch milliseconds."""

    name: str
    created_ms: int
    modified_ms: int
    description: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)


def bus_arn(place: Place, name: str) -> str:
    return f"arn:aws:events:{place.region}:{place.account}:event-bus/{name}"


def rule_arn(place: Place, bus: str, name: str) -> str:
    """The default bus is not named in the ARNs of its rules."""
    inside = name if bus == DEFAULT_BUS else f"{bus}/{name}"
    return f"arn:aws:events:{place.region}:{place.account}:rule/{inside}"


@dataclass(frozen=True, slots=True)
class ReadyTarget:
    """A target that was read and checked."""

    target: Target
    input: Input
    partition_key: JsonPath | None
    wants_json: bool
    is_bus: bool


@dataclass(frozen=True, slots=True)
class ReadyRule:
    """A rule that was read: its pattern is None where it only has a schedule."""

    rule: Rule
    arn: str
    pattern: Pattern | None
    targets: tuple[ReadyTarget, ...]


def ready(rule: Rule, place: Place) -> ReadyRule:
    """Compile what a rule says. Raises InvalidPattern or InvalidInput."""
    pattern = None if rule.pattern is None else compile_pattern(rule.pattern)
    return ReadyRule(rule, rule_arn(place, rule.bus, rule.name), pattern, tuple(map(ready_target, rule.targets)))


def ready_target(target: Target) -> ReadyTarget:
    """Compile what a target says. Raises InvalidInput."""
    address = parse_address(target.arn)
    is_bus = isinstance(address, BusAddress)
    wanted = read_input(target.input, target.input_path, target.input_template, target.input_paths)
    return ReadyTarget(
        target,
        wanted,
        _partition_key(target.partition_key_path),
        wants_json=is_bus or isinstance(address, FunctionAddress),
        is_bus=is_bus,
    )


def parcels(rule: ReadyRule, event: BusEvent, now_ms: int, *, was_forwarded: bool) -> Iterator[Parcel]:
    """What a rule sends for an event that it is for. `was_forwarded`: another rule sent it to this bus."""
    around = Circumstances(rule.arn, rule.rule.name, time_text(now_ms))
    for ready_one in rule.targets:
        if not (was_forwarded and ready_one.is_bus):
            yield from _parcel(rule, ready_one, event, now_ms, around=around)


def _parcel(
    rule: ReadyRule, ready_one: ReadyTarget, event: BusEvent, now_ms: int, *, around: Circumstances
) -> Iterator[Parcel]:
    target = ready_one.target
    parcel_id = derived_id(event.id, f"{rule.arn}/{target.id}")
    try:
        body = render(ready_one.input, event, around, wants_json=ready_one.wants_json)
    except InputTooLarge as error:
        yield from _undeliverable(rule, target, event, parcel_id, error=error, now_ms=now_ms)
        return
    yield Parcel(
        parcel_id,
        target.arn,
        body,
        now_ms,
        sender=rule.arn,
        service=SERVICE,
        group_id=_group(ready_one, event),
        deduplication_id=parcel_id if target.group_id else "",
        trace_id=event.trace_id,
        dead_letter_arn=target.dead_letter_arn,
        max_age_s=DEFAULT_MAX_AGE_S if target.max_age_s is None else target.max_age_s,
        max_attempts=1 + (DEFAULT_RETRY_ATTEMPTS if target.retry_attempts is None else target.retry_attempts),
    )


def _undeliverable(
    rule: ReadyRule, target: Target, event: BusEvent, parcel_id: str, *, error: InputTooLarge, now_ms: int
) -> Iterator[Parcel]:
    """What no target can get goes to its dead-letter queue as it is, with the attributes that EventBridge adds."""
    if target.dead_letter_arn is None:
        return
    said = {
        "RULE_ARN": rule.arn,
        "TARGET_ARN": target.arn,
        "ERROR_CODE": "INVALID_INPUT",
        "ERROR_MESSAGE": str(error),
    }
    attributes = {name: Attribute("String", value) for name, value in said.items()}
    yield Parcel(
        parcel_id, target.dead_letter_arn, event.text, now_ms, sender=rule.arn, service=SERVICE, attributes=attributes
    )


def _group(ready_one: ReadyTarget, event: BusEvent) -> str:
    """A FIFO queue's message group, or a stream's partition key: the event's id where none was asked for."""
    if ready_one.partition_key is not None:
        found = ready_one.partition_key.find(event.members)
        return event.id if found is MISSING else str(found)[:MAX_PARTITION_KEY_CHARACTERS]
    return ready_one.target.group_id or ""


def _partition_key(path: str | None) -> JsonPath | None:
    try:
        return None if path is None else read_path(path)
    except InvalidPath as error:
        raise InvalidInput(f"Invalid PartitionKeyPath: {error}") from error
