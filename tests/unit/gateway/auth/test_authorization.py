"""What every operation needs, and what is said to those who do not have it."""

import json
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from tests.unit.gateway.served import record

from hearth.core.attachments import Policy
from hearth.core.auth_errors import NotAuthorized
from hearth.core.identity import Principal, root, user
from hearth.core.layers import Layer, LayerContent
from hearth.core.policy import parse_policy
from hearth.core.records import Package
from hearth.layers import LayerBook
from hearth.registry import Registry
from hearth.testing import InMemoryStore
from hearth_gateway.auth.authentication import Caller
from hearth_gateway.auth.gate import Gate
from hearth_gateway.core.authorization import Place, may_service_invoke, permissions
from hearth_gateway.core.operations import OPERATIONS, Route
from hearth_gateway.lambda_api.layers import policy_of_version

ACCOUNT = "000000000000"
PLACE = Place("us-east-1", ACCOUNT)
PREFIX = f"arn:aws:lambda:us-east-1:{ACCOUNT}"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/r"
BY_OPERATION = {operation.name: operation for operation in OPERATIONS}


def needs(operation: str, labels: Mapping[str, str], **members: Any) -> list[tuple[str, str]]:
    found = permissions(operation, labels, {**labels, **members}, PLACE)
    return [(permission.action, permission.resource) for permission in found]


FUNCTION = {"FunctionName": "f"}


@pytest.mark.parametrize(
    ("operation", "labels", "members", "action", "resource"),
    [
        ("Invoke", FUNCTION, {}, "InvokeFunction", "function:f"),
        ("InvokeAsync", FUNCTION, {}, "InvokeFunction", "function:f"),
        ("InvokeWithResponseStream", FUNCTION, {"Qualifier": "prod"}, "InvokeFunction", "function:f:prod"),
        ("GetFunction", FUNCTION, {}, "GetFunction", "function:f"),
        ("GetFunction", {"FunctionName": f"{PREFIX}:function:f:3"}, {}, "GetFunction", "function:f:3"),
        ("CreateAlias", FUNCTION, {"Name": "a"}, "CreateAlias", "function:f"),
        ("AddPermission", FUNCTION, {"Qualifier": "prod"}, "AddPermission", "function:f:prod"),
        ("GetEventSourceMapping", {"UUID": "u"}, {}, "GetEventSourceMapping", "event-source-mapping:u"),
        (
            "UpdateEventSourceMapping",
            {"UUID": "u"},
            {"FunctionName": "f"},
            "UpdateEventSourceMapping",
            "event-source-mapping:u",
        ),
        ("PublishLayerVersion", {"LayerName": "l"}, {}, "PublishLayerVersion", "layer:l"),
        ("GetLayerVersion", {"LayerName": "l", "VersionNumber": "2"}, {}, "GetLayerVersion", "layer:l:2"),
        ("GetLayerVersionByArn", {}, {"Arn": f"{PREFIX}:layer:l:2"}, "GetLayerVersion", "layer:l:2"),
        ("TagResource", {"Resource": f"{PREFIX}:function:f"}, {}, "TagResource", "function:f"),
        (
            "GetCapacityProvider",
            {"CapacityProviderName": "c"},
            {},
            "GetCapacityProvider",
            "capacity-provider:c",
        ),
    ],
)
def test_an_operation_needs_its_action_on_its_resource(
    operation: str, labels: Mapping[str, str], members: Mapping[str, Any], action: str, resource: str
) -> None:
    assert needs(operation, labels, **members) == [(f"lambda:{action}", f"{PREFIX}:{resource}")]


@pytest.mark.parametrize(
    ("operation", "members"),
    [
        ("ListFunctions", {}),
        ("ListLayers", {}),
        ("GetAccountSettings", {}),
        ("CreateEventSourceMapping", {"FunctionName": "f"}),
        ("ListEventSourceMappings", {"FunctionName": "f"}),
        ("CreateCodeSigningConfig", {}),
    ],
)
def test_operations_of_the_account_need_everything(operation: str, members: Mapping[str, Any]) -> None:
    assert needs(operation, {}, **members) == [(f"lambda:{operation}", "*")]


def test_every_operation_of_the_table_has_a_permission() -> None:
    for operation in OPERATIONS:
        segments = operation.template.partition("?")[0].split("/")
        names = [segment.strip("{}").rstrip("+") for segment in segments if segment.startswith("{")]
        labels = {name: "f" if name == "FunctionName" else "x" for name in names}
        found = needs(operation.name, labels, FunctionName="f")
        assert found[0][0].startswith("lambda:")
        assert found[0][1]
        if "FunctionName" in names:
            assert found[0][1] == f"{PREFIX}:function:f"


def test_giving_a_role_or_a_layer_needs_the_right_to_it() -> None:
    layer = f"{PREFIX}:layer:l:1"
    assert needs("CreateFunction", {}, FunctionName="f", Role=ROLE, Layers=[layer]) == [
        ("lambda:CreateFunction", f"{PREFIX}:function:f"),
        ("iam:PassRole", ROLE),
        ("lambda:GetLayerVersion", layer),
    ]


async def test_a_layers_own_policy_lets_everybody_use_it() -> None:
    layer, book, desk = f"{PREFIX}:layer:l", LayerBook(InMemoryStore()), Desk()
    content = LayerContent(Package("0" * 64, 1), created_ms=0)
    made, version = Layer("l", *PLACE).published(content)
    await book.put(made)
    desk.gate.policy_of_resource = partial(policy_of_version, book)
    create, members = allow("lambda:CreateFunction"), {"FunctionName": "f", "Layers": [f"{layer}:1"]}
    assert not desk.may(whoever(create), "CreateFunction", {}, **members)

    statement = {"Sid": "all", "Principal": "*", **allow("lambda:GetLayerVersion", f"{layer}:1")}
    document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    await book.put(made.with_version(replace(version, policy=Policy(document, "r"))))

    assert desk.may(whoever(create), "CreateFunction", {}, **members)
    assert not desk.may(whoever(create), "CreateFunction", {}, FunctionName="f", Layers=[f"{layer}:2"])
    stranger = whoever(allow("lambda:ListLayers"))
    assert desk.may(stranger, "GetLayerVersion", {"LayerName": "l", "VersionNumber": "1"})
    assert not desk.may(stranger, "DeleteLayerVersion", {"LayerName": "l", "VersionNumber": "1"})


@pytest.mark.parametrize("elsewhere", ["arn:aws:lambda:us-west-2", "arn:aws-cn:lambda:cn-north-1"])
@pytest.mark.parametrize(
    ("operation", "label", "kind"),
    [
        ("GetResourcePolicy", "ResourceArn", "function:f"),
        ("TagResource", "Resource", "function:f"),
        ("TagResource", "Resource", "event-source-mapping:u"),
        ("ListLayerVersions", "LayerName", "layer:l"),
        ("PublishLayerVersion", "LayerName", "layer:l"),
        ("GetCapacityProvider", "CapacityProviderName", "capacity-provider:c"),
    ],
)
def test_an_arn_of_another_region_is_judged_as_the_resource_that_is_served(
    operation: str, label: str, kind: str, elsewhere: str
) -> None:
    ours = "*" if operation == "ListLayerVersions" else f"{PREFIX}:{kind}"
    assert needs(operation, {label: f"{elsewhere}:{ACCOUNT}:{kind}"}) == [(f"lambda:{operation}", ours)]


def test_a_layer_is_the_same_in_every_region_and_with_every_zero_before_its_number() -> None:
    ours, foreign = f"{PREFIX}:layer:l:7", f"arn:aws:lambda:eu-west-1:{ACCOUNT}:layer:l:007"
    expected = [("lambda:GetLayerVersion", ours)]
    assert needs("GetLayerVersionByArn", {}, Arn=foreign) == expected
    labels = {"LayerName": "l", "VersionNumber": "+07"}
    assert [each.resource for each in permissions("GetLayerVersion", labels, {"VersionNumber": 7}, PLACE)] == [ours]
    assert needs("UpdateFunctionConfiguration", FUNCTION, Layers=[foreign])[1:] == expected
    others = "arn:aws:lambda:eu-west-1:999999999999:layer:l:1"
    assert needs("GetLayerVersionByArn", {}, Arn=others) == [("lambda:GetLayerVersion", others)]


def test_only_invoking_tells_latest_from_the_function() -> None:
    latest = {"FunctionName": "f:$LATEST"}
    assert needs("UpdateFunctionCode", latest) == [("lambda:UpdateFunctionCode", f"{PREFIX}:function:f")]
    assert needs("GetFunction", FUNCTION, Qualifier="$LATEST") == [("lambda:GetFunction", f"{PREFIX}:function:f")]
    assert needs("Invoke", latest) == [("lambda:InvokeFunction", f"{PREFIX}:function:f:$LATEST")]


def test_code_in_a_bucket_needs_the_right_to_read_it() -> None:
    place = {"S3Bucket": "b", "S3Key": "dir/k.zip"}
    expected = ("s3:GetObject", "arn:aws:s3:::b/dir/k.zip")
    assert needs("UpdateFunctionCode", FUNCTION, **place)[1:] == [expected]
    assert needs("CreateFunction", {}, FunctionName="f", Code=place)[1:] == [expected]
    assert needs("PublishLayerVersion", {"LayerName": "l"}, Content=place)[1:] == [expected]
    versioned = {**place, "S3ObjectVersion": "v"}
    assert needs("UpdateFunctionCode", FUNCTION, **versioned)[1][0] == "s3:GetObjectVersion"


def test_a_queue_needs_the_right_to_read_or_fill_it() -> None:
    ours, elsewhere = f"arn:aws:sqs:us-east-1:{ACCOUNT}:jobs", f"arn:aws-cn:sqs:cn-north-1:{ACCOUNT}:jobs"
    for source in (ours, elsewhere):
        mapping = needs("CreateEventSourceMapping", {}, FunctionName="f", EventSourceArn=source)
        assert mapping[1:] == [("sqs:ReceiveMessage", ours)]
    letters = {"DeadLetterConfig": {"TargetArn": elsewhere}}
    assert needs("UpdateFunctionConfiguration", FUNCTION, **letters)[1:] == [("sqs:SendMessage", ours)]
    own = f"arn:hearth:redis:us-east-1:{ACCOUNT}:shop/list/orders:new"
    config = {"OnFailure": {"Destination": own}}
    assert needs("UpdateEventSourceMapping", {"UUID": "u"}, DestinationConfig=config)[1:] == [("sqs:SendMessage", own)]


@pytest.mark.parametrize(
    ("target", "action", "resource"),
    [
        ("arn:aws:sns:us-west-2:1:t", "sns:Publish", f"arn:aws:sns:us-east-1:{ACCOUNT}:t"),
        ("arn:aws-cn:events:x:1:event-bus/b", "events:PutEvents", f"arn:aws:events:us-east-1:{ACCOUNT}:event-bus/b"),
        ("arn:aws:kinesis:x:1:stream/s", "kinesis:PutRecord", f"arn:aws:kinesis:us-east-1:{ACCOUNT}:stream/s"),
        ("arn:hearth:webhook:x:1:h", "hearth:CallWebhook", f"arn:hearth:webhook:us-east-1:{ACCOUNT}:h"),
        ("arn:hearth:sqs:x:1:c/q", "sqs:SendMessage", f"arn:hearth:sqs:us-east-1:{ACCOUNT}:c/q"),
        ("arn:aws:s3:::bucket", "s3:PutObject", "arn:aws:s3:::bucket/*"),
    ],
)
def test_naming_where_hearth_sends_to_needs_the_right_to_send_there(target: str, action: str, resource: str) -> None:
    config = {"OnFailure": {"Destination": target}}
    assert needs("PutFunctionEventInvokeConfig", FUNCTION, DestinationConfig=config)[1:] == [(action, resource)]
    assert (action, resource) in needs("UpdateFunctionConfiguration", FUNCTION, DeadLetterConfig={"TargetArn": target})


def test_a_function_as_a_destination_needs_the_right_to_invoke_it() -> None:
    target = f"arn:aws:lambda:us-west-2:{ACCOUNT}:function:g:prod"
    config = {"OnSuccess": {"Destination": target}, "OnFailure": {"Destination": "arn:aws:s3:::bucket"}}
    for operation in ("PutFunctionEventInvokeConfig", "UpdateFunctionEventInvokeConfig"):
        assert needs(operation, FUNCTION, DestinationConfig=config)[1:] == [
            ("s3:PutObject", "arn:aws:s3:::bucket/*"),
            ("lambda:InvokeFunction", f"{PREFIX}:function:g:prod"),
        ]
    failures = {"OnFailure": {"Destination": target}}
    assert needs("UpdateEventSourceMapping", {"UUID": "u"}, DestinationConfig=failures)[1:] == [
        ("lambda:InvokeFunction", f"{PREFIX}:function:g:prod")
    ]


def test_a_source_is_judged_by_what_is_served_for_it() -> None:
    given = needs("CreateEventSourceMapping", {}, FunctionName="f", EventSourceArn="arn:aws:kinesis:x:1:stream/s")
    assert given[1:] == [("sqs:ReceiveMessage", f"arn:aws:kinesis:us-east-1:{ACCOUNT}:stream/s")]


def test_a_tag_that_names_a_list_for_dead_letters_needs_the_right_to_fill_it() -> None:
    tags, own = {"hearth:dead-letter-list": "bin"}, f"arn:hearth:redis:us-east-1:{ACCOUNT}"
    for source, connection in (
        (f"arn:aws:sqs:us-east-1:{ACCOUNT}:jobs", "hearth"),
        (f"{own}:shop/list/jobs", "shop"),
    ):
        given = needs("CreateEventSourceMapping", {}, FunctionName="f", EventSourceArn=source, Tags=tags)
        assert given[2:] == [("sqs:SendMessage", f"{own}:{connection}/list/bin")]
    mapping = f"{PREFIX}:event-source-mapping:u"
    assert needs("TagResource", {"Resource": mapping}, Tags=tags)[1:] == [("sqs:SendMessage", f"{own}:*/list/bin")]


class Desk:
    """A gate with one function, `f`, and callers with policies."""

    def __init__(self) -> None:
        self.registry = Registry(InMemoryStore())
        self.gate = Gate(self.registry, PLACE, lambda: 1_795_225_000.0)

    async def put(self, **changes: Any) -> None:
        async with self.registry.writing("f"):
            await self.registry.put(replace(record("f"), **changes))

    def may(self, principal: Principal, operation: str, labels: Mapping[str, str], **members: Any) -> bool:
        caller = Caller(principal, "lambda", "us-east-1", "192.0.2.1")
        try:
            self.gate.permit(caller, Route(operation, labels), {**labels, **members})
        except NotAuthorized:
            return False
        return True


def whoever(*statements: dict[str, Any]) -> Principal:
    text = json.dumps({"Version": "2012-10-17", "Statement": list(statements)})
    return user(ACCOUNT, "bob", (parse_policy(text),))


def allow(action: str | list[str], resource: str = "*", **conditions: Any) -> dict[str, Any]:
    statement: dict[str, Any] = {"Effect": "Allow", "Action": action, "Resource": resource}
    return {**statement, "Condition": conditions} if conditions else statement


def test_the_administrator_is_asked_nothing() -> None:
    assert Desk().may(root(ACCOUNT), "CreateFunction", {}, FunctionName="f", Role=ROLE)


def test_a_function_cannot_be_given_a_role_that_one_may_not_pass() -> None:
    create = allow(["lambda:CreateFunction", "lambda:UpdateFunctionConfiguration"])
    pass_role = allow("iam:PassRole", ROLE, StringEquals={"iam:PassedToService": "lambda.amazonaws.com"})
    desk, members = Desk(), {"FunctionName": "f", "Role": ROLE}

    assert not desk.may(whoever(create), "CreateFunction", {}, **members)
    assert desk.may(whoever(create, pass_role), "CreateFunction", {}, **members)
    assert not desk.may(whoever(create), "UpdateFunctionConfiguration", {"FunctionName": "f"}, Role=ROLE)
    assert desk.may(whoever(create), "UpdateFunctionConfiguration", {"FunctionName": "f"}, Timeout=3)


@pytest.mark.parametrize(
    ("operation", "members", "condition"),
    [
        ("AddPermission", {"Principal": "s3.amazonaws.com"}, {"lambda:Principal": "s3.amazonaws.com"}),
        ("CreateFunctionUrlConfig", {"AuthType": "AWS_IAM"}, {"lambda:FunctionUrlAuthType": "AWS_IAM"}),
        ("TagResource", {"Tags": {"team": "red"}}, {"aws:RequestTag/team": "red", "aws:TagKeys": "team"}),
        ("UntagResource", {"TagKeys": ["team"]}, {"aws:TagKeys": "team"}),
        ("PutFunctionCodeSigningConfig", {"CodeSigningConfigArn": "c"}, {"lambda:CodeSigningConfigArn": "c"}),
        ("UpdateFunctionConfiguration", {"VpcConfig": {"SubnetIds": ["subnet-1"]}}, {"lambda:SubnetIds": "subnet-1"}),
        ("GetFunction", {}, {"aws:SourceIp": "192.0.2.1", "aws:RequestedRegion": "us-east-1"}),
        ("GetFunction", {}, {"aws:SecureTransport": "false", "aws:CurrentTime": "2026-11-21T01:36:40Z"}),
    ],
)
def test_condition_keys_have_what_was_asked(
    operation: str, members: Mapping[str, Any], condition: Mapping[str, str]
) -> None:
    desk, labels = Desk(), {"FunctionName": "f"}
    other = {key: "other" for key in condition}

    assert desk.may(whoever(allow("*", "*", StringEquals=condition)), operation, labels, **members)
    assert not desk.may(whoever(allow("*", "*", StringEquals=other)), operation, labels, **members)


async def test_a_mapping_is_judged_by_its_function() -> None:
    arn = f"{PREFIX}:function:f"
    statement = allow("lambda:*", "*", ArnEquals={"lambda:FunctionArn": arn})
    desk = Desk()
    desk.gate.facts_of_mapping = {"u": (arn, {"team": "red"})}.get

    assert desk.may(whoever(statement), "DeleteEventSourceMapping", {"UUID": "u"})
    assert not desk.may(whoever(statement), "DeleteEventSourceMapping", {"UUID": "v"})
    assert desk.may(whoever(statement), "CreateEventSourceMapping", {}, FunctionName="f")
    assert not desk.may(whoever(statement), "CreateEventSourceMapping", {}, FunctionName="g")
    not_red = {**allow("*", "*", StringEquals={"aws:ResourceTag/team": "red"}), "Effect": "Deny"}
    assert not desk.may(whoever(allow("*"), not_red), "DeleteEventSourceMapping", {"UUID": "u"})
    assert desk.may(whoever(allow("*"), not_red), "DeleteEventSourceMapping", {"UUID": "v"})


async def test_a_mapping_that_moves_is_judged_by_both_functions() -> None:
    f, g = f"{PREFIX}:function:f", f"{PREFIX}:function:g"
    of_f = whoever(allow("lambda:*", "*", ArnEquals={"lambda:FunctionArn": f}))
    of_both = whoever(allow("lambda:*", "*", ArnEquals={"lambda:FunctionArn": [f, g]}))
    desk = Desk()
    desk.gate.facts_of_mapping = {"of-f": (f, {}), "of-g": (g, {})}.get

    assert desk.may(of_f, "UpdateEventSourceMapping", {"UUID": "of-f"}, FunctionName="f")
    assert not desk.may(of_f, "UpdateEventSourceMapping", {"UUID": "of-g"}, FunctionName="f")
    assert not desk.may(of_f, "UpdateEventSourceMapping", {"UUID": "of-f"}, FunctionName="g")
    assert desk.may(of_both, "UpdateEventSourceMapping", {"UUID": "of-g"}, FunctionName="f")


async def test_the_tags_of_a_function_count() -> None:
    desk = Desk()
    await desk.put(tags={"team": "red"})
    red, blue = (whoever(allow("*", "*", StringEquals={"aws:ResourceTag/team": name})) for name in ("red", "blue"))

    assert desk.may(red, "GetFunction", {"FunctionName": "f"})
    assert not desk.may(blue, "GetFunction", {"FunctionName": "f"})
    assert not desk.may(red, "GetFunction", {"FunctionName": "g"})


@pytest.mark.parametrize(("by_resource", "kind"), [(False, "an identity"), (True, "a resource")])
async def test_an_explicit_denial_says_where_it_is(by_resource: bool, kind: str) -> None:
    desk, arn = Desk(), f"{PREFIX}:function:f"
    denial = {"Effect": "Deny", "Action": "lambda:GetFunction", "Resource": arn}
    document = {"Version": "2012-10-17", "Statement": [{**denial, "Principal": "*"}]}
    if by_resource:
        await desk.put(policies={"$LATEST": Policy(json.dumps(document), "r")})
    caller = Caller(whoever(allow("*"), *([] if by_resource else [denial])), "lambda", "us-east-1", "")

    with pytest.raises(NotAuthorized, match=f"with an explicit deny in {kind}-based policy$"):
        desk.gate.permit(caller, Route("GetFunction", FUNCTION), FUNCTION)


async def test_a_policy_belongs_to_one_qualifier() -> None:
    desk, arn = Desk(), f"{PREFIX}:function:f:prod"
    statement = {"Effect": "Allow", "Principal": "*", "Action": "lambda:InvokeFunction", "Resource": arn}
    document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    await desk.put(policies={"prod": Policy(document, "r")})
    nobody = user(ACCOUNT, "bob", ())

    assert desk.may(nobody, "Invoke", FUNCTION, Qualifier="prod")
    assert not desk.may(nobody, "Invoke", FUNCTION)
    assert not desk.may(nobody, "Invoke", FUNCTION, Qualifier="test")


def test_a_service_invokes_what_the_function_says() -> None:
    statement = {
        "Effect": "Allow",
        "Principal": {"Service": "s3.amazonaws.com"},
        "Action": "lambda:InvokeFunction",
        "Resource": f"{PREFIX}:function:f",
        "Condition": {"ArnLike": {"AWS:SourceArn": "arn:aws:s3:::bucket*"}},
    }
    document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    function = replace(record("f"), policies={"$LATEST": Policy(document, "r")})

    assert may_service_invoke(function, None, "s3.amazonaws.com", source_arn="arn:aws:s3:::bucket-1")
    assert may_service_invoke(function, "$LATEST", "s3.amazonaws.com", source_arn="arn:aws:s3:::bucket-1")
    assert not may_service_invoke(function, "prod", "s3.amazonaws.com", source_arn="arn:aws:s3:::bucket-1")
    assert not may_service_invoke(function, None, "s3.amazonaws.com", source_arn="arn:aws:s3:::other")
    assert not may_service_invoke(function, None, "s3.amazonaws.com")
    assert not may_service_invoke(function, None, "sns.amazonaws.com", source_arn="arn:aws:s3:::bucket-1")
    broken = replace(function, policies={"$LATEST": Policy("{", "r")})
    assert not may_service_invoke(broken, None, "s3.amazonaws.com", source_arn="arn:aws:s3:::bucket-1")
