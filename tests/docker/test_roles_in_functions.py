"""A function that uses AWS: with its role's credentials, at the address it is told, allowed what its role allows."""

import json
from typing import Any

import boto3
import pytest
from tests.docker.house import PYTHON, House, package, unique

pytestmark = pytest.mark.docker

TRUST = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
        ],
    }
)
# What a function on Lambda would be; nothing in it says where it runs.
CALLER = """
import json, boto3
from botocore.exceptions import ClientError

def handler(event, context):
    try:
        if event["do"] == "who":
            return boto3.client("sts").get_caller_identity()["Arn"]
        answer = boto3.client("lambda").invoke(FunctionName=event["name"], Payload=json.dumps(event["payload"]))
        return json.load(answer["Payload"])
    except ClientError as error:
        return error.response["Error"]["Code"]
"""
ECHO = "def handler(event, context): return [event, context.invoked_function_arn]"


def _iam(house: House) -> Any:
    variables = house.variables
    return boto3.client(
        "iam",
        endpoint_url=variables["AWS_ENDPOINT_URL"],
        aws_access_key_id=variables["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=variables["AWS_SECRET_ACCESS_KEY"],
        region_name=variables["AWS_REGION"],
    )


def _caller(house: House, role: str) -> str:
    name = unique("caller")
    house.api.create_function(
        FunctionName=name,
        Runtime=PYTHON,
        Role=role,
        Handler="app.handler",
        Code={"ZipFile": package({"app.py": CALLER})},
        MemorySize=512,
        Timeout=30,
    )
    house.settled(name)
    return name


def test_a_function_may_invoke_what_its_role_allows_and_nothing_else(hearth: House) -> None:
    allowed, refused, role = hearth.create("allowed", ECHO), hearth.create("refused", ECHO), unique("role")
    iam = _iam(hearth)
    arn = iam.create_role(RoleName=role, AssumeRolePolicyDocument=TRUST)["Role"]["Arn"]
    statement = {
        "Effect": "Allow",
        "Action": "lambda:InvokeFunction",
        "Resource": f"arn:aws:lambda:us-east-1:000000000000:function:{allowed}",
    }
    document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    iam.put_role_policy(RoleName=role, PolicyName="invoke", PolicyDocument=document)
    caller = _caller(hearth, arn)

    answer = hearth.invoke(caller, {"do": "invoke", "name": allowed, "payload": "hello"})
    assert answer.error is None, answer.log
    assert answer.value[0] == "hello"
    assert hearth.invoke(caller, {"do": "invoke", "name": refused, "payload": 1}).value == "AccessDeniedException"

    iam.delete_role_policy(RoleName=role, PolicyName="invoke")
    assert hearth.invoke(caller, {"do": "invoke", "name": allowed, "payload": 1}).value == "AccessDeniedException"


def test_inside_a_function_the_caller_is_the_role_and_the_function(hearth: House) -> None:
    role = unique("role")
    caller = _caller(hearth, _iam(hearth).create_role(RoleName=role, AssumeRolePolicyDocument=TRUST)["Role"]["Arn"])

    answer = hearth.invoke(caller, {"do": "who"})

    assert answer.value == f"arn:aws:sts::000000000000:assumed-role/{role}/{caller}", answer.log


def test_unsigned_requests_from_a_function_are_refused(hearth: House) -> None:
    code = """
import os, urllib.request, urllib.error
def handler(event, context):
    try:
        return urllib.request.urlopen(os.environ["AWS_ENDPOINT_URL"] + "/2015-03-31/functions", timeout=10).status
    except urllib.error.HTTPError as error:
        return error.code
"""
    answer = hearth.invoke(hearth.create("unsigned", code))

    assert answer.value == 403, answer.log
