"""What a request needs: the actions and resources of IAM behind every operation, and the verdict on them.

Rule 1: an operation is judged by what it was asked, before anything is looked up for it; whoever may not do it learns
nothing, not even whether the function exists.
Rule 2: an operation needs the action of its own name on the resource in its path; the table has the exceptions.
Rule 3: whoever gives a function a role, a layer, code from a bucket, a queue or a destination, needs the right to that
as well.
Rule 4: what is judged is what is served. Every region and partition means this platform, so an ARN of another one is
read as ours before it is compared with policies, and `$LATEST` is the function; only invoking tells them apart.
Source: "Actions, resources, and condition keys for AWS Lambda", AWS service authorization reference.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from hearth.core.arns import event_source_mapping_arn
from hearth.core.auth_errors import NotAuthorized
from hearth.core.function import LATEST
from hearth.core.identity import ANONYMOUS, Principal, service
from hearth.core.policy import (
    Conditions,
    Decision,
    MalformedPolicy,
    PolicyDocument,
    RequestContext,
    decide,
    parse_policy,
)
from hearth.core.records import FunctionRecord
from hearth_gateway.core import names
from hearth_gateway.core.addresses import OWN_NAME, ListAddress, QueueAddress, parse_address, served
from hearth_gateway.core.mapping import TAG_DEAD_LETTER_LIST
from hearth_gateway.core.names import FunctionReference

INVOKE = "lambda:InvokeFunction"
INVOKE_URL = "lambda:InvokeFunctionUrl"
PASS_ROLE = "iam:PassRole"
GET_LAYER = "lambda:GetLayerVersion"

ACTIONS: Mapping[str, str] = {
    "Invoke": INVOKE,
    "InvokeAsync": INVOKE,
    "InvokeWithResponseStream": INVOKE,
    "GetLayerVersionByArn": GET_LAYER,
}
"""The operations whose action has another name."""

_OF_ACCOUNT = frozenset({"CreateEventSourceMapping", "ListEventSourceMappings", "ListLayerVersions"})
"""Operations on no single resource, although they name one."""

_MEMBER_CONDITIONS = (
    ("Principal", "lambda:Principal"),
    ("AuthType", "lambda:FunctionUrlAuthType"),
    ("FunctionUrlAuthType", "lambda:FunctionUrlAuthType"),
    ("CodeSigningConfigArn", "lambda:CodeSigningConfigArn"),
    ("SourceFunctionArn", "lambda:SourceFunctionArn"),
)
_VPC_CONDITIONS = (("SubnetIds", "lambda:SubnetIds"), ("SecurityGroupIds", "lambda:SecurityGroupIds"))


_QUEUE = re.compile(r"arn:(?:aws[a-z-]*:sqs|hearth:sqs|hearth:redis):")
_SENDING = {
    "sns": ("aws", "sns:Publish"),
    "events": ("aws", "events:PutEvents"),
    "kinesis": ("aws", "kinesis:PutRecord"),
    "webhook": ("hearth", "hearth:CallWebhook"),
}
"""The partition that a service's ARNs have here, and the action that sending there is."""


class Place(NamedTuple):
    """Where the resources are."""

    region: str
    account: str

    def arn(self, rest: str) -> str:
        return f"arn:aws:lambda:{self.region}:{self.account}:{rest}"


class Permission(NamedTuple):
    """One thing that a request needs. `function` is what it concerns, for the function's own policy and tags."""

    action: str
    resource: str
    conditions: Conditions = MappingProxyType({})
    function: FunctionReference | None = None


def permissions(
    operation: str, labels: Mapping[str, str], members: Mapping[str, Any], place: Place
) -> Iterator[Permission]:
    """Everything that a request needs. `labels` are the ones in its path, `members` all that it has."""
    action = ACTIONS.get(operation, f"lambda:{operation}")
    function = _function(operation, labels, members, place)
    resource = _resource(operation, labels, members, place) if function is None else function.arn(*place)
    yield Permission(action, resource, _conditions(operation, members, place), function)
    role = members.get("Role")
    if role and operation in ("CreateFunction", "UpdateFunctionConfiguration"):
        yield Permission(PASS_ROLE, role, {"iam:PassedToService": "lambda.amazonaws.com"})
    for layer in _layers(members, place):
        yield Permission(GET_LAYER, layer)
    yield from _objects(members)
    yield from _queues(operation, members, place)
    yield from _destinations(members, place)


def invocation(label: str, qualifier: str | None, place: Place) -> Permission:
    """What invoking a function needs, addressed like this."""
    reference = names.qualified(names.parse_function_name(label, place.account), qualifier)
    return Permission(INVOKE, reference.arn(*place), {}, reference)


def _function(
    operation: str, labels: Mapping[str, str], members: Mapping[str, Any], place: Place
) -> FunctionReference | None:
    named = labels.get("Resource") or labels.get("ResourceArn", "")  # tags, and whole policies
    if ":function:" in named:
        return _unless_latest(names.parse_function_name(named, place.account))
    if operation in _OF_ACCOUNT or ("FunctionName" not in labels and operation != "CreateFunction"):
        return None
    reference = names.parse_function_name(members["FunctionName"], place.account)
    reference = names.qualified(reference, members.get("Qualifier"))
    return reference if ACTIONS.get(operation) == INVOKE else _unless_latest(reference)


def _unless_latest(reference: FunctionReference) -> FunctionReference:
    """Who may not change a function may not change its `$LATEST`, which is the same."""
    return FunctionReference(reference.name, None) if reference.qualifier == LATEST else reference


def _resource(operation: str, labels: Mapping[str, str], members: Mapping[str, Any], place: Place) -> str:
    if operation in _OF_ACCOUNT:
        return "*"
    match labels:
        case {"UUID": uuid}:
            return event_source_mapping_arn(*place, uuid)
        case {"LayerName": name, "VersionNumber": _}:
            return f"{_named(name, 'layer', place)}:{members['VersionNumber']}"
        case {"LayerName": name}:
            return _named(name, "layer", place)
        case {"CapacityProviderName": name}:
            return _named(name, "capacity-provider", place)
        case _:
            return _ours(_named_by_arn(labels, members), place)


def _named_by_arn(labels: Mapping[str, str], members: Mapping[str, Any]) -> str:
    for name in ("Resource", "ResourceArn", "CodeSigningConfigArn", "DurableExecutionArn"):
        if name in labels:
            return labels[name]
    return str(members.get("Arn", "*"))


def _named(name: str, kind: str, place: Place) -> str:
    """The ARN of what was given by name or ARN."""
    return _ours(name, place) if name.startswith("arn:") else place.arn(f"{kind}:{name}")


def _ours(arn: str, place: Place) -> str:
    """The ARN of what is served for this one. Version numbers are numbers, however many zeros they begin with."""
    parts = arn.split(":", 5)
    if len(parts) <= 5 or parts[2] != "lambda" or parts[4] != place.account:  # noqa: PLR2004 - the fields of an ARN
        return arn
    match parts[5].split(":"):
        case ["layer", name, number] if number.isdecimal():
            return place.arn(f"layer:{name}:{int(number)}")
        case _:
            return place.arn(parts[5])


def _layers(members: Mapping[str, Any], place: Place) -> tuple[str, ...]:
    layers = members.get("Layers")
    return tuple(_ours(layer, place) for layer in layers) if isinstance(layers, list) else ()


def _objects(members: Mapping[str, Any]) -> Iterator[Permission]:
    """Code in a bucket is fetched with the operator's credentials, so the caller must be allowed to read it."""
    for holder in (members, members.get("Code"), members.get("Content")):
        if isinstance(holder, Mapping) and holder.get("S3Bucket"):
            action = "s3:GetObjectVersion" if holder.get("S3ObjectVersion") else "s3:GetObject"
            yield Permission(action, f"arn:aws:s3:::{holder['S3Bucket']}/{holder.get('S3Key', '')}")


def _queues(operation: str, members: Mapping[str, Any], place: Place) -> Iterator[Permission]:
    """Queues are read, and queues, topics, buses, buckets and webhooks filled, by Hearth itself, so the caller must be
    allowed to; on AWS it takes the function's role."""
    source = members.get("EventSourceArn")
    if source and operation == "CreateEventSourceMapping":
        yield Permission("sqs:ReceiveMessage", _our_queue(source, place))
    if TAG_DEAD_LETTER_LIST in (members.get("Tags") or {}):
        yield Permission("sqs:SendMessage", _list_beside(source or "", members["Tags"][TAG_DEAD_LETTER_LIST], place))
    dead_letters = members.get("DeadLetterConfig", {}).get("TargetArn")
    outcomes = members.get("DestinationConfig", {}).values()
    for target in (dead_letters, *(outcome.get("Destination") for outcome in outcomes)):
        if target:
            yield from _sending(target, place)


def _sending(arn: str, place: Place) -> Iterator[Permission]:
    """What sending to an address takes. Functions have permissions of their own kind."""
    if _QUEUE.match(arn):
        yield Permission("sqs:SendMessage", _our_queue(arn, place))
        return
    match arn.split(":", 5):
        case ["arn", _, "s3", _, _, bucket]:
            yield Permission("s3:PutObject", f"arn:aws:s3:::{bucket}/*")
        case ["arn", _, service, _, _, name] if service in _SENDING:
            partition, action = _SENDING[service]
            yield Permission(action, f"arn:{partition}:{service}:{place.region}:{place.account}:{name}")


def _our_queue(arn: str, place: Place) -> str:
    """The ARN of the queue that is served for this one."""
    match = _QUEUE.match(arn)
    if match is None:
        return served(arn, *place)
    kind = match[0].removeprefix("arn:").removesuffix(":") if match[0].startswith("arn:hearth") else "aws:sqs"
    return f"arn:{kind}:{place.region}:{place.account}:{arn.split(':', 5)[-1]}"


def _list_beside(source: str, key: str, place: Place) -> str:
    """The list of this key on the server of a source: on any server, where the source is not said."""
    match parse_address(source):
        case QueueAddress(connection=connection) | ListAddress(connection=connection):
            name = connection or OWN_NAME
        case _:
            name = "*"
    return f"arn:hearth:redis:{place.region}:{place.account}:{name}/list/{key}"


def _destinations(members: Mapping[str, Any], place: Place) -> Iterator[Permission]:
    """A destination is invoked for whoever named it; on AWS it takes the permission of the function's role."""
    for outcome in members.get("DestinationConfig", {}).values():
        arn = outcome.get("Destination", "")
        if ":lambda:" in arn:
            reference = names.parse_function_name(arn, arn.split(":")[4])
            yield Permission(INVOKE, reference.arn(*place), {}, reference)


def _conditions(operation: str, members: Mapping[str, Any], place: Place) -> Conditions:
    found: dict[str, str | tuple[str, ...]] = {
        key: members[member] for member, key in _MEMBER_CONDITIONS if isinstance(members.get(member), str)
    }
    vpc = members.get("VpcConfig")
    if isinstance(vpc, Mapping):
        found.update({key: tuple(vpc[member]) for member, key in _VPC_CONDITIONS if vpc.get(member)})
    if members.get("Layers"):
        found["lambda:Layer"] = _layers(members, place)
    if operation.endswith("EventSourceMapping") and members.get("FunctionName"):
        found["lambda:FunctionArn"] = names.parse_function_name(members["FunctionName"], place.account).arn(*place)
    found.update(_tag_conditions(members))
    return found


def _tag_conditions(members: Mapping[str, Any]) -> Iterator[tuple[str, str | tuple[str, ...]]]:
    tags, keys = members.get("Tags"), members.get("TagKeys")
    if isinstance(tags, Mapping):
        yield from ((f"aws:RequestTag/{key}", value) for key, value in tags.items())
        keys = list(tags)
    if isinstance(keys, list) and keys:
        yield "aws:TagKeys", tuple(keys)


def resource_policy(record: FunctionRecord | None, qualifier: str | None) -> PolicyDocument | None:
    """The policy of the function, version or alias that was addressed."""
    policy = None if record is None else record.policies.get(qualifier or LATEST)
    return None if policy is None else readable(policy.document)


def readable(text: str) -> PolicyDocument | None:
    """A kept policy. One that cannot be read allows nothing, and is no reason to fail."""
    try:
        return parse_policy(text)
    except MalformedPolicy:
        return None


def resource_tags(tags: Mapping[str, str]) -> Conditions:
    """The condition keys of a resource's tags."""
    return {f"aws:ResourceTag/{key}": value for key, value in tags.items()}


def authorize(
    principal: Principal,
    action: str,
    resource: str,
    conditions: Conditions | Callable[[], Conditions],
    *,
    policy: PolicyDocument | None = None,
) -> None:
    """Refuse what the caller may not do. `policy` is the resource's own. Raises NotAuthorized."""
    if principal.is_admin:
        return
    context = RequestContext(action, resource, principal, conditions)
    decision = decide(principal.policies, policy, context)
    if decision is not Decision.ALLOW:
        raise NotAuthorized(_refusal(context, decision))


def _refusal(context: RequestContext, decision: Decision) -> str:
    principal = context.principal
    why = f"because no identity-based policy allows the {context.action} action"
    if decision is Decision.DENY_EXPLICIT:
        of_identity = decide(principal.policies, None, context) is Decision.DENY_EXPLICIT
        why = f"with an explicit deny in {'an identity' if of_identity else 'a resource'}-based policy"
    return f"User: {principal.arn} is not authorized to perform: {context.action} on resource: {context.resource} {why}"


def is_public_url(record: FunctionRecord, qualifier: str, arn: str, auth_type: str) -> bool:
    """Whether the function's own policy lets everybody use this URL."""
    conditions = {"lambda:FunctionUrlAuthType": auth_type}
    context = RequestContext(INVOKE_URL, arn, ANONYMOUS, conditions)
    return decide((), resource_policy(record, qualifier), context) is Decision.ALLOW


def may_service_invoke(
    record: FunctionRecord, qualifier: str | None, name: str, *, source_arn: str = "", source_account: str = ""
) -> bool:
    """Whether the policy of what was addressed lets a service (`s3.amazonaws.com`) invoke it for this source."""
    arn = record.arn if qualifier in (None, LATEST) else f"{record.arn}:{qualifier}"
    given = {"aws:SourceArn": source_arn, "aws:SourceAccount": source_account}
    conditions = {key: value for key, value in given.items() if value}
    context = RequestContext(INVOKE, arn, service(name), conditions)
    return decide((), resource_policy(record, qualifier), context) is Decision.ALLOW
