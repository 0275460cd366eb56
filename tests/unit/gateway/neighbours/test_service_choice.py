"""Which service a request means."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from hearth_gateway.neighbours.service_choice import FORM, choose_service

SCOPE = "AWS4-HMAC-SHA256 Credential=AKIA/20261121/eu-west-1/{}/aws4_request, SignedHeaders=host, Signature=00"


def chosen(method: str = "POST", path: str = "/", query: str = "", *, body: bytes = b"", **headers: str) -> str:
    named = CIMultiDict((name.replace("_", "-"), value) for name, value in headers.items())
    return choose_service(method, path, query, headers=named, body=body)


@pytest.mark.parametrize("service", ["sts", "iam", "logs", "lambda", "sqs"])
def test_the_signature_decides(service: str) -> None:
    authorization = SCOPE.format(service)
    assert chosen(authorization=authorization, host="sts.example", x_amz_target="Logs_20140328.X") == service
    presigned = f"Action=GetCallerIdentity&X-Amz-Credential=AKIA%2F20261121%2Feu-west-1%2F{service}%2Faws4_request"
    assert chosen("GET", query=presigned, host="iam.example") == service


def test_then_the_target_then_the_action_then_the_host() -> None:
    sts = b"Action=GetCallerIdentity&Version=2011-06-15"
    iam = "Action=ListRoles&Version=2010-05-08"
    assert chosen(x_amz_target="Logs_20140328.FilterLogEvents", host="sts.example") == "logs"
    assert chosen(content_type=f"{FORM}; charset=utf-8", body=sts, host="iam.example") == "sts"
    assert chosen("GET", query=iam, host="sts.example") == "iam"
    assert chosen(host="STS.us-east-1.amazonaws.com:443") == "sts"
    assert chosen(host="127.0.0.1:9400") == "lambda"


@pytest.mark.parametrize(
    ("method", "path", "query"),
    [("POST", "/2015-03-31/functions", ""), ("GET", "/", ""), ("PUT", "/", "Action=X"), ("POST", "//", "")],
)
def test_what_is_not_asked_of_the_root_is_lambdas(method: str, path: str, query: str) -> None:
    assert chosen(method, path, query, authorization=SCOPE.format("sts"), host="sts.example") == "lambda"


def test_an_unknown_version_or_target_does_not_decide() -> None:
    assert chosen(content_type=FORM, body=b"Action=SendMessage&Version=2001-01-01", host="iam.x") == "iam"
    assert chosen(x_amz_target="AmazonMQ.CreateBroker") == "lambda"


@given(st.text(max_size=30), st.text(max_size=30), st.binary(max_size=60))
def test_whatever_arrives_there_is_an_answer(query: str, header: str, body: bytes) -> None:
    for method in ("GET", "POST"):
        assert chosen(
            method, query=query, body=body, authorization=header, content_type=FORM, x_amz_target=header, host=header
        )
