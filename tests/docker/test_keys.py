"""Access keys from outside: made by the command, used by AWS's own clients, limited, and revoked."""

import json
from collections.abc import Iterator

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from tests.docker.house import House, unique

ECHO = "def handler(event, context):\n    return event\n"


@pytest.fixture(scope="module")
def function(hearth: House) -> Iterator[str]:
    name = hearth.create("keys", ECHO)
    yield name
    hearth.api.delete_function(FunctionName=name)


def key(hearth: House, *options: str) -> tuple[str, str]:
    made = json.loads(hearth.command("keys", "create", "--json", *options))
    return made["access_key_id"], made["secret_access_key"]


def client(hearth: House, pair: tuple[str, str], region: str = "us-east-1") -> "boto3.client":
    return boto3.client(
        "lambda",
        endpoint_url=hearth.variables["AWS_ENDPOINT_URL"],
        aws_access_key_id=pair[0],
        aws_secret_access_key=pair[1],
        region_name=region,
        config=Config(retries={"total_max_attempts": 1}, proxies={}),
    )


def code_of(call: "boto3.client", **parameters: str) -> str:
    """The name of the error that a call ends with."""
    with pytest.raises(ClientError) as caught:
        call(**parameters)
    return str(caught.value.response["Error"]["Code"])


def test_a_limited_key_does_what_it_may_until_it_is_revoked(hearth: House, function: str) -> None:
    pair = key(hearth, "--name", "limited", "--allow", "lambda:InvokeFunction", "--on", function)
    limited = client(hearth, pair)

    assert limited.invoke(FunctionName=function, Payload=b'"hello"')["Payload"].read() == b'"hello"'
    assert code_of(limited.invoke, FunctionName=unique("other")) == "AccessDeniedException"
    assert code_of(limited.get_function, FunctionName=function) == "AccessDeniedException"
    assert code_of(limited.list_functions) == "AccessDeniedException"
    assert pair[0] in hearth.command("keys", "list")
    assert pair[1] not in hearth.command("keys", "list", "--json")

    hearth.command("keys", "revoke", pair[0])

    assert code_of(limited.invoke, FunctionName=function) == "UnrecognizedClientException"
    assert pair[0] not in hearth.command("keys", "list")


def test_a_permission_on_the_function_is_enough_for_a_key_without_policy(hearth: House, function: str) -> None:
    name = unique("guest")
    guest = client(hearth, key(hearth, "--name", name))
    assert code_of(guest.invoke, FunctionName=function) == "AccessDeniedException"

    principal = f"arn:aws:iam::000000000000:user/{name}"
    hearth.api.add_permission(
        FunctionName=function, StatementId=name, Action="lambda:InvokeFunction", Principal=principal
    )

    assert guest.invoke(FunctionName=function, Payload=b"1")["Payload"].read() == b"1"


def test_keys_are_good_in_any_region(hearth: House, function: str) -> None:
    pair = hearth.variables["AWS_ACCESS_KEY_ID"], hearth.variables["AWS_SECRET_ACCESS_KEY"]
    assert client(hearth, pair, "ap-southeast-2").invoke(FunctionName=function, Payload=b"1")["StatusCode"] == 200
    assert code_of(client(hearth, (pair[0], "wrong")).list_functions) == "InvalidSignatureException"


def test_the_administrators_key_is_replaced(hearth: House, function: str) -> None:
    old = hearth.variables["AWS_ACCESS_KEY_ID"], hearth.variables["AWS_SECRET_ACCESS_KEY"]

    hearth.command("keys", "rotate")
    hearth.variables = json.loads(hearth.command("env", "--json"))
    hearth.api = hearth.client()

    assert code_of(client(hearth, old).list_functions) == "UnrecognizedClientException"
    assert hearth.api.invoke(FunctionName=function, Payload=b"1")["StatusCode"] == 200


def test_nobody_is_let_in(hearth: House, function: str) -> None:
    for method, path in (
        ("POST", f"/2015-03-31/functions/{function}/invocations"),
        ("GET", "/2015-03-31/functions/"),
        ("DELETE", f"/2015-03-31/functions/{function}"),
        ("GET", f"/_hearth/logs/{function}"),
        ("GET", "/_hearth/keys"),
    ):
        page = hearth.http(method, path)
        assert (page.status, page.headers["x-amzn-errortype"]) == (403, "MissingAuthenticationTokenException")
    assert hearth.http("GET", "/health").status == 200
