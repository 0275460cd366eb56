"""The managed policies of AWS that functions and those who deploy them use, as far as they mean something here.

The names and ARNs are AWS's, so that templates work unchanged; the documents are Hearth's own wording of what each is
for. Actions of services that Hearth does not have are named as well: a function's code may ask what it is allowed.
Source: "AWS managed policies for AWS Lambda", AWS Lambda developer guide; AWS Managed Policy Reference for the names.
"""

import json
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from hearth.core.roles import ManagedPolicy, PolicyVersion

AWS = "aws"
"""In place of an account in the ARN of a policy that AWS manages."""

# 6 February 2015, when IAM introduced managed policies.
_CREATED_MS = 1_423_180_800_000

_WRITE_LOGS = ("logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents")
_INTERFACES = (
    "ec2:CreateNetworkInterface",
    "ec2:DescribeNetworkInterfaces",
    "ec2:DescribeSubnets",
    "ec2:DeleteNetworkInterface",
    "ec2:AssignPrivateIpAddresses",
    "ec2:UnassignPrivateIpAddresses",
)
_READ = ("Describe*", "Get*", "List*")
_SERVICE_ROLE = "/service-role/"


class _Row(NamedTuple):
    """A policy that allows `actions` on everything, and everything but `but` as well."""

    name: str
    actions: tuple[str, ...]
    path: str = "/"
    but: tuple[str, ...] = ()


def _read_only(*services: str) -> tuple[str, ...]:
    return tuple(f"{service}:{verb}" for service in services for verb in _READ)


_ROWS = (
    _Row("AWSLambdaBasicExecutionRole", _WRITE_LOGS, _SERVICE_ROLE),
    _Row("AWSLambdaVPCAccessExecutionRole", (*_WRITE_LOGS, *_INTERFACES), _SERVICE_ROLE),
    _Row("AWSLambdaENIManagementAccess", _INTERFACES, _SERVICE_ROLE),
    _Row(
        "AWSLambdaSQSQueueExecutionRole",
        ("sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes", *_WRITE_LOGS),
        _SERVICE_ROLE,
    ),
    _Row(
        "AWSLambdaDynamoDBExecutionRole",
        (
            "dynamodb:DescribeStream",
            "dynamodb:GetRecords",
            "dynamodb:GetShardIterator",
            "dynamodb:ListStreams",
            *_WRITE_LOGS,
        ),
        _SERVICE_ROLE,
    ),
    _Row(
        "AWSLambdaKinesisExecutionRole",
        (
            "kinesis:DescribeStream",
            "kinesis:DescribeStreamSummary",
            "kinesis:GetRecords",
            "kinesis:GetShardIterator",
            "kinesis:ListShards",
            "kinesis:ListStreams",
            "kinesis:SubscribeToShard",
            *_WRITE_LOGS,
        ),
        _SERVICE_ROLE,
    ),
    _Row(
        "AWSLambdaMSKExecutionRole",
        ("kafka:DescribeCluster", "kafka:DescribeClusterV2", "kafka:GetBootstrapBrokers", *_INTERFACES, *_WRITE_LOGS),
        _SERVICE_ROLE,
    ),
    _Row(
        "AWSLambdaBasicDurableExecutionRolePolicy",
        (*_WRITE_LOGS, "lambda:CheckpointDurableExecution", "lambda:GetDurableExecutionState"),
        _SERVICE_ROLE,
    ),
    _Row("AWSLambdaRole", ("lambda:InvokeFunction",), _SERVICE_ROLE),
    _Row("AWSLambdaExecute", ("logs:*", "s3:GetObject", "s3:PutObject")),
    _Row("AWSLambdaInvocation-DynamoDB", ("lambda:InvokeFunction", *_read_only("dynamodb"))),
    _Row(
        "AWSLambda_FullAccess",
        (
            "lambda:*",
            "iam:GetPolicy",
            "iam:GetPolicyVersion",
            "iam:GetRole",
            "iam:GetRolePolicy",
            "iam:ListAttachedRolePolicies",
            "iam:ListRolePolicies",
            "iam:ListRoles",
            "iam:PassRole",
            "logs:DescribeLogGroups",
            "logs:DescribeLogStreams",
            "logs:FilterLogEvents",
            "logs:GetLogEvents",
            "logs:StartLiveTail",
            "logs:StopLiveTail",
            "tag:GetResources",
            "xray:BatchGetTraces",
            "xray:GetTraceSummaries",
        ),
    ),
    _Row(
        "AWSLambda_ReadOnlyAccess",
        (
            "lambda:Get*",
            "lambda:List*",
            "iam:GetPolicy",
            "iam:GetPolicyVersion",
            "iam:GetRole",
            "iam:GetRolePolicy",
            "iam:ListAttachedRolePolicies",
            "iam:ListRolePolicies",
            "iam:ListRoles",
            "logs:DescribeLogGroups",
            "logs:DescribeLogStreams",
            "logs:FilterLogEvents",
            "logs:GetLogEvents",
            "tag:GetResources",
        ),
    ),
    _Row("AdministratorAccess", ("*",)),
    _Row("PowerUserAccess", ("iam:ListRoles", "iam:CreateServiceLinkedRole"), but=("iam:*", "organizations:*")),
    _Row(
        "ReadOnlyAccess",
        (
            *_read_only("lambda", "iam", "logs", "sqs", "sns", "events", "dynamodb", "kinesis", "s3", "tag"),
            "logs:FilterLogEvents",
            "logs:StartLiveTail",
            "dynamodb:BatchGetItem",
            "dynamodb:Query",
            "dynamodb:Scan",
        ),
    ),
    _Row("ViewOnlyAccess", _read_only("lambda", "iam", "logs", "sqs", "sns", "events", "s3"), "/job-function/"),
    _Row("CloudWatchLogsFullAccess", ("logs:*",)),
    _Row("CloudWatchLogsReadOnlyAccess", (*_read_only("logs"), "logs:FilterLogEvents", "logs:StartLiveTail")),
    _Row("CloudWatchFullAccess", ("cloudwatch:*", "logs:*")),
    _Row("CloudWatchLambdaInsightsExecutionRolePolicy", _WRITE_LOGS),
    _Row("IAMFullAccess", ("iam:*",)),
    _Row("IAMReadOnlyAccess", (*_read_only("iam"), "iam:Simulate*")),
    _Row("AWSXRayDaemonWriteAccess", ("xray:PutTraceSegments", "xray:PutTelemetryRecords", "xray:GetSampling*")),
    _Row("AWSXrayWriteOnlyAccess", ("xray:PutTraceSegments", "xray:PutTelemetryRecords", "xray:GetSampling*")),
    _Row("AmazonAPIGatewayInvokeFullAccess", ("execute-api:Invoke", "execute-api:ManageConnections")),
    _Row("AmazonDynamoDBFullAccess", ("dynamodb:*",)),
    _Row("AmazonDynamoDBReadOnlyAccess", (*_read_only("dynamodb"), "dynamodb:BatchGetItem", "dynamodb:Query")),
    _Row("AmazonEventBridgeFullAccess", ("events:*", "scheduler:*")),
    _Row("AmazonKinesisFullAccess", ("kinesis:*",)),
    _Row("AmazonS3FullAccess", ("s3:*", "s3-object-lambda:*")),
    _Row("AmazonS3ReadOnlyAccess", (*_read_only("s3"), "s3-object-lambda:Get*", "s3-object-lambda:List*")),
    _Row("AmazonSNSFullAccess", ("sns:*",)),
    _Row("AmazonSQSFullAccess", ("sqs:*",)),
    _Row("AmazonSSMReadOnlyAccess", _read_only("ssm")),
    _Row("AWSStepFunctionsFullAccess", ("states:*",)),
    _Row("SecretsManagerReadWrite", ("secretsmanager:*",)),
)


def _policy(row: _Row) -> ManagedPolicy:
    statements = [{"Effect": "Allow", "Action": list(row.actions), "Resource": "*"}]
    if row.but:
        statements.insert(0, {"Effect": "Allow", "NotAction": list(row.but), "Resource": "*"})
    document = json.dumps({"Version": "2012-10-17", "Statement": statements})
    version = PolicyVersion("v1", document, _CREATED_MS)
    return ManagedPolicy(row.name, row.path, AWS, (version,), "v1", _CREATED_MS, _CREATED_MS)


def _all() -> Iterator[tuple[str, ManagedPolicy]]:
    for row in _ROWS:
        policy = _policy(row)
        yield policy.arn, policy


AWS_POLICIES: Mapping[str, ManagedPolicy] = dict(_all())
"""By ARN."""
